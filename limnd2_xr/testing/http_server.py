"""A web server for tests: byte ranges, delays, and everything that can go wrong.

Runs on threads of this process (`HttpServer`), or in a process of its own, so that it takes
no time of what is measured: ``python -m limnd2_xr.testing.http_server FILE --latency 0.03``.
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import re
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from typing import Self

__all__ = ["Fault", "HttpServer", "Request", "ServedFile"]

Behaviour: TypeAlias = Literal["status", "reset", "short", "stall", "shifted", "packed"]

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_SEND_NBYTES = 4 << 20
_STATISTICS = "/.statistics"


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    Parameters
    ----------
    kind
        ``"status"`` answers with `status`, ``"reset"`` breaks the connection off before
        an answer, ``"short"`` in the middle of the body, ``"stall"`` never answers,
        ``"shifted"`` sends the range one byte further on, ``"packed"`` says that the body
        is compressed.
    status
        Of the answer, 503 for example.
    headers
        Sent along with it, ``Retry-After`` for example.
    """

    kind: Behaviour
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Request:
    """One request, as the server saw it."""

    method: str
    path: str
    """With its query."""
    headers: Mapping[str, str] = field(repr=False)
    """By lower-case name."""
    range: tuple[int, int] | None = None
    """First byte and one past the last of what was asked for."""
    status: int = 0
    """Of the answer, 0 where there was none."""
    nbytes: int = 0
    """Bytes of the body that was sent."""


@dataclass
class ServedFile:
    """A file of the server; may be changed between requests."""

    content: bytes | Path
    etag: str | None = None
    """As sent, with its quotes; by default made from the content."""
    last_modified: float | None = None
    """Seconds since the epoch."""

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        if isinstance(self.content, Path):
            return self.content.stat().st_size
        return len(self.content)

    def __post_init__(self) -> None:
        if self.etag is not None:
            return
        if isinstance(self.content, Path):
            stat = self.content.stat()
            self.etag = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
        else:
            self.etag = (
                f'"{hashlib.md5(self.content, usedforsecurity=False).hexdigest()}"'
            )


