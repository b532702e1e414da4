"""Compressed frames that are read in parts: inflated once, in bounded memory."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from isal import isal_zlib

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames import frame_cache, pixels
from limnd2_xr.frames.frame_cache import CACHE, FrameCache, SharedFrame
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.testing.counting import count_reads
from limnd2_xr.testing.synthetic import ChannelSpec, SyntheticSpec, TimeLoop, build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limnd2_xr.testing.synthetic import SyntheticFile

ALL = slice(None)
HEIGHT = 40


@pytest.fixture(scope="module")
def file() -> SyntheticFile:
    channels = (ChannelSpec("a"), ChannelSpec("b"))
    return build(
        SyntheticSpec(
            loops=(TimeLoop(6),),
            channels=channels,
            width=32,
            height=HEIGHT,
            compression="zlib",
        )
    )


class Inflated:
    """What was inflated since: streams begun, and bytes that came out of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.streams = 0
        self.nbytes = 0


@pytest.fixture
def inflated(monkeypatch: pytest.MonkeyPatch) -> Inflated:
    """Count what is inflated."""
    counted = Inflated()
    real = isal_zlib.decompressobj

    class Stream:
        def __init__(self) -> None:
            self._stream = real()
            with counted.lock:
                counted.streams += 1

        def decompress(self, data: Any, nbytes: int) -> bytes:
            found: bytes = self._stream.decompress(data, nbytes)
            with counted.lock:
                counted.nbytes += len(found)
            return found

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

    monkeypatch.setattr(isal_zlib, "decompressobj", Stream)
    return counted


@pytest.fixture(autouse=True)
def _nothing_kept_at_the_end() -> Iterator[None]:
    yield
    gc.collect()
    assert CACHE.nbytes == 0


def test_rows_of_a_frame_are_inflated_once(
    file: SyntheticFile, inflated: Inflated
) -> None:
    frame_nbytes = HEIGHT * 32 * 2 * 2
    with FrameStore.open(file.data) as store:
        for first in range(0, HEIGHT, 8):
            rows = slice(first, first + 8)
            found = store.read((ALL, ALL, rows, ALL))
            np.testing.assert_array_equal(found, file.array()[:, :, rows])
            assert inflated.streams == 6
            assert inflated.nbytes == 6 * frame_nbytes * (first + 8) // HEIGHT


def test_what_was_packed_is_read_once(file: SyntheticFile) -> None:
    with FrameStore.open(file.data) as store:
        store.read((ALL, 0, slice(8), ALL))
        with count_reads() as counter:
            store.read((ALL, 1, ALL, ALL))
        assert counter.reads == 0


def test_threads_share_what_is_inflated(
    file: SyntheticFile, inflated: Inflated
) -> None:
    """All begin at once; every order of rows is right."""
    blocks = [(c, first) for first in range(0, HEIGHT, 5) for c in (0, 1)]
    barrier = threading.Barrier(8)

    def read(block: tuple[int, int]) -> bool:
        channel, first = block
        if first < 20:
            barrier.wait(20)
        rows = slice(first, first + 5)
        found = store.read((ALL, channel, rows, ALL))
        return np.array_equal(found, file.array()[:, channel, rows])

    with FrameStore.open(file.data) as store, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, blocks))
    assert inflated.streams == 6
    assert inflated.nbytes == 6 * HEIGHT * 32 * 2 * 2


def test_whole_frames_are_not_kept(file: SyntheticFile) -> None:
    with FrameStore.open(file.data) as store:
        store.read((ALL, ALL, ALL, ALL))
        assert CACHE.nbytes == 0
        store.read((ALL, ALL, slice(1), ALL))
        assert CACHE.nbytes > 0
    assert CACHE.nbytes == 0


