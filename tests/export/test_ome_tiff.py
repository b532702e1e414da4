"""OME-TIFF files, read by tifffile: pixels, copies, order, options, failures."""

from __future__ import annotations

import errno
import functools
import os
import signal
import subprocess
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import ome_types
import pytest
import tifffile
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from limnd2_xr import Nd2Warning
from limnd2_xr.export.frame_groups import PixelSource, frame_groups
from limnd2_xr.export.ome_tiff import to_ome_tiff
from limnd2_xr.export.pyramid_levels import halved
from limnd2_xr.export.tiff_file import TiffSpec
from limnd2_xr.export.tiff_segments import Segments
from limnd2_xr.testing.synthetic import (
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    build,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from ome_types import OME

DIMS = ("P", "T", "Z", "C", "Y", "X", "S")


def random(dims: str, dtype: str = "u2", **sizes: int) -> xr.DataArray:
    usual = {"T": 3, "P": 2, "Z": 2, "C": 2, "Y": 40, "X": 50, "S": 3, **sizes}
    shape = [usual[dim] for dim in dims]
    values = np.random.default_rng(1).integers(0, 250, shape).astype(dtype)
    return xr.DataArray(values, dims=tuple(dims))


def series_of(image: xr.DataArray) -> list[NDArray[Any]]:
    """Positions of an image, each over T, Z, C, Y, X and S."""
    ordered = image.transpose(*[dim for dim in DIMS if dim in image.dims])
    if "P" not in image.dims:
        return [ordered.values]
    return list(ordered.values)


def check(path: Path, image: xr.DataArray, levels: int = 1) -> None:
    wanted = series_of(image)
    with tifffile.TiffFile(path) as tif:
        assert tif.is_ome
        assert len(tif.series) == len(wanted)
        for series, pixels in zip(tif.series, wanted, strict=True):
            assert len(series.levels) == levels
            for number, level in enumerate(series.levels):
                found = level.asarray()
                smaller = pixels
                for _ in range(number):
                    smaller = (
                        np.moveaxis(halved(np.moveaxis(smaller, -1, 0), "mean"), 0, -1)
                        if "S" in image.dims
                        else halved(smaller, "mean")
                    )
                assert found.dtype == smaller.dtype
                np.testing.assert_array_equal(found.reshape(smaller.shape), smaller)


@pytest.mark.realdata
def test_samples_have_their_pixels(each_sample: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Nd2Warning)
        with xr.open_dataset(each_sample) as ds:
            (path,) = ds.nd2.to_ome_tiff(tmp_path / "a.ome.tif")
            check(path, ds["image"])
            with tifffile.TiffFile(path) as tif:
                assert tif.ome_metadata is not None
                ome_types.validate_xml(tif.ome_metadata)


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"tile": 16},
    {"tile": (16, 32), "compression": "zlib", "pyramid": 2},
    {"tile": None, "compression": "lzw"},
    {"tile": None, "pyramid": 2, "bigtiff": True},
    {"compression": "zstd", "bigtiff": True},
)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(
    ("dims", "dtype"), [("TPZCYX", "u2"), ("TYXS", "u1"), ("CYX", "f4"), ("ZTYX", "i2")]
)
def test_options_change_nothing_about_the_pixels(
    options: dict[str, Any], dims: str, dtype: str, tmp_path: Path
) -> None:
    image = random(dims, dtype)
    (path,) = image.nd2.to_ome_tiff(tmp_path / "a.ome.tif", **options)
    wanted = image if dims != "ZTYX" else image.transpose("Z", "T", "Y", "X")
    if dims == "ZTYX":
        # Stored in the order of the array.
        np.testing.assert_array_equal(tifffile.imread(path), wanted.values)
        return
    check(path, wanted, 1 + options.get("pyramid", 0))