class HttpServer:
    """Serves files of this process over HTTP, on a port of its own.

    Parameters
    ----------
    files
        Content by path, such as ``{"/a.nd2": b"..."}``; a `pathlib.Path` is served from
        disk.
    latency
        Seconds before every answer.

    host
        Address to listen at, of IPv6 where it has colons.
    tls
        With a certificate, to serve HTTPS.

    Attributes
    ----------
    files : dict of str to ServedFile
        What is served; may be changed at any time.
    faults : deque of Fault or None
        What goes wrong with the next requests, one each; None goes well.
    ranges, conditions, heads, tells_size : bool
        Whether byte ranges, ``If-Match``, ``HEAD`` and sizes are supported.
    redirects : dict of str to str
        Paths that are answered with the address of another one.
    n_connections : int
        How many were opened.
    max_concurrent : int
        Most requests that waited for an answer at the same time, given some `latency`.

    Examples
    --------
    >>> import urllib.request
    >>> with HttpServer({"/a.nd2": b"abcdef"}) as server:
    ...     asked = urllib.request.Request(
    ...         server.url("/a.nd2"), headers={"Range": "bytes=1-2"}
    ...     )
    ...     with urllib.request.urlopen(asked) as answer:
    ...         print(answer.read(), server.n_requests, server.nbytes)
    b'bc' 1 2
    """

    def __init__(
        self,
        files: Mapping[str, bytes | Path] | None = None,
        *,
        latency: float = 0.0,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.host = host
        self.files = {path: ServedFile(data) for path, data in (files or {}).items()}
        self.latency = latency
        self.faults: deque[Fault | None] = deque()
        self.ranges = self.conditions = self.heads = self.tells_size = True
        self.redirects: dict[str, str] = {}
        self.n_connections = 0
        self.max_concurrent = 0
        self.requests: list[Request] = []
        self.check: Callable[[Request], int | None] | None = None
        """Called with every request; a status that it returns is the answer."""
        self._running = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        handler = type("Handler", (_Handler,), {"site": self})
        kind = _Server6 if ":" in host else _Server
        self._httpd = kind((host, 0), handler)
        self._scheme = "http"
        if tls is not None:
            self._scheme = "https"
            self._httpd.socket = tls.wrap_socket(self._httpd.socket, server_side=True)
        self._thread = threading.Thread(
            target=self._httpd.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._httpd.server_address[1])

    def url(self, path: str = "") -> str:
        """Return the address of a path on this server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self._scheme}://{host}:{self.port}{path}"

    @property
    def n_requests(self) -> int:
        """Requests since the last `reset`."""
        return len(self.requests)

    @property
    def nbytes(self) -> int:
        """Bytes sent in bodies since the last `reset`."""
        return sum(request.nbytes for request in self.requests)

    def reset(self) -> None:
        """Forget requests, faults and the most that were answered at once."""
        with self._lock:
            self.requests.clear()
            self.faults.clear()
            self.max_concurrent = 0

    def start_afresh(self, files: Mapping[str, bytes | Path]) -> None:
        """Behave as a new server does that has these files; the address stays."""
        self.reset()
        self.files = {path: ServedFile(data) for path, data in files.items()}
        self.redirects.clear()
        self.latency, self.check = 0.0, None
        self.ranges = self.conditions = self.heads = self.tells_size = True

    def close(self) -> None:
        """Stop answering."""
        self._stopped.set()
        self._httpd.shutdown()
        self._httpd.close_connections()
        self._httpd.server_close()
        self._thread.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- what the threads that answer do

    def _begin(self, request: Request) -> Fault | None:
        with self._lock:
            self.requests.append(request)
            self._running += 1
            self.max_concurrent = max(self.max_concurrent, self._running)
            return self.faults.popleft() if self.faults else None

    def _end(self) -> None:
        with self._lock:
            self._running -= 1


class _Server(http.server.ThreadingHTTPServer):
    """Ends the connections that clients keep open, too."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients go away whenever they like."""

    def close_connections(self) -> None:
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    site: HttpServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are sent one after the other
    wbufsize = -1

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_NBYTES)
        super().setup()
        self.site.n_connections += 1

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing."""

    def _answer(self) -> None:
        site = self.site
        if self.path == _STATISTICS:
            self._send_statistics()
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers)
        fault = site._begin(request)
        try:
            if site.latency:
                time.sleep(site.latency)
        finally:
            site._end()  # before the client can know, and come back
        if fault is not None and fault.kind in {"reset", "stall"}:
            self._break_off(fault)
        else:
            self._serve(request, fault)

    def _serve(self, request: Request, fault: Fault | None) -> None:
        site = self.site
        if self.path in site.redirects:
            self.send_response_only(302)
            self.send_header("Location", site.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            request.status = 302
            return
        file = site.files.get(unquote(urlsplit(self.path).path))
        refused = site.check(request) if site.check else None
        if refused is None and file is None:
            refused = 404
        if fault is not None and fault.kind == "status":
            refused = fault.status
        if refused is None and request.method == "HEAD" and not site.heads:
            refused = 403
        expected = request.headers.get("if-match")
        if file and expected and site.conditions and refused is None:
            # A weak tag matches nothing here (RFC 9110, 13.1.1).
            is_met = expected == file.etag and not expected.startswith("W/")
            refused = None if is_met else 412
        if refused is not None or file is None:
            self._refuse(request, refused or 404, fault)
            return
        size = file.nbytes
        asked = site.ranges and _range_of(request.headers.get("range", ""), size)
        start, stop = asked or (0, size)
        if asked and start >= size:
            self._refuse(request, 416, fault)
            return
        if asked and fault is not None and fault.kind == "shifted":
            start, stop = start + 1, stop + 1
        status = 206 if asked else 200
        self.send_response_only(status)
        if site.tells_size or asked:
            self.send_header("Content-Length", str(stop - start))
        else:
            self.send_header("Connection", "close")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Accept-Ranges", "bytes" if site.ranges else "none")
        if fault is not None and fault.kind == "packed":
            self.send_header("Content-Encoding", "gzip")
        if file.etag:
            self.send_header("ETag", file.etag)
        if file.last_modified is not None:
            modified = formatdate(file.last_modified, usegmt=True)
            self.send_header("Last-Modified", modified)
        self.end_headers()
        request.range, request.status = asked or None, status
        if request.method == "HEAD":
            return
        if fault is not None and fault.kind == "short":
            stop = start + (stop - start) // 2
            self.close_connection = True
        request.nbytes = stop - start
        if isinstance(file.content, Path):
            self.wfile.flush()
            with file.content.open("rb") as opened:
                self.connection.sendfile(opened, start, stop - start)
        else:
            self.wfile.write(memoryview(file.content)[start:stop])

    def _refuse(self, request: Request, status: int, fault: Fault | None) -> None:
        body = b"" if request.method == "HEAD" else b"no"
        request.status, request.nbytes = status, len(body)
        self.send_response_only(status)
        for name, value in (fault.headers if fault else {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _break_off(self, fault: Fault) -> None:
        if fault.kind == "stall":
            self.site._stopped.wait(60)
        # Without lingering the system sends a reset.
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()

    def _send_statistics(self) -> None:
        site = self.site
        body = f"{site.n_requests} {site.nbytes} {site.max_concurrent}".encode()
        site.reset()
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _range_of(header: str, size: int) -> tuple[int, int] | None:
    """First byte and one past the last of a ``Range`` header, None if there is none."""
    found = _RANGE.fullmatch(header)
    if not found or found[0] == "bytes=-":
        return None
    if not found[1]:
        return max(size - int(found[2]), 0), size
    stop = int(found[2]) + 1 if found[2] else size
    return int(found[1]), min(stop, size)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--latency", type=float, default=0.0)
    args = parser.parse_args()
    files = {f"/{path.name}": path for path in args.files}
    with HttpServer(files, latency=args.latency) as server:
        print(server.url(), flush=True)  # noqa: T201
        threading.Event().wait()


if __name__ == "__main__":
    _main()
