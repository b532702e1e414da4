"""Events to be written: read from a table, and encoded in the chunks they belong to."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Any, Final

import xarray as xr

from limnd2_xr.arrays.stored_trees import edited_payload, readable_tree
from limnd2_xr.arrays.table_columns import TableColumns
from limnd2_xr.arrays.tables import events_dataset
from limnd2_xr.arrays.units import milliseconds
from limnd2_xr.errors import CorruptChunk, warn_user
from limnd2_xr.model.event_words import EVENT_MEANINGS, STIMULATION_TYPES
from limnd2_xr.model.events import (
    Event,
    Stimulation,
    events_by_chunk,
    events_tree,
    merged_events,
    parse_events,
)
from limnd2_xr.model.serialise import to_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from limnd2_xr.variants.tree import Level

__all__ = ["event_payloads", "events_from_dataset"]

_NONE: Final = -1
"""Stands for what an event without a stimulation has not."""
_TIMES: Final = ("time", "time2")
_TEXTS: Final = ("description", "data", "stimulation_description")
_WHOLE: Final = (
    "meaning_code",
    "id",
    "stimulation_type",
    "stimulation_loop",
    "stimulation_position",
)
_DERIVED: Final[Mapping[str, str]] = {
    "meaning": "meaning_code",
    "stimulation": "stimulation_type",
    "text": "description, meaning_code and the stimulation",
}
"""Columns that follow from others, and which: those count."""


def events_from_dataset(dataset: xr.Dataset) -> tuple[Event, ...]:
    """Events of a table such as the group ``events``: the inverse of `events_dataset`.

    The columns ``text``, ``meaning`` and ``stimulation`` follow from others, which
    count; without these, ``meaning`` and ``stimulation`` are looked up. Values that are
    missing (NaN) are as if not given, but for times.

    Parameters
    ----------
    dataset
        Columns along one dim; ``time``, in seconds or the unit that it states, must be
        there.

    Returns
    -------
    tuple of Event
        One a row. Their milliseconds, divided by 1000, are exactly the seconds.

    Raises
    ------
    ValueError
        If a column that follows from others contradicts them, or a value is of another
        type.

    Warns
    -----
    Nd2Warning
        If the table has columns that a file has no place for.

    Examples
    --------
    >>> table = xr.Dataset(
    ...     {
    ...         "time": ("event", [1.5]),
    ...         "description": ("event", ["drug added"]),
    ...         "meaning": ("event", ["user events"]),
    ...     }
    ... )
    >>> events_from_dataset(table)
    (Event(time_ms=1500.0, ..., meaning=31, description='drug added', ...),)
    """
    table = TableColumns(dataset, "event")
    strange = sorted({*table.names} - {*_TIMES, *_TEXTS, *_WHOLE, *_DERIVED})
    if strange:
        warn_user(
            f"an .nd2 file has no place for {', '.join(strange)} of the table of events"
        )
    rows: list[dict[str, Any]] = [{} for _ in range(table.n_rows)]
    columns: dict[str, Sequence[Any]] = {name: _times(table, name) for name in _TIMES}
    columns |= {name: table.texts(name) for name in (*_TEXTS, *_DERIVED)}
    columns |= {name: table.whole(name) for name in _WHOLE}
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            if value is not None:
                row[name] = value
    events = tuple(map(_event, rows))
    _check_derived(events, rows)
    return events


def _times(table: TableColumns, name: str) -> list[float]:
    seconds = table.seconds(name)
    if seconds is None and name == "time" and table.n_rows:
        raise ValueError("the table of events has no column time")
    if seconds is None:
        return [0.0] * table.n_rows
    exact = milliseconds(seconds).tolist()
    # Several numbers of milliseconds may give these seconds: the roundest was meant.
    pairs = zip(exact, seconds.tolist(), strict=True)
    return [round_ if (round_ := round(ms, 6)) / 1000 == s else ms for ms, s in pairs]


def _event(row: Mapping[str, Any]) -> Event:
    code = row.get("meaning_code")
    if code is None:
        code = _looked_up(row, "meaning", EVENT_MEANINGS, "meaning ")
    return Event(
        time_ms=row["time"],
        time2_ms=row["time2"],
        meaning=code or 0,
        description=row.get("description", ""),
        data=row.get("data", ""),
        id=row.get("id", 0),
        stimulation=_stimulation(row),
    )


def _stimulation(row: Mapping[str, Any]) -> Stimulation | None:
    kind = row.get("stimulation_type")
    if kind is None:
        kind = _looked_up(row, "stimulation", STIMULATION_TYPES, "type ")
    loop = row.get("stimulation_loop", _NONE)
    position = row.get("stimulation_position", _NONE)
    description = row.get("stimulation_description", "")
    if kind is None or kind == loop == position == _NONE:
        if loop != _NONE or position != _NONE or description:
            raise ValueError(
                f"the table of events says where the event at {row['time'] / 1000} s is in "
                "a stimulation, but not in its column stimulation_type, which counts"
            )
        return None
    return Stimulation(
        type=kind,
        loop_index=loop if "stimulation_loop" in row else 0,
        position=position if "stimulation_position" in row else 0,
        description=description,
    )


def _looked_up(
    row: Mapping[str, Any], column: str, words: Sequence[str], prefix: str
) -> int | None:
    """Return the code of a word, None if there is none."""
    word = row.get(column, "")
    if not word:
        return None
    if word in words:
        return words.index(word)
    number = word.removeprefix(prefix)
    if number != word and number.isascii() and number.isdigit():
        return int(number)
    raise ValueError(
        f"column {column} of the table of events says {word!r}, which is none of "
        f"{', '.join(words[:4])} ...: give its code in {_DERIVED[column]}"
    )


def _check_derived(events: Sequence[Event], rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuse texts that say something else than what they follow from."""
    derived = events_dataset(events)
    for name, sources in _DERIVED.items():
        for event, row, text in zip(
            events, rows, derived[name].values.tolist(), strict=True
        ):
            if row.get(name, text) != text:
                raise ValueError(
                    f"column {name} of the table of events says {row[name]!r} of the event "
                    f"at {event.time_s} s, but it is {text!r} by {sources}, which count: "
                    f"edit these, and drop the column with ds.drop_vars({name!r})"
                )


