"""``limnd2.binary``: descriptions of binary layers."""

from __future__ import annotations

import json
import re
from collections import UserList
from dataclasses import asdict, dataclass, replace
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.model.channel_tree import stored_color
from limnd2_xr.model.layers import decode_raster_layers, parse_rle_layers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limnd2_xr.model.binary_layer import BinaryLayer
    from limnd2_xr.variants.tree import Level

__all__ = [
    "BinaryItemColorMode",
    "BinaryItemStateFlags",
    "BinaryRasterMetadata",
    "BinaryRasterMetadataItem",
    "BinaryRleMetadata",
    "BinaryRleMetadataItem",
]

_TILE: Final = 1024


class BinaryItemStateFlags(IntFlag):
    """What a layer is."""

    eBinLayerWorking = 0x1
    eBinLayerTracked = 0x10
    eBinLayerAssayTracked = 0x20
    eBinLayerSpots = 0x40
    eBinLayerLines = 0x80
    eBinLayer3DConnected = 0x100
    eBinLayerClassified = 0x1000
    eBinLayerSel = 0x10000
    eBinLayerComponent = 0x80000
    eBinLayerReserved = 0xF0000000


class BinaryItemColorMode(IntEnum):
    """How a layer is coloured."""

    eBaseBinObjColors = 0
    eCustomBinObjColors = 1
    eClassifierBinObjColors = 2
    eObjectsBinObjColors = 4
    e3DObjectsBinObjColors = 8
    eTrackedBinObjColors = 16
    eObjectsByIdBinObjColors = 32
    eObjectsByValueBinObjColors = 64
    e3DObjectsByValueBinObjColors = 128


def _parts(color: int) -> tuple[float, float, float]:
    red, green, blue = (color >> shift & 0xFF for shift in (0, 8, 16))
    return red / 255, green / 255, blue / 255


@dataclass(frozen=True, kw_only=True)
class BinaryRleMetadataItem:
    """A layer of runs of pixels."""

    uiBinLayerID: int = 0
    strUuid: str = ""
    uiState: int = 0
    uiColor: int = 0xFFFFFF
    strName: str = ""
    strCompName: str = ""
    uiCompOrder: int = 0
    strFileTag: str = ""
    uiColorMode: int = 0

    @classmethod
    def of(cls, layer: BinaryLayer) -> BinaryRleMetadataItem:
        """Return the description of a layer of this package."""
        return cls(
            uiBinLayerID=layer.id,
            strUuid=layer.uuid,
            uiState=layer.state_code,
            uiColor=stored_color(layer.color),
            strName=layer.name,
            strCompName=layer.channel,
            uiCompOrder=layer.component_order,
            strFileTag=layer.file_tag,
            uiColorMode=layer.color_mode,
        )

    @property
    def id(self) -> int:
        """Number of the layer."""
        return self.uiBinLayerID

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.strName

    def dataChunkName(self, seq: int) -> str:
        """Return the name of the chunk with the mask of a frame."""
        return f"CustomDataSeq|{self.strFileTag}|{seq}!"

    @property
    def dataChunkNameRegex(self) -> str:
        """Pattern of the names of all chunks with masks; its group is the frame."""
        return rf"CustomDataSeq\|{re.escape(self.strFileTag)}\|(\d+)!"

    def makeRasterMetadata(
        self, width: int, height: int, tilesize: int = _TILE, bitdepth: int = 32
    ) -> BinaryRasterMetadataItem:
        """Return the description of the layer as if its masks were stored as tiles.

        Parameters
        ----------
        width, height
            Of a mask.
        tilesize
            Width and height of a tile.
        bitdepth
            Bits of an id.
        """
        return BinaryRasterMetadataItem(
            binWidth=width,
            binHeight=height,
            binTileWidth=tilesize,
            binTileHeight=tilesize,
            binBitdepth=bitdepth,
            binLayerId=self.uiBinLayerID,
            binName=self.strName,
            binUuid=self.strUuid,
            binComp=self.strCompName,
            binCompOrder=self.uiCompOrder,
            binState=self.uiState,
            binColor=self.uiColor,
            binColorMode=self.uiColorMode,
            emulatedOverRle=True,
        )


