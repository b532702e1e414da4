"""Exports to OME-Zarr: nd2, with its faster way and its other one, and this package."""

from __future__ import annotations

import os
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

from comparison.case import Case, Promise, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TILE = 1024
"""Height and width of a chunk, on both sides."""
OF_ND2 = {"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 1}
"""What nd2 compresses with, and leaves no choice of."""


def cases() -> Iterator[tuple[str, Case]]:
    """Yield name and case; the source is 1 GiB, 128 frames of 2048 x 2048 x uint16."""
    same = {"chunks": TILE, "compressor": OF_ND2}
    yield (
        "ome-zarr",
        _case(
            "OME-Zarr of 1 GiB, same chunks and compressor",
            Promise("nd2/ours", ">=", 2),
            pyramid=False,
            **same,
        ),
    )
    yield (
        "ome-zarr-pyramid",
        _case(
            "the same with all smaller copies, which nd2 has none of",
            Promise("nd2/ours", ">=", 1),
            pyramid="auto",
            **same,
        ),
    )
    yield (
        "ome-zarr-defaults",
        Case(
            section="exporting",
            title="OME-Zarr of 1 GiB as each does it unasked",
            file="stack",
            sides={"nd2": partial(_nd2, "zarr", chunk_shape="auto"), "ours": _ours},
            repeats=2,
        ),
    )
    yield (
        "ome-zarr-big",
        Case(
            section="exporting",
            title="OME-Zarr of a 4 GiB file, with all smaller copies",
            file="long_stack",
            sides={"ours": _ours},
            promises=(Promise("ours MB", "<=", 500),),
            repeats=0,
        ),
    )
    yield (
        "ome-zarr-memory",
        Case(
            section="exporting",
            title="OME-Zarr of a 4 GiB dask array, frame by frame",
            file="",
            sides={"ours": _ours_big},
            promises=(Promise("ours MB", "<=", 500),),
            repeats=0,
        ),
    )


def _case(title: str, promise: Promise, **options: Any) -> Case:
    return Case(
        section="exporting",
        title=title,
        file="stack",
        sides={
            "nd2": partial(_nd2, "zarr", chunk_shape=(1, TILE, TILE)),
            "ours": partial(_ours, **options),
        },
        promises=(promise,),
        repeats=2,
        # tensorstore has each file put on the disk before it goes on.
        extras={
            "nd2 with tensorstore": partial(
                _nd2, "tensorstore", chunk_shape=(1, TILE, TILE)
            )
        },
    )


def _into_new_folder(write: Callable[[Path], object], near: Path) -> Work:
    """Write to a new folder each time, which is deleted afterwards."""
    target = near / f"exported-{os.getpid()}.ome.zarr"

    def run() -> int:
        write(target)
        return sum(
            path.stat().st_size
            for path in (target / "0").rglob("*")
            if path.is_file() and path.name != "zarr.json"
        )

    return Work(run, clean=lambda: shutil.rmtree(target))


def _nd2(backend: str, path: Path, *, chunk_shape: Any) -> Work:
    import nd2

    def write(target: Path) -> None:
        with nd2.ND2File(path) as file:
            file.write_ome_zarr(target, chunk_shape=chunk_shape, backend=backend)

    return _into_new_folder(write, path.parent)


def _ours(path: Path, **options: Any) -> Work:
    import xarray as xr

    def write(target: Path) -> None:
        with xr.open_dataset(path, engine="nd2") as dataset:
            dataset.nd2.to_ome_zarr(target, **options)

    return _into_new_folder(write, path.parent)


def _ours_big(folder: Path) -> Work:
    """Write an array that is made while it is written."""
    import xarray as xr
    from benchmarks._files import lazy_noise

    dataset = xr.Dataset({"image": (("T", "C", "Y", "X"), lazy_noise(512))})
    return _into_new_folder(dataset.nd2.to_ome_zarr, folder)
