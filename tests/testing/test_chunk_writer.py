from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from limnd2_xr.testing.chunk_writer import ChunkWriter


def test_signature() -> None:
    file = io.BytesIO()
    ChunkWriter(file, version="2.1")
    data = file.getvalue()
    assert len(data) == 4096
    assert data[:16] == struct.pack("<IIQ", 0x0ABECEDA, 32, 64)
    assert data[16:48] == b"ND2 FILE SIGNATURE CHUNK NAME01!"
    assert data[48:].rstrip(b"\0") == b"Ver2.1"


@pytest.mark.parametrize(
    ("length", "nbytes", "name_nbytes", "occupied"),
    [
        (28, 4036, 4140, 8192),  # FORMAT 1.3: 4080 would have fitted
        (28, 4032, 4144 - 4096, 4096),
        (44, 0, 4080, 4096),
    ],
)
def test_payloads_end_on_a_page(
    length: int, nbytes: int, name_nbytes: int, occupied: int
) -> None:
    file = io.BytesIO()
    writer = ChunkWriter(file)
    name = "n" * (length - 1) + "!"
    assert writer.put(name, b"x" * nbytes) == 4096
    data = file.getvalue()
    assert struct.unpack_from("<IIQ", data, 4096) == (0x0ABECEDA, name_nbytes, nbytes)
    assert len(data) == 4096 + occupied
    assert data.endswith(b"x" * nbytes)
    assert data[4096 + 16 :].startswith(name.encode() + bytes(20))


def test_pixels_begin_on_a_page() -> None:
    file = io.BytesIO()
    writer = ChunkWriter(file)
    pixels = np.arange(2 * 4704).astype(np.uint8).reshape(2, 4704)
    writer.put_frames(
        np.array([0, 12]),
        np.array([1.5, 2.5]),
        lambda a, b: pixels[a:b],
        frame_nbytes=4704,
    )
    data = file.getvalue()
    # FORMAT appendix C: 38 x 31 pixels of 2 x 16 bit occupy 12288 bytes.
    assert len(data) == 4096 + 2 * 12288
    for offset, name, time, frame in zip(
        (4096, 16384), (b"0!", b"12!"), (1.5, 2.5), pixels, strict=True
    ):
        head = struct.unpack_from("<IIQ", data, offset)
        assert head == (0x0ABECEDA, 4072, 4712)
        assert data[offset + 16 :].startswith(b"ImageDataSeq|" + name + b"\0")
        assert struct.unpack_from("<d", data, offset + 4088) == (time,)
        assert data[offset + 4096 :].startswith(frame.tobytes() + bytes(3488))


def test_one_frame_at_a_time_gives_the_same_bytes() -> None:
    pixels = np.arange(3 * 40, dtype=np.uint8).reshape(3, 40)
    many, single = io.BytesIO(), io.BytesIO()
    writer = ChunkWriter(many)
    writer.put_frames(
        np.arange(3), np.arange(3.0), lambda a, b: pixels[a:b], frame_nbytes=40
    )
    writer.finish()
    writer = ChunkWriter(single)
    for i, frame in enumerate(pixels):
        payload = struct.pack("<d", i) + frame.tobytes()
        writer.put(f"ImageDataSeq|{i}!", payload, first_nbytes=8)
    writer.finish()
    assert many.getvalue() == single.getvalue()


def test_unlisted_chunks_are_not_in_the_map() -> None:
    file = io.BytesIO()
    writer = ChunkWriter(file)
    writer.put("A!", b"1", listed=False)
    writer.put("A!", b"2")
    writer.finish()
    assert writer.located() == {"A!": (8192, 1)}
    assert file.getvalue().count(b"A!" + struct.pack("<QQ", 8192, 1)) == 1


def test_names_must_fit() -> None:
    writer = ChunkWriter(io.BytesIO())
    with pytest.raises(ValueError, match="LongName! does not fit into 4 bytes"):
        writer.put("LongName!", b"", name_nbytes=4)


def test_a_file_without_chunks() -> None:
    file = io.BytesIO()
    ChunkWriter(file).finish()
    assert len(file.getvalue()) == 4096 + 8192
    assert file.getvalue()[-8:] == struct.pack("<Q", 4096)
