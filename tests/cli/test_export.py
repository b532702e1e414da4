"""`limnd2-xr export`: every format, many inputs, refusals, failures, interruptions."""

from __future__ import annotations

import gc
import json
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from typer.testing import CliRunner

from limnd2_xr.arrays.file_manager import FileManager
from limnd2_xr.cli import export_run
from limnd2_xr.cli.app import app
from limnd2_xr.cli.export_plan import FORMATS
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from typer.testing import Result

SPEC = SyntheticSpec(
    loops=(TimeLoop(3), ZLoop(2)),
    channels=(ChannelSpec("DAPI"), ChannelSpec("GFP")),
    width=40,
    height=20,
)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def events(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with a.nd2 and sub/b.nd2, where commands run."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    build(SPEC).save(tmp_path / "in" / "a.nd2")
    build(SPEC).save(tmp_path / "in" / "sub" / "b.nd2")
    monkeypatch.chdir(tmp_path / "in")
    return tmp_path / "in"


@pytest.fixture
def pixels(folder: Path) -> NDArray[np.uint16]:
    """Pixels of a.nd2: T, Z, C, Y, X."""
    with xr.open_dataset(folder / "a.nd2") as ds:
        values: NDArray[np.uint16] = ds["image"].values
    return values


def _ome_zarr(path: Path) -> Any:
    return np.swapaxes(zarr.open_array(path / "0", mode="r")[:], 1, 2)


def _ome_tiff(path: Path) -> Any:
    with tifffile.TiffFile(path) as file:
        (series,) = file.series
        found = xr.DataArray(series.asarray(), dims=tuple(series.axes))
    return found.transpose("T", "Z", "C", "Y", "X").values


def _sequence(path: Path) -> Any:
    suffix = path.name[-4:].replace("tiff", "tif").replace("_png", "png")
    planes = []
    for t in range(3):
        for z in range(2):
            for c in ("DAPI", "GFP"):
                file = path / f"a_t{t}_z{z}_{c}.{suffix.lstrip('_')}"
                if suffix == "tif":
                    planes.append(tifffile.imread(file))
                else:
                    import imagecodecs

                    planes.append(imagecodecs.png_decode(file.read_bytes()))
    assert len(names(path)) == 12
    return np.stack(planes).reshape(3, 2, 2, 20, 40)


def _netcdf(path: Path) -> Any:
    with xr.open_dataset(path, engine="h5netcdf") as ds:
        return ds["image"].values


def _zarr(path: Path) -> Any:
    with xr.open_zarr(path, consolidated=False) as ds:
        return ds["image"].values


READERS: dict[str, Callable[[Path], Any]] = {
    "ome-zarr": _ome_zarr,
    "ome-tiff": _ome_tiff,
    "tiff": _sequence,
    "png": _sequence,
    "netcdf": _netcdf,
    "zarr": _zarr,
}


@pytest.mark.filterwarnings("ignore:The data type:FutureWarning")
@pytest.mark.parametrize("to", READERS)
def test_pixels_of_every_format(
    to: str, folder: Path, pixels: NDArray[np.uint16], tmp_path: Path
) -> None:
    result = run("a.nd2", "--to", to, "--output-folder", "../out")
    assert (result.exit_code, result.stderr) == (0, "")
    name = f"a{FORMATS[to].suffix}"
    assert names(tmp_path / "out") == [name]
    np.testing.assert_array_equal(READERS[to](tmp_path / "out" / name), pixels)
    head, row = result.stdout.splitlines()
    assert head.split() == ["file", "output", "size", "time", "status"]
    assert row.split()[:2] == ["a.nd2", f"../out/{name}"]
    assert row.split()[-1] == "done"


@pytest.mark.filterwarnings("ignore:The data type:FutureWarning")
@pytest.mark.parametrize(
    ("to", "compression"),
    [
        ("ome-zarr", "gzip"),
        ("ome-tiff", "zlib"),
        ("tiff", "zlib"),
        ("netcdf", "zlib"),
        ("zarr", "none"),
    ],
)
def test_compression(
    to: str, compression: str, folder: Path, pixels: NDArray[np.uint16]
) -> None:
    result = run(folder / "a.nd2", "--to", to, "--compression", compression)
    assert (result.exit_code, result.stderr) == (0, "")
    path = folder / f"a{FORMATS[to].suffix}"
    np.testing.assert_array_equal(READERS[to](path), pixels)
    if to == "ome-tiff":
        with tifffile.TiffFile(path) as file:
            assert file.pages.first.compression == 8
    elif to == "ome-zarr":
        (codec,) = zarr.open_array(path / "0", mode="r").compressors
        assert type(codec).__name__ == "GzipCodec"
    elif to == "zarr":
        array = zarr.open_array(path / "image", mode="r")
        assert (array.compressors, array.chunks) == ((), (1, 1, 1, 20, 40))


def test_ome_xml_is_beside_the_file(folder: Path) -> None:
    assert run(folder / "a.nd2", "--to", "ome-xml").exit_code == 0
    assert 'SizeT="3"' in (folder / "a.ome.xml").read_text("utf-8")


def test_a_part_a_version_and_a_pyramid(
    folder: Path, pixels: NDArray[np.uint16], tmp_path: Path
) -> None:
    words = ("--select", "T=1:,C=GFP", "--version", "0.4", "--pyramid", "2")
    result = run(folder / "a.nd2", "--to", "ome-zarr", *words)
    assert result.exit_code == 0
    group = zarr.open_group(folder / "a.ome.zarr", mode="r")
    assert group.metadata.zarr_format == 2
    assert sorted(group.array_keys()) == ["0", "1", "2"]
    found = group["0"]
    assert isinstance(found, zarr.Array)
    np.testing.assert_array_equal(found[:], np.swapaxes(pixels[1:, :, 1:], 1, 2))


def test_a_template_and_a_scale(folder: Path, pixels: NDArray[np.uint16]) -> None:
    words = ("--template", "p{T}{Z}{c}.png", "--scale", 0.001, "--dtype", "uint8")
    assert run(folder / "a.nd2", "--to", "png", *words).exit_code == 0
    import imagecodecs

    found = imagecodecs.png_decode((folder / "a_png" / "p211.png").read_bytes())
    expected = np.rint(pixels[2, 1, 1] * 0.001).astype("u1")
    np.testing.assert_array_equal(found, expected)


def test_folders_globs_and_doubles(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for words, expected in (
        ((folder,), ["a.ome.xml"]),
        ((folder, "-r"), ["a.ome.xml", "sub/b.ome.xml"]),
        ((folder / "**" / "?.nd2",), ["a.ome.xml", "b.ome.xml"]),
        ((folder / "a.nd2", folder, folder / "a*"), ["a.ome.xml"]),
    ):
        result = run(
            *words,
            "--to=ome-xml",
            f"--output-folder={out}",
            "--dry-run",
            "--json-progress",
        )
        assert result.exit_code == 0
        planned = [event["output"] for event in events(result)]
        assert planned == [str(out / name) for name in expected]
    assert not out.exists()


def test_a_table_that_is_piped_breaks_no_path(folder: Path) -> None:
    long = folder / ("long" * 50)
    (folder / "sub").rename(long)
    table = run(folder, "-r", "--to=ome-xml", "--dry-run").stdout
    assert [line.split()[-1] for line in table.splitlines()] == [
        "output",
        str(folder / "a.ome.xml"),
        str(long / "b.ome.xml"),
    ]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["{}/a.nd2", "--to=jpeg"], "formats are ome-zarr, ome-tiff"),
        (["{}/x*.nd2", "--to=png"], "no file matches"),
        (["{}/empty", "--to=png"], "the folder has no .nd2 file; --recurse"),
        (
            ["{}/a.nd2", "--to=png", "--pyramid=2"],
            "--pyramid is for ome-zarr, ome-tiff",
        ),
        (["{}/a.nd2", "--to=ome-tiff", "--pyramid=x"], "--pyramid is auto, none or"),
        (["{}/a.nd2", "--to=ome-zarr", "--version=0.3"], "--version is 0.4 or 0.5"),
        (["{}/a.nd2", "--to=netcdf", "--compression=lzw"], "one of none, zlib"),
        (["{}/a.nd2", "--to=png", "--dtype=odd"], "--dtype odd: there is no such type"),
        (["{}/a.nd2", "--to=png", "--select=Q=1"], "Q is no dim"),
        (["{}/a.nd2", "--to=png", "--overwrite", "--resume"], "exclude each other"),
        (
            ["{}/a.nd2", "--to=png", "--output-folder=x", "--s3-prefix=s3://b"],
            "exclude each other",
        ),
        (["{}/a.nd2", "--to=png", "--s3-prefix=/tmp"], "--s3-prefix is s3://"),
        (["{}/a.nd2", "--to=png", "--storage-option=anon"], "takes key=value"),
        (
            ["{}/a.nd2", "{}/empty/a.nd2", "--to=png", "--output-folder=x"],
            "would both become x/a_png",
        ),
    ],
)
def test_bad_usage_is_one_line(words: list[str], reason: str, folder: Path) -> None:
    (folder / "empty").mkdir()
    before = sorted(folder.rglob("*"))
    result = run(*(word.replace("{}", str(folder)) for word in words))
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("limnd2-xr: ")
    assert reason in line
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("to", ["ome-tiff", "tiff", "ome-zarr"])
def test_what_exists_is_refused_kept_or_replaced(to: str, folder: Path) -> None:
    words = (folder, "-r", "--to", to)
    assert run(folder / "a.nd2", "--to", to).exit_code == 0
    target = folder / f"a{FORMATS[to].suffix}"
    before = target.stat().st_mtime_ns
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"limnd2-xr: {target} exists already; --overwrite replaces it, --resume keeps it\n"
    )
    assert names(folder / "sub") == ["b.nd2"]

    result = run(*words, "--resume", "--json-progress")
    assert result.exit_code == 0
    assert target.stat().st_mtime_ns == before
    ended = [event for event in events(result) if event["event"] == "end"]
    assert [event["status"] for event in ended] == ["kept", "done"]

    assert run(*words, "--overwrite").exit_code == 0
    assert target.stat().st_mtime_ns != before
    assert not [name for name in names(folder) if name.startswith(".")]


