"""An nd2 file that can be closed and opened again, for `ND2File` and its arrays."""

from __future__ import annotations

import io
import os
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.compat.nd2.axis import is_fsspec_url
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.errors import NotAnNd2File
from limnd2_xr.frames.store import FrameStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from limnd2_xr.frames.store import StoreState

__all__ = ["Session", "is_handle"]

_HANDLE: Final = ("read", "seek", "close", "closed")


def is_handle(obj: object) -> bool:
    """Say whether something is an open file rather than the name of one."""
    return all(hasattr(obj, name) for name in _HANDLE)


class Session:
    """Holds what opening a file found out, and the open file while there is one.

    Pickles without the open file. Safe to use from several threads.

    Parameters
    ----------
    path
        Path, URL or open binary file.
    storage_options
        For fsspec.

    Attributes
    ----------
    path
        Absolute path, or URL; the name of an open file that is read as it is given; None
        for what has no name.
    state
        What opening found out.
    was_open
        Whether it was made from an open file, which its owner closes.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        As the system raises them.
    OSError
        If it is no nd2 file.
    """

    def __init__(
        self, path: Any, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        self._handle: Any = None
        self.path: str | None
        if is_handle(path):
            self._handle = path
            spec, self.path = _spec_of_handle(path)
        elif is_fsspec_url(path):
            self.path = str(path)
            spec = SourceSpec.of(path, storage_options)
        else:
            self.path = str(Path(path).expanduser().absolute())
            spec = SourceSpec.of(self.path)
        self.was_open = self._handle is not None
        self._lock = threading.RLock()
        self._borrowed: FrameStore | None = None
        self._borrowers = 0
        self._store: FrameStore | None = _opened(spec)
        self.state: StoreState = self._store.state

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        store = self._store
        return store is None or (self._handle is not None and bool(self._handle.closed))

    @property
    def can_reopen(self) -> bool:
        """Whether the file can be opened again once it is closed."""
        return self.state.spec.kind != "object"

    @property
    def store(self) -> FrameStore:
        """The open file.

        Raises
        ------
        OSError
            If it is closed.
        """
        store = self._store
        if store is None or self.closed:
            raise OSError("File not open")
        return store

    def open(self) -> None:
        """Open the file again; nothing is parsed anew.

        Raises
        ------
        RuntimeError
            If it has no name to open it by.
        StaleFile
            If it is no longer what it was.
        """
        with self._lock:
            if self.closed:
                self._store, self._handle = _kept(self._reopened()), None

    def close(self) -> None:
        """Close the file, also one that was given open."""
        with self._lock:
            store, self._store = self._store, None
            if store is not None:
                store.close()
            if self._handle is not None:
                self._handle.close()

    @contextmanager
    def acquire_context(self, needs_lock: bool = True) -> Iterator[FrameStore]:
        """Lend the open file; one that is closed is open for as long as it is used."""
        del needs_lock
        with self._lock:
            store = None if self.closed else self._store
            if store is None:
                if self._borrowed is None:
                    self._borrowed = self._reopened()
                    self._borrowed.maps_single_frames = False
                self._borrowers += 1
        if store is not None:
            yield store
            return
        try:
            assert self._borrowed is not None  # noqa: S101 - as long as it is lent
            yield self._borrowed
        finally:
            with self._lock:
                self._borrowers -= 1
                if not self._borrowers and self._borrowed is not None:
                    self._borrowed.close()
                    self._borrowed = None

    def _reopened(self) -> FrameStore:
        if not self.can_reopen:
            raise RuntimeError(
                f"Cannot reopen {self._given} after it has been closed. "
                "Keep the file open, or pass a path or URL instead."
            )
        return FrameStore.reopen(self.state)

    @property
    def _given(self) -> str:
        """What was given, if it was an open file that cannot be opened again."""
        if self.path is None:
            return "an unnamed file-like object"
        return f"a file-like object that is not the file {self.path!r} itself"

    def __getstate__(self) -> dict[str, Any]:
        if not self.can_reopen:
            raise TypeError(f"Cannot pickle ND2File created from {self._given}")
        return {"path": self.path, "state": self.state, "closed": self.closed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path, self.state = state["path"], state["state"]
        self._handle, self.was_open = None, False
        self._lock = threading.RLock()
        self._borrowed, self._borrowers = None, 0
        self._store = None if state["closed"] else _kept(self._reopened())

    def __dask_tokenize__(self) -> str:
        return self.token

    @property
    def token(self) -> str:
        """Digest of the place of the file, what it was like and where its frames are."""
        return self.state.token


def _spec_of_handle(handle: Any) -> tuple[SourceSpec, str | None]:
    """How to read an open file, and its name; plain files are opened by it once more."""
    mode = getattr(handle, "mode", "b")
    if isinstance(mode, str) and "b" not in mode:
        raise ValueError("File handles passed to ND2File must be in binary mode")
    if handle.closed:
        raise ValueError("I/O operation on closed file")
    name = getattr(handle, "name", None)
    name = name if isinstance(name, str) else None
    if name is not None and _is_file_itself(handle, name):
        path = str(Path(name).absolute())
        return SourceSpec.of(path), path
    spec = SourceSpec.of(handle)
    if spec.kind == "path":
        return spec, spec.location
    if spec.kind == "url":
        full = getattr(handle, "full_name", None)
        return spec, full if isinstance(full, str) else spec.name
    return spec, None if name is None else str(Path(name))


def _is_file_itself(handle: Any, name: str) -> bool:
    """Say whether opening a file by the name of an open one gives the same bytes.

    It does not for what decompresses, such as `gzip.GzipFile`, nor if the file was
    removed or another has its name now.
    """
    file = getattr(handle, "file", handle)  # of what `tempfile` makes
    if not isinstance(file, (io.FileIO, io.BufferedReader, io.BufferedRandom)):
        return False
    file.flush()
    try:
        with Path(name).open("rb") as other:
            return os.path.sameopenfile(file.fileno(), other.fileno())
    except OSError:
        return False


def _opened(spec: SourceSpec) -> FrameStore:
    try:
        store = FrameStore.open(spec)
    except NotAnNd2File as error:
        with spec.open() as source:
            magic = source.read_at(0, min(4, source.size))
        raise OSError(
            f"file {spec.name!r} not recognized as ND2.  First 4 bytes: {magic!r}"
        ) from error
    return _kept(store)


def _kept(store: FrameStore) -> FrameStore:
    """Let the file stay mapped while it is open, as nd2 does."""
    store.keep_mapped()
    return store
