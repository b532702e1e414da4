"""The table of frames and events in the forms of `ND2File.events`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from limnd2_xr.arrays.tables import columns_of, events_of
from limnd2_xr.model.recorded import (
    EVENTS_TITLE,
    TIME_TITLE,
    column_titles,
    recorded_table,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.frames.store import FrameStore
    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.events import Event

__all__ = ["Orient", "Recorded", "events_table"]

Orient = Literal["records", "list", "dict"]
"""What `ND2File.events` returns."""

_ABSENT: Final = object()


@dataclass(frozen=True)
class Recorded:
    """What a file has for the table."""

    document: Nd2Document
    axes: Axes
    times_ms: NDArray[np.float64] | None
    columns: dict[str, NDArray[Any]]
    events: tuple[Event, ...]

    @classmethod
    def of(cls, store: FrameStore) -> Recorded:
        """Read it from an open file."""
        return cls(
            document=store.document,
            axes=store.axes,
            times_ms=store.records.times_ms,
            columns=columns_of(store),
            events=events_of(store),
        )

    @cached_property
    def table(self) -> dict[str, NDArray[Any]]:
        """Columns in the order of the frames, unless there are events."""
        return recorded_table(
            self.document,
            self.axes,
            times_ms=self.times_ms,
            columns=self.columns,
            events=self.events,
            null=_ABSENT,
        )

    @cached_property
    def by_time(self) -> dict[str, NDArray[Any]]:
        """Columns with their rows by time."""
        return _by_time(self.table)


def events_table(recorded: Recorded, orient: Orient, null_value: Any) -> Any:
    """Return the table in one of three forms.

    Parameters
    ----------
    recorded
        What the file has.
    orient
        ``"records"`` for a dict a row, without cells that are empty; ``"list"`` for a
        list a column; ``"dict"`` for a dict a column, by number of the row.
    null_value
        What fills empty cells, but of records.
    """
    table = recorded.table
    if orient == "list" and not recorded.events:
        titles = set(column_titles(recorded.document.recorded_columns, ()).values())
        return {
            title: values.copy()
            if title in titles and values.dtype.kind in "fi"
            else _cells(values, null_value)
            for title, values in table.items()
        }
    table = recorded.by_time
    if orient == "list":
        return {title: _cells(values, null_value) for title, values in table.items()}
    if orient == "dict":
        return {
            title: dict(enumerate(_cells(values, null_value)))
            for title, values in table.items()
        }
    return _records(table)


def _by_time(table: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Rows by time; those without one stay behind the row before them."""
    times = table.get(TIME_TITLE)
    if times is None or EVENTS_TITLE in table:
        return table
    rising = np.where(np.isnan(times), -math.inf, times)
    rising = np.maximum.accumulate(rising) if np.isnan(times).any() else rising
    order = np.argsort(rising, kind="stable")
    if (order == np.arange(len(order))).all():
        return table
    return {title: values[order] for title, values in table.items()}


def _cells(values: NDArray[Any], null: Any) -> list[Any]:
    cells: list[Any] = values.tolist()
    if values.dtype != object:
        return cells
    return [null if cell is _ABSENT else cell for cell in cells]


def _records(table: dict[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """One dict a row; a title has no cell where nothing is known."""
    titles = list(table)
    columns = [values.tolist() for values in table.values()]
    rows = [dict(zip(titles, row, strict=True)) for row in zip(*columns, strict=True)]
    if any(values.dtype == object for values in table.values()):
        return [
            {title: cell for title, cell in row.items() if cell is not _ABSENT}
            for row in rows
        ]
    return rows
