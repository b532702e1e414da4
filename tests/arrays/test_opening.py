"""Opening: from every kind of source, in threads and processes, and closing again."""

from __future__ import annotations

import gc
import io
import multiprocessing
import os
import pickle
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import psutil
import pytest
import xarray as xr

import limnd2_xr
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)
from limnd2_xr.xarray_plugin import Nd2BackendEntrypoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE = build(
    SyntheticSpec(
        loops=(TimeLoop(4), ZLoop(3)),
        width=101,
        height=60,
        channels=(ChannelSpec("A"), ChannelSpec("B")),
    )
)
TRUTH = FILE.array()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return FILE.save(tmp_path / "cells.nd2")


def as_path(path: Path) -> Any:
    return path


def as_text(path: Path) -> Any:
    return str(path)


def as_file_url(path: Path) -> Any:
    return path.as_uri()


def as_bytes(path: Path) -> Any:
    return path.read_bytes()


def as_memoryview(path: Path) -> Any:
    return memoryview(path.read_bytes())


def as_bytes_io(path: Path) -> Any:
    return io.BytesIO(path.read_bytes())


def as_memory_url(path: Path) -> Any:
    with fsspec.open("memory://folder/cells.nd2", "wb") as file:
        file.write(path.read_bytes())
    return "memory://folder/cells.nd2"


@pytest.mark.parametrize(
    "given",
    [
        as_path,
        as_text,
        as_file_url,
        as_bytes,
        as_memoryview,
        as_bytes_io,
        as_memory_url,
    ],
)
@pytest.mark.parametrize("engine", ["nd2", None])
def test_every_kind_of_source_gives_the_same(
    given: Callable[[Path], Any], engine: Any, path: Path
) -> None:
    with xr.open_dataset(given(path), engine=engine) as ds:
        np.testing.assert_array_equal(ds["image"], TRUTH)
        assert ds["image"].nd2.metadata.attributes.width == 101


def test_open_file_is_used_and_left_open(path: Path) -> None:
    with path.open("rb") as file:
        with xr.open_dataset(file) as ds:
            np.testing.assert_array_equal(ds["image"], TRUTH)
        assert not file.closed


def test_storage_options_reach_the_filesystem(path: Path) -> None:
    url = f"simplecache::{as_memory_url(path)}"
    options = {"simplecache": {"cache_storage": str(path.parent / "cache")}}
    with xr.open_dataset(url, engine="nd2", storage_options=options) as ds:
        np.testing.assert_array_equal(ds["image"], TRUTH)


@pytest.mark.parametrize("chunks", [None, {}])
def test_object_pickles_lazily_and_reads_after_the_first_was_closed(
    chunks: Any, path: Path
) -> None:
    with xr.open_dataset(path, chunks=chunks) as ds:
        text = pickle.dumps(ds)
    assert len(text) < 50_000
    with pickle.loads(text) as again:
        np.testing.assert_array_equal(again["image"], TRUTH)
        assert again.nd2.source == str(path)


def total(image: xr.DataArray) -> int:
    return int(image.sum())


def test_lazy_array_travels_to_another_process(path: Path) -> None:
    with xr.open_dataset(path) as ds:
        work = [ds["image"].isel(T=t) for t in range(4)]
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            sums = pool.map(total, work)
    assert sums == [int(TRUTH[t].sum()) for t in range(4)]


def test_dask_computes_on_threads_and_processes(path: Path) -> None:
    with xr.open_dataset(path, chunks={}) as ds:
        image = ds["image"].chunk(T=1)
        for scheduler in ("threads", "synchronous"):
            np.testing.assert_array_equal(image.compute(scheduler=scheduler), TRUTH)


def test_several_threads_read_one_dataset(path: Path) -> None:
    with xr.open_dataset(path, cache=False) as ds:
        image, start = ds["image"], threading.Barrier(4)

        def read(thread: int) -> None:
            start.wait(10)
            for i in range(20):
                t, z = (thread + i) % 4, i % 3
                np.testing.assert_array_equal(image[t, z, :, ::2], TRUTH[t, z, :, ::2])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(read, range(4)))


def test_closing_closes_and_reading_opens_again(path: Path) -> None:
    def is_open() -> bool:
        return str(path) in [f.path for f in psutil.Process().open_files()]

    ds = xr.open_dataset(path, cache=False)
    assert not is_open()
    ds["image"][0, 0].load()
    assert is_open()
    ds.close()
    assert not is_open()
    np.testing.assert_array_equal(ds["image"][1], TRUTH[1])
    # xarray closes an object once; what was opened since goes with the object.
    with pytest.warns(RuntimeWarning, match="deallocating"):  # noqa: PT031
        del ds
        gc.collect()
    assert not is_open()


