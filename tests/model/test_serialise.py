from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.attributes import Attributes
from limnd2_xr.model.channels import Channel
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.experiment import (
    CustomLoop,
    Experiment,
    NETimeLoop,
    Period,
    SpectralLoop,
    TimeLoop,
    XYPoint,
    XYPositionLoop,
    ZStackLoop,
)
from limnd2_xr.model.optics import LightPath, Optics
from limnd2_xr.model.picture import Acquisition, Picture
from limnd2_xr.model.records import RecordedColumn
from limnd2_xr.model.serialise import from_json, to_plain
from limnd2_xr.model.text import Software, TextInfo

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

NUMBERS = st.floats(allow_nan=False, width=64) | st.just(math.nan)
UNITS = st.floats(allow_nan=False, min_value=0) | st.none()
TEXTS = st.text(max_size=8)
COUNTS = st.integers(0, 2**32 - 1)
POINTS = st.builds(
    XYPoint, index=COUNTS, x_um=NUMBERS, y_um=NUMBERS, z_um=UNITS, name=TEXTS
)
PERIODS = st.builds(Period, count=COUNTS, valid=st.booleans(), period_ms=NUMBERS)
BOTH = {"count": COUNTS, "declared_count": COUNTS}
LOOPS: tuple[SearchStrategy[Any], ...] = (
    st.builds(TimeLoop, **BOTH, period_ms=NUMBERS, prefer_duration=st.booleans()),
    st.builds(NETimeLoop, **BOTH, periods=st.lists(PERIODS, max_size=3).map(tuple)),
    st.builds(XYPositionLoop, **BOTH, points=st.lists(POINTS, max_size=3).map(tuple)),
    st.builds(ZStackLoop, **BOTH, step_um=NUMBERS, low_um=UNITS, device=TEXTS),
    st.builds(CustomLoop, **BOTH),
)
CHANNELS = st.builds(
    Channel,
    name=TEXTS,
    component_count=st.sampled_from([1, 3]),
    emission_nm=UNITS,
    modality_flags=st.lists(TEXTS, max_size=2).map(tuple),
    light_path=st.builds(LightPath, objective=TEXTS, magnification=UNITS),
)
ATTRIBUTES = st.builds(
    Attributes,
    width=COUNTS,
    height=COUNTS,
    components=COUNTS,
    bits_in_memory=st.sampled_from([8, 16, 32]),
    bits_significant=st.integers(1, 32),
    row_nbytes=COUNTS,
    sequence_count=COUNTS,
    tile_width=COUNTS | st.none(),
    compression=st.sampled_from(["none", "lossless", "lossy"]),
    compression_param=UNITS,
    pixel_type=st.sampled_from(["unsigned", "signed", "float"]),
)
DOCUMENTS = st.builds(
    Nd2Document,
    attributes=ATTRIBUTES,
    format_version=TEXTS,
    channels=st.lists(CHANNELS, max_size=3).map(tuple),
    experiment=st.builds(
        Experiment,
        loops=st.lists(st.one_of(*LOOPS), max_size=4).map(tuple),
        spectral=st.none() | st.builds(SpectralLoop, **BOTH),
        description=TEXTS,
    ),
    picture=st.builds(Picture, x_um=UNITS, custom=TEXTS),
    optics=st.builds(
        Optics,
        pixel_size_um=UNITS,
        camera_to_stage=st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    ),
    acquisition=st.builds(Acquisition, frame0_ms=UNITS),
    text=st.builds(TextInfo, author=TEXTS, description=TEXTS),
    software=st.builds(Software, name=TEXTS),
    recorded_columns=st.lists(
        st.builds(RecordedColumn, id=TEXTS, kind=st.sampled_from(["int", "float"])),
        max_size=2,
    ).map(tuple),
)


def small() -> Nd2Document:
    return Nd2Document(
        attributes=Attributes(
            width=4,
            height=4,
            components=1,
            bits_in_memory=16,
            bits_significant=16,
            row_nbytes=8,
            sequence_count=3,
        ),
        experiment=Experiment(loops=(TimeLoop(count=3, declared_count=3),)),
    )


