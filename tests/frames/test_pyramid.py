from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from limnd2_xr.errors import CorruptChunk, UnsupportedDtype
from limnd2_xr.frames.layout import PixelLayout
from limnd2_xr.frames.packing import row_nbytes
from limnd2_xr.frames.pyramid import (
    PyramidLevel,
    decode_level,
    encode_level,
    halve,
    level_chunk_name,
    level_layout,
    parse_level_name,
    pyramid_levels,
    smaller_copies,
    stored_levels,
)


def layout_of(
    height: int, width: int, *, dtype: str = "u2", channels: int = 1, samples: int = 1
) -> PixelLayout:
    return PixelLayout(
        height=height,
        width=width,
        channels=channels,
        samples=samples,
        dtype=np.dtype(dtype),
        row_nbytes=row_nbytes(width, channels * samples, dtype),
        compression="zlib",
    )


LAYOUTS = st.builds(
    layout_of,
    st.integers(1, 9),
    st.integers(1, 9),
    dtype=st.sampled_from(["u1", "u2", "f4"]),
    channels=st.integers(1, 4),
    samples=st.sampled_from([1, 3]),
)


@given(st.data())
def test_each_pixel_is_the_mean_of_four(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(["u1", "<u2", ">u2", "i1", "i2", "f2", "f4"]))
    rgb = data.draw(st.booleans())
    height, width = data.draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
    shape = (2, height, width, *([3] if rgb else []))
    options: dict[str, Any] = {}
    if dtype.startswith("f"):
        options = {"allow_nan": False, "allow_infinity": False}
    pixels = data.draw(
        hnp.arrays(dtype, shape, elements=hnp.from_dtype(np.dtype(dtype), **options))
    )
    found = halve(pixels, rgb=rgb)
    assert found.dtype == pixels.dtype
    assert found.shape == (2, height // 2, width // 2, *([3] if rgb else []))
    for at in np.ndindex(found.shape):
        n, y, x, *s = at
        block = pixels[(n, slice(2 * y, 2 * y + 2), slice(2 * x, 2 * x + 2), *s)]
        mean = sum(Fraction(v) for v in block.ravel().tolist()) / 4
        if dtype.startswith("f"):
            assert found[at] == np.dtype(dtype).type(float(mean))
        else:
            assert found[at] == math.floor(mean)


def test_means_of_what_is_not_finite() -> None:
    pixels = np.array([[np.nan, 1, np.inf, 1], [1, 1, 1, -np.inf]], "f4")
    assert np.isnan(halve(pixels)).all()
    largest = np.full((2, 2), np.finfo("f4").max, "f4")
    assert halve(largest)[0, 0] == largest[0, 0]


@pytest.mark.parametrize("dtype", ["f8", "u4", "i8", "c8", "?"])
def test_frames_are_of_no_other_type(dtype: str) -> None:
    with pytest.raises(UnsupportedDtype, match=str(np.dtype(dtype))):
        halve(np.zeros((2, 2), dtype))


def test_levels_that_the_vendor_stores() -> None:
    def levels(height: int, width: int) -> list[tuple[int, int, int, int]]:
        return [
            (item.level, item.size, item.layout.height, item.layout.width)
            for item in pyramid_levels(layout_of(height, width))
        ]

    assert levels(1024, 1024) == []
    assert levels(1025, 3) == [(1, 512, 512, 1)]
    assert levels(3000, 100) == [(1, 2048, 1500, 50), (2, 1024, 750, 25)]
    assert levels(4096, 4096) == [(1, 2048, 2048, 2048), (2, 1024, 1024, 1024)]
    assert levels(5000, 1) == []
    assert levels(5000, 3) == [(1, 4096, 2500, 1)]


def test_what_is_left_of_a_frame() -> None:
    small = level_layout(layout_of(7, 11, dtype="u1", samples=3), 1)
    assert (small.height, small.width, small.row_nbytes) == (3, 5, 16)
    assert small.compression == "none"
    with pytest.raises(ValueError, match="nothing is left of 7 x 11 pixels at level 3"):
        level_layout(layout_of(7, 11), 3)


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_names(size: int, frame: int) -> None:
    name = level_chunk_name(size, frame)
    if max(size, frame) < 10**10:
        assert parse_level_name(name) == (size, frame)
    assert parse_level_name(f"x{name}") is None
    assert parse_level_name(f"{name}\n") is None


def test_names_of_other_chunks() -> None:
    for name in ("", "ImageDataSeq|0!", "CustomDataSeq|DownsampledColorData_1!"):
        assert parse_level_name(name) is None
    assert parse_level_name("CustomDataSeq|DownsampledColorData_٣|0!") is None


@given(LAYOUTS, st.integers(0, 2**32 - 1))
def test_a_copy_is_read_back(layout: PixelLayout, seed: int) -> None:
    small = level_layout(layout, 0)
    values = np.random.default_rng(seed).integers(0, 255, layout.frame_shape)
    pixels = values.astype(layout.dtype)
    data = encode_level(pixels, small)
    assert len(data) == small.frame_nbytes
    found = decode_level(data, small)
    assert found.flags.writeable
    np.testing.assert_array_equal(found, pixels)
    assert encode_level(found, small) == data


def test_exact_bytes() -> None:
    layout = level_layout(layout_of(2, 4, dtype="u1", samples=3), 1)
    pixels = np.array([[[[1, 2, 3], [4, 5, 6]]]], "u1")
    assert encode_level(pixels, layout) == bytes([3, 2, 1, 6, 5, 4, 0, 0])


def test_damaged_copies_are_refused() -> None:
    layout = level_layout(layout_of(4, 4), 1)
    with pytest.raises(CorruptChunk, match="holds 7 bytes, where 2 x 2 pixels are 8"):
        decode_level(bytes(7), layout)
    with pytest.raises(TypeError, match="the file holds uint16"):
        encode_level(np.zeros((1, 2, 2), "u1"), layout)
    with pytest.raises(ValueError, match="shape"):
        encode_level(np.zeros((1, 2, 3), "u2"), layout)


@given(
    st.integers(513, 9000),
    st.integers(1, 9000),
    st.lists(st.integers(0, 20), min_size=1, unique=True),
    st.booleans(),
)
def test_stored_levels_are_found(
    height: int,
    width: int,
    frames: list[int],
    old: bool,
) -> None:
    layout = layout_of(height, width, channels=2)
    expected = pyramid_levels(layout)
    whole = 1 << (max(height, width) - 1).bit_length()
    chunks: dict[str, int | None] = {"ImageDataSeq|0!": 5}
    for item in expected:
        size = whole >> item.level if old else item.size
        for frame in frames:
            chunks[level_chunk_name(size, frame)] = item.layout.frame_nbytes
    found = stored_levels(chunks, layout)
    assert [(f.level, f.layout) for f in found] == [
        (e.level, e.layout) for e in expected
    ]
    for item in found:
        assert item.frames == tuple(sorted(frames))
        assert item.chunk_name(frames[0]) in chunks


def test_smaller_levels_than_the_vendor_stores_are_found() -> None:
    layout = layout_of(1024, 1024)
    chunks: dict[str, int | None] = {
        level_chunk_name(512, 3): None,
        level_chunk_name(64, 3): level_layout(layout, 4).frame_nbytes,
        level_chunk_name(64, 2): 0,
    }
    assert [(item.level, item.frames) for item in stored_levels(chunks, layout)] == [
        (1, (3,)),
        (4, (2, 3)),
    ]


def test_two_names_for_one_level() -> None:
    layout = layout_of(1025, 4)
    nbytes = level_layout(layout, 1).frame_nbytes
    chunks = dict.fromkeys(
        (
            level_chunk_name(1024, 0),
            level_chunk_name(512, 0),
            level_chunk_name(512, 1),
        ),
        nbytes,
    )
    (found,) = stored_levels(chunks, layout)
    assert (found.level, found.size, found.frames) == (1, 512, (0, 1))


@pytest.mark.parametrize("size", [0, 7, 1024, 2**32, 9_999_999_999])
def test_copies_of_another_image_are_refused(size: int) -> None:
    name = level_chunk_name(size, 4)
    with pytest.raises(CorruptChunk, match="3 bytes are no smaller copy") as error:
        stored_levels({name: 3}, layout_of(1024, 1024))
    assert error.value.chunk == name


def test_copies_are_made_one_from_the_other() -> None:
    layout = layout_of(2050, 2049, dtype="u1", samples=3)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, layout.frame_shape).astype("u1")
    made = list(smaller_copies(pixels, layout))
    assert [level for level, _ in made] == list(pyramid_levels(layout))
    assert isinstance(made[0][0], PyramidLevel)
    once = halve(pixels, rgb=True)
    np.testing.assert_array_equal(made[0][1], once)
    np.testing.assert_array_equal(made[1][1], halve(once, rgb=True))
    for level, copy in made:
        assert len(encode_level(copy, level.layout)) == level.layout.frame_nbytes
