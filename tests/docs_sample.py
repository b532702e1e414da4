"""The cells.nd2 that README and docs talk about. usage: python docs_sample.py FILE.nd2"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

SPEC = SyntheticSpec(
    loops=(
        TimeLoop(3, period_ms=10_000.0, avg_period_ms=10_000.0),
        PositionLoop(
            (
                Point(1200.0, -800.0, 3010.0, name="edge"),
                Point(1450.0, -640.0, 3012.5, name="centre"),
            ),
            use_z=True,
        ),
        ZLoop(4, step_um=0.5),
    ),
    width=64,
    height=64,
    channels=(
        ChannelSpec("DAPI", color=0xFF0000, emission_nm=461.0, excitation_nm=405.0),
        ChannelSpec("GFP", color=0x00FF00, emission_nm=510.0, excitation_nm=488.0),
    ),
    significant_bits=12,
    calibration_um=0.325,
    times_ms=np.arange(24) * 1250.0 + 500.0,
    text={5: "two positions, three time points", 4: "A. Author"},
)


def build_cells() -> bytes:
    """Return the bytes of the file: T3 P2 Z4 C2 Y64 X64, uint16."""
    return build(SPEC).data


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(build_cells())
