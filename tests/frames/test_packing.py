"""Pixels to stored bytes: the inverse of reading, and what is refused."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from limnd2_xr.errors import Nd2Error, UnsupportedDtype
from limnd2_xr.frames import packing
from limnd2_xr.frames.layout import PixelLayout
from limnd2_xr.frames.packing import (
    check_dtype,
    check_frames,
    check_level,
    check_values,
    deflate,
    pack_frames,
    packed_blocks,
    row_nbytes,
)
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.testing.chunk_writer import ChunkWriter
from limnd2_xr.testing.metadata_trees import attributes_chunk, leading_chunks
from limnd2_xr.testing.synthetic import ChannelSpec, SyntheticSpec, TimeLoop

if TYPE_CHECKING:
    from numpy.typing import NDArray

DTYPES = ["u1", "<u2", "<f4"]


def layout_of(
    channels: int = 1,
    samples: int = 1,
    dtype: str = "<u2",
    height: int = 4,
    width: int = 5,
) -> PixelLayout:
    return PixelLayout(
        height=height,
        width=width,
        channels=channels,
        samples=samples,
        dtype=np.dtype(dtype),
        row_nbytes=row_nbytes(width, channels * samples, dtype),
    )


def frames_of(layout: PixelLayout, count: int = 2, seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    top = 256 if layout.dtype.itemsize == 1 else 65536
    return rng.integers(0, top, (count, *layout.frame_shape)).astype(layout.dtype)


def stored_by_hand(frame: NDArray[Any], layout: PixelLayout) -> bytes:
    """FORMAT 6.1 and 6.3 word by word: rows, pixels, components, B G R."""
    rows = []
    for y in range(layout.height):
        row = b""
        for x in range(layout.width):
            for c in range(layout.channels):
                values = np.atleast_1d(frame[c, y, x])[::-1]
                row += values.astype(layout.dtype).tobytes()
        rows.append(row.ljust(layout.row_nbytes, b"\0"))
    return b"".join(rows)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("width", [4, 5])
def test_frames_are_stored_as_the_format_says(
    dtype: str, channels: int, samples: int, width: int
) -> None:
    layout = layout_of(channels, samples, dtype, width=width)
    frames = frames_of(layout)
    packed = pack_frames(frames, layout)
    assert packed.shape == (2, layout.frame_nbytes)
    assert packed.dtype == np.uint8
    for row, frame in zip(packed, frames, strict=True):
        assert row.tobytes() == stored_by_hand(frame, layout)


@given(
    st.integers(1, 5),
    st.sampled_from([1, 3]),
    st.sampled_from(DTYPES),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 40),
    st.data(),
)
def test_any_memory_order_gives_the_same_bytes(
    channels: int,
    samples: int,
    dtype: str,
    height: int,
    width: int,
    cached: int,
    data: st.DataObject,
) -> None:
    layout = layout_of(channels, samples, dtype, height, width)
    frames = frames_of(layout, 3)
    order = data.draw(st.permutations(range(frames.ndim)))
    swapped = data.draw(st.booleans())
    shuffled = np.ascontiguousarray(frames.transpose(order)).transpose(
        np.argsort(order)
    )
    if swapped:
        shuffled = shuffled.astype(layout.dtype.newbyteorder(">"))
    if data.draw(st.booleans()):
        wide = np.repeat(shuffled, 2, axis=3)
        shuffled = wide[:, :, :, ::2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_CACHED_NBYTES", cached)
        packed = pack_frames(shuffled, layout)
    for row, frame in zip(packed, frames, strict=True):
        assert row.tobytes() == stored_by_hand(frame, layout)


@given(
    st.sampled_from(["uint8", "uint16", "float32"]),
    st.sampled_from([1, 2, 3, 4, 5, "rgb", "two rgb"]),
    st.integers(1, 33),
    st.integers(1, 7),
    st.sampled_from([None, 1, 2, 3, 6]),
)
def test_what_is_packed_is_read_back(
    dtype: str, kind: int | str, width: int, height: int, level: int | None
) -> None:
    rgb = {"rgb": 1, "two rgb": 2}.get(str(kind), 0)
    count = rgb or int(kind)
    spec = SyntheticSpec(
        loops=(TimeLoop(3),),
        channels=tuple(
            ChannelSpec(f"C{i}", components=3 if rgb else 1) for i in range(count)
        ),
        width=width,
        height=height,
        dtype=dtype,
        compression=None if level is None else "zlib",
    )
    layout = layout_of(count, 3 if rgb else 1, spec.stored_dtype.str, height, width)
    frames = frames_of(layout, 3)
    file = io.BytesIO()
    writer = ChunkWriter(file)
    for name, payload in leading_chunks(spec).items():
        writer.put(name, payload)
    writer.put(*attributes_chunk(spec))
    packed = pack_frames(frames, layout)
    if level is None:
        writer.put_frames(
            np.arange(3),
            np.zeros(3),
            lambda start, stop: packed[start:stop],
            frame_nbytes=layout.frame_nbytes,
        )
    else:
        for i in range(3):
            stream = b"".join(deflate([packed[i]], level))
            writer.put(f"ImageDataSeq|{i}!", bytes(8) + stream, first_nbytes=8)
    writer.finish()
    with FrameStore.open(file.getvalue()) as store:
        pixels = store.read((slice(None),) * len(store.dims))
    assert pixels.dtype == layout.dtype
    np.testing.assert_array_equal(pixels, frames)


def test_one_channel_without_padding_is_not_copied() -> None:
    layout = layout_of(width=6)
    frames = frames_of(layout)
    assert np.shares_memory(pack_frames(frames, layout), frames)
    (block,) = packed_blocks(frames[0], layout)
    assert block[0] == 0
    assert np.shares_memory(block[1], frames)


def test_what_lies_interleaved_in_memory_is_not_copied() -> None:
    layout = layout_of(channels=3, width=4)
    interleaved = np.moveaxis(frames_of(layout), 1, -1).copy()
    frames = np.moveaxis(interleaved, -1, 1)
    assert np.shares_memory(pack_frames(frames, layout), frames)


def test_read_only_and_empty_frames_are_packed() -> None:
    layout = layout_of(width=6)
    frames = frames_of(layout)
    frames.flags.writeable = False
    assert pack_frames(frames, layout).tobytes() == frames.tobytes()
    assert pack_frames(frames[:0], layout).shape == (0, layout.frame_nbytes)


@pytest.mark.parametrize("dtype", ["u1", ">u2", "<u2", ">f4", "=f4"])
def test_types_that_can_be_stored(dtype: str) -> None:
    checked = check_dtype(dtype)
    assert checked == np.dtype(dtype).newbyteorder("<")
    assert checked.byteorder != ">"


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [
        ("?", 'astype("uint8")'),
        ("i1", 'astype("uint16")'),
        ("int64", "scale="),
        ("uint32", 'astype("float32")'),
        ("f2", 'astype("float32")'),
        ("f8", "scale="),
        ("c8", "abs"),
        ("U3", "no pixels"),
        ("M8[ns]", "no pixels"),
        ([("a", "u1")], "no pixels"),
    ],
)
def test_other_types_are_refused_with_advice(dtype: Any, advice: str) -> None:
    with pytest.raises(
        UnsupportedDtype, match="hold uint8, uint16 and float32"
    ) as caught:
        check_dtype(dtype)
    assert advice in str(caught.value)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, Nd2Error)


def test_frames_are_never_cast_or_reshaped() -> None:
    layout = layout_of()
    with pytest.raises(TypeError, match="holds uint16, the frames are uint8"):
        pack_frames(frames_of(layout).astype("u1"), layout)
    for wrong in [(2, 1, 5, 4), (2, 4, 5), (2, 2, 4, 5), (2, 1, 4, 5, 1), ()]:
        with pytest.raises(
            ValueError, match=r"needs \(frames, C, Y, X\) = \(any, 1, 4, 5"
        ):
            check_frames(np.zeros(wrong, "<u2"), layout)
    with pytest.raises(ValueError, match="frames, C, Y, X, S"):
        check_frames(np.zeros((2, 1, 4, 5), "<u2"), layout_of(samples=3))


@pytest.mark.parametrize("cached", [1, 7, 2**20])
@pytest.mark.parametrize("order", ["C", "F"])
def test_each_value_is_checked(
    cached: int, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_CACHED_NBYTES", cached)
    layout = layout_of(channels=2)
    for at in np.ndindex(2, 2, 4, 5):
        frames = np.full((2, *layout.frame_shape), 4095, "<u2", order=order)
        check_values(frames, 12)
        frames[at] = 4096
        with pytest.raises(ValueError, match="4096") as caught:
            check_values(frames, 12, sequence=[30, 31])
        n, c, y, x = at
        assert f"frame {30 + n}: 4096 at channel {c}, Y {y}, X {x} " in str(
            caught.value
        )
        assert "4095" in str(caught.value)
        check_values(frames, 13)
        check_values(frames, 16)


def test_a_bad_value_of_a_sample_is_found() -> None:
    frames = np.zeros((1, 2, 4, 5, 3), "u1")
    check_values(frames, 7)
    frames[0, 1, 2, 3, 1] = 128
    with pytest.raises(ValueError, match="channel 1, Y 2, X 3, S 1 "):
        check_values(frames, 7)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
def test_floats_must_be_finite(value: float, dtype: str) -> None:
    frames = np.zeros((1, 1, 4, 5), dtype)
    frames[0, 0, 0] = np.finfo("f4").max  # their sum is infinite
    check_values(frames, 32)
    frames[0, 0, 3, 2] = value
    with pytest.raises(
        ValueError, match=f"{value} at channel 0, Y 3, X 2 is not finite"
    ):
        check_values(frames, 32)


def test_nothing_to_check_is_fine() -> None:
    check_values(np.zeros((0, 1, 4, 5), "<u2"), 12)
    check_values(np.zeros((3, 1, 0, 5), "<f4"), 32)


@pytest.mark.parametrize("level", [None, *range(1, 10)])
def test_streams_are_zlib_whatever_the_level(level: int | None) -> None:
    layout = layout_of(channels=2, width=300, height=500)
    frame = frames_of(layout)[0]
    pieces = deflate((block for _, block in packed_blocks(frame, layout)), level)
    stored = pack_frames(frame[np.newaxis], layout).tobytes()
    assert zlib.decompress(b"".join(pieces)) == stored
    assert isal_zlib.decompress(b"".join(pieces)) == stored


def test_nothing_compresses_to_an_empty_stream() -> None:
    assert zlib.decompress(b"".join(deflate([]))) == b""


@pytest.mark.parametrize("level", [0, -1, 10, True])
def test_other_levels_are_refused(level: int) -> None:
    with pytest.raises(
        ValueError, match=r"1 \(fast\) to 9 \(small\).*compression=None"
    ):
        check_level(level)


def test_levels_may_be_numpy_integers() -> None:
    assert check_level(np.int64(4)) == 4  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        check_level(2.5)  # type: ignore[arg-type]
