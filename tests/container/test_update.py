"""At each moment of an update the file shows its old or its new content."""

from __future__ import annotations

import errno
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import TYPE_CHECKING, Any

import nd2
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limnd2_xr.container import disk, update
from limnd2_xr.container.chunk_format import FILEMAP_NAME, SIGNATURE_NAME
from limnd2_xr.container.chunk_index import ChunkIndex, Entry, read_index
from limnd2_xr.container.source import FileSource, MemorySource
from limnd2_xr.container.update import update_chunks
from limnd2_xr.errors import CorruptChunk, NotAnNd2File
from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from limnd2_xr.testing.synthetic import SyntheticFile

KILLS = 200 if os.environ.get("HYPOTHESIS_PROFILE") == "ci" else 5
TEXT = "ImageTextInfoLV!"

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX processes")


def synthetic(text: str, **spec: Any) -> SyntheticFile:
    loops = (TimeLoop(3),)
    return build(SyntheticSpec(loops=loops, width=80, text={5: text}, **spec))


OLD = synthetic("old")
NEW_TEXT = "new" * 3000


def payloads(data: bytes) -> dict[str, bytes]:
    """All chunks that the map of a file lists."""
    with MemorySource(data) as source:
        loaded = read_index(source)
        assert loaded.rebuilt is None
        return loaded.prefetch.chunks(dict(loaded.index.items()))


FRAME = payloads(OLD.data)["ImageDataSeq|1!"]
NEW_CHUNK = payloads(synthetic(NEW_TEXT).data)[TEXT]

CHUNKS = {TEXT: NEW_CHUNK, "CustomData|W!": b"w" * 5000}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return OLD.save(tmp_path / "a.nd2")


def shown(path: Path) -> str:
    """The description that both readers show; the pixels are looked at too."""
    with xr.open_dataset(path, engine="nd2") as ds:
        text = ds.attrs["description"]
        np.testing.assert_array_equal(ds["image"].values, OLD.array())
    with nd2.ND2File(path) as file:
        assert file.text_info["description"] == text
        np.testing.assert_array_equal(file.asarray(), OLD.array()[:, 0])
    assert isinstance(text, str)
    return text


def test_put(path: Path) -> None:
    assert shown(path) == "old"
    update_chunks(path, {TEXT: NEW_CHUNK})
    assert shown(path) == NEW_TEXT
    data = path.read_bytes()
    assert data.startswith(OLD.data)
    assert payloads(data) == {**payloads(OLD.data), TEXT: NEW_CHUNK}
    update_chunks(os.fspath(path), {TEXT: payloads(OLD.data)[TEXT]})
    assert shown(path) == "old"
    assert path.read_bytes().startswith(data)


def test_put_and_remove_at_once(path: Path) -> None:
    before = payloads(OLD.data)
    values = np.arange(3.0)
    put: dict[str, Any] = {
        "CustomData|W!": values,
        TEXT: memoryview(NEW_CHUNK),
        "CustomData|E!": b"",
    }
    removed = ["CustomData|X!", "CustomDataVar|AppInfo_V1_0!", "CustomData|X!"]
    update_chunks(path, put, removed)
    expected = {name: data for name, data in before.items() if name not in removed}
    expected |= {
        "CustomData|W!": values.tobytes(),
        TEXT: NEW_CHUNK,
        "CustomData|E!": b"",
    }
    assert payloads(path.read_bytes()) == expected
    assert shown(path) == NEW_TEXT


def test_nothing_to_do(path: Path) -> None:
    before = path.stat()
    update_chunks(path, {})
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.read_bytes() == OLD.data


