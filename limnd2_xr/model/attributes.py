"""Image attributes: what one stored frame looks like (FORMAT 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from limnd2_xr.damage import report_damage
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.fields import finite, integer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limnd2_xr.variants.tree import Level

__all__ = [
    "COMPRESSION_CODES",
    "PIXEL_TYPE_CODES",
    "Attributes",
    "Compression",
    "PixelType",
]

Compression: TypeAlias = Literal["none", "lossless", "lossy"]
PixelType: TypeAlias = Literal["unsigned", "signed", "float"]

COMPRESSION_CODES: Final[Mapping[Compression, int]] = {
    "lossless": 0,
    "lossy": 1,
    "none": 2,
}
"""``eCompression`` of each kind of compression."""
PIXEL_TYPE_CODES: Final[Mapping[PixelType, int]] = {
    "signed": 0,
    "unsigned": 1,
    "float": 2,
}
"""``ePixelType`` of each kind of number."""

_COMPRESSION = {code: name for name, code in COMPRESSION_CODES.items()}
_PIXEL_TYPE = {code: name for name, code in PIXEL_TYPE_CODES.items()}
_DTYPES: dict[tuple[PixelType, int], str] = {
    ("unsigned", 8): "|u1",
    ("unsigned", 16): "<u2",
    ("signed", 8): "|i1",
    ("signed", 16): "<i2",
    ("float", 16): "<f2",
    ("float", 32): "<f4",
}
_MAX_UINT32 = 0xFFFF_FFFF


@dataclass(frozen=True, kw_only=True, slots=True)
class Attributes:
    """Size, sample type and compression of the frames of a file.

    Examples
    --------
    >>> attributes = Attributes(
    ...     width=130,
    ...     height=100,
    ...     components=3,
    ...     bits_in_memory=8,
    ...     bits_significant=8,
    ...     row_nbytes=392,
    ...     sequence_count=2,
    ... )
    >>> attributes.dtype, attributes.frame_nbytes
    (dtype('uint8'), 39200)
    """

    width: int
    """Pixels per row."""
    height: int
    """Rows."""
    components: int
    """Interleaved samples per pixel, over all channels; an RGB channel counts 3."""
    bits_in_memory: int
    """Bits of a stored sample: 8, 16 or 32."""
    bits_significant: int
    """Bits of a sample that carry data, from the lowest on."""
    row_nbytes: int
    """Bytes from one stored row to the next, padding included."""
    sequence_count: int
    """Frames that the file says it has; 0 in one that was never finished."""
    tile_width: int | None = None
    """Suggested tile width; None if it is the image width or not given."""
    tile_height: int | None = None
    """Suggested tile height; None if it is the image height or not given."""
    compression: Compression = "none"
    """Whether frames are stored plain, as zlib streams or in a lossy way."""
    compression_param: float | None = None
    """Level or quality of the compression, as stored."""
    pixel_type: PixelType = "unsigned"
    """Kind of number that a sample is."""
    virtual_components: int | None = None
    """As stored; equal to `components` in every file seen."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Little-endian numpy type of a stored sample."""
        return np.dtype(_DTYPES[self.pixel_type, self.bits_in_memory])

    @property
    def pixel_nbytes(self) -> int:
        """Bytes of all samples of one pixel."""
        return self.components * self.bits_in_memory // 8

    @property
    def frame_nbytes(self) -> int:
        """Bytes of one frame when not compressed, row padding included."""
        return self.row_nbytes * self.height

    @classmethod
    def from_raw(cls, level: Level) -> Attributes:
        """Check and convert a decoded ``SLxImageAttributes``.

        A sample of 32 bits is float32 whatever ``ePixelType`` says, as every reader
        takes it (FORMAT 5). A signed type gives int8 or int16. 16 bits of type
        "real" are float16, as in the vendor's Python package.

        Raises
        ------
        CorruptChunk
            If a field is missing or impossible, naming it.

        Warns
        -----
        Nd2Warning
            If the significant bits are impossible; then all bits count.
        """
        width = _size(level, "uiWidth")
        height = _size(level, "uiHeight")
        components = _size(level, "uiComp")
        bits = integer(level, "uiBpcInMemory")
        if bits not in (8, 16, 32):
            raise CorruptChunk(f"field uiBpcInMemory is {bits}, not 8, 16 or 32")
        used = width * components * bits // 8
        row_nbytes = integer(level, "uiWidthBytes", 0)
        if row_nbytes == 0:
            row_nbytes = -(-used // 4) * 4
        elif not used <= row_nbytes <= _MAX_UINT32:
            raise CorruptChunk(
                f"field uiWidthBytes is {row_nbytes}, but a row of {width} pixels "
                f"of {components} x {bits} bits needs {used} bytes"
            )
        count = integer(level, "uiSequenceCount", 0)
        if not 0 <= count <= _MAX_UINT32:
            raise CorruptChunk(f"field uiSequenceCount is {count}")
        virtual = integer(level, "uiVirtualComponents", 0)
        return cls(
            width=width,
            height=height,
            components=components,
            bits_in_memory=bits,
            bits_significant=_significant(level, bits),
            row_nbytes=row_nbytes,
            sequence_count=count,
            tile_width=_tile(level, "uiTileWidth", width),
            tile_height=_tile(level, "uiTileHeight", height),
            compression=_compression(level),
            compression_param=finite(level, "dCompressionParam"),
            pixel_type=_pixel_type(level, bits),
            virtual_components=virtual if virtual > 0 else None,
        )


def _size(level: Level, name: str) -> int:
    value = integer(level, name)
    if not 0 < value <= _MAX_UINT32:
        raise CorruptChunk(f"field {name} is {value}, not a positive size")
    return value


def _tile(level: Level, name: str, full: int) -> int | None:
    value = integer(level, name, 0)
    return value if value > 0 and value != full else None


def _significant(level: Level, bits: int) -> int:
    value = integer(level, "uiBpcSignificant", bits)
    if 1 <= value <= bits:
        return value
    report_damage(
        f"field uiBpcSignificant is {value} of {bits} stored bits",
        f"all {bits} are taken as significant",
    )
    return bits


def _compression(level: Level) -> Compression:
    code = integer(level, "eCompression", 2)
    if code not in _COMPRESSION:
        raise CorruptChunk(f"field eCompression is {code}, not 0, 1 or 2")
    return _COMPRESSION[code]


def _pixel_type(level: Level, bits: int) -> PixelType:
    if bits == 32:
        return "float"
    code = integer(level, "ePixelType", 1)
    kind = _PIXEL_TYPE.get(code)
    if kind is None or (kind, bits) not in _DTYPES:
        raise CorruptChunk(f"field ePixelType is {code}, with samples of {bits} bits")
    return kind
