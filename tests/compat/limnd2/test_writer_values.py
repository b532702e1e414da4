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
