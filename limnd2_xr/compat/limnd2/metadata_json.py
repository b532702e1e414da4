"""`metadataAsJSON`: what is known of a file as one JSON text."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.compat.limnd2.attributes import (
    ImageAttributesCompression,
    ImageAttributesPixelType,
)
from limnd2_xr.compat.limnd2.image_info import generalImageInfo

if TYPE_CHECKING:
    import os

    from limnd2_xr.compat.limnd2.picture_planes import SampleSettings
    from limnd2_xr.compat.limnd2.reader import Nd2Reader

__all__ = ["metadataAsJSON"]

_SCHEMA: Final = "1.0"
_COMPRESSIONS: Final[dict[int, str]] = {
    ImageAttributesCompression.ictLossLess: "lossless",
    ImageAttributesCompression.ictLossy: "lossy",
    ImageAttributesCompression.ictNone: "none",
}
_DOCUMENTATION: Final = {
    "summary": "What the file is, in a few words",
    "attributes": "Size and type of the frames",
    "experiment": "Loops in which the frames were taken, the outermost first",
    "metadata": "Channels, what they were taken with, and the size of a pixel",
    "textInfo": "Texts about the image",
    "generalInfo": "What generalImageInfo returns",
}


def metadataAsJSON(
    nd2_reader: Nd2Reader,
    *,
    include_documentation: bool = True,
    indent: int | None = 2,
    output_path: str | os.PathLike[str] | None = None,
) -> str:
    """Return what is known of a file as JSON.

    Parameters
    ----------
    nd2_reader
        The open file.
    include_documentation
        Say with ``_<name>_doc`` what each part is.
    indent
        Spaces by which each level is indented; None for one line.
    output_path
        Write it to a file, too, in UTF-8.

    Returns
    -------
    str
        With ``summary``, ``attributes``, ``experiment``, ``metadata``, ``textInfo`` and
        ``generalInfo``. What is not known is null; colours are ``#rrggbb``.
    """
    texts = nd2_reader.imageTextInfo
    parts = {
        "summary": _summary(nd2_reader),
        "attributes": _attributes(nd2_reader),
        "experiment": _experiment(nd2_reader),
        "metadata": _metadata(nd2_reader),
        "textInfo": texts.to_dict() if texts is not None else None,
        "generalInfo": dict(generalImageInfo(nd2_reader)),
    }
    document: dict[str, Any] = {
        "_schema_version": _SCHEMA,
        "_export_info": {
            "limnd2_version": _version(),
            "export_timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "source_file": nd2_reader.store.filename or nd2_reader.store.uri,
        },
    }
    for name, part in parts.items():
        if include_documentation:
            document[f"_{name}_doc"] = _DOCUMENTATION[name]
        document[name] = part
    text = json.dumps(
        _plain(document), indent=indent, ensure_ascii=False, allow_nan=False
    )
    if output_path is not None:
        Path(output_path).write_text(text, "utf-8")
    return text


def _version() -> str:
    try:
        return f"limnd2-xr {version('limnd2-xr')}"
    except PackageNotFoundError:
        return "limnd2-xr"


def _summary(reader: Nd2Reader) -> dict[str, Any]:
    t, m, z = reader.imageDataShape[:3]
    return {
        "is3D": z > 1,
        "hasTimeSeries": t > 1,
        "hasMultipleXYSites": m > 1,
        "isRGB": reader.isRgb,
        "isFloat": reader.isFloat,
        "dimensionSummary": {
            "zPlanes": z,
            "timePoints": t,
            "xyPositions": m,
            "channels": len(reader.pictureMetadata.channels),
        },
        "fileSizeBytes": reader.store.sizeOnDisk,
        "acquisitionSoftware": reader.software or None,
    }


def _attributes(reader: Nd2Reader) -> dict[str, Any]:
    attributes = reader.imageAttributes
    return {
        "width": attributes.width,
        "height": attributes.height,
        "componentCount": attributes.componentCount,
        "frameCount": reader.chunker.frame_count,
        "pixelType": ImageAttributesPixelType.short_name(attributes.ePixelType),
        "bitsPerComponentSignificant": attributes.uiBpcSignificant,
        "bitsPerComponentInMemory": attributes.uiBpcInMemory,
        "compression": _COMPRESSIONS.get(attributes.eCompression),
        "dtype": np.dtype(attributes.dtype).name,
        "imageBytes": attributes.imageBytes,
    }


def _experiment(reader: Nd2Reader) -> dict[str, Any] | None:
    if reader.experiment is None:
        return None
    levels = []
    for level in reader.experiment:
        pars = level.uLoopPars
        levels.append(
            {
                "type": level.name,
                "count": level.count,
                "step": getattr(pars, "step", None) or None,
                "stepUnit": getattr(pars, "stepUnit", None),
                "parameters": getattr(pars, "info", []),
            }
        )
    return {"levels": levels, "dimensionOrder": list(reader.dimensionSizes())}


def _metadata(reader: Nd2Reader) -> dict[str, Any]:
    picture = reader.pictureMetadata
    channels = [
        {
            "name": name,
            "color": plane.colorAsHtmlString,
            "emissionWavelengthNm": plane.emissionWavelengthNm or None,
            "excitationWavelengthNm": plane.excitationWavelengthNm or None,
            "modality": plane.modalityList,
        }
        for name, plane in zip(picture.channelNames, picture.channels, strict=True)
    ]
    settings = [
        {
            **_settings(picture.sampleSettings(plane)),
            "objectiveName": picture.objectiveName(plane) or None,
            "magnification": _positive(picture.objectiveMagnification(plane)),
            "numericalAperture": _positive(picture.objectiveNumericAperture(plane)),
            "refractiveIndex": _positive(picture.refractiveIndex(plane)),
        }
        for plane in picture.channels
    ]
    known = picture.bCalibrated and picture.dCalibration > 0
    return {
        "channels": channels,
        "sampleSettings": settings,
        "calibration": {
            "pixelSizeUM": picture.dCalibration if known else None,
            "isCalibrated": known,
        },
    }


def _settings(settings: SampleSettings | None) -> dict[str, Any]:
    if settings is None:
        return {}
    return {
        "cameraName": settings.cameraName or None,
        "microscopeName": settings.microscopeName or None,
        "opticalConfigurations": settings.opticalConfigurations,
        "exposureTimeMs": _positive(settings.dExposureTime),
    }


def _positive(number: float) -> float | None:
    return number if number > 0 else None


def _plain(value: Any) -> Any:
    """Return what JSON has: NaN and infinities are null."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
