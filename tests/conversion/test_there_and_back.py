"""TIFF to .nd2 to OME-TIFF and back: the same pixels and metadata."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
import tifffile
import xarray as xr
from typer.testing import CliRunner

import limnd2_xr
from limnd2_xr.cli.app import app
from limnd2_xr.conversion.ome_described import ome_images
from limnd2_xr.export.ome_zarr import to_ome_zarr
from limnd2_xr.export.ome_zarr_plan import OmeZarrOptions

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CHANNELS = ("DAPI", "GFP")
SIZES = {"T": 3, "Z": 2, "C": 2, "Y": 20, "X": 40}
OPTIONS = (
    "--time-step=30",
    "--z-step=0.5",
    "--pixel-size=0.325",
    "--colors=#0000ff,#00ff00",
    "--emission=461,510",
    "--excitation=405,488",
    "--exposure=0.1,0.05",
    "--modality=fluorescence+spinning disk",
    "--objective=Plan Apo 20x",
    "--magnification=20",
    "--na=0.75",
    "--refractive-index=1.0",
    "--significant-bits=12",
)


def run(*arguments: object) -> None:
    result = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.fixture
def sequence(tmp_path: Path) -> NDArray[np.uint16]:
    """Write a file for each frame and channel; return all pixels, T Z C Y X."""
    data = np.random.default_rng(0).integers(0, 4096, tuple(SIZES.values()), "uint16")
    (tmp_path / "in").mkdir()
    for t, z, c in itertools.product(range(3), range(2), range(2)):
        name = f"img_t{t:03d}_z{z}_{CHANNELS[c]}.tif"
        tifffile.imwrite(tmp_path / "in" / name, data[t, z, c])
    return data


def export(source: Path, target: Path) -> None:
    """Write OME-TIFF, through the command if it exports."""
    commands = {command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    if "export" not in commands:
        from limnd2_xr.export.ome_tiff import to_ome_tiff

        with xr.open_dataset(source) as ds:
            to_ome_tiff(ds, target)
        return
    words = ["export", source, "--to", "ome-tiff", "--output-folder", target.parent]
    result = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0


def test_a_sequence_becomes_ome_tiff_with_everything(
    sequence: NDArray[np.uint16], tmp_path: Path
) -> None:
    nd2, tiff = tmp_path / "cells.nd2", tmp_path / "cells.ome.tiff"
    run("convert", tmp_path / "in" / "img_t{T}_z{Z}_{C}.tif", nd2, *OPTIONS)
    export(nd2, tiff)
    (tiff,) = tmp_path.glob("cells.ome.tif*")

    with tifffile.TiffFile(tiff) as file:
        (series,) = file.series
        found = xr.DataArray(series.asarray(), dims=tuple(series.axes))
        (ome,) = ome_images(file.ome_metadata or "")
    np.testing.assert_array_equal(found.transpose(*SIZES), sequence)
    told = ome.describe(SIZES)
    per_channel = {
        "C": list(CHANNELS),
        "color": ["#0000ff", "#00ff00"],
        "emission_wavelength": [461, 510],
        "excitation_wavelength": [405, 488],
        "exposure_time": [0.1, 0.05],
        "modality": ["fluorescence, spinning disk"] * 2,
    }
    for name, values in per_channel.items():
        assert told.coords[name].values.tolist() == values
    assert told.coords["T"].values.tolist() == [0, 30, 60]
    assert told.coords["time"].values.tolist() == [[0, 0], [30, 30], [60, 60]]
    assert told.coords["Z"].values.tolist() == [0, 0.5]
    assert told.coords["X"].values.tolist() == (np.arange(40) * 0.325).tolist()
    wanted = {
        "objective": "Plan Apo 20x",
        "magnification": 20,
        "numerical_aperture": 0.75,
        "refractive_index": 1,
        "significant_bits": 12,
    }
    assert {name: told.attrs.get(name) for name in wanted} == wanted

    # And back: nothing of the dataset has changed but what the file was written by.
    run("convert", tiff, tmp_path / "again.nd2")
    with (
        xr.open_dataset(nd2) as first,
        xr.open_dataset(tmp_path / "again.nd2") as again,
    ):
        xr.testing.assert_equal(again.load(), first.load())
        for name in first.attrs.keys() - {"nd2_metadata"}:
            assert again.attrs[name] == first.attrs[name], name


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("samples", [1, 3])
def test_ome_zarr_of_a_file_is_that_file_again(
    version: Literal["0.4", "0.5"], samples: int, tmp_path: Path
) -> None:
    data = np.random.default_rng(0).integers(0, 255, (2, 3, 20, 40, samples), "uint8")
    dims = ("P", "Z", "Y", "X", "S" if samples == 3 else "C")
    image = xr.DataArray(
        data,
        dims=dims,
        coords={
            "P": ["a", "b"],
            "Z": ("Z", [-0.5, 0.0, 0.5], {"units": "um"}),
            "Y": ("Y", np.arange(20) * 0.25, {"units": "um"}),
            "X": ("X", np.arange(40) * 0.25, {"units": "um"}),
            "exposure_time": ((), 0.5, {"units": "s"}),
            "stage_x": ("P", [10.0, 500.0], {"units": "um"}),
            "stage_y": ("P", [20.0, -500.0], {"units": "um"}),
        },
        attrs={"objective": "Plan Apo 20x", "description": "fixed"},
    )
    image.nd2.write_nd2(tmp_path / "a.nd2")
    with xr.open_dataset(tmp_path / "a.nd2") as ds:
        to_ome_zarr(
            ds, tmp_path / "a.ome.zarr", options=OmeZarrOptions(version=version)
        )
        first = ds.load()
    limnd2_xr.convert_to_nd2(
        tmp_path / "a.ome.zarr", tmp_path / "again.nd2", on_loss="ignore"
    )
    with xr.open_dataset(tmp_path / "again.nd2") as ds:
        again = ds.load()
    xr.testing.assert_equal(again["image"].variable, first["image"].variable)
    names = {"P", "Z", "Y", "X", "exposure_time", "stage_x", "stage_y", "color"}
    for name in names & set(map(str, first.coords)):
        xr.testing.assert_equal(again[name].variable, first[name].variable)
    for name in ("objective", "pixel_size_um", "z_step_um", "description"):
        assert again.attrs[name] == first.attrs[name]


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name", ["confocal_t3_z10_c2", "fluo_c4", "netime_t2_u8", "rgb8"]
)
def test_a_sample_as_ome_tiff_is_the_sample_again(
    name: str, real_file: object, tmp_path: Path
) -> None:
    source = real_file(name)  # type: ignore[operator]
    export(source, tmp_path / f"{name}.ome.tiff")
    (tiff,) = tmp_path.glob("*.ome.tif*")
    run("convert", tiff, tmp_path / "again.nd2")
    with (
        xr.open_dataset(source) as first,
        xr.open_dataset(tmp_path / "again.nd2") as again,
    ):
        # OME has no place for display ranges.
        shown = ["display_min", "display_max", "gamma"]
        expected = first.drop_vars(shown, errors="ignore").load()
        xr.testing.assert_equal(again.load(), expected)
