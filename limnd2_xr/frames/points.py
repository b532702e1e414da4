"""Pixels at single points: of each frame only the rows that its own points need.

An outer index would read the product of all frames, rows and columns that any point has.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from limnd2_xr.frames.new_memory import new_array
from limnd2_xr.frames.planner import fold, normalize, pick_array, pick_length
from limnd2_xr.frames.read_groups import FrameSelection
from limnd2_xr.frames.reader import FrameReader
from limnd2_xr.frames.threads import run_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from limnd2_xr.frames.legacy_reader import LegacyReader
    from limnd2_xr.frames.planner import AxisKey, Pick
    from limnd2_xr.frames.read_groups import ReadGroup
    from limnd2_xr.model.axes import Axes

__all__ = ["PointKey", "read_points"]

_NOTHING = slice(0, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PointKey:
    """An index of points, normalised: of each dim an index a point, or a pick for all."""

    shape: tuple[int, ...]
    """Of the points."""
    indices: tuple[NDArray[np.int64] | None, ...]
    """For each dim the flattened indices of the points; None where `picks` count."""
    picks: tuple[Pick | None, ...]
    """For each dim what is taken of it at each point; None where `indices` count."""

    @classmethod
    def of(
        cls,
        key: Sequence[AxisKey | NDArray[np.integer[Any]]],
        shape: Sequence[int],
        dims: Sequence[str],
    ) -> PointKey:
        """Normalise an index.

        Parameters
        ----------
        key
            For each dim a slice, or integers of a shape that all broadcast to.
        shape, dims
            Lengths and names of the dims.

        Raises
        ------
        IndexError
            If an index is out of bounds.

        Examples
        --------
        >>> key = PointKey.of((np.array([0, -1]), slice(2)), (5, 9), ("T", "X"))
        >>> key.indices, key.picks
        ((array([0, 4]), None), (None, slice(0, 2, 1)))
        """
        given = [None if isinstance(k, slice) else np.asarray(k) for k in key]
        points = np.broadcast_shapes(*(k.shape for k in given if k is not None))
        indices: list[NDArray[np.int64] | None] = []
        picks: list[Pick | None] = []
        for own, array, length, dim in zip(key, given, shape, dims, strict=True):
            if array is None:
                picks.append(normalize(own, length, dim))
                indices.append(None)
            else:
                flat = np.broadcast_to(array, points).ravel()
                indices.append(pick_array(normalize(flat, length, dim)))
                picks.append(None)
        return cls(shape=points, indices=tuple(indices), picks=tuple(picks))

    @property
    def size(self) -> int:
        """Number of points."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class _Places:
    """Where items are in their frames, one item a point and frame."""

    sequence: NDArray[np.int64]
    indices: tuple[NDArray[np.int64] | None, ...]
    """Along C, Y, X and, for RGB, S; None where `picks` count."""
    picks: tuple[Pick | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is read of each item."""
        return tuple(pick_length(pick) for pick in self.picks if pick is not None)

    def subset(self, keep: NDArray[np.intp] | NDArray[np.bool_]) -> _Places:
        indices = tuple(None if i is None else i[keep] for i in self.indices)
        return _Places(self.sequence[keep], indices, self.picks)


def read_points(
    reader: FrameReader | LegacyReader, axes: Axes, key: PointKey
) -> NDArray[Any]:
    """Return pixels at points.

    Parameters
    ----------
    reader
        Of the file.
    axes
        Its loops as dims.
    key
        Index along the dims of the loops, C, Y, X and, for RGB, S.

    Returns
    -------
    ndarray
        The dims of the points first, then those that are picked for all points.

    Raises
    ------
    CorruptChunk
        If a frame that is read is damaged.
    """
    loops = len(axes.dims)
    numbers = np.zeros((key.size, 1), dtype=np.int64)
    for steps, index, pick in zip(
        axes.contributions, key.indices[:loops], key.picks[:loops], strict=True
    ):
        if index is not None:
            numbers = numbers + steps[index][:, None]
        elif pick is not None:
            more = steps[pick_array(pick)]
            each = numbers.shape[1] * len(more)
            numbers = (numbers[:, :, None] + more).reshape(key.size, each)
    frames = numbers.shape[1]
    places = _Places(
        numbers.ravel(),
        tuple(None if i is None else np.repeat(i, frames) for i in key.indices[loops:]),
        key.picks[loops:],
    )
    found = new_array((len(places.sequence), *places.shape), reader.table.layout.dtype)
    if found.size:
        _read_items(reader, places, found)
    kept = (pick_length(pick) for pick in key.picks if pick is not None)
    return found.reshape((*key.shape, *kept))


def _read_items(
    reader: FrameReader | LegacyReader, places: _Places, out: NDArray[Any]
) -> None:
    if all(index is None for index in places.indices):
        _read_frames(reader, places, out)
    elif (
        isinstance(reader, FrameReader)
        and reader.table.layout.compression == "none"
        and places.indices[1] is not None
    ):
        _read_rows(reader, places, out)
    else:
        _read_each_frame(reader, places, out)


# ---- whole frames, or the same part of each -------------------------------------------


def _read_frames(
    reader: FrameReader | LegacyReader, places: _Places, out: NDArray[Any]
) -> None:
    numbers, item = np.unique(places.sequence, return_inverse=True)
    if len(numbers) == len(places.sequence):
        reader.read_into(out, _selection(places.sequence, places.picks))
        return
    once = new_array((len(numbers), *places.shape), out.dtype)
    reader.read_into(once, _selection(numbers, places.picks))
    out[...] = once[item.reshape(-1)]


def _selection(
    sequence: NDArray[np.int64], picks: Sequence[Pick | None]
) -> FrameSelection:
    channels, rows, columns, *samples = (
        _NOTHING if pick is None else pick for pick in picks
    )
    return FrameSelection(
        sequence=sequence,
        channels=channels,
        rows=rows,
        columns=columns,
        samples=samples[0] if samples else None,
    )


# ---- one frame at a time --------------------------------------------------------------


def _read_each_frame(
    reader: FrameReader | LegacyReader, places: _Places, out: NDArray[Any]
) -> None:
    """Read of each frame the rows and columns of its points, and take the points."""
    order = np.argsort(places.sequence, kind="stable")
    cuts = np.flatnonzero(np.diff(places.sequence[order])) + 1
    run_all(partial(_read_one_frame, reader, places, out), np.split(order, cuts))


def _read_one_frame(
    reader: FrameReader | LegacyReader,
    places: _Places,
    out: NDArray[Any],
    items: NDArray[np.intp],
) -> None:
    own = places.subset(items)
    picks: list[Pick] = []
    within: list[NDArray[np.intp]] = []
    for index, pick in zip(own.indices, own.picks, strict=True):
        if index is None:
            picks.append(_NOTHING if pick is None else pick)
        else:
            wanted, place = np.unique(index, return_inverse=True)
            picks.append(fold(wanted))
            within.append(place.reshape(-1))
    part = np.empty((1, *map(pick_length, picks)), out.dtype)
    reader.read_into(part, _selection(own.sequence[:1], picks))
    axes = [at for at, index in enumerate(own.indices) if index is not None]
    out[items] = np.moveaxis(part[0], axes, range(len(axes)))[tuple(within)]


# ---- single rows of uncompressed frames -----------------------------------------------


def _read_rows(reader: FrameReader, places: _Places, out: NDArray[Any]) -> None:
    """Read of the row of each point the columns wanted, and nothing else."""
    layout = reader.table.layout
    rows = reader.table.rows(places.sequence)
    present = rows >= 0
    if not present.all():
        out[~present] = 0
    targets = np.flatnonzero(present)
    own, rows = places.subset(present), rows[present]
    reader.reads.learn_headers(rows)
    lines, columns, pick = own.indices[1], own.indices[2], own.picks[2]
    assert lines is not None  # noqa: S101 - this is about rows
    first: NDArray[np.int64] | int
    if columns is not None:
        first, count = columns, 1
    else:
        taken = pick_array(_NOTHING if pick is None else pick)
        first, count = int(taken.min()), int(taken.max() - taken.min()) + 1
        own = _Places(
            own.sequence,
            own.indices,
            (*own.picks[:2], fold(taken - first), *own.picks[3:]),
        )
    offsets = lines * layout.row_nbytes + first * layout.pixel_nbytes
    nbytes = np.full(len(rows), count * layout.pixel_nbytes, dtype=np.int64)
    # While reading, targets count the present ones, as `own` does.
    groups = reader.reads.parts(rows, np.arange(len(rows)), nbytes, offsets)

    def read(group: ReadGroup) -> None:
        base, staged = reader.reads.stage(group)
        stored = np.frombuffer(staged, np.uint8)
        pixels = sliding_window_view(stored, int(nbytes[0]))[group.starts - base]
        shape = (-1, count, layout.channels, layout.samples)
        values = pixels.view(layout.dtype).reshape(shape)
        if layout.samples > 1:
            values = values[..., ::-1]  # stored B, G, R (FORMAT 6.3)
        out[targets[group.targets]] = _taken(values, own.subset(group.targets))

    reader.reads.carry_out(groups, read, threaded=False)


def _taken(values: NDArray[Any], places: _Places) -> NDArray[Any]:
    """Take what is wanted of each item from its pixels, (item, X, C, S)."""
    channels, _, columns, *samples = zip(places.indices, places.picks, strict=True)
    if columns[0] is not None:  # the one column was read
        columns = (np.zeros(len(values), dtype=np.int64), None)
    values = values.transpose(0, 2, 1, 3) if samples else values[..., 0].swapaxes(1, 2)
    indices, axes = [np.arange(len(values))], [0]
    for axis, (index, pick) in enumerate((channels, columns, *samples), start=1):
        if index is not None:
            indices.append(index)
            axes.append(axis)
        elif isinstance(pick, slice):
            values = values[(slice(None),) * axis + (pick,)]
        elif pick is not None:
            values = values.take(pick, axis=axis)
    taken: NDArray[Any] = np.moveaxis(values, axes, range(len(axes)))[tuple(indices)]
    return taken