def test_a_folder_with_other_things_is_not_replaced(folder: Path) -> None:
    (folder / "a_png").mkdir()
    (folder / "a_png" / "thesis.docx").write_bytes(b"years")
    result = run(folder / "a.nd2", "--to=png", "--overwrite")
    assert result.exit_code == 1
    assert "holds other things, such as thesis.docx" in result.stderr
    assert names(folder / "a_png") == ["thesis.docx"]


def test_a_file_that_fails_does_not_stop_the_others(folder: Path) -> None:
    (folder / "bad.nd2").write_bytes(b"no")
    result = run(".", "none.nd2", "-r", "--to=ome-xml", "--json-progress")
    assert result.exit_code == 1
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == [
        "./bad.nd2",
        "none.nd2",
    ]
    found = events(result)
    ended = {Path(e["input"]).name: e for e in found if e["event"] == "end"}
    states = {name: event["status"] for name, event in ended.items()}
    assert states == {
        "a.nd2": "done",
        "b.nd2": "done",
        "bad.nd2": "failed",
        "none.nd2": "failed",
    }
    assert ended["none.nd2"]["error"] == "no such file"
    summary = found[-1]
    assert summary.pop("seconds") >= 0
    assert summary == {
        "event": "summary",
        "done": 2,
        "failed": 2,
        "interrupted": 0,
        "not_begun": 0,
    }
    table = run(folder / "bad.nd2", "--to=ome-tiff").stdout.splitlines()
    assert table[1].split()[-1] == "failed"


