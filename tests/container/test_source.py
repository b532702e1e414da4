"""Every local source gives the bytes that slicing gives, or a clear error."""

from __future__ import annotations

import copy
import io
import os
import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.container import disk, local_source
from limnd2_xr.container.source import (
    BaseSource,
    ByteSource,
    FileObjectSource,
    FileSource,
    FileStamp,
    MemorySource,
    SourceSpec,
    observe_reads,
)
from limnd2_xr.errors import CorruptChunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATA = np.random.default_rng(0).integers(0, 256, 10_007, np.uint8).tobytes()


class Dribble:
    """A file object that gives a few bytes at a time and cannot `readinto`."""

    def __init__(self, data: bytes, most: int = 7) -> None:
        self._file = io.BytesIO(data)
        self._most = most

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, self._most))

    def seek(self, offset: int, whence: int, /) -> int:
        return self._file.seek(offset, whence)


class Unbuffered(io.RawIOBase):
    """A raw file that fills at most 100 bytes of a buffer."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(memoryview(buffer)[:100])


class NoReadinto(Dribble):
    """Has `readinto` only to say that it is not supported."""

    def readinto(self, buffer: Any) -> int:
        raise io.UnsupportedOperation


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sources") / "data.bin"
    path.write_bytes(DATA)
    return path


KINDS = (
    "file",
    "bytes",
    "bytearray",
    "memoryview",
    "strided memoryview",
    "BytesIO",
    "open file",
    "dribble",
    "unbuffered",
    "no readinto",
)


def open_kind(kind: str, path: Path) -> tuple[BaseSource, BinaryIO | None]:
    opened: BinaryIO | None = None
    source: BaseSource
    if kind == "file":
        source = FileSource(path)
    elif kind == "bytes":
        source = MemorySource(DATA)
    elif kind == "bytearray":
        source = MemorySource(bytearray(DATA))
    elif kind == "memoryview":
        source = MemorySource(memoryview(DATA))
    elif kind == "strided memoryview":
        source = MemorySource(
            memoryview(bytes(np.repeat(list(DATA), 2).astype("u1")))[::2]
        )
    elif kind == "BytesIO":
        source = FileObjectSource(io.BytesIO(DATA))
    elif kind == "open file":
        opened = path.open("rb")
        source = FileObjectSource(opened)
    elif kind == "dribble":
        source = FileObjectSource(Dribble(DATA))
    elif kind == "unbuffered":
        source = FileObjectSource(Unbuffered(DATA))
    else:
        source = FileObjectSource(NoReadinto(DATA))
    return source, opened


@pytest.fixture(params=KINDS, scope="module")
def source(request: pytest.FixtureRequest, data_path: Path) -> Iterator[ByteSource]:
    source, opened = open_kind(request.param, data_path)
    yield source
    source.close()
    if opened:
        opened.close()


ranges = st.tuples(
    st.integers(0, len(DATA) + 5),
    st.one_of(st.integers(0, 300), st.integers(0, len(DATA) + 5)),
)


@given(where=ranges)
def test_read_at_equals_slicing(source: ByteSource, where: tuple[int, int]) -> None:
    offset, nbytes = where
    assert source.size == len(DATA)
    if offset + nbytes > len(DATA):
        with pytest.raises(CorruptChunk, match="file ends") as caught:
            source.read_at(offset, nbytes)
        assert caught.value.path == source.name
        assert caught.value.offset == offset
    else:
        found = source.read_at(offset, nbytes)
        assert type(found) is bytes
        assert found == DATA[offset : offset + nbytes]


@given(
    offset=st.integers(0, len(DATA) + 5),
    sizes=st.lists(st.integers(0, 700), max_size=12),
)
def test_read_into_scatters(source: ByteSource, offset: int, sizes: list[int]) -> None:
    buffers = [bytearray(size) for size in sizes]
    nbytes = sum(sizes)
    if offset + nbytes > len(DATA):
        with pytest.raises(CorruptChunk, match="file ends"):
            source.read_into(offset, buffers)
        assert not any(map(any, buffers))
    else:
        source.read_into(offset, buffers)
        assert b"".join(buffers) == DATA[offset : offset + nbytes]


@pytest.mark.parametrize("kind", KINDS)
def test_closed_sources_do_not_read(kind: str, data_path: Path) -> None:
    source, opened = open_kind(kind, data_path)
    states = [source.closed]
    with source:
        states.append(source.closed)
    source.close()
    assert [*states, source.closed] == [False, False, True]
    assert "closed" in repr(source)
    with pytest.raises(ValueError, match="closed file"):
        source.read_at(0, 1)
    with pytest.raises(ValueError, match="closed file"):
        source.read_into(0, [bytearray(1)])
    if opened:
        assert not opened.closed
        opened.close()


@pytest.mark.parametrize(("offset", "nbytes"), [(-1, 1), (0, -1), (-5, 10)])
def test_negative_ranges(source: ByteSource, offset: int, nbytes: int) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        source.read_at(offset, nbytes)


@pytest.mark.parametrize(
    "array",
    [
        np.empty((3, 5), "<u2"),
        np.empty((3, 5), ">u2"),
        np.empty((4, 2), "<f4"),
        np.empty(7, [("a", "u1"), ("b", "<f8")]),
        np.empty((5, 4, 3), "u1")[2:],
        np.empty((0, 4), "u1"),
        np.empty((), "<f8"),
    ],
    ids=lambda array: f"{array.dtype.str}{array.shape}",
)
def test_read_into_arrays(source: ByteSource, array: np.ndarray[Any, Any]) -> None:
    rest = bytearray(3)
    source.read_into(11, [array, rest])
    end = 11 + array.nbytes
    assert array.tobytes() == DATA[11:end]
    assert bytes(rest) == DATA[end : end + 3]


@pytest.mark.parametrize(
    ("buffer", "message"),
    [
        (memoryview(b"abc"), "read-only"),
        (np.empty((4, 4), "u1")[:, :2], "C-contiguous"),
        (np.empty((4, 4), "u1", order="F"), "C-contiguous"),
    ],
)
def test_read_into_refuses(source: ByteSource, buffer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        source.read_into(0, [buffer])


@pytest.mark.parametrize("count", [1023, 1024, 1025, 4000])
def test_more_buffers_than_a_system_call_takes(data_path: Path, count: int) -> None:
    buffers = [bytearray(2) for _ in range(count)]
    with FileSource(data_path) as source:
        source.read_into(1, buffers)
    assert b"".join(buffers) == DATA[1 : 1 + 2 * count]


def test_short_system_reads(data_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may give fewer bytes than asked for, at any point."""
    pread, preadv = os.pread, os.preadv

    def short_pread(fd: int, nbytes: int, offset: int) -> bytes:
        return pread(fd, min(nbytes, 13), offset)

    def short_preadv(fd: int, buffers: Any, offset: int) -> int:
        return preadv(fd, [memoryview(buffers[0])[:13]], offset)

    monkeypatch.setattr(os, "pread", short_pread)
    monkeypatch.setattr(os, "preadv", short_preadv)
    with FileSource(data_path) as source:
        assert source.read_at(5, 1000) == DATA[5:1005]
        buffers = [bytearray(n) for n in (5, 0, 40, 1, 13)]
        source.read_into(100, buffers)
    assert b"".join(buffers) == DATA[100:159]


