"""`PartialFile`: an unfinished file beside its target, which it becomes at one moment."""

from __future__ import annotations

import errno
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from limnd2_xr.container.chunk_format import align
from limnd2_xr.container.disk import (
    O_BINARY,
    O_CLOEXEC,
    locked,
    raise_named,
    read_all,
    rename_over,
    rename_to_new,
    sync,
    sync_directory,
    write_all,
)
from limnd2_xr.errors import CorruptChunk

if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO, Self

    from limnd2_xr.container.disk import ReadableBuffer

__all__ = ["PartialFile"]

_SUFFIX = ".partial"


class PartialFile:
    r"""A file being written, under another name in the directory of its target.

    The target's name never holds an unfinished file: `commit` gives the whole file that
    name at one moment, `rollback` removes what there is. A context manager, which rolls
    back unless the file was committed; of a handle made by `open` it only closes.

    Made by `create` and, in other processes, by `open`. Threads may share a handle.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> target = Path(folder.name, "a.nd2")
    >>> with PartialFile.create(target) as partial:
    ...     partial.write_at(0, b"abc", b"def")
    ...     offset = partial.reserve(100)
    ...     offset, partial.size, partial.read_at(2, 2), target.exists()
    ...     partial.commit()
    (4096, 8192, b'cd', False)
    >>> target.read_bytes()[:7]
    b'abcdef\x00'
    >>> folder.cleanup()
    """

    __slots__ = (
        "_file",
        "_idle",
        "_key",
        "_owned",
        "_users",
        "overwrite",
        "path",
        "target",
    )

    def __init__(
        self, file: BinaryIO, path: Path, target: Path, *, overwrite: bool, owned: bool
    ) -> None:
        self.target = target
        """Final name, absolute and without symbolic links."""
        self.path = path
        """Name of the partial file."""
        self.overwrite = overwrite
        """Whether `commit` may replace a file."""
        self._file: BinaryIO | None = file
        self._owned = owned
        self._key = _key_of(os.fstat(file.fileno()))
        self._users = 0
        self._idle = threading.Condition()

    @classmethod
    def create(
        cls,
        target: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        shared: bool = False,
    ) -> PartialFile:
        """Return a new, empty partial file.

        Parameters
        ----------
        target
            Final name. A symbolic link is followed, so that it stays one.
        overwrite
            Whether a file of that name may be replaced; it stays as it is until then,
            and the new one gets its permissions.
        shared
            Call the partial file ``<target>.partial``, so that other processes find it
            by the name of its target.

        Raises
        ------
        FileExistsError
            The target exists, and `overwrite` is not set or it is no regular file; or
            another process has a shared partial file for it.
        FileNotFoundError, IsADirectoryError, PermissionError, OSError
            The directory does not exist or cannot be written, the target is
            a directory or a read-only file.
        """
        final = Path(os.path.realpath(target))
        mode = _checked_mode(final, overwrite=overwrite)
        name = f"{final.name}{_SUFFIX}"
        if not shared:
            name = f".{final.name}.{uuid4().hex}{_SUFFIX}"
        path = final.with_name(name)
        # Nobody may read it who may not read the file that it replaces.
        created = 0o666 if mode is None else mode | stat.S_IRUSR | stat.S_IWUSR
        try:
            file = _open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, created)
        except FileExistsError:
            raise FileExistsError(
                errno.EEXIST,
                f"an unfinished file for {final} exists: finalize it, or remove it if"
                " nobody is writing it any more",
                str(path),
            ) from None
        except OSError as error:
            raise _of_target(error, final) from error
        return cls(file, path, final, overwrite=overwrite, owned=True)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        target: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> PartialFile:
        """Return a handle of a partial file that `create` made, here or elsewhere.

        Parameters
        ----------
        path
            Name of the partial file.
        target
            Final name; what remains of `path` without the ending ``.partial`` where
            it is not given, as is right for shared ones.
        overwrite
            Whether `commit` may replace a file.

        Raises
        ------
        FileExistsError
            It was committed already.
        FileNotFoundError, PermissionError, OSError
            As `open` raises them.
        ValueError
            `path` does not end in ``.partial`` and there is no `target`.
        """
        partial = Path(os.path.realpath(path))
        if target is not None:
            final = Path(os.path.realpath(target))
        elif partial.suffix == _SUFFIX:
            final = partial.with_suffix("")
        else:
            raise ValueError(f"{partial} does not end in {_SUFFIX}: give its target")
        file = _open(partial, os.O_RDWR)
        handle = cls(file, partial, final, overwrite=overwrite, owned=False)
        # Who was killed between the two steps of a commit left two names of one file.
        with suppress(FileNotFoundError):
            if handle._key == _key_of(final.stat()):
                handle.close()
                raise FileExistsError(
                    errno.EEXIST,
                    f"{final} is finished; {partial.name} is another name of it and can"
                    " be removed",
                    str(partial),
                )
        return handle

    @property
    def size(self) -> int:
        """Bytes of the file at this moment."""
        with self._using() as fd:
            return os.fstat(fd).st_size

    @property
    def closed(self) -> bool:
        """Whether the handle is closed: by `close`, `commit` or `rollback`."""
        return self._file is None

    def write_at(self, offset: int, *buffers: ReadableBuffer) -> None:
        """Write buffers one after the other from `offset` on, all of their bytes.

        Takes no lock: callers write to different places.

        Raises
        ------
        OSError
            As the system says, such as a full disk, with the name of the target.
        ValueError
            A buffer is not C-contiguous, or the handle is closed.
        """
        with self._using() as fd:
            write_all(fd, offset, buffers)

    def read_at(self, offset: int, nbytes: int) -> bytes:
        """Return exactly `nbytes` bytes from `offset` on.

        Raises
        ------
        CorruptChunk
            The file ends before that.
        """
        with self._using() as fd:
            data = read_all(fd, offset, nbytes)
        if len(data) < nbytes:
            raise CorruptChunk(
                f"the file ends before {nbytes} bytes",
                path=str(self.path),
                offset=offset,
            )
        return data

    def reserve(self, nbytes: int) -> int:
        """Make the file longer, return where the room begins: a multiple of 4096.

        No other thread and no other process gets the same room.

        Parameters
        ----------
        nbytes
            How much is needed; rounded up to a multiple of 4096.

        Raises
        ------
        OSError
            As the system says; also where the file system has no locks.
        """
        # The handle is kept from closing, and so the file from being finished.
        with self._using():
            if not self._is_there():
                raise self._gone()
            with locked(self.path) as fd:
                offset = align(os.fstat(fd).st_size)
                os.ftruncate(fd, offset + align(nbytes))
                return offset

    def extend_to(self, nbytes: int) -> None:
        """Make the file at least so long; what is new reads as zeros, takes no space.

        To be called before others reserve room.
        """
        with self._using() as fd:
            if os.fstat(fd).st_size < nbytes:
                os.ftruncate(fd, nbytes)

    def commit(self) -> None:
        """Give the file its final name, once all of it is on the disk.

        Nothing may write any more. The handle is closed afterwards.

        Raises
        ------
        FileExistsError
            Meanwhile there is a file of that name, and `overwrite` is not set.
        OSError
            As the system says. The target is as it was, `rollback` removes the rest.
        """
        with self._using() as fd:
            sync(fd)
        self.close()  # Windows renames no open files
        if not self._is_there():
            raise self._gone()
        try:
            if self.overwrite and self.target.exists():
                self.path.chmod(stat.S_IMODE(self.target.stat().st_mode))
            if self.overwrite:
                rename_over(self.path, self.target)
            else:
                rename_to_new(self.path, self.target)
        except FileExistsError:
            raise FileExistsError(
                errno.EEXIST,
                "the file appeared while its content was being written; overwrite=True"
                " replaces it",
                str(self.target),
            ) from None
        except OSError as error:
            raise _of_target(error, self.target) from error
        sync_directory(self.target.parent)

    def rollback(self) -> None:
        """Close the handle and remove the partial file.

        Does nothing once the file was committed or removed.
        """
        self.close()
        # Somebody else may have begun anew under a shared name.
        if self._is_there():
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the handle, keep the file; waits for writes in other threads."""
        with self._idle:
            file, self._file = self._file, None
            # A closed descriptor's number may be another file's the next moment.
            self._idle.wait_for(lambda: not self._users)
            if file is not None:
                file.close()

    def _using(self) -> _Use:
        """Hold the descriptor open; errors of the system name the target."""
        return _Use(self)

    def _is_there(self) -> bool:
        """Tell whether the partial file still has its name."""
        try:
            return _key_of(self.path.stat()) == self._key
        except FileNotFoundError:
            return False

    def _gone(self) -> FileNotFoundError:
        return FileNotFoundError(
            errno.ENOENT,
            f"the unfinished file of {self.target} was committed or removed",
            str(self.path),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._owned:
            self.rollback()
        else:
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.size} bytes"
        return f"<PartialFile of {str(self.target)!r}, {state}>"


class _Use:
    """A use of a handle. No generator: there are several for each frame of a file."""

    __slots__ = ("_partial",)

    def __init__(self, partial: PartialFile) -> None:
        self._partial = partial

    def __enter__(self) -> int:
        partial = self._partial
        with partial._idle:
            if partial._file is None:
                raise ValueError(f"the partial file {partial.path} is closed")
            fd = partial._file.fileno()
            partial._users += 1
        return fd

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        partial = self._partial
        with partial._idle:
            partial._users -= 1
            if not partial._users:
                partial._idle.notify_all()
        if isinstance(error, OSError):
            raise_named(error, partial.target)


def _open(path: Path, flags: int, mode: int = 0o666) -> BinaryIO:
    """Return an unbuffered file; of a new one `mode` are the permissions."""

    def opener(name: str, _: int) -> int:
        return os.open(name, flags | O_BINARY | O_CLOEXEC, mode)

    return open(path, "r+b", buffering=0, opener=opener)


def _checked_mode(target: Path, *, overwrite: bool) -> int | None:
    """Return the permissions of the file to be replaced, None where there is none."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        if target.parent.is_dir():
            return None
        raise FileNotFoundError(
            errno.ENOENT, "there is no such directory to write to", str(target.parent)
        ) from None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not stat.S_ISREG(mode):
        reason = "not a regular file: it cannot be replaced"
        raise FileExistsError(errno.EEXIST, reason, str(target))
    if not overwrite:
        reason = "the file exists; overwrite=True replaces it"
        raise FileExistsError(errno.EEXIST, reason, str(target))
    if not os.access(target, os.W_OK):
        reason = "the file to be replaced is read-only"
        raise PermissionError(errno.EACCES, reason, str(target))
    return stat.S_IMODE(mode)


def _of_target(error: OSError, target: Path) -> OSError:
    """Return the same error about the file that the user knows."""
    return OSError(error.errno, error.strerror, str(target))


def _key_of(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
