"""The scan finds what the map lists, and survives damage of any kind."""

from __future__ import annotations

import struct
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.container import scan as scan_module
from limnd2_xr.container.chunk_index import ChunkIndex, Entry, read_index
from limnd2_xr.container.scan import rebuild_index, scan_chunks
from limnd2_xr.container.source import FileSource, MemorySource, SourceSpec
from limnd2_xr.testing.counting import count_reads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAGIC = b"\xda\xce\xbe\x0a"


def scan(data: bytes) -> dict[str, Entry]:
    return dict(scan_chunks(MemorySource(data)).items())


def places(built: Any) -> dict[str, Entry]:
    return {name: Entry(*place) for name, place in built.places.items()}


def some_chunks(seed: int = 0) -> list[tuple[str, bytes]]:
    rng = np.random.default_rng(seed)
    chunks = [("ImageMetadataSeqLV|0!", rng.bytes(3000)), ("ImageTextInfoLV!", b"")]
    chunks += [(f"ImageDataSeq|{i}!", rng.bytes(9000)) for i in range(5)]
    chunks += [("CustomData|X!", rng.bytes(40)), ("CustomData|µ!", rng.bytes(5000))]
    return [*chunks, ("ImageAttributesLV!", rng.bytes(400))]


@pytest.fixture(scope="module")
def built(build: Callable[..., Any]) -> Any:
    return build(some_chunks())


@pytest.mark.realdata
def test_scan_equals_the_map(each_sample: Path) -> None:
    with SourceSpec.of(each_sample).open() as source:
        listed = dict(read_index(source).index.items())
        assert dict(scan_chunks(source).items()) == listed
        # An unfinished file has no map.
        (end,) = struct.unpack("<Q", source.read_at(source.size - 8, 8))
        data = source.read_at(0, end)
    assert scan(data) == listed


def test_later_copies_win(build: Callable[..., Any]) -> None:
    built = build([*some_chunks(0), *some_chunks(1)])
    assert scan(built.data) == places(built)
    assert len(built.places) == len(some_chunks())


def test_nothing_to_find() -> None:
    for data in (b"", b"A", bytes(15), bytes(16), bytes(3 << 20), MAGIC * 5000):
        assert scan(data) == {}


@given(data=st.data())
def test_truncated_anywhere(built: Any, data: st.DataObject) -> None:
    """What is whole is found; the chunk that the cut went through is not."""
    edges = [entry.offset for entry in places(built).values()]
    near = st.sampled_from(edges).flatmap(
        lambda edge: st.integers(edge - 40, edge + 4200)
    )
    cut = data.draw(st.one_of(st.integers(0, len(built.data)), near))
    headers = {name: built.data.find(name.encode("latin-1")) for name in built.places}
    whole = {
        name: entry
        for name, entry in places(built).items()
        if built.data.find(built.payloads[name], headers[name]) + (entry.nbytes or 0)
        <= cut
        and (entry.nbytes or built.data[entry.offset + 16 :].find(b"!") > 0)
    }
    found = scan(built.data[:cut])
    # Where an empty payload ends, only its header can tell.
    found_without_empty = {n: e for n, e in found.items() if e.nbytes}
    assert found_without_empty == {n: e for n, e in whole.items() if e.nbytes}


@given(which=st.integers(0, 9), at=st.integers(0, 40), bit=st.integers(0, 7))
def test_flipped_bits(built: Any, which: int, at: int, bit: int) -> None:
    """One damaged header costs its chunk, and the one whose name it takes."""
    raw = bytearray(built.data)
    expected = places(built)
    damaged = list(expected)[which]
    offset = expected[damaged].offset
    raw[offset + at] ^= 1 << bit
    found = scan(bytes(raw))
    wrong = {name for name, entry in found.items() if expected.get(name) != entry}
    assert {found[name].offset for name in wrong} <= {offset}
    lost = expected.keys() - found.keys() - {damaged}
    # Only a size that is wrong by pages may fit so well that it hides what follows.
    if not 8 * 8 + 12 <= 8 * at + bit < 16 * 8:
        assert not lost


@pytest.mark.parametrize("delta", [-4096, -1, 1, 4096, 20_000, 2**40, 2**63])
def test_wrong_size_of_a_frame(built: Any, delta: int) -> None:
    """What follows a chunk of a wrong size is found all the same."""
    entry = places(built)["ImageDataSeq|2!"]
    raw = bytearray(built.data)
    nbytes = entry.nbytes or 0
    struct.pack_into("<Q", raw, entry.offset + 8, (nbytes + delta) % 2**64)
    found, expected = scan(bytes(raw)), places(built)
    wrong = found.pop("ImageDataSeq|2!", None)
    assert found == {k: v for k, v in expected.items() if k != "ImageDataSeq|2!"}
    # A size that reaches the same padding cannot be told from the right one.
    assert (wrong is None) == (delta not in {-1, 1, -4096})


@given(
    garbage=st.lists(
        st.one_of(
            st.binary(max_size=64),
            st.sampled_from([MAGIC, b"!", bytes(4096), b"A!", MAGIC + b"\x04\0\0\0"]),
        ),
        max_size=30,
    ).map(b"".join),
    where=st.integers(0, 11),
)
def test_garbage_between_chunks(
    build: Callable[..., Any], garbage: bytes, where: int
) -> None:
    built = build(some_chunks())
    offsets = [0, *(entry.offset for entry in places(built).values()), built.map_offset]
    at = offsets[where]
    found = scan(built.data[:at] + garbage + built.data[at:])
    shift = len(garbage)
    for name, entry in places(built).items():
        moved = shift if entry.offset >= at else 0
        assert found[name] == Entry(entry.offset + moved, entry.nbytes)


