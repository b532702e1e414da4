from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from limnd2_xr.errors import Nd2Warning, UnsupportedFeature
from limnd2_xr.model.polygons import filled
from limnd2_xr.model.roi_geometry import key_frame_at, mask, polygon, polygons
from limnd2_xr.model.rois import Roi, RoiKeyFrame, RoiShape

WIDTH, HEIGHT = 80, 60


def roi(shape: RoiShape | int, **frame: Any) -> Roi:
    return Roi(id=5, shape=shape, key_frames=(RoiKeyFrame(**frame),))


def test_boxes_are_turned_in_pixels() -> None:
    # 40 x 15 pixels about (60, 30), a quarter turn: 15 x 40.
    box = roi("rectangle", center_x=0.5, size_x=1.0, size_y=0.5, rotation=90.0)
    found = polygon(box, WIDTH, HEIGHT)
    expected = [[67.5, 10], [67.5, 50], [52.5, 50], [52.5, 10]]
    assert_allclose(found, expected)
    assert mask(box, WIDTH, HEIGHT).sum() == 15 * 40


def test_positive_angles_go_from_x_to_y() -> None:
    line = roi("line", points=((0.0, 0.0), (0.5, 0.0)), rotation=45.0)
    start, end = polygon(line, WIDTH, HEIGHT)
    assert_allclose(end - start, [20 * np.sqrt(0.5), 20 * np.sqrt(0.5)])


def test_points_are_offsets_from_the_centre() -> None:
    points = ((-0.5, -0.5), (0.5, -0.5), (0.0, 0.5))
    shape = roi("polygon", center_x=-0.5, points=points)
    expected = [[0, 15], [40, 15], [20, 45]]
    assert_allclose(polygon(shape, WIDTH, HEIGHT), expected)
    assert_array_equal(
        mask(shape, WIDTH, HEIGHT), filled([np.array(expected, float)], WIDTH, HEIGHT)
    )


@pytest.mark.parametrize("shape", ["ellipse", "circle"])
def test_ellipses(shape: RoiShape) -> None:
    frame: dict[str, Any] = {"size_x": 1.0, "size_y": 0.5, "rotation": 30.0}
    outline = polygon(roi(shape, **frame), WIDTH, HEIGHT)
    pixels = mask(roi(shape, **frame), WIDTH, HEIGHT)
    assert pixels.sum() == pytest.approx(np.pi * 20 * 7.5, rel=0.01)
    assert (filled([outline], WIDTH, HEIGHT) != pixels).sum() < 8
    # The long axis points 30 degrees down from X.
    y, x = np.nonzero(pixels)
    slope = np.linalg.eigh(np.cov(x, y)).eigenvectors[:, 1]
    assert slope[1] / slope[0] == pytest.approx(np.tan(np.radians(30)), rel=0.02)


def test_a_ring_has_a_hole() -> None:
    ring = roi("ring", size_x=1.0, size_y=1.0, inner_size=(0.5, 0.5))
    outer, inner = polygons(ring, WIDTH, HEIGHT)
    assert_allclose(np.ptp(outer, axis=0), [40, 30], atol=0.1)
    assert_allclose(np.ptp(inner, axis=0), [20, 15], atol=0.1)
    pixels = mask(ring, WIDTH, HEIGHT)
    assert not pixels[30, 40]
    assert pixels.sum() == pytest.approx(np.pi * (20 * 15 - 10 * 7.5), rel=0.01)


def test_a_ring_without_a_known_hole_is_told_of() -> None:
    ring = roi("ring", size_x=1.0, size_y=1.0)
    with pytest.warns(Nd2Warning, match="hole of ring ROI 5"):
        pixels = mask(ring, WIDTH, HEIGHT)
    assert pixels[30, 40]
    with pytest.warns(Nd2Warning, match="hole of ring ROI 5"):
        assert len(polygons(ring, WIDTH, HEIGHT)) == 1


def test_a_bezier_runs_through_its_nodes() -> None:
    nodes = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
    curve = polygon(roi("bezier", points=nodes), WIDTH, HEIGHT)
    for x, y in nodes:
        at = [40 * (1 + x), 30 * (1 + y)]
        assert np.abs(curve - at).sum(axis=1).min() < 1e-9
    assert np.hypot(*np.diff(curve, axis=0).T).max() < 5
    # It bulges beyond the straight sides.
    assert mask(roi("bezier", points=nodes), WIDTH, HEIGHT).sum() > 40 * 30