def event_payloads(
    events: Sequence[Event] | xr.Dataset, stored: Mapping[str, bytes]
) -> dict[str, bytes | None]:
    """Chunks of a file that has just these events.

    Parameters
    ----------
    events
        Events, or a table of them.
    stored
        Payloads of the chunks of events that the file has, see `EVENT_CHUNKS`. Each
        event stays in the chunk that it is from, with what else that says of it.

    Returns
    -------
    dict
        Payload by chunk name: those of `stored` as they are if nothing changes, in
        whatever order the events are given; None for a chunk that has no event any
        more, or whose events cannot be read and are replaced.

    Raises
    ------
    ValueError
        If a value cannot be stored, or as for `events_from_dataset`.

    Examples
    --------
    >>> list(event_payloads([Event(time_ms=5.0)], {}))
    ['CustomData|ExperimentEventsV1_0!']
    """
    sources = {name: _stored_events(payload) for name, payload in stored.items()}
    known = {name: found for name, found in sources.items() if found is not None}
    before = merged_events(known)
    if isinstance(events, xr.Dataset):
        wanted = _recognised(events_from_dataset(events), before, _table_rows)
    else:
        wanted = _recognised(tuple(events), before, _exact_rows)
    if Counter(map(id, wanted)) == Counter(map(id, before)):
        return dict(stored)
    found: dict[str, bytes | None] = dict.fromkeys(stored)
    for name, those in events_by_chunk(wanted, known).items():
        payload = stored.get(name)
        if those:
            found[name] = edited_payload(payload, _maker(those))
        elif payload is not None and not known.get(name):
            found[name] = payload  # without events as it was
    return found


def _maker(events: Sequence[Event]) -> Callable[[Level | None], Level]:
    return lambda base: events_tree(events, base)


def _stored_events(payload: bytes) -> tuple[Event, ...] | None:
    tree = readable_tree(payload)
    if tree is None:
        return None
    try:
        return parse_events(tree)
    except CorruptChunk:
        return None


def _recognised(
    events: Sequence[Event],
    before: Sequence[Event],
    rows: Callable[[Sequence[Event]], list[Hashable]],
) -> tuple[Event, ...]:
    """Return stored events in the place of those that look the same.

    NaN makes equal events differ, and some milliseconds cannot be told from others by
    their seconds.
    """
    known: dict[Hashable, deque[Event]] = defaultdict(deque)
    for row, event in zip(rows(before), before, strict=True):
        known[row].append(event)
    return tuple(
        known[row].popleft() if known[row] else event
        for row, event in zip(rows(events), events, strict=True)
    )


def _table_rows(events: Sequence[Event]) -> list[Hashable]:
    table = events_dataset(events)
    columns = [table[name].values.tolist() for name in table]
    return [tuple(map(_comparable, row)) for row in zip(*columns, strict=True)]


def _comparable(value: Any) -> Any:
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def _exact_rows(events: Sequence[Event]) -> list[Hashable]:
    return [json.dumps(to_plain(event)) for event in events]
