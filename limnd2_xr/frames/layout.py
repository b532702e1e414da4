"""`PixelLayout`: how the bytes of one stored frame are arranged (FORMAT 5 and 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Compression", "PixelLayout"]

Compression: TypeAlias = Literal["none", "zlib", "jpeg2000", "unsupported"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelLayout:
    """Arrangement of the pixels of every frame of a file.

    Row-major, top row first, the components of a pixel side by side, each row padded
    to a multiple of four bytes (FORMAT 6.1).

    Examples
    --------
    >>> import numpy as np
    >>> layout = PixelLayout(
    ...     height=3,
    ...     width=5,
    ...     channels=1,
    ...     samples=3,
    ...     dtype=np.dtype("u1"),
    ...     row_nbytes=16,
    ... )
    >>> layout.components, layout.frame_nbytes, layout.frame_shape
    (3, 48, (1, 3, 5, 3))
    """

    height: int
    """Rows."""
    width: int
    """Pixels a row."""
    channels: int
    """Length of C."""
    samples: int
    """Components a channel: 1, or 3 for RGB, which then has the dimension S."""
    dtype: np.dtype[np.generic]
    """Little-endian type of one component."""
    row_nbytes: int
    """Bytes from one row to the next, padding included."""
    compression: Compression = "none"

    @property
    def components(self) -> int:
        """Interleaved components a pixel, over all channels."""
        return self.channels * self.samples

    @property
    def pixel_nbytes(self) -> int:
        """Bytes of one pixel, all components."""
        return self.components * self.dtype.itemsize

    @property
    def frame_nbytes(self) -> int:
        """Bytes of one uncompressed frame as stored."""
        return self.row_nbytes * self.height

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one frame as delivered: C, Y, X and, for RGB, S."""
        shape = (self.channels, self.height, self.width)
        return shape if self.samples == 1 else (*shape, self.samples)
