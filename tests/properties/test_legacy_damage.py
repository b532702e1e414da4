"""Damaged files of format 1.0: a clear error, or what is there with a warning."""

from __future__ import annotations

import tracemalloc
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.errors import Nd2Error, Nd2Warning
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.testing.legacy import LegacySpec, build_legacy
from limnd2_xr.testing.loop_specs import Point, PositionLoop, TimeLoop, ZLoop
from limnd2_xr.testing.specs import ChannelSpec
from limnd2_xr.testing.strategies import damaged

if TYPE_CHECKING:
    from numpy.typing import NDArray


TWO = (ChannelSpec("A"), ChannelSpec("B"))
POINTS = PositionLoop(tuple(Point(10.0 * i, 0.0) for i in range(2)))
SOUND = [
    build_legacy(
        LegacySpec(
            loops=(TimeLoop(2), ZLoop(2)), channels=TWO, width=9, height=6, bits=8
        )
    ),
    build_legacy(
        LegacySpec(loops=(POINTS,), loop_style="AIMD", width=9, height=6, wrapped=True)
    ),
    build_legacy(LegacySpec(loops=(TimeLoop(3),), width=9, height=6, box_map=False)),
]


@pytest.fixture(scope="module", autouse=True)
def _imports_are_done() -> None:
    """Have what is imported on first use not counted."""
    with xr.open_dataset(SOUND[0].data, engine="nd2") as ds:
        ds.load()


def read_all(data: bytes) -> NDArray[Any] | None:
    """All pixels, or None after a clear error; checks memory and the error."""
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Nd2Warning)
            with xr.open_dataset(data, engine="nd2") as ds:
                ds.drop_vars("image").load()
                assert ds.nd2.metadata.format_version == "1.0"
                assert ds.nd2.chunks()
                pixels: NDArray[Any] = ds["image"].values
    except Nd2Error as error:
        assert error.path == "<bytes>"  # noqa: PT017 - other errors pass through
        return None
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 10 * len(data) + 2**22
    return pixels


@given(st.data())
def test_any_damage(data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(SOUND))
    pixels = read_all(data.draw(damaged(file.data)))
    if pixels is not None:
        assert pixels.dtype.kind == "u"


@given(st.data())
def test_lengths_of_boxes_that_lie(data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(SOUND))
    offset, _ = data.draw(st.sampled_from(sorted(file.boxes.values())))
    length = data.draw(
        st.sampled_from([0, 1, 2, 7, 8, 9, 2**31, 2**32 - 1]) | st.integers(0, 9999)
    )
    lying = file.data[:offset] + length.to_bytes(4, "big") + file.data[offset + 4 :]
    read_all(lying)


@given(st.data())
def test_maps_that_lie(data: st.DataObject) -> None:
    """Entries that repeat, lead to other boxes, to the map itself or nowhere."""
    file = SOUND[0]
    start = file.data.rfind(b"LABORATORY") - 16 * len(file.boxes)
    out = bytearray(file.data)
    places = [offset for offset, _ in file.boxes.values()]
    for _ in range(data.draw(st.integers(1, 4))):
        at = start + 16 * data.draw(st.integers(0, len(places) - 1)) + 8
        place = data.draw(
            st.sampled_from([*places, 0, start, len(out), 2**63, 2**64 - 1])
            | st.integers(0, len(out))
        )
        out[at : at + 8] = place.to_bytes(8, "little")
    read_all(bytes(out))


@given(st.data())
def test_frames_before_a_cut_are_the_same(data: st.DataObject) -> None:
    file = SOUND[2]
    frames = file.array()
    cut = data.draw(st.integers(file.boxes["LUNK|0"][0], len(file.data) - 1))
    ends = [sum(file.boxes[f"LUNK|{i}"]) + 8 for i in range(len(frames))]
    whole = sum(end <= cut for end in ends)
    pixels = read_all(file.data[:cut])
    assert pixels is not None
    found = pixels.reshape(-1, *frames.shape[1:])[:whole]
    np.testing.assert_array_equal(found, frames[:whole])


@given(st.data())
def test_selections_of_sound_files(data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(SOUND[:2]))
    whole = file.array()
    key: tuple[Any, ...] = tuple(
        data.draw(
            st.integers(-n, n - 1)
            | st.slices(n)
            | st.lists(st.integers(-n, n - 1), max_size=4).map(
                lambda picks: np.array(picks, dtype=np.int64)
            )
        )
        for n in whole.shape
    )
    expected = whole
    for axis, k in reversed(list(enumerate(key))):
        expected = expected[(slice(None),) * axis + (k,)]
    with FrameStore.open(file.data) as store:
        np.testing.assert_array_equal(store.read(key), expected)
