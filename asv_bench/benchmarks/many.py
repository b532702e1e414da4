"""Opening many files as one dataset."""

import tempfile
from pathlib import Path

import xarray as xr

from benchmarks import _files as files

OPTIONS = {
    "engine": "nd2",
    "full_dims": True,
    "combine": "nested",
    "concat_dim": "P",
    "coords": "minimal",
    "data_vars": "minimal",
    "compat": "override",
    "join": "override",
    "combine_attrs": "drop_conflicts",
}
"""As docs/how-to/many-files.md has it."""


class OneOfMany:
    """What one file more costs."""

    def setup(self):
        self.folder = tempfile.TemporaryDirectory(prefix="limnd2-xr-")
        self.path = files.make("tiny", Path(self.folder.name), quick=True)

    def teardown(self):
        self.folder.cleanup()

    def time_open(self):
        xr.open_dataset(self.path, engine="nd2", full_dims=True).close()

    def time_open_in_blocks(self):
        xr.open_dataset(self.path, engine="nd2", full_dims=True, chunks={}).close()


class Many:
    """A series of files as one dataset."""

    timeout = 300
    params = (False, True)
    param_names = ("parallel",)

    def setup(self, parallel):
        self.folder = tempfile.TemporaryDirectory(prefix="limnd2-xr-")
        made = files.make("many_files", Path(self.folder.name), quick=True)
        self.paths = sorted(made.glob("*.nd2"))

    def teardown(self, parallel):
        self.folder.cleanup()

    def time_open(self, parallel):
        xr.open_mfdataset(self.paths, parallel=parallel, **OPTIONS).close()
