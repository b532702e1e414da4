"""Parameters of acquisition loops as trees to be written (FORMAT 7.3).

Names, order and stored types of the lite variant, as NIS-Elements 5 has them.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from limnd2_xr.model.experiment import (
    CustomLoop,
    NETimeLoop,
    SpectralLoop,
    TimeLoop,
    XYPositionLoop,
    ZStackLoop,
)
from limnd2_xr.model.loop_parameters import Period, XYPoint
from limnd2_xr.model.picture_tree import known_or
from limnd2_xr.model.tree_building import (
    blob,
    boolean,
    f64,
    i32,
    listed,
    nested,
    numbered,
    string,
    struct,
    u32,
)
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limnd2_xr.model.experiment import Loop
    from limnd2_xr.model.tree_building import Field

__all__ = [
    "autofocus_tree",
    "dropped_point_tree",
    "item_flags",
    "parameters_tree",
    "period_tree",
    "point_tree",
    "spectral_plane_tree",
    "spectral_point_tree",
    "z_ends",
]

_MAX_POSITIONS: Final = 1_000_000
_TIRF_POSITION: Final = 0.000333
_NO_PFS: Final = -1.0
_AROUND_HOME: Final = (2, 3, 6, 7)


def parameters_tree(loop: Loop | SpectralLoop) -> Level:
    """Content of ``uLoopPars``.

    Raises
    ------
    ValueError
        If a value does not fit into its field.

    Examples
    --------
    >>> parameters_tree(TimeLoop(count=3, declared_count=3, period_ms=500.0))["dPeriod"]
    500.0
    """
    if isinstance(loop, TimeLoop):
        return struct(
            u32("uiCount", loop.declared_count),
            *_time_fields(loop),
            nested("sAutoFocusBeforeCapture", autofocus_tree()),
            string("wsInterfaceName", ""),
        )
    if isinstance(loop, NETimeLoop):
        return _periods(loop)
    if isinstance(loop, XYPositionLoop):
        return _positions(loop)
    if isinstance(loop, ZStackLoop):
        return _z_stack(loop)
    if isinstance(loop, CustomLoop):
        return struct(u32("uiCount", loop.declared_count))
    return _spectral(loop)


def item_flags(loop: Loop | SpectralLoop) -> bytes | None:
    r"""Return ``pItemValid`` of a loop, None where it needs none: all items are there.

    Which items of a loop were dropped is known of positions only; of others it is said
    of the last.

    Examples
    --------
    >>> item_flags(TimeLoop(count=2, declared_count=3))
    b'\x01\x01\x00'
    """
    if isinstance(loop, NETimeLoop):
        return None
    if isinstance(loop, XYPositionLoop) and loop.points:
        kept = {point.index for point in loop.points}
        flags = bytes(i in kept for i in range(_listed_positions(loop)))
    elif isinstance(loop, XYPositionLoop | SpectralLoop) or (
        loop.count < loop.declared_count
    ):
        if loop.declared_count > _MAX_POSITIONS:
            raise ValueError(
                f"a loop of {loop.declared_count} items, {loop.count} of them kept"
            )
        flags = bytes(i < loop.count for i in range(loop.declared_count))
    else:
        return None
    return flags


def autofocus_tree() -> Level:
    """Autofocus that is not used (FORMAT 7.4)."""
    plane = struct(i32("iDegree", 0), u32("uiValues", 0), nested("pCoeff", listed([])))
    return struct(
        u32("eType", 0),
        f64("dStep", 0.0),
        f64("dRange", 0.0),
        f64("dPrecision", 0.0),
        f64("dSpeed", 0.0),
        f64("dOffset", 0.0),
        nested("aFocusPlane", plane),
        u32("uiFlags", 0),
        i32("iFocusCriterion", 0),
        string("sZDrive", ""),
        boolean("bPiezoZTriggered", False),
        string("wszOptConf", ""),
        string("wszPreferedAFChannel", ""),
    )


def _time_fields(loop: TimeLoop | Period) -> list[Field]:
    return [
        f64("dStart", loop.start_ms),
        f64("dPeriod", loop.period_ms),
        f64("dDuration", loop.duration_ms),
        boolean("bDurationPref", loop.prefer_duration),
        f64("dMaxPeriodDiff", loop.max_period_diff_ms),
        f64("dMinPeriodDiff", loop.min_period_diff_ms),
        f64("dAvgPeriodDiff", loop.avg_period_diff_ms),
    ]


def period_tree(period: Period) -> Level:
    """One period of a non-equidistant time loop."""
    return struct(
        u32("uiCount", period.count),
        *_time_fields(period),
        u32("uiGroup", 0),
        u32("uiStimulationCount", 0),
        u32("uiTreatment", 0),
        f64("dIncubationDuration", 0.0),
        u32("uiLoopType", period.loop_type),
        string("wsPhaseName", period.name),
        nested("sAutoFocusBeforeCapture", autofocus_tree()),
        nested("sAutoFocusBeforePeriod", autofocus_tree()),
        string("wsInterfaceName", ""),
    )


def _periods(loop: NETimeLoop) -> Level:
    commands = struct(*(("", LvType.STRING, "") for _ in loop.periods))
    return struct(
        u32("uiCount", loop.declared_count),
        u32("uiPeriodCount", len(loop.periods)),
        nested("pPeriod", listed(period_tree(period) for period in loop.periods)),
        nested("wsCommandAfterPeriod", commands),
        nested("wsCommandBeforePeriod", commands),
        blob("pPeriodValid", bytes(period.valid for period in loop.periods)),
        nested("sAutoFocusBeforeCapture", autofocus_tree()),
        nested("sAutoFocusBeforePeriod", autofocus_tree()),
    )


def point_tree(point: XYPoint, loop: XYPositionLoop) -> Level:
    """One position of a loop, relative to the loop's reference where that is set."""
    x0 = loop.reference_x_um if loop.relative_xy else 0.0
    y0 = loop.reference_y_um if loop.relative_xy else 0.0
    z = math.nan if loop.use_z else 0.0
    return struct(
        f64("dPosX", _relative(point.x_um, x0)),
        f64("dPosY", _relative(point.y_um, y0)),
        f64("dPosZ", known_or(point.z_um, z)),
        f64("dPFSOffset", known_or(point.pfs_offset, _NO_PFS)),
        string("dPosName", point.name),
    )


