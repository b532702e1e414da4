"""Pixels of uncompressed frames: the rows that are wanted, and their columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.frames.pixels import copy_pixels, rows_view
from limnd2_xr.frames.planner import fold, row_runs, takes_all
from limnd2_xr.frames.read_groups import (
    column_span,
    cut_run,
    even_parts,
    shifted,
    wanted_nbytes,
)
from limnd2_xr.frames.staged_reads import MAPPED_NBYTES, READ_LIMIT_NBYTES
from limnd2_xr.options import get_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.frames.read_groups import FrameSelection, ReadGroup
    from limnd2_xr.frames.staged_reads import StagedReads

__all__ = ["PlainFrames"]

COPY_LIMIT_NBYTES = 256 * 2**20
"""What is copied out of memory is shared out in pieces that grow no larger."""
DIRECT_NBYTES = 32 * 2**10
"""From this size on a contiguous frame is read straight into the output."""
THREADED_NBYTES = 4 * 2**20
"""Smaller reads are done before threads have shared the work out."""


class PlainFrames:
    """Reads uncompressed frames; safe to use from several threads.

    Parameters
    ----------
    reads
        Of the file.
    """

    def __init__(self, reads: StagedReads) -> None:
        self._reads = reads

    def read_into(
        self,
        out: NDArray[Any],
        rows: NDArray[np.int64],
        targets: NDArray[np.int64],
        selection: FrameSelection,
    ) -> None:
        """Fill `out` with the pixels selected of frames that the file has.

        Parameters
        ----------
        out
            C-contiguous, of shape (frames, C, Y, X) and, for RGB, S, all as selected.
        rows
            Of the frame table; may repeat.
        targets
            Where in `out` each frame goes.
        selection
            What of each frame is wanted.
        """
        mapped = self._reads.is_memory
        groups = self._plan(rows, targets, selection, mapped)
        if (
            mapped
            and wanted_nbytes(groups) >= MAPPED_NBYTES
            and all(self._is_direct(group, selection) for group in groups)
            and not self._reads.may_stay(groups)
        ):
            mapped = False
            groups = self._plan(rows, targets, selection, mapped)
        # Of what is seen as memory only the pixels wanted are touched.
        moved = out.nbytes if mapped else wanted_nbytes(groups)
        self._reads.carry_out(
            groups,
            lambda group: self._read(out, group, selection),
            threaded=moved >= THREADED_NBYTES,
        )

    def _plan(
        self,
        rows: NDArray[np.int64],
        targets: NDArray[np.int64],
        selection: FrameSelection,
        mapped: bool,
    ) -> list[ReadGroup]:
        layout, gap_nbytes = self._reads.table.layout, self._reads.source.gap_nbytes
        runs = row_runs(selection.rows, layout, gap_nbytes)
        whole = len(runs) == 1 and runs[0].stop - runs[0].first == layout.height
        if not whole and layout.frame_nbytes > gap_nbytes:
            # Of a large frame the rows wanted are read and nothing else: not what lies
            # between them and the header.
            self._reads.learn_headers(rows)
        if not mapped and not self._may_be_direct(selection):
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
            limit = READ_LIMIT_NBYTES
            if mapped:
                # Threads that fill memory far apart get in each other's way least.
                share = nbytes * len(rows) // (2 * get_threads())
                limit = min(max(share, READ_LIMIT_NBYTES), COPY_LIMIT_NBYTES)
            groups += self._reads.groups(
                rows, targets, sizes, run, limit, offset, mapped
            )
        return groups

    def _read(
        self, out: NDArray[Any], group: ReadGroup, selection: FrameSelection
    ) -> None:
        group = self._without_moved(out, group, selection)
        if not len(group.rows):
            return
        if not group.mapped and self._is_direct(group, selection):
            self._read_direct(out, group, selection)
            return
        base, staged = self._reads.stage(group)
        self._reads.headers.check(group.rows, base, staged)
        moved, run = self._reads.moved(group), group.run
        first, columns = column_span(selection.columns)
        for part in even_parts(group.subset(~moved)):
            stored = rows_view(
                staged,
                self._reads.table.layout,
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
            and bool((self._reads.begin(group)[1:] >= stops[:-1]).all())
        )

    def _may_be_direct(self, selection: FrameSelection) -> bool:
        """Say whether rows as stored are rows of the output."""
        layout = self._reads.table.layout
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
        begin, stops = self._reads.begin(group), group.starts + group.nbytes
        base = int(begin[0])
        gaps = group.starts - np.concatenate(([base], stops[:-1]))
        ends = np.cumsum(gaps)
        between = self._reads.staging(int(ends[-1]))
        buffers: list[memoryview] = []
        for gap, end, target in zip(gaps, ends, group.targets.tolist(), strict=True):
            if gap:
                buffers.append(between[end - gap : end])
            buffers.append(out[target, 0, group.run.target].view(np.uint8).data)
        self._reads.source.read_into(base, buffers)
        for i in np.flatnonzero(~self._reads.headers.checked[group.rows]).tolist():
            # The header lies in the gap before the frame's pixels.
            before = between[ends[i] - gaps[i] : ends[i]]
            self._reads.headers.check(
                group.rows[i : i + 1], int(group.starts[i] - gaps[i]), before
            )
        self._without_moved(out, group, selection)

    def _without_moved(
        self, out: NDArray[Any], group: ReadGroup, selection: FrameSelection
    ) -> ReadGroup:
        """Read the moved frames of a group where they really are; return the others."""
        moved = self._reads.moved(group)
        if not moved.any():
            return group
        again = group.subset(moved)
        for repeat in self._plan(again.rows, again.targets, selection, group.mapped):
            if repeat.run.first == group.run.first:
                self._read(out, repeat, selection)
        return group.subset(~moved)
