"""Strips and tiles: how a page of a TIFF file is cut, and the bytes of each part."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Segments", "TiffCompression", "Tile", "check_compression", "check_tile"]

TiffCompression: TypeAlias = Literal["zlib", "lzw", "zstd", "jpeg2000"] | None
"""How pixels are compressed; all are lossless."""

Tile: TypeAlias = Literal["auto"] | int | tuple[int, int] | None
"""Height and width of tiles, one number for both; None for strips."""

COMPRESSIONS: Final = ("zlib", "lzw", "zstd", "jpeg2000")
_TILE: Final = 512
_STEP: Final = 16
"""Sides of tiles are multiples of it."""
_STRIP_NBYTES: Final = 2**18
_LARGE_NBYTES: Final = 2**26
"""Pages from this size on are cut into tiles."""
_PREDICTED: Final = frozenset({"zlib", "lzw", "zstd"})


def check_compression(compression: str | None) -> TiffCompression:
    """Return the name of a compression.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if compression is not None and compression not in COMPRESSIONS:
        known = ", ".join(map(repr, COMPRESSIONS))
        raise ValueError(f"compression must be None or {known}, not {compression!r}")
    return compression  # type: ignore[return-value]


def check_tile(
    tile: Tile,
    size: tuple[int, int],
    *,
    pixel_nbytes: int,
    compressed: bool,
    pyramid: bool,
) -> tuple[int, int] | None:
    """Return height and width of tiles, None for strips.

    Parameters
    ----------
    tile
        As asked for; ``"auto"`` tiles what is compressed, has smaller copies or is large.
    size
        Height and width of a page.
    pixel_nbytes
        Of all components of a pixel.
    compressed, pyramid
        Whether pages are compressed, or have smaller copies.

    Raises
    ------
    ValueError
        If sides are not multiples of 16.
    """
    if tile is None:
        return None
    if isinstance(tile, str):
        if tile != "auto":
            raise ValueError(
                f'tile must be "auto", None or a height and width, not {tile!r}'
            )
        large = math.prod(size) * pixel_nbytes >= _LARGE_NBYTES
        if not (compressed or pyramid or large):
            return None
        # What is smaller than a tile is not padded to one.
        height, width = (min(_TILE, side + -side % _STEP) for side in size)
        return height, width
    sides = tile if isinstance(tile, tuple | list) else (tile, tile)
    try:
        height, width = (operator.index(side) for side in sides)
    except (TypeError, ValueError):
        raise ValueError(f"tile must be a height and width, not {tile!r}") from None
    if min(height, width) < 16 or height % 16 or width % 16:
        raise ValueError(
            f"tile {height} x {width}: sides of tiles must be multiples of 16"
        )
    return height, width


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """How a page is cut."""

    height: int
    """Rows of the page."""
    width: int
    """Columns of the page."""
    samples: int
    """Components of a pixel."""
    dtype: np.dtype[Any]
    """In the byte order of the file."""
    tile: tuple[int, int] | None
    """Height and width of tiles; None for strips."""
    compression: TiffCompression
    """Of each segment."""

    @property
    def rows(self) -> int:
        """Rows of a segment; the last strip may have fewer."""
        if self.tile is not None:
            return self.tile[0]
        if self.compression is None:
            return self.height
        row_nbytes = self.width * self.samples * self.dtype.itemsize
        return min(self.height, max(1, _STRIP_NBYTES // row_nbytes))

    @property
    def columns(self) -> int:
        """Columns of a segment."""
        return self.tile[1] if self.tile is not None else self.width

    @property
    def grid(self) -> tuple[int, int]:
        """Segments along Y and X."""
        return math.ceil(self.height / self.rows), math.ceil(self.width / self.columns)

    @property
    def count(self) -> int:
        """Segments of a page."""
        return math.prod(self.grid)

    @property
    def is_contiguous(self) -> bool:
        """Whether a page is one strip or tile of plain pixels."""
        whole = self.tile is None or self.tile == (self.height, self.width)
        return whole and self.compression is None

    @property
    def page_nbytes(self) -> int:
        """Size of a page without compression, of tiles with their padding."""
        down, across = self.grid
        height = down * self.rows if self.tile is not None else self.height
        width = across * self.columns
        return height * width * self.samples * self.dtype.itemsize

    @property
    def predictor(self) -> int:
        """Number of the predictor, 1 for none: differences help whole numbers."""
        small = self.dtype.kind in "iu" and self.dtype.itemsize <= 2
        return 2 if small and self.compression in _PREDICTED else 1

    def cut(self, row: int, pixels: NDArray[Any]) -> Iterator[tuple[int, bytes]]:
        """Yield number and bytes of each segment in a part of a page.

        Parameters
        ----------
        row
            First row of the part, the first one of a segment.
        pixels
            Of shape (rows, width) or (rows, width, samples): whole segments, but for the
            last rows of the page.
        """
        across = self.grid[1]
        for top in range(0, len(pixels), self.rows):
            for column in range(across):
                left = column * self.columns
                part = pixels[top : top + self.rows, left : left + self.columns]
                number = (row + top) // self.rows * across + column
                yield number, self._encoded(part)

    def _encoded(self, part: NDArray[Any]) -> bytes:
        if self.tile is not None and part.shape[:2] != self.tile:
            whole = np.zeros((*self.tile, *part.shape[2:]), self.dtype)
            whole[: part.shape[0], : part.shape[1]] = part
            part = whole
        part = np.ascontiguousarray(part, self.dtype)
        if self.compression is None:
            return part.tobytes()
        import imagecodecs

        data: Any = part
        if self.predictor == 2:
            # Along X, each component by itself.
            data = imagecodecs.delta_encode(part, axis=1)
        if self.compression == "zlib":
            return bytes(imagecodecs.zlib_encode(data, level=6))
        if self.compression == "zstd":
            return bytes(imagecodecs.zstd_encode(data, level=3))
        if self.compression == "lzw":
            return bytes(imagecodecs.lzw_encode(data))
        return bytes(
            imagecodecs.jpeg2k_encode(
                data, level=0, codecformat="j2k", reversible=True, mct=False
            )
        )
