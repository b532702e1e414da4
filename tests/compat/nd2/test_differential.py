"""Every public name of nd2 0.12 on every sample: the same values, but for what is named."""

from __future__ import annotations

import fnmatch
import importlib.util
import sys
from pathlib import Path

import nd2
import pytest

from limnd2_xr.compat import nd2 as ours

_SPEC = importlib.util.spec_from_file_location(
    "nd2_comparison", Path(__file__).with_name("comparison.py")
)
assert _SPEC is not None
assert _SPEC.loader is not None
comparison = importlib.util.module_from_spec(_SPEC)
sys.modules["nd2_comparison"] = comparison
_SPEC.loader.exec_module(comparison)

pytestmark = pytest.mark.realdata

XARRAY = ("", "(delayed)", "(squeeze)", "(position)", "(position, delayed)")
Z = "frame_metadata.*.position.stagePositionUm.z"
XYZ = "frame_metadata.*.position.stagePositionUm.[xyz]"
DAY = "frame_metadata.*.time.absoluteJulianDayNumber"
T = tuple(f"to_xarray{how}.coords.T" for how in XARRAY)
S = tuple(f"to_xarray{how}.coords.S.*" for how in XARRAY)
UNTIMED = ("frame_metadata.only nd2 raises", "frame_metadata(-1).only nd2 raises")
UNTIMED_OME = (*UNTIMED, "ome_metadata.only nd2 raises")
BY_INDEX = ("frame_metadata(tuple).only nd2 raises",)
RGB = ("metadata.*LambdaNm",)
RGB_FRAMES = ("frame_metadata.*LambdaNm",)
NO_AXES = ("frame_metadata(wrong).only ours raises",)
TREES = tuple(
    f"unstructured_metadata{how}.ImageMetadataSeqLV|0.*.{name}.*"
    for how, name in (("", "ScanArea"), ("(strip_prefix)", "baScanArea"))
)
REPORT = tuple(
    f"unstructured_metadata{how}.ReportObjects.*" for how in ("", "(strip_prefix)")
)
PIXELS: tuple[str, ...] = (
    "asarray*.only nd2 raises",
    "np.asarray.only nd2 raises",
    "read_frame.only nd2 raises",
)
PIXELS += ("to_dask*.only nd2 raises", "to_xarray*.only nd2 raises")

# Each file with all that differs, and the page of docs/explanation/differences that tells
# why and shows it.
DELIBERATE: dict[str, dict[str, tuple[str, ...]]] = {
    "confocal_t3_z10_c2": {"stage-positions": (Z,), "times": (DAY, *T)},
    "fluo_c4": {
        "times": (DAY,),
        "frame-numbers": NO_AXES,
        "whole-trees": (*TREES, *REPORT),
    },
    "netime_t2_u8": {
        "times": T,
        "whole-trees": REPORT,
        "unknown-values": ("ome_metadata.*.pixel.*",),
    },
    "rgb8": {
        "unknown-values": (*RGB, *RGB_FRAMES),
        "times": (DAY,),
        "frame-numbers": NO_AXES,
        "rgb-order": S,
    },
    "timelapse_t53": {
        "stage-positions": (Z,),
        "times": (DAY,),
        "whole-trees": (*TREES, *REPORT),
    },
    "zstack_z11": {
        "stage-positions": (Z,),
        "times": (DAY,),
        "whole-trees": (*TREES, *REPORT),
    },
    "a2_t_u8_oddwidth": {"times": (*UNTIMED_OME, *BY_INDEX, *T)},
    "a3_z_3c_12bit": {"times": (*UNTIMED_OME, *BY_INDEX)},
    "c_rgb_u8": {
        "times": (*UNTIMED_OME, *BY_INDEX, *T),
        "unknown-values": RGB,
        "rgb-order": S,
    },
    "d_f32_single": {
        "times": UNTIMED_OME,
        "frame-numbers": ("frame_metadata(wrong).raises",),
    },
    "e_xy4": {"times": (*UNTIMED_OME, *BY_INDEX)},
    "f_t_xy_z": {"times": (*UNTIMED_OME, *BY_INDEX, *T)},
    # nd2 wants picture metadata
    "g_bare": {"missing-frames": ("*.only nd2 raises", "*.raises")},
    "h_missing_frame": {
        "times": (*UNTIMED_OME, *BY_INDEX),
        "missing-frames": PIXELS,
    },
    "r12_t_f32_2c": {
        "stage-positions": (XYZ,),
        "times": (DAY, *T),
        "ome": ("ome_metadata.only nd2 raises",),
    },
    "r1_tz_2c_nisorder": {"stage-positions": (XYZ,), "times": (DAY, *T)},
    "r8_t_u8_w255_1pad": {"stage-positions": (XYZ,), "times": (DAY, *T)},
    "r9_t_u16_w101_zlib": {"stage-positions": (XYZ,), "times": (DAY, *T)},
}
PAGES = Path(__file__).parents[3] / "docs" / "explanation" / "differences"


def excuses(name: str) -> list[str]:
    return [p for patterns in DELIBERATE[name].values() for p in patterns]


def test_every_difference_has_a_page() -> None:
    told = {page for reasons in DELIBERATE.values() for page in reasons}
    assert told <= {path.stem for path in PAGES.glob("*.md")}


def test_no_public_name_is_forgotten() -> None:
    public = {name for name in dir(nd2.ND2File) if not name.startswith("_")}
    written = {"write_tiff", "write_ome_zarr"}  # in test_exports
    assert set(comparison.PROBES) | written == public
    assert public <= set(dir(ours.ND2File))


def test_values_are_those_of_nd2(each_sample: Path) -> None:
    theirs, mine = (comparison.opened(m, each_sample) for m in (nd2, ours))
    try:
        found = list(comparison.all_differences(theirs, mine))
    finally:
        theirs.close()
        mine.close()
    patterns = excuses(each_sample.stem)
    unexcused = [
        where
        for where in found
        if not any(fnmatch.fnmatchcase(where, pattern) for pattern in patterns)
    ]
    unused = [p for p in patterns if not fnmatch.filter(found, p)]
    assert unexcused == []
    assert unused == []
