"""ROIs, events and columns put into a file afterwards: nd2 reads the same as we do."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nd2
import numpy as np
import pytest
import xarray as xr
from nd2._binary import decode_binary_mask
from numpy.testing import assert_array_equal

import limnd2_xr
from limnd2_xr.arrays.image_roi import ImageRoi
from limnd2_xr.arrays.regions_of_interest import ROI_RASTER
from limnd2_xr.model.custom_description import CustomDescription, DescriptionItem
from limnd2_xr.model.events import Event, Stimulation
from limnd2_xr.model.rois import INTERPRETATIONS, SCOPES, SHAPES
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    Point,
    PositionLoop,
    SyntheticFile,
    SyntheticSpec,
    TimeLoop,
    build,
)

CHECK = Path(__file__).resolve().parents[3] / "shared" / "oracles" / "check.py"
INSTALLED = Path(os.environ.get("ND2_ORACLES", "~/.cache/nd2-oracles")).expanduser()

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZE: Any = {"width": 96, "height": 64}
VERTICES = [(10.0, 12.0), (50.5, 14.0), (40.0, 60.25), (12.0, 33.0)]
MASK = np.zeros((64, 96), np.bool_)
MASK[5:9, 70:90] = True
ROIS = (
    ImageRoi.polygon(VERTICES, label="cell µ", color="#00ff80", **SIZE),
    ImageRoi.rectangle((48, 32), (20, 10), rotation=15.0, id=9, **SIZE),
    ImageRoi.ellipse((20, 20), (8, 6), interpretation="background", **SIZE),
    ImageRoi.raster(MASK, id=4),
    ImageRoi.point(3.5, 4.5, position=1, interpretation="stimulation", **SIZE),
)
EVENTS = (
    Event(time_ms=12.5, meaning=33, description="drug added µ", id=1),
    Event(time_ms=1234.5, meaning=7, data="Wait(2);", id=2),
    Event(time_ms=150.0, meaning=15, stimulation=Stimulation(type=4), id=3),
)
N_FRAMES = 6
COLUMNS: dict[str, Any] = {
    "PFS_STATUS": np.arange(N_FRAMES) - 3,
    "Who": [f"person {i} µ🔬" for i in range(N_FRAMES)],
    "Temp": xr.DataArray(
        [20.5, 21.0, 21.5],
        dims="T",
        attrs={"units": "°C", "long_name": "Temperature"},
    ),
    "Z1": np.linspace(1, 2, N_FRAMES),
}
FORM = CustomDescription(
    name="form", items=(DescriptionItem(kind="text", name="Who", text="me"),)
)


def updated(folder: Path, metadata: Any) -> tuple[Path, SyntheticFile]:
    """Make a file to which everything was added in place, first other things."""
    spec = SyntheticSpec(
        loops=(TimeLoop(3), PositionLoop((Point(1.0, 2.0), Point(3.0, 4.0)))),
        channels=(ChannelSpec("DAPI"), ChannelSpec("GFP")),
        metadata=metadata,
        **SIZE,
    )
    file = build(spec)
    path = file.save(folder / "a.nd2")
    columns = dict(COLUMNS)
    if metadata == "xml":
        del columns["Z1"]  # where the stage was cannot be changed in such a file
    limnd2_xr.update_nd2(path, rois=ROIS[:2], events=EVENTS[:1])
    limnd2_xr.update_nd2(
        path, rois=ROIS, events=EVENTS, columns=columns, custom_description=FORM
    )
    return path, file


@pytest.fixture(scope="module", params=["lv", "xml"])
def path(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return updated(tmp_path_factory.mktemp("updated"), request.param)[0]


def test_nd2_reads_the_same_rois(path: Path) -> None:
    with nd2.ND2File(path) as file:
        theirs = file.rois
    with xr.open_dataset(path, engine="nd2") as ds:
        ours = {item.id: item for item in ds.nd2.rois}
    assert list(theirs) == list(ours) == [2, 9, 3, 4, 5]  # 1 was taken
    for number, found in theirs.items():
        roi = ours[number].roi
        info = found.info
        assert (found.guid, info.label) == (roi.guid, roi.label)
        assert SHAPES[info.shapeType] == roi.shape
        assert INTERPRETATIONS[info.interpType] == roi.interpretation
        assert SCOPES[info.scope] == roi.scope
        assert info.color.to_bytes(3, "little").hex() == roi.color[1:]
        (frame,), (theirs_,) = roi.key_frames, found.animParams
        assert theirs_.center == (frame.center_x, frame.center_y, frame.center_z)
        assert theirs_.boxShape == (frame.size_x, frame.size_y, frame.size_z)
        assert theirs_.rotationZ == frame.rotation
        assert tuple(theirs_.extrudedShape.basePoints) == frame.points
    for made, roi in zip(ROIS, ours.values(), strict=True):
        np.testing.assert_allclose(
            roi.to_mask().astype(int), made.to_mask().astype(int)
        )
    np.testing.assert_allclose(ours[2].to_polygon(), VERTICES, atol=1e-9)
    (frame,) = theirs[2].animParams
    half = np.array([48.0, 32.0])
    # FORMAT 10.4: centre and offsets are in halves of the image's width and height.
    points = (np.array(frame.center[:2]) + 1 + frame.extrudedShape.basePoints) * half
    np.testing.assert_allclose(points, VERTICES, atol=1e-9)


def test_nd2_reads_the_pixels_of_raster_rois(path: Path) -> None:
    with xr.open_dataset(path, engine="nd2") as ds:
        payload = ds.nd2.chunk(ROI_RASTER, raw=True)
    assert_array_equal(decode_binary_mask(payload[4:]), MASK * 4)


def known(values: Sequence[Any]) -> list[Any]:
    """Values of a column that are not missing."""
    return [v for v in values if not (isinstance(v, float) and math.isnan(v))]


def test_nd2_gives_the_same_table(path: Path) -> None:
    with nd2.ND2File(path) as file:
        theirs = file.events(orient="list", null_value=math.nan)
    with xr.open_dataset(path, engine="nd2") as ds:
        ours = ds.nd2.events()
    assert list(theirs) == list(ours)
    for title in theirs:
        a, b = list(theirs[title]), ours[title].tolist()
        assert known(a) == known(b), title
    texts = [text for text in theirs["Events"] if isinstance(text, str)]
    assert texts == ["drug added µ", "Stimulation Phase Begin", "Command Executed"]
    assert known(theirs["Temperature [°C]"]) == [20.5, 20.5, 21.0, 21.0, 21.5, 21.5]
    assert [x for x in theirs["Who"] if isinstance(x, str)] == COLUMNS["Who"]


def test_nd2_reads_the_pixels_and_the_settings(path: Path) -> None:
    with nd2.ND2File(path) as file:
        pixels, tags = file.asarray(), file.custom_data["CustomDataV2_0"]
    with xr.open_dataset(path, engine="nd2") as ds:
        assert_array_equal(ds["image"].values, pixels)
        described = ds.nd2.metadata.recorded_columns
    titles = [
        (tag["ID"], tag["Desc"], tag["Unit"])
        for tag in tags["CustomTagDescription_v1.0"].values()
    ]
    assert titles == [(c.id, c.description, c.unit) for c in described]


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.skipif(
    not (CHECK.exists() and INSTALLED.exists()),
    reason="the foreign readers are not installed",
)
def test_no_reader_is_disturbed(tmp_path: Path) -> None:
    path, file = updated(tmp_path, "lv")
    frames: dict[str, Any] = {str(i): frame for i, frame in enumerate(file.frames)}
    np.savez(tmp_path / "a.truth.npz", **frames)
    command = [sys.executable, str(CHECK), str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert run.returncode == 0, run.stdout + run.stderr
