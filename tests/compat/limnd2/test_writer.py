"""`Nd2Writer`: what it takes and what it refuses, row by row of the vendor's behaviour."""

from __future__ import annotations

import errno
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import nd2
import numpy as np
import pytest

from limnd2_xr.compat.limnd2.attributes import (
    ImageAttributes,
    ImageAttributesCompression,
)
from limnd2_xr.compat.limnd2.base import (
    UnexpectedCallError,
)
from limnd2_xr.compat.limnd2.experiment_factory import ExperimentFactory
from limnd2_xr.compat.limnd2.metadata_factory import MetadataFactory
from limnd2_xr.compat.limnd2.reader import Nd2Reader
from limnd2_xr.compat.limnd2.writer import Nd2Writer
from limnd2_xr.container.sink import PartialFile
from limnd2_xr.frames.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

H, W = 20, 31


def attributes(
    count: Any = 1, components: int = 2, bits: int = 16, **fields: Any
) -> ImageAttributes:
    made = ImageAttributes.create(
        height=H,
        width=W,
        component_count=components,
        bits=bits,
        sequence_count=count,
    )
    return replace(made, **fields)


def picture(number: int, components: int = 2, dtype: str = "uint16") -> NDArray[Any]:
    rng = np.random.default_rng(number)
    return rng.integers(0, 200, (H, W, components)).astype(dtype)


def write(
    path: Path, like: ImageAttributes, numbers: Iterable[int], **more: Any
) -> Path:
    with Nd2Writer(path, **more) as writer:
        writer.imageAttributes = like
        for number in numbers:
            writer.setImage(
                number, picture(number, like.uiComp, np.dtype(like.dtype).name)
            )
    return path


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.nd2"


LOSSLESS: dict[str, Any] = {"eCompression": ImageAttributesCompression.ictLossLess}


@pytest.mark.parametrize("fields", [{}, LOSSLESS], ids=["plain", "lossless"])
@pytest.mark.parametrize(
    ("components", "bits"), [(1, 8), (3, 8), (2, 12), (2, 16), (1, 32)]
)
def test_frames_in_any_order_are_read_by_nd2_and_by_us(
    path: Path, fields: dict[str, Any], components: int, bits: int
) -> None:
    like = attributes(4, components, bits, **fields)
    write(path, like, [1, 3, 0, 2])
    expected = [picture(i, components, np.dtype(like.dtype).name) for i in range(4)]
    with Nd2Reader(path) as reader:
        assert reader.imageAttributes.uiBpcSignificant == bits
        assert [reader.image(i).tolist() for i in range(4)] == [
            image.tolist() for image in expected
        ]
    with nd2.ND2File(path) as file:
        found = file.asarray().reshape(4, components, H, W)
    assert np.array_equal(found, np.stack(expected).transpose(0, 3, 1, 2))
    assert verify(path).is_sound


def test_lossless_is_smaller(path: Path, tmp_path: Path) -> None:
    like = ImageAttributes.create(512, 512, 1, 16, 1)
    flat = np.zeros((512, 512, 1), "uint16")
    for name, made in (("a", like), ("b", replace(like, **LOSSLESS))):
        with Nd2Writer(tmp_path / name) as writer:
            writer.imageAttributes = made
            writer.setImage(0, flat)
    sizes = [(tmp_path / name).stat().st_size for name in "ab"]
    assert sizes[0] - sizes[1] > 500_000


def test_images_need_attributes_first(path: Path) -> None:
    with Nd2Writer(path) as writer:
        with pytest.raises(RuntimeError, match="Missing ImageAttributes"):
            writer.setImage(0, picture(0))
        with pytest.raises(RuntimeError, match="Missing PictureMetadata"):
            _ = writer.pictureMetadata
        assert writer.experiment is None
        writer.imageAttributes = None
        with pytest.raises(RuntimeError, match="Missing ImageAttributes"):
            _ = writer.imageAttributes
        writer.rollback()


@pytest.mark.parametrize("count", [0, ...])
@pytest.mark.parametrize("assign", [False, True])
def test_streaming_without_knowing_how_many_frames_come(
    path: Path, count: Any, assign: bool
) -> None:
    given = {"with_image_attributes": attributes(count)}
    with Nd2Writer(path, chunker_kwargs=given) as writer:
        for number in range(3):
            writer.setImage(number, picture(number))
        if assign:
            writer.imageAttributes = attributes(3)
    with Nd2Reader(path) as reader:
        assert reader.imageAttributes.frameCount == 3
        assert np.array_equal(reader.image(2), picture(2))


def test_metadata_are_made_up_of_nothing_where_none_are_given(path: Path) -> None:
    write(path, attributes(2), [0, 1])
    with Nd2Reader(path) as reader:
        assert reader.pictureMetadata.channelNames == ["Channel 1", "Channel 2"]
        assert not reader.pictureMetadata.bCalibrated
        assert reader.dimensionSizes() == {"t": 2}
        assert not np.isfinite(reader.acqTimes).any()
    with nd2.ND2File(path) as file:
        assert file.metadata.channels is not None
        assert [c.channel.name for c in file.metadata.channels] == [
            "Channel 1",
            "Channel 2",
        ]


