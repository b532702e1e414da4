"""Tables of what a file says: loops, columns, channels, the form of a laboratory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from limnd2_xr.compat.limnd2.metadata import PictureMetadata
    from limnd2_xr.compat.limnd2.picture_planes import PicturePlaneDesc
    from limnd2_xr.compat.limnd2.reader import Nd2Reader

__all__ = ["acquisition_table", "custom_table", "loop_tables", "recorded_table"]

Table = dict[str, Any]


def _table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]]) -> Table:
    """Return a table of columns, each a field and a title, and of rows of values."""
    fields = [name for name, _ in columns]
    return {
        "coldefs": [{"field": name, "headerName": title} for name, title in columns],
        "rowdata": [dict(zip(fields, map(_plain, row), strict=True)) for row in rows],
    }


def _plain(value: Any) -> Any:
    """Return a value that JSON has; None for what is no number."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def loop_tables(reader: Nd2Reader) -> list[dict[str, Any]]:
    """Return a table for each loop, with its class and name."""
    found = []
    for level in reader.experiment or ():
        rows = getattr(level.uLoopPars, "info", [])
        names = list(dict.fromkeys(name for row in rows for name in row))
        found.append(
            {
                "ClassName": type(level.uLoopPars).__name__,
                "LoopName": level.name,
                "data": _table(
                    [(name, name) for name in names],
                    ([row.get(name) for name in names] for row in rows),
                ),
            }
        )
    return found


def custom_table(reader: Nd2Reader) -> Table:
    """Return the answers of the form of a laboratory."""
    form = reader.customDescription or ()
    return _table(
        [("name", "Name"), ("value", "Value")],
        ((item.name, item.valueAsText) for item in form),
    )


def recorded_table(reader: Nd2Reader) -> Table:
    """Return the recorded columns."""
    columns = reader.recordedData
    count = columns.rowCount
    values = [
        [*item.data.tolist(), *[None] * (count - len(item.data))] for item in columns
    ]
    return _table(
        [
            (item.ID, f"{item.Desc or item.ID}{f' [{item.Unit}]' if item.Unit else ''}")
            for item in columns
        ],
        zip(*values, strict=True),
    )


def acquisition_table(reader: Nd2Reader) -> Table:
    """Return what each channel was taken with: a row a fact, by channel."""
    picture = reader.pictureMetadata
    rows = [
        (plane.sDescription, name, value)
        for plane in picture.channels
        for name, value in _facts(picture, plane).items()
        if value not in (None, "", 0.0, -1.0)
    ]
    return _table(
        [("group", "Channel"), ("feature", "Feature"), ("value", "Value")], rows
    )


def _facts(picture: PictureMetadata, plane: PicturePlaneDesc) -> dict[str, Any]:
    settings = picture.sampleSettings(plane)
    return {
        "Modality": ", ".join(plane.modalityList),
        "Emission wavelength [nm]": plane.emissionWavelengthNm,
        "Excitation wavelength [nm]": plane.excitationWavelengthNm,
        "Pinhole diameter [µm]": plane.dPinholeDiameter,
        "Color": plane.colorAsHtmlString,
        "Camera": picture.cameraName(plane),
        "Microscope": picture.microscopeName(plane),
        "Exposure [ms]": settings.dExposureTime if settings is not None else None,
        "Optical configurations": ", ".join(picture.opticalConfigurations(plane)),
        "Objective": picture.objectiveName(plane),
        "Magnification": picture.objectiveMagnification(plane),
        "Numerical aperture": picture.objectiveNumericAperture(plane),
        "Refractive index": picture.refractiveIndex(plane),
    }
