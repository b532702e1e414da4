"""Synthetic files of format 1.0 (JPEG 2000), as nd2 and Bio-Formats read them.

The vendor's SDK opens none. nd2 opens none without loops. Bio-Formats takes T for the
outer loop and cannot read metadata that begin with an XML declaration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from limnd2_xr.testing.legacy import LegacySpec, build_legacy
from limnd2_xr.testing.loop_specs import Point, PositionLoop, TimeLoop, ZLoop
from limnd2_xr.testing.specs import ChannelSpec

if TYPE_CHECKING:
    from pathlib import Path

TWO = (ChannelSpec("DAPI"), ChannelSpec("GFP"))
POINTS = tuple(Point(10.0 * i, -5.0 * i, 1.0 * i) for i in range(3))

SPECS = {
    "legacy_time": LegacySpec(loops=(TimeLoop(3),)),
    "legacy_time_positions_z": LegacySpec(
        loops=(
            TimeLoop(2),
            PositionLoop(POINTS, use_z=True),
            ZLoop(4, step_um=0.5),
        ),
        channels=TWO,
    ),
    "legacy_siblings_u8": LegacySpec(
        loops=(TimeLoop(2), ZLoop(3)),
        loop_style="AIMD",
        channels=(*TWO, ChannelSpec("Cy5")),
        bits=8,
    ),
    "legacy_rgb": LegacySpec(
        loops=(ZLoop(3, kind=5),), channels=(ChannelSpec("HE", components=3),), bits=8
    ),
    "legacy_twelve_bits": LegacySpec(loops=(TimeLoop(2),), bits=12, wrapped=True),
    "legacy_twelve_bit_codestreams": LegacySpec(
        loops=(TimeLoop(2),), bits=12, codestream_bits=12
    ),
}


def write_all(folder: Path) -> list[Path]:
    """Write each file with its pixels beside it; return the paths."""
    paths = []
    for name, spec in SPECS.items():
        made = build_legacy(spec)
        # All components of a frame side by side.
        stored = {
            str(i): np.concatenate(images, axis=-1)
            for i, images in enumerate(made.frames)
        }
        np.savez(folder / f"{name}.truth.npz", **stored)
        paths.append(made.save(folder / f"{name}.nd2"))
    return paths
