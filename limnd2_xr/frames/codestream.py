"""JPEG 2000 codestreams: what their headers say, and their pixels.

Nothing is decoded before the header was compared with what the file says of its
images: a header that lies costs no memory.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.errors import CorruptChunk, UnsupportedFeature

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HEADER_NBYTES", "CodestreamHeader", "decode_codestream", "parse_header"]

HEADER_NBYTES: Final = 1024
"""The main header of a codestream of up to 300 components is no longer than this."""

_START: Final = b"\xff\x4f\xff\x51"
_SIZE = struct.Struct(">HHIIIIIIIIH")
_SIZE_AT: Final = 4
_MARKER = struct.Struct(">HH")
_CODING_STYLE: Final = 0xFF52
_TILE_PART: Final = 0xFF90
_TILE_NBYTES: Final = 14
"""Bytes that a tile has at least: two markers and the parameters of the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodestreamHeader:
    """Main header of a codestream."""

    width: int
    """Pixels a row."""
    height: int
    """Rows."""
    components: int
    """Values a pixel."""
    bits: int
    """Bits of a value, of the deepest component."""
    parts: int
    """Tiles and precincts, each of which takes bytes in the codestream and memory."""
    reversible: bool
    """Whether nothing was lost by the transformation."""


def parse_header(data: bytes) -> CodestreamHeader:
    """Return what the main header of a codestream says.

    Parameters
    ----------
    data
        The codestream, or its first `HEADER_NBYTES`.

    Raises
    ------
    CorruptChunk
        It is no codestream, or one of a kind that microscopes do not make: signed
        values, or components of different sizes.
    """
    if not data.startswith(_START) or len(data) < _SIZE_AT + _SIZE.size:
        raise CorruptChunk("there is no JPEG 2000 codestream")
    length, _, x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0, components = (
        _SIZE.unpack_from(data, _SIZE_AT)
    )
    depths = data[_SIZE_AT + _SIZE.size : _SIZE_AT + length]
    if not 0 < components <= 16384 or len(depths) != 3 * components:
        raise CorruptChunk("the size marker of the codestream is damaged")
    if x1 <= x0 or y1 <= y0 or not tile_x or not tile_y:
        raise CorruptChunk("the codestream has no size")
    if any(depth & 0x80 for depth in depths[::3]) or set(
        depths[1::3] + depths[2::3]
    ) != {1}:
        raise CorruptChunk("the codestream has signed or subsampled components")
    tiles = -(-(x1 - tile_x0) // tile_x) * -(-(y1 - tile_y0) // tile_y)
    reversible, precincts = _coding_style(data, _SIZE_AT + length, (x1 - x0, y1 - y0))
    return CodestreamHeader(
        width=x1 - x0,
        height=y1 - y0,
        components=components,
        bits=max(depths[::3]) + 1,
        parts=tiles * _TILE_NBYTES + precincts,
        reversible=reversible,
    )


def _coding_style(data: bytes, at: int, size: tuple[int, int]) -> tuple[bool, int]:
    """Whether the wavelets are reversible, and the precincts of the full resolution."""
    while at + _MARKER.size <= len(data):
        marker, length = _MARKER.unpack_from(data, at)
        style = data[at + _MARKER.size : at + 2 + length]
        if marker == _TILE_PART or length < 2:
            break
        if marker == _CODING_STYLE and len(style) >= 10:
            precincts = 1
            if style[0] & 1 and len(style) > 10:
                wide, high = style[-1] & 15, style[-1] >> 4
                precincts = -(-size[0] // (1 << wide)) * -(-size[1] // (1 << high))
            return style[9] == 1, precincts
        at += 2 + length
    return True, 1


def decode_codestream(
    data: bytes, *, shape: tuple[int, int], components: int, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Pixels of a codestream.

    Parameters
    ----------
    data
        The codestream.
    shape
        Rows and columns that it must have.
    components
        Values a pixel that it must have.
    dtype
        Unsigned type that its values must fit into.

    Returns
    -------
    ndarray
        Shape (rows, columns, components), of type `dtype`.

    Raises
    ------
    CorruptChunk
        The codestream is another image than that, or damaged.
    UnsupportedFeature
        Its decoder is not installed.
    """
    header = parse_header(data)
    if (header.height, header.width, header.components) != (*shape, components):
        raise CorruptChunk(
            f"an image of {header.width} x {header.height} pixels with "
            f"{header.components} components, not {shape[1]} x {shape[0]} with "
            f"{components}"
        )
    if header.bits > 8 * dtype.itemsize:
        raise CorruptChunk(f"values of {header.bits} bits do not fit into {dtype}")
    if header.parts > len(data):
        raise CorruptChunk("the codestream is shorter than its own header asks for")
    try:
        import imagecodecs
    except ImportError as error:
        raise UnsupportedFeature(
            "the images of format 1.0 are JPEG 2000, for which imagecodecs is needed: "
            'python -m pip install "limnd2-xr[legacy]"'
        ) from error
    try:
        found = imagecodecs.jpeg2k_decode(data, numthreads=1)
    except (imagecodecs.Jpeg2kError, ValueError) as error:
        raise CorruptChunk(f"the codestream is damaged: {error}") from error
    pixels = np.asarray(found)
    if pixels.size != shape[0] * shape[1] * components or pixels.dtype.kind != "u":
        raise CorruptChunk("the codestream holds another image than its header says")
    return pixels.reshape(*shape, components).astype(dtype, copy=False)
