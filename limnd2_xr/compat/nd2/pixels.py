"""Axes, shapes and pixels as nd2 has them: loops in file order, axes of one dropped.

Components of RGB run as stored, blue, green, red, in files of format 2.0 and later, as in
arrays of nd2 (FORMAT 6.3, oddity 20).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.arrays.file_manager import FileManager
from limnd2_xr.compat.nd2.axis import AXIS
from limnd2_xr.compat.nd2.session import Session
from limnd2_xr.model.legacy_document import is_legacy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from limnd2_xr.frames.store import FrameStore, StoreState

__all__ = ["FrameBlock", "Layout", "read_frames"]


@dataclass(frozen=True)
class Layout:
    """Axes of the array of a file.

    Parameters
    ----------
    state
        What opening the file found out.
    """

    state: StoreState

    def __reduce__(self) -> tuple[Any, ...]:
        return Layout, (self.state,)

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Length of each axis; those of length 1 are left out."""
        axes, layout = self.state.axes, self.state.table.layout
        found: dict[str, int] = {dim: axes.size(dim) for dim in axes.file_order}
        found |= {"C": layout.channels, "Y": layout.height, "X": layout.width}
        if layout.samples > 1:
            found["S"] = layout.samples
        return MappingProxyType({dim: n for dim, n in found.items() if n != 1})

    @cached_property
    def coord_shape(self) -> tuple[int, ...]:
        """Lengths of the axes along which frames are counted."""
        inside = AXIS.frame_coords()
        return tuple(n for dim, n in self.sizes.items() if dim not in inside)

    @cached_property
    def frame_shape(self) -> tuple[int, ...]:
        """Lengths of the axes within a frame."""
        inside = AXIS.frame_coords()
        return tuple(n for dim, n in self.sizes.items() if dim in inside)

    @cached_property
    def sequence(self) -> NDArray[np.int64]:
        """Frame number of every index, of shape `coord_shape`."""
        axes = self.state.axes
        order = [axes.dims.index(dim) for dim in axes.file_order]
        numbers = axes.sequence().transpose(order).reshape(self.coord_shape)
        numbers.flags.writeable = False
        return numbers

    def frame_number(self, coords: Sequence[Any]) -> Any:
        """Return the number of the frame at an index, or the numbers at several.

        Raises
        ------
        ValueError
            If there are more or fewer indices than axes, or one is out of range.
        """
        if not self.coord_shape:
            if len(coords):
                raise ValueError(f"index {coords} of a file without frame axes")
            return 0
        np.ravel_multi_index(tuple(coords), self.coord_shape)  # for its checks
        return self.sequence[tuple(coords)]


def read_frames(store: FrameStore, numbers: NDArray[np.int64]) -> NDArray[Any]:
    """Return frames by number, of shape (frames, C, Y, X) and, for RGB, S.

    Components of a pixel lie side by side in memory, as in arrays of nd2.
    """
    layout = store.table.layout
    if layout.components == 1 or is_legacy(store.document):
        return store.read_frames(numbers)
    shape = (layout.height, layout.width, layout.channels, layout.samples)
    pixels = store.read_stored(numbers).reshape(len(numbers), *shape)
    pixels = pixels.transpose(0, 3, 1, 2, 4)
    return pixels if layout.samples > 1 else pixels[..., 0]


class FrameBlock:
    """Reads the block of a dask array that holds one frame, or several.

    Pickles as the name of the file and what it was like: a process that gets it opens the
    file once for all blocks.

    Parameters
    ----------
    lender
        Lends the open file.
    starts
        For each axis along which frames are counted, where its blocks begin and the
        last one ends; None where each block is one frame.
    """

    def __init__(
        self,
        lender: Session | FileManager,
        starts: tuple[tuple[int, ...], ...] | None = None,
    ) -> None:
        self._lender = lender
        self._starts = starts

    @cached_property
    def _layout(self) -> Layout:
        return Layout(self._lender.state)

    def __call__(self, block_id: tuple[int, ...] | None = None) -> NDArray[Any]:
        """Return the block of a number along each axis."""
        layout = self._layout
        index = (block_id or ())[: len(layout.coord_shape)]
        if self._starts is None:
            numbers = layout.sequence[index].reshape((1,) * len(index))
        else:
            picks = tuple(
                slice(*starts[i : i + 2])
                for i, starts in zip(index, self._starts, strict=True)
            )
            numbers = layout.sequence[picks]
        with self._lender.acquire_context() as store:
            pixels = read_frames(store, numbers.ravel())
        return pixels.reshape(numbers.shape + layout.frame_shape)

    def __reduce__(self) -> tuple[Any, ...]:
        lender = self._lender
        if isinstance(lender, Session):
            lender = FileManager(lender.state)
        return FrameBlock, (lender, self._starts)

    def __dask_tokenize__(self) -> tuple[str, str, Any]:
        return "nd2-block", self._lender.token, self._starts
