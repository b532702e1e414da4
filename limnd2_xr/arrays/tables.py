"""What was recorded of the frames, and what happened between them: two groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from limnd2_xr.arrays.coords import coordinates
from limnd2_xr.arrays.table_columns import text_column, whole_column
from limnd2_xr.damage import report_damage
from limnd2_xr.errors import Nd2Error
from limnd2_xr.model.events import EVENT_CHUNKS, merged_events, parse_events
from limnd2_xr.model.legacy_document import LEGACY_EVENTS, legacy_events
from limnd2_xr.model.recorded import (
    column_chunk,
    column_titles,
    decode_recorded,
    on_axes,
    recorded_table,
)
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.legacy_xml import decode_legacy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from limnd2_xr.arrays.file_manager import FileManager
    from limnd2_xr.frames.store import FrameStore, StoreState
    from limnd2_xr.model.events import Event

__all__ = [
    "EVENTS",
    "RECORDED",
    "columns_of",
    "events_dataset",
    "events_group",
    "events_of",
    "recorded_group",
    "table_of",
    "variable_name",
]

RECORDED: Final = "/recorded"
"""Path of the group of recorded columns."""
EVENTS: Final = "/events"
"""Path of the group of events."""
_LOOPS: Final = ("U", "T", "P", "Z")
_DIMS: Final = (*_LOOPS, "C", "Y", "X", "S")
_STAGE: Final = ("X", "Y", "Z")


def recorded_group(state: StoreState, manager: FileManager) -> dict[str, xr.Dataset]:
    """Return the group ``recorded``: one variable a column, over the loop dims.

    Parameters
    ----------
    state
        What opening the file found out.
    manager
        Owner of the open file.
    """
    with manager.acquire_context() as store:
        values = columns_of(store)
    if not values:
        return {}
    described = {column.id: column for column in state.document.recorded_columns}
    titles = column_titles(described.values())
    variables = {}
    for id_, found in values.items():
        column = described[id_]
        attrs: dict[str, Any] = {"long_name": column.description or id_}
        if column.unit.strip():
            attrs["units"] = column.unit
        attrs |= {"id": id_, "title": titles[id_], "group": column.group}
        variables[variable_name(id_)] = xr.Variable(
            state.axes.dims, on_axes(found, state.axes), attrs
        )
    made = coordinates(state, manager)
    coords = {name: made[name] for name in _LOOPS if name in made}
    return {RECORDED: xr.Dataset(variables, xr.Coordinates(coords, indexes={}))}


def variable_name(id_: str) -> str:
    """Name of a column's variable: its ID, unless dims or coordinates have that name.

    Examples
    --------
    >>> variable_name("PFS_STATUS"), variable_name("Z"), variable_name("T")
    ('PFS_STATUS', 'stage_z', 'column_T')
    """
    if id_ in _STAGE:
        return f"stage_{id_.lower()}"
    name = id_.replace("/", "_")
    return f"column_{name}" if name in _DIMS else name


def columns_of(store: FrameStore) -> dict[str, NDArray[Any]]:
    """Values of each described column that the file has; damaged ones cost a warning."""
    found: dict[str, NDArray[Any]] = {}
    document = store.document
    for column in document.recorded_columns:
        name = column_chunk(column.id)
        if name not in store.state.chunks or column.id in found:
            continue
        try:
            found[column.id] = decode_recorded(
                store.read_chunk(name), column, document.attributes.sequence_count
            )
        except Nd2Error as error:
            located = error.located(path=store.source_name, chunk=name)
            report_damage(located, "this column is left out")
    return found


def events_group(state: StoreState, manager: FileManager) -> dict[str, xr.Dataset]:
    """Return the group ``events``: one row an event, by time; nothing without any.

    Parameters
    ----------
    state
        What opening the file found out.
    manager
        Owner of the open file.
    """
    del state
    with manager.acquire_context() as store:
        events = events_of(store)
    return {EVENTS: events_dataset(events)} if events else {}


def events_of(store: FrameStore) -> tuple[Event, ...]:
    """All events of an open file, by time; damaged chunks cost a warning."""
    sources: dict[str, tuple[Event, ...]] = {}
    for name in (*EVENT_CHUNKS, LEGACY_EVENTS):
        if name not in store.state.chunks:
            continue
        try:
            payload = store.read_chunk(name)
            if name == LEGACY_EVENTS:
                sources[name] = parse_events(legacy_events(decode_legacy(payload)))
            else:
                sources[name] = parse_events(decode(payload))
        except Nd2Error as error:
            located = error.located(path=store.source_name, chunk=name)
            report_damage(located, "its events are left out")
    return merged_events(sources)


def events_dataset(events: Sequence[Event]) -> xr.Dataset:
    """Events as columns along the dim ``event``.

    `limnd2_xr.arrays.event_writing.events_from_dataset` is the inverse.

    Parameters
    ----------
    events
        As a file has them.
    """
    phases = [event.stimulation for event in events]
    numbers: dict[str, tuple[list[Any], str, str]] = {
        "time": ([e.time_s for e in events], "time since the start", "s"),
        "time2": ([e.time2_s for e in events], "time of a second clock", "s"),
    }
    texts = {
        "text": [event.text for event in events],
        "meaning": [event.meaning_text for event in events],
        "description": [event.description for event in events],
        "data": [event.data for event in events],
        "stimulation": ["" if s is None else s.type_text for s in phases],
        "stimulation_description": ["" if s is None else s.description for s in phases],
    }
    codes: dict[str, list[int]] = {
        "meaning_code": [event.meaning for event in events],
        "id": [event.id for event in events],
        "stimulation_type": [-1 if s is None else s.type for s in phases],
        "stimulation_loop": [-1 if s is None else s.loop_index for s in phases],
        "stimulation_position": [-1 if s is None else s.position for s in phases],
    }
    variables: dict[str, xr.Variable] = {}
    for name, (values, title, unit) in numbers.items():
        attrs = {"long_name": title, "units": unit}
        variables[name] = xr.Variable("event", np.asarray(values, np.float64), attrs)
    for name, strings in texts.items():
        variables[name] = xr.Variable("event", text_column(strings))
    for name, whole in codes.items():
        variables[name] = xr.Variable("event", whole_column(whole))
    return xr.Dataset(variables)


def table_of(store: FrameStore, null: Any = float("nan")) -> dict[str, NDArray[Any]]:
    """Columns of the table of frames and events, as NIS-Elements shows it.

    Parameters
    ----------
    store
        An open file.
    null
        What stands for values that are not known.
    """
    return recorded_table(
        store.document,
        store.axes,
        times_ms=store.records.times_ms,
        columns=columns_of(store),
        events=events_of(store),
        null=null,
    )
