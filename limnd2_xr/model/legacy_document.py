"""Metadata of format 1.0 as those of any other file (FORMAT 11).

The boxes hold the same trees as the chunks of format 2.x, in other places. So they are
put in those places and read like a file of that format; what the loops mean in another
way is set right afterwards (`legacy_loops`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.damage import report_damage
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model import raw as chunks
from limnd2_xr.model.document import RECORD_CHUNKS, parse_document
from limnd2_xr.model.fields import levels_by_number, text, unwrap
from limnd2_xr.model.legacy_loops import legacy_experiment
from limnd2_xr.model.raw import RawMetadata
from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.records import FrameRecords

__all__ = [
    "FRAME_VALUES",
    "LEGACY_EVENTS",
    "LEGACY_VERSION",
    "LegacyImages",
    "LegacyMetadata",
    "boxes_left_out",
    "is_legacy",
    "legacy_document",
    "legacy_events",
    "plane_count",
]

LEGACY_VERSION: Final = (1, 0)

LEGACY_EVENTS: Final = "IEVE!"
"""Box of the events, by its name in the index."""

FRAME_VALUES: Final[Mapping[str, str]] = {
    "times_ms": "dTimeMSec",
    "x": "dXPos",
    "y": "dYPos",
    "z": "dZPos",
}
"""What the metadata of each frame say of it: field of `FrameRecords` to element."""

_OF_ONE_FRAME: Final = frozenset({*FRAME_VALUES.values(), "dTimeAbsolute"})

_BOXES: Final[Mapping[str, str]] = {
    chunks.EXPERIMENT[1]: "AIM1",
    chunks.PICTURE[1]: "VIMD|0",
    chunks.TEXT_INFO[1]: "TINF",
}
"""Box that each tree comes from, for messages."""

_USED: Final = frozenset(
    {"ACAL", "AIM1", "AIMD", "ARTT", "LUNK", "TINF", "VCAL", "VIMD"}
)
"""Boxes that a document and the pixels are made of."""
_EMPTY: Final = frozenset({"FREE", "ftyp", "jP", "jp2h", "uuid"})
"""Boxes that say nothing but how the file is laid out."""

_U32: Final = "lx_uint32"
_SUMMARY: Final = "Metadata:"
_DESCRIPTION_ITEM: Final = 5
_MAX_LOOPS: Final = 32
_MAX_LOOKED_AT: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class LegacyImages:
    """What the images of a file are like, from their own headers."""

    width: int
    """Pixels a row."""
    height: int
    """Rows."""
    components: tuple[int, ...]
    """Components of the image of each channel: 1, or 3 where it is RGB."""
    bits: int
    """Bits of a component."""
    n_frames: int
    """Frames that the file says it has."""
    reversible: bool = True
    """Whether the images were compressed without loss."""


@dataclass(frozen=True, kw_only=True)
class LegacyMetadata:
    """Decoded boxes of a file; each may be missing."""

    trees: Mapping[str, Level]
    """Roots by tag: ``ARTT``, ``TINF``, ``AIM1``, ``AIMD``, and of one frame ``VCAL`` and
    ``VIMD``."""
    frame: int = 0
    """Which frame `trees` has the metadata of: the first whose are sound."""
    values: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Values of every frame, by the names of `FRAME_VALUES`; NaN where unknown."""


def is_legacy(document: Nd2Document) -> bool:
    """Say whether a document is that of a file of format 1.0."""
    return document.format_version == ".".join(map(str, LEGACY_VERSION))


def boxes_left_out(names: Iterable[str]) -> list[str]:
    """Return the boxes whose content no document has.

    Parameters
    ----------
    names
        Names of boxes, with or without their numbers.

    Examples
    --------
    >>> boxes_left_out(["TINF!", "IEVE!", "IEVE|1!", "uuid!"])
    ['IEVE']
    """
    tags = {name.rstrip("!").partition("|")[0] for name in names}
    return sorted(tags - _USED - _EMPTY)


