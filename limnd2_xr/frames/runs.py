"""Runs of pixels: finding those of a run-length picture, and painting them (FORMAT 10.2).

A picture has objects, an object rows, a row runs: stretches of pixels of one value.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.errors import CorruptChunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PICTURE_HEAD", "Runs", "find_runs", "paint_runs"]

PICTURE_HEAD: Final = struct.Struct("<7I")
"""Version, width, height, objects, bytes behind, offset of the last object, unknown."""
_ID, _SIZE, _ROWS = 0, 5, 6
"""Which numbers of an object are needed to paint it."""
_SPARSE: Final = 16
"""Fewer pixels than one in so many are painted one by one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """All runs of pixels of a picture, in stored order."""

    ids: NDArray[np.uint32]
    """Id of the object that each run is of."""
    y: NDArray[np.intp]
    """Row of the image."""
    x: NDArray[np.intp]
    """First pixel in that row."""
    lengths: NDArray[np.intp]
    """Number of pixels."""


def find_runs(words: NDArray[np.uint32], objects: int, head_words: int) -> Runs:
    """Return the runs of all objects of a picture.

    Parameters
    ----------
    words
        Everything behind the head of the picture: for each object its head, and then
        pairs of numbers only: a row (y, number of runs), its runs (x, length), the next
        row.
    objects
        How many there are.
    head_words
        Length of the head of an object.

    Raises
    ------
    CorruptChunk
        The objects do not fill `words`, or their rows not the objects. `offset` counts
        from the beginning of the picture.

    Examples
    --------
    >>> words = np.array([7, 0, 0, 2, 0, 52, 1, 36, 0, 4, 1, 0, 3], "u4")
    >>> runs = find_runs(words, 1, 9)
    >>> runs.ids, runs.y, runs.x, runs.lengths
    (array([7], dtype=uint32), array([4]), array([0]), array([3]))
    """
    starts = _object_places(words, objects, head_words)
    head_at = starts[:, np.newaxis] + np.arange(head_words)
    heads = words[head_at]
    rows = heads[:, _ROWS].astype(np.intp)
    n_pairs = (heads[:, _SIZE].astype(np.intp) // 4 - head_words) // 2
    _check(rows <= n_pairs, starts, "has no room for its rows")
    in_body = np.ones(len(words), bool)
    in_body[head_at] = False
    packed = words[in_body].view(np.uint64)  # a pair each: faster to select from
    pairs = packed.view(np.uint32).reshape(-1, 2)
    counts = pairs[:, 1]
    ends = np.cumsum(n_pairs)
    at = _row_places(counts, ends - n_pairs, rows)
    # The last row of each object ends where the object does: those before end before.
    reached = ends - n_pairs
    last = at[(np.cumsum(rows) - 1)[rows > 0]]
    reached[rows > 0] = last + 1 + counts.take(last, mode="clip") if len(last) else 0
    _check(reached == ends, starts, "is not filled by its rows")
    is_run = np.ones(len(pairs), bool)
    is_run[at] = False
    runs = packed[np.flatnonzero(is_run)].view(np.uint32).reshape(-1, 2)
    return Runs(
        ids=np.repeat(heads[:, _ID], n_pairs - rows),
        y=np.repeat(pairs[at, 0].astype(np.intp), counts[at]),
        x=runs[:, 0].astype(np.intp),
        lengths=runs[:, 1].astype(np.intp),
    )


def _object_places(
    words: NDArray[np.uint32], objects: int, head_words: int
) -> NDArray[np.intp]:
    """Return where each object begins: each says how long it is."""
    if objects * head_words > len(words):
        raise CorruptChunk(
            f"{objects} objects are promised in {4 * len(words)} bytes", offset=12
        )
    numbers = words.data
    last = len(words) - head_words
    found = []
    at = 0
    for _ in range(objects):
        if at > last:
            break
        found.append(at)
        at += numbers[at + _SIZE] >> 2
    starts = np.array(found, np.intp)
    nbytes = words[starts + _SIZE].astype(np.intp) - 4 * head_words
    _check((nbytes >= 0) & (nbytes % 8 == 0), starts, "is of an impossible size")
    if at != len(words) or len(found) < objects:
        raise CorruptChunk(
            f"{len(found)} of {objects} objects take {4 * at} of {4 * len(words)} bytes",
            offset=16,
        )
    return starts


def _check(sound: NDArray[np.bool_], starts: NDArray[np.intp], complaint: str) -> None:
    """Refuse the first object that is not sound."""
    if not sound.all():
        number = int(sound.argmin())
        raise CorruptChunk(
            f"object number {number} {complaint}",
            offset=PICTURE_HEAD.size + 4 * int(starts[number]),
        )


def _row_places(
    counts: NDArray[np.uint32], first: NDArray[np.intp], rows: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return at which pair each row is; places that lead out of the pairs stay outside.

    Where a row is follows from the row before. Here the rows of all objects are found
    at once: if the first n of each object are known, and the step over n rows from any
    pair, then so are the next n.

    Parameters
    ----------
    counts
        Number of runs in the row that a pair is, if it is one.
    first
        At which pair each object begins.
    rows
        Rows of each object.
    """
    total = int(rows.sum())
    if len(counts) == 2 * total and bool((counts[::2] == 1).all()):
        return np.arange(total) * 2  # every row is one run
    at = np.repeat(first, rows)
    rank = np.arange(total) - np.repeat(np.cumsum(rows) - rows, rows)
    step = np.arange(1, len(counts) + 2)
    step[:-1] += counts
    np.minimum(step, len(counts), out=step)
    bits = int(rows.max(initial=0)).bit_length()
    for bit in range(bits):
        now = np.flatnonzero(rank >> bit == 1)
        # There is nothing to clip, and "clip" is faster than to be told so.
        at[now] = step.take(at[now - 2**bit], mode="clip")
        if bit < bits - 1:
            step = step.take(step, mode="clip")
    return at


def paint_runs(
    starts: NDArray[np.intp],
    lengths: NDArray[np.intp],
    values: NDArray[np.uint32],
    size: int,
) -> NDArray[np.uint32]:
    """Return pixels with each run painted over those before it, zero elsewhere.

    Parameters
    ----------
    starts
        First pixel of each run.
    lengths
        Pixels of each run, which all lie within `size`; may be 0.
    values
        What each run is painted with.
    size
        Number of pixels.

    Returns
    -------
    ndarray of uint32
        One-dimensional.

    Examples
    --------
    >>> three = np.array([3, 3])
    >>> paint_runs(np.array([1, 2]), three, np.array([8, 9], "u4"), 6)
    array([0, 8, 9, 9, 9, 0], dtype=uint32)
    """
    covered = int(lengths.sum())
    if covered * _SPARSE <= size:
        return _paint_few(starts, lengths, values, size)
    # What is added at each first pixel and taken away behind each last one adds up to
    # the values themselves wherever only one run lies. Sums wrap around, as they may.
    pixels = np.zeros(size + 1, np.uint32)
    np.add.at(pixels, starts, values)
    np.subtract.at(pixels, starts + lengths, values)
    np.cumsum(pixels, out=pixels)
    # Where runs overlap, fewer pixels are covered than the runs have together.
    if np.count_nonzero(pixels) == covered:
        return pixels[:-1]
    return _paint_over(starts, lengths, values, size)


def _paint_few(
    starts: NDArray[np.intp],
    lengths: NDArray[np.intp],
    values: NDArray[np.uint32],
    size: int,
) -> NDArray[np.uint32]:
    """Paint one pixel after the other, which leaves all others untouched."""
    order = np.argsort(starts)
    in_order = starts[order]
    if np.any(in_order[1:] < (in_order + lengths[order])[:-1]):
        return _paint_over(starts, lengths, values, size)
    pixels = np.zeros(size, np.uint32)
    before = np.cumsum(lengths) - lengths
    at = np.repeat(starts - before, lengths)
    at += np.arange(len(at))
    pixels[at] = np.repeat(values, lengths)
    return pixels


def _paint_over(
    starts: NDArray[np.intp],
    lengths: NDArray[np.intp],
    values: NDArray[np.uint32],
    size: int,
) -> NDArray[np.uint32]:
    """Paint runs that may overlap; the time does not depend on how much they do.

    The ends of all runs cut the pixels into stretches. The number of the last run is
    wanted of each stretch. A run of n stretches is two overlapping blocks of 2**k, the
    largest such that fit; blocks are handed down to their halves, largest first.
    """
    some = np.flatnonzero(lengths)
    starts, stops, values = starts[some], (starts + lengths)[some], values[some]
    cuts = np.unique(np.concatenate([[0, size], starts, stops]))
    first, stop = np.searchsorted(cuts, starts), np.searchsorted(cuts, stops)
    # Numbers of runs count from 1: 0 is no run.
    number = np.arange(1, len(starts) + 1)
    exponent = np.frexp(stop - first)[1] - 1
    last = np.zeros(len(cuts) - 1, np.intp)
    for k in range(int(exponent.max(initial=0)), -1, -1):
        of_size = np.flatnonzero(exponent == k)
        np.maximum.at(last, first[of_size], number[of_size])
        np.maximum.at(last, stop[of_size] - 2**k, number[of_size])
        if k:
            half = 2 ** (k - 1)
            handed = last.copy()
            np.maximum(handed[half:], last[:-half], out=handed[half:])
            last = handed
    painted = np.concatenate([np.zeros(1, np.uint32), values])[last]
    return np.repeat(painted, np.diff(cuts))