@settings(max_examples=20)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    levels=st.integers(0, 3),
    tile=st.sampled_from([None, 16, 32]),
    compression=st.sampled_from([None, "zlib"]),
    rows=st.integers(1, 4096),
    dtype=st.sampled_from(["u1", "u2", "f4"]),
)
def test_any_size_and_any_part_of_it(
    height: int,
    width: int,
    levels: int,
    tile: int | None,
    compression: Any,
    rows: int,
    dtype: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    while levels and max(height, width) >> levels == 0:
        levels -= 1
    image = random("ZYX", dtype, Y=height, X=width)
    path = tmp_path_factory.mktemp("any") / "a.ome.tif"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limnd2_xr.export.tiff_segments._STRIP_NBYTES", 200)
        # Groups of some rows, as of frames too large for one.
        patch.setattr(
            "limnd2_xr.export.ome_tiff.frame_groups",
            functools.partial(frame_groups, nbytes=rows),
        )
        image.nd2.to_ome_tiff(path, pyramid=levels, tile=tile, compression=compression)
    check(path, image, 1 + levels)


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_a_page_or_a_copy_that_is_one_tile(levels: int, tmp_path: Path) -> None:
    image = random("TYX", Y=64, X=64)
    image.nd2.to_ome_tiff(tmp_path / "a.ome.tif", tile=64 >> levels, pyramid=2)
    check(tmp_path / "a.ome.tif", image, 3)


COPIED: tuple[dict[str, Any], ...] = (
    {},
    {"T": slice(None, None, -1), "P": [1, 0]},
    {"P": 1, "T": slice(0, 2)},
)


@pytest.mark.parametrize("index", COPIED, ids=str)
@pytest.mark.parametrize("system", ["copies", "refuses", "stops", "has none", "raises"])
def test_frames_copied_by_the_system_are_those_that_are_written(
    index: dict[str, Any],
    system: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = SyntheticSpec(
        loops=(
            TimeLoop(count=4),
            PositionLoop(points=(Point(0, 0, 0), Point(9, 0, 0))),
        ),
        width=24,
        height=6,
        missing=frozenset({3}),
    )
    source = tmp_path / "a.nd2"
    source.write_bytes(build(spec).data)
    calls: list[int] = []
    usual = getattr(os, "copy_file_range", None)
    if system != "has none" and usual is None:
        pytest.skip("this system copies nothing")

    def copy(src: int, dst: int, count: int, offset: int, at: int) -> int:
        calls.append(count)
        if system == "refuses":
            raise OSError(errno.EXDEV, "not from there")
        if system == "raises" and len(calls) > 1:
            raise OSError(errno.EIO, "not any more")
        if system == "stops" and len(calls) > 2:
            return 0
        assert usual is not None
        # In parts, as systems may.
        return int(usual(src, dst, min(count, 100), offset, at))

    if system == "has none":
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    else:
        monkeypatch.setattr(os, "copy_file_range", copy)
    with pytest.warns(Nd2Warning, match="not in the file"):
        ds = xr.open_dataset(source)
    with ds:
        image = ds["image"].isel(index)
        steps: list[int] = []
        image.nd2.to_ome_tiff(
            tmp_path / "a.ome.tif", progress=lambda done, _: steps.append(done)
        )
        image.load().nd2.to_ome_tiff(tmp_path / "b.ome.tif")
    assert bool(calls) == (system != "has none")
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) == image.size // (24 * 6)
    with (
        tifffile.TiffFile(tmp_path / "a.ome.tif") as copied,
        tifffile.TiffFile(tmp_path / "b.ome.tif") as written,
    ):
        assert len(copied.pages) == len(written.pages) == len(steps)
        np.testing.assert_array_equal(copied.asarray(), written.asarray())
        assert written.asarray().any()


@pytest.mark.parametrize("chunks", [{"T": 1}, {"T": 2, "P": 2, "Y": 16}, {"C": 1}])
def test_blocks_of_dask_arrays_are_computed_once(
    chunks: dict[str, int], tmp_path: Path
) -> None:
    image = random("TPZCYX")
    seen: list[int] = []
    lock = threading.Lock()

    def counted(block: NDArray[Any]) -> NDArray[Any]:
        with lock:
            seen.append(block.size)
        return block

    lazy = image.chunk(chunks)
    lazy = lazy.copy(
        data=lazy.data.map_blocks(counted, dtype="u2", meta=np.empty(0, "u2"))
    )
    lazy.nd2.to_ome_tiff(tmp_path / "a.ome.tif", compression="zlib")
    assert sum(seen) == image.size
    check(tmp_path / "a.ome.tif", image)


def test_positions_in_files_of_their_own(tmp_path: Path) -> None:
    image = random("TPYX").assign_coords(P=["A/1", "B"], well=("P", ["A01", "B02"]))
    paths = image.nd2.to_ome_tiff(tmp_path / "cells.ome.tif", split="position")
    assert [path.name for path in paths] == ["cells_A_1.ome.tif", "cells_B.ome.tif"]
    for number, path in enumerate(paths):
        check(path, image.isel(P=number))
        ome: Any = ome_types.from_tiff(path)
        assert [i.stage_label.name for i in ome.images] == [["A/1", "B"][number]]
        (well,) = ome.plates[0].wells
        assert (well.row, well.column) == (number, number)
    with pytest.raises(ValueError, match="same"):
        image.assign_coords(P=["a/", "a?"]).nd2.to_ome_tiff(
            tmp_path / "x.tif", split="position"
        )


def test_rgb_in_another_order_and_tiles_of_channels(tmp_path: Path) -> None:
    image = random("YXS", "u1").assign_coords(S=["B", "G", "R"])
    (path,) = image.nd2.to_ome_tiff(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(tifffile.imread(path), image.values[..., ::-1])
    with tifffile.TiffFile(path) as tif:
        assert tif.pages.first.photometric == tifffile.PHOTOMETRIC.RGB


def test_hooks_see_the_document_and_each_frame(tmp_path: Path) -> None:
    image = random("TZYX")
    told: list[tuple[int, int, dict[str, int]]] = []
    steps: list[tuple[int, int]] = []

    def rename(ome: OME) -> None:
        ome.images[0].name = "mine"

    image.nd2.to_ome_tiff(
        tmp_path / "a.ome.tif",
        modify_ome=rename,
        on_frame=lambda number, total, index: told.append((number, total, index)),
        progress=lambda done, total: steps.append((done, total)),
    )
    assert ome_types.from_tiff(tmp_path / "a.ome.tif").images[0].name == "mine"
    assert sorted(told, key=lambda t: t[0])[4] == (4, 6, {"T": 2, "Z": 0})
    assert steps == [(i, 6) for i in range(1, 7)]


@pytest.mark.parametrize("old", [None, b"as it was"])
def test_a_failure_leaves_everything_as_it_was(
    old: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "a.ome.tif"
    if old is not None:
        path.write_bytes(old)
    image = random("TYX").chunk({"T": 1})

    def fail(block: NDArray[Any], block_info: Any = None) -> NDArray[Any]:
        if block_info and block_info[None]["chunk-location"][0] == 2:
            raise OSError("the disk is on fire")
        return block

    broken = image.copy(data=image.data.map_blocks(fail, dtype="u2"))
    with pytest.raises(OSError, match="on fire"):
        broken.nd2.to_ome_tiff(path, overwrite=True)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == (
        [] if old is None else [old]
    )
    with (
        pytest.raises(FileExistsError) if old else pytest.raises(OSError, match="fire")
    ):
        broken.nd2.to_ome_tiff(path)


@pytest.mark.parametrize("split", [None, "position"])
def test_an_interruption_leaves_no_file(split: Any, tmp_path: Path) -> None:
    def interrupt(number: int, total: int, index: dict[str, int]) -> None:
        # Not before a whole file of one position may be there.
        if number > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        random("PTZYX").nd2.to_ome_tiff(
            tmp_path / "a.ome.tif", split=split, on_frame=interrupt
        )
    assert not list(tmp_path.iterdir())


_KILLED = """
import signal, sys
import numpy as np, xarray as xr
import limnd2_xr

signal.signal(signal.SIGINT, signal.default_int_handler)

def told(number, total, index):
    print("written", flush=True)
    sys.stdin.read()

image = xr.DataArray(np.ones((4, 8, 8), "u2"), dims=("T", "Y", "X"))
image.nd2.to_ome_tiff(sys.argv[1], overwrite=True, on_frame=told)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_ends_in_the_middle_leaves_the_old_file(
    number: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.ome.tif"
    path.write_bytes(b"as it was")
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", _KILLED, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(number)
        process.stdin.close()
        assert process.wait(60) != 0
    assert path.read_bytes() == b"as it was"
    others = [other.name for other in tmp_path.iterdir() if other != path]
    # Nobody can tidy up after SIGKILL, but what it leaves has no name of a picture.
    assert all(name.endswith(".partial") for name in others)
    assert len(others) == (number == signal.SIGKILL)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tile": 20}, "multiples of 16"),
        ({"tile": "big"}, "tile must be"),
        ({"compression": "gzip"}, "compression must be"),
        ({"pyramid": 9}, "pyramid"),
        ({"bigtiff": "yes"}, "bigtiff must be"),
        ({"split": "time"}, "split must be"),
        ({"compression": "jpeg2000"}, "jpeg2000"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=told):
        to_ome_tiff(random("YX", "f4"), tmp_path / "a.ome.tif", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["tifffile", "imagecodecs"])
def test_what_is_not_installed_is_named(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=r"limnd2-xr\[export\]"):
        random("YX").nd2.to_ome_tiff(tmp_path / "a.ome.tif", compression="zlib")
    with pytest.raises(ModuleNotFoundError, match=module):
        random("YX").nd2.to_tiff_sequence(tmp_path / "new", compression=True)
    assert not list(tmp_path.iterdir())


def test_files_above_4_gib_are_bigtiff() -> None:
    page = Segments(
        height=2048,
        width=2048,
        samples=1,
        dtype=np.dtype("<u2"),
        tile=None,
        compression=None,
    )
    small = TiffSpec(pages=500, levels=(page,), description=b"")
    large = TiffSpec(pages=512, levels=(page,), description=b"")
    assert (small.is_big("auto"), large.is_big("auto")) == (False, True)
    with pytest.raises(ValueError, match="4 GiB"):
        large.is_big(False)


def test_rows_of_large_frames_are_read_alone() -> None:
    image = random("TYX", Y=64, X=64)
    pixels = PixelSource(variable=image.variable, loops=("T",))
    groups = frame_groups(pixels, row_unit=16, nbytes=64 * 2 * 20)
    assert [(g.index["T"].start, g.row) for g in groups[:5]] == [
        (0, 0),
        (0, 16),
        (0, 32),
        (0, 48),
        (1, 0),
    ]
    lazy = PixelSource(variable=image.chunk({"T": 1}).variable, loops=("T",))
    assert len(frame_groups(lazy, nbytes=100)) == 3
