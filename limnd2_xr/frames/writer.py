"""`FrameWriter`: makes a file of metadata chunks and frames, or none at all."""

from __future__ import annotations

import atexit
import os
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.container.chunk_format import ALIGNMENT, HEADER_NBYTES, align
from limnd2_xr.container.chunk_writer import ChunkWriter, encode_map, encode_signature
from limnd2_xr.container.sink import PartialFile
from limnd2_xr.errors import StaleFile
from limnd2_xr.frames.copy_room import CopyRoom
from limnd2_xr.frames.frame_target import FrameTarget, open_shared
from limnd2_xr.frames.packing import check_dtype, check_level, row_nbytes
from limnd2_xr.frames.partial_frames import (
    COPIES_FOLLOW,
    UNKNOWN_MS,
    blank,
    name_in_head,
    read_head,
    written_packed,
    written_plain,
)
from limnd2_xr.frames.pyramid import LEVEL_FAMILY, pyramid_levels
from limnd2_xr.frames.table import TIME_NBYTES
from limnd2_xr.model.raw import ATTRIBUTES, FRAME_TIMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    from limnd2_xr.container.chunk_writer import ChunkPlace
    from limnd2_xr.frames.layout import PixelLayout
    from limnd2_xr.frames.partial_frames import WrittenFrames

__all__ = ["FrameTarget", "FrameWriter"]


