"""What is read of frames, and the groups of frames that one read covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.frames.planner import RowRun, fold, pick_array, takes_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from limnd2_xr.frames.layout import PixelLayout
    from limnd2_xr.frames.planner import Pick

__all__ = [
    "NO_RUN",
    "FrameSelection",
    "ReadGroup",
    "column_span",
    "cut_run",
    "even_parts",
    "packed_run",
    "shifted",
    "wanted_nbytes",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSelection:
    """What to read: frames by number, and the part of each that is wanted."""

    sequence: NDArray[np.int64]
    """Sequence numbers, one-dimensional, in the order of the output."""
    rows: Pick
    columns: Pick
    channels: Pick
    samples: Pick | None
    """None where the file is not RGB."""

    def is_whole(self, layout: PixelLayout) -> bool:
        """Say whether all pixels of each frame are wanted, in their order."""
        samples = slice(0, 1, 1) if self.samples is None else self.samples
        return (
            takes_all(self.rows, layout.height)
            and takes_all(self.columns, layout.width)
            and takes_all(self.channels, layout.channels)
            and takes_all(samples, layout.samples)
        )


@dataclass(frozen=True, slots=True)
class ReadGroup:
    """Frames that one read covers, sorted by file offset."""

    rows: NDArray[np.int64]
    """Rows of the frame table."""
    targets: NDArray[np.int64]
    """Where each frame goes in the output."""
    starts: NDArray[np.int64]
    """File offset of the first byte wanted of each frame."""
    nbytes: NDArray[np.int64]
    """How many bytes of each frame are wanted from there."""
    pixels: NDArray[np.int64]
    """Where each frame's pixels were thought to begin when the read was planned."""
    run: RowRun
    mapped: bool
    """Whether they are looked at in the file's memory rather than read."""

    def subset(self, keep: NDArray[np.bool_] | NDArray[np.intp] | slice) -> ReadGroup:
        """Return some of the frames."""
        return ReadGroup(
            self.rows[keep],
            self.targets[keep],
            self.starts[keep],
            self.nbytes[keep],
            self.pixels[keep],
            self.run,
            self.mapped,
        )


NO_RUN: Final = RowRun(0, 0, slice(0, 0, 1), slice(0, 0, 1))
"""Of reads that take no rows of pixels."""


def packed_run(rows: Pick) -> RowRun:
    """Of a compressed frame the rows up to the last one wanted are inflated."""
    wanted = pick_array(rows)
    return RowRun(0, int(wanted.max()) + 1, rows, slice(0, len(wanted), 1))


def wanted_nbytes(groups: list[ReadGroup]) -> int:
    """Return how many bytes groups want in all."""
    return sum(int(group.nbytes.sum()) for group in groups)


def column_span(columns: Pick) -> tuple[int, int]:
    """First column that is wanted, and how many there are up to the last."""
    if isinstance(columns, slice):
        return columns.start, columns.stop - columns.start
    return int(columns.min()), int(columns.max() - columns.min()) + 1


def shifted(columns: Pick, first: int) -> Pick:
    """Return columns as counted from another first one."""
    if isinstance(columns, slice):
        return slice(columns.start - first, columns.stop - first, columns.step)
    return columns - first


def even_parts(group: ReadGroup) -> Iterator[ReadGroup]:
    """Cut a group where the distance between frames changes."""
    steps = np.diff(group.starts)
    begin, count = 0, len(group.rows)
    while begin < count:
        end = count
        if begin + 1 < count:
            uneven = np.flatnonzero(steps[begin:] != steps[begin])
            end = begin + int(uneven[0]) + 1 if len(uneven) else count
        yield group.subset(slice(begin, end))
        begin = end


def cut_run(run: RowRun, rows: int) -> Iterator[RowRun]:
    """Cut a run of rows into shorter ones.

    Parameters
    ----------
    run
        What to cut.
    rows
        The most that one may have.

    Examples
    --------
    >>> for piece in cut_run(RowRun(10, 15, slice(0, 5, 2), slice(0, 3, 1)), 3):
    ...     print(piece)
    RowRun(first=10, stop=13, source=slice(0, 3, 2), target=slice(0, 2, 1))
    RowRun(first=14, stop=15, source=slice(0, 1, 1), target=slice(2, 3, 1))
    """
    if run.stop - run.first <= rows:
        yield run
        return
    source, target = pick_array(run.source), pick_array(run.target)
    for begin in range(0, run.stop - run.first, rows):
        inside = (source >= begin) & (source < begin + rows)
        if inside.any():
            own = source[inside]
            first, stop = int(own.min()), int(own.max()) + 1
            yield RowRun(
                run.first + first,
                run.first + stop,
                fold(own - first),
                fold(target[inside]),
            )
