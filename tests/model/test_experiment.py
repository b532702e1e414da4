from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.experiment import (
    CustomLoop,
    Experiment,
    Loop,
    NETimeLoop,
    Period,
    SpectralLoop,
    TimeLoop,
    XYPoint,
    XYPositionLoop,
    ZStackLoop,
    parse_experiment,
)
from limnd2_xr.model.fields import unwrap
from limnd2_xr.model.loop_parameters import home_index
from limnd2_xr.testing import specs
from limnd2_xr.testing.experiment_tree import experiment as experiment_tree
from limnd2_xr.testing.strategies import loop_lists
from limnd2_xr.testing.trees import to_xml
from limnd2_xr.variants import lite, xml
from limnd2_xr.variants.tree import Level


def level(**fields: Any) -> Level:
    made = Level()
    for name, value in fields.items():
        made.add(name, 0, value)
    return made


def items(*values: Any, name: str = "") -> Level:
    made = Level()
    for i, value in enumerate(values):
        made.add(name.format(i), 0, value)
    return made


def node(code: int, parameters: Level | None, *children: Level, **extra: Any) -> Level:
    fields: dict[str, Any] = {"eType": code, **extra}
    if parameters is not None:
        fields["uLoopPars"] = parameters
    if children:
        fields["ppNextLevelEx"] = items(*children)
    return level(**fields)


def time_node(count: int, *children: Level, **extra: Any) -> Level:
    return node(1, level(uiCount=count), *children, **extra)


def xy_node(count: int, *children: Level, **extra: Any) -> Level:
    points = items(*(level(dPosX=float(i), dPosY=0.0) for i in range(count)))
    return node(2, level(uiCount=count, Points=points), *children, **extra)


def z_node(count: int, *children: Level, **extra: Any) -> Level:
    return node(4, level(uiCount=count, dZStep=1.0), *children, **extra)


def spectral_node(count: int, *children: Level, **extra: Any) -> Level:
    return node(6, level(pPlanes=level(uiCount=count)), *children, **extra)


def sizes(root: Level) -> list[tuple[str, int]]:
    return [(loop.dim, loop.count) for loop in parse_experiment(root).loops]


def test_time_loop_with_all_fields() -> None:
    parameters = level(
        uiCount=53,
        dStart=10.0,
        dPeriod=500.0,
        dDuration=60000.0,
        bDurationPref=True,
        dMaxPeriodDiff=503.0,
        dMinPeriodDiff=499.0,
        dAvgPeriodDiff=500.16,
    )
    root = node(
        1,
        parameters,
        wsApplicationDesc="FastNDExp",
        wsUserDesc="mine",
        wsCameraName="Camera 1",
    )
    assert parse_experiment(root) == Experiment(
        loops=(
            TimeLoop(
                count=53,
                declared_count=53,
                start_ms=10.0,
                period_ms=500.0,
                duration_ms=60000.0,
                prefer_duration=True,
                max_period_diff_ms=503.0,
                min_period_diff_ms=499.0,
                avg_period_diff_ms=500.16,
            ),
        ),
        application="FastNDExp",
        description="mine",
        camera="Camera 1",
    )


def test_times_that_are_no_numbers_count_as_unknown() -> None:
    (loop,) = parse_experiment(
        node(1, level(uiCount=2, dPeriod=math.nan, dAvgPeriodDiff=math.inf))
    ).loops
    assert isinstance(loop, TimeLoop)
    assert loop.period_ms == loop.avg_period_diff_ms == 0.0


def test_valid_periods_make_the_count() -> None:
    periods = items(level(uiCount=2), level(uiCount=4, wsPhaseName="slow"))
    parameters = level(uiCount=6, pPeriod=periods, pPeriodValid=b"\0\1")
    (loop,) = parse_experiment(node(8, parameters)).loops
    assert loop == NETimeLoop(
        count=4,
        declared_count=6,
        periods=(Period(count=2, valid=False), Period(count=4, name="slow")),
    )


