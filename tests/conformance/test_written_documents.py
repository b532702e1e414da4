"""Foreign readers find in written files what the document says.

nd2 comes with the tests. The vendor's SDK and Bio-Formats are asked too where they are
installed by shared/oracles/setup.sh.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nd2
import numpy as np
import pytest

from limnd2_xr.model.attributes import Attributes
from limnd2_xr.model.channels import Channel
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.experiment import (
    CustomLoop,
    Experiment,
    NETimeLoop,
    Period,
    SpectralLoop,
    TimeLoop,
    XYPoint,
    XYPositionLoop,
    ZStackLoop,
)
from limnd2_xr.model.optics import Optics
from limnd2_xr.model.picture import Acquisition, Picture
from limnd2_xr.model.raw import FRAME_TIMES, encode_raw
from limnd2_xr.model.records import FrameRecords
from limnd2_xr.testing.chunk_writer import ChunkWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHECK = Path(__file__).resolve().parents[3] / "shared" / "oracles" / "check.py"
INSTALLED = Path(os.environ.get("ND2_ORACLES", "~/.cache/nd2-oracles")).expanduser()

T = TimeLoop(count=2, declared_count=2, period_ms=1000.0, duration_ms=1000.0)
Z = ZStackLoop(count=4, declared_count=4, step_um=0.5, home_index=1, type_code=2)
P = XYPositionLoop(
    count=3,
    declared_count=3,
    points=tuple(
        XYPoint(index=i, x_um=10.0 * i, y_um=-5.0 * i, name=f"P{i}") for i in range(3)
    ),
)
PERIODS = NETimeLoop(
    count=5,
    declared_count=7,
    periods=(
        Period(count=3, period_ms=10.0),
        Period(count=2, valid=False),
        Period(count=2, period_ms=100.0),
    ),
)
DAPI = Channel(
    name="DAPI",
    color="#0000ff",
    emission_nm=450.0,
    excitation_nm=405.0,
    exposure_s=0.1,
    modality="fluorescence, spinning disk",
    pinhole_um=50.0,
    binning="2x2",
    filters=("Quad", "Blue"),
    probe="Hoechst",
)
GFP = Channel(name="GFP", color="#00ff00", emission_nm=520.0, excitation_nm=488.0)
OPTICS = Optics(
    objective="Plan Apo 20x",
    numerical_aperture=0.75,
    refractive_index=1.0,
    zoom=1.0,
    pixel_size_um=0.325,
    camera="Cam",
    microscope="Ti2",
)


def document(
    *loops: Any,
    channels: tuple[Channel, ...] = (GFP,),
    dtype: str = "uint16",
    **more: Any,
) -> Nd2Document:
    stored = np.dtype(dtype)
    components = sum(channel.component_count for channel in channels)
    attributes = Attributes(
        width=256,
        height=256,
        components=components,
        bits_in_memory=8 * stored.itemsize,
        bits_significant=8 * stored.itemsize,
        row_nbytes=256 * components * stored.itemsize,
        sequence_count=int(np.prod([loop.count for loop in loops], dtype=int)),
        pixel_type="float" if stored.kind == "f" else "unsigned",
    )
    spectral = more.pop("spectral", None)
    experiment = Experiment(loops=loops, spectral=spectral)
    return Nd2Document(
        attributes=attributes, channels=channels, experiment=experiment, **more
    )


def write(
    path: Path, written: Nd2Document, records: FrameRecords | None = None
) -> NDArray[Any]:
    """Write a file with noise for pixels, and these beside it as the truth."""
    raw = written.to_raw(records or FrameRecords())
    attributes = written.attributes
    n, dtype = attributes.sequence_count, attributes.dtype
    shape = n, attributes.height, attributes.width, attributes.components
    frames = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    rows = frames.view(np.uint8).reshape(n, -1)
    payloads = encode_raw(raw)
    # Bio-Formats finds per-frame values only behind the frames
    behind = [name for name in payloads if name.startswith("CustomData|")]
    with path.open("wb") as file:
        writer = ChunkWriter(file)
        for name, payload in payloads.items():
            if name not in behind:
                writer.put(name, payload)
        writer.put_frames(
            np.arange(n),
            np.frombuffer(raw.data[FRAME_TIMES], "<f8"),
            lambda i, j: rows[i:j],
            frame_nbytes=attributes.frame_nbytes,
        )
        for name in behind:
            writer.put(name, payloads[name])
        writer.finish()
    np.savez(path.with_suffix(".truth.npz"), **{str(i): frames[i] for i in range(n)})
    return frames


def full() -> tuple[Nd2Document, FrameRecords]:
    stage_x = np.tile(np.repeat([0.0, 10.0, 20.0], 4), 2)
    records = FrameRecords(
        times_ms=np.linspace(5.0, 2305.0, 24),
        x=stage_x,
        y=-stage_x / 2,
        z=np.tile(100 + np.arange(4) * 0.5, 6),
    )
    written = document(
        T,
        P,
        Z,
        channels=(DAPI, GFP),
        optics=OPTICS,
        acquisition=Acquisition(start_jd=2460742.25),
        picture=Picture(x_um=0.0, y_um=0.0, z_um=100.0),
    )
    return written, records


PLAIN: dict[str, tuple[Nd2Document, dict[str, int]]] = {
    "minimal": (document(), {}),
    "no_channels": (
        replace(
            document(channels=(GFP, GFP, GFP)),
            channels=(),
        ),
        {"C": 3},
    ),
    "z_first": (document(replace(Z, type_code=6), T, optics=OPTICS), {"Z": 4, "T": 2}),
    "periods": (
        document(
            PERIODS,
            spectral=SpectralLoop(count=1, declared_count=1, names=("GFP",)),
        ),
        {"T": 5},
    ),
    "rgb": (
        document(T, channels=(Channel(name="HE", component_count=3),), dtype="uint8"),
        {"T": 2, "S": 3},
    ),
    "float": (
        document(T, dtype="float32", optics=replace(OPTICS, rotation_rad=0.1)),
        {"T": 2},
    ),
    "custom": (
        document(
            CustomLoop(count=3, declared_count=3),
            T,
            channels=(DAPI, GFP),
            spectral=SpectralLoop(
                count=2,
                declared_count=2,
                names=("DAPI", "GFP"),
                offsets_um=(0.0, 0.5),
            ),
        ),
        {"U": 3, "T": 2, "C": 2},
    ),
    "dropped_points": (
        document(replace(P, count=2, points=(P.points[0], P.points[2]))),
        {"P": 2},
    ),
    "position_z": (
        document(
            replace(
                P,
                use_z=True,
                relative_xy=True,
                reference_x_um=5.0,
                points=tuple(replace(p, z_um=7.5) for p in P.points),
            )
        ),
        {"P": 3},
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_nd2_reads_all_of_it(name: str, tmp_path: Path) -> None:
    written, sizes = PLAIN[name]
    frames = write(tmp_path / "a.nd2", written)
    found, _ = Nd2Document.from_raw(written.to_raw(FrameRecords()))
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert dict(file.sizes) == {**sizes, "Y": 256, "X": 256}
        assert file.attributes.componentCount == written.attributes.components
        assert len(file.experiment) == len(written.experiment.loops)
        metadata = file.metadata
        assert not isinstance(metadata, dict)
        channels = metadata.channels
        assert channels is not None
        names = [channel.channel.name for channel in channels]
        assert names == [channel.name for channel in found.channels]
        assert len(file.events()) == len(frames)
        assert file.text_info["description"].startswith("Metadata:")
        for i in range(len(frames)):
            got = file.read_frame(i)
            stored = (
                frames[i] if written.attributes.components > 1 else frames[i, ..., 0]
            )
            if got.shape != stored.shape:
                got = np.moveaxis(got, 0, -1)
            np.testing.assert_array_equal(got, stored)
            info = file.frame_metadata(i)
            assert not isinstance(info, dict)
            assert info.channels is not None
            assert info.channels[0].time.relativeTimeMs == -1.0


def test_nd2_finds_every_value(tmp_path: Path) -> None:
    written, records = full()
    write(tmp_path / "a.nd2", written, records)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert dict(file.sizes) == {"T": 2, "P": 3, "Z": 4, "C": 2, "Y": 256, "X": 256}
        voxel = file.voxel_size()
        assert (voxel.x, voxel.y, voxel.z) == (0.325, 0.325, 0.5)
        time, points, stack = file.experiment
        assert time.parameters.periodMs == 1000.0  # type: ignore[union-attr]
        listed = points.parameters.points  # type: ignore[union-attr]
        assert [point.name for point in listed] == ["P0", "P1", "P2"]
        assert listed[2].stagePositionUm[:2] == (20.0, -10.0)
        assert stack.parameters.homeIndex == 1  # type: ignore[union-attr]
        assert stack.parameters.stepUm == 0.5  # type: ignore[union-attr]
        metadata = file.metadata
        assert not isinstance(metadata, dict)
        assert metadata.channels is not None
        dapi, gfp = metadata.channels
        assert (dapi.channel.emissionLambdaNm, dapi.channel.excitationLambdaNm) == (
            450.0,
            405.0,
        )
        assert (gfp.channel.emissionLambdaNm, gfp.channel.excitationLambdaNm) == (
            520.0,
            488.0,
        )
        assert [dapi.channel.index, gfp.channel.index] == [0, 1]
        assert (dapi.channel.color.r, dapi.channel.color.b) == (0, 255)
        microscope = dapi.microscope
        assert microscope.objectiveName == "Plan Apo 20x"
        assert microscope.objectiveMagnification == 20.0
        assert microscope.objectiveNumericalAperture == 0.75
        assert microscope.immersionRefractiveIndex == 1.0
        assert microscope.zoomMagnification == 1.0
        assert microscope.pinholeDiameterUm == 50.0
        assert microscope.modalityFlags == ["fluorescence", "spinningDiskConfocal"]
        assert gfp.microscope.modalityFlags == ["fluorescence"]
        assert dapi.volume.axesCalibrated == (True, True, True)
        info = file.frame_metadata(23)
        assert not isinstance(info, dict)
        assert info.channels is not None
        moment = info.channels[0].time
        assert moment.relativeTimeMs == 2305.0
        days = 2460742.25 + (5.0 + 2305.0) / 86_400_000  # nd2 counts from frame 0
        assert moment.absoluteJulianDayNumber == pytest.approx(days, abs=1e-9)
        events = file.events()
        assert [event["X Coord [\N{MICRO SIGN}m]"] for event in events] == list(
            records.x  # type: ignore[arg-type]
        )


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.skipif(
    not (CHECK.exists() and INSTALLED.exists()),
    reason="the foreign readers are not installed",
)
@pytest.mark.parametrize("name", ["full", *PLAIN])
def test_all_readers_agree(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    if name == "full":
        written, records = full()
        write(path, written, records)
    else:
        written = PLAIN[name][0]
        write(path, written)
    # Bio-Formats takes Z for the inner loop, and counts points that were dropped
    lost = ["--ignore", "bf"] if name in ("z_first", "dropped_points") else []
    told = tmp_path / "told.json"
    run = subprocess.run(  # noqa: S603
        [sys.executable, str(CHECK), str(path), "--json", str(told), *lost],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    ((_, found),) = json.loads(told.read_text()).items()
    records = full()[1] if name == "full" else FrameRecords()
    document, _ = Nd2Document.from_raw(written.to_raw(records))
    channels = [channel.name for channel in document.channels]
    emission = [channel.emission_nm for channel in document.channels]
    size = document.optics.pixel_size_um
    for reader in ("sdk", "nd2", "bf"):
        got = found[reader]
        assert got["opens"]
        if name != "rgb":
            assert got["channels"] == channels
            assert got["em"] == pytest.approx(emission)
        if size is not None:
            assert got["pixel"] == pytest.approx([size, size])
        if document.z_step_um is not None:
            assert got["zstep"] == pytest.approx(document.z_step_um)
        if name == "full":
            assert got["times"] == pytest.approx(list(np.linspace(5.0, 2305.0, 24)))
    if name == "full":
        columns = [records.x, records.y, records.z]
        stage = np.array([values for values in columns if values is not None]).T
        np.testing.assert_allclose(found["bf"]["pos"], stage)
        np.testing.assert_allclose(np.array(found["sdk"]["pos"])[:, :2], stage[:, :2])
        np.testing.assert_allclose(np.array(found["nd2"]["pos"])[:, :2], stage[:, :2])
