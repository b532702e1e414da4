"""The table of oddities in the docs says what this package and `nd2` do today."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

REPO = Path(__file__).resolve().parents[2]
SCRIPT = REPO / ".ci" / "oracles" / "oddities.py"


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("oddities", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["oddities"] = module
    spec.loader.exec_module(module)
    return module


script = _script()
ROWS: dict[tuple[str, str], list[str]] = script.rows_of(script.PAGE.read_text("utf-8"))


def test_the_table_has_every_oddity_and_no_other() -> None:
    assert list(ROWS) == [(oddity.place, oddity.what) for oddity in script.ODDITIES]
    places = {p for oddity in script.ODDITIES for p in oddity.place.split(", ")}
    assert {f"14.{n}" for n in range(1, 45)} <= places


@pytest.mark.parametrize("oddity", script.ODDITIES, ids=lambda oddity: oddity.what)
def test_files_open_as_the_table_says(oddity: Any, tmp_path: Path) -> None:
    pytest.importorskip("nd2")
    found = script.columns(oddity, tmp_path)
    assert found[:2] == ROWS[oddity.place, oddity.what][:2]
