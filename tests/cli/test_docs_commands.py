"""The commands of the pages about export and index do what they are said to do."""

from __future__ import annotations

import runpy
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from limnd2_xr.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).resolve().parents[2]
PAGES = ("command-line", "export-files", "find-files")


def commands() -> Iterator[str]:
    for page in PAGES:
        text = (REPO / "docs" / "how-to" / f"{page}.md").read_text("utf-8")
        for line in text.splitlines():
            words = line.startswith(("limnd2-xr export ", "limnd2-xr index "))
            if words and "://" not in line:
                yield line


@pytest.fixture(scope="module")
def cells() -> bytes:
    build = runpy.run_path(str(REPO / "tests" / "docs_sample.py"))["build_cells"]
    data: bytes = build()
    return data


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_a_command_works(
    command: str, cells: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plate" / "day2").mkdir(parents=True)
    for name in ("cells", "plate/A01", "plate/day2/A02"):
        (tmp_path / f"{name}.nd2").write_bytes(cells)
    words = shlex.split(command)[1:]
    if "--jobs" in words:  # tested elsewhere: processes take seconds to start
        words[words.index("--jobs") + 1] = "1"
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.stderr) == (0, "")
    if "--output" in words:
        assert (tmp_path / words[words.index("--output") + 1]).stat().st_size > 100
    else:
        assert result.stdout
