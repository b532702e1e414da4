"""Picture metadata of a synthetic file: planes, wavelengths, settings (FORMAT 8)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from limnd2_xr.testing.trajectory import frame_times, stage
from limnd2_xr.testing.trees import listed, tree
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from limnd2_xr.testing.specs import ChannelSpec, SyntheticSpec
    from limnd2_xr.testing.trees import Field

__all__ = ["calibration", "picture_metadata"]

_B, _I, _U, _Q = LvType.BOOL, LvType.INT32, LvType.UINT32, LvType.UINT64
_D, _S, _L, _A = LvType.DOUBLE, LvType.STRING, LvType.LEVEL, LvType.BYTES


def calibration(spec: SyntheticSpec) -> float:
    """Size of a pixel as stored, in micrometres; -1 if not known."""
    return -1.0 if spec.calibration_um is None else float(spec.calibration_um)


def picture_metadata(spec: SyntheticSpec) -> Level:
    """Content of the chunk ``ImageMetadataSeqLV|0!`` (or ``ImageMetadataSeq|0!``)."""
    is_xml = spec.metadata == "xml"
    n_settings = 1 + max(_sample_index(c, i) for i, c in enumerate(spec.channels))
    settings: list[ChannelSpec] = [spec.channels[0]] * n_settings
    for i, channel in reversed(list(enumerate(spec.channels))):
        settings[_sample_index(channel, i)] = channel
    letters = [f"a{i}" for i in range(max(n_settings, len(spec.channels)))]
    settings_fields: list[Field] = [
        ("uiSampleCount", _U, n_settings),
        (
            "sSampleSetting",
            _L,
            listed([_sample_setting(spec, c) for c in settings], letters),
        ),
    ]
    planes = tree(
        ("uiCount", _U, len(spec.channels)),
        ("uiCompCount", _U, spec.n_components),
        (
            "sPlane" if is_xml else "sPlaneNew",
            _L,
            listed(
                [_plane(spec, c, i) for i, c in enumerate(spec.channels)],
                letters,
                kind="RLxPicturePlaneDescV1_1" if is_xml else _L,
            ),
        ),
        *(settings_fields if not is_xml or spec.xml.sample_settings else []),
        ("sDescription", _S, ""),
        ("eRepresentation", _U, 0),
        ("iStimulationSettingsCount", _I, 0),
    )
    times = frame_times(spec)
    first = {k: float(v[0]) if len(v) else 0.0 for k, v in stage(spec).items()}
    cos, sin = math.cos(spec.angle), math.sin(spec.angle)
    return tree(
        ("dTimeMSec", _D, float(times[0]) if len(times) else 0.0),
        ("dTimeAbsolute", _D, float(spec.julian_day)),
        ("eTimeSource", _I, 0),
        ("dXPos", _D, first["X"]),
        ("dYPos", _D, first["Y"]),
        ("uiRow", _U, 0),
        # The odd name is NIS-Elements' own (FORMAT 8.1); it cannot be an XML tag.
        ("uiCol" if is_xml else "uiCon20(L", _U, 0),
        ("dZPos", _D, first["Z"]),
        ("bZPosAbsolute", _B, False),
        ("dAngle", _D, float(spec.angle)),
        *([("dPinholeRadius", _D, _pinhole_radius(spec))] if is_xml else []),
        ("sPicturePlanes", _L, planes),
        ("dTemperK", _D, 293.0),
        ("dCalibration", _D, calibration(spec)),
        ("dAspect", _D, 1.0),
        ("bCalibrated", _B, spec.calibration_um is not None),
        ("wsObjectiveName", _S, spec.objective),
        ("dObjectiveMag", _D, float(spec.magnification)),
        ("dObjectiveNA", _D, float(spec.aperture)),
        ("dRefractIndex1", _D, float(spec.refractive_index)),
        ("dRefractIndex2", _D, float(spec.refractive_index)),
        ("dZoom", _D, float(spec.zoom)),
        ("dProjectiveMag", _D, 1.0),
        ("uiPhysicalVarCount", _U, 0),
        ("wsCustomData", _S, ""),
        ("ePictureXAxis", _I, 0),
        ("ePictureYAxis", _I, 1),
        ("dTimeAxisCalibration", _D, -1.0),
        ("dZAxisCalibration", _D, -1.0),
        ("dStgLgCT11", _D, cos),
        ("dStgLgCT12", _D, -sin),
        ("dStgLgCT21", _D, sin),
        ("dStgLgCT22", _D, cos),
    )


def _pinhole_radius(spec: SyntheticSpec) -> float:
    """Half the pinhole of the first channel: version 2 stores one (FORMAT 8.1)."""
    diameter = spec.channels[0].pinhole_um
    return diameter / 2 if diameter > 0 else -1.0


def _sample_index(channel: ChannelSpec, position: int) -> int:
    return position if channel.sample_index is None else channel.sample_index


def _plane(spec: SyntheticSpec, channel: ChannelSpec, position: int) -> Level:
    is_xml = spec.metadata == "xml"
    whole = is_xml and spec.xml.integer_wavelengths
    color = channel.stored_color(position)
    probe = tree(
        ("m_sName", _S, ""),
        ("m_uiColor", _U, 0xFFFFFF),
        ("m_ExcitationSpectrum", _L, _spectrum(None)),
        ("m_EmissionSpectrum", _L, _spectrum(None)),
    )
    filters: list[Level] = []
    if channel.emission_nm is not None or channel.excitation_nm is not None:
        filters.append(
            tree(
                ("m_sUserName", _S, "Custom"),
                ("m_sName", _S, "Custom"),
                ("m_ePlacement", _U, 6),
                ("m_eNature", _U, 0),
                ("m_eSpctType", _U, 1),
                ("m_uiColor", _U, color),
                (
                    "m_ExcitationSpectrum",
                    _L,
                    _spectrum(channel.excitation_nm, whole=whole),
                ),
                ("m_EmissionSpectrum", _L, _spectrum(channel.emission_nm, whole=whole)),
                ("m_MirrorSpectrum", _L, _spectrum(None)),
            )
        )
    path: list[Field] = [("m_sDescr", _S, ""), ("m_uiCount", _U, len(filters))]
    if filters:
        path.append(("m_pFilter", _L, listed(filters)))
    fields: list[Field] = [
        ("uiCompCount", _U, channel.components),
        ("uiSampleIndex", _U, _sample_index(channel, position)),
        ("uiModalityMask", _Q, channel.stored_mask),
        ("pFluorescentProbe", _L, probe),
        ("pFilterPath", _L, tree(*path)),
        ("dLampVoltage", _D, 0.0),
        ("dFadingCorr", _D, 0.0),
        ("uiColor", _U, color),
        ("sDescription", _S, channel.name),
        ("dAcqTime", _D, 0.0),
        ("dPinholeDiameter", _D, float(channel.pinhole_um)),
        ("iChannelSeriesIndex", _I, -1),
        ("sizeObjFullChip.cx", _I, 0),
        ("sizeObjFullChip.cy", _I, 0),
    ]
    if is_xml:
        # Version 2 has a code in place of the mask, settings in the plane and the
        # pinhole in the picture.
        fields = [field for field in fields if field[0] != "dPinholeDiameter"]
        if not spec.xml.modality_masks:
            fields[2] = ("eModality", _U, channel.stored_code)
        camera = tree(
            ("sCameraName", _S, channel.camera),
            ("dExposure", _D, float(channel.exposure_ms)),
            ("dCamBinningX", _D, float(channel.binning[0])),
            ("dCamBinningY", _D, float(channel.binning[1])),
        )
        fields += [
            ("sOpticalConfigName", _S, channel.optical_config),
            ("sCameraSetting", _L, camera),
        ]
    return tree(*fields)


def _spectrum(wavelength_nm: float | None, *, whole: bool = False) -> Level:
    points = []
    if wavelength_nm is not None:
        stored: Field = ("dWavelength", _D, float(wavelength_nm))
        if whole:
            stored = ("uiWavelength", _U, round(wavelength_nm))
        points.append(tree(("eType", _U, 4), stored, ("dTValue", _D, 1.0)))
    return tree(
        ("uiCount", _U, len(points)),
        ("pPoint", _L, listed(points, [f"Point{i}" for i in range(len(points))])),
        ("bPoints", _B, False),
    )


def _sample_setting(spec: SyntheticSpec, channel: ChannelSpec) -> Level:
    bx, by = channel.binning
    sensor = tree(
        (
            "fmtDesc",
            _L,
            tree(("dBinningX", _D, float(bx)), ("dBinningY", _D, float(by))),
        )
    )
    camera = tree(
        ("CameraUniqueName", _S, f"{channel.camera} SN:0"),
        ("CameraUserName", _S, channel.camera),
        ("CameraFamilyName", _S, channel.camera),
        ("OverloadedUniqueName", _S, ""),
        ("ModifiedAtJDN", _D, float(spec.julian_day)),
        ("FormatFast", _L, sensor),
        ("FormatQuality", _L, sensor),
    )
    device = tree(
        ("m_sMicroscopeFullName", _S, "Synthetic Microscope"),
        ("m_iXYUse0", _I, 1),
        ("m_iXOrientation0", _I, 1),
        ("m_iYOrientation0", _I, -1),
    )
    objective = tree(
        ("wsObjectiveName", _S, spec.objective),
        ("wsObjectiveCode", _S, ""),
        ("dObjectiveMag", _D, float(spec.magnification)),
        ("dObjectiveNA", _D, float(spec.aperture)),
        ("dRefractIndex", _D, float(spec.refractive_index)),
        ("bTiltingNosepiece", _B, False),
        ("dHorizontalAngle", _D, 0.0),
        ("dVerticalAngle", _D, 0.0),
        ("dOpticalAxis", _D, 0.0),
    )
    configs = [
        tree(("uiOCTypeKey", _U, 14), ("sOpticalConfigName", _S, name))
        for name in ([channel.optical_config] if channel.optical_config else [])
    ]
    matrix = np.array(
        [
            [math.cos(spec.angle), -math.sin(spec.angle)],
            [math.sin(spec.angle), math.cos(spec.angle)],
        ]
    )
    fields: list[Field] = [
        ("pCameraSetting", _L, camera),
        ("pDeviceSetting", _L, device),
        ("pObjectiveSetting", _L, objective),
        ("uiOpticalConfigs", _U, len(configs)),
        ("sOpticalConfigs", _L, listed(configs)),
        ("sSpecSettings", _S, f"Exposure: {channel.exposure_ms:g} ms\r\n"),
        ("dExposureTime", _D, float(channel.exposure_ms)),
        ("uiModeFQ", _U, 2),
    ]
    if spec.metadata != "xml":  # later than version 2
        stage_matrix = tree(
            ("Columns", _U, 2),
            ("Rows", _U, 2),
            ("Data", _A, matrix.astype("<f8").tobytes()),
        )
        fields += [
            ("baScanArea", _A, b""),
            ("dScalingToIntensity", _D, 0.0),
            ("matCameraToStage", _L, stage_matrix),
            ("dRelayLensZoom", _D, 1.0),
            ("dObjectiveToPinholeZoom", _D, -1.0),
        ]
    return tree(*fields)
