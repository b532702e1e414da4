"""dask graphs: building them, their size, and a reduction through them."""

import pickle
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

from benchmarks import _files as files


class Graph:
    """Many small frames: where graphs hurt."""

    params = ([{}, {"T": 1}],)
    param_names = ("chunks",)
    timeout = 300

    def setup_cache(self):
        folder = Path(tempfile.mkdtemp(prefix="limnd2-xr-asv-"))
        return files.make("tiny", folder, quick=True)

    def setup(self, path, chunks):
        self.dataset = xr.open_dataset(path, engine="nd2", chunks=chunks)
        self.array = self.dataset["image"].data

    def teardown(self, path, chunks):
        self.dataset.close()

    def time_build(self, path, chunks):
        xr.open_dataset(path, engine="nd2", chunks=chunks).close()

    def time_pickle(self, path, chunks):
        pickle.dumps(self.array)

    def track_pickled_nbytes(self, path, chunks):
        return len(pickle.dumps(self.array))

    track_pickled_nbytes.unit = "bytes"

    def track_tasks(self, path, chunks):
        return len(self.array.__dask_graph__())

    track_tasks.unit = "tasks"

    def time_sum(self, path, chunks):
        self.array.sum().compute()


class Blocks:
    """Blocks that divide compressed frames, and single points of many frames."""

    timeout = 300

    def setup_cache(self):
        folder = Path(tempfile.mkdtemp(prefix="limnd2-xr-asv-"))
        return files.make("zlib", folder, quick=True)

    def setup(self, path):
        self.dataset = xr.open_dataset(path, engine="nd2", cache=False)
        self.rows = self.dataset["image"].chunk({"Y": 256})
        count = self.dataset.sizes["T"]
        self.points = {
            dim: xr.DataArray(np.arange(count) * 7 % size, dims="point")
            for dim, size in (("T", count), ("Y", 2048), ("X", 2048))
        }

    def teardown(self, path):
        self.dataset.close()

    def time_mean_by_rows(self, path):
        self.rows.mean("T").compute()

    def peakmem_mean_by_rows(self, path):
        self.rows.mean("T").compute()

    def time_points(self, path):
        self.dataset["image"].isel(self.points).values  # noqa: B018

    def track_travelling_nbytes(self, path):
        return len(pickle.dumps(self.dataset["image"].variable._data))

    track_travelling_nbytes.unit = "bytes"
