"""Room for the smaller copies of frames in a file that is being written.

Copies are uncompressed and of fixed size, also where frames are not, so each has a place
that is known beforehand: between the metadata and the frames, frame after frame. Whoever
writes a frame writes its copies, without a lock.

The head of a copy is there only while it is a copy of the frame in the file: it is taken
away before the frame is written and comes last. So whoever completes the file sees which
copies have to be made from the stored frame, because their writer was killed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.container.chunk_format import ALIGNMENT, HEADER_NBYTES
from limnd2_xr.container.chunk_writer import ChunkPlace, chunk_extent, encode_header
from limnd2_xr.frames.partial_frames import blank
from limnd2_xr.frames.pyramid import (
    decode_level,
    encode_level,
    pyramid_levels,
    smaller_copies,
)
from limnd2_xr.frames.table import TIME_NBYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from limnd2_xr.container.sink import PartialFile
    from limnd2_xr.frames.layout import PixelLayout
    from limnd2_xr.frames.partial_frames import WrittenFrames
    from limnd2_xr.frames.pyramid import PyramidLevel

__all__ = ["CopyRoom"]

_NO_HEAD: Final = bytes(HEADER_NBYTES)


@dataclass(frozen=True, slots=True)
class CopyRoom:
    """Where the smaller copies of all frames go; picklable, without a handle.

    Parameters
    ----------
    offset
        Where the room begins: a multiple of 4096.
    layout
        Of the frames.
    n_frames
        How many there are.

    Examples
    --------
    >>> import numpy as np
    >>> from limnd2_xr.frames.layout import PixelLayout
    >>> layout = PixelLayout(
    ...     height=1025,
    ...     width=8,
    ...     channels=1,
    ...     samples=1,
    ...     dtype=np.dtype("u1"),
    ...     row_nbytes=8,
    ... )
    >>> room = CopyRoom(4096, layout, 3)
    >>> [place.offset for place in room.places()], room.end
    ([4096, 8192, 12288], 16384)
    """

    offset: int
    layout: PixelLayout
    n_frames: int

    @property
    def levels(self) -> tuple[PyramidLevel, ...]:
        """Levels of which each frame has a copy."""
        return pyramid_levels(self.layout)

    @property
    def end(self) -> int:
        """Where the room ends, and the frames begin."""
        return self._frame_offset(self.n_frames)

    def places(self) -> Iterator[ChunkPlace]:
        """Iterate over the chunks of all copies, as they lie in the file."""
        levels = self.levels
        for number in range(self.n_frames):
            for _, place in self._places(number, levels):
                yield place

    def complete(self, partial: PartialFile, written: WrittenFrames) -> None:
        """Make the copies that frames lack because their writer was killed.

        Parameters
        ----------
        partial
            The open file.
        written
            Where its frames are: all of them.
        """
        for number in range(self.n_frames):
            if self._lacks(partial, number):
                self.put(partial, number, self._stored(partial, written, number))

    def _stored(
        self, partial: PartialFile, written: WrittenFrames, number: int
    ) -> NDArray[Any]:
        """Return the pixels of a frame that is in the file."""
        offset = int(written.offsets[number]) + ALIGNMENT
        data = partial.read_at(offset, int(written.nbytes[number]) - TIME_NBYTES)
        if self.layout.compression != "none":
            data = zlib.decompress(data)
        return decode_level(data, replace(self.layout, compression="none"))

    def _lacks(self, partial: PartialFile, number: int) -> bool:
        """Say whether a frame is without one of its copies."""
        return any(
            partial.read_at(place.offset, len(head)) != head
            for level, place in self._places(number, self.levels)
            for head in [_head(level, place)]
        )

    def withdraw(self, partial: PartialFile, number: int) -> None:
        """Take away the heads of a frame's copies, before the frame is written."""
        for _, place in self._places(number, self.levels):
            partial.write_at(place.offset, _NO_HEAD)

    def put(self, partial: PartialFile, number: int, frame: NDArray[Any]) -> None:
        """Make the copies of a frame and write them.

        Parameters
        ----------
        partial
            The open file, which holds the frame already.
        number
            Of the frame.
        frame
            Its pixels, of shape (C, Y, X) and, for RGB, S.
        """
        places = self._places(number, self.levels)
        for (_, place), (level, copy) in zip(
            places, smaller_copies(frame, self.layout), strict=True
        ):
            partial.write_at(place.data_offset, encode_level(copy, level.layout))
            partial.write_at(place.offset, _head(level, place))

    def put_zeros(self, partial: PartialFile, number: int) -> None:
        """Write the copies of a frame of zeros."""
        for level, place in self._places(number, self.levels):
            blank(partial, place.data_offset, place.nbytes)
            partial.write_at(place.offset, _head(level, place))

    def _places(
        self, number: int, levels: tuple[PyramidLevel, ...]
    ) -> list[tuple[PyramidLevel, ChunkPlace]]:
        offset = self._frame_offset(number)
        found = []
        for level in levels:
            name, nbytes = level.chunk_name(number), level.layout.frame_nbytes
            end = offset + chunk_extent(name, nbytes)
            # Payloads of ordinary chunks end where the next one begins (FORMAT 1.3).
            found.append((level, ChunkPlace(name, offset, end - nbytes, nbytes)))
            offset = end
        return found

    def _frame_offset(self, number: int) -> int:
        """Where a frame's copies begin; longer numbers can need another 4096 bytes."""
        offset, first, stop = self.offset, 0, 10
        while number > first:
            extent = sum(
                chunk_extent(level.chunk_name(first), level.layout.frame_nbytes)
                for level in self.levels
            )
            offset += extent * (min(number, stop) - first)
            first, stop = stop, 10 * stop
        return offset


def _head(level: PyramidLevel, place: ChunkPlace) -> bytes:
    """Return a chunk's header as far as it is not zeros."""
    header = encode_header(place.name, level.layout.frame_nbytes)
    return header[: HEADER_NBYTES + len(place.name)]
