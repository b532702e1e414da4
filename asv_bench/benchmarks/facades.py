"""Drop-ins for other packages: what they add to this package's reader."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import _files as files
from limnd2_xr.compat import nd2


class Nd2File:
    """Methods of `nd2.ND2File`, on a file of 600 frames."""

    def setup(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = files.make("recorded", Path(self.folder.name), quick=True)
        self.file = nd2.ND2File(self.path)

    def teardown(self) -> None:
        self.file.close()
        self.folder.cleanup()

    def time_open(self) -> None:
        with nd2.ND2File(self.path) as file:
            file.metadata  # noqa: B018

    def time_asarray(self) -> None:
        self.file.asarray()

    def time_read_frame(self) -> None:
        self.file.read_frame(300)

    def time_dask_sum(self) -> None:
        self.file.to_dask().sum().compute(scheduler="sync")

    def time_to_xarray(self) -> None:
        self.file.to_xarray()

    def time_frame_metadata(self) -> None:
        for i in range(600):
            self.file.frame_metadata(i)

    def time_events(self) -> None:
        self.file.events()
