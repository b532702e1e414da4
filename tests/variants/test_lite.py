from __future__ import annotations

import struct
import time
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.testing.strategies import damaged, levels
from limnd2_xr.testing.trees import tree
from limnd2_xr.variants import lite
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from collections.abc import Callable

ROI = bytes.fromhex(
    "0B0F52006F0069004D0065007400610064006100740061005F00760031000000"
    "00000000"
    "2C00000000000000"
)


def record(kind: int, name: str, value: bytes) -> bytes:
    raw = (name + "\0").encode("utf-16-le") if name else b""
    return bytes((kind, len(raw) // 2)) + raw + value


def open_level(name: str, count: int, length: int) -> bytes:
    return record(11, name, struct.pack("<IQ", count, length))


def sample() -> Level:
    inner = tree(
        ("b", LvType.BOOL, True),
        ("", LvType.DOUBLE, -0.0),
        ("", LvType.STRING, "µm λ \U0001f52c"),
        ("dZLow", LvType.DOUBLE, 1.5),
        ("dZLow", LvType.DOUBLE, 1.5),
        ("raw", LvType.BYTES, b"\0\1\2"),
        ("big", LvType.UINT64, 2**64 - 1),
        ("low", LvType.INT64, -(2**63)),
        ("pointer", LvType.POINTER, 7),
    )
    return tree(
        ("SLxThing", LvType.LEVEL, inner), ("uiCon20(L", LvType.UINT32, 4294967295)
    )


# ------------------------------------------------------------------ both ways


@given(levels())
def test_encode_decode(level: Level) -> None:
    data = lite.encode(level)
    assert lite.decode(data) == level
    assert lite.encode(lite.decode(data)) == data
    assert lite.decode(bytearray(data)) == level
    assert lite.decode(memoryview(data)) == level


@given(levels())
def test_compressed_both_ways(level: Level) -> None:
    data = lite.encode(level, compressed=True)
    assert data[:4] == b"LV0Z"
    assert struct.unpack_from("<Q", data, 4)[0] == len(lite.encode(level))
    assert lite.decode(data) == level


@pytest.mark.realdata
def test_real_chunks_are_written_back_byte_for_byte(
    real_chunks: dict[tuple[str, str], bytes],
) -> None:
    seen = 0
    for place, data in real_chunks.items():
        if lite.looks_like_lite(data):
            level = lite.decode(data)
            compressed = data.startswith(b"LV0Z")
            assert lite.encode(level, compressed=compressed) == data, place
            seen += 1
    assert seen == 48


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["f_t_xy_z", "r12_t_f32_2c", "a3_z_3c_12bit"])
def test_chunks_of_the_vendors_package_are_written_back_with_the_same_content(
    name: str, made_chunks: Callable[[str], dict[str, bytes]]
) -> None:
    for data in made_chunks(name).values():
        if lite.looks_like_lite(data):
            level = lite.decode(data)
            assert lite.decode(lite.encode(level)) == level


# ------------------------------------------------------------------ test vectors


def test_empty_roi_metadata() -> None:
    assert len(ROI) == 44
    level = lite.decode(ROI)
    assert level.names == ["RoiMetadata_v1"]
    assert level["RoiMetadata_v1"] == Level()
    assert lite.encode(level) == ROI


def test_attributes_vector() -> None:
    u, i, d = LvType.UINT32, LvType.INT32, LvType.DOUBLE
    fields = tree(
        ("uiWidth", u, 38),
        ("uiWidthBytes", u, 152),
        ("uiHeight", u, 31),
        ("uiComp", u, 2),
        ("uiBpcInMemory", i, 16),
        ("uiBpcSignificant", i, 12),
        ("uiSequenceCount", u, 30),
        ("uiTileWidth", u, 38),
        ("uiTileHeight", u, 31),
        ("eCompression", i, 2),
        ("dCompressionParam", d, -1.0),
        ("ePixelType", i, 1),
        ("uiVirtualComponents", u, 2),
    )
    data = lite.encode(tree(("SLxImageAttributes", LvType.LEVEL, fields)))
    assert len(data) == 580
    assert data[:2] == b"\x0b\x13"
    count, length = struct.unpack_from("<IQ", data, 40)
    assert (count, length) == (13, 476)
    table = struct.unpack_from("<13Q", data, 476)
    offsets = [52, 74, 106, 130, 150, 184, 224, 262, 292, 324, 356, 402, 430]
    assert sorted(table) == offsets
    assert list(table) == [
        *(356, 324, 402, 150, 184, 130, 106, 224, 292, 262, 430, 52, 74)
    ]
    assert lite.decode(data)["SLxImageAttributes"] == fields


def test_guid_store_is_184_bytes() -> None:
    store = tree(
        ("GUID", LvType.STRING, ""),
        ("GUIDAncestor", LvType.STRING, ""),
        (
            "GUIDChildren",
            LvType.LEVEL,
            tree(("GUIDChildrenAmount", LvType.UINT32, 0)),
        ),
    )
    assert len(lite.encode(tree(("GUID", LvType.LEVEL, store)))) == 184


def test_compressed_molecule_analysis_is_58_bytes() -> None:
    level = tree(("SLxMoleculeAnalysis", LvType.LEVEL, Level()))
    assert len(lite.encode(level)) == 54
    assert len(lite.encode(level, compressed=True)) == 58


# ------------------------------------------------------------------ tolerated


def test_several_top_level_records() -> None:
    data = record(6, "dZoom", struct.pack("<d", 2.25)) + record(1, "b", b"\1")
    assert lite.decode(data).to_plain() == {"dZoom": 2.25, "b": True}
    assert lite.decode(b"") == Level()


def test_any_byte_but_zero_is_true() -> None:
    assert lite.decode(record(1, "bUseZ", b"\x74"))["bUseZ"] is True


def test_empty_name_with_its_terminator() -> None:
    data = b"\x01\x01\0\0\x01"
    assert lite.decode(data).names == [""]
    assert lite.encode(lite.decode(data)) == b"\x01\x00\x01"


def test_old_level_ends_at_an_absolute_offset() -> None:
    first = record(1, "b", b"\1")
    head = 2 + 4 + 12
    child = record(3, "", struct.pack("<I", 5))
    end = len(first) + head + len(child)
    data = first + record(10, "o", struct.pack("<IQ", 1, end)) + child
    data += struct.pack("<Q", len(first) + head)
    level = lite.decode(data)
    assert level.kinds == [LvType.BOOL, LvType.OLD_LEVEL]
    assert level["o"].to_plain() == [5]  # type: ignore[union-attr]
    assert lite.encode(level) == data


def test_lone_surrogates_survive() -> None:
    data = record(8, "s", b"\x00\xd8A\0\0\0")
    assert lite.decode(data)["s"] == "\ud800A"
    assert lite.encode(lite.decode(data)) == data


@pytest.mark.parametrize(
    "text", ["", "A", "\u0100", "A\u0100", "\u0100A\u0200", "é\u4e00"]
)
def test_zeros_astride_two_units_end_no_string(text: str) -> None:
    level = tree(("s", LvType.STRING, text), ("t", LvType.STRING, text))
    assert lite.decode(lite.encode(level)) == level


# ------------------------------------------------------------------ nested


def test_nested_documents() -> None:
    level = sample()
    assert lite.decode_nested(lite.encode(level)) == level
    assert lite.decode_nested(lite.encode(level, compressed=True)) == level


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1",
        bytes([1, 1, 0, 0]),
        bytes([1] * 40),
        b"LV0Z",
        b"LV0Z" + bytes(20),
        b"\x0c\x02a\0\0\0\1",
        b"\x03\x02a\0\0\0\1",
        ROI + b"\0",
        ROI[:-1],
        struct.pack("<4d", 1.0, 0.0, 0.0, 1.0),
    ],
)
def test_other_bytes_are_no_nested_document(data: bytes) -> None:
    assert lite.decode_nested(data) is None


