"""What foreign readers should say of an array that was written, each where it can be trusted.

Which reader is to be believed in what: README of the oracles, FORMAT 8.4 and 13.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.arrays.described_loops import loop_order

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr

__all__ = ["TRUSTED", "expected"]

OURS: Final = "limnd2_xr"

TRUSTED: Final[dict[str, tuple[str, ...]]] = {
    "dims": ("sdk", "nd2", OURS),
    "dtype": ("sdk", "nd2", "bf", OURS),
    "shape": ("sdk", "nd2", "bf", OURS),
    "bits": ("sdk", "nd2", OURS),
    "pixel": ("sdk", "nd2", "bf", OURS),
    "zstep": ("sdk", "nd2", "bf", OURS),
    "channels": ("sdk", "nd2", "bf", OURS),
    "em": ("sdk", "nd2", "bf", OURS),
    "times": ("sdk", "nd2", OURS),
    "points": ("sdk", "nd2", OURS),
    "pos": ("bf", OURS),
}
"""For each entry of check.py's table the readers whose opinion counts."""


def _is_small(image: xr.DataArray) -> bool:
    """Whether Bio-Formats guesses the size and type of frames (FORMAT 13.1)."""
    return image.sizes["Y"] * image.sizes["X"] * image.dtype.itemsize < 2**16


def _is_swapped(image: xr.DataArray) -> bool:
    """Whether Bio-Formats takes recorded positions in another order than they have."""
    loops = loop_order(image, None)
    return "P" in loops and loops != tuple(dim for dim in "TPZ" if dim in loops)


_EXEMPT: Final[dict[tuple[str, str], Callable[[xr.DataArray], bool]]] = {
    # They report fixed wavelengths for the planes of a colour image (FORMAT 8.4).
    ("sdk", "em"): lambda image: "S" in image.dims,
    ("nd2", "em"): lambda image: "S" in image.dims,
    ("bf", "shape"): _is_small,
    ("bf", "channels"): _is_small,
    ("bf", "em"): _is_small,
    ("bf", "pos"): lambda image: "stage_x" not in image.coords or _is_swapped(image),
}


def expected(image: xr.DataArray) -> dict[str, dict[str, Any]]:
    """Return for each reader what it should report of a file with this array.

    Parameters
    ----------
    image
        As it was written.

    Returns
    -------
    dict of dict
        By name of the reader, then by entry of check.py's table.
    """
    truth = _truth(image)
    told: dict[str, dict[str, Any]] = {}
    for key, readers in TRUSTED.items():
        for reader in readers:
            is_exempt = _EXEMPT.get((reader, key), lambda _image: False)
            if not is_exempt(image):
                told.setdefault(reader, {})[key] = truth[key]
    if "X" not in image.coords:
        told["nd2"]["pixel"] = [1.0, 1.0]  # its word for "not calibrated"
    if "S" in image.dims:
        # It has one entry a component.
        told["bf"]["channels"] = [*truth["channels"], None, None]
        told["bf"]["em"] = [None, None, None]
    if "time" not in image.coords:
        told[OURS]["times"] = [None] * len(truth["times"])
    if "stage_x" not in image.coords:
        told[OURS]["pos"] = [[None] * 3] * len(truth["times"])
    return told


def _truth(image: xr.DataArray) -> dict[str, Any]:
    loops = loop_order(image, None)
    rgb = image.sizes.get("S", 1)
    channels = image.sizes.get("C", 1)
    n_frames = int(np.prod([image.sizes[dim] for dim in loops], dtype=int))
    calibrated = "X" in image.coords
    step = _step(image, "X") if calibrated else None
    frames = [_per_frame(image, f"stage_{axis}", loops) for axis in "xyz"]
    return {
        "dims": [[dim, image.sizes[dim]] for dim in loops],
        "dtype": str(image.dtype),
        "shape": [image.sizes["Y"], image.sizes["X"], rgb * channels],
        "bits": image.attrs.get("significant_bits", 8 * image.dtype.itemsize),
        "pixel": [step, step] if calibrated else None,
        "zstep": _step(image, "Z") if "Z" in image.coords else None,
        "channels": _names(image),
        "em": _emission(image, channels),
        "times": [-1.0] * n_frames
        if (seconds := _per_frame(image, "time", loops)) is None
        else [1e3 * s for s in seconds],
        "points": _points(image, loops),
        "pos": None if frames[0] is None else np.transpose(frames).tolist(),
    }


def _step(image: xr.DataArray, dim: str) -> float:
    values = image.coords[dim].values
    return abs(float(values[-1] - values[0])) / (len(values) - 1)


def _names(image: xr.DataArray) -> list[str]:
    if "C" in image.coords:
        return [str(name) for name in image.coords["C"].values]
    if "S" in image.dims:
        return ["RGB"]
    if "C" not in image.dims:
        return ["Mono"]
    return [f"Channel_{i}" for i in range(image.sizes["C"])]


def _emission(image: xr.DataArray, channels: int) -> list[float | None]:
    if "emission_wavelength" not in image.coords:
        return [None] * channels
    values = image.coords["emission_wavelength"].values.tolist()
    return [None if np.isnan(nm) else nm for nm in values]


def _per_frame(
    image: xr.DataArray, name: str, loops: tuple[str, ...]
) -> list[float] | None:
    """Return values of a coordinate by frame number."""
    if name not in image.coords:
        return None
    spread = image.coords[name].broadcast_like(
        image.isel(dict.fromkeys(set(image.dims) - set(loops), 0), drop=True)
    )
    values: list[float] = spread.transpose(*loops).values.ravel().tolist()
    return values


def _points(image: xr.DataArray, loops: tuple[str, ...]) -> list[list[float]] | None:
    """Return where the stage was at the first frame of each position."""
    if "P" not in loops:
        return None
    first = image.isel({dim: 0 for dim in loops if dim != "P"})
    stage = [first.coords[f"stage_{axis}"].values for axis in "xyz"]
    points: list[list[float]] = np.transpose(stage).tolist()
    return points
