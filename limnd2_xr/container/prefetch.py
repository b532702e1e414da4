"""Few large reads instead of many small ones while a file is being opened."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from limnd2_xr.container.chunk_format import (
    ALIGNMENT,
    HEADER_NBYTES,
    ChunkHeader,
    align,
    parse_header,
)
from limnd2_xr.errors import CorruptChunk, RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from limnd2_xr.container.byte_source import ByteSource
    from limnd2_xr.container.chunk_table import Entry

__all__ = ["RegionCache", "check_entries", "read_payload"]

_MIN_GAP_NBYTES = 64 * 1024
_WINDOW_NBYTES = 1 << 20
_MAX_CHUNK_NBYTES = 1 << 30
_NAME_SLACK = ALIGNMENT + 20  # the most a name field is longer than its name (1.3)


class RegionCache:
    r"""Parts of a file that were read, and reads that are served from them.

    Made for the opening of a file, by one thread; whoever opens drops it afterwards.

    Parameters
    ----------
    source
        The open file; the cache does not close it.

    Examples
    --------
    >>> from limnd2_xr.container.source import MemorySource
    >>> cache = RegionCache(MemorySource(bytes(range(100))))
    >>> cache.fetch([(0, 10), (20, 30)])  # one read
    >>> cache.regions(), cache.read(12, 2)
    ([(0, 30)], b'\x0c\r')
    """

    __slots__ = ("_data", "_starts", "source")

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self._starts: list[int] = []  # ascending; regions neither overlap nor touch
        self._data: list[bytes] = []

    def regions(self) -> list[tuple[int, int]]:
        """Return the (start, end) file offsets of what is held, ascending."""
        return [
            (start, start + len(data))
            for start, data in zip(self._starts, self._data, strict=True)
        ]

    def read(self, offset: int, nbytes: int) -> bytes:
        """Return exactly `nbytes` bytes from `offset` on, read now if need be.

        What is read now is not kept.

        Raises
        ------
        CorruptChunk
            The file ends before that.
        """
        i = bisect_right(self._starts, offset) - 1
        if i >= 0:
            data = self._data[i]
            first = offset - self._starts[i]
            if first + nbytes <= len(data):
                return data[first : first + nbytes]
        return self.source.read_at(offset, nbytes)

    def fetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Hold the given (start, end) ranges, reading what is missing in few reads.

        Ranges are cut to the file; those that leave no more than the source's
        ``gap_nbytes`` (64 KiB at least) between them are read at once. No byte is
        read twice in one call, so wrong ranges cost the size of the file at most.
        """
        wanted = []
        for first, last in ranges:
            # An end that is held already is not read again.
            start, end = max(first, 0), min(last, self.source.size)
            start = max(start, self._held_until(start))
            end = min(end, self._held_from(end))
            if start < end:
                wanted.append((start, end))
        gap = max(self.source.gap_nbytes, _MIN_GAP_NBYTES)
        merged = list(_merged(wanted, gap))
        for (start, _), data in zip(merged, self.source.read_many(merged), strict=True):
            self._hold(start, data)

    def chunks(
        self,
        entries: Mapping[str, Entry],
        *,
        max_nbytes: int = _MAX_CHUNK_NBYTES,
        along: Iterable[tuple[int, int]] = (),
    ) -> dict[str, bytes]:
        """Return the payloads of the given chunks, by name, in few reads.

        Parameters
        ----------
        entries
            Name -> place, as `ChunkIndex.find` gives it.
        max_nbytes
            A chunk that claims more is not read.
        along
            Other (start, end) ranges to hold, read at the same time.

        Raises
        ------
        CorruptChunk
            At an offset there is no chunk, one of another name, or one whose size
            differs from the listed one; a chunk runs past the end of the file or is
            larger than `max_nbytes`; together they are larger than the file.
        """
        size = self.source.size
        self._fetch_of(
            [
                (entry.offset, entry.offset + HEADER_NBYTES + len(name))
                for name, entry in entries.items()
                if entry.nbytes is None
            ],
            entries,
        )
        ranges = list(along)
        total = 0
        for name, entry in entries.items():
            nbytes = entry.nbytes
            if nbytes is None:
                nbytes = self._header(name, entry).data_nbytes
            if nbytes > max_nbytes:
                raise self._error(f"claims {nbytes} bytes", name, entry)
            if entry.offset + HEADER_NBYTES + nbytes > size:
                raise self._error(
                    f"{nbytes} bytes run past the end of the file", name, entry
                )
            total += nbytes
            if total > size:  # chunks inside chunks could ask for any amount of memory
                raise self._error("overlaps other chunks", name, entry)
            end = entry.offset + HEADER_NBYTES + len(name) + _NAME_SLACK + nbytes
            ranges.append((entry.offset, align(end)))
        self._fetch_of(ranges, entries)
        payloads = {}
        for name, entry in entries.items():
            header = self._header(name, entry)
            if entry.nbytes not in {None, header.data_nbytes}:
                raise self._error(
                    f"the chunk map says {entry.nbytes} bytes, the chunk's header"
                    f" {header.data_nbytes}",
                    name,
                    entry,
                )
            payloads[name] = self.read(header.data_offset, header.data_nbytes)
        return payloads

    def held(self, name: str, entry: Entry, max_nbytes: int = 1 << 16) -> bytes | None:
        """Return the payload of a chunk if it is held already; None if not.

        Parameters
        ----------
        name, entry
            Of the chunk.
        max_nbytes
            Larger payloads are not returned either.
        """
        region = bisect_right(self._starts, entry.offset) - 1
        if region < 0 or entry.nbytes is None or entry.nbytes > max_nbytes:
            return None
        held, start = self._data[region], self._starts[region]
        head = memoryview(held)[entry.offset - start :]
        try:
            header = parse_header(head, entry.offset, start + len(held))
        except CorruptChunk:
            return None
        if (header.name, header.data_nbytes) != (name, entry.nbytes):
            return None
        return held[header.data_offset - start : header.end - start]

    def part(self, name: str, entry: Entry, start: int, nbytes: int) -> bytes:
        """Return a part of a chunk's payload, without reading the rest of it.

        Parameters
        ----------
        name
            Of the chunk.
        entry
            Its place, as `ChunkIndex.find` gives it.
        start, nbytes
            Which bytes of the payload.

        Raises
        ------
        CorruptChunk
            At the offset is another chunk or none; or the payload ends before that.
        """
        head_nbytes = HEADER_NBYTES + len(name)
        if start + nbytes <= _MIN_GAP_NBYTES:  # header and part in one read
            head_nbytes += _NAME_SLACK + start + nbytes
        self.fetch([(entry.offset, entry.offset + head_nbytes)])
        header = self._header(name, entry)
        if start + nbytes > header.data_nbytes:
            raise self._error(
                f"holds {header.data_nbytes} bytes, not {start + nbytes}", name, entry
            )
        return self.read(header.data_offset + start, nbytes)

    def _fetch_of(
        self, ranges: list[tuple[int, int]], entries: Mapping[str, Entry]
    ) -> None:
        """Fetch ranges; have a failure name the first of the chunks that it is about."""
        try:
            self.fetch(ranges)
        except RemoteError as error:
            at = error.offset
            if error.chunk is not None or at is None:
                raise
            behind = [n for n, entry in entries.items() if entry.offset >= at]
            name = min(behind, key=lambda n: entries[n].offset, default=None)
            raise error.located(chunk=name) from error.__cause__

    def _header(self, name: str, entry: Entry) -> ChunkHeader:
        """Return the header of a chunk, which must have this name."""
        size = self.source.size
        nbytes = max(min(HEADER_NBYTES + len(name), size - entry.offset), 0)
        try:
            header = parse_header(self.read(entry.offset, nbytes), entry.offset, size)
        except CorruptChunk as error:
            raise self._error(error.reason, name, entry) from error
        if header.name != name:
            raise self._error(f"chunk {header.name} is there instead", name, entry)
        return header

    def _error(self, reason: str, name: str, entry: Entry) -> CorruptChunk:
        place = {"path": self.source.name, "chunk": name}
        return CorruptChunk(reason, offset=entry.offset, **place)

    def _held_until(self, offset: int) -> int:
        """Return the end of the region that holds `offset`, or `offset`."""
        i = bisect_right(self._starts, offset) - 1
        return max(offset, self._starts[i] + len(self._data[i])) if i >= 0 else offset

    def _held_from(self, end: int) -> int:
        """Return the start of the region that holds the byte before `end`, or `end`."""
        i = bisect_right(self._starts, end - 1) - 1
        if i >= 0 and end <= self._starts[i] + len(self._data[i]):
            return self._starts[i]
        return end

    def _hold(self, start: int, data: bytes) -> None:
        """Insert a region; held ones are inside it, touch it or are apart from it."""
        end = start + len(data)
        first = bisect_right(self._starts, start)
        if first and self._starts[first - 1] + len(self._data[first - 1]) == start:
            first -= 1
            start = self._starts[first]
            data = self._data[first] + data
        last = bisect_right(self._starts, end)
        if last > first and self._starts[last - 1] == end:
            data += self._data[last - 1]
        self._starts[first:last] = [start]
        self._data[first:last] = [data]


