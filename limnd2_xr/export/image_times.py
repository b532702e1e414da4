"""When the acquisition of an image began."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from limnd2_xr.arrays.units import in_unit, moment_of

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

__all__ = ["started"]


def started(image: xr.DataArray, recorded: str | None) -> np.datetime64 | None:
    """Return the start of the acquisition, UTC; None if it is not known.

    Parameters
    ----------
    image
        With its coordinates and attributes.
    recorded
        What the file says.

    Raises
    ------
    ValueError
        If an attribute states it in another way than ISO 8601.
    """
    told = image.attrs.get("acquisition_start") or recorded
    if not told:
        return _derived_start(image)
    try:
        return moment_of(str(told))
    except ValueError:
        raise ValueError(
            f"attribute acquisition_start is {told!r}: write it as ISO 8601 in UTC, "
            "e.g. '2024-05-17T09:30:00Z'"
        ) from None


def _derived_start(image: xr.DataArray) -> np.datetime64 | None:
    """Return the first moment less its time, where frames have one."""
    moments = _moments(image)
    if moments is None:
        return None
    if "time" in image.coords:
        seconds = in_unit(image.coords["time"], "s")
        if seconds.shape == moments.shape and np.isfinite(seconds).any():
            micros = np.rint(np.nan_to_num(seconds) * 1e6).astype("m8[us]")
            begun = moments.astype("M8[us]") - micros
            known = np.isfinite(seconds) & ~np.isnat(begun)
            if known.any():
                start: np.datetime64 = begun[known].min()
                return start
    first: np.datetime64 = moments[~np.isnat(moments)].min()
    return first


def _moments(image: xr.DataArray) -> NDArray[np.datetime64] | None:
    """Return when frames were taken, in whatever shape; None if that is not known."""
    for name in ("acquired", "T"):
        if name not in image.coords:
            continue
        values = image.coords[name].values
        if values.dtype.kind == "M" and not np.isnat(values).all():
            found: NDArray[np.datetime64] = values
            return found
    return None
