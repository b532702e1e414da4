from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.results import (
    attribute_text,
    parse_column_info,
    parse_recipe_run,
    parse_table_info,
    unique_titles,
)


@pytest.mark.parametrize(
    ("value", "iso"),
    [
        (2440587.5, "1970-01-01T00:00:00Z"),
        (np.float64(2460742.25), "2025-03-07T18:00:00Z"),
        (np.array([1741370400]), "2025-03-07T18:00:00Z"),
        (1e300, ""),
        (0, ""),
        (math.nan, ""),
        (10**400, ""),
        (True, ""),
        ("today", ""),
        (None, ""),
    ],
)
def test_when_a_recipe_ran(value: Any, iso: str) -> None:
    assert parse_recipe_run({"Creation_time": value}).created == iso


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (b"\xc2\xb5\0", "µ"),
        (b"\xff", "\ufffd"),
        (np.bytes_(b"b"), "b"),
        (np.array(["c"], object), "c"),
        (np.int32(5), "5"),
        (np.array([1, 2]), ""),
        (True, ""),
        (None, ""),
        ("\ud800", "\ufffd"),
    ],
)
def test_attributes_as_texts(value: Any, text: str) -> None:
    assert attribute_text(value) == text


def test_columns() -> None:
    info = parse_column_info({"Id": 7, "NullValue": np.array([5.0])}, "0000000001_A")
    assert (info.id, info.title, info.null, info.declared) == ("7", "A", 5, "")
    assert parse_column_info({}, "short").title == "short"
    assert parse_column_info({"NullValue": 1.5}, "x").null is None
    assert parse_column_info({"Metadata": '{"title": 3, "ver": 2}'}, "x").title == "x"


def test_tables() -> None:
    assert parse_table_info({"Metadata": '{"_systemFlags": "result"}'}).flags == ()
    for text in ("[", "1", "[" * 100_000):
        with pytest.raises(CorruptChunk, match="metadata are no JSON"):
            parse_table_info({"Metadata": text})


@given(st.lists(st.text("aA/( 2)", max_size=6)))
def test_names_are_unique_and_no_paths(titles: list[str]) -> None:
    names = unique_titles(titles)
    assert len(set(names)) == len(names) == len(titles)
    assert all(name and "/" not in name for name in names)
