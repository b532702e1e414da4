"""Acquisition loops as ``nd2.structures`` has them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

__all__ = [
    "CustomLoop",
    "ExpLoop",
    "LoopParams",
    "LoopType",
    "NETimeLoop",
    "NETimeLoopParams",
    "Period",
    "PeriodDiff",
    "Position",
    "SpectLoop",
    "StagePosition",
    "TimeLoop",
    "TimeLoopParams",
    "XYPosLoop",
    "XYPosLoopParams",
    "ZStackLoop",
    "ZStackLoopParams",
    "made",
]

_T = TypeVar("_T")


def made(kind: type[_T], value: Any) -> _T:
    """Return a structure that may be given as a dict of its fields."""
    return kind(**value) if isinstance(value, dict) else value


class LoopType(IntEnum):
    """Stored code of a loop (FORMAT 7.2)."""

    Unknown = 0
    TimeLoop = 1
    XYPosLoop = 2
    XYDiscrLoop = 3
    ZStackLoop = 4
    PolarLoop = 5
    SpectLoop = 6
    CustomLoop = 7
    NETimeLoop = 8
    ManTimeLoop = 9
    ZStackLoopAccurate = 10


class StagePosition(NamedTuple):
    """Place of the stage, um."""

    x: float
    y: float
    z: float


@dataclass
class Position:
    """A point of a position loop, or where the stage was at a frame."""

    stagePositionUm: StagePosition
    pfsOffset: float | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        given: Any = self.stagePositionUm
        if isinstance(given, dict):
            self.stagePositionUm = StagePosition(**given)
        elif isinstance(given, (tuple, list)):
            self.stagePositionUm = StagePosition(*given)


@dataclass
class PeriodDiff:
    """Measured time between frames, ms."""

    avg: float = 0
    max: float = 0
    min: float = 0


@dataclass
class TimeLoopParams:
    """Times of an equidistant series, ms."""

    startMs: float
    periodMs: float
    durationMs: float
    periodDiff: PeriodDiff

    def __post_init__(self) -> None:
        self.periodDiff = made(PeriodDiff, self.periodDiff)


@dataclass
class Period(TimeLoopParams):
    """One period of a series of several."""

    count: int


@dataclass
class NETimeLoopParams:
    """Periods of a series that is not equidistant."""

    periods: list[Period]

    def __post_init__(self) -> None:
        self.periods = [made(Period, period) for period in self.periods]


@dataclass
class XYPosLoopParams:
    """Points of a position loop."""

    isSettingZ: bool
    points: list[Position]

    def __post_init__(self) -> None:
        self.points = [made(Position, point) for point in self.points]


@dataclass
class ZStackLoopParams:
    """Steps of a focus stack, um."""

    homeIndex: int
    stepUm: float
    bottomToTop: bool
    deviceName: str | None = None


LoopParams: TypeAlias = (
    TimeLoopParams | NETimeLoopParams | XYPosLoopParams | ZStackLoopParams
)
"""Parameters of any loop."""


@dataclass
class _Loop:
    count: int
    nestingLevel: int
    parameters: Any
    type: Any


@dataclass
class TimeLoop(_Loop):
    """Equidistant time series."""

    parameters: TimeLoopParams
    type: Literal["TimeLoop"] = "TimeLoop"

    def __post_init__(self) -> None:
        given: Any = self.parameters
        if isinstance(given, dict):
            self.parameters = TimeLoopParams(**{"periodDiff": None, **given})


@dataclass
class NETimeLoop(_Loop):
    """Time series of several periods."""

    parameters: NETimeLoopParams
    type: Literal["NETimeLoop"] = "NETimeLoop"

    def __post_init__(self) -> None:
        self.parameters = made(NETimeLoopParams, self.parameters)


@dataclass
class XYPosLoop(_Loop):
    """List of stage positions."""

    parameters: XYPosLoopParams
    type: Literal["XYPosLoop"] = "XYPosLoop"

    def __post_init__(self) -> None:
        self.parameters = made(XYPosLoopParams, self.parameters)


@dataclass
class ZStackLoop(_Loop):
    """Focus stack."""

    parameters: ZStackLoopParams
    type: Literal["ZStackLoop"] = "ZStackLoop"

    def __post_init__(self) -> None:
        self.parameters = made(ZStackLoopParams, self.parameters)


@dataclass
class CustomLoop(_Loop):
    """Loop of unknown meaning."""

    count: int
    nestingLevel: int = 0
    parameters: None = None
    type: Literal["CustomLoop"] = "CustomLoop"


@dataclass
class SpectLoop:
    """Loop over channels; never part of an experiment."""

    count: int
    type: Literal["SpectLoop"] = "SpectLoop"


ExpLoop: TypeAlias = TimeLoop | NETimeLoop | XYPosLoop | ZStackLoop | CustomLoop
"""A loop that counts frames."""
