"""Processes and clusters that write one file: its content is the serial one's."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import warnings
from typing import TYPE_CHECKING, Any

import dask
import dask.array
import numpy as np
import psutil
import pytest
import xarray as xr

import limnd2_xr
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZES = {"T": 5, "Z": 3, "C": 2, "Y": 37, "X": 51}
DIMS = tuple(SIZES)
TIMES = np.cumsum(np.random.default_rng(5).uniform(0.5, 2.0, 15)).reshape(5, 3)

pytestmark = pytest.mark.xdist_group("cluster")
packings = pytest.mark.parametrize("compression", [None, "zlib"])
slow = pytest.mark.slow


def array() -> xr.DataArray:
    """Return an image whose frames all differ, with their times."""
    rng = np.random.default_rng(4)
    return xr.DataArray(
        rng.poisson(300, tuple(SIZES.values())).astype("uint16"),
        dims=DIMS,
        coords={"time": (("T", "Z"), TIMES, {"units": "s"})},
    )


@pytest.fixture(autouse=True)
def _no_handle_left_open() -> Iterator[None]:
    yield
    left = [file.path for file in psutil.Process().open_files()]
    assert not [path for path in left if path.endswith(".partial")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two processes of one thread each."""
    distributed = pytest.importorskip("distributed")
    with (
        dask.config.set(
            {
                "distributed.worker.daemon": True,
                "distributed.comm.timeouts.connect": "120s",
                "distributed.comm.timeouts.tcp": "120s",
            }
        ),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",  # several may run at once
            silence_logs="ERROR",
        ) as cluster,
    ):
        yield cluster


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    """Whatever is computed goes to the cluster."""
    distributed = pytest.importorskip("distributed")
    with distributed.Client(cluster) as client:
        yield client


def content(path: Path) -> dict[str, bytes]:
    """Every chunk of a file, frames with their times as they were compressed."""
    with xr.open_dataset(path, engine="nd2") as dataset:
        names = [chunk.name for chunk in dataset.nd2.chunks()]
        return {name: dataset.nd2.chunk(name, raw=True) for name in names}


def assert_same(path: Path, serial: Path, compression: str | None) -> None:
    """Check that two files are the same but for the places of compressed frames."""
    if compression is None:
        assert path.read_bytes() == serial.read_bytes()
    found, expected = content(path), content(serial)
    assert found == expected
    with xr.open_dataset(path) as one, xr.open_dataset(serial) as other:
        xr.testing.assert_identical(one, other)
    assert not list(path.parent.glob("*.partial"))


def written(image: xr.DataArray, path: Path, **options: Any) -> Path:
    image.nd2.write_nd2(path, **options)
    return path


# ---- dask: processes and clusters -----------------------------------------------------


@slow
@packings
@pytest.mark.parametrize("chunks", [{"T": 1}, {"T": 2, "Z": 2, "Y": 20, "C": 1}])
def test_cluster(
    tmp_path: Path, client: Any, compression: str | None, chunks: dict[str, int]
) -> None:
    serial = written(array(), tmp_path / "serial.nd2", compression=compression)
    lazy = array().chunk(chunks)
    path = written(lazy, tmp_path / "a.nd2", compression=compression)
    assert_same(path, serial, compression)
    assert len(client.scheduler_info()["workers"]) == 2


@slow
def test_both_workers_of_a_cluster_write(tmp_path: Path, client: Any) -> None:
    from distributed import get_worker

    log = tmp_path / "log"

    def seen(block: Any) -> Any:
        with log.open("a") as file:
            file.write(f"{get_worker().name}\n")
        return block

    image = array().chunk({"T": 1, "Z": 1})
    meta = np.empty((0,) * 5, np.uint16)
    lazy = image.copy(data=image.data.map_blocks(seen, dtype=np.uint16, meta=meta))
    serial = written(array(), tmp_path / "serial.nd2")
    assert_same(written(lazy, tmp_path / "a.nd2"), serial, None)
    assert len(set(log.read_text().split())) == 2


