"""Frame by frame through an array that may be lazy, computing each block but once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from limnd2_xr.model.axes import Axes

__all__ = ["FrameBlocks"]


class FrameBlocks:
    """Frames of an array by their number in a file.

    Of a dask array the block that the latest frame was in is kept: ask for frames in the
    order of their numbers.

    Parameters
    ----------
    array
        Over any of the loop dims and `inner`, in any order.
    axes
        Loops of the file.
    inner
        Dims of a frame, in the order in which it is returned.

    Examples
    --------
    >>> import xarray as xr
    >>> from limnd2_xr.arrays.dataset import open_state
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
    >>> spec = SyntheticSpec(loops=(TimeLoop(3),), width=8, height=6)
    >>> axes = open_state(build(spec).data).axes
    >>> array = xr.DataArray(np.arange(6).reshape(2, 3), dims=("X", "T"))
    >>> FrameBlocks(array, axes, ("X",)).frame(2)
    array([2, 5])
    """

    def __init__(self, array: xr.DataArray, axes: Axes, inner: tuple[str, ...]) -> None:
        self._loops = tuple(dim for dim in axes.dims if dim in array.dims)
        self._array = array.transpose(*self._loops, *inner)
        self._dims = axes.dims
        sequence = np.atleast_1d(axes.sequence())
        self._places = np.empty((sequence.size, sequence.ndim), np.int64)
        self._places[sequence.ravel()] = np.argwhere(np.ones_like(sequence, bool))
        self._latest: tuple[Any, NDArray[Any]] | None = None

    def frame(self, number: int) -> NDArray[Any]:
        """Return one frame.

        Parameters
        ----------
        number
            In the file.
        """
        place = dict(zip(self._dims, self._places[number].tolist(), strict=False))
        spans = {dim: self._block(dim, place[dim]) for dim in self._loops}
        key = tuple(spans.values())
        if self._latest is None or self._latest[0] != key:
            block = self._array.isel({dim: slice(*span) for dim, span in spans.items()})
            self._latest = key, block.values
        inside = tuple(place[dim] - spans[dim][0] for dim in self._loops)
        found: NDArray[Any] = self._latest[1][inside]
        return found

    def _block(self, dim: str, at: int) -> tuple[int, int]:
        """First and last but one index of the dask block that holds an index."""
        chunks = self._array.chunksizes.get(dim)
        if chunks is None:
            return at, at + 1
        ends = np.cumsum(chunks)
        block = int(np.searchsorted(ends, at, side="right"))
        return int(ends[block]) - chunks[block], int(ends[block])
