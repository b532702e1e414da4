"""From an outer index to the fewest reads.

An outer index selects along each dimension on its own. Here it is split into what it
asks of the loops (which frames), of Y (which rows, hence which bytes of a frame) and of
X, C and S (what is kept of the bytes read); and byte ranges, sorted by offset, are
grouped into reads.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from limnd2_xr.frames.layout import PixelLayout

__all__ = [
    "AxisKey",
    "Pick",
    "RowRun",
    "fold",
    "group_reads",
    "normalize",
    "outer_shape",
    "pick_array",
    "pick_length",
    "row_runs",
    "shares",
    "takes_all",
]

AxisKey: TypeAlias = (
    "int | np.integer[np.generic] | slice | NDArray[np.integer[np.generic]]"
)
"""Index along one dimension: an integer, a slice or a one-dimensional integer array."""

Pick: TypeAlias = "slice | NDArray[np.int64]"
"""A normalised index: a slice with a positive step and known ends, or an array."""


def normalize(key: AxisKey, length: int, dim: str) -> Pick:
    """Index of one dimension with negative numbers resolved and arrays folded to slices.

    Parameters
    ----------
    key
        Integer, slice (any step) or one-dimensional integer array.
    length
        Length of the dimension.
    dim
        Its name, for the message.

    Returns
    -------
    slice or ndarray of int64
        A slice wherever the indices rise evenly, else the indices.

    Raises
    ------
    IndexError
        If an index is out of bounds.

    Examples
    --------
    >>> normalize(-1, 10, "T"), normalize(np.array([2, 4, 6]), 10, "T")
    (slice(9, 10, 1), slice(2, 7, 2))
    >>> normalize(slice(None, None, -4), 10, "T")
    array([9, 5, 1])
    """
    if isinstance(key, slice):
        start, stop, step = key.indices(length)
        count = len(range(start, stop, step))
        if step > 0 or count <= 1:
            return slice(
                start,
                start + (count - 1) * abs(step) + 1 if count else start,
                abs(step),
            )
        return np.arange(start, stop, step, dtype=np.int64)
    indices = np.asarray(key)
    if indices.dtype == bool:
        if indices.shape != (length,):
            raise IndexError(
                f"mask of shape {indices.shape} for dimension {dim} of length {length}"
            )
        indices = np.flatnonzero(indices)
    if indices.dtype.kind not in "iu" and indices.size:
        raise IndexError(f"index of type {indices.dtype} for dimension {dim}")
    indices = np.atleast_1d(indices).astype(np.int64)
    if indices.size == 0:
        return slice(0, 0, 1)
    low, high = int(indices.min()), int(indices.max())
    if low < -length or high >= length:
        bad = low if low < -length else high
        raise IndexError(
            f"index {bad} is out of bounds for dimension {dim} of length {length}"
        )
    if low < 0:
        indices = np.where(indices < 0, indices + length, indices)
    return fold(indices)


def fold(indices: NDArray[np.int64]) -> Pick:
    """Slice with the same indices where they rise evenly, else the indices themselves."""
    if indices.size == 1:
        return slice(int(indices[0]), int(indices[0]) + 1, 1)
    step = int(indices[1] - indices[0])
    if step > 0 and bool((np.diff(indices) == step).all()):
        return slice(int(indices[0]), int(indices[-1]) + 1, step)
    return indices


def pick_length(pick: Pick) -> int:
    """Return how many indices a normalised index has."""
    if isinstance(pick, slice):
        return len(range(pick.start, pick.stop, pick.step))
    return int(pick.size)


def pick_array(pick: Pick) -> NDArray[np.int64]:
    """Return the indices of a normalised index as an array."""
    if isinstance(pick, slice):
        return np.arange(pick.start, pick.stop, pick.step, dtype=np.int64)
    return pick


def takes_all(pick: Pick, length: int) -> bool:
    """Say whether a normalised index takes a whole dimension in its order."""
    return isinstance(pick, slice) and pick == slice(0, length, 1)


@dataclass(frozen=True, slots=True)
class RowRun:
    """Rows of a frame that are read at once, and which of them go where."""

    first: int
    """First row read."""
    stop: int
    """One past the last row read."""
    source: Pick
    """Rows to keep, counted from `first`."""
    target: Pick
    """Where they go along Y of the output."""


def row_runs(rows: Pick, layout: PixelLayout, gap_nbytes: int) -> list[RowRun]:
    """Contiguous runs of rows that together hold the rows asked for.

    Rows that lie between two wanted ones are read along where that costs less than
    another request.

    Parameters
    ----------
    rows
        Normalised index along Y.
    layout
        Of the frame.
    gap_nbytes
        Bytes worth reading needlessly to save one request.
    """
    if pick_length(rows) == 0:
        return []
    if isinstance(rows, slice) and (rows.step - 1) * layout.row_nbytes <= gap_nbytes:
        count = pick_length(rows)
        source = slice(0, rows.stop - rows.start, rows.step)
        return [RowRun(rows.start, rows.stop, source, slice(0, count, 1))]
    wanted = pick_array(rows)
    unique = np.unique(wanted)
    too_far = (np.diff(unique) - 1) * layout.row_nbytes > gap_nbytes
    cuts = [0, *(np.flatnonzero(too_far) + 1).tolist(), len(unique)]
    runs = []
    for begin, end in itertools.pairwise(cuts):
        first, stop = int(unique[begin]), int(unique[end - 1]) + 1
        target = np.flatnonzero((wanted >= first) & (wanted < stop))
        runs.append(RowRun(first, stop, fold(wanted[target] - first), fold(target)))
    return runs


def group_reads(
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    *,
    gap_nbytes: int,
    limit_nbytes: int,
) -> Iterator[tuple[int, int]]:
    """Cut byte ranges, sorted by start, into groups that are each read at once.

    Parameters
    ----------
    starts, stops
        File offsets of the ranges, sorted by `starts`.
    gap_nbytes
        Ranges further apart than this are read on their own.
    limit_nbytes
        A group grows no larger, unless one range alone is.

    Yields
    ------
    begin, end
        The ranges from `begin` up to but without `end` form a group.

    Examples
    --------
    >>> at = np.array([0, 10, 100])
    >>> list(group_reads(at, at + 8, gap_nbytes=4, limit_nbytes=1000))
    [(0, 2), (2, 3)]
    """
    reach = np.maximum.accumulate(stops)
    cuts = [
        0,
        *(np.flatnonzero(starts[1:] - reach[:-1] > gap_nbytes) + 1).tolist(),
        len(starts),
    ]
    for begin, end in itertools.pairwise(cuts):
        at = begin
        while at < end:
            full = int(
                np.searchsorted(reach[at:end], starts[at] + limit_nbytes, side="right")
            )
            until = min(end, at + max(full, 1))
            yield at, until
            at = until


def shares(
    nbytes: NDArray[np.int64], *, limit_nbytes: int
) -> Iterator[tuple[int, int]]:
    """Cut a row of sizes into neighbours of about `limit_nbytes` in all.

    Yields
    ------
    begin, end
        The sizes from `begin` up to but without `end` belong together.

    Examples
    --------
    >>> list(shares(np.array([3, 3, 3, 9, 1]), limit_nbytes=6))
    [(0, 2), (2, 3), (3, 4), (4, 5)]
    """
    total = np.cumsum(nbytes)
    begin, before = 0, 0
    while begin < len(nbytes):
        end = int(np.searchsorted(total, before + limit_nbytes, side="right"))
        end = max(end, begin + 1)
        yield begin, end
        begin, before = end, int(total[end - 1])


def outer_shape(picks: Sequence[Pick]) -> tuple[int, ...]:
    """Shape that normalised indices select."""
    return tuple(pick_length(pick) for pick in picks)
