"""Exports in several processes: the same results, deaths, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from limnd2_xr.cli.app import app
from limnd2_xr.cli.export_run import Began, Ended, run_jobs
from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build

if TYPE_CHECKING:
    from pathlib import Path

    from limnd2_xr.cli.export_run import Event

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four files of 20 frames, 10 MB each."""
    made = tmp_path_factory.mktemp("files")
    spec = SyntheticSpec(loops=(TimeLoop(20),), width=512, height=512)
    first = build(spec).save(made / "0.nd2")
    for number in range(1, 4):
        os.link(first, made / f"{number}.nd2")
    return made


def test_several_at_a_time_give_the_same(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.nd2").write_bytes(b"no")
    words = ["export", str(folder), str(tmp_path / "bad.nd2"), "--to=ome-tiff"]
    for jobs in ("1", "2"):
        more = ["--output-folder", str(tmp_path / jobs), "--jobs", jobs]
        result = CliRunner().invoke(app, [*words, *more, "--json-progress"])
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1
        ended: list[dict[str, Any]] = [
            event
            for event in map(json.loads, result.stdout.splitlines())
            if event["event"] == "end"
        ]
        states = {event["number"]: event["status"] for event in ended}
        assert states == {0: "done", 1: "done", 2: "done", 3: "done", 4: "failed"}
    for path in (tmp_path / "1").iterdir():
        other = tmp_path / "2" / path.name
        # Only the identifier of the document differs.
        assert path.stat().st_size == other.stat().st_size
    assert len(list((tmp_path / "2").iterdir())) == 4


def test_a_process_that_dies_is_a_file_that_failed(
    folder: Path, tmp_path: Path
) -> None:
    from limnd2_xr.cli.export import plan
    from limnd2_xr.cli.export_plan import ExportOptions

    jobs = plan(
        [str(folder)],
        ExportOptions(to="ome-tiff"),
        recurse=False,
        output_folder=str(tmp_path),
        storage_options={},
    )
    seen: list[Event] = []

    def kill_first(event: Event) -> None:
        import psutil

        seen.append(event)
        if isinstance(event, Began) and event.number == 0:
            for child in psutil.Process().children():
                if "spawn_main" in " ".join(child.cmdline()):
                    child.kill()

    run_jobs(jobs, kill_first, processes=2)
    ended = {event.number: event for event in seen if isinstance(event, Ended)}
    assert sorted(ended) == [0, 1, 2, 3]
    assert ended[0].status == "failed"
    assert ended[0].error == "the process that exported it ended with signal 9"
    assert ended[3].status == "done"


_STOPPING = """
import runpy, sys
from limnd2_xr.cli import export_report

line = export_report._line

def stopping(document):
    line(document)
    if document["event"] == "progress":
        sys.stdin.read()

export_report._line = stopping
runpy.run_module("limnd2_xr", run_name="__main__")
"""
"""After a first step it waits: no file is begun before stdin ends."""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.usefixtures("_hears_ctrl_c")
@pytest.mark.parametrize(
    ("number", "jobs", "status"), [(signal.SIGINT, 2, 130), (signal.SIGTERM, 1, 143)]
)
def test_an_interruption_tidies_up(
    number: signal.Signals, jobs: int, status: int, folder: Path, tmp_path: Path
) -> None:
    words = ["export", str(folder), "--to=ome-tiff", "--compression=zstd"]
    more = ["--output-folder", str(tmp_path), f"--jobs={jobs}", "--json-progress"]
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", _STOPPING, *words, *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if json.loads(line)["event"] == "progress":
                break
        os.killpg(process.pid, number)  # as a terminal does
        process.stdin.close()
        rest = [json.loads(line) for line in process.stdout]
        told = process.stderr.read()
    assert (process.returncode, told) == (status, "")
    summary = rest[-1]
    assert summary["event"] == "summary"
    assert summary["interrupted"] + summary["not_begun"] > 0
    assert summary["failed"] == 0
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) == summary["done"]
    assert not [name for name in left if name.endswith(".partial")]
