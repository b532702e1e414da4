"""The walk-through of limnd2's documentation runs, on ours and under limnd2's name."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from limnd2_xr.compat import install, uninstall

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "limnd2_reader.py"


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore::limnd2_xr.errors.Nd2Warning")
def test_it_shows_every_sample(
    each_sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runpy.run_path(str(EXAMPLE))["main"](str(each_sample))
    shown = capsys.readouterr().out
    assert f"filename: {each_sample.name}" in shown
    assert "Channel name: " in shown


@pytest.mark.realdata
def test_it_shows_what_the_file_says(
    real_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = real_file("confocal_t3_z10_c2")
    runpy.run_path(str(EXAMPLE))["main"](str(path))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    for expected in (
        "loops: T(3), Z(10)",
        "frames: 30, each 4712 bytes",
        "Images: 30 of shape (31, 38, 2), uint16",
        "Modality: Fluorescence LaserScanConfocal GaAsP",
        "Excitation wavelength: 561.0",
        "Experiment: Z-Stack, 10 steps",
        "Home slice: 4",
        "From 3914.651 to 3918.876 µm",
    ):
        assert expected in lines


@pytest.mark.realdata
def test_a_script_that_imports_limnd2_runs(
    real_file: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = EXAMPLE.read_text("utf-8")
    line = "from limnd2_xr.compat import limnd2  # was: import limnd2"
    assert line in text
    script = tmp_path / "example_reader.py"
    script.write_text(text.replace(line, "import limnd2"), "utf-8")
    install("limnd2")
    try:
        main = runpy.run_path(str(script))["main"]
        main(str(real_file("fluo_c4")))
    finally:
        uninstall("limnd2")
    assert "256 x 256" in capsys.readouterr().out


def test_submodules_are_found_under_the_name_of_limnd2() -> None:
    limnd2 = install("limnd2")
    try:
        from limnd2.attributes import (  # type: ignore[import-not-found]
            ImageAttributes,
        )

        assert ImageAttributes is limnd2.ImageAttributes
    finally:
        uninstall("limnd2")
