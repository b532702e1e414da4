"""Many frames, more pixels than memory, two processes: this package, nd2, one process."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from comparison.case import Case, Promise, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def cases() -> Iterator[tuple[str, Case]]:
    """Yield name and case."""
    yield (
        "graph-mean",
        Case(
            section="scale",
            title="graph for 100,000 frames, then mean over T",
            file="many",
            sides={"nd2": nd2_mean, "ours": our_mean},
            promises=(Promise("nd2/ours", ">=", 50),),
            repeats=1,
        ),
    )
    yield (
        "max-zlib",
        Case(
            section="scale",
            title="max over Z, 2 GB of zlib frames, threads",
            file="z_stacks",
            sides={
                "nd2": _on_two_cores(nd2_max),
                "ours": _on_two_cores(our_max),
            },
            promises=(Promise("nd2/ours", ">=", 3.5),),
            repeats=1,
        ),
    )
    yield (
        "max-zlib-cluster",
        Case(
            section="scale",
            title="the same on a cluster of two processes",
            file="z_stacks",
            sides={
                "1 process": functools.partial(our_max_on_cluster, workers=1),
                "ours": functools.partial(our_max_on_cluster, workers=2),
            },
            promises=(Promise("1 process/ours", ">=", 1.7),),
            repeats=1,
        ),
    )
    yield (
        "mean-memory",
        Case(
            section="scale",
            title="mean over T of 4 GB, two threads",
            file="long_stack",
            sides={"ours": _on_two_cores(our_mean_by_rows)},
            promises=(Promise("ours MB", "<=", 600),),
            repeats=0,
        ),
    )


def nd2_mean(path: Path) -> Work:
    """Make the graph anew each time: that is part of the work."""
    import nd2

    def run() -> Any:
        with nd2.ND2File(path) as file:
            return rounded(file.to_xarray(delayed=True).mean("T").values)

    return Work(run)


def our_mean(path: Path) -> Work:
    """Do as `nd2_mean`."""
    import dask.array  # noqa: F401
    import xarray as xr

    def run() -> Any:
        with xr.open_dataset(path, engine="nd2", chunks={}) as dataset:
            return rounded(dataset["image"].mean("T").values)

    return Work(run)


def our_mean_by_rows(path: Path) -> Work:
    """Do it as docs/how-to/dask-and-clusters.md says where memory is short.

    Sums are float64: those of whole frames take more memory than the frames.
    """
    import dask.array
    import xarray as xr

    def run() -> Any:
        with (
            xr.open_dataset(path, engine="nd2") as dataset,
            dask.config.set(num_workers=2),
        ):
            image = dataset["image"].chunk({"T": 12, "Y": 256})
            return rounded(image.mean("T").values)

    return Work(run)


def rounded(values: Any) -> Any:
    """Return means as whole numbers: sums in another order end in other digits."""
    return values.squeeze().round(6).astype("int64")


def nd2_max(path: Path) -> Work:
    """Reduce the dask array that nd2 makes of the file."""
    import nd2

    file = nd2.ND2File(path)

    def run() -> Any:
        axis = list(file.sizes).index("Z")
        return file.to_dask().max(axis=axis).compute()

    return Work(run, file.close)


def our_max(path: Path) -> Work:
    """Reduce the labelled array."""
    import dask.array  # noqa: F401
    import xarray as xr

    def run() -> Any:
        with xr.open_dataset(path, engine="nd2", chunks={}) as dataset:
            return dataset["image"].max("Z").values.squeeze()

    return Work(run)


def our_max_on_cluster(path: Path, *, workers: int) -> Work:
    """Do as `our_max` in processes of one thread each."""
    import distributed

    cluster = distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        silence_logs="ERROR",
    )
    client = distributed.Client(cluster)
    work = our_max(path)

    def close() -> None:
        client.close()
        cluster.close()

    return Work(work.run, close)


def _on_two_cores(prepare: Callable[[Path], Work]) -> Callable[[Path], Work]:
    def prepared(path: Path) -> Work:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
        return prepare(path)

    return prepared
