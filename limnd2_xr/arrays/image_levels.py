"""The image at a smaller size: from the copies in its file, or computed.

Pyramids of an image halve its width and height at each level. NIS-Elements stores some
levels of large images; all others are the means of 2 x 2 pixels, again and again.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from limnd2_xr.arrays.dataset import IMAGE, image_of
from limnd2_xr.arrays.levels import LevelArray, levels_of
from limnd2_xr.arrays.opened_pixels import opened_pixels
from limnd2_xr.arrays.write import frame_blocks
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.planner import normalize, pick_array, takes_all
from limnd2_xr.frames.pyramid import halve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.arrays.opened_pixels import OpenedPixels
    from limnd2_xr.frames.pyramid import PyramidLevel

__all__ = ["level_of"]


def level_of(obj: xr.Dataset | xr.DataArray, n: int) -> xr.DataArray:
    """Return the image with width and height halved `n` times, lazily.

    From the copies that the file behind the object stores if it has them for all the
    object's frames, and the object is the opened image or a part of its frames or
    channels. Else computed: dask blocks of whole frames, each pixel the mean of 2 x 2 of
    the level before, rounded down for whole numbers; an odd last row or column is
    dropped at each level. Both are the same where the file's copies are such means.

    Parameters
    ----------
    obj
        An array with the dims Y and X, and S for RGB, or a dataset with an image.
    n
        How often; 0 is the image itself.

    Returns
    -------
    xarray.DataArray
        With the dims, coordinates and attributes of the image. Y and X tell the centres
        of the larger pixels; other coordinates along them are dropped. The attribute
        ``downsampled`` is ``2**n``.

    Raises
    ------
    ValueError
        If nothing is left of the image, it has no Y or X, or `n` is negative.
    UnsupportedDtype
        If the pixels are not of a type that files hold.

    Examples
    --------
    >>> image = xr.DataArray(np.arange(16, dtype="u1").reshape(4, 4), dims=("Y", "X"))
    >>> level_of(image, 1).values
    array([[ 2,  4],
           [10, 12]], dtype=uint8)
    >>> level_of(image, 2).values
    array([[7]], dtype=uint8)
    """
    image = obj if isinstance(obj, xr.DataArray) else _image_in(obj)
    times = operator.index(n)
    if times < 0:
        raise ValueError(f"levels are 0 (the image), 1, 2, ..., not {n}")
    lacking = [dim for dim in ("Y", "X") if dim not in image.dims]
    if lacking:
        raise ValueError(
            f"the array has no dim {' and '.join(lacking)}: levels are of images over Y "
            "and X"
        )
    if times == 0:
        return image
    height, width = image.sizes["Y"], image.sizes["X"]
    if not (height >> times and width >> times):
        raise ValueError(
            f"nothing is left of {height} x {width} pixels at level {times}"
        )
    variable = _stored(image, times)
    if variable is None:
        variable = _computed(image, times)
    return _labelled(variable, image, times)


def _image_in(dataset: xr.Dataset) -> xr.DataArray:
    return dataset[IMAGE] if IMAGE in dataset else image_of(dataset)


def _stored(image: xr.DataArray, times: int) -> xr.Variable | None:
    """Return the copies in the file behind an array; None if they are not all there."""
    opened = opened_pixels(image)
    if opened is None or not _has_whole_frames(opened):
        return None
    state = opened.state
    try:
        levels = levels_of(state)
    except CorruptChunk:
        return None  # which opening the tree tells
    level = next((item for item in levels if item.level == times), None)
    if level is None or not all(
        _has_copy(opened, level, number) for number in _numbers(opened)
    ):
        return None
    pixels = indexing.LazilyIndexedArray(LevelArray(opened.manager, state, level))
    found = xr.Variable(state.dims, pixels)[opened.key]
    return xr.Variable(image.dims, found._data)


def _has_whole_frames(opened: OpenedPixels) -> bool:
    state = opened.state
    return all(
        isinstance(key, slice) and takes_all(normalize(key, length, dim), length)
        for dim, length, key in zip(state.dims, state.shape, opened.key, strict=True)
        if dim in {"Y", "X"}
    )


def _numbers(opened: OpenedPixels) -> list[int]:
    """Numbers of the frames that an array has."""
    axes = opened.state.axes
    picks = [
        pick_array(normalize(key, length, dim))
        for dim, length, key in zip(axes.dims, axes.shape, opened.key, strict=False)
    ]
    found: list[int] = axes.sequence()[np.ix_(*picks)].ravel().tolist()
    return found


def _has_copy(opened: OpenedPixels, level: PyramidLevel, number: int) -> bool:
    entry = opened.state.chunks.find(level.chunk_name(number))
    return entry is not None and entry.nbytes in {None, level.layout.frame_nbytes}


def _computed(image: xr.DataArray, times: int) -> xr.Variable:
    import dask.array

    rgb = "S" in image.dims
    last = ("Y", "X", "S") if rgb else ("Y", "X")
    first = tuple(dim for dim in image.dims if dim not in last)
    data = frame_blocks(image.transpose(*first, *last))
    sizes = {dim: ((image.sizes[dim] >> times,),) for dim in ("Y", "X")}
    small = dask.array.map_blocks(
        _halved,
        data,
        times,
        rgb=rgb,
        dtype=image.dtype,
        chunks=(*data.chunks[: len(first)], *sizes["Y"], *sizes["X"], *[(3,)] * rgb),
        meta=_halved(np.empty((0,) * data.ndim, image.dtype), 1, rgb=rgb),
    )
    return xr.Variable((*first, *last), small).transpose(*image.dims)


def _halved(pixels: NDArray[Any], times: int, *, rgb: bool) -> NDArray[Any]:
    for _ in range(times):
        pixels = halve(pixels, rgb=rgb)
    return pixels


def _labelled(variable: xr.Variable, image: xr.DataArray, times: int) -> xr.DataArray:
    """Give pixels the coordinates and attributes of the image."""
    factor = 2**times
    in_plane = [name for name, c in image.coords.items() if {"Y", "X"} & set(c.dims)]
    coords = dict(image.drop_vars(in_plane).coords)
    for dim in ("Y", "X"):
        if dim in image.coords and image.coords[dim].dtype.kind in "iuf":
            coords[dim] = _centres(image.coords[dim].variable, factor)
    attrs = {**image.attrs, "downsampled": factor}
    if isinstance(pixel_um := attrs.get("pixel_size_um"), float | int):
        attrs["pixel_size_um"] = pixel_um * factor
    return xr.DataArray(variable, coords, name=image.name, attrs=attrs)


def _centres(coordinate: xr.Variable, factor: int) -> xr.Variable:
    length = len(coordinate) // factor
    values = coordinate.values[: length * factor].reshape(length, factor)
    return xr.Variable(coordinate.dims, values.mean(axis=1), coordinate.attrs)
