"""Requests through fsspec: as its file systems make them, but of one version of the file."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

from limnd2_xr.container.byte_source import lock_of
from limnd2_xr.container.remote_failure import NoRanges, status_of
from limnd2_xr.container.transport import (
    BaseTransport,
    Begun,
    Version,
    check_answer,
    checked_length,
    is_strong,
    size_of_range,
    version_of_headers,
)
from limnd2_xr.errors import Nd2Error

__all__ = ["fsspec_transport"]

MAX_WHOLE_NBYTES = 64 << 20
"""Files up to this size are read whole where a server has no ranges."""
_READ_BUFFER_NBYTES = 1 << 20
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 20.0
"""An answer that has nothing to say for so long is not coming."""
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

_Answer: TypeAlias = tuple[bytes, int | None, str | None]
"""Bytes; size and version of the file as far as the answer tells."""


def fsspec_transport(
    fs: Any, path: str, *, retries_itself: bool = True
) -> BaseTransport:
    """Return the transport for a file of an fsspec file system.

    Parameters
    ----------
    fs
        An ``fsspec.AbstractFileSystem``.
    path
        The file's path in it, without protocol.
    retries_itself
        Whether an S3 file system was left to try again what fails.
    """
    if _is_a(fs, "fsspec.implementations.http", "HTTPFileSystem"):
        return AiohttpTransport(fs, path)
    if _is_a(fs, "s3fs.core", "S3FileSystem") and all(fs.split_path(path)[:2]):
        return S3Transport(fs, path, retries_itself=retries_itself)
    if _is_a(fs, "adlfs.spec", "AzureBlobFileSystem") and all(fs.split_path(path)[:2]):
        return AzureTransport(fs, path)
    return AnyTransport(fs, path)


def _is_a(fs: Any, module: str, name: str) -> bool:
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(fs, kind) and not fs.asynchronous


class AnyTransport(BaseTransport):
    """Any file system, by its `cat_file`.

    Threads read at the same time where the file system is made for that (gcs, memory);
    others, such as zip archives, take turns. What changed is noticed where the file is opened
    again; only Google's storage is asked for the version that was opened, its generation.
    """

    def __init__(self, fs: Any, path: str) -> None:
        self._fs = fs
        self._path = path
        is_async = bool(getattr(fs, "async_impl", False))
        is_shared = is_async or "memory" in fs.protocol
        self._lock: AbstractContextManager[Any] = (
            nullcontext() if is_shared else lock_of(fs)
        )
        self.requests = self.requests if is_async else 1
        self.retries_itself = "gs" in fs.protocol or "gcs" in fs.protocol
        self._pinned: dict[str, Any] = {}
        self._size = 0

    def begin(self, nbytes: int) -> Begun:
        """Ask for size and version alone."""
        del nbytes
        with self._lock:
            info = file_info(self._fs, self._path)
        if self.retries_itself and info.get("generation"):
            self._pinned = {"generation": str(info["generation"])}
            version: str | None = f"generation {info['generation']}"
        else:
            found = next((info[key] for key in _STAMP_KEYS if info.get(key)), None)
            version = None if found is None else str(found)
        self._size = int(info["size"])
        return Begun(self._size, version)

    def fetch(self, offset: int, nbytes: int) -> bytes | memoryview:
        """Ask for a range."""
        end = offset + nbytes
        with self._lock:
            data: bytes = self._fs.cat_file(
                self._path, start=offset, end=end, **self._pinned
            )
        if len(data) == self._size != nbytes:  # the server ignores ranges
            if self._size > MAX_WHOLE_NBYTES:
                raise no_ranges(self._size)
            return memoryview(data)[offset:end]
        return checked_length(data, nbytes)


class AiohttpTransport(BaseTransport):
    """HTTP(S), with the session, headers and other options of fsspec's file system.

    Each answer is compared with the first: size, and ETag or time of last change. Servers are
    asked for the same ETag, so they need not send anything of another version.
    """

    def __init__(self, fs: Any, url: str) -> None:
        self._fs = fs
        self._url = url
        self._version: Version | None = None

    def begin(self, nbytes: int) -> Begun:
        """Ask for the beginning of the file, which tells its size: HEAD may be forbidden."""
        try:
            head, size, version = self._sync(0, nbytes)
        except Exception as error:
            if status_of(error) != 416:  # an empty file has no first byte
                raise
            head, size, version = b"", 0, None
        if size is None:
            size = int(file_info(self._fs, self._url)["size"])
        self._version = Version(size, version, version if is_strong(version) else None)
        return Begun(size, version, head)

    def fetch(self, offset: int, nbytes: int) -> bytes | memoryview:
        """Ask for a range."""
        data, _, _ = self._sync(offset, offset + nbytes)
        if len(data) == self._size != nbytes:
            return memoryview(data)[offset : offset + nbytes]
        return checked_length(data, nbytes)

    @property
    def _size(self) -> int:
        return self._version.size if self._version else -1

    def _sync(self, start: int, stop: int) -> _Answer:
        from fsspec.asyn import sync

        found: _Answer = sync(self._fs.loop, self._get, start, stop)
        return found

    async def _get(self, start: int, stop: int) -> _Answer:
        """Return bytes, or the whole file where ranges are ignored; its size and version."""
        from aiohttp import ClientTimeout

        options = dict(self._fs.kwargs)
        headers = {**options.pop("headers", {}), "Accept-Encoding": "identity"}
        headers["Range"] = f"bytes={start}-{stop - 1}"
        if self._version is not None and self._version.etag:
            headers["If-Match"] = self._version.etag
        if "timeout" not in self._fs.client_kwargs:
            timeout = ClientTimeout(
                total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS
            )
            options.setdefault("timeout", timeout)
        session = await self._fs.set_session()
        async with session.get(
            self._fs.encode_url(self._url),
            headers=headers,
            read_bufsize=_READ_BUFFER_NBYTES,
            **options,
        ) as answer:
            answer.raise_for_status()
            version = version_of_headers(answer.headers)
            if answer.status == 206:
                check_answer(answer.headers, start)
                size = size_of_range(answer.headers.get("Content-Range"))
            elif (size := _size_of_whole(answer.headers)) is None:
                raise no_size()
            elif size > MAX_WHOLE_NBYTES:
                raise no_ranges(size)
            if self._version is not None:
                self._version.check(size, version)
            return await answer.read(), size, version


class S3Transport(BaseTransport):
    """S3, with the client of s3fs: each request names the ETag that was found first."""

    def __init__(self, fs: Any, path: str, *, retries_itself: bool) -> None:
        self._fs = fs
        bucket, key, version_id = fs.split_path(path)
        self._place = {"Bucket": bucket, "Key": key}
        if version_id:
            self._place["VersionId"] = version_id
        self.retries_itself = retries_itself
        self._version: Version | None = None

    def begin(self, nbytes: int) -> Begun:
        """Ask for the beginning of the object, which tells its size."""
        try:
            head, size, etag = self._sync(0, nbytes)
        except Exception as error:
            if status_of(error) != 416:
                raise
            head, size, etag = b"", 0, None
        if size is None:
            raise no_size()
        self._version = Version(size, etag, etag)
        return Begun(size, etag, head)

    def fetch(self, offset: int, nbytes: int) -> bytes | memoryview:
        """Ask for a range."""
        data, _, _ = self._sync(offset, offset + nbytes)
        return checked_length(data, nbytes)

    def _sync(self, start: int, stop: int) -> _Answer:
        from fsspec.asyn import sync

        found: _Answer = sync(self._fs.loop, self._get, start, stop)
        return found

    async def _get(self, start: int, stop: int) -> _Answer:
        options = {
            **self._fs.req_kw,
            **self._place,
            "Range": f"bytes={start}-{stop - 1}",
        }
        if self._version is not None and self._version.etag:
            options["IfMatch"] = self._version.etag
        await self._fs.set_session()
        client = await self._fs.get_s3(self._place["Bucket"])
        answer = await client.get_object(**options)
        async with answer["Body"] as body:
            size = size_of_range(answer.get("ContentRange"))
            etag = answer.get("ETag")
            if self._version is not None:
                self._version.check(size, etag)
            return await body.read(), size, etag


class AzureTransport(BaseTransport):
    """Azure's blobs, with the client of adlfs: each request names the ETag found first."""

    retries_itself = True

    def __init__(self, fs: Any, path: str) -> None:
        self._fs = fs
        self._path = path
        self._etag: str | None = None

    def begin(self, nbytes: int) -> Begun:
        """Ask for size and version alone."""
        del nbytes
        info = file_info(self._fs, self._path)
        self._etag = info.get("etag")
        return Begun(int(info["size"]), self._etag)

    def fetch(self, offset: int, nbytes: int) -> bytes | memoryview:
        """Ask for a range."""
        from fsspec.asyn import sync

        data: bytes = sync(self._fs.loop, self._get, offset, nbytes)
        return checked_length(data, nbytes)

    async def _get(self, offset: int, nbytes: int) -> bytes:
        options: dict[str, Any] = {}
        if self._etag:
            from azure.core import MatchConditions

            options = {
                "etag": self._etag,
                "match_condition": MatchConditions.IfNotModified,
            }
        container, blob, version_id = self._fs.split_path(self._path)
        if version_id:
            options["version_id"] = version_id
        async with self._fs.service_client.get_blob_client(
            container=container, blob=blob
        ) as client:
            stream = await client.download_blob(offset=offset, length=nbytes, **options)
            data: bytes = await stream.readall()
            return data


