"""From the dims and coordinates of an array to the acquisition loops of a file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from limnd2_xr.arrays.units import has_unit, in_unit, milliseconds, stated_step
from limnd2_xr.model.axes import DIM_ORDER
from limnd2_xr.model.experiment import (
    CustomLoop,
    Experiment,
    NETimeLoop,
    Period,
    TimeLoop,
    XYPoint,
    XYPositionLoop,
    ZStackLoop,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from limnd2_xr.arrays.readback import Known
    from limnd2_xr.model.experiment import Dim, Loop

__all__ = ["described_experiment", "loop_order", "steps_of"]

_SAME: Final = 1e-6
"""Steps that differ by less than this part of a step are the same."""
_RISING, _FALLING = 2, 6
"""Type codes of stacks around a home plane (FORMAT 7.3)."""


def loop_order(image: xr.DataArray, base: Experiment | None) -> tuple[Dim, ...]:
    """Loop dims of an array in the order in which frames shall be numbered.

    The order of the file that it came from, new dims first; else that of the array.

    Parameters
    ----------
    image
        With any dims.
    base
        Loops of the file that the array came from, None without one.
    """
    known = tuple(dict.fromkeys(loop.dim for loop in base.loops)) if base else ()
    own = cast("tuple[Dim, ...]", tuple(dim for dim in image.dims if dim in DIM_ORDER))
    new = tuple(dim for dim in own if dim not in known)
    return (*new, *(dim for dim in known if dim in own))


def described_experiment(
    image: xr.DataArray, base: Experiment | None, known: Known
) -> Experiment:
    """Loops that the dims and coordinates of an array describe.

    Parameters
    ----------
    image
        With coordinates as the dataset has them; absent ones are filled in.
    base
        Loops of the file that the array came from: a loop that still fits is kept as it
        is, with everything that coordinates do not tell.
    known
        What is known of the array from that file.

    Raises
    ------
    ValueError
        If Z is not equidistant, position names repeat or a unit is not known.
    """
    make: dict[Dim, Callable[[xr.DataArray, Loop | None], Loop]] = {
        "T": _time_loop,
        "P": _position_loop,
        "Z": _z_loop,
        "U": _custom_loop,
    }
    loops = []
    for dim in loop_order(image, base):
        old = [loop for loop in base.loops if loop.dim == dim] if base else []
        loop = old[0] if len(old) == 1 else None
        told = [dim, "position_x", "position_y", "position_z"] if dim == "P" else [dim]
        if (
            loop is not None
            and loop.count == image.sizes[dim]
            and known.is_whole(dim, loop.count)
            and all(known.same(image, name) for name in told)
        ):
            loops.append(loop)
        else:
            loops.append(make[dim](image, loop))
    spectral = base.spectral if base and known.same(image, "C") else None
    if base is None or not (loops or spectral):
        # Without a loop a file has no experiment that could say more.
        return Experiment(loops=tuple(loops))
    return replace(base, loops=tuple(loops), spectral=spectral)


def steps_of(values: NDArray[np.float64]) -> float | None:
    """Return the distance of equidistant values, 0 of one value; None if uneven.

    Examples
    --------
    >>> steps_of(np.array([1.0, 1.5, 2.0])), steps_of(np.array([1.0, 2.0, 4.0]))
    (0.5, None)
    """
    if len(values) < 2:
        return 0.0
    steps = np.diff(values)
    if not np.isfinite(steps).all():
        return None
    mean = float(values[-1] - values[0]) / (len(values) - 1)
    # Labels far from 0 are rounded: that alone must not make them uneven.
    rounding = 8 * np.spacing(np.abs(values).max())
    even = np.abs(steps - mean).max() <= abs(mean) * _SAME + rounding
    return (float(steps[0]) if _exact(values) else mean) if even else None


def _exact(values: NDArray[np.float64]) -> bool:
    """Whether multiples of the first step give the values bit for bit."""
    step = values[1] - values[0]
    return bool((np.arange(len(values)) * step + values[0] == values).all())


def _time_loop(image: xr.DataArray, _old: Loop | None) -> Loop:
    count = image.sizes["T"]
    plain = TimeLoop(count=count, declared_count=count)
    if "T" not in image.coords:
        return plain
    times = _times(image.coords["T"])
    if times is None:
        return plain
    step = steps_of(times)
    if step is not None:
        if step < 0:
            raise ValueError(
                "coordinate T falls: times along T must rise; sort with sortby('T'), or "
                "drop the coordinate to number the time points"
            )
        step_ms = float(milliseconds(np.array([step]))[0])
        return TimeLoop(
            count=count,
            declared_count=count,
            period_ms=step_ms,
            duration_ms=step_ms * (count - 1),
            avg_period_diff_ms=step_ms,
            min_period_diff_ms=step_ms,
            max_period_diff_ms=step_ms,
        )
    steps = np.diff(times)
    if not (np.isfinite(steps).all() and (steps > 0).all()):
        raise ValueError(
            "coordinate T must rise and hold finite times; put the moments of the frames "
            "into a coordinate 'time' over the loop dims and make T equidistant"
        )
    return NETimeLoop(count=count, declared_count=count, periods=_periods(steps))


def _times(coordinate: xr.DataArray) -> NDArray[np.float64] | None:
    """Return T in seconds, None where it numbers the time points."""
    values = coordinate.values
    if values.dtype.kind == "M":
        return np.asarray((values - values[0]) / np.timedelta64(1, "ns"), float) / 1e9
    if not has_unit(coordinate):
        if values.dtype.kind in "iuf" and _counts(values.astype(np.float64)):
            return None
        raise ValueError(
            "coordinate T has no unit: set da.T.attrs['units'] = 's' (or ms, min, h), or "
            "number the time points 0, 1, 2, ..."
        )
    return in_unit(coordinate, "s")


def _counts(values: NDArray[np.float64]) -> bool:
    """Whether values are the indices of something, possibly of a part of it."""
    whole = bool((values == np.rint(values)).all())
    return whole and (len(values) < 2 or abs(steps_of(values) or 0.0) >= 1)


def _periods(steps: NDArray[np.float64]) -> tuple[Period, ...]:
    """One period for each run of equal steps; a period's last step leads to the next."""
    periods, begin = [], 0
    for end in range(1, len(steps) + 1):
        if end < len(steps) and abs(steps[end] - steps[begin]) <= _SAME * steps[begin]:
            continue
        last = end == len(steps)
        step_ms = float(milliseconds(steps[begin : begin + 1])[0])
        count = end - begin + last
        periods.append(
            Period(
                count=count,
                period_ms=step_ms,
                duration_ms=step_ms * (count - last),
                avg_period_diff_ms=step_ms,
                min_period_diff_ms=step_ms,
                max_period_diff_ms=step_ms,
            )
        )
        begin = end
    return tuple(periods)


