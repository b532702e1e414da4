"""`FrameReader`: carries out planned reads, checks chunk headers, fills the output.

The header of each frame is compared with what the map promised (`headers`) the first
time the frame is touched: within the same read where the header lies close by, which
for whole frames is free.
"""

from __future__ import annotations

import struct
import threading
import weakref
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.errors import (
    CorruptChunk,
    RemoteError,
    StaleFile,
    UnsupportedFeature,
)
from limnd2_xr.frames.frame_cache import CACHE
from limnd2_xr.frames.headers import HEADER_PROBE_NBYTES, FrameHeaders
from limnd2_xr.frames.pixels import copy_pixels, inflate_rows, rows_view
from limnd2_xr.frames.planner import (
    RowRun,
    fold,
    group_reads,
    row_runs,
    shares,
    takes_all,
)
from limnd2_xr.frames.read_groups import (
    NO_RUN,
    ReadGroup,
    column_span,
    cut_run,
    even_parts,
    packed_run,
    shifted,
    wanted_nbytes,
)
from limnd2_xr.frames.table import TIME_NBYTES
from limnd2_xr.frames.threads import run_all
from limnd2_xr.options import get_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.frames.frame_cache import SharedFrame
    from limnd2_xr.frames.planner import RowRun
    from limnd2_xr.frames.read_groups import FrameSelection
    from limnd2_xr.frames.table import FrameTable

__all__ = ["FrameReader"]

READ_LIMIT_NBYTES = 8 * 2**20
"""Merged reads grow no larger, so that threads share the work and staging stays small."""
COPY_LIMIT_NBYTES = 128 * 2**20
"""What is copied out of memory is shared out in pieces that grow no larger."""
PACKED_LIMIT_NBYTES = 2**20
"""The same for compressed frames, whose work is in the inflating."""
DIRECT_NBYTES = 32 * 2**10
"""From this size on a contiguous frame is read straight into the output."""
THREADED_NBYTES = 4 * 2**20
"""Smaller reads are done before threads have shared the work out."""
PACKED_THREADED_NBYTES = 2**16
"""The same for compressed frames."""
CHEAP_NBYTES = 2**16
"""So much may be read needlessly to save a request, however little is wanted."""
KEPT_STAGING_NBYTES = 64 * 2**20
"""Each thread keeps a staging buffer of up to this size."""

