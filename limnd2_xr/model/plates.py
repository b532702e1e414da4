"""Well plates: what a plate looks like, and how its wells are called (FORMAT 12.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.fields import integer, text, unwrap
from limnd2_xr.model.tree_building import nested, string, struct, u32
from limnd2_xr.model.tree_editing import merged, replaced_struct

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limnd2_xr.variants.tree import Level

__all__ = [
    "PLATE_CHUNK",
    "Plate",
    "canonical_well",
    "parse_plate",
    "parse_well",
    "plate_tree",
    "well_name",
]

PLATE_CHUNK: Final = "CustomData|WellPlateDesc_0!"
"""Chunk that describes the plate."""

_PLATE: Final = "PlateDesc"
_STANDARD: Final = ((2, 3), (3, 4), (4, 6), (6, 8), (8, 12), (16, 24), (32, 48))
_MAX_UINT32: Final = 0xFFFF_FFFF
_LETTERS: Final = 26
_NAME: Final = re.compile(r"\s*([A-Za-z]{1,2})\s*([0-9]{1,4})\s*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plate:
    """Description of a well plate.

    Examples
    --------
    >>> Plate.of_size(8, 12, name="96 wells")
    Plate(name='96 wells', rows=8, columns=12, row_naming='A-H', column_naming='1-12')
    """

    name: str = ""
    """What the plate is called, e.g. ``96 Well Plate``."""
    rows: int = 0
    """Rows of wells; 0 if not said."""
    columns: int = 0
    """Columns of wells; 0 if not said."""
    row_naming: str = ""
    """Names of the first and the last row, e.g. ``A-H``."""
    column_naming: str = ""
    """Names of the first and the last column, e.g. ``1-12``."""

    @classmethod
    def of_size(cls, rows: int, columns: int, *, name: str = "") -> Plate:
        """Return a plate whose rows are lettered and whose columns are numbered.

        Parameters
        ----------
        rows, columns
            How many wells there are, at least one.
        name
            What the plate is called.

        Raises
        ------
        ValueError
            If there are no wells.
        """
        if rows < 1 or columns < 1:
            raise ValueError(f"a plate of {rows} x {columns} wells has no wells")
        return cls(
            name=name,
            rows=rows,
            columns=columns,
            row_naming=f"A-{_row_letters(rows - 1)}",
            column_naming=f"1-{columns}",
        )

    @classmethod
    def holding(cls, wells: Iterable[tuple[int, int]]) -> Plate:
        """Return the smallest usual plate that has all of some wells.

        Parameters
        ----------
        wells
            Row and column of each, counted from 0. Usual are 6, 12, 24, 48, 96, 384
            and 1536 wells; beyond, the plate is as large as the wells demand.

        Examples
        --------
        >>> plate = Plate.holding([(0, 0), (4, 2)])
        >>> plate.name, plate.rows, plate.columns
        ('48 wells', 6, 8)
        """
        found = list(wells)
        rows = max((row for row, _ in found), default=0) + 1
        columns = max((column for _, column in found), default=0) + 1
        for size in _STANDARD:
            if rows <= size[0] and columns <= size[1]:
                rows, columns = size
                break
        return cls.of_size(rows, columns, name=f"{rows * columns} wells")

    def has(self, row: int, column: int) -> bool:
        """Whether the plate has this well; a size that is not said holds any."""
        return (
            row >= 0
            and column >= 0
            and (not self.rows or row < self.rows)
            and (not self.columns or column < self.columns)
        )


def well_name(row: int, column: int) -> str:
    """Return the name of a well: letters for the row, two digits for the column.

    Parameters
    ----------
    row, column
        Counted from 0. Rows go on with ``AA`` after ``Z``.

    Raises
    ------
    ValueError
        If one is negative.

    Examples
    --------
    >>> well_name(1, 2), well_name(31, 47)
    ('B03', 'AF48')
    """
    if row < 0 or column < 0:
        raise ValueError(f"there is no well in row {row} and column {column}")
    return f"{_row_letters(row)}{column + 1:02d}"


def parse_well(name: str) -> tuple[int, int]:
    """Return row and column, counted from 0, of a well that is named ``B3`` or ``b03``.

    Raises
    ------
    ValueError
        If it is not named so.

    Examples
    --------
    >>> parse_well("B03"), parse_well("af48")
    ((1, 2), (31, 47))
    """
    match = _NAME.fullmatch(name)
    column = int(match[2]) if match else 0
    if match is None or column == 0:
        raise ValueError(f"{name!r} is no well: they are named A1 or B03")
    row = 0
    for letter in match[1].upper():
        row = row * _LETTERS + ord(letter) - ord("A") + 1
    return row - 1, column - 1


def canonical_well(name: str) -> str:
    """Return the name of a well as `well_name` writes it, others unchanged.

    Examples
    --------
    >>> canonical_well("b3"), canonical_well("control")
    ('B03', 'control')
    """
    try:
        return well_name(*parse_well(name))
    except ValueError:
        return name


def parse_plate(level: Level) -> Plate:
    """Return the plate that a decoded ``WellPlateDesc_0`` describes [1S].

    Parameters
    ----------
    level
        Root of the chunk, or the struct in it.

    Raises
    ------
    CorruptChunk
        If a number is none, or out of range.
    """
    level = _content(level)
    return Plate(
        name=text(level, "name"),
        rows=_size(level, "rows"),
        columns=_size(level, "columns"),
        row_naming=text(level, "rowNaming"),
        column_naming=text(level, "columnNaming"),
    )


def plate_tree(plate: Plate, base: Level | None = None) -> Level:
    """Return the root of ``WellPlateDesc_0`` to be written: inverse of `parse_plate`.

    Parameters
    ----------
    plate
        What to store.
    base
        Root of the source: what it says besides, and what is the same, stays as it is.

    Raises
    ------
    ValueError
        If a size or a text cannot be stored.

    Examples
    --------
    >>> plate = Plate.of_size(2, 3)
    >>> parse_plate(plate_tree(plate)) == plate
    True
    """
    new = _struct(plate)
    if base is None:
        return struct(nested(_PLATE, new))
    content = _content(base)
    return replaced_struct(base, merged(content, _struct(parse_plate(base)), new))


def _content(level: Level) -> Level:
    return unwrap(level.level(_PLATE) or level)


def _struct(plate: Plate) -> Level:
    return struct(
        string("name", plate.name),
        u32("rows", plate.rows),
        u32("columns", plate.columns),
        string("rowNaming", plate.row_naming),
        string("columnNaming", plate.column_naming),
    )


def _size(level: Level, name: str) -> int:
    value = integer(level, name, 0)
    if not 0 <= value <= _MAX_UINT32:
        raise CorruptChunk(f"field {name} is {value}, not a number of wells")
    return value


def _row_letters(row: int) -> str:
    letters = ""
    row += 1
    while row:
        row, last = divmod(row - 1, _LETTERS)
        letters = chr(ord("A") + last) + letters
    return letters
