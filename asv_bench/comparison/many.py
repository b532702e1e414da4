"""Finding the engine, and opening a thousand files: without the package, nd2, this package."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.many import OPTIONS

from comparison.case import Case, Promise, Work

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def cases() -> Iterator[tuple[str, Case]]:
    """Yield name and case."""
    yield (
        "import",
        Case(
            section="scale",
            title="import xarray and list its engines",
            file="",
            sides={"without": engines_of_others, "ours": all_engines},
            promises=(Promise("ours-without ms", "<=", 15),),
            repeats=5,
        ),
    )
    yield (
        "many-files",
        Case(
            section="scale",
            title="1,000 files as one labelled dask array",
            file="many_files",
            sides={"nd2": nd2_files, "ours": our_files},
            repeats=1,
            extras={
                "without coordinates of channels": our_files_without_channels,
                "parallel=True": our_files_in_parallel,
                "nd2 without labels": nd2_dask_files,
            },
        ),
    )


# ---- finding the engine ---------------------------------------------------------------

_ENGINES = """
import importlib.metadata, sys
found = importlib.metadata.entry_points
def entry_points(**which):
    return importlib.metadata.EntryPoints(p for p in found(**which) if p.name != sys.argv[1])
importlib.metadata.entry_points = entry_points
import xarray
xarray.backends.list_engines()
assert ("limnd2_xr" in sys.modules) == (sys.argv[1] != "nd2")
"""
"""Passes over one entry point, as if its package were not installed."""


def engines_of_others(path: Path) -> Work:
    """List the engines without the entry point of this package, in a new process."""
    return _listing(path, without="nd2")


def all_engines(path: Path) -> Work:
    """List them with it."""
    return _listing(path, without="none of this name")


def _listing(folder: Path, *, without: str) -> Work:
    command = [sys.executable, "-c", _ENGINES, without]
    # Compiled once, as installed packages are, wherever this one lies.
    environment = dict(os.environ, PYTHONPYCACHEPREFIX=str(folder / "compiled"))
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run() -> int:
        return subprocess.run(command, check=True, env=environment).returncode

    return Work(run)


# ---- many files -----------------------------------------------------------------------


def nd2_files(folder: Path) -> Work:
    """Open each file and concatenate what nd2 makes of it with xarray."""
    import nd2
    import xarray as xr

    def run() -> int:
        opened = [nd2.ND2File(path) for path in sorted(folder.glob("*.nd2"))]
        try:
            images = [file.to_xarray(delayed=True) for file in opened]
            return int(xr.concat(images, "P").size)
        finally:
            for file in opened:
                file.close()

    return Work(run)


def nd2_dask_files(folder: Path) -> Work:
    """Stack bare dask arrays."""
    import dask.array as da
    import nd2

    def run() -> int:
        opened = [nd2.ND2File(path) for path in sorted(folder.glob("*.nd2"))]
        try:
            return int(da.stack([file.to_dask() for file in opened]).size)
        finally:
            for file in opened:
                file.close()

    return Work(run)


def our_files(folder: Path, **more: Any) -> Work:
    """Open them as the how-to says."""
    import xarray as xr

    def run() -> int:
        paths = sorted(folder.glob("*.nd2"))
        with xr.open_mfdataset(paths, **OPTIONS, **more) as dataset:
            return int(dataset["image"].size)

    return Work(run)


def our_files_without_channels(folder: Path) -> Work:
    """Take what all have in common from the first one."""
    import xarray as xr

    with xr.open_dataset(next(folder.glob("*.nd2")), engine="nd2") as first:
        shared = [n for n, c in first.coords.items() if c.dims == ("C",) and n != "C"]
    return our_files(folder, drop_variables=shared)


def our_files_in_parallel(folder: Path) -> Work:
    """Open them with dask."""
    return our_files(folder, parallel=True)
