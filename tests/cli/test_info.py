from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from typer.testing import CliRunner

from limnd2_xr.cli.app import app
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    NETimeLoop,
    Period,
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

    from typer.testing import Result

LOOPS = (
    TimeLoop(3, period_ms=10_000.0, avg_period_ms=10_500.0),
    PositionLoop((Point(1.0, 2.0, name="edge"), Point(3.5, 4.5))),
    ZLoop(4, step_um=0.5),
)
CHANNELS = (
    ChannelSpec(
        "DAPI",
        color=0xFF0000,
        emission_nm=461.0,
        excitation_nm=405.0,
        exposure_ms=250.0,
    ),
    ChannelSpec("[bold]GFP", color=0x00FF00),
)
CELLS = SyntheticSpec(
    loops=LOOPS, channels=CHANNELS, significant_bits=12, calibration_um=0.325
)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["info", *map(str, arguments)])


def facts(result: Result) -> dict[str, str]:
    """Return the first two columns of each printed line."""
    rows = (line.strip().split("  ", 1) for line in result.stdout.splitlines())
    return {row[0]: row[1].strip() for row in rows if len(row) == 2}


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    path = tmp_path / "cells.nd2"
    path.write_bytes(build(CELLS).data)
    return path


def test_it_prints_what_is_in_a_file(cells: Path) -> None:
    result = run(cells)
    assert result.exit_code == 0
    assert result.stderr == ""
    shown = facts(result)
    assert result.stdout.splitlines()[0] == str(cells)
    assert shown["sizes"] == "T 3, P 2, Z 4, C 2, Y 48, X 64"
    assert shown["pixels"] == "uint16, 12 significant bits, not compressed"
    assert shown["calibration"] == "0.325 µm a pixel, 0.5 µm between slices"
    assert shown["frames"] == "24, none missing"
    assert shown["objective"].startswith("Plan Apo 20x, 20x, NA 0.75")
    assert shown["camera"] == "Synthetic Camera"
    assert shown["file"].endswith("KiB, format 3.0")


def test_it_prints_loops_and_channels(cells: Path) -> None:
    lines = [" ".join(line.split()) for line in run(cells).stdout.splitlines()]
    assert "T 3 every 10.5 s" in lines
    assert "P 2 edge; (3.5, 4.5)" in lines
    assert any(line.startswith("Z 4 0.5 µm apart, home index") for line in lines)
    assert any(line.startswith("DAPI ■ #0000ff 405 nm 461 nm 250 ms") for line in lines)
    # Markup in a name is text.
    assert any(line.startswith("[bold]GFP ■ #00ff00 - - 100 ms") for line in lines)


