"""Metadata chunks of a synthetic file: attributes, picture metadata, text, columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from limnd2_xr.testing.experiment_tree import experiment
from limnd2_xr.testing.specs import Column, NETimeLoop, PositionLoop, TimeLoop, ZLoop
from limnd2_xr.testing.trees import listed, to_xml, tree
from limnd2_xr.variants import lite, xml
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.testing.specs import ChannelSpec, SyntheticSpec
    from limnd2_xr.testing.trees import Field

__all__ = [
    "attributes_chunk",
    "frame_times",
    "leading_chunks",
    "stage",
    "trailing_chunks",
]

_B, _I, _U, _Q = LvType.BOOL, LvType.INT32, LvType.UINT32, LvType.UINT64
_D, _S, _L, _A = LvType.DOUBLE, LvType.STRING, LvType.LEVEL, LvType.BYTES

_STRING_SLOT = 512  # bytes of a string in a recorded column (FORMAT 9.3)


def attributes_chunk(
    spec: SyntheticSpec, sequence_count: int | None = None
) -> tuple[str, bytes]:
    """Name and payload of the attributes chunk (FORMAT 5).

    `sequence_count` stands in for the real one, as in unfinished files.
    """
    if sequence_count is None:
        sequence_count = spec.sequence_count
    if sequence_count is None:
        sequence_count = spec.n_frames
    dtype = spec.stored_dtype
    bits_type = _U if spec.metadata == "xml" else _I
    fields: list[Field] = [
        ("uiWidth", _U, spec.width),
        ("uiWidthBytes", _U, spec.row_nbytes),
        ("uiHeight", _U, spec.height),
        ("uiComp", _U, spec.n_components),
        ("uiBpcInMemory", bits_type, 8 * dtype.itemsize),
        ("uiBpcSignificant", bits_type, spec.n_significant_bits),
        ("uiSequenceCount", _U, sequence_count),
        ("uiTileWidth", _U, spec.width),
        ("uiTileHeight", _U, spec.height),
        ("eCompression", _I, {"zlib": 0, "lossy": 1, None: 2}[spec.compression]),
        ("dCompressionParam", _D, float(spec.compression_level)),
    ]
    if spec.metadata != "xml":  # version 2 does not have these (FORMAT 5)
        fields += [
            ("ePixelType", _I, {"i": 0, "u": 1, "f": 2}[dtype.kind]),
            ("uiVirtualComponents", _U, spec.n_components),
        ]
    unknown = spec.attributes.keys() - {name for name, _, _ in fields}
    if unknown:
        raise ValueError(f"no attributes: {', '.join(sorted(unknown))}")
    fields = [(name, kind, spec.attributes.get(name, v)) for name, kind, v in fields]
    if spec.metadata == "xml":
        return "ImageAttributes!", _xml_document(tree(*fields))
    return "ImageAttributesLV!", _lite_document("SLxImageAttributes", tree(*fields))


def leading_chunks(spec: SyntheticSpec) -> dict[str, bytes]:
    """Chunks that stand before the frames: experiment, calibration, picture metadata."""
    if spec.metadata == "none":
        return {}
    is_xml = spec.metadata == "xml"
    chunks: dict[str, bytes] = {}
    loops = experiment(spec, xml=is_xml)
    if loops is not None:
        if is_xml:
            chunks["ImageMetadata!"] = xml.encode(to_xml(loops))
        else:
            chunks["ImageMetadataLV!"] = lite.encode(loops)
    calibration = tree(
        ("dCalibration", _D, _calibration(spec)),
        ("dAspect", _D, 1.0),
        ("bValid", _B, spec.calibration_um is not None),
        ("sObjective", _S, spec.objective),
    )
    picture = _picture_metadata(spec)
    if is_xml:
        chunks["ImageCalibration|0!"] = _xml_document(calibration)
        chunks["ImageMetadataSeq|0!"] = _xml_document(picture)
    else:
        chunks["ImageCalibrationLV|0!"] = _lite_document("SLxCalibration", calibration)
        chunks["ImageMetadataSeqLV|0!"] = _lite_document("SLxPictureMetadata", picture)
    return chunks


def trailing_chunks(spec: SyntheticSpec) -> dict[str, bytes]:
    """Chunks that stand behind the frames: text, clocks, recorded columns, software."""
    if spec.metadata == "none":
        return {}
    n = spec.n_frames
    chunks: dict[str, bytes] = {}
    text = tree(
        *((f"TextInfoItem_{i}", _S, t) for i, t in enumerate(_text_items(spec)))
    )
    if spec.metadata == "xml":
        chunks["ImageTextInfo!"] = _xml_document(text)
    else:
        chunks["ImageTextInfoLV!"] = _lite_document("SLxImageTextInfo", text)
    chunks.update(_columns(spec))
    chunks["CustomDataVar|AppInfo_V1_0!"] = _xml_document(
        tree(
            ("m_SWNameString", _S, "limnd2_xr.testing"),
            ("m_GrabberString", _S, spec.channels[0].camera),
            ("m_VersionString", _S, "0.0"),
            ("m_CopyrightString", _S, ""),
            ("m_CompanyString", _S, ""),
            ("m_NFRString", _S, ""),
        )
    )
    chunks["CustomData|AcqTimesCache!"] = frame_times(spec).astype("<f8").tobytes()
    chunks["CustomData|AcqTimes2Cache!"] = bytes(8 * n)
    chunks["CustomData|AcqFramesCache!"] = bytes(4 * n)
    return chunks


def frame_times(spec: SyntheticSpec) -> NDArray[np.float64]:
    """Acquisition time of each frame in ms, strictly increasing unless given.

    Raises
    ------
    ValueError
        If `spec.times_ms` has not one value a frame.
    """
    n = spec.n_frames
    if spec.times_ms is not None:
        given = np.asarray(spec.times_ms, np.float64)
        if given.shape != (n,):
            raise ValueError(f"times_ms has shape {given.shape}, there are {n} frames")
        return given
    period = 100.0
    outer = spec.loops[0] if spec.loops else None
    if isinstance(outer, TimeLoop) and outer.period_ms > 0 and outer.length:
        period = outer.period_ms * outer.length / max(n, 1)
    return np.asarray(5.0 + period * np.arange(n), np.float64)


def stage(spec: SyntheticSpec) -> dict[str, NDArray[np.float64]]:
    """Stage position of each frame in micrometres, by axis: ``X``, ``Y``, ``Z``."""
    shape = spec.loop_shape
    n = spec.n_frames
    index = np.stack(
        np.unravel_index(np.arange(n) % max(math.prod(shape), 1), shape or (1,))
    )
    out = {k: np.full(n, p) for k, p in zip("XYZ", spec.position_um, strict=True)}
    counted = [loop for loop in spec.loops if loop.axis]
    for loop, along in zip(counted, index, strict=False):
        if isinstance(loop, PositionLoop) and loop.length:
            valid = [p for p in loop.points if p.valid]
            out["X"] = np.array([p.x for p in valid])[along]
            out["Y"] = np.array([p.y for p in valid])[along]
            if loop.use_z:
                out["Z"] = np.array([p.z for p in valid])[along]
    for loop, along in zip(counted, index, strict=False):
        if isinstance(loop, ZLoop):
            out["Z"] = out["Z"] + along * loop.rise_um
    return {k: np.asarray(v, np.float64) for k, v in out.items()}


def _lite_document(name: str, content: Level) -> bytes:
    return lite.encode(tree((name, _L, content)))


def _xml_document(content: Level, name: str = "") -> bytes:
    return xml.encode(to_xml(tree((name, _L, content))))


def _calibration(spec: SyntheticSpec) -> float:
    return -1.0 if spec.calibration_um is None else float(spec.calibration_um)


def _picture_metadata(spec: SyntheticSpec) -> Level:
    is_xml = spec.metadata == "xml"
    n_settings = 1 + max(_sample_index(c, i) for i, c in enumerate(spec.channels))
    settings: list[ChannelSpec] = [spec.channels[0]] * n_settings
    for i, channel in reversed(list(enumerate(spec.channels))):
        settings[_sample_index(channel, i)] = channel
    letters = [f"a{i}" for i in range(max(n_settings, len(spec.channels)))]
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
        ("uiSampleCount", _U, n_settings),
        (
            "sSampleSetting",
            _L,
            listed([_sample_setting(spec, c) for c in settings], letters),
        ),
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
        ("sPicturePlanes", _L, planes),
        ("dTemperK", _D, 293.0),
        ("dCalibration", _D, _calibration(spec)),
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


def _sample_index(channel: ChannelSpec, position: int) -> int:
    return position if channel.sample_index is None else channel.sample_index


def _plane(spec: SyntheticSpec, channel: ChannelSpec, position: int) -> Level:
    is_xml = spec.metadata == "xml"
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
                ("m_ExcitationSpectrum", _L, _spectrum(channel.excitation_nm)),
                ("m_EmissionSpectrum", _L, _spectrum(channel.emission_nm)),
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
        # Version 2 has a code in place of the mask, and settings in the plane.
        fields[2] = ("eModality", _U, 1 if channel.stored_mask & 2 else 0)
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


def _spectrum(wavelength_nm: float | None) -> Level:
    points = []
    if wavelength_nm is not None:
        points.append(
            tree(
                ("eType", _U, 4),
                ("dWavelength", _D, float(wavelength_nm)),
                ("dTValue", _D, 1.0),
            )
        )
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


def _text_items(spec: SyntheticSpec) -> list[str]:
    """Make the fourteen texts (FORMAT 9.1), dimensions line in agreement with loops."""
    letters = {"T": "T", "P": "XY", "Z": "Z", "U": "U"}
    parts = []
    for loop in spec.loops:
        if loop.axis:
            name = "T'" if isinstance(loop, NETimeLoop) else letters[loop.axis]
            parts.append(f"{name}({loop.length})")
    if any(c.components == 1 for c in spec.channels):
        parts.append(f"λ({len(spec.channels)})")
    lines = [
        "Metadata:",
        f"Dimensions: {' x '.join(parts)}" if parts else "",
        f"Camera Name: {spec.channels[0].camera}",
        f"Numerical Aperture: {spec.aperture:g}",
        f"Refractive Index: {spec.refractive_index:g}",
    ]
    if len(spec.channels) > 1:
        lines.append(f"Number of Picture Planes: {len(spec.channels)}")
    items = [""] * 14
    items[5] = "\r\n".join(line for line in lines if line)
    items[9] = "3/7/2025  6:00:00 PM"
    items[13] = spec.objective
    for i, text in spec.text.items():
        items += [""] * (i + 1 - len(items))
        items[i] = text
    return items


def _columns(spec: SyntheticSpec) -> dict[str, bytes]:
    columns = spec.columns
    if columns is None:
        columns = {
            axis: Column(values, description=f"{axis} Coord", unit="µm")
            for axis, values in stage(spec).items()
        }
    if not columns:
        return {}
    tags: list[Level] = []
    chunks: dict[str, bytes] = {}
    for key, given in columns.items():
        column = given if isinstance(given, Column) else Column(given)
        values = np.asarray(column.values)
        if values.dtype.kind == "f":
            code, data = 3, values.astype("<f8").tobytes()
        elif values.dtype.kind in "iu":
            code, data = 2, _as_int32(key, values).tobytes()
        else:
            code = 1
            texts = [f"{v}\0".encode("utf-16-le") for v in values.tolist()]
            data = b"".join(t.ljust(_STRING_SLOT, b"\0") for t in texts)
        chunks[f"CustomData|{key}!"] = data
        tags.append(
            tree(
                ("ID", _S, key),
                ("Type", _I, code),
                ("Group", _I, 1),
                ("Size", _I, len(values)),
                ("Desc", _S, column.description or key),
                ("Unit", _S, column.unit),
            )
        )
    description = listed(tags, [f"Tag{i}" for i in range(len(tags))])
    document = _xml_document(description, "CustomTagDescription_v1.0")
    return {"CustomDataVar|CustomDataV2_0!": document, **chunks}


def _as_int32(key: str, values: NDArray[np.generic]) -> NDArray[np.int32]:
    out = values.astype("<i4")
    if not np.array_equal(out, values):
        raise ValueError(f"column {key!r} has values that do not fit into 32 bits")
    return out
