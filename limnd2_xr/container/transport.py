"""`BaseTransport`: one request at a time for bytes of one remote file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from email.utils import parsedate_to_datetime
from typing import NamedTuple, Protocol

import numpy as np

from limnd2_xr.container.remote_failure import Changed, Encoded, ShortBody

__all__ = [
    "BaseTransport",
    "Begun",
    "Version",
    "check_answer",
    "checked_length",
    "is_strong",
    "size_of_range",
    "version_of_headers",
    "version_of_time",
]


class Begun(NamedTuple):
    """What the first request tells."""

    size: int
    """Bytes in the file."""
    version: str | None
    """ETag, generation, checksum or time; None if the server does not say."""
    head: bytes = b""
    """First bytes of the file, as many as came along."""


class BaseTransport(ABC):
    """Makes requests for one file, from any thread; its errors are those of its library."""

    requests = 32
    """How many at the same time make sense."""
    retries_itself = False
    """Whether it tries again what fails for a moment."""

    @abstractmethod
    def begin(self, nbytes: int) -> Begun:
        """Find out size and version of the file, with about `nbytes` of its beginning."""

    @abstractmethod
    def fetch(self, offset: int, nbytes: int) -> bytes | memoryview:
        """Return the bytes asked for, of the version that `begin` found."""

    def fetch_into(self, offset: int, views: list[memoryview]) -> None:
        """Fill memory, one view after the other, with the bytes from `offset` on."""
        nbytes = sum(view.nbytes for view in views)
        data = np.frombuffer(self.fetch(offset, nbytes), np.uint8)
        start = 0
        for view in views:  # by numpy, as it lets other threads run meanwhile
            np.copyto(np.frombuffer(view, np.uint8), data[start : start + view.nbytes])
            start += view.nbytes


class Version:
    """Which version of a file answers are to be of."""

    __slots__ = ("etag", "size", "text")

    def __init__(self, size: int, text: str | None, etag: str | None) -> None:
        self.size = size
        self.text = text
        self.etag = etag
        """To be asked for with ``If-Match``; None where that is not possible."""

    def check(self, size: int | None, text: str | None) -> None:
        """Compare with what an answer says of the file.

        Raises
        ------
        Changed
            It is of another version.
        """
        if size is not None and size != self.size:
            raise Changed(f"the file had {self.size} bytes, now {size}")
        if text is not None and self.text is not None and text != self.text:
            raise Changed(f"the version of the file was {self.text}, now it is {text}")


def is_strong(version: str | None) -> bool:
    """Say whether a version is an ETag to ask for: weak ones never match (RFC 9110, 13.1.1)."""
    return version is not None and version.startswith('"')


def size_of_range(header: str | None) -> int | None:
    """Return the size of the file from ``Content-Range: bytes 0-9/1000``.

    Examples
    --------
    >>> size_of_range("bytes 0-9/1000"), size_of_range("bytes 0-9/*")
    (1000, None)
    """
    size = (header or "").rpartition("/")[2].strip()
    return int(size) if size.isdecimal() else None


class Headers(Protocol):
    """Headers of an answer, whatever the case of their names."""

    def get(self, name: str, default: str, /) -> str:
        """Return a header, or the default."""
        ...


def check_answer(headers: Headers, start: int) -> None:
    """Check that a partial answer holds bytes of the file from `start` on.

    Caches on the way may send another range (RFC 9110, 15.3.7), or compress it.

    Raises
    ------
    Encoded
        It is compressed: a part of that is no part of the file.
    ShortBody
        It begins elsewhere.
    """
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise Encoded(
            f"the server sends the file compressed ({encoding}), of which no ranges can "
            "be read; download the file"
        )
    span = headers.get("Content-Range", "")
    begin = span.strip().lower().removeprefix("bytes").lstrip(" =").partition("-")[0]
    if begin.isdecimal() and int(begin) != start:
        raise ShortBody(
            f"the server sent {span} when bytes from {start} were asked for"
        )


def version_of_headers(headers: Headers) -> str | None:
    """Return ETag or, where there is none, time of last change as transports agree on it."""
    if etag := headers.get("ETag", ""):
        return str(etag)
    try:
        modified = parsedate_to_datetime(headers.get("Last-Modified", ""))
    except (ValueError, TypeError):
        return None
    return version_of_time(modified.timestamp())


def version_of_time(seconds: float) -> str | None:
    """Return a version that is a time of last change, None for none."""
    return f"modified {int(seconds)}" if seconds > 0 else None


def checked_length(data: bytes | memoryview, nbytes: int) -> bytes | memoryview:
    """Return what came of `nbytes` that were asked for.

    Raises
    ------
    ShortBody
        It is another number of bytes.
    """
    if len(data) != nbytes:
        raise ShortBody(
            f"the server sent {len(data)} bytes when {nbytes} were asked for"
        )
    return data
