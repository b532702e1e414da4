"""Stored smaller copies of frames: which there are, their bytes, and how they are made.

NIS-Elements keeps them in chunks of their own, ``DownsampledColorData_<size>``, whose
name says the smallest power of two that holds the image (FORMAT 6.6). All is [1S].
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.errors import CorruptChunk, UnsupportedDtype
from limnd2_xr.frames.packing import pack_frames, row_nbytes
from limnd2_xr.frames.pixels import copy_pixels, rows_view

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from limnd2_xr.frames.layout import PixelLayout

__all__ = [
    "LEVEL_FAMILY",
    "PyramidLevel",
    "decode_level",
    "encode_level",
    "halve",
    "level_chunk_name",
    "level_layout",
    "level_sizes",
    "parse_level_name",
    "pyramid_levels",
    "smaller_copies",
    "stored_levels",
    "wrong_size",
]

LEVEL_FAMILY: Final = "CustomDataSeq|DownsampledColorData_"
"""What the names of all chunks with smaller copies begin with."""

_NAME: Final = re.compile(
    re.escape(LEVEL_FAMILY) + r"([0-9]{1,10})\|([0-9]{1,10})!", re.ASCII
)
_SMALLEST: Final = 512
"""Copies of this size and below are not stored by the vendor."""
_CACHED_NBYTES: Final = 2**21
_WIDER: Final = {
    np.dtype(narrow): np.dtype(wide)
    for narrow, wide in {"u1": "u2", "u2": "u4", "i1": "i2", "i2": "i4"}.items()
}
"""Type that holds the sum of four values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PyramidLevel:
    """One size of smaller copies."""

    level: int
    """How often width and height are halved: 1, 2 ..."""
    size: int
    """Number in the names of its chunks."""
    layout: PixelLayout
    """How its pixels are stored."""
    frames: tuple[int, ...] = ()
    """Numbers of the frames of which there is a copy, ascending."""

    def chunk_name(self, frame: int) -> str:
        """Return the name of the chunk that holds the copy of a frame."""
        return level_chunk_name(self.size, frame)


def level_chunk_name(size: int, frame: int) -> str:
    """Return the name of a chunk with a smaller copy.

    Parameters
    ----------
    size
        Power of two that tells the level.
    frame
        Number of the frame.

    Examples
    --------
    >>> level_chunk_name(1024, 7)
    'CustomDataSeq|DownsampledColorData_1024|7!'
    """
    return f"{LEVEL_FAMILY}{size}|{frame}!"


def parse_level_name(name: str) -> tuple[int, int] | None:
    """Return size and frame number of such a name; None for names of other chunks.

    Examples
    --------
    >>> parse_level_name("CustomDataSeq|DownsampledColorData_1024|7!")
    (1024, 7)
    """
    match = _NAME.fullmatch(name)
    return None if match is None else (int(match[1]), int(match[2]))


def level_layout(layout: PixelLayout, level: int) -> PixelLayout:
    """Return how copies are stored whose sides were halved `level` times.

    Odd last rows and columns are dropped at each step; rows are padded anew, nothing is
    compressed.

    Raises
    ------
    ValueError
        If nothing is left of the image.

    Examples
    --------
    >>> from limnd2_xr.frames.layout import PixelLayout
    >>> layout = PixelLayout(
    ...     height=9,
    ...     width=11,
    ...     channels=1,
    ...     samples=3,
    ...     dtype=np.dtype("u1"),
    ...     row_nbytes=36,
    ... )
    >>> small = level_layout(layout, 1)
    >>> small.height, small.width, small.row_nbytes
    (4, 5, 16)
    """
    width, height = layout.width >> level, layout.height >> level
    if not width or not height:
        raise ValueError(
            f"nothing is left of {layout.height} x {layout.width} pixels at level "
            f"{level}"
        )
    return replace(
        layout,
        width=width,
        height=height,
        row_nbytes=row_nbytes(width, layout.components, layout.dtype),
        compression="none",
    )


def level_sizes(layout: PixelLayout, level: int) -> tuple[int, ...]:
    """Return the sizes by which writers call a level, the vendor's first.

    They disagree where halving an odd side makes the image fit a smaller power of two.

    Examples
    --------
    >>> from limnd2_xr.frames.layout import PixelLayout
    >>> layout = PixelLayout(
    ...     height=1025,
    ...     width=4,
    ...     channels=1,
    ...     samples=1,
    ...     dtype=np.dtype("u1"),
    ...     row_nbytes=4,
    ... )
    >>> level_sizes(layout, 1)
    (512, 1024)
    """
    small = _power_of_two(level_layout(layout, level))
    halved = _power_of_two(layout) >> level
    return (small,) if small == halved else (small, halved)


