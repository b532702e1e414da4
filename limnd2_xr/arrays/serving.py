"""Files as OME-Zarr over HTTP, for viewers that run in a browser."""

from __future__ import annotations

import re
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlsplit

from limnd2_xr.errors import Nd2Error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from limnd2_xr.arrays.zarr_store import Nd2ZarrStore

__all__ = ["ZarrServer"]

_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)


class ZarrServer:
    """Serves zarr stores over HTTP, with ranges and the headers that browsers ask for.

    Parameters
    ----------
    stores
        By name: the first part of the path of their URLs, e.g. ``cells.zarr``.
    host
        Address to listen at, of IPv6 where it has colons; others than ``127.0.0.1`` and
        ``::1`` let other machines in.
    port
        Port to listen at; 0 takes a free one.
    origin
        Web sites that may read, for CORS; ``*`` means all.

    Examples
    --------
    >>> from urllib.request import urlopen
    >>> from limnd2_xr.arrays.zarr_store import zarr_store
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec, build
    >>> with zarr_store(build(SyntheticSpec()).data) as store:
    ...     with ZarrServer({"cells.zarr": store}) as server:
    ...         with urlopen(server.urls["cells.zarr"] + "/zarr.json") as answer:
    ...             print(answer.status, answer.headers["Content-Type"])
    200 application/json
    """

    def __init__(
        self,
        stores: Mapping[str, Nd2ZarrStore],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        origin: str = "*",
    ) -> None:
        bound = {"stores": dict(stores), "origin": origin}
        handler = type("_BoundHandler", (_Handler,), bound)
        is_v6 = ":" in host
        self._server = (_Server6 if is_v6 else _Server)((host, port), handler)
        self._thread: threading.Thread | None = None
        # At all addresses: nobody can connect to that one, but to each of them.
        shown = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        shown = f"[{shown}]" if is_v6 else shown
        self.port: int = self._server.server_address[1]
        """Where it listens."""
        place = f"http://{shown}:{self.port}"
        self.urls: dict[str, str] = {name: f"{place}/{quote(name)}" for name in stores}
        """URL of each store as this machine finds it, without a slash at its end."""

    def serve_forever(self) -> None:
        """Serve in this thread, until it is interrupted."""
        self._server.serve_forever()

    def close(self) -> None:
        """Stop serving; stores stay open."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    """Answers for the stores of one server."""

    stores: Mapping[str, Nd2ZarrStore]
    origin: str
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """Send a value or a part of it."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Send what is known of a value without reading it."""
        self._answer(with_body=False)

    def do_OPTIONS(self) -> None:
        """Tell a browser what a web site may ask for."""
        self._send(HTTPStatus.NO_CONTENT, {})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def _answer(self, *, with_body: bool) -> None:
        name, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        store = self.stores.get(name)
        try:
            size = None if store is None else store.getsize_sync(key)
            if store is None or size is None:
                self._send(HTTPStatus.NOT_FOUND, {"Content-Length": "0"})
                return
            span = _asked_for(self.headers.get("Range"), size)
            headers = {
                "Content-Type": "application/json"
                if key.endswith(".json")
                else "application/octet-stream",
                "Accept-Ranges": "bytes",
            }
            if span is not None and span[0] >= span[1]:
                headers |= {"Content-Range": f"bytes */{size}", "Content-Length": "0"}
                self._send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers)
                return
            start, stop = span or (0, size)
            headers["Content-Length"] = str(stop - start)
            status = HTTPStatus.OK
            if span is not None:
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
                status = HTTPStatus.PARTIAL_CONTENT
            body = store.get_sync(key) if with_body else None
        except (Nd2Error, OSError) as error:
            text = str(error).encode()
            headers = {"Content-Type": "text/plain; charset=utf-8"}
            headers["Content-Length"] = str(len(text))
            failed = HTTPStatus.INTERNAL_SERVER_ERROR
            self._send(failed, headers, text if with_body else None)
            return
        self._send(status, headers, body and body.as_numpy_array()[start:stop])

    def _send(
        self, status: HTTPStatus, headers: dict[str, str], body: Any = None
    ) -> None:
        headers |= {
            "Access-Control-Allow-Origin": self.origin,
            "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
            "Access-Control-Allow-Headers": "*",
            "Access-Control-Allow-Private-Network": "true",
            "Access-Control-Expose-Headers": "Content-Length, Content-Range",
        }
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if body is not None:
                self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # whoever asked went away


def _asked_for(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one behind the last that a header asks for; None for all."""
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match[0] == "bytes=-":
        return None
    if not match[1]:
        return max(0, size - int(match[2])), size
    stop = int(match[2]) + 1 if match[2] else size
    return min(int(match[1]), size), min(stop, size)
