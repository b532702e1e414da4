"""Recorded columns to be written: their table and their values (FORMAT 9.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.model.comparison import same, same_array
from limnd2_xr.model.document import RECORD_CHUNKS
from limnd2_xr.model.fields import levels_by_number, text
from limnd2_xr.model.matching import matched_parts
from limnd2_xr.model.records import (
    COLUMN_CODES,
    COLUMN_TABLE,
    FrameRecords,
    RecordedColumn,
    parse_columns,
)
from limnd2_xr.model.tree_building import struct, xml_i32, xml_string, xml_struct
from limnd2_xr.model.tree_editing import merged, replaced_struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from limnd2_xr.variants.tree import Level

__all__ = ["column_table", "described_columns", "encode_times", "encode_values"]

_UNKNOWN_MS: Final = -1.0
_DEVICE: Final = 1
_MICROMETRES: Final = "\N{MICRO SIGN}m"
_TITLES: Final = {"x": "X Coord", "y": "Y Coord", "z": "Z Coord"}


def described_columns(
    columns: Sequence[RecordedColumn],
    records: FrameRecords,
    old_records: FrameRecords | None = None,
) -> tuple[RecordedColumn, ...]:
    """Descriptions of recorded columns that agree with the recorded values.

    A column that is given and not described is added as micrometres; one that is
    described and not given goes. Columns that `FrameRecords` does not hold stay.

    Parameters
    ----------
    columns
        Descriptions.
    records
        Values to store.
    old_records
        Values of the source: those that are the same are stored as they were.

    Examples
    --------
    >>> records = FrameRecords(x=np.zeros(3))
    >>> [(c.id, c.unit, c.size) for c in described_columns((), records)]
    [('X', '\N{MICRO SIGN}m', 3)]
    """
    found = list(columns)
    for name in RECORD_CHUNKS:
        values = getattr(records, name)
        if old_records is not None and same_array(values, getattr(old_records, name)):
            continue
        places = [i for i, column in enumerate(found) if column.id == name.upper()]
        if values is None:
            found = [column for i, column in enumerate(found) if i not in places]
            continue
        if not places:
            found.append(_description(name))
            places = [len(found) - 1]
        for i in places:
            found[i] = replace(found[i], kind="float", size=len(values))
    return tuple(found)


def column_table(
    columns: Sequence[RecordedColumn], source: Level | None = None
) -> Level | None:
    """Root of ``CustomDataV2_0`` in terms of the XML encoding, None without columns.

    Parameters
    ----------
    columns
        Descriptions to store.
    source
        Root of the source: columns of the same name keep what else it says of them.

    Examples
    --------
    >>> column_table([RecordedColumn(id="X")]).to_plain()
    {'CustomTagDescription_v1.0': {'Tag0': {'ID': 'X', ...}}}
    """
    if not columns:
        return None
    if source is None:
        tags = [_tag(column) for column in columns]
        return struct(xml_struct(COLUMN_TABLE, _table(tags)))
    stored = [
        tag
        for tag in levels_by_number(source.level(COLUMN_TABLE) or source)
        if text(tag, "ID")
    ]
    before = parse_columns(source)
    places = matched_parts(columns, before, lambda c: c, lambda c: c.id)
    tags = [
        _tag(column)
        if place is None
        else merged(stored[place], _tag(before[place]), _tag(column))
        for column, place in zip(columns, places, strict=True)
    ]
    if same(tuple(columns), before):
        return source
    return replaced_struct(source, _table(tags))


def encode_times(times_ms: npt.NDArray[np.float64] | None, frames: int) -> bytes:
    """Payload of ``AcqTimesCache``: -1 for a time that is not known (FORMAT 1.4).

    Parameters
    ----------
    times_ms
        Milliseconds since the start by frame number, NaN where not known; None if no
        time is.
    frames
        Number of frames.
    """
    if times_ms is None:
        return np.full(frames, _UNKNOWN_MS, "<f8").tobytes()
    return np.where(np.isnan(times_ms), _UNKNOWN_MS, times_ms).astype("<f8").tobytes()


def encode_values(values: npt.NDArray[np.float64]) -> bytes:
    """Payload of a column of numbers."""
    return np.asarray(values, "<f8").tobytes()


def _description(name: str) -> RecordedColumn:
    return RecordedColumn(
        id=name.upper(),
        description=_TITLES.get(name, name.upper()),
        unit=_MICROMETRES,
        group=_DEVICE,
    )


def _table(tags: Sequence[Level]) -> Level:
    return struct(*(xml_struct(f"Tag{i}", tag) for i, tag in enumerate(tags)))


def _tag(column: RecordedColumn) -> Level:
    return struct(
        xml_string("ID", column.id),
        xml_i32("Type", COLUMN_CODES[column.kind]),
        xml_i32("Group", column.group),
        xml_i32("Size", column.size),
        xml_string("Desc", column.description),
        xml_string("Unit", column.unit),
    )