@pytest.mark.realdata
def test_scan_area_of_a_real_file(real_chunks: dict[tuple[str, str], bytes]) -> None:
    level = lite.decode(real_chunks["zstack_z11", "ImageMetadataSeqLV|0!"])
    for name in ("SLxPictureMetadata", "sPicturePlanes", "sSampleSetting", "a0"):
        level = level.level(name, create=True)
    area = lite.decode_nested(level["baScanArea"])  # type: ignore[arg-type]
    assert area is not None
    assert len(area) == 11
    assert area["dZoom"] == 2.25


# ------------------------------------------------------------------ refused


def test_every_truncation_is_noticed() -> None:
    data = lite.encode(tree(("R", LvType.LEVEL, sample())))
    for n in range(1, len(data)):
        with pytest.raises(CorruptChunk):
            lite.decode(data[:n])


def test_every_truncation_of_a_compressed_document_is_noticed() -> None:
    data = lite.encode(sample(), compressed=True)
    for n in range(4, len(data)):
        with pytest.raises(CorruptChunk):
            lite.decode(data[:n])


@given(st.data())
def test_damage_is_noticed_or_decodes(data: st.DataObject) -> None:
    compressed = data.draw(st.booleans())
    good = lite.encode(data.draw(levels()), compressed=compressed)
    try:
        level = lite.decode(data.draw(damaged(good)))
    except CorruptChunk:
        return
    assert isinstance(level, Level)