def _z_loop(image: xr.DataArray, loop: Loop | None) -> Loop:
    count = image.sizes["Z"]
    old = loop if isinstance(loop, ZStackLoop) else None
    device = old.device if old else ""
    stated = stated_step(image, "z_step_um") if "Z" not in image.coords else None
    if stated is not None:
        z = (np.arange(count) - (count - 1) // 2).astype(np.float64) * stated
        return _stack(z, stated if count > 1 else 0.0, device)
    if "Z" not in image.coords or (
        not has_unit(image.coords["Z"]) and _is_index(image.coords["Z"])
    ):
        middle = (count - 1) // 2
        return ZStackLoop(
            count=count, declared_count=count, home_index=middle, device=device
        )
    if not has_unit(image.coords["Z"]):
        raise ValueError(
            "coordinate Z has no unit: set da.Z.attrs['units'] = 'um', or number the "
            "slices 0, 1, 2, ..."
        )
    z = in_unit(image.coords["Z"], "um")
    step = steps_of(z)
    if step is None or (step == 0 and count > 1):
        raise ValueError(
            "coordinate Z is not equidistant, but a Z stack is; put the heights of the "
            "slices into a coordinate 'stage_z' and make Z equidistant (da.interp, or "
            "da.assign_coords(Z=...)), or write the slices as positions (dim P)"
        )
    if count == 1 and old is not None:
        step = old.step_um * old.direction
    return _stack(z, step, device)


def _stack(z: NDArray[np.float64], step: float, device: str) -> ZStackLoop:
    """Return a stack of slices at `step` from each other; 0 is its home plane."""
    count, size = len(z), abs(step)
    home = min(max(round(-float(z[0]) / step), 0), count - 1) if step else 0
    high = size * (count - 1)
    # Around the home plane the ends count from it, in the direction of the stage.
    home_um = size * home if step >= 0 else high - size * home
    return ZStackLoop(
        count=count,
        declared_count=count,
        step_um=size,
        home_index=home,
        type_code=_RISING if step >= 0 else _FALLING,
        low_um=0.0,
        high_um=high,
        home_um=home_um,
        device=device,
    )


def _is_index(coordinate: xr.DataArray) -> bool:
    values = coordinate.values
    return values.dtype.kind in "iuf" and np.array_equal(values, np.arange(len(values)))


def _position_loop(image: xr.DataArray, loop: Loop | None) -> Loop:
    count = image.sizes["P"]
    names = _position_names(image)
    places = {axis: _place(image, axis) for axis in "xyz"}
    use_z = places["z"] is not None and bool(np.isfinite(places["z"]).all())
    old = loop.points if isinstance(loop, XYPositionLoop) else ()
    focus = {point.name: point.pfs_offset for point in old if point.name}
    points = tuple(
        XYPoint(
            index=i,
            x_um=_number(places["x"], i),
            y_um=_number(places["y"], i),
            z_um=_number(places["z"], i) if use_z else None,
            pfs_offset=focus.get(names[i]),
            name=names[i],
        )
        for i in range(count)
    )
    return XYPositionLoop(count=count, declared_count=count, points=points, use_z=use_z)


def _position_names(image: xr.DataArray) -> list[str]:
    count = image.sizes["P"]
    if "P" not in image.coords or _is_index(image.coords["P"]):
        return [""] * count
    names = [str(name) for name in image.coords["P"].values.tolist()]
    _refuse_repeated(names, "P")
    return names


def _refuse_repeated(names: Sequence[str], dim: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"labels of {dim} repeat ({', '.join(map(repr, repeated[:5]))}): give each "
            f"its own with da.assign_coords({dim}=[...])"
        )


def _place(image: xr.DataArray, axis: str) -> NDArray[np.float64] | None:
    """Where each position is: as set, else where the stage was at its first frame."""
    if f"position_{axis}" in image.coords:
        given = image.coords[f"position_{axis}"]
        if given.dims == ("P",):
            values = in_unit(given, "um")
            if np.isfinite(values).any():
                return values
            if axis == "z":
                return None  # the loop does not set Z, as files say it
    if f"stage_{axis}" in image.coords:
        stage = image.coords[f"stage_{axis}"]
        first = stage.isel({dim: 0 for dim in stage.dims if dim != "P"})
        values = in_unit(first, "um")
        return np.broadcast_to(values, (image.sizes["P"],)).copy()
    return None


def _number(values: NDArray[np.float64] | None, at: int) -> float:
    """Place of one position; 0 where nothing is known, as readers need a number."""
    return 0.0 if values is None or not np.isfinite(values[at]) else float(values[at])


def _custom_loop(image: xr.DataArray, _old: Loop | None) -> Loop:
    count = image.sizes["U"]
    return CustomLoop(count=count, declared_count=count)
