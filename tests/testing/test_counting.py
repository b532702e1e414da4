"""Every read of every source is counted, while somebody counts."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pytest

from limnd2_xr.container import byte_source
from limnd2_xr.container.source import (
    FileObjectSource,
    MemorySource,
    SourceSpec,
    observe_reads,
)
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.testing.counting import count_reads


def test_counts_any_source() -> None:
    before = MemorySource(b"abcdef")
    before.read_at(0, 1)
    with count_reads() as counter:
        assert (counter.reads, counter.nbytes, counter.ranges) == (0, 0, [])
        before.read_at(1, 2)
        with SourceSpec.of(io.BytesIO(b"abcdef")).open() as inside:
            inside.read_into(3, [bytearray(1), bytearray(2)])
    before.read_at(0, 1)
    assert counter.ranges == [(1, 2), (3, 3)]
    assert (counter.reads, counter.nbytes) == (2, 5)


def test_only_requests_count() -> None:
    source = MemorySource(b"abcdef")
    with count_reads() as counter:
        source.read_at(3, 0)
        source.read_into(0, [])
        source.read_into(0, [bytearray()])
        with pytest.raises(CorruptChunk):
            source.read_at(5, 2)
        source.close()
        with pytest.raises(ValueError, match="closed"):
            source.read_at(0, 1)
    assert counter.reads == 0


def test_counters_nest() -> None:
    source = MemorySource(b"abcdef")
    with count_reads() as outer:
        source.read_at(0, 1)
        with count_reads() as inner:
            source.read_at(0, 2)
        source.read_at(0, 3)
    assert outer.ranges == [(0, 1), (0, 2), (0, 3)]
    assert inner.ranges == [(0, 2)]
    assert byte_source._observers == ()


def test_threads_are_counted() -> None:
    source = FileObjectSource(io.BytesIO(bytes(1000)))
    with count_reads() as counter, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: source.read_at(i, 1), range(500)))
    assert sorted(counter.ranges) == [(i, 1) for i in range(500)]


def test_stops_after_an_error() -> None:
    def fail() -> None:
        with count_reads():
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert byte_source._observers == ()


def test_stopping_twice() -> None:
    stop = observe_reads(lambda offset, nbytes: None)
    stop()
    stop()
    assert byte_source._observers == ()
