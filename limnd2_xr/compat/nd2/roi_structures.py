"""Regions of interest as ``nd2.structures`` has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple, Self, TypedDict

from limnd2_xr.compat.nd2.loop_structures import made

__all__ = [
    "ROI",
    "AnimParam",
    "BoxShape",
    "ExtrudedShape",
    "InterpType",
    "RoiInfo",
    "RoiShapeType",
    "ScopeType",
    "T",
    "XYPoint",
    "XYZPoint",
]


class RoiShapeType(IntEnum):
    """What a ROI looks like."""

    Any = 0
    Raster = 1
    Point = 2
    Rectangle = 3
    Ellipse = 4
    Polygon = 5
    Bezier = 6
    Line = 7
    PolyLine = 8
    Circle = 9
    Square = 10
    Ring = 11
    Spiral = 12


class InterpType(IntEnum):
    """What a ROI is for."""

    AnyROI = 0
    StandardROI = 1
    BackgroundROI = 2
    ReferenceROI = 3
    StimulationROI = 4


class ScopeType(IntEnum):
    """Whether a ROI belongs to all stage positions or to one."""

    Any = 0
    Global = 1
    MPoint = 2


class BoxShape(NamedTuple):
    """Size of a box."""

    sizeX: float = 0
    sizeY: float = 0
    sizeZ: float = 0


class XYPoint(NamedTuple):
    """Point of an outline."""

    x: float = 0
    y: float = 0


class XYZPoint(NamedTuple):
    """Centre of a ROI."""

    x: float = 0
    y: float = 0
    z: float = 0


class _ExtrudedShape(NamedTuple):
    sizeZ: float
    basePoints: list[XYPoint]


class ExtrudedShape(_ExtrudedShape):
    """Outline with a depth."""

    __slots__ = ()

    def __new__(cls, sizeZ: float = 0, basePoints: list[XYPoint] | None = None) -> Self:
        """Return a shape; each has a list of points of its own."""
        return super().__new__(cls, sizeZ, [] if basePoints is None else basePoints)


class T(TypedDict):
    """Stored fields of a ROI."""

    Id: int
    Info: dict[str, Any]
    GUID: str
    AnimParams_Size: int


_CODES: dict[str, type[IntEnum]] = {
    "shapeType": RoiShapeType,
    "interpType": InterpType,
    "scope": ScopeType,
}
_TEXTS = frozenset({"label"})
_FLAGS = frozenset({"multiFrame", "locked", "autodetected", "gradientStimulation"})
_REALS = frozenset({"gradientStimulationLo", "gradientStimulationHi"})


@dataclass
class RoiInfo:
    """Settings of a ROI."""

    shapeType: RoiShapeType
    interpType: InterpType
    cookie: int = 0
    color: int = 255
    label: str = ""
    stimulationGroup: int = 0
    scope: ScopeType = ScopeType.Global
    appData: int = 0
    multiFrame: bool = False
    locked: bool = False
    compCount: int = 2
    bpc: int = 16
    autodetected: bool = False
    gradientStimulation: bool = False
    gradientStimulationBitDepth: int = 0
    gradientStimulationLo: float = 0.0
    gradientStimulationHi: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            setattr(self, name, _coerced(name, value))


def _coerced(name: str, value: Any) -> Any:
    if name in _CODES:
        return _CODES[name](value)
    kinds: tuple[tuple[frozenset[str], Any], ...] = (
        (_TEXTS, str),
        (_FLAGS, bool),
        (_REALS, float),
    )
    return next((kind for names, kind in kinds if name in names), int)(value)


@dataclass
class AnimParam:
    """Place and shape of a ROI from one moment on."""

    timeMs: float = 0
    enabled: bool = True
    centerX: float = 0
    centerY: float = 0
    centerZ: float = 0
    rotationZ: float = 0
    boxShape: BoxShape = field(default_factory=BoxShape)
    extrudedShape: ExtrudedShape = field(default_factory=ExtrudedShape)

    def __post_init__(self) -> None:
        self.boxShape = made(BoxShape, _lowered(self.boxShape))
        self.extrudedShape = made(ExtrudedShape, _lowered(self.extrudedShape))

    @property
    def center(self) -> XYZPoint:
        """Centre of the ROI."""
        return XYZPoint(self.centerX, self.centerY, self.centerZ)


def _lowered(given: Any) -> Any:
    """Fields as stored (``SizeX``) by the names that they have here."""
    if not isinstance(given, dict):
        return given
    found = {name[:1].lower() + name[1:]: value for name, value in given.items()}
    count = found.pop("basePoints_Size", 0)
    points = [XYPoint(*found.pop(f"basePoints_{i}").values()) for i in range(count)]
    return {**found, "basePoints": points} if points else found


@dataclass
class ROI:
    """Region of interest."""

    id: int
    info: RoiInfo
    guid: str
    animParams: list[AnimParam] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.info = made(RoiInfo, self.info)
        self.animParams = [made(AnimParam, one) for one in self.animParams]
