"""Opening: few reads, and the right chunks however the file is damaged."""

from __future__ import annotations

import struct
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.container import chunk_index
from limnd2_xr.container.chunk_format import LegacyFormat
from limnd2_xr.container.chunk_index import (
    ChunkIndex,
    Entry,
    LoadedIndex,
    check_entries,
    read_index,
)
from limnd2_xr.container.source import FileSource, MemorySource, SourceSpec
from limnd2_xr.errors import NotAnNd2File
from limnd2_xr.testing.counting import count_reads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAGIC = b"\xda\xce\xbe\x0a"
KIB64 = 64 * 1024


def load(data: bytes) -> LoadedIndex:
    return read_index(MemorySource(data, "a.nd2"))


def as_dict(index: ChunkIndex) -> dict[str, Entry]:
    return dict(index.items())


def places(built: Any) -> dict[str, Entry]:
    return {name: Entry(*place) for name, place in built.places.items()}


def some_chunks(frames: int = 6, frame_nbytes: int = 40_000) -> list[tuple[str, bytes]]:
    rng = np.random.default_rng(frames)
    chunks = [("ImageMetadataLV!", rng.bytes(2000)), ("ImageCalibrationLV|0!", b"x")]
    chunks += [(f"ImageDataSeq|{i}!", rng.bytes(frame_nbytes)) for i in range(frames)]
    return [
        *chunks,
        ("CustomData|X!", rng.bytes(400)),
        ("ImageAttributesLV!", b"a" * 300),
    ]


@pytest.fixture(scope="module")
def built(build: Callable[..., Any]) -> Any:
    return build(some_chunks())


@pytest.fixture(scope="module")
def small(build: Callable[..., Any]) -> Any:
    return build(some_chunks(3, 5000))


@pytest.mark.realdata
def test_samples(each_sample: Path) -> None:
    with SourceSpec.of(each_sample).open() as source:
        with count_reads() as counter:
            loaded = read_index(source)
        assert counter.reads == (1 if source.size <= 2 * KIB64 else 2)
        assert loaded.version == (3, 0)
        assert loaded.rebuilt is None
        entries = as_dict(loaded.index)
        assert check_entries(source, entries) == []
        names = [name for name in entries if not name.startswith("ImageDataSeq|")]
        with count_reads() as counter:
            found = loaded.prefetch.chunks({name: entries[name] for name in names})
        assert counter.reads <= 2
        assert {len(found[name]) for name in names} == {
            entries[name].nbytes for name in names
        }


@pytest.mark.parametrize("name", ["built", "small"])
def test_sound_file(name: str, request: pytest.FixtureRequest) -> None:
    built = request.getfixturevalue(name)
    with count_reads() as counter:
        loaded = load(built.data)
    assert counter.reads == (1 if name == "small" else 2)
    assert loaded.version == (3, 0)
    assert loaded.rebuilt is None
    assert as_dict(loaded.index) == places(built)
    assert loaded.index.names() == [
        "CustomData|X!",
        "ImageAttributesLV!",
        "ImageMetadataLV!",
    ]
    assert loaded.prefetch.chunks(places(built)) == built.payloads


@pytest.mark.parametrize("nbytes", [-8192, -4096, 0, 4096, 8192, 100_000, 300_000])
def test_map_larger_than_the_tail(
    build: Callable[..., Any], tmp_path: Path, nbytes: int
) -> None:
    """Three reads at most, wherever the tail begins in the map."""
    count = (KIB64 + nbytes) // 40
    listed = [(f"ImageDataSeq|{i:07d}5!", 4096, 20_000) for i in range(count)]
    built = build([("A!", bytes(2 * KIB64))], listed=listed)
    path = tmp_path / "a.nd2"
    path.write_bytes(built.data)
    size = len(built.data)
    with FileSource(path) as source, count_reads() as counter:
        loaded = read_index(source)
    assert counter.reads == 2 + (built.map_offset < size - KIB64)
    assert counter.nbytes <= size
    assert loaded.rebuilt is None
    assert as_dict(loaded.index) == {name: Entry(*place) for name, *place in listed}
    # The map is not kept.
    assert loaded.prefetch.regions() == [(0, KIB64), (size - KIB64, size)]


