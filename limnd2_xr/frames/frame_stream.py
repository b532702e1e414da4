"""`FrameStream`: a file of frames that come one by one, with the metadata at the end.

`FrameWriter` needs to know all metadata and the number of frames when it begins. Here
neither is needed before the file is completed. Frames and large chunks go to the end of
a partial file as they come; what is small is kept by the caller until then. In which
order chunks stand makes no difference to readers (FORMAT 13.6), with the exceptions that
are minded here.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from limnd2_xr.container.chunk_format import ALIGNMENT, HEADER_NBYTES, align
from limnd2_xr.container.chunk_writer import (
    check_ordinary,
    chunk_extent,
    encode_header,
    encode_map,
    encode_signature,
)
from limnd2_xr.container.disk import nbytes_of
from limnd2_xr.container.sink import PartialFile
from limnd2_xr.frames.packing import (
    check_frames,
    check_level,
    check_values,
    deflate,
    packed_blocks,
)
from limnd2_xr.frames.partial_frames import (
    RECORD_PREFIX,
    blank,
    frame_head,
    frame_stride,
)
from limnd2_xr.frames.pixels import inflate_rows
from limnd2_xr.frames.pyramid import decode_level
from limnd2_xr.frames.table import TIME_NBYTES

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from limnd2_xr.container.disk import ReadableBuffer
    from limnd2_xr.frames.layout import PixelLayout

__all__ = ["FrameStream"]


class _Place(NamedTuple):
    """Where a frame or a chunk is: its header; its pixels, or its payload."""

    offset: int
    data_offset: int
    nbytes: int


class FrameStream:
    """Frames and chunks in the order in which they come, and the map at the end.

    Threads may put frames at the same time. The target's name never holds an unfinished
    file.

    Examples
    --------
    >>> import tempfile
    >>> from limnd2_xr.frames.layout import PixelLayout
    >>> layout = PixelLayout(
    ...     height=4, width=6, channels=1, samples=1, dtype=np.dtype("u1"), row_nbytes=8
    ... )
    >>> folder = tempfile.TemporaryDirectory()
    >>> stream = FrameStream.create(folder.name + "/a.nd2")
    >>> stream.begin(layout, significant_bits=8)
    >>> stream.put(1, np.ones((1, 4, 6), "u1"))
    >>> stream.put(0, np.zeros((1, 4, 6), "u1"))
    >>> stream.numbers
    [0, 1]
    >>> stream.finalize({"CustomData|X!": bytes(16)}, n_frames=2)
    >>> folder.cleanup()
    """

    def __init__(self, partial: PartialFile, version: tuple[int, int] = (3, 0)) -> None:
        self._partial = partial
        self._layout: PixelLayout | None = None
        self._bits = 0
        self._level: int | None = None
        self._end = ALIGNMENT
        self._frames: dict[int, _Place] = {}
        self._room: dict[int, int] = {}
        self._times: dict[int, float] = {}
        self._chunks: dict[str, _Place] = {}
        self._stale: list[int] = []
        self._lock = threading.Lock()
        partial.write_at(0, encode_signature(version))

    @classmethod
    def create(
        cls, target: str | os.PathLike[str], *, overwrite: bool = False
    ) -> FrameStream:
        """Begin a file.

        Parameters
        ----------
        target
            Name of the file to be.
        overwrite
            Whether a file of that name may be replaced when this one is finalized.

        Raises
        ------
        FileExistsError, OSError
            As `PartialFile.create`.
        """
        partial = PartialFile.create(target, overwrite=overwrite)
        try:
            return cls(partial)
        except BaseException:
            partial.rollback()
            raise

    @property
    def partial(self) -> PartialFile:
        """The unfinished file."""
        return self._partial

    @property
    def layout(self) -> PixelLayout | None:
        """How frames are stored; None before `begin`."""
        return self._layout

    @property
    def numbers(self) -> list[int]:
        """Numbers of the frames that are there, ascending."""
        return sorted(self._frames)

    @property
    def times_ms(self) -> dict[int, float]:
        """Time of each frame by its number, NaN where not known."""
        return {number: self._times[number] for number in self.numbers}

    def begin(
        self, layout: PixelLayout, *, significant_bits: int, level: int | None = None
    ) -> None:
        """Say how frames are stored; before the first is put.

        Parameters
        ----------
        layout
            Of all frames.
        significant_bits
            Bits of a component that carry data; values with more are refused.
        level
            Of compression, see `packing.check_level`.

        Raises
        ------
        ValueError
            If there are frames that are stored otherwise, or the level is none.
        """
        if layout.compression not in {"none", "zlib"}:
            raise ValueError(f"frames cannot be compressed by {layout.compression}")
        if layout.compression == "zlib":
            check_level(level)
        now = (layout, significant_bits)
        if self._frames and now != (self._layout, self._bits):
            raise ValueError(
                f"{len(self._frames)} frames are stored as {self._layout} with "
                f"{self._bits} bits already, not as {layout} with {significant_bits}"
            )
        self._layout, self._bits, self._level = layout, significant_bits, level

    def put(self, number: int, frame: NDArray[Any], time_ms: float = np.nan) -> None:
        """Write a frame; one that is there is replaced.

        Parameters
        ----------
        number
            Of the frame, from 0 on.
        frame
            Of shape (C, Y, X) and, for RGB, S.
        time_ms
            Since the start of the acquisition; NaN where not known.

        Raises
        ------
        TypeError, ValueError
            If type, shape or a value is not one that the file can hold. No byte was
            written then.
        OSError
            As the system says.
        """
        layout = self._begun()
        check_frames(frame[np.newaxis], layout)
        check_values(frame[np.newaxis], self._bits, [number])
        if layout.compression == "zlib":
            blocks = packed_blocks(frame, layout)
            pieces = deflate((block for _, block in blocks), self._level)
            nbytes = sum(map(len, pieces))
            offset = self._take(ALIGNMENT + nbytes)
            head = frame_head(number, nbytes, time_ms)
            self._partial.write_at(offset, head, *pieces)
            self._register(number, offset, nbytes, time_ms)
            return
        offset = self._plain_room(number)
        for at, block in packed_blocks(frame, layout):
            self._partial.write_at(offset + ALIGNMENT + at, block)
        self._partial.write_at(offset, frame_head(number, layout.frame_nbytes, time_ms))
        self._register(number, offset, layout.frame_nbytes, time_ms)

    def put_tile(
        self, number: int, y: int, x: int, tile: NDArray[Any], time_ms: float = np.nan
    ) -> None:
        """Write a part of an uncompressed frame; what no tile covers is 0.

        Parameters
        ----------
        number
            Of the frame.
        y, x
            Of the tile's first pixel.
        tile
            Of shape (C, rows, columns) and, for RGB, S.
        time_ms
            Time of the frame; NaN leaves it as it is.

        Raises
        ------
        TypeError, ValueError
            If frames are compressed, or the tile does not fit.
        OSError
            As the system says.
        """
        layout = self._begun()
        if layout.compression != "none":
            raise ValueError("tiles need frames that are not compressed")
        height, width = tile.shape[1:3] if tile.ndim > 2 else (0, 0)
        if not (
            height > 0 < width
            and 0 <= y <= layout.height - height
            and 0 <= x <= layout.width - width
        ):
            raise ValueError(
                f"frame {number}: a tile of shape {tile.shape} at Y {y}, X {x} does not "
                f"lie in {layout.height} x {layout.width} pixels"
            )
        nbytes = width * layout.pixel_nbytes
        small = replace(layout, height=height, width=width, row_nbytes=nbytes)
        check_frames(tile[np.newaxis], small)
        check_values(tile[np.newaxis], self._bits, [number])
        known = self._frames.get(number)
        offset = self._sparse_room(number) if known is None else known.offset
        first = offset + ALIGNMENT + y * layout.row_nbytes + x * layout.pixel_nbytes
        row = y
        for _, block in packed_blocks(tile, small):
            for line in block.reshape(-1, nbytes):
                at = first + (row - y) * layout.row_nbytes
                self._partial.write_at(at, line)
                row += 1
        if known is not None and np.isnan(time_ms):
            time_ms = self._times[number]
        self._partial.write_at(offset, frame_head(number, layout.frame_nbytes, time_ms))
        self._register(number, offset, layout.frame_nbytes, time_ms)

    def frame(self, number: int) -> NDArray[Any]:
        """Return a frame that was put, of shape (C, Y, X) and, for RGB, S.

        Parameters
        ----------
        number
            Of the frame; KeyError if it is not there.
        """
        layout = self._begun()
        place = self._frames[number]
        data = self._partial.read_at(place.data_offset, place.nbytes)
        if layout.compression == "zlib":
            data = inflate_rows(data, layout, layout.height)
        return decode_level(data, layout)

    def frame_payload(self, number: int) -> bytes:
        """Return the payload of a frame's chunk: its time, and its pixels as stored.

        Parameters
        ----------
        number
            Of the frame; KeyError if it is not there.
        """
        place = self._frames[number]
        return self._partial.read_at(
            place.data_offset - TIME_NBYTES, TIME_NBYTES + place.nbytes
        )

    def put_chunk(self, name: str, payload: ReadableBuffer) -> None:
        """Write a chunk now, of which another one under that name takes the place.

        Parameters
        ----------
        name
            With its closing ``!``; not that of a frame.
        payload
            Of the chunk.

        Raises
        ------
        ValueError
            If it is no name of an ordinary chunk.
        """
        check_ordinary(name)
        nbytes = nbytes_of(payload)
        header = encode_header(name, nbytes)
        offset = self._take(chunk_extent(name, nbytes))
        self._partial.write_at(offset, header, payload)
        with self._lock:
            if name in self._chunks:
                self._stale.append(self._chunks[name].offset)
            self._chunks[name] = _Place(offset, offset + len(header), nbytes)

    def drop_chunk(self, name: str) -> None:
        """Forget a chunk that was put.

        Parameters
        ----------
        name
            Of the chunk; KeyError if there is none.
        """
        with self._lock:
            self._stale.append(self._chunks.pop(name).offset)

    def chunk(self, name: str) -> bytes | None:
        """Return the payload of a chunk that was put; None if there is none."""
        place = self._chunks.get(name)
        if place is None:
            return None
        return self._partial.read_at(place.data_offset, place.nbytes)

    @property
    def chunk_names(self) -> list[str]:
        """Names of the chunks that were put."""
        return list(self._chunks)

    def finalize(
        self,
        chunks: Mapping[str, ReadableBuffer],
        n_frames: int,
        *,
        fill_missing: bool = False,
    ) -> None:
        """Write the rest and the map, and give the file its name.

        Parameters
        ----------
        chunks
            Metadata by name; they take the place of those that were put.
        n_frames
            How many frames the metadata say there are.
        fill_missing
            Store zeros for frames that were not put.

        Raises
        ------
        ValueError
            If frames are missing, or there are others than those from 0 to
            ``n_frames - 1``. The vendor's library ends the process at a missing one
            (FORMAT 13.6).
        FileExistsError, OSError
            As `PartialFile.commit`.
        """
        self.check_frames(n_frames, fill_missing=fill_missing)
        for number in sorted(set(range(n_frames)) - self._frames.keys()):
            self._put_zeros(number)
        self._mind_first()
        # What was recorded of the frames has to stand behind them, see `name_in_head`.
        for name in sorted(chunks, key=lambda name: name.startswith(RECORD_PREFIX)):
            self.put_chunk(name, chunks[name])
        partial = self._partial
        for offset in self._stale:
            blank(partial, offset, HEADER_NBYTES)
        partial.extend_to(self._end)
        numbers = self.numbers
        table = (
            np.array(numbers, np.int64),
            np.array([self._frames[n].offset for n in numbers], np.int64),
            np.array([self._frames[n].nbytes + TIME_NBYTES for n in numbers], np.int64),
        )
        entries = [(name, at.offset, at.nbytes) for name, at in self._chunks.items()]
        partial.write_at(self._end, encode_map(entries, self._end, table))
        partial.commit()

    def check_frames(self, n_frames: int, *, fill_missing: bool = False) -> None:
        """Refuse missing frames and such that are too many; see `finalize`."""
        others = [number for number in self.numbers if number >= n_frames]
        if others:
            raise ValueError(
                f"{self._partial.target}: the file shall have {n_frames} frames, but "
                f"there is frame {_some(others)}"
            )
        missing = sorted(set(range(n_frames)) - self._frames.keys())
        if missing and not fill_missing:
            raise ValueError(
                f"{self._partial.target}: {len(missing)} of {n_frames} frames were not "
                f"written: {_some(missing)}"
            )

    def rollback(self) -> None:
        """Remove the unfinished file; does nothing once it was finalized."""
        self._partial.rollback()

    def _begun(self) -> PixelLayout:
        if self._layout is None:
            raise ValueError("nothing says yet how frames are stored")
        return self._layout

    def _take(self, nbytes: int) -> int:
        """Return where there is room at the end: a multiple of 4096."""
        with self._lock:
            offset = self._end
            self._end += align(nbytes)
            return offset

    def _plain_room(self, number: int) -> int:
        """Return the place of an uncompressed frame, which is not there until it is whole."""
        layout = self._begun()
        with self._lock:
            self._frames.pop(number, None)
            offset = self._room.get(number)
            if offset is None:
                offset = self._room[number] = self._end
                self._end += frame_stride(layout)
        return offset

    def _register(self, number: int, offset: int, nbytes: int, time_ms: float) -> None:
        with self._lock:
            before = self._frames.get(number)
            if before is not None and before.offset != offset:
                self._stale.append(before.offset)
            self._frames[number] = _Place(offset, offset + ALIGNMENT, nbytes)
            self._times[number] = time_ms

    def _sparse_room(self, number: int) -> int:
        """Return the place of an uncompressed frame, whose pixels are 0."""
        offset = self._plain_room(number)
        nbytes = frame_stride(self._begun())
        self._partial.extend_to(offset + nbytes)
        blank(self._partial, offset, nbytes)
        return offset

    def _put_zeros(self, number: int) -> None:
        layout = self._begun()
        if layout.compression == "zlib":
            zero = np.zeros((), layout.dtype)
            self.put(number, np.broadcast_to(zero, layout.frame_shape))
            return
        offset = self._sparse_room(number)
        self._partial.write_at(offset, frame_head(number, layout.frame_nbytes, np.nan))
        self._register(number, offset, layout.frame_nbytes, np.nan)

    def _mind_first(self) -> None:
        """Move frame 1 behind frame 0 where it is the first of the file.

        Bio-Formats 7.3.1 then takes all frames to be numbered from 1 on (FORMAT 2.3),
        and fails.
        """
        if len(self._frames) < 2:
            return
        first = min(self._frames, key=lambda number: self._frames[number].offset)
        if first != 1:
            return
        place = self._frames[1]
        nbytes = ALIGNMENT + place.nbytes
        offset = self._take(nbytes)
        self._partial.write_at(offset, self._partial.read_at(place.offset, nbytes))
        self._register(1, offset, place.nbytes, self._times[1])


def _some(numbers: Iterable[int]) -> str:
    found = list(numbers)
    return ", ".join(map(str, found[:10])) + (", ..." if len(found) > 10 else "")