def plane_count(metadata: LegacyMetadata) -> int:
    """Return the picture planes, hence images a frame, that metadata tell of; 0 if none."""
    planes = _picture_planes(_picture(metadata.trees) or Level())
    stored = planes.level("sPlane") or planes.level("sPlaneNew", create=True)
    count = planes.get("uiCount")
    listed = len(stored.levels())
    if isinstance(count, int) and 0 < count <= 0xFFFF:
        return count
    return listed


def legacy_document(
    metadata: LegacyMetadata, images: LegacyImages
) -> tuple[Nd2Document, FrameRecords]:
    """Build the model of a file of format 1.0.

    Parameters
    ----------
    metadata
        Decoded boxes.
    images
        What the images are like.

    Returns
    -------
    tuple of Nd2Document and FrameRecords
        The metadata, and apart from it what was recorded for each frame.

    Raises
    ------
    CorruptChunk
        If the images are impossible.

    Warns
    -----
    Nd2Warning
        For each box that is damaged; it is left out.
    """
    raw = _legacy_raw(metadata, images)
    document, records = parse_document(raw, _report)
    experiment = legacy_experiment(
        document.experiment, document.text.description, images.n_frames
    )
    return replace(document, experiment=experiment), records


def legacy_events(tree: Level) -> Level:
    """Return the record of events in a decoded box, as later formats have it."""
    return _find(tree, ("pFirstEvent", "pEvents")) or Level()


def _report(error: CorruptChunk, chunk: str | None, what: str) -> None:
    box = _BOXES.get(chunk or "", chunk)
    reason = CorruptChunk(error.reason, chunk=box, offset=error.offset)
    report_damage(reason, f"{what} left out")


def _legacy_raw(metadata: LegacyMetadata, images: LegacyImages) -> RawMetadata:
    """Metadata in the places where format 2.x has them."""
    trees = metadata.trees
    levels = {chunks.ATTRIBUTES[1]: _attributes(trees, images)}
    picture = _picture(trees) or Level()
    if metadata.frame:
        picture = _without(picture, _OF_ONE_FRAME)
    levels[chunks.PICTURE[1]] = _in_root(
        _completed_picture(picture, _calibration(trees), images)
    )
    loops = _loops(trees)
    if loops is not None:
        levels[chunks.EXPERIMENT[1]] = _in_root(loops)
    if "TINF" in trees:
        levels[chunks.TEXT_INFO[1]] = _in_root(_texts(trees["TINF"]))
    names = {"times_ms": chunks.FRAME_TIMES, **RECORD_CHUNKS}
    data = {
        names[name]: values.astype("<f8").tobytes()
        for name, values in metadata.values.items()
        if np.isfinite(values).any() and (name != "times_ms" or _ticks(values))
    }
    return RawMetadata(version=LEGACY_VERSION, levels=levels, data=data)


def _ticks(times: NDArray[np.float64]) -> bool:
    """Say whether times were recorded: a clock that never ran is at 0 in all frames."""
    return len(times) == 1 or bool((times[np.isfinite(times)] != 0).any())


def _in_root(level: Level) -> Level:
    root = Level()
    root.add("no_name", "CLxListVariant", level)
    return root


def _with(level: Level, name: str, kind: str, value: object) -> Level:
    """Return the same fields and one more, which counts if it was there before."""
    more = _without(level, ())
    more.add(name, kind, value)  # type: ignore[arg-type]
    return more


def _without(level: Level, names: Collection[str]) -> Level:
    kept = Level()
    for name, kind, value in zip(level.names, level.kinds, level.values, strict=True):
        if name not in names:
            kept.add(name, kind, value)
    return kept


def _find(tree: Level | None, fields: Collection[str]) -> Level | None:
    """Return the outermost level that has one of the fields, whatever wraps it."""
    pending = [tree] if tree is not None else []
    for _ in range(_MAX_LOOKED_AT):
        if not pending:
            return None
        level = pending.pop(0)
        if any(name in level for name in fields):
            return level
        pending += [
            value
            for name, value in level
            if isinstance(value, Level) and name != "vUnknownData"
        ]
    return None