def test_no_file_stays_open_behind_a_forgotten_dataset(path: Path) -> None:
    ds = xr.open_dataset(path)
    ds["image"][0, 0].load()
    with pytest.warns(RuntimeWarning, match="deallocating"):  # noqa: PT031
        del ds
        gc.collect()


def test_forgotten_bytes_are_no_open_file(path: Path) -> None:
    ds = xr.open_dataset(path.read_bytes(), engine="nd2")
    ds["image"][0, 0].load()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del ds
        gc.collect()


def test_a_changed_file_is_noticed(path: Path) -> None:
    with xr.open_dataset(path, cache=False) as ds:
        ds["image"][0].load()
    other = build(
        SyntheticSpec(loops=(TimeLoop(4), ZLoop(3)), width=101, height=61)
    ).data
    path.write_bytes(other)
    with pytest.raises(limnd2_xr.StaleFile, match="changed since it was opened"):
        ds["image"][1].load()


def test_datatree_has_the_image_at_its_root(path: Path) -> None:
    with xr.open_datatree(path, engine="nd2") as tree:
        np.testing.assert_array_equal(tree["image"], TRUTH)
    assert set(xr.open_groups(path, engine="nd2")) == {"/", "/recorded"}


def test_suffix_and_magic_are_recognised(path: Path, tmp_path: Path) -> None:
    guess = Nd2BackendEntrypoint().guess_can_open
    other = tmp_path / "cells.bin"
    other.write_bytes(FILE.data)
    text = tmp_path / "notes.txt"
    text.write_text("notes")
    assert guess(path)
    assert guess("s3://bucket/CELLS.ND2")
    assert guess(os.fspath(other))
    assert guess(FILE.data)
    assert guess(io.BytesIO(FILE.data))
    photo = b"\x00\x00\x00\x0cjP  \r\n\x87\n"  # as any JPEG 2000 file begins
    not_ours = [text, tmp_path / "absent", tmp_path, b"", b"notes", photo, None, 3]
    for given in [*not_ours, io.BytesIO(), io.BytesIO(photo)]:
        assert not guess(given)


def test_guessing_leaves_a_file_object_where_it_was() -> None:
    file = io.BytesIO(FILE.data)
    file.seek(17)
    assert Nd2BackendEntrypoint().guess_can_open(file)
    assert file.tell() == 17


def test_the_engine_is_listed() -> None:
    assert isinstance(xr.backends.list_engines()["nd2"], Nd2BackendEntrypoint)


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [
        (b"", limnd2_xr.NotAnNd2File, "x.nd2"),
        (b"garbage" * 1000, limnd2_xr.NotAnNd2File, "x.nd2"),
        (
            b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(100),
            limnd2_xr.CorruptChunk,
            "x.nd2: the file has neither an image nor an image header",
        ),
    ],
    ids=["empty", "garbage", "legacy"],
)
def test_what_is_not_an_nd2_file_says_so(
    content: bytes, error: type[Exception], text: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.nd2"
    path.write_bytes(content)
    with pytest.raises(error, match=text):
        xr.open_dataset(path)


def test_a_file_that_is_not_there_is_an_ordinary_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        xr.open_dataset(tmp_path / "absent.nd2")
    with pytest.raises(IsADirectoryError):
        xr.open_dataset(tmp_path, engine="nd2")


def test_missing_takes_only_what_it_says() -> None:
    with pytest.raises(ValueError, match='"fill" or "raise", not \'zero\''):
        xr.open_dataset(FILE.data, engine="nd2", missing="zero")


def test_frames_beyond_the_loops_are_announced() -> None:
    spec = SyntheticSpec(loops=(TimeLoop(2),), width=8, height=4, frame_count=3)
    with pytest.warns(
        limnd2_xr.Nd2Warning, match=r"1 frames more than its loops \(T 2\)"
    ):
        xr.open_dataset(build(spec).data, engine="nd2").close()


@pytest.mark.parametrize("name", ["ImageAttributesLV!", "ImageDataSeq|1!"])
def test_what_only_the_map_lacks_is_found(name: str) -> None:
    file = build(SyntheticSpec(loops=(TimeLoop(3),), width=8, height=4))
    map_at = int.from_bytes(file.data[-8:], "little")
    at = file.data.index(name.encode(), map_at)
    data = file.data[:at] + b"U" + file.data[at + 1 :]
    with pytest.warns(limnd2_xr.Nd2Warning, match="the file was scanned"):
        ds = xr.open_dataset(data, engine="nd2")
    with ds:
        np.testing.assert_array_equal(ds["image"], file.array())
        assert ds.nd2.missing_frames == []
