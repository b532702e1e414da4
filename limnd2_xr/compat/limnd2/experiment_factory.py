"""``limnd2.experiment_factory``: loops from counts and steps."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from limnd2_xr.compat.limnd2.experiment import ExperimentLevel
from limnd2_xr.compat.limnd2.loop_types import ZStackType
from limnd2_xr.model.experiment import (
    Experiment,
    Loop,
    TimeLoop,
    XYPoint,
    XYPositionLoop,
    ZStackLoop,
)
from limnd2_xr.model.experiment_tree import experiment_tree

__all__ = [
    "ExperimentFactory",
    "MultipointSettings",
    "TimeLoopSettings",
    "ZStackSettings",
]

_MATCH = "Number of multipoints must match length of both lists with coordinates."
_CLOSE = 1e-6


@dataclass(kw_only=True)
class TimeLoopSettings:
    """A time loop; no loop while `count` is 0."""

    count: int = 0
    """Number of times."""
    step: float = 0.0
    """Interval, ms; 0 is as fast as possible."""

    def loop(self) -> TimeLoop | None:
        """Return the loop, None without one."""
        count, step = _count("t", self.count), _number("t", "step", self.step)
        if step < 0:
            raise ValueError(f"step of t is {step} ms: it cannot be negative")
        if not count:
            return None
        return TimeLoop(
            count=count,
            declared_count=count,
            period_ms=step,
            duration_ms=step * (count - 1),
        )


@dataclass(kw_only=True)
class ZStackSettings:
    """A Z stack; no loop while `count` is 0."""

    count: int = 0
    """Number of slices."""
    step: float = 0.0
    """Distance of two slices, µm; below 0 for a stack taken from the top down."""
    start: float | None = None
    """Position of the first slice, µm."""
    end: float | None = None
    """Position of the last slice, µm."""

    def loop(self) -> ZStackLoop | None:
        """Return the loop, None without one.

        Raises
        ------
        ValueError
            If start, end and step contradict each other.
        """
        count = _count("z", self.count)
        if not count:
            return None
        start, end, step = self._ends(count)
        falls = step < 0
        low, high = (end, start) if falls else (start, end)
        kind = ZStackType.zstTopToBottomFixedTop if falls else 0
        return ZStackLoop(
            count=count,
            declared_count=count,
            step_um=abs(step),
            type_code=int(kind),
            low_um=low,
            high_um=high,
            home_um=(low + high) / 2,
            absolute=True,
        )

    def _ends(self, count: int) -> tuple[float, float, float]:
        step = _number("z", "step", self.step)
        start = None if self.start is None else _number("z", "start", self.start)
        end = None if self.end is None else _number("z", "end", self.end)
        intervals = count - 1
        if start is not None and end is not None:
            if not step and intervals:
                step = (end - start) / intervals
            if step and step * (end - start) < 0:
                step = -step  # a step is given as a distance as often as not
            reached = start + step * intervals
            if not math.isclose(reached, end, rel_tol=_CLOSE, abs_tol=_CLOSE):
                raise ValueError(
                    f"z: {count} slices {step:g} µm apart from {start:g} µm on end at "
                    f"{reached:g} µm, not at {end:g} µm; leave out start, end or step"
                )
            return start, end, step
        if start is None:
            start = 0.0 if end is None else end - step * intervals
        return start, start + step * intervals, step


@dataclass(kw_only=True)
class MultipointSettings:
    """Positions of the stage; no loop without any."""

    count: int = 0
    """Number of positions; 0: as many as there are coordinates."""
    xcoords: list[float] = field(default_factory=list)
    """Stage X of each, µm."""
    ycoords: list[float] = field(default_factory=list)
    """Stage Y of each, µm."""

    def addPoint(self, x: float, y: float) -> None:
        """Add a position.

        Parameters
        ----------
        x, y
            Of the stage, µm.
        """
        if self.count == len(self.xcoords):
            self.count += 1
        self.xcoords = [*self.xcoords, x]
        self.ycoords = [*self.ycoords, y]

    def loop(self) -> XYPositionLoop | None:
        """Return the loop, None without one.

        Raises
        ------
        ValueError
            If there are not as many coordinates as positions.
        """
        xs = [_number("m", "xcoords", x) for x in self.xcoords]
        ys = [_number("m", "ycoords", y) for y in self.ycoords]
        count = _count("m", self.count) or len(xs)
        if not (xs or ys):
            xs = ys = [0.0] * count
        if not count == len(xs) == len(ys):
            raise ValueError(_MATCH)
        if not count:
            return None
        points = zip(range(count), xs, ys, strict=True)
        return XYPositionLoop(
            count=count,
            declared_count=count,
            points=tuple(XYPoint(index=i, x_um=x, y_um=y) for i, x, y in points),
        )


_Settings = TypeVar("_Settings", TimeLoopSettings, ZStackSettings, MultipointSettings)
_Given: TypeAlias = int | dict[str, Any]


class ExperimentFactory:
    """Makes an experiment: times, then positions, then slices, the innermost.

    Parameters
    ----------
    t, m, z
        Number of steps, or settings of the loop: `TimeLoopSettings`,
        `MultipointSettings`, `ZStackSettings`, or a dict of their fields.

    Examples
    --------
    >>> factory = ExperimentFactory(t={"count": 3, "step": 350}, z=2)
    >>> factory.z.step = 0.5
    >>> experiment = factory.createExperiment()
    >>> experiment.dims, experiment.uLoopPars.formattedInterval
    ({'t': 3, 'z': 2}, '0:00:00.350')
    """

    def __init__(
        self,
        *,
        t: _Given | TimeLoopSettings | None = None,
        m: _Given | MultipointSettings | None = None,
        z: _Given | ZStackSettings | None = None,
    ) -> None:
        self._t = _settings("t", t, TimeLoopSettings)
        self._m = _settings("m", m, MultipointSettings)
        self._z = _settings("z", z, ZStackSettings)

    @property
    def t(self) -> TimeLoopSettings:
        """Times; a number or a dict can be assigned, too."""
        return self._t

    @t.setter
    def t(self, value: _Given | TimeLoopSettings | None) -> None:
        self._t = _settings("t", value, TimeLoopSettings)

    @property
    def m(self) -> MultipointSettings:
        """Positions; a number or a dict can be assigned, too."""
        return self._m

    @m.setter
    def m(self, value: _Given | MultipointSettings | None) -> None:
        self._m = _settings("m", value, MultipointSettings)

    @property
    def z(self) -> ZStackSettings:
        """Slices; a number or a dict can be assigned, too."""
        return self._z

    @z.setter
    def z(self, value: _Given | ZStackSettings | None) -> None:
        self._z = _settings("z", value, ZStackSettings)

    def createExperiment(self) -> ExperimentLevel | None:
        """Return the loops as they are set now; None if none has steps.

        Raises
        ------
        ValueError
            If settings contradict each other.
        """
        found = (self._t.loop(), self._m.loop(), self._z.loop())
        loops: tuple[Loop, ...] = tuple(loop for loop in found if loop is not None)
        tree = experiment_tree(Experiment(loops=loops))
        return None if tree is None else ExperimentLevel.from_var(tree)

    __call__ = createExperiment


def _settings(name: str, given: Any, kind: type[_Settings]) -> _Settings:
    if given is None:
        return kind()
    if isinstance(given, kind):
        return given
    if isinstance(given, dict):
        return kind(**given)
    return kind(count=_count(name, given))


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError(f"count of {name} is {value}: give a whole number")
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"count of {name} is {value!r}: give a whole number") from None
    if count < 0:
        raise ValueError(f"count of {name} is {count}: it cannot be negative")
    return count


def _number(name: str, what: str, value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{what} of {name} is {value}: give a finite number")
    return number
