"""How many reads, and how many bytes, each operation costs."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import limnd2_xr
from limnd2_xr.container import local_source
from limnd2_xr.container.local_source import FileSource
from limnd2_xr.container.residency import Resident
from limnd2_xr.frames import plain_frames
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.testing.counting import count_reads
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

ALL = slice(None)
TWICE = np.array([4, 1, 1])


def spec_of(**changes: Any) -> SyntheticSpec:
    given: dict[str, Any] = {"loops": (TimeLoop(6),), "width": 256, "height": 200}
    return SyntheticSpec(**(given | changes))


@pytest.mark.realdata
def test_opening_a_real_file_costs_at_most_eight_reads(each_real: Path) -> None:
    with count_reads() as counter:
        xr.open_dataset(each_real).close()
    assert 1 <= counter.reads <= 8


@pytest.mark.parametrize("frames", [3, 300, 3000])
def test_reads_on_opening_do_not_grow_with_the_frames(
    frames: int, tmp_path: Path
) -> None:
    path = tmp_path / "many.nd2"
    write(path, spec_of(loops=(TimeLoop(frames),), width=16, height=16))
    with count_reads() as counter:
        xr.open_dataset(path).close()
    assert counter.reads <= 8


def shapes() -> dict[str, SyntheticSpec]:
    two = (ChannelSpec("A"), ChannelSpec("B"))
    return {
        "plain": spec_of(),
        "padded": spec_of(width=255, dtype="uint8"),
        "two channels": spec_of(channels=two),
        "rgb": spec_of(channels=(ChannelSpec("RGB", components=3),), dtype="uint8"),
        "float": spec_of(dtype="float32"),
        "zlib": spec_of(compression="zlib"),
        "zlib padded": spec_of(compression="zlib", width=253, channels=two),
    }


@pytest.mark.parametrize("name", shapes())
def test_one_frame_is_one_read_that_fetches_little_more_than_the_frame(
    name: str, tmp_path: Path
) -> None:
    file = build(shapes()[name])
    with FrameStore.open(file.save(tmp_path / "one.nd2")) as store:
        whole: tuple[Any, ...] = (2, *(ALL for _ in store.dims[1:]))
        stored = int(store.table.nbytes[2])
        for _ in range(2):
            with count_reads() as counter:
                pixels = store.read(whole)
            assert counter.reads == 1
            # The padding of the last row is not read.
            assert stored - 3 <= counter.nbytes <= stored + 4096
        # The second time the header is known and not read again.
        assert counter.nbytes <= stored
        np.testing.assert_array_equal(pixels, file.array()[2])


def test_a_window_reads_no_more_than_its_rows(tmp_path: Path) -> None:
    file = build(spec_of(loops=(TimeLoop(2),), width=2048, height=2048))
    with FrameStore.open(file.save(tmp_path / "large.nd2")) as store:
        for first in (0, 1000, 2048 - 64):
            window = (1, 0, slice(first, first + 64), slice(first, first + 64))
            with count_reads() as counter:
                pixels = store.read(window)
            assert counter.nbytes <= 64 * 2048 * 2
            # At first touch the frame's header is far from these rows.
            assert counter.reads <= 2
            np.testing.assert_array_equal(pixels, file.array()[window])
        with count_reads() as counter:
            store.read((1, 0, 1234, 77))
        pixel = int(store.table.chunk_offsets[1]) + 4096 + (1234 * 2048 + 77) * 2
        assert counter.ranges == [(pixel, 2)]


def test_small_neighbouring_frames_share_reads(tmp_path: Path) -> None:
    file = build(spec_of(loops=(TimeLoop(500),), width=16, height=16))
    with FrameStore.open(file.save(tmp_path / "small.nd2")) as store:
        with count_reads() as counter:
            pixels = store.read((ALL, ALL, ALL, ALL))
        assert counter.reads == 1
        np.testing.assert_array_equal(pixels, file.array())
        with count_reads() as counter:
            store.read((slice(None, None, 100), ALL, ALL, ALL))
        assert counter.reads == 5


def test_frames_are_read_in_the_order_of_the_file(tmp_path: Path) -> None:
    # Z is the outer loop in the file, T the outer dimension of the array.
    loops = (ZLoop(3), TimeLoop(4))
    file = build(
        spec_of(loops=loops, frame_order=[5, 0, 11, 3, 8, 1, 10, 2, 7, 4, 9, 6])
    )
    with FrameStore.open(file.save(tmp_path / "order.nd2")) as store:
        with count_reads() as counter:
            pixels = store.read((slice(None, None, -1), ALL, ALL, ALL, ALL))
        offsets = [offset for offset, _ in counter.ranges]
        assert offsets == sorted(offsets)
        np.testing.assert_array_equal(pixels, file.array()[::-1])


def test_no_pixel_is_read_for_an_empty_selection() -> None:
    with FrameStore.open(build(spec_of()).data) as store:
        with count_reads() as counter:
            assert store.read((slice(0, 0), ALL, ALL, ALL)).shape == (0, 1, 200, 256)
            assert store.read((ALL, ALL, slice(7, 7), ALL)).shape == (6, 1, 0, 256)
        assert counter.reads == 0


def test_missing_frames_cost_no_read() -> None:
    with pytest.warns(match="1 of 6 frames"):
        store = FrameStore.open(build(spec_of(missing=frozenset({3}))).data)
    with store, count_reads() as counter:
        assert not store.read((3, ALL, ALL, ALL)).any()
    assert counter.reads == 0


def test_what_was_read_is_freed_as_soon_as_nobody_holds_it() -> None:
    with FrameStore.open(build(spec_of()).data) as store:
        gc.disable()
        try:
            pixels = store.read((ALL, ALL, ALL, ALL))
            watched = weakref.ref(pixels if pixels.base is None else pixels.base)
            del pixels
            assert watched() is None
        finally:
            gc.enable()


@pytest.mark.parametrize("name", shapes())
def test_files_that_are_not_mapped_are_read_into_buffers(
    name: str, tmp_path: Path
) -> None:
    file = build(shapes()[name])
    path = file.save(tmp_path / "one.nd2")
    limnd2_xr.set_mapping(False)
    try:
        with FrameStore.open(path) as store:
            everything = tuple(ALL for _ in store.dims)
            for _ in range(2):
                np.testing.assert_array_equal(store.read(everything), file.array())
            with count_reads() as counter:
                store.read((2, *everything[1:]))
            assert counter.reads == 1
    finally:
        limnd2_xr.set_mapping(True)


@pytest.mark.parametrize("name", shapes())
def test_what_would_not_stay_in_memory_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = build(shapes()[name])
    truth = file.array()
    monkeypatch.setattr(local_source, "RESIDENT", Resident(limit=0, most=0))
    monkeypatch.setattr(plain_frames, "MAPPED_NBYTES", 1)
    monkeypatch.setattr(plain_frames, "DIRECT_NBYTES", 1)
    read: list[int] = []
    fill = FileSource.read_into

    def watched(self: FileSource, offset: int, buffers: list[memoryview]) -> None:
        read.append(sum(buffer.nbytes for buffer in buffers))
        fill(self, offset, buffers)

    with FrameStore.open(file.save(tmp_path / "one.nd2")) as store:
        store.read(tuple(ALL for _ in store.dims))  # learns of all headers
        monkeypatch.setattr(FileSource, "read_into", watched)
        rest = tuple(ALL for _ in store.dims[3:])
        for frames in (ALL, np.array([4, 1, 0]), slice(4, None, -2), TWICE):
            for rows in (ALL, slice(7, 150), slice(3, 190, 7), slice(150, 20, -1)):
                key = (frames, ALL, rows, *rest)
                read.clear()
                pixels = store.read(key)
                np.testing.assert_array_equal(pixels, truth[key])
                straight = name in {"plain", "float"} and rows.step is None
                if straight and frames is not TWICE:
                    assert sum(read) >= pixels.nbytes
                else:  # it has to be copied from somewhere anyway
                    assert read == []


def test_narrow_columns_stage_a_few_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column of a huge frame takes no buffer of the size of the frame."""
    monkeypatch.setattr(plain_frames, "READ_LIMIT_NBYTES", 10_000)
    file = build(spec_of(loops=(TimeLoop(2),), width=512, height=300))
    limnd2_xr.set_mapping(False)
    try:
        with FrameStore.open(file.save(tmp_path / "a.nd2")) as store:
            for rows in (ALL, slice(3, 290, 7), np.array([250, 3, 3, 120, 299])):
                key = (ALL, ALL, rows, slice(5, 9))
                with count_reads() as counter:
                    pixels = store.read(key)
                largest = max(nbytes for _, nbytes in counter.ranges)
                assert largest <= 10_000 + 4096  # with the header before it
                np.testing.assert_array_equal(pixels, file.array()[key])
    finally:
        limnd2_xr.set_mapping(True)
