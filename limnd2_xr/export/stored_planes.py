"""Frames that lie in their file as plain planes: to be copied, not read and written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from limnd2_xr.arrays.opened_pixels import opened_pixels
from limnd2_xr.frames.planner import normalize, pick_array, takes_all

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from limnd2_xr.arrays.opened_pixels import OpenedPixels
    from limnd2_xr.frames.store import FrameStore

__all__ = ["StoredPlanes", "plain_numbers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPlanes:
    """Frames of a file, each of which is stored as one plane over Y and X."""

    opened: OpenedPixels
    """The file."""
    numbers: NDArray[np.int64]
    """Sequence number of each, in the order of the loops of an export."""

    @classmethod
    def of(cls, variable: xr.Variable, loops: tuple[str, ...]) -> StoredPlanes | None:
        """Find the frames that an image consists of.

        Parameters
        ----------
        variable
            Of the image.
        loops
            Its loop dims, the slowest first.

        Returns
        -------
        StoredPlanes or None
            None if its pixels are in memory, computed, parts of frames, or stored in
            another way: compressed, with padded rows, with several components.
        """
        opened = opened_pixels(xr.DataArray(variable))
        numbers = None if opened is None else plain_numbers(opened)
        if opened is None or numbers is None:
            return None
        dims = [str(dim) for dim in variable.dims[: numbers.ndim]]
        inside = variable.dims[numbers.ndim :]
        # Dims may have been renamed since the file was opened.
        if sorted(dims) != sorted(loops) or inside not in {("C", "Y", "X"), ("Y", "X")}:
            return None
        ordered = numbers.transpose([dims.index(dim) for dim in loops])
        return cls(opened=opened, numbers=ordered.ravel())

    def store(self) -> AbstractContextManager[FrameStore]:
        """Give the open file."""
        store: AbstractContextManager[FrameStore] = (
            self.opened.manager.acquire_context()
        )
        return store


def plain_numbers(opened: OpenedPixels) -> NDArray[np.int64] | None:
    """Sequence numbers of frames that are stored as one plain plane each.

    Parameters
    ----------
    opened
        Pixels of a file.

    Returns
    -------
    ndarray or None
        Over the loops of the file that were not reduced to one index; None if frames are
        stored in another way, or are not wanted whole.
    """
    state = opened.state
    layout = state.table.layout
    if layout.compression != "none" or layout.components != 1:
        return None
    if layout.row_nbytes != layout.width * layout.pixel_nbytes:
        return None
    keys = list(zip(opened.key, state.shape, state.dims, strict=True))
    loops = len(state.axes.dims)
    if not all(takes_all(normalize(*key), key[1]) for key in keys[loops:]):
        return None
    picks = [pick_array(normalize(*key)) for key in keys[:loops]]
    found: NDArray[np.int64] = state.axes.sequence()[np.ix_(*picks)]
    kept = [
        len(pick)
        for pick, (key, _, _) in zip(picks, keys[:loops], strict=True)
        if not isinstance(key, int | np.integer)
    ]
    return found.reshape(kept)
