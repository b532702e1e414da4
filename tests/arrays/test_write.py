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
from limnd2_xr.container.prefetch import read_payload
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.frames.opening import open_index
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


def test_wavelengths_of_a_colour_image_are_a_loss_that_is_told(tmp_path: Path) -> None:
    lit = {"emission_wavelength": ("C", [461.0]), "excitation_wavelength": 405.0}
    image = array("CYXS", "uint8").isel(C=[0]).assign_coords(lit)
    told = r"emission_wavelength .* excitation_wavelength"
    with pytest.raises(ValueError, match=told):
        image.nd2.write_nd2(tmp_path / "a.nd2", on_loss="raise")
    with pytest.warns(limnd2_xr.Nd2Warning, match=told):
        image.nd2.write_nd2(tmp_path / "a.nd2")
    again = written(image, tmp_path / "b.nd2", on_loss="ignore")
    assert np.isnan(again["emission_wavelength"]).all()
    assert np.array_equal(again["image"].squeeze(), image.squeeze())


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


# ------------------------------------------- what became of an opened file's metadata

POINTS = PositionLoop(
    tuple(Point(100.0 * i, -50.0 * i, 7.0, name=name) for i, name in enumerate("abc"))
)
COLUMN = "CustomData|Temperature!"


def opened(path: Path, *loops: Any, **options: Any) -> xr.DataArray:
    """Open a synthetic file with a recorded column that no coordinate tells."""
    n = int(np.prod([loop.length for loop in loops], dtype=int))
    spec = SyntheticSpec(
        loops=loops,
        width=7,
        height=5,
        columns={"Temperature": np.arange(n, dtype=np.float64) + 20},
        times_ms=np.arange(n) * 250.0 + 3,
        **options,
    )
    with xr.open_dataset(build(spec).save(path / "origin.nd2")) as ds:
        image: xr.DataArray = ds["image"].load()
        return image


def column(path: Path) -> list[float] | None:
    """Return the recorded column of a file, None if it has none."""
    with SourceSpec.of(str(path)).open() as source:
        entry = open_index(source).index.find(COLUMN)
        if entry is None:
            return None
        found: list[float] = np.frombuffer(
            read_payload(source, COLUMN, entry), "<f8"
        ).tolist()
        return found


def test_an_unedited_file_with_labels_that_repeat_is_whole(tmp_path: Path) -> None:
    image = opened(tmp_path, ZLoop(2), TimeLoop(2), ZLoop(2))
    assert len(set(image["Z"].values.tolist())) < image.sizes["Z"]
    again = written(image, tmp_path / "a.nd2", on_loss="raise")
    xr.testing.assert_identical(again["image"], image)
    assert column(tmp_path / "a.nd2") == [20.0 + i for i in range(8)]


@pytest.mark.parametrize("step", [-1, 2])
def test_loops_follow_a_selection(tmp_path: Path, step: int) -> None:
    image = opened(tmp_path, POINTS, ZLoop(3, step_um=0.5))
    part = image.isel(P=slice(None, None, step), Z=slice(None, None, step))
    again = written(part, tmp_path / "a.nd2", on_loss="ignore")
    for name in ("P", "position_x", "position_y", "stage_x", "stage_z", "time"):
        assert again[name].values.tolist() == part[name].values.tolist(), name
    assert again.attrs["z_step_um"] == 0.5 * abs(step)
    assert np.sign(np.diff(again["Z"])).tolist() == np.sign(np.diff(part["Z"])).tolist()
    numbers = np.arange(9).reshape(3, 3)[::step, ::step].ravel()
    assert column(tmp_path / "a.nd2") == (20.0 + numbers).tolist()


def test_frames_that_were_joined_along_a_new_dim_are_written(tmp_path: Path) -> None:
    image = opened(tmp_path, ZLoop(2))
    both = xr.concat([image, image], dim="T")
    with pytest.warns(limnd2_xr.Nd2Warning, match="Temperature"):
        again = written(both, tmp_path / "a.nd2")
    assert np.array_equal(again["image"], both)
    assert column(tmp_path / "a.nd2") is None


def test_labels_that_fit_other_frames_by_chance_take_nothing_of_these(
    tmp_path: Path,
) -> None:
    image = opened(tmp_path, TimeLoop(5))
    late = image.isel(T=slice(2, None))
    late = late.assign_coords(T=late["T"] - late["T"][0]).assign_coords(
        T=lambda da: da["T"].assign_attrs(units="s")
    )
    with pytest.warns(limnd2_xr.Nd2Warning, match="Temperature"):
        again = written(late, tmp_path / "a.nd2")
    assert again["time"].values.tolist() == late["time"].values.tolist()
    assert column(tmp_path / "a.nd2") is None


