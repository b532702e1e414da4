from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from limnd2_xr.cli.app import app
from limnd2_xr.container import remote_source
from limnd2_xr.container.retrying import Retries
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
    from collections.abc import Callable, Iterator
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
    assert (dapi["name"], dapi["color"], dapi["exposure_s"]) == (
        "DAPI",
        "#0000ff",
        0.25,
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


def test_a_run_that_stopped_is_shown_as_long_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "stopped.nd2"
    spec = SyntheticSpec(
        loops=(TimeLoop(10, period_ms=2000.0), ZLoop(3)), frame_count=8
    )
    path.write_bytes(build(spec).data)
    plain = json.loads(run(path, "--json").stdout)
    assert plain["sizes"]["T"] == 3
    counts = [(loop["count"], loop["declared_count"]) for loop in plain["loops"]]
    assert counts == [(3, 10), (3, 3)]
    lines = [" ".join(line.split()) for line in run(path).stdout.splitlines()]
    assert "T 3 set to 10, every 2 s" in lines


def test_positions_that_were_not_reached_are_not_listed(tmp_path: Path) -> None:
    path = tmp_path / "stopped.nd2"
    loop = PositionLoop(tuple(Point(float(i), 0.0, name=f"p{i}") for i in range(4)))
    path.write_bytes(build(SyntheticSpec(loops=(loop,), frame_count=2)).data)
    (found,) = json.loads(run(path, "--json").stdout)["loops"]
    assert (found["count"], found["declared_count"]) == (2, 4)
    assert [position["name"] for position in found["positions"]] == ["p0", "p1"]


def test_frames_that_no_loop_counts_run_along_t(tmp_path: Path) -> None:
    path = tmp_path / "loopless.nd2"
    spec = SyntheticSpec(frame_count=3, times_ms=[0.0, 250.0, 500.0])
    path.write_bytes(build(spec).data)
    (found,) = json.loads(run(path, "--json").stdout)["loops"]
    assert (found["dim"], found["count"], found["declared_count"]) == ("T", 3, 3)
    assert found["period_s"] == 0.25


@pytest.mark.parametrize(
    ("loop", "shown"),
    [
        (TimeLoop(3, period_ms=10_000.0, avg_period_ms=10_500.0), "T 3 every 10.5 s"),
        # Not measured: recorded times come before the set period.
        (TimeLoop(3, period_ms=10_000.0, avg_period_ms=0.0), "T 3 every 2 s"),
        (TimeLoop(3, period_ms=0.0, avg_period_ms=0.0), "T 3 every 2 s"),
    ],
)
def test_the_period_is_that_of_the_coordinate(
    tmp_path: Path, loop: TimeLoop, shown: str
) -> None:
    path = tmp_path / "times.nd2"
    spec = SyntheticSpec(loops=(loop,), times_ms=[100.0, 1900.0, 4100.0])
    path.write_bytes(build(spec).data)
    lines = [" ".join(line.split()) for line in run(path).stdout.splitlines()]
    assert shown in lines
    (found,) = json.loads(run(path, "--json").stdout)["loops"]
    with xr.open_dataset(path) as ds:
        steps = np.diff(ds["T"].values)
    assert found["period_s"] == pytest.approx(float(steps.mean()))


def test_no_interval_known_is_said(tmp_path: Path) -> None:
    path = tmp_path / "times.nd2"
    spec = SyntheticSpec(
        loops=(TimeLoop(3, period_ms=0.0, avg_period_ms=0.0),), times_ms=[0.0] * 3
    )
    path.write_bytes(build(spec).data)
    assert "no interval known" in run(path).stdout
    (found,) = json.loads(run(path, "--json").stdout)["loops"]
    assert found["period_s"] is None


def test_an_uncalibrated_stack_still_shows_its_step(tmp_path: Path) -> None:
    path = tmp_path / "stack.nd2"
    spec = SyntheticSpec(loops=(ZLoop(3, step_um=0.5),), calibration_um=None)
    path.write_bytes(build(spec).data)
    shown = facts(run(path))["calibration"]
    assert shown == "not calibrated, 0.5 µm between slices"


def test_taken_is_the_moment_of_frame_0(tmp_path: Path) -> None:
    path = tmp_path / "late.nd2"
    # Julian day of frame 0; it was taken 90 s after the start.
    spec = SyntheticSpec(julian_day=2460742.25, times_ms=[90_000.0])
    path.write_bytes(build(spec).data)
    found = json.loads(run(path, "--json").stdout)
    assert found["acquired"] == "2025-03-07T18:00:00.000Z"
    assert found["acquisition_start"] == "2025-03-07T17:58:30.000Z"
    assert facts(run(path))["taken"] == "2025-03-07 18:00:00 UTC"


def test_a_clock_that_was_never_set_shows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "timeless.nd2"
    spec = SyntheticSpec(julian_day=0.0)
    path.write_bytes(build(spec).data)
    found = json.loads(run(path, "--json").stdout)
    assert (found["acquired"], found["acquisition_start"]) == ("", "")
    assert "taken" not in facts(run(path))


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


class Refusing(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """A file system whose errors are its own, as those of cloud libraries are."""

    protocol = "refusing"

    def info(self, path: str, **kwargs: object) -> dict[str, object]:
        raise RefusalError("Unable to\nlocate credentials")


class RefusalError(Exception):
    """Derives from nothing that a program could expect."""


def test_whatever_a_file_system_raises_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fsspec.register_implementation("refusing", Refusing, clobber=True)
    result = run("refusing://bucket/a.nd2")
    assert (result.exit_code, result.stdout) == (2, "")
    assert (
        result.stderr
        == "limnd2-xr: refusing://bucket/a.nd2: Unable to locate credentials\n"
    )


def test_an_unexpected_error_of_a_local_file_is_not_hidden(
    cells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise RefusalError("a mistake")

    monkeypatch.setattr("limnd2_xr.cli.info.summarize", fail)
    assert isinstance(run(cells).exception, RefusalError)


def test_an_absent_url_is_not_a_missing_local_file() -> None:
    result = run("memory://absent.nd2")
    assert result.exit_code == 2
    assert result.stderr == "limnd2-xr: memory://absent.nd2: not found\n"


class StatusHandler(http.server.BaseHTTPRequestHandler):
    """Answers ``/403/a.nd2`` with the status 403."""

    def do_HEAD(self) -> None:
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *_arguments: object) -> None:
        """Keep stderr for the command."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(remote_source, "RETRIES", Retries(attempts=1))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), StatusHandler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, "HTTP status 403 Forbidden"),
        (404, "HTTP status 404 Not Found"),
        (500, "HTTP status 500 Internal Server Error"),
    ],
)
def test_the_status_of_a_server_is_told(server: str, status: int, reason: str) -> None:
    pytest.importorskip("aiohttp")
    url = f"{server}/{status}/a.nd2"
    result = run(url, "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"limnd2-xr: {url}: {reason}\n"


def test_a_refused_connection_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(remote_source, "RETRIES", Retries(attempts=1))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    result = run(f"http://127.0.0.1:{port}/a.nd2")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "Cannot connect to host" in line
    assert "no such file" not in line


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
    for option in ("-h", "--help"):
        shown = runner.invoke(app, ["info", option])
        assert shown.exit_code == 0
        assert "FILE......" not in shown.stdout


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
def test_what_real_files_say_of_time(real_file: Callable[[str], Path]) -> None:
    rgb = run(real_file("rgb8"))
    assert facts(rgb)["taken"] == "2024-07-12 10:28:32 UTC"
    confocal = json.loads(run(real_file("confocal_t3_z10_c2"), "--json").stdout)
    assert confocal["loops"][0]["period_s"] == pytest.approx(10.6475, abs=5e-5)


@pytest.mark.realdata
def test_known_values_of_a_real_file(real_file: Callable[[str], Path]) -> None:
    found = json.loads(run(real_file("fluo_c4"), "--json").stdout)
    assert found["pixel_size_um"] == 0.323390342594048
    assert (found["magnification"], found["numerical_aperture"]) == (20.0, 0.75)
    assert [channel["exposure_s"] for channel in found["channels"]] == [
        0.02,
        1.0,
        1.0,
        1.0,
    ]
    assert (found["software"], found["software_version"]) == (
        "NIS-Elements AR",
        "5.42.03 (Build 1812)",
    )
    # Frame 0 was taken 249 s after the start.
    assert found["acquired"] == "2025-04-17T23:39:00.587Z"
    assert found["acquisition_start"] == "2025-04-17T23:34:51.410Z"
    assert facts(run(real_file("fluo_c4")))["taken"] == "2025-04-17 23:39:00 UTC"
    names = [channel["name"] for channel in found["channels"]]
    assert names == ["Mono", "DAPI", "FITC BP", "TRITC BP"]


def test_the_command_runs_as_a_process(cells: Path) -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "error", "NO_COLOR": "1"}

    def process(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603
            [sys.executable, "-m", "limnd2_xr", *arguments],
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
