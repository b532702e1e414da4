from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from limnd2_xr.errors import CorruptChunk, Nd2Warning
from limnd2_xr.model.channels import channel_names
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.positions import stage_positions, z_coordinate
from limnd2_xr.model.raw import METADATA_CHUNKS, RawMetadata, chunks_to_read
from limnd2_xr.model.records import FrameRecords
from limnd2_xr.model.times import acquired, frame_times, time_coordinate
from limnd2_xr.testing.metadata_trees import (
    attributes_chunk,
    leading_chunks,
    stage,
    trailing_chunks,
)
from limnd2_xr.testing.metadata_trees import frame_times as written_times
from limnd2_xr.testing.specs import (
    ChannelSpec,
    NETimeLoop,
    Period,
    Point,
    PositionLoop,
    SpectralLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
)
from limnd2_xr.testing.strategies import levels, specs
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limnd2_xr.model.axes import Axes

RICH = SyntheticSpec(
    loops=(
        NETimeLoop((Period(2, period_ms=100.0), Period(1), Period(3, valid=False))),
        PositionLoop(
            (Point(1.0, 2.0, 3.0, name="A"), Point(4.0, 5.0, 6.0, valid=False)),
            use_z=True,
            relative=True,
            reference=(10.0, 20.0),
        ),
        ZLoop(3, step_um=0.5, kind=6),
        SpectralLoop(),
    ),
    channels=(
        ChannelSpec("DAPI", emission_nm=450.0, excitation_nm=405.0, pinhole_um=30.0),
        ChannelSpec("RGB", components=3, exposure_ms=5.0),
    ),
)


def chunks_of(spec: SyntheticSpec) -> dict[str, bytes]:
    name, attributes = attributes_chunk(spec)
    return {name: attributes, **leading_chunks(spec), **trailing_chunks(spec)}


def raw_of(spec: SyntheticSpec) -> RawMetadata:
    chunks = chunks_of(spec)
    trees, data = chunks_to_read(chunks)
    return RawMetadata(
        version=(2, 1) if spec.metadata == "xml" else (3, 0),
        levels={name: decode(chunks[name]) for name in trees},
        data={name: chunks[name] for name in data},
    )


def changed(raw: RawMetadata, **levels: Level) -> RawMetadata:
    return RawMetadata(
        version=raw.version, levels={**raw.levels, **levels}, data=raw.data
    )


def without(raw: RawMetadata, *parts: str) -> RawMetadata:
    def kept(name: str) -> bool:
        return not any(part in name for part in parts)

    return RawMetadata(
        version=raw.version,
        levels={k: v for k, v in raw.levels.items() if kept(k)},
        data={k: v for k, v in raw.data.items() if kept(k)},
    )


def use_all(document: Nd2Document, records: FrameRecords, present: int = 20) -> Axes:
    """Compute all that depends on the metadata, for shapes and for errors."""
    axes = document.axes(present)
    positions = stage_positions(document, axes, records)
    seconds = frame_times(document, axes, records)
    moments = acquired(document, axes, seconds)
    for values in (positions.x, positions.y, positions.z, seconds, moments):
        assert values.shape == axes.shape
    assert time_coordinate(document, axes, seconds)[0].shape == (axes.size("T"),)
    assert z_coordinate(document, axes, positions.z)[0].shape == (axes.size("Z"),)
    names = channel_names(document.channels)
    assert len(set(names)) == len(names)
    assert isinstance(document.acquisition_start, str)
    assert document.z_step_um is None or document.z_step_um > 0
    return axes


@pytest.mark.parametrize("metadata", ["lv", "xml"])
def test_everything_in_both_encodings(metadata: Any) -> None:
    spec = SyntheticSpec(loops=RICH.loops, channels=RICH.channels, metadata=metadata)
    document, records = Nd2Document.from_raw(raw_of(spec))
    assert document.format_version == ("2.1" if metadata == "xml" else "3.0")
    axes = use_all(document, records, spec.n_frames)
    assert axes.nesting == (("T", 3), ("P", 1), ("Z", 3))
    names = [channel.name for channel in document.channels]
    assert names == ["DAPI", "RGB_B", "RGB_G", "RGB_R"]
    dapi = document.channels[0]
    assert dapi.exposure_s == 0.1
    assert (dapi.emission_nm, dapi.excitation_nm) == (450.0, 405.0)
    assert document.optics.pixel_size_um == 0.5
    assert document.optics.magnification == 20.0
    assert document.z_step_um == 0.5
    assert document.software.name == "limnd2_xr.testing"
    assert document.experiment.spectral is not None
    positions = stage_positions(document, axes, records)
    assert_array_equal(positions.x.ravel(), stage(spec)["X"])
    assert_array_equal(positions.z.ravel(), stage(spec)["Z"])
    computed = stage_positions(document, axes, FrameRecords())
    assert_allclose(computed.x, positions.x)
    assert_allclose(computed.z, positions.z)
    relative, _ = z_coordinate(document, axes, positions.z)
    assert_array_equal(relative, [0.5, 0.0, -0.5])
    assert document.acquisition.frame0_jd == 2460742.25
    assert Nd2Document.from_json(document.to_json()) == document


