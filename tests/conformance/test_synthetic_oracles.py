"""Foreign readers agree on the pixels and sizes of the synthetic files.

Needs the vendor's SDK, nd2 and Bio-Formats as installed by shared/oracles/setup.sh;
skipped without them. Where one of them is known not to cope, it is named and left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    CustomLoop,
    NETimeLoop,
    Period,
    Point,
    PositionLoop,
    SpectralLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

CHECK = Path(__file__).resolve().parents[3] / "shared" / "oracles" / "check.py"
INSTALLED = Path(os.environ.get("ND2_ORACLES", "~/.cache/nd2-oracles")).expanduser()

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHECK.exists() and INSTALLED.exists()),
        reason="the foreign readers are not installed",
    ),
]

TWO = (
    ChannelSpec("DAPI", emission_nm=450.0, excitation_nm=405.0),
    ChannelSpec("GFP", emission_nm=520.0, excitation_nm=488.0),
)
POINTS = (
    Point(10.0, 20.0, 5.0, name="A"),
    Point(30.0, 40.0, 6.0, name="B"),
    Point(50.0, 60.0, 7.0, name="C"),
)
ONE_INVALID = (POINTS[0], Point(1.0, 2.0, 3.0, valid=False), POINTS[2])
PERIODS = (Period(3), Period(2, valid=False), Period(2, period_ms=100.0))


@dataclass(frozen=True)
class Case:
    """A file, what its sizes are, and who is known to read it wrongly."""

    sizes: str
    spec: dict[str, Any] = field(default_factory=dict)
    lost: tuple[str, ...] = ()


CASES = {
    "snap": Case(""),
    "time_z": Case("T3 Z4", {"loops": (TimeLoop(3), ZLoop(4)), "channels": TWO}),
    "points": Case(
        "T2 P3 Z2",
        {"loops": (TimeLoop(2), PositionLoop(POINTS, use_z=True), ZLoop(2))},
    ),
    "invalid_point": Case(
        "P2",
        {"loops": (PositionLoop(ONE_INVALID, relative=True, reference=(5.0, 6.0)),)},
    ),
    "periods": Case("T5 Z2", {"loops": (NETimeLoop(PERIODS), ZLoop(2))}),
    "spectral": Case("T2", {"loops": (TimeLoop(2), SpectralLoop()), "channels": TWO}),
    # Bio-Formats always takes Z for the inner loop, and does not know custom loops.
    "z_outside": Case("Z3 T2", {"loops": (ZLoop(3, kind=6), TimeLoop(2))}, ("bf",)),
    "custom": Case("T2 U3", {"loops": (TimeLoop(2), CustomLoop(3))}),
    "rgb": Case(
        "T2",
        {
            "loops": (TimeLoop(2),),
            "channels": (ChannelSpec("RGB", components=3),),
            "dtype": "uint8",
        },
    ),
    "float": Case("Z3", {"loops": (ZLoop(3),), "dtype": "float32", "channels": TWO}),
    "padded": Case(
        "T2", {"loops": (TimeLoop(2),), "dtype": "uint8", "width": 255, "height": 300}
    ),
    "twelve_bits": Case("T2", {"loops": (TimeLoop(2),), "significant_bits": 12}),
    "zlib": Case("T3", {"loops": (TimeLoop(3),), "compression": "zlib"}),
    "shuffled": Case("T4", {"loops": (TimeLoop(4),), "frame_order": (2, 0, 3, 1)}),
    "stale": Case("T2", {"loops": (TimeLoop(2),), "stale_chunks": True}),
    "interleaved": Case("T5", {"loops": (TimeLoop(5),), "interleave_metadata": True}),
    # Only the SDK follows the name's size (FORMAT 14, oddity 23).
    "odd_names": Case(
        "T3",
        {"loops": (TimeLoop(3),), "frame_name_nbytes": lambda i: 4072 + 7 * i},
        ("nd2", "bf"),
    ),
    "nis4_map": Case("", {"map_style": "nis4"}),
    "ascending_map": Case("T12", {"loops": (TimeLoop(12),), "map_style": "ascending"}),
    "unknown_sizes": Case(
        "T3", {"loops": (TimeLoop(3),), "map_style": "size_equals_offset"}
    ),
    # The SDK takes the first of equal names, and aborts.
    "duplicates": Case(
        "T3", {"loops": (TimeLoop(3),), "map_style": "duplicates"}, ("sdk",)
    ),
    # Only nd2 follows sub-loops.
    "sub_loops": Case(
        "T3 P3",
        {
            "loops": (
                NETimeLoop((Period(2), Period(1)), sub_loops=True),
                PositionLoop(POINTS),
            )
        },
        ("sdk", "bf"),
    ),
    "branches": Case(
        "T2 Z3", {"loops": (TimeLoop(2), ZLoop(3)), "repeat_branches": True}
    ),
    "bare": Case("", {"metadata": "none"}, ("nd2",)),
    "xml_time_z": Case(
        "T3 Z4",
        {"loops": (TimeLoop(3), ZLoop(4)), "channels": TWO, "metadata": "xml"},
    ),
    # Bio-Formats counts the points of version 2 without looking at their flags.
    "xml_points": Case(
        "T2 P2",
        {
            "loops": (TimeLoop(2), PositionLoop(ONE_INVALID, use_z=True)),
            "metadata": "xml",
        },
        ("bf",),
    ),
    "xml_periods": Case(
        "T5 Z2", {"loops": (NETimeLoop(PERIODS), ZLoop(2)), "metadata": "xml"}
    ),
    "xml_spectral": Case(
        "P3",
        {
            "loops": (PositionLoop(POINTS), SpectralLoop()),
            "channels": TWO,
            "metadata": "xml",
            "version": "2.2",
        },
    ),
    "xml_rgb": Case(
        "",
        {
            "channels": (ChannelSpec("RGB", components=3),),
            "dtype": "uint8",
            "metadata": "xml",
        },
    ),
    "xml_zlib": Case(
        "T2", {"loops": (TimeLoop(2),), "compression": "zlib", "metadata": "xml"}
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_foreign_readers_agree(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    spec = SyntheticSpec(**{"width": 256, "height": 192, **case.spec})
    file = build(spec)
    path = file.save(tmp_path / f"{name}.nd2")
    frames: dict[str, Any] = {str(i): frame for i, frame in enumerate(file.frames)}
    np.savez(tmp_path / f"{name}.truth.npz", **frames)
    report = tmp_path / "report.json"
    command = [sys.executable, str(CHECK), str(path), "--json", str(report)]
    if case.lost:
        command += ["--ignore", ",".join(case.lost)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(report.read_text())[str(path)]
    letters = {"CustomLoop": "U"}
    for reader in ("sdk", "nd2"):
        if reader in case.lost:
            continue
        dims = " ".join(f"{letters.get(d, d)}{n}" for d, n in result[reader]["dims"])
        assert dims == case.sizes, reader
        found = result[reader]
        assert found["dtype"] == spec.dtype
        assert found["bits"] == spec.n_significant_bits
        if spec.metadata != "none":
            assert found["channels"] == [c.name for c in spec.channels]
            assert found["pixel"] == [0.5, 0.5]
            assert np.allclose(found["times"], file.times_ms)
    # Bio-Formats does not find a calibration that lies between the frames.
    if spec.metadata == "lv" and name != "interleaved" and "bf" not in case.lost:
        assert result["bf"]["pixel"] == [0.5, 0.5]
