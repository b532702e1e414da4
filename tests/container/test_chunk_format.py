"""Chunk headers and the file signature, sound and damaged."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.container.chunk_format import (
    FILE_MAGIC,
    ChunkHeader,
    align,
    is_chunk_name,
    parse_header,
    parse_signature,
)
from limnd2_xr.errors import CorruptChunk, NotAnNd2File, UnsupportedFeature

if TYPE_CHECKING:
    from collections.abc import Callable

SIGNATURE = b"ND2 FILE SIGNATURE CHUNK NAME01!"


def header_bytes(
    name: bytes, name_nbytes: int, data_nbytes: int, magic: bytes = FILE_MAGIC
) -> bytes:
    return magic + struct.pack("<IQ", name_nbytes, data_nbytes) + name


def head(version: bytes = b"Ver3.0", name: bytes = SIGNATURE) -> bytes:
    return header_bytes(name, 32, 64) + version.ljust(64, b"\0")


names = st.binary(min_size=1, max_size=60).filter(
    lambda raw: not set(raw) & {*range(32), 127, ord("!")}
)


@given(
    name=names,
    padding=st.integers(0, 5000),
    data_nbytes=st.integers(0, 2**40),
    offset=st.integers(0, 2**50),
    extra=st.integers(0, 100),
)
def test_header(
    name: bytes, padding: int, data_nbytes: int, offset: int, extra: int
) -> None:
    name_nbytes = len(name) + 1 + padding
    data = header_bytes(name + b"!", name_nbytes, data_nbytes) + bytes(extra)
    end = offset + 16 + name_nbytes + data_nbytes
    header = parse_header(data, offset, end)
    text = name.decode("latin-1") + "!"
    assert header == ChunkHeader(text, offset, name_nbytes, data_nbytes)
    assert header.end == end == header.data_offset + data_nbytes
    with pytest.raises(CorruptChunk, match="past the end") as caught:
        parse_header(data, offset, end - 1)
    assert (caught.value.chunk, caught.value.offset) == (text, offset)


def test_header_of_a_builder(make_chunk: Callable[..., bytes]) -> None:
    """Padded as NIS-Elements pads: payloads end on 4096, pixels begin there."""
    data = make_chunk("CustomData|X!", b"x" * 100)
    header = parse_header(data, 0, len(data))
    assert header.end == 4096
    assert data[header.data_offset : header.end] == b"x" * 100
    data = make_chunk("ImageDataSeq|3!", bytes(5000), first=8)
    assert parse_header(data, 8192, 2**20).data_offset == 8192 + 16 + 4072


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends within a chunk header"),
        (FILE_MAGIC + bytes(11), "ends within a chunk header"),
        (bytes(40), "no chunk here"),
        (header_bytes(b"A!", 2, 0, b"\xda\xce\xbe\x0b"), "no chunk here"),
        (header_bytes(b"A!", 0, 0), "claims a name of 0 bytes"),
        (header_bytes(b"A!", 65537, 0), "claims a name of 65537 bytes"),
        (header_bytes(b"A!", 2**32 - 1, 0), "claims a name of"),
        (header_bytes(b"A" * 40, 40, 0), "valid name"),
        (header_bytes(b"A" * 40 + b"!", 40, 0), "valid name"),
        (header_bytes(b"!" + bytes(9), 10, 0), "valid name"),
        (header_bytes(b"A\0B!", 4, 0), "valid name"),
        (header_bytes(b"A\nB!", 4, 0), "valid name"),
        (header_bytes(b"AB", 30, 0), "valid name"),
        (header_bytes(b"AB!", 3, 2**64 - 1), "past the end of the file"),
    ],
)
def test_damaged_header(data: bytes, message: str) -> None:
    with pytest.raises(CorruptChunk, match=message) as caught:
        parse_header(data, 77, 10**6)
    assert caught.value.offset == 77


@given(data=st.binary(max_size=200), limit=st.integers(0, 300))
def test_any_bytes_are_a_header_or_corrupt(data: bytes, limit: int) -> None:
    data = FILE_MAGIC + data
    try:
        header = parse_header(memoryview(data), 0, limit)
    except CorruptChunk:
        return
    assert header.end <= limit
    assert header.name.encode("latin-1") in data


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        (b"A!", True),
        (b"Image\xb5|1!", True),
        (b"!", False),
        (b"", False),
        (b"AB", False),
        (b"A!B!", False),
        (b"A\x7f!", False),
        (b"A" * 65535 + b"!", True),
        (b"A" * 65536 + b"!", False),
    ],
)
def test_chunk_names(name: bytes, valid: bool) -> None:
    assert is_chunk_name(name) is valid


@pytest.mark.parametrize(
    ("offset", "up"), [(0, 0), (1, 4096), (4096, 4096), (4097, 8192)]
)
def test_align(offset: int, up: int) -> None:
    assert align(offset) == up


@pytest.mark.parametrize(
    ("text", "version"),
    [(b"Ver3.0", (3, 0)), (b"Ver2.1", (2, 1)), (b"Ver12.34", (12, 34))],
)
def test_version(text: bytes, version: tuple[int, int]) -> None:
    assert parse_signature(head(text)) == version
    assert parse_signature(head(text) + bytes(9000)) == version


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"GIF89a, not a microscope", "begins with b'GIF89a, '"),
        (bytes(200), "not an .nd2 file"),
        (head()[:100], "file signature is damaged"),
        (head()[:20], "file signature is damaged"),
        (head()[:4], "file signature is damaged"),
        (head(b"Version"), "file signature is damaged"),
        (head(b"Ver.0"), "file signature is damaged"),
        (head(name=b"ND2 FILEMAP SIGNATURE NAME 0001!"), "file signature is damaged"),
        (b"\x00\x00\x00\x0cftyp", "not an .nd2 file"),
    ],
)
def test_not_an_nd2_file(data: bytes, message: str) -> None:
    with pytest.raises(NotAnNd2File, match=message):
        parse_signature(data)


def test_format_1() -> None:
    with pytest.raises(UnsupportedFeature, match=r"format 1\.0 \(JPEG 2000\)"):
        parse_signature(b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(100))


@given(bit=st.integers(0, 112 * 8 - 1))
def test_flipped_bits(bit: int) -> None:
    data = bytearray(head())
    data[bit // 8] ^= 1 << bit % 8
    try:
        version: Any = parse_signature(bytes(data))
    except NotAnNd2File:
        return
    # Digits may turn into other digits, and what follows them is free.
    assert (version == (3, 0)) == (bit // 8 not in {51, 53})
