"""Acquisition loops of a synthetic file, as plain descriptions."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TypeAlias

__all__ = [
    "CustomLoop",
    "Loop",
    "NETimeLoop",
    "Period",
    "Point",
    "PositionLoop",
    "SpectralLoop",
    "TimeLoop",
    "ZLoop",
]


@dataclass(frozen=True, slots=True)
class TimeLoop:
    """Equidistant time steps (FORMAT 7.3, type 1).

    Parameters
    ----------
    count
        Number of time steps.
    period_ms
        Set period.
    avg_period_ms
        Measured mean period; None stores `period_ms`.
    start_ms, duration_ms
        Stored as they are; None stores ``(count - 1) * period_ms``.
    duration_pref
        Whether the duration rules over the count.
    """

    count: int
    _: KW_ONLY
    period_ms: float = 1000.0
    avg_period_ms: float | None = None
    start_ms: float = 0.0
    duration_ms: float | None = None
    duration_pref: bool = False

    axis = "T"

    @property
    def length(self) -> int:
        """Number of indices along the loop."""
        return self.count


@dataclass(frozen=True, slots=True)
class Period:
    """One period of a `NETimeLoop`; not acquired if not `valid`."""

    count: int
    _: KW_ONLY
    period_ms: float = 1000.0
    avg_period_ms: float | None = None
    valid: bool = True
    start_ms: float = 0.0
    duration_ms: float | None = None
    duration_pref: bool = False


@dataclass(frozen=True, slots=True)
class NETimeLoop:
    """Time steps in several periods (FORMAT 7.3, type 8).

    Parameters
    ----------
    periods
        In order; those not valid have no frames.
    sub_loops
        Store the inner loops below ``pSubLoops`` of each period, as paused and edited
        acquisitions do (FORMAT 7.5).
    """

    periods: tuple[Period, ...]
    _: KW_ONLY
    sub_loops: bool = False

    axis = "T"

    @property
    def length(self) -> int:
        """Number of indices along the loop: steps of the valid periods."""
        return sum(p.count for p in self.periods if p.valid)


@dataclass(frozen=True, slots=True)
class Point:
    """A stage position, in micrometres; without frames if not `valid`."""

    x: float
    y: float
    z: float = 0.0
    _: KW_ONLY
    name: str = ""
    pfs_offset: float = -1.0
    valid: bool = True


@dataclass(frozen=True, slots=True)
class PositionLoop:
    """Stage positions (FORMAT 7.3, type 2).

    Parameters
    ----------
    points
        Absolute positions, in order; `relative` stores them less `reference`.
    use_z
        Whether the points' z counts.
    relative, reference
        ``bRelativeXY`` with ``dReferenceX`` and ``dReferenceY``.
    """

    points: tuple[Point, ...]
    _: KW_ONLY
    use_z: bool = False
    relative: bool = False
    reference: tuple[float, float] = (0.0, 0.0)

    axis = "P"

    @property
    def length(self) -> int:
        """Number of indices along the loop: valid points."""
        return sum(p.valid for p in self.points)


@dataclass(frozen=True, slots=True)
class ZLoop:
    """A stack of slices (FORMAT 7.3, type 4).

    Parameters
    ----------
    count
        Number of slices.
    step_um
        Distance of slices.
    kind
        ``iType``: 0-3 bottom to top, 4-7 top to bottom.
    inverted
        ``bZInverted``, the drive counts down.
    low_um, home_um, high_um
        Limits as stored; None spreads the range around 0.
    store_step
        False stores a step of 0, to be derived from the limits.
    device
        Name of the drive.
    """

    count: int
    _: KW_ONLY
    step_um: float = 1.0
    kind: int = 2
    inverted: bool = False
    low_um: float | None = None
    home_um: float | None = None
    high_um: float | None = None
    store_step: bool = True
    device: str = "Ti ZDrive"

    axis = "Z"

    @property
    def length(self) -> int:
        """Number of indices along the loop."""
        return self.count

    @property
    def limits(self) -> tuple[float, float, float]:
        """Low, home and high as stored."""
        half = (self.count - 1) * self.step_um / 2
        return (
            -half if self.low_um is None else self.low_um,
            0.0 if self.home_um is None else self.home_um,
            half if self.high_um is None else self.high_um,
        )

    @property
    def rise_um(self) -> float:
        """Change of stage z from one slice to the next, negative if top to bottom."""
        return self.step_um if self.kind < 4 else -self.step_um


@dataclass(frozen=True, slots=True)
class CustomLoop:
    """A loop without a meaning of its own (FORMAT 7.3, type 7)."""

    count: int

    axis = "U"

    @property
    def length(self) -> int:
        """Number of indices along the loop."""
        return self.count


@dataclass(frozen=True, slots=True)
class SpectralLoop:
    """The channels as a loop of the experiment (FORMAT 7.3, type 6).

    Adds no axis: the channels are inside each frame.
    """

    axis = None

    @property
    def length(self) -> int:
        """1: a spectral loop multiplies no frames."""
        return 1


Loop: TypeAlias = (
    TimeLoop | NETimeLoop | PositionLoop | ZLoop | CustomLoop | SpectralLoop
)