def test_periods_of_old_files_have_names_and_flags_as_children() -> None:
    periods = level(_00=level(uiCount=2), _01=level(uiCount=4))
    flags = level(_00=True, _01=False)
    parameters = level(uiCount=6, pPeriod=periods, pPeriodValid=flags)
    (loop,) = parse_experiment(node(8, level(no_name=parameters))).loops
    assert loop.count == 2


def test_periods_without_flags_are_valid_and_none_listed_means_the_count() -> None:
    listed = level(uiCount=6, pPeriod=items(level(uiCount=1), level(uiCount=4)))
    assert sizes(node(8, listed)) == [("T", 5)]
    assert sizes(node(8, level(uiCount=6))) == [("T", 6)]


def test_points_of_a_position_loop() -> None:
    points = items(
        level(dPosX=1.0, dPosY=2.0, dPosZ=3.0, dPFSOffset=-1.0, dPosName="A"),
        level(dPosX=4.0, dPosY=5.0, dPosZ=6.0, dPFSOffset=7.5, dPosName=""),
        level(dPosX=8.0, dPosY=math.nan),
    )
    parameters = level(
        uiCount=3,
        bUseZ=True,
        bRelativeXY=True,
        dReferenceX=100.0,
        dReferenceY=-100.0,
        sZDevice=level(),
        Points=points,
    )
    (loop,) = parse_experiment(node(2, parameters, pItemValid=b"\1\0\1")).loops
    assert isinstance(loop, XYPositionLoop)
    assert (loop.count, loop.declared_count) == (2, 3)
    assert loop.points[0] == XYPoint(
        index=0, x_um=101.0, y_um=-98.0, z_um=3.0, pfs_offset=None, name="A"
    )
    last = loop.points[1]
    assert (last.index, last.x_um, last.z_um) == (2, 108.0, None)
    assert math.isnan(last.y_um)
    assert (loop.use_z, loop.relative_xy) == (True, True)
    assert (loop.reference_x_um, loop.reference_y_um) == (100.0, -100.0)


def test_z_and_reference_of_points_count_only_if_said_so() -> None:
    points = items(level(dPosX=1.0, dPosY=2.0, dPosZ=3.0, dPFSOffset=0.0))
    parameters = level(uiCount=1, dReferenceX=50.0, Points=points)
    (loop,) = parse_experiment(node(2, parameters)).loops
    assert isinstance(loop, XYPositionLoop)
    assert loop.points == (XYPoint(index=0, x_um=1.0, y_um=2.0, pfs_offset=0.0),)


def test_points_of_old_files_are_parallel_lists() -> None:
    def column(*values: Any) -> Level:
        return items(*values, name="item_{:05d}")

    parameters = level(
        uiCount=3,
        dPosX=column(1.0, 2.0, 3.0),
        dPosY=column(4.0, 5.0, 6.0),
        dPosZ=column(7.0, 8.0, 9.0),
        bUseZ=True,
        dPFSOffset=column(-1.0, -1.0, 2.0),
        pPosName=column("a", "b"),
        bRelativeXY=False,
    )
    valid = level(_00=True, _01=False, _02=True)
    root = node(2, level(no_name=parameters), pItemValid=valid)
    (loop,) = parse_experiment(root).loops
    assert isinstance(loop, XYPositionLoop)
    assert loop.points == (
        XYPoint(index=0, x_um=1.0, y_um=4.0, z_um=7.0, name="a"),
        XYPoint(index=2, x_um=3.0, y_um=6.0, z_um=9.0, pfs_offset=2.0),
    )


def test_one_valid_point_of_fifteen() -> None:
    valid = bytes([0] * 7 + [1] + [0] * 7)
    (loop,) = parse_experiment(xy_node(15, pItemValid=valid)).loops
    assert (loop.count, loop.declared_count) == (1, 15)


def test_points_that_are_not_listed_are_counted_all_the_same() -> None:
    (loop,) = parse_experiment(node(2, level(uiCount=2**32 - 1))).loops
    assert isinstance(loop, XYPositionLoop)
    assert (loop.count, loop.points) == (2**32 - 1, ())


