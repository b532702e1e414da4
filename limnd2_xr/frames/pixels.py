"""One frame's bytes to pixels: row padding, interleaved components, zlib (FORMAT 6)."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError
from numpy.lib.stride_tricks import as_strided

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.planner import takes_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from limnd2_xr.frames.layout import PixelLayout
    from limnd2_xr.frames.planner import Pick

__all__ = ["Bytes", "RowStream", "copy_pixels", "inflate_rows", "rows_view"]

Bytes: TypeAlias = "bytes | memoryview | NDArray[np.uint8]"

_NARROW_AND_WIDE: dict[int, tuple[np.dtype[Any], np.dtype[Any]]] = {
    size: (np.dtype(f"<u{size}"), np.dtype(f"<u{2 * size}")) for size in (1, 2, 4)
}
"""Unsigned types of a component and of a pair of components, by size."""

_CACHED_NBYTES = 2**20
"""Bytes that stay in the cache while they are used twice, and are worth a call."""


def inflate_rows(packed: Bytes, layout: PixelLayout, stop_row: int) -> bytes:
    """Inflate the rows of a zlib frame up to `stop_row` (FORMAT 6.4).

    Parameters
    ----------
    packed
        The frame's zlib stream.
    layout
        Of the frame.
    stop_row
        One past the last row wanted; later rows are not inflated.

    Returns
    -------
    bytes
        ``stop_row * layout.row_nbytes`` bytes.

    Raises
    ------
    CorruptChunk
        If the stream is damaged, ends early or, inflated to its end, is longer than a
        frame. Never inflates more than a frame and one byte.
    """
    return bytes(RowStream(layout, packed).rows(stop_row))


class RowStream:
    """Rows of one zlib frame, inflated as far as they were asked for (FORMAT 6.4).

    Parameters
    ----------
    layout
        Of the frame.
    packed
        The frame's zlib stream; not looked at any more after the first `rows`.
    """

    def __init__(self, layout: PixelLayout, packed: Bytes) -> None:
        self._layout = layout
        self._packed: Bytes | None = packed
        self._stream = isal_zlib.decompressobj()
        self._rows: bytes | NDArray[np.uint8] = b""
        self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """Memory that the rows take, and what is still packed."""
        return len(self._rows) + len(self._stream.unconsumed_tail)

    def rows(self, stop: int) -> Bytes:
        """Return the bytes of the frame up to a row, or more.

        Parameters
        ----------
        stop
            One past the last row wanted.

        Raises
        ------
        CorruptChunk
            If the stream is damaged, ends early or, inflated to its end, is longer than
            a frame. Never inflates more than a frame and one byte.
        """
        nbytes = stop * self._layout.row_nbytes
        if nbytes > self._nbytes:
            more = self._inflated(nbytes, whole=stop == self._layout.height)
            if self._nbytes == 0:
                self._rows = more
            else:
                self._append(more)
            self._nbytes = nbytes
        return self._rows

    def _append(self, more: bytes) -> None:
        if isinstance(self._rows, bytes):
            first = np.frombuffer(self._rows, np.uint8)
            self._rows = np.empty(self._layout.frame_nbytes, np.uint8)
            self._rows[: len(first)] = first
        # Those who look at the rows before are not disturbed.
        at = self._nbytes
        self._rows[at : at + len(more)] = np.frombuffer(more, np.uint8)

    def _inflated(self, nbytes: int, *, whole: bool) -> bytes:
        """Inflate up to a number of bytes of the frame."""
        packed = self._stream.unconsumed_tail if self._packed is None else self._packed
        self._packed = None
        try:
            more = self._stream.decompress(packed, nbytes - self._nbytes + whole)
        except IsalError as error:  # type: ignore[misc]  # isal types it as an instance
            raise CorruptChunk(f"not a sound zlib stream: {error}") from error
        found = self._nbytes + len(more)
        if found > nbytes:
            raise CorruptChunk(
                f"the zlib stream holds more than the {nbytes} bytes of a frame"
            )
        if found < nbytes or (whole and not self._stream.eof):
            raise CorruptChunk(
                f"the zlib stream ends after {found} of {nbytes} bytes or is cut short"
            )
        return bytes(more)


def rows_view(
    staged: Bytes,
    layout: PixelLayout,
    *,
    offset: int,
    shape: tuple[int, int, int],
    stride: int = 0,
) -> NDArray[Any]:
    """View staged bytes as pixels, without copying.

    Parameters
    ----------
    staged
        Bytes as read from the file.
    layout
        Of the frames.
    offset
        Where the first pixel of the first frame begins.
    shape
        How many frames, rows of each, pixels of each row.
    stride
        Bytes from one frame to the next.

    Returns
    -------
    ndarray
        Of shape (frames, rows, columns, channels, samples), components as stored.
    """
    itemsize = layout.dtype.itemsize
    return np.ndarray(
        (*shape, layout.channels, layout.samples),
        dtype=layout.dtype,
        buffer=staged,
        offset=offset,
        strides=(
            stride,
            layout.row_nbytes,
            layout.pixel_nbytes,
            layout.samples * itemsize,
            itemsize,
        ),
    )


def copy_pixels(
    out: NDArray[Any],
    stored: NDArray[Any],
    *,
    target: tuple[Pick, Pick],
    source: tuple[Pick, Pick],
    channels: Pick,
    samples: Pick | None,
) -> None:
    """Copy the pixels asked for from stored to delivered order.

    Parameters
    ----------
    out
        Delivered: (frame, C, Y, X) and, for RGB, S.
    stored
        As `rows_view` gives it.
    target
        Which frames and rows of `out` are filled.
    source
        Which rows and columns of `stored` are kept.
    channels, samples
        Which of them; `samples` None where the file is not RGB. Delivered samples run
        R, G, B, stored ones B, G, R (FORMAT 6.3).
    """
    frames, lines = target
    rows, columns = source
    if samples is not None:
        kept = _take(_take(_take(stored[..., ::-1], rows, 1), columns, 2), channels, 3)
        kept = _take(kept, samples, 4)
        _put(out, frames, lines, kept.transpose(0, 3, 1, 2, 4))
        return
    if (
        isinstance(channels, slice)
        and isinstance(frames, slice)
        and isinstance(lines, slice)
        and isinstance(rows, slice)
        and takes_all(columns, stored.shape[2])
        and stored.shape[3] == 2
        and stored.dtype.itemsize in _NARROW_AND_WIDE
    ):
        _split_pairs(out[frames, :, lines], stored[:, rows, ..., 0], channels)
        return
    kept = _take(_take(_take(stored[..., 0], rows, 1), columns, 2), channels, 3)
    _put(out, frames, lines, kept.transpose(0, 3, 1, 2))


def _split_pairs(out: NDArray[Any], stored: NDArray[Any], channels: slice) -> None:
    """Copy components out of pixels of two: half the time of a strided copy.

    A component and what follows it are taken for one number of twice the size; the cast
    to the size of the component leaves its lower half. No value changes. Goes by blocks
    that stay in the cache until all components are taken from them.
    """
    out, stored = _as_runs(out, stored)
    wanted = list(enumerate(range(channels.start, channels.stop, channels.step)))
    # Behind the last pixel of a run there may be nothing: it is copied by itself, and
    # last, since memory that is new to the process is best touched in its order.
    parts = [_as_numbers(out[:, at, :, :-1], stored, channel) for at, channel in wanted]
    for block in _cached_blocks(stored):
        for target, numbers in parts:
            np.copyto(target[block], numbers[block], casting="unsafe")
    for at, channel in wanted:
        out[:, at, :, -1] = stored[..., -1, channel]


def _as_runs(
    out: NDArray[Any], stored: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Make one long row of each frame where its rows follow each other without padding."""
    frames, rows, columns, components = stored.shape
    if (
        stored.strides[1] != columns * stored.strides[2]
        or out.strides[2] != columns * out.strides[3]
    ):
        return out, stored
    return (
        out.reshape(frames, out.shape[1], 1, rows * columns),
        stored.reshape(frames, 1, rows * columns, components),
    )


