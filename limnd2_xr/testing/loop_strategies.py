"""Hypothesis strategies: acquisition loops as reading gives them.

Examples
--------
>>> from hypothesis import given
>>> from limnd2_xr.model.experiment import parse_experiment
>>> from limnd2_xr.model.experiment_tree import experiment_tree
>>> @given(experiments())
... def check(experiment):
...     tree = experiment_tree(experiment)
...     assert tree is None or parse_experiment(tree) == experiment
>>> check()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from limnd2_xr.model.experiment import (
    CustomLoop,
    Experiment,
    NETimeLoop,
    SpectralLoop,
    TimeLoop,
    XYPositionLoop,
    ZStackLoop,
)
from limnd2_xr.model.loop_parameters import Period, XYPoint, home_index

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

    from limnd2_xr.model.experiment import Loop

__all__ = ["experiments", "known_texts", "loops", "texts"]

_MICROMETRES = st.integers(-40_000, 40_000).map(lambda n: n / 8)
_MILLISECONDS = st.integers(0, 100_000).map(lambda n: n / 8)
# No NUL (it ends a stored text) and no surrogates; XML also forbids most controls.
_TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"),
    max_size=6,
).filter(lambda value: value != "N/A")


def texts() -> SearchStrategy[str]:
    """Texts that any field can hold."""
    return _TEXT


def known_texts() -> SearchStrategy[str]:
    """Texts that say something."""
    return _TEXT.filter(bool)


@st.composite
def experiments(draw: DrawFn) -> Experiment:
    """Experiments of at most three loops and 27 frames."""
    found = tuple(draw(st.lists(loops(), max_size=3)))
    spectral = draw(st.none() | _spectral_loops())
    if not found and spectral is None:
        return Experiment()
    return Experiment(
        loops=found,
        spectral=spectral,
        application=draw(texts()),
        description=draw(texts()),
        camera=draw(texts()),
    )


@st.composite
def loops(draw: DrawFn) -> Loop:
    """Loops of one to three items, with some that were dropped."""
    count = draw(st.integers(1, 3))
    declared = count + draw(st.integers(0, 2))
    kind = draw(
        st.sampled_from([TimeLoop, NETimeLoop, XYPositionLoop, ZStackLoop, None])
    )
    if kind is TimeLoop:
        return TimeLoop(count=count, declared_count=declared, **draw(_times()))
    if kind is NETimeLoop:
        return draw(_period_loops(count, declared))
    if kind is XYPositionLoop:
        return draw(_position_loops(count, declared))
    if kind is ZStackLoop:
        return draw(_z_stacks(count, declared))
    return CustomLoop(count=count, declared_count=declared)


@st.composite
def _times(draw: DrawFn) -> dict[str, Any]:
    names = (
        "start_ms",
        "period_ms",
        "duration_ms",
        "avg_period_diff_ms",
        "min_period_diff_ms",
        "max_period_diff_ms",
    )
    return {name: draw(_MILLISECONDS) for name in names} | {
        "prefer_duration": draw(st.booleans())
    }


@st.composite
def _period_loops(draw: DrawFn, count: int, declared: int) -> NETimeLoop:
    if draw(st.integers(0, 9)) == 0:
        return NETimeLoop(count=declared, declared_count=declared)
    counts = [*([1] * (count - 1)), 1, *draw(st.lists(st.integers(0, 5), max_size=2))]
    periods = tuple(
        Period(
            count=n,
            valid=i < count,
            name=draw(texts()),
            loop_type=draw(st.sampled_from([0, 1, 2048])),
            **draw(_times()),
        )
        for i, n in enumerate(counts)
    )
    order = tuple(draw(st.permutations(periods)))
    return NETimeLoop(count=count, declared_count=declared, periods=order)


@st.composite
def _position_loops(draw: DrawFn, count: int, declared: int) -> XYPositionLoop:
    use_z = draw(st.booleans())
    indices = draw(st.permutations(range(declared)).map(lambda p: sorted(p[:count])))
    points = tuple(
        XYPoint(
            index=i,
            x_um=draw(_MICROMETRES),
            y_um=draw(_MICROMETRES),
            z_um=draw(st.none() | _MICROMETRES) if use_z else None,
            pfs_offset=draw(st.none() | st.floats(0.0, 1e4)),
            name=draw(texts()),
        )
        for i in indices
    )
    return XYPositionLoop(
        count=count,
        declared_count=declared,
        points=points if draw(st.integers(0, 9)) else (),
        use_z=use_z,
        relative_xy=draw(st.booleans()),
        reference_x_um=draw(_MICROMETRES),
        reference_y_um=draw(_MICROMETRES),
    )


@st.composite
def _z_stacks(draw: DrawFn, count: int, declared: int) -> ZStackLoop:
    step = draw(st.integers(1, 400)) / 8
    low, home, high = sorted(draw(st.tuples(*[_MICROMETRES] * 3)))
    kind, inverted = draw(st.integers(0, 7)), draw(st.booleans())
    return ZStackLoop(
        count=count,
        declared_count=declared,
        step_um=step,
        home_index=home_index(
            count, step, low=low, high=high, home=home, kind=kind, inverted=inverted
        ),
        type_code=kind,
        low_um=low,
        high_um=high,
        home_um=home,
        reference_um=draw(st.none() | _MICROMETRES),
        absolute=draw(st.booleans()),
        inverted=inverted,
        triggered_piezo=draw(st.booleans()),
        device=draw(texts()),
    )


@st.composite
def _spectral_loops(draw: DrawFn) -> SpectralLoop:
    count = draw(st.integers(1, 3))
    declared = count + draw(st.integers(0, 1))
    names = draw(st.lists(texts(), min_size=declared, max_size=declared))
    offsets = draw(st.lists(_MICROMETRES, min_size=declared, max_size=declared))
    return SpectralLoop(
        count=count,
        declared_count=declared,
        names=tuple(names) if draw(st.booleans()) else (),
        offsets_um=tuple(offsets) if draw(st.booleans()) else (),
    )
