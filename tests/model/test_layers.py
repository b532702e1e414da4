"""Descriptions of binary layers: read, written back, edited, damaged."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.layers import (
    BinaryLayer,
    decode_raster_layers,
    encode_raster_layers,
    new_rle_layer,
    parse_rle_layers,
    rle_layers_tree,
)
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.encode import encode
from limnd2_xr.variants.tree import Level

# Made by hand in the spelling of FORMAT 4.1 and 10.1, with an item nobody knows.
STORED = (
    '<?xml version="1.0" encoding="UTF-8"?><variant version="1.0">'
    '<BinaryMetadata_v1 runtype="CLxListVariant">'
    '<BinaryItem runtype="CLxListVariant">'
    '<strName runtype="CLxStringW" value="Zellkerne &#x0022;A&#x0022; µ"/>'
    '<uiBinLayerID runtype="lx_uint32" value="2"/>'
    '<strCompName runtype="CLxStringW" value="N/A"/>'
    '<uiCompOrder runtype="lx_uint32" value="3"/>'
    '<strFileTag runtype="CLxStringW" value="RleZipBinarySequence_1_v1"/>'
    '<uiColor runtype="lx_uint32" value="4278255615"/>'
    '<uiColorMode runtype="lx_int32" value="512"/>'
    '<uiState runtype="lx_uint32" value="536870929"/>'
    '<dUnknown runtype="double" value="0.5"/>'
    "</BinaryItem>"
    '<BinaryItem runtype="CLxListVariant">'
    '<strFileTag runtype="CLxStringW" value="RleZipBinarySequence_1bd900c"/>'
    "</BinaryItem></BinaryMetadata_v1></variant>"
).encode()

XML_TEXT = st.text(
    st.characters(
        min_codepoint=32, exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"
    )
)
U32 = st.integers(0, 2**32 - 1)
TAG = st.text(
    st.characters(min_codepoint=34, max_codepoint=126, exclude_characters="|"),
    min_size=1,
    max_size=40,
)
COLOR = st.integers(0, 0xFFFFFF).map(lambda rgb: f"#{rgb:06x}")


def rle(text: st.SearchStrategy[str] = XML_TEXT) -> st.SearchStrategy[BinaryLayer]:
    return st.builds(
        BinaryLayer,
        id=U32,
        name=text,
        color=COLOR,
        channel=text,
        component_order=U32,
        state_code=U32,
        color_mode=U32,
        file_tag=TAG,
        uuid=text,
    )


RASTER = st.builds(
    BinaryLayer,
    id=U32,
    name=st.text(st.characters()),
    color=COLOR,
    channel=st.text(st.characters()),
    component_order=U32,
    state_code=U32,
    color_mode=U32,
    uuid=st.text(st.characters()),
    kind=st.just("raster"),
    width=st.integers(1, 70000),
    height=st.integers(1, 70000),
    tile_width=st.integers(128, 4096),
    tile_height=st.integers(128, 4096),
    bit_depth=U32,
    compression=st.text(st.characters()),
    compression_level=U32,
    emulated=st.booleans(),
)


def unique(
    layers: st.SearchStrategy[BinaryLayer],
) -> st.SearchStrategy[list[BinaryLayer]]:
    by: Any = (lambda layer: layer.id, lambda layer: layer.file_tag or layer.id)
    return st.lists(layers, max_size=5, unique_by=by)


def test_a_stored_description() -> None:
    first, second = parse_rle_layers(decode(STORED))
    assert first == BinaryLayer(
        id=2,
        name='Zellkerne "A" µ',
        color="#ffff00",
        channel="N/A",
        component_order=3,
        state_code=0x20000011,
        color_mode=512,
        file_tag="RleZipBinarySequence_1_v1",
    )
    assert first.state == ("working", "tracked")
    assert first.chunk_name(11) == "CustomDataSeq|RleZipBinarySequence_1_v1|11!"
    assert second == BinaryLayer(id=0, file_tag="RleZipBinarySequence_1bd900c")


def test_unchanged_layers_stay_to_the_bit() -> None:
    root = decode(STORED)
    assert encode(rle_layers_tree(parse_rle_layers(root), root)) == STORED


def test_an_edited_name_changes_nothing_else() -> None:
    root = decode(STORED)
    first, second = parse_rle_layers(root)
    edited = rle_layers_tree((replace(first, name="cells"), second), root)
    assert encode(edited) == STORED.replace(
        'value="Zellkerne &#x0022;A&#x0022; µ"'.encode(), b'value="cells"'
    )


def test_layers_are_dropped_added_and_reordered() -> None:
    root = decode(STORED)
    first, second = parse_rle_layers(root)
    added = new_rle_layer("new", (first, second), channel="DAPI")
    layers = (added, second, first)
    made = rle_layers_tree(layers, root)
    assert parse_rle_layers(decode(encode(made))) == layers
    items = made.level("BinaryMetadata_v1", create=True).levels()
    assert items[1:] == root.level("BinaryMetadata_v1", create=True).levels()[::-1]
    assert parse_rle_layers(rle_layers_tree((second,), root)) == (second,)
    assert parse_rle_layers(decode(encode(rle_layers_tree((), root)))) == ()


@given(unique(rle()))
def test_any_rle_layers_come_back(layers: list[BinaryLayer]) -> None:
    assert parse_rle_layers(decode(encode(rle_layers_tree(layers)))) == tuple(layers)


@given(unique(rle()), unique(rle()), st.data())
def test_any_edit_comes_back(
    old: list[BinaryLayer], new: list[BinaryLayer], data: st.DataObject
) -> None:
    kept = [layer for layer in old if data.draw(st.booleans())]
    mixed = data.draw(st.permutations(kept + new))
    assume(len({x.id for x in mixed}) == len(mixed) == len({x.file_tag for x in mixed}))
    base = rle_layers_tree(old)
    assert parse_rle_layers(rle_layers_tree(mixed, base)) == tuple(mixed)


@given(unique(RASTER))
def test_any_raster_layers_come_back(layers: list[BinaryLayer]) -> None:
    data = encode_raster_layers(layers)
    assert decode_raster_layers(data) == tuple(layers)
    assert decode_raster_layers(zlib.compress(data)) == tuple(layers)
    assert encode_raster_layers(layers, data) is data


def test_json_keeps_what_is_not_known() -> None:
    stored: list[dict[str, Any]] = [
        {"binWidth": 5, "binHeight": 3, "binLayerId": 2, "future": [1], "binName": "a"},
        {"binWidth": 5, "binHeight": 3, "binLayerId": 3, "binColor": 0x1FF0000},
    ]
    data = zlib.compress(json.dumps(stored).encode())
    first, second = decode_raster_layers(data)
    assert second.color == "#0000ff"
    made = encode_raster_layers((second, replace(first, name="b")), data)
    assert json.loads(zlib.decompress(made)) == [
        stored[1],
        {**stored[0], "binName": "b"},
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{}",
        b"[1]",
        b"\xff\xfe[",
        b"[" * 100_000,
        b"x\x9cgarbage",
        zlib.compress(b"[]" + b" " * 2**27),
        zlib.compress(b"[]" * 99)[:-5],
        b"[{}]",
        b'[{"binWidth": 5}]',
        b'[{"binWidth": 5, "binHeight": 0}]',
        b'[{"binWidth": 5, "binHeight": "3"}]',
        b'[{"binWidth": 5, "binHeight": 3.5}]',
        b'[{"binWidth": 5, "binHeight": NaN}]',
        b'[{"binWidth": 5, "binHeight": 1e999}]',
        b'[{"binWidth": 5, "binHeight": true}]',
        b'[{"binWidth": 5, "binHeight": 3, "binTileWidth": 0}]',
        b'[{"binWidth": 5, "binHeight": 3, "binLayerId": null}]',
        b'[{"binWidth": 99999, "binHeight": 99999, "binTileWidth": 1}]',
        b'[{"binWidth": 5, "binHeight": 9999999999}]',
        b'[{"binWidth": 5, "binHeight": ' + b"9" * 5000 + b"}]",
    ],
)
def test_damaged_json(data: bytes) -> None:
    with pytest.raises(CorruptChunk):
        decode_raster_layers(data)


def test_damaged_trees() -> None:
    with pytest.raises(CorruptChunk, match="BinaryMetadata_v1"):
        parse_rle_layers(Level())
    with pytest.raises(CorruptChunk, match="uiColor"):
        parse_rle_layers(
            decode(
                STORED.replace(b'"4278255615"', b'"x"').replace(
                    b'uiColor runtype="lx_uint32"', b'uiColor runtype="CLxStringW"'
                )
            )
        )
    empty = STORED[: STORED.index(b"<BinaryItem")] + b"</BinaryMetadata_v1></variant>"
    assert parse_rle_layers(decode(empty)) == ()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"file_tag": ""}, "tag ''"),
        ({"file_tag": "a|b"}, "tag 'a|b'"),
        ({"file_tag": "ä"}, "ASCII"),
        ({"file_tag": "x"}, "tag of another"),
        ({"id": 9}, "id of another"),
        ({"id": -1}, "number"),
        ({"state_code": 2**32}, "number"),
        ({"color": "red"}, "#rrggbb"),
        ({"kind": "raster"}, "kind raster"),
    ],
)
def test_layers_that_cannot_be_written(changes: dict[str, Any], match: str) -> None:
    other = BinaryLayer(id=9, file_tag="x")
    layer = replace(BinaryLayer(id=1, file_tag="y"), **changes)
    with pytest.raises(ValueError, match=match):
        rle_layers_tree((layer, other))


def test_raster_layers_that_cannot_be_written() -> None:
    sound = BinaryLayer(
        id=1, kind="raster", width=5, height=3, tile_width=4, tile_height=4
    )
    for wrong in (
        replace(sound, kind="rle"),
        replace(sound, width=0),
        replace(sound, tile_width=0),
        replace(sound, id=-1),
    ):
        with pytest.raises(ValueError, match="layer"):
            encode_raster_layers((wrong,))
    with pytest.raises(ValueError, match="id of another"):
        encode_raster_layers((sound, replace(sound, name="b")))


def test_odd_layers_of_a_file_are_kept() -> None:
    root = rle_layers_tree(
        (BinaryLayer(id=1, file_tag="a"), BinaryLayer(id=2, file_tag="b"))
    )
    odd = decode(encode(root).replace(b'value="b"', b'value="a"'))
    first, second = parse_rle_layers(odd)
    new = new_rle_layer("new", (first, second))
    assert parse_rle_layers(rle_layers_tree((first, second, new), odd))[2] == new


def test_names_of_tiles() -> None:
    layer = BinaryLayer(
        id=6, kind="raster", width=2100, height=1025, tile_width=1024, tile_height=1024
    )
    stem = "CustomDataSeq|TiledRasterBinaryData_6"
    assert layer.tile_names(4) == {
        (row, column): f"{stem}_{row}_{column}|4!"
        for row in range(2)
        for column in range(3)
    }
    assert layer.full_size == 4096
    assert layer.tile_names(4, 4096) == layer.tile_names(4)
    assert layer.level_shape(2048) == (512, 1050)
    small = "CustomDataSeq|DownsampledTiledRasterBinaryData_6_2048"
    assert layer.tile_names(0, 2048) == {
        (0, 0): f"{small}_0_0|0!",
        (0, 1): f"{small}_0_1|0!",
    }
    for size in (0, -2, 1000, 8192):
        with pytest.raises(ValueError, match="power of two"):
            layer.tile_names(0, size)
    with pytest.raises(ValueError, match="no tiles"):
        BinaryLayer(id=1).tile_names(0)


def test_new_layers_take_free_places() -> None:
    old = (
        BinaryLayer(id=1, channel="GFP", file_tag="RleZipBinarySequence_5_v1"),
        BinaryLayer(id=4, channel="GFP"),
    )
    layer = new_rle_layer("x", old, channel="GFP", color="#010203")
    assert (layer.id, layer.file_tag) == (6, "RleZipBinarySequence_6_v1")
    assert layer.component_order == 2
    assert new_rle_layer("y").state == ()
