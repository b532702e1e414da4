from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, given

from limnd2_xr.model.tree_building import (
    boolean,
    f64,
    i32,
    listed,
    nested,
    numbered,
    string,
    struct,
    u32,
    u64,
    xml_i32,
)
from limnd2_xr.model.tree_editing import (
    merged,
    replaced_struct,
    with_fields,
    without_fields,
)
from limnd2_xr.testing.strategies import levels
from limnd2_xr.variants.tree import Level, LvType


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (u32, -1),
        (u32, 2**32),
        (u32, 1.5),
        (i32, 2**31),
        (u64, 2**64),
        (xml_i32, -(2**31) - 1),
    ],
)
def test_a_number_out_of_range_names_the_field(field: Any, value: float) -> None:
    with pytest.raises(ValueError, match="field uiWidth holds whole numbers"):
        field("uiWidth", value)


def test_a_text_with_nul_names_the_field() -> None:
    with pytest.raises(ValueError, match="field sName cannot hold a text with NUL"):
        string("sName", "a\0b")


def test_every_repetition_of_a_field_is_set() -> None:
    stored = struct(f64("dZLow", 1.0), u32("uiCount", 3), f64("dZLow", 1.0))
    found = with_fields(stored, f64("dZLow", 2.0))
    assert found.names == ["dZLow", "uiCount", "dZLow"]
    assert found.values == [2.0, 3, 2.0]
    assert stored.values == [1.0, 3, 1.0]


def test_a_stored_type_stays_if_it_can_hold_the_value() -> None:
    stored = struct(u32("a", 1), i32("b", 1), u32("c", 1), u32("d", 1))
    found = with_fields(
        stored, i32("a", 5), u32("b", 2**31), f64("c", 0.5), i32("d", -1)
    )
    assert found.kinds == [LvType.UINT32, LvType.UINT32, LvType.DOUBLE, LvType.INT32]


def test_truth_values_take_the_place_of_numbers() -> None:
    assert with_fields(struct(u32("b", 1)), boolean("b", False)).kinds == [LvType.BOOL]


def test_fields_go_in_every_repetition() -> None:
    stored = struct(u32("a", 1), u32("b", 1), u32("a", 2))
    assert without_fields(stored, "a").names == ["b"]


@given(levels(), levels())
def test_without_a_difference_nothing_changes(stored: Level, other: Level) -> None:
    assert merged(stored, other, other) is stored


@given(levels(), levels())
def test_a_tree_merged_with_itself_becomes_the_new_one(old: Level, new: Level) -> None:
    for level in (old, new):  # a name that repeats has one value, like dZLow
        assume(len(set(level.names)) == len(level))
    found = merged(old, old, new)
    for name in new.names:
        left, right = found[name], new[name]
        if not isinstance(right, Level):
            assert left == right or left != left  # noqa: PLR0124
    assert not set(found.names) - set(new.names)


def test_merging_reaches_into_structs_and_replaces_lists() -> None:
    stored = struct(
        nested("deep", struct(u32("known", 1), u32("unknown", 7))),
        nested("list", listed([struct(u32("a", 1))])),
        nested("named", numbered("a", [struct(u32("x", 1)), struct(u32("x", 2))])),
        f64("nan", 5.0),
    )
    old = struct(
        nested("deep", struct(u32("known", 1))),
        nested("list", listed([struct(u32("a", 1))])),
        nested("named", numbered("a", [struct(u32("x", 1))])),
        f64("nan", math.nan),
    )
    new = struct(
        nested("deep", struct(u32("known", 2))),
        nested("list", listed([struct(u32("a", 2)), struct(u32("a", 3))])),
        nested("named", numbered("a", [struct(u32("x", 9))])),
        f64("nan", math.nan),
        u32("added", 1),
    )
    assert merged(stored, old, new).to_plain() == {
        "deep": {"known": 2, "unknown": 7},
        "list": [{"a": 2}, {"a": 3}],
        "named": {"a0": {"x": 9}, "a1": {"x": 2}},
        "nan": 5.0,
        "added": 1,
    }


def test_what_is_no_longer_written_goes() -> None:
    stored = struct(u32("a", 1), u32("b", 2), u32("c", 3))
    found = merged(stored, struct(u32("a", 1), u32("b", 2)), struct(u32("a", 1)))
    assert found.names == ["a", "c"]


def test_the_record_of_a_root_keeps_its_name() -> None:
    root = struct(nested("SLxThing", struct(u32("a", 1))))
    found = replaced_struct(root, struct(u32("b", 2)))
    assert found.to_plain() == {"SLxThing": {"b": 2}}
    several = struct(u32("a", 1), u32("b", 2))
    assert replaced_struct(several, struct(u32("c", 3))).to_plain() == {"c": 3}
