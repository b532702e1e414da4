"""Boxes of files of format 1.0 by name: from the map, and without it."""

from __future__ import annotations

import struct

import pytest

from limnd2_xr.container.chunk_table import Entry
from limnd2_xr.container.legacy_index import read_boxes, read_legacy_index
from limnd2_xr.container.source import MemorySource
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.testing.legacy import LegacySpec, SyntheticLegacyFile, build_legacy
from limnd2_xr.testing.loop_specs import TimeLoop

SPEC = LegacySpec(loops=(TimeLoop(3),), width=16, height=12)
FILE = build_legacy(SPEC)
MAP_AT = FILE.data.rfind(b"LABORATORY") - 4 - 16 * len(FILE.boxes)


def places(data: bytes) -> dict[str, int]:
    index = read_legacy_index(MemorySource(data)).index
    return {name.rstrip("!"): entry.offset for name, entry in index.items()}


def expected(file: SyntheticLegacyFile) -> dict[str, int]:
    return {name: offset for name, (offset, _) in file.boxes.items()}


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def test_the_map_is_taken() -> None:
    found = read_legacy_index(MemorySource(FILE.data))
    assert found.rebuilt is None
    assert places(FILE.data) == expected(FILE)
    assert found.index.find("VIMD|2!") == FILE.boxes["VIMD|2"]
    # Of images in between nobody looked at the header yet.
    long = build_legacy(LegacySpec(loops=(TimeLoop(5),), width=8, height=8))
    index = read_legacy_index(MemorySource(long.data)).index
    assert index.find("LUNK|1!") == Entry(long.boxes["LUNK|1"][0], None)


def test_walking_finds_the_same_names() -> None:
    unmapped = FILE.data[: MAP_AT - 8]
    found = read_legacy_index(MemorySource(unmapped))
    assert found.rebuilt == (
        "the file does not end with a box map; its boxes were walked over"
    )
    sizes = {name.rstrip("!"): tuple(entry) for name, entry in found.index.items()}
    boxes = dict(FILE.boxes)
    boxes["uuid"] = boxes.pop("FREE")  # what is no XML has no tag of its own
    assert sizes == boxes


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("prolog", [False, True])
def test_tags_are_told_by_the_first_elements(wrapped: bool, prolog: bool) -> None:
    extra = {"IEVE": b"<Events/>", "SROB": b"<ReportObjects/>", "xml": b"<Other/>"}
    spec = LegacySpec(
        width=8,
        height=8,
        loops=(TimeLoop(1),),
        loop_style="AIMD",
        wrapped=wrapped,
        prolog=prolog,
        extra=extra,
        box_map=False,
    )
    file = build_legacy(spec)
    assert places(file.data).keys() - {"uuid"} == file.boxes.keys() - {"FREE"}


@pytest.mark.parametrize(
    ("name", "why"),
    [("VIMD|1", "VIMD|1! is not where"), ("LUNK|0", "LUNK|0! is not where")],
)
def test_a_map_that_is_wrong_in_one_place(name: str, why: str) -> None:
    number = list(FILE.boxes).index(name)
    at = MAP_AT + 4 + 16 * number + 8
    (offset,) = struct.unpack_from("<Q", FILE.data, at)
    assert offset == FILE.boxes[name][0]
    data = changed(FILE.data, at, struct.pack("<Q", offset + 1))
    found = read_legacy_index(MemorySource(data))
    assert found.rebuilt is not None
    assert why in found.rebuilt
    assert places(data)[name] == offset


@pytest.mark.parametrize("offset", [10**6, 1 << 63, (1 << 64) - 1])
def test_a_map_that_leads_outside(offset: int) -> None:
    at = MAP_AT + 4 + 16 * list(FILE.boxes).index("LUNK|1") + 8
    data = changed(FILE.data, at, struct.pack("<Q", offset))
    assert places(data)["LUNK|1"] == FILE.boxes["LUNK|1"][0]


def test_what_the_map_knows_behind_a_damaged_box_is_kept() -> None:
    data = changed(FILE.data, FILE.boxes["LUNK|0"][0], b"\0\0\0\3")
    found = read_legacy_index(MemorySource(data))
    wanted = expected(FILE)
    del wanted["LUNK|0"]
    assert places(data) == wanted
    assert found.rebuilt is not None
    assert "LUNK|0! is not where the box map says" in found.rebuilt


def test_payloads() -> None:
    source = MemorySource(FILE.data)
    index = read_legacy_index(source).index
    entries = {name: entry for name, entry in index.items() if "V" in name}
    for name, payload in read_boxes(source, entries).items():
        offset, nbytes = FILE.boxes[name.rstrip("!")]
        assert payload == FILE.data[offset + 8 : offset + 8 + nbytes]


def test_a_box_of_another_type_is_refused() -> None:
    offset = FILE.boxes["TINF"][0]
    with pytest.raises(CorruptChunk, match="'xml ' is there instead") as caught:
        read_boxes(MemorySource(FILE.data), {"LUNK|7!": Entry(offset, None)})
    assert (caught.value.chunk, caught.value.offset) == ("LUNK|7!", offset)
    with pytest.raises(CorruptChunk, match="the file ends before that"):
        read_boxes(MemorySource(FILE.data), {"TINF!": Entry(len(FILE.data) + 9, None)})


def test_names_that_nobody_could_type_are_made_so() -> None:
    at = MAP_AT + 4 + 16 * list(FILE.boxes).index("FREE") + 4
    assert "a_b_" in places(changed(FILE.data, at, b"a|b\xff"))
