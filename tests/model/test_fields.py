from __future__ import annotations

import math
from typing import Any

import pytest

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.fields import (
    finite,
    flag,
    flags,
    integer,
    items_by_number,
    levels_by_number,
    positive,
    real,
    text,
    unwrap,
)
from limnd2_xr.variants.tree import Level


def level(*fields: tuple[str, Any]) -> Level:
    made = Level()
    for name, value in fields:
        made.add(name, 0, value)
    return made


@pytest.mark.parametrize(("stored", "number"), [(3, 3), (True, 1), (4.0, 4), (-1, -1)])
def test_integer_takes_any_whole_number(stored: object, number: int) -> None:
    assert integer(level(("n", stored)), "n") == number


@pytest.mark.parametrize("stored", ["3", 1.5, math.inf, math.nan, b"\3", level()])
def test_integer_refuses_the_rest_and_names_the_field(stored: object) -> None:
    with pytest.raises(CorruptChunk, match="field n is"):
        integer(level(("n", stored)), "n", 0)


def test_absent_fields_need_a_default() -> None:
    assert integer(level(), "n", 7) == 7
    assert real(level(("x", None)), "x", 0.5) == 0.5
    with pytest.raises(CorruptChunk, match="field n is missing"):
        integer(level(), "n")
    with pytest.raises(CorruptChunk, match="field x is missing"):
        real(level(), "x")


def test_the_last_of_repeated_fields_counts() -> None:
    assert real(level(("dZLow", 1.0), ("dZLow", 2.0)), "dZLow") == 2.0


def test_real_refuses_text_and_absurd_numbers() -> None:
    with pytest.raises(CorruptChunk, match="not a number"):
        real(level(("x", "1.0")), "x")
    with pytest.raises(CorruptChunk, match="out of range"):
        real(level(("x", 10**400)), "x")


def test_positive_and_finite_turn_the_unknown_to_none() -> None:
    stored = level(("a", -1.0), ("b", 0.0), ("c", math.nan), ("d", 2), ("e", math.inf))
    found = [positive(stored, name) for name in "abcdef"]
    assert found == [None, None, None, 2.0, None, None]
    assert [finite(stored, name) for name in "abce"] == [-1.0, 0.0, None, None]


def test_text_takes_the_first_that_says_something() -> None:
    stored = level(("a", ""), ("b", "N/A"), ("c", 5), ("d", level()), ("e", "name"))
    assert text(stored, "a", "b", "c", "d", "x", "e") == "name"
    assert text(stored, "a", "b") == ""


def test_text_can_always_be_stored() -> None:
    found = text(level(("a", "x\ud800y\U0001f52c")), "a")
    assert found == "x\ufffdy\U0001f52c"
    assert found.encode()


def test_any_non_zero_flag_is_true() -> None:
    assert flag(level(("b", 116)), "b")
    assert not flag(level(("b", 0)), "b", default=True)
    assert flag(level(), "b", default=True)
    with pytest.raises(CorruptChunk, match="truth value"):
        flag(level(("b", "yes")), "b")


def test_flags_come_as_bytes_or_as_children() -> None:
    children = level(("_00", True), ("_01", False))
    assert flags(level(("v", b"\1\0\7")), "v") == (True, False, True)
    assert flags(level(("v", children)), "v") == (True, False)
    assert flags(level(("v", "")), "v") == flags(level(), "v") == ()
    with pytest.raises(CorruptChunk, match="list of flags"):
        flags(level(("v", 3)), "v")
    with pytest.raises(CorruptChunk, match="list of flags"):
        flags(level(("v", level(("_00", "x")))), "v")


def test_levels_are_ordered_by_number_not_as_text() -> None:
    names = [f"a{i}" for i in (0, 1, 10, 11, 2, 9)]
    planes = level(*((name, level(("n", name))) for name in names), ("uiCount", 6))
    assert [p["n"] for p in levels_by_number(planes)] == [
        f"a{i}" for i in (0, 1, 2, 9, 10, 11)
    ]


def test_nameless_levels_keep_their_order() -> None:
    items = level(*(("", level(("n", i))) for i in range(3)))
    assert [p["n"] for p in levels_by_number(items)] == [0, 1, 2]


def test_unwrap_goes_through_nameless_wrappers_only() -> None:
    inner = level(("uiCount", 3))
    assert unwrap(level(("no_name", level(("no_name", inner))))) is inner
    named = level(("uLoopPars", inner))
    assert unwrap(named) is named
    value = level(("no_name", 5))
    assert unwrap(value) is value


def test_unwrap_ends_on_a_cycle() -> None:
    cycle = Level()
    cycle.add("no_name", 0, cycle)
    assert unwrap(cycle) is cycle


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["item_00002", "item_00000"], {2: 0.0, 0: 1.0}),
        (["no_name", "no_name"], {0: 0.0, 1: 1.0}),
        (["item_00001", "item"], {0: 0.0, 1: 1.0}),
        (["a1", "b1"], {0: 0.0, 1: 1.0}),
        ([], {}),
    ],
)
def test_items_of_lists_that_belong_together(
    names: list[str], expected: dict[int, float]
) -> None:
    made = Level()
    for i, name in enumerate(names):
        made.add(name, "double", float(i))
    assert items_by_number(made) == expected
