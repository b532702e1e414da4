"""What opening a file of format 1.0 does: boxes to a document and a table of frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.container.jp2_boxes import parse_image_header
from limnd2_xr.container.legacy_index import (
    CODESTREAM_FAMILY,
    read_box,
    read_boxes,
    read_legacy_index,
)
from limnd2_xr.container.prefetch import RegionCache
from limnd2_xr.damage import report_damage
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.codestream import HEADER_NBYTES, parse_header
from limnd2_xr.frames.legacy_reader import CodestreamTable
from limnd2_xr.frames.opening import layout_of
from limnd2_xr.model.legacy_document import (
    FRAME_VALUES,
    LegacyImages,
    LegacyMetadata,
    legacy_document,
    plane_count,
)
from limnd2_xr.variants.legacy_xml import decode_legacy, find_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.container.chunk_index import ChunkIndex
    from limnd2_xr.container.jp2_boxes import ImageHeader
    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.frames.codestream import CodestreamHeader
    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.records import FrameRecords
    from limnd2_xr.variants.tree import Level

__all__ = ["LegacyFile", "open_legacy"]

_TREES: Final = ("ARTT", "TINF", "AIM1", "AIMD")
_PER_FRAME: Final = ("VCAL", "VIMD")
_TRIED: Final = 8
"""So many frames are looked at for one whose metadata or images are sound."""
_BATCH: Final = 256
"""Metadata of so many frames are held at a time."""
_FREE_PIXELS: Final = 2**26
_PIXELS_PER_BYTE: Final = 4096
"""An image larger than `_FREE_PIXELS` has a byte for so many pixels at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyFile:
    """What opening a file of format 1.0 finds out."""

    index: ChunkIndex
    """All boxes, by names such as ``VIMD|0!``."""
    document: Nd2Document
    """Its metadata."""
    records: FrameRecords
    """Values recorded for every frame."""
    axes: Axes
    """Loops as dimensions."""
    table: CodestreamTable
    """Where the images are."""


