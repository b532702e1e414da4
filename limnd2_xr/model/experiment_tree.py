"""Acquisition loops as a tree of nodes to be written (FORMAT 7).

The tree is a chain: each node holds the next inner loop, the innermost the channel
loop, if there is one. A loop that comes from the source keeps its node, with all that
the model does not know (autofocus, shutters, recorded columns).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from limnd2_xr.model.experiment import (
    CustomLoop,
    NETimeLoop,
    SpectralLoop,
    TimeLoop,
    XYPositionLoop,
    ZStackLoop,
    find_loops,
    parse_loop,
)
from limnd2_xr.model.fields import text
from limnd2_xr.model.loop_editing import edited_parameters
from limnd2_xr.model.loop_tree import autofocus_tree, item_flags, parameters_tree
from limnd2_xr.model.matching import matched_loops
from limnd2_xr.model.tree_building import (
    blob,
    boolean,
    i32,
    listed,
    nested,
    string,
    struct,
    u32,
)
from limnd2_xr.model.tree_editing import with_fields, without_fields

if TYPE_CHECKING:
    from limnd2_xr.model.experiment import Experiment, Loop
    from limnd2_xr.variants.tree import Level

__all__ = ["experiment_tree"]

_TYPE_CODES: Final[dict[type, int]] = {
    TimeLoop: 1,
    XYPositionLoop: 2,
    ZStackLoop: 4,
    SpectralLoop: 6,
    CustomLoop: 7,
    NETimeLoop: 8,
}
_FLAGS: Final = (
    "bControlShutter",
    "bControlLight",
    "bUsePFS",
    "bUseWatterSupply",
    "bUseHWSequencer",
    "bUseTiRecipe",
    "bUseIntenzityCorrection",
    "bUseTriggeredAcquisition",
    "bKeepObject",
)


def experiment_tree(
    experiment: Experiment, source: Level | None = None
) -> Level | None:
    """Content of ``SLxExperiment``, None without any loop.

    Parameters
    ----------
    experiment
        Loops to store.
    source
        Content of ``SLxExperiment`` of the source: its nodes are used for loops that
        are equal or of the same type.

    Raises
    ------
    ValueError
        If a value does not fit into its field.

    Examples
    --------
    >>> from limnd2_xr.model.experiment import Experiment, parse_experiment
    >>> experiment = Experiment(loops=(TimeLoop(count=3, declared_count=3),))
    >>> parse_experiment(experiment_tree(experiment)) == experiment
    True
    """
    known = find_loops(source).loops if source is not None else []
    places = matched_loops(experiment.loops, [loop for loop, _ in known])
    inner: Level | None = None
    if experiment.spectral is not None:
        channels = find_loops(source).spectral if source is not None else None
        inner = _node(experiment.spectral, channels[1] if channels else None)
    for loop, place in reversed(list(zip(experiment.loops, places, strict=True))):
        node = _node(loop, known[place][1] if place is not None else None)
        inner = _around(node, inner)
    return inner if inner is None else _titled(inner, experiment)


def _node(loop: Loop | SpectralLoop, source: Level | None) -> Level:
    """Node of one loop without inner loops."""
    if source is None:
        return _fresh_node(loop)
    node = without_fields(source, "ppNextLevelEx")
    node = with_fields(node, u32("uiNextLevelCount", 0))
    before = parse_loop(source)
    if before is None or type(before) is not type(loop):
        return _fresh_node(loop)
    node = with_fields(
        node, nested("uLoopPars", edited_parameters(source, before, loop))
    )
    if _kept_items(before) == _kept_items(loop):
        return node
    flags = item_flags(loop)
    if flags is None:
        return without_fields(node, "pItemValid")
    return with_fields(node, blob("pItemValid", flags))


def _kept_items(loop: Loop | SpectralLoop) -> tuple[object, ...]:
    """Return what the flags of a node depend on."""
    points = loop.points if isinstance(loop, XYPositionLoop) else ()
    return loop.count, loop.declared_count, *(point.index for point in points)


def _fresh_node(loop: Loop | SpectralLoop) -> Level:
    flags = item_flags(loop)
    return struct(
        u32("eType", _TYPE_CODES[type(loop)]),
        string("wsApplicationDesc", ""),
        string("wsUserDesc", ""),
        string("aMeasProbesBase64", ""),
        string("wsCameraName", ""),
        *([] if flags is None else [blob("pItemValid", flags)]),
        nested("uLoopPars", parameters_tree(loop)),
        nested("sAutoFocusBeforeLoop", autofocus_tree()),
        nested("sParallelExperiment", struct(u32("uiTaskCount", 0))),
        string("wsCommandBeforeLoop", ""),
        string("wsCommandBeforeCapture", ""),
        string("wsCommandAfterCapture", ""),
        string("wsCommandAfterLoop", ""),
        *(boolean(name, False) for name in _FLAGS),
        u32("uiRepeatCount", 1),
        u32("uiNextLevelCount", 0),
        i32("vectStimulationConfigurationsSize", 0),
        boolean("bTriggeredStimulation", False),
    )


def _around(node: Level, inner: Level | None) -> Level:
    """Node with an inner loop, right behind the count of inner loops."""
    if inner is None:
        return node
    out = struct()
    for name, kind, value in zip(node.names, node.kinds, node.values, strict=True):
        if name == "uiNextLevelCount":
            out.add(name, kind, 1)
            out.add(*nested("ppNextLevelEx", listed([inner])))
        else:
            out.add(name, kind, value)
    return out


def _titled(node: Level, experiment: Experiment) -> Level:
    titles = {
        "wsApplicationDesc": experiment.application,
        "wsUserDesc": experiment.description,
        "wsCameraName": experiment.camera,
    }
    return with_fields(
        node,
        *(
            string(name, value)
            for name, value in titles.items()
            if text(node, name) != value
        ),
    )
