"""``limnd2.experiment``: the loops in which the frames were taken."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar, Literal, overload

from limnd2_xr.compat.limnd2.experiment_loops import (
    ExperimentNETimeLoop,
    ExperimentSpectralLoop,
    ExperimentTimeLoop,
    ExperimentXYPosLoop,
    ExperimentXYPosLoopPoint,
    ExperimentZStackLoop,
    LoopParameters,
    UnknownLoop,
    loop_class,
)
from limnd2_xr.compat.limnd2.loop_types import (
    ExperimentLoopType,
    ExperimentType,
    ZStackType,
)
from limnd2_xr.compat.limnd2.stored_struct import StoredStruct, record, struct, structs
from limnd2_xr.compat.limnd2.wellplates import (
    WellplateDesc,
    WellplateFrameInfo,
    WellplateFrameInfoItem,
)
from limnd2_xr.variants.tree import LvType

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator, KeysView, ValuesView

__all__ = [
    "ExperimentLevel",
    "ExperimentLoopType",
    "ExperimentNETimeLoop",
    "ExperimentSpectralLoop",
    "ExperimentTimeLoop",
    "ExperimentType",
    "ExperimentXYPosLoop",
    "ExperimentXYPosLoopPoint",
    "ExperimentZStackLoop",
    "UnknownLoop",
    "WellplateDesc",
    "WellplateFrameInfo",
    "WellplateFrameInfoItem",
    "ZStackType",
    "canonical_calibration",
    "canonical_experiment",
    "canonical_shape",
    "find_zstack",
]

_BOOL, _I32, _U32 = LvType.BOOL, LvType.INT32, LvType.UINT32
_TEXT, _BYTES = LvType.STRING, LvType.BYTES


@dataclass(frozen=True, kw_only=True)
class ExperimentLevel(StoredStruct):
    """One loop, and those within it.

    Iterating gives every level, the outermost first.
    """

    wrapper: ClassVar[str] = "SLxExperiment"
    absent: ClassVar[frozenset[str]] = frozenset(
        {
            "RecordAllData",
            "pLargeImage",
            "pNIExperiment",
            "pRecordedData",
            "sParallelExperiment",
            "pExternalData",
            "iRecipeDSCPort",
        }
    )

    eType: int = record(_U32, 0, ExperimentLoopType)
    wsApplicationDesc: str = record(_TEXT, "")
    wsUserDesc: str = record(_TEXT, "")
    wsCameraName: str = record(_TEXT, "")
    uLoopPars: LoopParameters | None = struct(choose=loop_class)
    pItemValid: bytes | None = record(_BYTES, None)
    wsCommandBeforeLoop: str = record(_TEXT, "")
    wsCommandBeforeCapture: str = record(_TEXT, "")
    wsCommandAfterCapture: str = record(_TEXT, "")
    wsCommandAfterLoop: str = record(_TEXT, "")
    bControlShutter: bool = record(_BOOL, default=False)
    bControlLight: bool = record(_BOOL, default=False)
    bUsePFS: bool = record(_BOOL, default=False)
    bUseHWSequencer: bool = record(_BOOL, default=False)
    bUseTiRecipe: bool = record(_BOOL, default=False)
    bUseIntenzityCorrection: bool = record(_BOOL, default=False)
    bTriggeredStimulation: bool = record(_BOOL, default=False)
    bKeepObject: bool = record(_BOOL, default=False)
    uiRepeatCount: int = record(_U32, 1)
    uiNextLevelCount: int = record(_U32, 0)
    ppNextLevelEx: list[ExperimentLevel] = structs()

    def __iter__(self) -> Iterator[Any]:
        """Yield every level, the outermost first."""
        yield self
        for inner in self.ppNextLevelEx[:1]:
            yield from inner

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def keys(self) -> KeysView[str]:
        """Return the names of all tags."""
        return self._by_name().keys()

    def values(self) -> ValuesView[Any]:
        """Return the values of all tags."""
        return self._by_name().values()

    def items(self) -> ItemsView[str, Any]:
        """Return names and values of all tags."""
        return self._by_name().items()

    def _by_name(self) -> dict[str, Any]:
        return {name: self[name] for name in super().__iter__()}

    def __str__(self) -> str:
        return ", ".join(level.summary for level in self)

    @property
    def name(self) -> str:
        """Name of the kind of loop, such as ``"Z-Stack"``."""
        return ExperimentLoopType.toLongName(self.eType)

    @property
    def shortName(self) -> str:
        """Short name of the kind of loop, such as ``"Z"``."""
        return ExperimentLoopType.toShortName(self.eType)

    @property
    def typeName(self) -> str:
        """Letter of the kind of loop, such as ``"z"``."""
        return ExperimentLoopType.toName(self.eType)

    @property
    def valid(self) -> bool:
        """Whether the loop is of a known kind and has steps."""
        return self.eType != ExperimentLoopType.eEtUnknown and self.count > 0

    @property
    def isLambda(self) -> bool:
        """Whether the channels are the steps."""
        return self.eType == ExperimentLoopType.eEtSpectLoop

    @property
    def isZStack(self) -> bool:
        """Whether slices are the steps."""
        return self.typeName == "z"

    @property
    def isMultipoint(self) -> bool:
        """Whether positions are the steps."""
        return self.typeName == "m"

    @property
    def isTimeLapse(self) -> bool:
        """Whether times are the steps."""
        return self.typeName == "t"

    @property
    def count(self) -> int:
        """Steps of the loop; of positions those that are valid."""
        pars = self.uLoopPars
        if pars is None:
            return 0
        if self.pItemValid and self.isMultipoint:
            return sum(map(bool, self.pItemValid))
        if isinstance(pars, ExperimentSpectralLoop) and pars.pPlanes is not None:
            return pars.pPlanes.uiCount or pars.uiCount
        return pars.uiCount

    @property
    def dims(self) -> dict[str, int]:
        """Number of steps by letter of the loop, the outermost first."""
        return dict(zip(self.dimnames(), self.shape(), strict=True))

    @property
    def summary(self) -> str:
        """One phrase that describes this loop alone."""
        pars = self.uLoopPars
        if isinstance(pars, ExperimentTimeLoop):
            more = f"interval: {pars.formattedInterval}, duration: {pars.formattedDuration}"
            return f"Timeloop experiment({self.count} frames, {more})"
        if isinstance(pars, ExperimentNETimeLoop):
            return f"Timeloop experiment({self.count} frames, {len(pars.info)} periods)"
        if isinstance(pars, ExperimentZStackLoop):
            return f"Z-Stack experiment({self.count} frames, step: {pars.step:.6g})"
        if isinstance(pars, ExperimentXYPosLoop):
            points = ", ".join(f"[{p.dPosX}, {p.dPosY}]" for p in pars.Points)
            return (
                f"Multipoint experiment({self.count} frames, "
                f"point coordinates: {points})"
            )
        return f"{self.name} experiment({self.count} frames)"

    def loopTypes(self, *, skipSpectralLoop: bool = True) -> tuple[int, ...]:
        """Return the kinds of the loops, the outermost first."""
        return tuple(level.eType for level in self._levels(skipSpectralLoop))

    def dimnames(self, *, skipSpectralLoop: bool = True) -> tuple[str, ...]:
        """Return the letters of the loops, the outermost first."""
        return tuple(level.typeName for level in self._levels(skipSpectralLoop))

    def shape(self, *, skipSpectralLoop: bool = True) -> tuple[int, ...]:
        """Return the numbers of steps of the loops, the outermost first."""
        return tuple(level.count for level in self._levels(skipSpectralLoop))

    def ndim(self, skipSpectralLoop: bool = True) -> int:
        """Return the number of loops."""
        return len(self._levels(skipSpectralLoop))

    def findLevel(self, loop_type: int) -> ExperimentLevel | None:
        """Return the loop of a kind; None if there is none."""
        return next((level for level in self if level.eType == loop_type), None)

    def indexOfLoop(self, loop_type: int) -> int | None:
        """Return which loop from outside is of a kind; None if there is none."""
        kinds = [level.eType for level in self]
        return kinds.index(loop_type) if loop_type in kinds else None

    @overload
    def generateLoopIndexes(
        self, *, named: Literal[False] = False
    ) -> list[tuple[int, ...]]: ...
    @overload
    def generateLoopIndexes(self, *, named: Literal[True]) -> list[dict[str, int]]: ...
    def generateLoopIndexes(
        self, *, named: bool = False
    ) -> list[tuple[int, ...]] | list[dict[str, int]]:
        """Return the step of each loop for each frame, in the order of the frames.

        Parameters
        ----------
        named
            Give dicts by the letter of the loop.
        """
        indexes = list(product(*map(range, self.shape())))
        if not named:
            return indexes
        names = self.dimnames()
        return [dict(zip(names, index, strict=True)) for index in indexes]

    def _levels(self, skip_spectral: bool) -> list[ExperimentLevel]:
        return [level for level in self if not (skip_spectral and level.isLambda)]


def canonical_experiment(
    experiment: ExperimentLevel | None,
) -> tuple[ExperimentLevel | None, ExperimentLevel | None, ExperimentLevel | None]:
    """Return the time, position and Z loop of an experiment; None for one it lacks."""
    levels: list[Any] = list(experiment) if experiment is not None else []
    found: dict[str, ExperimentLevel] = {level.typeName: level for level in levels}
    return found.get("t"), found.get("m"), found.get("z")


def canonical_shape(experiment: ExperimentLevel | None) -> tuple[int, int, int]:
    """Return the numbers of times, positions and slices; 1 without such a loop."""
    t, m, z = (
        level.count if level else 1 for level in canonical_experiment(experiment)
    )
    return t, m, z


def canonical_calibration(
    experiment: ExperimentLevel | None,
) -> tuple[float, float, float]:
    """Return the interval in ms, 0 for positions, and the Z step in µm."""
    steps = [
        float(getattr(level.uLoopPars, "step", 0.0)) if level else 0.0
        for level in canonical_experiment(experiment)
    ]
    return steps[0], 0.0, steps[2]


def find_zstack(experiment: ExperimentLevel | None) -> ExperimentZStackLoop | None:
    """Return the parameters of the Z loop; None without one."""
    level = canonical_experiment(experiment)[2]
    pars = level.uLoopPars if level is not None else None
    return pars if isinstance(pars, ExperimentZStackLoop) else None
