"""Whether what is written with an image is of the same frames, rows and columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check_aligned"]


def check_aligned(image: xr.DataArray, arrays: Mapping[str, Any], what: str) -> None:
    """Refuse arrays whose labels along a dim are not those of the image.

    Parameters
    ----------
    image
        That they are written with.
    arrays
        By name; what has no labels is taken to be in the order of the image.
    what
        They are, for the message.

    Raises
    ------
    ValueError
        If an array has as many labels as the image, but others.

    Examples
    --------
    >>> image = xr.DataArray([1, 2], coords={"T": [0.0, 1.0]}, dims="T")
    >>> check_aligned(image, {"cells": image.isel(T=[1, 0])}, "labels")
    Traceback (most recent call last):
        ...
    ValueError: labels 'cells' have other values of T than the image: take ...
    """
    for name, array in arrays.items():
        if not isinstance(array, xr.DataArray):
            continue
        for dim in array.dims:
            if dim not in array.coords or dim not in image.coords:
                continue
            given, known = array.coords[dim].values, image.coords[dim].values
            if given.shape == known.shape and not _same(given, known):
                raise ValueError(
                    f"{what} {str(name)!r} have other values of {dim} than the image: "
                    f"take the same from both, e.g. with .sel({dim}=image.{dim}), or "
                    f"drop_vars({str(dim)!r}) if their order is that of the image"
                )


def _same(given: np.ndarray[Any, Any], known: np.ndarray[Any, Any]) -> bool:
    if given.dtype.kind in "iuf" and known.dtype.kind in "iuf":
        size = np.abs(known[np.isfinite(known)]).max(initial=0.0)
        return bool(
            np.allclose(given, known, rtol=1e-9, atol=1e-9 * size, equal_nan=True)
        )
    return bool(np.array_equal(given, known))
