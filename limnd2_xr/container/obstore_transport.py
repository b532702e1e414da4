"""Requests to S3 through obstore, where it is installed and understands what is asked for.

It signs and makes requests outside of Python, at a small part of the processor time of s3fs
(decision 0011). It is used only where that makes no other difference: what needs an option, a
credential or a kind of URL that is not known here goes through s3fs.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from limnd2_xr.container.remote_failure import Elsewhere, verdict_of
from limnd2_xr.container.transport import (
    BaseTransport,
    Begun,
    Version,
    checked_length,
    is_strong,
    version_of_time,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ObstoreTransport", "obstore_transport"]

_PLAIN_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~\-]+)+")
"""Paths that are the same however they are encoded."""
_TIMEOUTS = {"connect_timeout": "10s", "read_timeout": "20s", "timeout": "3600s"}
_S3_OPTIONS = frozenset(
    {"anon", "key", "secret", "token", "endpoint_url", "client_kwargs"}
)
_CLIENT_OPTIONS = frozenset({"endpoint_url", "region_name"})

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
    scheme = url.partition("://")[0].lower()
    place = _place_of(url, options) if scheme in {"s3", "s3a"} else None
    if place is None or not find_spec("obstore"):
        return None
    if _first_user not in {0, os.getpid()}:
        return None
    _first_user = os.getpid()
    return ObstoreTransport(_store(*place[:-1]), place[-1])


class ObstoreTransport(BaseTransport):
    """A file of an obstore store: each request names the ETag that was found first.

    Parameters
    ----------
    store
        An obstore store; it makes each request once.
    path
        Of the file in it.
    """

    def __init__(self, store: Any, path: str) -> None:
        self._store = store
        self._path = path
        self._version: Version | None = None

    def begin(self, nbytes: int) -> Begun:
        """Ask for the beginning of the file, which tells its size.

        Raises
        ------
        Elsewhere
            The request is refused, or there is no connection: botocore may know a way.
        """
        try:
            answer = self._get(0, nbytes)
        except Exception as error:
            is_refused = verdict_of(error) not in {"transient", "short"}
            if is_refused or "error sending request" in str(error):
                raise Elsewhere("not to be had through obstore") from error
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

        if os.getpid() != _first_user:
            raise Elsewhere("obstore does not work in a forked process")
        options: Any = {"range": (start, stop)}
        if self._version is not None and self._version.etag:
            options["if_match"] = self._version.etag
        return obstore.get(self._store, self._path, options=options)


def _described(meta: Mapping[str, Any]) -> tuple[int, str | None]:
    """Size and version of a file, as other transports word it."""
    version = meta.get("e_tag") or version_of_time(meta["last_modified"].timestamp())
    return int(meta["size"]), version


_Place = tuple[str, tuple[tuple[str, Any], ...], str]
"""Bucket, options of its store, and the key in it."""


def _place_of(url: str, options: Mapping[str, Any]) -> _Place | None:
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
    elif credentials := _credentials(options):
        config |= credentials
    else:
        return None
    return bucket, tuple(sorted(config.items())), key


def _credentials(options: Mapping[str, Any]) -> dict[str, Any] | None:
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
def _store(bucket: str, options: tuple[tuple[str, Any], ...]) -> Any:
    """Return a store, which keeps its connections; the same for files of one bucket."""
    from obstore.store import S3Store

    client: Any = {"allow_http": True, **_TIMEOUTS}
    return S3Store(
        bucket,
        client_options=client,
        retry_config={"max_retries": 0},
        **dict(options),
    )
