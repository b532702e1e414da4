"""Events from tables, and the chunks that they become."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.arrays.event_writing import event_payloads, events_from_dataset
from limnd2_xr.arrays.tables import events_dataset
from limnd2_xr.errors import Nd2Warning
from limnd2_xr.model.comparison import same
from limnd2_xr.model.events import (
    WRITTEN_CHUNK,
    Event,
    Stimulation,
    events_tree,
    merged_events,
    parse_events,
)
from limnd2_xr.model.tree_building import f64, listed, nested, struct, u32
from limnd2_xr.testing.trees import to_xml
from limnd2_xr.variants import lite, xml
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from pathlib import Path

TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8
)
CODE = st.integers(0, 60) | st.integers(0, 2**32 - 1)
# Milliseconds with so many digits are the same again after a division by 1000.
TIME = st.integers(-(10**12), 10**12).map(lambda us: us / 1000)
PHASES = st.builds(
    Stimulation, type=CODE, loop_index=CODE, position=CODE, description=TEXT
)


def events(times: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[Event, ...]]:
    one = st.builds(
        Event,
        time_ms=times,
        time2_ms=times,
        meaning=CODE,
        description=TEXT,
        data=TEXT,
        id=CODE,
        stimulation=st.none() | PHASES,
    )
    return st.lists(one, max_size=5).map(tuple)


EVENTS = (
    Event(time_ms=1500.0, meaning=33, description="drug added µ", id=2),
    Event(time_ms=0.1 + 0.2, time2_ms=7.0, meaning=7, data="Wait(2);", id=1),
    Event(
        time_ms=2e6,
        meaning=15,
        stimulation=Stimulation(type=4, loop_index=1, position=2, description="365 nm"),
    ),
)
STORED = lite.encode(events_tree(EVENTS))


def read(payloads: dict[str, bytes | None]) -> tuple[Event, ...]:
    return merged_events(
        {
            name: parse_events(decode(payload))
            for name, payload in payloads.items()
            if payload is not None
        }
    )


def edited(column: str, row: int, value: Any) -> xr.Dataset:
    table = events_dataset(EVENTS)
    values = table[column].values.astype(object)
    values[row] = value
    return table.assign({column: ("event", values)})


@given(events(TIME))
def test_a_table_gives_its_events_back(found: tuple[Event, ...]) -> None:
    table = events_dataset(found)
    assert events_from_dataset(table) == found
    assert events_from_dataset(pickle.loads(pickle.dumps(table))) == found
    with_objects = table.map(lambda v: v.astype(object) if v.dtype.kind == "U" else v)
    assert events_from_dataset(with_objects) == found


@given(events(st.floats()))
def test_any_time_is_the_same_in_seconds(found: tuple[Event, ...]) -> None:
    again = events_from_dataset(events_dataset(found))
    times = [(e.time_s, e.time2_s) for e in found]
    np.testing.assert_array_equal([(e.time_s, e.time2_s) for e in again], times)
    without = [replace(e, time_ms=0.0, time2_ms=0.0) for e in found]
    assert [replace(e, time_ms=0.0, time2_ms=0.0) for e in again] == without


@given(events(st.floats()))
def test_what_does_not_change_keeps_its_bytes(found: tuple[Event, ...]) -> None:
    stored = {WRITTEN_CHUNK: lite.encode(events_tree(found))}
    shown = merged_events({WRITTEN_CHUNK: found})
    assert event_payloads(shown, stored) == stored
    assert event_payloads(pickle.loads(pickle.dumps(shown)), stored) == stored
    assert event_payloads(events_dataset(shown), stored) == stored


@given(events(st.floats()), events(st.floats()))
def test_the_file_has_just_these_events_afterwards(
    before: tuple[Event, ...], after: tuple[Event, ...]
) -> None:
    stored = {
        "ImageEventsLV!": lite.encode(events_tree(before)),
        WRITTEN_CHUNK: lite.encode(events_tree(before[:1])),
    }
    found = event_payloads(after, stored)
    assert found.keys() == stored.keys()
    assert same(read(found), merged_events({WRITTEN_CHUNK: after}))


def test_through_netcdf(tmp_path: Path) -> None:
    events_dataset(EVENTS).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as table:
        found = event_payloads(table, {WRITTEN_CHUNK: STORED})
    assert found == {WRITTEN_CHUNK: STORED}


@pytest.mark.parametrize(
    ("column", "value", "change"),
    [
        ("time", 0.25, {"time_ms": 250.0}),
        ("time2", np.nan, {"time2_ms": math.nan}),
        ("data", "more", {"data": "more"}),
        ("id", 9, {"id": 9}),
        ("id", 9.0, {"id": 9}),
    ],
)
def test_an_edited_column_counts(
    column: str, value: Any, change: dict[str, Any]
) -> None:
    table = edited(column, 0, value)
    if column.startswith("time"):
        table = table.assign({column: table[column].astype(float)})
        table[column].attrs["units"] = "s"
    wanted = (replace(EVENTS[0], **change), *EVENTS[1:])
    found = events_from_dataset(table)
    assert same(found[0], wanted[0])
    stored = event_payloads(table, {WRITTEN_CHUNK: STORED})
    assert same(parse_events(decode(stored[WRITTEN_CHUNK] or b"")), wanted)


def test_codes_and_descriptions_are_edited_without_what_follows_from_them() -> None:
    table = edited("meaning_code", 0, 31).drop_vars(["text", "meaning"])
    table["description"][0] = "new"
    changed = replace(EVENTS[0], meaning=31, description="new")
    assert events_from_dataset(table)[0] == changed


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("meaning", "pause", "'pause' .* it is 'user interaction 1' by meaning_code"),
        ("meaning_code", 9, "'user interaction 1' .* it is 'pause' by meaning_code"),
        ("text", "other", "'other' of the event at 1.5 s, but it is 'drug added µ' by"),
        ("description", "x", "'drug added µ' .* drop the column with ds.drop_vars"),
        ("stimulation", "Begin", "'Begin' .* but it is '' by stimulation_type"),
        ("stimulation_description", "x", "but not in its column stimulation_type"),
        ("stimulation_loop", 3, "column stimulation .* but it is 'type -1'"),
        ("description", 3, "column description .* holds 3, which is not a text"),
        ("id", 0.5, "column id .* holds 0.5, which is not a whole number"),
        ("time", "noon", "coordinate time must hold numbers in s"),
    ],
)
def test_contradictions_are_refused(column: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        events_from_dataset(edited(column, 0, value))


def test_a_table_of_times_and_texts_is_enough() -> None:
    table = xr.Dataset(
        {
            "time": ("event", [1.0, 2.5], {"units": "min"}),
            "description": ("event", ["a", "b"]),
            "meaning": ("event", ["stimulation", "meaning 77"]),
            "stimulation": ("event", ["Begin", ""]),
        }
    )
    assert events_from_dataset(table) == (
        Event(
            time_ms=60_000.0,
            meaning=15,
            description="a",
            stimulation=Stimulation(type=4),
        ),
        Event(time_ms=150_000.0, meaning=77, description="b"),
    )
    delta = table.assign(time=("event", np.array([1, 2], "m8[s]")))
    assert [e.time_ms for e in events_from_dataset(delta)] == [1000.0, 2000.0]
    assert events_from_dataset(table.isel(event=0)) == events_from_dataset(
        table.isel(event=[0])
    )
    assert events_from_dataset(xr.Dataset()) == ()


def test_what_is_no_table_of_events_is_refused() -> None:
    with pytest.raises(ValueError, match="has no column time"):
        events_from_dataset(xr.Dataset({"id": ("event", [1])}))
    unknown = xr.Dataset(
        {"time": ("event", [1.0]), "meaning": ("event", ["tea break"])}
    )
    with pytest.raises(ValueError, match="'tea break', which is none of unspecified,"):
        events_from_dataset(unknown)
    table = events_dataset(EVENTS).assign(who=("event", ["a", "b", "c"]))
    with pytest.warns(Nd2Warning, match="no place for who of the table of events"):
        assert len(events_from_dataset(table)) == 3


def test_events_stay_in_their_chunks_with_what_is_not_known_of_them() -> None:
    item = struct(f64("T", 5.0), u32("I", 3), u32("Mystery", 9))
    record = struct(u32("uiCount", 1), nested("pEvents", listed([item])))
    stored = {
        "ImageEventsLV!": lite.encode(struct(nested("RLxExperimentRecord", record))),
        WRITTEN_CHUNK: STORED,
    }
    shown = read(dict(stored))
    found = event_payloads(
        [replace(e, description="new") if e.id == 3 else e for e in shown], stored
    )
    assert found[WRITTEN_CHUNK] == STORED
    tree: Any = decode(found["ImageEventsLV!"] or b"").to_plain()
    assert tree["RLxExperimentRecord"]["pEvents"] == [
        {"T": 5.0, "I": 3, "Mystery": 9, "D": "new"}
    ]


def test_chunks_without_events_go_and_empty_ones_stay() -> None:
    empty = lite.encode(events_tree(()))
    stored = {"ImageEventsLV!": empty, WRITTEN_CHUNK: STORED}
    assert event_payloads((), stored) == {"ImageEventsLV!": empty, WRITTEN_CHUNK: None}
    assert event_payloads((), {}) == {}
    added = event_payloads(EVENTS, {"ImageEventsLV!": empty})
    assert added["ImageEventsLV!"] == empty
    assert read(added) == merged_events({"": EVENTS})


def test_old_and_damaged_chunks() -> None:
    old = {"ImageEvents!": xml.encode(to_xml(events_tree(EVENTS[:1])))}
    assert event_payloads(EVENTS[:1], old) == old
    assert same(read(event_payloads(EVENTS[:2], old)), merged_events({"": EVENTS[:2]}))
    broken = {WRITTEN_CHUNK: STORED[:-9], "ImageEventsLV!": STORED[:30]}
    assert event_payloads((), broken) == broken
    found = event_payloads(EVENTS, broken)
    assert found["ImageEventsLV!"] is None
    assert parse_events(decode(found[WRITTEN_CHUNK] or b"")) == EVENTS