def test_memory_is_bounded(
    file: SyntheticFile, monkeypatch: pytest.MonkeyPatch, inflated: Inflated
) -> None:
    frame_nbytes = HEIGHT * 32 * 2 * 2
    monkeypatch.setattr(CACHE, "limit_nbytes", 3 * frame_nbytes)
    with FrameStore.open(file.data) as store:
        for t in range(6):
            store.read((t, 0, ALL, ALL))
            assert CACHE.nbytes <= 3 * frame_nbytes
        assert CACHE.nbytes == 3 * frame_nbytes
        store.read((5, 1, ALL, ALL))
        assert inflated.streams == 6
        # More than can be kept is not kept at all.
        store.read((ALL, 1, ALL, ALL))
        assert CACHE.nbytes == 3 * frame_nbytes


def test_those_used_last_are_kept() -> None:
    cache = FrameCache(limit_nbytes=10)
    owner = object()
    first = cache.frames(owner, [0, 1])
    assert cache.frames(owner, [1, 2])[1] is first[1]
    cache.forget(object())
    assert cache.frames(owner, [0])[0] is first[0]
    cache.forget(owner)
    assert cache.frames(owner, [0])[0] is not first[0]


def test_a_damaged_frame_fails_each_time(file: SyntheticFile) -> None:
    data = bytearray(file.data)
    with FrameStore.open(file.data) as store:
        at = int(store.table.chunk_offsets[2] + store.table.header_nbytes)
    data[at + 200 : at + 400] = bytes(200)
    with FrameStore.open(bytes(data)) as store:
        for _ in range(2):
            with pytest.raises(CorruptChunk, match=r"ImageDataSeq\|2!"):
                store.read((ALL, 0, ALL, ALL))
        found = store.read((slice(3, None), 0, ALL, ALL))
        np.testing.assert_array_equal(found, file.array()[3:, 0])


@given(st.lists(st.integers(1, HEIGHT), min_size=1, max_size=8), st.booleans())
def test_a_stream_goes_on_where_it_stopped(stops: list[int], end: bool) -> None:
    import zlib

    from limnd2_xr.frames.layout import PixelLayout

    layout = PixelLayout(
        height=HEIGHT,
        width=16,
        channels=1,
        samples=1,
        dtype=np.dtype("<u2"),
        row_nbytes=32,
        compression="zlib",
    )
    data = np.random.default_rng(1).integers(0, 99, HEIGHT * 16).astype("<u2").tobytes()
    packed = zlib.compress(data if end else data[:-1])
    stream = pixels.RowStream(layout, packed)
    for stop in stops:
        if not end and stop == HEIGHT:
            with pytest.raises(CorruptChunk, match="cut short"):
                stream.rows(stop)
            return
        assert bytes(stream.rows(stop))[: 32 * stop] == data[: 32 * stop]
    assert stream.nbytes <= layout.frame_nbytes + len(packed)


def test_unknown_frames_say_so(file: SyntheticFile) -> None:
    with FrameStore.open(file.data) as store, pytest.raises(ValueError, match="packed"):
        frame_cache.SharedFrame().rows(1, store.table.layout, None)


def test_the_garbage_collector_may_come_at_any_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Files are forgotten from finalizers, which may run while the lock is held."""
    cache, gone, kept = FrameCache(), object(), object()

    class Collected(SharedFrame):
        def __init__(self) -> None:
            super().__init__()
            cache.forget(gone)

    cache.frames(gone, [1])
    monkeypatch.setattr(frame_cache, "SharedFrame", Collected)
    cache.frames(kept, [1, 2])
    assert {owner for owner, _ in cache._frames} == {kept}


def test_another_thread_is_not_waited_for() -> None:
    cache, gone = FrameCache(), object()
    cache.frames(gone, [1])
    with cache._lock:
        cache.forget(gone)
        assert cache._frames
    cache.forget_old()
    assert not cache._frames


def test_a_forked_process_waits_for_no_thread_of_the_other() -> None:
    cache = FrameCache()
    cache.frames(cache, [1])
    cache._lock.acquire()
    cache.begin_anew()
    assert cache.nbytes == 0
    assert list(cache.frames(cache, [2])) == [2]