@slow
@packings
def test_cluster_later(tmp_path: Path, client: Any, compression: str | None) -> None:
    path = tmp_path / "a.nd2"
    serial = written(array(), tmp_path / "serial.nd2", compression=compression)
    lazy = array().chunk({"T": 1})
    delayed = lazy.nd2.write_nd2(path, compression=compression, compute=False)
    assert not path.exists()
    future = client.compute(delayed)
    assert future.result() is None
    assert_same(path, serial, compression)


@slow
def test_exception_on_a_cluster(tmp_path: Path, client: Any) -> None:
    def fail(block: Any, block_id: Any = None) -> Any:
        if block_id[0] == 3:
            raise ZeroDivisionError("no more")
        return block

    image = array().chunk({"T": 1})
    meta = np.empty((0,) * 5, np.uint16)
    lazy = image.copy(data=image.data.map_blocks(fail, dtype=np.uint16, meta=meta))
    with pytest.raises(ZeroDivisionError, match="no more"):
        lazy.nd2.write_nd2(tmp_path / "a.nd2")
    assert list(tmp_path.iterdir()) == []


@slow
@packings
def test_dask_processes(tmp_path: Path, compression: str | None) -> None:
    serial = written(array(), tmp_path / "serial.nd2", compression=compression)
    with dask.config.set(scheduler="processes", num_workers=2):
        lazy = array().chunk({"T": 1, "Z": 2})
        path = written(lazy, tmp_path / "a.nd2", compression=compression)
    assert_same(path, serial, compression)


def opened(folder: Path) -> Path:
    """A file with all loops, that this package did not write as an array."""
    spec = SyntheticSpec(
        loops=(
            TimeLoop(3),
            PositionLoop((Point(1, 2, 3, name="a"), Point(4, 5, 6, name="b"))),
            ZLoop(2, step_um=0.5),
        ),
        channels=(ChannelSpec("DAPI"), ChannelSpec("GFP")),
        width=33,
        height=21,
    )
    return build(spec).save(folder / "original.nd2")


@slow
@packings
@pytest.mark.parametrize("chunks", [None, {}, {"T": 1}])
def test_opened_file_on_a_cluster(
    tmp_path: Path,
    client: Any,
    compression: str | None,
    chunks: dict[str, int] | None,
) -> None:
    """Workers open the file that is read for themselves."""
    encoding = {"image": {"compression": compression}}
    original = opened(tmp_path)
    with xr.open_dataset(original) as dataset:
        dataset.load().nd2.to_nd2(tmp_path / "serial.nd2", encoding=encoding)
    with xr.open_dataset(original, chunks=None if chunks is None else {}) as dataset:
        given = dataset.chunk(chunks) if chunks else dataset
        given.nd2.to_nd2(tmp_path / "a.nd2", encoding=encoding)
    assert_same(tmp_path / "a.nd2", tmp_path / "serial.nd2", compression)


