"""What writing asks of the system: positional writes, locks, data on the disk."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes
else:
    import fcntl

__all__ = [
    "MAX_BUFFERS",
    "MAX_CALL_NBYTES",
    "O_BINARY",
    "O_CLOEXEC",
    "ReadableBuffer",
    "byte_views",
    "drop_bytes",
    "first_views",
    "locked",
    "naming",
    "nbytes_of",
    "raise_named",
    "read_all",
    "rename_over",
    "rename_to_new",
    "sync",
    "sync_directory",
    "write_all",
]

ReadableBuffer: TypeAlias = "bytes | bytearray | memoryview | npt.NDArray[Any]"
"""A C-contiguous buffer of any shape and item type."""

MAX_CALL_NBYTES = 1 << 30  # macOS refuses 2 GiB, Linux cuts writes short there
MAX_BUFFERS = min(os.sysconf("SC_IOV_MAX"), 1024) if hasattr(os, "sysconf") else 16
_HAS_PWRITEV: Final = hasattr(os, "pwritev")
_HAS_PWRITE: Final = hasattr(os, "pwrite")
_HAS_PREAD: Final = hasattr(os, "pread")
_IS_WINDOWS: Final = os.name == "nt"
O_BINARY: int = getattr(os, "O_BINARY", 0)
O_CLOEXEC: int = getattr(os, "O_CLOEXEC", 0)
_NO_LINKS = {errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
# Virus scanners and indexers of Windows open new files for a moment.
_PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

_position = threading.Lock()  # of all files, where reads and writes need a seek


def byte_views(buffers: Sequence[ReadableBuffer]) -> list[memoryview]:
    """Return the bytes of C-contiguous buffers, without those that are empty.

    Raises
    ------
    ValueError
        A buffer is not C-contiguous; it would have to be copied.
    """
    views = []
    for buffer in buffers:
        view = _view(buffer)
        if not view.c_contiguous:
            raise ValueError("cannot write a buffer that is not C-contiguous")
        if view.nbytes:  # a view with a zero in its shape cannot be cast
            views.append(view.cast("B"))
    return views


def nbytes_of(buffer: ReadableBuffer) -> int:
    """Return how many bytes a buffer has."""
    return _view(buffer).nbytes


def _view(
    buffer: Any,
) -> memoryview:  # numpy's arrays are typed as buffers from 3.12 on
    return memoryview(buffer)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Have errors of the system that name no file name this one."""
    try:
        yield
    except OSError as error:
        raise_named(error, path)
        raise


def raise_named(error: OSError, path: str | os.PathLike[str]) -> None:
    """Raise an error of the system anew with the name of a file, if it has none."""
    if error.filename is None and error.errno is not None:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def write_all(fd: int, offset: int, buffers: Sequence[ReadableBuffer]) -> None:
    """Write buffers one after the other from `offset` on, all of their bytes.

    Does not need or move the descriptor's position, so threads may share it. What the
    system takes only in part is continued.

    Raises
    ------
    OSError
        As the system says: some of the bytes may be in the file.
    """
    views = byte_views(buffers)
    while views:
        done = _write_some(fd, offset, views)
        if not done:
            raise OSError(errno.EIO, "the system writes nothing more")
        offset += done
        views = drop_bytes(views, done)


def read_all(fd: int, offset: int, nbytes: int) -> bytes:
    """Return `nbytes` bytes from `offset` on, fewer where the file ends before."""
    parts = []
    while nbytes:
        count = min(nbytes, MAX_CALL_NBYTES)
        if _HAS_PREAD:
            part = os.pread(fd, count, offset)
        else:
            with _position:
                os.lseek(fd, offset, os.SEEK_SET)
                part = os.read(fd, count)
        if not part:
            break
        parts.append(part)
        offset += len(part)
        nbytes -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _write_some(fd: int, offset: int, views: list[memoryview]) -> int:
    """Write the first bytes of `views`, return how many."""
    if _HAS_PWRITEV:
        return os.pwritev(fd, first_views(views), offset)
    first = views[0][:MAX_CALL_NBYTES]
    if _HAS_PWRITE:
        return os.pwrite(fd, first, offset)
    with _position:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.write(fd, first)


