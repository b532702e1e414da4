"""What opening a file does: metadata chunks to a document, the chunk map to a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.container.chunk_format import ALIGNMENT, FILEMAP_NAME, parse_header
from limnd2_xr.container.chunk_index import check_entries, read_index
from limnd2_xr.container.cut_short import find_cut_chunk
from limnd2_xr.container.scan import rebuild_index
from limnd2_xr.damage import report_damage
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.guessed_attributes import guess_attributes
from limnd2_xr.frames.layout import PixelLayout
from limnd2_xr.frames.table import (
    FRAME_FAMILY,
    TIME_NBYTES,
    UNKNOWN_NBYTES,
    FrameTable,
    frame_name,
)
from limnd2_xr.model.channels import samples_per_channel
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.raw import (
    ATTRIBUTES,
    DATA_CHUNKS,
    EXPERIMENT,
    METADATA_CHUNKS,
    PICTURE,
    RawMetadata,
    chunks_to_read,
)
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from limnd2_xr.container.chunk_index import ChunkIndex, Entry
    from limnd2_xr.container.prefetch import RegionCache
    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.frames.layout import Compression
    from limnd2_xr.model.attributes import Attributes
    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.records import FrameRecords
    from limnd2_xr.variants.tree import Level

__all__ = [
    "SoundIndex",
    "find_frames",
    "layout_of",
    "open_index",
    "read_metadata",
    "read_raw",
]

_COMPRESSION: Final[dict[str, Compression]] = {"none": "none", "lossless": "zlib"}

FRAME_HEAD_NBYTES: Final = 64
"""Enough of a frame's chunk for its header and name."""

CHEAP_GAP_NBYTES: Final = 2**17
"""Sources for which a request costs more than reading this are remote."""
SMALL_FAMILY: Final = 16
"""Numbered chunks that are no more than these are looked at one by one if need be."""

_MAX_SIDE: Final = 2**22
"""Pixels along a side that a picture may have: every row and column gets a coordinate."""
_MAX_INFLATION: Final = 1032
"""No deflate stream inflates to more than this many times its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundIndex:
    """A chunk index that was compared, in part, with the chunks themselves."""

    version: tuple[int, int]
    """Format version of the file."""
    index: ChunkIndex
    """All chunks."""
    header_nbytes: int
    """Bytes from the start of a frame's chunk to its pixels, as a sample has it."""
    payloads: Mapping[str, bytes]
    """Payloads of the metadata chunks, trees and plain arrays."""
    source: ByteSource
    """The open file."""
    is_unfinished: bool = False
    """Whether the file ends without a map, as one does that is still being written."""
    cache: RegionCache | None = None
    """What was read of the file on the way."""

    def held(self, name: str) -> bytes | None:
        """Return the payload of a chunk that was read along with others, else None."""
        entry = self.index.find(name)
        if self.cache is None or entry is None:
            return None
        return self.cache.held(name, entry)


def open_index(source: ByteSource) -> SoundIndex:
    """Read the chunk map, or rebuild it where it is missing or wrong.

    The metadata chunks are read and the headers of three frames looked at. If one of
    them is not where the map says, the file is scanned: one header read a chunk.

    Raises
    ------
    NotAnNd2File
        If it is something else.

    Warns
    -----
    Nd2Warning
        If the map could not be used as it is, and for metadata chunks that cannot be
        read.
    """
    loaded = read_index(source)
    index, reason, prefetch = loaded.index, loaded.rebuilt, loaded.prefetch
    payloads, wrong = _compare(index, prefetch)
    if wrong and not loaded.is_scanned:
        index, payloads = rebuild_index(source, index), None
        where = f"chunk {wrong} is not where the chunk map says; the file was scanned"
        reason = where if reason is None else f"{reason}; {where}"
    elif reason is None and (lacking := _lacking(index, source)):
        found = rebuild_index(source, index)
        if lacking in found:
            index, payloads = found, None
            reason = f"{lacking} is not listed; the file was scanned"
    if reason is not None:
        _report_map(source, index, reason, is_unfinished=loaded.is_unfinished)
    return SoundIndex(
        version=loaded.version,
        index=index,
        header_nbytes=_header_nbytes(index, prefetch),
        payloads=payloads or _readable_payloads(index, prefetch),
        source=source,
        is_unfinished=loaded.is_unfinished,
        cache=prefetch,
    )


def _report_map(
    source: ByteSource, index: ChunkIndex, reason: str, *, is_unfinished: bool
) -> None:
    """Tell that the chunk map was not used, what was found without it and what was lost."""
    frames = index.family(FRAME_FAMILY)
    count = f"{len(frames) if frames else 0} frames were found"
    if is_unfinished:
        count += (
            "; so ends a file that is still being written (open it again later to see"
            " more), that was cut short, or whose acquisition was interrupted"
        )
    report_damage(
        f"the chunk map is damaged or missing: {reason}; {count}",
        path=source.name,
        chunk=FILEMAP_NAME,
    )
    cut = find_cut_chunk(source, index)
    if cut is not None and cut.name != FILEMAP_NAME:
        report_damage(
            f"the file ends {cut.end - source.size} bytes before the chunk does",
            "it is left out",
            path=source.name,
            chunk=cut.name,
            offset=cut.offset,
        )


