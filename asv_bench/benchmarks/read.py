"""Reading pixels through the lazy array, warm cache."""

import tempfile
from pathlib import Path

import xarray as xr

from benchmarks import _files as files


class Read:
    """Whole files and parts of them."""

    params = (["stack", "two_channels", "zlib", "tiny"],)
    param_names = ("file",)
    timeout = 300

    def setup_cache(self):
        folder = Path(tempfile.mkdtemp(prefix="limnd2-xr-asv-"))
        return {kind: files.make(kind, folder, quick=True) for kind in self.params[0]}

    def setup(self, paths, kind):
        self.dataset = xr.open_dataset(paths[kind], engine="nd2", cache=False)
        self.image = self.dataset["image"]

    def teardown(self, paths, kind):
        self.dataset.close()

    def time_everything(self, paths, kind):
        self.image.values  # noqa: B018

    def peakmem_everything(self, paths, kind):
        self.image.values  # noqa: B018

    def time_one_frame(self, paths, kind):
        self.image.isel(T=-1).values  # noqa: B018

    def time_one_channel(self, paths, kind):
        self.image.isel(C=0).values  # noqa: B018

    def time_window_of_each_frame(self, paths, kind):
        self.image.isel(Y=slice(4, 12), X=slice(4, 12)).values  # noqa: B018

    def time_every_second_frame(self, paths, kind):
        self.image.isel(T=slice(None, None, 2)).values  # noqa: B018


class Count:
    """Reads that a piece of work takes: deterministic, unlike its time."""

    unit = "reads"

    def setup_cache(self):
        folder = Path(tempfile.mkdtemp(prefix="limnd2-xr-asv-"))
        return files.make("stack", folder, quick=True)

    def track_reads_to_open(self, path):
        return files.reads_of(lambda: xr.open_dataset(path, engine="nd2").close())

    def track_reads_of_one_frame(self, path):
        with xr.open_dataset(path, engine="nd2", cache=False) as dataset:
            return files.reads_of(lambda: dataset["image"].isel(T=1).values)

    def track_reads_of_one_window(self, path):
        rows, columns = files.WINDOW
        with xr.open_dataset(path, engine="nd2", cache=False) as dataset:
            window = dataset["image"].isel(T=1, Y=rows, X=columns)
            return files.reads_of(lambda: window.values)
