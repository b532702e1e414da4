from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from limnd2_xr.model.attributes import Attributes
from limnd2_xr.model.axes import Axes
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.experiment import (
    Experiment,
    Loop,
    TimeLoop,
    XYPoint,
    XYPositionLoop,
    ZStackLoop,
)
from limnd2_xr.model.picture import Picture
from limnd2_xr.model.positions import stage_positions, z_coordinate
from limnd2_xr.model.records import FrameRecords


def document(*loops: Loop, **picture: Any) -> Nd2Document:
    return Nd2Document(
        attributes=Attributes(
            width=4,
            height=4,
            components=1,
            bits_in_memory=16,
            bits_significant=16,
            row_nbytes=8,
            sequence_count=0,
        ),
        experiment=Experiment(loops=loops),
        picture=Picture(**picture),
    )


def axes_of(made: Nd2Document) -> Axes:
    n = int(np.prod([loop.count for loop in made.experiment.loops]))
    return made.axes(n)


def records(**columns: Any) -> FrameRecords:
    return FrameRecords(**{k: np.array(v, np.float64) for k, v in columns.items()})


def stack(count: int, step: float = 2.0, home: int = 0, kind: int = 0) -> ZStackLoop:
    return ZStackLoop(
        count=count, declared_count=count, step_um=step, home_index=home, type_code=kind
    )


def positions(*points: tuple[float, float, float | None]) -> XYPositionLoop:
    made = tuple(
        XYPoint(index=i, x_um=x, y_um=y, z_um=z) for i, (x, y, z) in enumerate(points)
    )
    n = len(points)
    return XYPositionLoop(count=n, declared_count=n, points=made, use_z=True)


def times(count: int) -> TimeLoop:
    return TimeLoop(count=count, declared_count=count)


def test_recorded_columns_come_first() -> None:
    made = document(times(3), x_um=9.0, y_um=9.0, z_um=9.0)
    found = stage_positions(
        made, axes_of(made), records(x=[1, 2, 3], y=[4, 5, 6], z=[7, 8, 9])
    )
    assert_array_equal(found.x, [1, 2, 3])
    assert_array_equal(found.y, [4, 5, 6])
    assert_array_equal(found.z, [7, 8, 9])


def test_recorded_values_follow_the_file_order() -> None:
    made = document(stack(2), times(3))
    found = stage_positions(made, axes_of(made), records(z=range(1, 7)))
    assert_array_equal(found.z, [[1, 4], [2, 5], [3, 6]])


def test_columns_of_zeros_count_as_not_recorded() -> None:
    made = document(x_um=31650.7, y_um=-32211.2, z_um=9009.0)
    found = stage_positions(made, axes_of(made), records(x=[0.0], y=[0.0], z=[0.0]))
    at = [values.item() for values in (found.x, found.y, found.z)]
    assert at == [31650.7, -32211.2, 9009.0]
    assert found.x.shape == ()


def test_gaps_in_a_column_are_computed() -> None:
    made = document(times(4), x_um=5.0, y_um=6.0)
    found = stage_positions(made, axes_of(made), records(x=[1.0, np.nan, 3.0]))
    assert_array_equal(found.x, [1, 5, 3, 5])
    assert_array_equal(found.z, [np.nan] * 4)


def test_points_of_the_position_loop() -> None:
    made = document(
        times(2),
        positions((1, 2, 3), (4, 5, None), (7, np.nan, 9)),
        y_um=-1.0,
        z_um=3.0,
    )
    found = stage_positions(made, axes_of(made), FrameRecords())
    assert_array_equal(found.x, [[1, 4, 7]] * 2)
    assert_array_equal(found.y, [[2, 5, -1]] * 2)
    assert_array_equal(found.z, [[3, 3, 9]] * 2)