def _metadata_entries(index: ChunkIndex) -> dict[str, Entry]:
    present = {name: entry for name in METADATA_CHUNKS if (entry := index.find(name))}
    trees, plain = chunks_to_read(present)
    return {name: present[name] for name in (*trees, *plain)}


def _compare(
    index: ChunkIndex, prefetch: RegionCache
) -> tuple[dict[str, bytes] | None, str | None]:
    """Payloads of all metadata chunks in few reads, or the name of one that is wrong.

    A frame of the sample may be the wrong one, too.
    """
    entries = _metadata_entries(index)
    others = _sample_frames(index) | _suspects(index, entries)
    heads = [(e.offset, e.offset + FRAME_HEAD_NBYTES) for e in others.values()]
    try:
        payloads = prefetch.chunks(entries, along=heads)
    except CorruptChunk as error:
        return None, error.chunk
    wrong = check_entries(prefetch, others)
    return payloads, wrong[0] if wrong else None


def _readable_payloads(index: ChunkIndex, prefetch: RegionCache) -> dict[str, bytes]:
    """Payloads of the metadata chunks that can be read, one by one."""
    payloads: dict[str, bytes] = {}
    for name, entry in _metadata_entries(index).items():
        try:
            payloads |= prefetch.chunks({name: entry})
        except CorruptChunk as error:
            report_damage(error, "these metadata are left out")
    return payloads


