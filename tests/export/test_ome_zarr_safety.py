"""Whatever happens to an export: nothing, the old one, or the complete new one."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
import zarr

from limnd2_xr.export.export_journal import Journal
from limnd2_xr.export.zarr_target import LocalTarget
from limnd2_xr.testing.synthetic import (
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VICTIMS_IMPORT = (
    "dask.array, dask.threaded, dask.delayed, dask.diagnostics.progress, xarray, zarr, "
    "numcodecs, yaozarrs, ome_types.model, limnd2_xr, limnd2_xr.export.ome_zarr, "
    "limnd2_xr.export.ome_xml"
)
CI = os.environ.get("HYPOTHESIS_PROFILE") == "ci"
KILLS = 20 if CI else 3

SPEC = SyntheticSpec(
    loops=(TimeLoop(12), PositionLoop((Point(0.0, 0.0), Point(5.0, 5.0)))),
    width=301,
    height=200,
)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def in_memory(add: int = 0) -> xr.Dataset:
    values = np.arange(4 * 300 * 20, dtype="u2").reshape(4, 300, 20) + np.uint16(add)
    return xr.Dataset({"image": (("T", "Y", "X"), values)})


def small(add: int = 0) -> xr.Dataset:
    return in_memory(add).chunk({"T": 1})


@pytest.fixture(scope="module")
def in_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pixels of `small`."""
    path = tmp_path_factory.mktemp("small") / "a.nd2"
    in_memory().nd2.to_nd2(path)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "a.ome.zarr"


@pytest.fixture
def _tiny_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limnd2_xr.export.zarr_blocks.BLOCK_NBYTES", 1)


def break_after(monkeypatch: pytest.MonkeyPatch, puts: int, error: Any) -> None:
    """Have the export fail when it stores something for the `puts` + 1st time."""
    put = LocalTarget.put
    count = iter(range(1000))

    def failing(self: LocalTarget, objects: Any) -> None:
        if next(count) >= puts:
            raise error
        put(self, objects)

    monkeypatch.setattr(LocalTarget, "put", failing)


