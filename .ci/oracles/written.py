"""Files that this package writes, one for each shape that it can write."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from limnd2_xr import Event, ImageRoi
from limnd2_xr.arrays.described_loops import loop_order

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ["DAPI", "GFP", "RFP", "Cy5", "BF"]
EMISSION = [450.0, 515.0, 600.0, 670.0, np.nan]


def image(
    sizes: dict[str, int], dtype: str = "uint16", bits: int | None = None, seed: int = 0
) -> xr.DataArray:
    """Return an array with pixels of its own and the coordinates of a microscope."""
    rng = np.random.default_rng(seed)
    top = (
        2 ** (bits or 8 * np.dtype(dtype).itemsize) - 1 if dtype != "float32" else 1000
    )
    y, x = np.mgrid[: sizes["Y"], : sizes["X"]]
    shape = tuple(sizes.values())
    data = rng.integers(0, top // 2, shape)
    ramp = (x * 3 + y * 5) % (top // 2)
    dims = tuple(sizes)
    array = xr.DataArray(data, dims=dims) + xr.DataArray(ramp, dims=("Y", "X"))
    array = array.transpose(*dims).astype(dtype)
    loops = [dim for dim in ("T", "P", "Z") if dim in sizes]
    over = tuple(sizes[dim] for dim in loops)
    count = np.arange(np.prod(over, dtype=int)).reshape(over)
    n = {dim: np.arange(sizes.get(dim, 1)) for dim in "TPZCYX"}
    z = (n["Z"] - sizes.get("Z", 1) // 2) * 0.7
    places = xr.DataArray(n["P"] * 150.0, dims="P")
    like = xr.DataArray(count, dims=loops)
    spread: dict[str, Any] = {
        "stage_x": like * 0.0 + 1000.0 + (places if "P" in loops else 0.0),
        "stage_y": like * 0.0 - 500.0 - (places if "P" in loops else 0.0),
        "stage_z": like * 0.0
        + 2000.0
        + (xr.DataArray(z, dims="Z") if "Z" in loops else 0.0),
    }
    coords: dict[str, Any] = {
        "T": ("T", n["T"] * 20.0, {"units": "s"}),
        "P": ("P", [f"pos {i}" for i in n["P"]]),
        "Z": ("Z", z, {"units": "um"}),
        "C": ("C", NAMES[: sizes.get("C", 1)]),
        "Y": ("Y", n["Y"] * 0.325, {"units": "um"}),
        "X": ("X", n["X"] * 0.325, {"units": "um"}),
        "emission_wavelength": ("C", EMISSION[: sizes.get("C", 1)], {"units": "nm"}),
        "time": (loops, 1.5 + count * 2.25, {"units": "s"}),
        "acquired": (
            loops,
            np.datetime64("2026-02-03T04:05:06", "ns")
            + (count * 2_250_000_000).astype("timedelta64[ns]"),
        ),
    }
    for name, values in spread.items():
        coords[name] = values.transpose(*loops).assign_attrs(units="um")
    kept = {
        name: value
        for name, value in coords.items()
        if set(
            value.dims if isinstance(value, xr.DataArray) else np.atleast_1d(value[0])
        )
        <= set(dims)
    }
    attrs: dict[str, Any] = {
        "objective": "Plan Apo 20x",
        "magnification": 20.0,
        "numerical_aperture": 0.75,
    }
    if bits:
        attrs["significant_bits"] = bits
    return array.assign_coords(kept).assign_attrs(attrs)


SWAPPED_BY_BIO_FORMATS = {f"written_loops_{order}" for order in ("pzt", "ztp", "zpt")}
"""It takes T to be outside of Z whatever the experiment says."""


def arrays() -> dict[str, tuple[xr.DataArray, dict[str, Any]]]:
    """All arrays by name, each with the options it is written with."""
    plane = {"Y": 200, "X": 260}
    made: dict[str, tuple[xr.DataArray, dict[str, Any]]] = {
        f"channels_{n}": (image({"T": 2, "C": n, **plane}), {}) for n in range(1, 6)
    }
    for order in itertools.permutations("TPZ"):
        sizes = {dim: {"T": 2, "P": 2, "Z": 3}[dim] for dim in order}
        made["loops_" + "".join(order).lower()] = (
            image({**sizes, "C": 2, **plane}),
            {},
        )
    made |= {
        "single": (image(plane), {}),
        "time": (image({"T": 5, **plane}), {}),
        "positions": (image({"P": 3, **plane}), {}),
        "stack": (image({"Z": 5, **plane}), {}),
        "stack_falling": (image({"Z": 5, **plane}).isel(Z=slice(None, None, -1)), {}),
        "rgb_u8": (image({"T": 2, **plane, "S": 3}, "uint8"), {}),
        "rgb_u16": (image({**plane, "S": 3}), {}),
        "u8": (image({"T": 2, "C": 2, **plane}, "uint8"), {}),
        "bits_12": (image({"Z": 2, "C": 3, **plane}, bits=12), {}),
        "float32": (image({"T": 2, **plane}, "float32"), {}),
        "odd_width_u8": (image({"T": 2, "Y": 201, "X": 263}, "uint8"), {}),
        "odd_width_u16": (image({"T": 2, "Y": 201, "X": 263}), {}),
        "zlib": (image({"T": 3, "C": 2, **plane}), {"compression": "zlib"}),
        "zlib_u8_odd": (
            image({"T": 3, "Y": 201, "X": 263}, "uint8"),
            {"compression": "zlib"},
        ),
        "zlib_float": (image({"T": 2, **plane}, "float32"), {"compression": "zlib"}),
        "bare": (
            xr.DataArray(np.full((2, 2, 200, 260), 7, "u2"), dims=("T", "C", "Y", "X")),
            {},
        ),
        "frames_10000": (image({"T": 10_000, "Y": 24, "X": 32}), {}),
        "beside": beside(),
        "beside_zlib": beside("zlib"),
        "wells": (in_wells(image({"P": 4, "C": 2, **plane})), {}),
    }
    return made


def beside(compression: str | None = None) -> tuple[xr.DataArray, dict[str, Any]]:
    """Return an array with masks, ROIs, events, a recorded column and smaller copies."""
    array = image({"T": 3, "C": 2, "Y": 1100, "X": 1300})
    cells = (array.isel(C=0, drop=True) % 7).astype("uint32")
    size = {"width": 1300, "height": 1100}
    rois = [
        ImageRoi.rectangle((160, 120), (300, 200), label="box", **size),
        ImageRoi.polygon([[50, 60], [500, 80], [300, 900]], label="outline", **size),
    ]
    events = [Event(time_ms=2000.0, meaning=33, description="drug added", id=1)]
    options = {
        "labels": {"cells": cells.drop_vars(list(cells.coords))},
        "rois": rois,
        "events": events,
        "columns": {"PFS_OFFSET": [7.0, 8.0, 9.0]},
        "pyramid": True,
        "compression": compression,
    }
    return array, options


def in_wells(array: xr.DataArray) -> xr.DataArray:
    """Return an array whose positions are fields of wells, with display ranges."""
    return array.assign_coords(
        well=("P", ["A01", "A01", "B02", "B02"]),
        display_min=("C", [100.0, 0.0]),
        display_max=("C", [2000.0, 5000.0]),
        gamma=("C", [1.0, 0.7]),
    )


def write_all(folder: Path) -> dict[Path, xr.DataArray]:
    """Write each file with its pixels beside it; return the arrays by path."""
    paths = {}
    for name, (array, options) in arrays().items():
        path = folder / f"written_{name}.nd2"
        array.nd2.write_nd2(path, on_loss="raise", **options)
        save_truth(path, array)
        paths[path] = array
    return paths


def save_truth(path: Path, array: xr.DataArray) -> None:
    """Put the pixels that a file should have beside it."""
    np.savez(path.with_suffix(".truth.npz"), **_stored(array))


def _stored(array: xr.DataArray) -> dict[str, Any]:
    """Frames by number as they should be stored: Y, X, then components, B before R."""
    inner = [dim for dim in ("Y", "X", "C", "S") if dim in array.dims]
    loops = loop_order(array, None)
    if "S" in array.dims:
        array = array.isel(S=slice(None, None, -1))
    values = array.transpose(*loops, *inner).values
    shape = tuple(array.sizes[dim] for dim in ("Y", "X"))
    components = values.shape[-1] if len(inner) == 3 else 1
    frames = values.reshape(-1, *shape, components)
    return {str(i): frame for i, frame in enumerate(frames)}
