"""`FrameStore.read_stored` of a part of frames, and masks of single frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.arrays.labels import layers_of
from limnd2_xr.container.source import observe_reads
from limnd2_xr.frames.mask_reading import read_mask, read_masks
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.testing.contents import contents
from limnd2_xr.testing.synthetic import ChannelSpec, SyntheticSpec, TimeLoop, build

RGB = (ChannelSpec("HE", components=3),)
TWO = (ChannelSpec("DAPI"), ChannelSpec("GFP"))


@given(
    channels=st.sampled_from([RGB, TWO]),
    compression=st.sampled_from([None, "zlib"]),
    rows=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    columns=st.tuples(st.integers(0, 12), st.integers(0, 12)),
)
def test_a_part_is_that_part_of_the_whole(
    channels: tuple[ChannelSpec, ...],
    compression: str | None,
    rows: tuple[int, int],
    columns: tuple[int, int],
) -> None:
    spec = SyntheticSpec(
        loops=(TimeLoop(3),),
        width=11,
        height=7,
        channels=channels,
        dtype="uint8",
        compression=compression,  # type: ignore[arg-type]
    )
    numbers = np.array([2, 0])
    with FrameStore.open(build(spec).data) as store:
        whole = store.read_stored(numbers)
        part = store.read_stored(numbers, rows=slice(*rows), columns=slice(*columns))
    assert np.array_equal(part, whole[:, slice(*rows), slice(*columns)])


def test_of_a_part_only_its_rows_are_read() -> None:
    spec = SyntheticSpec(width=512, height=2000, channels=TWO)
    with FrameStore.open(build(spec).data) as store:
        nbytes: list[int] = []
        stop = observe_reads(lambda _offset, n: nbytes.append(n))
        store.read_stored(np.array([0]), rows=slice(100, 110))
        stop()
    assert 10 * 512 * 4 <= sum(nbytes) < 64 * 512 * 4


@pytest.mark.parametrize("number", range(4))
def test_the_mask_of_one_frame_is_that_of_all(number: int) -> None:
    spec = SyntheticSpec(loops=(TimeLoop(4),))
    data = build(SyntheticSpec(loops=(TimeLoop(4),), extra_chunks=contents(spec))).data
    with FrameStore.open(data) as store:
        layers = layers_of(store)
        for layer in layers:
            expected = list(read_masks(store, layer))[number]
            found = read_mask(store, layer, number)
            assert (found is None) == (expected is None)
            if found is not None and expected is not None:
                assert np.array_equal(found, expected)
    assert {layer.kind for layer in layers} == {"rle", "raster"}
