"""Read a file as one of the readers that check.py compares. argv: file."""

import sys
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
import xarray as xr
from common import emit, np_frame_sha  # of the foreign readers' folder

from limnd2_xr.frames.store import FrameStore
from limnd2_xr.model.axes import Axes


def stored_frames(image: xr.DataArray, axes: Axes) -> list[str]:
    """Return the digest of each frame in Y, X, component order as stored, by number."""
    is_legacy = image.attrs["format_version"] == "1.0"
    if "S" in image.dims and not is_legacy:  # stored B, G, R
        image = image.isel(S=slice(None, None, -1))
    inner = ("Y", "X", "C", "S") if "S" in image.dims else ("Y", "X", "C")
    pixels = image.transpose(*axes.dims, *inner).values
    frames = pixels.reshape(axes.n_frames, *pixels.shape[len(axes.dims) :][:2], -1)
    numbers = axes.sequence().ravel()
    digests = {
        int(number): np_frame_sha(frame)
        for number, frame in zip(numbers, frames, strict=True)
    }
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
            "em": dataset["emission_wavelength"].values.tolist(),
            "pixel": [dataset.attrs["pixel_size_um"]] * 2
            if "pixel_size_um" in dataset.attrs
            else None,
            "zstep": dataset.attrs.get("z_step_um"),
            "points": points(store),
            "times": None if times is None else [float(t) * 1e3 for t in times],
            "pos": None
            if any(p is None for p in positions)
            else np.stack(positions, axis=-1).tolist(),
            "frames": stored_frames(dataset["image"], store.axes),
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
