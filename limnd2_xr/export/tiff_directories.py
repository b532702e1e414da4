"""Where the directories of a TIFF file list offsets and sizes of strips and tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["SegmentTables", "Table", "segment_tables"]

_OFFSETS: Final = (324, 273)
_SIZES: Final = (325, 279)
_SUBIFDS: Final = 330
_ITEM_NBYTES: Final = {3: 2, 4: 4, 13: 4, 16: 8, 18: 8}
"""Bytes of a value by the code of its type: SHORT, LONG, IFD, LONG8, IFD8."""


@dataclass(frozen=True, slots=True)
class Table:
    """Values of a tag in a file."""

    offset: int
    """Where they begin."""
    dtype: np.dtype[Any]
    """Type of each."""
    count: int
    """How many there are."""


@dataclass(frozen=True, slots=True)
class SegmentTables:
    """Tables of one directory."""

    offsets: Table
    """Where its strips or tiles lie."""
    sizes: Table
    """How many bytes each has."""


def segment_tables(path: Path) -> Iterator[tuple[SegmentTables, ...]]:
    """Yield the tables of each page: of itself, then of its smaller copies.

    Parameters
    ----------
    path
        Of a little-endian file, classic or BigTIFF, that was written completely.
    """
    with path.open("rb") as file:
        reader = _Reader(file)
        at = reader.first
        while at:
            entries, following = reader.directory(at)
            inner = entries.get(_SUBIFDS)
            copies = () if inner is None else reader.values(inner)
            yield (
                _tables(entries),
                *(_tables(reader.directory(copy)[0]) for copy in copies),
            )
            at = following


def _tables(entries: dict[int, Table]) -> SegmentTables:
    found = (
        next(entries[code] for code in codes if code in entries)
        for codes in (_OFFSETS, _SIZES)
    )
    return SegmentTables(*found)


class _Reader:
    """Reads directories one by one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        header = file.read(16)
        self._word = 8 if header[2] == 43 else 4
        at = 8 if self._word == 8 else 4
        self.first = int.from_bytes(header[at : at + self._word], "little")
        word = f"<u{self._word}"
        fields = [("code", "<u2"), ("type", "<u2"), ("count", word), ("value", word)]
        self._entry = np.dtype(fields)

    def directory(self, at: int) -> tuple[dict[int, Table], int]:
        """Return where the values of tags of whole numbers are, and the next directory."""
        prefix = 8 if self._word == 8 else 2
        self._file.seek(at)
        number = int.from_bytes(self._file.read(prefix), "little")
        data = self._file.read(number * self._entry.itemsize + self._word)
        listed = np.frombuffer(data, self._entry, number).tolist()
        found = {}
        for i, (code, kind, count, value) in enumerate(listed):
            size = _ITEM_NBYTES.get(kind)
            if size is None:
                continue
            inside = at + prefix + (i + 1) * self._entry.itemsize - self._word
            place = inside if count * size <= self._word else value
            found[code] = Table(place, np.dtype(f"<u{size}"), count)
        return found, int.from_bytes(data[-self._word :], "little")

    def values(self, table: Table) -> list[int]:
        """Return the values of a tag."""
        self._file.seek(table.offset)
        data = self._file.read(table.count * table.dtype.itemsize)
        found: list[int] = np.frombuffer(data, table.dtype).tolist()
        return found
