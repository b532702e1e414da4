"""Parameters of the loops of an experiment, as stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar, TypeAlias

from limnd2_xr.compat.limnd2.loop_types import ExperimentLoopType, ZStackType
from limnd2_xr.compat.limnd2.picture_planes import PictureMetadataPicturePlanes
from limnd2_xr.compat.limnd2.stored_struct import StoredStruct, record, struct, structs
from limnd2_xr.model.loop_parameters import z_fields
from limnd2_xr.variants.tree import Level, LvType

__all__ = [
    "ExperimentNETimeLoop",
    "ExperimentSpectralLoop",
    "ExperimentTimeLoop",
    "ExperimentXYPosLoop",
    "ExperimentXYPosLoopPoint",
    "ExperimentZStackLoop",
    "LoopParameters",
    "UnknownLoop",
    "loop_class",
]

_BOOL, _I32, _U32, _F64 = LvType.BOOL, LvType.INT32, LvType.UINT32, LvType.DOUBLE
_TEXT, _BYTES = LvType.STRING, LvType.BYTES


def _duration(milliseconds: float) -> str:
    """Return a duration as people write it: ``5 sec``, ``1 hr``, ``0:00:00.350``."""
    for unit, name in ((3_600_000, "hr"), (60_000, "min"), (1000, "sec")):
        if milliseconds >= unit and milliseconds % unit == 0:
            return f"{milliseconds / unit:.0f} {name}"
    seconds, rest = divmod(round(milliseconds), 1000)
    return f"{timedelta(seconds=seconds)}.{rest:03}"


@dataclass(frozen=True, kw_only=True)
class ExperimentTimeLoop(StoredStruct):
    """Frames at equal intervals; times in ms."""

    uiCount: int = record(_U32, 0)
    dStart: float = record(_F64, 0.0)
    dPeriod: float = record(_F64, 0.0)
    dDuration: float = record(_F64, 0.0)
    dMinPeriodDiff: float = record(_F64, 0.0)
    dMaxPeriodDiff: float = record(_F64, 0.0)
    dAvgPeriodDiff: float = record(_F64, 0.0)
    wsPhaseName: str = record(_TEXT, "")
    uiLoopType: int = record(_U32, 0)
    uiGroup: int = record(_U32, 0)
    uiStimulationCount: int = record(_U32, 0)
    bDurationPref: bool = record(_BOOL, default=False)
    wsInterfaceName: str = record(_TEXT, "")
    uiTreatment: int = record(_U32, 0)
    dIncubationDuration: float = record(_F64, -1.0)

    @property
    def step(self) -> float:
        """Interval in ms: the mean of the measured ones, else what was set."""
        return self.dAvgPeriodDiff if self.dAvgPeriodDiff > 0 else self.dPeriod

    @property
    def stepUnit(self) -> str:
        """Unit of `step`."""
        return "ms"

    @property
    def formattedInterval(self) -> str:
        """Interval that was set, such as ``"5 sec"`` or ``"No Delay"``."""
        return _duration(self.dPeriod) if self.dPeriod > 0 else "No Delay"

    @property
    def formattedDuration(self) -> str:
        """Duration that was set, such as ``"1 hr"`` or ``"Continuous"``."""
        return _duration(self.dDuration) if self.dDuration > 0 else "Continuous"

    @property
    def info(self) -> list[dict[str, Any]]:
        """One row that describes the loop."""
        return [self.row(1)]

    def row(self, number: int) -> dict[str, Any]:
        """Return the row that describes the loop as a phase.

        Parameters
        ----------
        number
            Of the phase, for one without a name.
        """
        return {
            "Phase": self.wsPhaseName or f"#{number}",
            "Interval": self.formattedInterval,
            "Duration": self.formattedDuration,
            "Loops": self.uiCount,
        }


@dataclass(frozen=True, kw_only=True)
class ExperimentNETimeLoop(StoredStruct):
    """Periods of frames at equal intervals, one after another."""

    uiCount: int = record(_U32, 0)
    uiPeriodCount: int = record(_U32, 0)
    pPeriod: list[ExperimentTimeLoop] = structs(ExperimentTimeLoop)
    pPeriodValid: bytes | None = record(_BYTES, None)

    absent: ClassVar[frozenset[str]] = frozenset({"pSubLoops"})

    @property
    def step(self) -> float:
        """Interval of the first valid period, in ms."""
        return next((period.step for period in self._valid()), 0.0)

    @property
    def stepUnit(self) -> str:
        """Unit of `step`."""
        return "ms"

    @property
    def info(self) -> list[dict[str, Any]]:
        """One row for each valid period."""
        return [period.row(n) for n, period in enumerate(self._valid(), 1)]

    def _valid(self) -> list[ExperimentTimeLoop]:
        valid = self.pPeriodValid
        if valid is None or len(valid) != len(self.pPeriod):
            return self.pPeriod
        return [p for p, ok in zip(self.pPeriod, valid, strict=True) if ok]


@dataclass(frozen=True, kw_only=True)
class ExperimentZStackLoop(StoredStruct):
    """Slices at equal distances; positions in µm."""

    uiCount: int = record(_U32, 0)
    dZLow: float = record(_F64, 0.0)
    dZLowPFSOffset: float = record(_F64, 0.0)
    dZHigh: float = record(_F64, 0.0)
    dZHighPFSOffset: float = record(_F64, 0.0)
    dZHome: float = record(_F64, 0.0)
    dZStep: float = record(_F64, 0.0)
    dReferencePosition: float = record(_F64, 0.0)
    dTIRFPosition: float = record(_F64, 0.0)
    dTIRFPFSOffset: float = record(_F64, 0.0)
    iType: int = record(_I32, 0, ZStackType)
    bAbsolute: bool = record(_BOOL, default=False)
    bTriggeredPiezo: bool = record(_BOOL, default=False)
    bZInverted: bool = record(_BOOL, default=False)
    bTIRF: bool = record(_BOOL, default=False)
    wsZDevice: str = record(_TEXT, "")
    wsCommandBeforeCapture: str = record(_TEXT, "")
    wsCommandAfterCapture: str = record(_TEXT, "")

    @property
    def step(self) -> float:
        """Distance of two slices, µm: what was set, else what the range gives."""
        if self.dZStep:
            return self.dZStep
        intervals = max(self.uiCount - 1, 1)
        return abs(self.dZHigh - self.dZLow) / intervals

    @property
    def stepUnit(self) -> str:
        """Unit of `step`."""
        return "µm"

    @property
    def top(self) -> float:
        """Highest position, µm; of a piezo with that of the drive below it."""
        return self.dReferencePosition + max(self.dZLow, self.dZHigh)

    @property
    def bottom(self) -> float:
        """Lowest position, µm; of a piezo with that of the drive below it."""
        return self.dReferencePosition + min(self.dZLow, self.dZHigh)

    @property
    def homeIndex(self) -> int:
        """Slice at the home position, counted in the order of the frames."""
        return z_fields(self.to_tree(), self.uiCount)["home_index"]

    @property
    def info(self) -> list[dict[str, Any]]:
        """One row that describes the loop."""
        return [
            {
                "Step": self.step,
                "Top": self.top,
                "Bottom": self.bottom,
                "Count": self.uiCount,
                "Drive": self.wsZDevice,
            }
        ]


@dataclass(frozen=True, kw_only=True)
class ExperimentXYPosLoopPoint(StoredStruct):
    """One position, µm."""

    dPosX: float = record(_F64, 0.0)
    dPosY: float = record(_F64, 0.0)
    dPosZ: float = record(_F64, 0.0)
    dPFSOffset: float = record(_F64, 0.0)
    dPosName: str = record(_TEXT, "")


@dataclass(frozen=True, kw_only=True)
class ExperimentXYPosLoop(StoredStruct):
    """Positions of the stage."""

    uiCount: int = record(_U32, 0)
    bUseZ: bool = record(_BOOL, default=False)
    bRelativeXY: bool = record(_BOOL, default=True)
    dReferenceX: float = record(_F64, 0.0)
    dReferenceY: float = record(_F64, 0.0)
    bRedefineAfterPFS: bool = record(_BOOL, default=False)
    bRedefineAfterAutoFocus: bool = record(_BOOL, default=False)
    bKeepPFSOn: bool = record(_BOOL, default=False)
    bSplitMultipoints: bool = record(_BOOL, default=False)
    bUseAFPlane: bool = record(_BOOL, default=False)
    bZEnabled: bool = record(_BOOL, default=False)
    sZDevice: str = record(_TEXT, "")
    Points: list[ExperimentXYPosLoopPoint] = structs(ExperimentXYPosLoopPoint)

    @property
    def info(self) -> list[dict[str, Any]]:
        """One row for each position."""
        rows = []
        for number, point in enumerate(self.Points, 1):
            row = {
                "Name": point.dPosName or f"#{number}",
                "X": point.dPosX,
                "Y": point.dPosY,
            }
            if self.bUseZ:
                row["Z"] = point.dPosZ
            rows.append(row)
        return rows


@dataclass(frozen=True, kw_only=True)
class UnknownLoop(StoredStruct):
    """Parameters of a loop that has no class: they are read by their stored names."""

    uiCount: int = record(_U32, 0)


@dataclass(frozen=True, kw_only=True)
class ExperimentSpectralLoop(StoredStruct):
    """Channels that are taken one after another."""

    uiCount: int = record(_U32, 0)
    pPlanes: PictureMetadataPicturePlanes | None = struct(PictureMetadataPicturePlanes)
    iOffsetReference: int = record(_I32, 0)
    bMergeCameras: bool = record(_BOOL, default=False)
    bWaitForPFS: bool = record(_BOOL, default=False)
    bAskForFilter: bool = record(_BOOL, default=False)

    absent: ClassVar[frozenset[str]] = frozenset({"Points"})

    def replacePlanes(
        self, planes: PictureMetadataPicturePlanes
    ) -> ExperimentSpectralLoop:
        """Return the loop over other channels."""
        return replace(self, pPlanes=planes, uiCount=planes.uiCount)

    @property
    def info(self) -> list[dict[str, Any]]:
        """One row for each channel."""
        if self.pPlanes is None:
            return []
        rows = []
        for number, plane in enumerate(self.pPlanes.sPlaneNew):
            settings = self.pPlanes.settings_of(plane)
            rows.append(
                {
                    "Index": number,
                    "Name": plane.sDescription,
                    "OC": ", ".join(settings.opticalConfigurations if settings else ()),
                    "Color": plane.colorAsHtmlString,
                }
            )
        return rows


LoopParameters: TypeAlias = (
    ExperimentTimeLoop
    | ExperimentNETimeLoop
    | ExperimentZStackLoop
    | ExperimentXYPosLoop
    | ExperimentSpectralLoop
    | UnknownLoop
)

_CLASSES: dict[int, type[StoredStruct]] = {
    ExperimentLoopType.eEtTimeLoop: ExperimentTimeLoop,
    ExperimentLoopType.eEtXYPosLoop: ExperimentXYPosLoop,
    ExperimentLoopType.eEtXYDiscrLoop: ExperimentXYPosLoop,
    ExperimentLoopType.eEtZStackLoop: ExperimentZStackLoop,
    ExperimentLoopType.eEtZStackLoopAccurate: ExperimentZStackLoop,
    ExperimentLoopType.eEtSpectLoop: ExperimentSpectralLoop,
    ExperimentLoopType.eEtNETimeLoop: ExperimentNETimeLoop,
    ExperimentLoopType.eEtManTimeLoop: ExperimentTimeLoop,
}


def loop_class(level: Level) -> type[StoredStruct]:
    """Return the class of the parameters of a loop from the tree of its level."""
    return _CLASSES.get(level.get("eType", 0), UnknownLoop)
