"""`FileManager`: owner of the open file behind lazy arrays, small when it travels.

What opening a file finds out grows with its frames, by megabytes for long series. Arrays
that go to other processes, in graphs of dask or pickled, therefore say only which file it
is and what it was like. A process that gets one opens the file when the first pixel is
asked for, once for all arrays of that file, and makes sure that it found the same.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import deque
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

from xarray.backends import CachingFileManager

from limnd2_xr.errors import StaleFile
from limnd2_xr.frames.store import FrameStore, StoreState
from limnd2_xr.options import single_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limnd2_xr.container.source import FileStamp, SourceSpec
    from limnd2_xr.damage import OnDamage
    from limnd2_xr.model.experiment import Dim

    _Key: TypeAlias = tuple[SourceSpec, FileStamp, tuple[Dim, ...], OnDamage]

__all__ = ["FileManager", "FileReference"]

KEPT_STATES: Final = 4
"""So many files that were opened for others are known still after they were closed."""
_AGAIN: Final = frozenset({"path", "url"})
"""Kinds of files that another process can open."""


@dataclass(frozen=True, kw_only=True)
class FileReference:
    """Which file it is, and what it was like when it was opened: a kilobyte."""

    spec: SourceSpec
    stamp: FileStamp
    token: str
    """Digest of where its frames are."""
    dims: tuple[Dim, ...]
    """Loops as dimensions, also those that the file lacks."""
    on_damage: OnDamage
    state: StoreState | None = field(default=None, repr=False, compare=False)
    """What opening found out, of a file that another process cannot open the same."""

    @classmethod
    def to(cls, state: StoreState) -> FileReference:
        """Return what another process needs to know of an opened file.

        Parameters
        ----------
        state
            What opening it found out.
        """
        return cls(
            spec=state.spec,
            stamp=state.stamp,
            token=state.token,
            dims=state.axes.dims,
            on_damage=state.on_damage,
            state=None if _opens_the_same(state) else state,
        )

    @property
    def key(self) -> _Key:
        """By which the file is known within a process."""
        return self.spec, self.stamp, self.dims, self.on_damage


def _opens_the_same(state: StoreState) -> bool:
    """Say whether the file is opened again at little cost, and as it was.

    Of damaged files the map may have been rebuilt from all their bytes. Files that are
    still written would have more frames.
    """
    lacks_frames = len(state.table.missing) > 0
    return (
        state.spec.kind in _AGAIN
        and not state.is_unfinished
        and len(state.damage) <= lacks_frames
    )


_known: weakref.WeakValueDictionary[_Key, StoreState] = weakref.WeakValueDictionary()
"""What was found out of files that somebody holds."""
_kept: deque[StoreState] = deque(maxlen=KEPT_STATES)
"""Tasks come one by one, and nobody may hold anything in between."""
_managers: weakref.WeakValueDictionary[_Key, FileManager] = (
    weakref.WeakValueDictionary()
)
"""Those that arrived from elsewhere: one a file, so that it is opened once."""
_lock = threading.Lock()


def _renew_lock() -> None:
    """Threads that held the lock are not there after a fork."""
    global _lock  # noqa: PLW0603 - one a process
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class FileManager:
    """Lends the open file; opens it when it is needed, and again after `close`.

    Parameters
    ----------
    given
        What opening the file found out, or which file it is if it was opened elsewhere.
    """

    def __init__(self, given: StoreState | FileReference) -> None:
        self._has_arrived = isinstance(given, FileReference)
        self._given = _Given(given)
        self._files = CachingFileManager(_opened, self._given, mode="r")

    @property
    def state(self) -> StoreState:
        """What opening the file found out; opens it if nobody did in this process."""
        if self._given.state is None:
            with self.acquire_context():
                pass
        state = self._given.state
        assert state is not None  # noqa: S101 - what was opened is known
        return state

    @property
    def token(self) -> str:
        """Digest of the place of the file, what it was like and where its frames are."""
        return self._given.reference.token

    @contextmanager
    def acquire_context(self, needs_lock: bool = True) -> Iterator[FrameStore]:
        """Lend the store for the time of a `with` block.

        A worker of `distributed` has the threads that its tasks may use: there what is
        read is inflated by the thread that runs the task.
        """
        alone = single_thread() if _is_in_task() else nullcontext()
        with alone, self._files.acquire_context(needs_lock) as store:
            yield store

    def close(self) -> None:
        """Close the file; it is opened again when something is read."""
        self._files.close()

    def __del__(self) -> None:
        # Of arrays that arrived from elsewhere nobody has a dataset to close, and with
        # bytes in memory nothing is open that could be forgotten.
        if self._has_arrived or self._given.kind == "bytes":
            self._files.close(needs_lock=False)

    def __reduce__(self) -> tuple[object, ...]:
        return _manager_of, (self._given.reference,)

    def __deepcopy__(self, memo: object) -> FileManager:
        return self  # copies of arrays read the same file


class _Given:
    """What a manager knows of its file: at least one of a state and a reference."""

    def __init__(self, given: StoreState | FileReference) -> None:
        self.state: StoreState | None
        if isinstance(given, FileReference):
            self.reference = given
            self.state = given.state
        else:
            self.state = given
            if given.spec.kind in _AGAIN:
                key = given.spec, given.stamp, given.axes.dims, given.on_damage
                _known.setdefault(key, given)

    @property
    def kind(self) -> str:
        """What the file is; see `SourceSpec.kind`."""
        known = self.state if self.state is not None else self.reference
        return known.spec.kind

    @cached_property
    def reference(self) -> FileReference:
        """Which file it is; digests the places of all frames."""
        assert self.state is not None  # noqa: S101 - of whatever was opened elsewhere
        return FileReference.to(self.state)


def _is_in_task() -> bool:
    """Say whether this thread runs a task for a cluster."""
    worker = sys.modules.get("distributed.worker")
    state = getattr(worker, "thread_state", None)
    return getattr(state, "execution_state", None) is not None


def _manager_of(reference: FileReference) -> FileManager:
    """Return the manager of a file that arrived from another process."""
    if reference.state is not None:
        return FileManager(reference)
    with _lock:
        manager = _managers.get(reference.key)
        if manager is None:
            manager = _managers[reference.key] = FileManager(reference)
        return manager


def _opened(given: _Given, mode: str) -> FrameStore:
    """Open a file for a manager, which wants to say a mode."""
    if mode != "r":
        raise ValueError(f"a dataset can only be read, not opened with mode {mode!r}")
    if given.state is None:
        given.state = _known.get(given.reference.key)
    if given.state is not None:
        return FrameStore.reopen(given.state)
    reference = given.reference
    store = FrameStore.open_as_before(
        reference.spec, reference.stamp, on_damage=reference.on_damage
    )
    try:
        store.state = given.state = _as_it_was(store.state, reference)
    except BaseException:
        store.close()
        raise
    _known[reference.key] = given.state
    _kept.append(given.state)
    return store


def _as_it_was(found: StoreState, reference: FileReference) -> StoreState:
    """Return what opening a file found out, with the dims that it was opened with."""
    if found.axes.dims != reference.dims:
        found = replace(found, axes=found.axes.with_dims(reference.dims))
    if found.token != reference.token:
        raise StaleFile(
            "the file changed since it was opened (other frames); open it again",
            path=reference.spec.name,
        )
    return found