class FrameWriter:
    """Writes a whole file: metadata at once, frames in any order, the map at the end.

    Made by `create` and, for a file that other processes write, by `open` or `resume`.
    The target's name never holds an unfinished file. As a context manager rolls back
    what was not finalized when the block ends; one not made by `create` only closes.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from limnd2_xr.frames.layout import PixelLayout
    >>> layout = PixelLayout(
    ...     height=4, width=6, channels=1, samples=1, dtype=np.dtype("u1"), row_nbytes=8
    ... )
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "a.nd2")
    >>> with FrameWriter.create(
    ...     path, layout=layout, n_frames=3, chunks={}, significant_bits=8
    ... ) as writer:
    ...     writer.put([0, 2], np.ones((2, 1, 4, 6), "u1"))
    ...     writer.finalize()
    array([1])
    >>> path.stat().st_size == 4096 + 3 * 8192 + 8192
    True
    >>> folder.cleanup()
    """

    def __init__(
        self,
        partial: PartialFile,
        frames: FrameTarget,
        places: Mapping[str, ChunkPlace],
        *,
        created: bool,
    ) -> None:
        self.frames = frames
        """What others need to write frames of this file."""
        self._partial = partial
        self._places = places
        self._created = created
        self._ended = False

    @classmethod
    def create(
        cls,
        target: str | os.PathLike[str],
        *,
        layout: PixelLayout,
        n_frames: int,
        chunks: Mapping[str, bytes | None],
        significant_bits: int,
        times_ms: ArrayLike | None = None,
        level: int | None = None,
        overwrite: bool = False,
        shared: bool = False,
        version: tuple[int, int] = (3, 0),
        pyramid: bool = False,
    ) -> FrameWriter:
        """Begin a file: write its metadata, make room for its frames.

        Parameters
        ----------
        target
            Name of the file to be.
        layout
            How each frame is stored.
        n_frames
            How many frames the file will have.
        chunks
            Payloads of all chunks but those of frames, by name; None for one that is
            not needed after all.
        significant_bits
            Bits of a component that carry data; values with more are refused.
        times_ms
            Time of each frame in ms since the start of the acquisition; NaN or not given
            where it is not known.
        level
            Of compression, see `packing.check_level`.
        overwrite
            Whether a file of that name may be replaced when this one is finalized.
        shared
            Let other processes find the unfinished file by the name of its target.
            The chunks have to say then what the other arguments do.
        version
            Of the format.
        pyramid
            Write smaller copies with each frame, of the sizes that
            `pyramid.pyramid_levels` tells: none of small frames. There may be no such
            chunks among `chunks` then.

        Raises
        ------
        FileExistsError
            There is a file of that name, and `overwrite` is not set; or, with `shared`,
            an unfinished one.
        UnsupportedDtype, ValueError
            An argument is out of range, or contradicts the chunks.
        OSError
            As the system says.
        """
        times = _checked_settings(layout, n_frames, significant_bits, times_ms)
        if layout.compression != "none":
            check_level(level)
        partial = PartialFile.create(target, overwrite=overwrite, shared=shared)
        try:
            partial.write_at(0, encode_signature(version))
            has_copies = pyramid and bool(pyramid_levels(layout))
            _put_metadata(ChunkWriter(partial), chunks, has_copies=has_copies)
            end = align(partial.size)
            copies = CopyRoom(end, layout, n_frames) if has_copies else None
            frames = FrameTarget(
                partial=str(partial.path),
                target=str(partial.target),
                layout=layout,
                n_frames=n_frames,
                frames_offset=copies.end if copies else end,
                level=level,
                significant_bits=significant_bits,
                times_ms=times,
                copies=copies,
            )
            is_plain = layout.compression == "none"
            partial.extend_to(frames.frame_offset(n_frames if is_plain else 0))
            if shared:
                _check_found(FrameTarget.of(partial), frames)
        except BaseException:
            partial.rollback()
            raise
        return cls(partial, frames, read_head(partial).places, created=True)

    @classmethod
    def open(
        cls, target: str | os.PathLike[str], *, overwrite: bool = False
    ) -> FrameWriter:
        """Go on with an unfinished file that was created with ``shared=True``.

        Parameters
        ----------
        target
            Name of the file to be.
        overwrite
            Whether a file of that name may be replaced.

        Raises
        ------
        FileNotFoundError
            There is no unfinished file of this name.
        """
        with open_shared(target, overwrite=overwrite) as partial:
            frames = FrameTarget.of_shared(partial)
        return cls.resume(frames, overwrite=overwrite)

    @classmethod
    def resume(cls, frames: FrameTarget, *, overwrite: bool = False) -> FrameWriter:
        """Go on with an unfinished file that a process created and closed.

        Parameters
        ----------
        frames
            From `FrameWriter.frames` of that process.
        overwrite
            Whether a file of that name may be replaced.

        Raises
        ------
        FileNotFoundError
            The file was finalized or rolled back.
        """
        partial = frames.open(overwrite=overwrite)
        try:
            places = read_head(partial).places
        except BaseException:
            partial.close()
            raise
        return cls(partial, frames, places, created=False)

    def put(
        self,
        sequence: ArrayLike,
        frames: NDArray[Any],
        times_ms: ArrayLike | None = None,
    ) -> None:
        """Write whole frames; see `FrameTarget.put`."""
        self.frames.put_into(self._partial, sequence, frames, times_ms)

    def finalize(
        self, on_missing: Callable[[NDArray[np.int64]], object] | None = None
    ) -> NDArray[np.int64]:
        """Complete the file and give it its name.

        No frame may be written any more. Frames that never were become zeros, since
        the vendor's library ends the process at a missing one (FORMAT 13.6).

        Parameters
        ----------
        on_missing
            Called with the numbers of such frames, if there are any, while they are
            missing still: once they are zeros nobody can tell.

        Returns
        -------
        ndarray of int64
            Numbers of the frames that were never written.

        Raises
        ------
        FileExistsError
            Meanwhile there is a file of that name, and `overwrite` is not set.
        StaleFile
            Frames were written while the file was being completed.
        OSError
            As the system says.
        """
        frames, partial = self.frames, self._partial
        written = self._written()
        missing = written.missing
        if len(missing):
            if on_missing is not None:
                on_missing(missing)
            frames.put_zeros(partial, missing.tolist())
            written = self._written()
        if len(written.missing):
            raise _disturbed(frames)
        self._update_times(written)
        if frames.copies is not None:
            frames.copies.complete(partial, written)
        if frames.layout.compression != "none" and _begins_with_one(written):
            self._put_again(written, 1)
            written = self._written()
        for stale in written.replaced:
            blank(partial, stale, HEADER_NBYTES)
        places = chain(
            self._put_records().values(),
            frames.copies.places() if frames.copies else (),
        )
        offset = align(partial.size)
        chunk_map = encode_map(
            ((place.name, place.offset, place.nbytes) for place in places),
            offset,
            (np.arange(frames.n_frames), written.offsets, written.nbytes),
        )
        partial.write_at(offset, chunk_map)
        if partial.size != offset + len(chunk_map):
            raise _disturbed(frames)
        partial.commit()
        self._ended = True
        return missing

    def _update_times(self, written: WrittenFrames) -> None:
        """Have the chunk of all times say what frames were written with."""
        place = self._places.get(FRAME_TIMES)
        if place is None or place.nbytes != 8 * self.frames.n_frames:
            return
        now = written.times_ms(self._partial)
        stored = np.frombuffer(
            self._partial.read_at(place.data_offset, place.nbytes), "<f8"
        )
        differs = (now != stored) & (now != UNKNOWN_MS)
        if differs.any():
            times = np.where(differs, now, stored).astype("<f8")
            self._partial.write_at(place.data_offset, times)

    def _put_records(self) -> dict[str, ChunkPlace]:
        """Write what was recorded of the frames behind them; return all chunks' places."""
        again = ChunkWriter(self._partial)
        kept = {}
        for name, place in self._places.items():
            if place.name == name:
                kept[name] = place
            else:
                again.put(name, self._partial.read_at(place.data_offset, place.nbytes))
        return {**kept, **again.places}

    def _put_again(self, written: WrittenFrames, number: int) -> None:
        """Copy a frame to the end of the file, its head last as always."""
        nbytes = ALIGNMENT - TIME_NBYTES + int(written.nbytes[number])
        data = self._partial.read_at(int(written.offsets[number]), nbytes)
        offset = self._partial.reserve(nbytes)
        self._partial.write_at(offset + ALIGNMENT, data[ALIGNMENT:])
        self._partial.write_at(offset, data[:ALIGNMENT])

    def _written(self) -> WrittenFrames:
        frames = self.frames
        if frames.layout.compression == "none":
            return written_plain(
                self._partial, frames.layout, frames.n_frames, frames.frames_offset
            )
        return written_packed(self._partial, frames.n_frames, frames.frames_offset)

    def rollback(self) -> None:
        """Remove the unfinished file; does nothing once it was finalized."""
        self._ended = True
        self._partial.rollback()

    def close(self) -> None:
        """Leave the unfinished file as it is, for other processes to go on with."""
        self._ended = True
        self._partial.close()

    def leave(self) -> None:
        """Close, and remove what is unfinished when this process ends.

        For a file that is completed later, through `resume`: if that never comes, or
        fails, nothing is left behind.
        """
        self.close()
        atexit.register(_remove, self.frames.partial, os.getpid())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._created and not self._ended:
            self.rollback()
        else:
            self.close()

    def __repr__(self) -> str:
        return f"<FrameWriter of {self.frames.target!r}, {self.frames.n_frames} frames>"


