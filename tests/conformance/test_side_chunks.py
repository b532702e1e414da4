"""Plates, display ranges, JOBS, smaller copies and raw images disturb no other reader."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nd2
import numpy as np
import pytest

from limnd2_xr.frames.deepsim import DeepSimImages, deepsim_chunk_name, encode_deepsim
from limnd2_xr.frames.pyramid import (
    decode_level,
    encode_level,
    smaller_copies,
    stored_levels,
)
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.model.axes import Axes
from limnd2_xr.model.display import DISPLAY, Display, DisplayRange, display_tree
from limnd2_xr.model.frame_wells import FRAME_WELLS, encode_frame_wells
from limnd2_xr.model.guids import GUID_STORE, Guids, guids_tree
from limnd2_xr.model.jobs import (
    JOB_DEFINITION,
    JOB_KIND,
    JOB_RUN_ID,
    Job,
    ProtectedJob,
    encode_run_id,
    job_kind_tree,
    job_tree,
)
from limnd2_xr.model.plates import PLATE_CHUNK, Plate, plate_tree
from limnd2_xr.model.tree_building import i32, nested, string, struct
from limnd2_xr.model.wells import PositionWells, wells_of_frames
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    Point,
    PositionLoop,
    SyntheticSpec,
    ZLoop,
    build,
)
from limnd2_xr.variants.encode import encode
from limnd2_xr.variants.lite import encode as encode_lite

if TYPE_CHECKING:
    from limnd2_xr.frames.layout import PixelLayout
    from limnd2_xr.testing.synthetic import SyntheticFile

CHECK = Path(__file__).resolve().parents[3] / "shared" / "oracles" / "check.py"
INSTALLED = Path(os.environ.get("ND2_ORACLES", "~/.cache/nd2-oracles")).expanduser()

TASK = struct(string("Key", "k"), string("Name", "Capture"), i32("Order", 0))
JOB = Job(
    definition=struct(
        nested("Tasks", struct(nested("Capture_1", TASK))),
        nested("Property", struct(string("Name", "Scan"), string("Desc", "All"))),
    )
)
LOCKED = ProtectedJob(encryption=1, size=3, data=b"\1\2\3")


def plain_file(**more: object) -> SyntheticFile:
    spec = SyntheticSpec(
        loops=(PositionLoop((Point(0, 0), Point(9, 9))), ZLoop(2)),
        channels=(ChannelSpec("DAPI"), ChannelSpec("GFP")),
        width=1102,
        height=701,
        **more,  # type: ignore[arg-type]
    )
    return build(spec)


def layout_of(file: SyntheticFile) -> PixelLayout:
    with FrameStore.open(file.data) as store:
        return store.table.layout


@pytest.fixture(scope="module")
def side_chunks() -> dict[str, bytes]:
    file = plain_file()
    layout = layout_of(file)
    axes = Axes(nesting=(("P", 2), ("Z", 2)))
    wells = PositionWells.of_names(["B3", "B4"])
    display = Display(ranges=(DisplayRange(minimum=10, maximum=9000),) * 2)
    raw = DeepSimImages(images=np.zeros((3, 20, 30), "u2"))
    chunks = {
        PLATE_CHUNK: encode(plate_tree(Plate.of_size(8, 12, name="96"))),
        FRAME_WELLS: encode_frame_wells(wells_of_frames(wells, axes)),
        DISPLAY: encode(display_tree(display, 16)),
        GUID_STORE: encode(guids_tree(Guids(guid="{1}", children=("{2}",)))),
        JOB_RUN_ID: encode_run_id("{run}"),
        JOB_KIND: encode(job_kind_tree(2)),
        JOB_DEFINITION: encode_lite(job_tree(JOB), compressed=True),
        deepsim_chunk_name(0, 0): encode_deepsim(raw),
    }
    for frame, pixels in enumerate(file.frames):
        delivered = np.moveaxis(pixels, -1, 0)
        for level, smaller in smaller_copies(delivered, layout):
            chunks[level.chunk_name(frame)] = encode_level(smaller, level.layout)
    assert len(chunks) == 12
    return chunks


def test_nd2_reads_the_job(side_chunks: dict[str, bytes], tmp_path: Path) -> None:
    path = plain_file(extra_chunks=side_chunks).save(tmp_path / "job.nd2")
    with nd2.ND2File(path) as file:
        found = file.jobs()
    assert found is not None
    assert found["JobRunGUID"] == "{run}"
    assert found["ProgramDesc"] == {"JobDefType": 2}
    assert found["ProtectedJob"] is None
    assert found["Job"] == JOB.to_plain()


def test_nd2_reads_a_protected_job(
    side_chunks: dict[str, bytes], tmp_path: Path
) -> None:
    chunks = {**side_chunks, JOB_DEFINITION: encode(job_tree(LOCKED))}
    path = plain_file(extra_chunks=chunks).save(tmp_path / "job.nd2")
    with nd2.ND2File(path) as file:
        found = file.jobs()
    assert found is not None
    assert found["Job"] is None
    protected = found["ProtectedJob"]
    assert protected is not None
    assert protected["EncryptionType"] == 1
    assert protected["DataSize"] == 3


def test_smaller_copies_are_found_in_a_file(side_chunks: dict[str, bytes]) -> None:
    file = plain_file(extra_chunks=side_chunks)
    sizes: dict[str, int | None] = {k: n for k, (_, n) in file.chunks.items()}
    layout = layout_of(file)
    (level,) = stored_levels(sizes, layout)
    assert (level.level, level.size, level.frames) == (1, 1024, (0, 1, 2, 3))
    smaller = decode_level(side_chunks[level.chunk_name(3)], level.layout)
    assert smaller.shape == (2, 350, 551)
    block = file.frames[3][:2, :2, 1].astype(np.int64)
    assert smaller[1, 0, 0] == block.sum() // 4


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.skipif(
    not (CHECK.exists() and INSTALLED.exists()),
    reason="the foreign readers are not installed",
)
def test_foreign_readers_agree(side_chunks: dict[str, bytes], tmp_path: Path) -> None:
    file = plain_file(extra_chunks=side_chunks)
    path = file.save(tmp_path / "side.nd2")
    frames = {str(i): frame for i, frame in enumerate(file.frames)}
    np.savez(tmp_path / "side.truth.npz", **frames)
    command = [sys.executable, str(CHECK), str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert run.returncode == 0, run.stdout + run.stderr
