"""Opening: no pixel is read."""

import pickle
import tempfile
from pathlib import Path

import xarray as xr

from benchmarks import _files as files
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.frames.store import FrameStore


class Synthetic:
    """One file with few large frames, one with many small ones, one long map."""

    params = (["stack", "tiny", "long_map"],)
    param_names = ("file",)
    timeout = 300

    def setup_cache(self):
        folder = Path(tempfile.mkdtemp(prefix="limnd2-xr-asv-"))
        return {kind: files.make(kind, folder, quick=True) for kind in self.params[0]}

    def setup(self, paths, kind):
        self.path = paths[kind]

    def time_open_dataset(self, paths, kind):
        xr.open_dataset(self.path, engine="nd2").close()

    def time_open_store(self, paths, kind):
        FrameStore.open(SourceSpec.of(self.path)).close()

    def peakmem_open_store(self, paths, kind):
        FrameStore.open(SourceSpec.of(self.path)).close()

    def time_guess(self, paths, kind):
        xr.backends.plugins.guess_engine(self.path)


class Real:
    """The metadata that NIS-Elements really writes."""

    params = (
        sorted(path.stem for path in (files.SAMPLES / "real").glob("*.nd2"))
        or ["none"],
    )
    param_names = ("sample",)

    def setup(self, stem):
        self.path = files.SAMPLES / "real" / f"{stem}.nd2"
        if not self.path.exists():
            raise NotImplementedError  # asv's way of skipping
        self.dataset = xr.open_dataset(self.path, engine="nd2")
        self.pickled = pickle.dumps(self.dataset)

    def teardown(self, stem):
        self.dataset.close()

    def time_open_dataset(self, stem):
        xr.open_dataset(self.path, engine="nd2").close()

    def time_open_store(self, stem):
        FrameStore.open(SourceSpec.of(self.path)).close()

    def time_unpickle(self, stem):
        pickle.loads(self.pickled).close()  # noqa: S301

    def track_pickled_nbytes(self, stem):
        return len(self.pickled)

    track_pickled_nbytes.unit = "bytes"
