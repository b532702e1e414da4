"""Reading the frames of a file of format 1.0: a codestream a channel and frame."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from limnd2_xr.container.jp2_boxes import CODESTREAM, MAX_HEADER_NBYTES, parse_box
from limnd2_xr.container.legacy_index import CODESTREAM_FAMILY
from limnd2_xr.errors import (
    CorruptChunk,
    RemoteError,
    StaleFile,
    UnsupportedFeature,
)
from limnd2_xr.frames.codestream import decode_codestream
from limnd2_xr.frames.planner import pick_array
from limnd2_xr.frames.table import FrameTable
from limnd2_xr.frames.threads import run_all
from limnd2_xr.options import get_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.frames.read_groups import FrameSelection

__all__ = ["CodestreamTable", "LegacyReader"]

_SLACK_NBYTES: Final = 2**16
"""A codestream has up to this many bytes more than twice what its pixels have."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CodestreamTable(FrameTable):
    """Where the codestreams of all frames are: one for each plane of a frame."""

    offsets: NDArray[np.int64] = field(repr=False)
    """File offset of each codestream's box, shape (frames in the file, planes)."""
    spans: NDArray[np.int64] = field(repr=False)
    """Bytes from each box to the next; the box itself may be shorter."""
    components: tuple[int, ...]
    """Components of each plane: 1, or 3 for RGB."""

    @cached_property
    def token(self) -> str:
        """Digest of everything in the table: equal tables have equal tokens."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr((self.layout, self.n_frames, self.components)).encode())
        for array in (self.numbers, self.offsets, self.spans):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def plane_name(self, row: int, plane: int) -> str:
        """Name of the box of one plane of a row of the table, for messages."""
        number = int(self.numbers[row]) * len(self.components) + plane
        return f"{CODESTREAM_FAMILY}|{number}!"


class _Place(NamedTuple):
    """Where one component of a plane goes in the output."""

    channel: int
    sample: int | None
    component: int


class _Job(NamedTuple):
    """One codestream to decode."""

    target: int
    row: int
    plane: int


class LegacyReader:
    """Reads frames of one open file of format 1.0; safe to use from several threads.

    Parameters
    ----------
    source
        Open for as long as the reader is used.
    table
        Where the codestreams are.
    """

    def __init__(self, source: ByteSource, table: CodestreamTable) -> None:
        self.source = source
        self.table = table

    def read_into(self, out: NDArray[Any], selection: FrameSelection) -> None:
        """Fill `out` with the pixels selected: codestreams that are not wanted are not read.

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
            If the decoder is not installed.
        """
        if out.size == 0:
            return
        rows = self.table.rows(selection.sequence)
        out[rows < 0] = 0
        places = self._places(selection)
        jobs = [
            _Job(target, int(rows[target]), plane)
            for target in np.flatnonzero(rows >= 0).tolist()
            for plane in sorted(places)
        ]

        def read(job: _Job) -> None:
            pixels = self._plane(job.row, job.plane)
            part = pixels[selection.rows][:, selection.columns]
            for channel, sample, component in places[job.plane]:
                target = out[job.target, channel]
                if sample is not None:
                    target = target[..., sample]
                target[...] = part[..., component]

        run_all(read, jobs, max(get_threads(), self.source.requests))

    def read_times(self, sequence: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the times stored with the images: there are none, so all are NaN."""
        return np.full(len(sequence), np.nan)

    def _places(self, selection: FrameSelection) -> dict[int, list[_Place]]:
        """Where each component of the planes wanted goes, by plane.

        Components count as in later formats: blue, green, red where a plane is RGB. A
        codestream has them the other way round.
        """
        flat = [
            (plane, count - 1 - k)
            for plane, count in enumerate(self.table.components)
            for k in range(count)
        ]
        n, places = self.table.layout.samples, dict[int, list[_Place]]()
        samples: list[tuple[int | None, int]] = [(None, 0)]
        if selection.samples is not None:
            wanted = pick_array(selection.samples).tolist()
            samples = [(i, n - 1 - sample) for i, sample in enumerate(wanted)]
        for i, channel in enumerate(pick_array(selection.channels).tolist()):
            for at, offset in samples:
                plane, component = flat[channel * n + offset]
                places.setdefault(plane, []).append(_Place(i, at, component))
        return places

    def _plane(self, row: int, plane: int) -> NDArray[Any]:
        """Pixels of one codestream, shape (rows, columns, components)."""
        table, layout = self.table, self.table.layout
        offset = int(table.offsets[row, plane])
        path, chunk = self.source.name, table.plane_name(row, plane)
        try:
            return decode_codestream(
                self._codestream(row, plane),
                shape=(layout.height, layout.width),
                components=table.components[plane],
                dtype=layout.dtype,
            )
        except UnsupportedFeature as error:
            raise error.located(path=self.source.name) from error.__cause__
        except CorruptChunk as error:
            raise CorruptChunk(
                error.reason, path=path, chunk=chunk, offset=offset
            ) from error
        except (RemoteError, StaleFile) as error:
            raise error.located(path=path, chunk=chunk) from error.__cause__

    def _codestream(self, row: int, plane: int) -> bytes:
        """Return the payload of one box, in one read where the boxes lie close."""
        table, layout, size = self.table, self.table.layout, self.source.size
        offset, span = int(table.offsets[row, plane]), int(table.spans[row, plane])
        pixels = layout.height * layout.width * layout.dtype.itemsize
        limit = 2 * pixels * table.components[plane] + _SLACK_NBYTES
        data = self.source.read_at(offset, max(min(span, limit, size - offset), 0))
        box = parse_box(data[:MAX_HEADER_NBYTES], offset, size)
        if box.type != CODESTREAM:
            raise CorruptChunk(f"a box of type {box.type!r} is there instead")
        if box.nbytes > limit:
            raise CorruptChunk(f"{box.nbytes} bytes for an image of {pixels} bytes")
        if box.end - offset > len(data):
            return self.source.read_at(box.data_offset, box.nbytes)
        return data[box.header_nbytes : box.end - offset]
