"""Files that were opened and are written again, whole or in part."""

from __future__ import annotations

import shutil
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import limnd2_xr
from limnd2_xr.container.chunk_index import read_index
from limnd2_xr.container.source import FileSource
from limnd2_xr.model.experiment import NETimeLoop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.realdata

AUTHENTICATION = ("CustomData|Authentication", "CustomDataSeq|Authentication")
TEXT_NBYTES = 512


def chunks_of(path: Path) -> dict[str, bytes]:
    """Payloads of all chunks that the map lists, those of frames left out."""
    with FileSource(path) as source:
        loaded = read_index(source)
        names = list(loaded.index.names())
        for prefix, family in loaded.index.families().items():
            if prefix != "ImageDataSeq":
                names += [family.name(number) for number in family.numbers.tolist()]
        entries: dict[str, Any] = {name: loaded.index.find(name) for name in names}
        found = loaded.prefetch.chunks(entries)
        return {name: bytes(payload) for name, payload in found.items()}


def written(image: xr.DataArray, path: Path, **options: Any) -> xr.Dataset:
    """What a file with this array opens as; what it cannot hold is an error."""
    image.nd2.write_nd2(path, **{"on_loss": "raise", **options})
    return xr.load_dataset(path, engine="nd2")


def load(path: Path) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", limnd2_xr.Nd2Warning)
        return xr.load_dataset(path, engine="nd2")


def open_lazily(path: Path) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", limnd2_xr.Nd2Warning)
        return xr.open_dataset(path, engine="nd2")


