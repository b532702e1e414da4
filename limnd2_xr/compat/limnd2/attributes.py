"""``limnd2.attributes``: size and type of the frames."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from types import EllipsisType
from typing import ClassVar, Final

import numpy as np

from limnd2_xr.compat.limnd2.stored_struct import StoredStruct, record
from limnd2_xr.variants.tree import LvType

__all__ = ["ImageAttributes", "ImageAttributesCompression", "ImageAttributesPixelType"]

_I32, _U32, _F64 = LvType.INT32, LvType.UINT32, LvType.DOUBLE
_KINDS: Final = {0: "int", 1: "uint", 2: "float"}
_BITS: Final = {0: (8, 16, 32), 1: (8, 16, 32), 2: (16, 32, 64)}


class _Named(IntEnum):
    """A number that is shown with its name, as by limnd2."""

    def __repr__(self) -> str:
        return f"{self.name}({self.value})"


class ImageAttributesCompression(_Named):
    """How frames are compressed."""

    ictLossLess = 0
    ictLossy = 1
    ictNone = 2


class ImageAttributesPixelType(_Named):
    """What kind of number a sample is."""

    pxtSigned = 0
    pxtUnsigned = 1
    pxtReal = 2

    @staticmethod
    def short_name(pixel_type: int) -> str:
        """Return ``"int"``, ``"uint"``, ``"float"`` or ``"unknown"``."""
        return _KINDS.get(int(pixel_type), "unknown")


@dataclass(frozen=True, kw_only=True)
class ImageAttributes(StoredStruct):
    """Size, type and number of the frames.

    Examples
    --------
    >>> attributes = ImageAttributes.create(
    ...     width=30, height=20, component_count=2, bits=12, sequence_count=4
    ... )
    >>> attributes.shape, attributes.uiBpcInMemory, attributes.widthBytes
    ((20, 30, 2), 16, 120)
    """

    wrapper: ClassVar[str] = "SLxImageAttributes"
    MinDownsampledSize: ClassVar[int] = 512

    uiWidth: int = record(_U32, 0)
    uiWidthBytes: int = record(_U32, 0)
    uiHeight: int = record(_U32, 0)
    uiComp: int = record(_U32, 0)
    uiBpcInMemory: int = record(_I32, 0)
    uiBpcSignificant: int = record(_I32, 0)
    uiSequenceCount: int = record(_U32, 0)
    uiTileWidth: int = record(_U32, 0)
    uiTileHeight: int = record(_U32, 0)
    eCompression: int = record(
        _I32, ImageAttributesCompression.ictNone, ImageAttributesCompression
    )
    dCompressionParam: float = record(_F64, 0.0)
    ePixelType: int = record(
        _I32, ImageAttributesPixelType.pxtUnsigned, ImageAttributesPixelType
    )
    uiVirtualComponents: int = record(_U32, 0)

    @staticmethod
    def create(
        height: int,
        width: int,
        component_count: int,
        bits: int,
        sequence_count: int | EllipsisType,
    ) -> ImageAttributes:
        """Return attributes of uncompressed frames.

        Parameters
        ----------
        height, width
            Of a frame, in pixels. Height comes first; better name them.
        component_count
            Samples of a pixel.
        bits
            That are used of a sample: 1 to 16 of unsigned integers, or 32 of floats.
        sequence_count
            Number of frames; 0 or ``...`` where that is not known yet.

        Raises
        ------
        ValueError
            If there is no such frame.
        """
        count = 0 if isinstance(sequence_count, EllipsisType) else sequence_count
        sizes = {"height": height, "width": width, "component_count": component_count}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} is {size}: it has to be positive")
        if count < 0:
            raise ValueError(f"sequence_count is {count}: it cannot be negative")
        if bits != 32 and not 1 <= bits <= 16:
            raise ValueError(
                f"bits is {bits}: integers have 1 to 16 bits, floats 32; give an "
                "ImageAttributes with its fields for anything else"
            )
        return ImageAttributes(
            uiWidth=width,
            uiWidthBytes=ImageAttributes.calcWidthBytes(width, bits, component_count),
            uiHeight=height,
            uiComp=component_count,
            uiBpcInMemory=-(-bits // 8) * 8,
            uiBpcSignificant=bits,
            uiSequenceCount=count,
            uiTileWidth=width,
            uiTileHeight=height,
            ePixelType=(
                ImageAttributesPixelType.pxtReal
                if bits == 32
                else ImageAttributesPixelType.pxtUnsigned
            ),
            uiVirtualComponents=component_count,
        )

    @staticmethod
    def calcWidthBytes(width: int, bits: int, comps: int) -> int:
        """Return the bytes of a row, which is padded to a multiple of four."""
        return -(-(width * comps * -(-bits // 8)) // 4) * 4

    @property
    def width(self) -> int:
        """Pixels of a row."""
        return self.uiWidth

    @property
    def height(self) -> int:
        """Rows of a frame."""
        return self.uiHeight

    @property
    def componentCount(self) -> int:
        """Samples of a pixel."""
        return self.uiComp

    @property
    def frameCount(self) -> int:
        """Number of frames."""
        return self.uiSequenceCount

    @property
    def widthBytes(self) -> int:
        """Bytes of a row, with its padding."""
        if self.uiWidthBytes:
            return self.uiWidthBytes
        return self.calcWidthBytes(self.uiWidth, self.uiBpcInMemory, self.uiComp)

    @property
    def imageBytes(self) -> int:
        """Bytes of a frame, with the padding of its rows."""
        return self.widthBytes * self.uiHeight

    @property
    def componentBytes(self) -> int:
        """Bytes of a sample."""
        return -(-self.uiBpcInMemory // 8)

    @property
    def pixelBytes(self) -> int:
        """Bytes of a pixel with all its components."""
        return self.componentBytes * self.uiComp

    @property
    def dtype(self) -> type[np.generic]:
        """Type of a sample, a numpy class.

        Raises
        ------
        ValueError
            If numpy has no such type.
        """
        kind = ImageAttributesPixelType.short_name(self.ePixelType)
        if self.uiBpcInMemory not in _BITS.get(int(self.ePixelType), ()):
            raise ValueError(
                f"there are no samples of {self.uiBpcInMemory} bits {kind}"
            )
        return np.dtype(f"{kind}{self.uiBpcInMemory}").type

    @property
    def safe_dtype(self) -> type[np.generic]:
        """Type to compute in: ``int32`` or ``float32``."""
        is_real = self.ePixelType == ImageAttributesPixelType.pxtReal
        return np.float32 if is_real else np.int32

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and components."""
        return self.uiHeight, self.uiWidth, self.uiComp

    @property
    def strides(self) -> tuple[int, int, int]:
        """Bytes from row to row, from pixel to pixel, from component to component."""
        return self.widthBytes, self.pixelBytes, self.componentBytes

    @cached_property
    def powSize(self) -> int:
        """Power of two that the longer side fits in."""
        return 1 << self.powSizeBase

    @cached_property
    def powSizeBase(self) -> int:
        """Exponent of `powSize`."""
        return max(max(self.uiWidth, self.uiHeight) - 1, 0).bit_length()

    @cached_property
    def downsampleLevels(self) -> list[int]:
        """Levels of a pyramid: while `powSize` halved so often is larger than 512."""
        return [
            level
            for level in range(1, self.powSizeBase + 1)
            if self.powSize >> level > self.MinDownsampledSize
        ]

    def findDownsampledLevelFor(self, size: int) -> int:
        """Return the smallest level whose longer side is at least `size` pixels."""
        found = 0
        for level in self.downsampleLevels:
            if max(self.uiWidth, self.uiHeight) >> level < size:
                break
            found = level
        return found

    def makeDownsampled(self, downsample_level: int = 1) -> ImageAttributes:
        """Return the attributes of a level of a pyramid: sides halved so often."""
        width = self.uiWidth >> downsample_level
        return ImageAttributes(
            uiWidth=width,
            uiWidthBytes=self.calcWidthBytes(width, self.uiBpcInMemory, self.uiComp),
            uiHeight=self.uiHeight >> downsample_level,
            uiComp=self.uiComp,
            uiBpcInMemory=self.uiBpcInMemory,
            uiBpcSignificant=self.uiBpcSignificant,
            uiSequenceCount=self.uiSequenceCount,
            ePixelType=self.ePixelType,
        )
