"""`Nd2Reader`: what limnd2 0.3.0 gave for a real file, and what it should have given."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import nd2 as oracle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limnd2_xr.compat import limnd2
from limnd2_xr.compat.limnd2.experiment import canonical_shape
from limnd2_xr.testing.legacy import LegacySpec, build_legacy
from limnd2_xr.testing.strategies import specs
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::limnd2_xr.errors.Nd2Warning")

SMALL = SyntheticSpec(
    loops=(TimeLoop(3),),
    channels=(ChannelSpec("DAPI"), ChannelSpec("GFP")),
    width=21,
    height=13,
)


@pytest.fixture
def cluster(real_file: Callable[[str], Path]) -> Iterator[limnd2.Nd2Reader]:
    """The file that the inventory of limnd2's answers is about."""
    with limnd2.Nd2Reader(real_file("confocal_t3_z10_c2")) as reader:
        yield reader


@pytest.mark.realdata
def test_sizes_and_types_are_those_of_limnd2(cluster: limnd2.Nd2Reader) -> None:
    attributes = cluster.imageAttributes
    assert cluster.version == (3, 0)
    assert (cluster.is3d, cluster.isMono, cluster.isRgb) == (True, False, False)
    assert (cluster.is8bitRgb, cluster.isFloat) == (False, False)
    assert dict(attributes) == {
        "uiWidth": 38,
        "uiWidthBytes": 152,
        "uiHeight": 31,
        "uiComp": 2,
        "uiBpcInMemory": 16,
        "uiBpcSignificant": 12,
        "uiSequenceCount": 30,
        "uiTileWidth": 38,
        "uiTileHeight": 31,
        "eCompression": limnd2.ImageAttributesCompression.ictNone,
        "dCompressionParam": 0.0,
        "ePixelType": limnd2.ImageAttributesPixelType.pxtUnsigned,
        "uiVirtualComponents": 2,
    }
    assert attributes.dtype is np.uint16
    assert cluster.dimensionSizes() == {"t": 3, "z": 10}
    assert cluster.generateLoopIndexes()[:3] == [(0, 0), (0, 1), (0, 2)]
    assert cluster.generateLoopIndexes(named=True)[:2] == [
        {"t": 0, "z": 0},
        {"t": 0, "z": 1},
    ]
    assert cluster.imageDataShape == (3, 1, 10, 31, 38, 2)
    assert list(cluster.imageDataRange) == [0, 4095]
    assert cluster.compRange.tolist() == [[0, 65535], [0, 65535]]
    assert cluster.compFrameRange.shape == (2, 2, 30)
    assert cluster.software == "NIS-Elements AR 4.20.01 (Build 982)"


@pytest.mark.realdata
def test_images_are_those_of_limnd2(cluster: limnd2.Nd2Reader) -> None:
    image = cluster.image(0)
    assert (image.shape, image.dtype.name, image.sum()) == ((31, 38, 2), "uint16", 243)
    part = cluster.image(0, rect=(2, 3, 10, 5))
    np.testing.assert_array_equal(part, image[3:8, 2:12])
    corner = cluster.image(0, rect=(30, 25, 100, 100))
    np.testing.assert_array_equal(corner, image[25:, 30:])
    assert cluster.image(0, downsample_level=1).shape == (15, 19, 2)


@pytest.mark.realdata
def test_loops_are_those_of_limnd2_with_the_step_that_was_set(
    cluster: limnd2.Nd2Reader,
) -> None:
    experiment = cluster.experiment
    assert experiment is not None
    assert str(experiment) == (
        "Timeloop experiment(3 frames, interval: No Delay, duration: 1 hr), "
        "Z-Stack experiment(10 frames, step: 0.5)"
    )
    levels: list[Any] = list(experiment)
    time, stack = levels
    assert (time.name, time.shortName, time.typeName) == ("Time", "T", "t")
    assert (time.count, time.uLoopPars.step) == (3, 0.0)
    assert time.uLoopPars.info == [
        {"Phase": "#1", "Interval": "No Delay", "Duration": "1 hr", "Loops": 3}
    ]
    assert (stack.name, stack.shortName, stack.typeName) == ("Z-Stack", "Z", "z")
    found = experiment.findLevel(limnd2.ExperimentLoopType.eEtZStackLoop)
    assert found is not None
    pars = found.uLoopPars
    assert isinstance(pars, limnd2.ExperimentZStackLoop)
    assert pars == cluster.experimentZStackLoop
    # limnd2 says 0.46944: what the range would give.
    assert (pars.dZStep, pars.step, pars.stepUnit) == (0.5, 0.5, "µm")
    assert (pars.homeIndex, pars.top, pars.bottom) == (4, 3918.876, 3914.651)
    assert pars.info[0]["Drive"] == "Nikon A1 Piezo Z Drive"
    assert experiment.indexOfLoop(limnd2.ExperimentLoopType.eEtZStackLoop) == 1
    assert experiment.indexOfLoop(limnd2.ExperimentLoopType.eEtXYPosLoop) is None
    t, _, z, y, x, _ = cluster.imageDataCalibration
    assert (z, round(y, 6), round(x, 6)) == (0.5, 0.167809, 0.167809)
    times = cluster.acqTimes
    assert t == pytest.approx((times[20] - times[0]) / 2)  # limnd2 says 0


