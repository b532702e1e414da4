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
_MANY: Final = 128
"""So many objects are worth a step of their own from row to row."""
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


def find_runs(
    words: NDArray[np.uint32], objects: int, head_words: int, most_rows: int
) -> Runs:
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
    most_rows
        An object cannot have more rows than the image.

    Raises
    ------
    CorruptChunk
        The objects do not fill `words`, or their rows not the objects. `offset` counts
        from the beginning of the picture.

    Examples
    --------
    >>> words = np.array([7, 0, 0, 2, 0, 52, 1, 36, 0, 4, 1, 0, 3], "u4")
    >>> runs = find_runs(words, 1, 9, 5)
    >>> runs.ids, runs.y, runs.x, runs.lengths
    (array([7], dtype=uint32), array([4]), array([0]), array([3]))
    """
    starts = _object_places(words, objects, head_words)
    heads = words[starts[:, np.newaxis] + np.arange(head_words)]
    rows = heads[:, _ROWS].astype(np.intp)
    first = starts + head_words
    ends = starts + heads[:, _SIZE].astype(np.intp) // 4
    _check(2 * rows <= ends - first, starts, "has no room for its rows")
    _check(rows <= most_rows, starts, f"has more rows than the image, {most_rows}")
    at = _row_places(words, first, ends, rows)
    # The last row of each object ends where the object does: those before end before.
    reached = first.copy()
    last = at[(np.cumsum(rows) - 1)[rows > 0]]
    reached[rows > 0] = _behind(words, last) if len(last) else 0
    _check(reached == ends, starts, "is not filled by its rows")
    # Nothing is beyond the end any more; with "clip" there is no check, which is faster.
    counts = words.take(at + 1, mode="clip").astype(np.intp)
    run_at = np.repeat(at + 2 - 2 * (np.cumsum(counts) - counts), counts)
    run_at += np.arange(0, 2 * len(run_at), 2)
    x = words.take(run_at, mode="clip").astype(np.intp)
    run_at += 1
    return Runs(
        ids=np.repeat(heads[:, _ID], (ends - first) // 2 - rows),
        y=np.repeat(words.take(at, mode="clip").astype(np.intp), counts),
        x=x,
        lengths=words.take(run_at, mode="clip").astype(np.intp),
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
    words: NDArray[np.uint32],
    first: NDArray[np.intp],
    ends: NDArray[np.intp],
    rows: NDArray[np.intp],
) -> NDArray[np.intp]:
    """Return at which word each row of each object is.

    Places of objects that their rows do not fill are somewhere, but behind the end of
    the object if the rows lead there.

    Parameters
    ----------
    words
        The picture, without its head.
    first, ends
        Where the rows of each object begin, and what follows them.
    rows
        Rows of each object.
    """
    before = np.cumsum(rows) - rows
    at = np.repeat(first - 4 * before, rows)
    at += np.arange(0, 4 * len(at), 4)
    simple = (ends - first == 4 * rows).all()
    if simple and (words.take(at + 1, mode="clip") == 1).all():
        return at  # every row is one run
    # Where a row is follows from the row before: go from row to row, in all objects at
    # once, as long as there are many that have one more.
    order = np.argsort(-rows, kind="stable")
    having = len(rows) - np.cumsum(np.bincount(rows))  # more rows than 0, 1, 2 ...
    here, place = first[order], before[order]
    for step, objects in enumerate(having.tolist()):
        here, place = here[:objects], place[:objects]
        if objects < _MANY:
            break
        at[place + step] = here
        here = np.minimum(_behind(words, here), len(words))
    if len(here):
        left = order[: len(here)]
        more = rows[left] - step
        found = _chained(words, here, ends[left], more)
        at[np.repeat(place + step, more) + _counted(more)] = found
    return at


def _chained(
    words: NDArray[np.uint32],
    first: NDArray[np.intp],
    ends: NDArray[np.intp],
    rows: NDArray[np.intp],
) -> NDArray[np.intp]:
    """Do as `_row_places` for few objects of many rows, without going row by row.

    If the first n rows of each object are known, and the step over n rows from any
    place, then so are the next n rows, and the step over 2 n.
    """
    sizes = np.maximum(ends - first, 0)
    spans = zip(first.tolist(), (first + sizes).tolist(), strict=True)
    local = np.concatenate([words[start:stop] for start, stop in spans])
    moved = np.cumsum(sizes) - sizes
    at, rank = np.repeat(moved, rows), _counted(rows)
    step = np.arange(len(local) + 1)
    step[:-1] = _behind(local, step[:-1]) if len(local) else 0
    np.minimum(step, len(local), out=step)
    bits = int(rows.max()).bit_length()
    for bit in range(bits):
        now = np.flatnonzero(rank >> bit == 1)
        at[now] = step[at[now - 2**bit]]
        if bit < bits - 1:
            step = step[step]
    at += np.repeat(first - moved, rows)
    return at


def _behind(words: NDArray[np.uint32], at: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return what follows the rows at some places; any number where there is no row."""
    behind: NDArray[np.intp] = words.take(at + 1, mode="clip").astype(np.intp)
    behind *= 2
    behind += at
    behind += 2
    return behind


def _counted(lengths: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return 0, 1, 2 ... for each length."""
    before = np.cumsum(lengths) - lengths
    count: NDArray[np.intp] = np.arange(int(lengths.sum()))
    count -= np.repeat(before, lengths)
    return count


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
