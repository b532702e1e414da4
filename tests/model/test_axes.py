from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.axes import DIM_ORDER, Axes
from limnd2_xr.model.experiment import (
    CustomLoop,
    Dim,
    Loop,
    TimeLoop,
    XYPositionLoop,
    ZStackLoop,
)

KINDS: dict[Dim, type[Loop]] = {
    "U": CustomLoop,
    "T": TimeLoop,
    "P": XYPositionLoop,
    "Z": ZStackLoop,
}


def loops(*nesting: tuple[Dim, int]) -> list[Loop]:
    return [KINDS[dim](count=n, declared_count=n) for dim, n in nesting]


def nestings(*, max_loops: int = 5) -> st.SearchStrategy[list[tuple[Dim, int]]]:
    dims: st.SearchStrategy[Dim] = st.sampled_from(DIM_ORDER)
    return st.lists(st.tuples(dims, st.integers(1, 5)), max_size=max_loops)


@given(st.permutations(DIM_ORDER), st.lists(st.integers(1, 6), min_size=4, max_size=4))
def test_sequence_is_row_major_over_the_nesting(
    order: list[Dim], counts: list[int]
) -> None:
    axes = Axes(nesting=tuple(zip(order, counts, strict=True)))
    assert axes.dims == DIM_ORDER
    assert axes.file_order == tuple(order)
    assert axes.shape == tuple(counts[order.index(dim)] for dim in DIM_ORDER)
    index = np.indices(axes.shape).reshape(4, -1)
    in_file = [index[DIM_ORDER.index(dim)] for dim in order]
    expected = np.ravel_multi_index(in_file, counts).reshape(axes.shape)
    np.testing.assert_array_equal(axes.sequence(), expected)


@given(nestings())
def test_merged_loops_run_outer_first(nesting: list[tuple[Dim, int]]) -> None:
    axes = Axes(nesting=tuple(nesting))
    counts = [n for _, n in nesting]
    expected = np.empty(axes.shape, np.int64)
    for number, steps in enumerate(itertools.product(*(range(n) for n in counts))):
        index = []
        for dim in axes.dims:
            at = 0
            for (name, n), step in zip(nesting, steps, strict=True):
                if name == dim:
                    at = at * n + step
            index.append(at)
        expected[tuple(index)] = number
    np.testing.assert_array_equal(axes.sequence(), expected)


@given(nestings())
def test_every_frame_has_one_place(nesting: list[tuple[Dim, int]]) -> None:
    axes = Axes(nesting=tuple(nesting))
    sequence = axes.sequence()
    assert sequence.dtype == np.int64
    assert sorted(sequence.ravel().tolist()) == list(range(axes.n_frames))
    assert len(axes.contributions) == len(axes.dims)


@given(nestings())
def test_loop_index_names_the_step_of_each_loop(
    nesting: list[tuple[Dim, int]],
) -> None:
    axes = Axes(nesting=tuple(nesting))
    for place, (dim, count) in enumerate(nesting):
        index = axes.loop_index(place)
        assert len(index) == axes.size(dim)
        np.testing.assert_array_equal(np.unique(index), np.arange(count))
        stride = math.prod(n for _, n in nesting[place + 1 :])
        rest = axes.contributions[axes.dims.index(dim)] // stride % count
        np.testing.assert_array_equal(index, rest)


def test_contributions_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Axes(nesting=(("T", 3),)).contributions[0][0] = 5


def test_equal_hashable_and_picklable() -> None:
    axes = Axes(nesting=(("T", 2), ("Z", 3)))
    again = pickle.loads(pickle.dumps(axes))
    assert again == axes
    assert hash(again) == hash(axes)
    np.testing.assert_array_equal(again.sequence(), axes.sequence())


def test_a_loop_of_one_step_stays_a_dim() -> None:
    axes = Axes.from_loops(loops(("T", 1), ("Z", 3)), 3, 3)
    assert (axes.dims, axes.shape) == (("T", "Z"), (1, 3))


@pytest.mark.parametrize(("frames", "dims"), [(0, ()), (1, ()), (7, ("T",))])
def test_frames_without_loops_run_along_time(
    frames: int, dims: tuple[Dim, ...]
) -> None:
    axes = Axes.from_loops([], frames, frames)
    assert axes.dims == dims
    assert axes.shape == (frames,) * len(dims)
    assert axes.loop_numbers == (None,) * len(dims)
    assert axes.extra_frames == 0


