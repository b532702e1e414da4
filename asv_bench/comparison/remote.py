"""Files over HTTP, every answer 30 ms late: this package, and nd2 with an fsspec URL.

The server is a process of its own, so it takes part in the two cores but in no interpreter;
bytes and requests are counted there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

from benchmarks import _files as files

from comparison.case import Case, Promise, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LATENCY = 0.03
FRAMES = 20
WINDOWS = 100


class Site:
    """A server of one file, in a process of its own."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-m", "limnd2_xr.testing.http_server", str(path)]
        self._process = subprocess.Popen(
            [*command, "--latency", str(LATENCY)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None  # noqa: S101
        self._address = self._process.stdout.readline().strip()
        self.url = f"{self._address}/{path.name}"
        self._counted: dict[str, float] = {}

    def count(self) -> None:
        """Take down what was asked for since the last time."""
        with urllib.request.urlopen(f"{self._address}/.statistics") as answer:  # noqa: S310
            requests, nbytes, _ = map(float, answer.read().split())
        self._counted = {"requests": requests, "bytes": nbytes}

    def work(self, run: Callable[[], Any], *opened: Any) -> Work:
        """Return work that ends with the server."""

        def close() -> None:
            for one in opened:
                one.close()
            self._process.kill()
            self._process.wait()

        return Work(run, close, self.count, lambda: self._counted)


def nd2_open(path: Path) -> Work:
    """Open, and find out how many frames there are."""
    import nd2

    site = Site(path)

    def run() -> int:
        with nd2.ND2File(site.url) as file:
            return int(file.sizes["T"])

    return site.work(run)


def our_open(path: Path) -> Work:
    """Open as a labelled dataset."""
    import xarray as xr

    site = Site(path)

    def run() -> int:
        with xr.open_dataset(site.url, engine="nd2") as dataset:
            return int(dataset.sizes["T"])

    return site.work(run)


def nd2_frames(path: Path) -> Work:
    """Read frame by frame, which is faster than through dask: that has a lock."""
    import nd2
    import numpy as np

    site = Site(path)
    file = nd2.ND2File(site.url)
    count = min(FRAMES, file.sizes["T"])

    def run() -> Any:
        return np.stack([file.read_frame(i) for i in range(count)])

    return site.work(run, file)


def our_frames(path: Path) -> Work:
    """Read the same frames of an open dataset."""
    import xarray as xr

    site = Site(path)
    dataset = xr.open_dataset(site.url, engine="nd2", cache=False)

    def run() -> Any:
        return dataset["image"][:FRAMES].values[:, 0]

    return site.work(run, dataset)


def nd2_window(path: Path) -> Work:
    """Read a window of the dask array; nd2 has no other way to read a part of a frame."""
    import nd2

    site = Site(path)
    file = nd2.ND2File(site.url)

    def run() -> Any:
        return file.to_dask()[(slice(WINDOWS), *files.WINDOW)].compute()

    return site.work(run, file)


def our_window(path: Path) -> Work:
    """Read the same window of an open dataset."""
    import xarray as xr

    site = Site(path)
    dataset = xr.open_dataset(site.url, engine="nd2", cache=False)
    rows, columns = files.WINDOW

    def run() -> Any:
        image = dataset["image"].isel(T=slice(WINDOWS), Y=rows, X=columns)
        return image.values[:, 0]

    return site.work(run, dataset)


def _through_fsspec(prepare: Callable[[Path], Work]) -> Callable[[Path], Work]:
    def prepared(path: Path) -> Work:
        os.environ["LIMND2_XR_TRANSPORT"] = "fsspec"
        return prepare(path)

    return prepared


def cases() -> Iterator[tuple[str, Case]]:
    """Yield name and case."""
    for name, title, file, nd2, ours, promises in (
        (
            "remote-open",
            "open 20,000 frames over HTTP, 30 ms",
            "tiny",
            nd2_open,
            our_open,
            (Promise("nd2/ours", ">=", 2), Promise("ours requests", "<=", 6)),
        ),
        (
            "remote-frames",
            f"{FRAMES} frames of 2048² over HTTP, 30 ms",
            "stack",
            nd2_frames,
            our_frames,
            (Promise("nd2/ours", ">=", 8),),
        ),
        (
            "remote-window",
            f"64² window over {WINDOWS} such frames",
            "stack",
            nd2_window,
            our_window,
            (Promise("nd2/ours bytes", ">=", 20),),
        ),
    ):
        yield (
            name,
            Case(
                section="scale",
                title=title,
                file=file,
                sides={"nd2": nd2, "ours": ours},
                promises=promises,
                repeats=3,
                extras={"ours, through fsspec": _through_fsspec(ours)},
            ),
        )