def open_legacy(source: ByteSource) -> LegacyFile:
    """Find the boxes of a file and read its metadata (FORMAT 11).

    Parameters
    ----------
    source
        The open file.

    Raises
    ------
    CorruptChunk
        If there is neither an image nor an image header, or no image can have the size
        that they claim.

    Warns
    -----
    Nd2Warning
        If the box map could not be used, and for metadata that are damaged.
    """
    found = read_legacy_index(source)
    index, cache = found.index, found.cache
    images = _numbers(index, CODESTREAM_FAMILY)
    if found.rebuilt is not None:
        report_damage(
            f"the box map is damaged or missing: {found.rebuilt}",
            f"{len(images)} images were found",
            path=source.name,
        )
    metadata = _metadata(index, cache)
    n_images = int(images[-1]) + 1 if len(images) else 0
    n_frames = _count(index, "VCAL") or _count(index, "VIMD")
    planes = _planes(plane_count(metadata), n_images, n_frames)
    n_frames = max(n_frames, n_images // planes)
    described = _describe(index, cache, planes, n_frames)
    metadata = replace(metadata, values=_frame_values(index, source, n_frames))
    document, records = legacy_document(metadata, described)
    table = _table(source, index, document, described)
    axes = document.axes(len(table.numbers), n_frames)
    beyond = int((table.numbers >= axes.n_frames).sum())
    if beyond:
        report_damage(
            f"the file holds {beyond} frames more than its loops have places for",
            "they are left out",
            path=source.name,
        )
    table = replace(table, n_frames=axes.n_frames)
    return LegacyFile(
        index=index, document=document, records=records, axes=axes, table=table
    )


def _planes(told: int, n_images: int, n_frames: int) -> int:
    """Images of each frame: as the metadata tell, if that can be, else by the frames."""
    even = n_images // n_frames if n_frames and n_images % n_frames == 0 else 0
    if told and (not even or n_images % told == 0):
        return min(told, max(n_images, 1))
    return even or 1


def _numbers(index: ChunkIndex, family: str) -> NDArray[np.int64]:
    found = index.family(family)
    return found.numbers if found is not None else np.empty(0, dtype=np.int64)


def _count(index: ChunkIndex, family: str) -> int:
    numbers = _numbers(index, family)
    return int(numbers[-1]) + 1 if len(numbers) else 0


def _metadata(index: ChunkIndex, cache: RegionCache) -> LegacyMetadata:
    """Decode metadata; of what there is for each frame, the first that is sound."""
    trees = {}
    for tag in _TREES:
        tree = _tree(index, cache, f"{tag}!")
        if tree is not None:
            trees[tag] = tree
    frame = 0
    for tag in _PER_FRAME:
        for number in _numbers(index, tag)[:_TRIED].tolist():
            tree = _tree(index, cache, f"{tag}|{number}!")
            if tree is not None:
                trees[tag], frame = tree, number
                break
    return LegacyMetadata(trees=trees, frame=frame)


def _tree(index: ChunkIndex, cache: RegionCache, name: str) -> Level | None:
    """Decode one metadata box; None, with a report, if it is damaged."""
    entry = index.find(name)
    if entry is None:
        return None
    try:
        return decode_legacy(read_boxes(cache, {name: entry})[name])
    except CorruptChunk as error:
        report_damage(
            error.reason,
            "these metadata are left out",
            path=cache.source.name,
            chunk=name,
            offset=entry.offset,
        )
        return None


def _describe(
    index: ChunkIndex,
    cache: RegionCache,
    planes: int,
    n_frames: int,
) -> LegacyImages:
    """Say what the images are like: by the first that can be read, and ``jp2h``."""
    stated = _image_header(index, cache)
    headers = _plane_headers(index, cache, planes)
    first = next((header for header in headers if header is not None), None)
    if first is None and stated is None:
        raise CorruptChunk("the file has neither an image nor an image header")
    if first is not None:
        width, height, bits = first.width, first.height, first.bits
        counts = tuple(header.components if header else 1 for header in headers)
        reversible = all(header.reversible for header in headers if header)
        if stated is not None and (stated.width, stated.height) != (width, height):
            report_damage(
                f"the image header says {stated.width} x {stated.height} pixels",
                f"the images have {width} x {height}",
                path=cache.source.name,
            )
    else:
        assert stated is not None  # noqa: S101  # one of the two is there
        width, height, bits = stated.width, stated.height, stated.bits
        each = 3 if stated.components == 3 and planes == 1 else 1
        counts, reversible = (each,) * planes, True
    _check_plausible(width, height, index, cache.source.size)
    return LegacyImages(
        width=width,
        height=height,
        components=counts,
        bits=max(bits, stated.bits if stated is not None else 0) or 8,
        n_frames=n_frames,
        reversible=reversible,
    )


def _image_header(index: ChunkIndex, cache: RegionCache) -> ImageHeader | None:
    entry = index.find("jp2h!")
    if entry is None:
        return None
    try:
        payload = read_boxes(cache, {"jp2h!": entry})["jp2h!"]
        return parse_image_header(payload, entry.offset)
    except CorruptChunk as error:
        report_damage(error, "the images tell their size", path=cache.source.name)
        return None


def _plane_headers(
    index: ChunkIndex, cache: RegionCache, planes: int
) -> list[CodestreamHeader | None]:
    """Headers of the codestreams of the first frame that has any sound one."""
    numbers = _numbers(index, CODESTREAM_FAMILY)
    frames = np.unique(numbers // planes)
    for frame in frames[:_TRIED].tolist() + frames[-1:].tolist():
        found = [
            _header_of(index, cache, frame * planes + plane) for plane in range(planes)
        ]
        if any(found):
            return found
    return [None] * planes


def _header_of(
    index: ChunkIndex, cache: RegionCache, number: int
) -> CodestreamHeader | None:
    name = f"{CODESTREAM_FAMILY}|{number}!"
    entry = index.find(name)
    if entry is None:
        return None
    try:
        box = read_box(cache, name, entry)
        nbytes = min(box.nbytes, HEADER_NBYTES)
        return parse_header(cache.read(box.data_offset, nbytes))
    except CorruptChunk:
        return None


def _check_plausible(width: int, height: int, index: ChunkIndex, size: int) -> None:
    """Refuse sizes that no image can have, before arrays are made of them."""
    family = index.family(CODESTREAM_FAMILY)
    count = len(family) if family is not None else 0
    if width * height > _FREE_PIXELS + _PIXELS_PER_BYTE * (size // max(count, 1)):
        raise CorruptChunk(
            f"images of {width} x {height} pixels, but {count} in {size} bytes"
        )


def _frame_values(
    index: ChunkIndex, source: ByteSource, n_frames: int
) -> dict[str, NDArray[np.float64]]:
    """Values that the metadata of each frame hold, NaN where unknown."""
    values = {name: np.full(n_frames, np.nan) for name in FRAME_VALUES}
    family = index.family("VIMD")
    if family is None:
        return {}
    items = list(family.items())
    damaged = []
    for begin in range(0, len(items), _BATCH):
        batch = items[begin : begin + _BATCH]
        cache = RegionCache(source)
        cache.fetch(
            (entry.offset, entry.offset + 16 + (entry.nbytes or 0))
            for _, entry in batch
        )
        for number, entry in batch:
            name = family.name(number)
            try:
                payload = read_boxes(cache, {name: entry})[name]
                found = find_numbers(payload, FRAME_VALUES.values())
            except CorruptChunk:
                damaged.append(number)
                continue
            for key, element in FRAME_VALUES.items():
                values[key][number] = found.get(element, np.nan)
    if damaged:
        report_damage(
            f"the metadata of {len(damaged)} frames are damaged, first {damaged[0]}",
            "their times and stage positions are left out",
            path=source.name,
        )
    return values


def _table(
    source: ByteSource,
    index: ChunkIndex,
    document: Nd2Document,
    images: LegacyImages,
) -> CodestreamTable:
    """Where the images of each frame are that has all of them."""
    planes = len(images.components)
    layout = replace(layout_of(document), compression="jpeg2000")
    family = index.family(CODESTREAM_FAMILY)
    numbers = np.empty(0, dtype=np.int64)
    offsets = spans = np.empty((0, planes), dtype=np.int64)
    if family is not None:
        starts = family.offsets.astype(np.int64)
        frames, counts = np.unique(family.numbers // planes, return_counts=True)
        numbers = frames[counts == planes]
        complete = np.isin(family.numbers // planes, numbers)
        offsets = starts[complete].reshape(-1, planes)
        places = np.array(
            sorted({entry.offset for _, entry in index.items()} | {source.size}),
            dtype=np.int64,
        )
        ends = places[np.searchsorted(places, offsets, side="right")]
        spans = ends - offsets
    return CodestreamTable(
        layout=layout,
        numbers=numbers,
        chunk_offsets=offsets[:, 0].copy(),
        nbytes=spans.sum(axis=1),
        header_nbytes=8,
        n_frames=images.n_frames,
        offsets=offsets,
        spans=spans,
        components=images.components,
    )
