"""Binary layers as lazy label images."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import limnd2_xr
from limnd2_xr.frames.masks import cut_tiles, encode_rle, encode_tile
from limnd2_xr.model.layers import (
    BinaryLayer,
    encode_raster_layers,
    new_rle_layer,
    rle_layers_tree,
)
from limnd2_xr.testing.counting import count_reads
from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, ZLoop, build
from limnd2_xr.variants import xml

if TYPE_CHECKING:
    from pathlib import Path

LOOPS = (ZLoop(2), TimeLoop(3))
SHAPE = (3, 2, 40, 50)
"""T, Z, Y, X; frames count along T first."""


def masks(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 4, (*SHAPE[:2], 8, 10))
    return np.kron(blocks, np.ones((5, 5), int)).astype(np.uint32)


def number(t: int, z: int) -> int:
    return z * 3 + t


def chunks() -> dict[str, bytes]:
    first = new_rle_layer("nuclei", color="#ff0000", channel="GFP")
    second = BinaryLayer(
        id=9,
        name="cells",
        kind="raster",
        width=50,
        height=40,
        tile_width=32,
        tile_height=32,
        bit_depth=32,
        compression="zlib",
        compression_level=6,
        uuid="{0}",
    )
    made = {
        "CustomDataVar|BinaryMetadata_v1!": xml.encode(rle_layers_tree([first])),
        "CustomData|BinaryMetadata_v2!": encode_raster_layers([second]),
    }
    for t in range(3):
        for z in range(2):
            n = number(t, z)
            made[first.chunk_name(n)] = encode_rle(masks(0)[t, z])
            tiles = cut_tiles(masks(1)[t, z], (32, 32))
            for place, name in second.tile_names(n).items():
                made[name] = encode_tile(tiles[place], (32, 32))
    return made


CHUNKS = chunks()


def saved(tmp_path: Path, extra: dict[str, bytes]) -> Path:
    spec = SyntheticSpec(loops=LOOPS, width=50, height=40, extra_chunks=extra)
    return build(spec).save(tmp_path / "a.nd2")


def test_layers_are_lazy_variables_over_the_loops(tmp_path: Path) -> None:
    with xr.open_datatree(saved(tmp_path, chunks()), engine="nd2") as tree:
        labels = tree["labels"]
        assert list(labels.data_vars) == ["nuclei", "cells"]
        assert labels["nuclei"].dims == ("T", "Z", "Y", "X")
        assert labels["nuclei"].dtype == "uint32"
        assert labels["nuclei"].attrs["color"] == "#ff0000"
        assert labels["nuclei"].attrs["channel"] == "GFP"
        assert np.array_equal(labels["nuclei"], masks(0))
        assert np.array_equal(labels["cells"], masks(1))
        part = labels["cells"].isel(T=[2, 0], Z=1, Y=slice(30, None, 3), X=7)
        assert np.array_equal(part, masks(1)[[2, 0], 1, 30::3, 7])
        assert np.array_equal(labels["X"], tree["X"])


def test_one_layer_of_one_frame_is_one_read(tmp_path: Path) -> None:
    with xr.open_datatree(saved(tmp_path, chunks()), engine="nd2") as tree:
        layer = tree["labels"]["nuclei"].isel(T=1, Z=1)
        with count_reads() as reads:
            layer.load()
        assert reads.reads == 1


def tiles_read(layer: xr.DataArray | xr.DataTree) -> int:
    with count_reads() as reads:
        layer.load()
    return reads.reads


def test_of_a_layer_of_tiles_those_of_the_window_are_read(tmp_path: Path) -> None:
    # Tiles of 32 x 32: a grid of 2 x 2.
    with xr.open_datatree(saved(tmp_path, chunks()), engine="nd2") as tree:
        layer = tree["labels"]["cells"]
        expected = masks(1)
        for window, tiles in (
            ({"Y": slice(0, 32), "X": slice(5, 20)}, 1),
            ({"Y": slice(20, 33), "X": slice(40, 45)}, 2),
            ({"Y": slice(31, 33), "X": slice(31, 33)}, 4),
            ({"Y": slice(None), "X": slice(None)}, 4),
            ({"Y": [39, 3], "X": -1}, 2),
            ({"Y": slice(None, None, -1), "X": 31}, 2),
            ({"Y": slice(5, 5)}, 0),
        ):
            part = layer.isel({"T": 1, "Z": 0, **window})
            assert tiles_read(part) == tiles
            wanted = xr.DataArray(expected, dims=layer.dims).isel(T=1, Z=0, **window)
            assert np.array_equal(part, wanted)
        assert tiles_read(layer.isel(T=[0, 2], Z=0, Y=0, X=0)) == 2


@given(st.data())
def test_any_part_of_a_layer_of_tiles(data: st.DataObject) -> None:
    indices = {
        dim: data.draw(
            st.integers(-length, length - 1)
            | st.lists(st.integers(-length, length - 1), max_size=4)
            | st.slices(length)
        )
        for dim, length in zip(("T", "Z", "Y", "X"), SHAPE, strict=True)
    }
    spec = SyntheticSpec(loops=LOOPS, width=50, height=40, extra_chunks=CHUNKS)
    with xr.open_datatree(build(spec).data, engine="nd2") as tree:
        part = tree["labels"]["cells"].isel(indices)
        wanted = xr.DataArray(masks(1), dims=("T", "Z", "Y", "X")).isel(indices)
        assert np.array_equal(part, wanted)


def test_a_damaged_tile_is_no_matter_elsewhere(tmp_path: Path) -> None:
    name = "CustomDataSeq|TiledRasterBinaryData_9_1_0|4!"
    with xr.open_datatree(
        saved(tmp_path, chunks() | {name: b"nothing"}), engine="nd2"
    ) as tree:
        layer = tree["labels"]["cells"].isel(T=1, Z=1)
        assert layer.isel(Y=slice(0, 32)).any()
        with pytest.warns(limnd2_xr.Nd2Warning, match="_9_1_0"):
            assert not layer.isel(Y=35, X=slice(32)).any()


def test_frames_without_a_chunk_have_no_objects(tmp_path: Path) -> None:
    some = {name: data for name, data in chunks().items() if not name.endswith("|4!")}
    with xr.open_datatree(saved(tmp_path, some), engine="nd2") as tree:
        assert not tree["labels"]["nuclei"].isel(T=1, Z=1).any()
        assert not tree["labels"]["cells"].isel(T=1, Z=1).any()
        assert tree["labels"]["nuclei"].isel(T=2, Z=1).any()


def test_a_file_without_layers_has_no_group(tmp_path: Path) -> None:
    with xr.open_datatree(saved(tmp_path, {}), engine="nd2") as tree:
        assert "labels" not in tree.children


def test_a_damaged_description_costs_a_warning(tmp_path: Path) -> None:
    extra = chunks() | {"CustomData|BinaryMetadata_v2!": b"[{"}
    path = saved(tmp_path, extra)
    with pytest.warns(limnd2_xr.Nd2Warning, match="BinaryMetadata_v2!"):
        tree = xr.open_datatree(path, engine="nd2")
    with tree:
        assert list(tree["labels"].data_vars) == ["nuclei"]
        assert tree["image"].shape[-2:] == (40, 50)


@pytest.mark.parametrize("family", ["CustomDataSeq|Rle", "CustomDataSeq|Tiled"])
def test_a_damaged_mask_costs_a_warning(tmp_path: Path, family: str) -> None:
    extra = chunks()
    name = next(n for n in extra if n.startswith(family) and n.endswith("|4!"))
    extra[name] = extra[name][:30]
    layer = "nuclei" if "Rle" in family else "cells"
    with xr.open_datatree(saved(tmp_path, extra), engine="nd2") as tree:
        labels = tree["labels"][layer]
        assert labels.isel(T=0, Z=0).any()
        with pytest.warns(limnd2_xr.Nd2Warning, match=re.escape(name)):
            found = labels.isel(T=1, Z=1, Y=slice(8), X=slice(8)).load()
        assert not found.any()
        with pytest.warns(limnd2_xr.Nd2Warning, match=re.escape(name)):
            tree.nd2.to_nd2(tmp_path / "b.nd2")
    with xr.open_dataset(tmp_path / "b.nd2") as ds:
        assert ds.nd2.chunk(name, raw=True) == extra[name]
        assert int(ds["image"].sum()) > 0


def test_labels_are_added_to_a_file_without_touching_its_pixels(tmp_path: Path) -> None:
    path = saved(tmp_path, {})
    before = path.read_bytes()
    dims = ("T", "Z", "Y", "X")
    cells = xr.DataArray(masks(3), dims=dims, attrs={"color": "#00ffff"}, name="cells")
    limnd2_xr.update_nd2(path, labels=cells.astype("int64").chunk({"T": 1}))
    assert path.read_bytes().startswith(before[:-40])
    with xr.open_datatree(path, engine="nd2") as tree:
        assert np.array_equal(tree["labels"]["cells"], masks(3))
        assert tree["labels"]["cells"].attrs["color"] == "#00ffff"
    still = xr.DataArray(masks(4)[0, 0], dims=("Y", "X"))
    limnd2_xr.update_nd2(path, labels={"still": still, "cells": cells + 1})
    with xr.open_datatree(path, engine="nd2") as tree:
        assert list(tree["labels"].data_vars) == ["cells", "still"]
        assert np.array_equal(tree["labels"]["cells"], masks(3) + 1)
        assert np.array_equal(tree["labels"]["still"].isel(T=2, Z=1), masks(4)[0, 0])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (xr.DataArray(np.zeros((40, 50)), dims=("Y", "X")), "whole numbers"),
        (xr.DataArray(np.zeros((40, 51), int), dims=("Y", "X")), "51 values along X"),
        (xr.DataArray(np.zeros((2, 40, 50), int), dims=("P", "Y", "X")), "dims P"),
        (xr.DataArray(np.full((40, 50), -1), dims=("Y", "X")), "-1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    tmp_path: Path, labels: xr.DataArray, message: str
) -> None:
    path = saved(tmp_path, {})
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        limnd2_xr.update_nd2(path, labels=labels)
    assert path.read_bytes() == before


def test_labels_are_written_with_an_array(tmp_path: Path) -> None:
    image = xr.DataArray(np.ones((3, 2, 40, 50), "u2"), dims=("T", "Z", "Y", "X"))
    labels = xr.Dataset({"cells": (("T", "Z", "Y", "X"), masks(5))})
    image.nd2.write_nd2(tmp_path / "a.nd2", labels=labels)
    with xr.open_dataset(tmp_path / "a.nd2") as ds:
        assert np.array_equal(ds.nd2.labels["cells"], masks(5))
        ds.nd2.to_nd2(tmp_path / "b.nd2", labels={"more": labels["cells"] * 2})
    with xr.open_dataset(tmp_path / "b.nd2") as ds:
        assert list(ds.nd2.labels) == ["cells", "more"]
        assert np.array_equal(ds.nd2.labels["cells"], masks(5))
        assert np.array_equal(ds.nd2.labels["more"], masks(5) * 2)


def test_each_block_of_lazy_labels_is_computed_once(tmp_path: Path) -> None:
    seen = []

    def make(block_id: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.uint32]]:
        seen.append(block_id)
        return np.full((8, 6, 7), block_id[0] + 1, np.uint32)

    lazy = dask.array.map_blocks(
        make,
        chunks=((8, 8, 8), (6,), (7,)),
        dtype=np.uint32,
        meta=np.empty((0, 0, 0), np.uint32),
    )
    image = xr.DataArray(np.zeros((24, 6, 7), "u2"), dims=("T", "Y", "X"))
    labels = xr.DataArray(lazy, dims=("T", "Y", "X"))
    image.nd2.write_nd2(tmp_path / "a.nd2", labels={"cells": labels})
    assert sorted(seen) == [(0, 0, 0), (1, 0, 0), (2, 0, 0)]
    with xr.open_dataset(tmp_path / "a.nd2") as ds:
        found = ds.nd2.labels["cells"].max(("Y", "X"))
        assert np.array_equal(found, np.repeat([1, 2, 3], 8))


def test_labels_follow_a_selection(tmp_path: Path) -> None:
    with xr.open_dataset(saved(tmp_path, chunks())) as ds:
        part = ds.isel(T=[2, 0], Z=1, Y=slice(5, 20))
        assert np.array_equal(part.nd2.labels["nuclei"], masks(0)[[2, 0], 1, 5:20])
        assert np.array_equal(
            part["image"].nd2.labels["cells"], masks(1)[[2, 0], 1, 5:20]
        )


def test_a_file_without_layers_has_no_labels(tmp_path: Path) -> None:
    with xr.open_dataset(saved(tmp_path, {})) as ds:
        assert not ds.nd2.labels
