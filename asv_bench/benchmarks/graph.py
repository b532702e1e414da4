"""dask graphs: building them, their size, and a reduction through them."""

import pickle
import tempfile
from pathlib import Path

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
