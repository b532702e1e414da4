"""Byte source that goes past fsspec where that is faster and makes no other difference."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

from limnd2_xr.container.fsspec_source import FsspecSource
from limnd2_xr.container.http_transport import http_transport
from limnd2_xr.container.obstore_transport import obstore_transport
from limnd2_xr.container.redaction import Secrets
from limnd2_xr.container.remote_failure import Elsewhere
from limnd2_xr.container.remote_source import RemoteSource
from limnd2_xr.errors import StaleFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

    from limnd2_xr.container.retrying import Retries

__all__ = ["DirectSource"]

T = TypeVar("T")

_SWITCH = "LIMND2_XR_TRANSPORT"
"""Environment variable: ``fsspec`` has everything go through that."""


class DirectSource(RemoteSource):
    """A file on HTTP(S), or on S3 where obstore is installed. Made by `maybe`."""

    __slots__ = ("_options", "_url")

    _url: str
    _options: Mapping[str, Any]

    @classmethod
    def maybe(
        cls,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        retries: Retries | None = None,
    ) -> Self | None:
        """Open a URL; return None if that is better left to fsspec.

        Parameters
        ----------
        url, storage_options
            As fsspec takes them.
        retries
            How often what fails for a moment is tried again.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        RemoteError
            The server refuses, or goes on failing.
        """
        options = storage_options or {}
        if os.environ.get(_SWITCH) == "fsspec":
            return None
        transport = http_transport(url, options) or obstore_transport(url, options)
        if transport is None:
            return None
        try:
            source = cls(transport, url, Secrets.of(url, options), retries)
        except Elsewhere:
            return None
        source._url, source._options = url, options
        return source

    def _call(self, request: Callable[[], T], offset: int | None) -> T:
        try:
            return super()._call(request, offset)
        except Elsewhere:
            if offset is None:
                raise
        # The process was forked since the file was opened, or the file has moved.
        with FsspecSource(self._url, self._options, self._retries) as other:
            if other.stamp != self.stamp:
                raise StaleFile("the file changed since it was opened", path=self.name)
            self._transport = other._transport
        return super()._call(request, offset)