def test_a_file_that_is_written_again_is_the_same(
    each_sample: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.nd2"
    lacks_frames = each_sample.stem == "h_missing_frame"
    with open_lazily(each_sample) as ds:
        ds.nd2.to_nd2(copy, on_loss="ignore" if lacks_frames else "raise")
    original = load(each_sample)
    if lacks_frames:
        original = original.drop_vars("missing")
    again = xr.load_dataset(copy, engine="nd2")
    xr.testing.assert_identical(again, original)
    assert again["image"].dtype == original["image"].dtype
    kept = {
        name: payload
        for name, payload in chunks_of(each_sample).items()
        if not name.startswith(AUTHENTICATION)
    }
    assert chunks_of(copy) == kept


def test_frames_that_are_missing_are_told(
    made_file: Callable[[str], Path], tmp_path: Path
) -> None:
    with (
        open_lazily(made_file("h_missing_frame")) as ds,
        pytest.warns(limnd2_xr.Nd2Warning, match="1 missing frames are written"),
    ):
        ds.nd2.to_nd2(tmp_path / "a.nd2")
    with xr.open_dataset(tmp_path / "a.nd2") as again:
        assert "missing" not in again.coords
        assert not again["image"].isel(T=2).any()


def test_a_copy_of_a_copy_is_the_same_file(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    first, second = tmp_path / "first.nd2", tmp_path / "second.nd2"
    for source, target in ((real_file("confocal_t3_z10_c2"), first), (first, second)):
        with xr.open_dataset(source) as ds:
            ds.nd2.to_nd2(target)
    assert first.read_bytes() == second.read_bytes()


UNKNOWN: dict[str, bytes] = {
    "CustomData|Whatever_v7!": b"\x00\xffanything",
    "CustomDataVar|Whatever_v7!": b"<variant/>",
    "Unheard of!": b"",
    "CustomDataSeq|RleZipBinarySequence_1_v1|0!": b"mask of frame 0",
    "CustomDataSeq|RleZipBinarySequence_1_v1|12!": b"mask of frame 12",
    "CustomDataSeq|DownsampledColorData_64|3!": bytes(5000),
}


def test_chunks_of_unknown_meaning_are_kept_byte_for_byte(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "a.nd2"
    shutil.copyfile(real_file("confocal_t3_z10_c2"), path)
    path.chmod(0o644)
    limnd2_xr.update_nd2(path, chunks=UNKNOWN)
    with xr.open_dataset(path) as ds:
        ds.nd2.to_nd2(tmp_path / "b.nd2", on_loss="raise")
        with pytest.warns(limnd2_xr.Nd2Warning, match=r"Whatever_v7!.*original file"):
            ds.isel(T=[1]).nd2.to_nd2(tmp_path / "part.nd2")
    assert chunks_of(tmp_path / "b.nd2") == chunks_of(path)
    assert chunks_of(tmp_path / "b.nd2").items() >= UNKNOWN.items()
    assert not chunks_of(tmp_path / "part.nd2").keys() & UNKNOWN.keys()


def test_arrays_in_blocks_and_datasets_keep_the_chunks_too(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    path = real_file("zstack_z11")
    with xr.open_dataset(path, chunks={}) as ds:
        ds["image"].nd2.write_nd2(tmp_path / "a.nd2")
        ds.transpose("X", ...).nd2.to_nd2(tmp_path / "b.nd2")
    for copy in ("a.nd2", "b.nd2"):
        assert len(chunks_of(path)) == len(chunks_of(tmp_path / copy)) + 3
        xr.testing.assert_identical(load(tmp_path / copy), load(path))


PER_FRAME = ("time", "acquired", "stage_x", "stage_y", "stage_z")


def assert_frames_equal(again: xr.Dataset, part: xr.DataArray) -> None:
    """Compare pixels and what was recorded of each frame."""
    np.testing.assert_array_equal(again["image"].values, part.values)
    for name in PER_FRAME:
        if name != "acquired":
            np.testing.assert_array_equal(again[name].values, part[name].values, name)
    # A file has a Julian day, which is good for 40 us.
    taken, expected = again["acquired"].values, part["acquired"].values
    known = ~np.isnat(expected)
    np.testing.assert_array_equal(~np.isnat(taken), known)
    apart = np.abs(taken - expected)[known]
    assert (apart < np.timedelta64(100, "us")).all()


def test_times_of_selected_frames_come_along(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    with xr.open_dataset(real_file("timelapse_t53")) as ds:
        part = ds["image"].isel(T=slice(10, 20))
        again = written(part, tmp_path / "a.nd2", on_loss="ignore")
        assert_frames_equal(again, part.load())
        step = float(ds["T"][1])
    assert again.attrs["loop_order"] == "T"
    np.testing.assert_allclose(again["T"], np.arange(10) * step, rtol=1e-9)
    assert again["T"].attrs["units"] == "s"
    loop = again.nd2.metadata.experiment.loops[0]
    assert (loop.count, loop.declared_count) == (10, 10)
    assert "Dimensions: T(10)" in again.attrs["description"]
    assert again.nd2.metadata.attributes.sequence_count == 10


def test_time_points_at_uneven_distances_become_periods(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    with xr.open_dataset(real_file("timelapse_t53")) as ds:
        part = ds["image"].isel(T=[0, 5, 10, 40, 41]).load()
    with pytest.warns(limnd2_xr.Nd2Warning) as told:
        part.nd2.write_nd2(tmp_path / "a.nd2")
    assert not any("coordinate" in str(warning.message) for warning in told)
    again = load(tmp_path / "a.nd2")
    assert_frames_equal(again, part)
    np.testing.assert_allclose(again["T"], part["T"], atol=1e-6)
    assert isinstance(again.nd2.metadata.experiment.loops[0], NETimeLoop)


@pytest.mark.parametrize("name", ["zstack_z11", "confocal_t3_z10_c2"])
def test_reversed_stacks_run_the_other_way(
    real_file: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    with xr.open_dataset(real_file(name)) as ds:
        part = ds["image"].isel(Z=slice(None, None, -1))
        again = written(part, tmp_path / "a.nd2", on_loss="ignore")
        assert_frames_equal(again, part.load())
        np.testing.assert_allclose(again["Z"], part["Z"], atol=1e-9)
        assert again.attrs["z_step_um"] == ds.attrs["z_step_um"]
    assert (np.diff(again["Z"]) < 0).all()


def test_every_second_slice_doubles_the_step(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    with xr.open_dataset(real_file("zstack_z11")) as ds:
        part = ds["image"].isel(Z=slice(1, None, 2))
        again = written(part, tmp_path / "a.nd2", on_loss="ignore")
        assert_frames_equal(again, part.load())
    assert again.attrs["z_step_um"] == 12.0
    # The home plane, number 5, is one of those.
    assert again["Z"].values.tolist() == [-24.0, -12.0, 0.0, 12.0, 24.0]
    assert again["stage_z"].values[2] == pytest.approx(8836.58, abs=0.005)
    assert "Z Stack Loop: 5" in again.attrs["description"]


def test_a_single_frame_has_its_own_time_and_place(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    with xr.open_dataset(real_file("confocal_t3_z10_c2")) as ds:
        part = ds["image"].isel(T=2, Z=7).load()
    again = written(part, tmp_path / "a.nd2", on_loss="ignore")
    assert_frames_equal(again, part)
    assert dict(again.sizes) == {"C": 2, "Y": 31, "X": 38}
    picture = again.nd2.metadata.picture
    assert picture.x_um == float(part["stage_x"])
    assert picture.z_um == float(part["stage_z"])


def test_positions_that_are_selected_keep_names_and_places(
    made_file: Callable[[str], Path], tmp_path: Path
) -> None:
    with xr.open_dataset(made_file("f_t_xy_z")) as ds:
        part = ds["image"].isel(P=[2, 0]).load()
        assert part["P"].values.tolist() == [2, 0]
        again = written(
            part.assign_coords(P=["left", "right"]),
            tmp_path / "a.nd2",
            on_loss="ignore",
        )
        unnamed = written(part, tmp_path / "b.nd2", on_loss="ignore")
    assert again.attrs["loop_order"] == "T P Z"
    assert_frames_equal(again, part)
    assert_frames_equal(unnamed, part)
    assert again["P"].values.tolist() == ["left", "right"]
    # Numbers of places that do not count them any more become names.
    assert unnamed["P"].values.tolist() == ["2", "0"]
    for axis in "xyz":
        name = f"position_{axis}"
        np.testing.assert_array_equal(again[name], part[name])


PER_CHANNEL = (
    "emission_wavelength",
    "excitation_wavelength",
    "exposure_time",
    "color",
    "modality",
    "binning",
    "camera",
)


@pytest.mark.parametrize(
    "names", [["FITC BP", "DAPI"], ["TRITC BP"], ["Mono", "TRITC BP", "DAPI"]]
)
def test_channels_that_are_selected_keep_what_is_known_of_them(
    real_file: Callable[[str], Path], tmp_path: Path, names: list[str]
) -> None:
    with xr.open_dataset(real_file("fluo_c4")) as ds:
        part = ds["image"].sel(C=names).load()
        before = {channel.name: channel for channel in ds.nd2.metadata.channels}
    again = written(part, tmp_path / "a.nd2", on_loss="ignore")
    assert_frames_equal(again, part)
    assert again["C"].values.tolist() == names
    for name in PER_CHANNEL:
        assert (
            again[name].values.astype(str).tolist()
            == part[name].values.astype(str).tolist()
        )
    # Filters, light path and the like, which no coordinate tells.
    assert list(again.nd2.metadata.channels) == [before[name] for name in names]


def test_a_channel_can_be_renamed(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    with xr.open_dataset(real_file("fluo_c4")) as ds:
        image = ds["image"].assign_coords(C=["BF", "DAPI", "FITC BP", "TRITC BP"])
        before = ds.nd2.metadata.channels
        again = written(image, tmp_path / "a.nd2", on_loss="ignore")
        assert_frames_equal(again, image.load())
    assert again["C"].values.tolist() == ["BF", "DAPI", "FITC BP", "TRITC BP"]
    after = again.nd2.metadata.channels
    assert after[1:] == before[1:]
    assert after[0].light_path == before[0].light_path
    assert after[0].filters == before[0].filters
    assert again.attrs["objective"] == ds.attrs["objective"]


def test_a_crop_keeps_the_pixel_size_and_a_coarser_grid_does_not(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    with xr.open_dataset(real_file("zstack_z11")) as ds:
        size = ds.attrs["pixel_size_um"]
        crop = ds["image"].isel(Y=slice(10, 50), X=slice(20, 90))
        coarse = ds["image"].isel(Y=slice(None, None, 4), X=slice(3, None, 4))
        for part, expected in ((crop, size), (coarse, 4 * size)):
            again = written(part, tmp_path / "a.nd2", on_loss="ignore", overwrite=True)
            assert_frames_equal(again, part.load())
            assert again.attrs["pixel_size_um"] == pytest.approx(expected, rel=1e-12)
            assert again["X"].values[0] == 0.0
            assert float(again["X"][1]) == pytest.approx(expected)


def test_parts_other_than_pixels_are_told(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    with xr.open_dataset(real_file("zstack_z11")) as ds:
        crop = ds["image"].isel(Y=slice(10, None))
        with pytest.warns(
            limnd2_xr.Nd2Warning, match=r"coordinate Y .* ReportObjects!"
        ):
            crop.nd2.write_nd2(tmp_path / "a.nd2")
        with pytest.raises(ValueError, match="coordinate Y"):
            crop.nd2.write_nd2(tmp_path / "b.nd2", on_loss="raise")
        limnd2_xr.create_nd2(crop, tmp_path / "c.nd2", on_loss="ignore")
    assert not (tmp_path / "b.nd2").exists()


def column(path: Path, name: str, dtype: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(chunks_of(path)[f"CustomData|{name}!"], dtype)


def test_recorded_columns_of_the_selected_frames_come_along(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    path, part = tmp_path / "a.nd2", tmp_path / "part.nd2"
    shutil.copyfile(real_file("confocal_t3_z10_c2"), path)
    path.chmod(0o644)
    frames = np.arange(30)
    limnd2_xr.update_nd2(
        path,
        columns={
            "Count": frames,
            "Half": frames / 2,
            "Note": [f"frame {i}, µm" for i in frames],
        },
    )
    with xr.open_dataset(path) as ds:
        ids = [column.id for column in ds.nd2.metadata.recorded_columns]
        image = ds["image"].isel(T=[0, 2], Z=slice(8, 2, -3))
        again = written(image, part, on_loss="ignore")
    assert dict(again.sizes) == {"T": 2, "Z": 2, "C": 2, "Y": 31, "X": 38}
    chosen = [8, 5, 28, 25]
    assert column(part, "Count", "<i4").tolist() == chosen
    assert column(part, "Half", "<f8").tolist() == [i / 2 for i in chosen]
    notes = chunks_of(part)["CustomData|Note!"]
    assert len(notes) == 4 * TEXT_NBYTES
    for at, i in enumerate(chosen):
        text = notes[at * TEXT_NBYTES : (at + 1) * TEXT_NBYTES].decode("utf-16-le")
        assert text.rstrip("\0") == f"frame {i}, µm"
    described = again.nd2.metadata.recorded_columns
    assert [column.id for column in described] == ids
    assert {column.size for column in described} == {4}
    for name in ("Camera_ExposureTime1", "CameraTemp1", "Z1"):
        np.testing.assert_array_equal(
            column(part, name, "<f8"), column(path, name, "<f8")[chosen]
        )


@pytest.mark.parametrize(
    "select",
    [
        lambda image: image.isel(C=[1]),
        lambda image: image.isel(Y=slice(5, 20)),
        lambda image: image.assign_coords(X=image["X"] * 2, Y=image["Y"] * 2),
        lambda image: image.assign_coords(C=["one", "two"]),
    ],
    ids=["channel", "rows", "pixel size", "names"],
)
def test_recorded_columns_stay_while_the_frames_do(
    real_file: Callable[[str], Path],
    tmp_path: Path,
    select: Callable[[xr.DataArray], xr.DataArray],
) -> None:
    path, copy = real_file("confocal_t3_z10_c2"), tmp_path / "a.nd2"
    with xr.open_dataset(path) as ds:
        columns = ds.nd2.metadata.recorded_columns
        image = select(ds["image"])
        again = written(image, copy, on_loss="ignore")
        assert_frames_equal(again, image.load())
    assert again.nd2.metadata.recorded_columns == columns
    old, new = chunks_of(path), chunks_of(copy)
    names = [f"CustomData|{column.id}!" for column in columns]
    caches = [f"CustomData|Acq{name}Cache!" for name in ("Times", "Times2", "Frames")]
    for name in (*names, *caches):
        assert new[name] == old[name], name


def test_after_arithmetic_the_metadata_are_those_of_the_labels(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    with xr.open_dataset(real_file("zstack_z11")) as ds:
        image = (ds["image"] // 2).load()
        attrs = dict(ds.attrs)
    assert image.dtype == np.uint16
    again = written(image, tmp_path / "a.nd2")
    assert_frames_equal(again, image)
    for name in ("C", "Z", "Y", "X", *PER_CHANNEL):
        assert again[name].equals(image[name]), name
    rewritten = {"nd2_metadata"}
    assert {k: v for k, v in again.attrs.items() if k not in rewritten} == {
        k: v for k, v in attrs.items() if k not in rewritten
    }


def test_a_projection_has_no_stack(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    with xr.open_dataset(real_file("confocal_t3_z10_c2")) as ds:
        image = ds["image"].max("Z").load()
        again = written(image, tmp_path / "a.nd2", on_loss="raise")
    np.testing.assert_array_equal(again["image"], image)
    assert again.attrs["loop_order"] == "T"
    assert "z_step_um" not in again.attrs
    np.testing.assert_allclose(again["T"], image["T"], atol=1e-6)
    assert again["C"].values.tolist() == image["C"].values.tolist()
    assert again.attrs["significant_bits"] == 12


def test_a_mean_is_a_float_image(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    with xr.open_dataset(real_file("confocal_t3_z10_c2")) as ds:
        image = ds["image"].mean("T", dtype="float32").load()
    again = written(image, tmp_path / "a.nd2")
    assert again["image"].dtype == np.float32
    assert again.attrs["significant_bits"] == 32
    np.testing.assert_array_equal(again["image"], image)


def test_new_coordinates_are_written(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    with xr.open_dataset(real_file("timelapse_t53")) as ds:
        image = ds["image"].load()
    new = image.assign_coords(
        T=("T", np.arange(53) * 2.5, {"units": "min"}),
        time=("T", 1.0 + np.arange(53) * 150.25, {"units": "s"}),
        stage_x=image["stage_x"] + 100,
        emission_wavelength=("C", [0.61], {"units": "um"}),
        color=("C", ["#12AB34"]),
        Y=("Y", np.arange(64) * 500.0, {"units": "nm"}),
        X=("X", np.arange(64) * 500.0, {"units": "nm"}),
    ).drop_vars("acquired")
    again = written(
        new.assign_attrs(objective="Other 63x", author="Me"),
        tmp_path / "a.nd2",
        on_loss="ignore",
    )
    np.testing.assert_allclose(again["T"], np.arange(53) * 150.0)
    np.testing.assert_array_equal(again["time"], new["time"])
    np.testing.assert_array_equal(again["stage_x"], new["stage_x"])
    np.testing.assert_array_equal(again["stage_y"], image["stage_y"])
    assert again["emission_wavelength"].values.tolist() == [610.0]
    assert again["color"].values.tolist() == ["#12ab34"]
    assert again.attrs["pixel_size_um"] == 0.5
    assert (again.attrs["objective"], again.attrs["author"]) == ("Other 63x", "Me")
    assert again.attrs["magnification"] == image.attrs["magnification"]


def test_columns_stay_when_only_times_change(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    path, copy = real_file("timelapse_t53"), tmp_path / "a.nd2"
    with xr.open_dataset(path) as ds:
        time = ("T", np.arange(53) * 2.5, {"units": "s"})
        image = ds["image"].assign_coords(time=time).drop_vars("acquired")
        columns = ds.nd2.metadata.recorded_columns
        again = written(image, copy)
    np.testing.assert_array_equal(again["time"], np.arange(53) * 2.5)
    assert again.nd2.metadata.recorded_columns == columns
    old, new = chunks_of(path), chunks_of(copy)
    for name in [f"CustomData|{column.id}!" for column in columns]:
        assert new[name] == old[name]


def test_other_heights_replace_those_of_single_drives(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    with xr.open_dataset(real_file("zstack_z11")) as ds:
        heights = ds["stage_z"] + 5.0
        image = ds["image"].assign_coords(stage_z=heights)
        again = written(image, tmp_path / "a.nd2", on_loss="ignore")
        np.testing.assert_array_equal(again["stage_z"], heights)
    ids = {column.id for column in again.nd2.metadata.recorded_columns}
    assert {"Z", "Camera_ExposureTime1", "PFS_STATUS"} <= ids
    assert not {"Z1", "Z2"} & ids


def test_other_labels_along_a_loop_let_go_of_the_other_chunks(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    with xr.open_dataset(real_file("zstack_z11")) as ds:
        z = ("Z", np.arange(10) * 1.5 - 3, {"units": "um"})
        image = ds["image"].isel(Z=slice(1, None)).assign_coords(Z=z)
        with pytest.warns(limnd2_xr.Nd2Warning, match="other labels along Z"):
            image.nd2.write_nd2(tmp_path / "a.nd2")
    again = load(tmp_path / "a.nd2")
    np.testing.assert_allclose(again["Z"], z[1], atol=1e-12)
    assert again.attrs["z_step_um"] == 1.5


def test_other_labels_for_all_of_a_loop_lose_nothing(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    path = real_file("zstack_z11")
    with xr.open_dataset(path) as ds:
        z = ("Z", np.arange(11) * 1.5 - 3, {"units": "um"})
        image = ds["image"].assign_coords(Z=z)
        again = written(image, tmp_path / "a.nd2")
        assert np.array_equal(again["stage_z"], ds["stage_z"])
    assert again.attrs["z_step_um"] == 1.5
    columns = {f"CustomData|{c.id}!" for c in again.nd2.metadata.recorded_columns}
    old, new = chunks_of(path), chunks_of(tmp_path / "a.nd2")
    assert {n: old[n] for n in columns} == {n: new[n] for n in columns}


def test_a_file_that_changed_since_is_told(
    real_file: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "a.nd2"
    shutil.copyfile(real_file("netime_t2_u8"), path)
    path.chmod(0o644)
    with xr.open_dataset(path) as ds:
        image = ds["image"].load()
    limnd2_xr.update_nd2(path, attrs={"author": "Somebody"})
    with pytest.warns(
        limnd2_xr.Nd2Warning, match="not those that the array was opened"
    ):
        image.nd2.write_nd2(tmp_path / "b.nd2")
    path.unlink()
    with pytest.warns(limnd2_xr.Nd2Warning, match="other chunks of"):
        image.nd2.write_nd2(tmp_path / "c.nd2")
    np.testing.assert_array_equal(load(tmp_path / "c.nd2")["image"], image)
