"""nd2 reads the synthetic files of format 1.0 to the same pixels, sizes and metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nd2
import numpy as np
import pytest
import xarray as xr

from limnd2_xr.model.experiment import Loop, XYPositionLoop, ZStackLoop
from limnd2_xr.testing.legacy import LegacySpec, build_legacy
from limnd2_xr.testing.loop_specs import (
    NETimeLoop,
    Period,
    Point,
    PositionLoop,
    TimeLoop,
    ZLoop,
)
from limnd2_xr.testing.specs import ChannelSpec

if TYPE_CHECKING:
    from pathlib import Path

TWO = (ChannelSpec("DAPI"), ChannelSpec("GFP", color=0x00FF40))
POINTS = tuple(Point(10.0 * i, -5.0 * i, 2.0 * i) for i in range(3))

# nd2 opens no file without loops.
SPECS = {
    "time": LegacySpec(loops=(TimeLoop(3, period_ms=250.0),)),
    "time_positions_z": LegacySpec(
        loops=(TimeLoop(2), PositionLoop(POINTS, use_z=True), ZLoop(4, step_um=0.5)),
        channels=TWO,
    ),
    "siblings_u8": LegacySpec(
        loops=(TimeLoop(2), ZLoop(3)), loop_style="AIMD", channels=TWO, bits=8
    ),
    "wrapped": LegacySpec(loops=(PositionLoop(POINTS),), wrapped=True),
    "from_the_top": LegacySpec(loops=(ZLoop(5, kind=6, home_um=1.0),), prolog=True),
    "rgb": LegacySpec(
        loops=(ZLoop(2),), channels=(ChannelSpec("HE", components=3),), bits=8
    ),
    "twelve_bits": LegacySpec(loops=(TimeLoop(2),), bits=12, channels=TWO),
    "twelve_bit_codestreams": LegacySpec(
        loops=(TimeLoop(2),), bits=12, codestream_bits=12
    ),
    "one_period": LegacySpec(loops=(NETimeLoop((Period(3, period_ms=50.0),)),)),
    "z_outside": LegacySpec(loops=(ZLoop(3), TimeLoop(2))),
}


@pytest.fixture(params=SPECS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made = build_legacy(SPECS[request.param])
    np.save(tmp_path / "truth.npy", made.array())
    return made.save(tmp_path / f"{request.param}.nd2")


def in_our_order(file: nd2.ND2File) -> dict[str, int]:
    """Sizes of nd2 without the length 1 that it leaves out."""
    return {dim: n for dim, n in file.sizes.items() if n > 1}


def test_pixels_and_sizes(path: Path) -> None:
    truth = np.load(path.parent / "truth.npy")
    with nd2.ND2File(path) as theirs, xr.open_dataset(path, engine="nd2") as ours:
        image = ours["image"]
        sizes = {str(dim): n for dim, n in image.sizes.items() if n > 1}
        assert in_our_order(theirs) == sizes
        assert theirs.dtype == image.dtype
        order = [dim for dim in theirs.sizes if dim in sizes]
        mine = image.squeeze().transpose(*order).values
        np.testing.assert_array_equal(theirs.asarray().squeeze(), mine)
        np.testing.assert_array_equal(image.values, truth)


def test_metadata(path: Path) -> None:
    with nd2.ND2File(path) as theirs, xr.open_dataset(path, engine="nd2") as ours:
        document = ours.nd2.metadata
        channels = theirs.metadata.channels
        assert channels is not None
        assert [c.channel.name for c in channels] == ours["C"].values.tolist()
        assert [
            "#{:02x}{:02x}{:02x}".format(*c.channel.color[:3]) for c in channels
        ] == ours["color"].values.tolist()
        attributes = theirs.attributes
        mine = document.attributes
        assert (attributes.widthPx, attributes.heightPx) == (mine.width, mine.height)
        assert attributes.bitsPerComponentSignificant == mine.bits_significant
        assert attributes.componentCount == mine.components
        assert attributes.widthBytes == mine.row_nbytes
        assert attributes.sequenceCount == mine.sequence_count
        voxel = theirs.voxel_size()
        assert voxel.x == document.optics.pixel_size_um
        assert voxel.z == (document.z_step_um or 1.0)
        objective = channels[0].microscope.objectiveName
        assert objective == document.optics.objective


def test_loops(path: Path) -> None:
    with nd2.ND2File(path) as theirs, xr.open_dataset(path, engine="nd2") as ours:
        loops = ours.nd2.metadata.experiment.loops
        assert [told(loop) for loop in theirs.experiment] == [known(x) for x in loops]


def told(loop: Any) -> tuple[Any, ...]:
    """What nd2 says of a loop."""
    parameters = loop.parameters
    if loop.type == "XYPosLoop":
        points = [
            (point.stagePositionUm.x, point.stagePositionUm.y)
            for point in parameters.points
        ]
        return "P", loop.count, points
    if loop.type == "ZStackLoop":
        where = (parameters.homeIndex, parameters.stepUm, parameters.bottomToTop)
        return "Z", loop.count, where
    return "T", loop.count, (parameters.periodMs, parameters.startMs)


def known(loop: Loop) -> tuple[Any, ...]:
    """What is known of it here."""
    if isinstance(loop, XYPositionLoop):
        return "P", loop.count, [(point.x_um, point.y_um) for point in loop.points]
    if isinstance(loop, ZStackLoop):
        return "Z", loop.count, (loop.home_index, loop.step_um, loop.bottom_to_top)
    return "T", loop.count, (loop.period_ms, loop.start_ms)  # type: ignore[union-attr]


def test_metadata_of_each_frame(path: Path) -> None:
    with nd2.ND2File(path) as theirs, xr.open_dataset(path, engine="nd2") as ours:
        order = [str(dim) for dim in theirs.sizes if dim in ours["time"].dims]
        flat = ours["time"].transpose(*order).values.ravel()
        z = ours["stage_z"].transpose(*order).values.ravel()
        for number, (time_s, stage_z) in enumerate(zip(flat, z, strict=True)):
            frame = theirs.frame_metadata(number)
            assert isinstance(frame, dict)
            assert frame["TimeMSec"] == pytest.approx(1000 * time_s)
            assert frame["ZPos"] == stage_z
