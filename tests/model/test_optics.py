from __future__ import annotations

import math
import struct
from typing import Any

import pytest

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.optics import (
    LightPath,
    Optics,
    magnification_of_name,
    parse_light_path,
    sample_setting,
)
from limnd2_xr.variants.tree import Level


def level(**fields: Any) -> Level:
    made = Level()
    for name, value in fields.items():
        made.add(name, 0, value)
    return made


@pytest.mark.parametrize(
    ("name", "magnification"),
    [
        ("Plan Apo λ 20x", 20.0),
        ("PLAN APO λD 40x OFN25 DIC N2", 40.0),
        ("#Dm PlApo40xB2", 40.0),
        ("CFI Plan Apo 1.25X", 1.25),
        ("Objektiv 2,5x", 2.5),
        ("Apo TIRF 100 x Oil", 100.0),
        ("60×", 60.0),  # noqa: RUF001
        ("20x", 20.0),
        ("Plan Apo", None),
        ("x", None),
        ("0x", None),
        ("", None),
    ],
)
def test_magnification_of_name(name: str, magnification: float | None) -> None:
    assert magnification_of_name(name) == magnification


def test_the_setting_of_the_plane_comes_first() -> None:
    picture = level(
        wsObjectiveName="Old 10x",
        dObjectiveMag=10.0,
        dObjectiveNA=0.3,
        dRefractIndex1=1.33,
        dZoom=2.0,
        dProjectiveMag=1.0,
    )
    lens = level(
        wsObjectiveName="New 20x",
        dObjectiveMag=20.0,
        dObjectiveNA=0.75,
        dRefractIndex=1.0,
    )
    setting = level(
        pObjectiveSetting=lens,
        pCameraSetting=level(CameraUserName="Cam", CameraUniqueName="Cam 7"),
        pDeviceSetting=level(m_sMicroscopeFullName="Ti2 Microscope"),
    )
    assert parse_light_path(picture, setting) == LightPath(
        objective="New 20x",
        magnification=20.0,
        numerical_aperture=0.75,
        refractive_index=1.0,
        zoom=2.0,
        projective_magnification=1.0,
        camera="Cam",
        microscope="Ti2 Microscope",
    )


def test_unknown_values_of_the_setting_fall_back_to_the_picture() -> None:
    lens = level(
        wsObjectiveName="", dObjectiveMag=-1.0, dObjectiveNA=-1.0, dRefractIndex=-1.0
    )
    picture = level(
        wsObjectiveName="P 10x",
        dObjectiveMag=11.0,
        dObjectiveNA=0.3,
        dRefractIndex1=-1.0,
        dRefractIndex2=1.5,
    )
    found = parse_light_path(picture, level(pObjectiveSetting=lens))
    assert found.objective == "P 10x"
    assert (found.magnification, found.numerical_aperture) == (11.0, 0.3)
    assert found.refractive_index == 1.5
    assert found.zoom is None


def test_magnification_comes_from_names_last() -> None:
    nowhere = level(dObjectiveMag=-1.0)
    named = level(wsObjectiveName="P 10x", dObjectiveMag=-1.0)
    assert parse_light_path(named, level(), "60x").magnification == 10.0
    assert parse_light_path(nowhere, level(), "60x").magnification == 60.0
    assert parse_light_path(nowhere, level()).magnification is None


def test_names_of_the_vendors_writer_that_mean_nothing() -> None:
    setting = level(
        pCameraSetting=level(CameraUserName="N/A", CameraUniqueName="N/A"),
        pDeviceSetting=level(m_sMicroscopeFullName="N/A"),
    )
    assert parse_light_path(level(), setting) == LightPath()


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"dCalibration": 0.325, "bCalibrated": True}, 0.325),
        ({"dCalibration": 0.325, "bCalibrated": False}, None),
        ({"dCalibration": 0.325}, 0.325),
        ({"dCalibration": 0.0, "bCalibrated": True}, None),
        ({"dCalibration": -1.0, "bCalibrated": True}, None),
        ({"dCalibration": math.nan, "bCalibrated": True}, None),
        ({"dCalibration": 0.325, "bCalibrated": 116}, 0.325),
        ({}, None),
    ],
)
def test_pixel_size(fields: dict[str, Any], size: float | None) -> None:
    assert Optics.from_raw(level(**fields), None).pixel_size_um == size


def test_the_calibration_chunk_counts_only_without_picture_metadata() -> None:
    chunk = level(dCalibration=0.5, dAspect=0.9, bValid=True, sObjective="Lens 40x")
    alone = Optics.from_raw(None, chunk)
    assert (alone.pixel_size_um, alone.aspect) == (0.5, 0.9)
    assert (alone.objective, alone.magnification) == ("Lens 40x", 40.0)
    both = Optics.from_raw(level(bCalibrated=False, dCalibration=0.0), chunk)
    assert both.pixel_size_um is None
    invalid = level(dCalibration=0.5, bValid=False)
    assert Optics.from_raw(None, invalid).pixel_size_um is None
    assert Optics.from_raw(None, None) == Optics()


def rotation(**fields: Any) -> tuple[float, ...] | None:
    return Optics.from_raw(level(**fields), None).camera_to_stage


def settings(data: bytes) -> Level:
    matrix = level(matCameraToStage=level(Columns=2, Rows=2, Data=data))
    return level(sSampleSetting=level(a0=matrix))


def test_camera_to_stage() -> None:
    stored = {"dStgLgCT11": 0.0, "dStgLgCT12": -1.0, "dStgLgCT21": 1.0}
    assert rotation(**stored) == (0.0, -1.0, 1.0, 0.0)
    matrix = settings(struct.pack("<4d", 1.0, 2.0, 3.0, 4.0))
    assert rotation(sPicturePlanes=matrix, **stored) == (1.0, 2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    "data", [bytes(32), b"", bytes(31), struct.pack("<4d", 1.0, math.nan, 0.0, 1.0)]
)
def test_a_matrix_of_zeros_or_nonsense_is_passed_over(data: bytes) -> None:
    assert rotation(sPicturePlanes=settings(data), dStgLgCT11=1.0) == (1.0, 0, 0, 0)
    assert rotation(sPicturePlanes=settings(data)) is None


def test_angle() -> None:
    assert Optics.from_raw(level(dAngle=1.5), None).rotation_rad == 1.5


def test_sample_setting_is_clamped() -> None:
    first, last = level(n=0), level(n=1)
    chosen = [
        sample_setting([first, last], level(uiSampleIndex=i)) for i in (0, 1, 5, -1)
    ]
    assert chosen == [first, last, last, first]
    assert sample_setting([], level(uiSampleIndex=0)) == level()


def test_wrong_types_are_refused() -> None:
    with pytest.raises(CorruptChunk, match="dObjectiveNA"):
        Optics.from_raw(level(dObjectiveNA="high"), None)
    with pytest.raises(CorruptChunk, match="dStgLgCT22"):
        Optics.from_raw(level(dStgLgCT22=b""), None)