def test_a_changed_time_leaves_other_columns(tmp_path: Path) -> None:
    image = opened(tmp_path, TimeLoop(3))
    changed = image.assign_coords(
        time=(image["time"] + 5).assign_attrs(image["time"].attrs)
    )
    again = written(changed, tmp_path / "a.nd2", on_loss="ignore")
    assert again["time"].values.tolist() == changed["time"].values.tolist()
    assert np.array_equal(again["acquired"], image["acquired"])
    assert column(tmp_path / "a.nd2") == [20.0, 21.0, 22.0]


def test_a_projection_does_not_say_where_and_when_another_frame_was(
    tmp_path: Path,
) -> None:
    image = opened(tmp_path, TimeLoop(2), POINTS, ZLoop(3))
    flat = image.isel(P=2, T=1).max("Z", keep_attrs=True)
    again = written(flat, tmp_path / "a.nd2", on_loss="ignore")
    assert (again["stage_x"].item(), again["stage_y"].item()) == (200.0, -100.0)
    flat = image.isel(T=1, drop=True).max(["P", "Z"], keep_attrs=True)
    again = written(flat, tmp_path / "b.nd2", on_loss="ignore")
    assert np.isnan(again["stage_x"].item())
    assert again["acquired"].item() < image["acquired"].min().item()
    assert again.attrs["acquisition_start"] == image.attrs["acquisition_start"]


def test_what_is_unknown_of_frame_0_follows_from_another(tmp_path: Path) -> None:
    moments = np.array(["NaT", "2026-03-01T10:00:05"], "datetime64[ns]")
    image = (
        array("TYX")
        .isel(T=slice(2))
        .assign_coords(time=("T", [2.0, 5.0], {"units": "s"}), acquired=("T", moments))
    )
    again = written(image, tmp_path / "a.nd2", on_loss="ignore")
    apart = np.abs(again["acquired"].values[1] - moments[1])
    assert apart < np.timedelta64(40, "us")


def test_attributes_calibrate_where_no_coordinate_does(tmp_path: Path) -> None:
    image = array("ZYX").assign_attrs(pixel_size_um=0.25, z_step_um=1.5, camera="Prime")
    again = written(image, tmp_path / "a.nd2", on_loss="raise")
    assert again["X"].values[1] == 0.25
    assert np.diff(again["Z"]).tolist() == [1.5] * 3
    assert again["camera"].values.tolist() == ["Prime"]
    for name, value in {"pixel_size_um": -1.0, "z_step_um": "thick"}.items():
        with pytest.raises(ValueError, match=f"attribute {name}"):
            image.assign_attrs({name: value}).nd2.write_nd2(tmp_path / "b.nd2")


@pytest.mark.parametrize("name", ["pixel_size_um", "z_step_um"])
def test_an_attribute_that_contradicts_a_coordinate_is_told(
    tmp_path: Path, name: str
) -> None:
    with pytest.warns(limnd2_xr.Nd2Warning, match=rf"attribute {name} \(reads as"):
        labelled().assign_attrs({name: 9.0}).nd2.write_nd2(tmp_path / "a.nd2")
    image = opened(tmp_path, ZLoop(2))
    with pytest.warns(limnd2_xr.Nd2Warning, match=rf"attribute {name} \(reads as"):
        image.assign_attrs({name: 9.0}).nd2.write_nd2(tmp_path / "b.nd2")


def test_the_camera_of_an_opened_file_can_be_renamed(tmp_path: Path) -> None:
    image = opened(tmp_path, ZLoop(2)).assign_attrs(camera="another")
    again = written(image, tmp_path / "a.nd2", on_loss="ignore")
    assert again.attrs["camera"] == "another"
    assert again["camera"].values.tolist() == ["another"]


def test_labels_of_another_type_are_told(tmp_path: Path) -> None:
    image = array("PCYX").assign_coords(P=[3, 4], C=[0, 1])
    with pytest.warns(limnd2_xr.Nd2Warning, match=r"P \(3 .*'3'\).* C \(0 .*'0'\)"):
        image.nd2.write_nd2(tmp_path / "a.nd2")
    image = array("YXS").assign_coords(S=["R", "G", "B"]).isel(S=1)
    with pytest.warns(limnd2_xr.Nd2Warning, match=r"coordinate S"):
        image.nd2.write_nd2(tmp_path / "b.nd2")


