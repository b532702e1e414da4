"""Room set aside in files, and bytes that the system copies."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from limnd2_xr.container.kernel_copies import copy_range, reserve
from limnd2_xr.container.source import FileSource, MemorySource
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.testing.counting import count_reads

if TYPE_CHECKING:
    from pathlib import Path


def test_bytes_arrive_where_they_shall(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40
    (tmp_path / "a").write_bytes(content)
    with (
        FileSource(tmp_path / "a") as source,
        (tmp_path / "b").open("w+b") as file,
        count_reads() as counter,
    ):
        done = source.copy_to(file.fileno(), 7, 3, 9000)
        assert done == hasattr(os, "copy_file_range")
        assert counter.ranges == [(3, 9000)] * done
        # More than there is, from nowhere else.
        with pytest.raises(CorruptChunk):
            source.copy_to(file.fileno(), 0, 0, len(content) + 1)
        assert not MemorySource(content).copy_to(file.fileno(), 0, 0, 5)
        file.seek(0)
        assert file.read() == (bytes(7) + content[3:9003]) * done


def test_a_file_that_ends_early_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    with (tmp_path / "a").open("rb") as source, (tmp_path / "b").open("wb") as file:
        assert not copy_range(source.fileno(), 0, file.fileno(), 0, 4)
        assert not copy_range(source.fileno(), 0, source.fileno(), 0, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="others set no room aside")
def test_room_changes_no_bytes_and_is_refused_where_there_is_none(
    tmp_path: Path,
) -> None:
    with (tmp_path / "a").open("w+b") as file:
        file.write(b"abc")
        file.flush()
        reserve(file.fileno(), 1, 5)
        reserve(file.fileno(), 0, 0)
        with pytest.raises(OSError, match=r"large|space|quota"):
            reserve(file.fileno(), 0, 2**62)
    assert (tmp_path / "a").read_bytes() in {b"abc", b"abc" + bytes(3)}
    with (tmp_path / "a").open("rb") as file:
        reserve(file.fileno(), 0, 9)  # not for writing: nothing happens
