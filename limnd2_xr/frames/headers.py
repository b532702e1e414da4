"""`FrameHeaders`: what the chunk headers of frames say, compared with the frame table.

A frame's pixels begin behind a chunk name whose padded length only the chunk's own
header tells (FORMAT 1.2, oddity 23), and the map's offset may be wrong.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from limnd2_xr.container.chunk_format import FILE_MAGIC, parse_header
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.table import TIME_NBYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.frames.table import FrameTable

__all__ = ["HEADER_PROBE_NBYTES", "FrameHeaders", "usual_head"]

HEADER_PROBE_NBYTES = 64
"""Enough of a chunk for its header and the name of any frame."""

_HEAD = struct.Struct("<4sIQ")


def usual_head(table: FrameTable, row: int) -> bytes:
    """Return what the chunk of a frame begins with, if it is as the table says.

    Parameters
    ----------
    table
        What the chunk map says.
    row
        Of the table.
    """
    name_nbytes = table.header_nbytes - _HEAD.size - TIME_NBYTES
    data_nbytes = max(int(table.nbytes[row]), 0) + TIME_NBYTES
    head = _HEAD.pack(FILE_MAGIC, name_nbytes, data_nbytes)
    return head + table.chunk_name(row).encode()


class FrameHeaders:
    """Where the pixels of each frame are, as far as the headers seen so far tell.

    Threads may check the same frame at once and write the same values twice, which is
    harmless: an offset is stored before the flag that lets others rely on it.

    Parameters
    ----------
    source
        To look at what lies before the pixels of a frame whose header is odd.
    table
        What the chunk map says.
    times_ms
        Time of each frame as recorded apart from the frames, where the file has that.
    """

    def __init__(
        self,
        source: ByteSource,
        table: FrameTable,
        times_ms: NDArray[np.float64] | None = None,
    ) -> None:
        self._source = source
        self._table = table
        self._times_ms = times_ms
        self.pixel_offsets = table.chunk_offsets + table.header_nbytes
        """File offset of the first pixel of each row of the table."""
        self.nbytes = table.nbytes.copy()
        """Stored bytes of the pixels of each row of the table."""
        self.checked = np.zeros(len(table.numbers), dtype=bool)
        """Which rows' headers were compared."""

    def check(self, rows: NDArray[np.int64], base: int, staged: memoryview) -> None:
        """Compare headers with the table, and believe the headers.

        Parameters
        ----------
        rows
            Of the table; those that were compared before are passed over.
        base, staged
            File offset of bytes that hold the headers, and the bytes.

        Raises
        ------
        CorruptChunk
            If a frame is not where the map says, or holds fewer bytes than a frame.
        """
        for row in rows[~self.checked[rows]].tolist():
            expected = usual_head(self._table, row)
            at = int(self._table.chunk_offsets[row]) - base
            if staged[at : at + len(expected)] != expected:
                self._relearn(row, staged[at : at + HEADER_PROBE_NBYTES])
            layout, stored = self._table.layout, int(self.nbytes[row])
            if layout.compression == "none" and stored < layout.frame_nbytes:
                raise self.corrupt(
                    row,
                    f"{stored} bytes of pixels are stored, not {layout.frame_nbytes}",
                )
            self.checked[row] = True

    def _relearn(self, row: int, head: memoryview) -> None:
        """Take offset and size of a frame from its header."""
        name, offset = self._table.chunk_name(row), int(self._table.chunk_offsets[row])
        try:
            header = parse_header(bytes(head), offset, self._source.size)
        except CorruptChunk as error:
            reason = f"the map places this frame here, but {error.reason}"
            raise self.corrupt(row, reason) from error
        if header.name != name:
            raise self.corrupt(
                row, f"the map places this frame here, but the chunk is {header.name}"
            )
        pixels = header.data_offset + TIME_NBYTES
        usual = offset + self._table.header_nbytes
        # A frame alone has no others to be unlike; that it may begin there has to do.
        alone = len(self._table.numbers) < 2
        if pixels != usual and not (
            self._may_begin(row, pixels) and (alone or not self._may_begin(row, usual))
        ):
            raise self.corrupt(
                row,
                f"the chunk claims a name of {header.name_nbytes} bytes, unlike those of "
                "other frames, and its pixels do not seem to begin behind that",
            )
        self.pixel_offsets[row] = pixels
        self.nbytes[row] = header.data_nbytes - TIME_NBYTES

    def _may_begin(self, row: int, pixels: int) -> bool:
        """Say whether the pixels of a frame can begin there, by what lies before them.

        That is the name, zeros, and the time of the frame, which is stored twice, bit
        for bit (FORMAT 1.3, 1.4). Where the second place is missing, any time that a
        clock can show will do.
        """
        offset = int(self._table.chunk_offsets[row])
        named = offset + _HEAD.size + len(self._table.chunk_name(row))
        if not named + TIME_NBYTES <= pixels <= self._source.size:
            return False
        before = self._source.read_at(named, pixels - named)
        (time,) = struct.unpack_from("<d", before, len(before) - TIME_NBYTES)
        if any(before[:-TIME_NBYTES]):
            return False
        number = int(self._table.numbers[row])
        if self._times_ms is not None and number < len(self._times_ms):
            return bool(time == self._times_ms[number])
        return time in {-1.0, 0.0} or 1e-6 < time < 1e12

    def corrupt(self, row: int, reason: str) -> CorruptChunk:
        """Return an error about the frame in a row of the table."""
        return CorruptChunk(
            reason,
            path=self._source.name,
            chunk=self._table.chunk_name(row),
            offset=int(self._table.chunk_offsets[row]),
        )
