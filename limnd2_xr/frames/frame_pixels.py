"""Pixels of an open file: by an outer index, at points, by frame, and as stored."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.errors import UnsupportedFeature
from limnd2_xr.frames.legacy_reader import CodestreamTable, LegacyReader
from limnd2_xr.frames.new_memory import new_array
from limnd2_xr.frames.planner import normalize, outer_shape, pick_array
from limnd2_xr.frames.points import PointKey, read_points
from limnd2_xr.frames.read_groups import FrameSelection
from limnd2_xr.frames.reader import FrameReader
from limnd2_xr.frames.single_frames import SingleFrames
from limnd2_xr.frames.stored_frames import StoredFrames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.frames.planner import AxisKey
    from limnd2_xr.frames.store_state import StoreState
    from limnd2_xr.frames.table import FrameTable
    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.records import FrameRecords

__all__ = ["FramePixels"]

_ALL: Final = slice(None)


class FramePixels:
    """The frames of an open file as arrays; safe to use from several threads at once.

    Parameters
    ----------
    state
        What opening the file found out.
    source
        The file, open for as long as this is used.
    """

    def __init__(self, state: StoreState, source: ByteSource) -> None:
        self.state = state
        self.maps_single_frames = True
        """Whether a frame that is read alone is looked up in memory; to be unset for a
        store that is open for a moment only."""
        self._source = source
        self._reader = _reader_of(source, state)

    def keep_mapped(self) -> None:
        """Let all of the file stay in the process while it is open, if there is room.

        For files that their user closes; else little of them stays, since it counts as
        memory of the process.
        """
        self._source.keep()

    @property
    def records(self) -> FrameRecords:
        """Values recorded for every frame."""
        return self.state.records

    @property
    def axes(self) -> Axes:
        """Loops as dimensions."""
        return self.state.axes

    @property
    def table(self) -> FrameTable:
        """Where the frames are."""
        return self.state.table

    @property
    def source_name(self) -> str:
        """Path, URL or name of the file, for messages."""
        return self._source.name

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimensions of the image: the loops, then C, Y, X and, for RGB, S."""
        return self.state.dims

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return self.state.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of one component."""
        return self.table.layout.dtype

    def read(
        self, key: tuple[AxisKey, ...], room: NDArray[np.uint8] | None = None
    ) -> NDArray[Any]:
        """Pixels that an outer index selects: each dimension is indexed on its own.

        Parameters
        ----------
        key
            One integer, slice or one-dimensional integer array a dimension of `dims`.
        room
            Memory to put them in, if it is large enough: new memory costs time.

        Returns
        -------
        ndarray
            A new C-contiguous array, or one in `room`; dimensions indexed by an integer
            are dropped.

        Raises
        ------
        CorruptChunk
            If a frame that is read is damaged.
        IndexError
            If an index is out of bounds or the key has another length than `dims`.
        """
        dims, shape, layout = self.dims, self.shape, self.table.layout
        if len(key) != len(dims):
            raise IndexError(f"{len(key)} indices for dimensions {dims}")
        picks = [normalize(k, n, d) for k, n, d in zip(key, shape, dims, strict=True)]
        loops = len(self.axes.dims)
        sequence = _sequence(self.axes, [pick_array(pick) for pick in picks[:loops]])
        selected = outer_shape(picks)
        out = _array_in(room, (sequence.size, *selected[loops:]), layout.dtype)
        selection = FrameSelection(
            sequence=sequence,
            channels=picks[loops],
            rows=picks[loops + 1],
            columns=picks[loops + 2],
            samples=picks[loops + 3] if layout.samples > 1 else None,
        )
        self._reader.read_into(out, selection)
        kept = [n for n, k in zip(selected, key, strict=True) if not _is_scalar(k)]
        return out.reshape(kept)

    def read_frame(self, number: int) -> NDArray[Any]:
        """Pixels of one frame by its sequence number, zeros where it is missing.

        Returns
        -------
        ndarray
            Of shape (C, Y, X) and, for RGB, S; a new array.

        Raises
        ------
        CorruptChunk
            If the frame is damaged.
        """
        pixels: NDArray[Any] = self.read_frames(np.array([number]))[0]
        return pixels

    def read_frames(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Pixels of several frames by their sequence numbers, zeros where missing.

        Parameters
        ----------
        numbers
            One-dimensional, in the order of the output.

        Returns
        -------
        ndarray
            Of shape (frames, C, Y, X) and, for RGB, S; new and C-contiguous.

        Raises
        ------
        CorruptChunk
            If a frame is damaged.
        """
        return self._read_whole(self._reader, self._single_frames, numbers)

    def read_stored(
        self,
        numbers: NDArray[np.int64],
        *,
        rows: slice = _ALL,
        columns: slice = _ALL,
    ) -> NDArray[Any]:
        """Pixels of several frames as they lie in the file, zeros where missing.

        Faster than `read_frames` where there are several components: nothing is put in
        another order, RGB neither (FORMAT 6.1, 6.3).

        Parameters
        ----------
        numbers
            Sequence numbers, one-dimensional, in the order of the output.
        rows, columns
            Part of each frame, without steps; nothing else of it is read.

        Returns
        -------
        ndarray
            Of shape (frames, Y, X, components); new and C-contiguous.

        Raises
        ------
        CorruptChunk
            If a frame is damaged.
        UnsupportedFeature
            If the file is of format 1.0, whose components lie apart.
        """
        layout = self.table.layout
        reader, single_frames = self._as_stored
        shape = (len(numbers), layout.height, layout.width, layout.components)
        if rows == _ALL and columns == _ALL:
            return self._read_whole(reader, single_frames, numbers).reshape(shape)
        top, bottom, _ = rows.indices(layout.height)
        left, right, _ = columns.indices(layout.width)
        height, width = max(bottom - top, 0), max(right - left, 0)
        shape = (len(numbers), height, width, layout.components)
        out = new_array(shape, layout.dtype)
        if out.size:
            selection = FrameSelection(
                sequence=np.asarray(numbers, dtype=np.int64),
                channels=slice(0, 1, 1),
                rows=slice(top, bottom, 1),
                columns=slice(left * layout.components, right * layout.components, 1),
                samples=None,
            )
            reader.read_into(out.reshape(len(numbers), 1, height, -1), selection)
        return out

    def read_points(
        self, key: tuple[slice | NDArray[np.integer[Any]], ...]
    ) -> NDArray[Any]:
        """Pixels at points: of each frame only the rows that its points need are read.

        Parameters
        ----------
        key
            For each dimension of `dims` a slice, or an array of integers; arrays
            broadcast to the shape of the points.

        Returns
        -------
        ndarray
            A new array: the dimensions of the points first, then those with slices.

        Raises
        ------
        CorruptChunk
            If a frame that is read is damaged.
        IndexError
            If an index is out of bounds or the key has another length than `dims`.

        Examples
        --------
        >>> from limnd2_xr.frames.store import FrameStore
        >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
        >>> spec = SyntheticSpec(loops=(TimeLoop(count=3),), width=8, height=6)
        >>> at = np.array([0, 2, 1])
        >>> with FrameStore.open(build(spec).data) as store:
        ...     store.read_points((at, slice(None), at, at)).shape
        (3, 1)
        """
        if len(key) != len(self.dims):
            raise IndexError(f"{len(key)} indices for dimensions {self.dims}")
        points = PointKey.of(key, self.shape, self.dims)
        return read_points(self._reader, self.axes, points)

    @cached_property
    def stored(self) -> StoredFrames:
        """Bytes of the frames as they lie in the file.

        Raises
        ------
        UnsupportedFeature
            If frames are stored neither plain nor as zlib streams.
        """
        return StoredFrames(self._source, self.table, self.records.times_ms)

    def _read_whole(
        self,
        reader: FrameReader | LegacyReader,
        single_frames: SingleFrames,
        numbers: NDArray[np.int64],
    ) -> NDArray[Any]:
        layout = reader.table.layout
        if len(numbers) == 1:
            alone = single_frames.read(int(numbers[0]), mapped=self.maps_single_frames)
            if alone is not None:
                return alone[None]
        out = new_array((len(numbers), *layout.frame_shape), layout.dtype)
        picks = [slice(0, length, 1) for length in layout.frame_shape]
        selection = FrameSelection(
            sequence=np.asarray(numbers, dtype=np.int64),
            channels=picks[0],
            rows=picks[1],
            columns=picks[2],
            samples=picks[3] if layout.samples > 1 else None,
        )
        reader.read_into(out, selection)
        return out

    @cached_property
    def _as_stored(self) -> tuple[FrameReader, SingleFrames]:
        """Readers to which the components of a pixel are pixels of their own."""
        if isinstance(self.table, CodestreamTable):
            raise UnsupportedFeature(
                "components of format 1.0 are images of their own",
                path=self.source_name,
            )
        layout = self.table.layout
        flat = replace(
            layout, width=layout.width * layout.components, channels=1, samples=1
        )
        table = replace(self.table, layout=flat)
        times = self.records.times_ms
        return (
            FrameReader(self._source, table, times_ms=times),
            SingleFrames(self._source, table),
        )

    @cached_property
    def _single_frames(self) -> SingleFrames:
        return SingleFrames(self._source, self.table)


def _sequence(axes: Axes, indices: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Sequence numbers that an outer index selects, row by row."""
    numbers = np.zeros(1, dtype=np.int64)
    for steps, index in zip(axes.contributions, indices, strict=True):
        numbers = (numbers[:, None] + steps[index]).ravel()
    return numbers


def _array_in(
    room: NDArray[np.uint8] | None, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return an array of any content, in memory that is there if it has room."""
    nbytes = math.prod(shape) * dtype.itemsize
    if room is None or room.nbytes < nbytes:
        return new_array(shape, dtype)
    found: NDArray[Any] = room[:nbytes].view(dtype).reshape(shape)
    return found


def _is_scalar(key: AxisKey) -> bool:
    return not isinstance(key, slice) and np.ndim(key) == 0


def _reader_of(source: ByteSource, state: StoreState) -> FrameReader | LegacyReader:
    if isinstance(state.table, CodestreamTable):
        return LegacyReader(source, state.table)
    return FrameReader(source, state.table, times_ms=state.records.times_ms)
