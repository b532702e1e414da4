"""ROIs, recorded columns, events and smaller copies in the tree of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import limnd2_xr
from limnd2_xr.frames.layout import PixelLayout
from limnd2_xr.frames.pyramid import encode_level, smaller_copies
from limnd2_xr.model.events import WRITTEN_CHUNK, Event, events_tree
from limnd2_xr.model.roi_tree import rois_tree
from limnd2_xr.model.rois import ROI_CHUNK, Roi, RoiKeyFrame
from limnd2_xr.testing.synthetic import Column, SyntheticSpec, TimeLoop, ZLoop, build
from limnd2_xr.variants import lite

if TYPE_CHECKING:
    from pathlib import Path

BOX = RoiKeyFrame(center_x=0.5, size_x=0.5, size_y=1.0)
ROIS = (
    Roi(id=1, label="box", shape="rectangle", color="#00ff00", key_frames=(BOX,)),
    Roi(id=2, label="dot", shape="point", position=0, key_frames=(RoiKeyFrame(),)),
)
EVENTS = (
    Event(time_ms=1500.0, meaning=7, data="Wait(2);", id=1),
    Event(time_ms=500.0, meaning=33, description="drug added", id=2),
)


def opened(tmp_path: Path, **spec: Any) -> xr.DataTree:
    made = build(SyntheticSpec(**{"width": 80, "height": 60, **spec}))
    return xr.open_datatree(made.save(tmp_path / "a.nd2"), engine="nd2")


def group(tree: xr.DataTree, path: str) -> xr.Dataset:
    node = tree[path]
    assert isinstance(node, xr.DataTree)
    return node.to_dataset()


def test_rois_are_a_table(tmp_path: Path) -> None:
    extra = {ROI_CHUNK: lite.encode(rois_tree(ROIS))}
    with opened(tmp_path, extra_chunks=extra) as tree:
        rois = group(tree, "rois")
        assert rois["label"].values.tolist() == ["box", "dot"]
        assert rois["shape"].values.tolist() == ["rectangle", "point"]
        assert rois["color"].values[0] == "#00ff00"
        assert rois["position"].values.tolist() == [-1, 0]
        assert rois["center_x"].values.tolist() == [0.5, 0.0]
        box, dot = tree.to_dataset().nd2.rois
    assert box.to_polygon().tolist() == [[50, 15], [70, 15], [70, 45], [50, 45]]
    assert box.to_mask().sum() == 20 * 30
    assert dot.to_mask().sum() == 1


def test_recorded_columns_run_over_the_loops(tmp_path: Path) -> None:
    columns = {
        "X": Column(np.arange(6.0), description="X Coord", unit="um"),
        "PFS_STATUS": Column(np.arange(6)),
        "Who": Column(list("abcdef"), description="Operator"),
    }
    loops = (ZLoop(2), TimeLoop(3))
    with opened(tmp_path, loops=loops, columns=columns) as tree:
        recorded = group(tree, "recorded")
        assert recorded["stage_x"].dims == ("T", "Z")
        assert recorded["stage_x"].attrs["units"] == "um"
        assert recorded["stage_x"].attrs["long_name"] == "X Coord"
        assert recorded["PFS_STATUS"].dtype.kind == "i"
        assert recorded["Who"].values.tolist() == [["a", "d"], ["b", "e"], ["c", "f"]]


def test_events_are_a_table_by_time(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    extra = {WRITTEN_CHUNK: lite.encode(events_tree(EVENTS))}
    with opened(tmp_path, loops=(TimeLoop(3),), extra_chunks=extra) as tree:
        events = group(tree, "events")
        assert events["time"].values.tolist() == [0.5, 1.5]
        assert events["text"].values.tolist() == ["drug added", "Command Executed"]
        assert events["meaning_code"].values.tolist() == [33, 7]
        frame = tree.to_dataset().nd2.events()
    assert list(frame["Events"].dropna()) == ["drug added", "Command Executed"]
    assert len(frame) == 5


def test_smaller_copies_are_groups(tmp_path: Path) -> None:
    layout = PixelLayout(
        height=700,
        width=1100,
        channels=1,
        samples=1,
        dtype=np.dtype("u2"),
        row_nbytes=2200,
    )
    pixels = np.arange(700 * 1100, dtype="u2").reshape(1, 700, 1100)
    extra = {}
    copies = {}
    for size, copy in smaller_copies(pixels, layout):
        for frame in range(2):
            extra[size.chunk_name(frame)] = encode_level(copy + frame, size.layout)
        copies[size.level] = copy
    spec: dict[str, Any] = {"width": 1100, "height": 700, "loops": (TimeLoop(2),)}
    with opened(tmp_path, extra_chunks=extra, calibration_um=0.5, **spec) as tree:
        assert list(copies) == [1]
        level = group(tree, "levels/1")["image"]
        assert level.dims == ("T", "C", "Y_1", "X_1")
        assert np.array_equal(level.isel(T=1), copies[1] + 1)
        assert np.array_equal(
            level[0, 0, 10::40, [3, 1]], copies[1][0, 10::40, [3, 1]].T
        )
        assert level["X_1"].values[:2].tolist() == [0.25, 1.25]


@pytest.mark.parametrize("name", [ROI_CHUNK, WRITTEN_CHUNK, "CustomData|X!"])
def test_a_damaged_part_costs_a_warning_and_nothing_else(
    tmp_path: Path, name: str
) -> None:
    with pytest.warns(limnd2_xr.Nd2Warning) as caught:
        tree = opened(
            tmp_path, loops=(TimeLoop(3),), extra_chunks={name: b"\x0b\x01abc"}
        )
    assert any(name in str(warning.message) for warning in caught)
    with tree:
        assert tree["image"].sizes["T"] == 3
        assert int(tree["image"].sum()) > 0