@pytest.mark.parametrize("limit", [1, 10, 64])
def test_reads_larger_than_a_system_call(
    data_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    for module in (local_source, disk):
        monkeypatch.setattr(module, "MAX_CALL_NBYTES", limit)
    with FileSource(data_path) as source:
        assert source.read_at(3, 200) == DATA[3:203]
        buffers = [bytearray(n) for n in (5, 30, 65)]
        source.read_into(7, buffers)
    assert b"".join(buffers) == DATA[7:107]


def test_systems_without_preadv(
    data_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_source, "_HAS_PREADV", False)
    with FileSource(data_path) as source, ThreadPoolExecutor(4) as pool:
        offsets = range(0, 9000, 37)
        found = list(pool.map(lambda offset: source.read_at(offset, 99), offsets))
        buffers = [bytearray(10), bytearray(20)]
        source.read_into(50, buffers)
    assert found == [DATA[offset : offset + 99] for offset in offsets]
    assert b"".join(buffers) == DATA[50:80]


def test_file_that_became_shorter(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(DATA)
    with FileSource(path, "my file") as source:
        os.truncate(path, 100)
        assert source.read_at(0, 100) == DATA[:100]
        for read in (
            lambda: source.read_at(90, 20),
            lambda: source.read_into(90, [bytearray(20)]),
        ):
            with pytest.raises(CorruptChunk, match="my file: at offset 90"):
                read()


def test_file_object_that_became_shorter() -> None:
    file = io.BytesIO(DATA)
    source = FileObjectSource(file)
    file.truncate(100)
    with pytest.raises(CorruptChunk, match="BytesIO"):
        source.read_at(90, 20)
    with pytest.raises(CorruptChunk, match="BytesIO"):
        source.read_into(90, [bytearray(20)])


def test_threads_share_a_source(source: ByteSource) -> None:
    def read(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        for _ in range(50):
            offset, nbytes = (int(n) for n in rng.integers(0, len(DATA) // 2, 2))
            first, second = bytearray(nbytes // 3), bytearray(nbytes - nbytes // 3)
            source.read_into(offset, [first, second])
            expected = DATA[offset : offset + nbytes]
            if first + second != expected or source.read_at(offset, nbytes) != expected:
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(16)))


def test_reads_of_a_file_do_not_wait_for_each_other(
    data_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All threads are inside the system call at the same time."""
    inside = threading.Barrier(4, timeout=20)
    preadv = os.preadv

    def meeting(fd: int, buffers: Any, offset: int) -> int:
        inside.wait()
        return preadv(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", meeting)
    buffers = [bytearray(100) for _ in range(4)]
    with FileSource(data_path) as source, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: source.read_into(i, [buffers[i]]), range(4)))
    assert [bytes(b) for b in buffers] == [DATA[i : i + 100] for i in range(4)]


def test_closing_during_a_read_keeps_the_descriptor(
    data_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of a closed descriptor is reused at once: the read must not see it."""
    other = tmp_path / "other.bin"
    other.write_bytes(b"\xff" * len(DATA))
    source = FileSource(data_path)
    reading, closed = threading.Event(), threading.Event()
    pread = os.pread

    def slow_pread(fd: int, nbytes: int, offset: int) -> bytes:
        reading.set()
        assert closed.wait(20)
        return pread(fd, nbytes, offset)

    monkeypatch.setattr(os, "pread", slow_pread)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(source.read_at, 0, 100)
        assert reading.wait(20)
        source.close()
        with other.open("rb"):
            closed.set()
            assert found.result() == DATA[:100]


@pytest.mark.parametrize("kind", KINDS)
def test_closing_just_before_a_read(kind: str, data_path: Path) -> None:
    """Another thread may close between the look at the state and the read."""
    reads: list[Callable[[BaseSource], object]] = [
        lambda source: source.read_at(0, 1),
        lambda source: source.read_into(0, [bytearray(1)]),
    ]
    for read in reads:
        source, opened = open_kind(kind, data_path)

        def close(offset: int, nbytes: int, source: BaseSource = source) -> None:
            source.close()

        stop = observe_reads(close)
        with pytest.raises(ValueError, match="closed file"):
            read(source)
        stop()
        if opened:
            opened.close()


def test_file_objects_that_cannot_be_keys() -> None:
    class Unhashable(Dribble):
        __hash__ = None  # type: ignore[assignment]

    with FileObjectSource(Unhashable(DATA)) as source:
        assert source.read_at(50, 50) == DATA[50:100]


def test_sources_over_one_file_object_share_its_lock() -> None:
    file = io.BytesIO(DATA)
    first, second = FileObjectSource(file), FileObjectSource(file)
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(source.read_at, offset, 50)
            for offset in range(0, 5000, 13)
            for source in (first, second)
        ]
    expected = [DATA[o : o + 50] for o in range(0, 5000, 13) for _ in range(2)]
    assert [job.result() for job in jobs] == expected
    assert first._lock is second._lock


def test_text_files_are_refused(data_path: Path) -> None:
    with (
        data_path.open(encoding="latin-1") as file,
        pytest.raises(TypeError, match="text"),
    ):
        FileObjectSource(file)  # type: ignore[arg-type]


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_closing_frees_the_descriptor(data_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        FileSource(data_path).close()
        FileSource(data_path)  # dropped
    assert len(list(Path("/proc/self/fd").iterdir())) == before


class TestSourceSpec:
    def test_path(self, data_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(data_path.parent)
        specs = [SourceSpec.of(data_path), SourceSpec.of("data.bin")]
        specs.append(SourceSpec.of(data_path.as_uri()))
        specs.append(SourceSpec.of(f"file://{data_path}"))
        assert {spec.kind for spec in specs} == {"path"}
        assert {spec.location for spec in specs} == {str(data_path)}
        assert len(set(specs)) == 1
        assert [spec.name for spec in specs[:2]] == [str(data_path), "data.bin"]
        monkeypatch.chdir("/")
        for spec in specs:
            with pickle.loads(pickle.dumps(spec)).open() as source:
                assert source.read_at(10, 5) == DATA[10:15]
                assert source.name == spec.name

    def test_home(self, data_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(data_path.parent))
        assert SourceSpec.of("~/data.bin").location == str(data_path)

    @pytest.mark.parametrize("name", ["a b.bin", "a%20b.bin", "a#1?.bin", "č.bin"])
    def test_file_urls_of_odd_names(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        path.write_bytes(b"abc")
        for url in (path.as_uri(), f"file://{path}"):
            with SourceSpec.of(url).open() as source:
                assert source.read_at(0, 3) == b"abc"

    def test_missing_and_directory(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            SourceSpec.of(tmp_path / "no.nd2").open()
        with pytest.raises(FileNotFoundError):
            SourceSpec.of(tmp_path / "no.nd2").stamp()
        with pytest.raises(IsADirectoryError):
            SourceSpec.of(tmp_path).open()

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_bytes(self, kind: Callable[[bytes], Any]) -> None:
        spec = SourceSpec.of(kind(DATA))
        again = pickle.loads(pickle.dumps(spec))
        assert again == spec == SourceSpec.of(DATA)
        assert hash(again) == hash(spec)
        assert spec.name == "<bytes>"
        assert len(repr(spec)) < 200
        assert spec.stamp() == FileStamp(len(DATA))
        with again.open() as source:
            assert source.read_at(0, len(DATA)) == DATA

    def test_bytearray_is_copied(self) -> None:
        data = bytearray(b"abc")
        spec = SourceSpec.of(data)
        data[0] = 0
        data += b"more"
        with spec.open() as source:
            assert source.read_at(0, source.size) == b"abc"

    def test_file_object(self, data_path: Path) -> None:
        with data_path.open("rb") as file:
            spec = SourceSpec.of(file)
            assert spec.kind == "object"
            assert spec.name == str(data_path)
            assert spec == SourceSpec.of(file)
            assert hash(spec) == hash(SourceSpec.of(file))
            assert spec != SourceSpec.of(io.BytesIO(DATA))
            with spec.open() as source:
                assert source.read_at(0, 9) == DATA[:9]
            assert not file.closed
            assert spec.stamp().size == len(DATA)
            with pytest.raises(TypeError, match=r"data\.bin.* cannot be pickled"):
                pickle.dumps(spec)
            assert copy.deepcopy({"source": spec}) == {"source": spec}

    @pytest.mark.parametrize("obj", [None, 3, b"a".__len__, ["a.nd2"], object()])
    def test_other_things(self, obj: Any) -> None:
        with pytest.raises(TypeError, match="expected a path"):
            SourceSpec.of(obj)

    def test_bytes_path(self) -> None:
        class BytesPath(os.PathLike[Any]):
            def __fspath__(self) -> bytes:
                return b"a.nd2"

        with pytest.raises(TypeError, match="bytes paths"):
            SourceSpec.of(BytesPath())

    def test_options_are_for_urls(self, data_path: Path) -> None:
        for what in (data_path, DATA, io.BytesIO(DATA)):
            with pytest.raises(ValueError, match="storage_options are for URLs"):
                SourceSpec.of(what, {"anon": True})

    def test_stamp_follows_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.bin"
        path.write_bytes(b"abc")
        spec = SourceSpec.of(path)
        with spec.open() as source:
            assert source.stamp == spec.stamp()
            assert source.stamp.mtime_ns == path.stat().st_mtime_ns
            os.utime(path, ns=(0, time.time_ns() + 5))
            assert source.stamp != spec.stamp()
        path.write_bytes(b"abcd")
        assert spec.stamp().size == 4