def dropped_point_tree() -> Level:
    """Position about which only its place in the list is known."""
    nowhere = XYPoint(index=0, x_um=0.0, y_um=0.0)
    return point_tree(nowhere, XYPositionLoop(count=0, declared_count=0))


def _positions(loop: XYPositionLoop) -> Level:
    listed_points = {}
    if loop.points:
        points = {point.index: point_tree(point, loop) for point in loop.points}
        listed_points = {
            i: points.get(i) or dropped_point_tree()
            for i in range(_listed_positions(loop))
        }
    return struct(
        u32("uiCount", loop.declared_count),
        boolean("bUseZ", loop.use_z),
        boolean("bRelativeXY", loop.relative_xy),
        f64("dReferenceX", loop.reference_x_um),
        f64("dReferenceY", loop.reference_y_um),
        boolean("bRedefineAfterPFS", False),
        boolean("bRedefineAfterAutoFocus", False),
        boolean("bKeepPFSOn", False),
        boolean("bSplitMultipoints", False),
        boolean("bUseAFPlane", False),
        boolean("bZEnabled", loop.use_z),
        string("sZDevice", ""),
        *([nested("Points", listed(listed_points.values()))] if listed_points else []),
    )


def _listed_positions(loop: XYPositionLoop) -> int:
    """Return how many positions the list has, those that were dropped included."""
    indices = [point.index for point in loop.points]
    if indices[0] < 0 or any(i >= j for i, j in pairwise(indices)):
        shown = ", ".join(map(str, indices[:8]))
        raise ValueError(
            f"points of a position loop have the indices {shown}...: they number the "
            "positions of the list from 0 on and must increase"
        )
    count = max(loop.declared_count, 1 + indices[-1])
    if count > _MAX_POSITIONS:
        raise ValueError(f"a position loop of {count} positions, the dropped included")
    return count


