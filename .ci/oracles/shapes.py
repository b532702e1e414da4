"""Synthetic files that every reader can open, one for each shape that matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    NETimeLoop,
    Period,
    Point,
    PositionLoop,
    SpectralLoop,
    SyntheticSpec,
    TimeLoop,
    XmlStyle,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from pathlib import Path

TWO = (ChannelSpec("DAPI", emission_nm=461.0), ChannelSpec("GFP", emission_nm=510.0))
POINTS = (Point(10.0, 20.0, 5.0, name="a"), Point(30.0, -40.0, 5.0, name="b"))

SPECS = {
    "single": SyntheticSpec(),
    "time": SyntheticSpec(loops=(TimeLoop(4),)),
    "time_positions_z": SyntheticSpec(
        loops=(TimeLoop(2), PositionLoop(POINTS), ZLoop(3)), channels=TWO
    ),
    "z_outside_time": SyntheticSpec(loops=(ZLoop(3), TimeLoop(2))),
    "periods": SyntheticSpec(
        loops=(NETimeLoop((Period(2), Period(3, period_ms=500.0))),)
    ),
    "padded_rows_u8": SyntheticSpec(
        loops=(TimeLoop(2),), dtype="uint8", width=61, channels=TWO
    ),
    "rgb": SyntheticSpec(dtype="uint8", channels=(ChannelSpec("RGB", components=3),)),
    "float32": SyntheticSpec(loops=(TimeLoop(2),), dtype="float32"),
    "twelve_bits": SyntheticSpec(
        loops=(TimeLoop(2),), significant_bits=12, channels=TWO
    ),
    "zlib_padded": SyntheticSpec(loops=(TimeLoop(3),), width=51, compression="zlib"),
    "version2_time_positions_z": SyntheticSpec(
        loops=(TimeLoop(2), PositionLoop(POINTS), ZLoop(3)),
        channels=TWO,
        metadata="xml",
        version="2.0",
        width=256,
        height=192,
    ),
    "version2_periods": SyntheticSpec(
        loops=(
            NETimeLoop((Period(2), Period(4, valid=False), Period(1))),
            SpectralLoop(),
        ),
        channels=TWO,
        metadata="xml",
        xml=XmlStyle(sample_settings=False),
        compression="zlib",
        width=256,
        height=192,
    ),
}


SWAPPED_BY_BIO_FORMATS = {"z_outside_time", "version2_time_positions_z"}
"""It takes T for the outer loop whatever the experiment says, and positions of version 2
for the outermost."""


def write_all(folder: Path) -> list[Path]:
    """Write each file with its pixels beside it; return the paths."""
    paths = []
    for name, spec in SPECS.items():
        path = folder / f"{name}.nd2"
        made = build(spec)
        path.write_bytes(made.data)
        stored = {str(i): np.asarray(frame) for i, frame in enumerate(made.frames)}
        np.savez(path.with_suffix(".truth.npz"), **stored)
        paths.append(path)
    return paths
