"""What every source of file bytes offers, and a hook that watches their reads."""

from __future__ import annotations

import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from limnd2_xr.errors import CorruptChunk

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    import numpy.typing as npt

__all__ = [
    "BaseSource",
    "ByteSource",
    "FileStamp",
    "ReadObserver",
    "WritableBuffer",
    "observe_reads",
]

WritableBuffer: TypeAlias = "bytearray | memoryview | npt.NDArray[Any]"
"""A C-contiguous writable buffer of any shape and item type."""

ReadObserver: TypeAlias = Callable[[int, int], None]
"""Called with (offset, nbytes) before each read, in the thread that reads."""

_observers: tuple[ReadObserver, ...] = ()
_observers_lock = threading.Lock()


def observe_reads(observer: ReadObserver) -> Callable[[], None]:
    """Have `observer` called for every read of every source; return how to stop it.

    One call is one request: a `ByteSource.read_at`, a `ByteSource.announce`, or a
    `ByteSource.read_into` however many buffers it fills. Reads of no bytes are not requests. While nobody
    observes, a read pays for looking at an empty tuple.

    Examples
    --------
    >>> from limnd2_xr.container.source import MemorySource
    >>> seen = []
    >>> stop = observe_reads(lambda offset, nbytes: seen.append((offset, nbytes)))
    >>> MemorySource(b"abcdef").read_at(2, 3)
    b'cde'
    >>> stop()
    >>> seen
    [(2, 3)]
    """
    global _observers  # noqa: PLW0603  (readers see one tuple or the other, lock-free)
    with _observers_lock:
        _observers = (*_observers, observer)

    def stop() -> None:
        global _observers  # noqa: PLW0603
        with _observers_lock:
            left = list(_observers)
            if observer in left:
                left.remove(observer)
            _observers = tuple(left)

    return stop


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What tells whether a file is still the one that was opened.

    Attributes
    ----------
    size
        Bytes in the file.
    mtime_ns
        Modification time of a local file, in nanoseconds since the epoch.
    etag
        ETag, checksum or modification time of a remote file, as its server words it.
    """

    size: int
    mtime_ns: int | None = None
    etag: str | None = None


class ByteSource(Protocol):
    """The bytes of one file at random, for any number of threads at once."""

    @property
    def name(self) -> str:
        """Path or URL, for messages."""
        ...

    @property
    def size(self) -> int:
        """Bytes in the file when it was opened; nothing beyond is ever read."""
        ...

    @property
    def gap_nbytes(self) -> int:
        """Bytes worth reading needlessly to save one more request."""
        ...

    @property
    def requests(self) -> int:
        """Reads at the same time that make sense: 1 for disks, several for servers."""
        ...

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        ...

    @property
    def stamp(self) -> FileStamp:
        """Identity of the file as it was opened (no request is made)."""
        ...

    def read_at(self, offset: int, nbytes: int) -> bytes:
        """Return exactly `nbytes` bytes from `offset` on.

        Raises
        ------
        CorruptChunk
            The file ends before that.
        ValueError
            The source is closed, or `offset` or `nbytes` is negative.
        """
        ...

    def read_into(self, offset: int, buffers: Sequence[WritableBuffer]) -> None:
        """Fill `buffers`, one after the other, with the bytes from `offset` on.

        Raises
        ------
        CorruptChunk
            The file ends before the last buffer is full.
        ValueError
            The source is closed, `offset` is negative, or a buffer is read-only
            or not C-contiguous.
        """
        ...

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of several (start, end) ranges, at the same time if that helps.

        Raises
        ------
        CorruptChunk, ValueError
            As `read_at`.
        """
        ...

    def memory(self) -> memoryview | None:
        """Return all bytes of the file as memory, None where that cannot be.

        The view is read-only and stays valid as long as it is held. Looking into it is
        not a read that anyone sees: `announce` is for that.

        Raises
        ------
        CorruptChunk
            The file became shorter since it was opened.
        ValueError
            The source is closed.
        """
        ...

    def expect(self, nbytes: int) -> None:
        """Say how many bytes of `memory` will be announced for one purpose.

        So much of them may stay in the process; without this, little does.
        """
        ...

    def keep(self) -> None:
        """Let all of `memory` stay in the process while it is open, if there is room.

        To be said before it is looked at, by who reads all of it again and again.
        """
        ...

    def may_stay(self, ranges: Sequence[tuple[int, int]]) -> bool:
        """Say whether (offset, size) of `memory` are in the process, or have room there.

        Where not, reading them is quicker than to look at the memory.
        """
        ...

    def announce(self, offset: int, nbytes: int) -> None:
        """Say that these bytes of `memory` are about to be used: it counts as a read."""
        ...

    def copy_to(self, fd: int, at: int, offset: int, nbytes: int) -> bool:
        """Have the system copy bytes into another file; say whether it did.

        It is a read like others. Where it was refused, some may have been written.

        Parameters
        ----------
        fd, at
            Descriptor of the other file, and where to write.
        offset, nbytes
            What to copy.

        Raises
        ------
        CorruptChunk, ValueError
            As `read_at`.
        """
        ...

    def close(self) -> None:
        """Let go of the file; later calls do nothing, later reads raise ValueError."""
        ...


