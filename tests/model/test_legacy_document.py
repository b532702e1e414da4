"""What the metadata of format 1.0 mean (FORMAT 11)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from limnd2_xr.model.experiment import (
    Experiment,
    Loop,
    NETimeLoop,
    Period,
    TimeLoop,
    XYPoint,
    XYPositionLoop,
    ZStackLoop,
)
from limnd2_xr.model.legacy_document import (
    LegacyImages,
    LegacyMetadata,
    boxes_left_out,
    is_legacy,
    legacy_document,
    plane_count,
)
from limnd2_xr.model.legacy_loops import legacy_experiment
from limnd2_xr.variants.legacy_xml import decode_legacy

IMAGES = LegacyImages(width=8, height=6, components=(1, 1), bits=16, n_frames=2)


def metadata(**boxes: str) -> LegacyMetadata:
    return LegacyMetadata(
        trees={tag: decode_legacy(xml.encode()) for tag, xml in boxes.items()}
    )


def only(loop: Loop, text: str = "", n_frames: int = 12) -> Any:
    (found,) = legacy_experiment(Experiment(loops=(loop,)), text, n_frames).loops
    return found


def points(n: int) -> XYPositionLoop:
    stored = tuple(XYPoint(index=i, x_um=10.0 * i, y_um=-1.0 * i) for i in range(n))
    return XYPositionLoop(count=n, declared_count=n, points=stored)


def stack(home: float | None, low: float = 0.0, high: float = 8.0) -> ZStackLoop:
    return ZStackLoop(
        count=5, declared_count=5, step_um=2.0, low_um=low, high_um=high, home_um=home
    )


def test_positions_come_last_first() -> None:
    found = only(points(3))
    assert [(p.index, p.x_um) for p in found.points] == [(0, 20.0), (1, 10.0), (2, 0.0)]


@pytest.mark.parametrize(
    ("text", "n_frames", "x"),
    [
        ("Dimensions: T(6) x XY(2)\r\n", 12, [20.0, 10.0]),
        ("Dimensions: XY(3)", 12, [20.0, 10.0, 0.0]),
        ("Dimensions: XY(9)", 12, [20.0, 10.0, 0.0]),
        ("Dimensions: XY(2)", 9, [20.0, 10.0, 0.0]),  # does not fit the frames
        ("", 12, [20.0, 10.0, 0.0]),
    ],
)
def test_the_text_says_how_many_were_visited(
    text: str, n_frames: int, x: list[float]
) -> None:
    found = only(points(3), text, n_frames)
    assert ([p.x_um for p in found.points], found.count) == (x, len(x))


def periods(*counts: int) -> NETimeLoop:
    stored = tuple(Period(count=n, period_ms=100.0 * n) for n in counts)
    total = sum(counts)
    return NETimeLoop(count=total, declared_count=total, periods=stored)


@pytest.mark.parametrize(
    ("text", "n_frames", "count"),
    [
        ("Dimensions: T(4)", 4, 4),
        ("Dimensions: T'(3) x \u03bb(2)", 3, 3),
        ("Dimensions: T(12)", 99, 12),  # all of them
        ("", 12, 12),  # all of them, as the frames tell
        ("", 5, 5),
        ("", 77, 3),  # nothing fits: the first
        ("Dimensions: T(77)", 77, 3),
    ],
)
def test_the_period_that_was_run(text: str, n_frames: int, count: int) -> None:
    found = only(periods(3, 4, 5), text, n_frames)
    assert found.count == count
    if count == 12:
        assert len(found.periods) == 3
    else:
        assert isinstance(found, TimeLoop)
        assert found.period_ms == 100.0 * count


def test_one_period_is_an_even_series() -> None:
    assert only(periods(3)) == TimeLoop(count=3, declared_count=3, period_ms=300.0)


def test_other_loops_count_for_the_frames() -> None:
    loops = (periods(3, 4), stack(1.0))
    found = legacy_experiment(Experiment(loops=loops), "", 20).loops
    assert [loop.count for loop in found] == [4, 5]


@pytest.mark.parametrize(
    ("home", "low", "high", "index", "home_um", "rising"),
    [
        (1.0, 0.0, 8.0, 1, 2.0, True),
        (0.0, 0.0, 8.0, 0, 0.0, True),
        (1.0, 8.0, 0.0, 1, 6.0, False),
        (4.0, 100.0, 108.0, 4, 108.0, True),
        (106.0, 100.0, 108.0, 3, 106.0, True),  # a position after all
        (None, 0.0, 8.0, 2, 4.0, True),
        (77.5, 0.0, 8.0, 4, 8.0, True),
    ],
)
def test_home_is_the_number_of_a_slice(
    home: float | None,
    low: float,
    high: float,
    index: int,
    home_um: float,
    rising: bool,
) -> None:
    found = only(stack(home, low, high))
    assert (found.home_index, found.home_um) == (index, home_um)
    assert found.bottom_to_top is rising
    assert found.low_um < found.high_um


def test_a_stack_without_limits() -> None:
    loop = ZStackLoop(count=5, declared_count=5, step_um=2.0, home_um=3.0)
    found = only(loop)
    assert (found.home_index, found.home_um, found.bottom_to_top) == (3, None, True)


def test_planes_are_counted() -> None:
    planes = '<uiCount runtype="lx_uint32" value="3"/>'
    xml = f"<MetadataSeq><sPicturePlanes>{planes}</sPicturePlanes></MetadataSeq>"
    assert plane_count(metadata(VIMD=xml)) == 3
    listed = "<sPlane><a0><x/></a0><a1><x/></a1></sPlane>"
    assert plane_count(metadata(VIMD=xml.replace(planes, listed))) == 2
    assert plane_count(metadata()) == 0
    hostile = xml.replace('"3"', '"999999999"')
    assert plane_count(metadata(VIMD=hostile)) == 0


def test_nothing_but_images() -> None:
    document, records = legacy_document(metadata(), IMAGES)
    assert is_legacy(document)
    attributes = document.attributes
    assert (attributes.width, attributes.height, attributes.components) == (8, 6, 2)
    assert (attributes.sequence_count, attributes.bits_significant) == (2, 16)
    assert len(document.channels) == 2
    assert records.times_ms is None


WRAPPED_ATTRIBUTES = (
    '<variant><AdvancedImageAttributes><uiSignificantBits runtype="lx_uint32" '
    'value="12"/></AdvancedImageAttributes></variant>'
)


@pytest.mark.parametrize(
    "xml",
    [
        '<AdvancedImageAttributes SignificantBits="12" VirtualComponents="2"/>',
        WRAPPED_ATTRIBUTES,
    ],
)
def test_significant_bits_in_attributes_and_elements(xml: str) -> None:
    document, _ = legacy_document(metadata(ARTT=xml), IMAGES)
    assert document.attributes.bits_significant == 12


def test_texts_have_the_numbers_of_later_formats() -> None:
    xml = (
        '<TextInfo><TextInfoItem Index="4" Text="A. Author"/>'
        '<TextInfoItem Index="7" Text="Metadata:&#x000a;Dimensions: T(2)"/>'
        '<TextInfoItem Index="x" Text="nowhere"/></TextInfo>'
    )
    document, _ = legacy_document(metadata(TINF=xml), IMAGES)
    assert document.text.author == "A. Author"
    assert document.text.description == "Metadata:\nDimensions: T(2)"


def test_the_pixel_size_may_be_in_the_calibration_alone() -> None:
    xml = (
        '<CalibrationSeq _SEQUENCE_INDEX="0"><dCalibration runtype="double"'
        ' value="0.25"/><sObjective runtype="CLxStringW" value="Plan 40x"/>'
        "</CalibrationSeq>"
    )
    document, _ = legacy_document(metadata(VCAL=xml), IMAGES)
    assert document.optics.pixel_size_um == 0.25
    assert document.optics.objective == "Plan 40x"


def test_a_clock_that_never_ran_is_no_time() -> None:
    values = {"times_ms": np.zeros(2), "x": np.array([1.0, np.nan])}
    _, records = legacy_document(LegacyMetadata(trees={}, values=values), IMAGES)
    assert records.times_ms is None
    np.testing.assert_array_equal(records.x, [1.0, np.nan])


def test_loops_that_are_damaged_cost_a_warning() -> None:
    xml = (
        '<Metadata_V1.2><vMetadata><eType runtype="lx_uint32" value="4"/>'
        '<uLoopPars><uiCount runtype="CLxStringW" value="five"/></uLoopPars>'
        "</vMetadata></Metadata_V1.2>"
    )
    with pytest.warns(UserWarning, match="chunk AIM1: field uiCount is 'five'"):
        document, _ = legacy_document(metadata(AIM1=xml), IMAGES)
    assert document.experiment.loops == ()


def test_unknown_data_beside_the_loops_are_no_loops() -> None:
    node = '<eType runtype="lx_uint32" value="4"/><uLoopPars>%s</uLoopPars>'
    count = '<uiCount runtype="lx_uint32" value="%d"/>'
    xml = (
        f"<Metadata_V1.2><vUnknownData>{node % (count % 9)}</vUnknownData>"
        f"<vMetadata><no_name>{node % (count % 2)}</no_name></vMetadata></Metadata_V1.2>"
    )
    document, _ = legacy_document(metadata(AIM1=xml), IMAGES)
    assert [loop.count for loop in document.experiment.loops] == [2]


def test_which_boxes_have_no_place_in_a_document() -> None:
    names = ["jP!", "LUNK|7!", "VIMD|0!", "IEVE!", "xml|3!", "FREE!", "SROB!"]
    assert boxes_left_out(names) == ["IEVE", "SROB", "xml"]