@pytest.mark.realdata
def test_channels_are_those_of_limnd2_with_the_right_excitation(
    cluster: limnd2.Nd2Reader,
) -> None:
    picture = cluster.pictureMetadata
    first, second = picture.channels
    assert first.sDescription == "5-FAM/pH 9.0"
    assert first.modalityList == ["Fluorescence", "LaserScanConfocal", "GaAsP"]
    assert (first.emissionWavelengthNm, first.excitationWavelengthNm) == (525.0, 488.0)
    assert first.colorAsTuple == (120, 233, 15)
    assert (first.colorAsHtmlString, first.uiSampleIndex) == ("#78e90f", 0)
    assert second.sDescription == "FM 4-64/2% CHAPS"
    assert second.modalityList == ["Fluorescence", "LaserScanConfocal", "PMT"]
    assert second.emissionWavelengthNm == 700.0
    assert second.excitationWavelengthNm == 561.0  # limnd2 says 488
    assert second.colorAsHtmlString == "#fe0100"
    settings = picture.sampleSettings(0)
    assert settings is not None
    assert (settings.cameraName, settings.microscopeName) == (
        "Nikon A1plus",
        "Ti Microscope",
    )
    assert settings.objectiveName == ""
    assert settings.objectiveMagnification == 0.0
    assert settings.dExposureTime == 996.9975547008216
    assert picture.sampleSettings(7) is None
    assert (picture.dCalibration, picture.bCalibrated) == (0.16780898323268245, True)
    assert picture.dTimeAbsolute == 2456827.080131852
    position = picture.dXPos, picture.dYPos, picture.dZPos
    assert position == pytest.approx(
        (-26056.951209195162, -4155.462732842248, 3914.3375)
    )
    assert picture.objectiveName() == "Plan Apo λ 60x"
    assert picture.channelNames == picture.componentNames


@pytest.mark.realdata
def test_times_and_columns_are_those_of_limnd2(cluster: limnd2.Nd2Reader) -> None:
    times = cluster.acqTimes
    assert (round(times[0], 8), round(times[29], 8)) == (445.08349828, 30868.58548911)
    assert cluster.acqFrames is not None
    assert not cluster.acqFrames.any()
    columns = cluster.recordedData
    ids = [column.ID for column in columns]
    assert ids[:7] == ["INDEX", "ACQTIME", "X", "Y", "Z1", "PFS_OFFSET", "PFS_STATUS"]
    assert {"CameraTemp1", "Camera_CH4LaserPower", "Camera_ExposureTime1"} <= set(ids)
    assert columns[0].data.tolist() == list(range(1, 31))
    assert columns[1].data[:2].tolist() == ["0:00:00.445", "0:00:01.459"]
    x = columns[columns.findById("X")]
    assert (x.Unit, x.data.dtype.name, columns.rowCount) == ("µm", "float64", 30)


@pytest.mark.realdata
def test_every_frame_is_that_of_nd2(each_real: Path) -> None:
    with limnd2.Nd2Reader(each_real) as reader, oracle.ND2File(each_real) as file:
        attributes, picture = reader.imageAttributes, reader.pictureMetadata
        assert (attributes.width, attributes.height) == (
            file.sizes["X"],
            file.sizes["Y"],
        )
        names = [c.channel.name for c in file.metadata.channels or ()]
        assert [plane.sDescription for plane in picture.channels] == names
        for number in range(attributes.frameCount):
            expected = file.read_frame(number)  # (Y, X[, S]) or (C, Y, X), as stored
            if expected.ndim == 2:
                expected = expected[..., None]
            elif not file.is_rgb:
                expected = np.moveaxis(expected, 0, -1)
            np.testing.assert_array_equal(reader.image(number), expected)


