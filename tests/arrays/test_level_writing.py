"""Smaller copies in trees: which chunks they become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.arrays.label_layers import StoredMasks
from limnd2_xr.arrays.level_writing import level_payloads
from limnd2_xr.frames.layout import PixelLayout
from limnd2_xr.frames.packing import row_nbytes
from limnd2_xr.frames.pyramid import (
    decode_level,
    encode_level,
    level_chunk_name,
    level_layout,
)
from limnd2_xr.testing.loop_specs import TimeLoop, ZLoop
from limnd2_xr.testing.synthetic import SyntheticSpec, build

if TYPE_CHECKING:
    from limnd2_xr.model.axes import Axes


def axes_of(t: int, z: int) -> Axes:
    """Loops of a file whose frames count along T first."""
    from limnd2_xr.frames.store import FrameStore

    spec = SyntheticSpec(loops=(ZLoop(z), TimeLoop(t)), width=4, height=4)
    with FrameStore.open(build(spec).data) as store:
        return store.axes


AXES = axes_of(3, 2)
LAYOUT = PixelLayout(
    height=7,
    width=1025,
    channels=2,
    samples=1,
    dtype=np.dtype("u2"),
    row_nbytes=row_nbytes(1025, 2, "u2"),
    compression="zlib",
)
SMALL = level_layout(LAYOUT, 1)
SHAPE = (3, 2, 2, 3, 512)
DIMS = ("T", "Z", "C", "Y_1", "X_1")


def level(**changes: Any) -> xr.DataArray:
    pixels = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype("u2")
    return xr.DataArray(changes.get("data", pixels), dims=DIMS)


def test_each_frame_has_a_chunk() -> None:
    array = level()
    made = level_payloads({1: array}, AXES, LAYOUT)
    assert len(made) == 6
    for t, z in np.ndindex(3, 2):
        name = level_chunk_name(512, 3 * z + t)
        data = made[name]
        assert data == encode_level(array.values[t, z], SMALL)
        assert name in made
    assert "ImageAttributes!" not in made


@given(st.data())
def test_any_order_and_blocks(data: st.DataObject) -> None:
    array = level().rename(Y_1="Y", X_1="X") if data.draw(st.booleans()) else level()
    expected = dict(level_payloads({1: array}, AXES, LAYOUT))
    other = array.transpose(*data.draw(st.permutations(array.dims)))
    sizes = st.sampled_from([1, 2, 3])
    other = other.chunk({"T": data.draw(sizes), "Z": data.draw(sizes), "C": 1})
    made = level_payloads({1: other}, AXES, LAYOUT)
    assert {
        name: made[name] for name in data.draw(st.permutations(list(made)))
    } == expected


def test_a_block_is_computed_once() -> None:
    computed: list[int] = []

    def count(block: Any, block_info: Any = None) -> Any:
        computed.append(1)
        return block

    data = dask.array.zeros(SHAPE, dtype="u2", chunks=(3, 1, 2, 3, 512))
    data = data.map_blocks(count, dtype="u2", meta=np.empty((0,) * 5, "u2"))
    made = level_payloads({1: level(data=data)}, AXES, LAYOUT)
    assert len([made[name] for name in sorted(made)]) == 6
    assert len(computed) == 2


def test_dims_of_length_one_may_be_absent() -> None:
    one = axes_of(1, 2)
    layout = PixelLayout(
        height=4, width=4, channels=1, samples=3, dtype=np.dtype("u1"), row_nbytes=12
    )
    array = xr.DataArray(
        np.arange(24, dtype="u1").reshape(2, 2, 2, 3), dims=("Z", "Y", "X", "S")
    )
    made = level_payloads({1: array}, one, layout)
    small = level_layout(layout, 1)
    stored = made[level_chunk_name(2, 1)]
    assert stored is not None
    np.testing.assert_array_equal(decode_level(stored, small)[0], array[1])


@pytest.mark.parametrize(
    ("number", "array", "reason"),
    [
        (0, level(), "1, 2, ..., not 0"),
        (11, level(), "nothing is left of 7 x 1025 pixels at level 11"),
        (2, level().rename(Y_1="Y_2", X_1="X_2"), "'Y': 1, 'X': 256"),
        (1, level().isel(T=slice(2)), "'T': 2.*, not {'T': 3, 'Z': 2, 'C': 2, 'Y': 3"),
        (1, level().isel(T=0), "level 1 is of the sizes"),
        (1, level().rename(C="S"), "level 1 is of the sizes"),
        (1, level().expand_dims("P"), "level 1 is of the sizes"),
        (1, level().astype(float), r'the image uint16: .*astype\("uint16"\)'),
    ],
)
def test_what_does_not_fit_is_refused(
    number: int, array: xr.DataArray, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        level_payloads({number: array}, AXES, LAYOUT)


def stored_masks(chunks: dict[str, bytes], frames: Any = None) -> StoredMasks:
    return StoredMasks(read=chunks.get, has=chunks.__contains__, frames=frames)


def test_copies_that_did_not_change_keep_their_bytes() -> None:
    array = level()
    # As another writer calls and pads them: rows of 512 x 2 x 2 bytes need no padding,
    # so a level with padding is what tells.
    layout = PixelLayout(
        height=4, width=6, channels=1, samples=1, dtype=np.dtype("u1"), row_nbytes=8
    )
    small = level_layout(layout, 1)
    assert small.row_nbytes == 4
    array = xr.DataArray(
        np.arange(36, dtype="u1").reshape(3, 2, 2, 3), dims=("T", "Z", "Y", "X")
    )
    stored = {}
    for t, z in np.ndindex(3, 2):
        data = bytearray(encode_level(array.values[t, z][np.newaxis], small))
        data[3] = 0xEE
        stored[level_chunk_name(4, 3 * z + t)] = bytes(data)
    damaged = level_chunk_name(4, 5)
    stored[damaged] = b"123"
    made = dict(level_payloads({1: array}, AXES, layout, stored_masks(stored)))
    assert made.keys() == stored.keys()
    assert {name for name in made if made[name] != stored[name]} == {damaged}
    changed = array.copy()
    changed[1, 0, 0, 0] += 1
    made = dict(level_payloads({1: changed}, AXES, layout, stored_masks(stored)))
    assert {name for name in made if made[name] != stored[name]} == {
        damaged,
        level_chunk_name(4, 1),
    }


def test_the_name_of_a_level_is_kept() -> None:
    old = {level_chunk_name(1024, 2): b""}  # where the vendor would say 512
    made = level_payloads({1: level()}, AXES, LAYOUT, stored_masks(old))
    assert level_chunk_name(1024, 0) in made
    assert level_chunk_name(512, 0) not in made


def test_frames_without_a_copy_stay_without() -> None:
    array = level() * 0
    array[2, 1] = 3
    name = level_chunk_name(512, 0)
    stored = {name: encode_level(array.values[0, 0], SMALL)}
    made = level_payloads({1: array}, AXES, LAYOUT, stored_masks(stored))
    assert made[name] == stored[name]
    assert made[level_chunk_name(512, 1)] is None
    assert made[level_chunk_name(512, 5)] == encode_level(array.values[2, 1], SMALL)
    # A level that the file did not have is there for all frames.
    made = level_payloads({1: array}, AXES, LAYOUT, stored_masks({}))
    assert made[level_chunk_name(512, 1)] is not None


def test_frames_come_with_the_number_that_they_had() -> None:
    array = level()
    frames = np.array([5, 4, 3, 2, 1, 0])
    stored = {
        level_chunk_name(512, 5): encode_level(array.values[0, 0], SMALL),
        level_chunk_name(512, 0): b"other",
    }
    made = level_payloads({1: array}, AXES, LAYOUT, stored_masks(stored, frames))
    assert made[level_chunk_name(512, 0)] is stored[level_chunk_name(512, 5)]
