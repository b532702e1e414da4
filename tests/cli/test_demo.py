from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from limnd2_xr.cli import demo as module
from limnd2_xr.cli.app import app
from limnd2_xr.cli.demo_scene import Scene, experiment

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

SMALL = {"T": 2, "P": 2, "Z": 3, "C": 2, "Y": 64, "X": 64}
SHADES = set(" .:-=+*#%@")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["demo", *map(str, arguments)])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Let the command show a small scene; what it does is the same."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    scene = Scene(sizes=SMALL, cells=3)
    monkeypatch.setattr(module, "Scene", lambda: scene)
    return scene


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.nd2"


def picture_of(result: Result) -> list[str]:
    """Lines after the last empty one that follows the measured lines."""
    lines = result.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("frames read back"))
    return lines[at + 2 :]


def test_it_writes_a_file_and_tells_about_it(small: Scene, out: Path) -> None:
    result = run(out)
    assert (result.exit_code, result.stderr) == (0, "")
    said = result.stdout
    assert said.startswith("<xarray.Dataset>")
    assert re.search(
        rf"^wrote {re.escape(str(out))}: 12 frames, \d\.\d MB in \d+\.\d\d s$",
        said,
        re.MULTILINE,
    )
    assert re.search(r"^opened in \d+\.\d ms, metadata only$", said, re.MULTILINE)
    assert re.search(r"^one maximum projection over Z: \d+\.\d ms$", said, re.MULTILINE)
    assert re.search(r"^DAPI brightest pixel over T: \d+ \d+$", said, re.MULTILINE)
    assert re.search(r"^GFP brightest pixel over T: \d+ \d+$", said, re.MULTILINE)
    time = float(small.times_s()[1, 0, 0])
    assert (
        f"frames read back equal what was written; T=1 was taken at {time:.3f} s"
        in said
    )


def test_the_file_holds_the_scene(small: Scene, out: Path) -> None:
    assert run(out).exit_code == 0
    made = experiment(small)
    with xr.open_dataset(out) as ds:
        assert dict(ds["image"].sizes) == SMALL
        np.testing.assert_array_equal(ds["image"].values, made.values)
        for name in ("P", "C", "color", "modality"):
            assert ds[name].values.tolist() == made[name].values.tolist()
        for name in ("T", "Z", "X", "time", "stage_x", "stage_y", "exposure_time"):
            np.testing.assert_allclose(ds[name], made[name], rtol=1e-12)
        np.testing.assert_allclose(ds["stage_z"], made["stage_z"], rtol=1e-12)
        assert ds["acquired"].values.min() > np.datetime64("2026-05-04T08:29:59")
        for name, value in made.attrs.items():
            assert ds.attrs[name] == value


def test_brightness_is_measured_from_the_file(small: Scene, out: Path) -> None:
    said = run(out).stdout
    for channel in range(2):
        brightest = [
            max(small.frame(t, 0, z)[channel].max() for z in range(3)) for t in range(2)
        ]
        assert f"over T: {brightest[0]} {brightest[1]}" in said


def test_where_nobody_looks_the_picture_is_shades(small: Scene, out: Path) -> None:
    lines = picture_of(run(out))
    assert len(lines) == 32  # 64 rows, two in each line
    assert all(set(line) <= SHADES and len(line) <= 64 for line in lines)
    assert len(set("".join(lines))) > 4


def test_on_a_terminal_the_picture_has_colours(
    small: Scene, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    lines = picture_of(run(out))
    assert len(lines) == 32
    assert all(line.count("\u2580") == 64 for line in lines)
    assert "\x1b[38;2;" in lines[0]


def test_an_existing_file_is_refused_and_stays(small: Scene, out: Path) -> None:
    out.write_bytes(b"mine")
    result = run(out)
    assert (result.exit_code, result.stdout) == (2, "")
    assert (
        result.stderr == f"limnd2-xr: {out}: exists already; --overwrite replaces it\n"
    )
    assert out.read_bytes() == b"mine"
    assert run(out, "--overwrite").exit_code == 0
    assert xr.load_dataset(out, engine="nd2").sizes["T"] == 2
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_an_existing_file_is_refused_before_anything_is_computed(
    small: Scene, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise AssertionError

    out.touch()
    monkeypatch.setattr(Scene, "frame", fail)
    assert run(out).exit_code == 2


def test_a_folder_that_is_not_there_is_told(small: Scene, out: Path) -> None:
    result = run(out.parent / "absent" / "a.nd2")
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("limnd2-xr: ")
    assert "absent" in line


def test_frames_that_read_differently_are_an_error(
    small: Scene, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = Scene.frame
    calls = []

    def other(
        scene: Scene, t: int, p: int, z: int
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
        calls.append((t, p, z))
        return true(scene, t, p, z) + np.uint16(len(calls) > 12)

    monkeypatch.setattr(Scene, "frame", other)
    result = run(out)
    assert result.exit_code == 1
    assert result.stderr == "limnd2-xr: frame T=0, P=0, Z=0 reads differently\n"


def test_the_name_is_demo_unless_another_is_given(
    small: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "wrote demo.nd2: " in run().stdout
    assert [path.name for path in tmp_path.iterdir()] == ["demo.nd2"]


def test_help_tells_what_it_does() -> None:
    shown = CliRunner().invoke(app, ["demo", "--help"])
    assert shown.exit_code == 0
    assert "synthetic experiment" in shown.stdout
    assert "OUT.nd2" in shown.stdout


def test_the_whole_demo_runs_as_a_process(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "error", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "limnd2_xr", "demo"],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        encoding="utf-8",
        env=environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "80 frames" in done.stdout
    with xr.open_dataset(tmp_path / "demo.nd2") as ds:
        assert dict(ds["image"].sizes) == dict(Scene().sizes)
        assert ds.attrs["significant_bits"] == 12
