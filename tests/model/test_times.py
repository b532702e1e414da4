from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from limnd2_xr.model.attributes import Attributes
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.experiment import (
    Experiment,
    Loop,
    NETimeLoop,
    Period,
    TimeLoop,
    ZStackLoop,
)
from limnd2_xr.model.picture import (
    Acquisition,
    acquisition_start,
    datetime_of,
    plausible_julian_day,
)
from limnd2_xr.model.records import FrameRecords
from limnd2_xr.model.times import acquired, frame_times, time_coordinate, times_from_ms
from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from limnd2_xr.model.axes import Axes

JD_2014 = 2456827.0  # 2014-06-18 12:00
NAN = np.nan


def document(*loops: Loop, **acquisition: Any) -> Nd2Document:
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
        acquisition=Acquisition(**acquisition),
    )


def axes_of(made: Nd2Document) -> Axes:
    return made.axes(int(np.prod([loop.count for loop in made.experiment.loops])))


def recorded(*ms: float) -> FrameRecords:
    return FrameRecords(times_ms=np.array(ms, np.float64))


def times(count: int, **fields: float) -> TimeLoop:
    return TimeLoop(count=count, declared_count=count, **fields)  # type: ignore[arg-type]


def stack(count: int) -> ZStackLoop:
    return ZStackLoop(count=count, declared_count=count, step_um=1.0)


def nominal(made: Nd2Document, *ms: float) -> tuple[list[float], str | None]:
    axes = axes_of(made)
    seconds = frame_times(made, axes, recorded(*ms))
    values, unit = time_coordinate(made, axes, seconds)
    return values.tolist(), unit


def test_recorded_times_by_frame_number() -> None:
    made = document(stack(2), times(2))
    found = frame_times(made, axes_of(made), recorded(0, 1000, 2000, 3500))
    assert_array_equal(found, [[0, 2], [1, 3.5]])


def test_unknown_times_are_nan() -> None:
    made = document(times(4))
    found = times_from_ms(np.array([-1.0, np.inf, 2000.0]), axes_of(made))
    assert_array_equal(found, [NAN, NAN, 2, NAN])


def test_surplus_times_are_left_out() -> None:
    made = document(times(2))
    found = frame_times(made, axes_of(made), recorded(1, 2, 3))
    assert_allclose(found, [0.001, 0.002])


@pytest.mark.parametrize("records", [FrameRecords(), recorded(), recorded(-1, -1)])
def test_without_records_the_nominal_times_serve(records: FrameRecords) -> None:
    made = document(times(2, period_ms=500.0), stack(2))
    found = frame_times(made, axes_of(made), records)
    assert_array_equal(found, [[0, 0], [0.5, 0.5]])


def test_nominal_times_begin_with_frame_0() -> None:
    made = document(times(2, period_ms=500.0), frame0_ms=250.0)
    found = frame_times(made, axes_of(made), FrameRecords())
    assert_array_equal(found, [0.25, 0.75])


def test_nothing_known_is_nan_except_for_frame_0() -> None:
    made = document(times(2))
    assert_array_equal(frame_times(made, axes_of(made), FrameRecords()), [NAN, NAN])
    made = document(stack(2), frame0_ms=250.0)
    assert_array_equal(frame_times(made, axes_of(made), FrameRecords()), [0.25, NAN])
    made = document()
    found = frame_times(made, axes_of(made), FrameRecords())
    assert found.shape == ()
    assert np.isnan(found)


@pytest.mark.parametrize(
    ("loop", "ms", "expected"),
    [
        (times(3, avg_period_diff_ms=500.16, period_ms=1.0), (), [0, 0.50016, 1.00032]),
        (times(3, avg_period_diff_ms=500.0), (7, 8, 9), [0, 0.5, 1.0]),
        (times(3, period_ms=1000.0), (10, 1020, 2010), [0, 1.0, 2.0]),
        (times(3, period_ms=1000.0), (), [0, 1.0, 2.0]),
        (times(3, period_ms=1000.0), (5, 5, 5), [0, 1.0, 2.0]),
        (times(3, period_ms=1000.0), (5, NAN, 9), [0, 1.0, 2.0]),
        (times(1), (445,), [0.0]),
        (times(1), (), [0.0]),
    ],
)
def test_nominal_step(
    loop: TimeLoop, ms: tuple[float, ...], expected: list[float]
) -> None:
    values, unit = nominal(document(loop), *ms)
    assert unit == "s"
    assert_allclose(values, expected)


@pytest.mark.parametrize("ms", [(), (0, 0, 0), (3, 2, 1)])
def test_no_step_means_frame_numbers(ms: tuple[float, ...]) -> None:
    assert nominal(document(times(3)), *ms) == ([0, 1, 2], None)


def test_measured_steps_are_those_of_time_not_of_slices() -> None:
    made = document(times(3), stack(2))
    assert nominal(made, 0, 100, 2000, 2100, 4000, 4100) == ([0, 2, 4], "s")


def test_frames_without_loops_have_measured_steps_too() -> None:
    made = document()
    axes = made.axes(3)
    seconds = frame_times(made, axes, recorded(100, 1100, 2100))
    values, unit = time_coordinate(made, axes, seconds)
    assert (values.tolist(), unit) == ([0, 1, 2], "s")


def test_two_time_loops_have_the_measured_times() -> None:
    made = document(times(2, period_ms=5.0), times(2, period_ms=1.0))
    assert nominal(made, 10, 1010, 5010, 6010) == ([0, 1, 5, 6], "s")
    assert nominal(made) == ([0, 1, 2, 3], None)


