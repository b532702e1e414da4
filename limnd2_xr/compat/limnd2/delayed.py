"""All frames as one dask array, in the order that limnd2 gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.arrays.file_manager import FileManager
from limnd2_xr.arrays.lazy import OpenWhileRead
from limnd2_xr.compat.limnd2.pixels import stored_pixels

if TYPE_CHECKING:
    import dask.array as da
    from numpy.typing import NDArray

    from limnd2_xr.arrays.lazy import StoreManager
    from limnd2_xr.frames.store import StoreState

__all__ = ["delayed_image", "frame_numbers"]


def frame_numbers(state: StoreState) -> NDArray[np.int64]:
    """Return the number of each frame, of shape (times, positions, slices)."""
    axes = state.axes
    dims = [dim for dim in axes.dims if dim in ("U", "T", "P", "Z")]
    numbers = axes.sequence()
    order = [dims.index(dim) for dim in ("U", "T", "P", "Z") if dim in dims]
    numbers = numbers.transpose(order)
    sizes = {dim: axes.size(dim) for dim in dims}
    times = sizes.get("U", 1) * sizes.get("T", 1)
    return numbers.reshape(times, sizes.get("P", 1), sizes.get("Z", 1))


class _Block:
    """Reads one frame, or a tile of one.

    The file is open while a block is read. Another process that gets this keeps it open.
    """

    def __init__(
        self, manager: StoreManager, numbers: NDArray[np.int64], tile: tuple[int, int]
    ) -> None:
        self._manager, self._numbers, self._tile = manager, numbers, tile

    def __call__(self, block_id: tuple[int, ...] | None = None) -> NDArray[Any]:
        """Return a block by its number along each axis."""
        t, m, z, row, column, _ = block_id or (0,) * 6
        height, width = self._tile
        with self._manager.acquire_context() as store:
            pixels = stored_pixels(
                store,
                int(self._numbers[t, m, z]),
                slice(row * height, (row + 1) * height),
                slice(column * width, (column + 1) * width),
            )
        return pixels[np.newaxis, np.newaxis, np.newaxis]

    def __reduce__(self) -> tuple[Any, ...]:
        manager = self._manager
        if isinstance(manager, OpenWhileRead):
            manager = FileManager(manager.state)
        return _Block, (manager, self._numbers, self._tile)

    def __dask_tokenize__(self) -> tuple[str, str, tuple[int, int]]:
        return "limnd2-block", self._manager.token, self._tile


def delayed_image(state: StoreState, tiling: tuple[int, int] | None) -> da.Array:
    """Return all frames as a dask array: a block a frame, or a tile of one.

    Parameters
    ----------
    state
        What opening the file found out; blocks open it again.
    tiling
        Width and height of a tile.

    Returns
    -------
    dask.array.Array
        Of shape (times, positions, slices, rows, columns, components).
    """
    import dask.array as da

    numbers = frame_numbers(state)
    layout = state.table.layout
    width, height = tiling or (layout.width, layout.height)
    if width < 1 or height < 1:
        raise ValueError(f"tiles of {width} x {height} pixels hold nothing")
    tile = min(height, layout.height), min(width, layout.width)
    chunks = (
        *((1,) * length for length in numbers.shape),
        _pieces(layout.height, tile[0]),
        _pieces(layout.width, tile[1]),
        (layout.components,),
    )
    made: da.Array = da.map_blocks(
        _Block(OpenWhileRead(state), numbers, tile),
        chunks=chunks,
        dtype=layout.dtype,
        meta=np.empty((0,) * 6, layout.dtype),
        name=f"limnd2-{state.token}-{tile[0]}-{tile[1]}",
    )
    return made


def _pieces(length: int, size: int) -> tuple[int, ...]:
    whole, rest = divmod(length, size)
    return (size,) * whole + ((rest,) if rest else ())