@pytest.mark.parametrize("piece_nbytes", [100, 4096, 70_000, 1 << 20])
def test_map_in_pieces(
    build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, piece_nbytes: int
) -> None:
    """A map of hundreds of MB is parsed as it is read."""
    monkeypatch.setattr(chunk_index, "_PIECE_NBYTES", piece_nbytes)
    names = [f"ImageDataSeq|{i}!" for i in range(6000)]
    built = build([("ImageDataSeq|6001!", bytes(2 * KIB64))])
    listed = [(name, *built.places["ImageDataSeq|6001!"]) for name in names]
    built = build([("ImageDataSeq|6001!", bytes(2 * KIB64))], listed=listed)
    loaded = load(built.data)
    assert loaded.rebuilt is None
    assert as_dict(loaded.index) == {name: Entry(*place) for name, *place in listed}


@pytest.mark.parametrize("shift", range(0, 120, 7))
def test_map_header_across_the_tail(
    build: Callable[..., Any], make_map: Callable[..., bytes], shift: int
) -> None:
    """The tail may begin within the map's header, even within its name."""
    data = build([("A!", bytes(2 * KIB64))]).data
    offset = data.rfind(b"ND2 FILEMAP") - 16
    listed = [(f"ImageDataSeq|{i}!", 4096, 2 * KIB64) for i in range(1000)]
    nbytes = KIB64 + shift - 48
    filler = nbytes - len(make_map(listed, offset, 0))
    header = (
        MAGIC + struct.pack("<IQ", 32, nbytes) + b"ND2 FILEMAP SIGNATURE NAME 0001!"
    )
    data = data[:offset] + header + make_map(listed, offset, filler)
    assert len(data) == offset + KIB64 + shift
    with count_reads() as counter:
        loaded = load(data)
    assert loaded.rebuilt is None
    assert len(loaded.index) == 1000
    assert counter.reads == 2 + (shift > 0)


def test_unknown_sizes(build: Callable[..., Any]) -> None:
    """Maps that list size == offset exist (FORMAT 2.3)."""
    built = build(some_chunks(), unknown_sizes=True)
    loaded = load(built.data)
    assert loaded.rebuilt is None
    expected = {name: Entry(e.offset, None) for name, e in places(built).items()}
    assert as_dict(loaded.index) == expected
    assert loaded.prefetch.chunks(as_dict(loaded.index)) == built.payloads


@pytest.mark.parametrize(
    ("footer", "reason"),
    [
        (bytes(40), "does not end with a chunk map footer"),
        (None, "holds no offset"),
        (0, "holds no offset"),
        (4096, "footer points at chunk ImageMetadataLV!"),
        (5000, "there is no chunk here"),
        (10**6, "no place for a map"),
        (2**64 - 1, "no place for a map"),
    ],
)
def test_damaged_footer(built: Any, footer: bytes | int | None, reason: str) -> None:
    """The map is still there, and found by its name."""
    data = bytearray(built.data)
    if isinstance(footer, bytes):
        data[-40:] = footer
    else:
        struct.pack_into("<Q", data, len(data) - 8, footer or 0)
    loaded = load(bytes(data))
    assert loaded.rebuilt is not None
    assert reason in loaded.rebuilt
    assert f"found at offset {built.map_offset}" in loaded.rebuilt
    assert as_dict(loaded.index) == places(built)


@pytest.mark.parametrize("more", [1, 40, 4096, 50_000])
def test_something_after_the_map(built: Any, more: int) -> None:
    loaded = load(built.data + bytes(more))
    assert loaded.rebuilt is not None
    assert "found at offset" in loaded.rebuilt
    assert as_dict(loaded.index) == places(built)


