"""Times of frames: measured, absolute, and nominal along T (FORMAT 8.7)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.model.experiment import NETimeLoop, TimeLoop
from limnd2_xr.model.picture import datetime_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.loop_parameters import Period
    from limnd2_xr.model.records import FrameRecords

__all__ = ["acquired", "frame_times", "time_coordinate", "times_from_ms"]

_UNKNOWN_MS: Final = -1.0
_MAX_SECONDS: Final = 200 * 366 * 86_400


@np.errstate(all="ignore")
def times_from_ms(ms: npt.NDArray[np.float64], axes: Axes) -> npt.NDArray[np.float64]:
    """Seconds since the start, of shape `axes.shape`; NaN where unknown.

    Parameters
    ----------
    ms
        Milliseconds by frame number; may be shorter than the loops ask for. -1 means
        unknown (FORMAT 1.4).
    axes
        Loop dims of the file.
    """
    seconds = np.asarray(ms, np.float64) / 1000.0
    seconds[~np.isfinite(seconds) | (np.asarray(ms) == _UNKNOWN_MS)] = np.nan
    return by_frame(seconds, axes)


def by_frame(values: npt.NDArray[np.float64], axes: Axes) -> npt.NDArray[np.float64]:
    """Values by frame number brought to `axes.shape`, NaN where there is none."""
    numbers = axes.sequence()
    found = np.full(numbers.shape, np.nan)
    known = numbers < len(values)
    found[known] = values[numbers[known]]
    return found


@np.errstate(all="ignore")
def frame_times(
    document: Nd2Document, axes: Axes, records: FrameRecords
) -> npt.NDArray[np.float64]:
    """Seconds since the start of the acquisition, of shape `axes.shape`.

    Recorded times where the file has any; else the nominal ones along T, if these are
    in seconds, from the time of frame 0 on. NaN where unknown.

    Parameters
    ----------
    document
        Metadata of the file.
    axes
        Its loop dims.
    records
        Its recorded values.
    """
    if records.times_ms is not None:
        recorded = times_from_ms(records.times_ms, axes)
        if np.isfinite(recorded).any():
            return recorded
    frame0 = max(document.acquisition.frame0_ms or 0.0, 0.0) / 1000.0
    times = np.full(axes.shape, np.nan)
    if "T" in axes.dims:
        nominal, unit = time_coordinate(document, axes, times)
        if unit is not None:
            times[...] = axes.along("T", nominal) + frame0
    if frame0 > 0:
        times[axes.sequence() == 0] = frame0
    return times


@np.errstate(all="ignore")
def acquired(
    document: Nd2Document, axes: Axes, times_s: npt.NDArray[np.float64]
) -> npt.NDArray[np.datetime64]:
    """Moment of each frame in UTC, datetime64[ns] of shape `axes.shape`.

    ``dTimeAbsolute`` is the moment of frame 0, not of the start; so frame i was taken
    at that plus the difference of their times. Where that clock was never set, the
    start of the acquisition plus the time of the frame. NaT where unknown; rounded to
    microseconds.

    Parameters
    ----------
    document
        Metadata of the file.
    axes
        Its loop dims.
    times_s
        Seconds since the start, from `frame_times`.
    """
    moments = np.full(axes.shape, np.datetime64("NaT", "ns"))
    acquisition, first = document.acquisition, axes.sequence() == 0
    if acquisition.frame0_jd is not None:
        moments[first] = datetime_of(acquisition.frame0_jd)
        base, zero = datetime_of(acquisition.frame0_jd), _time_of_first(times_s[first])
    elif acquisition.start_jd is not None:
        base, zero = datetime_of(acquisition.start_jd), 0.0
    else:
        return moments
    since = times_s - zero
    known = np.isfinite(since) & (np.abs(since) < _MAX_SECONDS)
    micros = np.rint(since[known] * 1e6).astype("timedelta64[us]")
    moments[known] = base + micros
    return moments


def _time_of_first(times: npt.NDArray[np.float64]) -> float:
    return float(times[0]) if len(times) else math.nan


@np.errstate(all="ignore")
def time_coordinate(
    document: Nd2Document, axes: Axes, times_s: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], str | None]:
    """Nominal times along T and their unit: ``"s"``, or None for frame numbers.

    Steps are the mean measured period, else the mean step of the recorded times where
    they increase, else the set period, else 1 without a unit. The periods of a
    non-equidistant loop follow each other, each with its own step.

    Parameters
    ----------
    document
        Metadata of the file.
    axes
        Its loop dims.
    times_s
        Seconds since the start, from `frame_times`; may be all NaN.

    Returns
    -------
    tuple
        float64 array of the length of T, beginning with 0, and the unit.
    """
    n = axes.size("T")
    measured = _measured_steps(axes, times_s)
    places = axes.loops_along("T")
    loop = None
    if len(places) == 1:
        loop = axes.loop(places[0], document.experiment.loops)
    nominal: npt.NDArray[np.float64] | None = None
    if isinstance(loop, NETimeLoop) and loop.periods:
        nominal = _period_times(loop.periods, n, measured)
    elif len(places) > 1:
        nominal = measured
    else:
        step = _step(loop if isinstance(loop, TimeLoop) else None, measured)
        nominal = np.arange(n, dtype=np.float64) * step if step > 0 else None
    if nominal is not None:
        return nominal, "s"
    return np.arange(n, dtype=np.float64), "s" if n == 1 else None


def _step(loop: TimeLoop | None, measured: npt.NDArray[np.float64] | None) -> float:
    if loop is not None and loop.avg_period_diff_ms > 0:
        return loop.avg_period_diff_ms / 1000.0
    if measured is not None:
        return float(measured[-1]) / (len(measured) - 1)
    return max(loop.period_ms, 0.0) / 1000.0 if loop is not None else 0.0


def _measured_steps(
    axes: Axes, times_s: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64] | None:
    """Return the recorded time of each T step since the first, None if they do not increase."""
    if "T" not in axes.dims or not times_s.size:
        return None
    at = axes.dims.index("T")
    first = tuple(slice(None) if i == at else 0 for i in range(times_s.ndim))
    steps = times_s[first]
    if len(steps) < 2 or not (np.diff(steps) > 0).all():  # NaN compares false
        return None
    since: npt.NDArray[np.float64] = steps - steps[0]
    return since if np.isfinite(since).all() else None


def _period_times(
    periods: tuple[Period, ...], n: int, measured: npt.NDArray[np.float64] | None
) -> npt.NDArray[np.float64] | None:
    """Nominal times of the first `n` steps, None if a needed interval is unknown."""
    times = np.zeros(n)
    at, start = 0, 0.0
    for period in periods:
        count = min(period.count, n - at) if period.valid else 0
        if count <= 0:
            continue
        if measured is not None:
            start = float(measured[at])
        interval = _interval(period, measured, at, count)
        alone = count == 1 and at + count == n
        if interval <= 0 and not alone:
            return measured
        times[at : at + count] = start + interval * np.arange(count)
        start += interval * count
        at += count
    if at < n:
        return measured
    increases = bool((np.diff(times) > 0).all())
    return times if increases else measured


def _interval(
    period: Period, measured: npt.NDArray[np.float64] | None, at: int, count: int
) -> float:
    if period.avg_period_diff_ms > 0:
        return period.avg_period_diff_ms / 1000.0
    if measured is not None and count > 1:
        return float(measured[at + count - 1] - measured[at]) / (count - 1)
    return max(period.period_ms, 0.0) / 1000.0
