"""Dims that writing adds: without reading what is lazy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

from limnd2_xr.arrays.image_dims import with_image_dims
from limnd2_xr.testing.counting import count_reads
from limnd2_xr.testing.synthetic import ChannelSpec, SyntheticSpec, TimeLoop, build

if TYPE_CHECKING:
    from pathlib import Path

CHANNELS = tuple(ChannelSpec(name=name) for name in ("DAPI", "GFP", "Cy5"))
SPEC = SyntheticSpec(loops=(TimeLoop(count=4),), width=64, height=48, channels=CHANNELS)
SELECTED: tuple[dict[str, Any], ...] = (
    {"C": 1},
    {"C": -1, "T": 2},
    {"C": 0, "T": [3, 1], "Y": slice(5, 20), "X": slice(None, None, -1)},
)


@pytest.mark.parametrize("index", SELECTED, ids=str)
def test_one_channel_gets_its_dim_without_being_read(index: dict[str, Any]) -> None:
    with xr.open_dataset(build(SPEC).data, engine="nd2") as ds:
        image = ds["image"].isel(index)
        with count_reads() as counter:
            found = with_image_dims(image)
            assert not found.variable._in_memory
            assert not image.variable._in_memory
        assert counter.reads == 0
        wanted = image.compute().expand_dims("C", image.dims.index("Y"))
        xr.testing.assert_identical(found.compute(), wanted)


def test_one_channel_is_written_without_being_loaded(tmp_path: Path) -> None:
    (tmp_path / "a.nd2").write_bytes(build(SPEC).data)
    with xr.open_dataset(tmp_path / "a.nd2") as ds:
        image = ds["image"].sel(C="GFP")
        image.nd2.write_nd2(tmp_path / "b.nd2")
        assert not image.variable._in_memory
        with xr.open_dataset(tmp_path / "b.nd2") as written:
            assert written["C"].values.tolist() == ["GFP"]
            np.testing.assert_array_equal(written["image"].values[:, 0], image.values)