@slow
def test_opened_file_with_dask_processes(tmp_path: Path) -> None:
    original = opened(tmp_path)
    with xr.open_dataset(original) as dataset:
        (dataset["image"] // 2).nd2.write_nd2(tmp_path / "serial.nd2")
    with (
        xr.open_dataset(original, chunks={}) as dataset,
        dask.config.set(scheduler="processes", num_workers=2),
    ):
        lazy = dataset["image"].chunk({"T": 1}) // 2
        lazy.nd2.write_nd2(tmp_path / "a.nd2")
    assert_same(tmp_path / "a.nd2", tmp_path / "serial.nd2", None)


# ---- dask's array expressions ---------------------------------------------------------

EXPRESSIONS = """
import dask.array, numpy as np, xarray as xr
import limnd2_xr

assert dask.array.ARRAY_EXPR_ENABLED
pixels = dask.array.from_array(np.load("pixels.npy"), chunks=(2, 2, 1, 20, 51))
image = xr.DataArray(pixels, dims={dims})
image.nd2.write_nd2("a.nd2", compression={compression!r})
later = image.nd2.write_nd2("b.nd2", compression={compression!r}, compute=False)
later.compute()
limnd2_xr.create_nd2(image, "c.nd2", compression={compression!r})
for t in range({count}):
    image[t].nd2.write_nd2("c.nd2", region={{"T": t}})
limnd2_xr.finalize_nd2("c.nd2")
"""


@slow
@packings
def test_array_expressions(tmp_path: Path, compression: str | None) -> None:
    """The option is taken once a process, when dask.array is imported."""
    if not hasattr(dask.array, "ARRAY_EXPR_ENABLED"):
        pytest.skip("this dask has no array expressions")
    image = array().drop_vars("time")
    np.save(tmp_path / "pixels.npy", image.values)
    script = EXPRESSIONS.format(dims=DIMS, compression=compression, count=SIZES["T"])
    environment = {"DASK_ARRAY__QUERY_PLANNING": "True"}
    run([script], tmp_path, environment=environment)
    serial = written(image, tmp_path / "serial.nd2", compression=compression)
    for name in ("a.nd2", "b.nd2", "c.nd2"):
        assert_same(tmp_path / name, serial, compression)


# ---- processes of their own -----------------------------------------------------------

CREATE = """
import numpy as np, xarray as xr
import limnd2_xr

template = xr.DataArray(np.broadcast_to(np.uint16(0), {shape}), dims={dims})
limnd2_xr.create_nd2(template, "a.nd2", compression={compression!r})
"""
FILL = """
import numpy as np, xarray as xr
import limnd2_xr

image = xr.DataArray(
    np.load("pixels.npy"),
    dims={dims},
    coords={{"time": (("T", "Z"), np.load("times.npy"), {{"units": "s"}})}},
)
for t in {which}:
    image[t : t + 1].nd2.write_nd2("a.nd2", region={{"T": slice(t, t + 1)}})
"""
FINALIZE = """
import limnd2_xr

limnd2_xr.finalize_nd2("a.nd2")
"""


def run(
    scripts: list[str],
    folder: Path,
    *,
    environment: dict[str, str] | None = None,
    flags: tuple[str, ...] = ("-W", "error"),
) -> list[str]:
    """Run scripts at the same time, return what each wrote as errors."""
    started = [
        subprocess.Popen(  # noqa: S603
            [sys.executable, *flags, "-c", textwrap.dedent(script)],
            cwd=folder,
            env=os.environ | (environment or {}),
            stderr=subprocess.PIPE,
            text=True,
        )
        for script in scripts
    ]
    told = [process.communicate()[1] for process in started]
    for process, text in zip(started, told, strict=True):
        assert process.returncode == 0, text
    return told


@slow
@pytest.mark.parametrize(
    ("compression", "lacking"), [(None, ()), ("zlib", ()), ("zlib", (0, 3))]
)
def test_processes_fill_one_file(
    tmp_path: Path, compression: Any, lacking: tuple[int, ...]
) -> None:
    """Begun in one process, filled by two at a time, completed in a fourth."""
    image = array()
    np.save(tmp_path / "pixels.npy", image.values)
    np.save(tmp_path / "times.npy", TIMES)
    known: dict[str, Any] = {"dims": DIMS, "compression": compression}
    run([CREATE.format(shape=tuple(SIZES.values()), **known)], tmp_path)
    assert [path.name for path in tmp_path.glob("a.nd2*")] == ["a.nd2.partial"]
    parts = [
        [t for t in range(first, SIZES["T"], 2) if t not in lacking] for first in (0, 1)
    ]
    run([FILL.format(which=which, **known) for which in parts], tmp_path)
    assert [path.name for path in tmp_path.glob("a.nd2*")] == ["a.nd2.partial"]
    (told,) = run([FINALIZE], tmp_path, flags=())
    if lacking:
        assert "Nd2Warning" in told
        assert "6 of 15 frames were not written (0, 1, 2, 9, 10, 11)" in told
    else:
        assert not told

    expected = image.copy()
    expected[list(lacking)] = 0
    with xr.open_dataset(tmp_path / "a.nd2") as found:
        assert np.array_equal(found["image"], expected)
        time = found["time"].values
        assert not found.coords.get("missing", xr.DataArray(False)).any()
    filled = [t for t in range(SIZES["T"]) if t not in lacking]
    assert (time[filled] == TIMES[filled]).all()
    assert np.isnan(time[list(lacking)]).all()
    if lacking:
        return

    # The same again by one process, in order.
    serial = tmp_path / "serial.nd2"
    limnd2_xr.create_nd2(image.drop_vars("time"), serial, compression=compression)
    image.nd2.write_nd2(serial, region={})
    limnd2_xr.finalize_nd2(serial)
    assert_same(tmp_path / "a.nd2", serial, compression)
    # And not as a shared file at all.
    alone = written(image, tmp_path / "alone.nd2", compression=compression)
    with xr.open_dataset(alone) as one, xr.open_dataset(serial) as other:
        xr.testing.assert_equal(one.drop_vars(["T"]), other.drop_vars(["T"]))


@slow
@packings
def test_regions_on_a_cluster(tmp_path: Path, client: Any, compression: Any) -> None:
    """Regions of one file, computed at the same time."""
    image = array().chunk({"T": 1, "Z": 1})
    serial = written(array(), tmp_path / "serial.nd2", compression=compression)
    path = tmp_path / "a.nd2"
    limnd2_xr.create_nd2(image, path, compression=compression)
    parts = [
        image.isel(Z=[z]).nd2.write_nd2(path, region={"Z": [z]}, compute=False)
        for z in range(SIZES["Z"])
    ]
    client.gather(client.compute(parts))
    limnd2_xr.finalize_nd2(path)
    assert_same(path, serial, compression)


# ---- regions in this process ----------------------------------------------------------


@packings
def test_frames_that_nobody_wrote(tmp_path: Path, compression: Any) -> None:
    path = tmp_path / "a.nd2"
    limnd2_xr.create_nd2(array(), path, compression=compression)
    array().isel(T=2).nd2.write_nd2(path, region={"T": 2})
    with pytest.warns(limnd2_xr.Nd2Warning, match="12 of 15 frames were not written"):
        limnd2_xr.finalize_nd2(path)
    expected = xr.zeros_like(array())
    expected[2] = array()[2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = xr.load_dataset(path)
    assert np.array_equal(found["image"], expected)
    # The template's times are those of frames that nobody wrote, too.
    assert (found["time"].values == TIMES).all()


@packings
def test_times_of_regions(tmp_path: Path, compression: Any) -> None:
    """They count where there are some; else those of the template."""
    path = tmp_path / "a.nd2"
    image = array()
    limnd2_xr.create_nd2(image, path, compression=compression)
    later = image.assign_coords(time=image["time"] + 100.0)
    later["time"].attrs["units"] = "s"
    image[:2].drop_vars("time").nd2.write_nd2(path, region={"T": slice(2)})
    later[2:].nd2.write_nd2(path, region={"T": slice(2, None)})
    limnd2_xr.finalize_nd2(path)
    found = xr.load_dataset(path)
    assert np.array_equal(found["image"], image)
    assert (found["time"].values[:2] == TIMES[:2]).all()
    assert (found["time"].values[2:] == (TIMES + 100.0)[2:]).all()


@packings
def test_regions_written_twice(tmp_path: Path, compression: Any) -> None:
    """Of a frame that is written again the later copy counts."""
    path = tmp_path / "a.nd2"
    image = array()
    limnd2_xr.create_nd2(image, path, compression=compression)
    (image + np.uint16(1)).nd2.write_nd2(path, region={})
    image.isel(Z=slice(1, None)).nd2.write_nd2(path, region={"Z": slice(1, None)})
    limnd2_xr.finalize_nd2(path)
    expected = image.copy()
    expected[:, 0] += np.uint16(1)
    assert np.array_equal(xr.load_dataset(path)["image"], expected)
