"""Whole files with ROIs, events, recorded columns and a form: other readers agree.

nd2 reads the first three; the vendor's SDK and Bio-Formats, where they are installed,
must read the pixels as if nothing of it were there.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nd2
import numpy as np
import pandas as pd
import pytest
from nd2._sdk_types import EventMeaning
from numpy.testing import assert_array_equal

from limnd2_xr.frames.store import FrameStore
from limnd2_xr.model.custom_description import (
    DESCRIPTION_CHUNK,
    CustomDescription,
    DescriptionItem,
    custom_description_tree,
    parse_custom_description,
)
from limnd2_xr.model.event_words import EVENT_LABELS
from limnd2_xr.model.events import (
    EVENT_CHUNKS,
    WRITTEN_CHUNK,
    Event,
    Stimulation,
    events_tree,
    merged_events,
    parse_events,
)
from limnd2_xr.model.recorded import column_chunk, decode_recorded, recorded_table
from limnd2_xr.model.roi_tree import rois_tree
from limnd2_xr.model.rois import (
    INTERPRETATIONS,
    ROI_CHUNK,
    SCOPES,
    SHAPES,
    Roi,
    RoiKeyFrame,
    parse_rois,
)
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    Column,
    Point,
    PositionLoop,
    SyntheticFile,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)
from limnd2_xr.variants import lite
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.encode import encode

if TYPE_CHECKING:
    import numpy.typing as npt

CHECK = Path(__file__).resolve().parents[3] / "shared" / "oracles" / "check.py"
INSTALLED = Path(os.environ.get("ND2_ORACLES", "~/.cache/nd2-oracles")).expanduser()

ROIS = (
    *(
        Roi(
            id=i + 1,
            guid=f"{{{i:08X}-0000-0000-0000-000000000000}}",
            label=f"ROI {i} µm",
            shape=shape,
            interpretation=INTERPRETATIONS[i % 5],
            color=f"#{i:02x}8040",
            stimulation_group=i,
            locked=i % 2 == 0,
            cookie=i + 7,
            app_data=i,
            multi_frame=i % 3 == 0,
            component_count=1,
            bits_per_component=12,
            autodetected=i % 2 == 1,
            gradient_stimulation=True,
            gradient_bits=8,
            gradient_low=0.25,
            gradient_high=0.75,
            key_frames=(
                RoiKeyFrame(
                    center_x=0.1 * i - 0.5,
                    center_y=-0.25,
                    rotation=3.0 * i,
                    size_x=0.25,
                    size_y=0.125,
                    points=((-0.1, -0.2), (0.3, 0.0), (0.0, 0.4)) if i > 4 else (),
                ),
                RoiKeyFrame(time_ms=50.0 * i, enabled=False, center_z=2.0, size_z=1.0),
            ),
        )
        for i, shape in enumerate(SHAPES)
    ),
    Roi(id=50, position=0, scope="position", shape="circle"),
    Roi(
        id=51, position=2, scope="position", shape="point", key_frames=(RoiKeyFrame(),)
    ),
)
PHASE = Stimulation(type=4, loop_index=1, position=2, description="365 nm: 3.0%")
EVENTS = (
    *(Event(time_ms=40.0 * code + 1, meaning=code, id=code) for code in range(55)),
    Event(time_ms=-3.0, time2_ms=5.0, description="drug added µ", data="A", id=60),
    Event(time_ms=1e6, meaning=15, stimulation=PHASE, id=61),
    Event(time_ms=1e6, meaning=15, stimulation=Stimulation(type=5), id=62),
)
FORM = CustomDescription(
    name="Sample form",
    items=(
        DescriptionItem(kind="text", name="Who", text="me"),
        DescriptionItem(kind="long text", name="Notes", text="a\r\nb"),
        DescriptionItem(kind="selection", name="Medium", value=1, labels=("a", "b")),
        DescriptionItem(kind="date", name="When", value=1_700_000_000_000),
    ),
)


def everything() -> SyntheticFile:
    columns: dict[str, Any] = {
        "X": Column(np.linspace(-5, 5, 24), description="X Coord", unit="µm"),
        "PFS_STATUS": Column(np.arange(24) - 3, description="PFS Status"),
        "Who": Column([f"person {i} µ🔬"[: i % 12] for i in range(24)], unit=" "),
        "Again": Column(np.arange(24.0), description="PFS Status"),
    }
    spec = SyntheticSpec(
        loops=(
            TimeLoop(2),
            PositionLoop(
                (
                    Point(1.0, 2.0, 0.0, name="A"),
                    Point(3.0, 4.0, 0.0),
                    Point(5.0, 6.0, 0.0, name="C"),
                )
            ),
            ZLoop(4, step_um=0.5),
        ),
        channels=(ChannelSpec("DAPI"), ChannelSpec("GFP")),
        width=256,
        height=192,
        columns=columns,
        extra_chunks={
            ROI_CHUNK: encode(rois_tree(ROIS)),
            WRITTEN_CHUNK: encode(events_tree(EVENTS)),
            DESCRIPTION_CHUNK: lite.encode(
                custom_description_tree(FORM), compressed=True
            ),
        },
    )
    return build(spec)


def table_of(store: FrameStore) -> dict[str, npt.NDArray[Any]]:
    names = {name for name in EVENT_CHUNKS if store.state.chunks.find(name)}
    payloads = store.read_chunks(names)
    events = {name: parse_events(decode(data)) for name, data in payloads.items()}
    columns = {
        column.id: decode_recorded(
            store.read_chunk(column_chunk(column.id)), column, store.axes.n_frames
        )
        for column in store.document.recorded_columns
    }
    return recorded_table(
        store.document,
        store.axes,
        times_ms=store.records.times_ms,
        columns=columns,
        events=merged_events(events),
    )


def assert_same_table(
    ours: dict[str, npt.NDArray[Any]], theirs: dict[str, Any]
) -> None:
    assert ours.keys() == theirs.keys()
    for title, values in ours.items():
        found = np.array(list(theirs[title]), object)
        gaps = [isinstance(value, float) and math.isnan(value) for value in found]
        assert_array_equal(pd.isna(values), gaps, title)
        assert_array_equal(values[~np.array(gaps)], found[~np.array(gaps)], title)


def test_nd2_reads_the_same_rois(tmp_path: Path) -> None:
    with nd2.ND2File(everything().save(tmp_path / "all.nd2")) as file:
        rois = file.rois
    assert list(rois) == [roi.id for roi in ROIS]
    for roi in ROIS:
        theirs = rois[roi.id]
        info = theirs.info
        assert theirs.guid == roi.guid
        assert SHAPES[info.shapeType] == roi.shape
        assert INTERPRETATIONS[info.interpType] == roi.interpretation
        assert SCOPES[info.scope] == roi.scope
        assert info.color.to_bytes(3, "little").hex() == roi.color[1:]
        assert (
            info.label,
            info.cookie,
            info.stimulationGroup,
            info.appData,
            info.multiFrame,
            info.locked,
            info.compCount,
            info.bpc,
            info.autodetected,
            info.gradientStimulation,
            info.gradientStimulationBitDepth,
            info.gradientStimulationLo,
            info.gradientStimulationHi,
        ) == (
            roi.label,
            roi.cookie,
            roi.stimulation_group,
            roi.app_data,
            roi.multi_frame,
            roi.locked,
            roi.component_count,
            roi.bits_per_component,
            roi.autodetected,
            roi.gradient_stimulation,
            roi.gradient_bits,
            roi.gradient_low,
            roi.gradient_high,
        )
        for frame, found in zip(roi.key_frames, theirs.animParams, strict=True):
            assert found.timeMs == frame.time_ms
            assert found.enabled == frame.enabled
            assert found.center == (frame.center_x, frame.center_y, frame.center_z)
            assert found.rotationZ == frame.rotation
            assert found.boxShape == (frame.size_x, frame.size_y, frame.size_z)
            assert found.extrudedShape.sizeZ == frame.extruded_z
            assert tuple(found.extrudedShape.basePoints) == frame.points


def test_nd2_gives_the_same_table(tmp_path: Path) -> None:
    path = everything().save(tmp_path / "all.nd2")
    with nd2.ND2File(path) as file:
        theirs = file.events(orient="list", null_value=math.nan)
    with FrameStore.open(path) as store:
        assert_same_table(table_of(store), dict(theirs))


def test_nd2_has_the_same_labels() -> None:
    for code in range(55):
        assert EVENT_LABELS.get(code, "") == EventMeaning(code).description()


def test_it_is_read_from_the_file(tmp_path: Path) -> None:
    with FrameStore.open(everything().save(tmp_path / "all.nd2")) as store:
        chunks = store.read_chunks([ROI_CHUNK, WRITTEN_CHUNK, DESCRIPTION_CHUNK])
    assert parse_rois(decode(chunks[ROI_CHUNK])) == ROIS
    assert parse_events(decode(chunks[WRITTEN_CHUNK])) == EVENTS
    assert parse_custom_description(decode(chunks[DESCRIPTION_CHUNK])) == FORM


@pytest.mark.realdata
def test_real_tables(each_real: Path) -> None:
    with nd2.ND2File(each_real) as file:
        theirs = dict(file.events(orient="list"))
    with FrameStore.open(each_real) as store:
        ours = table_of(store)
    assert list(ours) == list(theirs)
    assert_same_table(ours, theirs)


@pytest.mark.realdata
def test_real_chunks_come_back_to_the_byte(each_real: Path) -> None:
    with FrameStore.open(each_real) as store:
        if store.state.chunks.find(ROI_CHUNK):
            data = store.read_chunk(ROI_CHUNK)
            assert encode(rois_tree(parse_rois(decode(data)))) == data
        if store.state.chunks.find(DESCRIPTION_CHUNK):
            tree = decode(store.read_chunk(DESCRIPTION_CHUNK))
            assert custom_description_tree(parse_custom_description(tree)) == tree


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.skipif(
    not (CHECK.exists() and INSTALLED.exists()),
    reason="the foreign readers are not installed",
)
def test_no_reader_is_disturbed(tmp_path: Path) -> None:
    file = everything()
    path = file.save(tmp_path / "all.nd2")
    frames: dict[str, Any] = {str(i): frame for i, frame in enumerate(file.frames)}
    np.savez(tmp_path / "all.truth.npz", **frames)
    command = [sys.executable, str(CHECK), str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert run.returncode == 0, run.stdout + run.stderr
