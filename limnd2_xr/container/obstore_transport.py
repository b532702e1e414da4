"""Requests through obstore, where it is installed and understands what is asked for.

It makes requests outside of Python, which takes about half the processor time (decision
0011). It is used for HTTP(S) and S3 only where that makes no other difference: what needs an
option, a credential or a kind of URL that is not known here goes through fsspec.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from limnd2_xr.container.transport import (
    Begun,
    Version,
    checked_length,
    is_strong,
    version_of_time,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ObstoreTransport", "obstore_transport"]

_REQUESTS = 32
_PLAIN_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~\-]+)+")
"""Paths that are the same however they are encoded."""
_TIMEOUTS = {"connect_timeout": "10s", "read_timeout": "60s", "timeout": "3600s"}
_S3_OPTIONS = frozenset(
    {"anon", "key", "secret", "token", "endpoint_url", "client_kwargs"}
)
_CLIENT_OPTIONS = frozenset({"endpoint_url", "region_name"})
_SWITCH = "LIMND2_XR_TRANSPORT"

_first_user = 0
"""Process in which obstore was used first: its threads do not survive a fork."""


def obstore_transport(url: str, options: Mapping[str, Any]) -> ObstoreTransport | None:
    """Return the transport for a URL, None where fsspec has to do it.

    Parameters
    ----------
    url
        As fsspec takes it.
    options
        As fsspec takes them.
    """
    global _first_user  # noqa: PLW0603
    place = _place_of(url, options)
    if place is None or os.environ.get(_SWITCH) == "fsspec" or not find_spec("obstore"):
        return None
    if _first_user not in {0, os.getpid()}:
        return None
    _first_user = os.getpid()
    return ObstoreTransport(_store(*place[:-1]), place[-1])


class ObstoreTransport:
    """A file of an obstore store: each request names the ETag that was found first.

    Parameters
    ----------
    store
        An obstore store; it makes each request once.
    path
        Of the file in it.
    """

    requests = _REQUESTS
    retries_itself = False

    def __init__(self, store: Any, path: str) -> None:
        self._store = store
        self._path = path
        self._version: Version | None = None

    def begin(self, nbytes: int) -> Begun:
        """Ask for the beginning of the file, which tells its size."""
        try:
            answer = self._get(0, nbytes)
        except Exception as error:
            if "error sending request" in str(error):
                # No connection: fsspec may know a way, and says better what is wrong.
                raise NotImplementedError("not reached through obstore") from error
            raise
        size, version = _described(answer.meta)
        etag = version if answer.meta.get("e_tag") and is_strong(version) else None
        head = bytes(answer.bytes())
        self._version = Version(size, version, etag)
        return Begun(size, version, head)

    def fetch(self, offset: int, nbytes: int) -> bytes | memoryview:
        """Ask for a range."""
        answer = self._get(offset, offset + nbytes)
        if self._version is not None:
            self._version.check(*_described(answer.meta))
        return checked_length(memoryview(answer.bytes()), nbytes)

    def _get(self, start: int, stop: int) -> Any:
        import obstore

        options: dict[str, Any] = {"range": (start, stop)}
        if self._version is not None and self._version.etag:
            options["if_match"] = self._version.etag
        return obstore.get(self._store, self._path, options=options)


def _described(meta: Mapping[str, Any]) -> tuple[int, str | None]:
    """Size and version of a file, as other transports word it."""
    version = meta.get("e_tag") or version_of_time(meta["last_modified"].timestamp())
    return int(meta["size"]), version


_Place = tuple[str, str, tuple[tuple[str, Any], ...], str]
"""Kind of store, its address, its options, and the path in it."""


def _place_of(url: str, options: Mapping[str, Any]) -> _Place | None:
    if "::" in url:
        return None
    scheme = url.partition("://")[0].lower()
    if scheme in {"http", "https"}:
        return _http_place(url, options)
    if scheme in {"s3", "s3a"}:
        return _s3_place(url, options)
    return None


def _http_place(url: str, options: Mapping[str, Any]) -> _Place | None:
    """Understand a URL without user and password, and headers."""
    parts = urlsplit(url)
    headers = options.get("headers", {})
    if (
        options.keys() - {"headers"}
        or "@" in parts.netloc
        or parts.fragment
        or not all(
            isinstance(name, str) and isinstance(value, str)
            for name, value in headers.items()
        )
    ):
        return None
    chosen = tuple(sorted(headers.items()))
    if _PLAIN_PATH.fullmatch(parts.path) and not parts.query:
        address = f"{parts.scheme}://{parts.netloc}"
        return "http", address, chosen, parts.path[1:]
    return "http", url, chosen, ""  # as it is: no path to be encoded once more


def _s3_place(url: str, options: Mapping[str, Any]) -> _Place | None:
    """Understand a key of a bucket, with credentials that are given or in the environment.

    Everything else that botocore knows (profiles, roles, ...) is left to it.
    """
    bucket, _, key = url.partition("://")[2].partition("/")
    client = options.get("client_kwargs") or {}
    if (
        options.keys() - _S3_OPTIONS
        or client.keys() - _CLIENT_OPTIONS
        or not bucket
        or not _PLAIN_PATH.fullmatch("/" + key)
    ):
        return None
    environment = os.environ
    endpoint = options.get("endpoint_url") or client.get("endpoint_url")
    endpoint = endpoint or environment.get("AWS_ENDPOINT_URL_S3")
    endpoint = endpoint or environment.get("AWS_ENDPOINT_URL")
    region = client.get("region_name") or environment.get("AWS_DEFAULT_REGION")
    region = region or ("us-east-1" if endpoint else None)
    if region is None:
        return None  # botocore finds out
    config: dict[str, Any] = {"region": region}
    if endpoint:
        config["endpoint"] = str(endpoint).rstrip("/")
    if options.get("anon"):
        config["skip_signature"] = True
    elif credentials := _s3_credentials(options):
        config |= credentials
    else:
        return None
    return "s3", bucket, tuple(sorted(config.items())), key


def _s3_credentials(options: Mapping[str, Any]) -> dict[str, Any] | None:
    key, secret, token = (options.get(name) for name in ("key", "secret", "token"))
    if not key and not secret and "AWS_PROFILE" not in os.environ:
        key = os.environ.get("AWS_ACCESS_KEY_ID")
        secret = os.environ.get("AWS_SECRET_ACCESS_KEY")
        token = token or os.environ.get("AWS_SESSION_TOKEN")
    if not key or not secret:
        return None
    found = {"access_key_id": key, "secret_access_key": secret}
    return {**found, "session_token": token} if token else found


@lru_cache(maxsize=64)
def _store(kind: str, address: str, options: tuple[tuple[str, Any], ...]) -> Any:
    """Return a store, which keeps its connections; the same for files of one server."""
    from obstore.store import HTTPStore, S3Store

    once = {"max_retries": 0}
    client: dict[str, Any] = {"allow_http": True, **_TIMEOUTS}
    if kind == "http":
        client["default_headers"] = dict(options)
        return HTTPStore.from_url(address, client_options=client, retry_config=once)
    return S3Store(address, client_options=client, retry_config=once, **dict(options))
