from __future__ import annotations

import json
import zlib
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.axes import Axes
from limnd2_xr.model.frame_wells import (
    FrameWell,
    decode_frame_wells,
    decode_well_table,
    encode_frame_wells,
)
from limnd2_xr.model.plates import (
    Plate,
    canonical_well,
    parse_plate,
    parse_well,
    plate_tree,
    well_name,
)
from limnd2_xr.model.tree_building import nested, string, struct, u32, u64
from limnd2_xr.model.wells import (
    PositionWells,
    made_wells,
    wells_of_frames,
    wells_of_positions,
)
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.encode import encode

if TYPE_CHECKING:
    from limnd2_xr.model.experiment import Dim

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
WORDS = TEXTS.filter(lambda text: text != "N/A")
SIZES = st.integers(0, 2**32 - 1)
PLATES = st.builds(
    Plate,
    name=WORDS,
    rows=SIZES,
    columns=SIZES,
    row_naming=WORDS,
    column_naming=WORDS,
)
NUMBERS = st.integers(-(2**31), 2**32 - 1)
FRAME_WELLS = st.builds(
    FrameWell,
    frame=NUMBERS,
    name=TEXTS,
    row=NUMBERS,
    column=NUMBERS,
    well_index=NUMBERS,
    compact_name=TEXTS,
    plate_index=NUMBERS,
    plate_uuid=TEXTS,
)


@given(st.integers(0, 26 * 27 - 1), st.integers(0, 9998))
def test_a_well_is_named_and_found_again(row: int, column: int) -> None:
    assert parse_well(well_name(row, column)) == (row, column)
    assert canonical_well(well_name(row, column).lower()) == well_name(row, column)


@pytest.mark.parametrize(
    ("name", "cell"),
    [("A1", (0, 0)), (" b 03 ", (1, 2)), ("Z12", (25, 11)), ("aa001", (26, 0))],
)
def test_names_of_wells(name: str, cell: tuple[int, int]) -> None:
    assert parse_well(name) == cell


@pytest.mark.parametrize("name", ["", "A", "3", "A0", "A-1", "1A", "ABC1", "A1b", "٣"])
def test_other_names_are_no_wells(name: str) -> None:
    with pytest.raises(ValueError, match="is no well"):
        parse_well(name)
    assert canonical_well(name) == name


def test_there_are_no_wells_before_the_first() -> None:
    with pytest.raises(ValueError, match="row -1"):
        well_name(-1, 0)


@given(PLATES)
def test_a_plate_is_read_back(plate: Plate) -> None:
    tree = decode(encode(plate_tree(plate)))
    assert parse_plate(tree) == plate
    assert parse_plate(tree.level("PlateDesc", create=True)) == plate


@given(PLATES, PLATES)
def test_a_source_keeps_what_it_says_besides(old: Plate, new: Plate) -> None:
    base = struct(
        nested(
            "PlateDesc",
            struct(
                string("name", old.name),
                string("vendor", "?"),
                u64("rows", old.rows),
                u32("columns", old.columns),
                string("rowNaming", old.row_naming),
                string("columnNaming", old.column_naming),
            ),
        )
    )
    assert plate_tree(old, base) == base
    edited = plate_tree(new, base)
    assert parse_plate(edited) == new
    content = edited.level("PlateDesc", create=True)
    assert content["vendor"] == "?"
    assert content.kinds[2] == base.level("PlateDesc", create=True).kinds[2]


def test_plates_of_usual_size() -> None:
    assert Plate.holding([]).rows == 2
    assert Plate.holding([(15, 23)]).name == "384 wells"
    assert Plate.holding([(31, 47)]).row_naming == "A-AF"
    assert Plate.holding([(32, 1)]).rows == 33
    with pytest.raises(ValueError, match="no wells"):
        Plate.of_size(0, 12)
    plate = Plate.of_size(2, 3)
    assert plate.has(1, 2)
    assert not plate.has(2, 0)
    assert not plate.has(0, 3)
    assert not plate.has(-1, 0)
    assert Plate().has(99, 99)


def test_damaged_plates_are_refused() -> None:
    with pytest.raises(CorruptChunk, match="field rows is -4"):
        parse_plate(struct(("rows", 2, -4)))
    with pytest.raises(CorruptChunk, match="field columns"):
        parse_plate(struct(string("columns", "many")))


