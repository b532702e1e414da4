"""Tiles, smaller copies, masks; and metadata that travel from file to file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.compat.limnd2.attributes import (
    ImageAttributes,
    ImageAttributesCompression,
)
from limnd2_xr.compat.limnd2.base import BinaryIdNotFountError
from limnd2_xr.compat.limnd2.binary import (
    BinaryRasterMetadata,
    BinaryRasterMetadataItem,
)
from limnd2_xr.compat.limnd2.image_input import stored_image
from limnd2_xr.compat.limnd2.reader import Nd2Reader
from limnd2_xr.compat.limnd2.writer import Nd2Writer
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.frames.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

H, W = 20, 31


def attributes(components: int = 2, count: int = 1) -> ImageAttributes:
    return ImageAttributes.create(H, W, components, 16, count)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.nd2"


def test_tiles_make_a_frame(path: Path) -> None:
    expected = np.arange(H * W * 2, dtype="uint16").reshape(H, W, 2)
    expected[15:, 20:] = 0
    with Nd2Writer(path) as writer:
        writer.imageAttributes = attributes(count=2)
        for y in range(0, H, 5):
            for x in range(0, W, 10):
                if (y, x) != (15, 20) and x < 30:
                    tile = expected[y : y + 5, x : x + 10]
                    writer.setImageTile(
                        0, x, y, tile, acqtime=3.0 if x == y == 0 else None
                    )
        writer.chunker.setImageTile(0, 30, 0, expected[:, 30:])
        writer.setImage(1, expected)
        writer.setImageTile(1, 0, 0, np.zeros((1, 1, 2), "uint16"))
    with Nd2Reader(path) as reader:
        assert np.array_equal(reader.image(0), expected)
        assert np.array_equal(reader.acqTimes, [3.0, np.nan], equal_nan=True)
        assert np.array_equal(reader.image(1)[1:], expected[1:])
    assert verify(path).is_sound


BAD_TILES: list[tuple[tuple[int, int, int], Any, type[Exception]]] = [
    ((0, 30, 0), np.zeros((1, 2, 2), "uint16"), ValueError),
    ((0, -1, 0), np.zeros((1, 2, 2), "uint16"), ValueError),
    ((0, 0, 19), np.zeros((2, 2, 2), "uint16"), ValueError),
    ((0, 0, 0), np.zeros((0, 2, 2), "uint16"), ValueError),
    ((0, 0, 0), np.zeros((2, 2), "uint16"), ValueError),
    ((0, 0, 0), np.zeros((2, 2, 1), "uint16"), ValueError),
    ((0, 0, 0), np.zeros(2, "uint16"), ValueError),
    ((0, 0, 0), np.full((2, 2, 2), 70000), ValueError),
    ((1, 0, 0), np.zeros((2, 2, 2), "uint16"), IndexError),
]


@pytest.mark.parametrize(("place", "tile", "error"), BAD_TILES)
def test_tiles_that_do_not_fit(
    path: Path, place: tuple[int, int, int], tile: Any, error: type[Exception]
) -> None:
    writer = Nd2Writer(path)
    writer.imageAttributes = attributes()
    with pytest.raises(error):
        writer.setImageTile(*place, tile)
    writer.rollback()


def test_compressed_frames_have_no_tiles(path: Path) -> None:
    writer = Nd2Writer(path)
    lossless = ImageAttributesCompression.ictLossLess
    writer.imageAttributes = replace(attributes(), eCompression=lossless)
    with pytest.raises(ValueError, match="not compressed"):
        writer.setImageTile(0, 0, 0, np.zeros((2, 2, 2), "uint16"))
    writer.rollback()


def test_smaller_copies(path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 999, (1100, 1040, 1)).astype("u2")
    given = {"with_image_attributes": ImageAttributes.create(1100, 1040, 1, 16, 3)}
    with Nd2Writer(path, chunker_kwargs=given) as writer:
        writer.setImage(0, image)
        writer.chunker.generateAndSetDownsampledImages(0)
        writer.setImage(1, image)
        halved = np.full((550, 520), 5, "uint16")
        writer.chunker.setDownsampledImage(1, halved, downsample_level=1)
        with pytest.raises(ValueError, match="shape"):
            writer.chunker.setDownsampledImage(1, image, downsample_level=1)
        smaller = writer.chunker.image(0, downsample_level=1)
        writer.setImage(2, image)
        writer.chunker.generateAndSetDownsampledImages(2)
        writer.setImage(2, image)  # whose copies are not those of the one before
    with FrameStore.open(path) as store:
        names = [
            name for name, _ in store.state.chunks.items() if "Downsampled" in name
        ]
    assert sorted(names) == [
        "CustomDataSeq|DownsampledColorData_1024|0!",
        "CustomDataSeq|DownsampledColorData_1024|1!",
    ]
    with Nd2Reader(path) as reader:
        assert np.array_equal(reader.image(0, downsample_level=1), smaller)
        assert (reader.image(1, downsample_level=1) == 5).all()
    assert verify(path).is_sound


def test_masks(path: Path) -> None:
    layers = BinaryRasterMetadata(
        [
            BinaryRasterMetadataItem(
                binLayerId=3,
                binName="cells",
                binWidth=W,
                binHeight=H,
                binTileWidth=16,
                binTileHeight=16,
            )
        ]
    )
    labels = np.arange(H * W).reshape(H, W) % 7
    given = {"with_binary_raster_metadata": layers}
    with Nd2Writer(path, chunker_kwargs=given) as writer:
        writer.imageAttributes = attributes()
        writer.setImage(0, np.zeros((H, W, 2), "uint16"))
        writer.chunker.setBinaryRasterData(3, 0, labels)
        writer.chunker.setDownsampledBinaryRasterData(
            3, 0, labels[::2, ::2][:, : W // 2], downsample_level=1
        )
        with pytest.raises(BinaryIdNotFountError):
            writer.chunker.setBinaryRasterData(4, 0, labels)
        for bad in (labels[1:], labels * 1.0, -labels, np.ma.masked_equal(labels, 6)):
            with pytest.raises(ValueError, match=r"labels|masked"):
                writer.chunker.setBinaryRasterData(3, 0, bad)
    with Nd2Reader(path) as reader:
        assert reader.binaryRasterMetadata.binNameList == ["cells"]
        assert np.array_equal(reader.binaryRasterData(3, 0), labels)
    assert verify(path).is_sound


@pytest.mark.realdata
def test_metadata_travel_without_a_loss(each_real: Path, path: Path) -> None:
    with Nd2Reader(each_real) as reader:
        given = reader.imageAttributes
        small = replace(
            given, uiWidth=8, uiHeight=4, uiWidthBytes=0, uiTileWidth=8, uiTileHeight=4
        )
        metadata, experiment = reader.pictureMetadata, reader.experiment
        count = given.uiSequenceCount
        steps = np.prod(experiment.shape()) if experiment is not None else count
    if steps != count or count > 500:
        small = replace(small, uiSequenceCount=1)
        experiment, count = None, 1
    with Nd2Writer(path) as writer:
        writer.imageAttributes = small
        writer.pictureMetadata = metadata
        writer.experiment = experiment
        for number in range(count):
            writer.setImage(number, np.zeros((4, 8, small.uiComp), small.dtype))
    with Nd2Reader(path) as reader:
        assert reader.pictureMetadata.to_tree() == metadata.to_tree()
        if experiment is not None:
            assert reader.experiment is not None
            assert reader.experiment.to_tree() == experiment.to_tree()


VALUES = st.one_of(
    st.integers(-(2**40), 2**40), st.floats(), st.booleans(), st.integers(0, 2**16)
)


@given(VALUES, st.sampled_from([8, 12, 16, 32]))
def test_values_are_stored_as_they_are_or_not_at_all(value: Any, bits: int) -> None:
    like = ImageAttributes.create(1, 1, 1, bits, 1)
    try:
        stored = stored_image(np.array([[[value]]]), like)
    except ValueError:
        whole = isinstance(value, int) or value == round_or_none(value)
        fits = whole and 0 <= value < 2**bits
        if bits == 32:
            fits = float(np.float32(np.clip(value, -1e38, 1e38))) == value
        assert not fits or isinstance(value, bool)
        return
    assert stored.dtype == np.dtype(like.dtype)
    assert stored[0, 0, 0] == value
    assert bits == 32 or 0 <= value < 2**bits


def round_or_none(value: float) -> int | None:
    return round(value) if np.isfinite(value) else None
