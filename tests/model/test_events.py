from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.comparison import same
from limnd2_xr.model.event_words import EVENT_LABELS, EVENT_MEANINGS
from limnd2_xr.model.events import (
    WRITTEN_CHUNK,
    Event,
    Stimulation,
    events_by_chunk,
    events_tree,
    merged_events,
    parse_events,
)
from limnd2_xr.model.serialise import from_plain, to_plain
from limnd2_xr.model.tree_building import f64, listed, nested, string, struct, u32
from limnd2_xr.testing.strategies import damaged
from limnd2_xr.testing.trees import to_xml
from limnd2_xr.variants import lite, xml

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject

    from limnd2_xr.variants.tree import Level

TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8
)
CODE = st.integers(0, 60) | st.integers(-(2**31), 2**32 - 1)
EVENTS = st.builds(
    Event,
    time_ms=st.floats(),
    time2_ms=st.floats(),
    meaning=CODE,
    description=TEXT,
    data=TEXT,
    id=CODE,
    stimulation=st.none()
    | st.builds(
        Stimulation, type=CODE, loop_index=CODE, position=CODE, description=TEXT
    ),
)
LISTS = st.lists(EVENTS, max_size=5).map(tuple)
FEW = st.lists(
    st.builds(Event, time_ms=st.sampled_from([1.0, 2.0, 3.0])), max_size=4
).map(tuple)


def stored(tree: Level) -> Level:
    return lite.decode(lite.encode(tree))


@given(LISTS)
def test_what_is_written_is_read(events: tuple[Event, ...]) -> None:
    assert same(parse_events(stored(events_tree(events))), events)
    assert same(from_plain(tuple[Event, ...], to_plain(events)), events)


@given(LISTS, LISTS, st.data())
def test_editing_a_source(
    before: tuple[Event, ...], new: tuple[Event, ...], data: DataObject
) -> None:
    base = stored(events_tree(before))
    kept = data.draw(st.lists(st.sampled_from(before), unique_by=id)) if before else []
    edited = (*(replace(e, description="x") for e in kept[:1]), *kept[1:], *new)
    assert same(parse_events(stored(events_tree(edited, base))), edited)
    assert events_tree(parse_events(base), base) is base


def test_unknown_fields_stay() -> None:
    item = struct(f64("T", 5.0), u32("I", 3), u32("Mystery", 9))
    record = struct(
        u32("uiCount", 1), u32("uiMystery", 8), nested("pEvents", listed([item]))
    )
    base = struct(nested("RLxExperimentRecord", record))
    (event,) = parse_events(base)
    tree = events_tree([replace(event, description="new"), Event(id=4)], base)
    assert tree.to_plain() == {
        "RLxExperimentRecord": {
            "uiCount": 2,
            "uiMystery": 8,
            "pEvents": [
                {"T": 5.0, "I": 3, "Mystery": 9, "D": "new"},
                {"T": 0.0, "M": 0, "I": 4},
            ],
        }
    }


def old_form() -> Level:
    items = [
        struct(f64("dTime", 5.0), u32("eMeaning", 7), string("wsDescription", "D")),
        struct(f64("dTime", 6.0), string("wsData", "A")),
    ]
    return to_xml(
        struct(
            nested(
                "",
                struct(u32("uiCount", 2), nested("pFirstEvent", listed(items))),
            )
        )
    )


def test_the_older_form() -> None:
    base = xml.decode(xml.encode(old_form()))
    events = parse_events(base)
    assert events == (
        Event(time_ms=5.0, meaning=7, description="D"),
        Event(time_ms=6.0, data="A"),
    )
    assert events_tree(events, base) is base
    assert parse_events(stored(events_tree(events[:1], base))) == events[:1]
    single = struct(nested("pFirstEvent", struct(f64("dTime", 1.0))))
    assert parse_events(single) == (Event(time_ms=1.0),)


def test_none() -> None:
    for empty in (
        struct(),
        struct(nested("RLxExperimentRecord", struct(u32("uiCount", 0)))),
        struct(string("pEvents", "")),
    ):
        assert parse_events(empty) == ()


def test_xml_is_written_anew() -> None:
    base = to_xml(events_tree([Event(id=1)]))
    assert parse_events(base) == (Event(id=1),)
    tree = events_tree([Event(id=2)], base)
    assert parse_events(stored(tree)) == (Event(id=2),)


@pytest.mark.parametrize(
    "tree",
    [
        struct(u32("pEvents", 3)),
        struct(nested("pEvents", struct(u32("", 3)))),
        struct(nested("pEvents", listed([struct(string("T", "now"))]))),
        struct(nested("pEvents", listed([struct(f64("M", 0.5))]))),
    ],
)
def test_damage_is_named(tree: Level) -> None:
    with pytest.raises(CorruptChunk, match=r"event|field"):
        parse_events(tree)


@given(LISTS.flatmap(lambda events: damaged(lite.encode(events_tree(events)))))
def test_damaged_bytes(data: bytes) -> None:
    with contextlib.suppress(CorruptChunk):
        parse_events(lite.decode(data))


def test_words() -> None:
    assert len(EVENT_MEANINGS) == 55
    assert set(EVENT_LABELS) < set(range(55))
    assert Event(meaning=17).meaning_text == "experiment start"
    assert Event(meaning=33).meaning_text == "user interaction 1"
    assert Event(meaning=54).meaning_text == "N-STORM"
    assert Event(meaning=55).meaning_text == "meaning 55"
    assert Event(meaning=-1).meaning_text == "meaning -1"
    assert Event(meaning=55).text == ""
    assert Event(meaning=33, description="drug").text == "drug"
    phase = Stimulation(type=9)
    assert Event(meaning=15, stimulation=phase).text == "Stimulation Phase type 9"
    assert (Event(time_ms=1500.0).time_s, Event(time2_ms=500.0).time2_s) == (1.5, 0.5)


def test_chunks_are_merged_by_time() -> None:
    a, b, c = (Event(time_ms=t) for t in (1.0, 2.0, 3.0))
    unknown = Event(time_ms=float("nan"))
    merged = merged_events(
        {WRITTEN_CHUNK: [b, a, unknown], "ImageEventsLV!": [c, b, b], "Foreign!": [c]}
    )
    assert same(merged, (a, b, b, c, unknown))


@given(FEW, FEW, FEW)
def test_merging_and_dividing(
    one: tuple[Event, ...], two: tuple[Event, ...], edited: tuple[Event, ...]
) -> None:
    sources = {WRITTEN_CHUNK: one, "ImageEventsLV!": two}
    events = tuple(sorted(edited, key=lambda event: event.time_ms))
    divided = events_by_chunk(events, sources)
    assert set(divided) == set(sources)
    assert merged_events(divided) == events
    unchanged = events_by_chunk(merged_events(sources), sources)
    assert merged_events(unchanged) == merged_events(sources)
    assert unchanged[WRITTEN_CHUNK] == one or not two


def test_new_events_of_a_file_without_any() -> None:
    assert events_by_chunk([Event()], {"ImageEventsLV!": ()}) == {
        "ImageEventsLV!": (),
        WRITTEN_CHUNK: (Event(),),
    }
    assert events_by_chunk([], {"ImageEventsLV!": (Event(),)}) == {"ImageEventsLV!": ()}