@given(st.lists(FRAME_WELLS))
def test_wells_of_frames_are_read_back(wells: list[FrameWell]) -> None:
    data = encode_frame_wells(wells)
    assert decode_frame_wells(data) == tuple(wells)
    table = decode_well_table(data)
    again = zip(table.which.tolist(), table.frames.tolist(), strict=True)
    assert [replace(table.wells[i], frame=f) for i, f in again] == wells
    assert len(table.wells) == len({replace(well, frame=0) for well in wells})


def test_the_keys_are_those_of_the_vendor() -> None:
    well = FrameWell(
        frame=3,
        name="B3",
        row=1,
        column=2,
        well_index=4,
        compact_name="B3",
        plate_index=1,
        plate_uuid="u",
    )
    assert json.loads(zlib.decompress(encode_frame_wells([well]))) == [
        {
            "plateIndex": 1,
            "plateUuid": "u",
            "seqIndex": 3,
            "wellIndex": 4,
            "wellName": "B3",
            "wellCompactName": "B3",
            "wellColIndex": 2,
            "wellRowIndex": 1,
        }
    ]


def packed(items: Any) -> bytes:
    return zlib.compress(json.dumps(items).encode())


def test_unknown_keys_stay_and_unchanged_bytes_stay() -> None:
    items = [
        {"seqIndex": 0, "wellName": "A1", "new": {"a": [1]}},
        {"seqIndex": 1, "wellName": "A2", "wellRowIndex": 0.0, "new": "\ud800"},
    ]
    base = packed(items)
    wells = decode_frame_wells(base)
    assert [well.name for well in wells] == ["A1", "A2"]
    assert encode_frame_wells(wells, base) is base
    edited = [replace(wells[1], name="B2", row=1), replace(wells[0], frame=7)]
    data = encode_frame_wells(edited, base)
    assert decode_frame_wells(data) == tuple(edited)
    found = json.loads(zlib.decompress(data).decode("utf-8", "surrogatepass"))
    assert found[0]["new"] == "\ud800"
    assert "new" not in found[1]


def test_selected_frames_keep_their_own_unknown_keys() -> None:
    items = [{"seqIndex": i, "wellName": "A1", "new": i} for i in range(3)]
    items[2].pop("seqIndex")  # known by its place
    base = packed(items)
    wells = [FrameWell(frame=i, name="A1") for i in range(2)]
    data = encode_frame_wells(wells, base, {0: 2, 1: 0})
    assert json.loads(zlib.decompress(data)) == [
        {"wellName": "A1", "new": 2, "seqIndex": 0},
        {"wellName": "A1", "new": 0, "seqIndex": 1},
    ]
    # The same frames are the same bytes; other ones under the same numbers are not.
    same = decode_frame_wells(base)
    assert encode_frame_wells(same, base, {0: 0, 1: 1, 2: 2}) is base
    swapped = encode_frame_wells(same, base, {0: 0, 1: 2, 2: 1})
    assert [i["new"] for i in json.loads(zlib.decompress(swapped))] == [0, 2, 1]
    (new,) = json.loads(zlib.decompress(encode_frame_wells(wells[:1], base, {})))
    assert "new" not in new


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cut short"),
        (b"\x78\x9c", "cut short"),
        (b"abc", "neither a zlib stream nor JSON"),
        (b"[", "no JSON"),
        (packed({}), "no array"),
        (packed([1]), "item 0"),
        (packed([{"seqIndex": "1"}]), "seqIndex of item 0 is 1, not a whole"),
        (packed([{"seqIndex": True}]), "not a whole"),
        (packed([{"seqIndex": 1.5}]), "not a whole"),
        (packed([{"seqIndex": 2**40}]), "not a whole"),
        (
            packed([{}, {"wellIndex": [1]}]),
            r"wellIndex of item 1 is \[1\], not a whole",
        ),
        (packed([{}, {"wellName": 5}]), "wellName of item 1 is 5, not a text"),
        (packed([{"seqIndex": 1}])[:-3], "cut short"),
        (zlib.compress(b"[" * 100_000), "no JSON"),
        (zlib.compress(b"1" * 5000), "no JSON"),
        (zlib.compress(bytes(50_000_000)), "inflate to more than"),
        (zlib.compress(b"[" + b"{}," * 2_000_000 + b"{}]"), "too many values"),
        (zlib.compress(b"[" + b'"ab",' * 2_000_000 + b"1]"), "too many values"),
        (zlib.compress(b'["\xff"]'), "no JSON"),
    ],
)
def test_damaged_wells_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(CorruptChunk, match=reason):
        decode_frame_wells(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for payload in (data, zlib.compress(data)):
        with suppress(CorruptChunk):
            decode_frame_wells(payload)


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="seqIndex 8589934592"):
        encode_frame_wells([FrameWell(frame=2**33)])