def _relative(value: float, origin: float) -> float:
    """Return what gives `value` back when `origin` is added, if anything does."""
    if not origin or math.isnan(value):
        return value
    near = value - origin
    tried = (near, math.nextafter(near, math.inf), math.nextafter(near, -math.inf))
    return next((x for x in tried if origin + x == value), near)


def z_ends(loop: ZStackLoop) -> tuple[float, float, float]:
    """Lower end, home and upper end of a stack, computed where they are not known.

    Computed ends are relative to the home slice and give it back (FORMAT 7.3).

    Examples
    --------
    >>> z_ends(
    ...     ZStackLoop(
    ...         count=5, declared_count=5, step_um=0.5, home_index=1, type_code=2
    ...     )
    ... )
    (-0.5, 0.0, 1.5)
    """
    steps_up = max(loop.count - 1, 0)
    home = loop.home_index
    from_low = (loop.type_code in (0, 1, 2, 3)) != loop.inverted
    below = (home if from_low else steps_up - home) * loop.step_um
    above = steps_up * loop.step_um - below
    if loop.home_um is not None:
        middle = loop.home_um
    elif loop.low_um is not None:
        middle = loop.low_um + below
    elif loop.high_um is not None:
        middle = loop.high_um - above
    else:
        middle = 0.0
    return (
        known_or(loop.low_um, middle - below),
        middle,
        known_or(loop.high_um, middle + above),
    )


def _z_stack(loop: ZStackLoop) -> Level:
    low, home, high = z_ends(loop)
    reference = loop.reference_um
    return struct(
        u32("uiCount", loop.declared_count),
        boolean("bAbsolute", loop.absolute),
        boolean("bTriggeredPiezo", loop.triggered_piezo),
        boolean("bZInverted", loop.inverted),
        *([] if reference is None else [f64("dReferencePosition", reference)]),
        f64("dTIRFPosition", _TIRF_POSITION),
        f64("dTIRFPFSOffset", _NO_PFS),
        boolean("bTIRF", False),
        f64("dZHigh", high),
        f64("dZHome", home),
        f64("dZLow", low),
        f64("dZLow", low),  # twice, as in all files (FORMAT 4.2.2)
        f64("dZStep", loop.step_um),
        i32("iType", loop.type_code),
        string("wsCommandAfterCapture", ""),
        string("wsCommandBeforeCapture", ""),
        string("wsZDevice", loop.device),
    )


def spectral_plane_tree(name: str) -> Level:
    """One channel of a spectral loop."""
    return struct(
        u32("uiCompCount", 1),
        u32("uiSampleIndex", 0),
        string("sDescription", name),
    )


def spectral_point_tree(offset_um: float) -> Level:
    """Focus offset of one channel of a spectral loop."""
    return struct(
        nested("pAutoFocus", autofocus_tree()),
        string("wsCommandAfterCapture", ""),
        string("wsCommandBeforeCapture", ""),
        i32("pZStackPos", 0),
        f64("pdOffset", offset_um),
    )


def _spectral(loop: SpectralLoop) -> Level:
    planes = [spectral_plane_tree(name) for name in loop.names]
    points = [spectral_point_tree(offset) for offset in loop.offsets_um]
    stored: Sequence[Field] = (
        u32("uiCount", loop.declared_count),
        u32("uiCompCount", 0),
        nested("sPlaneNew", numbered("a", planes)),
    )
    return struct(
        nested("pPlanes", struct(*stored)),
        boolean("bMergeCameras", False),
        boolean("bWaitForPFS", False),
        boolean("bAskForFilter", False),
        i32("iOffsetReference", 0),
        *([nested("Points", listed(points))] if points else []),
    )
