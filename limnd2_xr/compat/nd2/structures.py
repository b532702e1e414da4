"""Structures of metadata: the names, fields and defaults of ``nd2.structures`` 0.12."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, NamedTuple, TypeAlias, TypedDict

from limnd2_xr.compat.nd2.event_structures import (
    EventMeaning,
    ExperimentEvent,
    StimulationEvent,
    StimulationType,
)
from limnd2_xr.compat.nd2.loop_structures import (
    CustomLoop,
    ExpLoop,
    LoopParams,
    LoopType,
    NETimeLoop,
    NETimeLoopParams,
    Period,
    PeriodDiff,
    Position,
    SpectLoop,
    StagePosition,
    TimeLoop,
    TimeLoopParams,
    XYPosLoop,
    XYPosLoopParams,
    ZStackLoop,
    ZStackLoopParams,
    made,
)
from limnd2_xr.compat.nd2.roi_structures import (
    ROI,
    AnimParam,
    BoxShape,
    ExtrudedShape,
    InterpType,
    RoiInfo,
    RoiShapeType,
    ScopeType,
    T,
    XYPoint,
    XYZPoint,
)

__all__ = [
    "ROI",
    "AnimParam",
    "Attributes",
    "BoxShape",
    "Channel",
    "ChannelMeta",
    "Color",
    "Contents",
    "Coordinate",
    "CustomLoop",
    "EventMeaning",
    "ExpLoop",
    "ExperimentEvent",
    "ExtrudedShape",
    "FrameChannel",
    "FrameMetadata",
    "InterpType",
    "LoopIndices",
    "LoopParams",
    "LoopType",
    "Metadata",
    "Microscope",
    "ModalityFlags",
    "NETimeLoop",
    "NETimeLoopParams",
    "PFSStatus",
    "Period",
    "PeriodDiff",
    "Position",
    "RoiInfo",
    "RoiShapeType",
    "ScopeType",
    "SpectLoop",
    "StagePosition",
    "StimulationEvent",
    "StimulationType",
    "T",
    "TextInfo",
    "TimeLoop",
    "TimeLoopParams",
    "TimeStamp",
    "Volume",
    "XYPoint",
    "XYPosLoop",
    "XYPosLoopParams",
    "XYZPoint",
    "ZStackLoop",
    "ZStackLoopParams",
]

Three: TypeAlias = tuple[float, float, float]
Four: TypeAlias = tuple[float, float, float, float]
Six: TypeAlias = tuple[float, float, float, float, float, float]
AxisInterpretation: TypeAlias = Literal["distance", "time"]


class TextInfo(TypedDict, total=False):
    """Texts of a file; those that are empty are left out."""

    imageId: str
    type: str
    group: str
    sampleId: str
    author: str
    description: str
    capturing: str
    sampling: str
    location: str
    date: str
    conclusion: str
    info1: str
    info2: str
    optics: str
    appVersion: str


class PFSStatus(IntEnum):
    """What the focus system did; codes 2 and 8 occur and have no name."""

    ERROR = -1
    IN_RANGE = 0
    FOCUSED = 1
    OUT_OF_RANGE = 3
    OUT_OF_RANGE_OPTICS = 4
    SEARCHING = 5
    SEARCH_FAILED = 6
    DISABLED = 7


class Attributes(NamedTuple):
    """What a frame looks like."""

    bitsPerComponentInMemory: int
    bitsPerComponentSignificant: int
    componentCount: int
    heightPx: int
    pixelDataType: Literal["float", "unsigned", "signed"]
    sequenceCount: int
    widthBytes: int | None = None
    widthPx: int | None = None
    compressionLevel: float | None = None
    compressionType: Literal["lossless", "lossy", "none"] | None = None
    tileHeightPx: int | None = None
    tileWidthPx: int | None = None
    channelCount: int | None = None


class Color(NamedTuple):
    """Colour of a channel."""

    r: int
    g: int
    b: int
    a: float = 1.0

    def as_hex(self) -> str:
        """Return ``#rrggbb``."""
        return "#" + bytes(self[:3]).hex()

    @classmethod
    def from_abgr_u4(cls, val: int) -> Color:
        """Return the colour of a stored number: red in the lowest byte."""
        red, green, blue, alpha = (val & 0xFFFF_FFFF).to_bytes(4, "little")
        return cls(red, green, blue, alpha / 255 if alpha else 1.0)

    def as_abgr_u4(self) -> int:
        """Return the number to store; a colour without transparency has no alpha."""
        alpha = 0 if self.a == 1.0 else int(self.a * 255)
        return int.from_bytes(bytes((self.r, self.g, self.b, alpha)), "little")


