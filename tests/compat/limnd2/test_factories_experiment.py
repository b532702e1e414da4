"""`ExperimentFactory`: loops from counts and steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from limnd2_xr.compat.limnd2.experiment import (
    ExperimentLevel,
    ExperimentTimeLoop,
    ExperimentXYPosLoop,
    ExperimentZStackLoop,
)
from limnd2_xr.compat.limnd2.experiment_factory import ExperimentFactory


def made(factory: ExperimentFactory) -> ExperimentLevel:
    experiment = factory()
    assert experiment is not None
    return experiment


def z_of(**settings: Any) -> ExperimentZStackLoop:
    pars = made(ExperimentFactory(z=settings)).uLoopPars
    assert isinstance(pars, ExperimentZStackLoop)
    return pars


def points_of(experiment: ExperimentLevel) -> list[tuple[float, float]]:
    pars = experiment.uLoopPars
    assert isinstance(pars, ExperimentXYPosLoop)
    return [(point.dPosX, point.dPosY) for point in pars.Points]


def test_loops_nest_t_m_z_whatever_the_order_of_the_arguments() -> None:
    experiment = made(ExperimentFactory(z=2, m=3, t=4))
    assert experiment.dims == {"t": 4, "m": 3, "z": 2}
    assert experiment.uiNextLevelCount == 1


def test_time_loop_has_step_and_duration() -> None:
    pars = made(ExperimentFactory(t={"count": 3, "step": 350})).uLoopPars
    assert isinstance(pars, ExperimentTimeLoop)
    assert (pars.uiCount, pars.dPeriod, pars.dDuration) == (3, 350.0, 700.0)
    assert pars.step == 350.0
    assert (pars.formattedInterval, pars.formattedDuration) == (
        "0:00:00.350",
        "0:00:00.700",
    )


def test_descriptions_of_the_documentation() -> None:
    text = str(made(ExperimentFactory(t=10, m=5)))
    assert text.startswith(
        "Timeloop experiment(10 frames, interval: No Delay, duration: Continuous), "
        "Multipoint experiment(5 frames, point coordinates: [0.0, 0.0], "
    )


@pytest.mark.parametrize(
    ("settings", "low", "high", "step"),
    [
        ({"step": 2}, 0, 8, 2),
        ({"step": 2, "end": 10}, 2, 10, 2),
        ({"step": 2, "start": -4}, -4, 4, 2),
        ({"start": 0, "end": 100}, 0, 100, 25),
        ({"step": -2, "start": 10}, 2, 10, 2),
        ({"step": 2, "start": 10, "end": 2}, 2, 10, 2),
    ],
)
def test_ends_of_a_stack(
    settings: dict[str, float], low: float, high: float, step: float
) -> None:
    pars = z_of(count=5, **settings)
    assert (pars.bottom, pars.top, pars.dZStep, pars.step) == (low, high, step, step)
    assert pars.homeIndex == 2
    assert pars.dZHome == (low + high) / 2
    falls = "start" in settings and (
        settings.get("step", 0) < 0 or settings.get("end", 99) < settings["start"]
    )
    assert (pars.iType >= 4) == falls


def test_ends_that_contradict_the_step_are_refused() -> None:
    factory = ExperimentFactory(z={"count": 5, "step": 2, "start": 0, "end": 100})
    with pytest.raises(
        ValueError, match="5 slices 2 µm apart from 0 µm on end at 8 µm"
    ):
        factory()


def test_a_factory_may_be_changed_and_called_again() -> None:
    factory = ExperimentFactory(z={"count": 3, "step": 1})
    assert factory() is not None
    factory.z.count = 5
    pars = made(factory).uLoopPars
    assert isinstance(pars, ExperimentZStackLoop)
    assert (pars.uiCount, pars.dZHigh) == (5, 4.0)
    factory.t = 5
    assert made(factory).dims == {"t": 5, "z": 5}


def test_points() -> None:
    factory = ExperimentFactory()
    factory.m.addPoint(1, 2)
    factory.m.addPoint(3, 4)
    assert factory.m.count == 2
    assert points_of(made(factory)) == [(1.0, 2.0), (3.0, 4.0)]
    inline = ExperimentFactory(m={"xcoords": [1, 3], "ycoords": [2, 4]})
    assert points_of(made(inline)) == [(1.0, 2.0), (3.0, 4.0)]
    factory.m.xcoords = [1.0]
    with pytest.raises(ValueError, match="must match length of both lists"):
        factory()


def test_no_steps_no_experiment() -> None:
    assert ExperimentFactory()() is None
    assert ExperimentFactory(z={"step": 2}).createExperiment() is None


def test_counts_of_numpy_are_counts() -> None:
    assert made(ExperimentFactory(t=np.int64(2), z=1)).shape() == (2, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [2.0, True, "3", [1]])
def test_counts_that_are_no_whole_numbers(count: Any) -> None:
    with pytest.raises(TypeError, match="whole number"):
        ExperimentFactory(t=count)


@pytest.mark.parametrize(
    "settings",
    [
        {"t": -1},
        {"t": {"count": 2, "step": -1}},
        {"z": {"count": 2, "step": float("nan")}},
        {"m": {"count": 3, "xcoords": [1, 2], "ycoords": [1, 2]}},
        {"m": {"xcoords": [1, 2], "ycoords": [1]}},
    ],
)
def test_values_that_mean_nothing(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"negative|finite|must match"):
        ExperimentFactory(**settings)()


def test_settings_that_there_are_not() -> None:
    with pytest.raises(TypeError, match="zcoords"):
        ExperimentFactory(m={"zcoords": [1]})
