"""Acquisition loops of a file (FORMAT 7).

`parse_experiment` walks the tree of ``SLxExperiment`` nodes and keeps the loops that
count frames, outermost first, and the spectral loop, which does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, TypeAlias

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.fields import flag, flags, integer, text, unwrap
from limnd2_xr.model.loop_parameters import (
    Period,
    XYPoint,
    parse_periods,
    parse_points,
    parse_spectral_names,
    parse_spectral_offsets,
    period_fields,
    xy_fields,
    z_fields,
)
from limnd2_xr.variants.tree import Level

__all__ = [
    "CustomLoop",
    "Dim",
    "Experiment",
    "Loop",
    "LoopNodes",
    "NETimeLoop",
    "Period",
    "SpectralLoop",
    "TimeLoop",
    "XYPoint",
    "XYPositionLoop",
    "ZStackLoop",
    "find_loops",
    "parse_experiment",
    "parse_loop",
]

Dim: TypeAlias = Literal["U", "T", "P", "Z"]
"""Array dimension that a loop runs along."""

_MAX_DEPTH: Final = 32
_WRAPPERS: Final = ("SLxExperiment", "RLxExperiment")
_MAX_NODES: Final = 10_000
_MAX_COUNT: Final = 0xFFFF_FFFF


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeLoop:
    """Equidistant time series (FORMAT 7.3, loop types 1 and 9)."""

    dim: ClassVar[Dim] = "T"
    count: int
    """Time steps that were kept."""
    declared_count: int
    """Time steps that the loop was set to."""
    start_ms: float = 0.0
    """Delay before the first step, as stored."""
    period_ms: float = 0.0
    """Set time between steps; 0 is as fast as possible."""
    duration_ms: float = 0.0
    """Set duration."""
    prefer_duration: bool = False
    """Whether the duration, not the count, ended the series."""
    avg_period_diff_ms: float = 0.0
    """Measured mean time between steps; 0 if not measured."""
    min_period_diff_ms: float = 0.0
    """Measured shortest time between steps."""
    max_period_diff_ms: float = 0.0
    """Measured longest time between steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NETimeLoop:
    """Time series of several periods, each with its own interval (loop type 8)."""

    dim: ClassVar[Dim] = "T"
    count: int
    """Time steps of the valid periods together."""
    declared_count: int
    """Time steps of all periods, as stored."""
    periods: tuple[Period, ...] = ()
    """All periods, the invalid ones too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class XYPositionLoop:
    """List of stage positions (loop type 2)."""

    dim: ClassVar[Dim] = "P"
    count: int
    """Positions that were kept."""
    declared_count: int
    """Positions that were defined."""
    points: tuple[XYPoint, ...] = ()
    """The positions kept, in file order; empty or fewer where the file lacks them."""
    use_z: bool = False
    """Whether the positions have a Z of their own."""
    relative_xy: bool = False
    """Whether stored X and Y were relative to the reference (already added)."""
    reference_x_um: float = 0.0
    """Reference point, X."""
    reference_y_um: float = 0.0
    """Reference point, Y."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ZStackLoop:
    """Equidistant focus stack (loop types 4 and 10)."""

    dim: ClassVar[Dim] = "Z"
    count: int
    """Slices that were kept."""
    declared_count: int
    """Slices that the loop was set to."""
    step_um: float = 0.0
    """Distance of two slices, never negative; 0 if unknown."""
    home_index: int = 0
    """Slice at the home position (FORMAT 7.3)."""
    type_code: int = 0
    """How the stack was defined: 0-3 bottom to top, 4-7 top to bottom."""
    low_um: float | None = None
    """Lower end as set."""
    high_um: float | None = None
    """Upper end as set."""
    home_um: float | None = None
    """Home position as set."""
    reference_um: float | None = None
    """Reference position as set."""
    absolute: bool = False
    """Whether the ends are absolute."""
    inverted: bool = False
    """Whether the drive's own position falls while the stage rises."""
    triggered_piezo: bool = False
    """Whether a piezo was stepped by triggers."""
    device: str = ""
    """Name of the Z drive."""

    @property
    def bottom_to_top(self) -> bool:
        """Whether the first slice is the lowest, by the definition of the stack."""
        return self.type_code < 4

    @property
    def direction(self) -> int:
        """1 where the stage rises from slice to slice, -1 where it falls."""
        return 1 if self.bottom_to_top else -1


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomLoop:
    """Loop of unknown meaning (loop type 7)."""

    dim: ClassVar[Dim] = "U"
    count: int
    """Steps that were kept."""
    declared_count: int
    """Steps that the loop was set to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpectralLoop:
    """Channels one after the other (loop type 6): all inside the frame."""

    dim: ClassVar[None] = None
    count: int
    """Channels that were selected."""
    declared_count: int
    """Channels that were defined."""
    names: tuple[str, ...] = ()
    """Names of the defined channels, where given."""
    offsets_um: tuple[float, ...] = ()
    """Focus offsets of the defined channels, where given."""


Loop: TypeAlias = TimeLoop | NETimeLoop | XYPositionLoop | ZStackLoop | CustomLoop
"""A loop that counts frames."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment:
    """The loops of an acquisition.

    Examples
    --------
    >>> experiment = Experiment(loops=(TimeLoop(count=3, declared_count=3),))
    >>> [(loop.dim, loop.count) for loop in experiment.loops]
    [('T', 3)]
    """

    loops: tuple[Loop, ...] = ()
    """Loops that count frames, outermost first."""
    spectral: SpectralLoop | None = None
    """Channel loop, None if there is none."""
    application: str = ""
    """Kind of acquisition, e.g. ``ND Acquisition``."""
    description: str = ""
    """What the user wrote about it."""
    camera: str = ""
    """Unique name of the camera."""

    @property
    def position_loop(self) -> XYPositionLoop | None:
        """The outermost position loop, None without one."""
        return next((x for x in self.loops if isinstance(x, XYPositionLoop)), None)

    @property
    def z_loop(self) -> ZStackLoop | None:
        """The outermost focus stack, None without one."""
        return next((x for x in self.loops if isinstance(x, ZStackLoop)), None)


