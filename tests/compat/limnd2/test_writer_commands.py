"""Commands of limnd2, by their names and with their arguments."""

from __future__ import annotations

import json
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from limnd2_xr.cli.limnd2_index import file_index
from limnd2_xr.compat.limnd2 import commands
from limnd2_xr.compat.limnd2.commands import named_groups
from limnd2_xr.compat.limnd2.reader import Nd2Reader
from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build

if TYPE_CHECKING:
    from numpy.typing import NDArray

tifffile = pytest.importorskip("tifffile")

REPO = Path(__file__).resolve().parents[3]


def plane(number: int) -> NDArray[Any]:
    return np.random.default_rng(number).integers(0, 999, (12, 10)).astype("uint16")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "images"
    made.mkdir()
    for t in range(2):
        for number, name in enumerate(("DAPI", "GFP")):
            tifffile.imwrite(made / f"t{t}_{name}.tif", plane(2 * t + number))
    return made


def test_all_commands_are_installed() -> None:
    scripts = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["scripts"]
    ours = {name: at for name, at in scripts.items() if name.startswith("limnd2-")}
    assert len(ours) >= 8
    for place in ours.values():
        module, name = place.split(":")
        assert callable(getattr(import_module(module), name))


def test_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(folder / "t0_GFP.tif")
    assert commands.convert_file([file]) == 0
    out = folder / "t0_GFP.nd2"
    assert capsys.readouterr().out == f"{out}\n"
    with Nd2Reader(out) as reader:
        assert np.array_equal(reader.image(0)[:, :, 0], plane(1))
    before = out.read_bytes()
    with pytest.raises(SystemExit, match="2"):
        commands.convert_file([str(folder / "t1_GFP.tif"), str(out)])
    assert "-f replaces it" in capsys.readouterr().err
    assert out.read_bytes() == before
    commands.convert_file([str(folder / "t1_GFP.tif"), str(out), "-f"])
    assert out.read_bytes() != before
    commands.image_dimensions([file])
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"is_rgb": False}


SEQUENCE = [
    *(r"t(\d+)_([A-Z]+)\.tif", "-t", "1", "-c", "2", "-tstep", "500"),
    *("--channel-setting", "GFP|green|Confocal, Fluo|488|510|green"),
    *("--channel-setting", "DAPI|nuclei|Wide-field|0|450|#0000ff"),
    *("--pixel_calibration", "0.5", "--ms-objective_magnification", "20"),
]


def test_a_sequence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands.convert_sequence(
        [str(folder), *SEQUENCE, "-n", "out.nd2", "-o", str(folder.parent)]
    )
    with Nd2Reader(folder.parent / "out.nd2") as reader:
        assert reader.dimensionSizes() == {"t": 2}
        assert reader.pictureMetadata.channelNames == ["nuclei", "green"]
        first, second = reader.pictureMetadata.channels
        assert (first.emissionWavelengthNm, second.excitationWavelengthNm) == (450, 488)
        assert "LaserScanConfocal" in second.modalityList
        assert reader.pictureMetadata.dCalibration == 0.5
        assert reader.pictureMetadata.objectiveMagnification() == 20.0
        expected = np.stack([plane(2), plane(3)], axis=2)
        assert np.array_equal(reader.image(1), expected)
    capsys.readouterr()
    commands.plan_sequence([str(folder), *SEQUENCE])
    plan = json.loads(capsys.readouterr().out)
    assert plan["sizes"] == {"T": 2, "C": 2, "Y": 12, "X": 10}
    assert plan["time_step_s"] == 0.5


@pytest.mark.parametrize(
    "arguments",
    [
        [r"t(\d+)_([A-Z]+)\.tif", "-t", "1"],
        [r"t(\d+)_[A-Z]+\.tif", "-t", "1", "-c", "2"],
        [r"x(\d+)\.tif", "-t", "1"],
        [*SEQUENCE, "--channel-setting", "a|b"],
    ],
)
def test_sequences_that_make_no_sense(
    folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        commands.plan_sequence([str(folder), *arguments])
    assert capsys.readouterr().err.startswith("limnd2-plan-sequence: ")


def test_what_cannot_be_said_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        commands.plan_sequence([str(folder), *SEQUENCE, "--flatten_duplicates"])
    assert "unrecognized arguments: --flatten_duplicates" in capsys.readouterr().err


def test_groups_in_sets_and_after_backslashes_are_none() -> None:
    groups: dict[str, int | None] = {"T": 1, "Z": 2}
    assert named_groups(r"\((\d)[(](?:a|b)(\w)", groups) == (
        r"\((?P<T>\d)[(](?:a|b)(?P<Z>\w)"
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    spec = SyntheticSpec(loops=(TimeLoop(2),), width=10, height=12)
    return build(spec).save(tmp_path / "a.nd2")


def test_exports(file: Path, tmp_path: Path) -> None:
    commands.sequence_export([str(file), "--folder", str(tmp_path / "out")])
    assert len(list((tmp_path / "out").iterdir())) == 2
    frame = tmp_path / "frame.tif"
    commands.frame_export(
        [str(file), "--frame-index", "1", "--output-path", str(frame)]
    )
    with Nd2Reader(file) as reader:
        assert np.array_equal(
            np.squeeze(tifffile.imread(frame)), reader.image(1)[:, :, 0]
        )


@pytest.mark.parametrize("number", ["99", "-1"])
def test_a_frame_that_there_is_not_is_an_error_in_one_line(
    file: Path, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        commands.frame_export([str(file), f"--frame-index={number}"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("limnd2-frame-export: ")
    assert f"there is no frame {number}, the file has 2" in line
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_the_index(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["limnd2-index"])
    arguments = [str(file.parent), "-f", "json", "-c", "Name", "Bits", "-s", "Size-"]
    with pytest.raises(SystemExit, match="0"):
        file_index(arguments)
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {"name": "a.nd2", "bits": 16}
    with pytest.raises(SystemExit, match="2"):
        file_index([str(file.parent), "-c", "Grabber"])
