from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.variants.offset_table import table_order


@given(st.lists(st.text(max_size=3), max_size=80))
def test_order_is_sorted_by_code_unit(names: list[str]) -> None:
    order = table_order(names)
    assert sorted(order) == list(range(len(names)))
    keys = [names[i].encode("utf-16-be") for i in order]
    assert keys == sorted(keys)


@given(st.lists(st.sampled_from("abc"), max_size=200))
def test_many_ties_still_sort(names: list[str]) -> None:
    order = table_order(names)
    assert sorted(order) == list(range(len(names)))
    assert [names[i] for i in order] == sorted(names)


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (0, []),
        (1, [0]),
        (2, [1, 0]),
        (6, [1, 2, 3, 4, 5, 0]),
        (8, [1, 2, 3, 4, 5, 6, 7, 0]),
        (9, list(range(9))),
        (18, list(range(18))),
    ],
)
def test_lists_as_found_in_real_files(n: int, expected: list[int]) -> None:
    assert table_order([""] * n) == expected


def test_z_loop_as_found_in_real_files() -> None:
    names = [
        "uiCount",
        "bAbsolute",
        "bTriggeredPiezo",
        "bZInverted",
        "dReferencePosition",
        "dTIRFPosition",
        "dTIRFPFSOffset",
        "bTIRF",
        "dZHigh",
        "dZHome",
        "dZLow",
        "dZLow",
        "dZStep",
        "iType",
        "wsCommandAfterCapture",
        "wsCommandBeforeCapture",
        "wsZDevice",
    ]
    expected = [1, 7, 2, 3, 4, 6, 5, 8, 9, 10, 11, 12, 13, 0, 14, 15, 16]
    assert table_order(names) == expected


def test_code_units_are_not_code_points() -> None:
    # U+10000 is D800 DC00 in UTF-16: before U+FFFD.
    assert table_order(["\ufffd", "\U00010000"]) == [1, 0]


def test_long_lists_with_ties_keep_their_order() -> None:
    names = ["b", "a"] * 3000
    order = table_order(names)
    assert order == [*range(1, 6000, 2), *range(0, 6000, 2)]
