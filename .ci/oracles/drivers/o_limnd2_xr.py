"""Read a file as one of the readers that check.py compares. argv: file."""

import sys
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr
from common import emit, np_frame_sha  # of the foreign readers' folder

from limnd2_xr.frames.store import FrameStore


def stored_frames(path: str) -> list[str]:
    """Return the digest of each frame in Y, X, component order as stored, by number."""
    digests = {}
    with FrameStore.open(path) as store, xr.open_dataset(path, engine="nd2") as dataset:
        image, dims = dataset["image"], store.axes.dims
        for index in np.ndindex(*store.axes.shape):
            frame = image.isel(dict(zip(dims, index, strict=True)))
            if "S" in frame.dims:  # stored B, G, R
                frame = frame.isel(S=slice(None, None, -1)).transpose(
                    "Y", "X", "C", "S"
                )
            else:
                frame = frame.transpose("Y", "X", "C")
            pixels = frame.values.reshape(*frame.shape[:2], -1)
            digests[int(store.axes.sequence()[index])] = np_frame_sha(pixels)
    return [digests[number] for number in sorted(digests)]


def points(store: FrameStore) -> list[list[float]] | None:
    """Return the stage positions of the multipoint loop; 0 stands for no Z of their own."""
    loop = store.document.experiment.position_loop
    if loop is None:
        return None
    return [[point.x_um, point.y_um, point.z_um or 0.0] for point in loop.points]


def describe(path: str) -> dict[str, Any]:
    """Return what check.py compares."""
    with FrameStore.open(path) as store, xr.open_dataset(path, engine="nd2") as dataset:
        attributes = store.document.attributes
        order = np.argsort(store.axes.sequence(), axis=None)
        recorded = {
            name: dataset[name].values.ravel()[order] if name in dataset else None
            for name in ("time", "stage_x", "stage_y", "stage_z")
        }
        times = recorded.pop("time")
        positions = list(recorded.values())
        return {
            "opens": True,
            "dims": [list(loop) for loop in store.axes.nesting],
            "nframes": store.axes.n_frames,
            "dtype": str(dataset["image"].dtype),
            "shape": [attributes.height, attributes.width, attributes.components],
            "bits": attributes.bits_significant,
            "channels": [str(name) for name in dataset["C"].values],
            "pixel": [dataset.attrs["pixel_size_um"]] * 2
            if "pixel_size_um" in dataset.attrs
            else None,
            "zstep": dataset.attrs.get("z_step_um"),
            "points": points(store),
            "times": None if times is None else [float(t) * 1e3 for t in times],
            "pos": None
            if any(p is None for p in positions)
            else np.stack(positions, axis=-1).tolist(),
            "frames": stored_frames(path),
        }


result: dict[str, Any] = {
    "version": f"limnd2-xr {version('limnd2-xr')}",
    "opens": False,
}
warnings.simplefilter("ignore")
try:
    result |= describe(sys.argv[1])
except Exception as error:  # noqa: BLE001  (check.py wants every failure as a row)
    result["error"] = repr(error)
emit(result)
