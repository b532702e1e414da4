"""Files as zarr stores, and references to their frames."""

import tempfile
import warnings
from pathlib import Path

import zarr

from benchmarks import _files as files
from limnd2_xr import to_kerchunk, zarr_store


class ZarrStore:
    """Opening a store and reading through zarr."""

    params = (("stack", "two_channels", "zlib"),)
    param_names = ("file",)
    timeout = 300

    def setup_cache(self):
        folder = Path(tempfile.mkdtemp(prefix="limnd2-xr-asv-"))
        return {kind: files.make(kind, folder, quick=True) for kind in self.params[0]}

    def setup(self, paths, file):
        warnings.filterwarnings("ignore", "Numcodecs codecs are not in")
        self.store = zarr_store(paths[file])
        self.array = zarr.open_array(self.store, path="0", mode="r")

    def teardown(self, paths, file):
        self.store.close()

    def time_open(self, paths, file):
        zarr_store(paths[file]).close()

    def time_read_all(self, paths, file):
        self.array[...]

    def time_read_frame(self, paths, file):
        self.array[1]

    def track_reads_of_a_frame(self, paths, file):
        return files.reads_of(lambda: self.array[2])

    track_reads_of_a_frame.unit = "reads"


class References:
    """Catalogues: what a file with many frames costs."""

    timeout = 300

    def setup_cache(self):
        folder = Path(tempfile.mkdtemp(prefix="limnd2-xr-asv-"))
        return files.make("tiny", folder, quick=True)

    def time_to_kerchunk(self, path):
        to_kerchunk(path)

    def time_to_kerchunk_unchecked(self, path):
        to_kerchunk(path, check_frames=False)
