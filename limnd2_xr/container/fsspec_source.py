"""Byte source over any file that fsspec reaches: http, s3, gcs, memory, zip, ..."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from limnd2_xr.container.byte_source import BaseSource, FileStamp, lock_of, scatter
from limnd2_xr.errors import Nd2Error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = ["FsspecSource"]

_GAP_NBYTES = 1 << 20
_REQUESTS = 16
_MAX_WHOLE_NBYTES = 64 << 20
_STAMP_KEYS = (
    "ETag",
    "etag",
    "md5Hash",
    "md5",
    "Content-MD5",
    "Digest",
    "mtime",
    "LastModified",
    "last_modified",
    "Last-Modified",
    "updated",
    "created",
)


class FsspecSource(BaseSource):
    """A remote file, read range by range with ``fs.cat_file``; nothing is cached.

    Threads read at the same time where the file system is made for that (http, s3, gcs,
    memory); others, such as zip archives, take turns.

    Parameters
    ----------
    url
        What `fsspec.open` takes, chained URLs included.
    storage_options
        Options for the file system (credentials, headers, ...).

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        There is no such file.
    Nd2Error
        The server does not tell the size of the file, or says that it does not
        support byte ranges and the file is larger than 64 MiB. One that does not say
        so is found out by the first read, which raises then. Smaller files are
        sliced from what comes.

    Examples
    --------
    >>> import fsspec
    >>> fsspec.filesystem("memory").pipe_file("/docs/a.bin", b"abcdef")
    >>> with FsspecSource("memory://docs/a.bin") as source:
    ...     source.size, source.read_at(1, 3)
    (6, b'bcd')
    """

    __slots__ = ("_fs", "_lock", "_path")

    def __init__(
        self, url: str, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        import fsspec

        fs, path = fsspec.core.url_to_fs(url, **(storage_options or {}))
        self._open(fs, path, url)

    @classmethod
    def from_filesystem(cls, fs: Any, path: str, name: str) -> Self:
        """Return a source over `path` of an fsspec file system that is there already.

        Parameters
        ----------
        fs
            An ``fsspec.AbstractFileSystem``.
        path
            The file's path in it, without protocol.
        name
            How to call it in messages.
        """
        source = cls.__new__(cls)
        source._open(fs, path, name)
        return source

    def _open(self, fs: Any, path: str, name: str) -> None:
        self._fs = fs
        self._path = path
        is_shared = getattr(fs, "async_impl", False) or "memory" in fs.protocol
        self._lock = nullcontext() if is_shared else lock_of(fs)
        requests = _REQUESTS if getattr(fs, "async_impl", False) else 1
        super().__init__(name, remote_stamp(fs, path, name), _GAP_NBYTES, requests)

    def _fetch(self, offset: int, nbytes: int) -> bytes:
        end = offset + nbytes
        with self._lock:
            data = self._fs.cat_file(self._path, start=offset, end=end)
        if len(data) == nbytes:
            return bytes(data)
        if len(data) == self.size:  # the server ignores ranges
            if self.size <= _MAX_WHOLE_NBYTES:
                return bytes(data[offset:end])
            raise _no_ranges(self.name, self.size)
        if len(data) < nbytes:
            raise self._ends(offset, nbytes)
        raise Nd2Error(
            f"the server sent {len(data)} bytes when {nbytes} were asked for",
            path=self.name,
            offset=offset,
        )

    def _fill(self, offset: int, views: list[memoryview], nbytes: int) -> None:
        scatter(self._fetch(offset, nbytes), views)

    def _release(self) -> None:
        """File systems are fsspec's to keep and to close."""


def remote_stamp(fs: Any, path: str, name: str) -> FileStamp:
    """Return size and version of a file of an fsspec file system, as it is now.

    Raises
    ------
    Nd2Error
        The file system does not know the size.
    """
    fs.invalidate_cache(path)  # a listing may be as old as the process
    info = fs.info(path)
    if info.get("type") == "directory":
        raise IsADirectoryError(name)
    size = info.get("size")
    if not isinstance(size, int):
        raise Nd2Error(
            "the server does not tell the size of the file, so its end, where the"
            " chunk map is, cannot be found; download the file",
            path=name,
        )
    if info.get("partial") is False and size > _MAX_WHOLE_NBYTES:
        raise _no_ranges(name, size)
    version = next((info[key] for key in _STAMP_KEYS if info.get(key)), None)
    return FileStamp(size, etag=None if version is None else str(version))


def _no_ranges(name: str, size: int) -> Nd2Error:
    return Nd2Error(
        "the server does not support byte ranges, so every read would fetch the whole"
        f" file ({size} bytes); download the file",
        path=name,
    )
