"""Loops of format 1.0, whose text and order mean something (FORMAT 11)."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from limnd2_xr.model.experiment import (
    Experiment,
    NETimeLoop,
    TimeLoop,
    XYPositionLoop,
    ZStackLoop,
)
from limnd2_xr.model.loop_parameters import home_index

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limnd2_xr.model.experiment import Loop
    from limnd2_xr.model.loop_parameters import Period

__all__ = ["legacy_experiment"]

_DIMENSIONS: Final = re.compile(r"Dimensions:[ \t]*([^\r\n]{1,200})")
_DIMENSION: Final = re.compile(r"([A-Za-z\u03bb]{1,8})'?\((\d{1,9})\)")


def legacy_experiment(
    experiment: Experiment, description: str, n_frames: int
) -> Experiment:
    """Loops as format 1.0 means them (FORMAT 11).

    Positions are stored last first, and may be more than were visited; of several time
    periods only one may have been run; the home position of a Z stack is the number of
    a slice. What the text says decides where it fits the frames.

    Parameters
    ----------
    experiment
        Loops read like those of later formats.
    description
        Text that sums up the acquisition, with a line ``Dimensions:``.
    n_frames
        Frames in the file.
    """
    said = _said(description)
    loops = tuple(
        _loop(loop, said, n_frames, experiment.loops) for loop in experiment.loops
    )
    return replace(experiment, loops=loops)


def _said(description: str) -> dict[str, int]:
    """Length of each dimension that the text tells of, e.g. ``T(3) x XY(2)``."""
    line = _DIMENSIONS.search(description)
    return {n: int(k) for n, k in _DIMENSION.findall(line[1])} if line else {}


def _loop(
    loop: Loop, said: Mapping[str, int], n_frames: int, loops: tuple[Loop, ...]
) -> Loop:
    if isinstance(loop, XYPositionLoop):
        return _positions(loop, said.get("XY"), n_frames)
    if isinstance(loop, ZStackLoop):
        return _stack(loop)
    if isinstance(loop, NETimeLoop):
        others = math.prod(other.count for other in loops if other is not loop)
        return _periods(loop, said.get("T"), n_frames // others if others else 0)
    return loop


def _positions(loop: XYPositionLoop, said: int | None, n_frames: int) -> XYPositionLoop:
    last = max((point.index for point in loop.points), default=0)
    points = tuple(
        replace(point, index=last - point.index) for point in reversed(loop.points)
    )
    count = loop.count
    if loop.declared_count and loop.declared_count < count:
        count = loop.declared_count
    if said and said < count and n_frames % said == 0:
        count = said
    return replace(loop, count=count, points=points[:count])


def _stack(loop: ZStackLoop) -> ZStackLoop:
    """Stack whose stored home position is the number of a slice.

    Of format 3.0 the definition around the home position is the one that can say so.
    """
    low, high, home = loop.low_um, loop.high_um, loop.home_um
    rising = low is None or high is None or low <= high
    if low is not None and high is not None:
        low, high = min(low, high), max(low, high)
    kind, count, step = (2 if rising else 6), loop.count, loop.step_um
    index = (count - 1) // 2
    if home is not None and home.is_integer() and 0 <= home < count:
        index = int(home)
    elif home is not None and low is not None and high is not None and low < high:
        index = home_index(
            count, step, low=low, high=high, home=home, kind=kind, inverted=False
        )
    if low is None or high is None or step <= 0:
        low = high = home = None
        kind -= 2
    else:
        home = low + index * step if rising else high - index * step
    return replace(
        loop,
        home_index=index,
        type_code=kind,
        low_um=low,
        high_um=high,
        home_um=home,
        inverted=False,
    )


def _periods(loop: NETimeLoop, said: int | None, frames: int) -> NETimeLoop | TimeLoop:
    """All periods where the frames are as many, else the one that the text tells of."""
    periods = [period for period in loop.periods if period.valid]
    if not periods or (len(periods) > 1 and loop.count in {said, frames}):
        return loop
    fitting = [p for p in periods if p.count == (said or frames)]
    return _time_loop((fitting or periods)[0])


def _time_loop(period: Period) -> TimeLoop:
    return TimeLoop(
        count=period.count,
        declared_count=period.count,
        start_ms=period.start_ms,
        period_ms=period.period_ms,
        duration_ms=period.duration_ms,
        prefer_duration=period.prefer_duration,
        avg_period_diff_ms=period.avg_period_diff_ms,
        min_period_diff_ms=period.min_period_diff_ms,
        max_period_diff_ms=period.max_period_diff_ms,
    )
