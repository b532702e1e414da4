"""Parameters of a loop of the source, changed to what a document says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limnd2_xr.model.comparison import same
from limnd2_xr.model.experiment import NETimeLoop, SpectralLoop, XYPositionLoop
from limnd2_xr.model.fields import flags, levels_by_number, unwrap
from limnd2_xr.model.loop_parameters import Period, XYPoint, parse_points
from limnd2_xr.model.loop_tree import (
    dropped_point_tree,
    parameters_tree,
    period_tree,
    point_tree,
    spectral_plane_tree,
    spectral_point_tree,
)
from limnd2_xr.model.matching import matched_parts
from limnd2_xr.model.tree_building import listed, nested, numbered
from limnd2_xr.model.tree_editing import merged, with_fields, without_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from limnd2_xr.model.experiment import Loop
    from limnd2_xr.variants.tree import Level

    _LoopT = TypeVar("_LoopT", bound="Loop | SpectralLoop")
    _T = TypeVar("_T")

__all__ = ["edited_parameters"]


def edited_parameters(node: Level, before: _LoopT, loop: _LoopT) -> Level:
    """Content of ``uLoopPars`` of a node, changed where two loops differ.

    Loops below ``pSubLoops`` of an edited acquisition go: the inner loops are the
    node's own then (FORMAT 7.5).

    Parameters
    ----------
    node
        Node of the source.
    before, loop
        What the node says, and what is to be stored: loops of one type.
    """
    stored = unwrap(node.level("uLoopPars", create=True))
    if "pSubLoops" in stored:
        stored = without_fields(stored, "pSubLoops")
    if same(before, loop):
        return stored
    changed = merged(stored, parameters_tree(before), parameters_tree(loop))
    if isinstance(before, NETimeLoop) and isinstance(loop, NETimeLoop):
        return _with_periods(stored, changed, before, loop)
    if isinstance(before, XYPositionLoop) and isinstance(loop, XYPositionLoop):
        return _with_points(node, stored, changed, before, loop)
    if isinstance(before, SpectralLoop) and isinstance(loop, SpectralLoop):
        return _with_channels(stored, changed, before, loop)
    return changed


def _with_periods(
    stored: Level, changed: Level, before: NETimeLoop, loop: NETimeLoop
) -> Level:
    items = levels_by_number(stored.level("pPeriod", create=True))
    places = matched_parts(loop.periods, before.periods, _itself, _phase)
    periods = _edited_items(
        loop.periods, places, before.periods, [unwrap(x) for x in items], period_tree
    )
    return with_fields(changed, nested("pPeriod", listed(periods)))


def _itself(part: _T) -> _T:
    return part


def _phase(period: Period) -> tuple[str, int]:
    return period.name, period.loop_type


def _with_points(
    node: Level,
    stored: Level,
    changed: Level,
    before: XYPositionLoop,
    loop: XYPositionLoop,
) -> Level:
    """Positions: those that were dropped stay in the list where it keeps its order."""
    items = [unwrap(x) for x in stored.level("Points", create=True).levels()]
    everything, _ = parse_points(stored, ())
    if not loop.points or len(everything) != len(items):
        return changed
    places = matched_parts(loop.points, everything, _where, _index)
    trees: dict[int, Level] = {}
    for point, place in zip(loop.points, places, strict=True):
        if place is None:
            trees[point.index] = point_tree(point, loop)
        else:
            old, new = point_tree(everything[place], before), point_tree(point, loop)
            trees[point.index] = merged(items[place], old, new)
    kept = flags(node, "pItemValid")
    dropped = {
        i: item
        for i, item in enumerate(items)
        if i < len(kept) and not kept[i] and i not in places
    }
    size = len(changed.level("Points", create=True))
    points = [
        trees.get(i) or dropped.get(i) or dropped_point_tree() for i in range(size)
    ]
    return with_fields(changed, nested("Points", listed(points)))


def _where(point: XYPoint) -> tuple[object, ...]:
    return point.x_um, point.y_um, point.z_um, point.pfs_offset, point.name


def _index(point: XYPoint) -> int:
    return point.index


def _with_channels(
    stored: Level, changed: Level, before: SpectralLoop, loop: SpectralLoop
) -> Level:
    planes = stored.level("pPlanes", create=True)
    if planes.level("sPlaneNew") is not None and len(loop.names):
        items = levels_by_number(planes.level("sPlaneNew", create=True))
        places = matched_parts(loop.names, before.names, _itself)
        edited = _edited_items(
            loop.names, places, before.names, items, spectral_plane_tree
        )
        new_planes = with_fields(
            changed.level("pPlanes", create=True),
            nested("sPlaneNew", numbered("a", edited)),
        )
        changed = with_fields(changed, nested("pPlanes", new_planes))
    points = stored.level("Points")
    if points is not None and loop.offsets_um:
        items = [unwrap(x) for x in points.levels()]
        places = matched_parts(loop.offsets_um, before.offsets_um, _itself)
        edited = _edited_items(
            loop.offsets_um, places, before.offsets_um, items, spectral_point_tree
        )
        changed = with_fields(changed, nested("Points", listed(edited)))
    return changed


def _edited_items(
    new: Sequence[_T],
    places: Sequence[int | None],
    old: Sequence[_T],
    items: Sequence[Level],
    tree: Callable[[_T], Level],
) -> list[Level]:
    """Trees of a list: those of the source for parts that come from there."""
    return [
        tree(part)
        if place is None or place >= len(items)
        else merged(items[place], tree(old[place]), tree(part))
        for part, place in zip(new, places, strict=True)
    ]
