"""Frames as limnd2 gives them: rows, columns, components as they are stored."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from limnd2_xr.arrays.levels import levels_of
from limnd2_xr.frames.pyramid import decode_level, halve
from limnd2_xr.model.legacy_document import is_legacy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.frames.store import FrameStore

    Rect: TypeAlias = tuple[int, int, int, int]

__all__ = ["clipped", "smaller_pixels", "stored_pixels"]

_WHOLE = slice(None)


def stored_pixels(
    store: FrameStore, number: int, rows: slice = _WHOLE, columns: slice = _WHOLE
) -> NDArray[Any]:
    """Return a frame or a part of it as it is stored, RGB as blue, green, red.

    Parameters
    ----------
    store
        The open file.
    number
        Of the frame.
    rows, columns
        Part to read.

    Returns
    -------
    ndarray
        Of shape (rows, columns, components), new; zeros if the file lacks the frame.
    """
    if is_legacy(store.document):  # whose components lie apart
        whole = _as_stored(store.read_frame(number))
        return np.ascontiguousarray(whole[rows, columns])
    found = store.read_stored(np.array([number]), rows=rows, columns=columns)
    pixels: NDArray[Any] = found[0]
    return pixels


def smaller_pixels(store: FrameStore, number: int, level: int) -> NDArray[Any]:
    """Return a frame whose sides are halved `level` times.

    From the copy in the file; without one each pixel is the mean of 2 x 2 of the level
    before.
    """
    for stored in levels_of(store.state):
        if stored.level == level and number in stored.frames:
            payload = store.read_chunk(stored.chunk_name(number))
            return _as_stored(decode_level(payload, stored.layout))
    pixels = store.read_frame(number)
    for _ in range(level):
        pixels = halve(pixels, rgb=store.table.layout.samples > 1)
    return _as_stored(pixels)


def clipped(rect: Rect | None, height: int, width: int) -> tuple[slice, slice]:
    """Return rows and columns of a rectangle, cut at the border of an image.

    Raises
    ------
    ValueError
        If nothing of the image is in it, it begins outside, or is not four numbers.
    """
    if rect is None:
        return _WHOLE, _WHOLE
    if len(rect) != 4:
        raise ValueError(f"rect is x, y, width and height, not {rect}")
    x, y, w, h = (operator.index(number) for number in rect)
    if not (0 <= x < width and 0 <= y < height and w > 0 and h > 0):
        raise ValueError(
            f"rect {rect} (x, y, width, height) is not in an image of {width} x {height}"
        )
    return slice(y, min(y + h, height)), slice(x, min(x + w, width))


def _as_stored(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return (C, Y, X) or (C, Y, X, S) as (Y, X, components), RGB as B, G, R."""
    if pixels.ndim == 3:
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))
    channels, height, width, samples = pixels.shape
    swapped = pixels.transpose(1, 2, 0, 3)[..., ::-1]
    return np.ascontiguousarray(swapped).reshape(height, width, channels * samples)