LOOPS: list[Dim] = ["T", "P", "Z"]
AXES = st.permutations(LOOPS).flatmap(
    lambda dims: st.tuples(*(st.integers(1, 4) for _ in dims)).map(
        lambda counts: Axes(nesting=tuple(zip(dims, counts, strict=True)))
    )
)


@given(AXES, st.data())
def test_wells_of_positions_come_back(axes: Axes, data: st.DataObject) -> None:
    n = axes.size("P")
    names = data.draw(
        st.lists(st.sampled_from(["A01", "B03", "AF48", ""]), min_size=n, max_size=n)
    )
    wells = PositionWells.of_names(names)
    stored = wells_of_frames(wells, axes, plate_uuid="id")
    assert [w.frame for w in stored] == sorted({w.frame for w in stored})
    found = wells_of_positions(decode_frame_wells(encode_frame_wells(stored)), axes)
    if not any(names):
        assert found is None
        return
    assert found is not None
    for name in ("name", "row", "column", "field"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wells, name))


def test_positions_in_an_inner_loop() -> None:
    axes = Axes(nesting=(("T", 2), ("P", 3)))
    wells = [
        FrameWell(frame=frame, name="C1", row=2, column=0)
        for frame in range(6)
        if frame % 3 != 1
    ]
    found = wells_of_positions(wells, axes)
    assert found is not None
    assert found.name.tolist() == ["C01", "", "C01"]
    assert found.row.tolist() == [2, -1, 2]
    assert found.field.tolist() == [0, -1, 1]
    # Known at the second time only, and beyond the file.
    found = wells_of_positions(
        [replace(wells[-1], frame=5), replace(wells[0], frame=99)], axes
    )
    assert found is not None
    assert found.name.tolist() == ["", "", "C01"]


def test_names_of_their_own_are_kept() -> None:
    axes = Axes(nesting=(("P", 3),))
    stored = [
        FrameWell(frame=0, name="3-1", row=2, column=0),
        FrameWell(frame=1, name="control", row=-1, column=-1),
        FrameWell(frame=2, name="b4", row=-1, column=-1),
    ]
    found = wells_of_positions(stored, axes)
    assert found is not None
    assert found.name.tolist() == ["3-1", "control", "B04"]
    assert found.row.tolist() == [2, -1, 1]
    assert found.column.tolist() == [0, -1, 3]
    with pytest.raises(ValueError, match="well 'control' of position 1"):
        wells_of_frames(found, axes)


def test_one_well_on_two_plates_is_two_wells() -> None:
    stored = [
        FrameWell(frame=0, name="A1", plate_index=0),
        FrameWell(frame=1, name="A1", plate_index=1),
    ]
    found = wells_of_positions(stored, Axes(nesting=(("P", 2),)))
    assert found is not None
    assert found.field.tolist() == [0, 0]


def test_a_position_is_in_one_well() -> None:
    stored = [FrameWell(frame=0, name="A1"), FrameWell(frame=1, name="A2", column=1)]
    axes = Axes(nesting=(("P", 1), ("Z", 2)))
    with pytest.raises(CorruptChunk, match="position 0 are in several wells: A1, A2"):
        wells_of_positions(stored, axes)
    assert wells_of_positions([], axes) is None
    with pytest.raises(ValueError, match="2 wells are given for 1 positions"):
        wells_of_frames(PositionWells.of_names(["A1", "A2"]), axes)


def test_new_wells_are_on_the_plate_of_those_that_are_known() -> None:
    known = FrameWell(
        frame=7, name="B3", row=1, column=2, well_index=4, plate_index=2, plate_uuid="u"
    )
    odd = FrameWell(frame=8, name="control", row=-1, column=-1, well_index=6)
    wells = PositionWells.of_names(["B3", "control", "b03", "C1", "C1", ""])
    found = made_wells(wells, [known, odd, None, None, None, None])
    assert found[:3] == (known, odd, known)
    assert found[3] == FrameWell(
        frame=0,
        name="C1",
        compact_name="C1",
        row=2,
        column=0,
        well_index=7,
        plate_index=2,
        plate_uuid="u",
    )
    assert found[4:] == (found[3], None)