_kept = threading.local()
"""The staging buffer of each thread, for all open files."""


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
        self._headers = FrameHeaders(source, table, times_ms)

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
        if layout.compression == "zlib":
            self._read_all_packed(out, rows[targets], targets, selection)
        else:
            groups = self._plan_plain(rows[targets], targets, selection)
            # Of what is seen as memory only the pixels wanted are touched.
            moved = out.nbytes if self._is_memory else wanted_nbytes(groups)
            self.carry_out(
                groups,
                lambda group: self._read_plain(out, group, selection),
                threaded=moved >= THREADED_NBYTES,
            )

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
        groups = self._groups(
            rows[targets], targets, nbytes, NO_RUN, READ_LIMIT_NBYTES, -TIME_NBYTES
        )

        def read(group: ReadGroup) -> None:
            base, staged = self.stage(group)
            self._headers.check(group.rows, base, staged)
            if self._moved(group).any():
                # What was read is not what their headers, known by now, ask for.
                for row, target in zip(group.rows, group.targets, strict=True):
                    at = int(self._headers.pixel_offsets[row]) - TIME_NBYTES
                    stored = self.source.read_at(at, TIME_NBYTES)
                    (times[target],) = struct.unpack("<d", stored)
                return
            for target, start in zip(group.targets, group.starts - base, strict=True):
                times[target] = np.frombuffer(staged, "<f8", 1, start)[0]

        self.carry_out(groups, read)
        return times

    # -- planning

    def _plan_plain(
        self,
        rows: NDArray[np.int64],
        targets: NDArray[np.int64],
        selection: FrameSelection,
    ) -> list[ReadGroup]:
        layout, gap_nbytes = self.table.layout, self.source.gap_nbytes
        runs = row_runs(selection.rows, layout, gap_nbytes)
        whole = len(runs) == 1 and runs[0].stop - runs[0].first == layout.height
        if not whole and layout.frame_nbytes > gap_nbytes:
            # Of a large frame the rows wanted are read and nothing else: not what lies
            # between them and the header.
            self.learn_headers(rows)
        if not self._is_memory and not self._may_be_direct(selection):
            # What is copied out of buffers does not have to be in one.
            lines = max(1, READ_LIMIT_NBYTES // layout.row_nbytes)
            runs = [piece for run in runs for piece in cut_run(run, lines)]
        first, columns = column_span(selection.columns)
        groups: list[ReadGroup] = []
        for run in runs:
            offset = run.first * layout.row_nbytes + first * layout.pixel_nbytes
            # What lies left and right of the columns wanted is not read at the ends.
            nbytes = (run.stop - run.first - 1) * layout.row_nbytes
            nbytes += columns * layout.pixel_nbytes
            sizes = np.full(len(rows), nbytes, dtype=np.int64)
            limit = self._limit_nbytes(nbytes * len(rows))
            groups += self._groups(rows, targets, sizes, run, limit, offset)
        return groups

    def _limit_nbytes(self, wanted_nbytes: int) -> int:
        """How many bytes of plain frames one thread takes at a time."""
        if not self._is_memory:
            return READ_LIMIT_NBYTES
        # Threads that fill memory far apart get in each other's way least.
        share = wanted_nbytes // (2 * get_threads())
        return min(max(share, READ_LIMIT_NBYTES), COPY_LIMIT_NBYTES)

    def _plan_packed(
        self,
        rows: NDArray[np.int64],
        targets: NDArray[np.int64],
        selection: FrameSelection,
    ) -> list[ReadGroup]:
        self.learn_headers(rows[self._headers.nbytes[rows] < 0])
        run = packed_run(selection.rows)
        return self._groups(
            rows, targets, self._headers.nbytes[rows], run, PACKED_LIMIT_NBYTES
        )

    def plan_parts(
        self,
        rows: NDArray[np.int64],
        targets: NDArray[np.int64],
        nbytes: NDArray[np.int64],
        offsets: NDArray[np.int64],
    ) -> list[ReadGroup]:
        """Return how to read parts of uncompressed frames whose headers are known.

        Parameters
        ----------
        rows
            Of the frame table; may repeat.
        targets
            Where each part goes.
        nbytes
            Size of each part.
        offsets
            Where in the pixels of its frame each part begins.
        """
        return self._groups(rows, targets, nbytes, NO_RUN, READ_LIMIT_NBYTES, offsets)

    def _groups(
        self,
        rows: NDArray[np.int64],
        targets: NDArray[np.int64],
        nbytes: NDArray[np.int64],
        run: RowRun,
        limit_nbytes: int,
        offset: int | NDArray[np.int64] = 0,
    ) -> list[ReadGroup]:
        pixels = self._headers.pixel_offsets[rows]
        starts = pixels + offset
        order = np.argsort(starts, kind="stable")
        whole = ReadGroup(rows, targets, starts, nbytes, pixels, run).subset(order)
        if self._is_memory:
            # Nothing is read, so nothing is gained by keeping neighbours together.
            grouped = shares(nbytes, limit_nbytes=limit_nbytes)
        else:
            # Of what lies between frames no more is read than of the frames themselves.
            worth = max(CHEAP_NBYTES, int(nbytes.max(initial=0)))
            grouped = group_reads(
                self._begin(whole),
                whole.starts + whole.nbytes,
                gap_nbytes=min(self.source.gap_nbytes, worth),
                limit_nbytes=limit_nbytes,
            )
        return [whole.subset(slice(begin, end)) for begin, end in grouped]

    def _begin(self, group: ReadGroup) -> NDArray[np.int64]:
        """First byte to read of each frame: its header where that is still to be checked."""
        offsets = self.table.chunk_offsets[group.rows]
        return np.where(self._headers.checked[group.rows], group.starts, offsets)

    # -- headers

    def learn_headers(self, rows: NDArray[np.int64]) -> None:
        """Check the headers of frames that are not checked yet, by reads of their own."""
        rows = np.unique(rows[~self._headers.checked[rows]])
        if not len(rows):
            return
        starts = self.table.chunk_offsets[rows]
        nbytes = np.minimum(HEADER_PROBE_NBYTES, self.source.size - starts)
        probe = ReadGroup(rows, rows, starts, nbytes, starts, NO_RUN)
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
            self._headers.check(group.rows, base, staged)

        self.carry_out(groups, read)

    # -- reading

    @cached_property
    def _is_memory(self) -> bool:
        """Whether the file is seen as memory rather than read into buffers."""
        return self.source.memory() is not None

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
            elif self._headers.checked[row] or group.run is NO_RUN:
                raise self._headers.corrupt(row, error.reason) from error
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
        begin, stops = self._begin(group), group.starts + group.nbytes
        memory = self.source.memory() if self._is_memory else None
        if memory is not None:
            self._announce(begin, stops)
            return 0, memory
        base = int(begin.min())
        staged = self._staging(int(stops.max()) - base)
        self.source.read_into(base, [staged])
        return base, staged

    def _announce(self, begin: NDArray[np.int64], stops: NDArray[np.int64]) -> None:
        """Say which bytes of the file's memory are used, after a look at their bounds."""
        if int(stops.max()) > self.source.size:
            raise CorruptChunk("the file ends before the frame does")
        for first, last in group_reads(
            begin,
            stops,
            gap_nbytes=self.source.gap_nbytes,
            limit_nbytes=READ_LIMIT_NBYTES,
        ):
            offset = int(begin[first])
            self.source.announce(offset, int(stops[first:last].max()) - offset)

    def _staging(self, nbytes: int) -> memoryview:
        if nbytes > KEPT_STAGING_NBYTES:
            return np.empty(nbytes, dtype=np.uint8).data
        kept: NDArray[np.uint8] | None = getattr(_kept, "staging", None)
        if kept is None or len(kept) < nbytes:
            kept = _kept.staging = np.empty(nbytes, dtype=np.uint8)
        return kept[:nbytes].data

    def _moved(self, group: ReadGroup) -> NDArray[np.bool_]:
        """Frames whose header, read since the plan was made, tells otherwise than it."""
        moved: NDArray[np.bool_] = (
            self._headers.pixel_offsets[group.rows] != group.pixels
        )
        if self.table.layout.compression == "zlib":
            moved |= self._headers.nbytes[group.rows] != group.nbytes
        return moved

    def _without_moved(
        self,
        out: NDArray[Any],
        group: ReadGroup,
        selection: FrameSelection,
        shared: dict[int, SharedFrame] | None = None,
    ) -> ReadGroup:
        """Read the moved frames of a group where they really are; return the others."""
        moved = self._moved(group)
        if not moved.any():
            return group
        again = group.subset(moved)
        if self.table.layout.compression == "zlib":
            for repeat in self._plan_packed(again.rows, again.targets, selection):
                self._read_packed(out, repeat, selection, shared or {})
        else:
            for repeat in self._plan_plain(again.rows, again.targets, selection):
                if repeat.run.first == group.run.first:
                    self._read_plain(out, repeat, selection)
        return group.subset(~moved)

    def _read_all_packed(
        self,
        out: NDArray[Any],
        rows: NDArray[np.int64],
        targets: NDArray[np.int64],
        selection: FrameSelection,
    ) -> None:
        shared = self._shared(rows, selection)
        known = [row in shared and shared[row].is_begun for row in rows.tolist()]
        begun = np.array(known, dtype=bool)
        groups = self._plan_packed(rows[~begun], targets[~begun], selection)
        self.carry_out(
            groups,
            lambda group: self._read_packed(out, group, selection, shared),
            threaded=wanted_nbytes(groups) >= PACKED_THREADED_NBYTES,
        )
        held = zip(rows[begun].tolist(), targets[begun].tolist(), strict=True)
        run = packed_run(selection.rows)
        run_all(lambda one: self._put_rows(out, *one, run, selection, shared), [*held])
        if shared:
            CACHE.forget_old()

    def _shared(
        self, rows: NDArray[np.int64], selection: FrameSelection
    ) -> dict[int, SharedFrame]:
        """Frames to be kept for others who want other parts; none if they want all."""
        layout = self.table.layout
        if selection.is_whole(layout):
            return {}
        numbers = np.unique(rows)
        # More than can be kept would be forgotten before it is asked for again.
        if len(numbers) * layout.frame_nbytes > CACHE.limit_nbytes:
            return {}
        return CACHE.frames(self._owner, numbers.tolist())

    @cached_property
    def _owner(self) -> object:
        """By which the frames of this open file are known, for as long as it is there."""
        owner = object()
        weakref.finalize(self, CACHE.forget, owner).atexit = False
        return owner

    def forget(self) -> None:
        """Forget what was kept of frames for others."""
        if "_owner" in self.__dict__:
            CACHE.forget(self._owner)

    def _put_rows(
        self,
        out: NDArray[Any],
        row: int,
        target: int,
        run: RowRun,
        selection: FrameSelection,
        shared: dict[int, SharedFrame],
        packed: memoryview | None = None,
    ) -> None:
        """Inflate a frame as far as needed, and copy what is wanted of it."""
        layout = self.table.layout
        try:
            if row in shared:
                rows = shared[row].rows(run.stop, layout, packed)
            else:
                rows = inflate_rows(packed or b"", layout, run.stop)
        except CorruptChunk as error:
            raise self._headers.corrupt(row, error.reason) from error
        copy_pixels(
            out,
            rows_view(rows, layout, offset=0, shape=(1, run.stop, layout.width)),
            target=(slice(target, target + 1, 1), run.target),
            source=(run.source, selection.columns),
            channels=selection.channels,
            samples=selection.samples,
        )

    def _read_packed(
        self,
        out: NDArray[Any],
        group: ReadGroup,
        selection: FrameSelection,
        shared: dict[int, SharedFrame],
    ) -> None:
        group = self._without_moved(out, group, selection, shared)
        if not len(group.rows):
            return
        base, staged = self.stage(group)
        self._headers.check(group.rows, base, staged)
        for i in np.flatnonzero(~self._moved(group)).tolist():
            start = int(group.starts[i]) - base
            packed = staged[start : start + int(group.nbytes[i])]
            row, target = int(group.rows[i]), int(group.targets[i])
            self._put_rows(out, row, target, group.run, selection, shared, packed)
        self._without_moved(out, group, selection, shared)

    def _read_plain(
        self, out: NDArray[Any], group: ReadGroup, selection: FrameSelection
    ) -> None:
        group = self._without_moved(out, group, selection)
        if not len(group.rows):
            return
        if not self._is_memory and self._is_direct(group, selection):
            self._read_direct(out, group, selection)
            return
        base, staged = self.stage(group)
        self._headers.check(group.rows, base, staged)
        moved, run = self._moved(group), group.run
        first, columns = column_span(selection.columns)
        for part in even_parts(group.subset(~moved)):
            stored = rows_view(
                staged,
                self.table.layout,
                offset=int(part.starts[0]) - base,
                shape=(len(part.rows), run.stop - run.first, columns),
                stride=int(part.starts[1] - part.starts[0])
                if len(part.starts) > 1
                else 0,
            )
            copy_pixels(
                out,
                stored,
                target=(fold(part.targets), run.target),
                source=(run.source, shifted(selection.columns, first)),
                channels=selection.channels,
                samples=selection.samples,
            )
        self._without_moved(out, group, selection)

    def _is_direct(self, group: ReadGroup, selection: FrameSelection) -> bool:
        """Say whether the bytes wanted of each frame are the output's, in their order."""
        run, stops = group.run, group.starts + group.nbytes
        return (
            self._may_be_direct(selection)
            and takes_all(run.source, run.stop - run.first)
            and isinstance(run.target, slice)
            and run.target.step == 1
            and int(group.nbytes[0]) >= DIRECT_NBYTES
            and bool((self._begin(group)[1:] >= stops[:-1]).all())
        )

    def _may_be_direct(self, selection: FrameSelection) -> bool:
        """Say whether rows as stored are rows of the output."""
        layout = self.table.layout
        return (
            layout.components == 1
            and layout.row_nbytes == layout.width * layout.pixel_nbytes
            and takes_all(selection.columns, layout.width)
            and takes_all(selection.channels, 1)
        )

    def _read_direct(
        self, out: NDArray[Any], group: ReadGroup, selection: FrameSelection
    ) -> None:
        """Scatter one read over the output; what lies between frames is put aside."""
        begin, stops = self._begin(group), group.starts + group.nbytes
        base = int(begin[0])
        gaps = group.starts - np.concatenate(([base], stops[:-1]))
        ends = np.cumsum(gaps)
        between = self._staging(int(ends[-1]))
        buffers: list[memoryview] = []
        for gap, end, target in zip(gaps, ends, group.targets.tolist(), strict=True):
            if gap:
                buffers.append(between[end - gap : end])
            buffers.append(out[target, 0, group.run.target].view(np.uint8).data)
        self.source.read_into(base, buffers)
        for i in np.flatnonzero(~self._headers.checked[group.rows]).tolist():
            # The header lies in the gap before the frame's pixels.
            before = between[ends[i] - gaps[i] : ends[i]]
            self._headers.check(
                group.rows[i : i + 1], int(group.starts[i] - gaps[i]), before
            )
        self._without_moved(out, group, selection)