@given(st.binary(max_size=200))
def test_arbitrary_bytes(data: bytes) -> None:
    try:
        level = lite.decode(data)
    except CorruptChunk:
        return
    assert lite.decode(lite.encode(level)) == level


@pytest.mark.parametrize(
    ("data", "message", "offset"),
    [
        (b"\x0c\0", "unknown record type 12", 0),
        (b"\0\0", "unknown record type 0", 0),
        (record(1, "b", b"\1") + b"\x4c\0", "unknown record type 76", 7),
        (record(1, "b", b"\1") + b"\1", "cut short", 7),
        (b"\x03\x02a\0", "not terminated", 0),
        (b"\x03\x02a\0b\0" + bytes(4), "not terminated", 0),
        (record(8, "s", b"A\0B\0"), "'s' is not terminated", 0),
        (record(8, "s", b"A\0\0"), "cut short", 0),
        (record(9, "a", struct.pack("<Q", 2**63)), "too late", 0),
        (record(6, "d", bytes(7)), "cut short", 0),
        (open_level("L", 0, 17), "does not fit", 0),
        (open_level("L", 0, 19), "does not fit", 0),
        (open_level("L", 1, 18) + bytes(8), "does not fit", 0),
        (open_level("L", 2**32 - 1, 18), "does not fit", 0),
        (open_level("L", 0, 2**64 - 1), "does not fit", 0),
        (open_level("L", 1, 24) + b"\1\0\1\1\0\1" + bytes(8), "holds 2 records", 0),
        (open_level("L", 1, 20) + b"\1\0\1" + bytes(8), "too late", 0),
        (record(10, "o", struct.pack("<IQ", 0, 0)), "does not fit", 0),
    ],
)
def test_lies_are_named(data: bytes, message: str, offset: int) -> None:
    with pytest.raises(CorruptChunk, match=message) as caught:
        lite.decode(data)
    assert caught.value.offset == offset


def test_nesting_is_limited() -> None:
    def nested(depth: int) -> bytes:
        # From the innermost level outwards; an empty level takes 14 bytes.
        heads = [record(11, "", struct.pack("<IQ", 0, 14))]
        length = 14
        for _ in range(depth - 1):
            heads.append(record(11, "", struct.pack("<IQ", 1, 14 + length)))
            length += 14 + 8
        return b"".join(reversed(heads)) + struct.pack("<Q", 14) * (depth - 1)

    level = lite.decode(nested(lite.MAX_DEPTH))
    depth = 0
    while level.values:
        level, depth = level.values[0], depth + 1  # type: ignore[assignment]
    assert depth == lite.MAX_DEPTH
    with pytest.raises(CorruptChunk, match="deeper than 128"):
        lite.decode(nested(lite.MAX_DEPTH + 1))
    with pytest.raises(CorruptChunk, match="deeper than 128"):
        lite.decode(nested(100_000))