@pytest.mark.parametrize("flags", [b"", b"\1\1", "", None], ids=repr)
def test_items_without_a_flag_exist(flags: object) -> None:
    assert sizes(z_node(3, pItemValid=flags)) == [("Z", 3)]


def test_flags_of_any_loop_count() -> None:
    assert sizes(time_node(4, pItemValid=b"\1\1\0\0")) == [("T", 2)]
    assert sizes(z_node(2, pItemValid=b"\1\0\0\0\0")) == [("Z", 1)]


def test_focus_stack_with_all_fields() -> None:
    parameters = Level()
    fields: dict[str, Any] = {
        "uiCount": 11,
        "bAbsolute": False,
        "bTriggeredPiezo": True,
        "bZInverted": True,
        "dReferencePosition": 0.0,
        "dZHigh": 200.0,
        "dZHome": 170.0,
        "dZStep": 6.0,
        "iType": 2,
        "wsZDevice": "Piezo",
    }
    for name, value in fields.items():
        parameters.add(name, 0, value)
    parameters.add("dZLow", 0, 0.0)
    parameters.add("dZLow", 0, 140.0)
    (loop,) = parse_experiment(node(4, parameters)).loops
    assert loop == ZStackLoop(
        count=11,
        declared_count=11,
        step_um=6.0,
        home_index=5,
        type_code=2,
        low_um=140.0,
        high_um=200.0,
        home_um=170.0,
        reference_um=0.0,
        inverted=True,
        triggered_piezo=True,
        device="Piezo",
    )
    assert loop.bottom_to_top
    assert loop.direction == 1


@pytest.mark.parametrize("kind", range(8))
def test_direction_follows_the_type(kind: int) -> None:
    (loop,) = parse_experiment(node(4, level(uiCount=2, iType=kind))).loops
    assert isinstance(loop, ZStackLoop)
    assert loop.bottom_to_top == (kind < 4)
    assert loop.direction == (1 if kind < 4 else -1)


@pytest.mark.parametrize(
    ("fields", "step"),
    [
        ({"dZStep": 0.0, "dZLow": -2.0, "dZHigh": 2.0}, 1.0),
        ({"dZLow": 2.0, "dZHigh": -2.0}, 1.0),
        ({"dZStep": math.nan, "dZLow": 0.0, "dZHigh": 8.0}, 2.0),
        ({"dZStep": -0.5}, 0.5),
        ({"dZStep": 0.0}, 0.0),
        ({"dZLow": -1.7e308, "dZHigh": 1.7e308}, 0.0),
    ],
)
def test_step_falls_back_to_the_range(fields: dict[str, float], step: float) -> None:
    (loop,) = parse_experiment(node(4, level(uiCount=5, **fields))).loops
    assert isinstance(loop, ZStackLoop)
    assert loop.step_um == step


@pytest.mark.parametrize(
    ("count", "step", "low", "home", "high", "kind", "inverted", "expected"),
    [
        (11, 6.0, 140.0, 170.0, 200.0, 2, True, 5),
        (10, 0.5, -2.1125, 0.0, 2.1125, 0, True, 4),
        (11, 1.0, 0.0, 3.0, 10.0, 3, False, 3),
        (11, 1.0, 0.0, 3.0, 10.0, 3, True, 7),
        (11, 1.0, 0.0, 3.0, 10.0, 7, False, 7),
        (11, 1.0, 0.0, 3.0, 10.0, 7, True, 3),
        (11, 1.0, 0.0, 3.04, 10.0, 3, False, 3),
        (11, 1.0, 0.0, 3.06, 10.0, 3, False, 4),
        (11, 1.0, 0.0, 0.0, 10.0, 3, False, 0),
        (11, 1.0, 0.0, 99.0, 10.0, 3, False, 10),
        (11, 0.0, 0.0, 3.0, 10.0, 3, False, 3),
        (11, 0.0, 5.0, 5.0, 5.0, 3, False, 0),
        (11, 1e-300, 0.0, 1e300, 10.0, 3, False, 10),
        (4, 1.0, 0.0, 0.0, 0.0, 4, False, 1),
        (5, 1.0, 0.0, 0.0, 0.0, 1, False, 2),
        (1, 1.0, 0.0, 5.0, 10.0, 3, False, 0),
        (0, 1.0, 0.0, 5.0, 10.0, 3, False, 0),
    ],
)
def test_home_index(
    count: int,
    step: float,
    low: float,
    home: float,
    high: float,
    kind: int,
    inverted: bool,
    expected: int,
) -> None:
    found = home_index(
        count, step, low=low, high=high, home=home, kind=kind, inverted=inverted
    )
    assert found == expected


