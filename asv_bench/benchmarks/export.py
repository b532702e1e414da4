"""Exporting to other formats: documents, files, memory."""

import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

import limnd2_xr  # noqa: F401 - registers the accessor
from benchmarks import _files as files


class Document:
    """The OME document of ten thousand planes."""

    timeout = 120

    def setup(self):
        image = np.zeros((5000, 2, 4, 4), "u2")
        stage = ("T", np.linspace(0, 9, 5000), {"units": "um"})
        self.image = xr.DataArray(
            image, dims=("T", "C", "Y", "X"), coords={"stage_z": stage}
        )

    def time_document(self):
        self.image.nd2.to_ome()

    def time_xml(self):
        self.image.nd2.to_ome_xml()


class Tiff:
    """Sixteen large frames, and many small ones, as OME-TIFF."""

    params = (["stack", "tiny"], ["plain", "zlib", "pyramid"])
    param_names = ("file", "how")
    timeout = 300

    def setup_cache(self):
        folder = Path(tempfile.mkdtemp(prefix="limnd2-xr-asv-"))
        return {kind: files.make(kind, folder, quick=True) for kind in self.params[0]}

    def setup(self, paths, kind, how):
        self.dataset = xr.open_dataset(paths[kind], engine="nd2", cache=False)
        self.target = paths[kind].with_suffix(".ome.tif")
        self.options = {
            "plain": {},
            "zlib": {"compression": "zlib"},
            "pyramid": {"pyramid": 2},
        }[how]

    def teardown(self, paths, kind, how):
        self.dataset.close()
        self.target.unlink(missing_ok=True)

    def time_write(self, paths, kind, how):
        self.dataset.nd2.to_ome_tiff(self.target, overwrite=True, **self.options)

    def peakmem_write(self, paths, kind, how):
        self.time_write(paths, kind, how)


class Sequence:
    """Sixteen large frames as files of their own."""

    params = (["tiff", "png"],)
    param_names = ("kind",)
    timeout = 300

    def setup_cache(self):
        folder = Path(tempfile.mkdtemp(prefix="limnd2-xr-asv-"))
        return files.make("stack", folder, quick=True)

    def setup(self, path, kind):
        self.dataset = xr.open_dataset(path, engine="nd2", cache=False)
        self.folder = tempfile.TemporaryDirectory(prefix="limnd2-xr-asv-")

    def teardown(self, path, kind):
        self.dataset.close()
        self.folder.cleanup()

    def time_write(self, path, kind):
        write = getattr(self.dataset.nd2, f"to_{kind}_sequence")
        write(self.folder.name, overwrite=True)