def _sample_frames(index: ChunkIndex) -> dict[str, Entry]:
    """First, middle and last frame."""
    family = index.family(FRAME_FAMILY)
    if family is None or not len(family):
        return {}
    numbers = {int(family.numbers[at]) for at in (0, len(family) // 2, -1)}
    return {
        frame_name(number): entry
        for number in sorted(numbers)
        if (entry := family.find(number))
    }


def _lacking(index: ChunkIndex, source: ByteSource) -> str | None:
    """Name a chunk that the map should list and that is worth looking for in the file.

    For frames between others only where a scan is cheap: it reads a header a chunk.
    """
    if not any(name in index for name in ATTRIBUTES):
        return ATTRIBUTES[0]
    family = index.family(FRAME_FAMILY)
    if family is None or not len(family) or source.gap_nbytes > CHEAP_GAP_NBYTES:
        return None
    holes = np.flatnonzero(np.diff(family.numbers) > 1)
    return frame_name(int(family.numbers[holes[0]]) + 1) if len(holes) else None


def _suspects(index: ChunkIndex, entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Chunks of any name, if one that nearly every file has is not among them.

    A bit of its name may have flipped in the map.
    """
    frames = index.family(FRAME_FAMILY)
    usual = [ATTRIBUTES, PICTURE]
    if frames is not None and len(frames) > 1:
        usual.append(EXPERIMENT)
    if all(any(name in entries for name in names) for names in usual):
        return {}
    found = {name: entry for name in index.names() if (entry := index.find(name))}
    for family in index.families().values():
        if len(family) <= SMALL_FAMILY:
            found |= {family.name(number): entry for number, entry in family.items()}
    return found


def _header_nbytes(index: ChunkIndex, prefetch: RegionCache) -> int:
    """Bytes before the pixels of a frame as most of the sample have it.

    That is 4096 in all files seen (FORMAT 1.3). A single frame proves nothing else: its
    header may be damaged, which is found out when it is read.
    """
    found: list[int] = []
    size = prefetch.source.size
    for entry in _sample_frames(index).values():
        head = prefetch.read(entry.offset, min(FRAME_HEAD_NBYTES, size - entry.offset))
        try:
            header = parse_header(head, entry.offset, size)
        except CorruptChunk:
            continue
        found.append(header.data_offset + TIME_NBYTES - entry.offset)
    return next((nbytes for nbytes in found if found.count(nbytes) > 1), ALIGNMENT)


def read_metadata(opened: SoundIndex) -> tuple[Nd2Document, FrameRecords]:
    """Decode the metadata chunks of a file.

    Parameters
    ----------
    opened
        The file's chunk index and the chunks' payloads.

    Raises
    ------
    CorruptChunk
        If there are no image attributes, and the frames do not tell their size.

    Warns
    -----
    Nd2Warning
        For every other metadata chunk that is damaged, and then left out.
    """
    return Nd2Document.from_raw(read_raw(opened))


def read_raw(opened: SoundIndex) -> RawMetadata:
    """Decode the metadata chunks of a file to trees, as they are stored.

    Parameters
    ----------
    opened
        The file's chunk index and the chunks' payloads.

    Raises
    ------
    CorruptChunk
        If there are no image attributes, and the frames do not tell their size.

    Warns
    -----
    Nd2Warning
        For every other metadata chunk that is damaged, and then left out.
    """
    levels: dict[str, Level] = {}
    data: dict[str, bytes] = {}
    for name, payload in opened.payloads.items():
        if name in DATA_CHUNKS:
            data[name] = payload
            continue
        try:
            levels[name] = _decode(payload, name, opened.index)
        except CorruptChunk as error:
            report_damage(error, "these metadata are left out")
    if not any(name in levels for name in ATTRIBUTES):
        levels[ATTRIBUTES[0]] = guess_attributes(opened.source, opened.index, levels)
    return RawMetadata(version=opened.version, levels=levels, data=data)


def _decode(payload: bytes, name: str, index: ChunkIndex) -> Level:
    try:
        return decode(payload, lazy=True)
    except CorruptChunk as error:
        where = (
            "" if error.offset is None else f"at byte {error.offset} of its payload: "
        )
        entry = index.find(name)
        raise CorruptChunk(
            where + error.reason, chunk=name, offset=entry.offset if entry else None
        ) from error


def find_frames(
    source: ByteSource, opened: SoundIndex, document: Nd2Document
) -> tuple[Axes, FrameTable]:
    """Fit loops and stored frames together.

    Parameters
    ----------
    source
        For its name and size.
    opened
        The file's chunk index.
    document
        Its metadata.

    Raises
    ------
    CorruptChunk
        If the attributes promise frames that the stored ones cannot be.
    """
    layout = layout_of(document)
    family = opened.index.family(FRAME_FAMILY)
    if family is None or not len(family):
        numbers = chunk_offsets = nbytes = np.empty(0, dtype=np.int64)
        first = 0
    else:
        numbers = family.numbers
        chunk_offsets = family.offsets.astype(np.int64)
        nbytes = _pixel_nbytes(family.nbytes)
        first = _first_number(numbers, document.attributes.sequence_count)
    _check_plausible(layout, nbytes, source.size)
    numbers = numbers - first
    axes = document.axes(len(numbers), int(numbers[-1]) + 1 if len(numbers) else 0)
    beyond = int((numbers >= axes.n_frames).sum() + (numbers < 0).sum())
    if beyond:
        report_damage(
            f"the file holds {beyond} frames more than its loops ({_in_words(axes)}) have"
            " places for",
            "they are left out",
            path=source.name,
        )
    if not opened.is_unfinished:
        _report_count(source, document, len(numbers))
    table = FrameTable(
        layout=layout,
        numbers=numbers,
        chunk_offsets=chunk_offsets,
        nbytes=nbytes,
        header_nbytes=opened.header_nbytes,
        n_frames=axes.n_frames,
        first_number=first,
    )
    return axes, table


def _report_count(source: ByteSource, document: Nd2Document, present: int) -> None:
    """Tell if the attributes promise fewer frames than there are; missing ones are told."""
    declared = document.attributes.sequence_count
    if declared >= present:
        return
    reason = (
        f"the attributes promise {declared} frames"
        if declared
        else "no frames are counted, as in a file that was not finished"
    )
    report_damage(f"{reason}; there are {present}", path=source.name)


def _in_words(axes: Axes) -> str:
    return " x ".join(f"{dim} {count}" for dim, count in axes.nesting)


def layout_of(document: Nd2Document) -> PixelLayout:
    """Return how the frames of a file are arranged, as its metadata say."""
    attributes: Attributes = document.attributes
    samples = samples_per_channel(document.channels)
    return PixelLayout(
        height=attributes.height,
        width=attributes.width,
        channels=attributes.components // samples,
        samples=samples,
        dtype=attributes.dtype,
        row_nbytes=attributes.row_nbytes,
        compression=_COMPRESSION.get(attributes.compression, "unsupported"),
    )


def _pixel_nbytes(nbytes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Bytes of each frame without its time; a map may not know (FORMAT 2.3)."""
    known = nbytes <= np.iinfo(np.int64).max
    return np.where(known, nbytes.astype(np.int64) - TIME_NBYTES, UNKNOWN_NBYTES)


def _first_number(numbers: NDArray[np.int64], declared: int) -> int:
    """1 where the frames are numbered from 1 on (FORMAT 2.3), 0 where 0 is missing.

    There is a frame whose number is the count of frames only if they count from 1.
    """
    from_one = numbers[0] >= 1 and numbers[-1] == (declared or len(numbers))
    return 1 if from_one else 0


def _check_plausible(layout: PixelLayout, nbytes: NDArray[np.int64], size: int) -> None:
    """Refuse image sizes that no stored frame can have, before arrays are made of them."""
    if max(layout.width, layout.height) > _MAX_SIDE:
        raise CorruptChunk(
            f"a frame of {layout.width} x {layout.height} pixels: no side can have more "
            f"than {_MAX_SIDE}",
            chunk=ATTRIBUTES[0],
        )
    largest = int(nbytes.max()) if len(nbytes) else 0
    if largest < 0 or not len(nbytes):
        largest = size
    if layout.compression != "none":
        largest *= _MAX_INFLATION
    if layout.frame_nbytes > max(largest, size if not len(nbytes) else 0):
        raise CorruptChunk(
            f"a frame of {layout.width} x {layout.height} pixels has {layout.frame_nbytes} "
            f"bytes, but the largest in the file has {int(nbytes.max(initial=0))}",
            chunk=ATTRIBUTES[0],
        )
