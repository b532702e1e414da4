"""A target is absent, the old file or the complete new one, whatever happens."""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limnd2_xr.container import disk, sink
from limnd2_xr.container.sink import PartialFile
from limnd2_xr.errors import CorruptChunk

OLD = b"old content"
NEW = b"new content".ljust(10_000, b"!")
KILLS = 200 if os.environ.get("HYPOTHESIS_PROFILE") == "ci" else 5

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX permissions or processes")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "a.nd2"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_new(partial: PartialFile) -> None:
    partial.write_at(0, NEW)


def test_commit(target: Path) -> None:
    with PartialFile.create(target) as partial:
        write_new(partial)
        assert partial.path.parent == target.parent
        assert partial.path.name.startswith(".a.nd2.")
        assert partial.path.suffix == ".partial"
        assert partial.target == target
        assert not target.exists()
        partial.commit()
        assert partial.closed
        partial.rollback()
    partial.rollback()
    assert target.read_bytes() == NEW
    assert names(target.parent) == ["a.nd2"]


def test_no_commit(target: Path) -> None:
    with PartialFile.create(target) as partial:
        write_new(partial)
    assert names(target.parent) == []
    partial.rollback()


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("exists", [True, False])
def test_exception(target: Path, kind: type[BaseException], exists: bool) -> None:
    def fail() -> None:
        with PartialFile.create(target, overwrite=exists) as partial:
            write_new(partial)
            raise kind

    if exists:
        target.write_bytes(OLD)
    with pytest.raises(kind):
        fail()
    assert names(target.parent) == (["a.nd2"] if exists else [])
    assert not exists or target.read_bytes() == OLD


def test_existing_is_refused(target: Path) -> None:
    target.write_bytes(OLD)
    with pytest.raises(FileExistsError, match="overwrite=True replaces it") as raised:
        PartialFile.create(target)
    assert raised.value.filename == str(target)
    assert target.read_bytes() == OLD
    assert names(target.parent) == ["a.nd2"]


def test_existing_stays_until_replaced(target: Path) -> None:
    target.write_bytes(OLD)
    with target.open("rb") as reader, PartialFile.create(target, overwrite=True) as new:
        write_new(new)
        assert target.read_bytes() == OLD
        new.commit()
        assert target.read_bytes() == NEW
        assert reader.read() == OLD
    assert names(target.parent) == ["a.nd2"]


@pytest.mark.parametrize("has_links", [True, False])
def test_target_that_appears_meanwhile(
    target: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    def no_link(self: Path, _: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted", str(self))

    if not has_links:
        monkeypatch.setattr(Path, "hardlink_to", no_link)
    with PartialFile.create(target) as partial:
        write_new(partial)
        target.write_bytes(OLD)
        with pytest.raises(FileExistsError, match="appeared") as raised:
            partial.commit()
    assert raised.value.filename == str(target)
    assert target.read_bytes() == OLD
    assert names(target.parent) == ["a.nd2"]
    with PartialFile.create(target, overwrite=True) as partial:
        write_new(partial)
        partial.commit()
    target.unlink()
    with PartialFile.create(target) as partial:
        write_new(partial)
        partial.commit()
    assert target.read_bytes() == NEW
    assert names(target.parent) == ["a.nd2"]


def test_target_that_appears_is_replaced_if_asked(target: Path) -> None:
    with PartialFile.create(target, overwrite=True) as partial:
        write_new(partial)
        target.write_bytes(OLD)
        partial.commit()
    assert target.read_bytes() == NEW


def test_target_that_goes_away(target: Path) -> None:
    target.write_bytes(OLD)
    with PartialFile.create(target, overwrite=True) as partial:
        write_new(partial)
        target.unlink()
        partial.commit()
    assert target.read_bytes() == NEW


@posix
@pytest.mark.parametrize("dangling", [True, False])
def test_links_stay_links(tmp_path: Path, dangling: bool) -> None:
    real = tmp_path / "data" / "real.nd2"
    real.parent.mkdir()
    if not dangling:
        real.write_bytes(OLD)
    link = tmp_path / "link.nd2"
    link.symlink_to("data/real.nd2")
    with PartialFile.create(link, overwrite=not dangling) as partial:
        assert partial.path.parent == real.parent
        write_new(partial)
        partial.commit()
    assert link.is_symlink()
    assert real.read_bytes() == NEW
    assert names(tmp_path) == ["data", "link.nd2"]
    assert names(real.parent) == ["real.nd2"]
    with pytest.raises(FileExistsError):
        PartialFile.create(link)


@posix
def test_permissions_of_a_new_file(target: Path) -> None:
    before = os.umask(0o027)
    try:
        with PartialFile.create(target) as partial:
            partial.commit()
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@posix
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o755])
def test_permissions_are_kept(target: Path, mode: int) -> None:
    target.write_bytes(OLD)
    target.chmod(mode)
    with PartialFile.create(target, overwrite=True) as partial:
        assert not stat.S_IMODE(partial.path.stat().st_mode) & ~mode
        partial.commit()
    assert stat.S_IMODE(target.stat().st_mode) == mode


