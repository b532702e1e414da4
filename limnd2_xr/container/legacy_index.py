"""The boxes of a file of format 1.0 as a `ChunkIndex`, by names such as ``VIMD|0!``.

The names are those of the box map (FORMAT 11): ``LUNK`` are the images, one codestream
a channel and frame; ``VIMD`` and ``VCAL`` the metadata of each frame. Those three are
numbered; other boxes have their tag alone, and a number from the second one on.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limnd2_xr.container.chunk_table import ChunkIndex, Entry
from limnd2_xr.container.jp2_boxes import (
    CODESTREAM,
    MAX_HEADER_NBYTES,
    XML,
    Box,
    parse_box,
    read_box_map,
    walk_boxes,
)
from limnd2_xr.container.prefetch import RegionCache
from limnd2_xr.errors import CorruptChunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from limnd2_xr.container.byte_source import ByteSource
    from limnd2_xr.container.jp2_boxes import MapEntry

__all__ = [
    "CODESTREAM_FAMILY",
    "LegacyIndex",
    "read_box",
    "read_boxes",
    "read_legacy_index",
]

CODESTREAM_FAMILY: Final = "LUNK"
"""Tag of the images."""

_TAGS: Final[Mapping[str, str]] = {
    "AdvancedImageAttributes": "ARTT",
    "Calibration": "ACAL",
    "CalibrationSeq": "VCAL",
    "MetadataSeq": "VIMD",
    "Metadata_V1.2": "AIM1",
    "Metadata": "AIMD",
    "TextInfo": "TINF",
    "Events": "IEVE",
    "ReportObjects": "SROB",
}
"""Tag of a box by the first element in it that is no mere wrapper (FORMAT 11)."""
_NUMBERED: Final = frozenset({CODESTREAM_FAMILY, "VCAL", "VIMD"})
_OWN_TYPE: Final = frozenset({"jP", "ftyp", "jp2h"})
_ELEMENT: Final = re.compile(rb"<([A-Za-z_][\w.\-]*)")
_WRAPPERS: Final = frozenset({"variant", "no_name"})
_HEAD_NBYTES: Final = 512
_MAX_BOX_NBYTES: Final = 1 << 28


@dataclass(frozen=True, slots=True)
class LegacyIndex:
    """What `read_legacy_index` found.

    Attributes
    ----------
    index
        All boxes; every place is inside the file. Offsets are those of the boxes, sizes
        those of their payloads, None where only the box itself tells.
    rebuilt
        Why the file's box map was not taken as it is, None where it was.
    cache
        Parts of the file that were read, to read boxes from.
    """

    index: ChunkIndex
    rebuilt: str | None
    cache: RegionCache


def read_legacy_index(source: ByteSource) -> LegacyIndex:
    """Return the boxes of a file of format 1.0.

    The map at the end of the file is taken if the metadata boxes and three images are
    where it says. Otherwise the boxes are walked over from the start, as far as that
    goes, and those that either way finds are taken.

    Parameters
    ----------
    source
        The open file.
    """
    cache = RegionCache(source)
    cache.fetch([(source.size - (64 << 10), source.size)])
    try:
        entries, _ = read_box_map(source)
    except CorruptChunk as error:
        walked, stopped = _walked(source)
        reason = f"{error.reason}; its boxes were walked over"
        return LegacyIndex(walked, _joined(reason, stopped), cache)
    listed, wrong = _checked(_listed(entries, source.size), cache)
    if wrong is None:
        return LegacyIndex(listed, None, cache)
    walked, stopped = _walked(source)
    reason = f"{wrong} is not where the box map says; the boxes were walked over"
    if _images(walked) >= _images(listed):
        return LegacyIndex(walked, _joined(reason, stopped), cache)
    reason = f"{wrong} is not where the box map says"
    return LegacyIndex(listed, _joined(reason, stopped), cache)


def read_boxes(
    source: ByteSource | RegionCache, entries: Mapping[str, Entry]
) -> dict[str, bytes]:
    """Return the payloads of the given boxes, by name.

    Parameters
    ----------
    source
        The open file, or parts of it that were read.
    entries
        Name -> place, from the index.

    Raises
    ------
    CorruptChunk
        At an offset there is no box or one of another type, a box runs past the end
        of the file, or it is no image and claims over 256 MiB.
    """
    cache = source if isinstance(source, RegionCache) else RegionCache(source)
    payloads = {}
    for name, entry in entries.items():
        box = read_box(cache, name, entry)
        if box.nbytes > _MAX_BOX_NBYTES and box.type != CODESTREAM:
            raise CorruptChunk(
                f"claims {box.nbytes} bytes",
                path=cache.source.name,
                chunk=name,
                offset=box.offset,
            )
        payloads[name] = cache.read(box.data_offset, box.nbytes)
    return payloads


def read_box(cache: RegionCache, name: str, entry: Entry) -> Box:
    """Return the box that an entry of the index leads to, by its own header.

    Raises
    ------
    CorruptChunk
        There is none, or one of another type.
    """
    size = cache.source.size
    nbytes = max(min(MAX_HEADER_NBYTES, size - entry.offset), 0)
    place = {"path": cache.source.name, "chunk": name}
    try:
        box = parse_box(cache.read(entry.offset, nbytes), entry.offset, size)
    except CorruptChunk as error:
        raise CorruptChunk(error.reason, offset=entry.offset, **place) from error
    if not _fits(name, box.type):
        reason = f"a box of type {box.type!r} is there instead"
        raise CorruptChunk(reason, offset=entry.offset, **place)
    return box


def _listed(entries: Iterable[MapEntry], size: int) -> ChunkIndex:
    """Return the boxes that a map lists; what is far outside begins at the file's end."""
    seen: Counter[str] = Counter()
    named: list[tuple[str, int, int | None]] = []
    for kind, tag, offset in entries:
        own = kind.strip(" \0")
        label = own if own in _OWN_TYPE else tag.strip(" \0") or own
        named.append((_name(label, seen), min(offset, size), None))
    return ChunkIndex.from_entries(named)


