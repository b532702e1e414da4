"""`Nd2Writer` of files that exist: it adds when asked to, and can always go back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import nd2
import numpy as np
import pytest

from limnd2_xr.compat.limnd2.attributes import (
    ImageAttributes,
    ImageAttributesCompression,
)
from limnd2_xr.compat.limnd2.experiment_factory import ExperimentFactory
from limnd2_xr.compat.limnd2.metadata_factory import MetadataFactory
from limnd2_xr.compat.limnd2.reader import Nd2Reader
from limnd2_xr.compat.limnd2.writer import Nd2Writer
from limnd2_xr.errors import StaleFile, UnsupportedFeature
from limnd2_xr.frames.verify import verify
from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

H, W = 12, 10


def picture(number: int) -> NDArray[Any]:
    return np.random.default_rng(number).integers(0, 999, (H, W, 1)).astype("uint16")


@pytest.fixture(params=[False, True], ids=["plain", "lossless"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    attributes = ImageAttributes.create(H, W, 1, 16, 3)
    if request.param:
        lossless = ImageAttributesCompression.ictLossLess
        attributes = replace(attributes, eCompression=lossless)
    made = tmp_path / "a.nd2"
    with Nd2Writer(made) as writer:
        writer.imageAttributes = attributes
        for number in range(3):
            writer.setImage(number, picture(number), acqtime=number * 10.0)
        writer.setChunk("CustomData|Mine!", b"mine")
        writer.experiment = ExperimentFactory(t=3)()
    return made


def images(path: Path) -> list[NDArray[Any]]:
    with Nd2Reader(path) as reader:
        return [reader.image(i) for i in range(reader.imageAttributes.frameCount)]


def alone(path: Path) -> bool:
    return [one.name for one in path.parent.iterdir()] == [path.name]


def test_without_a_change_not_a_byte_changes(path: Path) -> None:
    before = path.read_bytes()
    with Nd2Writer(path, append=True) as writer:
        assert writer.imageAttributes.frameCount == 3
        assert writer.experiment is not None
        assert writer.pictureMetadata.channelNames == ["Mono"]
        assert np.array_equal(writer.chunker.image(1), picture(1))
        assert writer.chunker.chunk("CustomData|Mine!") == b"mine"
    assert path.read_bytes() == before


def test_frames_are_added_and_replaced(path: Path) -> None:
    with Nd2Writer(path, append=True) as writer:
        writer.imageAttributes = replace(writer.imageAttributes, uiSequenceCount=5)
        for number in (4, 3, 1):
            writer.setImage(number, picture(number + 10), acqtime=number + 100.0)
        writer.experiment = ExperimentFactory(t=5)()
        assert np.array_equal(writer.chunker.image(1), picture(11))
    found = images(path)
    assert [
        np.array_equal(a, picture(i))
        for a, i in zip(found, (0, 11, 2, 13, 14), strict=True)
    ] == [True] * 5
    with Nd2Reader(path) as reader:
        assert reader.acqTimes.tolist() == [0.0, 101.0, 20.0, 103.0, 104.0]
        assert reader.chunk("CustomData|Mine!") == b"mine"
    with nd2.ND2File(path) as file:
        assert np.array_equal(file.asarray()[3], picture(13)[:, :, 0])
    assert verify(path).is_sound
    assert alone(path)


def test_additions_that_are_forgotten_are_told(path: Path) -> None:
    before = path.read_bytes()
    writer = Nd2Writer(path, append=True)
    writer.setImage(1, picture(11))
    with pytest.warns(UserWarning, match="1 frame was discarded.*is as it was"):
        del writer
    writer = Nd2Writer(path, append=True)
    writer.pictureMetadata = MetadataFactory([{"name": "new"}])()
    with pytest.warns(UserWarning, match="0 frames were discarded.*is as it was"):
        del writer
    writer = Nd2Writer(path, append=True)
    assert writer.imageAttributes.frameCount == 3
    del writer  # it only looked
    assert path.read_bytes() == before
    assert alone(path)


def test_of_two_that_add_the_second_hears_of_the_first(path: Path) -> None:
    first, second, idle = (Nd2Writer(path, append=True) for _ in range(3))
    for number, writer in enumerate((first, second)):
        writer.imageAttributes = replace(writer.imageAttributes, uiSequenceCount=4)
        writer.experiment = ExperimentFactory(t=4)()
        writer.setImage(3, picture(number + 10))
    first.finalize()
    before = path.read_bytes()
    with pytest.raises(StaleFile, match="nothing was added"):
        second.finalize()
    second.rollback()
    idle.finalize()  # which changes nothing
    assert path.read_bytes() == before
    assert np.array_equal(images(path)[3], picture(10))
    assert alone(path)


def test_tiles_go_into_a_copy_of_the_frame(path: Path) -> None:
    with Nd2Writer(path, append=True) as writer:
        if writer.imageAttributes.eCompression != ImageAttributesCompression.ictNone:
            with pytest.raises(ValueError, match="not compressed"):
                writer.setImageTile(1, 2, 3, np.full((4, 5), 7, "uint16"))
            return
        writer.setImageTile(1, 2, 3, np.full((4, 5), 7, "uint16"))
    expected = picture(1)
    expected[3:7, 2:7] = 7
    assert np.array_equal(images(path)[1], expected)
    with Nd2Reader(path) as reader:
        assert reader.acqTimes.tolist() == [0.0, 10.0, 20.0]


def test_metadata_are_replaced(path: Path) -> None:
    with Nd2Writer(path, append=True) as writer:
        factory = MetadataFactory([{"name": "new"}], pixel_calibration=0.5)
        writer.pictureMetadata = factory()
        writer.experiment = ExperimentFactory(z=3)()
        writer.setChunk("CustomData|Mine!", b"other")
    with nd2.ND2File(path) as file:
        assert file.sizes == {"Z": 3, "Y": H, "X": W}
        assert file.voxel_size().x == 0.5
    with Nd2Reader(path) as reader:
        assert reader.pictureMetadata.channelNames == ["new"]
        assert reader.imageTextInfo is not None
        lines = reader.imageTextInfo.sDescription.splitlines()
        assert [line for line in lines if "Loop" in line or "Dim" in line] == [
            "Dimensions: Z(3)"
        ]
        assert reader.chunk("CustomData|Mine!") == b"other"
        assert reader.acqTimes.tolist() == [0.0, 10.0, 20.0]
    assert verify(path).is_sound


def fail(writer: Nd2Writer) -> None:
    writer.setImage(0, picture(9))
    writer.setChunk("CustomData|Mine!", b"other")
    raise ZeroDivisionError


def test_an_exception_leaves_the_file_as_it_was(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), Nd2Writer(path, append=True) as writer:
        fail(writer)
    assert path.read_bytes() == before
    assert alone(path)
    writer = Nd2Writer(path, append=True)
    writer.setImage(0, picture(9))
    writer.rollback()
    assert path.read_bytes() == before
    assert alone(path)


@pytest.mark.parametrize(
    ("count", "numbers", "message"),
    [
        (5, [3], "1 of 5 frames were not written: 4"),
        (4, [3], "3 steps, but there are 4 frames"),
        (2, [], "there are 3 frames, more than 2"),
    ],
)
def test_what_does_not_fit_is_refused(
    path: Path, count: int, numbers: list[int], message: str
) -> None:
    before = path.read_bytes()
    writer = Nd2Writer(path, append=True)
    writer.imageAttributes = replace(writer.imageAttributes, uiSequenceCount=count)
    for number in numbers:
        writer.setImage(number, picture(number))
    with pytest.raises(ValueError, match=message):
        writer.finalize()
    with pytest.raises(ValueError, match="frames are stored as"):
        writer.imageAttributes = ImageAttributes.create(H, W, 2, 16, 3)
    writer.rollback()
    assert path.read_bytes() == before


def test_frames_that_lack_what_was_recorded_of_the_others(tmp_path: Path) -> None:
    path = build(SyntheticSpec(loops=(TimeLoop(2),), width=W, height=H)).save(
        tmp_path / "a.nd2"
    )
    writer = Nd2Writer(path, append=True)
    writer.imageAttributes = replace(writer.imageAttributes, uiSequenceCount=3)
    writer.setImage(2, picture(0))
    writer.experiment = ExperimentFactory(t=3)()
    with pytest.raises(ValueError, match="recorded for each of its 2 frames"):
        writer.finalize()
    writer.rollback()


def test_other_formats_are_not_added_to(tmp_path: Path) -> None:
    spec = SyntheticSpec(width=W, height=H, version="2.1")
    path = build(spec).save(tmp_path / "a.nd2")
    before = path.read_bytes()
    with pytest.raises(UnsupportedFeature, match=r"2\.1 is not added to"):
        Nd2Writer(path, append=True)
    assert path.read_bytes() == before
