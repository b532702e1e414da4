"""Stored bytes to pixels: padding, interleave, RGB order, zlib."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.layout import PixelLayout
from limnd2_xr.frames.pixels import copy_pixels, inflate_rows, rows_view

if TYPE_CHECKING:
    from numpy.typing import NDArray


def stored_frame(
    channels: int, samples: int, dtype: str, width: int = 5
) -> tuple[PixelLayout, bytes, NDArray[Any]]:
    """One frame of 4 rows as FORMAT 6.1 lays it out, and its pixels as stored."""
    itemsize = np.dtype(dtype).itemsize
    used = width * channels * samples * itemsize
    layout = PixelLayout(
        height=4,
        width=width,
        channels=channels,
        samples=samples,
        dtype=np.dtype(dtype),
        row_nbytes=-(-used // 4) * 4,
    )
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 200, (4, width, channels, samples)).astype(dtype)
    rows = [pixels[y].tobytes().ljust(layout.row_nbytes, b"\0") for y in range(4)]
    return layout, b"".join(rows), pixels


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<f4"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("width", [4, 5])
@pytest.mark.parametrize(
    "pick",
    [slice(0, 9, 1), slice(0, 9, 2), np.array([0, 0])],
    ids=["all", "step", "array"],
)
def test_components_become_channels(
    channels: int, dtype: str, width: int, pick: Any
) -> None:
    layout, data, pixels = stored_frame(channels, 1, dtype, width)
    pick = slice(0, channels, pick.step) if isinstance(pick, slice) else pick
    expected = pixels[..., 0].transpose(2, 0, 1)[pick]
    out: NDArray[Any] = np.zeros((2, *expected.shape), dtype)
    copy_pixels(
        out,
        rows_view(data, layout, offset=0, shape=(1, 4, width)),
        target=(slice(1, 2, 1), slice(0, 4, 1)),
        source=(slice(0, 4, 1), slice(0, width, 1)),
        channels=pick,
        samples=None,
    )
    np.testing.assert_array_equal(out[1], expected)
    assert not out[0].any()


def test_rgb_is_delivered_in_the_order_red_green_blue() -> None:
    layout, data, pixels = stored_frame(2, 3, "u1")
    out = np.zeros((1, 2, 4, 5, 3), "u1")
    copy_pixels(
        out,
        rows_view(data, layout, offset=0, shape=(1, 4, 5)),
        target=(slice(0, 1, 1), slice(0, 4, 1)),
        source=(slice(0, 4, 1), slice(0, 5, 1)),
        channels=slice(0, 2, 1),
        samples=slice(0, 3, 1),
    )
    # FORMAT 6.3: stored B, G, R.
    np.testing.assert_array_equal(out[0], pixels.transpose(2, 0, 1, 3)[..., ::-1])


def test_frames_and_rows_may_both_go_to_scattered_places() -> None:
    layout, data, pixels = stored_frame(1, 1, "<u2")
    out = np.zeros((3, 1, 4, 5), "<u2")
    copy_pixels(
        out,
        rows_view(data * 2, layout, offset=0, shape=(2, 4, 5), stride=len(data)),
        target=(np.array([2, 0]), np.array([1, 3])),
        source=(np.array([3, 0]), slice(0, 5, 1)),
        channels=slice(0, 1, 1),
        samples=None,
    )
    for frame in (0, 2):
        np.testing.assert_array_equal(out[frame, 0, [1, 3]], pixels[[3, 0], :, 0, 0])
    assert not out[1].any()


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_zlib_is_inflated_up_to_the_last_row_wanted(stop: int) -> None:
    layout, data, _ = stored_frame(1, 1, "<u2")
    assert (
        inflate_rows(zlib.compress(data), layout, stop)
        == data[: stop * layout.row_nbytes]
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: zlib.compress(d)[:-3], "cut short"),
        (lambda d: zlib.compress(d[:-1]), "47 of 48"),
        (lambda d: zlib.compress(d + b"\0"), "more than the 48 bytes"),
        (lambda d: zlib.compress(d + bytes(10**6)), "more than the 48 bytes"),
        (lambda d: b"\xff" * 20, "not a sound zlib stream"),
        (lambda d: b"", "0 of 48"),
    ],
    ids=["cut", "short", "long", "bomb", "garbage", "empty"],
)
def test_damaged_zlib_is_an_error(change: Any, reason: str) -> None:
    layout, data, _ = stored_frame(1, 1, "<u2")
    with pytest.raises(CorruptChunk, match=reason):
        inflate_rows(change(data), layout, layout.height)
