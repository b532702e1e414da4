"""`limnd2-xr verify` and `limnd2-xr repair`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from limnd2_xr.cli.app import app
from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build

if TYPE_CHECKING:
    from typer.testing import Result

SPEC = SyntheticSpec(loops=(TimeLoop(5),), width=40, height=30)
KEYS = [
    "path",
    "status",
    "format_version",
    "nbytes",
    "frames",
    "damaged_frames",
    "missing_frames",
    "chunks",
    "stale_chunks",
    "findings",
]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return build(SPEC).save(tmp_path / "sound.nd2")


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    spec = replace(SPEC, missing=frozenset({2}))
    path = tmp_path / "damaged.nd2"
    path.write_bytes(build(spec).data[:-4096])
    return path


@pytest.fixture
def other(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text("not a picture")
    return path


def test_a_sound_file_has_one_line(sound: Path) -> None:
    result = run("verify", sound)
    assert result.exit_code == 0
    assert result.stderr == ""
    [line] = result.stdout.splitlines()
    assert line.startswith(f"{sound}: sound, 5 frames, ")


def test_findings_are_below(damaged: Path) -> None:
    result = run("verify", damaged)
    assert result.exit_code == 1
    first, *findings = result.stdout.splitlines()
    assert first.startswith(f"{damaged}: damaged, 5 frames, ")
    assert first.endswith("1 missing")
    assert all(line.startswith("  error: ") for line in findings)
    assert "  error: 1 of 5 frames are not in the file: 2" in findings


def test_the_worst_file_decides(sound: Path, damaged: Path, other: Path) -> None:
    assert run("verify", sound, damaged).exit_code == 1
    assert run("verify", damaged, other, sound).exit_code == 2
    result = run("verify", sound, "no.nd2")
    assert result.exit_code == 2
    assert result.stderr == "limnd2-xr: no.nd2: no such file\n"
    assert len(result.stdout.splitlines()) == 1


def test_json(sound: Path, damaged: Path, other: Path) -> None:
    one = json.loads(run("verify", sound, "--json").stdout)
    assert list(one) == KEYS
    assert (one["path"], one["status"]) == (str(sound), "sound")
    result = run("verify", "--json", sound, damaged, other, "no.nd2")
    documents = json.loads(result.stdout)
    assert [d["status"] for d in documents] == ["sound", "damaged", "not nd2"]
    assert list(documents[1]["findings"][0]) == ["severity", "chunk", "offset", "text"]


def test_the_documented_keys_are_those_of_the_json() -> None:
    page = Path(__file__).parents[2] / "docs/how-to/damaged-files.md"
    table = page.read_text().partition("| key | value |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} == set(KEYS)
    for key in ("severity", "chunk", "offset", "text"):
        assert f"`{key}`" in table


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "\x1b[31mred.nd2"
    path.write_bytes(b"\x1b]0;title\x07")
    assert "\x1b" not in run("verify", path).stdout


def test_verifying_writes_nothing(damaged: Path) -> None:
    before = damaged.read_bytes(), damaged.stat().st_mtime_ns
    run("verify", damaged)
    assert (damaged.read_bytes(), damaged.stat().st_mtime_ns) == before
    assert list(damaged.parent.iterdir()) == [damaged]


def test_a_bar_is_shown_on_a_terminal_only(sound: Path) -> None:
    command = [sys.executable, "-m", "limnd2_xr", "verify", str(sound)]
    done = subprocess.run(command, capture_output=True, check=True)  # noqa: S603
    assert done.stderr == b""
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "400"}
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, check=True, env=environment
    )
    assert b"sound.nd2" in done.stderr
    assert done.stdout.decode().startswith(f"{sound}: sound")


def test_repair_tells_what_was_lost(damaged: Path, tmp_path: Path) -> None:
    target = tmp_path / "repaired.nd2"
    result = run("repair", damaged, target)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"{target}: 5 frames, something was lost"
    lost = lines[lines.index("  lost:") + 1]
    assert lost.startswith("    chunk ImageDataSeq|2!: cannot be had")
    assert run("verify", target).exit_code == 0


def test_repair_without_loss(sound: Path, tmp_path: Path) -> None:
    target = tmp_path / "repaired.nd2"
    result = run("repair", sound, target)
    assert result.exit_code == 0
    assert result.stdout == f"{target}: 5 frames, nothing was lost\n"


def test_repair_that_cannot_be(
    sound: Path, damaged: Path, other: Path, tmp_path: Path
) -> None:
    target = tmp_path / "repaired.nd2"
    empty = tmp_path / "empty.nd2"
    empty.write_bytes(sound.read_bytes()[:4096])
    cases = [
        (empty, target, 1, f"{empty}: chunk ImageAttributesLV!: no image attributes"),
        (other, target, 2, f"{other}: at offset 0: not an .nd2 file"),
        ("no.nd2", target, 2, "no.nd2: no such file"),
        (damaged, damaged, 2, f"{damaged}: "),
        (damaged, sound, 2, f"{sound}: exists already; --overwrite"),
        (damaged, tmp_path / "no" / "a.nd2", 2, f"{tmp_path / 'no'}: there is no such"),
    ]
    for source, out, status, text in cases:
        result = run("repair", source, out)
        assert (result.exit_code, result.stdout) == (status, "")
        assert result.stderr.startswith(f"limnd2-xr: {text}")
        assert len(result.stderr.splitlines()) == 1
    assert not target.exists()


def test_repair_overwrites_and_guesses_if_told(sound: Path, tmp_path: Path) -> None:
    data = sound.read_bytes()
    cut = tmp_path / "cut.nd2"
    cut.write_bytes(data[: data.index(b"ImageDataSeq|4!") + 4000])
    target = tmp_path / "repaired.nd2"
    target.write_bytes(b"old")
    result = run("repair", cut, target, "--overwrite")
    assert result.exit_code == 1
    assert "--guess-size" in result.stderr
    assert target.read_bytes() == b"old"
    result = run("repair", cut, target, "--overwrite", "--guess-size")
    assert result.exit_code == 0
    assert "40 x 30 pixels" in result.stdout
    assert run("verify", target).exit_code == 0