def test_home_index_without_limits_is_the_middle() -> None:
    found = home_index(9, 1.0, low=None, high=1.0, home=0.0, kind=2, inverted=False)
    assert found == 4


def test_spectral_loop_counts_no_frames() -> None:
    planes = level(
        uiCount=2,
        sPlaneNew=level(a0=level(sDescription="A"), a1=level(sDescription="B")),
    )
    points = items(level(pdOffset=0.0), level(pdOffset=1.5))
    root = node(6, level(pPlanes=planes, Points=points), pItemValid=b"\1\0")
    assert parse_experiment(root) == Experiment(
        spectral=SpectralLoop(
            count=1, declared_count=2, names=("A", "B"), offsets_um=(0.0, 1.5)
        )
    )


def test_spectral_loop_of_old_files() -> None:
    parameters = level(
        uiCount=2,
        pPlaneDesc=level(_00=level(sDescription="A"), _01=level(sDescription="B")),
        pdOffset=level(_00=0.0, _01=-0.5),
    )
    root = node(6, level(no_name=parameters), pItemValid=level(_00=True, _01=True))
    assert parse_experiment(root).spectral == SpectralLoop(
        count=2, declared_count=2, names=("A", "B"), offsets_um=(0.0, -0.5)
    )


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        (
            time_node(2, xy_node(3, z_node(4, spectral_node(2)))),
            [("T", 2), ("P", 3), ("Z", 4)],
        ),
        (z_node(4, time_node(2)), [("Z", 4), ("T", 2)]),
        (spectral_node(2, time_node(2, z_node(3))), [("T", 2), ("Z", 3)]),
        (time_node(2, spectral_node(2, z_node(3))), [("T", 2), ("Z", 3)]),
        (time_node(2, time_node(3)), [("T", 2), ("T", 3)]),
        (node(7, level(uiCount=5), z_node(2)), [("U", 5), ("Z", 2)]),
        (node(9, level(uiCount=5)), [("T", 5)]),
        (node(10, level(uiCount=5, dZStep=1.0)), [("Z", 5)]),
    ],
)
def test_nesting(root: Level, expected: list[tuple[str, int]]) -> None:
    assert sizes(root) == expected


@pytest.mark.parametrize("code", [0, 3, 5, 11, 99, -1])
def test_other_types_end_the_branch(code: int) -> None:
    assert sizes(time_node(2, node(code, level(uiCount=3), z_node(4)))) == [("T", 2)]


@pytest.mark.parametrize("dead", [z_node(0, time_node(5)), node(4, None, time_node(5))])
def test_a_loop_without_items_or_parameters_ends_the_branch(dead: Level) -> None:
    assert sizes(time_node(2, dead)) == [("T", 2)]


def test_sibling_branches_are_one_loop_the_larger() -> None:
    root = time_node(2, xy_node(3), xy_node(5), xy_node(4))
    assert sizes(root) == [("T", 2), ("P", 5)]


def test_the_larger_sibling_is_taken_below_too() -> None:
    root = time_node(2, xy_node(3, z_node(4)), xy_node(5, z_node(7)))
    assert sizes(root) == [("T", 2), ("P", 5), ("Z", 7)]


def test_of_siblings_of_two_kinds_the_first_wins() -> None:
    assert sizes(time_node(2, xy_node(3), z_node(9))) == [("T", 2), ("P", 3)]