def test_events_tell_how_far_it_is(folder: Path) -> None:
    found = events(run(folder / "a.nd2", "--to=ome-tiff", "--json-progress"))
    assert [event["event"] for event in found[:2]] == ["start", "begin"]
    begun = found[1]
    assert (begun["frames"], begun["bytes"]) == (6, 6 * 2 * 20 * 40 * 2)
    progress = [event for event in found if event["event"] == "progress"]
    assert progress[-1] == {"event": "progress", "number": 0, "done": 6, "total": 6}
    (end,) = (event for event in found if event["event"] == "end")
    assert end["bytes"] == (folder / "a.ome.tif").stat().st_size
    assert end["error"] is None


def test_a_terminal_shows_bars(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    (folder / "[bold]x.nd2").write_bytes((folder / "a.nd2").read_bytes())
    result = run("a.nd2", "[bold]x.nd2", "none.nd2", "--to=ome-tiff")
    assert result.exit_code == 1
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", result.stderr)
    assert "all files" in plain
    assert "100%" in plain
    assert "none.nd2: no such file" in plain
    assert "[bold]x.nd2" in result.stdout


def test_warnings_are_told_once(tmp_path: Path) -> None:
    spec = SyntheticSpec(
        loops=(TimeLoop(3),), width=8, height=6, missing=frozenset({1})
    )
    build(spec).save(tmp_path / "m.nd2")
    result = run(tmp_path / "m.nd2", "--to=ome-tiff")
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"limnd2-xr: {tmp_path}/m.nd2: warning: 1 of 3 frames")


