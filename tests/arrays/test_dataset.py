"""The dataset that a user sees: names, dims, dtypes, units, attributes."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import limnd2_xr
from limnd2_xr.arrays import dataset
from limnd2_xr.arrays.dataset import preferred_chunks
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.testing.counting import count_reads
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    Column,
    CustomLoop,
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

N = 2 * 3 * 4
SPEC = SyntheticSpec(
    # Z outermost in the file; the dataset has T, P, Z all the same.
    loops=(
        ZLoop(4, step_um=0.5),
        TimeLoop(3, period_ms=2000.0),
        PositionLoop(
            (Point(10.0, 20.0, 5.0, name="A"), Point(30.0, 40.0, 6.0, name="A"))
        ),
    ),
    width=20,
    height=10,
    channels=(
        ChannelSpec("GFP", color=0x00FF00, emission_nm=510.0, excitation_nm=488.0),
        ChannelSpec("GFP", color=0x0000FF, exposure_ms=50.0, modality_mask=0x2 | 0x100),
    ),
    significant_bits=12,
    calibration_um=0.25,
    times_ms=np.arange(N) * 100.0 + 7.0,
    columns={
        "X": Column(np.arange(N) + 100.0, unit="µm"),
        "Y": Column(np.arange(N) + 200.0, unit="µm"),
        "Z": Column(np.arange(N) + 300.0, unit="µm"),
    },
)


@pytest.fixture(scope="module")
def ds() -> Iterator[xr.Dataset]:
    with xr.open_dataset(build(SPEC).data, engine="nd2") as opened:
        yield opened


def test_the_image_has_the_dims_of_the_loops_then_c_y_x(ds: xr.Dataset) -> None:
    assert list(ds.data_vars) == ["image"]
    assert ds["image"].dims == ("T", "P", "Z", "C", "Y", "X")
    assert ds["image"].shape == (3, 2, 4, 2, 10, 20)
    assert ds["image"].dtype == np.dtype("uint16")


@pytest.mark.parametrize(
    ("name", "dims", "kind", "units"),
    [
        ("T", ("T",), "f", "s"),
        ("P", ("P",), "U", None),
        ("Z", ("Z",), "f", "um"),
        ("C", ("C",), "U", None),
        ("Y", ("Y",), "f", "um"),
        ("X", ("X",), "f", "um"),
        ("emission_wavelength", ("C",), "f", "nm"),
        ("excitation_wavelength", ("C",), "f", "nm"),
        ("exposure_time", ("C",), "f", "s"),
        ("pinhole_diameter", ("C",), "f", "um"),
        ("color", ("C",), "U", None),
        ("modality", ("C",), "U", None),
        ("binning", ("C",), "U", None),
        ("camera", ("C",), "U", None),
        ("time", ("T", "P", "Z"), "f", "s"),
        ("acquired", ("T", "P", "Z"), "M", None),
        ("stage_x", ("T", "P", "Z"), "f", "um"),
        ("stage_y", ("T", "P", "Z"), "f", "um"),
        ("stage_z", ("T", "P", "Z"), "f", "um"),
        ("position_x", ("P",), "f", "um"),
        ("position_y", ("P",), "f", "um"),
        ("position_z", ("P",), "f", "um"),
    ],
)
def test_coordinates(
    ds: xr.Dataset, name: str, dims: tuple[str, ...], kind: str, units: str | None
) -> None:
    coord = ds.coords[name]
    assert coord.dims == dims
    assert coord.dtype.kind == kind
    assert coord.attrs.get("units") == units
    assert coord.attrs["long_name"]


def test_no_other_coordinates(ds: xr.Dataset) -> None:
    assert len(ds.coords) == 22


def test_labels(ds: xr.Dataset) -> None:
    np.testing.assert_array_equal(ds["T"], [0.0, 2.0, 4.0])
    np.testing.assert_array_equal(ds["P"], ["A", "A_2"])
    np.testing.assert_array_equal(ds["C"], ["GFP", "GFP_2"])
    np.testing.assert_array_equal(ds["Y"], np.arange(10) * 0.25)
    np.testing.assert_array_equal(ds["X"], np.arange(20) * 0.25)
    np.testing.assert_array_equal(ds["color"], ["#00ff00", "#ff0000"])
    np.testing.assert_array_equal(ds["exposure_time"], [0.1, 0.05])
    np.testing.assert_array_equal(ds["emission_wavelength"], [510.0, np.nan])
    assert set(ds.indexes) == {"T", "P", "Z", "C", "Y", "X"}


def test_values_of_each_frame_go_to_its_place_whatever_the_loop_order(
    ds: xr.Dataset,
) -> None:
    number = np.arange(N).reshape(4, 3, 2).transpose(1, 2, 0)
    np.testing.assert_allclose(ds["time"], (number * 100.0 + 7.0) / 1000.0)
    np.testing.assert_array_equal(ds["stage_x"], number + 100.0)
    np.testing.assert_array_equal(ds["stage_y"], number + 200.0)
    np.testing.assert_array_equal(ds["stage_z"], number + 300.0)
    step = ds["acquired"].values[1, 0, 0] - ds["acquired"].values[0, 0, 0]
    assert step == np.timedelta64(200, "ms")


def test_attributes_are_flat_and_storable(ds: xr.Dataset) -> None:
    for attrs in (ds.attrs, ds["image"].attrs):
        assert all(type(value) in (str, int, float) for value in attrs.values())
        assert attrs["significant_bits"] == 12
        assert attrs["pixel_size_um"] == 0.25
        assert attrs["z_step_um"] == 0.5
        assert attrs["magnification"] == 20.0
        assert attrs["numerical_aperture"] == 0.75
        assert attrs["format_version"] == "3.0"
        assert attrs["loop_order"] == "Z T P"
        assert json.loads(attrs["nd2_metadata"])["schema"] == 1


def test_selection_by_label(ds: xr.Dataset) -> None:
    truth = build(SPEC).array()
    got = ds["image"].sel(C="GFP_2", P="A").isel(T=1).max("Z")
    np.testing.assert_array_equal(got, truth[1, 0, :, 1].max(0))


def test_uncalibrated_file_has_pixel_numbers_without_units() -> None:
    with xr.open_dataset(
        build(SyntheticSpec(calibration_um=None)).data, engine="nd2"
    ) as ds:
        np.testing.assert_array_equal(ds["X"], np.arange(64.0))
        assert "units" not in ds["X"].attrs
        assert "pixel_size_um" not in ds.attrs


def test_a_single_frame_has_scalar_values_of_the_frame() -> None:
    with xr.open_dataset(
        build(SyntheticSpec(times_ms=[250.0])).data, engine="nd2"
    ) as ds:
        assert ds["image"].dims == ("C", "Y", "X")
        assert ds["time"].item() == 0.25
        assert ds["stage_x"].item() == 1000.0


def test_unnamed_positions_are_numbered() -> None:
    spec = SyntheticSpec(loops=(PositionLoop((Point(1, 2), Point(3, 4))),))
    with xr.open_dataset(build(spec).data, engine="nd2") as ds:
        np.testing.assert_array_equal(ds["P"], [0, 1])
        np.testing.assert_array_equal(ds["position_x"], [1.0, 3.0])


def test_rgb_has_a_dimension_of_red_green_blue() -> None:
    file = build(
        SyntheticSpec(channels=(ChannelSpec("HE", components=3),), dtype="uint8")
    )
    with xr.open_dataset(file.data, engine="nd2") as ds:
        assert ds["image"].dims == ("C", "Y", "X", "S")
        np.testing.assert_array_equal(ds["S"], ["R", "G", "B"])
        np.testing.assert_array_equal(ds["image"].sel(S="R")[0], file.frames[0, ..., 2])


def test_custom_loop_is_a_dimension() -> None:
    file = build(SyntheticSpec(loops=(TimeLoop(2), CustomLoop(3))))
    with xr.open_dataset(file.data, engine="nd2") as ds:
        assert ds["image"].dims == ("U", "T", "C", "Y", "X")
        np.testing.assert_array_equal(ds["image"], file.array())


def test_full_dims_gives_all_six() -> None:
    file = build(SyntheticSpec(loops=(ZLoop(3),)))
    with xr.open_dataset(file.data, engine="nd2", full_dims=True) as ds:
        assert ds["image"].dims == ("T", "P", "Z", "C", "Y", "X")
        assert ds["image"].shape[:3] == (1, 1, 3)
        assert ds["stage_z"].dims == ("T", "P", "Z")
        assert ds.sizes["P"] == len(ds["P"]) == 1
        np.testing.assert_array_equal(ds["image"][0, 0], file.array())


@pytest.mark.parametrize("names", ["image", ["image"], ["image", "stage_x", "C"], ()])
def test_dropped_variables_are_not_there(names: Any) -> None:
    with xr.open_dataset(build(SPEC).data, engine="nd2", drop_variables=names) as ds:
        dropped = {names} if isinstance(names, str) else set(names)
        assert not dropped & set(ds.variables)
        assert len(ds.variables) == 23 - len(dropped)


def test_missing_frames_warn_once_and_are_marked() -> None:
    data = build(SyntheticSpec(loops=(TimeLoop(5),), missing=frozenset({1, 3}))).data
    with pytest.warns(
        limnd2_xr.Nd2Warning, match=r"2 of 5 frames .* \(1, 3\)"
    ) as record:
        ds = xr.open_dataset(data, engine="nd2")
    assert len(record) == 1
    with ds:
        np.testing.assert_array_equal(ds["missing"], [False, True, False, True, False])
        assert not ds["image"][1].values.any()
        assert ds["image"][2].values.any()


def test_missing_frames_can_be_an_error() -> None:
    data = build(SyntheticSpec(loops=(TimeLoop(5),), missing=frozenset({1}))).data
    with pytest.raises(
        limnd2_xr.CorruptChunk, match="1 of 5 frames are not in the file"
    ):
        xr.open_dataset(data, engine="nd2", missing="raise")


def test_times_stored_with_the_frames_only_are_read_on_demand() -> None:
    file = build(
        SyntheticSpec(
            loops=(TimeLoop(4), ZLoop(2)),
            times_ms=np.arange(8) * 10.0 + 3.0,
            omit_chunks=frozenset({"CustomData|AcqTimesCache!"}),
        )
    )
    with xr.open_dataset(file.data, engine="nd2") as ds:
        expected = (np.arange(8).reshape(4, 2) * 10.0 + 3.0) / 1000.0
        np.testing.assert_allclose(ds["time"], expected)
        np.testing.assert_allclose(ds["time"].isel(T=2), expected[2])
        late = ds["acquired"].values - ds["acquired"].values[0, 0]
        np.testing.assert_allclose(
            late / np.timedelta64(1, "ms"), np.arange(8).reshape(4, 2) * 10
        )


@pytest.mark.parametrize(
    ("loops", "size", "expected"),
    [
        ((TimeLoop(20_000),), 16, {"T": 20_000}),
        ((TimeLoop(100),), 2048, {"T": 12}),
        ((TimeLoop(100), ZLoop(3)), 2048, {"T": 4, "Z": 3}),
        ((ZLoop(3), TimeLoop(100)), 2048, {"T": 12, "Z": 1}),
        ((TimeLoop(4),), 8192, {"T": 1}),
    ],
)
def test_preferred_blocks_hold_whole_neighbouring_frames(
    loops: tuple[Any, ...], size: int, expected: dict[str, int]
) -> None:
    with FrameStore.open(
        build(SyntheticSpec(width=16, height=16, loops=loops)).data
    ) as store:
        state = store.state
    layout = replace(state.table.layout, height=size, width=size, row_nbytes=2 * size)
    state = replace(state, table=replace(state.table, layout=layout))
    assert preferred_chunks(state) == {**expected, "C": 1, "Y": size, "X": size}


def test_chunks_take_the_preferred_blocks(tmp_path: Any) -> None:
    path = build(SyntheticSpec(loops=(TimeLoop(300),), width=16, height=16)).save(
        tmp_path / "cells.nd2"
    )
    with xr.open_dataset(path, chunks={}) as ds:
        assert ds["image"].data.npartitions == 1
        assert ds["image"].encoding["preferred_chunks"]["T"] == 300
    # Frames do not depend on each other, but xarray cannot know.
    with (
        pytest.warns(UserWarning, match="separate the stored chunks"),
        xr.open_dataset(path, chunks={"T": 100}) as ds,
    ):
        assert ds["image"].data.npartitions == 3


def test_blocks_of_all_variables_fit_together(tmp_path: Any) -> None:
    spec = SyntheticSpec(loops=(TimeLoop(30), ZLoop(2)), width=1024, height=2)
    path = build(spec).save(tmp_path / "cells.nd2")
    with (
        pytest.MonkeyPatch.context() as patch,
        xr.open_dataset(path, chunks=None) as whole,
    ):
        patch.setattr(dataset, "BLOCK_NBYTES", 2**16)
        with xr.open_dataset(path, chunks={}) as ds:
            assert len(ds["image"].chunksizes["T"]) > 1
            assert ds.chunks["T"] == ds["image"].chunksizes["T"]
            same = ds.map_blocks(lambda block: block)
            xr.testing.assert_equal(same.compute(), whole.load())


def test_what_is_computed_is_not_rounded_when_saved(tmp_path: Any) -> None:
    with xr.open_dataset(build(SPEC).data, engine="nd2") as ds:
        mean = ds.coarsen(X=2).mean()
        mean.to_netcdf(tmp_path / "mean.nc", engine="h5netcdf")
        with xr.open_dataset(tmp_path / "mean.nc", engine="h5netcdf") as saved:
            assert (mean["image"].values % 1 > 0).any()
            np.testing.assert_array_equal(saved["image"], mean["image"])


def test_positions_in_positions_have_both_names() -> None:
    outer = PositionLoop((Point(1, 2, name="a"), Point(3, 4, name="b")))
    inner = PositionLoop((Point(5, 6, name="x"), Point(7, 8)))
    spec = SyntheticSpec(loops=(outer, inner), width=8, height=4)
    with xr.open_dataset(build(spec).data, engine="nd2") as ds:
        np.testing.assert_array_equal(ds["P"], ["a x", "a", "b x", "b"])
        np.testing.assert_array_equal(ds["position_x"], [5.0, 7.0, 5.0, 7.0])
        np.testing.assert_array_equal(ds["stage_x"], ds["position_x"])


@pytest.mark.parametrize("missing", [frozenset({0}), frozenset({1})])
def test_frames_counted_from_one_stay_in_their_places(missing: frozenset[int]) -> None:
    spec = SyntheticSpec(
        loops=(TimeLoop(3),), width=8, height=4, first_frame=1, missing=missing
    )
    file = build(spec)
    with pytest.warns(limnd2_xr.Nd2Warning, match="1 of 3 frames"):
        ds = xr.open_dataset(file.data, engine="nd2")
    with ds:
        np.testing.assert_array_equal(ds["image"], file.array())


def test_times_with_the_frames_are_read_once() -> None:
    spec = SyntheticSpec(
        loops=(TimeLoop(20),),
        width=8,
        height=4,
        times_ms=np.arange(20) * 10.0,
        omit_chunks=frozenset({"CustomData|AcqTimesCache!"}),
    )
    with xr.open_dataset(io.BytesIO(build(spec).data), engine="nd2") as ds:
        with count_reads() as counter:
            assert ds["time"][3].item() == 0.03
        assert counter.reads <= 20
        with count_reads() as counter:
            assert ds.nd2.frame_metadata(T=7).time_s == 0.07
        assert counter.reads == 0
