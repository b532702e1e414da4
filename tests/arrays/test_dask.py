"""Opened files as dask arrays: small graphs, honest keys, blocks that read what they need."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import dask
import dask.array
import fsspec
import numpy as np
import pytest
import xarray as xr
from isal import isal_zlib

import limnd2_xr
from limnd2_xr.arrays import dataset as datasets
from limnd2_xr.arrays import file_manager
from limnd2_xr.arrays.dataset import preferred_chunks
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

    from limnd2_xr.testing.synthetic import SyntheticFile

FEW, MANY = 10, 20_000
divides = pytest.mark.filterwarnings("ignore:The specified chunks separate")


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Files of few and of many small frames."""
    folder = tmp_path_factory.mktemp("series")
    paths = {}
    for count in (FEW, MANY):
        paths[count] = folder / f"{count}.nd2"
        write(paths[count], SyntheticSpec(loops=(TimeLoop(count),), width=8, height=8))
    return paths


@pytest.fixture(scope="module")
def stack() -> SyntheticFile:
    """Small frames along T and Z, two channels."""
    return build(
        SyntheticSpec(
            loops=(TimeLoop(6), ZLoop(2)),
            channels=(ChannelSpec("a"), ChannelSpec("b")),
            width=32,
            height=24,
        )
    )


# ---- graphs ---------------------------------------------------------------------------


@divides
@pytest.mark.parametrize("chunks", [{}, "auto", {"Y": 4}, {"T": -1}])
@pytest.mark.parametrize("later", [False, True])
def test_a_graph_is_as_small_for_many_frames(
    series: dict[int, Path], chunks: Any, later: bool
) -> None:
    sizes, layers = [], []
    for path in series.values():
        with xr.open_dataset(path, chunks=None if later else chunks) as dataset:
            given = dataset.chunk(chunks) if later else dataset
            array = given["image"].data
            graph = array.__dask_graph__()
            assert not graph.layers[array.name].is_materialized()
            layers.append({len(graph.layers[n]) for n in graph.layers if "ori" in n})
            sizes.append(len(pickle.dumps(array)))
    assert layers == [{1}, {1}]
    assert sizes[1] - sizes[0] < 100
    assert sizes[1] < 4000


def test_many_frames_share_blocks(series: dict[int, Path]) -> None:
    asked: tuple[Any, ...] = ({}, "auto")
    for chunks in asked:
        with xr.open_dataset(series[MANY], chunks=chunks) as dataset:
            assert dataset["image"].data.npartitions == 1


@pytest.mark.parametrize(
    ("size", "compression", "expected"),
    [
        (2048, "none", {"T": 12, "Y": 2048}),
        (10_000, "none", {"T": 1, "Y": 10_000}),
        (20_000, "none", {"T": 1, "Y": 2500}),
        (20_000, "zlib", {"T": 1, "Y": 20_000}),
    ],
)
def test_blocks_of_uncompressed_frames_beyond_reason_are_rows(
    size: int, compression: Any, expected: dict[str, int]
) -> None:
    from dataclasses import replace

    spec = SyntheticSpec(width=16, height=16, loops=(TimeLoop(100),))
    with FrameStore.open(build(spec).data) as store:
        state = store.state
    layout = replace(
        state.table.layout,
        height=size,
        width=size,
        row_nbytes=2 * size,
        compression=compression,
    )
    state = replace(state, table=replace(state.table, layout=layout))
    chunks = preferred_chunks(state)
    assert chunks == {**expected, "C": 1, "X": size}


