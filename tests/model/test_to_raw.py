"""Documents back to chunks: what was given is read again, or refused by name."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from limnd2_xr.model import raw as chunks
from limnd2_xr.model.attributes import Attributes
from limnd2_xr.model.channels import Channel
from limnd2_xr.model.comparison import difference, same, same_records
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.experiment import (
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
from limnd2_xr.model.raw import RawMetadata, chunks_to_read, encode_raw
from limnd2_xr.model.records import FrameRecords, RecordedColumn
from limnd2_xr.model.text import TextInfo
from limnd2_xr.model.to_raw import Base
from limnd2_xr.testing.document_strategies import documents
from limnd2_xr.testing.metadata_trees import (
    attributes_chunk,
    leading_chunks,
    trailing_chunks,
)
from limnd2_xr.testing.strategies import specs
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from limnd2_xr.testing.specs import SyntheticSpec

Drawn = tuple[Nd2Document, FrameRecords]

ATTRIBUTES = Attributes(
    width=8,
    height=6,
    components=1,
    bits_in_memory=16,
    bits_significant=12,
    row_nbytes=16,
    sequence_count=1,
)
GFP = Channel(name="GFP")
PLAIN = Nd2Document(attributes=ATTRIBUTES, channels=(GFP,))
STACK = ZStackLoop(count=5, declared_count=5, step_um=0.5, home_index=1, type_code=2)


def back(raw: RawMetadata) -> Drawn:
    """Read chunks again, through their bytes."""
    payloads = encode_raw(raw)
    trees, data = chunks_to_read(payloads)
    again = RawMetadata(
        version=raw.version,
        levels={name: decode(payloads[name]) for name in trees},
        data={name: payloads[name] for name in data},
    )
    assert again.levels == raw.levels
    return Nd2Document.from_raw(again)


def fresh(document: Nd2Document, records: FrameRecords | None = None) -> Nd2Document:
    found, _ = back(document.to_raw(records or FrameRecords()))
    return found


def with_loops(*loops: Any, spectral: SpectralLoop | None = None) -> Nd2Document:
    frames = math.prod(loop.count for loop in loops)
    return replace(
        PLAIN,
        attributes=replace(ATTRIBUTES, sequence_count=frames),
        experiment=Experiment(loops=loops, spectral=spectral),
    )


def base_of(raw: RawMetadata) -> Base:
    document, records = Nd2Document.from_raw(raw)
    return Base(raw=raw, document=document, records=records)


def synthetic(spec: SyntheticSpec) -> Base:
    name, attributes = attributes_chunk(spec)
    found = {name: attributes, **leading_chunks(spec), **trailing_chunks(spec)}
    trees, data = chunks_to_read(found)
    return base_of(
        RawMetadata(
            version=(2, 1) if spec.metadata == "xml" else (3, 0),
            levels={name: decode(found[name]) for name in trees},
            data={name: found[name] for name in data},
        )
    )


@given(documents())
def test_any_document_is_read_back(drawn: Drawn) -> None:
    document, records = drawn
    found, found_records = back(document.to_raw(records))
    assert difference(document, found) is None
    assert found == document
    assert same_records(found_records, records)


@given(documents())
def test_what_is_read_is_written_the_same(drawn: Drawn) -> None:
    document, records = drawn
    raw = document.to_raw(records)
    again, again_records = back(raw)
    assert again.to_raw(again_records) == raw


@given(documents(), documents())
def test_any_document_over_any_source(source: Drawn, target: Drawn) -> None:
    document, records = source
    base = base_of(document.to_raw(records))
    document, records = target
    loop = document.experiment.spectral
    assume(loop is None or loop != base.document.experiment.spectral)
    found, found_records = back(document.to_raw(records, base=base))
    assert difference(document, found) is None
    assert same(document, found)
    assert same_records(found_records, records)


@given(specs(), documents())
def test_any_document_over_a_synthetic_file(spec: SyntheticSpec, target: Drawn) -> None:
    base = synthetic(spec)
    document, records = target
    loop = document.experiment.spectral
    assume(loop is None or loop != base.document.experiment.spectral)
    raw = document.to_raw(records, base=base)
    found, found_records = back(raw)
    assert same(document, found)
    assert same_records(found_records, records)
    assert raw.version == (3, 0)
    assert not any(
        name in raw.levels for _, name in [chunks.PICTURE, chunks.EXPERIMENT]
    )


@given(specs())
def test_an_unchanged_source_stays_as_it_is(spec: SyntheticSpec) -> None:
    base = synthetic(spec)
    assert base.document.to_raw(base.records, base=base) is base.raw


@given(specs(), st.data())
def test_one_change_leaves_other_chunks_alone(
    spec: SyntheticSpec, data: st.DataObject
) -> None:
    base = synthetic(spec)
    old = base.document
    changes = (
        (replace(old, software=replace(old.software, name="other")), chunks.PICTURE),
        (replace(old, text=replace(old.text, author="other")), chunks.PICTURE),
        (replace(old, picture=replace(old.picture, custom="other")), chunks.TEXT_INFO),
    )
    new, kept = data.draw(st.sampled_from(changes))
    raw = new.to_raw(base.records, base=base)
    name = base.raw.name(kept)
    if name is not None and name in raw.levels:
        assert raw.levels[name] is base.raw.levels[name]
    assert {**raw.data} == {**base.raw.data}


class TestWithoutSource:
    def test_all_chunks_that_readers_ask_for(self) -> None:
        document = with_loops(TimeLoop(count=2, declared_count=2))
        document = replace(document, acquisition=Acquisition(start_jd=2460742.25))
        records = FrameRecords(times_ms=np.array([0.0, 5.0]), x=np.zeros(2))
        raw = document.to_raw(records)
        assert set(raw.levels) == {
            "ImageAttributesLV!",
            "ImageMetadataLV!",
            "ImageMetadataSeqLV|0!",
            "ImageCalibrationLV|0!",
            "ImageTextInfoLV!",
            "CustomDataVar|CustomDataV2_0!",
            "CustomDataVar|AppInfo_V1_0!",
            "CustomDataVar|AcqTimeV1_0!",
        }
        assert {name: len(data) for name, data in raw.data.items()} == {
            "CustomData|AcqTimesCache!": 16,
            "CustomData|AcqTimes2Cache!": 16,
            "CustomData|AcqFramesCache!": 8,
            "CustomData|X!": 16,
        }
        assert raw.version == (3, 0)

    def test_without_loops_there_is_no_experiment(self) -> None:
        assert "ImageMetadataLV!" not in PLAIN.to_raw(FrameRecords()).levels

    def test_fourteen_texts_that_name_the_dimensions(self) -> None:
        document = with_loops(
            NETimeLoop(count=2, declared_count=2, periods=(Period(count=2),)), STACK
        )
        text = document.to_raw(FrameRecords()).struct(chunks.TEXT_INFO)
        assert text is not None
        assert len(text) == 14
        assert text["TextInfoItem_5"].splitlines()[:2] == [  # type: ignore[union-attr]
            "Metadata:",
            "Dimensions: T'(2) x Z(5)",
        ]

    def test_a_description_that_is_given_stays(self) -> None:
        document = replace(PLAIN, text=TextInfo(description="my sample"))
        assert fresh(document).text.description == "my sample"

    def test_dimensions_in_a_description_follow_the_loops(self) -> None:
        described = TextInfo(
            description="a\r\nDimensions: T(7)\r\nZ Stack Loop: 9\r\nb"
        )
        document = replace(with_loops(STACK), text=described)
        text = fresh(document).text.description
        assert text == "a\r\nDimensions: Z(5)\r\nZ Stack Loop: 5\r\nb"
        document = replace(PLAIN, text=described)
        text = fresh(document).text.description
        assert text == "a\r\nZ Stack Loop: 9\r\nb"

    def test_times_that_are_not_known(self) -> None:
        document = with_loops(TimeLoop(count=2, declared_count=2))
        raw = document.to_raw(FrameRecords())
        times = np.frombuffer(raw.data[chunks.FRAME_TIMES], "<f8")
        assert times.tolist() == [-1.0, -1.0]
        raw = document.to_raw(FrameRecords(times_ms=np.array([5.0, math.nan])))
        times = np.frombuffer(raw.data[chunks.FRAME_TIMES], "<f8")
        assert times.tolist() == [5.0, -1.0]

    def test_the_moment_of_frame_0_follows_from_the_start(self) -> None:
        document = replace(PLAIN, acquisition=Acquisition(start_jd=2460742.0))
        records = FrameRecords(times_ms=np.array([43_200_000.0]))
        found = fresh(document, records).acquisition
        assert (found.start_jd, found.frame0_jd) == (2460742.0, 2460742.5)
        assert found.frame0_ms == 43_200_000.0

    def test_the_light_path_of_the_file_is_that_of_its_channels(self) -> None:
        optics = Optics(objective="Plan Apo 20x", numerical_aperture=0.75, camera="Cam")
        document = replace(
            PLAIN,
            attributes=replace(ATTRIBUTES, components=2, row_nbytes=32),
            channels=(GFP, Channel(name="DAPI")),
            optics=optics,
        )
        found = fresh(document)
        for path in (found.optics, *(channel.light_path for channel in found.channels)):
            assert path.objective == "Plan Apo 20x"
            assert path.magnification == 20.0
            assert path.numerical_aperture == 0.75
            assert path.camera == "Cam"
        assert found.text.optics == "Plan Apo 20x"

    def test_channels_with_objectives_of_their_own(self) -> None:
        paths = [LightPath(objective="A 20x"), LightPath(objective="B 40x")]
        document = replace(
            PLAIN,
            attributes=replace(ATTRIBUTES, components=3, row_nbytes=48),
            channels=(*(Channel(light_path=path) for path in paths), Channel(name="C")),
        )
        found = fresh(document).channels
        assert [channel.light_path.objective for channel in found] == [
            "A 20x",
            "B 40x",
            "",
        ]
        assert [channel.magnification for channel in found] == [20.0, 40.0, None]

    def test_the_rotation_follows_from_the_angle(self) -> None:
        found = fresh(replace(PLAIN, optics=Optics(rotation_rad=math.pi / 2))).optics
        assert found.camera_to_stage == pytest.approx((0, -1, 1, 0))

    def test_modality_by_its_text(self) -> None:
        channel = Channel(name="GFP", modality="spinning disk, fluorescence")
        found = fresh(replace(PLAIN, channels=(channel,))).channels[0]
        assert found.modality_flags == ("fluorescence", "spinningDiskConfocal")
        assert found.modality == "fluorescence, spinning disk"

    def test_without_channels_there_are_those_that_readers_make_up(self) -> None:
        assert fresh(replace(PLAIN, channels=())).channels[0].name == "Mono"

    @pytest.mark.parametrize("kind", range(8))
    @pytest.mark.parametrize("inverted", [False, True])
    def test_ends_of_a_stack_give_the_home_slice(
        self, kind: int, inverted: bool
    ) -> None:
        home = 1 if kind in (2, 3, 6, 7) else 2
        stack = replace(STACK, type_code=kind, inverted=inverted, home_index=home)
        loop = fresh(with_loops(stack)).experiment.z_loop
        assert loop is not None
        assert (loop.home_index, loop.step_um) == (home, 0.5)
        assert loop.home_um == 0.0
        assert loop.high_um == loop.low_um + 2.0  # type: ignore[operator]

    def test_positions_relative_to_a_reference(self) -> None:
        points = tuple(
            XYPoint(index=i, x_um=x, y_um=y)
            for i, (x, y) in enumerate([(0.1, 1e5 / 3), (math.pi, -0.3)])
        )
        loop = XYPositionLoop(
            count=2,
            declared_count=2,
            points=points,
            relative_xy=True,
            reference_x_um=12.7,
            reference_y_um=-1000.1,
        )
        found = fresh(with_loops(loop)).experiment.position_loop
        assert found is not None
        for point, expected in zip(found.points, points, strict=True):
            assert point.x_um == pytest.approx(expected.x_um, rel=1e-12, abs=1e-9)
            assert point.y_um == pytest.approx(expected.y_um, rel=1e-12, abs=1e-9)

    def test_positions_that_are_not_known(self) -> None:
        point = XYPoint(index=0, x_um=math.nan, y_um=1.0)
        loop = XYPositionLoop(count=1, declared_count=1, points=(point,))
        assert same(fresh(with_loops(loop)).experiment.loops[0], loop)

    def test_exposures_in_seconds(self) -> None:
        for seconds in (0.1, 0.07, 0.0023, 0.3333, 12.0):
            channel = replace(GFP, exposure_s=seconds)
            found = fresh(replace(PLAIN, channels=(channel,)))
            assert found.channels[0].exposure_s == seconds


def channel(**values: Any) -> Nd2Document:
    return replace(PLAIN, channels=(replace(GFP, **values),))


TWO = TimeLoop(count=2, declared_count=2)
AT = XYPoint(index=0, x_um=1.0, y_um=2.0)
REFUSED: dict[str, tuple[Callable[[], Nd2Document], str]] = {
    "color": (lambda: channel(color="red"), "'red' is not of the form #rrggbb"),
    "flag": (lambda: channel(modality_flags=("xray",)), "'xray' has no bit"),
    "modality": (lambda: channel(modality="x-ray"), "'x-ray' is not known"),
    "contradiction": (
        lambda: channel(modality="brightfield", modality_flags=("fluorescence",)),
        "contradicts its flags fluorescence",
    ),
    "binning": (lambda: channel(binning="two"), "'two' is not of the form 2x2"),
    "name": (lambda: channel(name="N/A"), r"channels\[0\].name cannot be 'N/A'"),
    "nul": (lambda: channel(name="a\0b"), "sDescription cannot hold a text with NUL"),
    "filter": (lambda: channel(filters=("", "B")), r"channels\[0\].filters"),
    "emission": (lambda: channel(emission_nm=-5.0), r"emission_nm cannot be -5.0"),
    "exposure": (lambda: channel(exposure_s=math.inf), "exposure_s cannot be inf"),
    "rgb": (
        lambda: replace(
            channel(component_count=3, emission_nm=500.0),
            attributes=replace(ATTRIBUTES, components=3, row_nbytes=48),
        ),
        "emission_nm cannot be 500.0",
    ),
    "components": (lambda: channel(component_count=3), "component_count cannot be 3"),
    "mixed": (
        lambda: replace(
            PLAIN,
            attributes=replace(ATTRIBUTES, components=4, row_nbytes=64),
            channels=(GFP, replace(GFP, component_count=3)),
        ),
        "channels cannot be",
    ),
    "zoom": (
        lambda: replace(
            PLAIN,
            attributes=replace(ATTRIBUTES, components=2, row_nbytes=32),
            channels=tuple(
                replace(GFP, light_path=LightPath(zoom=z)) for z in (1.0, 2.0)
            ),
        ),
        r"channels\[1\].light_path.zoom cannot be 2.0",
    ),
    "row": (
        lambda: replace(PLAIN, attributes=replace(ATTRIBUTES, row_nbytes=3)),
        "uiWidthBytes is 3",
    ),
    "type": (
        lambda: replace(
            PLAIN,
            attributes=replace(
                ATTRIBUTES, bits_in_memory=32, bits_significant=32, row_nbytes=32
            ),
        ),
        "attributes.pixel_type cannot be 'unsigned'",
    ),
    "frames": (
        lambda: replace(PLAIN, attributes=replace(ATTRIBUTES, sequence_count=2**32)),
        "uiSequenceCount holds whole numbers",
    ),
    "start": (
        lambda: replace(PLAIN, acquisition=Acquisition(start_jd=397.7)),
        "start_jd cannot be 397.7",
    ),
    "temperature": (
        lambda: replace(PLAIN, picture=Picture(temperature_k=-4.0)),
        "temperature_k cannot be -4.0",
    ),
    "pixel": (
        lambda: replace(PLAIN, optics=Optics(pixel_size_um=0.0)),
        "pixel_size_um cannot be 0.0",
    ),
    "empty_loop": (
        lambda: with_loops(replace(TWO, count=0)),
        "experiment.loops cannot be",
    ),
    "too_many": (lambda: with_loops(replace(TWO, count=3)), "count cannot be 3"),
    "home": (
        lambda: with_loops(replace(STACK, type_code=0, home_index=1)),
        "home_index cannot be 1",
    ),
    "step": (
        lambda: with_loops(replace(STACK, step_um=-1.0)),
        "step_um cannot be -1.0",
    ),
    "points": (
        lambda: with_loops(
            XYPositionLoop(
                count=2, declared_count=2, points=(AT, replace(AT, index=0, name="B"))
            )
        ),
        r"have the indices 0, 0",
    ),
    "unused_z": (
        lambda: with_loops(
            XYPositionLoop(count=1, declared_count=1, points=(replace(AT, z_um=5.0),))
        ),
        "z_um cannot be 5.0",
    ),
    "pfs": (
        lambda: with_loops(
            XYPositionLoop(
                count=1, declared_count=1, points=(replace(AT, pfs_offset=-2.0),)
            )
        ),
        "pfs_offset cannot be -2.0",
    ),
    "endless": (
        lambda: with_loops(
            XYPositionLoop(count=1, declared_count=2**31, points=(AT,)),
        ),
        "2147483648 positions",
    ),
    "title": (
        lambda: replace(PLAIN, experiment=Experiment(description="no loops")),
        "experiment.description cannot be",
    ),
    "column": (
        lambda: replace(PLAIN, recorded_columns=(RecordedColumn(id=""),)),
        "recorded_columns cannot be",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_stored_is_refused_by_name(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        make().to_raw(FrameRecords())


def test_records_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"records.x has 2 values for 1 frames"):
        PLAIN.to_raw(FrameRecords(x=np.zeros(2)))


def test_a_text_that_xml_cannot_hold_is_refused_when_encoded() -> None:
    document = replace(PLAIN, software=replace(PLAIN.software, name="a\x01b"))
    with pytest.raises(
        ValueError, match=r"chunk CustomDataVar\|AppInfo_V1_0!.*m_SWName"
    ):
        encode_raw(document.to_raw(FrameRecords()))
