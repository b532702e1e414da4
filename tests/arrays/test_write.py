"""Writing arrays: fresh ones, and what was opened."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import dask.array
import numpy as np
import pytest
import xarray as xr

import limnd2_xr
from limnd2_xr.arrays import write as array_writer
from limnd2_xr.testing.synthetic import (
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {"T": 3, "P": 2, "Z": 4, "C": 2, "Y": 9, "X": 11, "S": 3}


def pixels(dims: str, dtype: str = "uint16") -> np.ndarray[Any, Any]:
    shape = tuple(SIZES[dim] for dim in dims)
    return np.random.default_rng(1).integers(0, 250, shape).astype(dtype)


def array(dims: str, dtype: str = "uint16") -> xr.DataArray:
    return xr.DataArray(pixels(dims, dtype), dims=tuple(dims), name="image")


def written(image: xr.DataArray, path: Path, **options: Any) -> xr.Dataset:
    image.nd2.write_nd2(path, **options)
    return xr.load_dataset(path, engine="nd2")


@pytest.mark.parametrize(
    "dims",
    ["YX", "XY", "TYX", "YXT", "CYX", "YXC", "ZCTPYX", "PYX", "YXS", "TSYX", "TPZCYX"],
)
def test_dims_in_any_order_come_back(tmp_path: Path, dims: str) -> None:
    image = array(dims)
    again = written(image, tmp_path / "a.nd2")["image"]
    expected = image.transpose(*(d for d in "TPZCYXS" if d in dims))
    assert np.array_equal(
        again.squeeze("C").values if "C" not in dims else again, expected
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", ">u2", ">f4"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_types_come_back(tmp_path: Path, dtype: str, compression: str | None) -> None:
    image = array("TCYX", dtype)
    again = written(image, tmp_path / "a.nd2", compression=compression)
    assert again["image"].dtype == np.dtype(dtype).newbyteorder("=")
    assert np.array_equal(again["image"], image)
    assert again.attrs["compression"] == ("lossless" if compression else "none")


@pytest.mark.parametrize("chunks", [{}, {"T": 1}, {"Y": 2, "X": 3}, {"C": 1, "Z": 3}])
def test_any_chunks_give_the_same_file(tmp_path: Path, chunks: dict[str, int]) -> None:
    image = array("TZCYX")
    image.nd2.write_nd2(tmp_path / "plain.nd2")
    image.chunk(chunks).nd2.write_nd2(tmp_path / "dask.nd2")
    assert (tmp_path / "plain.nd2").read_bytes() == (tmp_path / "dask.nd2").read_bytes()


def test_compute_false_writes_when_it_is_computed(tmp_path: Path) -> None:
    image = array("TYX").chunk({"T": 1})
    path = tmp_path / "a.nd2"
    delayed = image.nd2.write_nd2(path, compute=False)
    assert not path.exists()
    delayed.compute()
    assert np.array_equal(xr.load_dataset(path)["image"].squeeze(), image)
    assert [p.name for p in tmp_path.iterdir()] == ["a.nd2"]


def test_an_existing_file_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    array("YX").nd2.write_nd2(path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        array("TYX").nd2.write_nd2(path)
    assert path.read_bytes() == before
    array("TYX").nd2.write_nd2(path, overwrite=True)
    assert xr.load_dataset(path).sizes["T"] == 3


def test_an_exception_in_a_block_leaves_nothing(tmp_path: Path) -> None:
    def fail(block: np.ndarray[Any, Any], block_id: Any = None) -> np.ndarray[Any, Any]:
        if block_id[0] == 2:
            raise RuntimeError("no more")
        return block

    data = dask.array.from_array(pixels("TYX"), chunks=(1, 9, 11)).map_blocks(
        fail, dtype="uint16", meta=np.empty((0, 0, 0), "uint16")
    )
    image = xr.DataArray(data, dims=("T", "Y", "X"))
    with pytest.raises(RuntimeError, match="no more"):
        image.nd2.write_nd2(tmp_path / "a.nd2")
    assert list(tmp_path.iterdir()) == []


def test_values_beyond_the_significant_bits_are_refused(tmp_path: Path) -> None:
    image = array("TYX")
    image[2, 3, 4] = 4096
    with pytest.raises(ValueError, match="4096"):
        image.nd2.write_nd2(tmp_path / "a.nd2", significant_bits=12)
    with pytest.raises(ValueError, match="4096"):
        image.assign_attrs(significant_bits=12).nd2.write_nd2(tmp_path / "a.nd2")
    assert list(tmp_path.iterdir()) == []
    assert (
        written(image, tmp_path / "a.nd2", significant_bits=13).attrs[
            "significant_bits"
        ]
        == 13
    )


@pytest.mark.parametrize(
    "dtype", ["int64", "int32", "uint32", "float64", "int16", "bool"]
)
def test_other_types_are_refused_with_advice(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(limnd2_xr.Nd2Error, match="astype"):
        array("YX", dtype).nd2.write_nd2(tmp_path / "a.nd2")
    assert list(tmp_path.iterdir()) == []


def test_dtype_and_scale_convert_when_asked_to(tmp_path: Path) -> None:
    image = xr.DataArray([[0.0, 0.25, 1.0]], dims=("Y", "X"))
    again = written(image, tmp_path / "a.nd2", scale=1000)["image"]
    assert again.dtype == "uint16"
    assert again.values.ravel().tolist() == [0, 250, 1000]
    with pytest.raises(ValueError, match="do not fit"):
        image.nd2.write_nd2(tmp_path / "b.nd2", dtype="uint8", scale=1000)
    assert [p.name for p in tmp_path.iterdir()] == ["a.nd2"]


def labelled(dims: str = "TPZCYX") -> xr.DataArray:
    """Return an array with every coordinate that a file has a place for."""
    image = array(dims)
    loops = tuple(d for d in "TPZ" if d in dims)
    shape = tuple(SIZES[d] for d in loops)
    count = np.arange(np.prod(shape)).reshape(shape)
    time = 0.25 + count * 1.5
    coords: dict[str, Any] = {
        "T": ("T", np.arange(3) * 12.0, {"units": "s"}),
        "P": ("P", ["left", "right"]),
        "Z": ("Z", np.array([-0.6, -0.3, 0.0, 0.3]), {"units": "um"}),
        "C": ("C", ["DAPI", "GFP"]),
        "Y": ("Y", np.arange(9) * 0.25, {"units": "um"}),
        "X": ("X", np.arange(11) * 0.25, {"units": "um"}),
        "time": (loops, time, {"units": "s"}),
        "acquired": (
            loops,
            np.datetime64("2026-03-01T10:00:00", "ns")
            + (time * 1e9).astype("timedelta64[ns]"),
        ),
        "stage_x": (loops, 100.0 + count, {"units": "um"}),
        "stage_y": (loops, -100.0 - count, {"units": "um"}),
        "stage_z": ("Z", 500.0 + np.array([-0.6, -0.3, 0.0, 0.3]), {"units": "um"}),
        "position_x": ("P", [100.0, 104.0], {"units": "um"}),
        "position_y": ("P", [-100.0, -104.0], {"units": "um"}),
        "position_z": ("P", [499.4, 499.4], {"units": "um"}),
        "color": ("C", ["#0000ff", "#12ff34"]),
        "emission_wavelength": ("C", [450.0, 515.0], {"units": "nm"}),
        "excitation_wavelength": ("C", [395.0, np.nan], {"units": "nm"}),
        "exposure_time": ("C", [0.05, 0.2], {"units": "s"}),
        "modality": ("C", ["fluorescence, spinning disk", "DIC"]),
        "binning": ("C", ["1x1", "2x2"]),
        "camera": ("C", ["Prime", "Prime"]),
        "pinhole_diameter": ("C", [30.0, np.nan], {"units": "um"}),
    }
    attrs = {
        "objective": "Plan Apo 40x Oil",
        "magnification": 40.0,
        "numerical_aperture": 1.3,
        "refractive_index": 1.515,
        "author": "A. Author",
        "acquisition_start": "2026-03-01T10:00:00.000Z",
    }
    known = {
        name: value
        for name, value in coords.items()
        if set((value[0],) if isinstance(value[0], str) else value[0]) <= set(dims)
    }
    return image.assign_coords(known).assign_attrs(attrs)


def test_every_coordinate_and_attribute_comes_back(tmp_path: Path) -> None:
    image = labelled()
    again = written(image, tmp_path / "a.nd2", on_loss="raise")
    for name, given in image.coords.items():
        found = again[name]
        coordinate = given.broadcast_like(found)
        if coordinate.dtype.kind == "f":
            assert np.allclose(found, coordinate, rtol=1e-12, equal_nan=True), name
        elif coordinate.dtype.kind == "M":
            apart = np.abs(found.values - coordinate.values)
            assert apart.max() < np.timedelta64(100, "us"), name
        else:
            assert found.values.tolist() == coordinate.values.tolist(), name
    for name, value in image.attrs.items():
        assert again.attrs[name] == value, name
    assert again.attrs["pixel_size_um"] == 0.25
    assert again.attrs["z_step_um"] == pytest.approx(0.3)


def test_times_come_back_bit_for_bit(tmp_path: Path) -> None:
    image = labelled("TYX")
    time = np.random.default_rng(0).uniform(0, 1e4, 3).cumsum()
    image = image.assign_coords(time=("T", time, {"units": "s"})).drop_vars("acquired")
    again = written(image, tmp_path / "a.nd2", on_loss="ignore")
    assert (again["time"].values == time).all()


def test_what_is_written_again_is_identical(tmp_path: Path) -> None:
    first = written(labelled(), tmp_path / "a.nd2")
    ds = xr.open_dataset(tmp_path / "a.nd2")
    ds.nd2.to_nd2(tmp_path / "b.nd2")
    ds.close()
    second = xr.load_dataset(tmp_path / "b.nd2")
    xr.testing.assert_identical(first, second)
    assert (tmp_path / "a.nd2").read_bytes() == (tmp_path / "b.nd2").read_bytes()


@pytest.mark.parametrize("order", list(itertools.permutations("TPZ")))
def test_loops_nest_as_in_the_original_file(
    tmp_path: Path, order: tuple[str, ...]
) -> None:
    loops: dict[str, Any] = {
        "T": TimeLoop(2),
        "P": PositionLoop((Point(1, 2, 3, name="a"), Point(4, 5, 6, name="b"))),
        "Z": ZLoop(3, step_um=0.5),
    }
    spec = SyntheticSpec(loops=tuple(loops[dim] for dim in order), width=7, height=5)
    path = build(spec).save(tmp_path / "a.nd2")
    ds = xr.open_dataset(path)
    ds.nd2.to_nd2(tmp_path / "b.nd2")
    again = xr.load_dataset(tmp_path / "b.nd2")
    xr.testing.assert_identical(again, ds.load())
    assert again.attrs["loop_order"] == " ".join(order)
    ds.close()


UNITS: list[tuple[str, Any, str, float]] = [
    ("X", np.arange(11) * 250.0, "nm", 0.25),
    ("X", np.arange(11) * 0.00025, "mm", 0.25),
    ("X", np.arange(11) * 0.25, "micrometers", 0.25),
]


@pytest.mark.parametrize(("name", "values", "unit", "size"), UNITS)
def test_units_are_converted(
    tmp_path: Path, name: str, values: Any, unit: str, size: float
) -> None:
    image = array("YX").assign_coords({name: (name, values, {"units": unit})})
    again = written(image, tmp_path / "a.nd2", on_loss="ignore")
    assert again.attrs["pixel_size_um"] == pytest.approx(size)


BAD: list[tuple[str, Any, str]] = [
    ("X", ("X", np.arange(11) ** 2.0, {"units": "um"}), "equidistant"),
    ("X", ("X", np.arange(11) * 0.5), "unit"),
    ("X", ("X", np.arange(11) * 0.5, {"units": "furlong"}), "furlong"),
    ("Z", ("Z", [0.0, 1.0, 3.0, 4.0], {"units": "um"}), "equidistant"),
    ("Z", ("Z", [0.0, 1.5, 3.0, 4.5]), "unit"),
    ("T", ("T", [0.0, -1.0, -2.0], {"units": "s"}), "falls"),
    ("T", ("T", [0.0, np.nan, 2.0], {"units": "s"}), "T"),
    ("C", ("C", ["GFP", "GFP"]), "repeat"),
    ("P", ("P", ["a", "a"]), "repeat"),
    ("color", ("C", ["red", "#00ff00"]), "#rrggbb"),
    ("modality", ("C", ["guesswork", "DIC"]), "guesswork"),
    ("emission_wavelength", ("C", [450.0, 500.0], {"units": "s"}), "nm"),
    ("time", ("C", [0.0, 1.0], {"units": "s"}), "along C"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD)
def test_what_a_file_cannot_hold_raises_before_a_byte_is_written(
    tmp_path: Path, name: str, value: Any, message: str
) -> None:
    image = array("TPZCYX").assign_coords({name: value})
    with pytest.raises(ValueError, match=message):
        image.nd2.write_nd2(tmp_path / "a.nd2")
    assert list(tmp_path.iterdir()) == []


def test_what_is_lost_is_told(tmp_path: Path) -> None:
    image = labelled().isel(X=slice(2, None)).assign_coords(mood=("T", ["a", "b", "c"]))
    with pytest.warns(limnd2_xr.Nd2Warning, match=r"coordinate X .* coordinate mood"):
        image.nd2.write_nd2(tmp_path / "a.nd2")
    with pytest.raises(ValueError, match="mood"):
        image.nd2.write_nd2(tmp_path / "b.nd2", on_loss="raise")


def test_strange_dims_are_refused(tmp_path: Path) -> None:
    image = xr.DataArray(np.zeros((2, 3), "u2"), dims=("y", "x"))
    with pytest.raises(ValueError, match="rename"):
        image.nd2.write_nd2(tmp_path / "a.nd2")


def test_colours_come_in_any_order_of_samples(tmp_path: Path) -> None:
    image = array("YXS", "uint8").assign_coords(S=["B", "G", "R"])
    again = written(image, tmp_path / "a.nd2")["image"]
    assert again["S"].values.tolist() == ["R", "G", "B"]
    assert np.array_equal(again.sel(S="B").squeeze(), image.sel(S="B"))


def test_a_dataset_with_two_images_is_refused(tmp_path: Path) -> None:
    ds = xr.Dataset({"a": array("YX"), "b": array("YX")})
    with pytest.raises(ValueError, match="one image"):
        ds.nd2.to_nd2(tmp_path / "a.nd2")


def test_encoding_of_to_nd2(tmp_path: Path) -> None:
    ds = array("TYX").to_dataset()
    ds.nd2.to_nd2(
        tmp_path / "a.nd2", encoding={"image": {"compression": "zlib", "level": 1}}
    )
    assert xr.load_dataset(tmp_path / "a.nd2").attrs["compression"] == "lossless"
    with pytest.raises(ValueError, match="zlevel"):
        ds.nd2.to_nd2(tmp_path / "b.nd2", encoding={"image": {"zlevel": 1}})


@pytest.mark.parametrize(
    ("dims", "dtype", "names"),
    [
        ("YX", "uint16", ["Mono"]),
        ("YXS", "uint8", ["RGB"]),
        ("YXS", "uint16", ["RGB"]),
        ("CYX", "uint16", ["Channel_0", "Channel_1"]),
    ],
)
def test_channels_without_labels_are_named_by_the_vendors_rule(
    tmp_path: Path, dims: str, dtype: str, names: list[str]
) -> None:
    again = written(array(dims, dtype), tmp_path / "a.nd2")
    assert again["C"].values.tolist() == names


def test_three_channels_of_8_bits_are_no_colour_image(tmp_path: Path) -> None:
    image = xr.DataArray(np.zeros((3, 4, 5), "u1"), dims=("C", "Y", "X"))
    again = written(image, tmp_path / "a.nd2")
    assert again["C"].values.tolist() == ["Channel_0", "Channel_1", "Channel_2"]
    assert "S" not in again.dims


def test_pixels_in_memory_are_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_writer, "BLOCK_NBYTES", 1)
    image = array("TCYX")
    blocks = array_writer.frame_blocks(image)
    assert blocks.numblocks == (3, 1, 1, 1)
    shared = blocks.map_blocks(
        lambda block: np.full(block.shape, np.shares_memory(block, image.values)),
        dtype=bool,
        meta=np.empty((0,) * 4, bool),
    )
    assert shared.compute(scheduler="synchronous").all()
    again = written(image, tmp_path / "a.nd2")["image"]
    assert np.array_equal(again, image)


@pytest.mark.parametrize("dims", ["YXT", "XTYZ", "YX"])
def test_pixels_of_any_dim_order_are_converted_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dims: str
) -> None:
    monkeypatch.setattr(array_writer, "BLOCK_NBYTES", 400)
    image = array(dims, "float64")
    order = [d for d in "TZYX" if d in dims]
    again = written(image, tmp_path / "a.nd2", dtype="uint8")["image"]
    assert np.array_equal(again.squeeze("C"), image.transpose(*order))


@pytest.mark.parametrize("scale", [np.nan, [1.0, 2.0], "2"])
def test_a_scale_must_be_a_number(tmp_path: Path, scale: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        array("CYX").nd2.write_nd2(tmp_path / "a.nd2", scale=scale)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_array_is_refused_also_if_it_is_to_be_converted(
    tmp_path: Path,
) -> None:
    for options in ({}, {"dtype": "uint8"}):
        with pytest.raises(ValueError, match="empty"):
            array("TYX")[:, :0].nd2.write_nd2(tmp_path / "a.nd2", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("index", [9, "a", 0.5])
def test_a_region_outside_the_file_is_refused(tmp_path: Path, index: Any) -> None:
    path = tmp_path / "a.nd2"
    limnd2_xr.create_nd2(array("TYX"), path)
    with pytest.raises(ValueError, match=r"region T=.* is no slice or index"):
        array("YX").nd2.write_nd2(path, region={"T": index})


def test_attributes_of_a_dataset_count_where_they_were_changed(tmp_path: Path) -> None:
    array("TYX").nd2.write_nd2(tmp_path / "a.nd2")
    with xr.open_dataset(tmp_path / "a.nd2") as ds:
        ds.attrs["author"] = "A. Author"
        ds.attrs["software"] = "another"
        ds.nd2.to_nd2(tmp_path / "b.nd2")
    again = xr.load_dataset(tmp_path / "b.nd2")
    assert (again.attrs["author"], again.attrs["software"]) == ("A. Author", "another")


def test_a_file_is_written_onto_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    array("TCYX").nd2.write_nd2(path)
    expected = array("TCYX")
    for _ in range(2):
        with xr.open_dataset(path) as ds:
            ds["image"].isel(T=slice(None, None, -1), C=[1, 0]).nd2.write_nd2(
                path, overwrite=True, on_loss="ignore"
            )
        expected = expected.isel(T=slice(None, None, -1), C=[1, 0])
        assert np.array_equal(xr.load_dataset(path)["image"], expected)
    assert [p.name for p in tmp_path.iterdir()] == ["a.nd2"]


def test_steps_may_be_attributes_where_there_is_no_coordinate(tmp_path: Path) -> None:
    image = array("ZYX").assign_attrs(pixel_size_um=0.5, z_step_um=2.0)
    again = written(image, tmp_path / "a.nd2", on_loss="raise")
    assert again["X"].values[:3].tolist() == [0.0, 0.5, 1.0]
    assert again["Z"].values.tolist() == [-2.0, 0.0, 2.0, 4.0]
    with pytest.raises(ValueError, match="pixel_size_um must be a number above 0"):
        image.assign_attrs(pixel_size_um="small").nd2.write_nd2(tmp_path / "b.nd2")


def test_moments_and_durations_are_the_same_in_other_words(tmp_path: Path) -> None:
    seconds = np.array([0, 1500, 3000], "m8[ms]")
    image = (
        array("TYX")
        .assign_coords(T=seconds)
        .assign_coords(
            acquired=("T", np.datetime64("2026-01-01T00:00", "ns") + seconds)
        )
    )
    image = image.assign_attrs(acquisition_start="2026-01-01T00:00Z")
    again = written(image, tmp_path / "a.nd2", on_loss="raise")
    assert again["T"].values.tolist() == [0.0, 1.5, 3.0]
    assert again.attrs["acquisition_start"] == "2026-01-01T00:00:00.000Z"