def test_fewer_points_than_positions() -> None:
    loop = XYPositionLoop(
        count=3, declared_count=3, points=(XYPoint(index=0, x_um=1.0, y_um=2.0),)
    )
    made = document(loop, x_um=8.0)
    found = stage_positions(made, axes_of(made), FrameRecords())
    assert_array_equal(found.x, [1, 8, 8])
    assert_array_equal(found.y, [2, np.nan, np.nan])


def test_of_two_position_loops_the_inner_one_moved_last() -> None:
    made = document(positions((1, 1, 1), (2, 2, 2)), positions((7, 8, 9)))
    found = stage_positions(made, axes_of(made), FrameRecords())
    assert_array_equal(found.x, [7, 7])


def test_nothing_known_is_nan_of_the_right_shape() -> None:
    made = document(times(2), positions(), stack(3))
    axes = Axes(nesting=(("T", 2), ("P", 1), ("Z", 3)))
    found = stage_positions(made, axes, FrameRecords())
    for values in (found.x, found.y, found.z):
        assert values.shape == (2, 1, 3)
        assert np.isnan(values).all()


@pytest.mark.parametrize(("kind", "sign"), [(0, 1), (3, 1), (4, -1), (7, -1)])
def test_computed_z_begins_with_the_first_slice(kind: int, sign: int) -> None:
    made = document(stack(3, home=1, kind=kind), z_um=100.0)
    found = stage_positions(made, axes_of(made), FrameRecords())
    assert_array_equal(found.z, 100.0 + sign * np.array([0.0, 2.0, 4.0]))


def test_points_are_the_first_slice_unless_frame_0_says_otherwise() -> None:
    points = positions((0, 0, 50.0), (0, 0, 60.0))
    made = document(points, stack(3, home=1), z_um=50.0)
    found = stage_positions(made, axes_of(made), FrameRecords())
    assert_array_equal(found.z, [[50, 52, 54], [60, 62, 64]])


@pytest.mark.parametrize(("kind", "first"), [(2, 48.2), (6, 51.8)])
def test_points_at_the_home_plane(kind: int, first: float) -> None:
    points = positions((0, 0, 50.0), (0, 0, 60.0), (0, 0, None))
    made = document(points, stack(3, home=1, kind=kind), z_um=first)
    found = stage_positions(made, axes_of(made), FrameRecords())
    slices = np.array([0.0, 2.0, 4.0]) * (1 if kind == 2 else -1)
    rows = [first + slices, first + 10 + slices, first + slices]
    assert_allclose(found.z, rows, atol=1e-9)


def test_frame_0_far_from_both_leaves_the_points() -> None:
    made = document(positions((0, 0, 50.0)), stack(3, home=1), z_um=90.0)
    found = stage_positions(made, axes_of(made), FrameRecords())
    assert_array_equal(found.z, [[50, 52, 54]])


def test_a_drive_recorded_alone_is_the_stage_z() -> None:
    made = document(times(3), z_um=5.0)
    found = stage_positions(made, axes_of(made), records(z1=[5.0, 6.0, 7.0]))
    assert_array_equal(found.z, [5, 6, 7])


@pytest.mark.parametrize("sign", [1, -1])
def test_two_drives_make_the_stage_z_if_frame_0_confirms(sign: int) -> None:
    main, piezo = np.array([100.0, 100.5, 101.0]), np.array([10.0, 12.0, 14.0])
    made = document(stack(3, kind=0 if sign == 1 else 4), z_um=100.0 + sign * 10.0)
    found = stage_positions(made, axes_of(made), records(z1=main, z2=piezo))
    assert_array_equal(found.z, main + sign * piezo)


@pytest.mark.parametrize("piezo", [{}, {"z2": [70.0, 72.0, 74.0]}])
def test_the_main_drive_comes_before_what_the_loops_let_one_expect(
    piezo: dict[str, list[float]],
) -> None:
    """Of the piezo that made the stack nothing fitting was recorded."""
    made = document(stack(3, home=1), z_um=9.0)
    found = stage_positions(made, axes_of(made), records(z1=[5.0, 5.0, 5.0], **piezo))
    assert_array_equal(found.z, [5.0, 5.0, 5.0])
    assert_array_equal(z_coordinate(made, axes_of(made), found.z)[0], [-2.0, 0.0, 2.0])


