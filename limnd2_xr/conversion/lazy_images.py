"""Images that are read when they are asked for: put into order, and stacked."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["FRAME_DIMS", "LOOP_DIMS", "OuterArray", "arranged", "lazy", "stacked"]

LOOP_DIMS: Final[tuple[str, ...]] = ("T", "P", "Z")
FRAME_DIMS: Final[tuple[str, ...]] = ("C", "Y", "X", "S")


class OuterArray(BackendArray):
    """An array that is read by one index, slice or list of indices a dim.

    Subclasses set ``shape`` and ``dtype`` and read.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read whole numbers' dims away, others in the order of the key."""
        indices = [
            np.arange(length)[index]
            for length, index in zip(self.shape, key, strict=True)
        ]
        found = self.read([np.atleast_1d(index) for index in indices])
        # As it was announced, also where it is stored with the other end first.
        found = found.astype(self.dtype, copy=False)
        return found.reshape([len(index) for index in indices if index.ndim])

    def read(self, indices: Sequence[NDArray[np.int64]]) -> NDArray[Any]:
        """Read what lies at the crossings of indices, one array of them a dim."""
        raise NotImplementedError


def lazy(dims: Sequence[str], array: OuterArray) -> xr.Variable:
    """Return a variable that reads an array when it is asked for values."""
    return xr.Variable(tuple(dims), indexing.LazilyIndexedArray(array))


def arranged(variable: xr.Variable) -> xr.Variable:
    """Return a variable with the dims T, P, Z (those it has), C, Y, X and S, in order.

    Parameters
    ----------
    variable
        With Y and X; a lazy one stays so, which transposing does not grant.
    """
    dims = [dim for dim in LOOP_DIMS if dim in variable.dims]
    dims += [dim for dim in FRAME_DIMS if dim in variable.dims or dim == "C"]
    if tuple(dims) == variable.dims:
        return variable
    return lazy(dims, _Arranged(variable, dims))


class _Arranged(OuterArray):
    def __init__(self, source: xr.Variable, dims: Sequence[str]) -> None:
        self._source = source
        self._dims = tuple(dims)
        self.shape = tuple(source.sizes.get(dim, 1) for dim in dims)
        self.dtype = source.dtype

    def read(self, indices: Sequence[NDArray[np.int64]]) -> NDArray[Any]:
        chosen = dict(zip(self._dims, indices, strict=True))
        own = {
            dim: _as_slice(i) for dim, i in chosen.items() if dim in self._source.dims
        }
        values = self._source.isel(own).values
        order = [self._source.dims.index(dim) for dim in self._dims if dim in own]
        shape = [len(index) for index in indices]
        return values.transpose(order).reshape(shape)


def stacked(
    members: NDArray[np.object_],
    dims: Sequence[str],
    like: xr.Variable,
) -> xr.Variable:
    """Return images put side by side along new dims, each read when it is asked for.

    Parameters
    ----------
    members
        An `xarray.Variable` at each place, None where there is none: it reads as 0.
    dims
        Of `members`.
    like
        One of them: all have its dims, sizes and type.
    """
    return lazy((*dims, *map(str, like.dims)), _Stacked(members, like))


class _Stacked(OuterArray):
    def __init__(self, members: NDArray[np.object_], like: xr.Variable) -> None:
        self._members = members
        self._dims = like.dims
        self.shape = (*members.shape, *like.shape)
        self.dtype = like.dtype

    def read(self, indices: Sequence[NDArray[np.int64]]) -> NDArray[Any]:
        count = self._members.ndim
        inner = {
            dim: _as_slice(index)
            for dim, index in zip(self._dims, indices[count:], strict=True)
        }
        found = np.zeros([len(index) for index in indices], self.dtype)
        places = itertools.product(*(range(len(index)) for index in indices[:count]))
        for place in places:
            at = tuple(int(index[i]) for index, i in zip(indices, place, strict=False))
            member = self._members[at]
            if member is not None:
                found[place] = member.isel(inner).values
        return found


def _as_slice(index: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Return a slice for neighbours in order: all sources read these at their best."""
    if len(index) and (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return index
