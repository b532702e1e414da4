"""Binary layers: which masks a file has, and in which chunks they are (FORMAT 10).

A layer is a mask for each frame: label images as runs of pixels, or as grids of tiles.
The masks themselves are decoded by `limnd2_xr.frames.masks`.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.channel_tree import stored_color
from limnd2_xr.model.fields import integer
from limnd2_xr.model.matching import matched_parts
from limnd2_xr.model.tree_building import struct, xml_string, xml_struct, xml_u32
from limnd2_xr.model.tree_editing import merged, with_fields
from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "COLOR_MODES",
    "RASTER_LAYERS",
    "RLE_LAYERS",
    "BinaryLayer",
    "decode_raster_layers",
    "encode_raster_layers",
    "new_rle_layer",
    "parse_rle_layers",
    "rle_layers_tree",
]

RLE_LAYERS: Final = "CustomDataVar|BinaryMetadata_v1!"
"""Describes the layers of run-length pictures (FORMAT 10.1)."""
RASTER_LAYERS: Final = "CustomData|BinaryMetadata_v2!"
"""Describes the layers of tiles (FORMAT 10.3)."""

COLOR_MODES: Final = {
    0: "base",
    1: "custom",
    2: "classifier",
    4: "objects",
    8: "objects_3d",
    16: "tracked",
    32: "by_id",
    64: "by_value",
    128: "by_value_3d",
}
"""How a layer is coloured on the screen, by its code (FORMAT 10.1 [1S])."""

_STATES: Final = {
    0x1: "working",
    0x10: "tracked",
    0x20: "assay_tracked",
    0x40: "spots",
    0x80: "lines",
    0x100: "connected_3d",
    0x1000: "classified",
    0x10000: "selected",
    0x80000: "component",
}
_BOUND: Final = 0x80000
_ROOT: Final = "BinaryMetadata_v1"
_ITEM: Final = "BinaryItem"
_TILES: Final = "CustomDataSeq|TiledRasterBinaryData"
_SMALL_TILES: Final = "CustomDataSeq|DownsampledTiledRasterBinaryData"
_VENDOR_TILE: Final = 1024
_MOST_TILES: Final = 2**20
_LARGEST_SIDE: Final = 2**31 - 1
_MOST_INFLATED: Final = 2**26
_LARGEST: Final = 2**32 - 1
_TAG: Final = re.compile(r"[\x22-\x7b\x7d\x7e]{1,200}\Z")

JsonItem: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class BinaryLayer:
    """One binary layer; what concerns tiles is 0 or empty for run-length pictures.

    Examples
    --------
    >>> layer = BinaryLayer(
    ...     id=1, name="cells", kind="rle", file_tag="Rle_1", state_code=1
    ... )
    >>> layer.chunk_name(5), layer.state
    ('CustomDataSeq|Rle_1|5!', ('working',))
    """

    id: int
    """Number of the layer, from 1 on, as names of tiles contain it."""
    name: str = ""
    """What the user called it."""
    color: str = "#ffffff"
    """``#rrggbb``."""
    channel: str = ""
    """Name of the channel that the layer is bound to; empty for none."""
    component_order: int = 0
    """Place of the layer among those of its channel."""
    state_code: int = 0
    """Flags, as stored; those that are not known included."""
    color_mode: int = 0
    """How it is coloured: a code of `COLOR_MODES`, or another one."""
    file_tag: str = ""
    """What names of run-length chunks contain."""
    uuid: str = ""
    """Identifier."""
    kind: Literal["rle", "raster"] = "rle"
    """Whether masks are run-length pictures or tiles."""
    width: int = 0
    """Pixels of a row of the mask."""
    height: int = 0
    """Rows of the mask."""
    tile_width: int = 0
    """Pixels of a row of each tile."""
    tile_height: int = 0
    """Rows of each tile."""
    bit_depth: int = 0
    """Bits of a label: 32 in all that is known; others are read as 32, too."""
    compression: str = ""
    """``zlib`` in all that is known."""
    compression_level: int = 0
    """Of zlib."""
    emulated: bool = False
    """Whether there are no tiles: the masks are those of the run-length layer of the
    same id, which the vendor's library shows as tiles."""

    @property
    def state(self) -> tuple[str, ...]:
        """What the flags of `state_code` say, as far as they are known (1S)."""
        return tuple(name for bit, name in _STATES.items() if self.state_code & bit)

    def chunk_name(self, frame: int) -> str:
        """Return the chunk of a frame's run-length picture (FORMAT 10.2).

        Parameters
        ----------
        frame
            Number of the frame. It may have no chunk: then it has no objects.
        """
        return f"CustomDataSeq|{self.file_tag}|{frame}!"

    @property
    def full_size(self) -> int:
        """Smallest power of two that neither width nor height exceeds (FORMAT 6.6)."""
        return 1 << (max(self.width, self.height, 1) - 1).bit_length()

    def level_shape(self, size: int | None = None) -> tuple[int, int]:
        """Return rows and columns of the mask, or of a downsampled version of it.

        Parameters
        ----------
        size
            Power of two that names the version: `full_size` halved once a level.

        Raises
        ------
        ValueError
            The size is no such power of two.

        Examples
        --------
        >>> BinaryLayer(id=1, width=3000, height=2001).level_shape(2048)
        (1000, 1500)
        """
        if size is None:
            return self.height, self.width
        if not 0 < size <= self.full_size or size & (size - 1):
            raise ValueError(
                f"size {size} is no power of two up to {self.full_size}, which a mask of "
                f"{self.height} x {self.width} pixels can be stored at"
            )
        full = self.full_size
        return self.height * size // full, self.width * size // full

    def tile_names(
        self, frame: int, size: int | None = None
    ) -> dict[tuple[int, int], str]:
        """Return the chunks of a frame's tiles by row and column of the grid.

        Parameters
        ----------
        frame
            Number of the frame.
        size
            Power of two of a downsampled version, see `level_shape`; the mask itself
            where not given. Its tiles are as large as those of the mask.

        Raises
        ------
        ValueError
            The layer has no tiles, or the size is none of its versions.

        Examples
        --------
        >>> layer = BinaryLayer(
        ...     id=3, kind="raster", width=5, height=3, tile_width=4, tile_height=4
        ... )
        >>> layer.tile_names(7)[0, 1]
        'CustomDataSeq|TiledRasterBinaryData_3_0_1|7!'
        >>> layer.tile_names(7, 4)
        {(0, 0): 'CustomDataSeq|DownsampledTiledRasterBinaryData_3_4_0_0|7!'}
        """
        if self.tile_width < 1 or self.tile_height < 1:
            raise ValueError(f"layer {self.id} has no tiles")
        height, width = self.level_shape(size)
        whole = size is None or size == self.full_size
        stem = f"{_TILES}_{self.id}" if whole else f"{_SMALL_TILES}_{self.id}_{size}"
        return {
            (row, column): f"{stem}_{row}_{column}|{frame}!"
            for row in range(-(-height // self.tile_height))
            for column in range(-(-width // self.tile_width))
        }


def new_rle_layer(
    name: str,
    layers: Sequence[BinaryLayer] = (),
    *,
    color: str = "#00ff00",
    channel: str = "",
) -> BinaryLayer:
    """Return a layer to be added to those of a file: its id and tag are not taken yet.

    Parameters
    ----------
    name
        What to call it.
    layers
        All layers of the file, of both kinds.
    color
        ``#rrggbb``.
    channel
        Name of the channel to bind it to; empty for none.

    Examples
    --------
    >>> layer = new_rle_layer("nuclei", [BinaryLayer(id=4)], channel="DAPI")
    >>> layer.id, layer.file_tag, layer.state
    (5, 'RleZipBinarySequence_5_v1', ('component',))
    """
    number = max((layer.id for layer in layers), default=0) + 1
    tags = {layer.file_tag for layer in layers}
    while (tag := f"RleZipBinarySequence_{number}_v1") in tags:
        number += 1
    return BinaryLayer(
        id=number,
        name=name,
        color=color,
        channel=channel,
        component_order=sum(bool(channel) and x.channel == channel for x in layers),
        state_code=_BOUND if channel else 0,
        file_tag=tag,
    )


def parse_rle_layers(root: Level) -> tuple[BinaryLayer, ...]:
    """Return the layers of run-length pictures that a file describes (FORMAT 10.1 [2S]).

    Parameters
    ----------
    root
        Decoded chunk `RLE_LAYERS`.

    Raises
    ------
    CorruptChunk
        There is no list of layers, or a field is of the wrong type.

    Examples
    --------
    >>> layers = (new_rle_layer("cells", color="#ff8000"),)
    >>> parse_rle_layers(rle_layers_tree(layers)) == layers
    True
    """
    return tuple(_rle_layer(item) for item in _items(root).levels())


def _items(root: Level) -> Level:
    items = root.get(_ROOT)
    if items in (None, "") and _ROOT in root:
        return Level()
    if not isinstance(items, Level):
        raise CorruptChunk(f"there is no list {_ROOT}")
    return items


def _rle_layer(item: Level) -> BinaryLayer:
    return BinaryLayer(
        id=integer(item, "uiBinLayerID", 0),
        name=_text(item, "strName"),
        color=_color(integer(item, "uiColor", 0xFFFFFF)),
        channel=_text(item, "strCompName"),
        component_order=integer(item, "uiCompOrder", 0),
        state_code=integer(item, "uiState", 0),
        color_mode=integer(item, "uiColorMode", 0),
        file_tag=_text(item, "strFileTag"),
        uuid=_text(item, "strUuid"),
    )


def rle_layers_tree(layers: Sequence[BinaryLayer], base: Level | None = None) -> Level:
    """Return the content of chunk `RLE_LAYERS`, in terms of the XML encoding.

    Parameters
    ----------
    layers
        To describe, in this order.
    base
        What the file has in this chunk: what did not change stays as it is, and so does
        what is not known.

    Raises
    ------
    ValueError
        A layer is one of tiles, two have the same tag or id, a tag cannot be part of a
        name of a chunk, or a number does not fit into its field.
    """
    old: tuple[BinaryLayer, ...] = ()
    stored: list[Level] = []
    items = Level()
    if base is not None:
        old = parse_rle_layers(base)
        if tuple(layers) == old:
            return base
        items = _items(base)
        stored = items.levels()
    _check(layers, old, "rle")
    made = Level()
    for name, kind, value in zip(items.names, items.kinds, items.values, strict=True):
        if not isinstance(value, Level):
            made.add(name, kind, value)
    for layer, place in zip(layers, _places(layers, old), strict=True):
        item = _rle_item(layer)
        if place is not None:
            item = merged(stored[place], _rle_item(old[place]), item)
        made.add(*xml_struct(_ITEM, item))
    return with_fields(base or Level(), xml_struct(_ROOT, made))


def _rle_item(layer: BinaryLayer) -> Level:
    return struct(
        xml_u32("uiBinLayerID", layer.id),
        xml_string("strUuid", layer.uuid),
        xml_u32("uiState", layer.state_code),
        xml_u32("uiColor", stored_color(layer.color)),
        xml_string("strName", layer.name),
        xml_string("strCompName", layer.channel),
        xml_u32("uiCompOrder", layer.component_order),
        xml_string("strFileTag", layer.file_tag),
        xml_u32("uiColorMode", layer.color_mode),
    )


def decode_raster_layers(data: bytes) -> tuple[BinaryLayer, ...]:
    """Return the layers of tiles that a file describes (FORMAT 10.3 [1S, vendor]).

    Parameters
    ----------
    data
        Payload of chunk `RASTER_LAYERS`: JSON, as it is or as a zlib stream.

    Raises
    ------
    CorruptChunk
        It is no JSON of layers, or the sizes of one are impossible.

    Examples
    --------
    >>> layers = decode_raster_layers(
    ...     b'[{"binLayerId": 2, "binWidth": 5, "binHeight": 3}]'
    ... )
    >>> layers[0].tile_width, layers[0].kind
    (1024, 'raster')
    """
    return tuple(_raster_layer(item) for item in _json_items(data))


def _json_items(data: bytes) -> list[JsonItem]:
    try:
        found = json.loads(_inflated(bytes(data)).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, CorruptChunk):
            raise
        raise CorruptChunk(f"the list of layers is no JSON: {error}") from None
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise CorruptChunk("the JSON is no list of layers")
    return found


def _inflated(data: bytes) -> bytes:
    """Inflate what begins as a zlib stream does; JSON does not."""
    if data[:1] != b"\x78":
        return data
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, _MOST_INFLATED)
    except zlib.error as error:
        raise CorruptChunk(f"not a sound zlib stream: {error}") from None
    if not inflater.eof:
        raise CorruptChunk("the zlib stream is cut short or too long for a description")
    return text


def _raster_layer(item: JsonItem) -> BinaryLayer:
    layer = BinaryLayer(
        id=_number(item, "binLayerId", 0),
        name=_json_text(item, "binName"),
        color=_color(_number(item, "binColor", 0xFFFFFF)),
        channel=_json_text(item, "binComp"),
        component_order=_number(item, "binCompOrder", 0),
        state_code=_number(item, "binState", 0),
        color_mode=_number(item, "binColorMode", 0),
        uuid=_json_text(item, "binUuid"),
        kind="raster",
        width=_number(item, "binWidth", None),
        height=_number(item, "binHeight", None),
        tile_width=_number(item, "binTileWidth", _VENDOR_TILE),
        tile_height=_number(item, "binTileHeight", _VENDOR_TILE),
        bit_depth=_number(item, "binBitdepth", 32),
        compression=_json_text(item, "binCompressionId", "zlib"),
        compression_level=_number(item, "binCompressionLevel", 6),
        emulated=item.get("emulatedOverRle") is True,
    )
    complaint = _complaint(layer)
    if complaint:
        raise CorruptChunk(complaint)
    return layer


def _complaint(layer: BinaryLayer) -> str:
    """Say why a layer of tiles is impossible; empty if it is not."""
    sides = layer.height, layer.width, layer.tile_height, layer.tile_width
    if not all(0 < side <= _LARGEST_SIDE for side in sides):
        return "layer {} of {} x {} pixels in tiles of {} x {}".format(layer.id, *sides)
    tiles = math.prod(-(-n // tile) for n, tile in zip(sides, sides[2:], strict=False))
    if tiles > _MOST_TILES:
        return f"layer {layer.id} is of {tiles} tiles a frame"
    return ""


def encode_raster_layers(
    layers: Sequence[BinaryLayer], base: bytes | None = None
) -> bytes:
    """Return the payload of chunk `RASTER_LAYERS`, the inverse of `decode_raster_layers`.

    Parameters
    ----------
    layers
        To describe, in this order.
    base
        What the file has in this chunk: what did not change stays as it is, and so does
        what is not known. Compressed if that is.

    Raises
    ------
    ValueError
        A layer is none of tiles, of impossible sizes, two have the same id, or a number
        does not fit into its field.
    """
    old: tuple[BinaryLayer, ...] = ()
    stored: list[JsonItem] = []
    if base is not None:
        stored = _json_items(base)
        old = tuple(_raster_layer(item) for item in stored)
        if tuple(layers) == old:
            return bytes(base)
    _check(layers, old, "raster")
    made = []
    for layer, place in zip(layers, _places(layers, old), strict=True):
        item = _json_item(layer)
        if place is not None:
            before = _json_item(old[place])
            changed = {k: v for k, v in item.items() if before.get(k) != v}
            item = {**stored[place], **changed}
        made.append(item)
    text = json.dumps(made).encode()
    return zlib.compress(text) if base is not None and base[:1] == b"\x78" else text


def _json_item(layer: BinaryLayer) -> JsonItem:
    return {
        "binWidth": layer.width,
        "binHeight": layer.height,
        "binTileWidth": layer.tile_width,
        "binTileHeight": layer.tile_height,
        "binCompressionId": layer.compression,
        "binCompressionLevel": layer.compression_level,
        "binBitdepth": layer.bit_depth,
        "binLayerId": layer.id,
        "binName": layer.name,
        "binUuid": layer.uuid,
        "binComp": layer.channel,
        "binCompOrder": layer.component_order,
        "binState": layer.state_code,
        "binColor": stored_color(layer.color),
        "binColorMode": layer.color_mode,
        "emulatedOverRle": layer.emulated,
    }


def _places(
    layers: Sequence[BinaryLayer], old: Sequence[BinaryLayer]
) -> list[int | None]:
    return matched_parts(
        layers,
        old,
        lambda layer: layer,
        lambda layer: (layer.id, layer.file_tag),
        lambda layer: layer.file_tag or layer.id,
        lambda layer: layer.id,
    )


def _check(
    layers: Sequence[BinaryLayer],
    old: Sequence[BinaryLayer],
    kind: Literal["rle", "raster"],
) -> None:
    """Refuse new layers that cannot be written, or whose masks could not be told apart.

    What a file has already is kept, however odd.
    """
    ids = Counter(layer.id for layer in layers)
    tags = Counter(layer.file_tag for layer in layers)
    for layer in layers:
        if layer in old:
            continue
        named = f"layer {layer.id} ({layer.name!r})"
        if layer.kind != kind:
            raise ValueError(f"{named} is of kind {layer.kind}, not {kind}")
        numbers = layer.id, layer.component_order, layer.state_code, layer.color_mode
        if not all(0 <= number <= _LARGEST for number in numbers):
            raise ValueError(
                f"{named} has a number that is not within 0 and {_LARGEST}"
            )
        if ids[layer.id] > 1:
            raise ValueError(f"{named} has the id of another layer")
        if kind == "raster":
            if complaint := _complaint(layer):
                raise ValueError(complaint)
        elif not _TAG.match(layer.file_tag):
            raise ValueError(
                f"{named} has the tag {layer.file_tag!r}, which names of chunks cannot "
                "contain: letters, digits and other ASCII characters are allowed, but "
                "not | and !"
            )
        elif tags[layer.file_tag] > 1:
            raise ValueError(f"{named} has the tag of another layer, {layer.file_tag}")


def _color(stored: int) -> str:
    """``#rrggbb`` of 0xBBGGRR."""
    red, green, blue = (stored >> shift & 255 for shift in (0, 8, 16))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _text(level: Level, name: str) -> str:
    """Return a text just as stored: masks are found by it."""
    value = level.get(name)
    return value if isinstance(value, str) else ""


def _number(item: JsonItem, name: str, default: int | None) -> int:
    value = item.get(name, default)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise CorruptChunk(f"{name} of a layer is {str(value)[:40]}, no whole number")
    return value


def _json_text(item: JsonItem, name: str, default: str = "") -> str:
    value = item.get(name)
    return value if isinstance(value, str) else default
