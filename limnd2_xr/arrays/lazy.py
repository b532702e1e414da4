"""Lazily indexed arrays over an .nd2 file, for xarray."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from limnd2_xr.frames.planner import normalize, outer_shape, pick_array
from limnd2_xr.frames.store import FrameStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from limnd2_xr.frames.store import StoreState

    Indices: TypeAlias = NDArray[np.int64]

__all__ = [
    "ChunkFrameArray",
    "ComputedArray",
    "FileArray",
    "FrameArray",
    "OpenWhileRead",
    "PerFrameArray",
    "StoreManager",
]


class AwaitedArray(BackendArray, ABC):
    """A lazily indexed array that can be awaited: ``await ds.load_async()``.

    Each array is read on a thread of its own, which is how reading is meant to be done;
    its requests overlap with those of the others.
    """

    @abstractmethod
    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read what a key selects."""

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> Any:
        """Read what `__getitem__` does, while others run."""
        return await asyncio.to_thread(self.__getitem__, key)


class FileArray(AwaitedArray):
    """Anything that is read lazily from an open file.

    Parameters
    ----------
    manager
        Owner of the open `FrameStore`.
    """

    def __init__(self, manager: StoreManager) -> None:
        self.manager = manager


class FrameArray(FileArray):
    """Pixels of a file; each index becomes as few reads as it can.

    Parameters
    ----------
    manager
        Owner of the open `FrameStore`.
    state
        What opening the file found out.
    """

    def __init__(self, manager: StoreManager, state: StoreState) -> None:
        super().__init__(manager)
        self.shape = state.shape
        self.dtype = state.table.layout.dtype

    def __dask_tokenize__(self) -> str:
        return self.manager.token

    @property
    def state(self) -> StoreState:
        """What opening the file found out."""
        return self.manager.state

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        if isinstance(key, indexing.VectorizedIndexer):
            with self.manager.acquire_context() as store:
                return store.read_points(key.tuple)
        # The planner takes any step and order itself; xarray's adapter would sort and
        # undo it in memory, and fails on an empty slice with a negative step.
        return self._read(key.tuple)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        # The context pins the file: another thread cannot evict it while it is read.
        with self.manager.acquire_context() as store:
            return store.read(key)


class StoreManager(Protocol):
    """Whoever lends an open `FrameStore`, such as `FileManager`."""

    @property
    def state(self) -> StoreState:
        """What opening the file found out."""
        ...

    @property
    def token(self) -> str:
        """Digest that is equal for equal files opened from the same place."""
        ...

    def acquire_context(
        self, needs_lock: bool = True
    ) -> AbstractContextManager[FrameStore]:
        """Lend the store for the time of a `with` block."""
        ...


@dataclass(frozen=True, slots=True)
class OpenWhileRead:
    """Lends a store that is open only while it is used: nobody has to close it."""

    state: StoreState
    """What opening the file found out."""

    @property
    def token(self) -> str:
        """Digest that is equal for equal files opened from the same place."""
        return self.state.token

    @contextmanager
    def acquire_context(self, needs_lock: bool = True) -> Iterator[FrameStore]:
        """Open the file for the time of a `with` block."""
        del needs_lock
        with FrameStore.reopen(self.state) as store:
            yield store


class ChunkFrameArray(FileArray, ABC):
    """Images that have chunks of their own for each frame, such as masks.

    Subclasses read one frame, or the part of it that is asked for.

    Parameters
    ----------
    manager
        Owner of the open `FrameStore`.
    state
        What opening the file found out.
    frame_shape, dtype
        Of the image of one frame.
    """

    def __init__(
        self,
        manager: StoreManager,
        state: StoreState,
        frame_shape: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        super().__init__(manager)
        self.shape = (*state.axes.shape, *frame_shape)
        self.dtype = dtype

    @abstractmethod
    def read_frame(
        self, store: FrameStore, number: int, indices: tuple[Indices, ...]
    ) -> NDArray[Any]:
        """Return a part of the image of one frame.

        Parameters
        ----------
        store
            The open file.
        number
            Of the frame.
        indices
            For each dim of the image the indices that are asked for, in this order.
        """

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        if isinstance(key, indexing.VectorizedIndexer):
            return indexing.explicit_indexing_adapter(
                key, self.shape, indexing.IndexingSupport.OUTER, self._read
            )
        return self._read(key.tuple)  # as in `FrameArray`

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        axes = self.manager.state.axes
        picks = [normalize(k, n, "") for k, n in zip(key, self.shape, strict=True)]
        indices = [pick_array(pick) for pick in picks]
        loops = len(axes.dims)
        numbers = axes.sequence()[np.ix_(*indices[:loops])].ravel()
        inside = tuple(indices[loops:])
        out = np.empty((numbers.size, *map(len, inside)), self.dtype)
        if out.size:
            with self.manager.acquire_context() as store:
                for target, number in zip(out, numbers.tolist(), strict=True):
                    target[...] = self.read_frame(store, number, inside)
        lengths = zip(outer_shape(picks), key, strict=True)
        return out.reshape(
            [n for n, k in lengths if isinstance(k, slice) or np.ndim(k)]
        )


class ComputedArray(AwaitedArray):
    """Values that are computed, without a file, when they are asked for.

    Parameters
    ----------
    compute
        Returns all values; importable, so that the array can be pickled.
    shape, dtype
        Of what `compute` returns.
    """

    def __init__(
        self,
        compute: Callable[[], NDArray[Any]],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        self._compute = compute
        self.shape = shape
        self.dtype = dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        return np.asarray(self._compute()[key])


class PerFrameArray(FileArray):
    """Values of every frame or channel, read from an open file when asked for.

    Parameters
    ----------
    manager
        Owner of the open `FrameStore`.
    compute
        From an open store to all values; an importable function, so that the array can
        be pickled.
    shape, dtype
        Of what `compute` returns.
    """

    def __init__(
        self,
        manager: StoreManager,
        compute: Callable[[FrameStore], NDArray[Any]],
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        super().__init__(manager)
        self._compute = compute
        self.shape = shape
        self.dtype = dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        with self.manager.acquire_context() as store:
            return np.asarray(self._compute(store)[key])
