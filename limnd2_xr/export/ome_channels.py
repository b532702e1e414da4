"""Channels of an OME document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.export.xml_text import xml_text
from limnd2_xr.model.fields import positive
from limnd2_xr.model.optics import stored_planes
from limnd2_xr.model.raw import PICTURE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ome_types import model as m

    from limnd2_xr.export.export_image import ExportImage
    from limnd2_xr.model.channels import Channel

__all__ = ["acquisition_mode", "contrast_method", "illumination", "ome_channels"]

_MODES: Final = (
    ("sted", "STED"),
    ("storm", "STORM"),
    ("multiphoton", "MultiPhotonMicroscopy"),
    ("spectral", "SpectralImaging"),
    ("lightSheet", "SPIM"),
    ("laserScanConfocal", "LaserScanningConfocalMicroscopy"),
    ("spinningDiskConfocal", "SpinningDiskConfocal"),
    ("sora", "SpinningDiskConfocal"),
    ("sweptFieldConfocalPinhole", "SweptFieldConfocal"),
    ("sweptFieldConfocalSlit", "SlitScanConfocal"),
    ("dsdConfocal", "SpinningDiskConfocal"),
    ("deepSIM", "StructuredIllumination"),
    ("iSIM", "StructuredIllumination"),
    ("SIM", "StructuredIllumination"),
    ("TIRF", "TIRF"),
    ("fluorescence", "WideField"),
    ("brightfield", "BrightField"),
    ("darkfield", "WideField"),
    ("phaseContrast", "WideField"),
    ("diContrast", "WideField"),
)
"""Acquisition modes by flag, the most special first."""
_CONTRAST: Final = (
    ("phaseContrast", "Phase"),
    ("diContrast", "DIC"),
    ("namc", "HoffmanModulation"),
    ("darkfield", "Darkfield"),
    ("fluorescence", "Fluorescence"),
    ("brightfield", "Brightfield"),
)
_ILLUMINATION: Final = (
    ("multiphoton", "NonLinear"),
    ("phaseContrast", "Transmitted"),
    ("diContrast", "Transmitted"),
    ("namc", "Transmitted"),
    ("darkfield", "Transmitted"),
    ("transmitDetector", "Transmitted"),
    ("fluorescence", "Epifluorescence"),
    ("brightfield", "Transmitted"),
)
_BINNINGS: Final = frozenset({"1x1", "2x2", "4x4", "8x8"})


def ome_channels(
    source: ExportImage, number: int, detectors: Sequence[str]
) -> list[m.Channel]:
    """Channels of one image, with the settings of their detectors.

    Parameters
    ----------
    source
        What is exported.
    number
        Of the image, for the IDs.
    detectors
        ID of each channel's detector, or "".
    """
    gains = _gains(source)
    return [
        _channel(
            channel,
            id_=f"Channel:{number}:{i}",
            name=source.channel_names[i],
            detector=detectors[i],
            gain=gains.get(channel.name),
        )
        for i, channel in enumerate(source.channels)
    ]


def _channel(
    channel: Channel, *, id_: str, name: str, detector: str, gain: float | None
) -> m.Channel:
    from ome_types import model as m

    flags = channel.modality_flags
    told: dict[str, Any] = {
        "acquisition_mode": acquisition_mode(flags),
        "contrast_method": contrast_method(flags),
        "illumination_type": illumination(flags),
    }
    if not channel.is_rgb:
        # Readers give all three components of RGB what one channel says.
        told["color"] = m.Color(channel.color)
    for field, value in (
        ("emission_wavelength", channel.emission_nm),
        ("excitation_wavelength", channel.excitation_nm),
    ):
        if value is not None:
            told |= {field: value, f"{field}_unit": "nm"}
    if channel.pinhole_um is not None:
        told |= {"pinhole_size": channel.pinhole_um, "pinhole_size_unit": "µm"}
    return m.Channel(
        id=id_,
        name=xml_text(name),
        samples_per_pixel=channel.component_count,
        fluor=xml_text(channel.probe) or None,
        detector_settings=_settings(channel, detector, gain),
        **told,
    )


def _settings(
    channel: Channel, detector: str, gain: float | None
) -> m.DetectorSettings | None:
    from ome_types import model as m

    if not detector:
        return None
    binning: Any = None
    if channel.binning:
        binning = channel.binning if channel.binning in _BINNINGS else "Other"
    return m.DetectorSettings(
        id=detector, binning=binning, gain=gain, zoom=channel.light_path.zoom
    )


def _gains(source: ExportImage) -> dict[str, float]:
    """Gain of the camera by channel name: format 2.x tells it (FORMAT 8.3)."""
    picture = source.origin.raw.struct(PICTURE) if source.origin else None
    if picture is None:
        return {}
    planes = stored_planes(picture.level("sPicturePlanes", create=True))
    cameras = [plane.level("sCameraSetting", create=True) for plane in planes]
    channels = source.document.channels
    if len(channels) != len(planes):
        return {}
    gains = [positive(camera, "dGain") for camera in cameras]
    return {
        channel.name: gain
        for channel, gain in zip(channels, gains, strict=True)
        if gain is not None
    }


def acquisition_mode(flags: Sequence[str]) -> Any:
    """Return the acquisition mode of OME that flags of a modality amount to, or None.

    Examples
    --------
    >>> acquisition_mode(("fluorescence", "spinningDiskConfocal"))
    'SpinningDiskConfocal'
    """
    return _first(_MODES, flags)


def contrast_method(flags: Sequence[str]) -> Any:
    """Return the contrast method of OME that flags of a modality amount to, or None.

    Examples
    --------
    >>> contrast_method(("brightfield", "diContrast"))
    'DIC'
    """
    return _first(_CONTRAST, flags)


def illumination(flags: Sequence[str]) -> Any:
    """Return the illumination type of OME that flags of a modality amount to, or None.

    Examples
    --------
    >>> illumination(("brightfield", "phaseContrast"))
    'Transmitted'
    """
    return _first(_ILLUMINATION, flags)


def _first(table: Sequence[tuple[str, str]], flags: Sequence[str]) -> str | None:
    return next((name for flag, name in table if flag in flags), None)
