"""What happened during the acquisition: events with their times (FORMAT 9.2)."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.comparison import same
from limnd2_xr.model.event_words import (
    EVENT_LABELS,
    EVENT_MEANINGS,
    STIMULATION_TYPES,
)
from limnd2_xr.model.fields import integer, real, unwrap
from limnd2_xr.model.matching import matched_parts
from limnd2_xr.model.spelling import exact_text
from limnd2_xr.model.tree_building import (
    f64,
    listed,
    nested,
    string,
    struct,
    u32,
    whole,
)
from limnd2_xr.model.tree_editing import merged, with_fields
from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "EVENT_CHUNKS",
    "WRITTEN_CHUNK",
    "Event",
    "Stimulation",
    "events_by_chunk",
    "events_tree",
    "merged_events",
    "parse_events",
]

EVENT_CHUNKS: Final = (
    "ImageEvents",
    "ImageEventsLV!",
    "ImageEvents!",
    "CustomData|ExperimentEventsV1_0!",
)
"""Chunks that may hold events, in the order in which they are merged."""
WRITTEN_CHUNK: Final = "CustomData|ExperimentEventsV1_0!"
"""Chunk of events that come from none: a real file with events has them here [2S]."""

_STRUCT: Final = "RLxExperimentRecord"
_OLD_FIELDS: Final = {"dTime", "eMeaning"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Stimulation:
    """Part of a stimulation that an event marks."""

    type: int = 0
    """Code, see `event_words.STIMULATION_TYPES`."""
    loop_index: int = 0
    """Number of the loop that it belongs to."""
    position: int = 0
    """Number of the stage position."""
    description: str = ""
    """Devices and powers."""

    @property
    def type_text(self) -> str:
        """Its type in words, ``"type 9"`` for an unknown code."""
        known = 0 <= self.type < len(STIMULATION_TYPES)
        return STIMULATION_TYPES[self.type] if known else f"type {self.type}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One event.

    Examples
    --------
    >>> event = Event(time_ms=1500.0, meaning=7, data="Wait(2);")
    >>> event.time_s, event.meaning_text, event.text
    (1.5, 'command', 'Command Executed')
    """

    time_ms: float = 0.0
    """When, in the clock of the frames; milliseconds, as stored."""
    time2_ms: float = 0.0
    """The same in a second clock."""
    meaning: int = 0
    """Code of what happened, see `event_words.EVENT_MEANINGS`."""
    description: str = ""
    """What the user wrote about it."""
    data: str = ""
    """Command, file or whatever else belongs to it."""
    id: int = 0
    """Number of the event."""
    stimulation: Stimulation | None = None
    """Part of a stimulation that it marks."""

    @property
    def time_s(self) -> float:
        """When, in seconds since the start of the acquisition."""
        return self.time_ms / 1000.0

    @property
    def time2_s(self) -> float:
        """The same in a second clock."""
        return self.time2_ms / 1000.0

    @property
    def meaning_text(self) -> str:
        """What happened in words, ``"meaning 99"`` for an unknown code."""
        known = 0 <= self.meaning < len(EVENT_MEANINGS)
        return EVENT_MEANINGS[self.meaning] if known else f"meaning {self.meaning}"

    @property
    def text(self) -> str:
        """What a table of the acquisition shows: the description, else a label.

        Events of a stimulation add its phase.

        Examples
        --------
        >>> Event(
        ...     meaning=15, stimulation=Stimulation(type=4, description="365 nm")
        ... ).text
        'Stimulation Phase Begin - 365 nm'
        """
        shown = self.description or EVENT_LABELS.get(self.meaning, "")
        if self.stimulation is None:
            return shown
        shown += f" Phase {self.stimulation.type_text}"
        more = self.stimulation.description
        return f"{shown} - {more}" if more else shown


def parse_events(level: Level) -> tuple[Event, ...]:
    """Events of a decoded chunk, in stored order [2S].

    Parameters
    ----------
    level
        ``RLxExperimentRecord`` or the root that holds it, in the form of today
        (``pEvents``) or in the older one (``pFirstEvent``). The stored count is not
        asked.

    Raises
    ------
    CorruptChunk
        If a field has the wrong type.

    Examples
    --------
    >>> parse_events(events_tree([Event(time_ms=5.0, meaning=41)]))[0].meaning_text
    'before capture'
    """
    return tuple(_event(item) for item in _items(_record(level)))


def events_tree(events: Sequence[Event], base: Level | None = None) -> Level:
    """Root of a chunk of events, in terms of the lite variant.

    Parameters
    ----------
    events
        What to store.
    base
        Root of the source, itself if nothing changes. What else it says of an event
        stays, unless it is of the older form or encoded as XML: that is written anew.

    Raises
    ------
    ValueError
        If a value cannot be stored, naming the field.

    Examples
    --------
    >>> events_tree([Event(id=1)]).to_plain()
    {'RLxExperimentRecord': {'uiCount': 1, 'pEvents': [{'T': 0.0, 'M': 0, 'I': 1}]}}
    """
    trees = [_tree(event) for event in events]
    content = struct(u32("uiCount", len(trees)), nested("pEvents", listed(trees)))
    if base is None:
        return struct(nested(_STRUCT, content))
    before = parse_events(base)
    if same(tuple(events), before):
        return base
    record = _record(base)
    stored = record.level("pEvents")
    if stored is None or any(isinstance(kind, str) for kind in record.kinds):
        return struct(nested(_STRUCT, content))
    items = stored.levels()
    places = matched_parts(events, before, lambda event: event, lambda event: event.id)
    trees = [
        tree if at is None else merged(items[at], _tree(before[at]), tree)
        for at, tree in zip(places, trees, strict=True)
    ]
    content = with_fields(
        record, u32("uiCount", len(trees)), nested("pEvents", listed(trees))
    )
    return struct(nested(_STRUCT, content))


