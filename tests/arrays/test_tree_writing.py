"""Whole trees: opened, written, opened."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import limnd2_xr
from limnd2_xr.arrays.carried import ordinary_chunks
from limnd2_xr.arrays.chunk_access import source_of
from limnd2_xr.container.prefetch import read_payload
from limnd2_xr.frames.opening import open_index
from limnd2_xr.model.roi_tree import rois_tree
from limnd2_xr.model.rois import ROI_CHUNK, Roi
from limnd2_xr.testing.contents import EVENTS, ROIS, contents, masks
from limnd2_xr.testing.synthetic import (
    Column,
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)
from limnd2_xr.variants import lite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PLAIN = SyntheticSpec(
    loops=(ZLoop(2), TimeLoop(3)),
    width=1100,
    height=40,
    columns={
        "X": Column(np.arange(6.0), description="X Coord", unit="um"),
        "PFS_STATUS": Column(np.arange(6)),
        "Who": Column(list("abcdef"), description="Operator"),
    },
)
GROUPS = ("labels", "rois", "recorded", "events", "levels", "deepsim")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = replace(PLAIN, extra_chunks=contents(PLAIN))
    return build(spec).save(tmp_path_factory.mktemp("trees") / "a.nd2")


@pytest.fixture
def tree(source: Path) -> Iterator[xr.DataTree]:
    with xr.open_datatree(source, engine="nd2") as opened:
        yield opened


def groups(tree: xr.DataTree) -> dict[str, xr.Dataset]:
    return {node.path: node.to_dataset().load() for node in tree.subtree}


def payloads(path: Path) -> dict[str, bytes]:
    with xr.open_dataset(path, engine="nd2") as ds:
        spec = source_of(ds)
    with spec.open() as source:
        index = open_index(source).index
        names = [*index.names(), *ordinary_chunks(index)]
        entries = {name: index.find(name) for name in names}
        assert all(entries.values())
        return {n: read_payload(source, n, e) for n, e in entries.items() if e}


def written(tree: xr.DataTree, path: Path, **options: Any) -> dict[str, xr.Dataset]:
    tree.nd2.to_nd2(path, **options)
    with xr.open_datatree(path, engine="nd2") as again:
        return groups(again)


def without_document(root: xr.Dataset) -> xr.Dataset:
    root = root.copy()
    for part in (root, root["image"]):
        del part.attrs["nd2_metadata"]
    return root


def assert_same(a: dict[str, xr.Dataset], b: dict[str, xr.Dataset]) -> None:
    assert a.keys() == b.keys()
    for path, dataset in a.items():
        xr.testing.assert_identical(dataset, b[path])


def test_the_file_has_all_groups(tree: xr.DataTree) -> None:
    assert set(tree.children) == set(GROUPS)
    assert list(tree["labels"].data_vars) == ["nuclei", "cells"]
    assert list(tree["levels"].children) == ["1"]


def test_a_copy_is_the_same_to_the_byte(
    tree: xr.DataTree, source: Path, tmp_path: Path
) -> None:
    assert_same(written(tree, tmp_path / "b.nd2", on_loss="raise"), groups(tree))
    assert payloads(tmp_path / "b.nd2") == payloads(source)


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name",
    [
        "confocal_t3_z10_c2",
        "fluo_c4",
        "netime_t2_u8",
        "rgb8",
        "timelapse_t53",
        "zstack_z11",
    ],
)
def test_samples_are_copied_whole(
    real_file: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    with xr.open_datatree(real_file(name), engine="nd2") as tree:
        found = written(tree, tmp_path / "b.nd2", on_loss="raise")
        assert_same(found, groups(tree))


@pytest.mark.parametrize("name", GROUPS)
def test_dropping_a_group_drops_nothing_else(
    tree: xr.DataTree, source: Path, tmp_path: Path, name: str
) -> None:
    found = written(tree.drop_nodes(name), tmp_path / "b.nd2", on_loss="raise")
    kept = {p: g for p, g in groups(tree).items() if p.split("/")[1] != name}
    if name == "recorded":
        # Where the stage was is told by the image, too.
        found["/recorded"] = found["/recorded"].drop_vars("stage_x")
        assert not found.pop("/recorded").data_vars
        # The document lists the columns.
        found["/"], kept["/"] = (without_document(g["/"]) for g in (found, kept))
    assert_same(found, kept)
    before, after = payloads(source), payloads(tmp_path / "b.nd2")
    lost = before.keys() - after.keys()
    assert lost
    changed = {n for n in after if before.get(n) != after[n]}
    assert changed <= {"CustomDataVar|CustomDataV2_0!"}


def test_an_edited_mask_changes_no_other(
    tree: xr.DataTree, source: Path, tmp_path: Path
) -> None:
    labels = tree["labels"].to_dataset().load()
    for name in ("nuclei", "cells"):
        labels[name][1, 1, :5, :5] = 77
    edited = tree.copy()
    edited["labels"] = xr.DataTree(labels)
    found = written(edited, tmp_path / "b.nd2")
    assert_same(found, {**groups(tree), "/labels": labels})
    before, after = payloads(source), payloads(tmp_path / "b.nd2")
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {
        "CustomDataSeq|RleZipBinarySequence_1_v1|4!",
        "CustomDataSeq|TiledRasterBinaryData_9_0_0|4!",
    }


def test_layers_are_renamed_added_and_removed(
    tree: xr.DataTree, tmp_path: Path
) -> None:
    labels = tree["labels"].to_dataset()
    more = xr.DataArray(masks(PLAIN, 0, seed=5), dims=("Y", "X"))
    labels = labels.drop_vars("cells").rename(nuclei="kernels").assign(more=more)
    labels["kernels"].attrs["state_code"] = 0x10
    edited = tree.copy()
    edited["labels"] = xr.DataTree(labels)
    found = written(edited, tmp_path / "b.nd2")["/labels"]
    assert list(found.data_vars) == ["kernels", "more"]
    assert found["kernels"].attrs["layer_id"] == 1
    assert found["kernels"].attrs["state"] == ["tracked"]
    assert found["kernels"].attrs["color"] == "#ff0000"
    assert np.array_equal(found["kernels"], labels["kernels"])
    assert np.array_equal(found["more"].isel(T=2, Z=1), more)


def test_rois_and_events_are_edited_in_their_tables(
    tree: xr.DataTree, tmp_path: Path
) -> None:
    rois = tree["rois"].to_dataset().load()
    rois["label"] = rois["label"].copy(data=["frame", "dot"])
    edited = tree.copy()
    edited["rois"] = xr.DataTree(rois.isel(roi=[0]))
    edited["events"] = xr.DataTree(tree["events"].to_dataset().isel(event=[1]))
    edited.nd2.to_nd2(tmp_path / "b.nd2")
    with xr.open_dataset(tmp_path / "b.nd2", engine="nd2") as ds:
        (roi,) = ds.nd2.rois
        assert roi.roi == replace(ROIS[0], label="frame")
    with xr.open_datatree(tmp_path / "b.nd2", engine="nd2") as again:
        found = again["events"].to_dataset()["time"]
        assert found.values.tolist() == [EVENTS[1].time_s]


def test_a_selection_is_written_with_its_part_of_the_groups(
    tree: xr.DataTree, tmp_path: Path
) -> None:
    part = tree.drop_nodes(["levels", "deepsim"]).isel(T=[0, 2])
    found = written(part, tmp_path / "b.nd2", on_loss="ignore")
    wanted = groups(part)
    for path in ("/labels", "/recorded", "/rois", "/events"):
        for name, variable in wanted[path].data_vars.items():
            assert np.array_equal(found[path][name], variable), (path, name)
    assert found["/recorded"]["Who"].values.tolist() == [["a", "d"], ["c", "f"]]


def test_rois_stay_on_their_pixels(tree: xr.DataTree, tmp_path: Path) -> None:
    window = {"Y": slice(5, 35), "X": slice(600, 1100)}
    part = tree.drop_nodes(["levels", "deepsim"]).isel(window)
    part.nd2.to_nd2(tmp_path / "b.nd2", on_loss="ignore")
    (box, _) = tree.to_dataset().nd2.rois
    with xr.open_dataset(tmp_path / "b.nd2", engine="nd2") as ds:
        (moved, _) = ds.nd2.rois
    assert np.allclose(moved.to_polygon(), box.to_polygon() - [600, 5], atol=1e-9)
    sparse = part.isel(Y=slice(None, None, 2), X=slice(None, None, 2))
    with pytest.raises(ValueError, match="no window"):
        sparse.nd2.to_nd2(tmp_path / "c.nd2", on_loss="ignore")


def test_rois_of_positions_follow_them(tmp_path: Path) -> None:
    points = tuple(Point(100.0 * i, 0.0, name=f"p{i}") for i in range(3))
    rois = tuple(Roi(id=i + 1, shape="point", position=i) for i in range(3))
    extra = {ROI_CHUNK: lite.encode(rois_tree(rois))}
    spec = SyntheticSpec(loops=(PositionLoop(points),), extra_chunks=extra)
    build(spec).save(tmp_path / "a.nd2")
    with xr.open_datatree(tmp_path / "a.nd2", engine="nd2") as tree:
        tree.isel(P=[1, 2]).nd2.to_nd2(tmp_path / "b.nd2", on_loss="ignore")
    with xr.open_dataset(tmp_path / "b.nd2", engine="nd2") as ds:
        assert [(roi.id, roi.roi.position) for roi in ds.nd2.rois] == [(2, 0), (3, 1)]


def test_a_tree_put_together_by_hand(tmp_path: Path) -> None:
    image = xr.DataArray(np.ones((2, 30, 40), "u2"), dims=("T", "Y", "X"), name="image")
    cells = image.astype("i8").rename("cells") * 5
    made = xr.DataTree.from_dict(
        {"/": image.to_dataset(), "/labels": cells.to_dataset()}
    )
    found = written(made, tmp_path / "a.nd2")
    assert set(found) >= {"/", "/labels"}
    assert np.array_equal(found["/labels"]["cells"], cells)


def test_groups_that_a_file_has_no_place_for_are_told(
    tree: xr.DataTree, tmp_path: Path
) -> None:
    more = tree.copy()
    more["mine"] = xr.DataTree(xr.Dataset({"a": 1}))
    with pytest.warns(limnd2_xr.Nd2Warning, match="group mine"):
        more.nd2.to_nd2(tmp_path / "b.nd2")
    with pytest.raises(ValueError, match="group mine"):
        more.nd2.to_nd2(tmp_path / "c.nd2", on_loss="raise")
    assert not (tmp_path / "c.nd2").exists()


def test_results_are_copied_with_their_file(source: Path, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("pandas")
    shutil.copy(source, tmp_path / "a.nd2")
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        table = h5.create_group("Recipe/1/Cells")
        table.attrs["Object"] = "Table"
        column = table.create_dataset("Area", data=np.arange(3.0))
        column.attrs["Object"] = "Column"
        column.attrs["Title"] = "Area"
    with xr.open_datatree(tmp_path / "a.nd2", engine="nd2") as tree:
        place = "results/Recipe/Cells"
        assert groups(tree)[f"/{place}"]["Area"].values.tolist() == [0, 1, 2]
        assert_same(written(tree, tmp_path / "b.nd2"), groups(tree))
        assert (tmp_path / "b.h5").read_bytes() == (tmp_path / "a.h5").read_bytes()
        tree.drop_nodes("results").nd2.to_nd2(tmp_path / "c.nd2")
        assert not (tmp_path / "c.h5").exists()
        edited = tree.copy()
        edited[place] = xr.DataTree(tree[place].to_dataset() + 1)
        with pytest.raises(ValueError, match="whole or not at all"):
            edited.nd2.to_nd2(tmp_path / "d.nd2")
        assert not (tmp_path / "d.nd2").exists()
