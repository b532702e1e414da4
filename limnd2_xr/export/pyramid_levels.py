"""Smaller copies of an image for zooming out: how many, how large, and their pixels."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Method", "Pyramid", "halved", "level_sizes"]

Method: TypeAlias = Literal["mean", "nearest"]
"""How four pixels become one."""

Pyramid: TypeAlias = Literal["auto"] | int | bool
"""How many smaller copies: a number, False for none, or as many as are useful."""

_SMALL: Final = 256
"""An image of at most this height and width needs no smaller copy."""
_CACHED_NBYTES: Final = 2**20
_SUMS: Final = {"u1": "u2", "u2": "u4", "u4": "u8", "i1": "i2", "i2": "i4", "i4": "i8"}
"""Type that holds the sum of four values."""


def level_sizes(
    height: int, width: int, pyramid: Pyramid = "auto"
) -> tuple[tuple[int, int], ...]:
    """Return height and width of each level, that of the image itself first.

    Each is half as large as the one before: an odd last row or column is dropped, a
    single one is kept.

    Parameters
    ----------
    height, width
        Of the image, at least 1.
    pyramid
        How many smaller copies; ``"auto"`` and True: until neither side is above 256.

    Raises
    ------
    ValueError
        If `pyramid` is something else, or asks for more than there can be.

    Examples
    --------
    >>> level_sizes(1024, 601)
    ((1024, 601), (512, 300), (256, 150))
    >>> level_sizes(5, 1, 2)
    ((5, 1), (2, 1), (1, 1))
    """
    wanted = _count(pyramid)
    sizes = [(height, width)]
    while len(sizes) <= wanted if wanted is not None else max(sizes[-1]) > _SMALL:
        last = sizes[-1]
        if last == (1, 1):
            raise ValueError(
                f"pyramid={wanted}: {height} x {width} pixels can be halved "
                f"{len(sizes) - 1} times"
            )
        sizes.append((max(1, last[0] // 2), max(1, last[1] // 2)))
    return tuple(sizes)


def _count(pyramid: Pyramid) -> int | None:
    """How many copies are asked for; None for as many as are useful."""
    if pyramid is True or (isinstance(pyramid, str) and pyramid == "auto"):
        return None
    try:
        count = operator.index(pyramid)
    except TypeError:
        count = -1
    if count < 0:
        raise ValueError(
            'pyramid must be "auto", False or how many smaller copies there shall be, '
            f"not {pyramid!r}"
        )
    return count


def halved(pixels: NDArray[Any], method: Method) -> NDArray[Any]:
    """Return images of half the height and width.

    Parameters
    ----------
    pixels
        Of shape (..., Y, X): integers or floats.
    method
        ``"mean"`` of 2 x 2, exactly ``np.rint`` of it for integers: halves go to the
        even neighbour, so copies of copies grow neither darker nor brighter. Or
        ``"nearest"``: the first of the four, for labels.

    Returns
    -------
    ndarray
        Of the same type, C-contiguous. An odd last row or column is dropped; a single
        one is kept.

    Examples
    --------
    >>> halved(np.array([[1, 2, 9], [2, 1, 9]], "u1"), "mean")
    array([[2]], dtype=uint8)
    >>> halved(np.array([[1, 2, 9], [2, 1, 9]], "u1"), "nearest")
    array([[1]], dtype=uint8)
    """
    # A single row is its own neighbour.
    height, width = (max(1, n // 2) for n in pixels.shape[-2:])
    lower, right = (int(n > 1) for n in pixels.shape[-2:])
    even = pixels[..., : 2 * height : 2, : 2 * width : 2]
    if method == "nearest":
        return np.ascontiguousarray(even)
    smaller = np.empty((*pixels.shape[:-2], height, width), pixels.dtype)
    # Rows that stay in the cache: sums of a whole image are as large as the image.
    step = max(1, _CACHED_NBYTES // max(1, 2 * pixels[..., 0, :].nbytes))
    for first in range(0, height, step):
        rows = slice(2 * first, 2 * min(first + step, height), 2)
        below = slice(rows.start + lower, rows.stop + lower, 2)
        smaller[..., first : first + step, :] = _means(
            pixels[..., rows, : 2 * width], pixels[..., below, : 2 * width], right
        )
    return smaller


def _means(upper: NDArray[Any], lower: NDArray[Any], right: int) -> NDArray[Any]:
    """Return the means of 2 x 2 pixels, given the two rows of each."""
    kind = upper.dtype.newbyteorder("=").str[1:]
    if upper.dtype.kind == "f":
        wide = np.dtype(np.result_type(upper.dtype, np.float64))
    elif kind in _SUMS:
        wide = np.dtype(_SUMS[kind])
    else:
        return _means_of_64_bits(upper, lower, right)
    with np.errstate(invalid="ignore"):  # infinity less infinity: no number
        columns = np.add(upper, lower, dtype=wide)
        total: NDArray[Any] = columns[..., ::2] + columns[..., right::2]
        if wide.kind == "f":
            total *= 0.25
            return total
    # Half up, but for halves above an even number.
    up = total >> 2
    up &= 1
    total += up
    total += 1
    total >>= 2
    return total


def _means_of_64_bits(
    upper: NDArray[Any], lower: NDArray[Any], right: int
) -> NDArray[Any]:
    """Return the same of integers of which no type holds the sum of four."""
    four = [rows[..., start::2] for rows in (upper, lower) for start in (0, right)]
    quarter: NDArray[Any] = sum((part >> 2 for part in four[1:]), four[0] >> 2)
    rest: NDArray[Any] = sum((part & 3 for part in four[1:]), four[0] & 3)
    quarter = quarter + (rest >> 2)
    rest &= 3
    found: NDArray[Any] = quarter + ((rest + 1 + (quarter & 1)) >> 2)
    return found
