"""Many files as one dataset, with xarray's own functions; and what finding us imports."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import xarray as xr

from limnd2_xr.errors import Nd2Error, StaleFile
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    build,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

PER_FRAME = ["time", "acquired", "stage_x", "stage_y", "stage_z"]
QUICK: dict[str, Any] = {
    "engine": "nd2",
    "combine": "nested",
    "concat_dim": "P",
    "data_vars": "minimal",
    "coords": "minimal",
    "compat": "override",
    "join": "override",
    "combine_attrs": "drop_conflicts",
}
"""The options of docs/how-to/many-files.md."""


PLAIN: dict[str, Any] = {
    "engine": "nd2",
    "combine": "nested",
    "concat_dim": "P",
    "join": "outer",  # the default, of which xarray warns that it changes
}


def field_of(i: int, **more: Any) -> SyntheticSpec:
    """One of a series of files: of its own place, pixels and text; times that jitter."""
    held = {
        "loops": (TimeLoop(count=2, avg_period_ms=1000.0 + i),),
        "width": 8,
        "height": 6,
        "seed": i,
        "position_um": (100.0 * i, 5.0, 1.0),
        "times_ms": (0.0, 1000.0 + i),
        "julian_day": 2456827.0 + i,
        "text": {5: f"file {i}"},
    }
    return SyntheticSpec(**{**held, **more})


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"{i}.nd2" for i in range(3)]
    for i, path in enumerate(made):
        write(path, field_of(i))
    return made


def open_files() -> int:
    held = {file.path for file in psutil.Process().open_files()}
    return sum(path.endswith(".nd2") for path in held)


def pixels(count: int = 3) -> np.ndarray[Any, Any]:
    return np.stack([build(field_of(i)).array() for i in range(count)])


@pytest.mark.parametrize("parallel", [False, True])
def test_files_along_a_new_dim(paths: list[Path], parallel: bool) -> None:
    options = QUICK | {"coords": PER_FRAME, "data_vars": "all", "parallel": parallel}
    with xr.open_mfdataset(paths, **options) as many:
        assert many["image"].dims == ("P", "T", "C", "Y", "X")
        np.testing.assert_array_equal(many["image"].values, pixels())
        assert many["stage_x"].values.tolist() == [
            [0.0, 0.0],
            [100.0, 100.0],
            [200.0] * 2,
        ]
        assert many["time"].isel(T=1).values.tolist() == [1.0, 1.001, 1.002]
        days = np.diff(many["acquired"].isel(T=0).values)
        assert (days == np.timedelta64(1, "D")).all()
    assert open_files() == 0


def test_labels_that_differ_are_all_kept_by_default(paths: list[Path]) -> None:
    with xr.open_mfdataset(paths[:2], **PLAIN) as many:
        assert many["T"].values.tolist() == [0.0, 1.0, 1.001]
        assert np.isnan(many["image"].isel(P=0, T=2)).all()


def test_files_along_the_dim_that_all_dims_have(paths: list[Path]) -> None:
    with xr.open_mfdataset(paths, full_dims=True, **QUICK) as many:
        assert many["image"].dims == ("T", "P", "Z", "C", "Y", "X")
        np.testing.assert_array_equal(
            many["image"].isel(Z=0).transpose("P", ...).values, pixels()
        )
        assert many["stage_x"].isel(T=0, Z=0).values.tolist() == [0.0, 100.0, 200.0]
        assert many["C"].dims == many["emission_wavelength"].dims == ("C",)


def test_attributes_that_differ(paths: list[Path]) -> None:
    with xr.open_mfdataset(paths, full_dims=True, **QUICK) as many:
        assert not {"description", "nd2_metadata"} & many.attrs.keys()
        assert many.attrs["objective"] == "Plan Apo 20x"
    first = QUICK | {"combine_attrs": "override"}
    with xr.open_mfdataset(paths, full_dims=True, **first) as many:
        assert many.attrs["description"] == "file 0"
        assert many.nd2.metadata.text.description == "file 0"
    same = QUICK | {"combine_attrs": "identical"}
    with pytest.raises(xr.MergeError, match="attrs"):
        xr.open_mfdataset(paths, full_dims=True, **same)


def test_lengths_that_differ_are_no_silent_fill(paths: list[Path]) -> None:
    write(paths[1], field_of(1, width=9))
    with pytest.raises(ValueError, match="X"):
        xr.open_mfdataset(paths, full_dims=True, **QUICK)


def test_labels_that_differ_are_refused_if_asked_for(paths: list[Path]) -> None:
    with pytest.raises(ValueError, match="exact"):
        xr.open_mfdataset(paths, full_dims=True, **QUICK | {"join": "exact"})


def test_channels_that_differ(paths: list[Path]) -> None:
    write(paths[1], field_of(1, channels=(ChannelSpec("mCherry"),)))
    with pytest.raises(ValueError, match="exact"):
        xr.open_mfdataset(paths, full_dims=True, **QUICK | {"join": "exact"})
    with xr.open_mfdataset(paths, **PLAIN, compat="no_conflicts") as many:
        assert many["C"].values.tolist() == ["GFP", "mCherry"]
        assert np.isnan(many["image"].sel(C="mCherry").isel(P=0)).all()


def test_by_coordinates(paths: list[Path]) -> None:
    def named(dataset: xr.Dataset) -> xr.Dataset:
        name = os.path.basename(dataset.encoding["source"])  # noqa: PTH119
        return dataset.assign_coords(P=[name.removesuffix(".nd2")])

    options = {k: v for k, v in QUICK.items() if k != "concat_dim"}
    options |= {"combine": "by_coords", "full_dims": True}
    with xr.open_mfdataset(paths[::-1], preprocess=named, **options) as many:
        assert many["P"].values.tolist() == ["0", "1", "2"]
        np.testing.assert_array_equal(
            many["image"].isel(Z=0).transpose("P", ...).values, pixels()
        )
        assert many["stage_x"].sel(P="2").values.tolist() == [[200.0]] * 2


def test_by_coordinates_that_do_not_differ(paths: list[Path]) -> None:
    for path in paths:
        write(path, field_of(0))
    with pytest.raises(ValueError, match="dimension coordinates"):
        xr.open_mfdataset(paths, engine="nd2", combine="by_coords")


def test_names_of_positions_that_repeat(paths: list[Path]) -> None:
    points = (Point(0.0, 0.0, name="A"), Point(9.0, 0.0, name="B"))
    for i, path in enumerate(paths):
        write(path, field_of(i, loops=(PositionLoop(points),), times_ms=None))
    with xr.open_mfdataset(paths, **QUICK) as many:
        assert many["P"].values.tolist() == ["A", "B"] * 3
        assert many["image"].sel(P="B").sizes["P"] == 3
        with pytest.raises(ValueError, match="labels of P repeat"):
            many.nd2.to_nd2(paths[0].with_name("all.nd2"))


def test_many_files_are_one_file(paths: list[Path], tmp_path: Path) -> None:
    with xr.open_mfdataset(paths, full_dims=True, **QUICK) as many:
        # The moments are days apart, which the times of one file do not tell.
        whole = many.assign_coords(P=["a", "b", "c"]).drop_vars("acquired")
        whole.nd2.to_nd2(tmp_path / "all.nd2")
    with xr.open_dataset(tmp_path / "all.nd2") as one:
        assert one["P"].values.tolist() == ["a", "b", "c"]
        np.testing.assert_array_equal(
            one["image"].isel(Z=0).transpose("P", ...).values, pixels()
        )
        assert one["stage_x"].isel(T=0, Z=0).values.tolist() == [0.0, 100.0, 200.0]


@pytest.mark.parametrize("full_dims", [False, True])
def test_what_is_read_of_one_file_is_refused_of_several(
    paths: list[Path], full_dims: bool
) -> None:
    """xarray has them remember the first file alone."""
    options = QUICK | ({} if full_dims else {"coords": PER_FRAME, "data_vars": "all"})
    with xr.open_mfdataset(paths, full_dims=full_dims, **options) as many:
        for obj in (many, many["image"], many.isel(T=0)):
            with pytest.raises(Nd2Error, match="put together from several"):
                obj.nd2.chunks()
    with xr.open_dataset(paths[0]) as one:
        expected = one.nd2.chunks()
        for part in (
            one.isel(T=0, X=[2, 3]),
            one.rename_dims(C="dye"),
            one.transpose(),
        ):
            assert part.nd2.chunks() == expected
        with pytest.raises(Nd2Error, match="put together from several"):
            xr.concat([one, one], "T").nd2.chunks()


def test_more_files_than_may_be_open(paths: list[Path]) -> None:
    with (
        xr.set_options(file_cache_maxsize=2),
        xr.open_mfdataset(paths, full_dims=True, **QUICK) as many,
    ):
        for _ in range(2):  # each file is closed and opened again
            found = many["image"].isel(Z=0).transpose("P", ...)
            np.testing.assert_array_equal(found.values, pixels())
            assert open_files() <= 2
        many["image"].isel(P=[1, 2]).values  # noqa: B018
        write(paths[0], field_of(7, width=16))
        with pytest.raises(StaleFile, match="changed"):
            many["image"].isel(P=0).values  # noqa: B018
    assert open_files() == 0


def test_what_finding_the_engine_imports() -> None:
    code = (
        "import sys, xarray, importlib.metadata\n"
        "known = set(sys.modules)\n"
        "import limnd2_xr.xarray_plugin\n"
        "print(*set(sys.modules) - known)\n"
        "assert 'nd2' in xarray.backends.list_engines()\n"
        "print(*[m for m in sys.modules if m.startswith('limnd2_xr')])"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    new, ours = (set(line.split()) for line in done.stdout.splitlines())
    top = {"limnd2_xr", "limnd2_xr.errors", "limnd2_xr.options"}
    top |= {"limnd2_xr.xarray_plugin", "limnd2_xr.accessor"}
    assert top <= ours
    assert {m for m in ours - top if not m.startswith("limnd2_xr.accessor.")} == set()
    assert {module for module in new if not module.startswith("limnd2_xr")} == set()


def test_coordinates_in_memory_do_not_become_blocks(paths: list[Path]) -> None:
    """Comparing them would compute a graph for each coordinate of each file."""
    with xr.open_dataset(paths[0], engine="nd2", chunks={}) as one:
        assert one["image"].chunks is not None
        assert [name for name, c in one.coords.items() if c.chunks is not None] == []
        assert one["time"].chunk(T=1).chunks == ((1, 1),)
        assert one.chunk()["stage_x"].chunks == ((2,),)
        one["time"][0] = 7.0
        assert one["time"].values.tolist() == [7.0, 1.0]
    with xr.open_mfdataset(paths, **PLAIN) as many:
        assert [name for name, c in many.coords.items() if c.chunks is not None] == []
        assert many["image"].chunks is not None


def test_times_that_lie_with_the_frames_are_read_when_they_are_needed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "uncached.nd2"
    write(path, field_of(0, omit_chunks=frozenset({"CustomData|AcqTimesCache!"})))
    with xr.open_dataset(path, engine="nd2", chunks={}) as one:
        assert one["time"].chunks is not None
        assert one["stage_x"].chunks is None
        assert one["time"].values.tolist() == [0.0, 1.0]
