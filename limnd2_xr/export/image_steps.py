"""How far pixels, slices and time points of an image are apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from limnd2_xr.arrays.described_loops import steps_of
from limnd2_xr.arrays.units import has_unit, in_unit, stated_step
from limnd2_xr.errors import warn_user

if TYPE_CHECKING:
    import xarray as xr

    from limnd2_xr.arrays.units import Unit

__all__ = ["pixel_size", "time_step", "z_step"]


def pixel_size(image: xr.DataArray, dim: str, recorded: float | None) -> float | None:
    """Return the size of a pixel in micrometres; None if it is not known.

    Parameters
    ----------
    image
        With its coordinates and attributes.
    dim
        ``"X"`` or ``"Y"``.
    recorded
        What the file says.

    Raises
    ------
    ValueError
        If the coordinate is not equidistant.
    """
    known = stated_step(image, "pixel_size_um") or recorded
    if dim not in image.coords:
        return known
    step = _step(image, dim, "um")
    if step is None and has_unit(image.coords[dim]):
        raise ValueError(
            f"coordinate {dim} is not equidistant, but pixels are: interpolate with "
            f"da.interp({dim}=...), or number the pixels"
        )
    # A single pixel has no distance to the next: what was known holds.
    return known if step == 0 else step


def z_step(image: xr.DataArray, recorded: float | None) -> float | None:
    """Return the distance of slices in micrometres; None if there is none.

    Parameters
    ----------
    image
        With its coordinates and attributes.
    recorded
        What the file says.

    Warns
    -----
    Nd2Warning
        If Z is not equidistant.
    """
    if "Z" not in image.dims:
        return None
    step = _step(image, "Z", "um") if "Z" in image.coords else 0
    if step is None and has_unit(image.coords["Z"]):
        warn_user(
            "slices are not equidistant: no distance is given, but the position of each"
        )
    if step == 0:
        return stated_step(image, "z_step_um") or recorded
    return step


def time_step(image: xr.DataArray) -> float | None:
    """Return seconds from one time point to the next; None if uneven or not known.

    Parameters
    ----------
    image
        With its coordinates.
    """
    if "T" not in image.dims or "T" not in image.coords:
        return None
    return _step(image, "T", "s") or None


def _step(image: xr.DataArray, dim: str, unit: Unit) -> float | None:
    """Distance of two labels; 0 of a single one, None if uneven or unknown."""
    coordinate = image.coords[dim]
    if not has_unit(coordinate) or coordinate.dtype.kind == "M":
        return None
    step = steps_of(np.atleast_1d(in_unit(coordinate, unit)))
    return None if step is None else abs(step)