def first_views(views: list[memoryview]) -> list[memoryview]:
    """Return as many of `views` as one system call takes."""
    batch = []
    left = MAX_CALL_NBYTES
    for view in views[:MAX_BUFFERS]:
        if view.nbytes >= left:
            batch.append(view[:left])
            break
        batch.append(view)
        left -= view.nbytes
    return batch


def drop_bytes(views: list[memoryview], nbytes: int) -> list[memoryview]:
    """Return what is left of `views` after their first `nbytes` bytes."""
    i = 0
    while i < len(views) and nbytes >= views[i].nbytes:
        nbytes -= views[i].nbytes
        i += 1
    return [views[i][nbytes:], *views[i + 1 :]] if i < len(views) else []


def sync(fd: int) -> None:
    """Return when what was written is on the disk."""
    if sys.platform == "darwin":
        # There fsync leaves data in the cache of the disk.
        with suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
    os.fsync(fd)


def sync_directory(path: Path) -> None:
    """Have a directory's entries on the disk, where the system can do that."""
    if os.name == "nt":
        return
    # Some network file systems refuse; the files themselves are there.
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def rename_over(source: Path, target: Path) -> None:
    """Give a file its final name, in place of a file that has it, at one moment."""
    _patiently(lambda: os.replace(source, target))  # noqa: PTH105


def rename_to_new(source: Path, target: Path) -> None:
    """Give a file its final name unless there is a file of that name.

    Raises
    ------
    FileExistsError
        There is one; nothing was changed.
    """
    if _IS_WINDOWS:  # renaming refuses existing files there
        _patiently(lambda: source.rename(target))
        return
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # No hard links here (FAT, some network shares): look, then rename.
        if os.path.lexists(target):
            reason = os.strerror(errno.EEXIST)
            raise FileExistsError(errno.EEXIST, reason, str(target)) from error
        rename_over(source, target)
    else:
        source.unlink()


def _patiently(rename: Callable[[], object]) -> None:
    for pause in _PAUSES if _IS_WINDOWS else ():
        try:
            rename()
        except PermissionError:
            time.sleep(pause)
        else:
            return
    rename()


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold a file locked, and yield a descriptor for reading and writing it.

    Waits for whoever holds it: another thread, another process or, on network file
    systems that can, another machine. Only those who ask for the lock notice it.

    The lock belongs to a handle of its own. Locks of POSIX's kind (`fcntl.lockf`) belong
    to the process: its threads would not exclude each other, and closing any handle of
    the file would give the lock up.

    Raises
    ------
    OSError
        The file cannot be opened for writing, or its file system has no locks.
    """
    fd = os.open(path, os.O_RDWR | O_BINARY | O_CLOEXEC)
    try:
        try:
            _lock(fd)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                raise OSError(
                    error.errno,
                    "the file system has no locks, which this needs; write to a local"
                    " disk and copy the file",
                    str(path),
                ) from error
            raise
        try:
            yield fd
        finally:
            _unlock(fd)
    finally:
        os.close(fd)


if sys.platform == "win32":

    class _Overlapped(ctypes.Structure):
        _fields_ = (
            ("internal", ctypes.c_void_p),
            ("internal_high", ctypes.c_void_p),
            ("offset", wintypes.DWORD),
            ("offset_high", wintypes.DWORD),
            ("event", wintypes.HANDLE),
        )

    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _EXCLUSIVE = 2

    def _far_byte() -> _Overlapped:
        # Locks are mandatory there: a byte that no file has does not bother readers.
        return _Overlapped(None, None, 0, 0x40000000, None)

    def _lock(fd: int) -> None:
        handle = wintypes.HANDLE(msvcrt.get_osfhandle(fd))
        place = ctypes.byref(_far_byte())
        if not _kernel32.LockFileEx(handle, _EXCLUSIVE, 0, 1, 0, place):
            raise ctypes.WinError(ctypes.get_last_error())

    def _unlock(fd: int) -> None:
        handle = wintypes.HANDLE(msvcrt.get_osfhandle(fd))
        _kernel32.UnlockFileEx(handle, 0, 1, 0, ctypes.byref(_far_byte()))

else:

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX)

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)