def pyramid_levels(layout: PixelLayout) -> tuple[PyramidLevel, ...]:
    """Return the levels that the vendor's writer stores for images of this size.

    With P the smallest power of two that holds the image, these are the levels whose
    P / 2**level is above 512.

    Examples
    --------
    >>> from limnd2_xr.frames.layout import PixelLayout
    >>> layout = PixelLayout(
    ...     height=2000,
    ...     width=3000,
    ...     channels=2,
    ...     samples=1,
    ...     dtype=np.dtype("u2"),
    ...     row_nbytes=12000,
    ... )
    >>> [(item.level, item.size, item.layout.width) for item in pyramid_levels(layout)]
    [(1, 2048, 1500), (2, 1024, 750)]
    """
    found = []
    level = 1
    whole = _power_of_two(layout)
    while whole >> level > _SMALLEST and _has(layout, level):
        small, size = level_layout(layout, level), level_sizes(layout, level)[0]
        found.append(PyramidLevel(level=level, size=size, layout=small))
        level += 1
    return tuple(found)


def stored_levels(
    chunks: Mapping[str, int | None], layout: PixelLayout
) -> tuple[PyramidLevel, ...]:
    """Return the levels of which a file has copies, of whatever size they are.

    The size in a name does not always tell the level: writers disagree where halving
    an odd side makes the image fit a smaller power of two. The bytes of the copies do.

    Parameters
    ----------
    chunks
        Bytes of the payload of each chunk by its name, None where not known; names of
        other chunks are passed over.
    layout
        Of the frames of the file.

    Returns
    -------
    tuple of PyramidLevel
        By level. A frame whose copy has another number of bytes is listed, and refused
        by `decode_level`.

    Raises
    ------
    CorruptChunk
        If no copy of a size can be of this image, naming the first.

    Examples
    --------
    >>> from limnd2_xr.frames.layout import PixelLayout
    >>> layout = PixelLayout(
    ...     height=1025,
    ...     width=4,
    ...     channels=1,
    ...     samples=1,
    ...     dtype=np.dtype("u1"),
    ...     row_nbytes=4,
    ... )
    >>> found = stored_levels({level_chunk_name(1024, 0): 2048}, layout)
    >>> [(item.level, item.layout.height, item.frames) for item in found]
    [(1, 512, (0,))]
    """
    sizes: dict[int, dict[int, int | None]] = {}
    for name, nbytes in chunks.items():
        place = parse_level_name(name)
        if place is not None:
            sizes.setdefault(place[0], {})[place[1]] = nbytes
    found: dict[int, PyramidLevel] = {}
    for size, copies in sizes.items():
        level = _level_of(size, copies, layout)
        # Of two sizes for one level the one with more copies is of use.
        other = found.get(level.level)
        if other is None or len(other.frames) < len(level.frames):
            found[level.level] = level
    return tuple(found[level] for level in sorted(found))


def decode_level(data: bytes | memoryview, layout: PixelLayout) -> NDArray[Any]:
    """Return the pixels of a smaller copy as frames are delivered.

    Parameters
    ----------
    data
        Payload of its chunk.
    layout
        Of the level.

    Returns
    -------
    ndarray
        Of shape (C, Y, X) and, for RGB, S in the order R, G, B; a new array.

    Raises
    ------
    CorruptChunk
        If the payload is not of the size of the level.
    """
    if len(data) != layout.frame_nbytes:
        raise wrong_size(len(data), layout)
    height, width = layout.height, layout.width
    out = np.empty((1, *layout.frame_shape), layout.dtype)
    stored = rows_view(data, layout, offset=0, shape=(1, height, width))
    rows, columns = slice(0, height, 1), slice(0, width, 1)
    rgb = layout.samples > 1
    copy_pixels(
        out,
        stored,
        target=(slice(0, 1, 1), rows),
        source=(rows, columns),
        channels=slice(0, layout.channels, 1),
        samples=slice(0, layout.samples, 1) if rgb else None,
    )
    pixels: NDArray[Any] = out[0]
    return pixels


def wrong_size(nbytes: int | None, layout: PixelLayout) -> CorruptChunk:
    """Return the error for a copy that has not the bytes of its level."""
    return CorruptChunk(
        f"holds {nbytes} bytes, where {layout.height} x {layout.width} pixels are "
        f"{layout.frame_nbytes}"
    )


def encode_level(pixels: NDArray[Any], layout: PixelLayout) -> bytes:
    """Return the payload of a smaller copy, the inverse of `decode_level`.

    Parameters
    ----------
    pixels
        Of shape (C, Y, X) and, for RGB, S.
    layout
        Of the level.

    Raises
    ------
    TypeError, ValueError
        If type or shape are not those of the level.
    """
    return pack_frames(pixels[np.newaxis], layout).tobytes()