@pytest.mark.realdata
def test_every_property_of_every_sample_can_be_read(each_sample: Path) -> None:
    with limnd2.Nd2Reader(each_sample) as reader:
        count = reader.imageAttributes.frameCount
        for name in dir(type(reader)):
            if not name.startswith("_"):
                getattr(reader, name)
        assert len(reader.acqTimes) == reader.recordedData.rowCount == count
        assert len(reader.pictureMetadata.channels) >= 1
        sizes = reader.dimensionSizes()
        assert tuple(sizes) == tuple(
            reader.experiment.dims if reader.experiment else ()
        )
        assert reader.imageDataShape[:3] == canonical_shape(reader.experiment)
        assert len(reader.generateLoopIndexes()) in {0, count}
        assert reader.image(np.int64(count - 1)).shape == reader.imageAttributes.shape


@pytest.mark.parametrize("number", [-1, 3, 999])
def test_frames_that_do_not_exist_are_errors(number: int) -> None:
    with (
        limnd2.Nd2Reader(build(SMALL).data) as reader,
        pytest.raises(IndexError, match=f"no frame {number}, the file has 3"),
    ):
        reader.image(number)


def test_numbers_of_numpy_are_taken_and_others_are_not() -> None:
    file = build(SMALL)
    with limnd2.Nd2Reader(file.data) as reader:
        np.testing.assert_array_equal(reader.image(np.int64(2)), file.frames[2])
        with pytest.raises(TypeError):
            reader.image(1.0)  # type: ignore[arg-type]


def test_an_image_outlives_its_file(tmp_path: Path) -> None:
    file = build(SMALL)
    with limnd2.Nd2Reader(file.save(tmp_path / "a.nd2")) as reader:
        image = reader.image(1)
        assert reader.imageAttributes.frameCount == 3
    (tmp_path / "a.nd2").unlink()
    np.testing.assert_array_equal(image, file.frames[1])
    assert image.flags.writeable
    assert reader.imageAttributes.frameCount == 3
    reader.finalize()
    with pytest.raises(ValueError, match="finalized"):
        reader.image(1)


@pytest.mark.parametrize(
    "rect", [(21, 0, 1, 1), (0, 13, 1, 1), (-1, 0, 2, 2), (0, 0, 0, 4), (0, 0, 4, -1)]
)
def test_a_part_that_is_not_in_the_image_is_refused(
    rect: tuple[int, int, int, int],
) -> None:
    with (
        limnd2.Nd2Reader(build(SMALL).data) as reader,
        pytest.raises(ValueError, match="not in an image of 21 x 13"),
    ):
        reader.image(0, rect=rect)


@settings(max_examples=25)
@given(spec=specs(), data=st.data())
def test_any_file_is_read_as_it_is_stored(
    spec: SyntheticSpec, data: st.DataObject
) -> None:
    file = build(spec)
    x = data.draw(st.integers(0, spec.width - 1))
    y = data.draw(st.integers(0, spec.height - 1))
    w, h = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 20))
    with limnd2.Nd2Reader(file.data) as reader:
        count = reader.imageAttributes.frameCount
        assert reader.imageAttributes.shape == (
            spec.height,
            spec.width,
            spec.n_components,
        )
        for number in range(count):
            expected = file.frames[number]
            np.testing.assert_array_equal(reader.image(number), expected)
            part = reader.image(number, rect=(x, y, w, h))
            np.testing.assert_array_equal(part, expected[y : y + h, x : x + w])
        lazy = reader.delayedImageData().compute(scheduler="sync")
        indexes = reader.generateLoopIndexes(named=True)
        assert len(indexes) in {0, count}
        assert lazy.size == sum(frame.size for frame in file.frames)
        assert len(json.loads(limnd2.metadataAsJSON(reader))["metadata"]["channels"])
        picture = reader.pictureMetadata
        again = limnd2.PictureMetadata.from_lv(picture.to_lv())
        assert again.channelNames == picture.channelNames
        if reader.experiment is not None:
            loops = limnd2.ExperimentLevel.from_lv(reader.experiment.to_lv())
            assert loops.dims == reader.experiment.dims


