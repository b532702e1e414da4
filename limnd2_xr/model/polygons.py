"""Outlines to masks and masks to outlines, in pixels.

Pixel (row, column) covers columns `column` to `column + 1` and rows `row` to `row + 1`:
the image reaches from (0, 0) to (width, height), and centres of pixels lie at halves. A
pixel belongs to an outline if its centre lies inside by the even-odd rule; a centre on a
left or upper edge is inside, one on a right or lower edge is not, so that neighbours do
not share pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

__all__ = ["drawn", "ellipse", "filled", "traced"]

_BATCH: Final = 1 << 21  # crossings or samples at a time: bounds the memory


def filled(
    rings: Sequence[npt.NDArray[np.float64]], width: int, height: int
) -> npt.NDArray[np.bool_]:
    """Mask of what closed outlines enclose, shape (height, width).

    Parameters
    ----------
    rings
        Vertices x, y in pixels of each outline, shape (n, 2); the last one is joined to
        the first. Finite. What an even number of outlines encloses is a hole.
    width, height
        Size of the image.

    Examples
    --------
    >>> square = np.array([[1.0, 0.0], [3.0, 0.0], [3.0, 2.0], [1.0, 2.0]])
    >>> filled([square], 4, 3).astype(int)
    array([[0, 1, 1, 0],
           [0, 1, 1, 0],
           [0, 0, 0, 0]])
    """
    mask = np.zeros((height, width), np.bool_)
    rings = [ring for ring in rings if len(ring)]
    if not rings:
        return mask
    begin = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    low, high = (choose(begin[:, 1], end[:, 1]) for choose in (np.minimum, np.maximum))
    first, stop = _centres(low, height), _centres(high, height)
    crossing = np.flatnonzero(stop > first)
    if not crossing.size:
        return mask
    begin, end, first = begin[crossing], end[crossing], first[crossing]
    counts = stop[crossing] - first
    slope = (end[:, 0] - begin[:, 0]) / (end[:, 1] - begin[:, 1])
    top, bottom = int(first.min()), int((first + counts).max())
    toggles = np.zeros((bottom - top, width + 1), np.uint8)
    for edges, steps in _batches(counts):
        rows = first[edges] + steps
        x = begin[edges, 0] + (rows + 0.5 - begin[edges, 1]) * slope[edges]
        np.bitwise_xor.at(toggles, (rows - top, _centres(x, width)), 1)
    np.bitwise_xor.accumulate(toggles, axis=1, out=toggles)
    mask[top:bottom] = toggles[:, :width]
    return mask


def ellipse(
    center: tuple[float, float],
    radii: tuple[float, float],
    degrees: float,
    width: int,
    height: int,
) -> npt.NDArray[np.bool_]:
    """Mask of an ellipse, shape (height, width), exact to the pixel.

    Parameters
    ----------
    center, radii
        Centre x, y and radii along x, y before it is turned, in pixels.
    degrees
        Angle from x towards y.
    width, height
        Size of the image.

    Examples
    --------
    >>> ellipse((2.0, 1.5), (2.0, 1.0), 0.0, 4, 3).astype(int)
    array([[0, 0, 0, 0],
           [1, 1, 1, 1],
           [0, 0, 0, 0]])
    """
    mask = np.zeros((height, width), np.bool_)
    a, b = radii
    if not (a > 0 and b > 0):
        return mask
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    x_reach, y_reach = np.hypot(a * cos, b * sin), np.hypot(a * sin, b * cos)
    left, right = _span(center[0], x_reach, width)
    top, bottom = _span(center[1], y_reach, height)
    x = np.arange(left, right) + 0.5 - center[0]
    y = (np.arange(top, bottom) + 0.5 - center[1])[:, np.newaxis]
    along, across = (x * cos + y * sin) / a, (y * cos - x * sin) / b
    mask[top:bottom, left:right] = along**2 + across**2 < 1.0
    return mask


def drawn(
    path: npt.NDArray[np.float64], width: int, height: int
) -> npt.NDArray[np.bool_]:
    """Mask of a line one pixel wide, shape (height, width).

    Parameters
    ----------
    path
        Vertices x, y in pixels, shape (n, 2), finite. A single one gives one pixel.
    width, height
        Size of the image.

    Examples
    --------
    >>> drawn(np.array([[0.5, 0.5], [3.5, 1.5]]), 4, 2).astype(int)
    array([[1, 1, 0, 0],
           [0, 0, 1, 1]])
    """
    mask = np.zeros((height, width), np.bool_)
    begin, step = (path, np.zeros_like(path)) if len(path) == 1 else _segments(path)
    lower, upper = np.zeros(len(begin)), np.ones(len(begin))
    for axis, size in enumerate((width, height)):
        with np.errstate(divide="ignore", invalid="ignore"):
            enter, leave = (
                (side - begin[:, axis]) / step[:, axis] for side in (0.0, float(size))
            )
        # A segment along the other axis is inside all the way or not at all.
        still = step[:, axis] == 0
        inside = (begin[:, axis] >= 0) & (begin[:, axis] <= size)
        near = np.where(still, np.where(inside, 0.0, 2.0), np.minimum(enter, leave))
        far = np.where(still, 1.0, np.maximum(enter, leave))
        lower, upper = np.maximum(lower, near), np.minimum(upper, far)
    seen = np.flatnonzero(lower <= upper)
    begin, step, lower = begin[seen], step[seen], lower[seen]
    share = upper[seen] - lower
    # One more than needed keeps each step below a pixel, whatever is rounded.
    counts = np.ceil(np.abs(step).max(axis=1) * share).astype(np.int64) + 1
    for edges, steps in _batches(counts + 1):
        part = steps / counts[edges]
        at = lower[edges] + share[edges] * part
        points = begin[edges] + at[:, np.newaxis] * step[edges]
        x, y = np.floor(points).astype(np.int64).T
        kept = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        mask[y[kept], x[kept]] = True
    return mask


def traced(mask: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.float64]]:
    """Outlines of a mask along the edges of its pixels; `filled` gives the mask back.

    Parameters
    ----------
    mask
        Shape (height, width).

    Returns
    -------
    list of ndarray
        Corners x, y of each outline, shape (n, 2), those of holes among them.

    Examples
    --------
    >>> traced(np.array([[False, True]]))[0].tolist()
    [[1.0, 0.0], [1.0, 1.0], [2.0, 1.0], [2.0, 0.0]]
    """
    framed = np.pad(np.asarray(mask, np.bool_), 1)
    a, b, c, d = framed[:-1, :-1], framed[:-1, 1:], framed[1:, :-1], framed[1:, 1:]
    # An outline turns where one or three of four pixels are set, and twice where two
    # that only touch at the corner are.
    turns = (a ^ b ^ c ^ d) + 2 * ((a == d) & (b == c) & (a != b))
    y, x = np.nonzero(turns)
    times = turns[y, x]
    y, x = np.repeat(y, times), np.repeat(x, times)
    # Corners of a row belong together in pairs, and so do those of a column.
    across, down = _pairs(np.lexsort((x, y))), _pairs(np.lexsort((y, x)))
    following = across[down].tolist()
    below = down.tolist()
    rings, seen = [], bytearray(len(following))
    for start in range(len(following)):
        ring: list[int] = []
        corner = start
        while not seen[corner]:
            seen[corner] = seen[below[corner]] = 1
            ring += (corner, below[corner])
            corner = following[corner]
        if ring:
            rings.append(np.column_stack((x[ring], y[ring])).astype(np.float64))
    return rings


def _centres(values: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.int64]:
    """Return how many centres of pixels lie before each coordinate."""
    return np.clip(np.ceil(values - 0.5), 0, size).astype(np.int64)


def _span(center: float, reach: Any, size: int) -> tuple[int, int]:
    first, stop = _centres(np.array([center - reach, center + reach]), size).tolist()
    return first, stop


def _segments(path: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], ...]:
    return path[:-1], np.diff(path, axis=0)


def _batches(
    counts: npt.NDArray[np.int64],
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Yield number of the edge and of the step of every step of every edge, in pieces."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        done = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, done + _BATCH, "right")), start + 1)
        part = counts[start:stop]
        edges = np.repeat(np.arange(start, stop), part)
        before = np.repeat(ends[start:stop] - part, part)
        yield edges, np.arange(done, done + len(edges)) - before
        start = stop


def _pairs(order: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    partner = np.empty_like(order)
    partner[order[::2]], partner[order[1::2]] = order[1::2], order[::2]
    return partner
