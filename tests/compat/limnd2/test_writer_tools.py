"""``limnd2.tools``, its command names, and the walk-through of the documentation."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from limnd2_xr.compat.limnd2 import tools
from limnd2_xr.compat.limnd2.experiment_factory import ExperimentFactory
from limnd2_xr.compat.limnd2.metadata_factory import MetadataFactory
from limnd2_xr.compat.limnd2.reader import Nd2Reader
from limnd2_xr.frames.verify import verify

if TYPE_CHECKING:
    from numpy.typing import NDArray

tifffile = pytest.importorskip("tifffile")

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "limnd2_writer.py"


def plane(number: int) -> NDArray[Any]:
    return np.random.default_rng(number).integers(0, 999, (12, 10)).astype("uint16")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"t{t}_c{c}.tif" for t in range(2) for c in range(2)]
    for number, path in enumerate(paths):
        tifffile.imwrite(path, plane(number))
    return paths


def test_the_walk_through_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = runpy.run_path(str(EXAMPLE))
    names["main"](str(tmp_path / "out.nd2"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "(480, 640, 2) {'t': 5, 'z': 2}"
    assert lines[2] == "['Channel 1', 'Channel 2']"
    names["stream"](str(tmp_path / "stream.nd2"))
    for name in ("out.nd2", "stream.nd2"):
        with Nd2Reader(tmp_path / name) as reader:
            assert reader.imageAttributes.frameCount == 10
            assert np.array_equal(reader.image(7), names["create_random_noise"](7))


def test_a_sequence_of_files(files: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.nd2"
    out.write_bytes(b"old")
    found = tools.convert_sequence_to_nd2(files, out, experiment="timeloop")
    assert found == out
    with Nd2Reader(out) as reader:
        assert reader.dimensionSizes() == {"t": 4}
        assert np.array_equal(reader.image(3)[:, :, 0], plane(3))
    assert verify(out).is_sound


def test_channels_in_files_of_their_own(files: list[Path], tmp_path: Path) -> None:
    groups: list[Any] = [
        files[:2],
        [tools.LimImageSource.open(path) for path in files[2:]],
    ]
    source = tools.LimImageSource.open(files[0])
    like = source.nd2_attributes()
    assert (like.width, like.height, like.uiBpcInMemory) == (10, 12, 16)
    metadata = MetadataFactory([{"name": "a"}, {"name": "b"}])()
    out = tools.convert_sequence_to_nd2(
        groups, tmp_path / "out.nd2", None, ExperimentFactory(t=2)(), metadata
    )
    with Nd2Reader(out) as reader:
        assert reader.pictureMetadata.channelNames == ["a", "b"]
        expected = np.stack([plane(2), plane(3)], axis=2)
        assert np.array_equal(reader.image(1), expected)


def test_colours_are_stored_as_blue_green_red(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (12, 10, 3)).astype("uint8")
    tifffile.imwrite(tmp_path / "rgb.tif", image, photometric="rgb")
    source = tools.LimImageSource.open(tmp_path / "rgb.tif")
    assert source.is_rgb
    assert np.array_equal(source.read(), image[:, :, ::-1])
    out = tools.convert_sequence_to_nd2([source], tmp_path / "out.nd2")
    with Nd2Reader(out) as reader:
        assert reader.isRgb
        assert np.array_equal(reader.image(0), image[:, :, ::-1])


@pytest.mark.parametrize(
    ("kind", "letter"), [("multipoint", "m"), ("timeloop", "t"), ("zstack", "z")]
)
@pytest.mark.filterwarnings("ignore::limnd2_xr.errors.Nd2Warning")
def test_pages_of_which_nothing_says_what_they_are(
    tmp_path: Path, kind: str, letter: str
) -> None:
    pages = np.stack([plane(i) for i in range(3)])
    like = {"metadata": None, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", pages, **like)
    out = tools.convert_file_to_nd2(tmp_path / "a.tif", tmp_path / "a.nd2", kind)
    with Nd2Reader(out) as reader:
        assert reader.dimensionSizes() == {letter: 3}
        assert np.array_equal(reader.image(2)[:, :, 0], pages[2])
    told = json.loads(tools.get_file_dimensions_as_json(tmp_path / "a.tif"))
    assert told == {"timeloop": 3, "is_rgb": False}
    with pytest.raises(ValueError, match="several frames, along T"):
        tools.LimImageSource.open(tmp_path / "a.tif").read()


def test_what_does_not_fit_leaves_the_old_file(
    files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out.nd2"
    tools.convert_sequence_to_nd2(files[:1], out)
    before = out.read_bytes()
    tifffile.imwrite(tmp_path / "other.tif", plane(0)[:5])
    tifffile.imwrite(tmp_path / "wide.tif", plane(0).astype("int32"))
    for data, message in (
        ([files[0], tmp_path / "other.tif"], "shape"),
        ([[files[0], tmp_path / "other.tif"]], "channels of a frame differ"),
        ([tmp_path / "wide.tif"], "not int32"),
        ([], "no files"),
        ([[]], "no files"),
    ):
        with pytest.raises(ValueError, match=message):
            tools.convert_sequence_to_nd2(data, out)
    with pytest.raises(ValueError, match="no loop"):
        tools.convert_sequence_to_nd2(files, out, experiment="spiral")
    assert out.read_bytes() == before
