"""Reads of many pieces of frames: neighbours together, on threads, headers checked.

The header of each frame is compared with what the map promised (`headers`) the first
time the frame is touched: within the same read where the header lies close by, which
for whole frames is free.
"""

from __future__ import annotations

import mmap
import threading
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from limnd2_xr.errors import CorruptChunk, RemoteError, StaleFile
from limnd2_xr.frames.headers import HEADER_PROBE_NBYTES, FrameHeaders
from limnd2_xr.frames.new_memory import new_array
from limnd2_xr.frames.planner import group_reads, shares
from limnd2_xr.frames.read_groups import NO_RUN, ReadGroup, wanted_nbytes
from limnd2_xr.frames.threads import run_all
from limnd2_xr.options import get_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.frames.planner import RowRun
    from limnd2_xr.frames.table import FrameTable

__all__ = ["StagedReads"]

READ_LIMIT_NBYTES = 8 * 2**20
"""Merged reads grow no larger, so that threads share the work and staging stays small."""
CHEAP_NBYTES = 2**16
"""So much may be read needlessly to save a request, however little is wanted."""
KEPT_STAGING_NBYTES = 64 * 2**20
"""Each thread keeps a staging buffer of up to this size."""
MAPPED_NBYTES = 2**20
"""So much is read rather than looked at in memory where it would not stay."""

_kept = threading.local()
"""The staging buffer of each thread, for all open files."""


