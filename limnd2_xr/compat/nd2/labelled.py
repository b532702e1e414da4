"""Arrays of a file for dask and xarray, as nd2 makes them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.compat.nd2.axis import AXIS
from limnd2_xr.compat.nd2.pixels import FrameBlock
from limnd2_xr.model.experiment import NETimeLoop, TimeLoop
from limnd2_xr.model.legacy_document import is_legacy
from limnd2_xr.model.times import frame_times, time_coordinate

if TYPE_CHECKING:
    import dask.array as da
    import xarray as xr
    from numpy.typing import NDArray

    from limnd2_xr.compat.nd2.file import ND2File
    from limnd2_xr.compat.nd2.file_pixels import FilePixels
    from limnd2_xr.compat.nd2.pixels import Layout
    from limnd2_xr.compat.nd2.session import Session
    from limnd2_xr.frames.store import StoreState

__all__ = ["coords_of", "dask_array", "position_index", "xarray_array"]

_BLOCK_NBYTES: Final = 2**22
_OWN_BLOCK_NBYTES: Final = 2**20
"""Frames of this size have blocks of their own."""
_MISSING_FIRST: Final = ("P", "T", "Z", "C", "Y", "X")
"""Order of the axes of length 1 that ``squeeze=False`` puts first."""


def dask_array(session: Session, layout: Layout, chunks: Any) -> da.Array:
    """Return the file as a dask array: one symbolic layer whatever its size.

    Parameters
    ----------
    session
        The file: open for as long as the caller keeps it so, else while it is read.
    layout
        Its axes.
    chunks
        ``"auto"`` for blocks of as many small frames as make up 4 MiB; None for one
        block a frame.
    """
    import dask.array
    from dask.base import tokenize

    dtype = session.state.table.layout.dtype
    steps = [1] * len(layout.coord_shape)
    if chunks == "auto":
        steps = _grouped(layout, dtype.itemsize)
    elif chunks is not None:
        raise ValueError(f'chunks must be None or "auto", not {chunks!r}')
    bounds = tuple(
        (*range(0, n, step), n)
        for n, step in zip(layout.coord_shape, steps, strict=True)
    )
    block = FrameBlock(session, bounds if chunks is not None else None)
    sizes = [tuple(np.diff(bound).tolist()) for bound in bounds]
    shape = layout.frame_shape
    array: da.Array = dask.array.map_blocks(
        block,
        chunks=(*sizes, *((n,) for n in shape)),
        dtype=dtype,
        meta=np.empty((0,) * (len(sizes) + len(shape)), dtype),
        name=f"nd2-{tokenize(block)}",
    )
    return array


def _grouped(layout: Layout, itemsize: int) -> list[int]:
    """Frames of a block along each axis, the innermost first."""
    nbytes = itemsize * math.prod(layout.frame_shape)
    left = _BLOCK_NBYTES // nbytes if nbytes < _OWN_BLOCK_NBYTES else 1
    steps = []
    for n in reversed(layout.coord_shape):
        steps.append(min(n, left))
        left = max(left // n, 1)
    return steps[::-1]


def xarray_array(
    file: ND2File, *, delayed: bool, squeeze: bool, position: int | str | None
) -> xr.DataArray:
    """Return the file as `ND2File.to_xarray` promises."""
    import xarray as xr

    data: Any = file.to_dask() if delayed else file.asarray(position)
    dims = list(file.sizes)
    coords = file._expand_coords(squeeze)
    if not squeeze:
        lacking = [dim for dim in _MISSING_FIRST if dim in coords and dim not in dims]
        data, dims = data[(np.newaxis,) * len(lacking)], [*lacking, *dims]
    at = None
    if position is not None and "P" in coords:
        at = position_index(file, position)
        if not delayed:
            coords["P"] = [coords["P"][at]]
    attrs = {
        "metadata": {
            "metadata": file.metadata,
            "experiment": file.experiment,
            "attributes": file.attributes,
            "text_info": file.text_info,
        }
    }
    array = xr.DataArray(data, dims=dims, coords=coords, attrs=attrs)
    if delayed and at is not None:
        array = array.isel(P=[at])
    return array.squeeze() if squeeze else array


def position_index(file: FilePixels, position: int | str) -> int:
    """Return the number of a stage position; negative ones count from the end.

    Raises
    ------
    ValueError
        If there is none of that name.
    IndexError
        If there are not so many.
    """
    if isinstance(position, str):
        names = file._position_names()
        if position not in names:
            raise ValueError(f"{position!r} is not a valid position name")
        position = names.index(position)
    count = file.sizes.get(AXIS.POSITION, 1)
    if not -count <= position < count:
        plural = "s" if count > 1 else ""
        raise IndexError(
            f"Position {position} is out of range. "
            f"Only {count} position{plural} available"
        )
    return position % count


def coords_of(file: ND2File, *, squeeze: bool) -> dict[str, Any]:
    """Coordinates by axis: um along X, Y, Z and ms along T, both from 0 on.

    Parameters
    ----------
    file
        The file.
    squeeze
        Leave out axes of length 1.
    """
    state, sizes = file._session.state, file.sizes
    layout = state.table.layout
    size = file.voxel_size()
    found: dict[str, Any] = {
        AXIS.Y: np.arange(layout.height) * size.y,
        AXIS.X: np.arange(layout.width) * size.x,
        AXIS.CHANNEL: file._channel_names,
        AXIS.POSITION: file._position_names(),
    }
    for dim in state.axes.file_order:
        n = sizes.get(dim, 1)
        if dim == "Z":
            step = state.document.z_step_um or 0.0
            found["Z"] = np.arange(n) * step
        elif dim == "T":
            found["T"] = _times_ms(state)
    if layout.samples > 1:
        names = ["Blue", "Green", "Red"]
        found[AXIS.RGB] = names[::-1] if is_legacy(state.document) else names
    if squeeze:
        return {dim: values for dim, values in found.items() if len(values) > 1}
    return found


def _times_ms(state: StoreState) -> NDArray[np.float64]:
    """Return the times along T in ms: measured ones, NaN where nothing tells them."""
    axes, document = state.axes, state.document
    places = axes.loops_along("T")
    loop = axes.loop(places[0], document.experiment.loops) if len(places) == 1 else None
    n = axes.size("T")
    if isinstance(loop, TimeLoop) and loop.avg_period_diff_ms > 0:
        return np.arange(n, dtype=np.float64) * loop.avg_period_diff_ms
    if isinstance(loop, NETimeLoop) and len(loop.periods) == 1:
        only = loop.periods[0].avg_period_diff_ms
        if only > 0:
            return np.arange(n, dtype=np.float64) * only
    times = frame_times(document, axes, state.records)
    values, unit = time_coordinate(document, axes, times)
    return values * 1000.0 if unit is not None else np.full(n, np.nan)