@pytest.mark.usefixtures("_tiny_blocks")
@pytest.mark.parametrize("lazy", [False, True], ids=["file", "dask"])
@pytest.mark.parametrize("puts", [1, 4, 7, 13, 14])
def test_a_broken_export_has_no_name_and_is_continued(
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_file: Path,
    puts: int,
    lazy: bool,
) -> None:
    ds = small() if lazy else xr.open_dataset(in_file)
    ds.nd2.to_ome_zarr(target)
    expected = files_of(target)
    target.rename(target.with_name("kept"))
    with dask.config.set(scheduler="sync"), monkeypatch.context() as patch:
        break_after(patch, puts, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            ds.nd2.to_ome_zarr(target)
    assert not target.exists()
    with pytest.raises(FileExistsError, match="resume=True continues it"):
        ds.nd2.to_ome_zarr(target)
    ds.nd2.to_ome_zarr(target, resume=True)
    ds.close()
    assert files_of(target) == expected
    assert sorted(p.name for p in target.parent.iterdir()) == ["a.ome.zarr", "kept"]


@pytest.mark.usefixtures("_tiny_blocks")
def test_finished_blocks_are_not_read_again(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def frame(block_id: tuple[int, ...]) -> np.ndarray[Any, Any]:
        seen.append(block_id[0])
        return np.full((1, 30, 20), block_id[0] + 1, np.uint16)

    pixels = dask.array.map_blocks(
        frame,
        chunks=((1,) * 4, (30,), (20,)),
        dtype=np.uint16,
        meta=np.empty((0, 0, 0), np.uint16),
        name="frames",
    )
    ds = xr.Dataset({"image": (("T", "Y", "X"), pixels)})
    with dask.config.set(scheduler="sync"):
        with monkeypatch.context() as patch:
            break_after(patch, 6, OSError("disk full"))
            with pytest.raises(OSError, match="disk full"):
                ds.nd2.to_ome_zarr(target)
        again = set(range(4)) - {
            int(path.name.partition("-")[2])
            for path in target.parent.glob("*/.export/blocks/*")
        }
        assert 0 < len(again) < 4
        seen.clear()
        ds.nd2.to_ome_zarr(target, resume=True)
    assert set(seen) == again
    found = zarr.open_array(target / "0", mode="r")
    np.testing.assert_array_equal(found[:, 0, 3, 3], [1, 2, 3, 4])


@pytest.fixture
def unfinished(target: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Begin an export that breaks off."""

    def begin(ds: xr.Dataset, **options: Any) -> None:
        with monkeypatch.context() as patch:
            break_after(patch, 2, KeyboardInterrupt())
            with pytest.raises(KeyboardInterrupt):
                ds.nd2.to_ome_zarr(target, **options)

    return begin


def test_only_the_same_export_is_continued(
    target: Path, unfinished: Callable[..., None]
) -> None:
    unfinished(small())
    for ds, options in (
        (small(1), {}),  # other pixels
        (small(), {"pyramid": 3}),
        (small(), {"compressor": "zstd"}),
        (small(), {"version": "0.4"}),
        (small().chunk({"T": 2}), {}),
        (small().isel(T=[0, 2, 1, 3]), {}),
        (small().assign_attrs(author="me"), {}),
    ):
        with pytest.raises(ValueError, match="other pixels or had other options"):
            ds.nd2.to_ome_zarr(target, resume=True, **options)
    small(1).nd2.to_ome_zarr(target, overwrite=True, resume=True, pyramid=3)
    assert zarr.open_array(target / "0", mode="r")[0, 0, 0, 0] == 1


def test_another_selection_or_file_is_not_continued(
    target: Path, tmp_path: Path, unfinished: Callable[..., None]
) -> None:
    path = tmp_path / "a.nd2"
    in_memory().nd2.to_nd2(path)
    with xr.open_dataset(path) as ds:
        bare = ds.drop_vars("T")
        unfinished(bare.isel(T=[0, 1, 2]))
        with pytest.raises(ValueError, match="other pixels"):
            bare.isel(T=[0, 2, 1]).nd2.to_ome_zarr(target, resume=True)
        with pytest.raises(ValueError, match="pixels in memory"):
            bare.isel(T=[0, 1, 2]).load().nd2.to_ome_zarr(target, resume=True)
    in_memory(1).nd2.to_nd2(path, overwrite=True)
    with xr.open_dataset(path) as ds:
        bare = ds.drop_vars("T")
        with pytest.raises(ValueError, match="other pixels"):
            bare.isel(T=[0, 1, 2]).nd2.to_ome_zarr(target, resume=True)
        assert not target.exists()


def test_labels_are_part_of_what_is_continued(
    target: Path, unfinished: Callable[..., None]
) -> None:
    labels = small().rename(image="cells")
    tree = xr.DataTree.from_dict({"/": small(), "/labels": labels})
    other = xr.DataTree.from_dict({"/": small(), "/labels": labels + np.uint16(1)})
    unfinished(tree)
    with pytest.raises(ValueError, match="other pixels"):
        other.nd2.to_ome_zarr(target, resume=True)
    tree.nd2.to_ome_zarr(target, resume=True)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        other.nd2.to_ome_zarr(target, resume=True)


def test_pixels_in_memory_are_never_mixed_with_others(
    target: Path, unfinished: Callable[..., None]
) -> None:
    unfinished(in_memory(), resume=True)
    with pytest.raises(ValueError, match="cannot be continued with pixels in memory"):
        in_memory(1).nd2.to_ome_zarr(target, resume=True)
    in_memory(1).nd2.to_ome_zarr(target, resume=True, overwrite=True)
    assert zarr.open_array(target / "0", mode="r")[0, 0, 0, 0] == 1
    with pytest.raises(FileExistsError, match="overwrite=True"):
        in_memory(1).nd2.to_ome_zarr(target, resume=True)


def test_what_another_version_began_is_not_continued(
    target: Path, unfinished: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        for module in ("export_journal", "ome_zarr_groups"):
            patch.setattr(f"limnd2_xr.export.{module}.version", lambda _: "0.0.1")
        unfinished(small())
    with pytest.raises(ValueError, match=r"is by version 0\.0\.1 of limnd2-xr"):
        small().nd2.to_ome_zarr(target, resume=True)


@pytest.mark.parametrize("name", ["rename", "rmtree"])
def test_an_export_that_is_killed_at_its_very_end_is_complete_or_continued(
    target: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def killed(*_args: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    where = "pathlib.Path" if name == "rename" else "shutil"
    with monkeypatch.context() as patch:
        patch.setattr(f"{where}.{name}", killed)
        with pytest.raises(KeyboardInterrupt):
            small().nd2.to_ome_zarr(target)
    assert target.exists() == (name == "rmtree")
    small().nd2.to_ome_zarr(target, resume=True)
    small().nd2.to_ome_zarr(target.with_name("b"))
    names = sorted(path.name for path in target.parent.iterdir())
    assert names == ["a.ome.zarr", "b"]
    assert set(files_of(target)) == set(files_of(target.with_name("b")))


@pytest.mark.usefixtures("_tiny_blocks", "_hears_ctrl_c")
def test_nothing_is_written_any_more_after_ctrl_c(
    target: Path, in_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = Journal.note

    def interrupting(self: Journal, image: int, block: int, found: Any) -> None:
        if block == 1:
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signal.SIGINT)
            time.sleep(0.1)
        note(self, image, block, found)

    with xr.open_dataset(in_file) as ds:
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "note", interrupting)
            with pytest.raises(KeyboardInterrupt):
                ds.nd2.to_ome_zarr(target)
        names = [thread.name for thread in threading.enumerate()]
        assert not [name for name in names if name.startswith("limnd2-xr-export")]
        assert not target.exists()
        noted = target.with_name("a.ome.zarr.partial") / ".export" / "blocks" / "0-1"
        assert noted.exists()  # what had begun was finished
        ds.nd2.to_ome_zarr(target, resume=True)
        found = zarr.open_array(target / "0", mode="r")
        np.testing.assert_array_equal(found[:], ds["image"])


def test_bytes_do_not_depend_on_the_thread(target: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = dask.array.from_array(rng.poisson(300, (4, 1024, 1024)).astype("u2"))
    ds = xr.Dataset({"image": (("T", "Y", "X"), pixels)})
    for name, scheduler in (("a", "threads"), ("b", "sync"), ("c", "sync")):
        with dask.config.set(scheduler=scheduler):
            ds.nd2.to_ome_zarr(target / name / "image", pyramid=False)
    assert files_of(target / "a") == files_of(target / "b") == files_of(target / "c")


def test_resume_begins_or_has_nothing_to_do(target: Path) -> None:
    small().nd2.to_ome_zarr(target, resume=True)
    before = files_of(target)
    stamps = [path.stat().st_mtime_ns for path in target.rglob("*")]
    small().nd2.to_ome_zarr(target, resume=True)
    assert small().nd2.to_ome_zarr(target, resume=True, compute=False).compute() is None
    assert [path.stat().st_mtime_ns for path in target.rglob("*")] == stamps
    assert files_of(target) == before
    with pytest.raises(FileExistsError, match="overwrite=True replaces it"):
        small().nd2.to_ome_zarr(target, resume=True, pyramid=2)


def test_what_exists_is_replaced_only_if_asked_and_once_complete(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small().nd2.to_ome_zarr(target)
    before = files_of(target)
    with pytest.raises(FileExistsError, match="overwrite=True replaces it"):
        small(1).nd2.to_ome_zarr(target)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    with monkeypatch.context() as patch:
        break_after(patch, 3, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            small(1).nd2.to_ome_zarr(target, overwrite=True)
    assert files_of(target) == before
    small(1).nd2.to_ome_zarr(target, overwrite=True)
    assert zarr.open_array(target / "0", mode="r")[0, 0, 0, 0] == 1
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_file_or_folder_that_is_no_zarr_is_never_replaced(
    target: Path, in_file: Path
) -> None:
    before = in_file.read_bytes()
    with (
        xr.open_dataset(in_file) as ds,
        pytest.raises(FileExistsError, match="no zarr"),
    ):
        ds.nd2.to_ome_zarr(in_file, overwrite=True)
    assert in_file.read_bytes() == before
    target.mkdir()
    (target / "thesis.docx").write_text("years of work")
    with pytest.raises(FileExistsError, match="no zarr"):
        small().nd2.to_ome_zarr(target, overwrite=True)
    partial = target.with_name("b.partial")
    partial.mkdir()
    (partial / "data").touch()
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(FileExistsError, match="is no export"):
            small().nd2.to_ome_zarr(target.with_name("b"), **options)
    assert (target / "thesis.docx").exists()
    assert (partial / "data").exists()


@pytest.mark.parametrize("dest", ["", "/", "file://"])
def test_names_that_are_none(dest: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        small().nd2.to_ome_zarr(dest)


SCRIPT = """
import os, signal, threading
import limnd2_xr.export.zarr_blocks as blocks
from limnd2_xr.export.export_journal import Journal
import xarray as xr

note = Journal.note
started = []

def note_and_die(*args):
    if {delay} is not None and not started:
        started.append(1)
        death = threading.Timer({delay}, os.kill, (os.getpid(), signal.SIGKILL))
        death.daemon = True
        death.start()
    note(*args)

Journal.note = note_and_die
blocks.BLOCK_NBYTES = 1
with xr.open_dataset({source!r}) as ds:
    ds.nd2.to_ome_zarr({target!r}, chunks=100, resume=True, pyramid=2)
say("complete")
"""


@pytest.mark.thorough
@pytest.mark.slow
def test_a_killed_export_that_is_continued_equals_an_undisturbed_one(
    victims: Any, tmp_path: Path
) -> None:
    source = build(SPEC).save(tmp_path / "a.nd2")
    whole, target = tmp_path / "whole" / "a", tmp_path / "killed" / "a"

    def run(place: Path, delay: float | None = None) -> bool:
        script = SCRIPT.format(source=str(source), target=str(place), delay=delay)
        return "complete" in " ".join(victims.run(script))

    assert run(whole)
    expected = files_of(whole)
    rng = np.random.default_rng(7)
    partial = target.with_name("a.partial")
    half_done = 0
    for kill in range(KILLS):
        if run(target, rng.uniform(0.0, 0.1)):
            assert files_of(target) == expected
            target.rename(tmp_path / f"done {kill}")
        elif target.exists():  # killed when it was complete, its journal aside
            found = files_of(target)
            assert {key: found[key] for key in expected} == expected
        else:
            half_done += bool(list(partial.glob(".export/blocks/*")))
    assert half_done
    assert run(target)
    assert files_of(target) == expected
    assert not partial.exists()
