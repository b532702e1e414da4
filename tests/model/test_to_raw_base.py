"""Documents over a source: what is kept, what follows, what is written anew."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from limnd2_xr.errors import Nd2Warning
from limnd2_xr.model import raw as chunks
from limnd2_xr.model.channels import Channel
from limnd2_xr.model.comparison import same
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.experiment import NETimeLoop, SpectralLoop, XYPositionLoop
from limnd2_xr.model.fields import levels_by_number
from limnd2_xr.model.loop_parameters import Period as ModelPeriod
from limnd2_xr.model.optics import Optics, stored_planes
from limnd2_xr.model.raw import RawMetadata, chunks_to_read, encode_raw
from limnd2_xr.model.to_raw import Base
from limnd2_xr.testing.metadata_trees import (
    attributes_chunk,
    leading_chunks,
    trailing_chunks,
)
from limnd2_xr.testing.specs import (
    ChannelSpec,
    Period,
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
)
from limnd2_xr.testing.specs import (
    NETimeLoop as PeriodSpecs,
)
from limnd2_xr.testing.specs import (
    SpectralLoop as SpectralSpec,
)
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limnd2_xr.model.records import FrameRecords

TWO = (
    ChannelSpec("DAPI", emission_nm=450.0, excitation_nm=405.0),
    ChannelSpec("GFP", emission_nm=520.0, excitation_nm=488.0),
)


def raw_of(spec: SyntheticSpec) -> RawMetadata:
    name, attributes = attributes_chunk(spec)
    found = {name: attributes, **leading_chunks(spec), **trailing_chunks(spec)}
    trees, data = chunks_to_read(found)
    return RawMetadata(
        version=(2, 1) if spec.metadata == "xml" else (3, 0),
        levels={name: decode(found[name]) for name in trees},
        data={name: found[name] for name in data},
    )


def base_of(raw: RawMetadata) -> Base:
    document, records = Nd2Document.from_raw(raw)
    return Base(raw=raw, document=document, records=records)


def source(**spec: Any) -> Base:
    return base_of(raw_of(SyntheticSpec(**spec)))


def edited(
    base: Base, records: FrameRecords | None = None, **parts: Any
) -> RawMetadata:
    """Change parts of a document and check that they are read back."""
    document = replace(base.document, **parts)
    raw = document.to_raw(records or base.records, base=base)
    encode_raw(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Nd2Warning)  # of chunks that stay damaged
        found, _ = Nd2Document.from_raw(raw)
    for name, part in parts.items():
        if name not in ("optics", "attributes", "text"):
            assert same(getattr(found, name), part), name
    return raw


def with_components(base: Base, n: int) -> Any:
    attributes = base.document.attributes
    return replace(
        attributes,
        components=n,
        virtual_components=n,
        row_nbytes=attributes.width * n * 4,
    )


def levels_in(level: Level) -> Iterator[Level]:
    yield level
    for inner in level.levels():
        yield from levels_in(inner)


class TestSpectralLoop:
    BASE: ClassVar[dict[str, Any]] = {
        "loops": (TimeLoop(2), SpectralSpec()),
        "channels": TWO,
    }

    def test_it_follows_the_channels(self) -> None:
        base = source(**self.BASE)
        channels = base.document.channels[1:]
        raw = edited(base, channels=channels, attributes=with_components(base, 1))
        found, _ = Nd2Document.from_raw(raw)
        assert found.experiment.spectral == SpectralLoop(
            count=1, declared_count=1, names=("GFP",)
        )
        assert len(found.experiment.loops) == 1

    def test_new_names_are_its_names(self) -> None:
        base = source(**self.BASE)
        first, second = base.document.channels
        raw = edited(base, channels=(replace(first, name="Hoechst"), second))
        found, _ = Nd2Document.from_raw(raw)
        assert found.experiment.spectral is not None
        assert found.experiment.spectral.names == ("Hoechst", "GFP")

    def test_what_is_said_of_it_counts(self) -> None:
        base = source(**self.BASE)
        experiment = replace(
            base.document.experiment,
            spectral=SpectralLoop(
                count=2,
                declared_count=3,
                names=("GFP", "x", "DAPI"),
                offsets_um=(0.0, 1.0, 2.0),
            ),
        )
        raw = edited(base, experiment=experiment)
        # planes that have a name keep what else is stored of them
        planes = [
            plane
            for level in levels_in(raw.levels["ImageMetadataLV!"])
            for plane in levels_by_number(level.level("sPlaneNew", create=True))
        ]
        assert ["uiColor" in plane for plane in planes] == [True, False, True]


class TestXml:
    """Format 2: kept where nothing changes, else written as 3.0."""

    def spec(self, **more: Any) -> Base:
        return source(
            metadata="xml", loops=(TimeLoop(2), ZLoop(3)), channels=TWO, **more
        )

    def test_chunks_that_are_xml_in_3_0_change_nothing_else(self) -> None:
        base = self.spec()
        raw = edited(base, software=replace(base.document.software, name="other"))
        assert raw.version == (2, 1)
        names = {"ImageAttributes!", "ImageMetadata!", "ImageMetadataSeq|0!"}
        assert all(raw.levels[name] is base.raw.levels[name] for name in names)
        records = replace(base.records, times_ms=np.arange(6.0), x=None)
        raw = edited(base, records)
        assert raw.version == (2, 1)
        assert "CustomData|X!" not in raw.data

    def test_any_other_change_makes_it_3_0(self) -> None:
        base = self.spec()
        raw = edited(base, text=replace(base.document.text, author="me"))
        assert raw.version == (3, 0)
        assert set(raw.levels) == {
            "ImageAttributesLV!",
            "ImageMetadataLV!",
            "ImageMetadataSeqLV|0!",
            "ImageCalibrationLV|0!",
            "ImageTextInfoLV!",
            "CustomDataVar|CustomDataV2_0!",
            "CustomDataVar|AppInfo_V1_0!",
        }
        found, _ = Nd2Document.from_raw(raw)
        expected = replace(
            base.document,
            format_version="3.0",
            text=replace(base.document.text, author="me"),
        )
        assert same(found, expected)


class TestRecords:
    LOOPS: ClassVar[dict[str, Any]] = {"loops": (TimeLoop(3),)}

    def test_changed_values_are_numbers_of_8_bytes(self) -> None:
        base = source(
            columns={"X": np.array([1, 2, 3]), "Own": np.zeros(3)}, **self.LOOPS
        )
        assert base.document.recorded_columns[0].kind == "int"
        values = np.array([0.5, 1.5, 2.5])
        raw = edited(base, replace(base.records, x=values))
        found, records = Nd2Document.from_raw(raw)
        assert records.x is not None
        assert records.x.tolist() == values.tolist()
        assert [column.kind for column in found.recorded_columns] == ["float", "float"]

    def test_a_column_that_is_gone_is_not_described(self) -> None:
        base = source(**self.LOOPS)
        raw = edited(base, replace(base.records, y=None))
        found, records = Nd2Document.from_raw(raw)
        assert [column.id for column in found.recorded_columns] == ["X", "Z"]
        assert records.y is None

    def test_a_new_column_is_described(self) -> None:
        base = source(columns={}, **self.LOOPS)
        raw = edited(base, replace(base.records, z=np.arange(3.0)))
        found, _ = Nd2Document.from_raw(raw)
        (column,) = found.recorded_columns
        assert (column.id, column.description, column.size) == ("Z", "Z Coord", 3)

    def test_fewer_frames_need_fewer_values(self) -> None:
        base = source(**self.LOOPS)
        attributes = replace(base.document.attributes, sequence_count=2)
        document = replace(base.document, attributes=attributes)
        with pytest.raises(
            ValueError, match=r"records.times_ms has 3 values for 2 frames"
        ):
            document.to_raw(base.records, base=base)

    def test_damaged_values_stay_where_nothing_is_said(self) -> None:
        raw = raw_of(SyntheticSpec(**self.LOOPS))
        data = {**raw.data, "CustomData|X!": bytes(13)}
        damaged = RawMetadata(version=raw.version, levels=raw.levels, data=data)
        with pytest.warns(Nd2Warning):
            base = base_of(damaged)
        result = edited(base, replace(base.records, z=np.zeros(3)))
        assert result.data["CustomData|X!"] == bytes(13)


class TestChannels:
    def test_a_split_rgb_plane_becomes_planes(self) -> None:
        base = source(channels=(ChannelSpec("HE", components=3), TWO[0]))
        channels = list(base.document.channels)
        assert [channel.name for channel in channels] == [
            "HE_B",
            "HE_G",
            "HE_R",
            "DAPI",
        ]
        channels[1] = replace(channels[1], color="#00ff00")
        raw = edited(base, channels=tuple(channels))
        picture = raw.struct(chunks.PICTURE)
        assert picture is not None
        planes = stored_planes(picture.level("sPicturePlanes", create=True))
        assert [plane["uiCompCount"] for plane in planes] == [1, 1, 1, 1]
        assert [plane["uiSampleIndex"] for plane in planes] == [0, 1, 2, 3]

    def test_a_new_channel_between_old_ones(self) -> None:
        base = source(channels=TWO)
        dapi, gfp = base.document.channels
        new = Channel(
            name="BF",
            modality="brightfield",
            modality_flags=("brightfield",),
            light_path=dapi.light_path,
        )
        raw = edited(
            base, channels=(gfp, new, dapi), attributes=with_components(base, 3)
        )
        found, _ = Nd2Document.from_raw(raw)
        assert same(found.optics, base.document.optics)

    def test_one_pinhole_for_all_planes_becomes_one_each(self) -> None:
        raw = raw_of(SyntheticSpec(channels=TWO))
        picture = raw.struct(chunks.PICTURE)
        assert picture is not None
        picture.add("dPinholeRadius", LvType.DOUBLE, 15.0)
        base = base_of(raw)
        first, second = base.document.channels
        assert (first.pinhole_um, second.pinhole_um) == (30.0, 30.0)
        result = edited(base, channels=(replace(first, pinhole_um=None), second))
        picture = result.struct(chunks.PICTURE)
        assert picture is not None
        assert "dPinholeRadius" not in picture

    def test_two_values_for_one_light_path(self) -> None:
        """The edited one counts; without an edit, that of the first channel."""
        base = source(channels=TWO)
        optics = replace(base.document.optics, numerical_aperture=1.4)
        found, _ = Nd2Document.from_raw(edited(base, optics=optics))
        assert {c.numerical_aperture for c in found.channels} == {1.4}
        assert found.optics.numerical_aperture == 1.4
        channels = tuple(
            replace(c, light_path=replace(c.light_path, numerical_aperture=0.5))
            for c in base.document.channels
        )
        found, _ = Nd2Document.from_raw(edited(base, channels=channels))
        assert found.optics.numerical_aperture == 0.5
        added = (Channel(name="new", component_count=1), *channels)
        document = replace(
            base.document, channels=added, attributes=with_components(base, 3)
        )
        found, _ = Nd2Document.from_raw(document.to_raw(base.records, base=base))
        assert (
            found.optics.numerical_aperture == base.document.optics.numerical_aperture
        )

    def test_an_unknown_rotation_again(self) -> None:
        base = source(channels=TWO, angle=0.5)
        optics = replace(base.document.optics, rotation_rad=None, camera_to_stage=None)
        found, _ = Nd2Document.from_raw(edited(base, optics=optics))
        assert found.optics.camera_to_stage is None


class TestLoops:
    POINTS = (
        Point(1.0, 2.0, 3.0, name="A"),
        Point(4.0, 5.0, 6.0, name="B", valid=False),
        Point(7.0, 8.0, 9.0, name="C"),
    )

    def position_loop(self, base: Base) -> XYPositionLoop:
        loop = base.document.experiment.position_loop
        assert loop is not None
        return loop

    def stored_points(self, raw: RawMetadata) -> list[Level]:
        return [
            point
            for level in levels_in(raw.levels["ImageMetadataLV!"])
            for point in level.level("Points", create=True).levels()
        ]

    def test_positions_that_were_dropped_stay_in_the_list(self) -> None:
        base = source(loops=(PositionLoop(self.POINTS), ZLoop(2)))
        loop = self.position_loop(base)
        first, last = loop.points
        moved = replace(loop, points=(replace(first, x_um=-1.0), last))
        experiment = replace(
            base.document.experiment, loops=(moved, base.document.experiment.loops[1])
        )
        points = self.stored_points(edited(base, experiment=experiment))
        assert [point["dPosX"] for point in points] == [-1.0, 4.0, 7.0]
        assert [point["dPosName"] for point in points] == ["A", "B", "C"]
        assert points[0]["dPosZ"] == 3.0  # not used, not asked for, kept

    def test_the_same_positions_in_another_order(self) -> None:
        base = source(loops=(PositionLoop(self.POINTS, use_z=True),))
        loop = self.position_loop(base)
        first, last = loop.points
        turned = replace(
            loop,
            declared_count=2,
            points=(replace(last, index=0), replace(first, index=1)),
        )
        experiment = replace(base.document.experiment, loops=(turned,))
        raw = edited(base, experiment=experiment)
        points = self.stored_points(raw)
        assert [point["dPosName"] for point in points] == ["C", "A"]
        node = raw.struct(chunks.EXPERIMENT)
        assert node is not None
        assert node["pItemValid"] == b"\1\1"

    def test_loops_below_periods_come_below_the_loop(self) -> None:
        base = source(
            loops=(PeriodSpecs((Period(2), Period(1)), sub_loops=True), ZLoop(2))
        )
        time, stack = base.document.experiment.loops
        assert isinstance(time, NETimeLoop)
        periods = (*time.periods, ModelPeriod(count=1, name="new"))
        loop = replace(time, count=4, declared_count=4, periods=periods)
        experiment = replace(base.document.experiment, loops=(loop, stack))
        raw = edited(base, experiment=experiment)
        assert not any(
            "pSubLoops" in level for level in levels_in(raw.levels["ImageMetadataLV!"])
        )

    def test_titles_stand_on_the_outermost_loop(self) -> None:
        base = source(loops=(TimeLoop(2), ZLoop(2)))
        experiment = replace(
            base.document.experiment,
            loops=base.document.experiment.loops[::-1],
            application="ND",
            description="turned",
            camera="",
        )
        edited(base, experiment=experiment)


DAMAGED = {
    "ImageMetadataLV!": ("eType", "experiment"),
    "ImageMetadataSeqLV|0!": ("uiColor", "channels"),
    "CustomDataVar|CustomDataV2_0!": ("Type", "recorded_columns"),
}


@pytest.mark.parametrize("chunk", DAMAGED)
def test_a_damaged_chunk_is_written_anew_once_something_is_said(chunk: str) -> None:
    name, part = DAMAGED[chunk]
    spec = SyntheticSpec(loops=(TimeLoop(2), ZLoop(2)), channels=TWO)
    sound = base_of(raw_of(spec)).document
    raw = raw_of(spec)
    for level in levels_in(raw.levels[chunk]):
        for i, found in enumerate(level.names):
            if found == name:
                is_xml = isinstance(level.kinds[i], str)
                level.kinds[i] = "CLxStringW" if is_xml else LvType.STRING
                level.values[i] = "damaged"
    with pytest.warns(Nd2Warning):
        base = base_of(raw)
    kept = edited(base, software=replace(base.document.software, name="other"))
    assert kept.levels[chunk] is raw.levels[chunk]
    again = edited(base, **{part: getattr(sound, part)})
    assert again.levels[chunk] is not raw.levels[chunk]
    found_again, _ = Nd2Document.from_raw(again)
    assert same(getattr(found_again, part), getattr(sound, part))


def test_a_start_comes_and_goes() -> None:
    base = source()
    acquisition = replace(base.document.acquisition, start_jd=2460000.25)
    raw = edited(base, acquisition=acquisition)
    assert raw.levels["CustomDataVar|AcqTimeV1_0!"]["no_name"] == 2460000.25
    started = base_of(raw)
    acquisition = replace(acquisition, start_jd=None)
    assert (
        "CustomDataVar|AcqTimeV1_0!"
        not in edited(started, acquisition=acquisition).levels
    )


def test_calibration_alone_is_calibration_alone() -> None:
    raw = raw_of(SyntheticSpec())
    levels = {k: v for k, v in raw.levels.items() if "MetadataSeq" not in k}
    base = base_of(RawMetadata(version=(3, 0), levels=levels, data=raw.data))
    assert base.document.optics.pixel_size_um == 0.5
    same_size = edited(base, text=replace(base.document.text, author="me"))
    assert "ImageMetadataSeqLV|0!" not in same_size.levels
    optics = Optics(objective="Plan Apo 20x", magnification=20.0, pixel_size_um=0.25)
    found, _ = Nd2Document.from_raw(edited(base, optics=optics))
    assert found.optics.pixel_size_um == 0.25
