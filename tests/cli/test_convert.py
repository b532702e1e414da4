"""`limnd2-xr convert`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
import xarray as xr
from typer.testing import CliRunner

from limnd2_xr.cli.app import app

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

PATTERN = "img_t{T}_{C}.tif"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


def pixels(t: int, c: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint16]]:
    return (np.arange(800).reshape(20, 40) + 1000 * t + 100 * c).astype("uint16")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for t in range(3):
        for c, name in enumerate(("DAPI", "GFP")):
            tifffile.imwrite(tmp_path / f"img_t{t}_{name}.tif", pixels(t, c))
    return tmp_path


def test_a_sequence_with_options(folder: Path) -> None:
    target = folder / "out.nd2"
    result = run(
        folder / PATTERN,
        target,
        "--time-step=30",
        "--pixel-size=325nm",
        "--channel-names=Hoechst,eGFP",
        "--colors=blue,#00ff00",
        "--emission=461,510",
        "--modality=fluorescence+spinning disk",
        "--objective=Plan Apo 20x",
        "--na=0.75",
        "--compression=zlib",
    )
    assert result.stderr == ""
    assert result.exit_code == 0
    assert result.stdout == (f"{target}: 3 frames from TIFF, T3 C2 Y20 X40, uint16\n")
    with xr.open_dataset(target) as ds:
        for t in range(3):
            for c in range(2):
                np.testing.assert_array_equal(ds["image"][t, c], pixels(t, c))
        assert ds["C"].values.tolist() == ["Hoechst", "eGFP"]
        assert ds["T"].values.tolist() == [0, 30, 60]
        assert ds["modality"].values[0] == "fluorescence, spinning disk"
        assert ds.attrs["objective"] == "Plan Apo 20x"
        assert ds.attrs["compression"] == "lossless"


def test_the_plan_is_json_and_nothing_is_written(folder: Path) -> None:
    for target in (["out.nd2"], []):
        result = run(folder, *target, "--pattern", PATTERN, "--plan")
        assert result.exit_code == 0
        plan = json.loads(result.stdout)
        assert plan["sizes"] == {"T": 3, "C": 2, "Y": 20, "X": 40}
        assert plan["target"] == (target[0] if target else None)
        assert [channel["name"] for channel in plan["channels"]] == ["DAPI", "GFP"]
        assert {"file": f"{folder}/img_t2_GFP.tif", "T": 2, "C": 1} in plan["inputs"]
    assert len(list(folder.iterdir())) == 6


def test_missing_files(folder: Path) -> None:
    (folder / "img_t1_GFP.tif").unlink()
    result = run(folder / PATTERN, folder / "out.nd2")
    assert (result.exit_code, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("limnd2-xr: 1 of 6 files are missing: T=1, C=GFP.")
    assert not (folder / "out.nd2").exists()

    result = run(folder / PATTERN, folder / "out.nd2", "--fill-missing")
    assert result.exit_code == 0
    [line] = result.stderr.splitlines()
    assert line.startswith("limnd2-xr: warning: 1 file is missing, and zeros")
    with xr.open_dataset(folder / "out.nd2") as ds:
        assert not ds["image"][1, 1].values.any()


def test_what_is_lost_can_be_an_error(folder: Path) -> None:
    tifffile.imwrite(folder / "pages.tif", np.zeros((5, 20, 40), "uint16"))
    names = [folder / "pages.tif", folder / "lost.nd2"]
    for also in ([], ["--plan"]):
        result = run(*names, "--on-loss", "raise", *also)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "5 pages are taken for time points" in result.stderr
    assert not names[1].exists()
    result = run(*names, "--on-loss", "ignore")
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["{}/none.tif", "{}/out.nd2"], "{}/none.tif: no such file"),
        (["{}/img_t0_GFP.tif"], "the last name is the file to write"),
        (
            ["{}/img_t0_GFP.tif", "{}/img_t1_GFP.tif"],
            "the last name is the file to write",
        ),
        (["{}", "{}/out.nd2"], "6 files, from {}/img_t0_DAPI.tif"),
        (["{}/img_{Q}.tif", "{}/out.nd2"], "pattern 'img_{Q}.tif': {Q} is none of"),
        (["{}/img_t0_GFP.tif", "{}/out.nd2", "--dtype=complex"], "'{}/img_t0_GFP.tif"),
        (["{}/img_t0_GFP.tif", "{}/out.nd2", "--dtype=odd"], "data type 'odd'"),
    ],
)
def test_errors_are_one_line(arguments: list[str], reason: str, folder: Path) -> None:
    names = [argument.replace("{}", str(folder)) for argument in arguments]
    result = run(*names)
    assert (result.exit_code, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("limnd2-xr: ")
    assert reason.replace("{}", str(folder)).strip("'") in line
    assert not (folder / "out.nd2").exists()


def test_an_existing_file_is_replaced_only_when_told(folder: Path) -> None:
    target = folder / "out.nd2"
    target.write_bytes(b"mine")
    result = run(folder / PATTERN, target)
    assert result.exit_code == 2
    assert result.stderr == (
        f"limnd2-xr: {target}: exists already; --overwrite replaces a file\n"
    )
    assert target.read_bytes() == b"mine"
    assert run(folder / PATTERN, target, "--overwrite").exit_code == 0


def test_other_types_say_which_option_converts(folder: Path) -> None:
    path = folder / "wide.tif"
    tifffile.imwrite(path, np.full((20, 40), 70_000, "int32"))
    result = run(path, folder / "out.nd2")
    assert result.exit_code == 2
    assert f"limnd2-xr: {path}: pixels are int32" in result.stderr
    assert "--dtype" in result.stderr
    result = run(path, folder / "out.nd2", "--dtype=uint16")
    assert result.exit_code == 2
    assert "values from 70000 to 70000 do not fit into uint16" in result.stderr
    assert not (folder / "out.nd2").exists()
    result = run(path, folder / "out.nd2", "--dtype=uint16", "--scale=0.1")
    assert result.exit_code == 0