@pytest.mark.parametrize("z1", [[], [0.0, 0.0, 0.0]])
def test_a_drive_without_values_is_not_the_stage_z(z1: list[float]) -> None:
    made = document(stack(3), z_um=9.0)
    found = stage_positions(made, axes_of(made), records(z1=z1))
    assert_array_equal(found.z, [9.0, 11.0, 13.0])


def z_of(made: Nd2Document, **columns: Any) -> list[float]:
    axes = axes_of(made)
    stage = stage_positions(made, axes, records(**columns))
    return list(map(float, z_coordinate(made, axes, stage.z)[0]))


@pytest.mark.parametrize(
    ("kind", "expected"), [(2, [-2.0, 0.0, 2.0]), (6, [2.0, 0.0, -2.0])]
)
def test_z_is_zero_at_home_with_the_sign_of_the_stage(
    kind: int, expected: list[float]
) -> None:
    assert z_of(document(stack(3, home=1, kind=kind))) == expected


@pytest.mark.parametrize("kind", [2, 6])
def test_recorded_z_decides_the_sign(kind: int) -> None:
    made = document(stack(3, home=1, kind=kind))
    assert z_of(made, z=[10.0, 12.01, 14.02]) == [-2.0, 0.0, 2.0]
    assert z_of(made, z=[10.0, 8.01, 6.02]) == [2.0, 0.0, -2.0]


@pytest.mark.parametrize(
    "recorded", [[10.0, 12.0, 11.0], [10.0, 9.99, 9.98], [10.0, np.nan, 6.0], [7.0] * 3]
)
def test_recorded_z_that_is_no_stack_does_not(recorded: list[float]) -> None:
    made = document(stack(3, home=1))
    assert z_of(made, z=recorded) == [-2.0, 0.0, 2.0]


def test_slices_are_exact_multiples_of_the_step() -> None:
    made = document(stack(11, step=0.1, home=5))
    assert z_of(made) == [(k - 5) * 0.1 for k in range(11)]


def test_z_without_a_step() -> None:
    made = document(stack(3, step=0.0, home=1))
    assert z_of(made) == [0.0, 1.0, 2.0]
    assert z_of(made, z=[1.0, 1.5, 2.0]) == [0.0, 0.5, 1.0]
    assert z_of(document(stack(1, step=0.0))) == [0.0]


def test_z_of_a_single_slice_and_of_no_loop() -> None:
    assert z_of(document(stack(1)), z=[5.0]) == [0.0]
    made = document()
    axes = Axes().with_dims(("Z",))
    assert z_coordinate(made, axes, np.array([5.0]))[0].tolist() == [0.0]


def test_cut_stacks_keep_their_home() -> None:
    made = document(stack(5, home=2))
    axes = made.axes(2)
    assert axes.shape == (2,)
    assert z_coordinate(made, axes, np.full(2, np.nan))[0].tolist() == [-4.0, -2.0]


def test_two_stacks_in_one_add_up() -> None:
    made = document(stack(2, step=10.0), stack(3, step=1.0, home=1))
    axes = made.axes(6)
    assert z_coordinate(made, axes, np.full(6, np.nan))[0].tolist() == [
        -1.0,
        0.0,
        1.0,
        9.0,
        10.0,
        11.0,
    ]


def test_absurd_numbers_do_no_harm() -> None:
    made = document(stack(3, step=1e308, home=2), x_um=1e308, z_um=1e308)
    axes = axes_of(made)
    found = stage_positions(made, axes, records(x=[np.inf, -np.inf, np.nan]))
    assert found.z.shape == (3,)
    assert len(z_coordinate(made, axes, found.z)[0]) == 3
