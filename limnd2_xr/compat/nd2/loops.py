"""Loops of the model as structures of nd2."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from limnd2_xr.compat.nd2 import structures as nd2
from limnd2_xr.model.experiment import (
    CustomLoop,
    NETimeLoop,
    TimeLoop,
    XYPositionLoop,
    ZStackLoop,
)

if TYPE_CHECKING:
    from limnd2_xr.frames.store import StoreState
    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.experiment import Loop
    from limnd2_xr.model.loop_parameters import Period, XYPoint

__all__ = ["experiment_of", "loop_indices_of"]


def experiment_of(state: StoreState) -> list[nd2.ExpLoop]:
    """Return the loops, outermost first, each as long as the file has frames for."""
    axes, loops = state.axes, state.document.experiment.loops
    found: list[nd2.ExpLoop] = []
    for place, (_, count) in enumerate(axes.nesting):
        loop = axes.loop(place, loops)
        if loop is not None:
            found.append(_loop(loop, count, len(found)))
    return found


def loop_indices_of(axes: Axes) -> tuple[dict[str, int], ...]:
    """Return the index of every frame along each axis, in file order.

    Examples
    --------
    >>> from limnd2_xr.model.axes import Axes
    >>> loop_indices_of(Axes(nesting=(("T", 1), ("Z", 2))))
    ({'T': 0, 'Z': 0}, {'T': 0, 'Z': 1})
    """
    order = axes.file_order
    if len(order) == len(axes.nesting):
        ranges = [range(count) for _, count in axes.nesting]
        return tuple(
            dict(zip(order, index, strict=True)) for index in itertools.product(*ranges)
        )
    found: list[dict[str, int]] = [{} for _ in range(axes.n_frames)]
    numbers = axes.sequence()
    for at, dim in ((axes.dims.index(dim), dim) for dim in order):
        for index in range(axes.size(dim)):
            for number in numbers.take(index, at).ravel().tolist():
                found[number][dim] = index
    return tuple(found)


def _loop(loop: Loop, count: int, level: int) -> nd2.ExpLoop:
    match loop:
        case TimeLoop():
            return nd2.TimeLoop(count, level, nd2.TimeLoopParams(*_times(loop)))
        case NETimeLoop():
            periods = [
                nd2.Period(*_times(period), period.count)
                for period in loop.periods
                if period.valid and period.count
            ]
            return nd2.NETimeLoop(count, level, nd2.NETimeLoopParams(periods))
        case XYPositionLoop():
            points = [_point(point) for point in loop.points[:count]]
            return nd2.XYPosLoop(count, level, nd2.XYPosLoopParams(loop.use_z, points))
        case ZStackLoop():
            stack = nd2.ZStackLoopParams(
                loop.home_index, loop.step_um, loop.bottom_to_top, loop.device
            )
            return nd2.ZStackLoop(count, level, stack)
        case CustomLoop():
            return nd2.CustomLoop(count, level)


def _times(loop: TimeLoop | Period) -> tuple[float, float, float, nd2.PeriodDiff]:
    measured = nd2.PeriodDiff(
        loop.avg_period_diff_ms, loop.max_period_diff_ms, loop.min_period_diff_ms
    )
    return loop.start_ms, loop.period_ms, loop.duration_ms, measured


def _point(point: XYPoint) -> nd2.Position:
    place = nd2.StagePosition(
        point.x_um, point.y_um, 0.0 if point.z_um is None else point.z_um
    )
    return nd2.Position(place, point.pfs_offset, point.name or None)