def test_missing_frames(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 of 3 frames were not written: 0, 2"):
        write(path, attributes(3), [1])
    assert leftovers(tmp_path) == []
    write(path, attributes(3, **LOSSLESS), [1], missing="zeros")
    with Nd2Reader(path) as reader:
        assert [bool(reader.image(i).any()) for i in range(3)] == [False, True, False]
    assert verify(path).is_sound
    with pytest.raises(ValueError, match="'raise' or 'zeros'"):
        Nd2Writer(path, missing="no")  # type: ignore[arg-type]


def test_more_frames_than_announced(path: Path) -> None:
    given = {"with_image_attributes": attributes(0)}
    writer = Nd2Writer(path, chunker_kwargs=given)
    writer.setImage(0, picture(0))
    writer.setImage(1, picture(1))
    writer.imageAttributes = attributes(1)
    with pytest.raises(ValueError, match="shall have 1 frames, but there is frame 1"):
        writer.finalize()
    writer.rollback()


def test_loops_and_planes_have_to_fit(path: Path) -> None:
    experiment = ExperimentFactory(t=3, z=2)()
    with pytest.raises(ValueError, match="3 x 2 steps, but there are 10 frames"):
        fill(path, 10, experiment=experiment)
    planes = MetadataFactory([{}])()
    with pytest.raises(
        ValueError, match=r"1 planes .* 1 components, but the frames have 2"
    ):
        fill(path, 1, pictureMetadata=planes)
    fill(path, 6, experiment=experiment, pictureMetadata=MetadataFactory([{}, {}])())
    assert path.exists()


def fill(path: Path, count: int, **assigned: Any) -> None:
    with Nd2Writer(path) as writer:
        writer.imageAttributes = attributes(count)
        for name, value in assigned.items():
            setattr(writer, name, value)
        for number in range(count):
            writer.setImage(number, picture(number))


@pytest.mark.parametrize("index", [-1, 1, 99])
def test_frames_that_the_file_shall_not_have(path: Path, index: int) -> None:
    with Nd2Writer(path) as writer:
        writer.imageAttributes = attributes(1)
        with pytest.raises(IndexError, match=f"no frame {index}"):
            writer.setImage(index, picture(0))
        writer.setImage(np.int64(0), picture(0))  # type: ignore[arg-type]


@pytest.mark.parametrize("fields", [{}, LOSSLESS], ids=["plain", "lossless"])
def test_the_last_of_several_images_counts(path: Path, fields: dict[str, Any]) -> None:
    write(path, attributes(2, **fields), [0, 1])
    once = path.stat().st_size
    with Nd2Writer(path, append=False) as writer:
        writer.imageAttributes = attributes(2, **fields)
        for number in (1, 1, 0, 1):
            writer.setImage(number, picture(7))
    with Nd2Reader(path) as reader:
        assert np.array_equal(reader.image(1), picture(7))
    assert verify(path).is_sound
    assert fields or path.stat().st_size <= once + 8192


def test_times_are_kept_where_readers_look_for_them(path: Path) -> None:
    with Nd2Writer(path) as writer:
        writer.imageAttributes = attributes(3)
        writer.chunker.setImage(0, picture(0), acqtime=0.0)
        writer.setImage(1, picture(1), acqtime=250.5)
        writer.chunker.setImage(2, picture(2))
    with Nd2Reader(path) as reader:
        assert np.array_equal(reader.acqTimes, [0.0, 250.5, np.nan], equal_nan=True)
    with nd2.ND2File(path) as file:
        frame = file.frame_metadata(1)
        assert not isinstance(frame, dict)
        assert frame.channels is not None
        assert frame.channels[0].time.relativeTimeMs == 250.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"eCompression": ImageAttributesCompression.ictLossy}, "lossy"),
        ({"ePixelType": 0}, "int16"),
        ({"uiBpcInMemory": 32, "uiBpcSignificant": 32}, "uint32"),
        ({"uiBpcInMemory": 24}, "24"),
        ({"uiBpcSignificant": 17}, "17 significant"),
        ({"uiWidthBytes": 8}, "uiWidthBytes"),
        ({"uiWidth": 0}, "uiWidth"),
        ({"uiComp": 0}, "uiComp"),
    ],
)
def test_frames_that_no_file_holds(
    path: Path, fields: dict[str, Any], message: str
) -> None:
    with Nd2Writer(path) as writer:
        with pytest.raises(ValueError, match=message):
            writer.imageAttributes = attributes(1, **fields)
        writer.rollback()


def test_frames_cannot_change_their_shape(path: Path) -> None:
    with Nd2Writer(path) as writer:
        writer.imageAttributes = attributes(1)
        writer.setImage(0, picture(0))
        with pytest.raises(ValueError, match="frames are stored as") as told:
            writer.imageAttributes = attributes(1, components=1)
        writer.rollback()
    text = str(told.value)
    assert "20 x 31 pixels of 2 components, uint16 with 16 bits, not compress" in text
    assert "others of 20 x 31 pixels of 1 components" in text
    assert "PixelLayout" not in text


