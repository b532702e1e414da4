from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.deepsim import (
    DeepSimImages,
    decode_deepsim,
    deepsim_chunk_name,
    encode_deepsim,
    parse_deepsim_name,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
INT16 = st.integers(-(2**15), 2**15 - 1)
UINT16 = st.integers(0, 2**16 - 1)
RAWS = st.builds(
    DeepSimImages,
    images=hnp.arrays(
        st.sampled_from(["<u2", ">u2"]), hnp.array_shapes(min_dims=3, max_dims=3)
    ),
    calibration_key=TEXTS,
    calibration_xml=TEXTS,
    psf=st.floats(allow_nan=False),
    psf_default=st.floats(allow_nan=False),
    iterations=UINT16,
    iterations_default=UINT16,
    roi_x=INT16,
    roi_y=INT16,
    size=st.none() | st.integers(0, 2**64 - 1),
    reserved=st.binary(min_size=120, max_size=120),
    trailing=st.binary(max_size=9),
)
RAW = DeepSimImages(
    images=np.arange(12, dtype="u2").reshape(2, 2, 3),
    calibration_key="key",
    calibration_xml="<x/>",
    psf=0.5,
    psf_default=0.25,
    iterations=7,
    iterations_default=5,
    roi_x=-1,
    roi_y=300,
    size=1000,
)


@given(RAWS)
def test_raw_images_are_read_back(raw: DeepSimImages) -> None:
    data = encode_deepsim(raw)
    found = decode_deepsim(data)
    np.testing.assert_array_equal(found.images, raw.images)
    for field in fields(raw):
        if field.name not in {"images", "size"}:
            assert getattr(found, field.name) == getattr(raw, field.name)
    assert found.size == (None if raw.size == len(data) else raw.size)
    assert encode_deepsim(found) == data


def test_exact_bytes() -> None:
    # FORMAT 6.7
    head = struct.pack("<QhhhQddHHhh", 1000, 3, 2, 2, 12, 0.5, 0.25, 7, 5, -1, 300)
    expected = head.ljust(166, b"\0") + struct.pack("<QI", 4, 6)
    expected += (
        "key".encode("utf-16-le") + b"<x/>" + np.arange(12, dtype="<u2").tobytes()
    )
    assert encode_deepsim(RAW) == expected


def test_no_images() -> None:
    raw = DeepSimImages(images=np.zeros((0, 2, 3), "u2"))
    data = encode_deepsim(raw)
    assert len(data) == 178
    assert decode_deepsim(data).images.shape == (0, 2, 3)


def test_odd_texts_stay() -> None:
    data = bytearray(encode_deepsim(RAW))
    data[178:180] = b"\x00\xd8"
    data[184:185] = b"\xff"
    assert encode_deepsim(decode_deepsim(bytes(data))) == data


@pytest.mark.parametrize(
    ("offset", "layout", "value", "reason"),
    [
        (8, "<h", 0, "images of 2 x 0 pixels"),
        (8, "<h", 4, "2 x 4 pixels and 12 bytes"),
        (12, "<h", -1, "announces -1"),
        (12, "<h", 9, "end after"),
        (14, "<Q", 2**63, "bytes"),
        (166, "<Q", 2**63, "end after 212 of"),
        (174, "<I", 2**32 - 1, "end after 212 of"),
        (174, "<I", 3, "no text"),
    ],
)
def test_damage_is_refused(offset: int, layout: str, value: int, reason: str) -> None:
    data = bytearray(encode_deepsim(RAW))
    struct.pack_into(layout, data, offset, value)
    with pytest.raises(CorruptChunk, match=reason):
        decode_deepsim(bytes(data))


def test_short_data_are_refused() -> None:
    data = encode_deepsim(RAW)
    for end in range(len(data)):
        with pytest.raises(CorruptChunk):
            decode_deepsim(data[:end])


@given(st.binary(min_size=170, max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(CorruptChunk):
        decode_deepsim(data)


def test_what_cannot_be_stored_is_refused() -> None:
    with pytest.raises(TypeError, match="uint16, not float32"):
        encode_deepsim(replace(RAW, images=np.zeros((1, 1, 1), "f4")))
    for shape in ((2, 3), (1, 0, 3), (1, 2, 0)):
        with pytest.raises(ValueError, match="shape"):
            encode_deepsim(replace(RAW, images=np.zeros(shape, "u2")))
    with pytest.raises(ValueError, match="width 32768"):
        encode_deepsim(replace(RAW, images=np.zeros((1, 1, 2**15), "u2")))
    with pytest.raises(ValueError, match="roi_x 40000"):
        encode_deepsim(replace(RAW, roi_x=40000))
    with pytest.raises(ValueError, match="iterations -1"):
        encode_deepsim(replace(RAW, iterations=-1))
    with pytest.raises(ValueError, match="5 bytes are reserved"):
        encode_deepsim(replace(RAW, reserved=bytes(5)))


@given(st.integers(0, 10**10 - 1), st.integers(0, 10**10 - 1))
def test_names(component: int, frame: int) -> None:
    name = deepsim_chunk_name(component, frame)
    assert parse_deepsim_name(name) == (component, frame)
    assert parse_deepsim_name(name[:-1]) is None
