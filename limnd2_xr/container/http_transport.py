"""Requests over plain HTTP(S), straight into the memory where the bytes belong.

For the kind of URL that needs nothing but headers, which is most: Python's own client receives
into the output, outside of the interpreter's lock, at half the processor time of what fsspec
and obstore take (decision 0011). Whatever needs more goes through fsspec.
"""

from __future__ import annotations

import atexit
import os
import re
import ssl
import time
from collections import deque
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from limnd2_xr.container.redaction import links_of
from limnd2_xr.container.remote_failure import (
    Elsewhere,
    HttpStatus,
    NoRanges,
    ShortBody,
)
from limnd2_xr.container.transport import (
    BaseTransport,
    Begun,
    Version,
    check_answer,
    is_strong,
    size_of_range,
    version_of_headers,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HttpTransport", "http_transport"]

_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 20.0
"""Without a byte, after which a request is made again: some times in a minute."""
_IDLE_CONNECTIONS = 64
_IDLE_SECONDS = 15.0
"""After which a connection is not used again: what lies between may have forgotten it."""
_MAX_ERROR_NBYTES = 1 << 16
_PLAIN = re.compile(r"[!-~]+")
"""What a URL is made of when nothing is left to be quoted."""

_OURS = frozenset({"accept-encoding", "if-match", "range"})
"""Headers that are not the user's to choose."""

_idle: dict[tuple[str, str, int], deque[tuple[HTTPConnection, float]]] = {}
"""Connections to be used again, and since when, by scheme, host and process."""


def http_transport(url: str, options: Mapping[str, Any]) -> HttpTransport | None:
    """Return the transport for a URL, None where fsspec has to do it.

    Parameters
    ----------
    url
        As fsspec takes it.
    options
        As fsspec takes them; nothing but ``headers`` is understood.
    """
    if len(links_of(url)) > 1 or not url.lower().startswith(("http://", "https://")):
        return None
    headers = options.get("headers", {})
    parts = urlsplit(url)
    if (
        options.keys() - {"headers"}
        or "@" in parts.netloc
        or parts.fragment
        or not parts.hostname
        or proxy_of(url)
        or not _PLAIN.fullmatch(url)
        or not all(isinstance(text, str) for one in headers.items() for text in one)
    ):
        return None
    return HttpTransport(url, headers)


def proxy_of(url: str) -> str | None:
    """Return the proxy that the environment (or the system) names for a URL, or None.

    Examples
    --------
    >>> import os
    >>> from unittest.mock import patch
    >>> names = {"http_proxy": "http://proxy:3128", "no_proxy": "localhost,.lab"}
    >>> with patch.dict(os.environ, names, clear=True):
    ...     proxy_of("http://example.org/a.nd2"), proxy_of("http://nas.lab:80/a.nd2")
    ('http://proxy:3128', None)
    """
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme.lower())
    host = parts.netloc.rpartition("@")[2]
    return None if not proxy or not host or proxy_bypass(host) else proxy