def file_info(fs: Any, path: str) -> dict[str, Any]:
    """Return what a file system knows of a file, as it is now.

    Raises
    ------
    IsADirectoryError
        It is a directory.
    Nd2Error
        The size is not known, or there are no ranges and the file is large.
    """
    fs.invalidate_cache(path)  # a listing may be as old as the process
    info: dict[str, Any] = fs.info(path)
    if info.get("type") == "directory":
        raise IsADirectoryError(path)
    size = info.get("size")
    if not isinstance(size, int):
        raise no_size()
    if info.get("partial") is False and size > MAX_WHOLE_NBYTES:
        raise no_ranges(size)
    return info


def _size_of_whole(headers: Any) -> int | None:
    """Size of a file that is sent whole, None if it is not known."""
    size = headers.get("Content-Length", "")
    encoded = headers.get("Content-Encoding", "identity") not in {"identity", ""}
    return int(size) if size.isdigit() and not encoded else None


def no_ranges(size: int) -> NoRanges:
    """Return the error about a server that sends too large a file whole."""
    return NoRanges(
        "the server does not support byte ranges, so every read would fetch the whole"
        f" file ({size} bytes); download the file"
    )


def no_size() -> Nd2Error:
    """Return the error about a server that does not tell sizes."""
    return Nd2Error(
        "the server does not tell the size of the file, so its end, where the chunk map"
        " is, cannot be found; download the file"
    )
