"""Real files: unchanged to the bit, and edited without losing what is not modelled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limnd2_xr.container.chunk_index import read_index
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.model import raw as chunks
from limnd2_xr.model.channels import Channel
from limnd2_xr.model.comparison import same, same_records
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.experiment import Experiment, NETimeLoop, TimeLoop, ZStackLoop
from limnd2_xr.model.optics import sample_settings, stored_planes
from limnd2_xr.model.raw import RawMetadata, chunks_to_read, encode_raw
from limnd2_xr.model.records import FrameRecords
from limnd2_xr.model.to_raw import Base
from limnd2_xr.testing.document_strategies import documents
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.realdata


@dataclass(frozen=True)
class Sample:
    base: Base
    payloads: dict[str, bytes]

    @property
    def document(self) -> Nd2Document:
        return self.base.document

    @property
    def records(self) -> FrameRecords:
        return self.base.records

    def planes(self) -> list[Level]:
        return stored_planes(picture_planes(self.base.raw))

    def settings(self) -> list[Level]:
        return sample_settings(picture_planes(self.base.raw))


def picture_planes(raw: RawMetadata) -> Level:
    picture = raw.struct(chunks.PICTURE)
    assert picture is not None
    return picture.level("sPicturePlanes", create=True)


def load(path: Path) -> Sample:
    source = SourceSpec.of(path).open()
    try:
        loaded = read_index(source)
        trees, data = chunks_to_read(loaded.index)
        entries = {
            name: entry
            for name in (*trees, *data)
            if (entry := loaded.index.find(name)) is not None
        }
        found = loaded.prefetch.chunks(entries)
        payloads = {name: bytes(payload) for name, payload in found.items()}
    finally:
        source.close()
    raw = RawMetadata(
        version=loaded.version,
        levels={name: decode(payloads[name], lazy=True) for name in trees},
        data={name: payloads[name] for name in data},
    )
    document, records = Nd2Document.from_raw(raw)
    return Sample(Base(raw=raw, document=document, records=records), payloads)


@pytest.fixture(scope="session")
def sample(each_sample: Path) -> Sample:
    return load(each_sample)


def written(sample: Sample, document: Nd2Document, **records: Any) -> RawMetadata:
    """Write an edited document, and check that reading gives it back."""
    new = replace(sample.records, **records)
    raw = document.to_raw(new, base=sample.base)
    found, found_records = Nd2Document.from_raw(decoded(encode_raw(raw), raw.version))
    assert same(found, replace(document, format_version=found.format_version))
    assert same_records(found_records, new)
    return raw


def decoded(payloads: dict[str, bytes], version: tuple[int, int]) -> RawMetadata:
    trees, data = chunks_to_read(payloads)
    return RawMetadata(
        version=version,
        levels={name: decode(payloads[name]) for name in trees},
        data={name: payloads[name] for name in data},
    )


def changed(sample: Sample, raw: RawMetadata) -> set[str]:
    stored = sample.base.raw
    levels = {n for n in raw.levels if raw.levels[n] is not stored.levels.get(n)}
    return levels | {n for n in raw.data if raw.data[n] != stored.data.get(n)}


def test_unchanged_to_the_bit(sample: Sample) -> None:
    raw = sample.document.to_raw(sample.records, base=sample.base)
    assert raw is sample.base.raw
    again, _ = Nd2Document.from_raw(raw)
    equal_copy = replace(again, text=replace(again.text))
    raw = equal_copy.to_raw(replace(sample.records), base=sample.base)
    assert raw == sample.base.raw


def test_bytes_of_real_files(each_real: Path) -> None:
    found = load(each_real)
    assert encode_raw(found.document.to_raw(found.records, base=found.base)) == (
        found.payloads
    )


def test_without_its_source_a_document_says_the_same(sample: Sample) -> None:
    raw = sample.document.to_raw(sample.records)
    found, records = Nd2Document.from_raw(raw)
    document = sample.document
    for part in ("attributes", "channels", "experiment", "optics", "software"):
        expected, got = getattr(document, part), getattr(found, part)
        if sample.document.software.name:  # written by NIS-Elements: nothing is open
            assert same(expected, got)
    assert (
        found.picture == document.picture
        or sample.base.raw.struct(chunks.PICTURE) is None
    )
    assert found.recorded_columns == document.recorded_columns or records.x is not None
    if sample.records.times_ms is not None:
        assert same_records(records, sample.records)


@settings(max_examples=5)
@given(target=documents())
def test_any_document_over_a_sample(
    sample: Sample, target: tuple[Nd2Document, FrameRecords]
) -> None:
    document, records = target
    raw = document.to_raw(records, base=sample.base)
    found, found_records = Nd2Document.from_raw(raw)
    assert same(found, document)
    assert same_records(found_records, records)


@settings(max_examples=5)
@given(some=st.permutations(range(4)), count=st.integers(1, 4))
def test_channels_in_any_order(
    sample: Sample, each_sample: Path, some: list[int], count: int
) -> None:
    document = sample.document
    order = [i for i in some if i < len(document.channels)][:count]
    channels = tuple(document.channels[i] for i in order)
    components = sum(channel.component_count for channel in channels)
    attributes = replace(
        document.attributes,
        components=components,
        virtual_components=components,
        row_nbytes=document.attributes.width * components * 8,
    )
    first = channels[0].light_path
    optics = replace(
        document.optics,
        **{name: getattr(first, name) for name in first.__dataclass_fields__},
    )
    edited = replace(document, attributes=attributes, channels=channels, optics=optics)
    raw = edited.to_raw(sample.records, base=sample.base)
    found, _ = Nd2Document.from_raw(raw)
    assert same(found.channels, channels)
    assert same(found.optics, optics)
    if sample.base.raw.struct(chunks.PICTURE) is None:
        return
    planes = stored_planes(picture_planes(raw))
    for plane, i in zip(planes, order, strict=True):
        source = sample.planes()[i]
        assert plane["dAcqTime"] == source["dAcqTime"]
        if (
            each_sample.stem != "confocal_t3_z10_c2"
        ):  # one filter, a line for each place
            assert plane["pFilterPath"] == source["pFilterPath"]


def test_a_subset_keeps_planes_and_device_settings(
    real_file: Callable[[str], Path],
) -> None:
    sample = load(real_file("fluo_c4"))
    document = sample.document
    channels = (document.channels[2], document.channels[0])
    attributes = replace(
        document.attributes, components=2, virtual_components=2, row_nbytes=1024
    )
    text = document.text.description.replace("\u03bb(4)", "\u03bb(2)")
    text = text.replace("Number of Picture Planes: 4", "Number of Picture Planes: 2")
    edited = replace(
        document,
        attributes=attributes,
        channels=channels,
        text=replace(document.text, description=text),
    )
    raw = written(sample, edited)
    assert changed(sample, raw) == {
        "ImageAttributesLV!",
        "ImageMetadataSeqLV|0!",
        "ImageTextInfoLV!",
    }
    planes, new_settings = (
        stored_planes(picture_planes(raw)),
        sample_settings(picture_planes(raw)),
    )
    assert [plane["uiSampleIndex"] for plane in planes] == [0, 1]
    assert new_settings == [sample.settings()[2], sample.settings()[0]]
    assert planes[0]["dAcqTime"] == sample.planes()[2]["dAcqTime"]
    assert planes[0]["pFilterPath"] == sample.planes()[2]["pFilterPath"]


def test_counts_in_the_description_follow(real_file: Callable[[str], Path]) -> None:
    sample = load(real_file("fluo_c4"))
    document = sample.document
    edited = replace(
        document,
        attributes=replace(
            document.attributes, components=1, virtual_components=1, row_nbytes=512
        ),
        channels=document.channels[1:2],
    )
    found, _ = Nd2Document.from_raw(edited.to_raw(sample.records, base=sample.base))
    lines = found.text.description.splitlines()
    assert "Number of Picture Planes: 1" in lines
    assert not any(line.startswith("Dimensions:") for line in lines)
    assert len(lines) == len(document.text.description.splitlines()) - 1


def test_one_exposure_of_a_shared_setting(real_file: Callable[[str], Path]) -> None:
    sample = load(real_file("confocal_t3_z10_c2"))
    document = sample.document
    first, second = document.channels
    edited = replace(document, channels=(first, replace(second, exposure_s=0.25)))
    raw = written(sample, edited)
    assert changed(sample, raw) == {"ImageMetadataSeqLV|0!"}
    planes = picture_planes(raw)
    assert planes["uiSampleCount"] == 2
    camera = [
        setting.level("pCameraSetting", create=True).level("Metadata", create=True)
        for setting in sample_settings(planes)
    ]
    assert [metadata["ChannelCount"] for metadata in camera] == [1, 1]
    devices = [setting["pDeviceSetting"] for setting in sample_settings(planes)]
    assert devices == [sample.settings()[0]["pDeviceSetting"]] * 2


def test_another_emission_wavelength(real_file: Callable[[str], Path]) -> None:
    sample = load(real_file("fluo_c4"))
    channels = list(sample.document.channels)
    channels[1] = replace(channels[1], emission_nm=461.0)
    raw = written(sample, replace(sample.document, channels=tuple(channels)))
    camera = sample_settings(picture_planes(raw))[1].level(
        "pCameraSetting", create=True
    )
    listed = camera.level("Metadata", create=True).level("Channels", create=True)
    assert listed.levels()[0]["EmWavelength"] == 461.0
    kept = [sample_settings(picture_planes(raw))[i] for i in (0, 2, 3)]
    assert kept == [sample.settings()[i] for i in (0, 2, 3)]


def test_unknown_modality_bits_stay(real_file: Callable[[str], Path]) -> None:
    sample = load(real_file("fluo_c4"))
    unknown = 1 << 60
    planes = sample.planes()
    mask = planes[1]["uiModalityMask"]
    assert isinstance(mask, int)
    planes[1].values[planes[1].names.index("uiModalityMask")] = mask | unknown
    channels = list(sample.document.channels)
    channels[1] = replace(
        channels[1], modality="TIRF", modality_flags=("TIRF",), name="DAPI"
    )
    raw = written(sample, replace(sample.document, channels=tuple(channels)))
    stored = stored_planes(picture_planes(raw))[1]
    assert stored["uiModalityMask"] == 0x2_0000 | unknown


def test_a_shorter_stack_keeps_its_node(real_file: Callable[[str], Path]) -> None:
    sample = load(real_file("zstack_z11"))
    document, records = sample.document, sample.records
    (stack,) = document.experiment.loops
    assert isinstance(stack, ZStackLoop)
    shorter = replace(stack, count=4, declared_count=4, home_index=3)
    edited = replace(
        document,
        attributes=replace(document.attributes, sequence_count=4),
        experiment=replace(document.experiment, loops=(shorter,)),
    )
    few = {
        name: values[:4]
        for name in ("times_ms", "x", "y", "z", "z1", "z2")
        if (values := getattr(records, name)) is not None
    }
    raw = edited.to_raw(replace(records, **few), base=sample.base)
    found, found_records = Nd2Document.from_raw(raw)
    assert found.experiment.loops == (shorter,)
    assert found_records.z is not None
    assert found_records.z.tolist() == few["z"].tolist()
    sizes = {column.id: column.size for column in found.recorded_columns}
    assert (sizes["X"], sizes["Z2"], sizes["PFS_STATUS"]) == (4, 4, 11)
    titles = {column.id: column.description for column in found.recorded_columns}
    assert titles["Z1"] == "Ti2 ZDrive"
    assert "Dimensions: Z(4) x \u03bb(1)" in found.text.description
    assert raw.data["CustomData|AcqTimes2Cache!"] == bytes(32)
    old, new = sample.base.raw.struct(chunks.EXPERIMENT), raw.struct(chunks.EXPERIMENT)
    assert old is not None
    assert new is not None
    assert new["pRecordedData"] == old["pRecordedData"]
    assert new["ppNextLevelEx"] == old["ppNextLevelEx"]
    differing = [
        name for name in old.names if name in new.names and old[name] != new[name]
    ]
    assert differing == ["uLoopPars"]


def test_loops_taken_away_and_turned(real_file: Callable[[str], Path]) -> None:
    sample = load(real_file("confocal_t3_z10_c2"))
    document = sample.document
    time, stack = document.experiment.loops
    turned = replace(document.experiment, loops=(stack, time))
    raw = written(
        sample, replace(document, experiment=turned, text=described(document, turned))
    )
    node = raw.struct(chunks.EXPERIMENT)
    assert node is not None
    assert node["eType"] == 4
    inner = node.level("ppNextLevelEx", create=True).levels()[0]
    assert "pRecordedData" in inner
    assert inner["uiNextLevelCount"] == 0
    none = replace(
        document,
        attributes=replace(document.attributes, sequence_count=1),
        experiment=Experiment(),
        recorded_columns=(),
    )
    raw = none.to_raw(FrameRecords(times_ms=np.array([1.0])), base=sample.base)
    assert "ImageMetadataLV!" not in raw.levels
    assert "CustomDataVar|CustomDataV2_0!" not in raw.levels
    assert set(raw.data) == {
        "CustomData|AcqTimesCache!",
        "CustomData|AcqTimes2Cache!",
        "CustomData|AcqFramesCache!",
    }


def described(document: Nd2Document, experiment: Experiment) -> Any:
    shape = " x ".join(f"{loop.dim}({loop.count})" for loop in experiment.loops)
    old = "Dimensions: T(3) x Z(10)"
    text = document.text.description
    assert old in text
    # in another order they still name the same loops
    assert sorted(shape.split(" x ")) == ["T(3)", "Z(10)"]
    return document.text


def test_periods_keep_their_nodes(real_file: Callable[[str], Path]) -> None:
    sample = load(real_file("netime_t2_u8"))
    document = sample.document
    (loop,) = document.experiment.loops
    assert isinstance(loop, NETimeLoop)
    periods = tuple(replace(period, period_ms=5.0) for period in loop.periods)
    experiment = Experiment(loops=(replace(loop, periods=periods),))
    raw = written(sample, replace(document, experiment=experiment))
    node = raw.struct(chunks.EXPERIMENT)
    assert node is not None
    stored = node.level("uLoopPars", create=True).level("pPeriod", create=True).levels()
    assert [period["dPeriod"] for period in stored] == [5.0, 5.0]
    assert len(stored[0].level("sAutoFocusBeforePeriod", create=True)) == 17
    assert len(node.level("sAutoFocusBeforeLoop", create=True)) == 17


def test_the_objective_of_the_whole_file(real_file: Callable[[str], Path]) -> None:
    """Edited once, it holds for the channels too and stands wherever readers look."""
    sample = load(real_file("fluo_c4"))
    document = sample.document
    optics = replace(document.optics, objective="Plan Fluor 40x", magnification=40.0)
    raw = replace(document, optics=optics).to_raw(sample.records, base=sample.base)
    found, _ = Nd2Document.from_raw(raw)
    assert {channel.light_path.objective for channel in found.channels} == {
        "Plan Fluor 40x"
    }
    assert {channel.magnification for channel in found.channels} == {40.0}
    calibration = raw.struct(chunks.CALIBRATION)
    assert calibration is not None
    assert calibration["sObjective"] == "Plan Fluor 40x"


def test_a_turned_camera(real_file: Callable[[str], Path]) -> None:
    sample = load(real_file("fluo_c4"))
    optics = replace(
        sample.document.optics, rotation_rad=0.0, camera_to_stage=(1.0, 0.0, 0.0, 1.0)
    )
    raw = written(sample, replace(sample.document, optics=optics))
    matrices = {
        bytes(setting.level("matCameraToStage", create=True)["Data"])  # type: ignore[arg-type]
        for setting in sample_settings(picture_planes(raw))
    }
    assert matrices == {np.eye(2).tobytes()}


def test_a_file_without_metadata_gets_what_is_said(
    made_file: Callable[[str], Path],
) -> None:
    sample = load(made_file("g_bare"))
    document = replace(
        sample.document,
        channels=(Channel(name="GFP"),),
        experiment=Experiment(loops=(TimeLoop(count=1, declared_count=1),)),
    )
    raw = document.to_raw(sample.records, base=sample.base)
    found, _ = Nd2Document.from_raw(raw)
    assert found.channels[0].name == "GFP"
    assert changed(sample, raw) == {"ImageMetadataLV!", "ImageMetadataSeqLV|0!"}


def test_damage_that_was_there_stays(real_file: Callable[[str], Path]) -> None:
    sample = load(real_file("zstack_z11"))
    root = Level()
    root.add("no_name", "double", 1.0)
    damaged = RawMetadata(
        version=(3, 0),
        levels={**sample.base.raw.levels, "CustomDataVar|AppInfo_V1_0!": root},
        data=sample.base.raw.data,
    )
    with pytest.warns(UserWarning, match="AppInfo"):
        document, records = Nd2Document.from_raw(damaged)
    base = Base(raw=damaged, document=document, records=records)
    edited = replace(document, text=replace(document.text, author="me"))
    raw = edited.to_raw(records, base=base)
    assert raw.levels["CustomDataVar|AppInfo_V1_0!"] is root
    edited = replace(document, software=replace(document.software, name="mine"))
    raw = edited.to_raw(records, base=base)
    assert Nd2Document.from_raw(raw)[0].software.name == "mine"
