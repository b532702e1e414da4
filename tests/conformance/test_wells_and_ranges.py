"""Files with wells and display ranges that were written, to readers that are not ours."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import limnd2_xr  # noqa: F401

nd2 = pytest.importorskip("nd2")

CHECK = Path(__file__).resolve().parents[3] / "shared" / "oracles" / "check.py"
INSTALLED = Path.home() / ".cache" / "nd2-oracles"


def image() -> xr.DataArray:
    pixels = np.arange(3 * 2 * 2 * 61 * 48).reshape(3, 2, 2, 61, 48) % 4096
    return xr.DataArray(
        pixels.astype(np.uint16),
        dims=("P", "Z", "C", "Y", "X"),
        coords={
            "C": ["DAPI", "GFP"],
            "well": ("P", ["B3", "B3", "D6"]),
            "display_min": ("C", [0.0, 4095.0]),
            "display_max": ("C", [819.0, 4095.0]),
            "gamma": ("C", [1.0, 0.5]),
        },
        attrs={"significant_bits": 12},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    image().nd2.write_nd2(tmp_path / "wells.nd2", on_loss="raise")
    return tmp_path / "wells.nd2"


def test_nd2_finds_what_was_written(path: Path) -> None:
    with nd2.ND2File(path) as file:
        np.testing.assert_array_equal(file.asarray(), image().values)
        lut, plate = (
            file._rdr._decode_chunk(name, strip_prefix=False)
            for name in (
                b"CustomDataVar|LUTDataV1_0!",
                b"CustomData|WellPlateDesc_0!",
            )
        )
        stored = file._rdr._load_chunk(b"CustomData|WellPlateFrameInfoZJSON!")
    found = lut["m_sLutParam"]["sCompLutParam"]
    # 65535 stands for the brightest value that 12 bits hold: 4095 (FORMAT 3).
    assert (found["a00"]["uiMinSrc"], found["a00"]["uiMaxSrc"]) == (0, 13107)
    assert (found["a01"]["uiMinSrc"], found["a01"]["uiMaxSrc"]) == (65535, 65535)
    assert found["a01"]["dGammaSrc"] == 0.5
    wells = json.loads(zlib.decompress(stored))
    assert [well["seqIndex"] for well in wells] == [0, 1, 2, 3, 4, 5]
    assert [well["wellName"] for well in wells] == ["B3"] * 4 + ["D6"] * 2
    assert {well["wellColIndex"] for well in wells[4:]} == {5}
    assert plate["PlateDesc"]["rows"] == 4
    assert plate["PlateDesc"]["columnNaming"] == "1-6"


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.skipif(
    not (CHECK.exists() and INSTALLED.exists()),
    reason="the foreign readers are not installed",
)
def test_foreign_readers_agree(path: Path) -> None:
    frames = image().values.reshape(6, 2, 61, 48)
    truth: dict[str, Any] = {
        str(i): np.moveaxis(frame, 0, -1) for i, frame in enumerate(frames)
    }
    np.savez(path.with_suffix(".truth.npz"), **truth)
    command = [sys.executable, str(CHECK), str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert run.returncode == 0, run.stdout + run.stderr
