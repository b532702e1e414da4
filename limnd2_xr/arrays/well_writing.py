"""In which wells the positions of an array are: from its coordinates to chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from limnd2_xr.arrays.attached import AttachedChunks, along
from limnd2_xr.arrays.coords import WELL_COORDS, well_variables
from limnd2_xr.arrays.readback import Known, coordinate_differences
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.frame_wells import (
    FRAME_WELLS,
    FrameWell,
    decode_well_table,
    encode_frame_wells,
)
from limnd2_xr.model.plates import (
    PLATE_CHUNK,
    Plate,
    canonical_well,
    parse_plate,
    parse_well,
    plate_tree,
    well_name,
)
from limnd2_xr.model.wells import (
    PositionWells,
    frames_in_wells,
    made_wells,
    position_wells,
    wells_by_position,
)
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.encode import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from limnd2_xr.arrays.origin import Origin
    from limnd2_xr.model.axes import Axes

__all__ = ["well_chunks", "well_texts"]


def well_chunks(
    image: xr.DataArray,
    origin: Origin | None,
    axes: Axes,
    frames: NDArray[np.int64] | None,
) -> AttachedChunks:
    """Make the chunks that say in which wells the frames of an array are.

    Parameters
    ----------
    image
        With the coordinates ``well``, ``well_row`` and ``well_column`` along P, some of
        them or none: what it does not tell is as in the file that it came from.
    origin
        That file.
    axes
        Loops of the file to be written.
    frames
        Number in the origin of each frame that is written; None where it has not these.

    Raises
    ------
    ValueError
        If coordinates contradict each other, or a well has no row and column.
    """
    told = _told(image, origin.known if origin else Known())
    if told is None:
        return AttachedChunks(losses=_unplaced(image))
    base = None
    if origin is not None and origin.state.wells is not None:
        base = _payload(origin, FRAME_WELLS)
        if base is not None and told.kept.all() and origin.has_all_frames:
            return AttachedChunks(
                made={FRAME_WELLS: base}, losses=_losses(image, told.wells, told.wells)
            )
    known = _stored(origin, base, told.kept.size)
    by_position = made_wells(
        told.wells,
        [w if kept else None for w, kept in zip(known, told.kept, strict=True)],
        plate_uuid=next((well.plate_uuid for well in known if well), ""),
    )
    stored = frames_in_wells(by_position, axes)
    if not stored:
        return AttachedChunks(
            replaced=frozenset({FRAME_WELLS}), losses=_unplaced(image)
        )
    if frames is None:
        made = {FRAME_WELLS: encode_frame_wells(stored)}
    else:
        numbers = dict(enumerate(frames.tolist()))
        made = {FRAME_WELLS: encode_frame_wells(stored, base, numbers)}
    new = [not kept for kept in told.kept.tolist()]
    plate = _plate(origin, by_position, new)
    if plate is not None:
        made[PLATE_CHUNK] = plate
    return AttachedChunks(
        made=made,
        losses=_losses(image, told.wells, position_wells(by_position)),
    )


def well_texts(coordinate: xr.DataArray | xr.Variable) -> list[str]:
    """Return names of wells as they are written, "" for those that are missing.

    Parameters
    ----------
    coordinate
        Names of wells; also as objects among which some are missing.

    Raises
    ------
    ValueError
        If it holds something else.
    """
    found = []
    for value in np.ravel(coordinate.values).tolist():
        missing = value is None or (isinstance(value, float) and np.isnan(value))
        if not (missing or isinstance(value, str)):
            raise ValueError(
                f"coordinate well holds {value!r:.60}, but wells are named as in 'B03'"
            )
        found.append("" if missing else canonical_well(value))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    wells: PositionWells
    """With the fields that the file has."""
    kept: NDArray[np.bool_]
    """Of which positions the file behind the array says the same."""


def _told(image: xr.DataArray, known: Known) -> _Told | None:
    """Return the wells that an array tells of; None if it tells of none."""
    count = image.sizes.get("P", 1)
    file = _of_file(known, count)
    names, rows, columns = (
        along(image, name, "P") if name in image.coords else None
        for name in WELL_COORDS[:3]
    )
    if "field" in image.coords:
        along(image, "field", "P")
    if names is None and rows is None and columns is None:
        return None if file is None else _Told(file, np.ones(count, bool))
    if (rows is None) != (columns is None):
        which, other = WELL_COORDS[1:3] if columns is None else WELL_COORDS[2:0:-1]
        if names is None:
            raise ValueError(
                f"coordinate {which} needs {other}: give both, or the names of the "
                "wells as the coordinate well"
            )
    texts = [""] * count if names is None else _texts(image, count)
    cells = zip(
        _whole(rows, "well_row", count),
        _whole(columns, "well_column", count),
        strict=True,
    )
    found = []
    kept = np.zeros(count, bool)
    fields = np.full(count, -1, np.int64) if file is None else file.field
    for position, (name, (row, column)) in enumerate(zip(texts, cells, strict=True)):
        old = None
        if file is not None:
            old = (
                str(file.name[position]),
                int(file.row[position]),
                int(file.column[position]),
            )
        if old is not None and all(
            value is None or value == there
            for value, there in zip(
                (name if names is not None else None, row, column), old, strict=True
            )
        ):
            found.append(old)
            kept[position] = True
        else:
            found.append(_one_well(position, name, row, column))
    return _Told(
        PositionWells(
            name=np.array([name for name, _, _ in found], np.str_),
            row=np.array([row for _, row, _ in found], np.int64),
            column=np.array([column for _, _, column in found], np.int64),
            field=fields,
        ),
        kept,
    )


def _texts(image: xr.DataArray, count: int) -> list[str]:
    found = well_texts(image.coords["well"])
    return found if len(found) == count else found * count


def _one_well(
    position: int, name: str, row: int | None, column: int | None
) -> tuple[str, int, int]:
    """Return name, row and column of a well, of which some are given."""
    try:
        cell = parse_well(name)
    except ValueError:
        cell = None
    if cell is not None:
        own = tuple(
            there if given is None or given < 0 else given
            for given, there in zip((row, column), cell, strict=True)
        )
        if own != cell:
            raise ValueError(
                f"position {position} is in well {name!r}, which is row {cell[0]} and "
                f"column {cell[1]} counted from 0, but the coordinates well_row and "
                f"well_column say {own[0]} and {own[1]}: assign all of them, or drop "
                "those that are not true with drop_vars(['well_row', 'well_column'])"
            )
        return name, *cell
    row, column = -1 if row is None else row, -1 if column is None else column
    if (row < 0) != (column < 0) or (name and row < 0):
        raise ValueError(
            f"well {name!r} of position {position} has no row and column: name it as in "
            "'B03', or assign the coordinates well_row and well_column"
        )
    return name or (well_name(row, column) if row >= 0 else ""), row, column


def _whole(
    values: NDArray[Any] | None, name: str, count: int
) -> list[int] | list[None]:
    """Return rows or columns as whole numbers, -1 where missing."""
    if values is None:
        return [None] * count
    if values.dtype.kind not in "iuf":
        raise ValueError(f"coordinate {name} holds {values.dtype} values, not numbers")
    filled = (
        np.where(np.isnan(values), -1, values) if values.dtype.kind == "f" else values
    )
    if not (np.isfinite(filled).all() and (filled == np.rint(filled)).all()):
        raise ValueError(f"coordinate {name} holds numbers that are not whole")
    if (filled >= 2**32).any():
        raise ValueError(f"coordinate {name} is out of range: {filled.max()}")
    found: list[int] = np.maximum(filled.astype(np.int64), -1).tolist()
    return found


def _of_file(known: Known, count: int) -> PositionWells | None:
    """Wells that the file behind an array has at its positions."""
    if any(name not in known.coords.coords for name in WELL_COORDS):
        return None
    name, row, column, field = (
        np.broadcast_to(known.coords[name].values, (count,)) for name in WELL_COORDS
    )
    return PositionWells(name=name, row=row, column=column, field=field)


def _stored(
    origin: Origin | None, payload: bytes | None, count: int
) -> list[FrameWell | None]:
    """Return what the file stores of the positions that an array has."""
    if origin is None or payload is None:
        return [None] * count
    stored = wells_by_position(decode_well_table(payload), origin.state.axes)
    picked = origin.known.picked.get("P", np.zeros(1, np.int64))
    return [stored[at] for at in np.broadcast_to(picked, (count,)).tolist()]


def _plate(
    origin: Origin | None, wells: Sequence[FrameWell | None], new: Sequence[bool]
) -> bytes | None:
    """Describe a plate that has all wells; None if the file's own does."""
    cells = [
        (well.row, well.column)
        for well in wells
        if well is not None and well.row >= 0 and well.column >= 0
    ]
    payload = _payload(origin, PLATE_CHUNK) if origin is not None else None
    if payload is None:
        return encode(plate_tree(Plate.holding(cells))) if any(new) else None
    try:
        tree = decode(payload)
        plate = parse_plate(tree)
    except CorruptChunk:
        return None
    added = [
        w for w, is_new in zip(wells, new, strict=True) if w is not None and is_new
    ]
    if all(plate.has(well.row, well.column) for well in added):
        return None
    return encode(plate_tree(Plate.holding(cells), tree))