@given(DOCUMENTS)
def test_round_trip_is_lossless(document: Nd2Document) -> None:
    source = document.to_json()
    again = Nd2Document.from_json(source)
    assert repr(again) == repr(document)  # NaN is not equal to itself
    assert again.to_json() == source
    assert json.loads(source)["schema"] == 1


def test_json_holds_only_what_differs_from_the_defaults() -> None:
    assert json.loads(small().to_json()) == {
        "schema": 1,
        "attributes": {
            "width": 4,
            "height": 4,
            "components": 1,
            "bits_in_memory": 16,
            "bits_significant": 16,
            "row_nbytes": 8,
            "sequence_count": 3,
        },
        "experiment": {
            "loops": [{"kind": "TimeLoop", "count": 3, "declared_count": 3}]
        },
    }


def test_a_thousand_positions_stay_compact() -> None:
    points = tuple(
        XYPoint(index=i, x_um=i * 100.5, y_um=-i * 100.5) for i in range(1000)
    )
    loop = XYPositionLoop(count=1000, declared_count=1000, points=points)
    document = Nd2Document(
        attributes=small().attributes, experiment=Experiment(loops=(loop,))
    )
    source = document.to_json()
    assert len(source) < 60_000
    assert Nd2Document.from_json(source) == document


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0])
def test_odd_numbers_survive(value: float) -> None:
    loop = TimeLoop(count=1, declared_count=1, period_ms=value)
    document = Nd2Document(
        attributes=small().attributes, experiment=Experiment(loops=(loop,))
    )
    (found,) = Nd2Document.from_json(document.to_json()).experiment.loops
    assert isinstance(found, TimeLoop)
    assert str(found.period_ms) == str(value)


def test_a_text_that_looks_like_a_number_stays_a_text() -> None:
    document = Nd2Document(
        attributes=small().attributes, text=TextInfo(author="nan", group="inf")
    )
    assert Nd2Document.from_json(document.to_json()) == document


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "schema None"),
        ("{}", "schema None"),
        ('{"schema":2}', "schema 2; this version reads 1"),
        ('{"schema":1}', "damaged: .*attributes"),
        ('{"schema":1,"attributes":5}', "5 is no Attributes"),
        ('{"schema":1,"attributes":{},"x":1}', "no field 'x'"),
        ('{"schema":1,"channels":{}}', "is no list"),
        ('{"schema":1,"channels":[{"name":5}]}', "5 is no str"),
        ('{"schema":1,"channels":[{"component_count":1.5}]}', "1.5 is no int"),
        ('{"schema":1,"channels":[{"component_count":true}]}', "True is no int"),
        ('{"schema":1,"experiment":{"loops":[5]}}', "5 names no kind"),
        ('{"schema":1,"experiment":{"loops":[{"kind":"X"}]}}', "'X' is no known kind"),
        ('{"schema":1,"experiment":{"loops":[{"kind":"TimeLoop"}]}}', "count"),
        ('{"schema":1,"optics":{"camera_to_stage":[1.0]}}', "1 values where 4 belong"),
        ('{"schema":1,"optics":{"aspect":"wide"}}', "'wide' is no float"),
        ('{"schema":1,"recorded_columns":[{"id":"a","kind":"b"}]}', "'b' is none of"),
        ('{"schema":1,"optics":{"aspect":1' + "0" * 400 + "}}", "too large"),
    ],
    ids=range(20),
)
def test_damaged_texts_are_refused(source: str, reason: str) -> None:
    with pytest.raises(CorruptChunk, match=reason):
        Nd2Document.from_json(source)


def test_values_without_a_json_form_are_refused() -> None:
    with pytest.raises(TypeError, match="bytes has no JSON form"):
        to_plain(b"")


def test_whole_numbers_serve_as_floats() -> None:
    found = from_json(Optics, '{"schema":1,"pixel_size_um":1}')
    assert isinstance(found.pixel_size_um, float)


def test_all_loop_kinds_have_a_strategy() -> None:
    assert len(LOOPS) == 5
    assert {item.name for item in fields(TimeLoop)} >= {"count", "declared_count"}