@dataclass(slots=True)
class LoopNodes:
    """Loops found in a tree, and the nodes that they come from."""

    loops: list[tuple[Loop, Level]] = field(default_factory=list)
    """Loops that count frames, by nesting level."""
    spectral: tuple[SpectralLoop, Level] | None = None
    """Channel loop, None if there is none."""

    def merge(self, loop: Loop, node: Level, nesting: int) -> None:
        """Put a loop at its level; of sibling branches keep the larger loop."""
        if nesting >= len(self.loops):
            self.loops.append((loop, node))
            return
        known, _ = self.loops[nesting]
        if type(known) is type(loop) and known.count < loop.count:
            self.loops[nesting] = loop, node


def parse_experiment(level: Level) -> Experiment:
    """Loops of a decoded ``SLxExperiment`` or ``RLxExperiment`` tree.

    The walk of FORMAT 7.5: a branch ends at a node without parameters, of a type that
    counts no frames (0, 3, 5), or with no valid item. Siblings describe the same loop
    twice, so the larger is kept. A spectral loop takes no level of its own.

    Parameters
    ----------
    level
        The root node.

    Raises
    ------
    CorruptChunk
        If a field has the wrong type, a count is negative, or nodes nest deeper than
        32 or are more than 10 000.
    """
    found = find_loops(level)
    root = next(iter(_nodes(level)), Level())
    return Experiment(
        loops=tuple(loop for loop, _ in found.loops),
        spectral=found.spectral[0] if found.spectral else None,
        application=text(root, "wsApplicationDesc"),
        description=text(root, "wsUserDesc"),
        camera=text(root, "wsCameraName"),
    )