def test_no_map(built: Any) -> None:
    """An acquisition that never ended (FORMAT 2.4)."""
    loaded = load(built.data[: built.map_offset])
    assert (
        loaded.rebuilt
        == "the file does not end with a chunk map footer; the file was scanned"
    )
    assert as_dict(loaded.index) == places(built)
    assert loaded.prefetch.chunks(places(built)) == built.payloads


def test_old_map_before_newer_chunks(built: Any, make_chunk: Any) -> None:
    """Appending was interrupted: the map that is left does not list the last frame."""
    frame = make_chunk("ImageDataSeq|6!", bytes(4000), first=8)
    loaded = load(built.data + frame)
    assert loaded.rebuilt is not None
    added = {"ImageDataSeq|6!": Entry(len(built.data), 4000)}
    assert as_dict(loaded.index) == {**places(built), **added}


def test_map_that_does_not_parse(built: Any) -> None:
    data = bytearray(built.data)
    at = data.rfind(b"CustomData|X!")
    data[at + 3] = 7
    loaded = load(bytes(data))
    assert loaded.rebuilt is not None
    assert "is not a chunk name" in loaded.rebuilt
    assert str(at) in loaded.rebuilt
    assert as_dict(loaded.index) == places(built)


@pytest.mark.parametrize(
    ("offset", "nbytes"),
    [(10**9, 40_000), (2**64 - 1, 5), (4096, 2**64 - 2), (4096, 10**6), (10**9, 10**9)],
)
def test_entries_outside_the_file(
    build: Callable[..., Any], offset: int, nbytes: int
) -> None:
    built = build(some_chunks())
    rows = [(name, *place) for name, place in built.places.items()]
    rows[4] = (rows[4][0], offset, nbytes)
    damaged = build(some_chunks(), listed=rows)
    loaded = load(damaged.data)
    assert loaded.rebuilt == "1 chunks are listed outside the file; it was scanned"
    assert as_dict(loaded.index) == places(built)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", NotAnNd2File),
        (b"short", NotAnNd2File),
        (bytes(10_000), NotAnNd2File),
        (MAGIC, NotAnNd2File),
        (MAGIC + bytes(10_000), NotAnNd2File),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(300_000), LegacyFormat),
        (b"PNG" * 100_000, NotAnNd2File),
    ],
)
def test_other_files(data: bytes, error: type[Exception]) -> None:
    with count_reads() as counter, pytest.raises(error, match=r"^a\.nd2: ") as caught:
        load(data)
    assert counter.reads <= 1
    assert caught.value.__class__ is error


def test_only_a_signature(build: Callable[..., Any]) -> None:
    data = build([]).data
    for cut in (112, 130, 4096, len(data)):
        loaded = load(data[:cut])
        assert len(loaded.index) == 0
        assert (loaded.rebuilt is None) == (cut == len(data))


@given(data=st.data())
def test_truncated_anywhere(small: Any, data: st.DataObject) -> None:
    """What is listed is right; nothing that is whole is missing."""
    near = st.sampled_from([e.offset for e in places(small).values()])
    near = near.flatmap(lambda edge: st.integers(edge - 30, edge + 60))
    whole = st.integers(0, len(small.data))
    tail = st.integers(small.map_offset - 50, len(small.data))
    cut = data.draw(st.one_of(whole, near, tail))
    expected = places(small)
    try:
        loaded = load(small.data[:cut])
    except NotAnNd2File:
        assert cut < 112
        return
    assert (loaded.rebuilt is None) == (cut == len(small.data))
    found = as_dict(loaded.index)
    assert found.items() <= expected.items()
    for name in expected.keys() - found.keys():
        payload = small.payloads[name]
        header = small.data.find(name.encode())
        assert small.data.find(payload, header) + len(payload) > cut


