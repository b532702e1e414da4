"""Chunks and maps are, byte for byte, what NIS-Elements and the format notes say."""

from __future__ import annotations

import io
import struct
import tracemalloc
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.container.chunk_format import (
    FILEMAP_NAME,
    SIGNATURE_NAME,
    parse_header,
    parse_signature,
)
from limnd2_xr.container.chunk_index import ChunkIndex, Entry, read_index
from limnd2_xr.container.chunk_map import FRAME_PREFIX
from limnd2_xr.container.chunk_table import UNKNOWN_NBYTES
from limnd2_xr.container.chunk_writer import (
    ChunkPlace,
    ChunkWriter,
    check_ordinary,
    chunk_extent,
    encode_header,
    encode_map,
    encode_signature,
)
from limnd2_xr.container.scan import scan_chunks
from limnd2_xr.container.sink import PartialFile
from limnd2_xr.container.source import FileSource, MemorySource
from limnd2_xr.testing import chunk_writer as kit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from limnd2_xr.container.chunk_format import ChunkHeader

NAMES = st.one_of(
    st.from_regex(r"[A-Za-z|\xe9]{1,12}!", fullmatch=True),
    st.from_regex(r"ImageDataSeq\|[0-9x]{1,4}!", fullmatch=True),
    st.from_regex(r"ImageDataSe[q-s]{1,2}!", fullmatch=True),
)
NUMBERS = st.integers(0, 2**62)


@pytest.fixture
def sample(each_sample: Path) -> bytes:
    return each_sample.read_bytes()