@pytest.mark.parametrize("to", [*READERS, "ome-xml"])
def test_an_interruption_leaves_nothing_under_a_final_name(
    to: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupting(*_: object) -> Callable[[int, int], None]:
        def tell(_done: int, _total: int) -> None:
            raise KeyboardInterrupt

        return tell

    with monkeypatch.context() as patch:
        patch.setattr(export_run, "_Telling", interrupting)
        result = run(".", "-r", "--to", to)
    assert result.exit_code == 130
    left = ["a.ome.zarr.partial"] if to == "ome-zarr" else []
    assert names(folder) == ["a.nd2", *left, "sub"]
    assert names(folder / "sub") == ["b.nd2"]
    rows = result.stdout.splitlines()
    assert [row.split()[-1] for row in rows[1:]] == ["interrupted", "begun"]
    if to == "ome-zarr":
        again = run(folder, "-r", "--to", to)
        assert again.exit_code == 2
        assert "unfinished export; --resume continues it" in again.stderr
        assert run(folder, "-r", "--to", to, "--resume").exit_code == 0
        assert names(folder) == ["a.nd2", "a.ome.zarr", "sub"]


@pytest.mark.parametrize("to", ["zarr", "netcdf"])
def test_nothing_is_read_any_more_after_an_interruption(
    to: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A thread that read later would open the file again, and nobody closed it.
    reading, closing = threading.Event(), threading.Event()
    late: list[bool] = []
    lend, close = FileManager.acquire_context, FileManager.close

    def slow(self: FileManager, needs_lock: bool = True) -> Any:
        if threading.current_thread() is not threading.main_thread():
            reading.set()
            late.append(closing.wait(0.3))
        return lend(self, needs_lock)

    def noting(self: FileManager) -> None:
        closing.set()
        close(self)

    def interrupting(*_: object) -> Callable[[int, int], None]:
        def tell(_done: int, _total: int) -> None:
            if reading.is_set():
                raise KeyboardInterrupt

        return tell

    monkeypatch.setattr(FileManager, "acquire_context", slow)
    monkeypatch.setattr(FileManager, "close", noting)
    monkeypatch.setattr(export_run, "_Telling", interrupting)
    assert run("a.nd2", "--to", to).exit_code == 130
    gc.collect()  # what was opened again complains now
    assert late
    assert not any(late)
    assert names(folder) == ["a.nd2", "sub"]