def _name(label: str, seen: Counter[str]) -> str:
    """Return the name of the next box with a tag; one that nobody can type is made so."""
    label = "".join(c if c.isalnum() and c.isascii() else "_" for c in label) or "_"
    number = seen[label]
    seen[label] += 1
    return f"{label}|{number}!" if number or label in _NUMBERED else f"{label}!"


def _walked(source: ByteSource) -> tuple[ChunkIndex, str | None]:
    """Return the boxes up to the first damage, and what that is."""
    seen: Counter[str] = Counter()
    named: list[tuple[str, int, int | None]] = []
    stopped = None
    try:
        for box, head in walk_boxes(source, head_nbytes=_HEAD_NBYTES):
            label = box.type.strip(" \0")
            if box.type == CODESTREAM:
                label = CODESTREAM_FAMILY
            elif box.type == XML:
                label = _tag_of(head)
            named.append((_name(label, seen), box.offset, box.nbytes))
    except CorruptChunk as error:
        stopped = f"they end at offset {error.offset}: {error.reason}"
    return ChunkIndex.from_entries(named), stopped


def _tag_of(head: bytes) -> str:
    """Tag of a metadata box by its first elements, as only the map stores tags."""
    # UTF-16 with Latin names becomes readable without its zeros.
    for found in _ELEMENT.findall(head.replace(b"\0", b"")):
        element = found.decode("ascii", "replace")
        if element not in _WRAPPERS:
            return _TAGS.get(element, "xml")
    return "xml"


def _checked(index: ChunkIndex, cache: RegionCache) -> tuple[ChunkIndex, str | None]:
    """Return the boxes that are where the map says, and the name of one that is not.

    All metadata boxes are looked at, and of the images the first, middle and last.
    """
    size = cache.source.size
    entries = dict(index.items())
    suspects = {
        name: entry
        for name, entry in entries.items()
        if not name.startswith(f"{CODESTREAM_FAMILY}|")
    }
    images = [name for name in entries if name not in suspects]
    for at in {0, len(images) // 2, len(images) - 1} if images else ():
        suspects[images[at]] = entries[images[at]]
    starts = (entry.offset for entry in suspects.values() if entry.offset < size)
    cache.fetch((start, start + MAX_HEADER_NBYTES) for start in starts)
    wrong = None
    kept: list[tuple[str, int, int | None]] = []
    for name, entry in entries.items():
        nbytes = entry.nbytes
        if name in suspects:
            try:
                nbytes = read_box(cache, name, entry).nbytes
            except CorruptChunk:
                wrong = wrong or name
                continue
        elif entry.offset > size - 8:
            wrong = wrong or name
            continue
        kept.append((name, entry.offset, nbytes))
    return ChunkIndex.from_entries(kept), wrong


def _fits(name: str, kind: str) -> bool:
    """Say whether a box of a type can have a name."""
    label = name[:-1].partition("|")[0]
    if label == CODESTREAM_FAMILY:
        return kind == CODESTREAM
    if label in _OWN_TYPE:
        return kind.strip() == label
    return kind == XML if label in _TAGS.values() else True


def _images(index: ChunkIndex) -> int:
    family = index.family(CODESTREAM_FAMILY)
    return len(family) if family is not None else 0


def _joined(reason: str, stopped: str | None) -> str:
    return f"{reason}; {stopped}" if stopped else reason
