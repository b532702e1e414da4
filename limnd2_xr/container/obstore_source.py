"""Byte source over obstore, for the URLs that it reads as fsspec would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limnd2_xr.container.obstore_transport import obstore_transport
from limnd2_xr.container.redaction import Secrets
from limnd2_xr.container.remote_source import RemoteSource
from limnd2_xr.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from limnd2_xr.container.retrying import Retries

__all__ = ["ObstoreSource"]


class ObstoreSource(RemoteSource):
    """A file on HTTP(S) or S3, read through obstore. Made by `maybe`."""

    __slots__ = ()

    @classmethod
    def maybe(
        cls,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        retries: Retries | None = None,
    ) -> Self | None:
        """Open a URL if obstore is installed and can do it; else None.

        Parameters
        ----------
        url, storage_options
            As fsspec takes them.
        retries
            How often what fails for a moment is tried again.

        Raises
        ------
        RemoteError
            The server goes on failing.
        """
        options = storage_options or {}
        transport = obstore_transport(url, options)
        if transport is None:
            return None
        try:
            return cls(transport, url, Secrets.of(url, options), retries)
        except RemoteError as error:
            if error.reason.startswith("HTTP status 5"):
                raise
        except FileNotFoundError:
            pass
        # Whatever else there was: fsspec may know better, or at least say what it is.
        return None