@dataclass
class ChannelMeta:
    """Name, colour and wavelengths of a channel."""

    name: str
    index: int
    color: Color
    emissionLambdaNm: float | None = None
    excitationLambdaNm: float | None = None

    @property
    def colorRGBA(self) -> int:
        """The colour as a stored number; deprecated."""
        warnings.warn(
            "colorRGBA is deprecated; use color.as_abgr_u4()",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.color.as_abgr_u4()


@dataclass
class LoopIndices:
    """Nesting level of each kind of loop."""

    NETimeLoop: int | None = None
    TimeLoop: int | None = None
    XYPosLoop: int | None = None
    ZStackLoop: int | None = None
    CustomLoop: int | None = field(default=None, repr=False, compare=False)


ModalityFlags: TypeAlias = Literal[
    "aux",
    "brightfield",
    "camera",
    "diContrast",
    "dsdConfocal",
    "fluorescence",
    "gaasp",
    "iSIM",
    "laserScanConfocal",
    "liveSR",
    "multiphoton",
    "nonDescannedDetector",
    "phaseContrast",
    "pmt",
    "RCM",
    "remainder",
    "SIM",
    "sora",
    "spectral",
    "spinningDiskConfocal",
    "sweptFieldConfocalPinhole",
    "sweptFieldConfocalSlit",
    "TIRF",
    "transmitDetector",
    "vaasIF",
    "vaasNF",
    "VCS",
    "virtualFilter",
]
"""How a channel was taken."""


@dataclass
class Microscope:
    """Light path of a channel; None where unknown."""

    objectiveMagnification: float | None = None
    objectiveName: str | None = None
    objectiveNumericalAperture: float | None = None
    zoomMagnification: float | None = None
    immersionRefractiveIndex: float | None = None
    projectiveMagnification: float | None = None
    pinholeDiameterUm: float | None = None
    modalityFlags: list[str] = field(default_factory=list)


@dataclass
class Volume:
    """Size, calibration and orientation of the pixels of a channel."""

    axesCalibrated: tuple[bool, bool, bool]
    axesCalibration: Three
    axesInterpretation: tuple[
        AxisInterpretation, AxisInterpretation, AxisInterpretation
    ]
    bitsPerComponentInMemory: int
    bitsPerComponentSignificant: int
    cameraTransformationMatrix: Four
    componentCount: int
    componentDataType: Literal["unsigned", "float"]
    voxelCount: tuple[int, int, int]
    componentMaxima: list[float] | None = None
    componentMinima: list[float] | None = None
    pixelToStageTransformationMatrix: Six | None = None


@dataclass
class Channel:
    """Metadata of a channel."""

    channel: ChannelMeta
    loops: LoopIndices | None
    microscope: Microscope
    volume: Volume

    def __post_init__(self) -> None:
        self.channel = made(ChannelMeta, self.channel)
        self.loops = made(LoopIndices, self.loops)
        self.microscope = made(Microscope, self.microscope)
        self.volume = made(Volume, self.volume)


@dataclass
class Contents:
    """How much a file holds."""

    channelCount: int
    frameCount: int


@dataclass
class Metadata:
    """Metadata of a file."""

    contents: Contents | None = None
    channels: list[Channel] | None = None

    def __post_init__(self) -> None:
        self.contents = made(Contents, self.contents)
        if self.channels:
            self.channels = [made(Channel, channel) for channel in self.channels]


@dataclass
class TimeStamp:
    """When a frame was taken: Julian day, and ms since the start."""

    absoluteJulianDayNumber: float
    relativeTimeMs: float


@dataclass
class FrameChannel(Channel):
    """Metadata of a channel of one frame."""

    position: Position
    time: TimeStamp
    pfs_status: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.position = made(Position, self.position)
        self.time = made(TimeStamp, self.time)


@dataclass
class FrameMetadata:
    """Metadata of one frame."""

    contents: Contents
    channels: list[FrameChannel]

    def __post_init__(self) -> None:
        self.contents = made(Contents, self.contents)
        self.channels = [made(FrameChannel, channel) for channel in self.channels]


class Coordinate(NamedTuple):
    """Index, type and length of a loop."""

    index: int  # type: ignore[assignment]
    type: str
    size: int
