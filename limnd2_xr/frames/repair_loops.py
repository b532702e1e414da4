"""Loops and numbers of frames, corrected to the frames that a file holds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.experiment import (
    CustomLoop,
    Experiment,
    NETimeLoop,
    TimeLoop,
    XYPositionLoop,
    ZStackLoop,
    parse_experiment,
)
from limnd2_xr.model.experiment_tree import experiment_tree
from limnd2_xr.model.fields import unwrap
from limnd2_xr.model.raw import ATTRIBUTES, EXPERIMENT
from limnd2_xr.model.tree_building import nested, struct
from limnd2_xr.model.tree_editing import replaced_struct, with_fields
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.experiment import Loop
    from limnd2_xr.model.raw import RawMetadata
    from limnd2_xr.variants.tree import Value

__all__ = ["FittedLoops", "fit_loops", "most_frames", "with_frame_count", "with_sizes"]

_FRAMES_PER_PRESENT: Final = 4
_FRAMES_FREE: Final = 64


def most_frames(present: int) -> int:
    """How many frames a file may have of which so many are present.

    As opening has it: what promises more is damaged.
    """
    return _FRAMES_PER_PRESENT * present + _FRAMES_FREE


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLoops:
    """How many frames a file is to have, and its loops."""

    n_frames: int
    """Frames, all of which have places in the loops."""
    tree: Level | None = None
    """Root of the chunk of loops where it has to change."""
    changed: str = ""
    """What was changed and why; empty if nothing."""


def fit_loops(
    document: Nd2Document, raw: RawMetadata, *, top: int, present: int
) -> FittedLoops:
    """Fit the outermost loop to the frames that there are (FORMAT 7.6).

    It gets as many steps as hold the last frame; its steps after that, of which there is
    no frame, go. An outermost loop over time can also become longer. Where there are
    more frames than other loops have places for, or the loops promise many times the
    frames that there are, a loop over time takes their place. So it does where several
    frames have no loops: the vendor's library knows only the first of them then.

    Parameters
    ----------
    document
        Metadata of the file.
    raw
        What they were made from.
    top
        One more than the highest number of a frame.
    present
        Frames that there are.
    """
    loops = document.experiment.loops
    if not loops:
        if top == 1:
            return FittedLoops(n_frames=1)
        text = f"there are no loops; a loop over time of {top} steps was added"
        return FittedLoops(n_frames=top, tree=_time_loop(raw, top), changed=text)
    counts = [loop.count for loop in loops]
    inner = math.prod(counts[1:])
    outer = -(-top // max(inner, 1))
    if outer == counts[0]:
        return FittedLoops(n_frames=outer * inner)
    said = " x ".join(f"{loop.dim} {loop.count}" for loop in loops)
    fitted = None
    if 0 < inner <= most_frames(present):
        fitted = _with_outer(document.experiment, raw, outer)
    if fitted is None:
        return FittedLoops(
            n_frames=top,
            tree=_time_loop(raw, top),
            changed=f"the loops ({said}) do not fit {top} frames and were given up: the "
            "frames run along T",
        )
    return FittedLoops(
        n_frames=outer * inner,
        tree=fitted,
        changed=f"the outermost of the loops ({said}) has {outer} steps now, as many as "
        "there are frames for",
    )


def _time_loop(raw: RawMetadata, count: int) -> Level:
    """Root of a chunk of loops with one over time, in the encoding of the attributes."""
    if raw.name(ATTRIBUTES) == ATTRIBUTES[0]:
        loop = TimeLoop(count=count, declared_count=count)
        content = experiment_tree(Experiment(loops=(loop,))) or Level()
        return struct(nested("SLxExperiment", content))
    parameters = struct(
        ("uiCount", "lx_uint32", count),
        ("dStart", "double", 0.0),
        ("dPeriod", "double", 0.0),
        ("dDuration", "double", 0.0),
        ("bDurationPref", "bool", False),
    )
    pars = struct(("no_name", "RLxExperiment.RLxExpTimeLoop", parameters))
    node = struct(
        ("eType", "lx_uint32", 1),
        ("uLoopPars", "CLxListVariant", pars),
        ("uiRepeatCount", "lx_uint32", 1),
        ("uiNextLevelCount", "lx_uint32", 0),
    )
    return struct(("no_name", "RLxExperiment", node))


def _with_outer(experiment: Experiment, raw: RawMetadata, count: int) -> Level | None:
    """Root of the chunk of loops with another count of the outermost; None if not."""
    name = raw.name(EXPERIMENT)
    loop = _resized(experiment.loops[0], count)
    if name is None or loop is None:
        return None
    root = raw.levels[name]
    wanted = replace(experiment, loops=(loop, *experiment.loops[1:]))
    try:
        stored = raw.struct(EXPERIMENT)
        if stored is None:
            return None
        if any(isinstance(kind, str) for kind in stored.kinds):
            content = _with_xml_count(stored, experiment.loops[0].count, count)
        else:
            content = experiment_tree(wanted, stored)
        if content is None:
            return None
        tree = replaced_struct(root, content)
        found = parse_experiment(unwrap(content))
    except (CorruptChunk, ValueError):
        return None
    if [item.count for item in found.loops] != [item.count for item in wanted.loops]:
        return None
    return tree


def _resized(loop: Loop, count: int) -> Loop | None:
    """Return the same loop with another number of steps, None if that cannot be."""
    if isinstance(loop, TimeLoop):
        return replace(loop, count=count, declared_count=count)
    if count > loop.count:
        return None
    if isinstance(loop, ZStackLoop | CustomLoop):
        return replace(loop, count=count, declared_count=count)
    if isinstance(loop, XYPositionLoop):
        points = loop.points[:count]
        return replace(loop, count=count, declared_count=count, points=points)
    return _shortened(loop, count)


def _shortened(loop: NETimeLoop, count: int) -> NETimeLoop:
    periods = []
    left = count
    for period in loop.periods:
        steps = min(period.count, left) if period.valid else period.count
        if period.valid:
            left -= steps
        if steps:
            periods.append(replace(period, count=steps))
    total = sum(period.count for period in periods)
    return replace(loop, count=count, declared_count=total, periods=tuple(periods))


def _with_xml_count(node: Level, before: int, count: int) -> Level | None:
    """Change the count of an outermost plain loop in the XML encoding."""
    parameters = unwrap(node.level("uLoopPars", create=True))
    if parameters.get("uiCount") != before or "pPeriod" in parameters:
        return None
    changed = with_fields(parameters, ("uiCount", "lx_uint32", count))
    return _replaced(node, parameters, changed)


def _replaced(level: Level, old: Level, new: Level) -> Level:
    """Copy a tree with one of its levels replaced."""
    if level is old:
        return new
    out = Level()
    for name, kind, value in zip(level.names, level.kinds, level.values, strict=True):
        kept: Value = _replaced(value, old, new) if isinstance(value, Level) else value
        out.add(name, kind, kept)
    return out


def with_frame_count(raw: RawMetadata, n_frames: int, bits: int | None) -> Level:
    """Root of the attributes with another number of frames.

    Parameters
    ----------
    raw
        Metadata with attributes.
    n_frames
        How many frames there are.
    bits
        Significant bits, None to leave them.
    """
    content = raw.struct(ATTRIBUTES) or Level()
    is_xml = any(isinstance(kind, str) for kind in content.kinds)
    fields = [("uiSequenceCount", n_frames)]
    if bits is not None:
        fields.append(("uiBpcSignificant", bits))
    for field, value in fields:
        kind = "lx_uint32" if is_xml else LvType.UINT32
        content = with_fields(content, (field, kind, value))
    name = raw.name(ATTRIBUTES)
    return replaced_struct(raw.levels[name or ATTRIBUTES[0]], content)


def with_sizes(table: Level, sizes: dict[str, int]) -> Level:
    """Copy the table of recorded columns with other numbers of values (FORMAT 9.3).

    Parameters
    ----------
    table
        Root of the chunk.
    sizes
        Number of values by the ID of the column.
    """
    out = Level()
    for name, kind, value in zip(table.names, table.kinds, table.values, strict=True):
        if isinstance(value, Level):
            value = with_sizes(value, sizes)  # noqa: PLW2901
            size = sizes.get(str(value.get("ID")))
            if size is not None:
                value = with_fields(value, ("Size", "lx_int32", size))  # noqa: PLW2901
        out.add(name, kind, value)
    return out