def read_payload(source: ByteSource, name: str, entry: Entry) -> bytes:
    """Return the payload of one chunk, checked against its own header.

    Parameters
    ----------
    source
        The open file.
    name, entry
        Of the chunk.

    Raises
    ------
    CorruptChunk
        If it is not there, or of another size than listed.
    """
    return RegionCache(source).chunks({name: entry})[name]


def check_entries(
    source: ByteSource | RegionCache, entries: Mapping[str, Entry]
) -> list[str]:
    """Return the names whose chunk is not where its entry says, in file order.

    Reads the headers only; neighbouring ones in one read. Memory is bounded whatever
    the number of entries.

    Parameters
    ----------
    source
        The open file, or a cache over it from which reads are served if possible.
    entries
        Name -> place. Magic, name and, where listed, size are compared.
    """
    if isinstance(source, RegionCache):
        source.fetch(
            (entry.offset, entry.offset + HEADER_NBYTES + len(name))
            for name, entry in entries.items()
        )
        read, source, gap = source.read, source.source, 0
    else:
        read, gap = source.read_at, source.gap_nbytes + ALIGNMENT
    wrong = []
    for window in _windows(entries, gap):
        start = window[0][1].offset
        end = max(entry.offset + HEADER_NBYTES + len(name) for name, entry in window)
        end = min(end, source.size)
        data = memoryview(read(start, end - start)) if start < end else memoryview(b"")
        for name, entry in window:
            at = entry.offset - start
            header_data = data[at : at + HEADER_NBYTES + len(name)]
            try:
                header = parse_header(header_data, entry.offset, source.size)
            except CorruptChunk:
                wrong.append(name)
                continue
            if header.name != name or entry.nbytes not in {None, header.data_nbytes}:
                wrong.append(name)
    return wrong


def _windows(
    entries: Mapping[str, Entry], gap_nbytes: int
) -> Iterator[list[tuple[str, Entry]]]:
    """Group entries, by offset, into stretches that are worth one read each."""
    window: list[tuple[str, Entry]] = []
    for name, entry in sorted(entries.items(), key=lambda item: item[1].offset):
        if window and (
            entry.offset - window[-1][1].offset > gap_nbytes
            or entry.offset - window[0][1].offset > _WINDOW_NBYTES
        ):
            yield window
            window = []
        window.append((name, entry))
    if window:
        yield window


def _merged(ranges: list[tuple[int, int]], gap: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges, ascending, joined where at most `gap` bytes part them."""
    if not ranges:
        return
    ranges.sort()
    start, end = ranges[0]
    for next_start, next_end in ranges[1:]:
        if next_start - end > gap:
            yield start, end
            start, end = next_start, next_end
        else:
            end = max(end, next_end)
    yield start, end
