"""Writing: from memory, from dask, in parts; the disk's own speed is in all of it."""

import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

import limnd2_xr
from benchmarks import _files as files

DIMS = ("T", "C", "Y", "X")
COUNT = 16
LAZY_COUNT = 128


class _ToFolder:
    """A new file each time."""

    timeout = 300

    def setup(self, *params):
        self.folder = tempfile.TemporaryDirectory(prefix="limnd2-xr-asv-")
        self.path = Path(self.folder.name, "a.nd2")
        self.prepare(*params)

    def teardown(self, *params):
        self.folder.cleanup()

    def prepare(self, *params):
        pass


class Stack(_ToFolder):
    """Sixteen large frames of photon noise, by number of channels."""

    params = ([1, 2], ["none", "zlib"], ["numpy", "dask"])
    param_names = ("channels", "compression", "array")

    def prepare(self, channels, compression, array):
        noise = files.PhotonNoise(channels)
        frames = [noise(number).transpose(2, 0, 1) for number in range(COUNT)]
        image = xr.DataArray(np.stack(frames), dims=DIMS)
        self.image = image.chunk({"T": 1}) if array == "dask" else image
        self.compression = None if compression == "none" else compression

    def time_write(self, channels, compression, array):
        self.image.nd2.write_nd2(
            self.path, compression=self.compression, overwrite=True
        )

    def track_nbytes(self, channels, compression, array):
        self.time_write(channels, compression, array)
        return self.path.stat().st_size

    track_nbytes.unit = "bytes"


class Lazy(_ToFolder):
    """A dask array of 1 GiB, made while it is written: memory must stay far below."""

    params = (["none", "zlib"], [{"T": 1}, {"T": 4, "Y": 512, "X": 512}])
    param_names = ("compression", "chunks")

    def prepare(self, compression, chunks):
        self.image = xr.DataArray(files.lazy_noise(LAZY_COUNT), dims=DIMS).chunk(chunks)
        self.compression = None if compression == "none" else compression

    def peakmem_write(self, compression, chunks):
        self.image.nd2.write_nd2(
            self.path, compression=self.compression, overwrite=True
        )


class Small(_ToFolder):
    """Many small frames: what a frame costs, not what its bytes cost."""

    params = ([100, 10_000], ["none", "zlib"])
    param_names = ("frames", "compression")

    def prepare(self, frames, compression):
        pixels = np.arange(frames * 256).reshape(frames, 1, 16, 16).astype("u2")
        self.image = xr.DataArray(pixels, dims=DIMS)
        self.compression = None if compression == "none" else compression

    def time_write(self, frames, compression):
        self.image.nd2.write_nd2(
            self.path, compression=self.compression, overwrite=True
        )

    def time_plan(self, frames, compression):
        """Metadata, and the graph."""
        self.image.nd2.write_nd2(
            self.path, compression=self.compression, overwrite=True, compute=False
        )

    def time_region_and_finalize(self, frames, compression):
        limnd2_xr.create_nd2(
            self.image, self.path, compression=self.compression, overwrite=True
        )
        self.image.nd2.write_nd2(self.path, region={})
        limnd2_xr.finalize_nd2(self.path, overwrite=True)


class Again(_ToFolder):
    """What was opened, unchanged: all its chunks are taken along."""

    params = sorted(path.stem for path in (files.SAMPLES / "real").glob("*.nd2")) or [
        "none"
    ]
    param_names = ("sample",)

    def prepare(self, stem):
        source = files.SAMPLES / "real" / f"{stem}.nd2"
        if not source.exists():
            raise NotImplementedError  # asv's way of skipping
        self.dataset = xr.open_dataset(source, engine="nd2")

    def teardown(self, stem):
        if hasattr(self, "dataset"):
            self.dataset.close()
        super().teardown(stem)

    def time_write(self, stem):
        self.dataset.nd2.to_nd2(self.path, overwrite=True, on_loss="ignore")
