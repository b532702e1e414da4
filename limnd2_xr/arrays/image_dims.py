"""Dims that an array needs to be an image of a file, and those that none has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from xarray.core import indexing

from limnd2_xr.arrays.lazy import FrameArray
from limnd2_xr.arrays.opened_pixels import opened_pixels
from limnd2_xr.frames.packing import check_dtype

if TYPE_CHECKING:
    import xarray as xr

    from limnd2_xr.arrays.opened_pixels import OpenedPixels

__all__ = ["with_image_dims"]

_DIMS: Final = ("U", "T", "P", "Z", "C", "Y", "X", "S")
_RGB: Final = ("R", "G", "B")


def with_image_dims(image: xr.DataArray, *, stored_dtype: bool = True) -> xr.DataArray:
    """Give the array C, Y and X, refuse what no file has, turn samples to R, G, B.

    Coordinates are loaded, all at once: they are looked at again and again.

    Parameters
    ----------
    image
        Pixels with coordinates.
    stored_dtype
        Refuse pixels of a type that no .nd2 file holds.
    """
    strange = [str(dim) for dim in image.dims if dim not in _DIMS]
    if strange:
        raise ValueError(
            f"dims {', '.join(map(repr, strange))} are not among T, P, Z, C, Y, X and S: "
            "rename them, e.g. da.rename({'time': 'T', 'y': 'Y', 'x': 'X'})"
        )
    lacking = [dim for dim in ("Y", "X") if dim not in image.dims]
    if lacking:
        raise ValueError(
            f"the array has no dim {' and '.join(lacking)}: frames are images over Y and X"
        )
    if not image.size:
        raise ValueError(f"the array is empty: {dict(image.sizes)}")
    if stored_dtype:
        check_dtype(image.dtype)
    image = _with_loaded_coordinates(image)
    if "C" not in image.dims:
        image = _with_channel(image)
    if "S" not in image.dims:
        return image
    if image.sizes["S"] != 3:
        raise ValueError(
            f"dim S has length {image.sizes['S']}, but colour images are R, G, B: drop an "
            "alpha component with da.isel(S=slice(3)), or rename S to C for channels"
        )
    if "S" in image.coords and tuple(image.coords["S"].values) != _RGB:
        labels = tuple(map(str, image.coords["S"].values))
        if sorted(labels) != sorted(_RGB):
            raise ValueError(
                f"labels of S are {', '.join(labels)}, not R, G, B: set them with "
                "da.assign_coords(S=['R', 'G', 'B']), or rename S to C for channels"
            )
        image = image.isel(S=[labels.index(letter) for letter in _RGB])
    return image


def _with_channel(image: xr.DataArray) -> xr.DataArray:
    """Give an array of one channel the dim C.

    xarray would read all of what is lazy for that; of a file the index is made a slice.
    """
    opened = None if image.chunks is not None else opened_pixels(image)
    at = None if opened is None else _single_channel(opened)
    if opened is None or at is None:
        return image.expand_dims("C")
    place, key = at
    nothing = np.broadcast_to(np.zeros((), image.dtype), image.shape)
    shell = image.copy(data=nothing).expand_dims("C", place)
    pixels = FrameArray(opened.manager, opened.state)
    return shell.copy(
        data=indexing.LazilyIndexedArray(pixels, indexing.OuterIndexer(key))
    )


def _single_channel(opened: OpenedPixels) -> tuple[int, tuple[Any, ...]] | None:
    """Where C would be and the index that keeps it, if one channel was picked."""
    at = opened.state.dims.index("C")
    picked = opened.key[at]
    if not isinstance(picked, int | np.integer):
        return None
    number = int(picked) % opened.state.shape[at]
    key = (*opened.key[:at], slice(number, number + 1), *opened.key[at + 1 :])
    before = [k for k in opened.key[:at] if not isinstance(k, int | np.integer)]
    return len(before), key


def _with_loaded_coordinates(image: xr.DataArray) -> xr.DataArray:
    lazy = [name for name, known in image.coords.items() if known.chunks is not None]
    if not lazy:
        return image
    loaded = image.coords.to_dataset()[lazy].compute()
    return image.assign_coords({name: loaded[name].variable for name in lazy})