def test_missing_frames_are_zeros_and_told_once() -> None:
    spec = SyntheticSpec(loops=(TimeLoop(3),), missing=frozenset({1}))
    with pytest.warns(match="1 of 3 frames"):
        reader = limnd2.Nd2Reader(build(spec).data)
    with reader:
        assert not reader.image(1).any()
        assert reader.image(2).any()


def test_rgb_is_blue_green_red_as_it_is_stored() -> None:
    spec = SyntheticSpec(channels=(ChannelSpec("HE", components=3),), dtype="uint8")
    file = build(spec)
    with limnd2.Nd2Reader(file.data) as reader:
        np.testing.assert_array_equal(reader.image(0), file.frames[0])
        assert (reader.isRgb, reader.is8bitRgb) == (True, True)
        assert reader.pictureMetadata.componentNames == ["Blue", "Green", "Red"]
        assert reader.pictureMetadata.channelNames == ["RGB"]
        small = reader.image(0, downsample_level=1)
        pixel = file.frames[0][:2, :2].reshape(4, 3).astype(int).sum(0) // 4
        np.testing.assert_array_equal(small[0, 0], pixel)


def test_times_are_not_made_up() -> None:
    times = [500.0, -1.0, 300.0]
    spec = SyntheticSpec(loops=(TimeLoop(3),), times_ms=times)
    with limnd2.Nd2Reader(build(spec).data) as reader:
        np.testing.assert_array_equal(reader.acqTimes, [500.0, np.nan, 300.0])
        texts = reader.recordedData[1].data.tolist()
    assert texts == ["0:00:00.500", "", "0:00:00.300"]


def test_without_the_cache_times_are_those_of_the_frames() -> None:
    spec = SyntheticSpec(
        loops=(TimeLoop(3),),
        times_ms=[5.0, 6.0, 7.0],
        omit_chunks=frozenset({"CustomData|AcqTimesCache!"}),
    )
    with limnd2.Nd2Reader(build(spec).data) as reader:
        assert reader.acqTimes.tolist() == [5.0, 6.0, 7.0]


def test_a_stopped_run_is_as_long_as_it_was() -> None:
    spec = SyntheticSpec(loops=(TimeLoop(5), ZLoop(2)), frame_count=6)
    with limnd2.Nd2Reader(build(spec).data) as reader:
        assert reader.dimensionSizes() == {"t": 3, "z": 2}
        assert len(reader.generateLoopIndexes()) == 6
        assert reader.imageDataShape[:3] == (3, 1, 2)


def test_a_bare_file_has_planes_and_no_loops() -> None:
    spec = SyntheticSpec(
        channels=(ChannelSpec("a"), ChannelSpec("b")), metadata="none", frame_count=1
    )
    with limnd2.Nd2Reader(build(spec).data) as reader:
        assert reader.experiment is None
        assert reader.imageTextInfo is None
        assert reader.dimensionSizes() == {}
        assert reader.generateLoopIndexes() == []
        assert reader.pictureMetadata.channelNames == ["Channel_0", "Channel_1"]
        assert reader.software == ""
        assert limnd2.generalImageInfo(reader)["calibration"] == "Uncalibrated"


@pytest.mark.parametrize("payload", [None, b"damaged"])
def test_attributes_that_are_lost_are_those_of_the_frames(
    payload: bytes | None,
) -> None:
    name = "ImageAttributesLV!"
    lost = (
        replace(SMALL, omit_chunks=frozenset({name}))
        if payload is None
        else replace(SMALL, extra_chunks={name: payload})
    )
    with limnd2.Nd2Reader(build(SMALL).data) as reader:
        expected = reader.imageAttributes
    with limnd2.Nd2Reader(build(lost).data) as reader:
        found = reader.imageAttributes
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        assert reader.image(2).any()


def test_a_bare_file_of_three_bytes_a_pixel_is_rgb() -> None:
    spec = SyntheticSpec(
        channels=(ChannelSpec("HE", components=3),),
        dtype="uint8",
        metadata="none",
        frame_count=1,
    )
    with limnd2.Nd2Reader(build(spec).data) as reader:
        assert reader.is8bitRgb
        (plane,) = reader.pictureMetadata.channels
        assert (plane.sDescription, plane.uiCompCount, plane.isBrightfield) == (
            "RGB",
            3,
            True,
        )


