"""Exports to OME-Zarr: from files and dask, by compressor, with and without pyramids."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

import limnd2_xr  # noqa: F401 - registers the accessor
from benchmarks import _files as files

COUNT = 16


class Stack:
    """Sixteen large frames of a file."""

    timeout = 300
    params = (
        [False, "auto"],
        ["blosc-zstd", "blosc-lz4", "zstd", "none"],
        ["0.4", "0.5"],
    )
    param_names = ("pyramid", "compressor", "version")

    def setup(self, pyramid, compressor, version):
        self.folder = tempfile.TemporaryDirectory(prefix="limnd2-xr-asv-")
        self.target = Path(self.folder.name, "a.ome.zarr")
        self.dataset = xr.open_dataset(
            files.make("stack", Path(self.folder.name), quick=True), engine="nd2"
        )
        self.options = {
            "pyramid": pyramid,
            "compressor": None if compressor == "none" else compressor,
            "version": version,
            "overwrite": True,
        }

    def teardown(self, *params):
        self.dataset.close()
        self.folder.cleanup()

    def time_export(self, *params):
        self.dataset.nd2.to_ome_zarr(self.target, **self.options)

    def track_nbytes(self, *params):
        self.dataset.nd2.to_ome_zarr(self.target, **self.options)
        return sum(p.stat().st_size for p in self.target.rglob("*") if p.is_file())

    track_nbytes.unit = "bytes"


class Lazy:
    """A dask array of 1 GiB, made while it is written: memory must stay far below."""

    timeout = 300

    def setup(self):
        self.folder = tempfile.mkdtemp(prefix="limnd2-xr-asv-")
        image = (("T", "C", "Y", "X"), files.lazy_noise(128))
        self.dataset = xr.Dataset({"image": image})

    def teardown(self):
        shutil.rmtree(self.folder)

    def peakmem_export(self):
        self.dataset.nd2.to_ome_zarr(Path(self.folder, "a.ome.zarr"), overwrite=True)


class Small:
    """Many small frames: what a chunk costs, not what its bytes cost."""

    params = (100, 2_000)
    param_names = ("frames",)

    def setup(self, frames):
        self.folder = tempfile.mkdtemp(prefix="limnd2-xr-asv-")
        pixels = np.arange(1, frames * 256 + 1).reshape(frames, 1, 16, 16).astype("u2")
        self.dataset = xr.Dataset({"image": (("T", "C", "Y", "X"), pixels)})

    def teardown(self, frames):
        shutil.rmtree(self.folder)

    def time_export(self, frames):
        self.dataset.nd2.to_ome_zarr(Path(self.folder, "a.ome.zarr"), overwrite=True)
