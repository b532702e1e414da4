"""Pixels of compressed frames: inflated as far as needed, once for all who want them."""

from __future__ import annotations

import weakref
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.frame_cache import CACHE
from limnd2_xr.frames.pixels import copy_pixels, inflate_rows, rows_view
from limnd2_xr.frames.read_groups import packed_run, wanted_nbytes
from limnd2_xr.frames.threads import run_all

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.frames.frame_cache import SharedFrame
    from limnd2_xr.frames.planner import RowRun
    from limnd2_xr.frames.read_groups import FrameSelection, ReadGroup
    from limnd2_xr.frames.staged_reads import StagedReads

__all__ = ["PackedFrames"]

PACKED_LIMIT_NBYTES = 2**20
"""Merged reads grow no larger: the work is in the inflating."""
PACKED_THREADED_NBYTES = 2**16
"""Smaller reads are done before threads have shared the work out."""


class PackedFrames:
    """Reads frames stored as zlib streams; safe to use from several threads.

    Parameters
    ----------
    reads
        Of the file.
    """

    def __init__(self, reads: StagedReads) -> None:
        self._reads = reads

    def read_into(
        self,
        out: NDArray[Any],
        rows: NDArray[np.int64],
        targets: NDArray[np.int64],
        selection: FrameSelection,
    ) -> None:
        """Fill `out` with the pixels selected of frames that the file has.

        Parameters
        ----------
        out
            C-contiguous, of shape (frames, C, Y, X) and, for RGB, S, all as selected.
        rows
            Of the frame table; may repeat.
        targets
            Where in `out` each frame goes.
        selection
            What of each frame is wanted.
        """
        shared = self._shared(rows, selection)
        known = [row in shared and shared[row].is_begun for row in rows.tolist()]
        begun = np.array(known, dtype=bool)
        groups = self._plan(rows[~begun], targets[~begun], selection)
        self._reads.carry_out(
            groups,
            lambda group: self._read(out, group, selection, shared),
            threaded=wanted_nbytes(groups) >= PACKED_THREADED_NBYTES,
        )
        held = zip(rows[begun].tolist(), targets[begun].tolist(), strict=True)
        run = packed_run(selection.rows)
        run_all(lambda one: self._put_rows(out, *one, run, selection, shared), [*held])
        if shared:
            CACHE.forget_old()

    def forget(self) -> None:
        """Forget what was kept of frames for others."""
        if "_owner" in self.__dict__:
            CACHE.forget(self._owner)

    def _plan(
        self,
        rows: NDArray[np.int64],
        targets: NDArray[np.int64],
        selection: FrameSelection,
    ) -> list[ReadGroup]:
        self._reads.learn_headers(rows[self._reads.headers.nbytes[rows] < 0])
        run = packed_run(selection.rows)
        sizes, mapped = self._reads.headers.nbytes[rows], self._reads.is_memory
        return self._reads.groups(
            rows, targets, sizes, run, PACKED_LIMIT_NBYTES, 0, mapped
        )

    def _shared(
        self, rows: NDArray[np.int64], selection: FrameSelection
    ) -> dict[int, SharedFrame]:
        """Frames to be kept for others who want other parts; none if they want all."""
        layout = self._reads.table.layout
        if selection.is_whole(layout):
            return {}
        numbers = np.unique(rows)
        # More than can be kept would be forgotten before it is asked for again.
        if len(numbers) * layout.frame_nbytes > CACHE.limit_nbytes:
            return {}
        return CACHE.frames(self._owner, numbers.tolist())

    @cached_property
    def _owner(self) -> object:
        """By which the frames of this open file are known, for as long as it is there."""
        owner = object()
        weakref.finalize(self, CACHE.forget, owner).atexit = False
        return owner

    def _put_rows(
        self,
        out: NDArray[Any],
        row: int,
        target: int,
        run: RowRun,
        selection: FrameSelection,
        shared: dict[int, SharedFrame],
        packed: memoryview | None = None,
    ) -> None:
        """Inflate a frame as far as needed, and copy what is wanted of it."""
        layout = self._reads.table.layout
        try:
            if row in shared:
                rows = shared[row].rows(run.stop, layout, packed)
            else:
                rows = inflate_rows(packed or b"", layout, run.stop)
        except CorruptChunk as error:
            raise self._reads.headers.corrupt(row, error.reason) from error
        copy_pixels(
            out,
            rows_view(rows, layout, offset=0, shape=(1, run.stop, layout.width)),
            target=(slice(target, target + 1, 1), run.target),
            source=(run.source, selection.columns),
            channels=selection.channels,
            samples=selection.samples,
        )

    def _read(
        self,
        out: NDArray[Any],
        group: ReadGroup,
        selection: FrameSelection,
        shared: dict[int, SharedFrame],
    ) -> None:
        group = self._without_moved(out, group, selection, shared)
        if not len(group.rows):
            return
        base, staged = self._reads.stage(group)
        self._reads.headers.check(group.rows, base, staged)
        for i in np.flatnonzero(~self._reads.moved(group)).tolist():
            start = int(group.starts[i]) - base
            packed = staged[start : start + int(group.nbytes[i])]
            row, target = int(group.rows[i]), int(group.targets[i])
            self._put_rows(out, row, target, group.run, selection, shared, packed)
        self._without_moved(out, group, selection, shared)

    def _without_moved(
        self,
        out: NDArray[Any],
        group: ReadGroup,
        selection: FrameSelection,
        shared: dict[int, SharedFrame],
    ) -> ReadGroup:
        """Read the moved frames of a group where they really are; return the others."""
        moved = self._reads.moved(group)
        if not moved.any():
            return group
        again = group.subset(moved)
        for repeat in self._plan(again.rows, again.targets, selection):
            self._read(out, repeat, selection, shared)
        return group.subset(~moved)