@given(specs())
def test_any_synthetic_file(spec: SyntheticSpec) -> None:
    document, records = Nd2Document.from_raw(raw_of(spec))
    axes = use_all(document, records, spec.n_frames)
    assert axes.n_frames == spec.n_frames
    assert axes.extra_frames == 0
    counted = [(loop.axis, loop.length) for loop in spec.loops if loop.axis]
    if counted:
        assert list(axes.nesting) == counted
    assert document.attributes.dtype == spec.stored_dtype
    assert document.attributes.row_nbytes == spec.row_nbytes
    total = sum(channel.component_count for channel in document.channels)
    assert total == spec.n_components
    assert Nd2Document.from_json(document.to_json()) == document
    if spec.metadata != "none":
        seconds = frame_times(document, axes, records)
        expected = written_times(spec)[axes.sequence()] / 1000
        assert_allclose(seconds, expected)
        by_frame = stage(spec)
        found = stage_positions(document, axes, records)
        for axis in "xyz":
            expected = by_frame[axis.upper()][axes.sequence()]
            assert_allclose(getattr(found, axis), expected)


def test_attributes_alone_are_enough() -> None:
    raw = raw_of(SyntheticSpec(metadata="none"))
    document, records = Nd2Document.from_raw(raw)
    assert document == Nd2Document(
        attributes=document.attributes, channels=document.channels
    )
    assert [channel.name for channel in document.channels] == ["Mono"]
    assert records == FrameRecords()
    use_all(document, records, 1)


def test_without_attributes_there_is_nothing() -> None:
    with pytest.raises(CorruptChunk, match="no chunk ImageAttributesLV!"):
        Nd2Document.from_raw(without(raw_of(RICH), "ImageAttributes"))


def test_damaged_attributes_are_an_error_that_names_the_chunk() -> None:
    raw = changed(raw_of(RICH), **{"ImageAttributesLV!": Level()})
    with pytest.raises(CorruptChunk, match="uiWidth is missing") as caught:
        Nd2Document.from_raw(raw)
    assert caught.value.chunk == "ImageAttributesLV!"


def test_the_calibration_chunk_serves_without_picture_metadata() -> None:
    raw = without(raw_of(RICH), "MetadataSeq")
    document, _ = Nd2Document.from_raw(raw)
    assert document.optics.pixel_size_um == 0.5
    assert document.optics.objective == "Plan Apo 20x"
    bare, _ = Nd2Document.from_raw(without(raw, "Calibration", "TextInfo"))
    assert bare.optics.pixel_size_um is None


def test_the_start_of_the_acquisition_is_read() -> None:
    start = Level()
    start.add("no_name", "double", 2456827.0)
    raw = changed(raw_of(RICH), **{"CustomDataVar|AcqTimeV1_0!": start})
    document, _ = Nd2Document.from_raw(raw)
    assert document.acquisition_start == "2014-06-18T12:00:00.000Z"


PARTS = {
    "ImageMetadataLV!": "eType",
    "ImageMetadataSeqLV|0!": "dXPos",
    "CustomDataVar|CustomDataV2_0!": "Type",
}


@pytest.mark.parametrize("chunk", PARTS)
def test_a_damaged_chunk_costs_a_warning_not_the_image(chunk: str) -> None:
    raw = raw_of(RICH)
    _set_everywhere(raw.levels[chunk], PARTS[chunk], "not a number")
    with pytest.warns(Nd2Warning) as caught:
        document, records = Nd2Document.from_raw(raw)
    assert [chunk in str(warning.message) for warning in caught] == [True]
    assert PARTS[chunk] in str(caught[0].message)
    use_all(document, records)