def test_lines_and_points() -> None:
    line = roi("polyline", points=((-0.5, 0.0), (0.5, 0.0), (0.5, 0.5)))
    pixels = mask(line, WIDTH, HEIGHT)
    assert pixels.sum() == 41 + 15
    assert pixels[30, 20:61].all()
    assert_array_equal(polygon(roi("line", size_x=1.0), 80, 60), [[20, 30], [60, 30]])
    point = roi("point", center_x=-1.0, center_y=0.999)
    assert_array_equal(np.argwhere(mask(point, WIDTH, HEIGHT)), [[59, 0]])


def test_rasters_take_their_pixels_from_the_labels() -> None:
    labels = np.zeros((HEIGHT, WIDTH), np.uint32)
    labels[10:20, 30:50] = 5
    labels[0, 0] = 5
    labels[20:30] = 6
    raster = roi("raster")
    assert_array_equal(mask(raster, WIDTH, HEIGHT, labels=labels), labels == 5)
    rings = polygons(raster, WIDTH, HEIGHT, labels=labels)
    assert len(rings) == 2
    assert_array_equal(filled(rings, WIDTH, HEIGHT), labels == 5)
    without_frames = replace(raster, key_frames=())
    assert mask(without_frames, WIDTH, HEIGHT, labels=labels).any()
    off = roi("raster", enabled=False)
    assert not mask(off, WIDTH, HEIGHT, labels=labels).any()
    with pytest.raises(UnsupportedFeature, match="RoiRleGlobal_v1"):
        mask(raster, WIDTH, HEIGHT)
    with pytest.raises(UnsupportedFeature, match="labels="):
        polygon(raster, WIDTH, HEIGHT)
    with pytest.raises(ValueError, match=r"shape \(3, 3\)"):
        mask(raster, WIDTH, HEIGHT, labels=np.zeros((3, 3), int))


def test_between_key_frames() -> None:
    first = RoiKeyFrame(
        time_ms=10.0, size_x=1.0, points=((0.0, 0.0),), inner_size=(0.0, 0.0)
    )
    second = replace(
        first, time_ms=20.0, size_x=2.0, points=((1.0, 0.5),), inner_size=(1.0, 2.0)
    )
    other = replace(second, time_ms=30.0, points=(), inner_size=None, rotation=8.0)
    off = replace(other, time_ms=40.0, enabled=False)
    moving = Roi(id=1, key_frames=(second, first, other, off))
    assert key_frame_at(moving) == first
    assert key_frame_at(moving, 0.0) == first
    assert key_frame_at(moving, 10.0) == first
    assert key_frame_at(moving, 15.0) == replace(
        first, time_ms=15.0, size_x=1.5, points=((0.5, 0.25),), inner_size=(0.5, 1.0)
    )
    assert key_frame_at(moving, 25.0) == replace(second, time_ms=25.0, rotation=4.0)
    assert key_frame_at(moving, 39.0) == other
    assert key_frame_at(moving, 40.0) is None
    assert key_frame_at(Roi(id=1), 3.0) is None
    steady = Roi(id=1, key_frames=(first, replace(second, time_ms=10.0)))
    assert key_frame_at(steady, 99.0) == replace(second, time_ms=10.0)


def test_switched_off_is_empty() -> None:
    for gone in (Roi(id=1, shape="circle"), roi("circle", enabled=False, size_x=1.0)):
        assert polygon(gone, WIDTH, HEIGHT).shape == (0, 2)
        assert polygons(gone, WIDTH, HEIGHT) == []
        assert not mask(gone, WIDTH, HEIGHT).any()


@pytest.mark.parametrize("shape", ["any", "spiral", 99])
def test_unknown_shapes(shape: RoiShape | int) -> None:
    with pytest.raises(UnsupportedFeature, match="ROI 5: the geometry of"):
        mask(roi(shape), WIDTH, HEIGHT)


def test_an_image_has_pixels() -> None:
    with pytest.raises(ValueError, match="0 x 60 pixels"):
        mask(roi("circle"), 0, 60)


@given(
    st.sampled_from(sorted(set(get_args(RoiShape)) - {"any", "raster", "ring"})),
    st.builds(
        RoiKeyFrame,
        center_x=st.floats(),
        center_y=st.floats(),
        rotation=st.floats(),
        size_x=st.floats(),
        size_y=st.floats(),
        points=st.lists(st.tuples(st.floats(), st.floats()), max_size=4).map(tuple),
    ),
)
def test_any_numbers_give_a_mask_or_an_error(
    shape: RoiShape, frame: RoiKeyFrame
) -> None:
    try:
        found = mask(Roi(id=1, shape=shape, key_frames=(frame,)), 9, 7)
    except (ValueError, UnsupportedFeature):
        return
    assert found.shape == (7, 9)
