"""The drop-in for nd2, method by method, and nd2 (PyPI) itself."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from benchmarks import _files as files

from comparison.case import Case, Promise, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SERIES = str(files.SAMPLES / "real" / "timelapse_t53.nd2")


def cases() -> Iterator[tuple[str, Case]]:
    """Yield name and case."""
    for name, title, file, call, over_nd2 in (
        ("asarray", "asarray, 2048² uint16 frames", "stack", asarray, 1),
        ("asarray-two", "asarray, two channels", "two_channels", asarray, 1),
        ("asarray-small", "asarray, a small series", SERIES, asarray, 1),
        ("asarray-tiny", "asarray, 16² frames", "tiny", asarray, 10),
        ("sum", "to_dask().sum(), 2048² uint16 frames", "stack", dask_sum, 1),
        ("sum-tiny", "to_dask().sum(), 16² frames", "tiny", dask_sum, 50),
        ("sum-small", "to_dask().sum(), a small series", SERIES, dask_sum, 1),
        ("xarray", "to_xarray, a small series", SERIES, to_xarray, 1),
        ("xarray-tiny", "to_xarray, 20,000 frames", "tiny", to_xarray, 1),
        ("frames", "frame_metadata, a small series", SERIES, frame_metadata, 3),
        ("frames-many", "frame_metadata, 2,400 frames", "recorded", frame_metadata, 3),
        ("events", "events(), a small series", SERIES, events, 1),
        ("events-many", "events(), 2,400 frames", "recorded", events, 1),
        ("events-list", 'events(orient="list")', "recorded", columns, 1),
    ):
        yield f"facade-{name}", _case(title, file, call, over_nd2)
    yield (
        "facade-masks",
        _case("binary_data, 5,000 objects", "masks", binary_data, 3, anew=True),
    )


def asarray(file: Any) -> Any:
    return file.asarray()


def dask_sum(file: Any) -> int:
    return int(file.to_dask().sum().compute())


def to_xarray(file: Any) -> int:
    return int(file.to_xarray().size)


def frame_metadata(file: Any) -> int:
    found = [file.frame_metadata(i) for i in range(file.attributes.sequenceCount)]
    return sum(len(frame.channels) for frame in found)


def events(file: Any) -> int:
    return len(file.events())


def columns(file: Any) -> int:
    return len(file.events(orient="list"))


def binary_data(file: Any) -> int:
    return int(file.binary_data[0][0].max())


def _case(
    title: str,
    file: str,
    call: Callable[[Any], Any],
    over_nd2: float,
    *,
    anew: bool = False,
) -> Case:
    return Case(
        section="facades",
        title=title,
        file=file,
        sides={
            "nd2": functools.partial(_with_nd2, call, anew=anew),
            "ours": functools.partial(_with_ours, call, anew=anew),
        },
        promises=(Promise("nd2/ours", ">=", over_nd2),),
        repeats=20 if file == SERIES else 3,
    )


def _with_nd2(call: Callable[[Any], Any], path: Path, *, anew: bool) -> Work:
    import nd2

    return _work(nd2, call, path, anew=anew)


def _with_ours(call: Callable[[Any], Any], path: Path, *, anew: bool) -> Work:
    from limnd2_xr.compat import nd2

    return _work(nd2, call, path, anew=anew)


def _work(module: Any, call: Callable[[Any], Any], path: Path, *, anew: bool) -> Work:
    """Call a method of an open file, or, where it remembers its result, of a new one."""
    if anew:

        def run() -> Any:
            with module.ND2File(path) as file:
                return call(file)

        return Work(run)
    file = module.ND2File(path)
    return Work(functools.partial(call, file), file.close)
