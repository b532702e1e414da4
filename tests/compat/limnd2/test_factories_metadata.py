"""`MetadataFactory` and `Plane`: picture metadata from what is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from limnd2_xr.compat.limnd2.metadata import PictureMetadata
from limnd2_xr.compat.limnd2.metadata_factory import MetadataFactory, Plane
from limnd2_xr.compat.limnd2.picture_enums import (
    PicturePlaneModality,
    PicturePlaneModalityFlags,
)


def test_values_of_the_factory_are_those_of_planes_that_say_nothing_else() -> None:
    factory = MetadataFactory(
        [{"name": "a"}, Plane(name="b", pinhole_diameter=20)],
        pixel_calibration=0.25,
        pinhole_diameter=50,
        zoom_magnification=2,
        objective_magnification=60,
        camera_name="cam",
    )
    factory.addPlane({"name": "c", "camera_name": "other"}, pinhole_diameter=30)
    factory.addPlane(name="d", camera_name=None)
    metadata = factory.createMetadata()
    assert metadata.valid
    assert metadata.channelNames == ["a", "b", "c", "d"]
    assert [p.dPinholeDiameter for p in metadata.channels] == [50, 20, 30, 50]
    assert [metadata.cameraName(i) for i in range(4)] == ["cam", "cam", "other", "cam"]
    assert (metadata.dCalibration, metadata.bCalibrated) == (0.25, True)
    assert (metadata.dZoom, metadata.dObjectiveMag) == (2.0, 60.0)
    assert metadata.objectiveMagnification(2) == 60.0


def test_a_returned_plane_is_live() -> None:
    factory = MetadataFactory()
    plane = factory.addPlane(name="GFP")
    plane.color = (1, 2, 3)
    plane.modality = "Confocal, Fluo"
    found = factory.getChannel("GFP")
    assert found is plane is factory.getChannel(0)
    assert factory.getChannel(1) is None is factory.getChannel("x")
    channel = factory().channels[0]
    assert channel.colorAsTuple == (1, 2, 3)
    assert channel.modalityList == ["Fluorescence", "LaserScanConfocal"]


def test_wavelengths_filters_and_exposure() -> None:
    factory = MetadataFactory(filter_name="FITC", exposure_time=12.5)
    factory.addPlane(emission_wavelength=515, excitation_wavelength=488)
    factory.addPlane()
    metadata = factory()
    first, second = metadata.channels
    assert (first.emissionWavelengthNm, first.excitationWavelengthNm) == (515.0, 488.0)
    assert (second.emissionWavelengthNm, second.excitationWavelengthNm) == (0.0, 0.0)
    assert first.pFilterPath is not None
    assert first.pFilterPath.m_pFilter[0].m_sName == "FITC"
    settings = metadata.sampleSettings(0)
    assert settings is not None
    assert settings.dExposureTime == 12.5
    assert metadata.channelNames == ["Channel 1", "Channel 2"]


@pytest.mark.parametrize("magnification", [2.5, 20, 60.0])
def test_the_objective_is_named_by_its_magnification(magnification: float) -> None:
    metadata = MetadataFactory(
        [{}], objective_magnification=magnification, zoom_magnification=3
    )()
    assert metadata.objectiveName() == f"{magnification:g}x"
    assert metadata.wsObjectiveName == f"{magnification:g}x"
    named = MetadataFactory([{"objective_name": "Plan Apo 20x"}])()
    assert named.objectiveName() == "Plan Apo 20x"


def test_zooms_that_differ_are_kept_with_the_planes() -> None:
    metadata = MetadataFactory([{"zoom_magnification": z} for z in (1.5, 3)])()
    zooms = [metadata.sampleSettings(i) for i in range(2)]
    assert [zoom.dRelayLensZoom for zoom in zooms if zoom is not None] == [1.5, 3.0]


def test_moments_keep_their_time() -> None:
    zone = timezone(timedelta(hours=2))
    moment = datetime(2024, 5, 6, 17, 30, tzinfo=zone)
    metadata = MetadataFactory([{}], acquisition_time=moment)()
    days = (moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(days=1)
    assert metadata.dTimeAbsolute == pytest.approx(2440587.5 + days, abs=1e-9)
    assert MetadataFactory([{}])().dTimeAbsolute == 0.0  # not known


@pytest.mark.parametrize(
    ("modality", "flags"),
    [
        ("wide field", "Fluorescence Camera"),
        ("Spinning Disc", "Fluorescence SpinDiskConfocal"),
        ("SpinningDiskConfocal", "Fluorescence SpinDiskConfocal"),
        (PicturePlaneModality.eModBrightfield, "Brightfield Camera"),
        (PicturePlaneModalityFlags.modTIRF, "TIRF"),
        (None, ""),
    ],
)
def test_modalities(modality: Any, flags: str) -> None:
    channel = MetadataFactory([{"modality": modality}])().channels[0]
    assert channel.modalityList == flags.split()


def test_without_planes_there_are_those_that_the_frames_need() -> None:
    factory = MetadataFactory(camera_name="cam")
    mono = factory.createMetadata()
    assert (mono.channelNames, mono.cameraName()) == (["Mono"], "cam")
    assert mono.channels[0].colorAsHtmlString == "#808080"
    two = factory.createMetadata(number_of_channels_fallback=2)
    assert two.channelNames == ["Channel 1", "Channel 2"]
    assert all(plane.isFluorescence for plane in two.channels)
    rgb = factory.createMetadata(is_rgb_fallback=True)
    assert rgb.isRgb
    assert rgb.channels[0].isBrightfield
    assert factory.planes == []
    for count in (0, -1):
        with pytest.raises(ValueError, match="created invalid metadata"):
            factory.createMetadata(number_of_channels_fallback=count)


@pytest.mark.parametrize("size", [None, -1, -1.0])
def test_pixels_whose_size_is_not_known(size: float | None) -> None:
    metadata = MetadataFactory([{}], pixel_calibration=size)()
    assert (metadata.bCalibrated, metadata.dCalibration) == (False, -1.0)


@pytest.mark.parametrize(
    "given",
    [
        {"pixel_calibration": 0},
        {"pixel_calibration": -2},
        {"pixel_calibration": float("nan")},
        {"modality": "nonsense"},
        {"color": "lightblue"},
        {"color": (1, 2)},
        {"color": (1, 2, 3, 4)},
        {"color": (1, 2.5, 3)},
        {"color": (1, 2, 256)},
        {"color": 5},
        {"emission_wavelength": -5},
        {"objective_magnification": float("inf")},
        {"component_count": 2},
    ],
)
def test_values_that_mean_nothing(given: dict[str, Any]) -> None:
    factory = MetadataFactory([{}], **given)
    with pytest.raises(ValueError, match=r"."):
        factory()


def test_settings_that_there_are_not() -> None:
    with pytest.raises(TypeError, match="a plane has no pinhole;"):
        MetadataFactory(pinhole=3)
    with pytest.raises(TypeError, match="a plane has no pinhole;"):
        MetadataFactory().addPlane(pinhole=3)


def test_metadata_come_back_from_their_bytes() -> None:
    metadata = MetadataFactory([{"name": "ä", "color": "#102030"}])()
    again = PictureMetadata.from_lv(metadata.to_lv())
    assert again == metadata
