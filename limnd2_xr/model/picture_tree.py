"""Picture metadata of frame 0 as a tree to be written, without its planes (FORMAT 8.1).

Names, order and stored types are those of NIS-Elements 5. Fields whose value is not
known and for which the format has no value that says so are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limnd2_xr.model.flat_trees import UNKNOWN
from limnd2_xr.model.optics import LightPath
from limnd2_xr.model.tree_building import (
    boolean,
    f64,
    i32,
    listed,
    nested,
    string,
    struct,
    u32,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from limnd2_xr.model.channels import Channel
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.optics import Optics
    from limnd2_xr.model.records import FrameRecords
    from limnd2_xr.model.tree_building import Field
    from limnd2_xr.variants.tree import Level

__all__ = [
    "FirstFrame",
    "camera_rotation",
    "common_light_path",
    "known_or",
    "picture_tree",
]

_MATRIX: Final = ("dStgLgCT11", "dStgLgCT12", "dStgLgCT21", "dStgLgCT22")
_DAY_MS: Final = 86_400_000
_KELVIN_UNKNOWN: Final = -1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstFrame:
    """What records and loops say of frame 0; None where they do not."""

    time_ms: float | None = None
    """Time since the start of the acquisition."""
    x_um: float | None = None
    """Stage X."""
    y_um: float | None = None
    """Stage Y."""
    z_um: float | None = None
    """Stage Z."""

    @classmethod
    def of(cls, document: Nd2Document, records: FrameRecords) -> FirstFrame:
        """Return what is recorded for frame 0, else the first point of the positions."""
        time = _first(records.times_ms)
        loop = document.experiment.position_loop
        point = loop.points[0] if loop is not None and loop.points else None
        x, y = _first(records.x), _first(records.y)
        if point is not None and (x is None or y is None):
            x, y = _finite(point.x_um), _finite(point.y_um)
        return cls(
            time_ms=time if time is not None and time >= 0 else None,
            x_um=x,
            y_um=y,
            z_um=_first(records.z),
        )


def picture_tree(
    document: Nd2Document, planes: Level, first: FirstFrame | None = None
) -> Level:
    """Content of ``SLxPictureMetadata``.

    Parameters
    ----------
    document
        What to store.
    planes
        Content of ``sPicturePlanes``.
    first
        What else is known of frame 0: stands in where the document does not state it.

    Raises
    ------
    ValueError
        If a value does not fit into its field.
    """
    picture, optics = document.picture, document.optics
    first = first or FirstFrame()
    acquisition = document.acquisition
    path = common_light_path(optics, document.channels)
    frame0_ms = acquisition.frame0_ms
    if frame0_ms is None:
        frame0_ms = first.time_ms or 0.0
    frame0_jd = acquisition.frame0_jd
    if frame0_jd is None and acquisition.start_jd is not None:
        frame0_jd = acquisition.start_jd + frame0_ms / _DAY_MS
    size = optics.pixel_size_um
    return struct(
        f64("dTimeMSec", frame0_ms),
        f64("dTimeAbsolute", frame0_jd or 0.0),
        i32("eTimeSource", acquisition.time_source),
        *_known("dXPos", picture.x_um, first.x_um),
        *_known("dYPos", picture.y_um, first.y_um),
        u32("uiRow", 0),
        u32("uiCon20(L", 0),  # NIS-Elements' own spelling
        *_known("dZPos", picture.z_um, first.z_um),
        boolean("bZPosAbsolute", picture.z_absolute),
        *_known("dAngle", optics.rotation_rad),
        nested("sPicturePlanes", planes),
        f64("dTemperK", known_or(picture.temperature_k, _KELVIN_UNKNOWN)),
        f64("dCalibration", known_or(size)),
        f64("dAspect", known_or(optics.aspect, 1.0)),
        boolean("bCalibrated", size is not None),
        string("wsObjectiveName", path.objective),
        f64("dObjectiveMag", known_or(path.magnification)),
        f64("dObjectiveNA", known_or(path.numerical_aperture)),
        f64("dRefractIndex1", known_or(path.refractive_index)),
        f64("dRefractIndex2", known_or(path.refractive_index)),
        f64("dZoom", known_or(optics.zoom)),
        f64("dProjectiveMag", known_or(optics.projective_magnification)),
        u32("uiPhysicalVarCount", 0),
        nested("pPhysicalVar", listed([])),
        string("wsCustomData", picture.custom),
        i32("ePictureXAxis", picture.x_axis),
        i32("ePictureYAxis", picture.y_axis),
        f64("dTimeAxisCalibration", UNKNOWN),
        f64("dZAxisCalibration", UNKNOWN),
        *_matrix(optics),
    )


def known_or(value: float | None, unknown: float = UNKNOWN) -> float:
    """Return a value, or what the format writes where it is not known."""
    return unknown if value is None else value


def common_light_path(optics: Optics, channels: Sequence[Channel]) -> LightPath:
    """Light path that all channels share; unknown where they differ.

    Readers take it for every channel that states nothing of its own.

    Examples
    --------
    >>> from limnd2_xr.model.channels import Channel
    >>> from limnd2_xr.model.optics import Optics
    >>> channels = [
    ...     Channel(light_path=LightPath(objective=name, zoom=2.0)) for name in "AB"
    ... ]
    >>> common_light_path(Optics(objective="A", zoom=2.0), channels)
    LightPath(objective='', ..., zoom=2.0, ...)
    """
    paths = [optics, *(channel.light_path for channel in channels)]

    def text(name: str) -> str:
        values = {getattr(path, name) for path in paths}
        return str(values.pop()) if len(values) == 1 else ""

    def number(name: str) -> float | None:
        values = {getattr(path, name) for path in paths}
        return values.pop() if len(values) == 1 else None

    return LightPath(
        objective=text("objective"),
        magnification=number("magnification"),
        numerical_aperture=number("numerical_aperture"),
        refractive_index=number("refractive_index"),
        zoom=number("zoom"),
        projective_magnification=number("projective_magnification"),
        camera=text("camera"),
        microscope=text("microscope"),
    )


def camera_rotation(optics: Optics) -> tuple[float, float, float, float] | None:
    """Rotation from camera to stage, from the angle if only that is known (FORMAT 8.1).

    Examples
    --------
    >>> from limnd2_xr.model.optics import Optics
    >>> camera_rotation(Optics(rotation_rad=0.0))
    (1.0, -0.0, 0.0, 1.0)
    """
    if optics.camera_to_stage is not None or optics.rotation_rad is None:
        return optics.camera_to_stage
    cos, sin = math.cos(optics.rotation_rad), math.sin(optics.rotation_rad)
    return cos, -sin, sin, cos


def _matrix(optics: Optics) -> list[Field]:
    rotation = camera_rotation(optics)
    if rotation is None:
        return []
    return [f64(name, value) for name, value in zip(_MATRIX, rotation, strict=True)]


def _known(name: str, *values: float | None) -> list[Field]:
    """Field of the first of the values that is known, none without any."""
    known = [value for value in values if value is not None]
    return [f64(name, value) for value in known[:1]]


def _first(values: npt.NDArray[np.float64] | None) -> float | None:
    return _finite(float(values[0])) if values is not None and len(values) else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
