from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from limnd2_xr.model import polygons
from limnd2_xr.model.polygons import drawn, ellipse, filled, traced

COORDINATE = st.integers(-40, 120).map(lambda n: n / 8)
RINGS = st.lists(
    st.lists(st.tuples(COORDINATE, COORDINATE), max_size=7).map(
        lambda points: np.array(points, np.float64).reshape(-1, 2)
    ),
    max_size=3,
)
MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))


def crossings(ring: npt.NDArray[np.float64], x: float, y: float) -> int:
    """Edges that a ray from a point to the right crosses."""
    found = 0
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if (y0 <= y) != (y1 <= y):
            found += bool(x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))
    return found


@given(RINGS, st.integers(1, 12), st.integers(1, 12))
def test_filled_is_the_even_odd_rule(
    rings: list[npt.NDArray[np.float64]], width: int, height: int
) -> None:
    expected = [
        [sum(crossings(r, x + 0.5, y + 0.5) for r in rings) % 2 for x in range(width)]
        for y in range(height)
    ]
    assert_array_equal(filled(rings, width, height), np.array(expected, bool))


@given(MASKS)
def test_tracing_and_filling_give_the_mask_back(mask: npt.NDArray[np.bool_]) -> None:
    height, width = mask.shape
    assert_array_equal(filled(traced(mask), width, height), mask)


def test_a_frame_has_two_outlines() -> None:
    mask = np.ones((5, 5), bool)
    mask[1:4, 1:4] = False
    assert sorted(len(ring) for ring in traced(mask)) == [4, 4]
    assert traced(np.zeros((3, 3), bool)) == []


def test_neighbours_share_no_pixel() -> None:
    edges = np.array([0.0, 2.5, 4.5, 7.0])
    total = np.zeros((1, 7), int)
    for left, right in itertools.pairwise(edges):
        ring = np.array([[left, 0], [right, 0], [right, 1], [left, 1]])
        total += filled([ring], 7, 1)
    assert_array_equal(total, 1)


@given(RINGS, st.integers(1, 5))
def test_the_size_of_a_batch_does_not_matter(
    rings: list[npt.NDArray[np.float64]], batch: int
) -> None:
    whole = filled(rings, 12, 12)
    lines = [drawn(ring, 12, 12) for ring in rings if len(ring)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(polygons, "_BATCH", batch)
        assert_array_equal(filled(rings, 12, 12), whole)
        for ring, line in zip([r for r in rings if len(r)], lines, strict=True):
            assert_array_equal(drawn(ring, 12, 12), line)


@given(
    st.tuples(COORDINATE, COORDINATE),
    st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)),
    st.floats(-360, 360),
)
def test_ellipse(
    center: tuple[float, float], radii: tuple[float, float], degrees: float
) -> None:
    found = ellipse(center, radii, degrees, 12, 9)
    for y in range(9):
        for x in range(12):
            turn = np.exp(-1j * np.radians(degrees))
            point = (complex(x + 0.5, y + 0.5) - complex(*center)) * turn
            distance = (point.real / radii[0]) ** 2 + (point.imag / radii[1]) ** 2
            if abs(distance - 1) > 1e-9:
                assert found[y, x] == (distance < 1)


@given(COORDINATE, COORDINATE, COORDINATE, COORDINATE)
def test_a_line_passes_its_pixels(x0: float, y0: float, x1: float, y1: float) -> None:
    found = drawn(np.array([[x0, y0], [x1, y1]]), 12, 9)
    for y, x in np.argwhere(found):
        # The line comes within the pixel, up to rounding.
        low, high = 0.0, 1.0
        for start, step, at in ((x0, x1 - x0, x), (y0, y1 - y0, y)):
            if step == 0:
                assert at - 1e-9 <= start <= at + 1 + 1e-9
                continue
            sides = sorted(((at - 1e-6 - start) / step, (at + 1 + 1e-6 - start) / step))
            low, high = max(low, sides[0]), min(high, sides[1])
        assert low <= high
    for x, y in ((x0, y0), (x1, y1)):
        if 0 <= x < 12 and 0 <= y < 9:
            assert found[int(y), int(x)]
    if found.any():
        columns, rows = found.any(axis=0), found.any(axis=1)
        steep = abs(y1 - y0) > abs(x1 - x0)
        along = np.flatnonzero(rows if steep else columns)
        assert_array_equal(np.diff(along), 1)


def test_a_line_from_far_away() -> None:
    far = np.array([[-1e9, 4.5], [1e9, 4.5]])
    assert_array_equal(drawn(far, 12, 9)[4], True)
    assert drawn(far, 12, 9).sum() == 12
    assert not drawn(np.array([[-5.0, -5.0], [-1e8, 3.0]]), 12, 9).any()


def test_points() -> None:
    assert_array_equal(np.argwhere(drawn(np.array([[3.9, 0.0]]), 12, 9)), [[0, 3]])
    assert not drawn(np.array([[12.0, 3.0]]), 12, 9).any()
    assert drawn(np.array([[2.5, 2.5], [2.5, 2.5]]), 12, 9).sum() == 1


def test_nothing() -> None:
    assert not filled([], 3, 2).any()
    assert not filled([np.empty((0, 2))], 3, 2).any()
    assert not ellipse((1.0, 1.0), (0.0, 3.0), 0.0, 3, 2).any()