class Recorded:
    """The writes of an update, in groups between which the disk is waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.groups: list[list[tuple[int, bytes]]] = [[]]
        self._write_all, self._sync = disk.write_all, disk.sync
        monkeypatch.setattr(update, "write_all", self.write)
        monkeypatch.setattr(update, "sync", self.sync)

    def write(self, fd: int, offset: int, buffers: Sequence[Any]) -> None:
        self.groups[-1].append((offset, b"".join(map(bytes, buffers))))
        self._write_all(fd, offset, buffers)

    def sync(self, fd: int) -> None:
        self.groups.append([])
        self._sync(fd)


def written(data: bytes, writes: Iterable[tuple[int, bytes]]) -> bytes:
    content = bytearray(data)
    for offset, new in writes:
        content.extend(bytes(max(0, offset + len(new) - len(content))))
        content[offset : offset + len(new)] = new
    return bytes(content)


def test_every_state_shows_old_or_new(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each write, within each, and for any that a power failure keeps."""
    recorded = Recorded(monkeypatch)
    update_chunks(path, CHUNKS, frames={1: FRAME})
    final = path.read_bytes()
    first, second, third, _ = recorded.groups
    assert [len(group) for group in recorded.groups] == [1, 4, 1, 0]
    for ((offset, data),) in (first, third):
        # Within one sector: whole or not at all.
        assert len(data) == 40
        assert offset // 512 == (offset + 39) // 512
    assert all(
        offset >= len(OLD.data) for group in recorded.groups for offset, _ in group
    )

    grown = written(OLD.data, first)
    states = [OLD.data, grown]
    for i, (offset, data) in enumerate(second):
        before = written(grown, second[:i])
        parts = (data[:n] for n in (1, len(data) // 2, len(data) - 1))
        states += [written(before, [(offset, part)]) for part in parts]
        states.append(written(before, second[i : i + 1]))
    for count in range(2, len(second) + 1):
        states += [written(grown, kept) for kept in combinations(second, count)]
    for state in dict.fromkeys(states):
        path.write_bytes(state)
        assert shown(path) == "old"
    whole = written(written(grown, second), third)
    assert whole == final
    path.write_bytes(whole)
    assert shown(path) == NEW_TEXT


def test_updates_after_interrupted_ones(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = Recorded(monkeypatch)
    update_chunks(path, {TEXT: NEW_CHUNK})
    path.write_bytes(written(OLD.data, recorded.groups[0]))
    update_chunks(path, {TEXT: NEW_CHUNK})
    assert shown(path) == NEW_TEXT


@pytest.mark.parametrize("failing", range(9))
@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_errors_leave_the_old_file(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: int,
    kind: type[BaseException],
) -> None:
    calls = []

    def counted(inner: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any) -> None:
            calls.append(args)
            if len(calls) == failing + 1:
                raise kind(errno.ENOSPC, "No space left on device")
            inner(*args)

        return call

    monkeypatch.setattr(update, "write_all", counted(disk.write_all))
    monkeypatch.setattr(update, "sync", counted(disk.sync))
    with pytest.raises(kind, match="No space left"):
        update_chunks(path, CHUNKS, frames={1: FRAME})
    assert path.read_bytes() == OLD.data
    update_chunks(path, {TEXT: NEW_CHUNK})
    assert shown(path) == NEW_TEXT


def test_errors_name_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(update, "write_all", fail)
    with pytest.raises(OSError, match="No space left") as raised:
        update_chunks(path, {TEXT: NEW_CHUNK})
    assert raised.value.filename == str(path)


@posix
def test_file_limited_in_size(path: Path, victims: Any) -> None:
    limit = len(OLD.data) + 6000
    said = victims.run(
        f"""
        import resource
        from limnd2_xr.container.update import update_chunks
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
        update_chunks({str(path)!r}, {{"CustomData|W!": bytes(10_000)}})
        """
    )
    reason = os.strerror(errno.EFBIG)
    assert said == [f"error OSError [Errno {errno.EFBIG}] {reason}: {str(path)!r}"]
    assert path.read_bytes() == OLD.data


UPDATE = """
from pathlib import Path
from limnd2_xr.container import disk, update

def staged(name):
    inner, count = getattr(update, name), [0]
    def call(*args):
        count[0] += 1
        stage(f"before {{name}} {{count[0]}}")
        inner(*args)
        stage(f"after {{name}} {{count[0]}}")
    setattr(update, name, call)

staged("write_all")
staged("sync")
update.update_chunks({path!r}, {{{name!r}: Path({new!r}).read_bytes()}})
"""
STAGES = [
    ("before write_all 1", "old"),
    ("after write_all 1", "old"),
    ("after sync 1", "old"),
    ("after write_all 2", "old"),
    ("after write_all 3", "old"),
    ("before write_all 4", "old"),
    ("after write_all 4", NEW_TEXT),
    ("after sync 3", NEW_TEXT),
]


@posix
@pytest.mark.parametrize(("stage", "text"), STAGES, ids=[stage for stage, _ in STAGES])
def test_killed_at(path: Path, victims: Any, stage: str, text: str) -> None:
    new = path.with_name("new")
    new.write_bytes(NEW_CHUNK)
    script = UPDATE.format(path=str(path), name=TEXT, new=str(new))
    victims.run(script, kill=stage)
    assert shown(path) == text
    update_chunks(path, {TEXT: NEW_CHUNK})
    assert shown(path) == NEW_TEXT


@posix
@pytest.mark.slow
@pytest.mark.thorough
def test_killed_at_random(path: Path, victims: Any) -> None:
    name = "CustomData|W!"
    script = f"""
        from limnd2_xr.container.update import update_chunks
        i = 0
        while True:
            i += 1
            update_chunks({str(path)!r}, {{{name!r}: bytes([i % 256]) * 30_000}})
        """
    rng = np.random.default_rng()
    before = payloads(OLD.data)
    for i in range(KILLS):
        if i % 10 == 0:
            path.write_bytes(OLD.data)
        victims.run(script, kill=float(rng.uniform(0, 0.03)))
        found = payloads(path.read_bytes())
        value = found.pop(name, b"")
        assert value in {b"", value[:1] * 30_000}
        assert found == before
        if i % 10 == 9 or i == KILLS - 1:
            assert shown(path) == "old"


def test_updates_take_turns(path: Path) -> None:
    def work(i: int) -> None:
        for k in range(5):
            update_chunks(path, {f"CustomData|W{i}_{k}!": bytes([i]) * 100})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    found = payloads(path.read_bytes())
    assert {name for name in found if "W" in name} == {
        f"CustomData|W{i}_{k}!" for i in range(4) for k in range(5)
    }
    assert shown(path) == "old"


@posix
def test_updates_of_two_processes(path: Path, victims: Any) -> None:
    said = victims.run(
        f"""
        from limnd2_xr.container.update import update_chunks
        number = int(os.fork() == 0)
        for i in range(20):
            name = f"CustomData|W{{number}}_{{i}}!"
            update_chunks({str(path)!r}, {{name: bytes(100)}})
        if number:
            os._exit(0)
        os.wait()
        """
    )
    assert said == []
    found = payloads(path.read_bytes())
    assert sum("|W" in name for name in found) == 40


def test_whoever_has_it_open_reads_on(path: Path) -> None:
    before = payloads(OLD.data)
    with FileSource(path) as source:
        loaded = read_index(source)
        update_chunks(path, {TEXT: NEW_CHUNK}, ["CustomData|X!"])
        for name, entry in loaded.index.items():
            data = source.read_at(entry.offset, 16)
            name_nbytes, nbytes = struct.unpack("<4xIQ", data)
            at = entry.offset + 16 + name_nbytes
            assert source.read_at(at, nbytes) == before[name]


NAMES = st.sampled_from(
    ["A!", "CustomData|X!", "CustomData|\xe9!", "Seq|3!", "Seq|12!"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chunks=st.lists(st.tuples(NAMES, st.binary(max_size=50)), max_size=6),
    frames=st.lists(st.integers(0, 30), unique=True, max_size=12),
    updates=st.lists(
        st.tuples(
            st.dictionaries(NAMES, st.integers(0, 9000).map(bytes), max_size=4),
            st.sets(NAMES),
        ),
        max_size=4,
    ),
    unknown_sizes=st.booleans(),
    surplus=st.sampled_from([0, 16]),
)
def test_any_update(
    tmp_path: Path,
    build: Callable[..., Any],
    chunks: list[tuple[str, bytes]],
    frames: list[int],
    updates: list[tuple[dict[str, bytes], set[str]]],
    unknown_sizes: bool,
    surplus: int,
) -> None:
    pixels = [(f"ImageDataSeq|{i}!", bytes([i]) * (5000 + i)) for i in frames]
    built = build([*chunks, *pixels], unknown_sizes=unknown_sizes)
    # A file whose size is no multiple of 4096 (FORMAT 1.2).
    data = built.data[:-40] + bytes(surplus) + built.data[-40:]
    path = tmp_path / "any.nd2"
    path.write_bytes(data)
    expected = dict([*chunks, *pixels])
    for put, remove in updates:
        removed = (remove & expected.keys()) - put.keys()
        update_chunks(path, put, removed)
        for name in removed:
            del expected[name]
        expected |= put
        now = path.read_bytes()
        assert now.startswith(data)
        assert payloads(now) == expected
        assert not (put or removed) or len(now) % 4096 == 0
        data = now


def test_sizes_that_the_map_does_not_tell_stay_so(
    path: Path, build: Callable[..., Any]
) -> None:
    built = build([("A!", b"a"), ("ImageDataSeq|0!", bytes(5000))], unknown_sizes=True)
    path.write_bytes(built.data)
    update_chunks(path, {"B!": b"bb"})
    with FileSource(path) as source:
        index = read_index(source).index
    assert index.find("A!") == Entry(built.places["A!"][0], None)
    assert index.find("B!") == Entry(len(built.data), 2)
    offset = built.places["ImageDataSeq|0!"][0]
    assert index.find("ImageDataSeq|0!") == Entry(offset, None)


BAD_NAMES: dict[str, tuple[dict[str, bytes], list[str], str]] = {
    "frame": ({"ImageDataSeq|0!": b""}, [], r"ImageDataSeq\|0! is not an ordinary"),
    "frame to remove": ({}, ["ImageDataSeq|0!"], "is not an ordinary chunk"),
    "map": ({FILEMAP_NAME: b""}, [], "is not an ordinary chunk"),
    "signature": ({}, [SIGNATURE_NAME], "is not an ordinary chunk"),
    "no name": ({"abc": b""}, [], "'abc' is not a chunk name"),
    "both": ({TEXT: b""}, [TEXT], "both put and removed"),
    "absent": ({}, ["Nope!", TEXT], r"a\.nd2 has no chunk Nope!"),
}


@pytest.mark.parametrize("case", BAD_NAMES)
def test_names_refused(path: Path, case: str) -> None:
    put, remove, message = BAD_NAMES[case]
    with pytest.raises(ValueError, match=message):
        update_chunks(path, put, remove)
    assert path.read_bytes() == OLD.data


def test_a_string_is_no_list_of_names(path: Path) -> None:
    with pytest.raises(TypeError, match="several names"):
        update_chunks(path, {}, TEXT)


@pytest.mark.parametrize("style", ["missing", "zero_footer", "wrong_offset", "outside"])
def test_damaged_maps_are_refused(path: Path, style: Any) -> None:
    made = synthetic("old", map_style=style)
    made.save(path)
    with pytest.raises(CorruptChunk, match="write the data to a new file") as raised:
        update_chunks(path, {TEXT: NEW_CHUNK})
    assert raised.value.path == str(path)
    assert path.read_bytes() == made.data


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        update_chunks(tmp_path / "absent.nd2", {TEXT: b""})
    other = tmp_path / "a.txt"
    other.write_bytes(b"something else")
    with pytest.raises(NotAnNd2File):
        update_chunks(other, {TEXT: b""})
    assert other.read_bytes() == b"something else"
    with pytest.raises(IsADirectoryError):
        update_chunks(tmp_path, {TEXT: b""})


@posix
def test_links_stay_links(path: Path) -> None:
    link = path.with_name("link.nd2")
    link.symlink_to(path.name)
    update_chunks(link, {TEXT: NEW_CHUNK})
    assert link.is_symlink()
    assert shown(path) == NEW_TEXT


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name", ["confocal_t3_z10_c2", "fluo_c4", "zstack_z11", "rgb8", "netime_t2_u8"]
)
def test_real_files(
    name: str, real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    original = real_file(name)
    path = tmp_path / "a.nd2"
    path.write_bytes(original.read_bytes())
    before = payloads(path.read_bytes())
    with nd2.ND2File(path) as file:
        pixels = file.asarray()
    with xr.open_dataset(path, engine="nd2") as ds:
        old = ds.load()
    update_chunks(path, {TEXT: NEW_CHUNK, "CustomData|Added_V1_0!": b"added"})
    after = {**before, TEXT: NEW_CHUNK, "CustomData|Added_V1_0!": b"added"}
    assert payloads(path.read_bytes()) == after
    with nd2.ND2File(path) as file:
        assert file.text_info["description"] == NEW_TEXT
        np.testing.assert_array_equal(file.asarray(), pixels)
    with xr.open_dataset(path, engine="nd2") as ds:
        assert ds.attrs["description"] == NEW_TEXT
        xr.testing.assert_equal(ds, old)


@pytest.mark.slow
def test_a_million_frames(tmp_path: Path, build: Callable[..., Any]) -> None:
    """The map of a sparse file; only its tail is written anew."""
    from limnd2_xr.container.chunk_writer import encode_map

    count, stride = 1_000_000, 36_864
    numbers = np.arange(count)
    frames = (numbers, 8192 + numbers * stride, np.full(count, 32_776))
    path = tmp_path / "a.nd2"
    with path.open("wb") as file:
        file.write(build([]).data[:4096])
        offset = 8192 + count * stride
        file.seek(offset)
        file.write(encode_map([], offset, frames))
    update_chunks(path, {"A!": b"abc"})
    with FileSource(path) as source:
        index: ChunkIndex = read_index(source).index
    assert len(index) == count + 1
    assert index.find("ImageDataSeq|999999!") == Entry(8192 + 999_999 * stride, 32_776)


def test_frames_are_added_and_replaced(path: Path) -> None:
    before = payloads(path.read_bytes())
    names = [f"ImageDataSeq|{number}!" for number in range(5)]
    old = before[names[0]]
    update_chunks(path, {}, frames={1: b"1" * len(old), 4: b"4" * len(old), 3: old})
    after = payloads(path.read_bytes())
    assert {n: after[n] for n in before if n != names[1]} == {
        n: data for n, data in before.items() if n != names[1]
    }
    assert [after[n][:1] for n in names] == [
        old[:1],
        b"1",
        before[names[2]][:1],
        old[:1],
        b"4",
    ]
    with FileSource(path) as source:
        index = read_index(source).index
    entry = index.find(names[4])
    assert entry is not None
    # The pixels begin on a multiple of 4096, as everywhere.
    raw = path.read_bytes()[entry.offset :]
    assert raw[4096 - 8 : 4096 - 8 + len(old)] == b"4" * len(old)