@pytest.mark.parametrize("tiling", [None, (8, 5)])
def test_delayed_images_are_the_images(tiling: tuple[int, int] | None) -> None:
    points = (Point(0.0, 0.0), Point(1.0, 1.0))
    spec = SyntheticSpec(
        loops=(PositionLoop(points), TimeLoop(2), ZLoop(3)),
        channels=(ChannelSpec("DAPI"), ChannelSpec("GFP")),
        width=21,
        height=13,
    )
    file = build(spec)
    with limnd2.Nd2Reader(file.data) as reader:
        lazy = reader.delayedImageData(tiling=tiling)
        assert lazy.shape == reader.imageDataShape == (2, 2, 3, 13, 21, 2)
        indexes = reader.generateLoopIndexes(named=True)
    whole = lazy.compute()
    for number, at in enumerate(indexes):
        expected = file.frames[number]
        np.testing.assert_array_equal(whole[at["t"], at["m"], at["z"]], expected)


def test_xml_metadata_are_told_in_the_names_of_version_3(
    version2_file: Callable[..., Any],
) -> None:
    with limnd2.Nd2Reader(version2_file().data) as reader:
        assert reader.version == (2, 1)
        assert reader.dimensionSizes() == {"t": 2, "m": 2, "z": 3}
        assert reader.experiment is not None
        assert reader.experiment.dims == {"t": 2, "m": 2, "z": 3}
        assert reader.imageAttributes.uiBpcSignificant == 14
        names = reader.pictureMetadata.channelNames
        document = reader.chunker.state.document
        assert names == [channel.name for channel in document.channels]
        again = limnd2.PictureMetadata.from_lv(reader.pictureMetadata.to_lv())
        assert again.channelNames == names


def test_format_1_is_read() -> None:
    file = build_legacy(LegacySpec())
    with limnd2.Nd2Reader(file.data) as reader:
        assert reader.version == (1, 0)
        whole = reader.image(0)
        assert whole.shape == reader.imageAttributes.shape
        np.testing.assert_array_equal(
            reader.image(0, rect=(1, 2, 3, 4)), whole[2:6, 1:4]
        )


@pytest.mark.parametrize(
    "kind", ["str", "path", "bytes", "memoryview", "file", "store"]
)
def test_files_are_taken_in_every_form(kind: str, tmp_path: Path) -> None:
    file = build(SMALL)
    path = file.save(tmp_path / "a.nd2")
    forms: dict[str, Any] = {
        "str": str(path),
        "path": path,
        "bytes": file.data,
        "memoryview": memoryview(file.data),
        "file": path.open("rb"),
        "store": limnd2.FileStore(path),
    }
    with forms["file"], limnd2.Nd2Reader(forms[kind]) as reader:
        np.testing.assert_array_equal(reader.image(1), file.frames[1])
        assert reader.store.sizeOnDisk == len(file.data)


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        limnd2.Nd2Reader(tmp_path / "nothing.nd2")
    (tmp_path / "a.nd2").write_bytes(b"something else" * 9)
    with pytest.raises(limnd2.NotNd2Format) as told:
        limnd2.Nd2Reader(tmp_path / "a.nd2")
    assert "Not a valid ND2 file format" in told.value.message
    with pytest.raises(ValueError, match="argument 'file' expected"):
        limnd2.Nd2Reader(3)


def test_unknown_arguments_are_refused() -> None:
    data = build(SMALL).data
    with pytest.raises(TypeError, match="unknown chunker_kwargs with_image_atributes"):
        limnd2.Nd2Reader(data, chunker_kwargs={"with_image_atributes": None})
    other = limnd2.ImageAttributes(uiWidth=1, uiHeight=1, uiComp=1, uiBpcInMemory=8)
    given = {"with_image_attributes": other}
    with limnd2.Nd2Reader(data, chunker_kwargs=given) as reader:
        assert reader.imageAttributes is other


def test_chunks_are_given_by_name() -> None:
    with limnd2.Nd2Reader(build(SMALL).data) as reader:
        payload = reader.chunk("ImageAttributesLV!")
        assert payload is not None
        assert reader.chunk(b"ImageAttributesLV") == payload
        assert limnd2.ImageAttributes.from_lv(payload) == reader.imageAttributes
        assert reader.chunk("nothing!") is None
        assert b"ImageAttributesLV!" in reader.chunker.chunk_names
        with pytest.raises(limnd2.UnexpectedCallError, match="ImageDataSeq"):
            reader.chunk("ImageDataSeq|0!")