class BaseSource(ABC):
    """What the sources share: bounds, the closed state, the observer hook.

    A subclass provides `_fetch`, `_fill` and `_release`; they are only called with
    ranges inside the file.
    """

    __slots__ = ("_closed", "gap_nbytes", "name", "requests", "stamp")

    def __init__(
        self, name: str, stamp: FileStamp, gap_nbytes: int, requests: int = 1
    ) -> None:
        self.name = name
        self.stamp = stamp
        self.gap_nbytes = gap_nbytes
        self.requests = requests
        self._closed = False

    @property
    def size(self) -> int:
        """Bytes in the file when it was opened."""
        return self.stamp.size

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def read_at(self, offset: int, nbytes: int) -> bytes:
        """Return exactly `nbytes` bytes from `offset` on; see `ByteSource.read_at`."""
        self._check(offset, nbytes)
        if not nbytes:
            return b""
        for observer in _observers:
            observer(offset, nbytes)
        return self._fetch(offset, nbytes)

    def read_into(self, offset: int, buffers: Sequence[WritableBuffer]) -> None:
        """Fill `buffers` with the bytes from `offset`; see `ByteSource.read_into`."""
        views = [view for view in map(_byte_view, buffers) if view.nbytes]
        nbytes = sum(view.nbytes for view in views)
        self._check(offset, nbytes)
        if not nbytes:
            return
        for observer in _observers:
            observer(offset, nbytes)
        self._fill(offset, views, nbytes)

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of several ranges; see `ByteSource.read_many`."""
        return [self.read_at(start, end - start) for start, end in ranges]

    def memory(self) -> memoryview | None:
        """Return all bytes of the file as memory; see `ByteSource.memory`."""
        self._check(0, 0)
        return None

    def expect(self, nbytes: int) -> None:  # noqa: B027 - of no use to most
        """Say how much of `memory` will be announced; see `ByteSource.expect`."""

    def keep(self) -> None:  # noqa: B027 - of no use to most
        """Let all of `memory` stay in the process; see `ByteSource.keep`."""

    def may_stay(self, ranges: Sequence[tuple[int, int]]) -> bool:  # noqa: ARG002
        """Say that memory is as good as any read; see `ByteSource.may_stay`."""
        return True

    def announce(self, offset: int, nbytes: int) -> None:
        """Say that bytes of `memory` are about to be used; see `ByteSource.announce`."""
        for observer in _observers:
            observer(offset, nbytes)

    def copy_to(self, fd: int, at: int, offset: int, nbytes: int) -> bool:  # noqa: ARG002
        """Have the system copy bytes into another file; see `ByteSource.copy_to`."""
        self._check(offset, nbytes)
        return False

    def close(self) -> None:
        """Let go of the file; later calls do nothing, later reads raise ValueError."""
        if not self._closed:
            self._closed = True
            self._release()

    def _check(self, offset: int, nbytes: int) -> None:
        if self._closed:
            raise self._closed_error()
        if offset < 0 or nbytes < 0:
            raise ValueError(f"cannot read {nbytes} bytes at offset {offset}")
        if offset + nbytes > self.size:
            raise self._ends(offset, nbytes)

    def _closed_error(self) -> ValueError:
        return ValueError(f"{self.name}: read of a closed file")

    def _ends(self, offset: int, nbytes: int) -> CorruptChunk:
        return CorruptChunk(
            f"{nbytes} bytes were to be read here but the file ends before that"
            f" (it was {self.size} bytes long when opened)",
            path=self.name,
            offset=offset,
        )

    @abstractmethod
    def _fetch(self, offset: int, nbytes: int) -> bytes: ...

    @abstractmethod
    def _fill(self, offset: int, views: list[memoryview], nbytes: int) -> None: ...

    @abstractmethod
    def _release(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self.size} bytes"
        return f"<{type(self).__name__} {self.name!r}, {state}>"


def scatter(data: bytes | memoryview, views: list[memoryview]) -> None:
    """Copy `data` into byte `views`, one after the other; the sizes must agree."""
    start = 0
    source = memoryview(data)
    for view in views:
        view[:] = source[start : start + view.nbytes]
        start += view.nbytes


def _byte_view(buffer: Any) -> memoryview:
    view = memoryview(buffer)
    if view.readonly:
        raise ValueError("cannot read into a read-only buffer")
    if not view.c_contiguous:
        raise ValueError("cannot read into a buffer that is not C-contiguous")
    # A view with a zero in its shape cannot be cast.
    return view.cast("B") if view.nbytes else memoryview(bytearray())


_locks: weakref.WeakKeyDictionary[Any, threading.Lock] = weakref.WeakKeyDictionary()
_locks_lock = threading.Lock()


def lock_of(shared: object) -> threading.Lock:
    """Return the one lock of an object that several sources may read through."""
    with _locks_lock:
        try:
            return _locks.setdefault(shared, threading.Lock())
        except TypeError:  # neither hashable nor weakly referable: one source only
            return threading.Lock()
