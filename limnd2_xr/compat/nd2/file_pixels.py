"""Shape and pixels of an nd2 file: the middle of `ND2File`."""

from __future__ import annotations

import math
import warnings
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, SupportsInt

import numpy as np
from numpy.typing import NDArray  # noqa: TC002 - for typing.get_type_hints

from limnd2_xr.compat.nd2.axis import AXIS, VoxelSize
from limnd2_xr.compat.nd2.file_state import FileState
from limnd2_xr.compat.nd2.labelled import dask_array, position_index
from limnd2_xr.compat.nd2.loops import experiment_of, loop_indices_of
from limnd2_xr.compat.nd2.metadata import attributes_of, voxel_size_of
from limnd2_xr.compat.nd2.pixels import read_frames
from limnd2_xr.compat.nd2.structures import XYPosLoop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import dask.array as da

    from limnd2_xr.compat.nd2 import structures
    from limnd2_xr.frames.store import FrameStore

__all__ = ["FilePixels"]


class FilePixels(FileState):
    """Reads the frames of a file."""

    @cached_property
    def attributes(self) -> structures.Attributes:
        """What a frame looks like."""
        return attributes_of(self._document)

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Length of each axis, in the order of `shape`; axes of length 1 are left out."""
        return self._layout.sizes

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return tuple(self.sizes.values())

    @cached_property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return self.size * self.dtype.itemsize

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        return self._session.state.table.layout.dtype.newbyteorder("=")

    @property
    def is_rgb(self) -> bool:
        """Whether channels have red, green and blue components."""
        return self.components_per_channel in (3, 4)

    @property
    def components_per_channel(self) -> int:
        """Components of a channel: 1, or 3 for RGB."""
        return self._session.state.table.layout.samples

    @cached_property
    def loop_indices(self) -> tuple[dict[str, int], ...]:
        """Index of each frame along each axis, in file order."""
        return loop_indices_of(self._session.state.axes)

    def voxel_size(self, channel: int = 0) -> VoxelSize:
        """Return the size of a voxel, um; 1 where it is not known."""
        del channel
        return voxel_size_of(self._document)

    def asarray(self, position: int | str | None = None) -> NDArray[Any]:
        """Read the whole file, or one stage position of it.

        Parameters
        ----------
        position
            Number or name of the position, negative numbers count from the end; its axis
            stays, with length 1.

        Returns
        -------
        ndarray
            Of shape `shape`; new and writable.

        Raises
        ------
        ValueError
            If there is no position of that name, or the file is closed.
        IndexError
            If there are not so many positions.
        """
        numbers = self._layout.sequence
        if position is not None:
            at = position_index(self, position)
            if AXIS.POSITION in self.sizes:
                axis = list(self.sizes).index(AXIS.POSITION)
                numbers = numbers.take([at], axis)
        pixels = read_frames(self._readable(), numbers.ravel())
        return pixels.reshape(numbers.shape + self._layout.frame_shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return `asarray`."""
        if copy is False:
            raise ValueError("reading a file always makes a new array")
        found = self.asarray()
        return found if dtype is None else found.astype(dtype, copy=False)

    def read_frame(self, frame_index: SupportsInt) -> NDArray[Any]:
        """Read one frame by its number.

        Returns
        -------
        ndarray
            Of the axes C, Y, X, S that are longer than 1; new and writable. Zeros where
            the file lacks the frame.

        Raises
        ------
        IndexError
            If there is no such frame.
        ValueError
            If the file is closed.
        """
        number, store = int(frame_index), self._readable()
        if number < 0 or (
            number >= store.table.n_frames and store.table.row(number) < 0
        ):
            raise IndexError(f"Frame out of range: {frame_index}")
        pixels = read_frames(store, np.array([number]))
        return pixels.reshape(self._layout.frame_shape)

    def _readable(self) -> FrameStore:
        if self.closed:
            raise ValueError("Attempt to read from closed nd2 file")
        return self._session.store

    def to_dask(
        self,
        wrapper: bool = True,
        copy: bool = True,
        *,
        chunks: Literal["auto"] | None = "auto",
    ) -> da.Array:
        """Return a dask array, which opens the file while it is computed if need be.

        Parameters
        ----------
        wrapper, copy
            Accepted and without effect: the array is a plain dask array that opens the
            file itself, and what it reads is always its own.
        chunks
            ``"auto"`` for a block a frame of 1 MiB or more, and blocks of up to 4 MiB of
            smaller frames, which makes them fast. None as in nd2: a block a frame.
        """
        del wrapper, copy
        return dask_array(self._session, self._layout, chunks)

    @cached_property
    def experiment(self) -> list[structures.ExpLoop]:
        """Loops of the acquisition, outermost first."""
        return experiment_of(self._session.state)

    @property
    def _coord_shape(self) -> tuple[int, ...]:
        return self._layout.coord_shape

    @property
    def _frame_shape(self) -> tuple[int, ...]:
        return self._layout.frame_shape

    @property
    def _frame_count(self) -> int:
        return self._session.state.axes.n_frames

    def _coord_info(self) -> list[tuple[int, str, int]]:
        return [(i, loop.type, loop.count) for i, loop in enumerate(self.experiment)]

    def _seq_index_from_coords(self, coords: Sequence[Any]) -> Any:
        return self._layout.frame_number(coords) if self._coord_shape else -1

    def _position_names(self, loop: structures.XYPosLoop | None = None) -> list[str]:
        found = [loop] if loop is not None else self.experiment
        points = next(
            (one.parameters.points for one in found if isinstance(one, XYPosLoop)), None
        )
        if points is None:
            return [f"XYPos:{i}" for i in range(self.sizes.get(AXIS.POSITION, 1))]
        return [point.name or f"XYPos:{i}" for i, point in enumerate(points)]

    @property
    def _channel_names(self) -> list[str]:
        return [channel.name for channel in self._document.channels]

    def _get_frame(self, index: SupportsInt) -> NDArray[Any]:
        warnings.warn("_get_frame is deprecated: use read_frame", stacklevel=2)
        return self.read_frame(index)
