"""Whether an array has the pixels of its file still, or something was done to them.

Arrays remember their file also after ``copy(data=...)``, ``roll`` or an assignment to
some of their values. What is stored of the pixels, such as smaller copies, is true of an
array only if its pixels are read from the file by nothing but an index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xarray.core import indexing

from limnd2_xr.arrays.lazy import FrameArray
from limnd2_xr.frames.planner import normalize, takes_all

if TYPE_CHECKING:
    import xarray as xr

    from limnd2_xr.arrays.lazy import StoreManager
    from limnd2_xr.frames.store import StoreState

__all__ = ["OpenedPixels", "identity_of", "is_of_file", "opened_pixels"]

_RECHUNKED = ("rechunk-merge-", "rechunk-split-")
"""How dask calls layers of its graphs that change nothing but blocks."""
_WRAPPERS = (
    indexing.MemoryCachedArray,
    indexing.CopyOnWriteArray,
    indexing.ImplicitToExplicitIndexingAdapter,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedPixels:
    """Pixels of a file, and which of them an array has."""

    manager: StoreManager
    """Owner of the open file."""
    state: StoreState
    """What opening it found out."""
    key: tuple[Any, ...]
    """For each dim of the file an integer, a slice or an array of indices."""

    @property
    def is_whole(self) -> bool:
        """Whether these are all pixels, in the file's order."""
        return all(
            isinstance(key, slice) and takes_all(normalize(key, length, dim), length)
            for key, length, dim in zip(
                self.key, self.state.shape, self.state.dims, strict=True
            )
        )


def opened_pixels(image: xr.DataArray) -> OpenedPixels | None:
    """Return the file's pixels that an array consists of.

    Parameters
    ----------
    image
        Any array.

    Returns
    -------
    OpenedPixels or None
        None if something may have been done to them, or they are in memory already; of
        dask arrays also where a part was selected, as that cannot be told from others.
    """
    found = _indexed(image)
    if found is None:
        return None
    pixels: Any = found.array
    if not isinstance(pixels, FrameArray):
        return None
    return OpenedPixels(
        manager=pixels.manager, state=pixels.state, key=tuple(found.key.tuple)
    )


def is_of_file(array: xr.DataArray, kind: type[Any] | tuple[type[Any], ...]) -> bool:
    """Say whether an array is read from a file by nothing but an index.

    Parameters
    ----------
    array
        Any array.
    kind
        Type of the lazy array that it may have been opened as, or several.
    """
    found = _indexed(array)
    return found is not None and isinstance(found.array, kind)


def identity_of(array: xr.DataArray) -> str | None:
    """Return what equal pixels have in common, also in another process.

    Parameters
    ----------
    array
        Any array.

    Returns
    -------
    str or None
        Of dask arrays their name, of those that are read from a file a digest of the
        file and the index. None of all others, which may have changed since.
    """
    from dask.base import tokenize

    if array.chunks is not None:
        pixels: Any = array.variable._data
        return str(pixels.name)
    found = _indexed(array)
    token = getattr(getattr(found, "array", None), "__dask_tokenize__", None)
    return None if token is None else str(tokenize(token(), found.key.tuple))


def _indexed(array: xr.DataArray) -> Any:
    """Return the index into something lazy that an array is; None if it is another."""
    data = array.variable._data
    found = _source(data) if array.chunks is not None else data
    while isinstance(found, _WRAPPERS):
        found = found.array
    return found if isinstance(found, indexing.LazilyIndexedArray) else None


def _source(data: Any) -> Any:
    """Return what a dask array was made of, if only its blocks were cut anew."""
    layers = getattr(data.__dask_graph__(), "layers", {})
    names = [name for name in layers if not name.startswith(_RECHUNKED)]
    if len(names) != 2 or names[0] != f"original-{names[1]}":
        return None
    values = list(layers[names[0]].values())
    return getattr(values[0], "value", values[0]) if len(values) == 1 else None
