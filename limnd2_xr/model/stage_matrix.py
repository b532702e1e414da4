"""How pixels lie on the stage: rotations and scales of each channel (FORMAT 8.8)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from limnd2_xr.model.fields import flag, integer, real
from limnd2_xr.model.optics import sample_setting, sample_settings, stored_planes

if TYPE_CHECKING:
    from limnd2_xr.model.attributes import Attributes
    from limnd2_xr.variants.tree import Level

__all__ = ["PlaneGeometry", "plane_geometry"]

Four: TypeAlias = tuple[float, float, float, float]
Six: TypeAlias = tuple[float, float, float, float, float, float]

_IDENTITY: Final = (1.0, 0.0, 0.0, 1.0)
_ROTATION: Final = ("dStgLgCT11", "dStgLgCT12", "dStgLgCT21", "dStgLgCT22")
_MATRIX: Final = struct.Struct("<4d")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaneGeometry:
    """Where the pixels of a picture plane are on the stage."""

    sample_index: int = 0
    """Number of its sample setting, as stored."""
    rotation: Four = _IDENTITY
    """From camera to stage axes, row by row."""
    pixel_to_stage: Six | None = None
    """Two rows that take (column, row, 1) to um from the middle of the image; None where
    pixels are not calibrated or the orientation of the stage is not known."""


def plane_geometry(
    picture: Level, attributes: Attributes, pixel_um: float | None
) -> tuple[PlaneGeometry, ...]:
    """Return the geometry of each picture plane, by number.

    Parameters
    ----------
    picture
        Decoded ``SLxPictureMetadata``.
    attributes
        For the size of the image.
    pixel_um
        Edge of a pixel; None if it is not known.

    Raises
    ------
    CorruptChunk
        If a field has the wrong type.

    Examples
    --------
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec, build
    >>> from limnd2_xr.frames.store import FrameStore
    >>> from limnd2_xr.model.raw import PICTURE, RawMetadata
    >>> from limnd2_xr.variants.decode import decode
    >>> with FrameStore.open(build(SyntheticSpec()).data) as store:
    ...     levels = {PICTURE[0]: decode(store.read_chunk(PICTURE[0]))}
    ...     attributes = store.document.attributes
    >>> picture = RawMetadata(version=(3, 0), levels=levels).struct(PICTURE)
    >>> plane_geometry(picture, attributes, 0.5)[0].sample_index
    0
    """
    planes = picture.level("sPicturePlanes", create=True)
    settings = sample_settings(planes)
    stage = _rotation(picture)
    found = []
    for plane in stored_planes(planes):
        setting = sample_setting(settings, plane)
        device = setting.level("pDeviceSetting", create=True)
        found.append(
            PlaneGeometry(
                sample_index=integer(plane, "uiSampleIndex", 0),
                rotation=_camera_to_stage(setting) or stage,
                pixel_to_stage=_pixel_to_stage(device, stage, attributes, pixel_um),
            )
        )
    return tuple(found)


def _rotation(picture: Level) -> Four:
    a, b, c, d = (
        real(picture, name, default)
        for name, default in zip(_ROTATION, _IDENTITY, strict=True)
    )
    return a, b, c, d


def _camera_to_stage(setting: Level) -> Four | None:
    """Matrix of a sample setting, None if it is not one of 2 x 2 finite numbers."""
    matrix = setting.level("matCameraToStage", create=True)
    data = matrix.get("Data")
    shape = integer(matrix, "Rows", 2), integer(matrix, "Columns", 2)
    if not isinstance(data, bytes) or len(data) != _MATRIX.size or shape != (2, 2):
        return None
    a, b, c, d = _MATRIX.unpack(data)
    return (a, b, c, d) if all(map(math.isfinite, (a, b, c, d))) else None


def _pixel_to_stage(
    device: Level, rotation: Four, attributes: Attributes, pixel_um: float | None
) -> Six | None:
    if pixel_um is None or not flag(device, "m_iXYUse0"):
        return None
    x = integer(device, "m_iXOrientation0", 0) * pixel_um
    y = integer(device, "m_iYOrientation0", 0) * pixel_um
    a, b, c, d = rotation
    width, height = attributes.width, attributes.height
    first, second = (x * a, x * b), (y * c, y * d)
    return (
        *first,
        -0.5 * (first[0] * width + first[1] * height),
        *second,
        -0.5 * (second[0] * width + second[1] * height),
    )
