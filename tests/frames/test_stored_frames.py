"""Stored bytes of frames: where they are, and that they are the frame's."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import limnd2_xr
from limnd2_xr.errors import CorruptChunk, UnsupportedFeature
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.testing.counting import count_reads
from limnd2_xr.testing.legacy import LegacySpec, build_legacy
from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from limnd2_xr.testing.synthetic import SyntheticFile

SPECS: dict[str, dict[str, Any]] = {
    "usual": {},
    "sizes unknown": {"map_style": "size_equals_offset"},
    "longer names": {"frame_name_nbytes": 200},
    "names of several lengths": {"frame_name_nbytes": lambda n: 64 + 8 * n},
    "zlib": {"compression": "zlib"},
    "zlib, sizes unknown": {"compression": "zlib", "map_style": "size_equals_offset"},
}


@pytest.fixture(params=[True, False], ids=["mapped", "read"], autouse=True)
def mapping(request: pytest.FixtureRequest) -> Iterator[bool]:
    before = limnd2_xr.get_mapping()
    limnd2_xr.set_mapping(request.param)
    yield request.param
    limnd2_xr.set_mapping(before)


def made(name: str, folder: Path) -> tuple[SyntheticFile, Path]:
    spec = SyntheticSpec(loops=(TimeLoop(5),), width=9, height=7, **SPECS[name])
    file = build(spec)
    path = folder / "cells.nd2"
    path.write_bytes(file.data)
    return file, path


def rows(file: SyntheticFile, number: int) -> bytes:
    """Pixels of a frame as rows of 20 bytes, 18 of which are used."""
    padded = np.zeros((7, 10), "<u2")
    padded[:, :9] = file.frames[number, :, :, 0]
    return padded.tobytes()


@pytest.mark.parametrize("name", SPECS)
def test_stored_bytes_are_rows_with_padding(name: str, tmp_path: Path) -> None:
    file, path = made(name, tmp_path)
    with FrameStore.open(path) as store:
        for _again in range(2):
            for number in (3, 0, 4, 1, 2):
                stored = store.stored.read(number)
                assert stored is not None
                assert store.stored.nbytes(number) == len(stored)
                plain = zlib.decompress(stored) if "zlib" in name else bytes(stored)
                assert plain == rows(file, number)
        del stored
        assert store.stored.read(5) is None
        assert store.stored.nbytes(5) is None


@pytest.mark.parametrize("name", SPECS)
def test_checked_spans_are_where_the_bytes_are(name: str, tmp_path: Path) -> None:
    file, path = made(name, tmp_path)
    with FrameStore.open(path) as store:
        offsets, nbytes = store.stored.spans(check=True)
    for number, (offset, size) in enumerate(zip(offsets, nbytes, strict=True)):
        stored = file.data[offset : offset + size]
        plain = zlib.decompress(stored) if "zlib" in name else stored
        assert plain == rows(file, number)


def test_unchecked_spans_cost_no_read(tmp_path: Path) -> None:
    _, path = made("usual", tmp_path)
    with FrameStore.open(path) as store:
        with count_reads() as counter:
            unchecked = store.stored.spans(check=False)
        assert counter.reads == 0
        np.testing.assert_array_equal(unchecked, store.stored.spans(check=True))


def test_one_read_a_frame(tmp_path: Path) -> None:
    _, path = made("usual", tmp_path)
    with FrameStore.open(path) as store, count_reads() as counter:
        store.stored.read(1)
        assert counter.reads == 1
        store.stored.read(1)
    assert counter.ranges[1][1] == 7 * 20


def test_a_file_without_frames_has_no_spans() -> None:
    spec = SyntheticSpec(
        loops=(TimeLoop(2),), width=9, height=7, missing=frozenset({0, 1})
    )
    with FrameStore.open(build(spec).data, on_damage="ignore") as store:
        offsets, nbytes = store.stored.spans(check=True)
        assert (len(offsets), len(nbytes)) == (0, 0)
        assert store.stored.read(0) is None


def test_a_frame_that_is_elsewhere_is_an_error(tmp_path: Path) -> None:
    file, path = made("usual", tmp_path)
    data = bytearray(file.data)
    offset, _ = file.chunks["ImageDataSeq|1!"]
    data[offset + 16 : offset + 31] = b"ImageDataSeq|7!"
    path.write_bytes(data)
    with FrameStore.open(path) as store:
        where = rf"ImageDataSeq\|1! at offset {offset}"
        with pytest.raises(CorruptChunk, match=where):
            store.stored.read(1)
        with pytest.raises(CorruptChunk, match=where):
            store.stored.spans(check=True)
        assert store.stored.read(2) is not None


def test_frames_in_another_form_have_none() -> None:
    data = build_legacy(LegacySpec(width=12, height=10)).data
    with (
        FrameStore.open(data) as store,
        pytest.raises(UnsupportedFeature, match="neither plain nor"),
    ):
        store.stored.read(0)


def test_one_frame_as_pixels(tmp_path: Path) -> None:
    file, path = made("zlib", tmp_path)
    with FrameStore.open(path) as store:
        found = store.read_frame(2)
    np.testing.assert_array_equal(found, file.frames[2].transpose(2, 0, 1))
