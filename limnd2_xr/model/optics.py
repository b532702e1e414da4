"""Objective, camera and pixel size (FORMAT 8.1, 8.8)."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from limnd2_xr.model.fields import (
    finite,
    flag,
    integer,
    levels_by_number,
    positive,
    real,
    text,
    unwrap,
)
from limnd2_xr.variants.tree import Level

__all__ = [
    "LightPath",
    "Optics",
    "magnification_of_name",
    "parse_light_path",
    "plane_light_path",
    "sample_setting",
    "sample_settings",
    "stored_planes",
]

_MAGNIFICATION: Final = re.compile(r"(?<![\d.,])(\d{1,4}(?:[.,]\d{1,3})?)\s?[xX\u00d7]")
_CAMERA_TO_STAGE: Final = ("dStgLgCT11", "dStgLgCT12", "dStgLgCT21", "dStgLgCT22")


@dataclass(frozen=True, kw_only=True, slots=True)
class LightPath:
    """Light path of a picture, or of one channel of it; None where unknown."""

    objective: str = ""
    """Name of the objective."""
    magnification: float | None = None
    """Magnification of the objective."""
    numerical_aperture: float | None = None
    """Numerical aperture of the objective."""
    refractive_index: float | None = None
    """Refractive index of the immersion medium."""
    zoom: float | None = None
    """Zoom magnification."""
    projective_magnification: float | None = None
    """Magnification of the projection lens."""
    camera: str = ""
    """Name of the camera or detector unit."""
    microscope: str = ""
    """Name of the microscope."""


def parse_light_path(
    picture: Level, setting: Level, optics_text: str = ""
) -> LightPath:
    """Take what is known from picture metadata and one sample setting.

    The objective of the sample setting comes first: its magnification and aperture
    were checked against NIS-Elements (FORMAT 8.8), while ``dObjectiveMag`` of the
    picture is -1 in every file seen. A magnification stored nowhere is taken from the
    name (``20x``), then from the text info.

    Parameters
    ----------
    picture
        Decoded picture metadata.
    setting
        Decoded sample setting of the plane; an empty level if there is none.
    optics_text
        What the text info says about the optics (FORMAT 9.1, item 13).

    Raises
    ------
    CorruptChunk
        If a field has the wrong type.
    """
    lens = setting.level("pObjectiveSetting", create=True)
    camera = setting.level("pCameraSetting", create=True)
    device = setting.level("pDeviceSetting", create=True)
    objective = text(lens, "wsObjectiveName") or text(
        picture, "wsObjectiveName", "sObjective"
    )
    return LightPath(
        objective=objective,
        magnification=positive(lens, "dObjectiveMag")
        or positive(picture, "dObjectiveMag")
        or magnification_of_name(objective)
        or magnification_of_name(optics_text),
        numerical_aperture=positive(lens, "dObjectiveNA")
        or positive(picture, "dObjectiveNA"),
        refractive_index=positive(lens, "dRefractIndex")
        or positive(picture, "dRefractIndex1")
        or positive(picture, "dRefractIndex2"),
        zoom=positive(picture, "dZoom"),
        projective_magnification=positive(picture, "dProjectiveMag"),
        camera=text(camera, "CameraUserName", "CameraUniqueName"),
        microscope=text(device, "m_sMicroscopeFullName", "m_sMicroscopeShortName"),
    )


def plane_light_path(
    picture: Level, plane: Level, setting: Level, optics_text: str = ""
) -> LightPath:
    """Return the same for one plane, which in format 2.x may name the camera itself."""
    path = parse_light_path(picture, setting, optics_text)
    if path.camera or not (camera := _plane_camera(plane)):
        return path
    return replace(path, camera=camera)


def magnification_of_name(name: str) -> float | None:
    """Return the number before the ``x`` in the name of an objective, None without.

    Examples
    --------
    >>> magnification_of_name("Plan Apo 20x"), magnification_of_name("Dm PlApo40xB2")
    (20.0, 40.0)
    """
    match = _MAGNIFICATION.search(name)
    if match is None:
        return None
    value = float(match[1].replace(",", "."))
    return value if value > 0 else None


def stored_planes(planes: Level) -> list[Level]:
    """Return the picture planes of decoded metadata, by number (FORMAT 8.2)."""
    stored = planes.level("sPlaneNew") or planes.level("sPlane", create=True)
    return [unwrap(plane) for plane in levels_by_number(stored)]


def _plane_camera(plane: Level) -> str:
    """Return the camera that a plane of format 2.x names itself (FORMAT 8.3)."""
    return text(plane.level("sCameraSetting", create=True), "sCameraName")


def sample_settings(planes: Level) -> list[Level]:
    """Return the sample settings of decoded picture planes, by number."""
    return [
        unwrap(setting)
        for setting in levels_by_number(planes.level("sSampleSetting", create=True))
    ]


def sample_setting(settings: list[Level], plane: Level) -> Level:
    """Return the sample setting of one plane, an empty level without any.

    ``a{uiSampleIndex}``; one setting alone serves all planes, and an index past the
    end takes the last (FORMAT 8.8, oddity 36).
    """
    if not settings:
        return Level()
    index = integer(plane, "uiSampleIndex", 0)
    return settings[min(max(index, 0), len(settings) - 1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Optics(LightPath):
    """Light path of the first channel, and size and orientation of the pixels."""

    pixel_size_um: float | None = None
    """Edge of the square pixels; None if not calibrated."""
    aspect: float | None = None
    """Pixel aspect as stored; like other readers, `pixel_size_um` ignores it."""
    rotation_rad: float | None = None
    """Angle of the camera against the stage."""
    camera_to_stage: tuple[float, float, float, float] | None = None
    """Rotation from camera to stage axes, row by row; None if not known."""

    @classmethod
    def from_raw(
        cls,
        picture: Level | None,
        calibration: Level | None,
        optics_text: str = "",
        light_path: LightPath | None = None,
    ) -> Optics:
        """Take optics and calibration from where the file has them.

        Picture metadata counts where it exists, also when it says "not calibrated";
        the calibration chunk counts only without it.

        Parameters
        ----------
        picture
            Decoded picture metadata, None if the file has none.
        calibration
            Decoded ``SLxCalibration``, None if the file has none.
        optics_text
            What the text info says about the optics.
        light_path
            That of the first plane of the picture, if it is known already.

        Raises
        ------
        CorruptChunk
            If a field has the wrong type.

        Examples
        --------
        >>> from limnd2_xr.variants.tree import Level, LvType
        >>> stored = Level()
        >>> stored.add("dCalibration", LvType.DOUBLE, 0.5)
        >>> stored.add("bValid", LvType.BOOL, True)
        >>> Optics.from_raw(None, stored).pixel_size_um
        0.5
        """
        if picture is None:
            only = calibration or Level()
            path = parse_light_path(only, Level(), optics_text)
            valid = flag(only, "bValid")
            return cls(
                **_fields(path),
                pixel_size_um=positive(only, "dCalibration") if valid else None,
                aspect=positive(only, "dAspect"),
            )
        planes = picture.level("sPicturePlanes", create=True)
        plane = next(iter(stored_planes(planes)), Level())
        first = sample_setting(sample_settings(planes), plane)
        path = light_path or plane_light_path(picture, plane, first, optics_text)
        # before the flag existed a size above zero was enough
        calibrated = flag(picture, "bCalibrated", default=True)
        return cls(
            **_fields(path),
            pixel_size_um=positive(picture, "dCalibration") if calibrated else None,
            aspect=positive(picture, "dAspect"),
            rotation_rad=finite(picture, "dAngle"),
            camera_to_stage=_camera_to_stage(picture, first),
        )


_LIGHT_PATH: Final = tuple(item.name for item in fields(LightPath))


def _fields(path: LightPath) -> dict[str, Any]:
    return {name: getattr(path, name) for name in _LIGHT_PATH}


def _camera_to_stage(
    picture: Level, setting: Level
) -> tuple[float, float, float, float] | None:
    data = setting.level("matCameraToStage", create=True).get("Data")
    if isinstance(data, bytes) and len(data) == 32:
        found = _matrix(struct.unpack("<4d", data))
        if found is not None:
            return found
    return _matrix(tuple(real(picture, name, 0.0) for name in _CAMERA_TO_STAGE))


def _matrix(values: tuple[float, ...]) -> tuple[float, float, float, float] | None:
    a, b, c, d = values
    if not all(map(math.isfinite, values)) or not any(values):
        return None
    return a, b, c, d
