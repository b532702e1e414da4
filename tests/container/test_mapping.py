"""Files seen as memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil
import pytest

import limnd2_xr
from limnd2_xr.container import mapping
from limnd2_xr.container.source import FileSource, MemorySource
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.testing.counting import count_reads

if TYPE_CHECKING:
    from pathlib import Path

DATA = bytes(range(256)) * 64


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "some.bin"
    path.write_bytes(DATA)
    if not mapping.is_on_local_disk(str(path)):
        pytest.skip("the temporary folder is not known to be on a local disk")
    return path


def test_memory_is_the_files_bytes_and_counts_when_announced(local: Path) -> None:
    with FileSource(local) as source, count_reads() as counter:
        memory = source.memory()
        assert memory is not None
        assert bytes(memory) == DATA
        assert memory.readonly
        assert counter.ranges == []
        source.announce(5, 300)
        source.announce(0, len(DATA))
        assert counter.ranges == [(5, 300), (0, len(DATA))]


def test_memory_outlives_the_source(local: Path) -> None:
    source = FileSource(local)
    memory = source.memory()
    source.close()
    assert memory is not None
    assert bytes(memory) == DATA
    with pytest.raises(ValueError, match="closed"):
        source.memory()
    del memory
    assert str(local) not in [file.path for file in psutil.Process().open_files()]


def test_file_that_was_cut_short_is_noticed_before_it_is_touched(local: Path) -> None:
    with FileSource(local) as source:
        assert source.memory() is not None
        os.truncate(local, 100)
        with pytest.raises(CorruptChunk, match=r"some\.bin.* became shorter"):
            source.memory()


def test_large_ranges_are_announced_to_the_system(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(3 << 20))
    with FileSource(path) as source:
        source.announce(4097, 2 << 20)
        source.announce(0, 3 << 20)


def test_file_on_a_share_is_not_mapped(
    local: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounts = tmp_path / "mountinfo"
    line = "36 35 98:0 / {point} rw,noatime master:1 - {kind} //server/share rw\n"
    monkeypatch.setattr(mapping, "_MOUNTS", mounts)
    folder = str(local.parent)
    for kind, expected in [("ext4", True), ("cifs", False), ("nfs4", False)]:
        mounts.write_text(
            line.format(point="/", kind="ext4") + line.format(point=folder, kind=kind)
        )
        assert mapping.is_on_local_disk(str(local)) is expected
        with FileSource(local) as source:
            assert (source.memory() is not None) is expected
            assert source.read_at(0, 4) == DATA[:4]


def test_where_nothing_tells_the_file_is_not_mapped(
    local: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mapping, "_MOUNTS", tmp_path / "absent")
    assert not mapping.is_on_local_disk(str(local))
    (tmp_path / "odd").write_text("nonsense\n\n1 2 3 - ext4\n")
    monkeypatch.setattr(mapping, "_MOUNTS", tmp_path / "odd")
    assert not mapping.is_on_local_disk(str(local))


def test_a_longer_mount_point_of_the_same_beginning_is_another_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:5 / /data rw - nfs server:/ rw\n"
        "3 1 8:2 / /my\\040disk rw - xfs /dev/b rw\n"
    )
    monkeypatch.setattr(mapping, "_MOUNTS", mounts)
    assert not mapping.is_on_local_disk("/data/a.nd2")
    assert mapping.is_on_local_disk("/database/a.nd2")
    assert mapping.is_on_local_disk("/my disk/a.nd2")


def test_bytes_are_seen_as_they_are() -> None:
    with MemorySource(DATA) as source:
        memory = source.memory()
        assert memory is not None
        assert bytes(memory) == DATA


def test_empty_file_is_not_mapped(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with FileSource(tmp_path / "empty") as source:
        assert source.memory() is None


def test_mappings_can_be_switched_off(local: Path) -> None:
    limnd2_xr.set_mapping(False)
    try:
        with FileSource(local) as source:
            assert source.memory() is None
            assert source.read_at(0, 4) == DATA[:4]
    finally:
        limnd2_xr.set_mapping(True)
    assert limnd2_xr.get_mapping()
