"""Stage positions of frames, and the relative Z of slices (FORMAT 8.10).

Recorded values come first. What the file computes from the loops is a fallback, and
its Z differs from what other readers say: ``dZPos`` is the position of the first slice,
which they take for the home slice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.model.experiment import XYPositionLoop, ZStackLoop
from limnd2_xr.model.times import by_frame

if TYPE_CHECKING:
    import numpy.typing as npt

    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.records import FrameRecords

__all__ = ["StagePositions", "stage_positions", "z_coordinate"]

_SAME_UM: Final = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StagePositions:
    """Stage position of each frame: float64 um of the shape of the loop dims."""

    x: npt.NDArray[np.float64]
    """Stage X, NaN where unknown."""
    y: npt.NDArray[np.float64]
    """Stage Y, NaN where unknown."""
    z: npt.NDArray[np.float64]
    """Stage Z: all drives together if recorded so, else the drive that was; NaN where
    unknown."""


@np.errstate(all="ignore")
def stage_positions(
    document: Nd2Document, axes: Axes, records: FrameRecords
) -> StagePositions:
    """Stage position of every frame.

    For X, Y and Z each: the value recorded for the frame; else the point of the
    position loop; else the position of frame 0. To a Z that was not recorded the
    relative Z of the slice is added. A column of zeros counts as not recorded, as in
    many snapshots (FORMAT oddity 31).

    Parameters
    ----------
    document
        Metadata of the file.
    axes
        Its loop dims.
    records
        Its recorded values.
    """
    picture = document.picture
    point_x, point_y, point_z = _points(document, axes)
    x = _first(point_x, picture.x_um)
    y = _first(point_y, picture.y_um)
    z = _computed_z(document, axes, point_z)
    return StagePositions(
        x=_recorded_or(records.x, x, axes),
        y=_recorded_or(records.y, y, axes),
        z=_recorded_or(_recorded_z(document, records), z, axes),
    )


@np.errstate(all="ignore")
def z_coordinate(
    document: Nd2Document, axes: Axes, stage_z: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], str | None]:
    """Z of each slice relative to the home slice, and its unit, of the length of Z.

    0 at the home slice, exact multiples of the step, in file order, with the sign of
    the stage: as the stage Z of the slices moves if that is recorded, else as the
    stack is defined; one taken top-down decreases. The unit is ``"um"``; where no step
    is known the slices are numbered, and it is None.

    Parameters
    ----------
    document
        Metadata of the file.
    axes
        Its loop dims.
    stage_z
        Stage Z of the frames, from `stage_positions`.
    """
    relative = _relative_z(document, axes)
    if not relative.any() and len(relative) > 1:
        step = _mean_step(axes, stage_z)
        numbers = np.arange(len(relative), dtype=np.float64)
        return (numbers * step, "um") if step else (numbers, None)
    moved, expected = _mean_step(axes, stage_z), relative[-1] - relative[0]
    per_slice = expected / max(len(relative) - 1, 1)
    trusted = abs(moved) >= abs(per_slice) / 2
    turned = trusted and moved * expected < 0
    return (-relative if turned else relative) + 0.0, "um"  # no negative zero


def _relative_z(document: Nd2Document, axes: Axes) -> npt.NDArray[np.float64]:
    """Z of each slice relative to home, with the sign of the stack's definition."""
    total = np.zeros(axes.size("Z"))
    for place in axes.loops_along("Z"):
        loop = axes.loop(place, document.experiment.loops)
        if isinstance(loop, ZStackLoop):
            slices = axes.loop_index(place) - loop.home_index
            total += slices * (loop.step_um * loop.direction)
    return total


def _mean_step(axes: Axes, stage_z: npt.NDArray[np.float64]) -> float:
    """Mean move of the stage from slice to slice; 0 if not monotone or unknown."""
    if "Z" not in axes.dims or not stage_z.size:
        return 0.0
    at = axes.dims.index("Z")
    first = tuple(slice(None) if i == at else 0 for i in range(stage_z.ndim))
    moves = np.diff(stage_z[first])
    if len(moves) and ((moves > 0).all() or (moves < 0).all()):
        return float(moves.mean())
    return 0.0


def _points(
    document: Nd2Document, axes: Axes
) -> tuple[npt.NDArray[np.float64] | None, ...]:
    """X, Y and Z of the position loop for each frame, None without such a loop."""
    for place in reversed(axes.loops_along("P")):  # the innermost moved last
        loop = axes.loop(place, document.experiment.loops)
        if isinstance(loop, XYPositionLoop) and loop.points:
            index = axes.loop_index(place)
            return tuple(
                axes.along("P", _pick(values, index))
                for values in (
                    [point.x_um for point in loop.points],
                    [point.y_um for point in loop.points],
                    [_nan(point.z_um) for point in loop.points],
                )
            )
    return None, None, None


def _pick(values: list[float], index: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    known = np.array([*values, math.nan])
    return known[np.minimum(index, len(values))]


def _first(
    points: npt.NDArray[np.float64] | None, frame0: float | None
) -> npt.NDArray[np.float64]:
    rest = np.float64(_nan(frame0))
    if points is None:
        return np.asarray(rest)
    return np.where(np.isnan(points), rest, points)


def _computed_z(
    document: Nd2Document, axes: Axes, points: npt.NDArray[np.float64] | None
) -> npt.NDArray[np.float64]:
    """Z of the point or of frame 0, taken as that of the first slice, plus the slice.

    If the position of frame 0 shows that the points are the home plane, they are
    taken as such.
    """
    relative = _relative_z(document, axes)
    below = relative - relative[0]
    frame0 = document.picture.z_um
    if points is not None and len(relative) > 1 and frame0:
        point0 = points.ravel()[0]
        half_step = abs(relative[1] - relative[0]) / 2
        if abs(frame0 - (point0 + relative[0])) < half_step:
            below = below + (frame0 - point0)
            points = np.where(np.isnan(points), frame0 - below[0], points)
    base = _first(points, frame0)
    return base + (axes.along("Z", below) if "Z" in axes.dims else 0.0)


def _recorded_z(
    document: Nd2Document, records: FrameRecords
) -> npt.NDArray[np.float64] | None:
    """Z as recorded: the composite of all drives, else of the drives that there are.

    Some files record the drives only. Drive and piezo are added or subtracted if that
    gives the stored position of frame 0. Else the main drive is delivered as recorded,
    also where an unrecorded piezo made the stack and the drive stood still: what the
    file says of a frame comes before what its loops let one expect.
    """
    if records.z is not None and np.any(records.z):
        return records.z
    frame0, z1, z2 = document.picture.z_um, records.z1, records.z2
    if z1 is None or not np.any(z1):
        return None
    if z2 is not None and len(z2) == len(z1) and frame0 is not None:
        for z in (z1 - z2, z1 + z2):
            if abs(z[0] - frame0) < _SAME_UM:
                return z
    return z1


def _recorded_or(
    column: npt.NDArray[np.float64] | None,
    computed: npt.NDArray[np.float64],
    axes: Axes,
) -> npt.NDArray[np.float64]:
    rest = np.broadcast_to(computed, axes.shape)
    if column is None or not np.any(column):
        return rest.copy()
    recorded = by_frame(column, axes)
    return np.where(np.isfinite(recorded), recorded, rest)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
