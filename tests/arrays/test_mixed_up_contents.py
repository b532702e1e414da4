"""What is written beside an image belongs to it: nothing is mixed up or kept unsaid."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr

from limnd2_xr.errors import Nd2Warning
from limnd2_xr.frames.masks import encode_rle
from limnd2_xr.model.layers import RLE_LAYERS, new_rle_layer, rle_layers_tree
from limnd2_xr.testing.contents import contents, masks
from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
from limnd2_xr.variants import xml

if TYPE_CHECKING:
    from pathlib import Path

    from limnd2_xr.model.layers import BinaryLayer

SPEC = SyntheticSpec(loops=(TimeLoop(3),), width=30, height=20)


@pytest.fixture
def full(tmp_path: Path) -> Path:
    spec = replace(SPEC, extra_chunks=contents(SPEC))
    return build(spec).save(tmp_path / "full.nd2")


def test_layers_of_one_name_or_none_stay_apart(tmp_path: Path) -> None:
    layers: list[BinaryLayer] = []
    for name in ("cells", "cells", "a/b", ""):
        layers.append(new_rle_layer(name, layers))
    chunks = {RLE_LAYERS: xml.encode(rle_layers_tree(layers))}
    for seed, layer in enumerate(layers):
        for frame in range(3):
            chunks[layer.chunk_name(frame)] = encode_rle(masks(SPEC, frame, seed))
    path = build(replace(SPEC, extra_chunks=chunks)).save(tmp_path / "names.nd2")
    with xr.open_datatree(path, engine="nd2") as tree:
        tree.nd2.to_nd2(tmp_path / "copy.nd2")
    with xr.open_dataset(tmp_path / "copy.nd2") as copy:
        labels = copy.nd2.labels
        assert list(labels) == ["cells", "cells_2", "a_b", "layer_4"]
        for seed, found in enumerate(labels.values()):
            assert np.array_equal(found[1], masks(SPEC, 1, seed))
        for name, payload in chunks.items():
            assert copy.nd2.chunk(name, raw=True) == payload


def test_an_image_computed_of_a_layer_is_another_layer(
    full: Path, tmp_path: Path
) -> None:
    with xr.open_datatree(full, engine="nd2") as tree:
        labels = tree["labels"].to_dataset()
        with xr.set_options(keep_attrs=True):
            large = labels["cells"] > 1
        edited = tree.copy()
        edited["labels"].dataset = labels.assign(large=large)
        edited.nd2.to_nd2(tmp_path / "out.nd2")
    with xr.open_datatree(tmp_path / "out.nd2") as out:
        found = out["labels"].to_dataset()
        assert np.array_equal(found["cells"][2], masks(SPEC, 2, 1))
        assert np.array_equal(found["large"][2], masks(SPEC, 2, 1) > 1)
        assert np.array_equal(found["nuclei"][2], masks(SPEC, 2, 0))


def test_layers_of_other_frames_are_not_listed_without_masks(
    full: Path, tmp_path: Path
) -> None:
    with xr.open_dataset(full, engine="nd2") as ds:
        part = ds.isel(T=[0, 2])
        labels = {"cells": part.nd2.labels["cells"]}
        with pytest.warns(Nd2Warning, match="BinaryMetadata_v1"):
            part.nd2.to_nd2(tmp_path / "out.nd2", labels=labels, on_loss="warn")
    with xr.open_dataset(tmp_path / "out.nd2") as out:
        assert list(out.nd2.labels) == ["cells"]
        assert np.array_equal(out.nd2.labels["cells"][1], masks(SPEC, 2, 1))


@pytest.mark.parametrize("dim", ["T", "Y"])
def test_labels_and_columns_of_other_places_are_refused(
    full: Path, tmp_path: Path, dim: str
) -> None:
    with xr.open_dataset(full, engine="nd2") as ds:
        labels = ds.nd2.labels["cells"].isel({dim: slice(None, None, -1)})
        with pytest.raises(ValueError, match=f"'x' have other values of {dim}"):
            ds.nd2.to_nd2(tmp_path / "out.nd2", labels={"x": labels})
        column = {"PFS": xr.DataArray([1, 2], dims="T", coords={"T": ds["T"][1:]})}
        with pytest.raises(ValueError, match="'PFS' have other values of T"):
            ds.isel(T=[0, 1]).nd2.to_nd2(tmp_path / "out.nd2", columns=column)
    assert list(tmp_path.iterdir()) == [full]


def test_labels_without_dims_are_refused() -> None:
    image = xr.DataArray(np.zeros((6, 8), "u2"), dims=("Y", "X"))
    with pytest.raises(TypeError, match="labels 'x' are of type ndarray: name"):
        image.nd2.write_nd2("no.nd2", labels={"x": np.zeros((6, 8), "u1")})


def test_a_channel_binds_a_layer(tmp_path: Path) -> None:
    image = xr.DataArray(np.zeros((6, 8), "u2"), dims=("Y", "X"))
    cells = xr.ones_like(image, "u1").assign_attrs(channel="GFP")
    image.nd2.write_nd2(tmp_path / "out.nd2", labels={"cells": cells})
    with xr.open_dataset(tmp_path / "out.nd2") as out:
        assert out.nd2.labels["cells"].attrs["state"] == ["component"]


@pytest.mark.parametrize("chunks", [None, {}])
def test_edited_raw_images_are_told(
    full: Path, tmp_path: Path, chunks: dict[str, int] | None
) -> None:
    with xr.open_datatree(full, engine="nd2", chunks=chunks) as tree:
        edited = tree.copy()
        edited["deepsim"].dataset = tree["deepsim"].to_dataset().load()
        edited.nd2.to_nd2(tmp_path / "same.nd2", on_loss="raise")
        images = edited["deepsim"].dataset["component_0"]
        images[0] = 7
        with pytest.raises(ValueError, match="component_0 of group deepsim"):
            edited.nd2.to_nd2(tmp_path / "out.nd2", on_loss="raise")


def test_raw_images_without_their_file_are_told(full: Path, tmp_path: Path) -> None:
    with xr.open_datatree(full, engine="nd2") as tree:
        raw = tree.children["deepsim"].to_dataset(inherit=False).load()
    image = xr.Dataset({"image": (("T", "Y", "X"), np.zeros((3, 20, 30), "u2"))})
    made = xr.DataTree.from_dict({"/": image, "/deepsim": raw})
    with pytest.warns(Nd2Warning, match="group deepsim"):
        made.nd2.to_nd2(tmp_path / "out.nd2")


@pytest.mark.parametrize("chunks", [None, {}])
def test_copies_in_a_tree_follow_edited_pixels(
    tmp_path: Path, chunks: dict[str, int] | None
) -> None:
    pixels = np.arange(1100 * 8, dtype="u2").reshape(1, 8, 1100)
    image = xr.DataArray(pixels, dims=("T", "Y", "X"))
    image.nd2.write_nd2(tmp_path / "in.nd2", pyramid=True)
    with xr.open_datatree(tmp_path / "in.nd2", chunks=chunks) as tree:
        image = tree.to_dataset()["image"].load().copy()
        image[...] = 9
        edited = tree.copy()
        edited.dataset = image.to_dataset()
        edited.nd2.to_nd2(tmp_path / "out.nd2")
    with xr.open_datatree(tmp_path / "out.nd2") as out:
        assert np.unique(out["levels/1/image"]).tolist() == [9]


def test_what_to_do_with_copies_of_a_whole_image_is_said(tmp_path: Path) -> None:
    image = xr.DataArray(np.zeros((1, 8, 1100), "u2"), dims=("T", "Y", "X"))
    image.nd2.write_nd2(tmp_path / "in.nd2", pyramid=True)
    with (
        xr.open_datatree(tmp_path / "in.nd2") as tree,
        pytest.raises(ValueError, match=r'drop_nodes\("levels"\)'),
    ):
        tree.isel(X=slice(600)).nd2.to_nd2(tmp_path / "out.nd2", on_loss="ignore")