def walk(data: bytes) -> Iterator[ChunkHeader]:
    """All chunks of a file, also those that no map lists."""
    offset = 0
    while offset < len(data):
        header = parse_header(data[offset : offset + 8192], offset, len(data))
        yield header
        offset = -(-header.end // 4096) * 4096


def first_nbytes(name: str) -> int | None:
    return 8 if name.startswith(f"{FRAME_PREFIX}|") else None


@pytest.mark.realdata
def test_headers_of_real_files(sample: bytes) -> None:
    headers = list(walk(sample))
    assert headers[0].name == SIGNATURE_NAME
    assert headers[-1].name == FILEMAP_NAME
    assert sample[:4096] == encode_signature()
    for header, following in pairwise(headers[1:]):
        if header.name == FILEMAP_NAME and header.name_nbytes == 32:
            continue  # how NIS-Elements 4 has it (FORMAT 1.3)
        first = first_nbytes(header.name)
        data = encode_header(header.name, header.data_nbytes, first_nbytes=first)
        assert data == sample[header.offset : header.data_offset]
        extent = chunk_extent(header.name, header.data_nbytes, first_nbytes=first)
        assert header.offset + extent == following.offset


@pytest.mark.realdata
@pytest.mark.parametrize("as_arrays", [True, False])
def test_maps_of_real_files(sample: bytes, as_arrays: bool) -> None:
    index = read_index(MemorySource(sample)).index
    entries = [(name, *entry) for name, entry in index.items()]
    frames = None
    if as_arrays:
        family = index.family(FRAME_PREFIX)
        assert family is not None
        frames = (family.numbers, family.offsets, family.nbytes)
        entries = [e for e in entries if not e[0].startswith(FRAME_PREFIX)]
    (offset,) = struct.unpack("<Q", sample[-8:])
    stored = parse_header(sample[offset:], offset, len(sample))
    made = encode_map(entries, offset, frames)
    header = parse_header(made, 0, len(made))
    assert made[header.data_offset :] == sample[stored.data_offset :]
    assert header.name_nbytes == 4128
    if stored.name_nbytes != 32:
        assert made == sample[offset:]


@pytest.mark.parametrize("version", [(3, 0), (2, 1), (2, 12)])
def test_signature(version: tuple[int, int]) -> None:
    data = encode_signature(version)
    assert len(data) == 4096
    assert parse_signature(data) == version


@pytest.mark.parametrize("version", [(-1, 0), (3, 12345)])
def test_no_version(version: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no format version"):
        encode_signature(version)


@given(
    name=st.from_regex(r"[A-Za-z|\xe9]{1,5000}!", fullmatch=True),
    nbytes=st.integers(0, 1 << 40),
)
def test_header(name: str, nbytes: int) -> None:
    data = encode_header(name, nbytes)
    header = parse_header(data, 0, 1 << 50)
    assert (header.name, header.data_nbytes) == (name, nbytes)
    assert header.data_offset == len(data)
    assert header.end % 4096 == 0
    assert header.end == chunk_extent(name, nbytes)
    assert not any(data[16 + len(name) :])
    assert 20 <= len(data) - 16 - len(name) < 20 + 4096


@given(number=st.integers(0, 10**12), nbytes=st.integers(8, 1 << 40))
def test_frame_header(number: int, nbytes: int) -> None:
    name = f"ImageDataSeq|{number}!"
    data = encode_header(name, nbytes, first_nbytes=8)
    assert len(data) == 4088
    extent = chunk_extent(name, nbytes, first_nbytes=8)
    assert extent == 4096 + -(-(nbytes - 8) // 4096) * 4096


@pytest.mark.parametrize("name", ["", "!", "abc", "a!b!", "a\0!", "\u03bb!", "a\n!"])
def test_no_chunk_name(name: str) -> None:
    for refused in (
        lambda: encode_header(name, 0),
        lambda: chunk_extent(name, 0),
        lambda: encode_map([(name, 0, 0)], 0),
        lambda: check_ordinary(name),
    ):
        with pytest.raises(ValueError, match="is not a chunk name"):
            refused()


def test_sizes_out_of_range() -> None:
    for nbytes, first in ((-1, None), (4, 8), (1 << 64, 8)):
        with pytest.raises(ValueError, match="payload of"):
            encode_header("A!", nbytes, first_nbytes=first)
    with pytest.raises(ValueError, match="too long"):
        encode_header("a" * 65530 + "!", 0)


@pytest.mark.parametrize(
    "name", ["ImageDataSeq|0!", "ImageDataSeq|x!", SIGNATURE_NAME, FILEMAP_NAME]
)
def test_not_ordinary(name: str) -> None:
    with pytest.raises(ValueError, match="not an ordinary chunk"):
        check_ordinary(name)


def reference_map(entries: dict[str, tuple[int, int]], offset: int) -> bytes:
    rows = [
        name.encode("latin-1") + struct.pack("<QQ", *entries[name])
        for name in sorted(entries, reverse=True)
    ]
    footer = b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", offset)
    body = b"".join(rows) + footer
    total = -(-(48 + len(body) + 40) // 4096) * 4096 - 48
    return body + bytes(total - len(body) - 40) + footer


@given(
    entries=st.dictionaries(NAMES, st.tuples(NUMBERS, NUMBERS), max_size=30),
    frames=st.dictionaries(
        st.integers(0, 3000) | st.integers(0, 10**18 - 1),
        st.tuples(NUMBERS, NUMBERS),
        max_size=200,
    ),
    offset=st.integers(0, 2**40).map(lambda i: 4096 * i),
)
def test_map(
    entries: dict[str, tuple[int, int]],
    frames: dict[int, tuple[int, int]],
    offset: int,
) -> None:
    named = {f"ImageDataSeq|{n}!": place for n, place in frames.items()}
    entries = {name: place for name, place in entries.items() if name not in named}
    columns = (
        list(frames),
        [at for at, _ in frames.values()],
        np.array([nbytes for _, nbytes in frames.values()], np.uint64),
    )
    data = encode_map(
        [(name, *place) for name, place in entries.items()], offset, columns
    )
    header = parse_header(data, 0, len(data))
    assert header.name == FILEMAP_NAME
    assert header.name_nbytes == 4128
    assert len(data) % 4096 == 0
    payload = data[header.data_offset :]
    everything = entries | named
    assert payload == reference_map(everything, offset)
    one_by_one = [(name, *place) for name, place in everything.items()]
    assert encode_map(one_by_one, offset) == data
    index = ChunkIndex.from_map(payload, base=0)
    assert dict(index.items()) == {
        name: Entry(at, None if nbytes == at else nbytes)
        for name, (at, nbytes) in everything.items()
    }


def test_map_of_unknown_sizes() -> None:
    known = [("A!", 5, 5), ("ImageDataSeq|3!", 7, 7), ("ImageDataSeq|4!", 8, 8)]
    unknown = [("A!", 5, None), ("ImageDataSeq|3!", 7, None)]
    frames = ([4], [8], np.array([UNKNOWN_NBYTES], np.uint64))
    assert encode_map(unknown, 4096, frames) == encode_map(known, 4096)


def test_map_of_nothing() -> None:
    data = encode_map([], 4096)
    assert len(ChunkIndex.from_map(data[-4048:], base=0)) == 0
    assert data == encode_map([], 4096, ([], [], []))


BAD_MAPS: dict[str, tuple[Any, Any, str]] = {
    "twice": ([("A!", 1, 2), ("A!", 3, 4)], None, "A! is listed twice"),
    "frame twice": ([("ImageDataSeq|5!", 1, 2)], ([5], [1], [2]), "frame 5 is listed"),
    "offset": ([("A!", -1, 2)], None, "A! of 2 bytes at -1"),
    "nbytes": ([("A!", 1, 1 << 64)], None, "A! of 18446744073709551616 bytes"),
    "number": ([], ([-5], [1], [2]), "negative: -5"),
    "large number": (
        [],
        ([10**18], [1], [2]),
        "1000000000000000000 is no frame number",
    ),
    "floats": ([], ([5.0], [1], [2]), "integer arrays"),
    "two dims": ([], ([[5]], [[1]], [[2]]), "one dimension"),
    "lengths": ([], ([5, 6], [1], [2]), "differ in length"),
}


@pytest.mark.parametrize("case", BAD_MAPS)
def test_maps_refused(case: str) -> None:
    entries, frames, message = BAD_MAPS[case]
    with pytest.raises(ValueError, match=message):
        encode_map(entries, 4096, frames)


@pytest.mark.parametrize("offset", [-4096, 100])
def test_map_offset_refused(offset: int) -> None:
    with pytest.raises(ValueError, match="cannot be at"):
        encode_map([], offset)


@pytest.mark.slow
def test_map_of_a_million_frames() -> None:
    count = 1_000_000
    numbers = np.random.default_rng(0).permutation(count)
    offsets = 8192 + numbers * 36_864
    tracemalloc.start()
    data = encode_map(
        [("A!", 4096, 9)], 1 << 40, (numbers, offsets, 0 * offsets + 32_776)
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * len(data)
    header = parse_header(data, 0, len(data))
    index = ChunkIndex.from_map(data[header.data_offset :], base=0)
    assert len(index) == count + 1
    assert index.find("ImageDataSeq|777777!") == Entry(8192 + 777_777 * 36_864, 32_776)


def test_writer_agrees_with_the_test_kit(tmp_path: Path) -> None:
    """A whole file is what the independent writer of test files makes of it."""
    rng = np.random.default_rng(0)
    chunks = {
        "ImageMetadataSeqLV|0!": rng.bytes(5000),
        "CustomData|empty!": b"",
        "CustomData|\xe9!": rng.bytes(4036),
        "ImageAttributesLV!": rng.bytes(4096),
    }
    frames = rng.integers(0, 256, (12, 5000), np.uint8)
    expected = io.BytesIO()
    other = kit.ChunkWriter(expected)
    for name, payload in chunks.items():
        other.put(name, payload)
    other.put_frames(
        np.arange(12), np.arange(12.0), lambda a, b: frames[a:b], frame_nbytes=5000
    )
    other.finish()

    target = tmp_path / "a.nd2"
    with PartialFile.create(target) as partial:
        partial.write_at(0, encode_signature())
        writer = ChunkWriter(partial)
        for name, payload in chunks.items():
            writer.put(name, payload)
        offsets = []
        for i, pixels in enumerate(frames):
            name = f"ImageDataSeq|{i}!"
            offsets.append(partial.reserve(chunk_extent(name, 5008, first_nbytes=8)))
            header = encode_header(name, 5008, first_nbytes=8)
            partial.write_at(offsets[-1], header, struct.pack("<d", i), pixels)
        offset = partial.size
        columns = (np.arange(12), offsets, np.full(12, 5008))
        partial.write_at(offset, encode_map(writer.entries(), offset, columns))
        partial.commit()
    assert target.read_bytes() == expected.getvalue()


def test_writer_places(tmp_path: Path) -> None:
    with PartialFile.create(tmp_path / "a.nd2") as partial:
        partial.write_at(0, encode_signature())
        writer = ChunkWriter(partial)
        values = np.arange(3.0)
        place = writer.put("CustomData|X!", values)
        assert place == ChunkPlace("CustomData|X!", 4096, 8192 - 24, 24)
        assert partial.read_at(place.data_offset, 24) == values.tobytes()
        assert writer.places == {"CustomData|X!": place}
        assert list(writer.entries()) == [("CustomData|X!", 4096, 24)]
        with pytest.raises(ValueError, match="put before"):
            writer.put("CustomData|X!", b"")
        with pytest.raises(ValueError, match="not an ordinary chunk"):
            writer.put("ImageDataSeq|0!", b"")
        assert writer.put("B!", memoryview(b"abcd")).offset == 8192
        with FileSource(partial.path) as source:
            found = dict(scan_chunks(source).items())
        assert found == {"CustomData|X!": Entry(4096, 24), "B!": Entry(8192, 4)}