@dataclass(frozen=True, kw_only=True)
class BinaryRasterMetadataItem:
    """A layer of tiles."""

    binWidth: int = 0
    binHeight: int = 0
    binTileWidth: int = _TILE
    binTileHeight: int = _TILE
    binCompressionId: str = "zlib"
    binCompressionLevel: int = 6
    binBitdepth: int = 32
    binLayerId: int = 0
    binName: str = ""
    binUuid: str = ""
    binComp: str = ""
    binCompOrder: int = 0
    binState: int = 0
    binColor: int = 0xFFFFFF
    binColorMode: int = 0
    emulatedOverRle: bool = False

    @classmethod
    def of(cls, layer: BinaryLayer) -> BinaryRasterMetadataItem:
        """Return the description of a layer of this package that is stored as tiles."""
        return cls(
            binWidth=layer.width,
            binHeight=layer.height,
            binTileWidth=layer.tile_width,
            binTileHeight=layer.tile_height,
            binCompressionId=layer.compression,
            binCompressionLevel=layer.compression_level,
            binBitdepth=layer.bit_depth,
            binLayerId=layer.id,
            binName=layer.name,
            binUuid=layer.uuid,
            binComp=layer.channel,
            binCompOrder=layer.component_order,
            binState=layer.state_code,
            binColor=stored_color(layer.color),
            binColorMode=layer.color_mode,
            emulatedOverRle=layer.emulated,
        )

    @property
    def id(self) -> int:
        """Number of the layer."""
        return self.binLayerId

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.binName

    @property
    def color(self) -> tuple[float, float, float]:
        """Red, green and blue, 0 to 1."""
        return _parts(self.binColor)

    @property
    def dtype(self) -> type[np.uint32]:
        """Type of an id."""
        return np.uint32

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a mask."""
        return self.binHeight, self.binWidth

    @property
    def tileShape(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        return self.binTileHeight, self.binTileWidth

    @property
    def strides(self) -> tuple[int, int]:
        """Bytes from row to row and from pixel to pixel of a mask."""
        return 4 * self.binWidth, 4

    @property
    def tileStrides(self) -> tuple[int, int]:
        """Bytes from row to row and from pixel to pixel of a tile."""
        return 4 * self.binTileWidth, 4

    @property
    def imageBytes(self) -> int:
        """Bytes of a mask."""
        return 4 * self.binWidth * self.binHeight

    @property
    def tileBytes(self) -> int:
        """Bytes of a tile."""
        return 4 * self.binTileWidth * self.binTileHeight

    @property
    def powSize(self) -> int:
        """Power of two that the longer side fits in."""
        return 1 << (max(self.binWidth, self.binHeight, 1) - 1).bit_length()

    def makeDownsampled(self, downsample_level: int = 1) -> BinaryRasterMetadataItem:
        """Return the description of masks whose sides are halved so often."""
        return replace(
            self,
            binWidth=self.binWidth >> downsample_level,
            binHeight=self.binHeight >> downsample_level,
        )


class BinaryRleMetadata(UserList[BinaryRleMetadataItem]):
    """Layers of runs of pixels."""

    @classmethod
    def of(cls, layers: Iterable[BinaryLayer]) -> BinaryRleMetadata:
        """Return the descriptions of those layers that are runs of pixels."""
        return cls(BinaryRleMetadataItem.of(la) for la in layers if la.kind == "rle")

    @staticmethod
    def from_var(tree: Level) -> BinaryRleMetadata:
        """Return what decoded chunk ``CustomDataVar|BinaryMetadata_v1!`` describes."""
        return BinaryRleMetadata.of(parse_rle_layers(tree))

    def findItemById(self, bin_id: int) -> BinaryRleMetadataItem | None:
        """Return the layer of a number; None if there is none."""
        return next((item for item in self.data if item.id == bin_id), None)

    @property
    def binIdList(self) -> list[int]:
        """Numbers of the layers."""
        return [item.id for item in self.data]

    @property
    def dataChunkNameRegexDict(self) -> dict[int, str]:
        """Pattern of the names of chunks by number of the layer."""
        return {item.id: item.dataChunkNameRegex for item in self.data}

    def makeRasterMetadata(
        self, width: int, height: int, tilesize: int = _TILE, bitdepth: int = 32
    ) -> BinaryRasterMetadata:
        """Return the layers as if they were tiles, see `BinaryRleMetadataItem`."""
        return BinaryRasterMetadata(
            item.makeRasterMetadata(width, height, tilesize, bitdepth)
            for item in self.data
        )


class BinaryRasterMetadata(UserList[BinaryRasterMetadataItem]):
    """Layers of tiles.

    Examples
    --------
    >>> layers = BinaryRasterMetadata(
    ...     [BinaryRasterMetadataItem(binLayerId=2, binWidth=5, binHeight=3)]
    ... )
    >>> BinaryRasterMetadata.from_json(layers.to_json()) == layers
    True
    """

    @classmethod
    def of(
        cls, layers: Iterable[BinaryLayer], width: int, height: int
    ) -> BinaryRasterMetadata:
        """Return the descriptions of all layers; those that are no tiles as if they were.

        Parameters
        ----------
        layers
            Of this package.
        width, height
            Of a frame.
        """
        return cls(
            BinaryRasterMetadataItem.of(layer)
            if layer.kind == "raster"
            else BinaryRleMetadataItem.of(layer).makeRasterMetadata(width, height)
            for layer in layers
        )

    def findItemById(self, bin_id: int) -> BinaryRasterMetadataItem | None:
        """Return the layer of a number; None if there is none."""
        return next((item for item in self.data if item.id == bin_id), None)

    @property
    def binIdList(self) -> list[int]:
        """Numbers of the layers."""
        return [item.id for item in self.data]

    @property
    def binNameList(self) -> list[str]:
        """Names of the layers."""
        return [item.name for item in self.data]

    @property
    def binColorList(self) -> list[tuple[float, float, float]]:
        """Colours of the layers."""
        return [item.color for item in self.data]

    def to_json(self) -> str:
        """Return the layers as chunk ``CustomData|BinaryMetadata_v2!`` has them."""
        return json.dumps([asdict(item) for item in self.data])

    @staticmethod
    def from_json(data: bytes | str) -> BinaryRasterMetadata:
        """Return what chunk ``CustomData|BinaryMetadata_v2!`` describes."""
        payload = data.encode() if isinstance(data, str) else bytes(data)
        return BinaryRasterMetadata(
            map(BinaryRasterMetadataItem.of, decode_raster_layers(payload))
        )