def test_auto_divides_no_frames(
    stack: SyntheticFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stack.save(tmp_path / "a.nd2")
    frame_nbytes = 24 * 32 * 2 * 2
    monkeypatch.setattr(datasets, "BLOCK_NBYTES", 2 * frame_nbytes)
    with (
        dask.config.set({"array.chunk-size": 4 * frame_nbytes}),
        xr.open_dataset(path) as dataset,
        xr.open_dataset(path, chunks="auto") as at_once,
    ):
        later = dataset["image"].variable.chunk("auto")
        for variable in (later, at_once["image"].variable):
            assert variable.data.chunksize[-3:] == (2, 24, 32)
            assert 1 < variable.data.npartitions < 12
        np.testing.assert_array_equal(later, stack.array())


# ---- keys -----------------------------------------------------------------------------


def names_elsewhere(path: Path) -> list[str]:
    """Names of dask arrays in another process."""
    script = f"""
        import xarray as xr
        path = {str(path)!r}
        with xr.open_dataset(path, engine="nd2", chunks={{}}) as dataset:
            print(dataset["image"].data.name)
        with xr.open_dataset(path, engine="nd2") as dataset:
            print(dataset.chunk({{"T": 2}})["image"].data.name)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return done.stdout.split()


def names(path: str | Path, **options: Any) -> list[str]:
    path = str(path)
    with xr.open_dataset(path, engine="nd2", chunks={}, **options) as dataset:
        found = [str(dataset["image"].data.name)]
    with xr.open_dataset(path, engine="nd2", **options) as dataset:
        return [*found, str(dataset.chunk({"T": 2})["image"].data.name)]


def test_keys_are_the_same_in_every_process(
    stack: SyntheticFile, tmp_path: Path
) -> None:
    path = stack.save(tmp_path / "a.nd2")
    here = names(path)
    assert here == names(path) == names_elsewhere(path)
    assert here[0].startswith("open_dataset-image-")
    assert here[1].startswith("xarray-image-")


def test_keys_change_with_the_file(stack: SyntheticFile, tmp_path: Path) -> None:
    path = stack.save(tmp_path / "a.nd2")
    before, stat = names(path), path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**6))
    after = names(path)
    assert not set(before) & set(after)
    with path.open("ab") as file:  # as old, but longer
        file.write(b"\0" * 0 + path.read_bytes()[-40:])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not set(before) & set(names(path))


def test_keys_change_with_a_remote_object(stack: SyntheticFile) -> None:
    """xarray itself makes the keys of a URL from nothing but the URL."""
    url = "memory://keys/a.nd2"
    memory = fsspec.filesystem("memory")
    other = build(SyntheticSpec(loops=(TimeLoop(6), ZLoop(2)), width=32, height=25))
    try:
        memory.pipe("/keys/a.nd2", stack.data)
        before = names(url)
        assert names(url) == before
        with xr.open_dataset(url, engine="nd2", chunks={}) as old:
            memory.pipe("/keys/a.nd2", other.data)
            assert not set(names(url)) & set(before)
            with pytest.raises(limnd2_xr.StaleFile):
                old["image"].mean().compute()
    finally:
        memory.rm("/keys", recursive=True)


def test_keys_and_graphs_show_no_credentials(
    stack: SyntheticFile, tmp_path: Path
) -> None:
    fsspec.filesystem("memory").pipe("/keys/a.nd2", stack.data)
    options = {"skip_instance_cache": True, "secret": "hunter2"}
    url = "memory://keys/a.nd2"
    with xr.open_dataset(
        url, engine="nd2", chunks={}, storage_options=options
    ) as dataset:
        graph = dict(dataset["image"].data.__dask_graph__())
        assert "hunter2" not in repr(graph)
        assert not any("hunter2" in str(key) for key in graph)
        assert "hunter2" not in repr(dataset["image"].attrs)


def test_variables_that_were_read_need_nothing_of_this_package(
    stack: SyntheticFile,
) -> None:
    with xr.open_dataset(stack.data, engine="nd2") as dataset:
        loaded = pickle.dumps(dataset[["image"]].drop_encoding().load())
    assert b"FileVariable" not in loaded
    assert type(pickle.loads(loaded)["image"].variable) is xr.Variable


def test_chunking_is_that_of_xarray(stack: SyntheticFile) -> None:
    with xr.open_dataset(stack.data, engine="nd2") as dataset:
        lazy = dataset["image"].variable
        asked: list[Any] = [{}, 3, -1, (2, 1, 1, 24, 32), {"T": (2, 4)}, {"nope": 3}]
        for chunks in asked:
            plain = xr.Variable(lazy.dims, stack.array()).chunk(chunks)
            chunked = lazy.chunk(chunks)
            assert type(chunked) is xr.Variable
            assert chunked.chunks == plain.chunks
        by_name = lazy.chunk(T=2)
        assert by_name.chunks == lazy.chunk({"T": 2}).chunks
        by_place = lazy.chunk({"T": 2}, "mine", False, True, "dask", {})
        assert by_place.data.name == "mine"
        np.testing.assert_array_equal(by_place, stack.array())


# ---- what travels ---------------------------------------------------------------------


def test_arrays_that_travelled_open_the_file_once(
    series: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with xr.open_dataset(series[MANY]) as dataset:
        sent = [pickle.dumps(dataset["image"].variable._data) for _ in range(3)]
        expected = dataset["image"].isel(T=5).values
    assert len(sent[0]) < 4000
    del dataset
    file_manager._known.clear()
    opened = []
    real = FrameStore.open_as_before

    def counted(*args: Any, **kwargs: Any) -> FrameStore:
        opened.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(FrameStore, "open_as_before", counted)
    arrays: Any = [pickle.loads(one) for one in sent]
    managers = [one.array.array.array.manager for one in arrays]
    assert not opened  # a scheduler need not see the file
    for array in arrays:
        np.testing.assert_array_equal(np.asarray(array)[5], expected)
    assert len(opened) == 1
    assert all(one is managers[0] for one in managers)
    managers[0].close()
    file_manager._kept.clear()


def test_another_file_in_its_place_is_noticed(
    stack: SyntheticFile, tmp_path: Path
) -> None:
    path = stack.save(tmp_path / "a.nd2")
    with xr.open_dataset(path) as dataset:
        sent = pickle.dumps(dataset["image"].variable._data)
    file_manager._known.clear()
    path.write_bytes(stack.data + b"\0" * 8)
    with pytest.raises(limnd2_xr.StaleFile, match="changed since it was opened"):
        np.asarray(pickle.loads(sent))


def test_dims_asked_for_travel(stack: SyntheticFile, tmp_path: Path) -> None:
    path = stack.save(tmp_path / "a.nd2")
    with xr.open_dataset(path, full_dims=True) as dataset:
        sent = pickle.dumps(dataset["image"].variable._data)
        expected = dataset["image"].values
    del dataset
    file_manager._known.clear()
    array = pickle.loads(sent)
    manager = array.array.array.array.manager
    np.testing.assert_array_equal(np.asarray(array), expected)
    manager.close()
    file_manager._kept.clear()


# ---- blocks within frames -------------------------------------------------------------


@divides
def test_blocks_of_rows_read_their_rows(tmp_path: Path) -> None:
    file = build(SyntheticSpec(loops=(TimeLoop(3),), width=512, height=512))
    path = file.save(tmp_path / "a.nd2")
    with xr.open_dataset(path, chunks={"Y": 64}) as dataset:
        image = dataset["image"]
        image[:, :, :1].values  # noqa: B018 - headers
        with count_reads() as counter:
            block = image.data.blocks[0, 0, 3, 0].compute()
    np.testing.assert_array_equal(block, file.array()[:, :, 192:256])
    assert counter.nbytes == 3 * 64 * 1024


@divides
@pytest.mark.parametrize("chunks", [{"Y": 5}, {"Y": 5, "X": 9, "T": 2}, {"C": 1}])
def test_compressed_frames_are_inflated_once_for_all_blocks(
    tmp_path: Path, chunks: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = build(
        SyntheticSpec(
            loops=(TimeLoop(6),),
            channels=(ChannelSpec("a"), ChannelSpec("b")),
            width=32,
            height=24,
            compression="zlib",
        )
    )
    begun = []
    real = isal_zlib.decompressobj

    def counted() -> Any:
        begun.append(1)
        return real()

    monkeypatch.setattr(isal_zlib, "decompressobj", counted)
    path = file.save(tmp_path / "a.nd2")
    with xr.open_dataset(path, chunks=chunks) as dataset:
        assert dataset["image"].data.npartitions > 1
        found = dataset["image"].compute(scheduler="threads", num_workers=4)
    np.testing.assert_array_equal(found, file.array())
    assert len(begun) == 6


# ---- schedulers -----------------------------------------------------------------------


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("inline", [False, True])
def test_schedulers(
    stack: SyntheticFile, tmp_path: Path, scheduler: str, inline: bool
) -> None:
    path = stack.save(tmp_path / "a.nd2")
    with xr.open_dataset(path, chunks={}, inline_array=inline) as dataset:
        image = dataset["image"].chunk({"T": 1, "Y": 7})
        found = image.max("Z").compute(scheduler=scheduler)
    np.testing.assert_array_equal(found, stack.array().max(axis=1))


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
def test_processes(stack: SyntheticFile, tmp_path: Path) -> None:
    path = stack.save(tmp_path / "a.nd2")
    with xr.open_dataset(path, chunks={}) as dataset:
        image = dataset["image"].chunk({"T": 2})
        found = image.max("Z").compute(scheduler="processes", num_workers=1)
    np.testing.assert_array_equal(found, stack.array().max(axis=1))


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
def test_array_expressions(stack: SyntheticFile, tmp_path: Path) -> None:
    """The option is taken once a process, when dask.array is imported."""
    if not hasattr(dask.array, "ARRAY_EXPR_ENABLED"):
        pytest.skip("this dask has no array expressions")
    stack.save(tmp_path / "a.nd2")
    np.save(tmp_path / "expected.npy", stack.array())
    script = """
        import dask.array, numpy as np, xarray as xr
        import limnd2_xr

        assert dask.array.ARRAY_EXPR_ENABLED
        expected = np.load("expected.npy")
        with xr.open_dataset("a.nd2", chunks={}) as dataset:
            image = dataset["image"]
            # dask's own methods: its expressions lack what xarray calls to reduce, and
            # what NumPy asks for when a value is wanted without `compute`.
            assert (image.data.max(axis=1).compute() == expected.max(axis=1)).all()
            part = image.isel(T=slice(1, 4), Y=slice(3, 9))
            assert (part.compute().values == expected[1:4, :, :, 3:9]).all()
            rows = dataset.chunk({"T": 2, "Y": 5})["image"]
            assert (rows.data.sum(axis=0).compute() == expected.sum(axis=0)).all()
            rows.nd2.write_nd2("b.nd2")
            (image + 1).astype("uint16").nd2.write_nd2("c.nd2", compression="zlib")
        with xr.open_dataset("b.nd2") as dataset:
            assert (dataset["image"].values == expected).all()
        with xr.open_dataset("c.nd2") as dataset:
            assert (dataset["image"].values == expected + 1).all()
    """
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        env=os.environ | {"DASK_ARRAY__QUERY_PLANNING": "True"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
