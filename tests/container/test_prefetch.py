"""Reads are served from what is held, merged, and never more than the file."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.container import prefetch
from limnd2_xr.container.chunk_index import Entry, check_entries
from limnd2_xr.container.prefetch import RegionCache
from limnd2_xr.container.source import FileObjectSource, MemorySource
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.testing.counting import count_reads

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = np.random.default_rng(2).integers(0, 256, 2000, np.uint8).tobytes()
GAP = 64 * 1024

spans = st.lists(st.tuples(st.integers(-20, 2100), st.integers(-20, 2100)), max_size=8)


@given(batches=st.lists(spans, max_size=4), gap=st.sampled_from([0, 10, 300, 5000]))
def test_reads_are_right_whatever_is_held(
    batches: list[list[tuple[int, int]]], gap: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefetch, "_MIN_GAP_NBYTES", gap)
        cache = RegionCache(MemorySource(DATA))
        for batch in batches:
            with count_reads() as counter:
                cache.fetch(batch)
            assert counter.nbytes <= len(DATA)
            assert counter.reads <= len(batch)
            ends = sorted((offset, offset + n) for offset, n in counter.ranges)
            assert all(b[0] - a[1] > gap for a, b in pairwise(ends))
            with count_reads() as counter:
                cache.fetch(batch)
                for start, end in batch:
                    first, last = max(start, 0), min(end, len(DATA))
                    if first < last:
                        assert cache.read(first, last - first) == DATA[first:last]
            assert counter.reads == 0
    regions = cache.regions()
    assert all(a[1] < b[0] for a, b in pairwise(regions))
    for start, end in regions:
        assert cache.read(start, end - start) == DATA[start:end]
    assert cache.read(0, len(DATA)) == DATA


def test_gap_of_the_source_counts() -> None:
    source = MemorySource(bytes(10 * GAP))
    cache = RegionCache(source)
    with count_reads() as counter:
        cache.fetch([(0, 10), (GAP + 10, GAP + 20), (3 * GAP, 3 * GAP + 1)])
    assert counter.ranges == [(0, GAP + 20), (3 * GAP, 1)]
    source.gap_nbytes = 4 * GAP
    cache = RegionCache(source)
    with count_reads() as counter:
        cache.fetch([(0, 10), (GAP + 10, GAP + 20), (3 * GAP, 3 * GAP + 1)])
    assert counter.ranges == [(0, 3 * GAP + 1)]


def test_reading_past_the_end() -> None:
    cache = RegionCache(MemorySource(DATA))
    cache.fetch([(0, 10**9)])
    assert cache.regions() == [(0, 2000)]
    with pytest.raises(CorruptChunk, match="file ends"):
        cache.read(1990, 11)


def places(built: Any) -> dict[str, Entry]:
    return {name: Entry(*place) for name, place in built.places.items()}


@pytest.fixture
def built(build: Callable[..., Any]) -> Any:
    rng = np.random.default_rng(0)
    sizes = {"Small!": 10, "Empty!": 0, "CustomData|X!": 4000, "Big!": 100_000}
    chunks = [(name, rng.bytes(n)) for name, n in sizes.items()]
    chunks += [("ImageDataSeq|0!", rng.bytes(300_000)), ("Last!", rng.bytes(5000))]
    chunks += [("N" * 5000 + "!", b"long name"), ("µ\xff!", b"bytes")]
    return build(chunks)


@pytest.mark.parametrize("unknown", [False, True])
def test_chunks(built: Any, unknown: bool) -> None:
    entries = places(built)
    if unknown:
        entries = {name: Entry(entry.offset, None) for name, entry in entries.items()}
    cache = RegionCache(MemorySource(built.data))
    with count_reads() as counter:
        found = cache.chunks(entries)
    assert found == built.payloads
    assert all(type(payload) is bytes for payload in found.values())
    assert counter.reads <= 2 + 2 * unknown
    with count_reads() as counter:
        assert cache.chunks(entries) == built.payloads
    assert counter.reads == 0
    assert cache.chunks({}) == {}


def test_chunks_of_a_name_field_longer_than_usual(make_chunk: Any) -> None:
    """The guess about the header is too small: read once more, not wrongly."""
    raw = b"A!".ljust(30_000, b"\0")
    data = (
        b"\xda\xce\xbe\x0a" + len(raw).to_bytes(4, "little") + (9).to_bytes(8, "little")
    )
    data = data + raw + b"the bytes" + bytes(100_000)
    cache = RegionCache(MemorySource(data))
    assert cache.chunks({"A!": Entry(0, 9)}) == {"A!": b"the bytes"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Small!": (8192, 10)}, "chunk Empty! is there instead"),
        ({"Small!": (4096, 11)}, "map says 11 bytes, the chunk's header 10"),
        ({"Small!": (4097, 10)}, "there is no chunk here"),
        ({"Small!": (4096, 10**12)}, "claims 1000000000000 bytes"),
        ({"Small!": (4096, 10**9)}, "run past the end of the file"),
        ({"Small!": (10**9, 10)}, "run past the end of the file"),
        ({"Small!": (10**9, None)}, "file ends"),
        ({"Small!": (2**64 - 1, None)}, "file ends"),
        ({"Other!": (4096, 10)}, "chunk Small! is there instead"),
        ({f"N{i}!": (4096, 300_000) for i in range(2)}, "overlaps other chunks"),
    ],
)
def test_chunks_that_are_not_there(
    built: Any, change: dict[str, tuple[int, int | None]], message: str
) -> None:
    cache = RegionCache(MemorySource(built.data, "a.nd2"))
    entries = {name: Entry(*place) for name, place in change.items()}
    with count_reads() as counter, pytest.raises(CorruptChunk, match=message) as caught:
        cache.chunks(entries)
    assert counter.nbytes <= len(built.data)
    assert caught.value.path == "a.nd2"
    assert caught.value.chunk in entries
    assert caught.value.offset == next(iter(entries.values())).offset


@pytest.mark.parametrize("unknown", [False, True])
def test_parts_of_chunks(built: Any, unknown: bool) -> None:
    for name, entry in places(built).items():
        payload = built.payloads[name]
        place = Entry(entry.offset, None) if unknown else entry
        for start in (0, len(payload) // 2, len(payload)):
            nbytes = (len(payload) - start) // 2
            with count_reads() as counter:
                cache = RegionCache(MemorySource(built.data))
                part = cache.part(name, place, start, nbytes)
            assert part == payload[start : start + nbytes]
            assert counter.reads <= 2
            assert counter.nbytes <= nbytes + min(start, GAP) + len(name) + 5000


@pytest.mark.parametrize(
    ("name", "place", "start", "message"),
    [
        ("Small!", (8192, 10), 0, "chunk Empty! is there instead"),
        ("Small!", (4096, 10), 9, "holds 10 bytes, not 11"),
        ("Small!", (4096, 10), 10**12, "holds 10 bytes, not 1000000000002"),
        ("Small!", (4097, 10), 0, "there is no chunk here"),
        ("Small!", (10**9, None), 0, "file ends"),
    ],
)
def test_parts_that_are_not_there(
    built: Any, name: str, place: tuple[int, int | None], start: int, message: str
) -> None:
    cache = RegionCache(MemorySource(built.data, "a.nd2"))
    with count_reads() as counter, pytest.raises(CorruptChunk, match=message) as caught:
        cache.part(name, Entry(*place), start, 2)
    assert counter.nbytes <= len(built.data)
    assert (caught.value.path, caught.value.chunk) == ("a.nd2", name)


def test_chunk_larger_than_allowed(built: Any) -> None:
    cache = RegionCache(MemorySource(built.data))
    for nbytes in (100_000, None):
        entry = Entry(built.places["Big!"][0], nbytes)
        with pytest.raises(CorruptChunk, match="claims 100000 bytes"):
            cache.chunks({"Big!": entry}, max_nbytes=99_999)


def test_check_entries(built: Any) -> None:
    right = places(built)
    size = len(built.data)
    wrong = {
        "Small! ": Entry(4096, 10),
        "ImageDataSeq|1!": Entry(right["ImageDataSeq|0!"].offset, None),
        "no!": Entry(4100, None),
        "end!": Entry(size - 8, None),
        "after!": Entry(size + 100, None),
        "far!": Entry(2**64 - 1, 5),
        "size!": Entry(4096, 11),
    }
    for source in (MemorySource(built.data), FileObjectSource(io.BytesIO(built.data))):
        assert check_entries(source, right) == []
        found = check_entries(source, {**right, **wrong})
        assert sorted(found) == sorted(wrong)
        offsets = [wrong[name].offset for name in found]
        assert offsets == sorted(offsets)
        assert check_entries(source, {}) == []
    cache = RegionCache(MemorySource(built.data))
    cache.fetch([(0, size)])
    with count_reads() as counter:
        assert check_entries(cache, right) == []
    assert counter.reads == 0


def test_check_entries_reads_headers_only(build: Callable[..., Any]) -> None:
    built = build([(f"ImageDataSeq|{i}!", bytes(500_000)) for i in range(20)])
    with count_reads() as counter:
        assert check_entries(MemorySource(built.data), places(built)) == []
    assert counter.reads == 20
    assert counter.nbytes < 20 * 100
    built = build([(f"A|{i}!", b"") for i in range(1000)])
    with count_reads() as counter:
        assert check_entries(MemorySource(built.data), places(built)) == []
    assert counter.reads < 10
    assert max(nbytes for _, nbytes in counter.ranges) < 2 << 20
