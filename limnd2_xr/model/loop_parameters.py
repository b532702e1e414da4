"""Parameters of acquisition loops, in both encodings (FORMAT 7.3).

Lite variants hold lists of structs (``Points``), old XML parallel lists of values
(``dPosX/item_00000``); both come out the same here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypedDict

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.fields import (
    as_real,
    finite,
    flag,
    flags,
    integer,
    items_by_number,
    levels_by_number,
    text,
    unwrap,
)
from limnd2_xr.variants.tree import Level

__all__ = [
    "Period",
    "XYPoint",
    "home_index",
    "parse_periods",
    "parse_points",
    "parse_spectral_names",
    "parse_spectral_offsets",
    "period_fields",
    "xy_fields",
    "z_fields",
]

_HOME_TOLERANCE: Final = 0.05
_MAX_COUNT: Final = 0xFFFF_FFFF


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """One period of a non-equidistant time loop."""

    count: int
    """Time steps."""
    valid: bool = True
    """Whether the period was kept; the steps of others are not in the file."""
    name: str = ""
    """Name of the phase."""
    loop_type: int = 0
    """0 normal, 1 stimulation, 2 bleaching, 2048 incubation, 4096 liquid handling."""
    start_ms: float = 0.0
    """Start, as stored."""
    period_ms: float = 0.0
    """Set time between steps; 0 is as fast as possible."""
    duration_ms: float = 0.0
    """Set duration."""
    prefer_duration: bool = False
    """Whether the duration, not the count, ended the period."""
    avg_period_diff_ms: float = 0.0
    """Measured mean time between steps; 0 if not measured."""
    min_period_diff_ms: float = 0.0
    """Measured shortest time between steps."""
    max_period_diff_ms: float = 0.0
    """Measured longest time between steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class XYPoint:
    """One position of a multipoint acquisition."""

    index: int
    """Number in the list of defined positions, the dropped ones included."""
    x_um: float
    """Stage X, reference added; NaN if not stored."""
    y_um: float
    """Stage Y, reference added; NaN if not stored."""
    z_um: float | None = None
    """Stage Z; None if the loop does not use it."""
    pfs_offset: float | None = None
    """Offset of the focus system; None if not used."""
    name: str = ""
    """Name that the user gave it."""


class PeriodFields(TypedDict):
    """What time loops and periods have in common."""

    start_ms: float
    period_ms: float
    duration_ms: float
    prefer_duration: bool
    avg_period_diff_ms: float
    min_period_diff_ms: float
    max_period_diff_ms: float


class XYFields(TypedDict):
    """Settings of a position loop besides its points."""

    relative_xy: bool
    reference_x_um: float
    reference_y_um: float


class ZFields(TypedDict):
    """Settings of a focus stack besides its counts."""

    step_um: float
    home_index: int
    type_code: int
    low_um: float | None
    high_um: float | None
    home_um: float | None
    reference_um: float | None
    absolute: bool
    inverted: bool
    triggered_piezo: bool
    device: str


def period_fields(level: Level) -> PeriodFields:
    """Return the time fields of a loop or a period; numbers that are NaN become 0."""
    return PeriodFields(
        start_ms=_number(level, "dStart"),
        period_ms=_number(level, "dPeriod"),
        duration_ms=_number(level, "dDuration"),
        prefer_duration=flag(level, "bDurationPref"),
        avg_period_diff_ms=_number(level, "dAvgPeriodDiff"),
        min_period_diff_ms=_number(level, "dMinPeriodDiff"),
        max_period_diff_ms=_number(level, "dMaxPeriodDiff"),
    )


def parse_periods(level: Level) -> tuple[Period, ...]:
    """Return all periods of a non-equidistant time loop, in file order."""
    valid = flags(level, "pPeriodValid")
    listed = level.level("pPeriod", create=True)
    periods = []
    for i, raw in enumerate(levels_by_number(listed)):
        period = unwrap(raw)
        count = integer(period, "uiCount", 0)
        if not 0 <= count <= _MAX_COUNT:
            raise CorruptChunk(f"field uiCount of period {i} is {count}")
        periods.append(
            Period(
                count=count,
                valid=valid[i] if i < len(valid) else True,
                name=text(period, "wsPhaseName"),
                loop_type=integer(period, "uiLoopType", 0),
                **period_fields(period),
            )
        )
    return tuple(periods)


def xy_fields(level: Level) -> XYFields:
    """Return the settings of a position loop."""
    return XYFields(
        relative_xy=flag(level, "bRelativeXY"),
        reference_x_um=_number(level, "dReferenceX"),
        reference_y_um=_number(level, "dReferenceY"),
    )


