"""An image in groups of frames that are read at a time, each block of it but once."""

from __future__ import annotations

import itertools
import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from limnd2_xr.arrays.opened_pixels import opened_pixels
from limnd2_xr.export.stored_planes import plain_numbers
from limnd2_xr.frames.new_memory import new_array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from limnd2_xr.arrays.opened_pixels import OpenedPixels
    from limnd2_xr.frames.store import FrameStore

__all__ = ["FrameGroup", "PixelSource", "frame_groups"]

_FRAME_DIMS: Final = ("C", "Y", "X", "S")
GROUP_NBYTES: Final = 2**23
"""About this much is read at a time."""
_KEPT_NBYTES: Final = 2**26

_kept = threading.local()
"""Memory that each thread reads into, again and again: new memory costs as much time as
reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSource:
    """Pixels of an image, which may be lazy, in the order of an export."""

    variable: xr.Variable
    """Over any of the loop dims, C, Y, X and S, in any order."""
    loops: tuple[str, ...]
    """Loop dims, the slowest first."""
    samples: tuple[int, ...] = ()
    """Index of red, green and blue along S, if they are not in this order."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        found: np.dtype[Any] = self.variable.dtype
        return found

    @property
    def frame_nbytes(self) -> int:
        """Size of a frame with all its channels."""
        sizes = self.variable.sizes
        inside = [sizes[dim] for dim in _FRAME_DIMS if dim in sizes]
        return int(self.dtype.itemsize * math.prod(inside))

    def read(self, index: Mapping[str, slice]) -> NDArray[Any]:
        """Return a part of the pixels: over the loops, C, Y, X and, for RGB, S.

        It is valid until the same thread reads the next one, and must not be changed.

        Parameters
        ----------
        index
            Slices along dims; others are whole.
        """
        own = {dim: at for dim, at in index.items() if dim in self.variable.dims}
        part = self.variable.isel(own)
        values = _values(part)
        order = [dim for dim in (*self.loops, *_FRAME_DIMS) if dim in part.dims]
        values = values.transpose([part.dims.index(dim) for dim in order])
        if "C" not in order:
            values = np.expand_dims(values, len(self.loops))
        return values[..., list(self.samples)] if self.samples else values

    @property
    def has_rows(self) -> bool:
        """Whether rows of a frame cost less than all of it."""
        if isinstance(self.variable._data, np.ndarray):
            return True
        if self.variable.chunks is not None:
            return False
        opened = opened_pixels(xr.DataArray(self.variable))
        return opened is not None and opened.state.table.layout.compression == "none"


def _values(part: xr.Variable) -> NDArray[Any]:
    """Read a part; of a file into memory that each thread keeps."""
    opened = opened_pixels(xr.DataArray(part)) if part.chunks is None else None
    if opened is None:
        values: NDArray[Any] = part.values
        return values
    nbytes = part.size * part.dtype.itemsize
    room = getattr(_kept, "room", None)
    if room is None or room.nbytes < nbytes:
        room = new_array((nbytes,), np.uint8)
        if nbytes <= _KEPT_NBYTES:
            _kept.room = room
    with opened.manager.acquire_context() as store:
        layout = opened.state.table.layout
        if part.size == layout.height * layout.width:
            stored = _stored_frame(opened, store)
            if stored is not None:
                return stored.reshape(part.shape)
        return store.read(opened.key, room)


def _stored_frame(opened: OpenedPixels, store: FrameStore) -> NDArray[Any] | None:
    """Return a single whole frame as its bytes lie in the file, where that is possible.

    Of files that are mapped nothing is copied.
    """
    numbers = plain_numbers(opened)
    if numbers is None or numbers.size != 1:
        return None
    layout = opened.state.table.layout
    data = store.stored.read(int(numbers.item()))
    if data is None or len(data) < layout.frame_nbytes:
        return None
    return np.frombuffer(data, layout.dtype, layout.height * layout.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameGroup:
    """Some frames, or some rows of one."""

    numbers: NDArray[np.int64]
    """Number of each frame, counted along the loops: of their shape."""
    index: dict[str, slice]
    """Where the group is."""
    row: int
    """First row."""

    def read(self, pixels: PixelSource) -> NDArray[Any]:
        """Return the pixels: of shape (frames, C, rows, X) and, for RGB, (..., S)."""
        values = pixels.read(self.index)
        return values.reshape(-1, *values.shape[self.numbers.ndim :])


def frame_groups(
    pixels: PixelSource,
    *,
    row_unit: int = 1,
    nbytes: int = GROUP_NBYTES,
    whole_frames: bool = False,
) -> list[FrameGroup]:
    """Cut an image into groups, in the order of its loops.

    Blocks of dask arrays stay whole. Frames that are larger than a group are cut into
    rows, if these can be read alone.

    Parameters
    ----------
    pixels
        Of the image.
    row_unit
        Groups of rows begin at multiples of it.
    nbytes
        About as large as a group should be.
    whole_frames
        Do not cut frames into rows.
    """
    variable, loops = pixels.variable, pixels.loops
    sizes = [variable.sizes[dim] for dim in loops]
    height = variable.sizes["Y"]
    spans = _loop_spans(variable, loops, max(1, nbytes // pixels.frame_nbytes))
    rows = [slice(0, height)]
    if pixels.frame_nbytes > nbytes and not whole_frames and pixels.has_rows:
        per_row = pixels.frame_nbytes // height
        step = max(1, nbytes // per_row // row_unit) * row_unit
        rows = _spans(height, step)
    numbers = np.arange(math.prod(sizes), dtype=np.int64).reshape(sizes)
    found = []
    for at in itertools.product(*spans):
        for part in rows:
            index = {**dict(zip(loops, at, strict=True)), "Y": part}
            group = FrameGroup(
                numbers=np.asarray(numbers[at]), index=index, row=part.start
            )
            found.append(group)
    return found


def _loop_spans(
    variable: xr.Variable, loops: tuple[str, ...], room: int
) -> list[list[slice]]:
    """Spans along each loop: whole dask blocks, or as many frames as there is room for."""
    found: list[list[slice]] = []
    for dim in reversed(loops):
        length = variable.sizes[dim]
        if variable.chunks is None:
            step = min(length, room)
            spans = _spans(length, step)
        else:
            spans = _merged(variable.chunksizes[dim], room)
            step = max(span.stop - span.start for span in spans)
        room = max(1, room // step) if len(spans) == 1 else 1
        found.append(spans)
    return found[::-1]


def _spans(length: int, step: int) -> list[slice]:
    return [slice(a, min(a + step, length)) for a in range(0, length, step)]


def _merged(chunks: tuple[int, ...], room: int) -> list[slice]:
    """Neighbouring blocks together, as many as there is room for."""
    found: list[slice] = []
    begin = end = 0
    for size in chunks:
        if end > begin and end + size - begin > room:
            found.append(slice(begin, end))
            begin = end
        end += size
    found.append(slice(begin, end))
    return found