@given(
    flips=st.lists(
        st.tuples(st.integers(0, 2), st.floats(0, 1, exclude_max=True)),
        min_size=1,
        max_size=3,
    )
)
def test_flipped_bits(small: Any, flips: list[tuple[int, float]]) -> None:
    """Whatever is listed is right, or its header says that it is not."""
    data = bytearray(small.data)
    areas = [(0, 112), (small.map_offset, len(data)), (0, len(data))]
    for area, where in flips:
        start, end = areas[area]
        bit = 8 * start + int(8 * (end - start) * where)
        data[bit // 8] ^= 1 << bit % 8
    source = MemorySource(bytes(data))
    try:
        loaded = read_index(source)
    except NotAnNd2File:
        return
    found = as_dict(loaded.index)
    expected = places(small)
    doubtful = {name for name, e in found.items() if expected.get(name) != e}
    flagged = set(check_entries(source, found))
    for name in doubtful - flagged:
        # A header was hit instead: it is what the scan goes by.
        assert data[found[name].offset :].startswith(MAGIC)
        header = slice(found[name].offset, found[name].offset + 60)
        sized = found[name].nbytes is None
        assert sized or data[header] != small.data[header]


@given(tail=st.binary(min_size=1, max_size=300), offset=st.integers(0, 30_000))
def test_any_map(small: Any, tail: bytes, offset: int) -> None:
    """A map of any bytes: parsed, replaced, but never an error of another kind."""
    data = small.data[: small.map_offset]
    name = b"ND2 FILEMAP SIGNATURE NAME 0001!"
    footer = b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", offset)
    data += MAGIC + struct.pack("<IQ", 32, len(tail) + 40) + name + tail + footer
    found = as_dict(load(data).index)
    for entry in found.values():
        assert entry.offset + 16 + (entry.nbytes or 0) <= len(data)


def test_huge_empty_map(tmp_path: Path, small: Any) -> None:
    """A sparse file that claims to be all map is not read into memory."""
    path = tmp_path / "a.nd2"
    size = 1 << 30
    name = b"ND2 FILEMAP SIGNATURE NAME 0001!"
    with path.open("wb") as file:
        file.write(small.data[: small.map_offset])
        file.write(MAGIC + struct.pack("<IQ", 32, size - small.map_offset - 48) + name)
        file.truncate(size)
        file.seek(size - 40)
        footer = b"ND2 CHUNK MAP SIGNATURE 0000001!"
        file.write(footer + struct.pack("<Q", small.map_offset))
    tracemalloc.start()
    with FileSource(path) as source:
        loaded = read_index(source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert as_dict(loaded.index) == places(small)
    assert loaded.rebuilt is not None
    assert peak < 160 << 20


@pytest.mark.slow
def test_a_million_frames_take_three_reads(
    tmp_path: Path, make_map: Callable[..., bytes], build: Callable[..., Any]
) -> None:
    """Opening a sparse file of a million frames: the map is all there is to read."""
    count, stride = 1_000_000, 36_864
    entries = [
        (f"ImageDataSeq|{i}!", 8192 + i * stride, 32_776)
        for i in sorted(range(count), key=lambda i: f"{i}!", reverse=True)
    ]
    map_offset = 8192 + count * stride
    payload = make_map(entries, map_offset)
    path = tmp_path / "a.nd2"
    with path.open("wb") as file:
        file.write(build([]).data[:4096])
        file.truncate(map_offset)
        file.seek(map_offset)
        name = b"ND2 FILEMAP SIGNATURE NAME 0001!"
        file.write(MAGIC + struct.pack("<IQ", 32, len(payload)) + name + payload)
    tracemalloc.start()
    with FileSource(path) as source, count_reads() as counter:
        loaded = read_index(source)
    resident, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert counter.reads == 3
    assert counter.nbytes < len(payload) + 3 * KIB64
    assert loaded.rebuilt is None
    assert len(loaded.index) == count
    assert resident < 26 * count
    assert peak < 160 * count
