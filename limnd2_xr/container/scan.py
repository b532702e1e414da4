"""The chunks of a file without its map: found by walking from header to header."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final

from limnd2_xr.container.chunk_format import (
    ALIGNMENT,
    FILE_MAGIC,
    FILEMAP_NAME,
    HEADER_NBYTES,
    MAX_NAME_NBYTES,
    SIGNATURE_NAME,
    ChunkHeader,
    align,
    is_chunk_name,
)
from limnd2_xr.container.chunk_map import FRAME_PREFIX
from limnd2_xr.container.chunk_table import ChunkIndex, IndexBuilder
from limnd2_xr.container.prefetch import check_entries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limnd2_xr.container.byte_source import ByteSource
    from limnd2_xr.container.chunk_table import Entry

__all__ = ["rebuild_index", "scan_chunks", "walk_chunks"]

_HEADER: Final = struct.Struct("<4sIQ")
_NAME: Final = re.compile(rb"[^\x00-\x1f\x7f!]{1,65535}!?")
_UNLISTED: Final = frozenset({SIGNATURE_NAME, FILEMAP_NAME})
_FRAME_NAME: Final = f"{FRAME_PREFIX}|"
_SEARCH_NBYTES = 1 << 20
_BATCH = 10_000


def scan_chunks(source: ByteSource) -> ChunkIndex:
    r"""Return the index of all chunks that the file holds (FORMAT 2.4).

    Of several chunks of one name the last counts (FORMAT 1.6). A chunk that runs past
    the end of the file, as the last frame of an interrupted acquisition does, is left
    out; so is one within whose alleged extent other chunks are found, as its size is
    wrong. The file signature and chunk maps are not listed.

    Takes one small read a chunk where chunks are large, sequential reads where they
    are small. A chunk is looked through for others if none follows it or if its sizes
    are doubtful: not padded as all known writers do (FORMAT 1.3), or a frame of
    another size than the two before it. A file of varying or unusual chunks is
    thus read as a whole; no part of a file is looked through twice. Memory depends on
    the number of chunks only.

    Examples
    --------
    >>> from limnd2_xr.container.source import MemorySource
    >>> data = b"".join([FILE_MAGIC, struct.pack("<IQ", 24, 3), b"A!".ljust(24, b"\0")])
    >>> dict(scan_chunks(MemorySource(data + b"xyz")).items())
    {'A!': Entry(offset=0, nbytes=3)}
    """
    builder = IndexBuilder()
    for header in walk_chunks(source):
        if header.name not in _UNLISTED:
            builder.add(header.name, header.offset, header.data_nbytes)
    return builder.build()


def walk_chunks(source: ByteSource, start: int = 0) -> Iterator[ChunkHeader]:
    """Yield the header of chunk after chunk, by ascending offset.

    As `scan_chunks`, but with the signature, chunk maps, and chunks that a later one of
    the same name replaces.

    Parameters
    ----------
    source
        The open file.
    start
        Where to begin, which is between two chunks.
    """
    return _walk(_Window(source), start)


def rebuild_index(source: ByteSource, listed: ChunkIndex) -> ChunkIndex:
    """Return the index of a file whose map is partly wrong.

    Parameters
    ----------
    source
        The open file.
    listed
        What of the map can be right: `ChunkIndex.within` the file.

    Returns
    -------
    ChunkIndex
        What `scan_chunks` finds; where `listed` has another place for a chunk, or
        one that the scan did not find, and a fitting header is there, that place.
    """
    found = scan_chunks(source)
    batch: dict[str, Entry] = {}
    good: list[tuple[str, int, int | None]] = []

    def keep_good() -> None:
        for name in check_entries(source, batch):
            del batch[name]
        good.extend((name, *entry) for name, entry in batch.items())
        batch.clear()

    for name, entry in listed.without(found).items():
        batch[name] = entry
        if len(batch) == _BATCH:
            keep_good()
    keep_good()
    return found.updated(ChunkIndex.from_entries(good))


def _walk(window: _Window, offset: int) -> Iterator[ChunkHeader]:
    """Yield the header of chunk after chunk, by ascending offset."""
    held: ChunkHeader | None = None  # yielded once no chunk was found within it
    frame_sizes: tuple[int, int] = (-1, -2)  # of the two frames before
    while offset + HEADER_NBYTES <= window.size:
        header = window.chunk(offset)
        if header is None:
            offset = window.search(offset + 1)
            continue
        if held is not None and held.end <= offset:
            yield held
        held = header
        doubtful = not _is_padded_as_usual(header)
        if header.name.startswith(_FRAME_NAME):
            size = header.data_nbytes
            doubtful |= size != frame_sizes[0] == frame_sizes[1]
            frame_sizes = (size, frame_sizes[0])
        offset = _next_offset(window, header, doubtful=doubtful)
    if held is not None:
        yield held


def _next_offset(window: _Window, header: ChunkHeader, *, doubtful: bool) -> int:
    """Return where to go on after a chunk; not past chunks it may hide."""
    end = header.end
    if not doubtful:
        # Chunks are aligned in practice only (FORMAT 1.2).
        for offset in (align(end), end):
            if offset + HEADER_NBYTES <= window.size and window.leads_to(offset):
                return offset
        if align(end) + HEADER_NBYTES > window.size:
            return window.search(end)
    return window.search(header.offset + HEADER_NBYTES + len(header.name))


def _is_padded_as_usual(header: ChunkHeader) -> bool:
    """Tell whether name field and payload have sizes that fit together (FORMAT 1.3)."""
    if header.name in _UNLISTED:
        return True
    aligned = 8 if header.name.startswith(_FRAME_NAME) else header.data_nbytes
    least = HEADER_NBYTES + len(header.name) + 20 + aligned
    return header.name_nbytes == align(least) - HEADER_NBYTES - aligned


class _Window:
    """The part of the file around the walk, read ahead as far as that pays."""

    def __init__(self, source: ByteSource) -> None:
        self.size = source.size
        self._source = source
        self._start = 0
        self._data = b""
        # A header is far smaller than what one request costs anyway.
        self._least = max(ALIGNMENT, min(source.gap_nbytes // 4, _SEARCH_NBYTES))
        self._ahead = self._least
        self._probe_start = 0
        self._probe = b""

    def chunk(self, offset: int) -> ChunkHeader | None:
        """Return the header of the chunk here if there is one."""
        data, at = self._at(offset, HEADER_NBYTES)
        magic, name_nbytes, nbytes = _HEADER.unpack_from(data, at)
        if magic != FILE_MAGIC or not 2 <= name_nbytes <= MAX_NAME_NBYTES:
            return None
        if offset + HEADER_NBYTES + name_nbytes + nbytes > self.size:
            return None
        # Stopping at the first byte that no name holds, as the magic has one, keeps
        # the search for names linear however many false headers there are.
        at += HEADER_NBYTES
        match = _NAME.match(data, at, at + name_nbytes)
        if match is None:
            return None
        if match.end() == len(data) and data[-1:] != b"!":
            data, at = self._at(offset + HEADER_NBYTES, name_nbytes)
            match = _NAME.match(data, at, at + name_nbytes)
        if match is None or not is_chunk_name(name := match[0]):
            return None
        return ChunkHeader(name.decode("latin-1"), offset, name_nbytes, nbytes)

    def leads_to(self, offset: int) -> bool:
        """Tell whether a chunk may begin here; if so, the walk is to go on here."""
        at = offset - self._start
        if 0 <= at <= len(self._data) - HEADER_NBYTES:
            return self._data.startswith(FILE_MAGIC, at)
        # The window stays where it is unless there is a chunk: what is in it has to
        # be searched otherwise.
        at = offset - self._probe_start
        if not 0 <= at <= len(self._probe) - HEADER_NBYTES:
            # Reading on pays where that takes no longer than asking anew.
            hop = offset - (self._start + len(self._data))
            if offset > self._start and hop <= self._source.gap_nbytes:
                self._ahead = min(2 * self._ahead, _SEARCH_NBYTES)
            else:
                self._ahead = self._least
            nbytes = min(self._ahead, self.size - offset)
            self._probe = self._source.read_at(offset, nbytes)
            self._probe_start = offset
            at = 0
        if not self._probe.startswith(FILE_MAGIC, at):
            return False
        self._start, self._data = self._probe_start, self._probe
        return True

    def search(self, offset: int) -> int:
        """Return where the magic bytes are next, or the size of the file."""
        overlap = len(FILE_MAGIC) - 1
        while offset + HEADER_NBYTES <= self.size:
            at = offset - self._start
            if not 0 <= at <= len(self._data) - HEADER_NBYTES:
                self._load(offset, _SEARCH_NBYTES)
                at = 0
            found = self._data.find(FILE_MAGIC, at)
            if found >= 0:
                return self._start + found
            offset = self._start + len(self._data) - overlap
        return self.size

    def _at(self, offset: int, nbytes: int) -> tuple[bytes, int]:
        """Return bytes that hold a range of the file, and where in them it begins."""
        at = offset - self._start
        if not 0 <= at <= len(self._data) - nbytes:
            self._load(offset, max(nbytes, self._ahead))
            at = 0
        return self._data, at

    def _load(self, offset: int, nbytes: int) -> None:
        self._data = self._source.read_at(offset, min(nbytes, self.size - offset))
        self._start = offset
