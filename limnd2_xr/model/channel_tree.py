"""Channels as trees to be written: picture planes and sample settings (FORMAT 8.2-8.8).

Each plane gets a sample setting of its own number: some readers look it up by the
number of the plane (FORMAT 8.8). Wavelengths are stored in the one way that all readers
take alike: a filter placed by the user, one peak for excitation and one for emission
(FORMAT 8.4).
"""

from __future__ import annotations

import math
import re
import struct as binary
from typing import TYPE_CHECKING, Final

from limnd2_xr.model.modality import mask_of_flags
from limnd2_xr.model.picture_tree import known_or
from limnd2_xr.model.tree_building import (
    blob,
    boolean,
    f64,
    i32,
    listed,
    nested,
    numbered,
    string,
    struct,
    u32,
    u64,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limnd2_xr.model.channels import Channel
    from limnd2_xr.model.tree_building import Field
    from limnd2_xr.variants.tree import Level

__all__ = [
    "Rotation",
    "camera_channel",
    "camera_channels",
    "filter_fields",
    "plane_tree",
    "planes_tree",
    "probe_tree",
    "rotation_field",
    "setting_tree",
]

Rotation = tuple[float, float, float, float]
"""Rotation from camera to stage axes, row by row."""

_NO_ROTATION: Final = (0.0, 0.0, 0.0, 0.0)
_PEAK: Final = 4
_USER: Final = 6
_BANDPASS: Final = 1
_NO_SATURATION: Final = 0xFFFF_FFFF
_WHITE: Final = 0xFF_FF_FF
_QUALITY_MODE: Final = 2
_OPTICAL_CONFIGURATION: Final = 14
_COLOR: Final = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})\Z")
_BINNING: Final = re.compile(r"([0-9.e+-]+)x([0-9.e+-]+)\Z")


def planes_tree(
    channels: Iterable[tuple[Level, Level]], components: int, description: str
) -> Level:
    """Content of ``sPicturePlanes`` (FORMAT 8.2).

    Parameters
    ----------
    channels
        Plane and sample setting of each channel.
    components
        Components of a frame.
    description
        Description of the planes.
    """
    pairs = list(channels)
    return struct(
        u32("uiCount", len(pairs)),
        u32("uiCompCount", components),
        nested("sPlaneNew", numbered("a", (plane for plane, _ in pairs))),
        u32("uiSampleCount", len(pairs)),
        nested("sSampleSetting", numbered("a", (setting for _, setting in pairs))),
        string("sDescription", description),
        u32("eRepresentation", 0),
        i32("iStimulationSettingsCount", 0),
        nested("sStimulationSetting", listed([])),
    )


def plane_tree(channel: Channel, index: int) -> Level:
    """One plane (FORMAT 8.3).

    Parameters
    ----------
    channel
        What to store.
    index
        Number of its sample setting.

    Raises
    ------
    ValueError
        If the colour is not ``#rrggbb`` or a modality flag is not known.
    """
    flags = channel.modality_flags
    return struct(
        u32("uiCompCount", channel.component_count),
        u32("uiSampleIndex", index),
        u64("uiModalityMask", mask_of_flags(flags)),
        nested("pFluorescentProbe", probe_tree(channel.probe)),
        nested("pFilterPath", struct(string("m_sDescr", ""), *filter_fields(channel))),
        f64("dLampVoltage", 0.0),
        f64("dFadingCorr", 0.0),
        u32("uiColor", stored_color(channel.color)),
        string("sDescription", channel.name),
        f64("dAcqTime", 0.0),
        f64("dPinholeDiameter", known_or(channel.pinhole_um)),
        i32("iChannelSeriesIndex", -1),
        i32("iCapturedPlaneIndex", 0),
        f64("dObjCalibration1to1", 0.0),
        i32("sizeObjFullChip.cx", 0),
        i32("sizeObjFullChip.cy", 0),
    )


def probe_tree(name: str) -> Level:
    """Fluorescent probe without spectra: they would come before those of the filters."""
    return struct(
        string("m_sName", name),
        u32("m_uiColor", _WHITE),
        nested("m_ExcitationSpectrum", _spectrum(None)),
        nested("m_EmissionSpectrum", _spectrum(None)),
    )


def filter_fields(channel: Channel) -> tuple[Field, ...]:
    """Return the fields of ``pFilterPath`` that tell filters and wavelengths.

    The wavelengths go to the first filter, since nd2 knows no other; without a name for
    it, to one without a name.
    """
    lit = channel.emission_nm is not None or channel.excitation_nm is not None
    names = channel.filters or (("",) if lit else ())
    color = stored_color(channel.color)
    filters = [
        struct(
            string("m_sUserName", name),
            string("m_sName", name),
            u32("m_ePlacement", _USER if lit and i == 0 else 0),
            u32("m_eNature", 0),
            u32("m_eSpctType", _BANDPASS),
            u32("m_uiColor", color),
            nested("m_ExcitationSpectrum", _spectrum(channel.excitation_nm, i)),
            nested("m_EmissionSpectrum", _spectrum(channel.emission_nm, i)),
            nested("m_MirrorSpectrum", _spectrum(None)),
        )
        for i, name in enumerate(names)
    ]
    count = u32("m_uiCount", len(filters))
    return (count, nested("m_pFilter", listed(filters))) if filters else (count,)


