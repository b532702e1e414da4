"""Damaged files: a clear error, or right data with a warning; never anything else."""

from __future__ import annotations

import time
import tracemalloc
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from limnd2_xr.errors import Nd2Error, Nd2Warning
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.testing.strategies import damaged, specs
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    SyntheticFile,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")

PROFILE = settings.default or settings()
MANY = settings(max_examples=15 * PROFILE.max_examples)

SOUND = [
    build(SyntheticSpec(loops=(TimeLoop(4), ZLoop(3)), width=21, height=9)),
    build(SyntheticSpec(loops=(TimeLoop(4),), width=21, height=9, compression="zlib")),
    build(
        SyntheticSpec(
            loops=(ZLoop(3),),
            width=21,
            height=9,
            channels=(ChannelSpec("A"), ChannelSpec("B")),
            metadata="xml",
        )
    ),
]
LIMIT_SECONDS = 5.0


@pytest.fixture(scope="module", autouse=True)
def _imports_are_done() -> None:
    """Have what is imported on first use neither timed nor counted."""
    with xr.open_dataset(SOUND[0].data, engine="nd2") as ds:
        ds.load()


def read_all(data: bytes) -> NDArray[Any] | None:
    """All pixels, or None after a clear error; checks time, memory and the error."""
    began = time.monotonic()
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Nd2Warning)
            with xr.open_dataset(data, engine="nd2") as ds:
                pixels: NDArray[Any] = ds["image"].values
                ds.load()
                assert ds.nd2.metadata is not None
    except Nd2Error as error:
        assert error.path == "<bytes>"  # noqa: PT017 - other errors pass through
        return None
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert time.monotonic() - began < LIMIT_SECONDS
        assert peak < 10 * len(data) + 2**22
    return pixels


@MANY
@given(st.sampled_from(SOUND).flatmap(lambda file: damaged(file.data)))
def test_damaged_file_is_read_or_refused(data: bytes) -> None:
    read_all(data)


@given(specs().map(build), st.data())
def test_any_damaged_file_is_read_or_refused(file: SyntheticFile, data: Any) -> None:
    read_all(data.draw(damaged(file.data)))


@MANY
@given(st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    assert read_all(data) is None
    assert read_all(SOUND[0].data[:4096] + data) is None


@given(st.sampled_from(SOUND), st.data())
def test_truncated_file_gives_the_frames_that_are_whole(
    file: SyntheticFile, data: Any
) -> None:
    """Metadata at the end are lost with the map; what is read must be right."""
    cut = data.draw(st.integers(0, len(file.data) - 1))
    pixels = read_all(file.data[:cut])
    if pixels is None or pixels.shape[-2:] != file.array().shape[-2:]:
        return
    ends = sorted(
        offset + 4096 - 8 + nbytes
        for name, (offset, nbytes) in file.chunks.items()
        if name.startswith("ImageDataSeq|")
    )
    whole = sum(end <= cut for end in ends)
    got = {frame.tobytes() for frame in pixels.reshape(-1, *pixels.shape[-3:])}
    want = {f.transpose(2, 0, 1).tobytes() for f in file.frames[:whole]}
    zeros = np.zeros(pixels.shape[-3:], pixels.dtype).tobytes()
    assert got <= want | {zeros}


@MANY
@given(st.data())
def test_damage_outside_pixels_and_metadata_never_gives_wrong_pixels(data: Any) -> None:
    """A wrong map entry or chunk header may cost a frame, never deliver other bytes."""
    file = SOUND[0]
    map_offset = int.from_bytes(file.data[-8:], "little")
    frames = [
        (offset, nbytes)
        for name, (offset, nbytes) in file.chunks.items()
        if name.startswith("ImageDataSeq|")
    ]
    spans = [(map_offset, len(file.data))]
    spans += [(offset, offset + 4096 - 8) for offset, _ in frames]
    start, stop = data.draw(st.sampled_from(spans))
    bytes_ = bytearray(file.data)
    for _ in range(data.draw(st.integers(1, 3))):
        # Headers and names are at the start of a span, and worth most of the hits.
        at = data.draw(
            st.one_of(
                st.integers(start, min(start + 60, stop - 1)),
                st.integers(start, stop - 1),
            )
        )
        bytes_[at] ^= 1 << data.draw(st.integers(0, 7))
    pixels = read_all(bytes(bytes_))
    if pixels is None:
        return
    truth = file.array()
    inner = truth.shape[1:]
    assert pixels.shape[1:] == inner
    for got, want in zip(
        pixels.reshape(-1, 9, 21), truth.reshape(-1, 9, 21), strict=False
    ):
        assert np.array_equal(got, want) or not got.any()


def test_frame_that_is_not_where_the_map_says_is_named() -> None:
    file = SOUND[0]
    offset, _ = file.chunks["ImageDataSeq|7!"]
    broken = bytearray(file.data)
    broken[offset] ^= 0xFF
    with FrameStore.open(bytes(broken)) as store:
        assert store.read((0, 0, 0, 0, 0)).shape == ()
        with pytest.raises(
            Nd2Error, match=rf"<bytes>: chunk ImageDataSeq\|7! at offset {offset}"
        ):
            store.read((2, 1, 0, 0, 0))
