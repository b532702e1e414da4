"""Lazily indexed arrays over an .nd2 file, for xarray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from xarray.backends import CachingFileManager

    from limnd2_xr.frames.store import FrameStore, StoreState

__all__ = ["FrameArray", "PerFrameArray"]


class FrameArray(BackendArray):
    """Pixels of a file; each index becomes as few reads as it can.

    Parameters
    ----------
    manager
        Owner of the open `FrameStore`.
    state
        What opening the file found out.
    """

    def __init__(
        self, manager: CachingFileManager[FrameStore], state: StoreState
    ) -> None:
        self._manager = manager
        self.shape = state.shape
        self.dtype = state.table.layout.dtype
        self._state = state

    def __dask_tokenize__(self) -> str:
        return self._state.token

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        if isinstance(key, indexing.VectorizedIndexer):
            return indexing.explicit_indexing_adapter(
                key, self.shape, indexing.IndexingSupport.OUTER, self._read
            )
        # The planner takes any step and order itself; xarray's adapter would sort and
        # undo it in memory, and fails on an empty slice with a negative step.
        return self._read(key.tuple)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        # The context pins the file: another thread cannot evict it while it is read.
        with self._manager.acquire_context() as store:
            return store.read(key)


class PerFrameArray(BackendArray):
    """Values of every frame that lie with the frames, read when first asked for.

    Parameters
    ----------
    manager
        Owner of the open `FrameStore`.
    compute
        From an open store to the values of all frames; an importable function, so that
        the array can be pickled.
    shape, dtype
        Of what `compute` returns.
    """

    def __init__(
        self,
        manager: CachingFileManager[FrameStore],
        compute: Callable[[FrameStore], NDArray[Any]],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        self._manager = manager
        self._compute = compute
        self.shape = shape
        self.dtype = dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        with self._manager.acquire_context() as store:
            return np.asarray(self._compute(store)[key])
