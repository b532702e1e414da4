"""Descriptions of the binary layers of a file, read and written back (FORMAT 10).

A layer is a mask for each frame: label images as runs of pixels, or as grids of tiles.
The masks themselves are decoded by `limnd2_xr.frames.masks`.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.binary_layer import COLOR_MODES, BinaryLayer, new_rle_layer
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

_ROOT: Final = "BinaryMetadata_v1"
_ITEM: Final = "BinaryItem"
_VENDOR_TILE: Final = 1024
_MOST_TILES: Final = 2**20
_LARGEST_SIDE: Final = 2**31 - 1
_MOST_INFLATED: Final = 2**26
_LARGEST: Final = 2**32 - 1
_TAG: Final = re.compile(r"[\x22-\x7b\x7d\x7e]{1,200}\Z")

JsonItem: TypeAlias = dict[str, Any]


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
