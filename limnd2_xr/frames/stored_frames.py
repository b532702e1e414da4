"""`StoredFrames`: the bytes of frames as they lie in the file, and where they are.

For those who decode frames themselves, such as readers of zarr. The header of each frame
is compared with the chunk map (`headers`) before its bytes are given away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from limnd2_xr.errors import CorruptChunk, UnsupportedFeature
from limnd2_xr.frames.headers import HEADER_PROBE_NBYTES, FrameHeaders
from limnd2_xr.frames.legacy_reader import CodestreamTable
from limnd2_xr.frames.table import UNKNOWN_NBYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.frames.table import FrameTable

    Spans: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]

__all__ = ["StoredFrames"]


class StoredFrames:
    """Stored bytes of the pixels of frames; safe to use from several threads.

    What lies before the pixels, header, name and time (FORMAT 1.2, 1.4), is no part of
    them. Bytes of uncompressed frames are rows with their padding, those of compressed
    ones a zlib stream.

    Parameters
    ----------
    source
        Open for as long as this is used.
    table
        Where the frames are.
    times_ms
        Time of each frame as recorded apart from the frames, where the file has that.

    Raises
    ------
    UnsupportedFeature
        If frames are stored in another way: format 1.0, lossy compression.
    """

    def __init__(
        self,
        source: ByteSource,
        table: FrameTable,
        times_ms: NDArray[np.float64] | None = None,
    ) -> None:
        if isinstance(table, CodestreamTable) or table.layout.compression not in {
            "none",
            "zlib",
        }:
            raise UnsupportedFeature(
                "its frames are stored neither plain nor as zlib streams",
                path=source.name,
            )
        self._source = source
        self._table = table
        self._headers = FrameHeaders(source, table, times_ms)

    def read(self, number: int) -> memoryview | bytes | None:
        """Return the stored bytes of one frame, by one read; None if it is missing.

        Where files are mapped nothing is copied: the view keeps the mapping alive.

        Parameters
        ----------
        number
            Sequence number.

        Raises
        ------
        CorruptChunk
            If the frame is not where the map says, or the file ends before it does.
        """
        row = self._row(number)
        if row is None:
            return None
        if not self._headers.checked[row] and self._headers.nbytes[row] < 0:
            self._learn(row)
        memory = self._source.memory()
        if memory is not None:
            return self._in_memory(memory, row)
        start, stop = self._span(row)
        begin = int(self._table.chunk_offsets[row])
        if self._headers.checked[row]:
            begin = start
        data = memoryview(self._source.read_at(begin, stop - begin))
        self._check(row, begin, data)
        if (start, stop) == self._span(row):
            return data[start - begin :]
        # Its header tells otherwise than the map.
        start, stop = self._span(row)
        return self._source.read_at(start, stop - start)

    def copy_to(self, number: int, fd: int, at: int) -> bool:
        """Have the system copy the stored bytes of one frame into another file.

        Parameters
        ----------
        number
            Sequence number.
        fd, at
            Descriptor of the other file, and where to write.

        Returns
        -------
        bool
            Whether it did: not if the frame is missing, or the system refuses.

        Raises
        ------
        CorruptChunk
            As `read`.
        """
        row = self._row(number)
        if row is None:
            return False
        self._learn(row)
        start, stop = self._span(row)
        return self._source.copy_to(fd, at, start, stop - start)

    def nbytes(self, number: int) -> int | None:
        """Return how many bytes `read` gives, None if the frame is missing."""
        row = self._row(number)
        if row is None:
            return None
        if self._headers.nbytes[row] == UNKNOWN_NBYTES:
            self._learn(row)
        start, stop = self._span(row)
        return stop - start

    def spans(self, *, check: bool) -> Spans:
        """Return where the bytes of each row of the frame table are.

        Parameters
        ----------
        check
            Read the header of every frame; else only of those whose size the chunk map
            lacks, and all others are where the headers seen when the file was opened
            let expect them.

        Returns
        -------
        offsets, nbytes : ndarray of int64

        Raises
        ------
        CorruptChunk
            If a header that is read is damaged.
        """
        rows = range(len(self._table.numbers))
        for row in rows:
            if check or self._headers.nbytes[row] == UNKNOWN_NBYTES:
                self._learn(row)
        spans = np.array([self._span(row) for row in rows], dtype=np.int64)
        starts, stops = spans.reshape(-1, 2).T
        over = np.flatnonzero(stops > self._source.size)
        if len(over):
            raise self._headers.corrupt(int(over[0]), "the file ends before it does")
        return starts, stops - starts

    def _row(self, number: int) -> int | None:
        row = int(self._table.rows(np.array([number], dtype=np.int64))[0])
        return None if row < 0 else row

    def _span(self, row: int) -> tuple[int, int]:
        """First byte of the pixels of a frame, and the one behind the last."""
        start, layout = int(self._headers.pixel_offsets[row]), self._table.layout
        if layout.compression == "none":
            return start, start + layout.frame_nbytes
        return start, start + int(self._headers.nbytes[row])

    def _in_memory(self, memory: memoryview, row: int) -> memoryview:
        self._check(row, 0, memory)
        start, stop = self._span(row)
        if stop > len(memory):
            raise self._headers.corrupt(row, "the file ends before the frame does")
        self._source.expect(stop - start)
        self._source.announce(start, stop - start)
        return memory[start:stop]

    def _learn(self, row: int) -> None:
        """Read the header of a frame, if that was not done before."""
        if self._headers.checked[row]:
            return
        offset = int(self._table.chunk_offsets[row])
        nbytes = min(HEADER_PROBE_NBYTES, self._source.size - offset)
        # Not from memory: a page that is touched may bring two megabytes with it.
        head = self._source.read_at(offset, max(nbytes, 0))
        self._check(row, offset, memoryview(head))

    def _check(self, row: int, base: int, staged: memoryview) -> None:
        if self._headers.checked[row]:
            return
        try:
            self._headers.check(np.array([row], dtype=np.int64), base, staged)
        except CorruptChunk as error:
            if error.chunk is not None:
                raise
            raise self._headers.corrupt(row, error.reason) from error