@pytest.mark.parametrize("level", [-1, 10, 22, 2.5, float("nan")])
def test_levels_that_zlib_has_not(path: Path, level: float) -> None:
    like = attributes(1, dCompressionParam=level, **LOSSLESS)
    with Nd2Writer(path) as writer:
        with pytest.raises(ValueError, match=r"dCompressionParam is .*1 to 9, or 0"):
            writer.imageAttributes = like
        writer.imageAttributes = replace(like, dCompressionParam=9.0)
        writer.rollback()
    none = ImageAttributesCompression.ictNone
    write(path, replace(like, eCompression=none), [0])  # where it says nothing


def test_metadata_of_another_kind(path: Path) -> None:
    factories = {
        "experiment": ExperimentFactory(t=2),
        "pictureMetadata": MetadataFactory(),
    }
    with Nd2Writer(path) as writer:
        for name, factory in factories.items():
            with pytest.raises(
                TypeError, match=f"^{name} has to be .*, not .*Factory: call"
            ):
                setattr(writer, name, factory)
        with pytest.raises(TypeError, match="has to be ImageAttributes, not dict"):
            writer.imageAttributes = dict(attributes(1))  # type: ignore[assignment]
        writer.rollback()


def test_wide_rows_stay_wide(path: Path) -> None:
    write(path, attributes(2, uiWidthBytes=160), [1, 0])
    with Nd2Reader(path) as reader:
        assert reader.imageAttributes.uiWidthBytes == 160
        assert np.array_equal(reader.image(1), picture(1))
    assert verify(path).is_sound


def test_unknown_arguments_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="with_attributes"):
        Nd2Writer(path, chunker_kwargs={"with_attributes": attributes(1)})
    with pytest.raises(TypeError, match="has to be ImageAttributes, not int"):
        Nd2Writer(path, chunker_kwargs={"with_image_attributes": 3})
    assert leftovers(tmp_path) == []


def test_chunks(path: Path) -> None:
    experiment = ExperimentFactory(z=2)()
    assert experiment is not None
    with Nd2Writer(path) as writer:
        writer.setChunk(b"ImageAttributesLV!", attributes(2).to_lv())
        writer.setChunk("ImageMetadataLV!", experiment.to_lv())
        writer.setChunk("CustomData|Mine!", b"\x01\x02")
        writer.setChunk("CustomData|Mine!", memoryview(b"\x03"))
        assert writer.chunker.chunk("CustomData|Mine") == b"\x03"
        assert writer.chunker.chunk("no!") is None
        assert writer.imageAttributes.uiWidth == W
        for name in (
            "CustomData|Mine",
            "a!b!",
            "ä€!",
            "ND2 FILEMAP SIGNATURE NAME 0001!",
        ):
            with pytest.raises(ValueError, match="chunk"):
                writer.setChunk(name, b"")
        for name in ("ImageDataSeq|0!", "CustomDataSeq|TiledRasterBinaryData_1_0_0|0!"):
            with pytest.raises(UnexpectedCallError):
                writer.setChunk(name, b"")
        for number in range(2):
            writer.setImage(number, picture(number))
        assert np.array_equal(
            writer.chunker.image(1, rect=(2, 3, 10, 5)), picture(1)[3:8, 2:12]
        )
        with pytest.raises(IndexError):
            writer.chunker.image(2)
        with pytest.raises(ValueError, match="rect is x, y, width and height"):
            writer.chunker.image(1, rect=(2, 3, 4))  # type: ignore[arg-type]
    with Nd2Reader(path) as reader:
        assert reader.chunk("CustomData|Mine!") == b"\x03"
        assert reader.dimensionSizes() == {"z": 2}


def test_wells(path: Path) -> None:
    item = {"seqIndex": 0, "wellName": "B3", "wellRowIndex": 1, "wellColIndex": 2}
    with Nd2Writer(path) as writer:
        writer.imageAttributes = attributes(1)
        writer.setImage(0, picture(0))
        writer.setWellplate(desc={"name": "old", "rows": 1, "columns": 1, "more": 1})
        writer.setWellplate(
            desc={"name": "plate", "rows": 8, "columns": 12}, frame_info=[item]
        )
        with pytest.raises(TypeError, match="not int"):
            writer.setWellplateDesc(3)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="not str"):
            writer.setWellplateFrameInfo("A1")
    with Nd2Reader(path) as reader:
        assert reader.wellplateDesc is not None
        assert reader.wellplateDesc.name == "plate"
        assert reader.wellplateFrameInfo is not None
        assert reader.wellplateFrameInfo[0].wellName == "B3"


@pytest.mark.parametrize("calls", range(1, 30, 4))
def test_a_full_disk_leaves_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    write_at = PartialFile.write_at
    left = [calls]

    def full(partial: PartialFile, offset: int, *buffers: Any) -> None:
        left[0] -= 1
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_at(partial, offset, *buffers)

    monkeypatch.setattr(PartialFile, "write_at", full)
    with suppress(OSError):
        write(path, attributes(8), [1, 0, *range(2, 8)])
    monkeypatch.undo()
    assert leftovers(tmp_path) == (["out.nd2"] if left[0] > 0 else [])
