"""`FrameReader`: pixels and times of the frames of an open file, stored plain or packed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.errors import UnsupportedFeature
from limnd2_xr.frames.packed_frames import PackedFrames
from limnd2_xr.frames.plain_frames import PlainFrames
from limnd2_xr.frames.staged_reads import StagedReads
from limnd2_xr.frames.table import TIME_NBYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.frames.read_groups import FrameSelection, ReadGroup
    from limnd2_xr.frames.table import FrameTable

__all__ = ["FrameReader"]


class FrameReader:
    """Reads frames of one open source into arrays; safe to use from several threads.

    Parameters
    ----------
    source
        Open for as long as the reader is used.
    table
        Where the frames are.
    times_ms
        Time of each frame as recorded apart from the frames, where the file has that.
    """

    def __init__(
        self,
        source: ByteSource,
        table: FrameTable,
        *,
        times_ms: NDArray[np.float64] | None = None,
    ) -> None:
        self.source = source
        self.table = table
        self.reads = StagedReads(source, table, times_ms)
        """For those who want other pieces of frames."""
        self._plain = PlainFrames(self.reads)
        self._packed = PackedFrames(self.reads)

    def read_into(self, out: NDArray[Any], selection: FrameSelection) -> None:
        """Fill `out` with the pixels selected.

        Parameters
        ----------
        out
            C-contiguous, of shape (frames, C, Y, X) and, for RGB, S, all as selected.
        selection
            What to read.

        Raises
        ------
        CorruptChunk
            If a frame is damaged or not where the map says.
        UnsupportedFeature
            If the frames are compressed in a way that cannot be decoded.
        """
        layout = self.table.layout
        if layout.compression == "unsupported":
            raise UnsupportedFeature(
                "lossy compressed frames cannot be decoded (FORMAT 6.4); metadata can be read",
                path=self.source.name,
            )
        rows = self.table.rows(selection.sequence)
        if out.size == 0:
            return
        present = rows >= 0
        if not present.all():
            out[~present] = 0
        targets = np.flatnonzero(present)
        frames = self._packed if layout.compression == "zlib" else self._plain
        frames.read_into(out, rows[targets], targets, selection)

    def read_times(self, sequence: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the times stored with the frames themselves (FORMAT 1.4).

        Parameters
        ----------
        sequence
            Sequence numbers, one-dimensional.

        Returns
        -------
        ndarray of float64
            Milliseconds since the start of the acquisition, as stored; NaN for frames
            that the file lacks.
        """
        rows = self.table.rows(sequence)
        times = np.full(len(sequence), np.nan)
        targets = np.flatnonzero(rows >= 0)
        nbytes = np.full(len(targets), TIME_NBYTES, dtype=np.int64)
        before = np.full(len(targets), -TIME_NBYTES, dtype=np.int64)
        groups = self.reads.parts(rows[targets], targets, nbytes, before)

        def read(group: ReadGroup) -> None:
            base, staged = self.reads.stage(group)
            self.reads.headers.check(group.rows, base, staged)
            if self.reads.moved(group).any():
                # What was read is not what their headers, known by now, ask for.
                for row, target in zip(group.rows, group.targets, strict=True):
                    at = int(self.reads.headers.pixel_offsets[row]) - TIME_NBYTES
                    stored = self.source.read_at(at, TIME_NBYTES)
                    (times[target],) = struct.unpack("<d", stored)
                return
            for target, start in zip(group.targets, group.starts - base, strict=True):
                times[target] = np.frombuffer(staged, "<f8", 1, start)[0]

        self.reads.carry_out(groups, read)
        return times

    def forget(self) -> None:
        """Forget what was kept of frames for others."""
        self._packed.forget()
