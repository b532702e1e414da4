"""Wells of the positions of a file: the coordinates ``well``, row, column and field."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.frame_wells import FrameWell, FrameWellTable
from limnd2_xr.model.plates import canonical_well, parse_well, well_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from limnd2_xr.model.axes import Axes

__all__ = [
    "PositionWells",
    "frames_in_wells",
    "made_wells",
    "position_wells",
    "wells_by_position",
    "wells_of_frames",
    "wells_of_positions",
]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PositionWells:
    """Well of each position: arrays of one length, one entry a position.

    Examples
    --------
    >>> wells = PositionWells.of_names(["A1", "A1", "B3"])
    >>> wells.name.tolist(), wells.row.tolist(), wells.field.tolist()
    (['A01', 'A01', 'B03'], [0, 0, 1], [0, 1, 0])
    """

    name: npt.NDArray[np.str_]
    """Name, e.g. ``B03``; ``""`` where not known."""
    row: npt.NDArray[np.int64]
    """Row, counted from 0; -1 where not known."""
    column: npt.NDArray[np.int64]
    """Column, counted from 0; -1 where not known."""
    field: npt.NDArray[np.int64]
    """Number of the position among those of its well, counted from 0; -1 where the well
    is not known."""

    @classmethod
    def of_names(cls, names: Sequence[str]) -> PositionWells:
        """Return wells that are known by name only.

        Parameters
        ----------
        names
            Name of the well of each position, as in ``B3`` or ``B03``; ``""`` where it
            is not known. Other names are kept, without row and column.
        """
        cells = []
        for name in names:
            try:
                cells.append(parse_well(name))
            except ValueError:
                cells.append((-1, -1))
        return _position_wells([canonical_well(name) for name in names], cells)

    def __len__(self) -> int:
        return len(self.name)


def wells_of_positions(
    wells: Sequence[FrameWell] | FrameWellTable, axes: Axes
) -> PositionWells | None:
    """Return the well of each position, from the wells of the frames.

    Names are written as in ``B03`` so that they sort; names that do not agree with row
    and column, which plates with a numbering of their own have, stay as stored. Fields
    are counted along P, whatever order the wells come in. (The vendor's reader divides
    the positions by the number of wells, which supposes equally many in each [1S].)

    Parameters
    ----------
    wells
        Wells of frames.
    axes
        Loops of the file. Without positions there is one entry.

    Returns
    -------
    PositionWells or None
        None if no frame is in a well.

    Raises
    ------
    CorruptChunk
        If the frames of one position are in several wells.

    Examples
    --------
    >>> from limnd2_xr.model.axes import Axes
    >>> wells = [
    ...     FrameWell(frame=i, name=name, row=i // 4, column=0, well_index=i // 4)
    ...     for i, name in enumerate(["A1", "A1", "A1", "A1", "B1", "B1"])
    ... ]
    >>> found = wells_of_positions(wells, Axes(nesting=(("P", 3), ("Z", 2))))
    >>> found.name.tolist(), found.field.tolist()
    (['A01', 'A01', 'B01'], [0, 1, 0])
    """
    chosen = wells_by_position(wells, axes)
    return position_wells(chosen) if any(chosen) else None


def wells_by_position(
    wells: Sequence[FrameWell] | FrameWellTable, axes: Axes
) -> tuple[FrameWell | None, ...]:
    """Return what is stored of the well of each position, from the wells of the frames.

    Parameters
    ----------
    wells
        Wells of frames.
    axes
        Loops of the file. Without positions there is one entry.

    Returns
    -------
    tuple of FrameWell or None
        What its first frame that has an entry says; the number of the frame tells
        nothing. None where no frame has one.

    Raises
    ------
    CorruptChunk
        If the frames of one position are in several wells.
    """
    frames = _frames_by_position(axes)
    if not frames.size:
        return (None,) * len(frames)
    table = wells if isinstance(wells, FrameWellTable) else FrameWellTable.of(wells)
    n_frames = int(frames.max()) + 1
    which = np.full(n_frames, -1, np.int64)
    inside = (table.frames >= 0) & (table.frames < n_frames)
    which[table.frames[inside]] = table.which[inside]
    by_position = which[frames]
    known = by_position >= 0
    if not known.any():
        return (None,) * len(frames)
    found = np.where(known, _numbered(table.wells)[by_position], -1)
    first = np.take_along_axis(found, known.argmax(axis=1)[:, np.newaxis], axis=1)
    odd = np.flatnonzero((known & (found != first)).any(axis=1))
    if odd.size:
        position = int(odd[0])
        names = {table.wells[i].name for i in by_position[position][known[position]]}
        raise CorruptChunk(
            f"the frames of position {position} are in several wells: "
            f"{', '.join(sorted(names))}"
        )
    return tuple(
        table.wells[row[mask.argmax()]] if mask.any() else None
        for row, mask in zip(by_position, known, strict=True)
    )


def position_wells(wells: Sequence[FrameWell | None]) -> PositionWells:
    """Return the wells of positions, from what is stored of each.

    Parameters
    ----------
    wells
        One entry a position, as from `wells_by_position`.
    """
    return _position_wells(
        [_name(well) if well else "" for well in wells],
        [_cell(well) if well else (-1, -1) for well in wells],
        [_key(well) if well else None for well in wells],
    )


def wells_of_frames(
    wells: PositionWells, axes: Axes, *, plate_uuid: str = ""
) -> tuple[FrameWell, ...]:
    """Return the wells of the frames to store, the inverse of `wells_of_positions`.

    Names are stored as the vendor's package writes them (``B3``), wells numbered in the
    order of the positions. Frames whose well is not known are left out.

    Parameters
    ----------
    wells
        Well of each position.
    axes
        Loops of the file.
    plate_uuid
        Identifier of the plate.

    Raises
    ------
    ValueError
        If there are not as many wells as positions, or a name has no row and column.
    """
    return frames_in_wells(made_wells(wells, plate_uuid=plate_uuid), axes)


def made_wells(
    wells: PositionWells,
    known: Sequence[FrameWell | None] | None = None,
    *,
    plate_uuid: str = "",
) -> tuple[FrameWell | None, ...]:
    """Return what to store of the well of each position; the frame of it tells nothing.

    Parameters
    ----------
    wells
        Well of each position.
    known
        What is stored of the positions whose well is still the same, None for others.
        A well that is among these is theirs, others are on the same plate.
    plate_uuid
        Identifier of the plate where none is known.

    Raises
    ------
    ValueError
        If a name has no row and column.
    """
    known = known if known is not None else (None,) * len(wells)
    there = [well for well in known if well is not None]
    plate = there[0] if there else FrameWell(frame=0, plate_uuid=plate_uuid)
    seen: dict[tuple[str, int, int], FrameWell] = {}
    for well in there:
        seen.setdefault((_name(well), *_cell(well)), well)
    number = max((well.well_index for well in there), default=-1)
    found: list[FrameWell | None] = []
    cells = zip(
        wells.name.tolist(), wells.row.tolist(), wells.column.tolist(), strict=True
    )
    for position, (name, row, column) in enumerate(cells):
        kept = known[position]
        if kept is not None or (not name and row < 0 and column < 0):
            found.append(kept)
            continue
        if row < 0 or column < 0:
            raise ValueError(
                f"well {name!r} of position {position} has no row and column"
            )
        stored = _stored_name(name, row, column)
        new = FrameWell(
            frame=0,
            name=stored,
            row=row,
            column=column,
            well_index=number + 1,
            compact_name=stored,
            plate_index=plate.plate_index,
            plate_uuid=plate.plate_uuid,
        )
        found.append(seen.setdefault((_name(new), row, column), new))
        number += found[-1] is new
    return tuple(found)


def frames_in_wells(
    wells: Sequence[FrameWell | None], axes: Axes
) -> tuple[FrameWell, ...]:
    """Return the wells of frames to store, in the order of the frames.

    Parameters
    ----------
    wells
        What to store of each position; frames of positions without are left out.
    axes
        Loops of the file.

    Raises
    ------
    ValueError
        If there are not as many wells as positions.
    """
    frames = _frames_by_position(axes)
    if len(wells) != len(frames):
        raise ValueError(f"{len(wells)} wells are given for {len(frames)} positions")
    found = [
        replace(well, frame=frame)
        for well, numbers in zip(wells, frames.tolist(), strict=True)
        if well is not None
        for frame in numbers
    ]
    return tuple(sorted(found, key=lambda well: well.frame))


def _frames_by_position(axes: Axes) -> npt.NDArray[np.int64]:
    """Frame numbers, a row a position."""
    sequence = axes.sequence()
    if "P" not in axes.dims:
        return sequence.reshape(1, -1)
    first = np.moveaxis(sequence, axes.dims.index("P"), 0)
    return first.reshape(len(first), -1)


def _numbered(wells: Sequence[FrameWell]) -> npt.NDArray[np.int64]:
    """Return a number for each entry, the same for entries of one well."""
    keys: dict[tuple[int, str, int, int, str], int] = {}
    numbers = [keys.setdefault(_key(well), len(keys)) for well in wells]
    return np.array(numbers, np.int64)


def _key(well: FrameWell) -> tuple[int, str, int, int, str]:
    """Return what two frames of one well have in common; of several plates, too."""
    return well.plate_index, well.plate_uuid, *_cell(well), _name(well)


def _cell(well: FrameWell) -> tuple[int, int]:
    if well.row < 0 or well.column < 0:
        try:
            return parse_well(well.name)
        except ValueError:
            return -1, -1
    return well.row, well.column


def _name(well: FrameWell) -> str:
    name = well.name or well.compact_name
    cell = _cell(well)
    if cell == (-1, -1):
        return name
    return canonical_well(name) if _agrees(name, cell) else name or well_name(*cell)


def _stored_name(name: str, row: int, column: int) -> str:
    if name and not _agrees(name, (row, column)):
        return name
    letters = well_name(row, 0)[:-2]
    return f"{letters}{column + 1}"


def _agrees(name: str, cell: tuple[int, int]) -> bool:
    try:
        return parse_well(name) == cell
    except ValueError:
        return False


def _position_wells(
    names: Sequence[str],
    cells: Sequence[tuple[int, int]],
    keys: Sequence[object] | None = None,
) -> PositionWells:
    """Build arrays, counting the positions of each well."""
    counts: dict[object, int] = {}
    fields = []
    for name, key in zip(names, names if keys is None else keys, strict=True):
        if not name:
            fields.append(-1)
            continue
        fields.append(counts.get(key, 0))
        counts[key] = fields[-1] + 1
    row, column = np.array(cells, np.int64).reshape(-1, 2).T
    return PositionWells(
        name=np.array(names, np.str_),
        row=np.ascontiguousarray(row),
        column=np.ascontiguousarray(column),
        field=np.array(fields, np.int64),
    )
