"""Arrays without pictures around them: .npy and netCDF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from limnd2_xr.conversion.lazy_images import OuterArray, lazy
from limnd2_xr.conversion.source_image import (
    Reading,
    SourceImage,
    checked_dims,
    plain_dims,
)
from limnd2_xr.errors import Nd2Error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from numpy.typing import NDArray

__all__ = ["NETCDF_SUFFIXES", "image_of_dataset", "open_netcdf", "open_npy"]

NETCDF_SUFFIXES: Final = (".nc", ".nc4", ".netcdf", ".cdf")
_USUAL: Final = {
    "t": "T",
    "time": "T",
    "p": "P",
    "position": "P",
    "z": "Z",
    "c": "C",
    "channel": "C",
    "y": "Y",
    "x": "X",
    "s": "S",
    "rgb": "S",
}
"""What other programs call our dims."""


def open_npy(path: str, reading: Reading) -> list[SourceImage]:
    """Open a .npy file; it is mapped into memory, not loaded.

    Parameters
    ----------
    path
        Of a local file.
    reading
        How to understand it: an array of more than two dims needs their names.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise Nd2Error(f"not readable as .npy: {error}", path=path) from error
    dims = plain_dims(array.shape, path, named=reading.dims)
    pixels = lazy(dims, _Mapped(array))
    return [SourceImage(pixels=pixels, path=path, format="npy")]


class _Mapped(OuterArray):
    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self.shape = array.shape
        self.dtype = array.dtype.newbyteorder("=")

    def read(self, indices: Sequence[NDArray[np.int64]]) -> NDArray[Any]:
        return np.asarray(self._array[np.ix_(*indices)])


def open_netcdf(path: str, reading: Reading, stack: ExitStack) -> list[SourceImage]:
    """Open a netCDF file; what ``to_netcdf`` of ours wrote is as it was.

    Parameters
    ----------
    path
        Of a local file.
    reading
        How to understand it.
    stack
        What closes the file.
    """
    try:
        dataset = xr.open_dataset(path, engine="h5netcdf", decode_timedelta=False)
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        # h5py and xarray raise anything of a file that is no netCDF.
        raise Nd2Error(f"not readable as netCDF: {error}", path=path) from error
    stack.enter_context(dataset)
    return [image_of_dataset(dataset, path, "netCDF", reading)]


def image_of_dataset(
    dataset: xr.Dataset, path: str, kind: str, reading: Reading
) -> SourceImage:
    """Return the image of a dataset, with its coordinates and attributes.

    Parameters
    ----------
    dataset
        Opened, lazy.
    path, kind
        Where it comes from, and what that is.
    reading
        How to understand it: which variable, of which dims.

    Raises
    ------
    Nd2Error
        If nothing says which variable is the image, or what its dims are.
    """
    array = _chosen(dataset, path, reading.variable)
    if reading.dims is not None:
        dims = checked_dims(reading.dims, array.ndim, path)
        renamed = dict(zip(map(str, array.dims), dims, strict=True))
    else:
        renamed = {
            str(dim): _USUAL.get(str(dim).lower(), str(dim)) for dim in array.dims
        }
    unknown = [old for old, new in renamed.items() if new not in "TPZCYXSU"]
    if unknown or len(set(renamed.values())) < array.ndim:
        raise Nd2Error(
            f"dims {', '.join(map(str, array.dims))}: nothing says what each means; name "
            'them, e.g. dims="TCYX" (--dims TCYX)',
            path=path,
        )
    changed = {old: new for old, new in renamed.items() if old != new}
    array = array.rename({**changed})
    coords = {
        str(name): coordinate.variable.to_base_variable()
        for name, coordinate in array.coords.items()
    }
    return SourceImage(
        pixels=array.variable,
        path=path,
        format=kind,
        coords=coords,
        attrs={**dataset.attrs, **array.attrs},
    )


def _chosen(dataset: xr.Dataset, path: str, name: str | None) -> xr.DataArray:
    names = [str(name) for name, array in dataset.data_vars.items() if array.ndim >= 2]
    if name is not None:
        if name not in dataset.data_vars:
            raise Nd2Error(
                f"there is no variable {name!r}, but {', '.join(names) or 'none'}",
                path=path,
            )
        return dataset[name]
    if "image" in names:
        return dataset["image"]
    if len(names) != 1:
        raise Nd2Error(
            f"the file has the images {', '.join(names) or 'none'}: choose with "
            f"variable= (--variable)",
            path=path,
        )
    return dataset[names[0]]
