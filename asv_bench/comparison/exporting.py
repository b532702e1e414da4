"""Exporting: OME-TIFF as nd2 (PyPI) writes it, and as this package does."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from comparison.case import Case, Promise, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MEMORY = Promise("ours MB", "<=", 500)


def cases() -> Iterator[tuple[str, Case]]:
    """Yield name and case."""
    promised = (Promise("nd2/ours", ">=", 1.5), MEMORY)
    for name, file, what in (
        ("stack", "stack", "1 GiB, one channel"),
        ("two-channels", "two_channels", "1 GiB, two channels"),
    ):
        yield (
            f"export-tiff-{name}",
            Case(
                section="exporting",
                title=f"OME-TIFF, {what}",
                file=file,
                sides={"nd2": _nd2, "ours": _ours},
                promises=promised,
                repeats=3,
            ),
        )
    for name, file, what, options in (
        ("pyramid", "stack", "1 GiB with smaller copies", {"pyramid": "auto"}),
        ("zlib", "zlib", "0.25 GiB of photon noise, zlib", {"compression": "zlib"}),
        ("big", "long_stack", "4 GiB", {}),
        ("big-pyramid", "long_stack", "4 GiB with smaller copies", {"pyramid": "auto"}),
    ):
        yield (
            f"export-tiff-{name}",
            Case(
                section="exporting",
                title=f"OME-TIFF, {what}",
                file=file,
                sides={"ours": functools.partial(_ours, **options)},
                promises=(MEMORY,),
                repeats=0,
            ),
        )


def _prepared(path: Path, write: Callable[[Path], Any]) -> Work:
    """Write to a new file beside the source each time, which is deleted afterwards."""
    target = path.with_name(f"exported-{os.getpid()}.ome.tif")

    def run() -> int:
        write(target)
        return target.stat().st_size

    return Work(run, clean=target.unlink)


def _nd2(path: Path) -> Work:
    import nd2

    def write(target: Path) -> None:
        with nd2.ND2File(path) as file:
            file.write_tiff(target)

    return _prepared(path, write)


def _ours(path: Path, **options: Any) -> Work:
    import xarray as xr

    def write(target: Path) -> None:
        with xr.open_dataset(path, engine="nd2") as dataset:
            dataset.nd2.to_ome_tiff(target, **options)

    return _prepared(path, write)
