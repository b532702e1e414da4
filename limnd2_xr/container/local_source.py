"""Byte sources that need no network: files, bytes in memory, open file objects."""

from __future__ import annotations

import io
import os
import threading
from typing import TYPE_CHECKING, Any, Literal, Protocol

from limnd2_xr.container.byte_source import BaseSource, FileStamp, lock_of, scatter
from limnd2_xr.container.disk import (
    MAX_BUFFERS,
    MAX_CALL_NBYTES,
    drop_bytes,
    first_views,
)
from limnd2_xr.container.kernel_copies import copy_range
from limnd2_xr.container.mapping import FileMapping, is_on_local_disk
from limnd2_xr.container.residency import RESIDENT
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.options import get_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

__all__ = ["FileObjectSource", "FileSource", "MemorySource", "ReadableFile"]

_GAP_NBYTES = 16 * 1024
_ANNOUNCED_NBYTES = 1 << 20
_HAS_PREADV = hasattr(os, "preadv")


class _Descriptor:
    """An open file that closes when nobody holds it any more.

    A reader holds it during its read, so closing the source in another thread can
    never hand the descriptor's number to another file in the middle of that read.
    """

    __slots__ = ("_mapping", "fd", "file", "keeps", "lock")

    def __init__(self, path: str) -> None:
        self.file: BinaryIO = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115
        self.fd = self.file.fileno()
        self.lock = threading.Lock()
        self._mapping: FileMapping | Literal["unknown", "no"] = "unknown"
        self.keeps = False

    def mapping(self, path: str, size: int) -> FileMapping | None:
        """Return the file mapped into memory, None where that is not safe."""
        if self._mapping == "unknown":
            with self.lock:
                if self._mapping == "unknown":
                    found = _mapping_of(self.fd, path, size)
                    if found is not None and self.keeps:
                        RESIDENT.keep(found)
                    self._mapping = found or "no"
        return None if isinstance(self._mapping, str) else self._mapping

    def __del__(self) -> None:
        file = getattr(self, "file", None)
        if file is not None:
            file.close()


def _mapping_of(fd: int, path: str, size: int) -> FileMapping | None:
    if not size or not get_mapping() or not is_on_local_disk(path):
        return None
    try:
        return FileMapping(fd, size)
    except (OSError, ValueError):
        return None  # a pipe, or more than the address space holds