@given(data=st.binary(max_size=400), repeat=st.integers(1, 50))
def test_any_bytes(data: bytes, repeat: int) -> None:
    data = (MAGIC + data) * repeat
    for entry in scan(data).values():
        assert entry.nbytes is not None
        assert entry.offset + 16 + entry.nbytes <= len(data)
        assert data.startswith(MAGIC, entry.offset)


def test_unaligned_chunks() -> None:
    parts = []
    for i in range(100):
        payload = bytes([i]) * i
        name = f"A|{i}!".encode()
        parts.append(MAGIC + struct.pack("<IQ", len(name), i) + name + payload)
    data = b"".join(parts)
    found = scan(data)
    assert len(found) == 100
    assert found["A|50!"].nbytes == 50


def test_hole_in_the_middle(build: Callable[..., Any]) -> None:
    built = build(some_chunks())
    entry = places(built)["ImageDataSeq|1!"]
    data = bytearray(built.data)
    data[entry.offset : entry.offset + 3 * 12288] = bytes(3 * 12288)
    lost = {"ImageDataSeq|1!", "ImageDataSeq|2!", "ImageDataSeq|3!"}
    assert scan(bytes(data)) == {
        k: v for k, v in places(built).items() if k not in lost
    }


def test_long_names() -> None:
    """A name longer than what is read of a header."""
    raw = b"N" * 20_000 + b"!"
    data = MAGIC + struct.pack("<IQ", len(raw) + 30, 5) + raw + bytes(30) + b"12345"
    assert scan(data) == {raw.decode(): Entry(0, 5)}
    assert scan(data[:-1]) == {}


def test_large_chunks_cost_one_small_read_each(build: Callable[..., Any]) -> None:
    built = build([(f"ImageDataSeq|{i}!", bytes(500_000)) for i in range(20)])
    with count_reads() as counter:
        assert scan(built.data) == places(built)
    assert counter.reads <= 24
    assert counter.nbytes <= 24 * 4096


def test_small_chunks_are_read_in_sequence(
    build: Callable[..., Any], tmp_path: Path
) -> None:
    built = build([(f"ImageDataSeq|{i}!", bytes(5000)) for i in range(1000)])
    (tmp_path / "a.bin").write_bytes(built.data)
    with FileSource(tmp_path / "a.bin") as source, count_reads() as counter:
        assert dict(scan_chunks(source).items()) == places(built)
    assert counter.reads <= 10 + (len(built.data) >> 20)
    assert counter.nbytes <= 1.2 * len(built.data)


HOSTILE = {
    "magic": MAGIC * (1 << 18),
    "long name fields": (MAGIC + struct.pack("<IQ", 65536, 10) + b"A" * 8) * 40_000,
    "long names": (MAGIC + struct.pack("<IQ", 65536, 10) + b"A" * 65536) * 16,
    "chunks that lead nowhere": b"".join(
        MAGIC + struct.pack("<IQ", 4, (1 << 20) - 40 * i) + b"ABC!" + bytes(20)
        for i in range(20_000)
    )
    + bytes(1 << 20),
    "chunks that lead anywhere": b"".join(
        MAGIC + struct.pack("<IQ", 4, i * 1_037_400 % (1 << 20)) + b"ABC!" + bytes(20)
        for i in range(20_000)
    )
    + bytes(1 << 20),
    "empty chunks": (MAGIC + struct.pack("<IQ", 4, 0) + b"ABC!") * 40_000,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_cost_little(kind: str) -> None:
    data = HOSTILE[kind]
    source = MemorySource(data)
    start = time.perf_counter()
    with count_reads() as counter:
        scan_chunks(source)
    assert time.perf_counter() - start < 5
    assert counter.nbytes < 4 * len(data) + 40_000 * 4096
    tracemalloc.start()
    scan_chunks(MemorySource(data[: len(data) // 4]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20


def test_zeros_are_searched_quickly(tmp_path: Path) -> None:
    path = tmp_path / "zeros.bin"
    with path.open("wb") as file:
        file.truncate(200 << 20)
    start = time.perf_counter()
    with FileSource(path) as source:
        assert len(scan_chunks(source)) == 0
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize("batch", [1, 2, 10_000])
def test_rebuild_keeps_good_entries(
    build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """The map knows which of two copies counts; its good entries stay."""
    monkeypatch.setattr(scan_module, "_BATCH", batch)
    built = build([("A!", b"first"), *some_chunks(), ("A!", b"second")])
    expected = places(built)
    listed = {
        **expected,
        "A!": Entry(4096, 5),
        "ImageDataSeq|3!": Entry(expected["ImageDataSeq|2!"].offset, 9000),
        "ImageDataSeq|77!": Entry(4096, 5),
    }
    del listed["ImageDataSeq|1!"]
    index = ChunkIndex.from_entries((name, *entry) for name, entry in listed.items())
    rebuilt = rebuild_index(MemorySource(built.data), index)
    assert dict(rebuilt.items()) == {**expected, "A!": Entry(4096, 5)}


def test_rebuild_finds_what_the_scan_does_not(build: Callable[..., Any]) -> None:
    """A chunk inside another one's alleged extent is only known to the map."""
    inner = MAGIC + struct.pack("<IQ", 6, 3) + b"Inner!abc"
    built = build([("Outer!", b"x" * 100 + inner)])
    at = built.data.find(inner)
    index = ChunkIndex.from_entries([("Inner!", at, None), ("Gone!", at, 3)])
    found = dict(rebuild_index(MemorySource(built.data), index).items())
    assert found == {**places(built), "Inner!": Entry(at, None)}