def find_loops(level: Level) -> LoopNodes:
    """Loops of a decoded tree with their nodes, see `parse_experiment`."""
    chain = LoopNodes()
    pending = [(node, 0, 0) for node in reversed(_nodes(level))]
    visited = 0
    while pending:
        node, nesting, depth = pending.pop()
        visited += 1
        if visited > _MAX_NODES or depth >= _MAX_DEPTH:
            raise CorruptChunk("loops nest deeper than 32 or are more than 10000")
        found = parse_loop(node)
        if found is None or found.count == 0:
            continue
        if isinstance(found, SpectralLoop):
            chain.spectral = chain.spectral or (found, node)
            below = nesting
        else:
            chain.merge(found, node, nesting)
            below = nesting + 1
        children = [*_edited_loops(node, found), *_children(node)]
        pending.extend((child, below, depth + 1) for child in reversed(children))
    return chain


def _nodes(level: Level) -> list[Level]:
    """Return the nodes that a level is or holds, out of their wrappers."""
    if "eType" in level:
        return [level]
    found = []
    for child in level.levels():
        inner = unwrap(child)
        for wrapper in _WRAPPERS:
            if "eType" not in inner:
                inner = inner.level(wrapper) or inner
        if "eType" in inner:
            found.append(inner)
    return found


def _children(node: Level) -> list[Level]:
    return _nodes(node.level("ppNextLevelEx", create=True))


def _edited_loops(node: Level, loop: Loop | SpectralLoop) -> list[Level]:
    """Loops below the periods of a paused and edited acquisition (FORMAT 7.5)."""
    if not isinstance(loop, NETimeLoop):
        return []
    below = _parameters(node).level("pSubLoops", create=True)
    return [child for period in below.levels() for child in _children(unwrap(period))]


def _parameters(node: Level) -> Level:
    return unwrap(node.level("uLoopPars", create=True))


def parse_loop(node: Level) -> Loop | SpectralLoop | None:
    """Return the loop of one node; None if it is none that is known here."""
    parameters = _parameters(node)
    if not len(parameters):
        return None
    code = integer(node, "eType")
    if code == 8:
        return _ne_time_loop(parameters)
    if code == 2:
        return _xy_loop(node, parameters)
    if code == 6:
        return _spectral_loop(node, parameters)
    if code not in (1, 4, 7, 9, 10):
        return None
    declared = _count(parameters, "uiCount")
    count = _valid(node, declared)
    if code in (1, 9):
        return TimeLoop(
            count=count, declared_count=declared, **period_fields(parameters)
        )
    if code == 7:
        return CustomLoop(count=count, declared_count=declared)
    return ZStackLoop(
        count=count, declared_count=declared, **z_fields(parameters, count)
    )


def _ne_time_loop(parameters: Level) -> NETimeLoop:
    periods = parse_periods(parameters)
    declared = _count(parameters, "uiCount")
    count = sum(period.count for period in periods if period.valid)
    return NETimeLoop(
        count=count if periods else declared, declared_count=declared, periods=periods
    )


def _xy_loop(node: Level, parameters: Level) -> XYPositionLoop:
    valid = flags(node, "pItemValid")
    points, listed = parse_points(parameters, valid)
    declared = _count(parameters, "uiCount", listed)
    return XYPositionLoop(
        count=len(points) if listed else _valid(node, declared),
        declared_count=declared,
        points=points,
        use_z=flag(parameters, "bUseZ"),
        **xy_fields(parameters),
    )


def _spectral_loop(node: Level, parameters: Level) -> SpectralLoop:
    planes = parameters.level("pPlanes", create=True)
    declared = _count(planes, "uiCount", _count(parameters, "uiCount"))
    return SpectralLoop(
        count=_valid(node, declared),
        declared_count=declared,
        names=parse_spectral_names(parameters),
        offsets_um=parse_spectral_offsets(parameters),
    )


def _valid(node: Level, declared: int) -> int:
    """Items that exist; an item without a flag does (FORMAT 7.1)."""
    valid = flags(node, "pItemValid")[:declared]
    return declared - valid.count(False)


def _count(level: Level, name: str, default: int = 0) -> int:
    value = integer(level, name, default)
    if not 0 <= value <= _MAX_COUNT:
        raise CorruptChunk(f"field {name} is {value}, not a count")
    return value