def periods(*made: Period) -> NETimeLoop:
    count = sum(period.count for period in made if period.valid)
    return NETimeLoop(count=count, declared_count=count, periods=made)


def test_periods_follow_each_other() -> None:
    loop = periods(
        Period(count=2, period_ms=1000.0),
        Period(count=9, period_ms=1.0, valid=False),
        Period(count=2, period_ms=5000.0),
        Period(count=1),
    )
    assert nominal(document(loop)) == ([0, 1, 2, 7, 12], "s")


def test_measured_starts_of_periods_are_kept() -> None:
    loop = periods(
        Period(count=3, period_ms=1000.0, avg_period_diff_ms=1001.0),
        Period(count=2, period_ms=5000.0),
    )
    values, unit = nominal(document(loop), 50, 1040, 2060, 3000, 8100)
    assert unit == "s"
    assert_allclose(values, [0, 1.001, 2.002, 2.95, 8.05])


def test_periods_without_interval() -> None:
    loop = periods(Period(count=1), Period(count=1))
    assert nominal(document(loop), 0, 0) == ([0, 1], None)
    assert nominal(document(loop), 10, 510) == ([0, 0.5], "s")
    loop = periods(Period(count=2), Period(count=2, period_ms=1000.0))
    assert nominal(document(loop)) == ([0, 1, 2, 3], None)


def test_cut_and_unlisted_periods() -> None:
    loop = periods(Period(count=2, period_ms=1000.0), Period(count=5, period_ms=2000.0))
    made = document(loop)
    axes = made.axes(4)
    values, unit = time_coordinate(made, axes, np.full(4, NAN))
    assert (values.tolist(), unit) == ([0, 1, 2, 4], "s")
    bare = document(NETimeLoop(count=3, declared_count=3))
    assert nominal(bare) == ([0, 1, 2], None)
    short = NETimeLoop(
        count=4, declared_count=4, periods=(Period(count=2, period_ms=10.0),)
    )
    assert nominal(document(short)) == ([0, 1, 2, 3], None)


def moments(made: Nd2Document, *ms: float) -> list[str]:
    axes = axes_of(made)
    found = acquired(made, axes, frame_times(made, axes, recorded(*ms)))
    assert found.dtype == np.dtype("datetime64[ns]")
    return [str(moment.astype("datetime64[ms]")) for moment in found.ravel()]


def test_the_absolute_time_is_that_of_frame_0() -> None:
    made = document(times(3), frame0_jd=JD_2014, frame0_ms=249177.0)
    assert moments(made, 249177, 250177, 251178) == [
        "2014-06-18T12:00:00.000",
        "2014-06-18T12:00:01.000",
        "2014-06-18T12:00:02.001",
    ]


def test_the_start_serves_where_the_absolute_time_is_unset() -> None:
    made = document(times(2), start_jd=JD_2014)
    assert moments(made, 500, 1500) == [
        "2014-06-18T12:00:00.500",
        "2014-06-18T12:00:01.500",
    ]


def test_frame_0_has_its_time_even_if_no_times_are_known() -> None:
    made = document(times(2), frame0_jd=JD_2014)
    assert moments(made) == ["2014-06-18T12:00:00.000", "NaT"]


def test_no_clock_no_moment() -> None:
    assert moments(document(times(2)), 0, 1000) == ["NaT", "NaT"]


def test_moments_are_rounded_to_microseconds() -> None:
    made = document(times(2), frame0_jd=JD_2014)
    axes = axes_of(made)
    found = acquired(made, axes, np.array([0.0, 0.1234567891]))
    assert str(found[1]) == "2014-06-18T12:00:00.123457000"


def test_absurd_times_have_no_moment() -> None:
    made = document(times(3), frame0_jd=JD_2014)
    assert moments(made, 0, 1e300, -1e300) == ["2014-06-18T12:00:00.000", "NaT", "NaT"]


@pytest.mark.parametrize(
    ("day", "plausible"),
    [
        (2456827.0, True),
        (2415020.5, True),
        (2415020.4, False),
        (2488069.4, True),
        (2488069.5, False),
        (0.0, False),
        (-1.0, False),
        (397.7, False),
        (1721424.5, False),
        (NAN, False),
        (np.inf, False),
    ],
)
def test_only_days_of_this_age_are_plausible(day: float, plausible: bool) -> None:
    assert plausible_julian_day(day) == (day if plausible else None)


def test_datetime_of_julian_days() -> None:
    assert datetime_of(2440587.5) == np.datetime64("1970-01-01")
    assert datetime_of(2415020.5) == np.datetime64("1900-01-01")
    assert datetime_of(2488069.5) == np.datetime64("2100-01-01")


def test_start_of_the_acquisition() -> None:
    assert acquisition_start(Acquisition()) == ""
    stated = Acquisition(start_jd=JD_2014, frame0_jd=JD_2014 + 1)
    assert acquisition_start(stated) == "2014-06-18T12:00:00.000Z"
    derived = Acquisition(frame0_jd=JD_2014, frame0_ms=60_000.0)
    assert acquisition_start(derived) == "2014-06-18T11:59:00.000Z"
    assert acquisition_start(Acquisition(frame0_jd=JD_2014, frame0_ms=1e300)) == ""


def test_acquisition_of_picture_metadata() -> None:
    picture = Level()
    picture.add("dTimeAbsolute", 0, JD_2014)
    picture.add("dTimeMSec", 0, 445.0)
    picture.add("eTimeSource", 0, 1)
    found = Acquisition.from_raw(picture)
    assert found == Acquisition(frame0_jd=JD_2014, frame0_ms=445.0, time_source=1)
    assert found.with_start(5.0).start_jd is None
    assert Acquisition.from_raw(Level()) == Acquisition()
