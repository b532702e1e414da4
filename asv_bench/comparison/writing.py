"""Writing: this package, `os.pwrite` of the same bytes, `zlib` on one thread, limnd2."""

from __future__ import annotations

import functools
import importlib.util
import os
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from benchmarks import _files as files

from comparison.case import Case, Promise, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PIECE_NBYTES = 16 * 2**20
"""Of a raw write."""
FRAMES = {"stack": 128, "two": 64, "zlib": 32, "big": 512}
"""Frames of 2048 x 2048 x uint16, 8 MiB a channel: 1, 1, 0.25 and 4 GiB."""
QUICK = 8
"""So many times fewer with --quick."""


def cases() -> Iterator[tuple[str, Case]]:
    """Yield name and case."""
    raw_limit = (Promise("ours/raw", "<=", 1 / 0.7),)
    yield (
        "write-stack",
        _case(
            "1 GiB from memory, fsync on both sides",
            "stack",
            raw=_raw,
            ours=_ours,
            limnd2=_limnd2,
            promises=raw_limit,
        ),
    )
    yield (
        "write-stack-cached",
        _case(
            "1 GiB from memory, fsync on neither",
            "stack",
            raw=_without_fsync(_raw),
            ours=_without_fsync(_ours),
            promises=raw_limit,
        ),
    )
    yield (
        "write-two-channels",
        _case("1 GiB, channels interleaved", "two", raw=_raw, ours=_ours),
    )
    yield (
        "write-zlib",
        _case(
            "0.25 GiB of photon noise, zlib, 2 cores",
            "zlib",
            promises=(
                Promise("zlib 1/ours", ">=", 3),
                Promise("ours/zlib 1 bytes", "<=", 1.03),
            ),
            **{
                "zlib 1": _on_two_cores(_zlib),
                "ours": _on_two_cores(_ours_zlib),
            },
        ),
    )
    for name, compression, chunks in (
        ("frame by frame", None, {"T": 1}),
        ("in chunks of tiles", None, {"T": 4, "Y": 512, "X": 512}),
        ("frame by frame, zlib", "zlib", {"T": 1}),
    ):
        ours = functools.partial(_ours_big, compression=compression, chunks=chunks)
        slug = name.replace(",", "").replace(" ", "-")
        yield (
            f"write-big-{slug}",
            _case(
                f"4 GiB dask array {name}",
                "big",
                ours=ours,
                promises=(Promise("ours MB", "<=", 1000),),
                repeats=0,
            ),
        )


def _case(
    title: str, kind: str, *, repeats: int = 3, promises: Any = (), **sides: Any
) -> Case:
    if importlib.util.find_spec("limnd2") is None:
        sides.pop("limnd2", None)
    return Case(
        section="writing",
        title=title,
        file=kind,
        sides=sides,
        promises=promises,
        repeats=repeats,
    )


def pixels(kind: str, *, quick: bool) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Return photon noise of shape (T, C, Y, X)."""
    noise = files.PhotonNoise(2 if kind == "two" else 1)
    count = FRAMES[kind] // (QUICK if quick else 1)
    found = np.empty((count, noise.components, 2048, 2048), np.uint16)
    for number, frame in enumerate(found):
        frame[:] = noise(number).transpose(2, 0, 1)
    return found


def _prepared(
    write: Callable[[np.ndarray[Any, Any], Path], None], target: Path
) -> Work:
    """Write to a new file each time, which is deleted afterwards."""
    folder, kind, quick = target.parent, *target.name.split(".")
    data = pixels(kind, quick=quick == "quick")
    path = folder / f"written-{os.getpid()}.nd2"

    def run() -> int:
        write(data, path)
        return path.stat().st_size

    return Work(run, clean=path.unlink)


def _raw(target: Path) -> Work:
    return _prepared(_write_raw, target)


def _write_raw(data: np.ndarray[Any, Any], path: Path) -> None:
    view = memoryview(data).cast("B")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        for at in range(0, len(view), PIECE_NBYTES):
            piece = view[at : at + PIECE_NBYTES]
            while piece:
                done = os.pwrite(fd, piece, at)
                at += done  # noqa: PLW2901
                piece = piece[done:]
        os.fsync(fd)
    finally:
        os.close(fd)


def _zlib(target: Path) -> Work:
    return _prepared(_write_zlib, target)


def _write_zlib(data: np.ndarray[Any, Any], path: Path) -> None:
    with path.open("xb", buffering=0) as file:
        for frame in data:
            file.write(zlib.compress(memoryview(frame).cast("B"), 1))
        os.fsync(file.fileno())


def _ours(target: Path) -> Work:
    return _prepared(_write_ours, target)


def _ours_zlib(target: Path) -> Work:
    return _prepared(functools.partial(_write_ours, compression="zlib"), target)


def _write_ours(
    data: np.ndarray[Any, Any], path: Path, compression: str | None = None
) -> None:
    import xarray as xr

    image = xr.DataArray(data, dims=("T", "C", "Y", "X"))
    image.nd2.write_nd2(path, compression=compression)


def _limnd2(target: Path) -> Work:
    return _prepared(_write_limnd2, target)


def _write_limnd2(data: np.ndarray[Any, Any], path: Path) -> None:
    import limnd2

    count, components, height, width = data.shape
    with limnd2.Nd2Writer(str(path)) as file:
        file.imageAttributes = limnd2.ImageAttributes.create(
            width=width,
            height=height,
            component_count=components,
            bits=16,
            sequence_count=count,
        )
        for number, frame in enumerate(data):
            file.setImage(number, frame.transpose(1, 2, 0))
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _ours_big(target: Path, *, compression: str | None, chunks: dict[str, int]) -> Work:
    """Write an array that is made while it is written."""
    import xarray as xr

    image = files.lazy_noise(
        FRAMES["big"] // (QUICK if target.suffix == ".quick" else 1)
    )
    image = xr.DataArray(image, dims=("T", "C", "Y", "X")).chunk(chunks)
    path = target.with_name(f"written-{os.getpid()}.nd2")

    def run() -> int:
        image.nd2.write_nd2(path, compression=compression)
        return path.stat().st_size

    return Work(run, clean=path.unlink)


def _without_fsync(prepare: Callable[[Path], Work]) -> Callable[[Path], Work]:
    """Leave out what depends on the disk alone."""

    def prepared(target: Path) -> Work:
        os.fsync = lambda _fd: None
        return prepare(target)

    return prepared


def _on_two_cores(prepare: Callable[[Path], Work]) -> Callable[[Path], Work]:
    def prepared(target: Path) -> Work:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
        return prepare(target)

    return prepared
