"""Experiment of a synthetic file: loops as a tree of nodes (FORMAT 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limnd2_xr.testing.loop_specs import (
    CustomLoop,
    NETimeLoop,
    Period,
    PositionLoop,
    SpectralLoop,
    TimeLoop,
    ZLoop,
)
from limnd2_xr.testing.trees import listed, named, tree
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from limnd2_xr.testing.loop_specs import Loop
    from limnd2_xr.testing.specs import ChannelSpec, SyntheticSpec
    from limnd2_xr.testing.trees import Field
    from limnd2_xr.variants.tree import Kind

__all__ = ["experiment"]

_B, _I, _U = LvType.BOOL, LvType.INT32, LvType.UINT32
_D, _S, _L, _A = LvType.DOUBLE, LvType.STRING, LvType.LEVEL, LvType.BYTES

_TYPE_CODES = {
    TimeLoop: (1, "RLxExpTimeLoop"),
    PositionLoop: (2, "RLxExpXYPosLoop"),
    ZLoop: (4, "RLxExpZStackLoop"),
    SpectralLoop: (6, "RLxExpSpectLoop"),
    CustomLoop: (7, "RLxExpCustomLoop"),
    NETimeLoop: (8, "RLxExpNETimeLoop"),
}


def experiment(spec: SyntheticSpec, *, xml: bool) -> Level | None:
    """Document of the chunk ``ImageMetadataLV!`` (or ``ImageMetadata!``).

    Parameters
    ----------
    spec
        Description of the file.
    xml
        Shape the tree as version 2 files do (FORMAT 4.1, appendix A): parameters one
        level deeper, flags as booleans, points as parallel lists. Kinds are still those
        of the lite variant, to be translated by `trees.to_xml`.

    Returns
    -------
    Level or None
        None without loops.
    """
    node: Level | None = None
    for depth in range(len(spec.loops) - 1, -1, -1):
        node = _node(spec.loops[depth], node, spec, xml=xml)
    if node is None:
        return None
    if xml:
        return tree(("", "RLxExperiment", node))
    return tree(("SLxExperiment", _L, node))


def _node(loop: Loop, inner: Level | None, spec: SyntheticSpec, *, xml: bool) -> Level:
    code, runtype = _TYPE_CODES[type(loop)]
    fields: list[Field] = [
        ("eType", _U, code),
        ("wsApplicationDesc", _S, "ND Acquisition"),
        ("wsUserDesc", _S, ""),
        ("aMeasProbesBase64", _A if xml else _S, b"\0\0" if xml else ""),
        ("wsCameraName", _S, spec.channels[0].camera),
    ]
    valid = _item_flags(loop, spec)
    if valid is not None:
        fields.append(_flags("pItemValid", valid, xml=xml))
    sub_loops = isinstance(loop, NETimeLoop) and loop.sub_loops
    inner_list = None
    if inner is not None:
        # Below ``pSubLoops`` nodes are wrapped (FORMAT 7.5).
        wrap = sub_loops or spec.wrap_loops
        n = 2 if spec.repeat_branches else 1
        inner_list = _inner_list([inner] * n, wrap=wrap, xml=xml)
    parameters = _parameters(loop, spec, inner_list if sub_loops else None, xml=xml)
    kind: Kind = f"RLxExperiment.{runtype}" if xml else _L
    if xml and not spec.xml.direct_parameters:
        parameters, kind = tree(("", kind, parameters)), _L
    fields += [
        ("uLoopPars", kind, parameters),
        ("wsCommandBeforeLoop", _S, ""),
        ("wsCommandBeforeCapture", _S, ""),
        ("wsCommandAfterCapture", _S, ""),
        ("wsCommandAfterLoop", _S, ""),
        ("bControlShutter", _B, False),
        ("bControlLight", _B, False),
        ("bUsePFS", _B, False),
        ("bUseHWSequencer", _B, False),
        ("bUseTiRecipe", _B, False),
        ("bUseIntenzityCorrection", _B, False),
        ("bKeepObject", _B, False),
        ("uiRepeatCount", _U, 1),
    ]
    if inner_list is None or sub_loops:
        fields.append(("uiNextLevelCount", _U, 0))
    else:
        fields += [
            ("uiNextLevelCount", _U, len(inner_list)),
            ("ppNextLevelEx", _L, inner_list),
        ]
    return tree(*fields)


def _inner_list(nodes: list[Level], *, wrap: bool, xml: bool) -> Level:
    if wrap:
        nodes = [tree(("SLxExperiment", _L, node)) for node in nodes]
    return listed(nodes, kind="RLxExperiment" if xml else _L)


def _item_flags(loop: Loop, spec: SyntheticSpec) -> list[bool] | None:
    if isinstance(loop, PositionLoop):
        return [p.valid for p in loop.points]
    if isinstance(loop, SpectralLoop):
        return [True] * len(spec.channels)
    return None


def _flags(name: str, flags: list[bool], *, xml: bool) -> Field:
    if xml:
        return (name, _L, named(flags, "_{:02d}", _B))
    return (name, _A, bytes(flags))


def _parameters(
    loop: Loop, spec: SyntheticSpec, sub: Level | None, *, xml: bool
) -> Level:
    if isinstance(loop, TimeLoop):
        return tree(*_time_fields(loop), ("wsInterfaceName", _S, ""))
    if isinstance(loop, NETimeLoop):
        return _periods(loop, sub, xml=xml)
    if isinstance(loop, PositionLoop):
        lists = xml and not spec.xml.point_structs
        return _points_xml(loop) if lists else _points_lite(loop)
    if isinstance(loop, ZLoop):
        return _z_stack(loop, xml=xml)
    if isinstance(loop, SpectralLoop):
        return _spectral(spec.channels, xml=xml)
    return tree(("uiCount", _U, loop.count))


def _time_fields(loop: TimeLoop | Period) -> list[Field]:
    duration = loop.duration_ms
    if duration is None:
        duration = max(loop.count - 1, 0) * loop.period_ms
    mean = loop.period_ms if loop.avg_period_ms is None else loop.avg_period_ms
    return [
        ("uiCount", _U, loop.count),
        ("dStart", _D, float(loop.start_ms)),
        ("dPeriod", _D, float(loop.period_ms)),
        ("dDuration", _D, float(duration)),
        ("bDurationPref", _B, loop.duration_pref),
        ("dMaxPeriodDiff", _D, mean * 1.25),
        ("dMinPeriodDiff", _D, mean * 0.75),
        ("dAvgPeriodDiff", _D, float(mean)),
    ]


def _periods(loop: NETimeLoop, sub: Level | None, *, xml: bool) -> Level:
    periods = listed(
        [
            tree(
                *_time_fields(p),
                ("uiGroup", _U, 0),
                ("uiStimulationCount", _U, 0),
                ("uiLoopType", _U, 0),
                ("wsPhaseName", _S, f"Phase #{i + 1}"),
                ("wsInterfaceName", _S, ""),
            )
            for i, p in enumerate(loop.periods)
        ],
        [f"_{i:02d}" for i in range(len(loop.periods))] if xml else None,
    )
    fields: list[Field] = [
        ("uiCount", _U, sum(p.count for p in loop.periods)),
        ("uiPeriodCount", _U, len(loop.periods)),
        ("pPeriod", _L, periods),
        _flags("pPeriodValid", [p.valid for p in loop.periods], xml=xml),
    ]
    if sub is not None:
        each = [
            tree(("uiNextLevelCount", _U, len(sub)), ("ppNextLevelEx", _L, sub))
            for _ in loop.periods
        ]
        fields.append(("pSubLoops", _L, listed(each)))
    return tree(*fields)


def _points_lite(loop: PositionLoop) -> Level:
    rx, ry = loop.reference if loop.relative else (0.0, 0.0)
    points = listed(
        tree(
            ("dPosX", _D, float(p.x - rx)),
            ("dPosY", _D, float(p.y - ry)),
            ("dPosZ", _D, float(p.z)),
            ("dPFSOffset", _D, float(p.pfs_offset)),
            ("dPosName", _S, p.name),
        )
        for p in loop.points
    )
    return tree(
        ("uiCount", _U, len(loop.points)),
        ("bUseZ", _B, loop.use_z),
        ("bRelativeXY", _B, loop.relative),
        ("dReferenceX", _D, float(loop.reference[0])),
        ("dReferenceY", _D, float(loop.reference[1])),
        ("bRedefineAfterPFS", _B, False),
        ("bRedefineAfterAutoFocus", _B, False),
        ("bKeepPFSOn", _B, False),
        ("bSplitMultipoints", _B, False),
        ("bUseAFPlane", _B, False),
        ("bZEnabled", _B, loop.use_z),
        ("sZDevice", _S, ""),
        ("Points", _L, points),
    )


def _points_xml(loop: PositionLoop) -> Level:
    rx, ry = loop.reference if loop.relative else (0.0, 0.0)
    item = "item_{:05d}"
    return tree(
        ("uiCount", _U, len(loop.points)),
        ("dPosX", _L, named([float(p.x - rx) for p in loop.points], item, _D)),
        ("dPosY", _L, named([float(p.y - ry) for p in loop.points], item, _D)),
        ("bUseZ", _B, loop.use_z),
        ("dPosZ", _L, named([float(p.z) for p in loop.points], item, _D)),
        ("dPFSOffset", _L, named([float(p.pfs_offset) for p in loop.points], item, _D)),
        ("pPosName", _L, named([p.name for p in loop.points], item, _S)),
        ("bRelativeXY", _B, loop.relative),
        ("dReferenceX", _D, float(loop.reference[0])),
        ("dReferenceY", _D, float(loop.reference[1])),
        ("uiRelativeIdx", _U, 0),
    )


def _z_stack(loop: ZLoop, *, xml: bool) -> Level:
    low, home, high = (float(v) for v in loop.limits)
    step = float(loop.step_um) if loop.store_step else 0.0
    if xml:  # the order and names of version 2 (FORMAT 7.3)
        return tree(
            ("uiCount", _U, loop.count),
            ("dZLow", _D, low),
            ("dZLowPFSOffset", _D, 0.0),
            ("dZHigh", _D, high),
            ("dZHighPFSOffset", _D, 0.0),
            ("dZHome", _D, home),
            ("dZStep", _D, step),
            ("bAbsolute", _B, False),
            ("bTriggeredPiezo", _B, False),
            ("iType", _I, loop.kind),
            ("bZInverted", _B, loop.inverted),
            ("sZDevice", _S, loop.device),
            ("sCommandBeforeCapture", _S, ""),
            ("sCommandAfterCapture", _S, ""),
        )
    return tree(
        ("uiCount", _U, loop.count),
        ("bAbsolute", _B, False),
        ("bTriggeredPiezo", _B, False),
        ("bZInverted", _B, loop.inverted),
        ("dReferencePosition", _D, 0.0),
        ("dTIRFPosition", _D, 0.000333),
        ("dTIRFPFSOffset", _D, -1.0),
        ("bTIRF", _B, False),
        ("dZHigh", _D, high),
        ("dZHome", _D, home),
        ("dZLow", _D, low),
        ("dZLow", _D, low),  # twice, as in real files (FORMAT 4.2.2)
        ("dZStep", _D, step),
        ("iType", _I, loop.kind),
        ("wsCommandAfterCapture", _S, ""),
        ("wsCommandBeforeCapture", _S, ""),
        ("wsZDevice", _S, loop.device),
    )


def _spectral(channels: tuple[ChannelSpec, ...], *, xml: bool) -> Level:
    planes = [
        tree(
            ("uiCompCount", _U, c.components),
            ("uiColor", _U, c.stored_color(i)),
            ("sDescription", _S, c.name),
        )
        for i, c in enumerate(channels)
    ]
    if xml:
        return tree(
            ("uiCount", _U, len(channels)),
            (
                "pPlaneDesc",
                _L,
                listed(planes, [f"_{i:02d}" for i in range(len(planes))]),
            ),
            ("pdOffset", _L, named([0.0] * len(planes), "_{:02d}", _D)),
            ("pZStackPos", _L, named([0] * len(planes), "_{:02d}", _I)),
            ("szCommandBeforeCapture", _L, named([""] * len(planes), "_{:02d}", _S)),
            ("szCommandAfterCapture", _L, named([""] * len(planes), "_{:02d}", _S)),
            ("bMergeCameras", _B, False),
            ("iOffsetReference", _I, 0),
        )
    stored = tree(
        ("uiCount", _U, len(channels)),
        ("uiCompCount", _U, sum(c.components for c in channels)),
        ("sPlaneNew", _L, listed(planes, [f"a{i}" for i in range(len(planes))])),
    )
    return tree(
        ("pPlanes", _L, stored),
        ("bMergeCameras", _B, False),
        ("bWaitForPFS", _B, False),
        ("bAskForFilter", _B, False),
        ("iOffsetReference", _I, 0),
    )