class HttpTransport(BaseTransport):
    """A file on a web server; each request names the ETag that was found first.

    Parameters
    ----------
    url
        ``http://`` or ``https://``.
    headers
        Sent with each request.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._origin = (parts.scheme.lower(), parts.netloc)
        path = parts.path or "/"
        self._target = f"{path}?{parts.query}" if parts.query else path
        kept = {
            name: text for name, text in headers.items() if name.lower() not in _OURS
        }
        self._headers = {"Accept-Encoding": "identity", **kept}
        if "user-agent" not in map(str.lower, kept):  # some servers refuse without
            self._headers["User-Agent"] = "limnd2-xr"
        self._version: Version | None = None

    def begin(self, nbytes: int) -> Begun:
        """Ask for the beginning of the file, which tells its size.

        Raises
        ------
        Elsewhere
            There is no connection, the file is elsewhere, empty, or only to be had whole.
        """
        try:
            connection = self._connect()
        except OSError as error:
            raise Elsewhere("no connection") from error
        try:
            answer = self._ask(connection, 0, nbytes)
        except HttpStatus as error:
            if error.status == 416:  # an empty file has no first byte
                raise Elsewhere(str(error)) from error
            raise
        size = size_of_range(answer.headers.get("Content-Range"))
        if answer.status != 206 or size is None:
            connection.close()
            raise Elsewhere(f"HTTP status {answer.status} {answer.reason}")
        self._check(connection, answer, 0)
        version = version_of_headers(answer.headers)
        self._version = Version(size, version, version if is_strong(version) else None)
        head = bytearray(min(nbytes, size))
        self._receive(connection, answer, [memoryview(head)])
        return Begun(size, version, bytes(head))

    def fetch(self, offset: int, nbytes: int) -> bytes:
        """Ask for a range."""
        data = bytearray(nbytes)
        self.fetch_into(offset, [memoryview(data)])
        return bytes(data)

    def fetch_into(self, offset: int, views: list[memoryview]) -> None:
        """Ask for a range, and receive it where it belongs."""
        nbytes = sum(view.nbytes for view in views)
        connection = self._connection()
        answer = self._ask(connection, offset, offset + nbytes)
        if 300 <= answer.status < 400:
            connection.close()
            raise Elsewhere("the file has moved")
        self._check(connection, answer, offset)
        self._receive(connection, answer, views)

    # -- requests

    def _ask(self, connection: HTTPConnection, start: int, stop: int) -> HTTPResponse:
        """Send a request for a range; return the answer, of which the body is to come."""
        headers = {**self._headers, "Range": f"bytes={start}-{stop - 1}"}
        if self._version is not None and self._version.etag:
            headers["If-Match"] = self._version.etag
        try:
            connection.request("GET", self._target, headers=headers)
            answer = connection.getresponse()
            if answer.status < 400:
                return answer
            # An error has few words; then the connection can be used again.
            answer.read(_MAX_ERROR_NBYTES)
        except (OSError, HTTPException) as error:
            connection.close()
            raise _network_error(error) from error
        if answer.isclosed():
            self._keep(connection)
        else:
            connection.close()
        raise HttpStatus(answer.status, answer.reason, dict(answer.headers))

    def _check(
        self, connection: HTTPConnection, answer: HTTPResponse, start: int
    ) -> None:
        """Check that an answer is a range of the file that was opened."""
        try:
            if answer.status != 206:
                raise NoRanges("the server does not support byte ranges any more")
            check_answer(answer.headers, start)
            if self._version is not None:
                size = size_of_range(answer.headers.get("Content-Range"))
                self._version.check(size, version_of_headers(answer.headers))
        except OSError:
            connection.close()
            raise

    def _receive(
        self, connection: HTTPConnection, answer: HTTPResponse, views: list[memoryview]
    ) -> None:
        """Fill memory with the body of an answer, which has to be as long."""
        nbytes = sum(view.nbytes for view in views)
        promised = answer.length
        got = 0
        try:
            if promised in {None, nbytes}:
                for view in views:
                    got += _fill(answer, view)
                if answer.read(1):
                    got += 1
            else:
                got = int(promised or 0)
        except (OSError, HTTPException) as error:
            connection.close()
            raise _network_error(error) from error
        if got != nbytes:
            connection.close()
            raise ShortBody(f"the server sent {got} bytes when {nbytes} were asked for")
        if answer.will_close:
            connection.close()
        else:
            self._keep(connection)

    # -- connections

    def _connection(self) -> HTTPConnection:
        """Return one that was used before and is still open, or a new one."""
        idle = _idle.get((*self._origin, os.getpid()))
        while idle:
            try:
                connection, since = idle.pop()
            except IndexError:  # another thread was quicker
                break
            is_old = time.monotonic() - since > _IDLE_SECONDS
            if not is_old and not _is_ended(connection):
                return connection
            connection.close()
        return self._connect()

    def _connect(self) -> HTTPConnection:
        scheme, host = self._origin
        connection: HTTPConnection
        if scheme == "https":
            connection = HTTPSConnection(
                host, timeout=_CONNECT_SECONDS, context=_trust()
            )
        else:
            connection = HTTPConnection(host, timeout=_CONNECT_SECONDS)
        connection.connect()
        connection.auto_open = 0
        connection.sock.settimeout(_SILENCE_SECONDS)
        return connection

    def _keep(self, connection: HTTPConnection) -> None:
        idle = _idle.setdefault((*self._origin, os.getpid()), deque())
        if len(idle) < _IDLE_CONNECTIONS:
            idle.append((connection, time.monotonic()))
        else:
            connection.close()


def _fill(answer: HTTPResponse, view: memoryview) -> int:
    """Receive until a view is full or the answer ends; return how many bytes came."""
    at = 0
    while at < view.nbytes:
        came = answer.readinto(view[at:])
        if not came:
            break
        at += came
    return at


def _is_ended(connection: HTTPConnection) -> bool:
    """Say whether the server closed an idle connection: there is something to receive."""
    sock = connection.sock
    if sock is None:
        return True
    timeout = sock.gettimeout()
    try:
        sock.settimeout(0)
        # Of TLS nothing can be looked at without taking it away.
        if isinstance(sock, ssl.SSLSocket):
            sock.read(1)
        else:
            sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        sock.settimeout(timeout)
        return False
    except OSError:
        return True
    return True


def _network_error(error: Exception) -> OSError:
    """Return the error of a connection that broke, as one that may pass."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error
    if isinstance(error, ssl.SSLError | HTTPException):
        return ConnectionError(f"{type(error).__name__}: {error}")
    return error if isinstance(error, OSError) else ConnectionError(str(error))


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()


def _close_idle() -> None:
    for connections in _idle.values():
        for connection, _ in connections:
            connection.close()
    _idle.clear()


atexit.register(_close_idle)
