"""The planner: indices folded to slices, rows to runs, ranges to reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from limnd2_xr.frames.layout import PixelLayout
from limnd2_xr.frames.planner import (
    group_reads,
    normalize,
    pick_array,
    pick_length,
    row_runs,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

LENGTH = 23


def keys() -> st.SearchStrategy[Any]:
    indices = st.integers(-LENGTH, LENGTH - 1)
    return st.one_of(
        indices,
        st.slices(LENGTH),
        st.lists(indices, max_size=12).map(lambda i: np.array(i, dtype=np.int64)),
    )


def layout(height: int = LENGTH, row_nbytes: int = 100) -> PixelLayout:
    return PixelLayout(
        height=height,
        width=50,
        channels=1,
        samples=1,
        dtype=np.dtype("<u2"),
        row_nbytes=row_nbytes,
    )


@given(keys())
def test_normalized_index_selects_what_numpy_selects(key: Any) -> None:
    expected = np.atleast_1d(np.arange(LENGTH)[key])
    pick = normalize(key, LENGTH, "T")
    np.testing.assert_array_equal(pick_array(pick), expected)
    assert pick_length(pick) == len(expected)
    if isinstance(pick, slice):
        assert pick.step > 0
        assert 0 <= pick.start <= pick.stop <= LENGTH


@pytest.mark.parametrize("key", [LENGTH, -LENGTH - 1, np.array([0, LENGTH])])
def test_index_out_of_bounds_is_an_error_that_names_the_dimension(key: Any) -> None:
    with pytest.raises(IndexError, match="dimension T of length 23"):
        normalize(key, LENGTH, "T")


def test_boolean_mask_is_an_index() -> None:
    mask = np.zeros(LENGTH, dtype=bool)
    mask[[3, 4, 9]] = True
    np.testing.assert_array_equal(pick_array(normalize(mask, LENGTH, "T")), [3, 4, 9])


@given(keys(), st.integers(0, 1000))
def test_row_runs_cover_each_row_once_and_read_no_large_gap(
    key: Any, gap_nbytes: int
) -> None:
    rows = normalize(key, LENGTH, "Y")
    wanted = pick_array(rows)
    runs = row_runs(rows, layout(), gap_nbytes)
    got: NDArray[np.int64] = np.full(len(wanted), -1)
    for run in runs:
        assert 0 <= run.first < run.stop <= LENGTH
        got[run.target] = run.first + pick_array(run.source)
        used = np.unique(run.first + pick_array(run.source))
        assert used[0] == run.first
        assert used[-1] == run.stop - 1
        assert ((np.diff(used) - 1) * 100 <= gap_nbytes).all()
    np.testing.assert_array_equal(got, wanted)


def test_far_rows_are_read_on_their_own() -> None:
    runs = row_runs(slice(0, 21, 10), layout(), gap_nbytes=500)
    assert [(run.first, run.stop) for run in runs] == [(0, 1), (10, 11), (20, 21)]


@given(
    st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(1, 300)), min_size=1, max_size=40
    ),
    st.integers(0, 500),
    st.integers(1, 3000),
)
def test_groups_are_complete_close_together_and_not_too_large(
    ranges: list[tuple[int, int]], gap_nbytes: int, limit_nbytes: int
) -> None:
    ranges.sort()
    starts = np.array([offset for offset, _ in ranges])
    stops = starts + np.array([nbytes for _, nbytes in ranges])
    groups = list(
        group_reads(starts, stops, gap_nbytes=gap_nbytes, limit_nbytes=limit_nbytes)
    )
    assert [i for begin, end in groups for i in range(begin, end)] == list(
        range(len(ranges))
    )
    for begin, end in groups:
        span = stops[begin:end].max() - starts[begin]
        assert end == begin + 1 or span <= max(
            limit_nbytes, stops[:end].max() - starts[begin]
        )
        # Ranges may overlap: one of an earlier group may reach over a gap in this one.
        reach = np.maximum.accumulate(stops)[begin : end - 1]
        assert (starts[begin + 1 : end] - reach <= gap_nbytes).all()