def test_surplus_frames_are_counted_and_left_out() -> None:
    axes = Axes.from_loops(loops(("T", 50)), 51, 51)
    assert axes.shape == axes.declared_shape == (50,)
    assert axes.extra_frames == 1


@pytest.mark.parametrize("frame_count", [14, None, 0])
def test_a_stopped_run_cuts_the_outermost_loop(frame_count: int | None) -> None:
    axes = Axes.from_loops(loops(("T", 10), ("P", 2), ("Z", 3)), frame_count, 14)
    assert axes.shape == (3, 2, 3)
    assert axes.declared_shape == (10, 2, 3)
    assert axes.nesting == (("T", 3), ("P", 2), ("Z", 3))
    assert axes.declared == (("T", 10), ("P", 2), ("Z", 3))


def test_the_outermost_loop_is_cut_even_if_it_is_not_time() -> None:
    axes = Axes.from_loops(loops(("Z", 5), ("T", 4)), 8, 8)
    assert (axes.dims, axes.shape) == (("T", "Z"), (4, 2))
    assert axes.declared_shape == (4, 5)


def test_a_missing_frame_cuts_nothing() -> None:
    axes = Axes.from_loops(loops(("T", 4)), 4, 3)
    assert axes.shape == axes.declared_shape == (4,)
    assert axes.extra_frames == 0


def test_more_frames_in_the_map_than_in_the_attributes() -> None:
    assert Axes.from_loops(loops(("T", 10)), 4, 8).shape == (8,)


def test_a_file_without_any_frame_keeps_one_step() -> None:
    assert Axes.from_loops(loops(("T", 10), ("Z", 3)), 0, 0).shape == (1, 3)


def test_hostile_outer_counts_are_cut_to_what_is_there() -> None:
    huge = 2**32 - 1
    axes = Axes.from_loops(loops(("T", huge), ("Z", 4)), huge, 10)
    assert axes.shape == (3, 4)
    assert axes.declared_shape == (huge, 4)
    assert Axes.from_loops([], huge, 10).shape == (10,)


def test_hostile_inner_counts_are_refused() -> None:
    with pytest.raises(CorruptChunk, match="the loops promise"):
        Axes.from_loops(loops(("T", 2), ("Z", 2**32 - 1)), 2**32 - 1, 10)


def test_many_missing_frames_are_kept_within_bounds() -> None:
    assert Axes.from_loops(loops(("T", 464)), 464, 100).shape == (464,)
    assert Axes.from_loops(loops(("T", 465)), 465, 100).shape == (100,)


@given(
    nestings(), st.integers(0, 2**33) | st.none(), st.integers(0, 200), st.integers(1)
)
def test_any_promise_is_cut_within_bounds_or_refused(
    nesting: list[tuple[Dim, int]], frame_count: int | None, present: int, factor: int
) -> None:
    scaled = [(dim, n * factor) for dim, n in nesting]
    try:
        axes = Axes.from_loops(loops(*scaled), frame_count, present)
    except CorruptChunk:
        assert math.prod(n for _, n in scaled[1:]) > 4 * present + 64
        return
    assert 1 <= axes.n_frames <= 5 * present + 2 * 64
    assert axes.sequence().shape == axes.shape


def test_with_dims_adds_what_is_lacking() -> None:
    axes = Axes.from_loops(loops(("Z", 5), ("U", 2)), 10, 10)
    full = axes.with_dims(("T", "P", "Z"))
    assert (full.dims, full.shape) == (("U", "T", "P", "Z"), (2, 1, 1, 5))
    np.testing.assert_array_equal(full.sequence().squeeze(), axes.sequence())
    assert full.loop_numbers == (None, None, 0, 1)
    assert full.with_dims(("T",)) == full


def test_loop_finds_the_loop_of_a_place() -> None:
    known = loops(("T", 2), ("Z", 3))
    axes = Axes.from_loops(known, 6, 6).with_dims(("P",))
    assert [axes.loop(place, known) for place in range(3)] == [None, *known]
    assert Axes(nesting=(("T", 2),)).loop(0, []) is None


def test_along_broadcasts_to_the_shape() -> None:
    axes = Axes(nesting=(("T", 2), ("Z", 3)))
    assert axes.along("T", np.arange(2.0)).shape == (2, 1)
    assert axes.along("Z", np.arange(3.0)).shape == (1, 3)
