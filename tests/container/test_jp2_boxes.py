"""Boxes of JPEG 2000 files: headers, walking, the map at the end."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.container.chunk_format import JP2_MAGIC
from limnd2_xr.container.jp2_boxes import (
    BOX_MAP_SIGNATURE,
    Box,
    ImageHeader,
    MapEntry,
    iter_boxes,
    parse_box,
    parse_image_header,
    read_box_map,
    walk_boxes,
)
from limnd2_xr.container.source import MemorySource
from limnd2_xr.errors import CorruptChunk

START = JP2_MAGIC + b"\r\n\x87\n"


def box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", len(payload) + 8, kind) + payload


def walked(data: bytes, head_nbytes: int = 0) -> list[tuple[Box, bytes]]:
    return list(walk_boxes(MemorySource(data), head_nbytes=head_nbytes))


def mapped(entries: bytes, count: int, *, distance: int | None = None) -> bytes:
    stored = struct.pack(">I", count) + entries
    footer = distance if distance is not None else len(stored) + 40
    return START + stored + BOX_MAP_SIGNATURE + struct.pack("<Q", footer)


def test_a_box_with_each_kind_of_length() -> None:
    assert parse_box(box(b"xml ", b"abc"), 7, 18) == Box("xml ", 7, 8, 3)
    long = struct.pack(">I4sQ", 1, b"jp2c", 20)
    assert parse_box(long, 100, 120) == Box("jp2c", 100, 16, 4)
    assert parse_box(struct.pack(">I4s", 0, b"uuid"), 10, 50) == Box("uuid", 10, 8, 32)


@pytest.mark.parametrize(
    ("data", "limit", "reason"),
    [
        (b"\0\0\0", 3, "ends within the header"),
        (struct.pack(">I4s", 7, b"xml "), 99, "claims 7 bytes, less than its header"),
        (struct.pack(">I4s", 100, b"xml "), 99, "runs past the end of the file"),
        (struct.pack(">I4s", 20, b"x\0l "), 99, "no box has the type"),
        (struct.pack(">I4s", 1, b"jp2c"), 8, "ends within the header"),
        (struct.pack(">I4sQ", 1, b"jp2c", 15), 99, "less than its header"),
        (struct.pack(">I4sQ", 1, b"jp2c", 1 << 63), 99, "runs past the end"),
    ],
)
def test_what_is_no_box(data: bytes, limit: int, reason: str) -> None:
    with pytest.raises(CorruptChunk, match=reason):
        parse_box(data, 0, limit)


@given(
    payloads=st.lists(st.binary(max_size=40), max_size=6),
    head_nbytes=st.integers(0, 30),
)
def test_walking_finds_what_was_written(
    payloads: list[bytes], head_nbytes: int
) -> None:
    data = START + b"".join(box(b"xml ", payload) for payload in payloads)
    found = walked(data, head_nbytes)[1:]
    assert [head for _, head in found] == [p[:head_nbytes] for p in payloads]
    assert [data[b.data_offset : b.end] for b, _ in found] == payloads


def test_walking_reads_in_windows() -> None:
    data = START + b"".join(box(b"xml ", bytes(5000)) for _ in range(3))
    ends = [b.end for b, _ in walked(data, 512)]
    assert ends == [12, 5020, 10028, 15036]


def test_walking_ends_at_damage_and_keeps_what_was_before() -> None:
    data = START + box(b"jp2c", b"abcd") + struct.pack(">I4s", 3, b"jp2c") + bytes(50)
    found: list[str] = []
    with pytest.raises(CorruptChunk, match="claims 3 bytes"):
        found.extend(b.type for b, _ in walk_boxes(MemorySource(data)))
    walk = walk_boxes(MemorySource(data))
    assert [next(walk)[0].type, next(walk)[0].type] == ["jP  ", "jp2c"]


def test_an_image_header() -> None:
    ihdr = struct.pack(">IIHBBBB", 30, 40, 3, 11, 7, 0, 0)
    data = box(b"colr", b"1234") + box(b"ihdr", ihdr)
    assert parse_image_header(data, 20) == ImageHeader(30, 40, 3, 12)
    varying = struct.pack(">IIHBBBB", 30, 40, 3, 255, 7, 0, 0)
    assert parse_image_header(box(b"ihdr", varying), 0).bits == 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no image header"),
        (box(b"colr", b""), "no image header"),
        (box(b"ihdr", b"1234"), "cut short"),
        (box(b"ihdr", bytes(14)), "0 x 0 pixels"),
        (b"\0\0\0\x30ihdr", "runs past"),
    ],
)
def test_a_damaged_image_header(data: bytes, reason: str) -> None:
    with pytest.raises(CorruptChunk, match=reason):
        parse_image_header(data, 0)


def test_boxes_in_boxes_have_offsets_in_the_file() -> None:
    data = box(b"ihdr", b"12") + box(b"colr", b"")
    assert [(b.type, b.offset) for b in iter_boxes(data, 100)] == [
        ("ihdr", 100),
        ("colr", 110),
    ]


def test_the_map() -> None:
    entries = struct.pack("<4s4sQ", b"jp2c", b"LUNK", 85)
    entries += struct.pack("<4s4sQ", b"xml ", b"VIMD", 1 << 40)
    found, start = read_box_map(MemorySource(mapped(entries, 2)))
    assert found == [
        MapEntry("jp2c", "LUNK", 85),
        MapEntry("xml ", "VIMD", 1 << 40),
    ]
    assert start == len(START)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (START, "does not end with a box map"),
        (START + bytes(40), "does not end with a box map"),
        (mapped(b"", 0), "claims 0 entries"),
        (mapped(bytes(16), 2), "claims 2 entries and has room for 1"),
        (mapped(bytes(16), 0xFFFFFFFF), "has room for 1"),
        (mapped(bytes(16), 1, distance=10_000), "leads to no box map"),
        (mapped(bytes(16), 1, distance=40), "leads to no box map"),
        (mapped(bytes(16), 1, distance=0), "leads to no box map"),
        (mapped(bytes(16), 1, distance=(1 << 64) - 1), "leads to no box map"),
    ],
)
def test_a_damaged_map(data: bytes, reason: str) -> None:
    with pytest.raises(CorruptChunk, match=reason):
        read_box_map(MemorySource(data))
