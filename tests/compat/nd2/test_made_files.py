"""Files made for the purpose: nd2 and the drop-in show the same, but for what is named."""

from __future__ import annotations

import fnmatch
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import nd2
import numpy as np
import pytest

from limnd2_xr.compat import nd2 as ours
from limnd2_xr.testing.contents import contents
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    Column,
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

_SPEC = importlib.util.spec_from_file_location(
    "nd2_comparison", Path(__file__).with_name("comparison.py")
)
assert _SPEC is not None
assert _SPEC.loader is not None
comparison = importlib.util.module_from_spec(_SPEC)
sys.modules["nd2_comparison"] = comparison
_SPEC.loader.exec_module(comparison)

TWO = (
    ChannelSpec("DAPI", emission_nm=450.0, excitation_nm=405.0, color=0x00FF8000),
    ChannelSpec("GFP", emission_nm=520.0, excitation_nm=488.0, modality_mask=0x401),
)
POINTS = (
    Point(10.0, 20.0, 5.0, name="A"),
    Point(30.0, 40.0, 6.0, pfs_offset=3.5),
    Point(50.0, 60.0, 7.0, name="C", valid=False),
    Point(70.0, 80.0, 8.0, name="D"),
)


def spec(*loops: object, **more: object) -> SyntheticSpec:
    size = {"width": 24, "height": 16, "channels": TWO}
    made = SyntheticSpec(**{**size, "loops": loops, **more})  # type: ignore[arg-type]
    n = build(made).frames.shape[0]
    return replace(made, times_ms=7.0 + 1000.0 * np.arange(n))


def rich() -> SyntheticSpec:
    made = spec(TimeLoop(2), PositionLoop(POINTS, use_z=True), ZLoop(3, step_um=0.5))
    columns = {
        "X": Column(np.linspace(-5, 5, 18), description="X Coord", unit="µm"),
        "PFS_STATUS": Column(np.arange(18) - 3, description="PFS Status"),
        "Who": Column([f"person {i} µ"[: i % 9] for i in range(18)], unit=" "),
    }
    return replace(made, columns=columns, extra_chunks=contents(made))


SPECS = {
    "rich": rich(),
    "xml": spec(TimeLoop(2), ZLoop(3), metadata="xml", version="2.1"),
    "positions outside": spec(PositionLoop(POINTS[:2]), TimeLoop(3), ZLoop(2)),
    "relative points": spec(
        PositionLoop(POINTS, relative=True, reference=(5.0, 6.0)), channels=TWO[:1]
    ),
    "periods": spec(
        NETimeLoop(
            (
                Period(3, avg_period_ms=1001.0),
                Period(2, valid=False),
                Period(2, avg_period_ms=102.0),
            )
        ),
        ZLoop(2),
    ),
    "from the top": spec(
        ZLoop(5, kind=6, step_um=0.25), TimeLoop(2, avg_period_ms=9.0)
    ),
    "loops of one": spec(TimeLoop(1), PositionLoop(POINTS[:1]), ZLoop(1)),
    "spectral": spec(TimeLoop(2), SpectralLoop()),
    "custom": spec(CustomLoop(3), ZLoop(2), channels=TWO[:1]),
    "rgb": spec(TimeLoop(2), channels=(ChannelSpec("HE", components=3),), dtype="u1"),
    "one row": spec(ZLoop(2), channels=TWO[:1], height=1),
    "zlib": spec(TimeLoop(3), compression="zlib"),
    "no loops": spec(),
}

DAY = "frame_metadata.*.time.absoluteJulianDayNumber"  # page times
Z = "frame_metadata.*.position.stagePositionUm.z"  # page stage-positions
DELIBERATE: dict[str, tuple[str, ...]] = {
    "rich": (DAY, Z, "frame_metadata.*.stagePositionUm.x", "binary_data.len"),
    "xml": (DAY, Z, "experiment.*.deviceName"),  # it has another name there
    "positions outside": (DAY, Z),
    "relative points": (DAY,),
    "periods": (DAY, Z, "to_xarray*.coords.T"),
    "from the top": (DAY, Z),
    "loops of one": (DAY, "frame_metadata(wrong).only ours raises"),
    "spectral": (DAY,),
    "custom": (DAY, Z, "ome_metadata.len"),
    "rgb": (DAY, "*metadata.*LambdaNm", "to_xarray*.coords.S.*"),
    "one row": (DAY, Z),
    "zlib": (DAY,),
    "no loops": (DAY, "frame_metadata(wrong).only ours raises"),
}


@pytest.mark.parametrize("name", SPECS)
def test_values_are_those_of_nd2(name: str, tmp_path: Path) -> None:
    path = build(SPECS[name]).save(tmp_path / f"{name}.nd2")
    theirs, mine = (comparison.opened(m, path) for m in (nd2, ours))
    try:
        found = list(comparison.all_differences(theirs, mine))
    finally:
        theirs.close()
        mine.close()
    patterns = DELIBERATE[name]
    known = {place for p in patterns for place in fnmatch.filter(found, p)}
    assert set(found) - known == set()
    assert [p for p in patterns if not fnmatch.filter(found, p)] == []