def _payload(origin: Origin, name: str) -> bytes | None:
    return next((payload for _, payload in origin.payloads([name])), None)


def _losses(
    image: xr.DataArray, wells: PositionWells, found: PositionWells
) -> tuple[str, ...]:
    """Say what of the coordinates reads differently: fields are counted anew."""
    variables = well_variables(found, [str(dim) for dim in image.dims])
    told: dict[str, list[Any]] = {
        "well": _texts(image, len(wells)) if "well" in image.coords else [],
        "well_row": wells.row.tolist(),
        "well_column": wells.column.tolist(),
    }
    given = {
        name: variables[name].copy(data=np.reshape(values, variables[name].shape))
        for name, values in told.items()
        if name in image.coords
    }
    if "field" in image.coords:
        given["field"] = _fields(image)
    differing = coordinate_differences(
        xr.Dataset(coords=given).coords, xr.Dataset(coords=variables).coords, ()
    )
    return tuple(differing)


def _unplaced(image: xr.DataArray) -> tuple[str, ...]:
    """Say that fields are lost where no well is known."""
    if "field" not in image.coords or (_fields(image).values == -1).all():
        return ()
    return ("coordinate field (without wells a file has no place for it)",)


def _fields(image: xr.DataArray) -> xr.Variable:
    """Return fields with -1 for those that are missing."""
    field = image.coords["field"]
    filled = field.fillna(-1) if field.dtype.kind in "fO" else field
    found: xr.Variable = filled.variable
    return found