def _put_metadata(
    writer: ChunkWriter, chunks: Mapping[str, bytes | None], *, has_copies: bool
) -> None:
    if has_copies and any(name.startswith(LEVEL_FAMILY) for name in chunks):
        raise ValueError("smaller copies are given, and shall be made from the frames")
    # With the attributes last, a file that has them has all other chunks, too.
    ordered = sorted(chunks, key=lambda name: name in ATTRIBUTES)
    if has_copies:
        writer.put(COPIES_FOLLOW, b"\0")
    for name in ordered:
        payload = chunks[name]
        if payload is not None:
            writer.put(name_in_head(name), payload)


def _begins_with_one(written: WrittenFrames) -> bool:
    """Whether the first frame of the file is number 1 although there is a 0.

    Bio-Formats 7.3.1 then takes all frames to be numbered from 1 on (FORMAT 2.3), and
    fails. As it walks over the file, copies that no map lists count for it, too.
    """
    return len(written.offsets) > 1 and int(np.argmin(written.offsets)) == 1


def _remove(path: str, pid: int) -> None:
    if os.getpid() == pid:
        with suppress(OSError):
            Path(path).unlink(missing_ok=True)


def _disturbed(frames: FrameTarget) -> StaleFile:
    return StaleFile(
        "the file changed while it was being completed: another process is writing",
        path=frames.partial,
    )


def _check_found(found: FrameTarget, given: FrameTarget) -> None:
    """Refuse metadata from which another process would take something else."""
    for name in ("layout", "n_frames", "significant_bits", "frames_offset", "copies"):
        if getattr(found, name) != getattr(given, name):
            raise ValueError(
                f"the chunks say {name} {getattr(found, name)}, not "
                f"{getattr(given, name)}"
            )
    times, asked = found.times_ms, given.times_ms
    if (
        times is None
        or asked is None
        or not np.array_equal(times, asked, equal_nan=True)
    ):
        raise ValueError("the chunks say other times of the frames than times_ms")


def _checked_settings(
    layout: PixelLayout,
    n_frames: int,
    significant_bits: int,
    times_ms: ArrayLike | None,
) -> NDArray[np.float64]:
    """Refuse what makes no file; return the times."""
    if check_dtype(layout.dtype) != layout.dtype:
        raise ValueError(f"components are stored little-endian, not as {layout.dtype}")
    if layout.compression == "unsupported":
        raise ValueError("frames are written uncompressed or as zlib streams only")
    sizes = (layout.height, layout.width, layout.channels, n_frames)
    if min(sizes) < 1 or layout.samples not in {1, 3}:
        raise ValueError(f"{n_frames} frames of {layout} cannot be written")
    if layout.row_nbytes < row_nbytes(layout.width, layout.components, layout.dtype):
        raise ValueError(
            f"rows of {layout.row_nbytes} bytes are too short for {layout}"
        )
    bits = 8 * layout.dtype.itemsize
    if not 1 <= significant_bits <= bits:
        raise ValueError(
            f"significant_bits must be 1 to {bits}, not {significant_bits}"
        )
    if times_ms is None:
        return np.full(n_frames, np.nan)
    times = np.array(times_ms, np.float64)
    if times.shape != (n_frames,) or np.isinf(times).any():
        raise ValueError(
            f"times_ms must hold {n_frames} numbers, NaN where unknown; it is of shape "
            f"{times.shape}"
        )
    return times