def test_zip_bombs_are_not_inflated() -> None:
    bomb = zlib.compress(bytes(20_000_000), 9)
    for announced in (2**63, 2**30, 1, 1000):
        data = b"LV0Z" + struct.pack("<Q", announced) + bomb
        tracemalloc.start()
        with pytest.raises(CorruptChunk):
            lite.decode(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2_000_000


def test_memory_is_paid_for_by_bytes() -> None:
    data = open_level("", 0, 14) * 10_000
    tracemalloc.start()
    level = lite.decode(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(level) == 10_000
    assert peak < 100 * len(data)


def test_compressed_within_compressed_is_refused() -> None:
    inner = lite.encode(sample(), compressed=True)
    data = b"LV0Z" + struct.pack("<Q", len(inner)) + zlib.compress(inner)
    with pytest.raises(CorruptChunk, match="within a compressed one"):
        lite.decode(data)


# ------------------------------------------------------------------ encode refuses


@pytest.mark.parametrize(
    ("kind", "value", "error"),
    [
        (LvType.BOOL, 1, TypeError),
        (LvType.INT32, True, TypeError),
        (LvType.INT32, 1.0, TypeError),
        (LvType.INT32, 2**31, ValueError),
        (LvType.UINT32, -1, ValueError),
        (LvType.UINT64, 2**64, ValueError),
        (LvType.DOUBLE, 1, TypeError),
        (LvType.STRING, b"a", TypeError),
        (LvType.STRING, "a\0b", ValueError),
        (LvType.BYTES, "a", TypeError),
        (LvType.LEVEL, None, TypeError),
        (LvType.COMPRESSED, b"", TypeError),
        ("lx_int32", 1, TypeError),
        (12, 1, TypeError),
    ],
)
def test_encode_converts_nothing(kind: Any, value: Any, error: type[Exception]) -> None:
    level = tree(("R", LvType.LEVEL, tree(("field", kind, value))))
    with pytest.raises(error, match=r"^R/field"):
        lite.encode(level)


def test_encode_limits_names_and_nesting() -> None:
    assert lite.decode(lite.encode(tree(("n" * 254, LvType.BOOL, True)))).names
    with pytest.raises(ValueError, match="255 UTF-16 units"):
        lite.encode(tree(("n" * 255, LvType.BOOL, True)))
    level = Level()
    for _ in range(lite.MAX_DEPTH):
        level = tree(("L", LvType.LEVEL, level))
    assert lite.decode(lite.encode(level)) == level
    with pytest.raises(ValueError, match="nests deeper"):
        lite.encode(tree(("L", LvType.LEVEL, level)))


# ------------------------------------------------------------------ speed


@pytest.mark.realdata
def test_decoding_is_faster_than_nd2(
    real_chunks: dict[tuple[str, str], bytes],
) -> None:
    from nd2._parse._clx_lite import json_from_clx_lite_variant

    data = real_chunks["fluo_c4", "ImageMetadataSeqLV|0!"]

    def best(decode: Callable[[bytes], Any]) -> float:
        spans = []
        for _ in range(5):
            start = time.perf_counter()
            decode(data)
            spans.append(time.perf_counter() - start)
        return min(spans)

    assert best(lite.decode) < best(json_from_clx_lite_variant)


def big_tree() -> Level:
    """Levels above and below the size from which on they wait."""
    tree = Level()
    for i in range(3):
        outer, inner = Level(), Level()
        for k in range(60):
            inner.add(f"value{k}", LvType.DOUBLE, float(k))
        outer.add("inner", LvType.LEVEL, inner)
        outer.add("number", LvType.INT32, i)
        tree.add(f"outer{i}", LvType.LEVEL, outer)
    return tree


def test_lazily_decoded_tree_is_the_same() -> None:
    data = lite.encode(big_tree())
    assert lite.decode(data, lazy=True) == lite.decode(data) == big_tree()
    assert lite.encode(lite.decode(data, lazy=True)) == data


def test_damage_in_a_level_that_waits_is_found_when_it_is_looked_into() -> None:
    data = bytearray(lite.encode(big_tree()))
    at = data.index("value7".encode("utf-16-le")) - 2
    data[at] = 99  # no such type
    with pytest.raises(CorruptChunk, match="unknown record type 99"):
        lite.decode(bytes(data))
    tree = lite.decode(bytes(data), lazy=True)
    sound = tree.level("outer1")
    assert sound is not None
    assert sound["number"] == 1
    injured = tree.level("outer0", create=True).level("inner", create=True)
    for _ in range(2):
        with pytest.raises(CorruptChunk, match=f"byte {at} .*unknown record type 99"):
            _ = injured.names