def merged_events(sources: Mapping[str, Sequence[Event]]) -> tuple[Event, ...]:
    """Events of all chunks, by time.

    An event that two chunks have in common counts once, one that a chunk repeats as
    often as there.

    Parameters
    ----------
    sources
        Events by the name of their chunk, see `EVENT_CHUNKS`.

    Examples
    --------
    >>> early, late = Event(time_ms=1.0), Event(time_ms=2.0)
    >>> found = merged_events({"ImageEventsLV!": [late], "ImageEvents!": [early, late]})
    >>> [event.time_ms for event in found]
    [1.0, 2.0]
    """
    found: list[Event] = []
    for chunk in sorted(sources, key=_rank):
        known = zip(sources[chunk], _places(sources[chunk], found), strict=True)
        found += [event for event, at in list(known) if at is None]
    return tuple(sorted(found, key=lambda e: (math.isnan(e.time_ms), e.time_ms)))


def events_by_chunk(
    events: Sequence[Event], sources: Mapping[str, Sequence[Event]]
) -> dict[str, tuple[Event, ...]]:
    """Events to be stored by the name of their chunk: the inverse of `merged_events`.

    What another chunk than the first with events says and the events still hold stays
    there; everything else, with what is new, goes to that first one, or to
    `WRITTEN_CHUNK` where no chunk has events.

    Parameters
    ----------
    events
        What to store.
    sources
        Events of the source by the name of their chunk.

    Returns
    -------
    dict
        Every chunk of the source is there, even if no event is left for it.

    Examples
    --------
    >>> list(events_by_chunk([Event()], {}))
    ['CustomData|ExperimentEventsV1_0!']
    """
    found: dict[str, tuple[Event, ...]] = dict.fromkeys(sources, ())
    holders = [chunk for chunk in sorted(sources, key=_rank) if sources[chunk]]
    if not events:
        return found
    first = holders[0] if holders else WRITTEN_CHUNK
    wanted = Counter(events)
    elsewhere: set[Event] = set()
    for chunk in holders[1:]:
        kept = zip(sources[chunk], _places(sources[chunk], events), strict=True)
        found[chunk] = tuple(event for event, at in kept if at is not None)
        counts = Counter(found[chunk])
        elsewhere |= {event for event in counts if counts[event] == wanted[event]}
    elsewhere -= set(sources.get(first, ()))
    found[first] = tuple(event for event in events if event not in elsewhere)
    return found


def _places(old: Sequence[Event], events: Sequence[Event]) -> list[int | None]:
    return matched_parts(old, events, lambda event: event)


def _rank(chunk: str) -> int:
    known = chunk in EVENT_CHUNKS
    return EVENT_CHUNKS.index(chunk) if known else len(EVENT_CHUNKS)


def _record(level: Level) -> Level:
    inner = level.level(_STRUCT)
    return unwrap(level if inner is None else inner)


def _items(record: Level) -> list[Level]:
    found = record.get("pEvents", record.get("pFirstEvent"))
    if found is None or found == "":
        return []
    if not isinstance(found, Level):
        raise CorruptChunk("its events are a value, not a list")
    if _OLD_FIELDS & set(found.names):
        return [found]
    if not all(isinstance(item, Level) for item in found.values):
        raise CorruptChunk("an event is a value, not a struct")
    return found.levels()


def _event(item: Level) -> Event:
    if _OLD_FIELDS & set(item.names):
        return Event(
            time_ms=real(item, "dTime", 0.0),
            meaning=integer(item, "eMeaning", 0),
            description=exact_text(item, "wsDescription"),
            data=exact_text(item, "wsData"),
        )
    phase = item.level("S")
    return Event(
        time_ms=real(item, "T", 0.0),
        time2_ms=real(item, "T2", 0.0),
        meaning=integer(item, "M", 0),
        description=exact_text(item, "D"),
        data=exact_text(item, "A"),
        id=integer(item, "I", 0),
        stimulation=_stimulation(phase) if phase is not None and len(phase) else None,
    )


def _stimulation(phase: Level) -> Stimulation:
    return Stimulation(
        type=integer(phase, "T", 0),
        loop_index=integer(phase, "L", 0),
        position=integer(phase, "P", 0),
        description=exact_text(phase, "D"),
    )


def _tree(event: Event) -> Level:
    """One event; like NIS-Elements without the fields that say nothing."""
    fields = [f64("T", event.time_ms)]
    if event.time2_ms != 0:
        fields.append(f64("T2", event.time2_ms))
    fields.append(whole("M", event.meaning))
    if event.description:
        fields.append(string("D", event.description))
    if event.data:
        fields.append(string("A", event.data))
    fields.append(whole("I", event.id))
    phase = event.stimulation
    if phase is not None:
        stored = struct(
            whole("T", phase.type),
            whole("L", phase.loop_index),
            whole("P", phase.position),
            string("D", phase.description),
        )
        fields.append(nested("S", stored))
    return struct(*fields)
