"""One uncompressed frame of a local file with a handful of calls.

Planning pays for reads of many frames and of parts of them. Where a whole frame lies as
nearly all do, behind a header as expected, there is nothing to plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.frames.headers import usual_head
from limnd2_xr.frames.new_memory import new_array
from limnd2_xr.frames.staged_reads import MAPPED_NBYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.frames.table import FrameTable

__all__ = ["SingleFrames"]

_CHEAP_GAP_NBYTES: Final = 2**17
"""Sources for which a request costs more than reading this are remote."""


class SingleFrames:
    """Reads single frames of one open file.

    Parameters
    ----------
    source
        Open for as long as this is used.
    table
        Where the frames are.
    """

    def __init__(self, source: ByteSource, table: FrameTable) -> None:
        layout = table.layout
        itemsize = layout.dtype.itemsize
        self._source, self._table, self._layout = source, table, layout
        self._usable = (
            layout.compression == "none" and source.gap_nbytes <= _CHEAP_GAP_NBYTES
        )
        self._shape = (layout.height, layout.width, layout.channels, layout.samples)
        self._strides = (
            layout.row_nbytes,
            layout.pixel_nbytes,
            layout.samples * itemsize,
            itemsize,
        )
        self._is_packed = layout.row_nbytes == layout.width * layout.pixel_nbytes
        # Frames whose header was seen to be as expected.
        self._is_sound = bytearray(len(table.numbers))

    def read(self, number: int, *, mapped: bool) -> NDArray[Any] | None:
        """Return a frame, None if it has to be read in another way.

        Parameters
        ----------
        number
            Its sequence number.
        mapped
            Look at the file as memory, which costs time once; else read from it.

        Returns
        -------
        ndarray or None
            Of shape (C, Y, X) and, for RGB, S; a new array.
        """
        if not self._usable:
            return None
        table, layout = self._table, self._layout
        row = table.row(number)
        if row < 0 or table.nbytes[row] != layout.frame_nbytes:
            return None
        offset, nbytes = int(table.chunk_offsets[row]), layout.frame_nbytes
        if offset + table.header_nbytes + nbytes > self._source.size:
            return None
        start = offset + table.header_nbytes
        memory = self._source.memory() if mapped else None
        if memory is not None and self._may_stay(start, nbytes):
            if not self._is_sound[row]:
                head = usual_head(table, row)
                if memory[offset : offset + len(head)] != head:
                    return None
                self._is_sound[row] = True
            self._source.announce(start, nbytes)
            return self._delivered(memory, start)
        head = usual_head(table, row)
        before = bytearray(table.header_nbytes)
        if self._is_packed and layout.components == 1:
            out = new_array(layout.frame_shape, layout.dtype)
            self._source.read_into(offset, [before, out.data])
            return out if before.startswith(head) else None
        pixels = bytearray(nbytes)
        self._source.read_into(offset, [before, pixels])
        if not before.startswith(head):
            return None
        return self._delivered(pixels, 0)

    def _may_stay(self, start: int, nbytes: int) -> bool:
        self._source.expect(nbytes)
        # Pixels that have to be taken apart are copied from somewhere anyway.
        direct = self._is_packed and self._layout.components == 1
        if nbytes < MAPPED_NBYTES or not direct:
            return True
        return self._source.may_stay([(start, nbytes)])

    def _delivered(self, stored: memoryview | bytearray, start: int) -> NDArray[Any]:
        layout = self._layout
        pixels: NDArray[Any] = np.ndarray(
            self._shape, layout.dtype, stored, start, self._strides
        )
        pixels = pixels.transpose(2, 0, 1, 3)
        out = new_array(layout.frame_shape, layout.dtype)
        if layout.samples == 1:
            out[...] = pixels[..., 0]
        else:
            out[...] = pixels[..., ::-1]  # stored blue, green, red (FORMAT 6.3)
        return out