def _picture(trees: Mapping[str, Level]) -> Level | None:
    return _find(trees.get("VIMD"), ("sPicturePlanes", "dTimeMSec", "dXPos"))


def _picture_planes(picture: Level) -> Level:
    return unwrap(picture.level("sPicturePlanes", create=True))


def _calibration(trees: Mapping[str, Level]) -> Level | None:
    return _find(trees.get("VCAL"), ("dCalibration", "sObjective"))


def _completed_picture(
    picture: Level, calibration: Level | None, images: LegacyImages
) -> Level:
    """Picture metadata with what is only in the calibration, and a plane an image."""
    for name, kind in (("dCalibration", "double"), ("sObjective", "CLxStringW")):
        known = calibration.get(name) if calibration is not None else None
        if known is not None and name not in picture:
            picture = _with(picture, name, kind, known)
    planes = _picture_planes(picture)
    stored = [unwrap(plane) for plane in levels_by_number(_stored_planes(planes))]
    listed = Level()
    for i, count in enumerate(images.components):
        plane = stored[i] if i < len(stored) else Level()
        listed.add(f"a{i}", "", _with(plane, "uiCompCount", _U32, count))
    return _with(picture, "sPicturePlanes", "", _with(planes, "sPlane", "", listed))


def _stored_planes(planes: Level) -> Level:
    return planes.level("sPlaneNew") or planes.level("sPlane", create=True)


def _attributes(trees: Mapping[str, Level], images: LegacyImages) -> Level:
    total = sum(images.components)
    in_memory = 8 if images.bits <= 8 else max(images.bits, 16)
    names = ("uiSignificantBits", "SignificantBits")
    advanced = _find(trees.get("ARTT"), (*names, "VirtualComponents")) or Level()
    significant = _whole(advanced, names)
    if significant is None or not 0 < significant <= in_memory:
        significant = images.bits
    fields = {
        "uiWidth": images.width,
        "uiWidthBytes": images.width * total * in_memory // 8,
        "uiHeight": images.height,
        "uiComp": total,
        "uiBpcInMemory": in_memory,
        "uiBpcSignificant": significant,
        "uiSequenceCount": images.n_frames,
        "eCompression": 0 if images.reversible else 1,
    }
    level = Level()
    for name, value in fields.items():
        level.add(name, _U32, value)
    return _in_root(level)


def _whole(level: Level, names: tuple[str, ...]) -> int | None:
    """Whole number of a field, which may be the text of an attribute."""
    for name in names:
        value = level.get(name)
        if isinstance(value, int):
            return value
        if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value.strip()):
            return int(value)
    return None


def _loops(trees: Mapping[str, Level]) -> Level | None:
    """Return the outermost loop, with the others inside it."""
    for tag in ("AIM1", "AIMD"):
        found = _find(trees.get(tag), ("eType", "LoopNo00"))
        if found is None:
            continue
        if "eType" in found:
            return found
        nested: Level | None = None
        for node in reversed(list(_siblings(found))):
            if nested is not None:
                node = _with(node, "ppNextLevelEx", "", _in_root(nested))  # noqa: PLW2901
            nested = node
        return nested
    return None


def _siblings(level: Level) -> Iterator[Level]:
    """Loops that are listed one after the other, outermost first."""
    for i in range(_MAX_LOOPS):
        node = level.level(f"LoopNo{i:02}")
        if node is None:
            return
        yield unwrap(node)


def _texts(tree: Level) -> Level:
    """Texts by the numbers that later formats have for them."""
    listed = _find(tree, ("TextInfoItem",)) or Level()
    found: dict[int, str] = {}
    for name, item in listed:
        if name != "TextInfoItem" or not isinstance(item, Level):
            continue
        words, index = text(item, "Text"), _whole(item, ("Index",))
        if words.startswith(_SUMMARY):
            found[_DESCRIPTION_ITEM] = words
        elif index is not None and words:
            found.setdefault(index, words)
    level = Level()
    for index, words in found.items():
        level.add(f"TextInfoItem_{index}", "CLxStringW", words)
    return level
