"""`Nd2Writer` stores images as they are, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from limnd2_xr.compat.limnd2.attributes import ImageAttributes
from limnd2_xr.compat.limnd2.reader import Nd2Reader
from limnd2_xr.compat.limnd2.writer import Nd2Writer

if TYPE_CHECKING:
    from pathlib import Path

H, W = 20, 31


def attributes(count: int = 1, components: int = 2, bits: int = 16) -> ImageAttributes:
    return ImageAttributes.create(H, W, components, bits, count)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.nd2"


NOT_STORED: list[tuple[int, Any]] = [
    (16, np.full((H, W, 2), 70000, "int32")),
    (16, np.full((H, W, 2), -1, "int32")),
    (16, np.full((H, W, 2), -1, "int8")),
    (8, np.full((H, W, 2), 256, "uint16")),
    (16, np.full((H, W, 2), 1.9)),
    (16, np.full((H, W, 2), np.nan)),
    (16, np.full((H, W, 2), np.inf)),
    (16, np.ones((H, W, 2), "complex64")),
    (16, np.ones((H, W, 2), "bool")),
    (16, np.full((H, W, 2), "a")),
    (12, np.full((H, W, 2), 4096, "uint16")),
    (12, np.full((H, W, 2), 65541, "int32")),
    (32, np.full((H, W, 2), 2**24 + 1, "uint32")),
    (32, np.full((H, W, 2), 0.1, "float64")),
    (32, np.full((H, W, 2), np.nan, "float32")),
    (32, np.full((H, W, 2), 1e300)),
    (16, np.zeros((1, W, 2), "uint16")),
    (16, np.zeros((H, W), "uint16")),
    (16, np.zeros((H, W, 1), "uint16")),
    (16, np.zeros((W, H, 2), "uint16")),
    (16, np.zeros((1, H, W, 2), "uint16")),
    (16, np.zeros((1, 1), "uint16")),
    (16, np.zeros(2, "uint16")),
    (16, np.uint16(3)),
]


@pytest.mark.parametrize(("bits", "data"), NOT_STORED)
def test_what_cannot_be_stored_as_it_is_is_refused(
    path: Path, bits: int, data: Any
) -> None:
    with Nd2Writer(path) as writer:
        writer.imageAttributes = attributes(1, bits=bits)
        writer.setImage(0, np.zeros((H, W, 2), writer.imageAttributes.dtype))
        with pytest.raises(ValueError, match=r"values|shape|finite"):
            writer.setImage(0, data)
    with Nd2Reader(path) as reader:
        assert not reader.image(0).any()


def test_the_range_is_told(path: Path) -> None:
    with Nd2Writer(path) as writer:
        writer.imageAttributes = attributes(1, bits=12)
        with pytest.raises(
            ValueError,
            match=r"^Pixel values out of range for 12-bit data: min=5, max=4096, "
            r"expected \[0, 4095\]$",
        ):
            writer.setImage(
                0, np.linspace(5, 4096, H * W * 2).astype("u2").reshape(H, W, 2)
            )
        writer.rollback()


NOT_FINITE: list[tuple[Any, str]] = [
    (np.full((H, W, 2), np.nan, "float32"), r"frame 0: nan at channel 0, Y 0, X 0"),
    (np.full((H, W, 2), np.nan, "float64"), r"frame 0: nan at channel 0, Y 0, X 0"),
    (np.full((H, W, 2), -np.inf, "float64"), r"frame 0: -inf at channel 0, Y 0, X 0"),
    (
        np.where(np.eye(H, W) > 0, np.inf, 0.5)[:, :, None].repeat(2, 2),
        r"inf at channel 0",
    ),
]


@pytest.mark.parametrize(("data", "message"), NOT_FINITE)
def test_floats_that_are_not_finite_are_refused_as_such(
    path: Path, data: Any, message: str
) -> None:
    with Nd2Writer(path) as writer:
        writer.imageAttributes = attributes(1, bits=32)
        with pytest.raises(ValueError, match=message + r".*nan_to_num") as told:
            writer.setImage(0, data)
        with pytest.raises(ValueError, match="is not finite"):
            writer.setImageTile(0, 0, 0, data[:3, :4])
        writer.rollback()
    assert "astype" not in str(told.value)


def test_the_frame_that_is_not_finite_is_named(path: Path) -> None:
    data = np.full((H, W, 2), 0.1)  # which float32 does not hold, either
    data[3, 4, 1] = np.nan
    with Nd2Writer(path) as writer:
        writer.imageAttributes = attributes(2, bits=32)
        with pytest.raises(ValueError, match="frame 1: nan at channel 1, Y 3, X 4 is"):
            writer.setImage(1, data)
        with pytest.raises(ValueError, match="frame 1: nan at channel 1, Y 3, X 4 is"):
            writer.chunker.setDownsampledImage(
                1, data[: H // 2, : W // 2].astype("f4"), downsample_level=1
            )
        writer.rollback()


def test_floats_that_are_too_large_are_not_to_be_cast(path: Path) -> None:
    with Nd2Writer(path) as writer:
        writer.imageAttributes = attributes(1, bits=32)
        with pytest.raises(ValueError, match=r"beyond 3\.4e\+38 .* scale them"):
            writer.setImage(0, np.full((H, W, 2), 1e300))
        with pytest.raises(ValueError, match=r'with \.astype\("float32"\)'):
            writer.setImage(0, np.full((H, W, 2), 0.1))
        writer.rollback()


def test_what_is_masked_is_not_taken_for_a_value(path: Path) -> None:
    data = np.ma.masked_greater(np.arange(H * W * 2, dtype="u2").reshape(H, W, 2), 9)
    with Nd2Writer(path) as writer:
        writer.imageAttributes = attributes(1)
        with pytest.raises(ValueError, match=r"1230 values .* masked.*\.filled\(0\)"):
            writer.setImage(0, data)
        with pytest.raises(ValueError, match="1230 values"):
            writer.setImageTile(0, 0, 0, data)
        writer.setImage(0, np.ma.MaskedArray(data.data))
    with Nd2Reader(path) as reader:
        assert np.array_equal(reader.image(0), data.data)


EXACT: list[tuple[int, Any]] = [
    (16, np.full((H, W, 2), 65535, "int64")),
    (16, np.full((H, W, 2), 7.0)),
    (8, np.ones((H, W, 2), "bool")),
    (8, np.full((H, W, 2), 255, ">u2")),
    (12, np.full((H, W, 2), 255, "uint8")),
    (32, np.full((H, W, 2), 0.5, "float64")),
    (32, np.full((H, W, 2), 0.1, "float32")),
    (32, np.full((H, W, 2), 2**24, "int32")),
    (16, np.zeros((H, W, 2), "uint16").tolist()),
]


@pytest.mark.parametrize(("bits", "data"), EXACT)
def test_values_that_stay_what_they_are_may_change_their_type(
    path: Path, bits: int, data: Any
) -> None:
    with Nd2Writer(path) as writer:
        writer.imageAttributes = attributes(1, bits=bits)
        writer.setImage(0, data)
    with Nd2Reader(path) as reader:
        assert np.array_equal(reader.image(0), np.asarray(data))


def test_one_component_may_come_without_its_axis(path: Path) -> None:
    ramp = np.arange(H * W, dtype="uint16").reshape(H, W, 1)
    with Nd2Writer(path) as writer:
        writer.imageAttributes = attributes(1, components=1)
        writer.setImage(0, ramp[:, :, 0])
    with Nd2Reader(path) as reader:
        assert np.array_equal(reader.image(0), ramp)
