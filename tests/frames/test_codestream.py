"""JPEG 2000 codestreams: headers that lie are found out before anything is decoded."""

from __future__ import annotations

import struct
import sys
import tracemalloc
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.errors import CorruptChunk, UnsupportedFeature
from limnd2_xr.frames.codestream import decode_codestream, parse_header

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 4096, (12, 20), dtype=np.uint16)
U2 = np.dtype("u2")


def encode(image: np.ndarray[Any, Any], **options: Any) -> bytes:
    options = {"level": 0, "codecformat": "j2k", "reversible": True, **options}
    return bytes(imagecodecs.jpeg2k_encode(image, **options))


STREAM = encode(IMAGE)


def patched(at: int, layout: str, *values: int) -> bytes:
    data = bytearray(STREAM)
    struct.pack_into(layout, data, at, *values)
    return bytes(data)


def decode(data: bytes, shape: tuple[int, int] = (12, 20)) -> Any:
    return decode_codestream(data, shape=shape, components=1, dtype=U2)


def test_a_header() -> None:
    header = parse_header(STREAM[:1024])
    assert (header.width, header.height, header.components) == (20, 12, 1)
    assert (header.bits, header.reversible) == (16, True)
    lossy = encode(IMAGE, reversible=False, level=40)
    assert parse_header(lossy).reversible is False
    assert parse_header(encode(IMAGE, bitspersample=12)).bits == 12


@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.booleans())
def test_pixels(height: int, width: int, rgb: bool, wide: bool) -> None:
    dtype = np.dtype(np.uint16 if wide else np.uint8)
    shape = (height, width, 3) if rgb else (height, width)
    image = RNG.integers(0, 256, shape).astype(dtype)
    data = encode(image, resolutions=1)
    found = decode_codestream(
        data, shape=(height, width), components=3 if rgb else 1, dtype=dtype
    )
    np.testing.assert_array_equal(found, image.reshape(height, width, -1))
    assert found.dtype == dtype


def test_bytes_fit_into_words() -> None:
    data = encode(IMAGE.astype(np.uint8))
    found = decode(data)
    assert found.dtype == U2
    np.testing.assert_array_equal(found[..., 0], IMAGE.astype(np.uint8))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no JPEG 2000 codestream"),
        (b"\xff\x4f\xff\x51" + bytes(8), "no JPEG 2000 codestream"),
        (patched(8, ">I", 40000), "an image of 40000 x 12 pixels"),
        (patched(8, ">II", 2**32 - 1, 2**32 - 1), "not 20 x 12 with 1"),
        (patched(8, ">I", 0), "has no size"),
        (patched(24, ">II", 1, 1), "shorter than its own header asks for"),
        (patched(24, ">I", 0), "has no size"),
        (patched(40, ">H", 3), "size marker of the codestream is damaged"),
        (patched(42, ">B", 0x8F), "signed or subsampled"),
        (patched(43, ">B", 2), "signed or subsampled"),
        (patched(42, ">B", 31), "32 bits do not fit"),
        (STREAM[:-200], "damaged"),
    ],
)
def test_damage(data: bytes, reason: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(CorruptChunk, match=reason):
            decode(data)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_absurdly_small_precincts_are_refused() -> None:
    at = STREAM.index(b"\xff\x52")
    length = struct.unpack_from(">H", STREAM, at + 2)[0]
    levels = STREAM[at + 9]
    small = bytearray(STREAM[: at + 2 + length])
    struct.pack_into(">H", small, at + 2, length + levels + 1)
    small[at + 4] |= 1
    small += bytes(levels + 1)  # precincts of one pixel
    data = bytes(small) + STREAM[at + 2 + length :][:100]
    with pytest.raises(CorruptChunk, match="shorter than its own header"):
        decode(data)


@given(st.integers(0, 8 * 100 - 1))
def test_flipped_bits_in_the_header(bit: int) -> None:
    data = bytearray(STREAM)
    data[bit // 8] ^= 1 << bit % 8
    try:
        found = decode(bytes(data))
    except CorruptChunk:
        return
    assert found.shape == (12, 20, 1)


def test_without_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(UnsupportedFeature, match=r'pip install "limnd2-xr\[legacy\]"'):
        decode(STREAM)