def parse_points(
    level: Level, valid: tuple[bool, ...]
) -> tuple[tuple[XYPoint, ...], int]:
    """Positions that were kept, and how many were listed.

    Parameters
    ----------
    level
        Parameters of the loop.
    valid
        One flag a listed position; a position without a flag is kept.
    """
    listed = level.level("Points")
    points = _listed_points(listed) if listed is not None else _column_points(level)
    relative = flag(level, "bRelativeXY")
    x0 = _number(level, "dReferenceX") if relative else 0.0
    y0 = _number(level, "dReferenceY") if relative else 0.0
    use_z = flag(level, "bUseZ")
    kept = []
    for i, point in enumerate(points):
        if i < len(valid) and not valid[i]:
            continue
        pfs = finite(point, "dPFSOffset")
        kept.append(
            XYPoint(
                index=i,
                x_um=_coordinate(x0, finite(point, "dPosX")),
                y_um=_coordinate(y0, finite(point, "dPosY")),
                z_um=finite(point, "dPosZ") if use_z else None,
                pfs_offset=pfs if pfs is not None and pfs >= 0 else None,
                name=text(point, "dPosName", "pPosName"),
            )
        )
    return tuple(kept), len(points)


def _coordinate(origin: float, value: float | None) -> float:
    return math.nan if value is None else origin + value


def _listed_points(level: Level) -> list[Level]:
    return [unwrap(point) for point in level.levels()]


def _column_points(level: Level) -> list[Level]:
    """One struct a position from the parallel lists of format 2.x."""
    columns = {
        name: items_by_number(level.level(name, create=True))
        for name in ("dPosX", "dPosY", "dPosZ", "dPFSOffset", "pPosName")
    }
    points = []
    for i in sorted(columns["dPosX"].keys() | columns["dPosY"].keys()):
        point = Level()
        for name, column in columns.items():
            if i in column:
                point.add(name, "", column[i])
        points.append(point)
    return points


def z_fields(level: Level, count: int) -> ZFields:
    """Return the settings of a focus stack of `count` slices."""
    low, high = finite(level, "dZLow"), finite(level, "dZHigh")
    home = finite(level, "dZHome")
    step = abs(_number(level, "dZStep"))
    if step == 0.0 and count > 1 and low is not None and high is not None:
        step = abs(high - low) / (count - 1)
    step = step if math.isfinite(step) else 0.0
    kind = integer(level, "iType", 0)
    inverted = flag(level, "bZInverted")
    return ZFields(
        step_um=step,
        home_index=home_index(
            count, step, low=low, high=high, home=home, kind=kind, inverted=inverted
        ),
        type_code=kind,
        low_um=low,
        high_um=high,
        home_um=home,
        reference_um=finite(level, "dReferencePosition"),
        absolute=flag(level, "bAbsolute"),
        inverted=inverted,
        triggered_piezo=flag(level, "bTriggeredPiezo"),
        device=text(level, "wsZDevice", "sZDevice"),
    )


def home_index(
    count: int,
    step: float,
    *,
    low: float | None,
    high: float | None,
    home: float | None,
    kind: int,
    inverted: bool,
) -> int:
    """Slice of a stack that is at the home position (FORMAT 7.3).

    Parameters
    ----------
    count
        Slices.
    step
        Distance of two slices, um.
    low, high, home
        Ends and home position as set, um.
    kind
        Type code of the stack; only 2, 3, 6 and 7 are defined around the home
        position, others take the middle slice.
    inverted
        Whether the positions count against the stage.

    Examples
    --------
    >>> home_index(11, 6.0, low=140.0, high=200.0, home=170.0, kind=2, inverted=True)
    5
    """
    if count <= 1:
        return 0
    if kind not in (2, 3, 6, 7) or low is None or high is None or home is None:
        return (count - 1) // 2
    from_low = (kind in (2, 3)) != inverted
    distance = abs((low if from_low else high) - home)
    if step > 0:
        steps = (distance - _HOME_TOLERANCE * step) / step
        return _bounded(max(steps, 0.0), count, up=True)
    span = abs(high - low)
    return _bounded((count - 1) * distance / span, count, up=False) if span > 0 else 0


def _bounded(steps: float, count: int, *, up: bool) -> int:
    if not steps < count - 1:  # NaN and infinity too
        return count - 1
    return math.ceil(steps) if up else int(steps)


def parse_spectral_names(level: Level) -> tuple[str, ...]:
    """Return the names of the channels that a spectral loop defines."""
    planes = level.level("pPlanes", create=True)
    for parent, name in (
        (planes, "sPlaneNew"),
        (planes, "sPlane"),
        (level, "pPlaneDesc"),
    ):
        found = levels_by_number(parent.level(name, create=True))
        if found:
            return tuple(text(unwrap(plane), "sDescription") for plane in found)
    return ()


def parse_spectral_offsets(level: Level) -> tuple[float, ...]:
    """Return the focus offsets of the channels of a spectral loop, um."""
    points = level.level("Points")
    if points is not None:
        return tuple(_number(unwrap(point), "pdOffset") for point in points.levels())
    offsets = level.level("pdOffset", create=True)
    numbers = [as_real(value, "pdOffset") for value in offsets.values]
    return tuple(value if math.isfinite(value) else 0.0 for value in numbers)


def _number(level: Level, name: str) -> float:
    return finite(level, name) or 0.0
