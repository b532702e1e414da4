"""ROIs, events and the form of an existing file, changed in place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import limnd2_xr
from limnd2_xr.arrays.image_roi import ImageRoi
from limnd2_xr.model.custom_description import (
    DESCRIPTION_CHUNK,
    CustomDescription,
    DescriptionItem,
)
from limnd2_xr.model.events import WRITTEN_CHUNK, Event
from limnd2_xr.model.rois import ROI_CHUNK, Roi
from limnd2_xr.testing.contents import EVENTS, ROIS, contents
from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = SyntheticSpec(loops=(TimeLoop(3),), width=80, height=60)
FORM = CustomDescription(
    name="form", items=(DescriptionItem(kind="text", name="Who", text="me"),)
)


@pytest.fixture(params=["lv", "xml"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file that holds ROIs, events and a form."""
    spec = replace(PLAIN, extra_chunks=contents(PLAIN), metadata=request.param)
    return build(spec).save(tmp_path / "a.nd2")


def payloads(path: Path) -> dict[str, bytes]:
    with xr.open_dataset(path, engine="nd2") as ds:
        names = [chunk.name for chunk in ds.nd2.chunks()]
        return {name: ds.nd2.chunk(name, raw=True) for name in names}


def groups(path: Path) -> dict[str, xr.Dataset]:
    with xr.open_datatree(path, engine="nd2") as tree:
        return {
            name: tree[name].to_dataset().load()
            for name in ("rois", "events")
            if name in tree.children
        }


def rois_of(path: Path) -> tuple[ImageRoi, ...]:
    with xr.open_dataset(path, engine="nd2") as ds:
        found: tuple[ImageRoi, ...] = ds.nd2.rois
    return found


def changed(path: Path, before: dict[str, bytes]) -> set[str]:
    after = payloads(path)
    return {n for n in {*before, *after} if before.get(n) != after.get(n)}


def test_what_the_file_has_already_changes_nothing(path: Path) -> None:
    before, tables = payloads(path), groups(path)
    with xr.open_dataset(path, engine="nd2") as ds:
        form = ds.nd2.custom_description
    limnd2_xr.update_nd2(
        path, rois=tables["rois"], events=tables["events"], custom_description=form
    )
    limnd2_xr.update_nd2(path, rois=rois_of(path), events=EVENTS)
    assert changed(path, before) == set()


def test_rois_of_any_kind_become_those_of_the_file(path: Path) -> None:
    before = payloads(path)
    made = ImageRoi.polygon(
        [(1, 2), (30, 2), (30, 40)], width=80, height=60, label="cell"
    )
    limnd2_xr.update_nd2(path, rois=[*rois_of(path)[:1], Roi(id=5, shape="any"), made])
    assert changed(path, before) == {ROI_CHUNK}
    first, second, third = rois_of(path)
    assert (first.roi, second.roi) == (ROIS[0], Roi(id=5, shape="any"))
    assert (third.id, third.label) == (3, "cell")
    np.testing.assert_allclose(third.to_polygon(), made.to_polygon(), atol=1e-9)
    limnd2_xr.update_nd2(path, rois=())
    assert rois_of(path) == ()


def test_raster_rois_bring_their_pixels(path: Path) -> None:
    mask = np.zeros((60, 80), np.bool_)
    mask[3:5, 7:20] = True
    limnd2_xr.update_nd2(path, rois=[*ROIS, ImageRoi.raster(mask, id=9)])
    assert (rois_of(path)[1].to_mask() == mask).all()
    before = payloads(path)
    limnd2_xr.update_nd2(path, rois=groups(path)["rois"])
    assert changed(path, before) == set()


def test_an_edited_table_of_rois(path: Path) -> None:
    table = groups(path)["rois"]
    table["label"][0], table["center_y"][0] = "new", 0.25
    limnd2_xr.update_nd2(path, rois=table)
    frames = (replace(ROIS[0].key_frames[0], center_y=0.25), ROIS[0].key_frames[1])
    assert [item.roi for item in rois_of(path)] == [
        replace(ROIS[0], label="new", key_frames=frames),
        ROIS[1],
    ]


def test_events_become_those_of_the_file(path: Path) -> None:
    before = payloads(path)
    more = Event(time_ms=900.0, meaning=34, id=7)
    limnd2_xr.update_nd2(path, events=[*EVENTS, more])
    assert changed(path, before) == {WRITTEN_CHUNK}
    table = groups(path)["events"]
    assert table["time"].values.tolist() == [0.5, 0.9, 1.5]
    assert table["text"].values.tolist() == ["drug added", "User 2", "Command Executed"]
    limnd2_xr.update_nd2(path, events=table.isel(event=[1]))
    assert groups(path)["events"]["id"].values.tolist() == [7]
    limnd2_xr.update_nd2(path, events=())
    assert "events" not in groups(path)
    assert WRITTEN_CHUNK not in payloads(path)


def test_the_form_is_replaced(path: Path) -> None:
    before = payloads(path)
    limnd2_xr.update_nd2(path, custom_description=FORM)
    assert changed(path, before) == {DESCRIPTION_CHUNK}
    with xr.open_dataset(path, engine="nd2") as ds:
        assert ds.nd2.custom_description == FORM


def test_all_at_once_is_one_change(tmp_path: Path) -> None:
    path = build(PLAIN).save(tmp_path / "plain.nd2")
    limnd2_xr.update_nd2(
        path,
        rois=ROIS,
        events=EVENTS,
        columns={"V": [1, 2, 3]},
        custom_description=FORM,
        attrs={"author": "A"},
    )
    assert path.read_bytes().count(b"ND2 FILEMAP SIGNATURE NAME 0001!") == 2
    assert payloads(path)[DESCRIPTION_CHUNK].startswith(b"LV0Z")
    with xr.open_dataset(path, engine="nd2") as ds:
        assert ds.attrs["author"] == "A"
        assert tuple(item.roi for item in ds.nd2.rois) == ROIS
        assert ds.nd2.events()["V"].dropna().tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rois": [ImageRoi.point(1, 2, width=8, height=8)]}, "an image of 8 rows and"),
        ({"rois": [Roi(id=2), Roi(id=2)]}, "2 ROIs have the number 2"),
        ({"rois": [Roi(id=1, color="red")]}, "color 'red' is not of the form"),
        ({"rois": [Roi(id=1, shape="raster")]}, "its pixels are not known"),
        ({"events": xr.Dataset({"id": ("event", [1])})}, "has no column time"),
        ({"events": [Event(description="a\0b")]}, "NUL"),
        (
            {"events": (), "chunks": {WRITTEN_CHUNK: b"x"}},
            "given twice: as chunk, and by what it holds",
        ),
        (
            {
                "custom_description": CustomDescription(
                    items=(DescriptionItem(kind="text", name="Who", value=1.0),)
                )
            },
            "'Who' of kind 'text' has an answer of another kind",
        ),
    ],
)
def test_what_cannot_be_stored_leaves_the_file_as_it_was(
    path: Path, given: dict[str, Any], message: str
) -> None:
    data = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        limnd2_xr.update_nd2(path, **given)
    assert path.read_bytes() == data