def test_read_only_file_is_refused(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.write_bytes(OLD)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(PermissionError, match="read-only") as raised:
        PartialFile.create(target, overwrite=True)
    assert raised.value.filename == str(target)


def test_directories(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        PartialFile.create(tmp_path, overwrite=True)
    with pytest.raises(FileNotFoundError, match="no such directory") as raised:
        PartialFile.create(tmp_path / "absent" / "a.nd2")
    assert raised.value.filename == str(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        PartialFile.create(tmp_path / "file" / "a.nd2")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /sys")
def test_directory_that_cannot_be_written() -> None:
    with pytest.raises(OSError, match=r"/sys/a\.nd2") as raised:
        PartialFile.create("/sys/a.nd2")
    assert raised.value.errno in {errno.EACCES, errno.EPERM, errno.EROFS}


@posix
def test_not_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.nd2")
    with pytest.raises(FileExistsError, match="not a regular file"):
        PartialFile.create(tmp_path / "a.nd2", overwrite=True)


def test_shared(target: Path) -> None:
    with PartialFile.create(target, shared=True) as partial:
        assert partial.path == target.with_name("a.nd2.partial")
        with pytest.raises(FileExistsError, match="finalize it, or remove it"):
            PartialFile.create(target, shared=True)
        with PartialFile.open(partial.path) as other:
            assert other.target == target
            other.write_at(0, b"abc")
        assert other.closed
        assert partial.read_at(0, 3) == b"abc"
        with PartialFile.open(partial.path) as finisher:
            finisher.commit()
        assert names(target.parent) == ["a.nd2"]
        with pytest.raises(FileNotFoundError, match="committed or removed"):
            partial.reserve(1)
        with pytest.raises(FileNotFoundError, match="committed or removed"):
            partial.commit()
    assert target.read_bytes() == b"abc"


def test_rollback_removes_nothing_of_others(target: Path) -> None:
    first = PartialFile.create(target, shared=True)
    first.path.unlink()
    with PartialFile.create(target, shared=True) as second:
        first.rollback()
        assert second.path.exists()
        write_new(second)
        second.commit()
    assert target.read_bytes() == NEW


def test_commit_takes_nothing_of_others(target: Path) -> None:
    first = PartialFile.create(target, shared=True)
    first.path.unlink()
    with PartialFile.create(target, shared=True), first:
        with pytest.raises(FileNotFoundError, match="committed or removed"):
            first.reserve(1)
        with pytest.raises(FileNotFoundError, match="committed or removed"):
            first.commit()
    assert names(target.parent) == []


def test_open(target: Path) -> None:
    with PartialFile.create(target) as partial:
        with pytest.raises(ValueError, match="give its target"):
            PartialFile.open(target)
        with PartialFile.open(partial.path, target=target) as other:
            other.rollback()
        assert names(target.parent) == []
    with pytest.raises(FileNotFoundError):
        PartialFile.open(partial.path)


def test_open_of_a_finished_file(target: Path) -> None:
    """As somebody leaves it who is killed between the two steps of a commit."""
    with PartialFile.create(target, shared=True) as partial:
        target.hardlink_to(partial.path)
        with pytest.raises(FileExistsError, match="is finished"):
            PartialFile.open(partial.path)
    assert target.exists()


def test_closed(target: Path) -> None:
    partial = PartialFile.create(target)
    assert repr(partial) == f"<PartialFile of {str(target)!r}, 0 bytes>"
    partial.rollback()
    for use in (
        lambda: partial.write_at(0, b"a"),
        lambda: partial.read_at(0, 1),
        lambda: partial.reserve(1),
        lambda: partial.extend_to(1),
        lambda: partial.size,
        partial.commit,
    ):
        with pytest.raises(ValueError, match="is closed"):
            use()
    assert repr(partial) == f"<PartialFile of {str(target)!r}, closed>"


WAYS_TO_WRITE: dict[str, dict[str, Any]] = {
    "pwritev": {},
    "small calls": {"MAX_CALL_NBYTES": 7},
    "few buffers": {"MAX_BUFFERS": 2},
    "pwrite": {"_HAS_PWRITEV": False},
    "small pwrite": {"_HAS_PWRITEV": False, "MAX_CALL_NBYTES": 7},
    "seek": {"_HAS_PWRITEV": False, "_HAS_PWRITE": False, "_HAS_PREAD": False},
}


@pytest.mark.parametrize("way", WAYS_TO_WRITE)
def test_write_at(target: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    for name, value in WAYS_TO_WRITE[way].items():
        monkeypatch.setattr(disk, name, value)
    values = np.arange(12, dtype=np.uint16).reshape(3, 4)
    with PartialFile.create(target) as partial:
        partial.write_at(
            10, b"abc", bytearray(), values, np.zeros((2, 0)), b"0123456789"
        )
        partial.write_at(0)
        partial.write_at(5, memoryview(b"xyz"))
        assert partial.size == 10 + 3 + 24 + 10
        assert partial.read_at(0, 13) == bytes(5) + b"xyz\0\0abc"
        assert partial.read_at(13, 24) == values.tobytes()
        assert partial.read_at(37, 10) == b"0123456789"
        with pytest.raises(CorruptChunk, match="offset 40: the file ends before"):
            partial.read_at(40, 8)


def test_write_of_many_buffers(target: Path) -> None:
    parts = [bytes([i % 256]) for i in range(5000)]
    with PartialFile.create(target) as partial:
        partial.write_at(3, *parts)
        assert partial.read_at(3, 5000) == b"".join(parts)


def test_buffers_are_not_copied(target: Path) -> None:
    with PartialFile.create(target) as partial:
        with pytest.raises(ValueError, match="not C-contiguous"):
            partial.write_at(0, b"abc", np.zeros((4, 4))[:, 1])
        assert partial.size == 0


def test_system_that_writes_nothing(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_write_some", lambda *_: 0)
    with (
        PartialFile.create(target) as partial,
        pytest.raises(OSError, match="writes nothing more") as raised,
    ):
        partial.write_at(0, b"a")
    assert raised.value.filename == str(target)


@pytest.mark.parametrize("call", ["_write_some", "sync"])
@pytest.mark.parametrize("exists", [True, False])
def test_full_disk(
    target: Path, monkeypatch: pytest.MonkeyPatch, call: str, exists: bool
) -> None:
    """Found out at a write, or by some file systems at the end only."""

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def write() -> None:
        with PartialFile.create(target, overwrite=exists) as partial:
            write_new(partial)
            monkeypatch.setattr(sink if call == "sync" else disk, call, full)
            partial.write_at(100, b"more")
            partial.commit()

    if exists:
        target.write_bytes(OLD)
    with pytest.raises(OSError, match="No space left") as raised:
        write()
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == str(target)
    assert names(target.parent) == (["a.nd2"] if exists else [])
    assert not exists or target.read_bytes() == OLD


def test_rename_that_fails(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "x", None, "y")

    monkeypatch.setattr(sink, "rename_over", fail)
    target.write_bytes(OLD)
    with PartialFile.create(target, overwrite=True) as partial:
        write_new(partial)
        with pytest.raises(PermissionError) as raised:
            partial.commit()
    assert raised.value.filename == str(target)
    assert names(target.parent) == ["a.nd2"]
    assert target.read_bytes() == OLD


@pytest.mark.parametrize("failures", [2, 9])
@pytest.mark.parametrize("overwrite", [True, False])
def test_renames_that_windows_refuses_for_a_moment(
    target: Path, monkeypatch: pytest.MonkeyPatch, failures: int, overwrite: bool
) -> None:
    calls = []

    def rename(source: Path, final: Path) -> None:
        calls.append(source)
        if len(calls) <= failures:
            raise PermissionError(errno.EACCES, "Access is denied")
        if not overwrite and final.exists():
            raise FileExistsError
        os.link(source, final)
        source.unlink()

    monkeypatch.setattr(disk, "_IS_WINDOWS", True)
    monkeypatch.setattr(disk, "_PAUSES", (0.0,) * 5)
    monkeypatch.setattr(os, "replace", rename)
    monkeypatch.setattr(Path, "rename", rename)
    with PartialFile.create(target, overwrite=overwrite) as partial:
        write_new(partial)
        if failures > 5:
            with pytest.raises(PermissionError):
                partial.commit()
        else:
            partial.commit()
    assert names(target.parent) == (["a.nd2"] if failures <= 5 else [])
    assert len(calls) == min(failures, 5) + 1
    if not overwrite and failures <= 5:
        with PartialFile.create(target.with_name("b.nd2")) as partial:
            partial.target.write_bytes(OLD)
            with pytest.raises(FileExistsError):
                partial.commit()


def test_reserve(target: Path) -> None:
    with PartialFile.create(target) as partial:
        assert [partial.reserve(n) for n in (1, 4096, 4097)] == [0, 4096, 8192]
        assert partial.size == 16384
        partial.write_at(16384, b"abc")
        assert partial.reserve(10) == 20480
        assert partial.read_at(16384, 4) == b"abc\0"
        partial.extend_to(100)
        assert partial.size == 24576
        partial.extend_to(30_000)
        assert partial.size == 30_000
        partial.write_at(29_999, b"x")
        partial.commit()
    data = target.read_bytes()
    assert len(data) == 30_000
    assert data.count(0) == 30_000 - 4


def test_threads_reserve(target: Path) -> None:
    """With one handle and with one each."""
    count, each = 8, 50
    start = threading.Barrier(count)

    def work(i: int) -> list[int]:
        handle = partial if i % 2 else PartialFile.open(partial.path, target=target)
        start.wait()
        offsets = []
        for k in range(each):
            offsets.append(handle.reserve(4096 + 8192 * (k % 2)))
            handle.write_at(offsets[-1], bytes([i]) * 4096)
        if not i % 2:
            handle.close()
        return offsets

    with PartialFile.create(target) as partial, ThreadPoolExecutor(count) as pool:
        parts = list(pool.map(work, range(count)))
        offsets = sorted(offset for part in parts for offset in part)
        gaps = np.diff([*offsets, partial.size])
        assert set(gaps.tolist()) == {4096, 12288}
        assert gaps.sum() == partial.size == count * each * 8192
        for i, part in enumerate(parts):
            for offset in part:
                assert partial.read_at(offset, 4096) == bytes([i]) * 4096


@posix
def test_processes_reserve(target: Path, victims: Any) -> None:
    with PartialFile.create(target) as partial:
        said = victims.run(
            f"""
            from limnd2_xr.container.sink import PartialFile
            number = int(os.fork() == 0)
            with PartialFile.open({str(partial.path)!r}, target={str(target)!r}) as file:
                for i in range(300):
                    say("room", file.reserve(4096))
            if number:
                os._exit(0)
            os.wait()
            """
        )
        offsets = sorted(int(line.split()[1]) for line in said)
        assert offsets == [4096 * i for i in range(600)]
        assert partial.size == 600 * 4096


@posix
def test_forked_handles_reserve(target: Path, victims: Any) -> None:
    """A handle that a fork made two of still excludes the other process."""
    said = victims.run(
        f"""
        from limnd2_xr.container.sink import PartialFile
        file = PartialFile.create({str(target)!r})
        number = int(os.fork() == 0)
        for i in range(300):
            say("room", file.reserve(4096))
        if number:
            os._exit(0)
        os.wait()
        file.rollback()
        """
    )
    offsets = sorted(int(line.split()[1]) for line in said)
    assert offsets == [4096 * i for i in range(600)]


def test_file_system_without_locks(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    def interrupt(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with PartialFile.create(target) as partial:
        monkeypatch.setattr(disk, "_lock", refuse)
        with pytest.raises(OSError, match="file system has no locks"):
            partial.reserve(1)
        monkeypatch.setattr(disk, "_lock", interrupt)
        with pytest.raises(OSError, match="Input/output error"):
            partial.reserve(1)
        partial.extend_to(100)
        partial.write_at(0, NEW)
        partial.commit()
    assert target.read_bytes() == NEW


def test_close_waits_for_writes(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the closed descriptor's number could be that of another file by then."""
    writing, go_on = threading.Event(), threading.Event()
    write_all = disk.write_all

    def slow(fd: int, offset: int, buffers: Any) -> None:
        writing.set()
        assert go_on.wait(60)
        write_all(fd, offset, buffers)

    monkeypatch.setattr(sink, "write_all", slow)
    partial = PartialFile.create(target)
    writer = threading.Thread(target=partial.write_at, args=(0, b"abc"))
    writer.start()
    assert writing.wait(60)
    closer = threading.Thread(target=partial.close)
    closer.start()
    while not partial.closed:
        pass
    with pytest.raises(ValueError, match="is closed"):
        partial.size  # noqa: B018
    assert closer.is_alive()
    go_on.set()
    writer.join()
    closer.join()
    assert partial.path.read_bytes() == b"abc"
    partial.rollback()


WRITE = """
import os
from pathlib import Path
from limnd2_xr.container import sink
from limnd2_xr.container.sink import PartialFile

def staged(module, name, label):
    inner = getattr(module, name)
    def call(*args, **kwargs):
        stage("before " + label)
        result = inner(*args, **kwargs)
        stage("after " + label)
        return result
    setattr(module, name, call)

staged(sink, "write_all", "write")
staged(sink, "sync", "fsync")
staged(sink, "sync_directory", "fsync of the directory")
staged(os, "replace", "rename")
staged(Path, "hardlink_to", "link")
staged(Path, "unlink", "unlink")
with PartialFile.create({target!r}, overwrite={overwrite}) as partial:
    stage("created")
    partial.write_at(0, {new!r})
    partial.commit()
"""
BEFORE = [
    "created",
    "before write",
    "after write",
    "before fsync",
    "after fsync",
]
AFTER = ["before fsync of the directory", "after fsync of the directory"]
STAGES: list[tuple[str, bool, bool]] = [
    *((stage, overwrite, False) for stage in BEFORE for overwrite in (False, True)),
    ("before rename", True, False),
    ("after rename", True, True),
    ("before link", False, False),
    ("after link", False, True),
    ("before unlink", False, True),
    ("after unlink", False, True),
    *((stage, overwrite, True) for stage in AFTER for overwrite in (False, True)),
]


@posix
@pytest.mark.parametrize(("stage", "overwrite", "is_new"), STAGES)
def test_killed_at(
    target: Path, victims: Any, stage: str, overwrite: bool, is_new: bool
) -> None:
    if overwrite:
        target.write_bytes(OLD)
    script = WRITE.format(target=str(target), overwrite=overwrite, new=NEW)
    victims.run(script, kill=stage)
    if is_new:
        assert target.read_bytes() == NEW
    elif overwrite:
        assert target.read_bytes() == OLD
    else:
        assert not target.exists()
    # What is left does not get in the way.
    with PartialFile.create(target, overwrite=True) as partial:
        write_new(partial)
        partial.commit()
    assert target.read_bytes() == NEW


@posix
@pytest.mark.slow
@pytest.mark.thorough
def test_killed_at_random(target: Path, victims: Any) -> None:
    """Many files are written over each other; each one that is found is whole."""
    script = f"""
        from limnd2_xr.container.sink import PartialFile
        i = 0
        while True:
            i += 1
            with PartialFile.create({str(target)!r}, overwrite=True) as partial:
                partial.extend_to(400_000)
                for k in reversed(range(100)):
                    partial.write_at(4000 * k, bytes([i % 256]) * 4000)
                partial.commit()
        """
    rng = np.random.default_rng()
    for _ in range(KILLS):
        target.unlink(missing_ok=True)
        victims.run(script, kill=float(rng.uniform(0, 0.05)))
        if target.exists():
            data = target.read_bytes()
            assert data == data[:1] * 400_000


@posix
@pytest.mark.parametrize("overwrite", [True, False])
def test_files_limited_in_size(target: Path, victims: Any, overwrite: bool) -> None:
    """As with a full disk, the system stops the writing in the middle."""
    if overwrite:
        target.write_bytes(OLD)
    said = victims.run(
        f"""
        import resource
        from limnd2_xr.container.sink import PartialFile
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, resource.RLIM_INFINITY))
        with PartialFile.create({str(target)!r}, overwrite={overwrite}) as partial:
            partial.write_at(0, {NEW!r})
            say("not here")
            partial.commit()
        """
    )
    reason = os.strerror(errno.EFBIG)
    assert said == [f"error OSError [Errno {errno.EFBIG}] {reason}: {str(target)!r}"]
    assert names(target.parent) == (["a.nd2"] if overwrite else [])
    assert not overwrite or target.read_bytes() == OLD
