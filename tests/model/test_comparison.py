from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.model.channels import Channel
from limnd2_xr.model.comparison import difference, same, same_array, same_records
from limnd2_xr.model.description_text import agreeing_description
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.experiment import Experiment, TimeLoop, ZStackLoop
from limnd2_xr.model.matching import matched_channels, matched_parts
from limnd2_xr.model.optics import LightPath
from limnd2_xr.model.records import FrameRecords
from limnd2_xr.testing.document_strategies import documents

T = TimeLoop(count=3, declared_count=3)


@given(documents())
def test_a_document_is_the_same_as_itself(
    drawn: tuple[Nd2Document, FrameRecords],
) -> None:
    document, records = drawn
    copy = Nd2Document.from_json(document.to_json())
    assert same(document, copy)
    assert difference(document, copy) is None
    assert same_records(records, replace(records))


def test_a_difference_is_named_by_its_place() -> None:
    channels = (Channel(name="A"), Channel(name="B"))
    other = (channels[0], replace(channels[1], light_path=LightPath(zoom=2.0)))
    found = difference(other, channels)
    assert found is not None
    assert (found.path, found.expected, found.found) == (
        "[1].light_path.zoom",
        2.0,
        None,
    )
    assert not same(channels, other)


def test_what_was_left_open_may_come_back_as_anything() -> None:
    given_, found = Channel(), Channel(name="A", emission_nm=5.0, filters=("B",))
    assert difference(given_, found) is None
    assert difference(found, given_) is not None


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (0.1, 0.1 * (1 + 1e-15), True),
        (0.1, 0.1 * (1 + 1e-6), False),
        (math.nan, math.nan, True),
        (math.nan, 1.0, False),
        (math.inf, math.inf, True),
        (math.inf, 1.0, False),
        (1, 1.0, True),
        ((1.0,), (1.0, 2.0), False),
        ((), (1.0,), True),
        (T, Experiment(), False),
    ],
)
def test_values(a: object, b: object, equal: bool) -> None:
    assert (difference(a, b) is None) == equal


def test_arrays() -> None:
    nan = np.array([1.0, math.nan])
    assert same_array(nan, nan.copy())
    assert same_array(None, None)
    assert not same_array(nan, None)
    assert not same_array(None, nan)
    assert not same_array(nan, nan[:1])
    assert not same_records(FrameRecords(x=nan), FrameRecords(y=nan))


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_each_old_part_is_taken_once(new: list[int], old: list[int]) -> None:
    found = matched_parts(new, old, lambda n: n, lambda n: n % 2)
    places = [place for place in found if place is not None]
    assert len(set(places)) == len(places)
    for part, place in zip(new, found, strict=True):
        if place is not None:
            assert old[place] % 2 == part % 2
        else:
            left = [n for i, n in enumerate(old) if i not in places]
            assert not any(n % 2 == part % 2 for n in left)


def test_equal_channels_come_before_those_of_one_name() -> None:
    red, blue = Channel(name="A", color="#ff0000"), Channel(name="A", color="#0000ff")
    assert matched_channels([blue, red], [red, blue]) == [1, 0]
    assert matched_channels([blue], [red]) == [0]
    assert matched_channels([Channel(name="B")], [red, blue]) == [None]
    rgb = Channel(name="A", component_count=3)
    assert matched_channels([rgb], [red]) == [None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dimensions: T(3) x \u03bb(2)", None),
        ("Dimensions: T(3)", None),
        ("Dimensions: \u03bb(2) x T(3)", None),
        ("Dimensions: T(9)", "Dimensions: T(3) x \u03bb(2)"),
        ("Dimensions: T(3) x Z(2)\n", "Dimensions: T(3) x \u03bb(2)\n"),
        ("a\r\nTime Loop: 120\r\nb", "a\r\nTime Loop: 3\r\nb"),
        ("Number of Picture Planes: 4", "Number of Picture Planes: 2"),
        ("Z Stack Loop: 4", None),
        ("Dimensions of my hat: 5", None),
    ],
)
def test_counts_in_a_description(text: str, expected: str | None) -> None:
    document = Nd2Document.from_json(
        '{"schema":1,"attributes":{"width":1,"height":1,"components":2,'
        '"bits_in_memory":8,"bits_significant":8,"row_nbytes":4,"sequence_count":3}}'
    )
    document = replace(
        document, channels=(Channel(), Channel()), experiment=Experiment(loops=(T,))
    )
    found = agreeing_description(text, document)
    assert found == (text if expected is None else expected)


def test_counts_of_two_loops_of_one_kind_are_not_touched() -> None:
    document = Nd2Document.from_json(
        '{"schema":1,"attributes":{"width":1,"height":1,"components":1,'
        '"bits_in_memory":8,"bits_significant":8,"row_nbytes":4,"sequence_count":3}}'
    )
    stack = ZStackLoop(count=2, declared_count=2)
    document = replace(document, experiment=Experiment(loops=(stack, T, stack)))
    assert agreeing_description("Z Stack Loop: 4", document) == "Z Stack Loop: 4"
