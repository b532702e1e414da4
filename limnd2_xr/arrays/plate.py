"""The well plate of an object: its wells, and selecting by them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import xarray as xr

from limnd2_xr.arrays.attached import along
from limnd2_xr.arrays.chunk_access import source_of
from limnd2_xr.arrays.well_writing import well_texts
from limnd2_xr.damage import report_damage
from limnd2_xr.errors import CorruptChunk, Nd2Error
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.model.plates import (
    PLATE_CHUNK,
    Plate,
    canonical_well,
    parse_plate,
    parse_well,
)
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from limnd2_xr.container.source import SourceSpec

__all__ = ["PlateWells", "Well", "sel_well", "wells_of"]

_SOME: Final = 8
"""Wells named in a message."""

_Object = TypeVar("_Object", xr.Dataset, xr.DataArray)


@dataclass(frozen=True, slots=True, kw_only=True)
class Well:
    """One well and the positions in it."""

    name: str
    """E.g. ``B03``."""
    row: int
    """Row, counted from 0; -1 where not known."""
    column: int
    """Column, counted from 0; -1 where not known."""
    positions: tuple[int, ...]
    """Indices along P of the object, in its order."""

    @property
    def fields(self) -> int:
        """How many positions of the object are in the well."""
        return len(self.positions)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateWells:
    """A well plate, and those of its wells that an object has positions in.

    Iterates over the wells row by row, and gives one by its name.

    Examples
    --------
    >>> image = xr.DataArray(
    ...     np.zeros((3, 4, 4)),
    ...     dims=("P", "Y", "X"),
    ...     coords={"well": ("P", ["A1", "B3", "A1"])},
    ... )
    >>> wells = wells_of(image)
    >>> wells.names, wells["a1"].positions, wells["B03"].row
    (('A01', 'B03'), (0, 2), 1)
    """

    plate: Plate | None
    """The plate as the file describes it; else the smallest usual one that has the
    wells. None if nothing is known of wells."""
    wells: tuple[Well, ...]
    """Row by row."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the wells."""
        return tuple(well.name for well in self.wells)

    def __len__(self) -> int:
        return len(self.wells)

    def __iter__(self) -> Iterator[Well]:
        return iter(self.wells)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and canonical_well(name) in self.names

    def __getitem__(self, name: str) -> Well:
        wanted = canonical_well(name)
        for well in self.wells:
            if well.name == wanted:
                return well
        raise KeyError(
            f"no position is in well {name!r}; wells are {_some(self.names)}"
        )

    def to_dataset(self) -> xr.Dataset:
        """Return the wells as a table along the dim ``well``.

        Returns
        -------
        xarray.Dataset
            Variables ``well_row``, ``well_column`` and ``fields`` (int64).
        """
        columns = {
            "well_row": [well.row for well in self.wells],
            "well_column": [well.column for well in self.wells],
            "fields": [well.fields for well in self.wells],
        }
        return xr.Dataset(
            {name: ("well", np.array(v, np.int64)) for name, v in columns.items()},
            {"well": ("well", np.array(self.names, np.str_))},
        )


def wells_of(obj: xr.Dataset | xr.DataArray) -> PlateWells:
    """Return the wells that the positions of an object are in, and their plate.

    Parameters
    ----------
    obj
        With the coordinate ``well`` along P. If it remembers its file, the description
        of the plate is read from it.

    Warns
    -----
    Nd2Warning
        If the description is damaged; then the plate is made up from the wells.
    """
    found: dict[str, list[int]] = {}
    for position, name in enumerate(_names(obj)):
        if name:
            found.setdefault(name, []).append(position)
    cells = _cells(obj)
    wells = sorted(
        (
            Well(
                name=name,
                row=cells[at[0]][0],
                column=cells[at[0]][1],
                positions=tuple(at),
            )
            for name, at in found.items()
        ),
        key=lambda well: (well.row, well.column, well.name),
    )
    plate = _plate(obj)
    if plate is None and wells:
        plate = Plate.holding((w.row, w.column) for w in wells if w.row >= 0)
    return PlateWells(plate=plate, wells=tuple(wells))


