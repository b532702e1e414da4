"""New arrays whose memory begins where the system copies into it fastest."""

from __future__ import annotations

import numpy as np
import pytest

from limnd2_xr.frames.new_memory import new_array
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<f4"])
@pytest.mark.parametrize("shape", [(), (0, 3), (3, 5), (1, 255, 257), (2, 1, 301, 303)])
def test_arrays_are_as_those_of_numpy(shape: tuple[int, ...], dtype: str) -> None:
    array = new_array(shape, dtype)
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.flags.aligned
    array[...] = 7
    assert (array == 7).all()


def test_large_ones_begin_at_a_multiple_of_64() -> None:
    held = [new_array((n, 1001), "<u2") for n in range(20, 400, 7)]
    assert {array.ctypes.data % 64 for array in held} == {0}


def test_pixels_are_delivered_in_them() -> None:
    data = build(SyntheticSpec(loops=(TimeLoop(3),), width=256, height=200)).data
    with FrameStore.open(data) as store:
        whole = (slice(None),) * len(store.shape)
        found = [
            store.read(whole),
            store.read_frames(np.array([1])),
            store.read_frames(np.array([2, 0])),
            store.read_stored(np.array([1, 2]), rows=slice(3, 190)),
        ]
    assert {array.ctypes.data % 64 for array in found} == {0}
