"""Where pixels lie on the stage, by the rotations that a file stores."""

from __future__ import annotations

import math
import struct

import pytest

from limnd2_xr.model.attributes import Attributes
from limnd2_xr.model.stage_matrix import plane_geometry
from limnd2_xr.model.tree_building import blob, f64, i32, nested, u32
from limnd2_xr.model.tree_building import struct as level
from limnd2_xr.variants.tree import Level

ATTRIBUTES = Attributes(
    width=40,
    height=20,
    components=2,
    bits_in_memory=16,
    bits_significant=16,
    row_nbytes=160,
    sequence_count=1,
)


def picture(matrix: bytes | None, use: int = 1) -> Level:
    device = level(
        i32("m_iXYUse0", use), i32("m_iXOrientation0", -1), i32("m_iYOrientation0", 1)
    )
    setting = [nested("pDeviceSetting", device)]
    if matrix is not None:
        stored = level(u32("Columns", 2), u32("Rows", 2), blob("Data", matrix))
        setting.append(nested("matCameraToStage", stored))
    planes = level(
        nested("a0", level(u32("uiCompCount", 1))),
        nested("a1", level(u32("uiCompCount", 1), u32("uiSampleIndex", 1))),
    )
    settings = level(nested("a0", level()), nested("a1", level(*setting)))
    return level(
        f64("dStgLgCT11", 0.0),
        f64("dStgLgCT12", 1.0),
        f64("dStgLgCT21", -1.0),
        f64("dStgLgCT22", 0.0),
        nested(
            "sPicturePlanes",
            level(nested("sPlaneNew", planes), nested("sSampleSetting", settings)),
        ),
    )


def test_each_plane_has_its_own() -> None:
    matrix = (0.5, 0.25, -0.25, 0.5)
    first, second = plane_geometry(
        picture(struct.pack("<4d", *matrix)), ATTRIBUTES, 0.5
    )
    assert (first.sample_index, second.sample_index) == (0, 1)
    assert first.rotation == (0.0, 1.0, -1.0, 0.0)
    assert second.rotation == matrix
    assert first.pixel_to_stage is None
    assert second.pixel_to_stage == (-0.0, -0.5, 5.0, -0.5, 0.0, 10.0)


@pytest.mark.parametrize(
    "data", [None, b"", struct.pack("<4d", math.nan, 0, 0, 1), bytes(31)]
)
def test_matrices_that_are_none(data: bytes | None) -> None:
    second = plane_geometry(picture(data), ATTRIBUTES, 0.5)[1]
    assert second.rotation == (0.0, 1.0, -1.0, 0.0)


def test_what_is_not_known_is_none() -> None:
    assert plane_geometry(picture(None), ATTRIBUTES, None)[1].pixel_to_stage is None
    assert plane_geometry(picture(None, 0), ATTRIBUTES, 0.5)[1].pixel_to_stage is None
    assert plane_geometry(Level(), ATTRIBUTES, 0.5) == ()
