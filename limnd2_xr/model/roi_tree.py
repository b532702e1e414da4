"""ROIs as the tree that is stored (FORMAT 10.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from limnd2_xr.model.channel_tree import stored_color
from limnd2_xr.model.comparison import same
from limnd2_xr.model.matching import matched_parts
from limnd2_xr.model.rois import (
    INTERPRETATIONS,
    MAX_POSITIONS,
    ROI_STRUCT,
    SCOPES,
    SHAPES,
    Roi,
    RoiKeyFrame,
    parse_rois,
    stored_rois,
)
from limnd2_xr.model.spelling import bare_name, respelled
from limnd2_xr.model.tree_building import (
    boolean,
    f64,
    nested,
    string,
    struct,
    u32,
    whole,
)
from limnd2_xr.model.tree_editing import merged
from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["rois_tree"]

_T = TypeVar("_T")
_GLOBAL: Final = ("Global_", "m_vectGlobal_")
_POSITIONS: Final = ("2PerMPoint_", "m_vect2PerMPoint_")
# NIS-Elements names the vectors `<prefix>_Size` and `<prefix>_<i>`; the prefix of a
# vector in a vector is empty.
_ITEMS: Final = ("", "_")


def rois_tree(rois: Sequence[Roi], base: Level | None = None) -> Level:
    """Root of ``RoiMetadata_v1`` that holds the ROIs.

    Reading it gives the same ROIs: first those without a position, then the others
    position by position. Type prefixes of names are partly guesses (FORMAT 10.4) [G];
    nd2 reads them.

    Parameters
    ----------
    rois
        What to store.
    base
        Root of the source: its spelling stays, and what else it says of a ROI. Itself
        if nothing changes.

    Raises
    ------
    ValueError
        If a value cannot be stored, naming the field.

    Examples
    --------
    >>> rois_tree([Roi(id=1)]).level("RoiMetadata_v1").names
    ['m_vectGlobal_Size', 'm_vectGlobal_0']
    """
    wanted = sorted(rois, key=lambda r: -1 if r.position is None else r.position)
    _check(wanted)
    if base is None:
        content, trees = Level(), [_roi(roi) for roi in wanted]
    else:
        before = parse_rois(base)
        if same(tuple(wanted), before):
            return base
        inner = base.level(ROI_STRUCT)
        content = base if inner is None else inner
        trees = _edited(wanted, before, [stored for _, stored in stored_rois(content)])
    return struct(nested(ROI_STRUCT, _content(content, wanted, trees)))


def _check(rois: Iterable[Roi]) -> None:
    for roi in rois:
        if roi.position is not None and not 0 <= roi.position < MAX_POSITIONS:
            raise ValueError(f"ROI {roi.id}: there is no position {roi.position}")


def _edited(
    rois: Sequence[Roi], before: Sequence[Roi], stored: Sequence[Level]
) -> list[Level]:
    places = matched_parts(
        rois,
        before,
        lambda roi: roi,
        lambda roi: (roi.id, roi.position),
        lambda roi: roi.guid or roi,
    )
    trees = []
    for roi, place in zip(rois, places, strict=True):
        tree = _roi(roi)
        if place is not None:
            there = stored[place]
            old = respelled(_roi(before[place]), there)
            tree = merged(there, old, respelled(tree, there))
        trees.append(tree)
    return trees


def _content(content: Level, rois: Sequence[Roi], trees: Sequence[Level]) -> Level:
    """Return the struct with other ROIs in its two lists."""
    common = [t for roi, t in zip(rois, trees, strict=True) if roi.position is None]
    by_position: dict[int, list[Level]] = {}
    for roi, tree in zip(rois, trees, strict=True):
        if roi.position is not None:
            by_position.setdefault(roi.position, []).append(tree)
    if rois or len(content):
        content = _relisted(content, _GLOBAL, common)
    stored = {
        bare_name(name): value for name, value in content if isinstance(value, Level)
    }
    size = _counted(content, _POSITIONS[0])
    if by_position or size:
        positions = [
            _relisted(
                stored.get(f"{_POSITIONS[0]}{i}") or Level(),
                _ITEMS,
                by_position.get(i, []),
            )
            for i in range(max(size, *(i + 1 for i in by_position), 0))
        ]
        content = _relisted(content, _POSITIONS, positions)
    return content


def _counted(content: Level, stem: str) -> int:
    """Items that a stored vector has."""
    found = [
        int(bare[len(stem) :]) + 1
        for name in content.names
        if _is_member(bare := bare_name(name), stem) and bare[len(stem) :] != "Size"
    ]
    return max(found, default=0)


def _relisted(level: Level, names: tuple[str, str], items: Sequence[Level]) -> Level:
    """Return a level with other items in one of its vectors, the rest as it was.

    `names` are what the names of the vector's fields begin with, bare and as written
    where the level does not have the vector yet.
    """
    stem, written = names
    out = Level()
    placed = False
    for name, kind, value in zip(level.names, level.kinds, level.values, strict=True):
        bare = bare_name(name)
        if not _is_member(bare, stem):
            out.add(name, kind, value)
        elif not placed:
            _add_vector(out, name[: len(name) - len(bare)] + stem, items)
            placed = True
    if not placed:
        _add_vector(out, written, items)
    return out


def _add_vector(out: Level, stem: str, items: Sequence[Level]) -> None:
    fields = [u32(f"{stem}Size", len(items))]
    fields += [nested(f"{stem}{i}", item) for i, item in enumerate(items)]
    for field in fields:
        out.add(*field)


def _is_member(bare: str, stem: str) -> bool:
    rest = bare[len(stem) :]
    return bare.startswith(stem) and (
        rest == "Size" or (rest.isascii() and rest.isdigit() and len(rest) < 10)
    )


def _roi(roi: Roi) -> Level:
    return struct(
        whole("m_uiId", roi.id),
        string("m_sGUID", roi.guid),
        nested("m_sInfo", _info(roi)),
        u32("m_vectAnimParams_Size", len(roi.key_frames)),
        *(
            nested(f"m_vectAnimParams_{i}", _key_frame(frame))
            for i, frame in enumerate(roi.key_frames)
        ),
    )


def _info(roi: Roi) -> Level:
    return struct(
        whole("m_uiShapeType", _code(SHAPES, roi.shape)),
        whole("m_uiInterpType", _code(INTERPRETATIONS, roi.interpretation)),
        whole("m_uiCookie", roi.cookie),
        u32("m_uiColor", stored_color(roi.color)),
        string("m_sLabel", roi.label),
        whole("m_uiStimulationGroup", roi.stimulation_group),
        whole("m_uiScope", _code(SCOPES, roi.scope)),
        whole("m_uiAppData", roi.app_data),
        boolean("m_bMultiFrame", roi.multi_frame),
        boolean("m_bLocked", roi.locked),
        whole("m_uiCompCount", roi.component_count),
        whole("m_uiBpc", roi.bits_per_component),
        boolean("m_bAutodetected", roi.autodetected),
        boolean("m_bGradientStimulation", roi.gradient_stimulation),
        whole("m_uiGradientStimulationBitDepth", roi.gradient_bits),
        f64("m_dGradientStimulationLo", roi.gradient_low),
        f64("m_dGradientStimulationHi", roi.gradient_high),
    )


def _key_frame(frame: RoiKeyFrame) -> Level:
    fields = [
        f64("m_dTimeMs", frame.time_ms),
        boolean("m_bEnabled", frame.enabled),
        f64("m_dCenterX", frame.center_x),
        f64("m_dCenterY", frame.center_y),
        f64("m_dCenterZ", frame.center_z),
        f64("m_dRotationZ", frame.rotation),
        nested("m_sBoxShape", _box(frame.size_x, frame.size_y, frame.size_z)),
    ]
    if frame.inner_size is not None:
        fields.append(nested("m_sInnerBoxShape", _box(*frame.inner_size, 0.0)))
    points = [
        nested(f"m_vectBasePoints_{i}", struct(f64("m_dX", x), f64("m_dY", y)))
        for i, (x, y) in enumerate(frame.points)
    ]
    outline = struct(
        f64("m_dSizeZ", frame.extruded_z),
        u32("m_vectBasePoints_Size", len(points)),
        *points,
    )
    return struct(*fields, nested("m_sExtrudedShape", outline))


def _box(x: float, y: float, z: float) -> Level:
    return struct(f64("m_dSizeX", x), f64("m_dSizeY", y), f64("m_dSizeZ", z))


def _code(names: tuple[_T, ...], value: _T | int) -> int:
    if isinstance(value, int):
        return value
    if value not in names:
        raise ValueError(f"{value!r} is none of {', '.join(map(str, names))}")
    return names.index(value)