def halve(pixels: NDArray[Any], *, rgb: bool = False) -> NDArray[Any]:
    """Return images of half the height and width: each pixel the mean of 2 x 2.

    Whole numbers are rounded down, as the vendor's package does [1S]; floats are not
    (which it does, too, and so loses all below 1). An odd last row or column is
    dropped.

    Parameters
    ----------
    pixels
        Of shape (..., Y, X) and, for RGB, S.
    rgb
        Whether there is S.

    Returns
    -------
    ndarray
        Of the same type.

    Raises
    ------
    UnsupportedDtype
        The type is none of which frames are.

    Examples
    --------
    >>> halve(np.array([[1, 2, 9], [2, 2, 9]], "u1"))
    array([[1]], dtype=uint8)
    """
    axis = -3 if rgb else -2
    height, width = pixels.shape[axis] // 2, pixels.shape[axis + 1] // 2
    tail = (slice(None),) if rgb else ()
    pixels = pixels[(..., slice(0, 2 * height), slice(0, 2 * width), *tail)]
    narrow = pixels.dtype.newbyteorder("=")
    if narrow.kind == "f" and narrow.itemsize <= 4:
        wide = np.dtype(np.float64)
    elif narrow in _WIDER:
        wide = _WIDER[narrow]
    else:
        raise UnsupportedDtype(f"frames are not {pixels.dtype}, nor are smaller copies")

    shape = (*pixels.shape[:axis], height, width, *pixels.shape[axis:][2:])
    smaller = np.empty(shape, pixels.dtype)
    # Rows that stay in the cache: sums of a whole image are as large as the image.
    step = max(1, _CACHED_NBYTES * height // max(1, pixels.nbytes))
    for first in range(0, height, step):
        source = (..., slice(2 * first, 2 * (first + step)), slice(None), *tail)
        target = (..., slice(first, first + step), slice(None), *tail)
        smaller[target] = _means(pixels[source], axis, wide)
    return smaller


def _means(pixels: NDArray[Any], axis: int, wide: np.dtype[np.generic]) -> NDArray[Any]:
    """Return the mean of 2 x 2 pixels each, summed in a type that holds the sum."""

    def every(start: int, along: int) -> tuple[Any, ...]:
        after = (slice(None),) * (-1 - along)
        return (..., slice(start, None, 2), *after)

    with np.errstate(invalid="ignore"):  # infinity less infinity: no number
        rows = np.add(pixels[every(0, axis)], pixels[every(1, axis)], dtype=wide)
        total: NDArray[Any] = rows[every(0, axis + 1)] + rows[every(1, axis + 1)]
        if wide.kind == "f":
            total *= 0.25
        else:
            total >>= 2
    return total


def smaller_copies(
    pixels: NDArray[Any], layout: PixelLayout
) -> Iterator[tuple[PyramidLevel, NDArray[Any]]]:
    """Make the smaller copies of a frame that the vendor's writer stores.

    Each is halved from the one before, so that rounding adds up as it does there.

    Parameters
    ----------
    pixels
        The frame, of shape (C, Y, X) and, for RGB, S.
    layout
        Of the frames.

    Yields
    ------
    level : PyramidLevel
        From the largest to the smallest.
    copy : ndarray
        Its pixels.
    """
    for level in pyramid_levels(layout):
        pixels = halve(pixels, rgb=layout.samples > 1)
        yield level, pixels


def _power_of_two(layout: PixelLayout) -> int:
    return 1 << (max(layout.width, layout.height) - 1).bit_length()


def _has(layout: PixelLayout, level: int) -> bool:
    return bool(layout.width >> level and layout.height >> level)


def _level_of(
    size: int, copies: Mapping[int, int | None], layout: PixelLayout
) -> PyramidLevel:
    """Return the level that the copies of one size are of."""
    candidates = []
    level = 1
    while _has(layout, level):
        if size in level_sizes(layout, level):
            candidates.append((level, level_layout(layout, level)))
        level += 1
    for level, small in candidates:
        if any(nbytes in {None, small.frame_nbytes} for nbytes in copies.values()):
            return PyramidLevel(
                level=level, size=size, layout=small, frames=tuple(sorted(copies))
            )
    frame, nbytes = next(iter(copies.items()))
    raise CorruptChunk(
        f"{nbytes} bytes are no smaller copy of an image of {layout.height} x "
        f"{layout.width} pixels",
        chunk=level_chunk_name(size, frame),
    )