def setting_tree(channel: Channel, rotation: Rotation | None) -> Level:
    """One sample setting (FORMAT 8.8).

    Parameters
    ----------
    channel
        What to store.
    rotation
        Rotation from camera to stage, None if not known.

    Raises
    ------
    ValueError
        If the binning is not of the form ``2x2``.
    """
    path = channel.light_path
    exposure = channel.exposure_s
    sensor = struct(nested("fmtDesc", struct(*_binning(channel.binning))))
    camera = struct(
        string("CameraUniqueName", path.camera),
        string("CameraUserName", path.camera),
        string("CameraFamilyName", path.camera),
        string("OverloadedUniqueName", ""),
        nested("FormatFast", sensor),
        nested("FormatQuality", sensor),
        nested("Metadata", camera_channels([camera_channel(channel)])),
    )
    device = struct(
        string("m_sMicroscopeFullName", path.microscope),
        string("m_sMicroscopeShortName", path.microscope),
    )
    objective = struct(
        string("wsObjectiveName", path.objective),
        string("wsObjectiveCode", ""),
        f64("dObjectiveMag", known_or(path.magnification)),
        f64("dObjectiveNA", known_or(path.numerical_aperture)),
        f64("dRefractIndex", known_or(path.refractive_index)),
        boolean("bTiltingNosepiece", False),
        f64("dHorizontalAngle", 0.0),
        f64("dVerticalAngle", 0.0),
        f64("dOpticalAxis", 0.0),
    )
    configurations = _configurations(channel.optical_configuration)
    return struct(
        nested("pCameraSetting", camera),
        nested("pDeviceSetting", device),
        nested("pObjectiveSetting", objective),
        u32("uiOpticalConfigs", len(configurations)),
        nested("sOpticalConfigs", configurations),
        string("sSpecSettings", ""),
        f64("dExposureTime", 0.0 if exposure is None else stored_ms(exposure)),
        u32("uiModeFQ", _QUALITY_MODE),
        blob("baScanArea", b""),
        f64("dScalingToIntensity", 0.0),
        rotation_field(rotation),
        f64("dRelayLensZoom", 1.0),
        f64("dObjectiveToPinholeZoom", 1.0),
    )


def camera_channel(channel: Channel) -> Level:
    """One channel of a camera: where Bio-Formats looks for the emission wavelength.

    It repeats what the plane says; nothing here reads it.
    """
    return struct(
        u32("Color", stored_color(channel.color)),
        string("Name", channel.name),
        f64("EmWavelength", channel.emission_nm or 0.0),
        boolean("ChannelIsActive", True),
        f64("ExWavelength", channel.excitation_nm or 0.0),
        u32("MaxSaturatedValue", _NO_SATURATION),
    )


def camera_channels(channels: list[Level]) -> Level:
    """List of the channels of a camera, as ``pCameraSetting/Metadata`` holds it."""
    return struct(
        string("Key", ""),
        u32("ChannelCount", len(channels)),
        nested("Channels", numbered("Channel_", channels)),
    )


def rotation_field(rotation: Rotation | None) -> Field:
    """Return the field ``matCameraToStage``; all zero where not known (FORMAT 8.8)."""
    data = binary.pack("<4d", *(rotation or _NO_ROTATION))
    return nested(
        "matCameraToStage",
        struct(u32("Columns", 2), u32("Rows", 2), blob("Data", data)),
    )


def stored_color(color: str) -> int:
    """Return ``#rrggbb`` as 0x00BBGGRR (FORMAT 8.3).

    Raises
    ------
    ValueError
        If the text is not of this form.

    Examples
    --------
    >>> hex(stored_color("#ff8000"))
    '0x80ff'
    """
    match = _COLOR.match(color)
    if match is None:
        raise ValueError(f"color {color!r} is not of the form #rrggbb")
    red, green, blue = (int(part, 16) for part in match.groups())
    return red | green << 8 | blue << 16


def stored_ms(seconds: float) -> float:
    """Return the milliseconds that reading turns into just these seconds, if any do.

    Examples
    --------
    >>> 0.0011 * 1000.0, stored_ms(0.0011)
    (1.1, 1.1)
    """
    product = seconds * 1000.0
    tried = (
        float(f"{product:.12g}"),
        product,
        math.nextafter(product, math.inf),
        math.nextafter(product, -math.inf),
    )
    return next((ms for ms in tried if ms / 1000.0 == seconds), product)


def _spectrum(nm: float | None, place: int = 0) -> Level:
    known = nm is not None and place == 0
    points = [
        struct(u32("eType", _PEAK), f64("dWavelength", nm), f64("dTValue", 0.0))
        for _ in range(known)
        if nm is not None
    ]
    return struct(
        u32("uiCount", len(points)),
        nested("pPoint", numbered("Point", points)),
        boolean("bPoints", False),
    )


def _binning(binning: str | None) -> list[Field]:
    if binning is None:
        return []
    match = _BINNING.match(binning)
    try:
        x, y = map(float, match.groups() if match else ())
    except ValueError:
        raise ValueError(f"binning {binning!r} is not of the form 2x2") from None
    return [f64("dBinningX", x), f64("dBinningY", y)]


def _configurations(name: str) -> Level:
    if not name:
        return listed([])
    key = u32("uiOCTypeKey", _OPTICAL_CONFIGURATION)
    return listed([struct(key, string("sOpticalConfigName", name))])
