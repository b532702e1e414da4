"""Opening a file: its version and the index of its chunks, in three reads at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from limnd2_xr.container.chunk_format import (
    FILE_MAGIC,
    FILEMAP_NAME,
    FOOTER,
    HEADER_NBYTES,
    MAP_SIGNATURE,
    ChunkHeader,
    parse_header,
    parse_signature,
)
from limnd2_xr.container.chunk_table import (
    UNKNOWN_NBYTES,
    ChunkIndex,
    Entry,
    Family,
    split_name,
)
from limnd2_xr.container.prefetch import RegionCache, check_entries
from limnd2_xr.container.scan import rebuild_index, scan_chunks
from limnd2_xr.errors import CorruptChunk, Nd2Error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limnd2_xr.container.byte_source import ByteSource

__all__ = [
    "UNKNOWN_NBYTES",
    "ChunkIndex",
    "Entry",
    "Family",
    "LoadedIndex",
    "check_entries",
    "read_index",
    "split_name",
]

_REGION_NBYTES = 64 * 1024
_PIECE_NBYTES = 64 << 20
_MAP_HEADER_NBYTES = HEADER_NBYTES + len(FILEMAP_NAME)
_ANY_SIZE = 1 << 66
_NO_FOOTER = "the file does not end with a chunk map footer"


@dataclass(frozen=True, slots=True)
class LoadedIndex:
    """What `read_index` found.

    Attributes
    ----------
    version
        (major, minor) of the format.
    index
        All chunks; every place is inside the file.
    rebuilt
        Why the file's chunk map was not taken as it is, None where it was.
    prefetch
        The head and the tail of the file, for reading metadata chunks from.
    is_scanned
        Whether the file itself was looked through for its chunks.
    is_unfinished
        Whether the file ends without a map, as one does that is still being written.
    """

    version: tuple[int, int]
    index: ChunkIndex
    rebuilt: str | None
    prefetch: RegionCache
    is_scanned: bool = False
    is_unfinished: bool = False


def read_index(source: ByteSource) -> LoadedIndex:
    """Return version and chunk index of an .nd2 file (FORMAT 1.1, 2).

    A sound file costs one read up to 128 KiB, else its first and last 64 KiB and, if
    it is larger, the map: three reads up to 64 MiB of map (1.8 million chunks), and
    one more for each 64 MiB.

    A map that cannot be used is replaced, and `LoadedIndex.rebuilt` says why:

    * The footer is damaged or names a wrong place: a map in the last 64 KiB, found by
      its name, is taken if no chunk follows it.
    * There is no map, or it does not parse: the file is scanned.
    * Some entries are outside the file: what they stand for, and whether the others
      are right, only the file itself can tell, so it is scanned as well. Entries of
      the map that agree with a chunk header are kept. This walks over the whole file
      for one wrong entry; it reads one header a chunk, and nobody writes such maps.

    Raises
    ------
    NotAnNd2File
        The file does not begin as an .nd2 file.
    LegacyFormat
        The file is of format 1.0 (JPEG 2000).
    """
    prefetch = RegionCache(source)
    size = source.size
    # Of a remote file more is read at once: with luck all of the map and the metadata.
    tail_nbytes = max(_REGION_NBYTES, source.gap_nbytes)
    whole = size <= 2 * _REGION_NBYTES == 2 * tail_nbytes
    head_nbytes = size if whole else min(size, _REGION_NBYTES)
    prefetch.fetch([(0, head_nbytes)])
    try:
        version = parse_signature(prefetch.read(0, head_nbytes))
    except Nd2Error as error:
        raise error.located(path=source.name) from error.__cause__
    prefetch.fetch([(size - tail_nbytes, size)])
    scanned = unfinished = False
    try:
        index, rebuilt = _read_map(prefetch)
    except CorruptChunk as error:
        index, rebuilt = scan_chunks(source), f"{error.reason}; the file was scanned"
        scanned, unfinished = True, error.reason == _NO_FOOTER
    else:
        inside = index.within(size)
        if len(inside) < len(index):
            count = len(index) - len(inside)
            rebuilt = f"{count} chunks are listed outside the file; it was scanned"
            index, scanned = rebuild_index(source, inside), True
    return LoadedIndex(version, index, rebuilt, prefetch, scanned, unfinished)


def _read_map(prefetch: RegionCache) -> tuple[ChunkIndex, str | None]:
    """Return the index of the map, and what was wrong with the footer if anything."""
    size = prefetch.source.size
    signature, offset = FOOTER.unpack(prefetch.read(size - FOOTER.size, FOOTER.size))
    if signature != MAP_SIGNATURE:
        reason = _NO_FOOTER
    elif not offset:
        reason = "the chunk map footer holds no offset"
    else:
        try:
            return _read_map_at(prefetch, offset), None
        except CorruptChunk as error:
            reason = f"{error.reason} (offset {error.offset})"
    found = _find_map(prefetch)
    if found is None:
        raise CorruptChunk(reason)
    header, payload = found
    try:
        index = ChunkIndex.from_map(payload, base=header.data_offset)
    except CorruptChunk as error:
        raise CorruptChunk(reason) from error
    return index, f"{reason}; the map was found at offset {header.offset}"


def _read_map_at(prefetch: RegionCache, offset: int) -> ChunkIndex:
    """Return the index of the map chunk at `offset`, reading what is not held of it."""
    size = prefetch.source.size
    tail_start = max(prefetch.regions()[-1][0], 0)
    # As far as the tail, where the rest is held; but the whole header at least.
    first_end = min(max(tail_start, offset + _MAP_HEADER_NBYTES), size)
    first_end = min(first_end, offset + _PIECE_NBYTES)
    if first_end - offset < _MAP_HEADER_NBYTES:
        raise CorruptChunk("the footer's offset is no place for a map", offset=offset)
    first = prefetch.read(offset, first_end - offset)
    header = parse_header(first, offset, size)
    if header.name != FILEMAP_NAME:
        raise CorruptChunk(
            f"the footer points at chunk {header.name}, not at the map", offset=offset
        )
    if not _begins_cleanly(first, header):
        raise CorruptChunk("the header of the chunk map is damaged", offset=offset)

    def pieces() -> Iterator[bytes]:
        start, end = header.data_offset, header.end
        if start < first_end:
            yield first[start - offset : end - offset]
            start = first_end
        while start < end:
            # The map itself is not kept: only its index is needed.
            stop = min(start + _PIECE_NBYTES, end)
            if start < tail_start < stop:
                stop = tail_start
            yield prefetch.read(start, stop - start)
            start = stop

    return ChunkIndex.from_map_pieces(pieces(), base=header.data_offset)


def _begins_cleanly(data: bytes, header: ChunkHeader) -> bool:
    """Say whether only zeros lie between a map's name and its payload (FORMAT 1.3).

    Otherwise the header is damaged, and the first records would be taken for padding.
    """
    padding = slice(
        HEADER_NBYTES + len(header.name), HEADER_NBYTES + header.name_nbytes
    )
    return not any(data[padding])


def _find_map(prefetch: RegionCache) -> tuple[ChunkHeader, bytes] | None:
    """Return a map chunk that the footer does not lead to, and its payload.

    It must be in the last 64 KiB and nothing may follow it: older maps are left
    behind when a file is appended to (FORMAT 1.6). The payload may be cut short;
    whether the list of chunks is whole, its terminator tells.
    """
    size = prefetch.source.size
    tail_start = max(size - _REGION_NBYTES, 0)
    tail = prefetch.read(tail_start, size - tail_start)
    name_at = tail.rfind(FILEMAP_NAME.encode("latin-1"))
    if name_at < HEADER_NBYTES or tail.find(FILE_MAGIC, name_at) >= 0:
        return None
    at = name_at - HEADER_NBYTES
    try:
        header = parse_header(tail[at:], tail_start + at, _ANY_SIZE)
    except CorruptChunk:
        return None
    if not _begins_cleanly(tail[at:], header):
        return None
    return header, tail[header.data_offset - tail_start : header.end - tail_start]