def _cached_blocks(stored: NDArray[Any]) -> Iterator[tuple[slice, slice, slice]]:
    """Cut (frames, rows, columns, components) into blocks that stay in the cache."""
    left = _CACHED_NBYTES // (stored.shape[3] * stored.dtype.itemsize)
    steps = []
    for count in (stored.shape[2], stored.shape[1], stored.shape[0]):
        steps.append(max(1, min(count, left)))
        left //= steps[-1]
    columns, rows, frames = (
        [slice(start, start + step) for start in range(0, count, step)]
        for count, step in zip(stored.shape[2::-1], steps, strict=True)
    )
    return product(frames, rows, columns)


def _as_numbers(
    out: NDArray[Any], pairs: NDArray[Any], component: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """View where a component goes, and pairs that begin with it, as unsigned numbers."""
    size = pairs.dtype.itemsize
    narrow, wide = _NARROW_AND_WIDE[size]
    begin = pairs.view(np.uint8)[..., :-1, component * size]
    numbers = as_strided(
        begin, (*begin.shape, 2 * size), (*begin.strides, 1), writeable=False
    )
    return out.view(narrow), numbers.view(wide)[..., 0]


def _take(array: NDArray[Any], pick: Pick, axis: int) -> NDArray[Any]:
    if isinstance(pick, slice):
        return array[(slice(None),) * axis + (pick,)]
    return array.take(pick, axis=axis)


def _put(out: NDArray[Any], frames: Pick, lines: Pick, kept: NDArray[Any]) -> None:
    if isinstance(frames, slice) or isinstance(lines, slice):
        # One array index between slices keeps its axis in place.
        out[frames, :, lines] = kept
        return
    for at, frame in enumerate(frames):
        out[frame, :, lines] = kept[at].swapaxes(0, 1)
