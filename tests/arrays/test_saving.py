"""What was opened can be saved by xarray and loaded again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

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
    from collections.abc import Callable
    from pathlib import Path

SPECS = {
    "loops": SyntheticSpec(
        loops=(
            TimeLoop(3),
            PositionLoop((Point(1, 2, name="a"), Point(3, 4, name="b"))),
            ZLoop(2),
        ),
        channels=(ChannelSpec("DAPI", emission_nm=450.0), ChannelSpec("GFP")),
        times_ms=np.arange(12) * 100.0,
    ),
    "rgb": SyntheticSpec(channels=(ChannelSpec("", components=3),), dtype="uint8"),
    "float": SyntheticSpec(dtype="float32", calibration_um=None, julian_day=0.0),
    "bare": SyntheticSpec(metadata="none"),
    "missing": SyntheticSpec(loops=(TimeLoop(4),), missing=frozenset({2})),
    "many positions": SyntheticSpec(
        loops=(
            PositionLoop(tuple(Point(i, i, name=f"point {i}") for i in range(1500))),
        ),
        width=4,
        height=4,
    ),
}


def to_netcdf(ds: xr.Dataset, path: Path) -> xr.Dataset:
    ds.to_netcdf(path / "saved.nc", engine="h5netcdf")
    return xr.open_dataset(path / "saved.nc", engine="h5netcdf")


def to_zarr(ds: xr.Dataset, path: Path) -> xr.Dataset:
    ds.to_zarr(path / "saved.zarr", consolidated=False)
    saved: xr.Dataset = xr.open_zarr(path / "saved.zarr", consolidated=False)
    return saved


def assert_same(saved: xr.Dataset, ds: xr.Dataset) -> None:
    xr.testing.assert_identical(saved.load(), ds.load())
    assert saved["image"].dtype == ds["image"].dtype
    assert saved["acquired"].dtype == ds["acquired"].dtype
    assert saved.nd2.metadata == ds.nd2.metadata
    assert saved["image"].nd2.metadata == ds.nd2.metadata


@pytest.mark.filterwarnings("ignore::limnd2_xr.errors.Nd2Warning")
# zarr 3.1 says of its own types for text that they have no specification yet.
@pytest.mark.filterwarnings("ignore:The data type:FutureWarning")
@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("save", [to_netcdf, to_zarr])
@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("chunks", [False, True])
def test_synthetic_file_survives(
    name: str,
    chunks: bool,
    save: Callable[[xr.Dataset, Path], xr.Dataset],
    tmp_path: Path,
) -> None:
    with xr.open_dataset(build(SPECS[name]).data, engine="nd2") as ds:
        given = ds.chunk(ds["image"].encoding["preferred_chunks"]) if chunks else ds
        with save(given, tmp_path) as saved:
            assert_same(saved, ds)


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore:The data type:FutureWarning")
@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("save", [to_netcdf, to_zarr])
def test_real_file_survives(
    each_real: Path, save: Callable[[xr.Dataset, Path], xr.Dataset], tmp_path: Path
) -> None:
    with xr.open_dataset(each_real) as ds, save(ds, tmp_path) as saved:
        assert_same(saved, ds)


def test_selected_and_computed_arrays_can_be_saved(tmp_path: Any) -> None:
    with xr.open_dataset(build(SPECS["loops"]).data, engine="nd2") as ds:
        brightest = ds["image"].sel(C="GFP").max("Z", keep_attrs=True)
        brightest.to_netcdf(tmp_path / "max.nc", engine="h5netcdf")
        with xr.open_dataarray(tmp_path / "max.nc", engine="h5netcdf") as saved:
            xr.testing.assert_identical(saved.load(), brightest.load())
            assert saved.nd2.frame_metadata(T=1, P=0).labels == {"T": 1.0, "P": "a"}