def test_children_may_be_wrapped() -> None:
    wrapped = level(SLxExperiment=z_node(3))
    assert sizes(time_node(2, wrapped)) == [("T", 2), ("Z", 3)]
    deeper = level(no_name=level(no_name=z_node(3)))
    assert sizes(time_node(2, deeper)) == [("T", 2), ("Z", 3)]


def test_edited_acquisitions_hold_the_real_tree_below_their_periods() -> None:
    inner = xy_node(3, z_node(2))
    below = items(
        level(uiNextLevelCount=1, ppNextLevelEx=items(level(SLxExperiment=inner)))
    )
    periods = items(level(uiCount=4))
    parameters = level(uiCount=4, pPeriod=periods, pPeriodValid=b"\1", pSubLoops=below)
    assert sizes(node(8, parameters)) == [("T", 4), ("P", 3), ("Z", 2)]


def test_an_empty_tree_is_no_experiment() -> None:
    assert parse_experiment(Level()) == Experiment()


def test_first_loops_by_kind() -> None:
    experiment = parse_experiment(time_node(2, xy_node(3, z_node(4))))
    assert experiment.position_loop is experiment.loops[1]
    assert experiment.z_loop is experiment.loops[2]
    assert Experiment().position_loop is None
    assert Experiment().z_loop is None


@pytest.mark.parametrize(
    "root",
    [
        time_node(-1),
        node(1, level(uiCount="3")),
        node(1, level(uiCount=2**32)),
        node(1, level(uiCount=1.5)),
        level(eType="time", uLoopPars=level(uiCount=1)),
        node(4, level(uiCount=3, dZStep="1")),
        node(4, level(uiCount=3, iType=0.5)),
        node(8, level(uiCount=3, pPeriod=items(level(uiCount=-2)))),
        node(8, level(uiCount=3, pPeriod=items(level(uiCount=b"")))),
        node(2, level(uiCount=3, Points=items(level(dPosX="left")))),
        node(2, level(uiCount=3), pItemValid=3.5),
        node(6, level(pPlanes=level(uiCount="two"))),
    ],
)
def test_wrong_fields_are_refused(root: Level) -> None:
    with pytest.raises(CorruptChunk, match="field"):
        parse_experiment(root)


def test_depth_is_bounded() -> None:
    root = time_node(1)
    for _ in range(40):
        root = time_node(1, root)
    with pytest.raises(CorruptChunk, match="deeper than 32"):
        parse_experiment(root)


def test_cycles_end() -> None:
    root = time_node(1)
    root.add("ppNextLevelEx", 0, items(root, root))
    with pytest.raises(CorruptChunk, match="deeper than 32"):
        parse_experiment(root)


def test_many_siblings_are_bounded() -> None:
    child = time_node(1)
    with pytest.raises(CorruptChunk, match="more than 10000"):
        parse_experiment(time_node(1, *[child] * 10_001))


@given(loop_lists())
def test_both_encodings_and_the_bytes_say_the_same(
    loops: tuple[specs.Loop, ...],
) -> None:
    spec = specs.SyntheticSpec(loops=loops)
    new, old = experiment_tree(spec, xml=False), experiment_tree(spec, xml=True)
    if new is None or old is None:
        assert not loops
        return
    from_lite = parse_experiment(_record(lite.decode(lite.encode(new))))
    from_xml = parse_experiment(_record(xml.decode(xml.encode(to_xml(old)))))
    for lite_loop, xml_loop in zip(from_lite.loops, from_xml.loops, strict=True):
        assert _without_reference(lite_loop) == _without_reference(xml_loop)
    found = [(loop.dim, loop.count) for loop in from_lite.loops]
    assert found == [(loop.axis, loop.length) for loop in loops if loop.axis]


def _without_reference(loop: Loop) -> Loop:
    """Leave out what the old form is built without."""
    return replace(loop, reference_um=None) if isinstance(loop, ZStackLoop) else loop


def _record(root: Level) -> Level:
    (inner,) = root.levels()
    return unwrap(inner)


def test_custom_loop() -> None:
    assert parse_experiment(node(7, level(uiCount=5))).loops == (
        CustomLoop(count=5, declared_count=5),
    )
