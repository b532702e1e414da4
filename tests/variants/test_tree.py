from __future__ import annotations

import math

import pytest

from limnd2_xr.variants.tree import Level, LvType


def level(*names: str) -> Level:
    out = Level()
    for i, name in enumerate(names):
        out.add(name, LvType.INT32, i)
    return out


def test_last_of_equal_names_wins() -> None:
    tree = level("a", "b", "a")
    assert tree["a"] == 2
    assert tree["b"] == 1
    assert tree.get("a") == 2
    assert "a" in tree
    assert "c" not in tree
    assert list(tree) == [("a", 0), ("b", 1), ("a", 2)]
    assert len(tree) == 3


def test_absent_names() -> None:
    tree = level("a")
    with pytest.raises(KeyError, match="missing"):
        _ = tree["missing"]
    assert tree.get("missing") is None
    assert tree.get("missing", 7) == 7
    assert tree.level("a") is None
    assert tree.level("a", create=True) == Level()
    assert len(tree) == 1


def test_levels_and_lists() -> None:
    tree = Level()
    tree.add("", LvType.LEVEL, level("x"))
    tree.add("", LvType.LEVEL, level("y"))
    assert tree.is_list
    assert [v.names for v in tree.levels()] == [["x"], ["y"]]
    assert tree.to_plain() == [{"x": 0}, {"y": 0}]
    assert not level("", "size").is_list
    assert not Level().is_list
    assert repr(level("x")) == "Level({'x': 0})"


def test_no_name_items_are_shown_as_a_list() -> None:
    assert level("no_name", "no_name").to_plain() == [0, 1]


def test_equality_looks_at_kinds_order_and_nan() -> None:
    one, other = level("a", "b"), level("b", "a")
    assert one != other
    assert one != "a"
    assert one == level("a", "b")
    retyped = level("a", "b")
    retyped.kinds[0] = LvType.INT64
    assert one != retyped
    nan, nan2 = Level(), Level()
    nan.add("d", LvType.DOUBLE, math.nan)
    nan2.add("d", LvType.DOUBLE, float("nan"))
    assert nan == nan2
    nan2.add("e", LvType.DOUBLE, 1.0)
    assert nan != nan2


def test_levels_are_not_hashable() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Level())
