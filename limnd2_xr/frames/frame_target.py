"""`FrameTarget`: what a thread, process or machine needs to write frames of a file.

Uncompressed frames have places of their own, so they are written without a lock, and so
have smaller copies of frames. Compressed ones go to the end of the file as they get
ready.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.container.chunk_format import ALIGNMENT
from limnd2_xr.container.sink import PartialFile
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.copy_room import CopyRoom
from limnd2_xr.frames.frame_order import FrameOrder
from limnd2_xr.frames.opening import layout_of
from limnd2_xr.frames.packing import (
    check_frames,
    check_values,
    deflate,
    lies_as_stored,
    pack_frames,
    packed_blocks,
)
from limnd2_xr.frames.partial_frames import (
    UNKNOWN_MS,
    blank,
    frame_head,
    frame_stride,
    read_head,
)
from limnd2_xr.frames.threads import run_all
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.raw import RawMetadata, chunks_to_read
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    from limnd2_xr.frames.layout import PixelLayout
    from limnd2_xr.frames.partial_frames import PartialHead
    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.records import FrameRecords

__all__ = ["FrameTarget", "open_shared"]

_NO_HEAD = bytes(ALIGNMENT)
_GROUP_NBYTES = 32 * 2**20
"""Uncompressed frames that are checked and written together."""
_SHARE_NBYTES = 4 * 2**20
"""What one thread packs and writes at a time."""
_SMALL_NBYTES = 2**20
"""Frames up to this size are written several at once."""
_order = FrameOrder()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameTarget:
    """Where frames are to be written, and how: picklable, without a handle.

    From `FrameWriter.frames`, or in a process that knows nothing but the name of the
    file to be, from `find`.
    """

    partial: str
    """Path of the partial file."""
    target: str
    """Path of the file to be."""
    layout: PixelLayout
    """How each frame is stored."""
    n_frames: int
    """How many frames there will be."""
    frames_offset: int
    """Where the frames begin in the file."""
    level: int | None
    """Level of compression; None for the default."""
    significant_bits: int
    """Bits of a component that carry data."""
    times_ms: NDArray[np.float64] | None = field(repr=False)
    """Time of each frame in ms since the start of the acquisition, NaN where unknown;
    None where they come with the frames."""
    copies: CopyRoom | None = None
    """Where smaller copies of the frames go; None if there shall be none."""

    @classmethod
    def find(cls, target: str | os.PathLike[str]) -> Self:
        """Return what is needed to write frames of a file that is being written.

        Reads the metadata that are already in it.

        Parameters
        ----------
        target
            Name of the file to be, as given to `FrameWriter.create` with ``shared=True``.

        Raises
        ------
        FileNotFoundError
            There is no unfinished file of this name.
        """
        with open_shared(target) as partial:
            return cls.of_shared(partial)

    @classmethod
    def of_shared(cls, partial: PartialFile) -> Self:
        """Return the same of a file that another process created, if that got done.

        Raises
        ------
        CorruptChunk
            It was not created completely.
        """
        try:
            found = cls.of(partial)
        except CorruptChunk as error:
            raise _not_created(partial, f" ({error.reason})") from error
        is_plain = found.layout.compression == "none"
        if partial.size < found.frame_offset(found.n_frames if is_plain else 0):
            raise _not_created(partial)
        return found

    @classmethod
    def of(cls, partial: PartialFile) -> Self:
        """Return what the metadata in a partial file say about its frames to be.

        Raises
        ------
        CorruptChunk
            Metadata that this needs are missing or damaged.
        """
        document, records, head = _read_metadata(partial)
        attributes = document.attributes
        layout = layout_of(document)
        copies = None
        if head.has_copies:
            copies = CopyRoom(head.end, layout, attributes.sequence_count)
        level = int(attributes.compression_param or 0)
        is_packed = attributes.compression != "none"
        return cls(
            partial=str(partial.path),
            target=str(partial.target),
            layout=layout,
            n_frames=attributes.sequence_count,
            frames_offset=copies.end if copies else head.end,
            level=level if is_packed and 1 <= level <= 9 else None,
            significant_bits=attributes.bits_significant,
            times_ms=_times(records, attributes.sequence_count),
            copies=copies,
        )

    @property
    def axes(self) -> Axes:
        """Loop dims of the file to be; read from the metadata in it, each time."""
        with self.open() as partial:
            document, _, _ = _read_metadata(partial)
        return document.axes(self.n_frames, self.n_frames)

    def without_times(self) -> Self:
        """Return the same without times, small however many frames there are."""
        return replace(self, times_ms=None)

    def open(self, *, overwrite: bool = False) -> PartialFile:
        """Open the partial file.

        Raises
        ------
        FileNotFoundError
            The file was finalized or rolled back.
        """
        path = Path(self.partial)
        try:
            return PartialFile.open(path, target=self.target, overwrite=overwrite)
        except FileNotFoundError:
            raise FileNotFoundError(
                errno.ENOENT,
                f"there is no unfinished file of {self.target}: it was finalized, removed"
                " or never created",
                str(path),
            ) from None

    def frame_offset(self, number: int) -> int:
        """File offset of an uncompressed frame's chunk."""
        return self.frames_offset + number * frame_stride(self.layout)

    def put(
        self,
        sequence: ArrayLike,
        frames: NDArray[Any],
        times_ms: ArrayLike | None = None,
    ) -> None:
        """Write whole frames; return when the system has all their bytes.

        With their smaller copies, if the file shall have any. Compressed on threads. May be called from several threads and processes at once,
        for different frames. Of a frame written twice the later one counts.

        Parameters
        ----------
        sequence
            Number of each frame, each once.
        frames
            Of shape (frames, C, Y, X) and, for RGB, S.
        times_ms
            Time of each frame, NaN where unknown; without it as the target says.

        Raises
        ------
        TypeError
            The frames are of another type than the file's.
        ValueError
            Their shape or numbers are wrong; or a value cannot be stored as it is, and
            then no byte of that frame was written.
        FileNotFoundError
            The file was finalized or rolled back.
        OSError
            As the system says, such as a full disk.
        """
        with self.open() as partial:
            self.put_into(partial, sequence, frames, times_ms)

    def put_into(
        self,
        partial: PartialFile,
        sequence: ArrayLike,
        frames: NDArray[Any],
        times_ms: ArrayLike | None = None,
    ) -> None:
        """Do the same with a partial file that is open already."""
        numbers = _checked_numbers(sequence, frames, self.n_frames)
        check_frames(frames, self.layout)
        times = self._times(numbers)
        if times_ms is not None:
            times = np.asarray(times_ms, np.float64)
            if times.shape != (len(numbers),) or np.isinf(times).any():
                raise ValueError(
                    f"times of {len(numbers)} frames must be as many numbers, NaN where "
                    f"unknown; they are of shape {times.shape}"
                )
        if self.layout.compression == "none":
            self._put_plain(partial, numbers, frames, times)
            return

        def put(at: int) -> None:
            number = numbers[at]
            with _order.putting(self.partial, number):
                check_values(frames[at : at + 1], self.significant_bits, [number])
                blocks = packed_blocks(frames[at], self.layout)
                pieces = deflate((block for _, block in blocks), self.level)
                _order.wait(self.partial, number)
                self._withdraw_copies(partial, [number])
                self._put_packed(partial, number, pieces, times[at])
            self._put_copies(partial, [number], frames[at : at + 1])

        run_all(put, range(len(numbers)))

    def _times(self, numbers: list[int]) -> NDArray[np.float64]:
        if self.times_ms is None:
            return np.full(len(numbers), np.nan)
        return self.times_ms[numbers]

    def _put_plain(
        self,
        partial: PartialFile,
        numbers: list[int],
        frames: NDArray[Any],
        times: NDArray[np.float64],
    ) -> None:
        """Write groups of frames that are in the cache still after they were checked."""
        nbytes = self.layout.frame_nbytes
        is_small = nbytes <= _SMALL_NBYTES
        # A file takes one write at a time: threads help if there is more to do.
        as_stored = lies_as_stored(frames, self.layout)

        def put(first: int) -> None:
            group = slice(first, first + step)
            check_values(frames[group], self.significant_bits, numbers[group])
            self._withdraw_copies(partial, numbers[group])
            if is_small:
                self._put_small(partial, numbers[group], frames[group])
            else:
                threads = 1 if as_stored else None
                self._put_large(partial, numbers[group], frames[group], threads)
            for number, time in zip(numbers[group], times[group], strict=True):
                head = frame_head(number, nbytes, time)
                partial.write_at(self.frame_offset(number), head)
            self._put_copies(partial, numbers[group], frames[group])

        step = max(1, (_SHARE_NBYTES if is_small else _GROUP_NBYTES) // nbytes)
        threads = None if is_small and not as_stored else 1
        run_all(put, range(0, len(numbers), step), threads)

    def _put_small(
        self, partial: PartialFile, numbers: list[int], frames: NDArray[Any]
    ) -> None:
        """Write all but the heads: of neighbours at once, as each call takes its time."""
        stored = pack_frames(frames, self.layout)
        gap = bytes(frame_stride(self.layout) - ALIGNMENT - self.layout.frame_nbytes)
        for run in np.split(
            np.arange(len(numbers)), np.flatnonzero(np.diff(numbers) != 1) + 1
        ):
            # A frame that has a head is whole, also while it is written a second time.
            parts = [part for at in run for part in (_NO_HEAD, stored[at], gap)]
            partial.write_at(self.frame_offset(numbers[run[0]]), *parts)

    def _put_large(
        self,
        partial: PartialFile,
        numbers: list[int],
        frames: NDArray[Any],
        threads: int | None,
    ) -> None:
        """Write all but the heads: shares of rows, on threads."""
        offsets = [self.frame_offset(number) for number in numbers]
        for offset in offsets:
            partial.write_at(offset, _NO_HEAD)

        def put(share: tuple[int, slice]) -> None:
            at, rows = share
            for offset, block in packed_blocks(frames[at], self.layout, rows):
                partial.write_at(offsets[at] + ALIGNMENT + offset, block)

        height = self.layout.height
        step = max(1, _SHARE_NBYTES // self.layout.row_nbytes)
        if threads == 1:
            step = height
        shares = [
            (at, slice(first, min(first + step, height)))
            for at in range(len(frames))
            for first in range(0, height, step)
        ]
        run_all(put, shares, threads)

    def _put_packed(
        self,
        partial: PartialFile,
        number: int,
        pieces: list[bytes],
        time_ms: np.float64,
    ) -> None:
        nbytes = sum(map(len, pieces))
        offset = partial.reserve(ALIGNMENT + nbytes)
        partial.write_at(offset + ALIGNMENT, *pieces)
        partial.write_at(offset, frame_head(number, nbytes, time_ms))

    def _withdraw_copies(self, partial: PartialFile, numbers: list[int]) -> None:
        """Make sure that no frame is found with copies of what it was before."""
        if self.copies is not None:
            for number in numbers:
                self.copies.withdraw(partial, number)

    def _put_copies(
        self, partial: PartialFile, numbers: list[int], frames: NDArray[Any]
    ) -> None:
        """Write the smaller copies of frames that are in the file."""
        copies = self.copies
        if copies is not None:
            run_all(
                lambda at: copies.put(partial, numbers[at], frames[at]),
                range(len(numbers)),
            )

    def put_zeros(self, partial: PartialFile, missing: list[int]) -> None:
        """Write frames of zeros, and copies of them."""
        self._put_zero_frames(partial, missing)
        if self.copies is not None:
            for number in missing:
                self.copies.put_zeros(partial, number)

    def _put_zero_frames(self, partial: PartialFile, missing: list[int]) -> None:
        times = self._times(missing)
        if self.layout.compression == "none":
            for number, time in zip(missing, times, strict=True):
                offset = self.frame_offset(number)
                blank(partial, offset, frame_stride(self.layout))
                head = frame_head(number, self.layout.frame_nbytes, time)
                partial.write_at(offset, head)
        elif missing:
            zero = np.zeros((), self.layout.dtype)
            frame = np.broadcast_to(zero, self.layout.frame_shape)
            blocks = packed_blocks(frame, self.layout)
            pieces = deflate((block for _, block in blocks), self.level)
            for number, time in zip(missing, times, strict=True):
                self._put_packed(partial, number, pieces, time)


def _not_created(partial: PartialFile, why: str = "") -> CorruptChunk:
    return CorruptChunk(
        f"whoever created the unfinished file did not get to the end of that{why}: "
        "remove it and create it again",
        path=str(partial.path),
    )


def open_shared(
    target: str | os.PathLike[str], *, overwrite: bool = False
) -> PartialFile:
    """Open the partial file that was created to be shared, by its target's name."""
    final = Path(os.path.realpath(target))
    path = final.with_name(f"{final.name}.partial")
    try:
        return PartialFile.open(path, overwrite=overwrite)
    except FileNotFoundError:
        raise FileNotFoundError(
            errno.ENOENT,
            f"there is no unfinished file of {final} that was created to be shared: "
            "limnd2_xr.create_nd2 begins one",
            str(path),
        ) from None


def _read_metadata(
    partial: PartialFile,
) -> tuple[Nd2Document, FrameRecords, PartialHead]:
    """Return the metadata of a partial file, and where they are."""
    head = read_head(partial)
    trees, plain = chunks_to_read(head.places)
    payloads = {
        name: partial.read_at(head.places[name].data_offset, head.places[name].nbytes)
        for name in (*trees, *plain)
    }
    document, records = Nd2Document.from_raw(
        RawMetadata(
            version=head.version,
            levels={name: decode(payloads[name]) for name in trees},
            data={name: payloads[name] for name in plain},
        )
    )
    return document, records, head


def _times(records: FrameRecords, n_frames: int) -> NDArray[np.float64]:
    times = np.full(n_frames, np.nan)
    if records.times_ms is not None:
        known = records.times_ms[:n_frames]
        is_time = np.isfinite(known) & (known != UNKNOWN_MS)
        times[: len(known)] = np.where(is_time, known, np.nan)
    return times


def _checked_numbers(
    sequence: ArrayLike, frames: NDArray[Any], n_frames: int
) -> list[int]:
    """Refuse frame numbers that do not fit the frames or the file."""
    numbers = np.asarray(sequence)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise ValueError(
            f"frame numbers must be integers in one dimension, not {numbers.dtype} of "
            f"shape {numbers.shape}"
        )
    if frames.shape[:1] != numbers.shape:
        raise ValueError(
            f"{numbers.size} frame numbers for frames of shape {frames.shape}"
        )
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < n_frames:
        raise ValueError(
            f"frame numbers {numbers.min()} to {numbers.max()}, but the file has "
            f"{n_frames} frames, from 0 on"
        )
    if len(np.unique(numbers)) < numbers.size:
        raise ValueError("a frame is given twice at once")
    return [int(number) for number in numbers]