class StagedReads:
    """Plans and carries out reads of pieces of frames; safe to use from several threads.

    Parameters
    ----------
    source
        Open for as long as this is used.
    table
        Where the frames are.
    times_ms
        Time of each frame as recorded apart from the frames, where the file has that.
    """

    def __init__(
        self,
        source: ByteSource,
        table: FrameTable,
        times_ms: NDArray[np.float64] | None = None,
    ) -> None:
        self.source = source
        self.table = table
        self.headers = FrameHeaders(source, table, times_ms)
        """What the headers of frames told, of those that were read."""

    @cached_property
    def is_memory(self) -> bool:
        """Whether the file is seen as memory rather than read into buffers."""
        return self.source.memory() is not None

    def parts(
        self,
        rows: NDArray[np.int64],
        targets: NDArray[np.int64],
        nbytes: NDArray[np.int64],
        offsets: NDArray[np.int64],
    ) -> list[ReadGroup]:
        """Return how to read single pieces of frames, in few reads.

        Parameters
        ----------
        rows
            Of the frame table; may repeat.
        targets
            Where each piece goes.
        nbytes
            Size of each piece.
        offsets
            Where in the pixels of its frame each piece begins.
        """
        return self.groups(
            rows, targets, nbytes, NO_RUN, READ_LIMIT_NBYTES, offsets, self.is_memory
        )

    def groups(
        self,
        rows: NDArray[np.int64],
        targets: NDArray[np.int64],
        nbytes: NDArray[np.int64],
        run: RowRun,
        limit_nbytes: int,
        offset: int | NDArray[np.int64],
        mapped: bool,
    ) -> list[ReadGroup]:
        """Return how to read the same rows of frames, in few reads.

        Parameters
        ----------
        rows
            Of the frame table; may repeat.
        targets
            Where each piece goes.
        nbytes
            Size of each piece.
        run
            Rows of pixels that the pieces are.
        limit_nbytes
            A read of several pieces gets no larger.
        offset
            Where in the pixels of its frame a piece begins.
        mapped
            Look at the file's memory; see `is_memory` and `may_stay`.
        """
        pixels = self.headers.pixel_offsets[rows]
        starts = pixels + offset
        order = np.argsort(starts, kind="stable")
        whole = ReadGroup(rows, targets, starts, nbytes, pixels, run, mapped)
        whole = whole.subset(order)
        if mapped:
            # Nothing is read, so nothing is gained by keeping neighbours together.
            grouped = shares(nbytes, limit_nbytes=limit_nbytes)
        else:
            # Of what lies between frames no more is read than of the frames themselves.
            worth = max(CHEAP_NBYTES, int(nbytes.max(initial=0)))
            grouped = group_reads(
                self.begin(whole),
                whole.starts + whole.nbytes,
                gap_nbytes=min(self.source.gap_nbytes, worth),
                limit_nbytes=limit_nbytes,
            )
        return [whole.subset(slice(begin, end)) for begin, end in grouped]

    def begin(self, group: ReadGroup) -> NDArray[np.int64]:
        """First byte to read of each frame: its header where that is still to be checked."""
        offsets = self.table.chunk_offsets[group.rows]
        return np.where(self.headers.checked[group.rows], group.starts, offsets)

    def learn_headers(self, rows: NDArray[np.int64]) -> None:
        """Check the headers of frames that are not checked yet, by reads of their own."""
        rows = np.unique(rows[~self.headers.checked[rows]])
        if not len(rows):
            return
        starts = self.table.chunk_offsets[rows]
        nbytes = np.minimum(HEADER_PROBE_NBYTES, self.source.size - starts)
        # Not from memory: a page that is touched may bring two megabytes with it.
        probe = ReadGroup(rows, rows, starts, nbytes, starts, NO_RUN, mapped=False)
        probe = probe.subset(np.argsort(starts, kind="stable"))
        grouped = group_reads(
            probe.starts,
            probe.starts + probe.nbytes,
            gap_nbytes=self.source.gap_nbytes,
            limit_nbytes=READ_LIMIT_NBYTES,
        )
        groups = [probe.subset(slice(begin, end)) for begin, end in grouped]

        def read(group: ReadGroup) -> None:
            base, staged = self.stage(group)
            self.headers.check(group.rows, base, staged)

        self.carry_out(groups, read)

    def carry_out(
        self,
        groups: list[ReadGroup],
        read: Callable[[ReadGroup], None],
        *,
        threaded: bool = True,
    ) -> None:
        """Read all groups, where it is worth it on threads.

        Parameters
        ----------
        groups
            What to read.
        read
            Reads one group.
        threaded
            Whether there is enough to do for threads; those that wait for a server are
            always worth it.
        """
        # No function here may hold itself, as a recursive closure does: it would keep
        # the output alive until the garbage collector comes by.
        self.source.expect(_touched_nbytes(groups))
        if threaded or self.source.requests > 1:
            threads = max(get_threads(), self.source.requests)
            run_all(partial(self._attempt, read=read), groups, threads)
        else:
            for group in groups:
                self._attempt(group, read)

    def _attempt(self, group: ReadGroup, read: Callable[[ReadGroup], None]) -> None:
        """Read a group; have an error name the frame that it is about."""
        try:
            read(group)
        except CorruptChunk as error:
            if error.chunk is not None:
                raise
            row = int(group.rows[0])
            if len(group.rows) > 1:
                for i in range(len(group.rows)):
                    self._attempt(group.subset(slice(i, i + 1)), read)
            elif self.headers.checked[row] or group.run is NO_RUN:
                raise self.headers.corrupt(row, error.reason) from error
            else:
                self.learn_headers(group.rows)
                self._attempt(group, read)
        except (RemoteError, StaleFile) as error:
            if error.chunk is not None:
                raise
            name = self.table.chunk_name(int(group.rows[0]))
            raise error.located(chunk=name) from error.__cause__

    def stage(self, group: ReadGroup) -> tuple[int, memoryview]:
        """Read the bytes of a group; return the file offset of the first, and the bytes."""
        begin, stops = self.begin(group), group.starts + group.nbytes
        memory = self.source.memory() if group.mapped else None
        if memory is not None:
            if int(stops.max()) > self.source.size:
                raise CorruptChunk("the file ends before the frame does")
            for offset, nbytes in self._spans(begin, stops):
                self.source.announce(offset, nbytes)
            return 0, memory
        base = int(begin.min())
        staged = self.staging(int(stops.max()) - base)
        self.source.read_into(base, [staged])
        return base, staged

    def may_stay(self, groups: list[ReadGroup]) -> bool:
        """Say whether what groups look at in the file's memory may stay there."""
        self.source.expect(_touched_nbytes(groups))
        spans: list[tuple[int, int]] = []
        for group in groups:
            spans += self._spans(self.begin(group), group.starts + group.nbytes)
        return self.source.may_stay(spans)

    def _spans(
        self, begin: NDArray[np.int64], stops: NDArray[np.int64]
    ) -> Iterator[tuple[int, int]]:
        """Yield first byte and size of neighbours within the file's memory."""
        for first, last in group_reads(
            begin,
            stops,
            gap_nbytes=self.source.gap_nbytes,
            limit_nbytes=READ_LIMIT_NBYTES,
        ):
            offset = int(begin[first])
            yield offset, int(stops[first:last].max()) - offset

    def staging(self, nbytes: int) -> memoryview:
        """Return memory of any content, the calling thread's until it asks again."""
        if nbytes > KEPT_STAGING_NBYTES:
            return new_array((nbytes,), np.uint8).data
        kept: NDArray[np.uint8] | None = getattr(_kept, "staging", None)
        if kept is None or len(kept) < nbytes:
            kept = _kept.staging = new_array((nbytes,), np.uint8)
        return kept[:nbytes].data

    def moved(self, group: ReadGroup) -> NDArray[np.bool_]:
        """Frames whose header, read since the plan was made, tells otherwise than it."""
        moved: NDArray[np.bool_] = (
            self.headers.pixel_offsets[group.rows] != group.pixels
        )
        if self.table.layout.compression == "zlib":
            moved |= self.headers.nbytes[group.rows] != group.nbytes
        return moved


def _touched_nbytes(groups: list[ReadGroup]) -> int:
    """About how much of the file's memory is touched: whole pages, and those of headers."""
    mapped = [group for group in groups if group.mapped]
    pages = 2 * sum(len(group.rows) for group in mapped)
    return wanted_nbytes(mapped) + pages * mmap.PAGESIZE
