"""Over HTTP from another process, every answer 30 ms late."""

import subprocess
import sys
import tempfile
from pathlib import Path

import xarray as xr

from benchmarks import _files as files

LATENCY = "0.03"


class Http:
    """Few large frames, and many small ones."""

    params = (["stack", "tiny"], ["direct", "fsspec"])
    param_names = ("file", "transport")
    timeout = 120

    def setup_cache(self):
        folder = Path(tempfile.mkdtemp(prefix="limnd2-xr-asv-"))
        return {kind: files.make(kind, folder, quick=True) for kind in self.params[0]}

    def setup(self, paths, kind, transport):
        import os

        os.environ["LIMND2_XR_TRANSPORT"] = transport
        path = paths[kind]
        command = [sys.executable, "-m", "limnd2_xr.testing.http_server", str(path)]
        self.server = subprocess.Popen(
            [*command, "--latency", LATENCY], stdout=subprocess.PIPE, text=True
        )
        self.url = f"{self.server.stdout.readline().strip()}/{path.name}"
        self.dataset = xr.open_dataset(self.url, engine="nd2", cache=False)

    def teardown(self, paths, kind, transport):
        self.dataset.close()
        self.server.kill()
        self.server.wait()

    def time_open_dataset(self, paths, kind, transport):
        xr.open_dataset(self.url, engine="nd2").close()

    def time_read(self, paths, kind, transport):
        _ = self.dataset["image"].values

    def time_window(self, paths, kind, transport):
        _ = self.dataset["image"][..., 4:12, 4:12].values

    def track_requests_of_opening(self, paths, kind, transport):
        return files.reads_of(lambda: xr.open_dataset(self.url, engine="nd2").close())
