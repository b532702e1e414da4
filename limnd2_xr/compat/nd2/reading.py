"""`imread`: a whole file in one call."""

from __future__ import annotations

from typing import Any

from limnd2_xr.compat.nd2.file import ND2File

__all__ = ["imread"]


def imread(
    file: Any,
    *,
    dask: bool = False,
    xarray: bool = False,
    validate_frames: bool = False,
    storage_options: dict[str, Any] | None = None,
) -> Any:
    """Open a file, return it as an array and close it.

    Parameters
    ----------
    file
        Path, URL, or open binary file.
    dask
        Return a dask array, which opens the file when it is computed.
    xarray
        Return a labelled array, of numpy or dask.
    validate_frames
        Without effect, see `ND2File`.
    storage_options
        For URLs: arguments of the fsspec filesystem.

    Returns
    -------
    numpy.ndarray, dask.array.Array or xarray.DataArray
        As asked for.
    """
    with ND2File(
        file, validate_frames=validate_frames, storage_options=storage_options
    ) as opened:
        if xarray:
            return opened.to_xarray(delayed=dask)
        return opened.to_dask() if dask else opened.asarray()