def test_a_chunk_that_is_no_struct_costs_one_warning() -> None:
    value = Level()
    value.add("no_name", "double", 1.0)
    raw = changed(raw_of(RICH), **{"ImageMetadataSeqLV|0!": value})
    with pytest.warns(Nd2Warning, match="not a struct; all of it is left out") as seen:
        document, _ = Nd2Document.from_raw(raw)
    assert len(seen) == 1
    assert document.optics.pixel_size_um is None


def test_only_the_damaged_part_of_a_chunk_is_left_out() -> None:
    raw = raw_of(RICH)
    _set_everywhere(raw.levels["ImageMetadataSeqLV|0!"], "uiColor", "red")
    with pytest.warns(Nd2Warning, match="uiColor.*; its channels are left out"):
        document, _ = Nd2Document.from_raw(raw)
    assert len(document.channels) == 4
    assert document.optics.pixel_size_um == 0.5


def test_a_damaged_column_costs_a_warning() -> None:
    raw = raw_of(RICH)
    data = {**raw.data, "CustomData|X!": bytes(13), "CustomData|AcqTimesCache!": b"1"}
    damaged = RawMetadata(version=raw.version, levels=raw.levels, data=data)
    with pytest.warns(Nd2Warning) as caught:
        _, records = Nd2Document.from_raw(damaged)
    messages = [str(warning.message) for warning in caught]
    assert any("CustomData|X!" in message for message in messages)
    assert any("CustomData|AcqTimesCache!" in message for message in messages)
    assert records.x is None
    assert records.times_ms is None
    assert records.y is not None


def test_float32_columns_are_told_by_their_size() -> None:
    spec = SyntheticSpec(loops=(TimeLoop(3), ZLoop(2)))
    raw = raw_of(spec)
    narrow = stage(spec)["Z"].astype("<f4").tobytes()
    data = {**raw.data, "CustomData|Z!": narrow}
    _, records = Nd2Document.from_raw(
        RawMetadata(version=(3, 0), levels=raw.levels, data=data)
    )
    assert records.z is not None
    assert_allclose(records.z, stage(spec)["Z"])


@given(st.data())
def test_no_damage_to_a_tree_raises_anything_else(data: st.DataObject) -> None:
    raw = raw_of(data.draw(st.sampled_from([RICH, replace(RICH, metadata="xml")])))
    name = data.draw(st.sampled_from(sorted(raw.levels)))
    for _ in range(data.draw(st.integers(1, 4))):
        places = list(_leaves(raw.levels[name]))
        if not places:
            break
        level, i = places[data.draw(st.integers(0, len(places) - 1))]
        if data.draw(st.booleans()):
            level.values[i] = data.draw(_VALUES)
        else:
            del level.names[i], level.kinds[i], level.values[i]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Nd2Warning)
        try:
            document, records = Nd2Document.from_raw(raw)
            use_all(document, records)
        except CorruptChunk:
            return
        assert Nd2Document.from_json(document.to_json()).to_json() == document.to_json()


@given(st.dictionaries(st.sampled_from(METADATA_CHUNKS), levels()), st.booleans())
def test_arbitrary_trees_raise_nothing_else(
    trees: dict[str, Level], sound: bool
) -> None:
    if sound:
        trees |= dict.fromkeys(["ImageAttributesLV!"], _attributes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Nd2Warning)
        try:
            raw = RawMetadata(version=(3, 0), levels=trees)
            document, records = Nd2Document.from_raw(raw)
        except CorruptChunk:
            assert not sound
            return
        use_all(document, records)


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**64), 2**64),
    st.integers(10**400, 10**401),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=40),
    st.builds(Level),
    levels(),
)


def _attributes() -> Level:
    return raw_of(SyntheticSpec(metadata="none")).levels["ImageAttributesLV!"]


def _leaves(level: Level) -> Iterator[tuple[Level, int]]:
    for i, value in enumerate(level.values):
        yield level, i
        if isinstance(value, Level):
            yield from _leaves(value)


def _set_everywhere(level: Level, name: str, value: str) -> None:
    for inner, i in list(_leaves(level)):
        if inner.names[i] == name:
            inner.values[i] = value


def test_frames_without_metadata_run_along_time() -> None:
    raw = raw_of(SyntheticSpec(metadata="none", frame_count=3))
    document, records = Nd2Document.from_raw(raw)
    axes = use_all(document, records, 3)
    assert (axes.dims, axes.shape) == (("T",), (3,))
    assert np.isnan(frame_times(document, axes, records)).all()