def sel_well(
    obj: _Object, name: str | Iterable[str], field: int | None = None
) -> _Object:
    """Return the positions of an object that are in one well, or in some.

    Parameters
    ----------
    obj
        With the coordinate ``well`` along P.
    name
        Of the well, as in ``"B03"``, ``"B3"`` or ``"b3"``; or several names: then the
        positions come well by well, in the order of the names.
    field
        One position of each well, by the coordinate ``field``.

    Returns
    -------
    Dataset or DataArray
        With the dim P, also if there is one position; without it if `name` is one well
        and `field` is given, as ``isel(P=0)`` drops it.

    Raises
    ------
    KeyError
        If no position is in a well, or none of it is this field.
    ValueError
        If several positions are the field, as on several plates.

    Examples
    --------
    >>> image = xr.DataArray(
    ...     np.arange(3), dims="P", coords={"well": ("P", ["A01", "B03", "B03"])}
    ... )
    >>> sel_well(image, "b3").values, sel_well(image, "B03", field=1).item()
    (array([1, 2]), 2)
    """
    names = _names(obj)
    if not any(names):
        raise KeyError(
            "the object does not say in which wells its positions are: it has no "
            "coordinate 'well'"
        )
    fields = _fields(obj, names)
    wanted = [name] if isinstance(name, str) else list(name)
    picked: list[int] = []
    for one in wanted:
        picked += _positions(names, fields, one, field)
    if "P" not in obj.dims:
        return obj
    if field is None or not isinstance(name, str):
        return obj.isel(P=picked)
    if len(picked) > 1:
        raise ValueError(
            f"{len(picked)} positions are field {field} of well {name!r} (positions "
            f"{', '.join(map(str, picked))}): choose with isel(P=...)"
        )
    return obj.isel(P=picked[0])


def _positions(
    names: list[str], fields: list[int], name: str, field: int | None
) -> list[int]:
    """Return the positions in a well, or those that are one field of it."""
    if not isinstance(name, str):
        raise TypeError(f"a well is named by a text as in 'B03', not by {name!r}")
    # Plates may have names of their own, which are no rows and columns.
    own = name if name in names else canonical_well(name)
    inside = [at for at, known in enumerate(names) if known and known == own]
    if not inside:
        wells = sorted(set(names) - {""})
        raise KeyError(f"no position is in well {name!r}; wells are {_some(wells)}")
    if field is None:
        return inside
    found = [at for at in inside if fields[at] == field]
    if not found:
        there = ", ".join(str(fields[at]) for at in inside[:_SOME])
        raise KeyError(f"well {name!r} has no field {field}; its fields are {there}")
    return found


def _names(obj: xr.Dataset | xr.DataArray) -> list[str]:
    """Names of the wells of the positions; "" where not known."""
    if "well" not in obj.coords:
        return []
    _along_p(obj, "well")
    return well_texts(obj.coords["well"])


def _cells(obj: xr.Dataset | xr.DataArray) -> list[tuple[int, int]]:
    """Row and column of the wells of the positions; -1 where not known."""
    rows, columns = _along_p(obj, "well_row"), _along_p(obj, "well_column")
    if rows is not None and columns is not None:
        pairs = np.stack([rows, columns], axis=1).astype(np.float64)
        pairs = np.where(np.isfinite(pairs), pairs, -1)
        return [(int(row), int(column)) for row, column in pairs]
    found = []
    for name in _names(obj):
        try:
            found.append(parse_well(name))
        except ValueError:
            found.append((-1, -1))
    return found


def _fields(obj: xr.Dataset | xr.DataArray, names: list[str]) -> list[int]:
    """Return the number of each position in its well, counted if nothing tells it."""
    told = _along_p(obj, "field")
    if told is not None:
        found: list[int] = np.where(np.isfinite(told), told, -1).astype(int).tolist()
        return found
    counts: Counter[str] = Counter()
    counted = []
    for name in names:
        counted.append(counts[name] if name else -1)
        counts[name] += 1
    return counted


def _along_p(obj: xr.Dataset | xr.DataArray, name: str) -> Any:
    """Values of a coordinate, one a position; None if there is none."""
    return along(obj, name, "P") if name in obj.coords else None


def _plate(obj: xr.Dataset | xr.DataArray) -> Plate | None:
    """Return the plate that the file behind an object describes; None if none does."""
    try:
        spec: SourceSpec = source_of(obj, one_of_several=True)
    except Nd2Error:
        return None
    with FrameStore.open(spec, on_damage="ignore") as store:  # told when opened
        if PLATE_CHUNK not in store.state.chunks:
            return None
        try:
            return parse_plate(decode(store.read_chunk(PLATE_CHUNK)))
        except CorruptChunk as error:
            located = error.located(path=store.source_name, chunk=PLATE_CHUNK)
            report_damage(located, "the size of the plate is not known")
            return None


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    if not listed:
        return "not known"
    more = ", ..." if len(listed) > _SOME else ""
    return f"{', '.join(listed[:_SOME])}{more}"
