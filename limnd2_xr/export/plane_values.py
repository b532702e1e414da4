"""What coordinates tell of each plane: times, exposures, where the stage was, flags.

Values are over those of T and Z that an image has, in storage order, and C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.arrays.units import has_unit, in_unit

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from limnd2_xr.arrays.units import Unit

__all__ = ["plane_dims_of", "plane_flags", "plane_seconds", "plane_values"]

_PLANE_DIMS: Final = ("T", "Z")
"""Loop dims that an OME image has."""


def plane_dims_of(image: xr.DataArray) -> tuple[str, ...]:
    """Return those of T and Z that there are, the slower first."""
    return tuple(str(dim) for dim in image.dims if dim in _PLANE_DIMS)


def plane_seconds(
    image: xr.DataArray, start: np.datetime64 | None
) -> NDArray[np.float64] | None:
    """Return the time of each plane since the start; None if none is known, NaN where not.

    Parameters
    ----------
    image
        Of a position.
    start
        Of the acquisition, UTC, if it is known.
    """
    if "time" in image.coords:
        return plane_values(image, "time", "s")
    for name in ("acquired", "T"):
        if name not in image.coords or image.coords[name].dtype.kind != "M":
            continue
        values = image.coords[name]
        if start is None or bool(values.isnull().all()):
            continue
        since = (values - start.astype("M8[ns]")) / np.timedelta64(1, "s")
        return _spread(image, since)
    if "T" in image.coords and has_unit(image.coords["T"]):
        return plane_values(image, "T", "s")
    return None


def plane_values(
    image: xr.DataArray, name: str, unit: Unit
) -> NDArray[np.float64] | None:
    """Return the values of a coordinate, one a plane; None if there are none.

    Parameters
    ----------
    image
        Of a position.
    name
        Of the coordinate.
    unit
        To convert to.

    Raises
    ------
    ValueError
        If it varies along Y, X or S, or has another unit.
    """
    if name not in image.coords:
        return None
    coordinate = image.coords[name]
    found = _spread(image, coordinate.copy(data=in_unit(coordinate, unit)))
    return found if np.isfinite(found).any() else None


def plane_flags(image: xr.DataArray, name: str) -> NDArray[np.bool_]:
    """Return whether a coordinate is true, one a plane; False where there is none.

    Parameters
    ----------
    image
        Of a position.
    name
        Of the coordinate.
    """
    if name not in image.coords:
        shape = [image.sizes[dim] for dim in (*plane_dims_of(image), "C")]
        return np.zeros(shape, bool)
    found: NDArray[np.bool_] = _spread(image, image.coords[name]).astype(bool)
    return found


def _spread(image: xr.DataArray, found: xr.DataArray) -> NDArray[Any]:
    dims = (*plane_dims_of(image), "C")
    strange = [str(dim) for dim in found.dims if dim not in dims]
    if strange:
        raise ValueError(
            f"coordinate {found.name} varies along {', '.join(strange)}, but there is "
            f"one value a plane: drop it with da.drop_vars({found.name!r})"
        )
    own = [dim for dim in dims if dim in found.dims]
    index = tuple(slice(None) if dim in found.dims else None for dim in dims)
    values: Any = found.transpose(*own).values[index]
    return np.broadcast_to(values, [image.sizes[dim] for dim in dims])