class FileSource(BaseSource):
    """A file on disk: no lock, no position, no cache.

    Read with ``preadv``; on local disks also seen as memory. Where the system has no
    ``preadv`` (Windows), reads take turns.

    Parameters
    ----------
    path
        The file.
    name
        How to call it in messages; `path` where it is not given.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
        As `open` raises them.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(b"abcdef")
    ...     file.flush()
    ...     with FileSource(file.name) as source:
    ...         source.read_at(1, 3)
    b'bcd'
    """

    __slots__ = ("_descriptor", "_path")

    def __init__(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        path = os.fspath(path)
        descriptor = _Descriptor(path)
        stat = os.fstat(descriptor.fd)
        stamp = FileStamp(stat.st_size, mtime_ns=stat.st_mtime_ns)
        super().__init__(name or path, stamp, _GAP_NBYTES)
        self._descriptor: _Descriptor | None = descriptor
        self._path = path

    def _fetch(self, offset: int, nbytes: int) -> bytes:
        descriptor = self._held()
        if not _HAS_PREADV or nbytes > MAX_CALL_NBYTES:
            data = bytearray(nbytes)
            self._fill(offset, [memoryview(data)], nbytes)
            return bytes(data)
        data_read = os.pread(descriptor.fd, nbytes, offset)
        if len(data_read) == nbytes:
            return data_read
        parts = [data_read]
        done = len(data_read)
        while data_read and done < nbytes:
            data_read = os.pread(descriptor.fd, nbytes - done, offset + done)
            parts.append(data_read)
            done += len(data_read)
        if done < nbytes:
            raise self._ends(offset, nbytes)
        return b"".join(parts)

    def _fill(self, offset: int, views: list[memoryview], nbytes: int) -> None:
        descriptor = self._held()
        done = 0
        while True:
            batch = views
            if len(views) > MAX_BUFFERS or nbytes > MAX_CALL_NBYTES:
                batch = first_views(views)
            if _HAS_PREADV:
                got = os.preadv(descriptor.fd, batch, offset + done)
            else:
                with descriptor.lock:
                    descriptor.file.seek(offset + done)
                    got = descriptor.file.readinto(batch[0])  # type: ignore[attr-defined]
            if not got:  # the file has become shorter since it was opened
                raise self._ends(offset, nbytes)
            done += got
            if done == nbytes:
                return
            views = drop_bytes(views, got)

    def memory(self) -> memoryview | None:
        """Return all bytes of the file as memory; see `ByteSource.memory`."""
        descriptor = self._held()
        mapping = descriptor.mapping(self._path, self.size)
        if mapping is None:
            return None
        if os.fstat(descriptor.fd).st_size < self.size:
            # Touching what is gone would be fatal.
            raise CorruptChunk(
                f"the file became shorter than the {self.size} bytes it had when opened",
                path=self.name,
            )
        return mapping.content

    def expect(self, nbytes: int) -> None:
        """Let as much stay in the process as is used at once; see `ByteSource.expect`."""
        RESIDENT.expect(nbytes)

    def keep(self) -> None:
        """Let all of the file stay in the process while it is open; see `ByteSource.keep`."""
        self._held().keeps = True

    def may_stay(self, ranges: Sequence[tuple[int, int]]) -> bool:
        """Say whether ranges are in the process or may be; see `ByteSource.may_stay`."""
        mapping = self._held().mapping(self._path, self.size)
        return mapping is not None and RESIDENT.may_stay(mapping, ranges)

    def announce(self, offset: int, nbytes: int) -> None:
        """Have a cold disk read the whole range; see `ByteSource.announce`."""
        super().announce(offset, nbytes)
        mapping = self._held().mapping(self._path, self.size)
        if mapping is None:
            return
        # What the process holds already need not be fetched once more.
        is_new = RESIDENT.add(mapping, offset, nbytes)
        if is_new and nbytes >= _ANNOUNCED_NBYTES:
            mapping.will_need(offset, nbytes)

    def copy_to(self, fd: int, at: int, offset: int, nbytes: int) -> bool:
        """Have the system copy bytes into another file; see `ByteSource.copy_to`."""
        self._check(offset, nbytes)
        done = copy_range(self._held().fd, offset, fd, at, nbytes)
        if done:
            super().announce(offset, nbytes)
        return done

    def _held(self) -> _Descriptor:
        descriptor = self._descriptor
        if descriptor is None:
            raise self._closed_error()
        return descriptor

    def _release(self) -> None:
        self._descriptor = None


class MemorySource(BaseSource):
    """Bytes that are in memory already; reads copy them.

    Parameters
    ----------
    data
        Any bytes-like object. It is not copied (unless it is not contiguous) and
        must not change while the source is open.
    name
        How to call it in messages.

    Examples
    --------
    >>> MemorySource(b"abcdef").read_at(4, 2)
    b'ef'
    """

    __slots__ = ("_data",)

    def __init__(
        self, data: bytes | bytearray | memoryview, name: str = "<bytes>"
    ) -> None:
        view = memoryview(data)
        if not view.c_contiguous:
            view = memoryview(bytes(view))
        # A view with a zero in its shape cannot be cast.
        view = view.cast("B") if view.nbytes else memoryview(b"")
        super().__init__(name, FileStamp(view.nbytes), 0)
        self._data: memoryview | None = view.toreadonly()

    def _fetch(self, offset: int, nbytes: int) -> bytes:
        return bytes(self._held()[offset : offset + nbytes])

    def _fill(self, offset: int, views: list[memoryview], nbytes: int) -> None:
        scatter(self._held()[offset : offset + nbytes], views)

    def memory(self) -> memoryview | None:
        """Return the bytes themselves."""
        return self._held()

    def _held(self) -> memoryview:
        data = self._data
        if data is None:
            raise self._closed_error()
        return data

    def _release(self) -> None:
        self._data = None


class ReadableFile(Protocol):
    """An open binary file as far as `FileObjectSource` needs it."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end only."""
        ...

    def seek(self, offset: int, whence: int, /) -> int:
        """Move to `offset` from the start (`whence` 0) or the end (2)."""
        ...


class FileObjectSource(BaseSource):
    """An open binary file object; reads take turns, as it has one position.

    The object is the caller's: it is moved, never closed. Sources over one object
    share a lock, so several may be open at once.

    Parameters
    ----------
    file
        Anything with ``read`` and ``seek`` that gives bytes; ``readinto`` saves a
        copy where there is one.

    Raises
    ------
    TypeError
        `file` gives text.

    Examples
    --------
    >>> FileObjectSource(io.BytesIO(b"abcdef")).read_at(1, 2)
    b'bc'
    """

    __slots__ = ("_file", "_lock")

    def __init__(self, file: ReadableFile, name: str | None = None) -> None:
        self._file: Any = file
        self._lock = lock_of(file)
        with self._lock:
            if isinstance(file.read(0), str):  # obstore's readers give bytes of its own
                raise TypeError(f"{file!r} gives text; open it in binary mode")
            size = file.seek(0, os.SEEK_END)
        super().__init__(name or file_object_name(file), FileStamp(size), _GAP_NBYTES)

    def _fetch(self, offset: int, nbytes: int) -> bytes:
        file = self._held()
        parts = []
        done = 0
        with self._lock:
            file.seek(offset, os.SEEK_SET)
            while done < nbytes and (data := file.read(nbytes - done)):
                parts.append(data)
                done += len(data)
        if done != nbytes:
            raise self._ends(offset, nbytes)
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def _fill(self, offset: int, views: list[memoryview], nbytes: int) -> None:
        file = self._held()
        readinto = getattr(file, "readinto", None)
        if readinto is None:
            scatter(self._fetch(offset, nbytes), views)
            return
        with self._lock:
            file.seek(offset, os.SEEK_SET)
            for view in views:
                left = view
                while left.nbytes:
                    try:
                        got = readinto(left)
                    except io.UnsupportedOperation:
                        got = _read_into_by_copy(file, left)
                    if not got:
                        raise self._ends(offset, nbytes)
                    left = left[got:]

    def _held(self) -> Any:
        file = self._file
        if file is None:
            raise self._closed_error()
        return file

    def _release(self) -> None:
        self._file = None


def _read_into_by_copy(file: Any, view: memoryview) -> int:
    data = file.read(view.nbytes)
    view[: len(data)] = data
    return len(data)


def file_object_name(file: object) -> str:
    """Return how to call an open file in messages: its ``name``, or its type's."""
    name = getattr(file, "name", None)
    if isinstance(name, str | os.PathLike) and os.fspath(name):
        return str(os.fspath(name))
    return f"<{type(file).__name__}>"