def test_json_of_one_file_is_an_object(cells: Path) -> None:
    result = run(cells, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["path"] == str(cells)
    assert found["nbytes"] == cells.stat().st_size
    assert found["sizes"] == {"T": 3, "P": 2, "Z": 4, "C": 2, "Y": 48, "X": 64}
    assert (found["dtype"], found["significant_bits"], found["bits"]) == (
        "uint16",
        12,
        16,
    )
    assert (found["pixel_size_um"], found["z_step_um"]) == (0.325, 0.5)
    assert found["compression"] == "none"
    assert found["missing_frames"] == []
    assert [loop["dim"] for loop in found["loops"]] == ["T", "P", "Z"]
    assert found["loops"][0]["period_s"] == 10.5
    assert found["loops"][1]["positions"][1] == {
        "name": "",
        "x_um": 3.5,
        "y_um": 4.5,
        "z_um": None,
    }
    assert found["loops"][2]["step_um"] == 0.5
    dapi, gfp = found["channels"]
    assert (dapi["name"], dapi["color"], dapi["exposure_ms"]) == (
        "DAPI",
        "#0000ff",
        250.0,
    )
    assert (dapi["excitation_nm"], dapi["emission_nm"]) == (405.0, 461.0)
    assert (gfp["excitation_nm"], gfp["emission_nm"]) == (None, None)


def test_json_of_several_files_is_a_list(cells: Path, tmp_path: Path) -> None:
    single = tmp_path / "single.nd2"
    single.write_bytes(build(SyntheticSpec(calibration_um=None)).data)
    result = run(cells, single, "--json")
    assert result.exit_code == 0
    first, second = json.loads(result.stdout)
    assert first["path"] == str(cells)
    assert second["sizes"] == {"C": 1, "Y": 48, "X": 64}
    assert second["pixel_size_um"] is None
    assert second["loops"] == []
    assert "not calibrated" in run(single).stdout


def test_periods_of_a_time_loop_are_told(tmp_path: Path) -> None:
    path = tmp_path / "periods.nd2"
    loop = NETimeLoop((Period(2), Period(3, period_ms=500.0), Period(4, valid=False)))
    path.write_bytes(build(SyntheticSpec(loops=(loop,))).data)
    (found,) = json.loads(run(path, "--json").stdout)["loops"]
    assert found["count"] == 5
    assert [(p["count"], p["valid"]) for p in found["periods"]] == [
        (2, True),
        (3, True),
        (4, False),
    ]
    assert "periods of 2, 3 steps" in run(path).stdout


def test_missing_frames_are_named_and_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "gaps.nd2"
    spec = SyntheticSpec(loops=(TimeLoop(30),), missing=frozenset(range(5, 17)))
    path.write_bytes(build(spec).data)
    result = run(path)
    assert result.exit_code == 0
    expected = "30, 12 missing: 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, ..."
    assert facts(result)["frames"] == expected
    assert result.stderr.startswith(f"limnd2-xr: {path}: warning: 12 of 30 frames")
    assert len(result.stderr.splitlines()) == 1
    plain = json.loads(run(path, "--json").stdout)
    assert plain["missing_frames"] == list(range(5, 17))


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_what_cannot_be_read_is_one_line_on_stderr_and_status_2(
    cells: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    text = tmp_path / "notes.nd2"
    text.write_text("this is no microscope file")
    empty = tmp_path / "empty.nd2"
    empty.touch()
    absent = tmp_path / "absent.nd2"
    result = run(text, empty, absent, tmp_path, cells, *options)
    assert result.exit_code == 2
    said = result.stderr.splitlines()
    assert len(said) == 4
    for line, path in zip(said, (text, empty, absent, tmp_path), strict=True):
        assert line.startswith(f"limnd2-xr: {path}: ")
        assert line.count(str(path)) == 1
    assert said[2].endswith(": no such file")
    assert str(cells) in result.stdout


def test_one_unreadable_file_prints_nothing_as_json(tmp_path: Path) -> None:
    result = run(tmp_path / "absent.nd2", "--json")
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_truncated_file_is_reported_or_read(cells: Path) -> None:
    data = cells.read_bytes()
    for nbytes in (10, 100, 5000, len(data) // 2, len(data) - 1):
        cells.write_bytes(data[:nbytes])
        result = run(cells)
        assert result.exit_code in (0, 2)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        if result.exit_code == 2:
            assert len(result.stderr.splitlines()) >= 1


def test_urls_work(cells: Path) -> None:
    files = fsspec.filesystem("memory")
    files.pipe_file("/cells.nd2", cells.read_bytes())
    try:
        found = json.loads(run("memory://cells.nd2", "--json").stdout)
    finally:
        files.rm("/cells.nd2")
    assert found["path"] == "memory://cells.nd2"
    assert found["sizes"]["T"] == 3


def test_an_unknown_protocol_is_reported() -> None:
    result = run("nowhere://cells.nd2")
    assert result.exit_code == 2
    assert result.stderr.startswith("limnd2-xr: nowhere://cells.nd2: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_terminal_gets_colours_unless_told_not_to(
    cells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    assert "\x1b[" not in run(cells).stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in run(cells).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in run(cells).stdout


def test_version_and_help() -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["--version"])
    assert (shown.exit_code, shown.stdout.split()[0]) == (0, "limnd2-xr")
    assert "info" in runner.invoke(app, ["--help"]).stdout
    assert runner.invoke(app, ["info"]).exit_code == 2


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("confocal_t3_z10_c2", {"T": 3, "Z": 10, "C": 2, "Y": 31, "X": 38}),
        ("fluo_c4", {"C": 4, "Y": 256, "X": 256}),
        ("timelapse_t53", {"T": 53, "C": 1, "Y": 64, "X": 64}),
        ("zstack_z11", {"Z": 11, "C": 1, "Y": 128, "X": 128}),
        ("rgb8", {"C": 1, "Y": 548, "X": 752, "S": 3}),
        ("netime_t2_u8", {"T": 2, "C": 1, "Y": 548, "X": 752}),
    ],
)
def test_real_files_are_shown(
    real_file: Callable[[str], Path], name: str, sizes: dict[str, int]
) -> None:
    path = real_file(name)
    found: dict[str, Any] = json.loads(run(path, "--json").stdout)
    assert found["sizes"] == sizes
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = run(path)
    assert (result.exit_code, result.stderr) == (0, "")
    for channel in found["channels"]:
        assert channel["name"] in result.stdout


@pytest.mark.realdata
def test_known_values_of_a_real_file(real_file: Callable[[str], Path]) -> None:
    found = json.loads(run(real_file("fluo_c4"), "--json").stdout)
    assert found["pixel_size_um"] == 0.323390342594048
    assert (found["magnification"], found["numerical_aperture"]) == (20.0, 0.75)
    assert [channel["exposure_ms"] for channel in found["channels"]] == pytest.approx(
        [20.0, 1000.0, 1000.0, 1000.0]
    )
    names = [channel["name"] for channel in found["channels"]]
    assert names == ["Mono", "DAPI", "FITC BP", "TRITC BP"]


def test_the_command_runs_as_a_process(cells: Path) -> None:
    code = "from limnd2_xr.cli import main; main()"
    environment = {**os.environ, "PYTHONWARNINGS": "error", "NO_COLOR": "1"}

    def process(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            check=False,
            encoding="utf-8",
            env=environment,
        )

    done = process("info", str(cells))
    assert (done.returncode, done.stderr) == (0, "")
    assert "T 3, P 2, Z 4" in done.stdout
    failed = process("info", str(cells.with_name("absent.nd2")))
    assert (failed.returncode, failed.stdout) == (2, "")
    assert (
        failed.stderr == f"limnd2-xr: {cells.with_name('absent.nd2')}: no such file\n"
    )