def test_spans_of_time_are_seconds(tmp_path: Path) -> None:
    spans = np.arange(3) * np.timedelta64(1500, "ms")
    image = array("TYX").assign_coords(T=spans, time=("T", spans))
    again = written(image, tmp_path / "a.nd2", on_loss="raise")
    assert again["T"].values.tolist() == again["time"].values.tolist() == [0, 1.5, 3]


def test_the_start_may_have_a_time_zone(tmp_path: Path) -> None:
    image = array("YX").assign_attrs(acquisition_start="2026-03-01T12:00:00+02:00")
    again = written(image, tmp_path / "a.nd2", on_loss="ignore")
    assert again.attrs["acquisition_start"] == "2026-03-01T10:00:00.000Z"


BAD_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"level": 3}, "compression"),
    ({"compression": None, "level": 3}, "compression"),
    ({"compression": "zlib", "level": 0}, "level"),
    ({"compression": "gzip"}, "compression"),
    ({"significant_bits": 0}, "significant bits"),
    ({"significant_bits": 17}, "significant bits"),
    ({"significant_bits": "12"}, "significant_bits"),
    ({"on_loss": "shout"}, "on_loss"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS)
def test_options_without_effect_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        array("YX").nd2.write_nd2(tmp_path / "a.nd2", **options)
    with pytest.raises(ValueError, match=r"significant bits .* float32"):
        array("YX", "float32").nd2.write_nd2(tmp_path / "a.nd2", significant_bits=12)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "dims"), [("exposure_time", "TC"), ("color", "T"), ("time", "TC")]
)
def test_coordinates_along_other_dims_are_refused(
    tmp_path: Path, name: str, dims: str
) -> None:
    shape = tuple(SIZES[dim] for dim in dims)
    image = array("TCYX").assign_coords({name: (tuple(dims), np.ones(shape))})
    with pytest.raises(ValueError, match=rf"{name} varies along .*drop_vars"):
        image.nd2.write_nd2(tmp_path / "a.nd2")
    assert list(tmp_path.iterdir()) == []


def test_times_that_lie_with_the_frames_alone_stay_there(tmp_path: Path) -> None:
    spec = SyntheticSpec(
        loops=(TimeLoop(3),),
        width=7,
        height=5,
        times_ms=[3.0, 7.1, 19.3],
        omit_chunks=frozenset({"CustomData|AcqTimesCache!"}),
    )
    path = build(spec).save(tmp_path / "a.nd2")
    with xr.open_dataset(path) as ds:
        again = written(ds["image"], tmp_path / "b.nd2", on_loss="raise")
        xr.testing.assert_identical(again, ds.load())
    assert again["time"].values.tolist() == [3.0 / 1e3, 7.1 / 1e3, 19.3 / 1e3]
    with SourceSpec.of(str(tmp_path / "b.nd2")).open() as source:
        assert "CustomData|AcqTimesCache!" not in open_index(source).index


def test_a_lost_unit_is_told(tmp_path: Path) -> None:
    image = array("YX").isel(X=[0]).assign_coords(X=("X", [0.0], {"units": "um"}))
    with pytest.warns(limnd2_xr.Nd2Warning, match=r"X \(um reads as .* without a unit"):
        image.nd2.write_nd2(tmp_path / "a.nd2")


def test_labels_in_pixels_number_them(tmp_path: Path) -> None:
    image = array("YX").assign_coords(X=("X", np.arange(11.0), {"units": "pixel"}))
    again = written(image, tmp_path / "a.nd2", on_loss="raise")
    assert "pixel_size_um" not in again.attrs


def test_dates_along_t_are_kept_as_moments(tmp_path: Path) -> None:
    dates = np.array(["2026-03-01", "2026-03-02", "2026-03-03"], "datetime64[ns]")
    image = array("TYX").assign_coords(T=dates)
    with pytest.warns(limnd2_xr.Nd2Warning, match=r"T \(dates read as seconds\)"):
        again = written(image, tmp_path / "a.nd2")
    assert np.array_equal(again["acquired"], dates)
    assert again["T"].values.tolist() == [0.0, 86400.0, 172800.0]


def test_urls_are_refused() -> None:
    with pytest.raises(ValueError, match="local file"):
        array("YX").nd2.write_nd2("s3://bucket/a.nd2")


def test_how_frames_are_stored_cannot_be_updated(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    array("YX").nd2.write_nd2(path)
    before = path.read_bytes()
    for chunk in (None, b"something"):
        with pytest.raises(ValueError, match="how the frames are stored"):
            limnd2_xr.update_nd2(path, chunks={"ImageAttributesLV!": chunk})
    assert path.read_bytes() == before
