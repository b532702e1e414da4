"""Byte source over any file that fsspec reaches: http, s3, gcs, azure, memory, zip, ..."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limnd2_xr.container.fsspec_transport import fsspec_transport
from limnd2_xr.container.http_transport import proxy_of
from limnd2_xr.container.redaction import Secrets, links_of
from limnd2_xr.container.remote_source import RemoteSource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from limnd2_xr.container.retrying import Retries

__all__ = ["FsspecSource"]


class FsspecSource(RemoteSource):
    """A remote file, read through fsspec.

    Parameters
    ----------
    url
        What `fsspec.open` takes, chained URLs included.
    storage_options
        Options for the file system (credentials, headers, ...).
    retries
        How often what fails for a moment is tried again.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        There is no such file.
    RemoteError
        It cannot be read, or the server does not support byte ranges and the file is
        larger than 64 MiB. Smaller files are sliced from what comes.
    Nd2Error
        The server does not tell the size of the file.

    Examples
    --------
    >>> import fsspec
    >>> fsspec.filesystem("memory").pipe_file("/docs/a.bin", b"abcdef")
    >>> with FsspecSource("memory://docs/a.bin") as source:
    ...     source.size, source.read_at(1, 3)
    (6, b'bcd')
    """

    __slots__ = ()

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        retries: Retries | None = None,
    ) -> None:
        import fsspec

        options = dict(storage_options or {})
        once = url.startswith(("s3://", "s3a://")) and _retries_are_ours(options)
        if once:
            # Or botocore would try again what is tried again here.
            config = options.get("config_kwargs") or {}
            options["config_kwargs"] = {"retries": {"total_max_attempts": 1}, **config}
        scheme = url.partition("://")[0].lower()
        is_web = scheme in {"http", "https"} and len(links_of(url)) == 1
        if is_web and "proxy" not in options and (proxy := proxy_of(url)):
            options["proxy"] = proxy  # aiohttp looks at no environment by itself
        if is_web:  # `url_to_fs` takes the address [::1] for a chain
            fs, path = fsspec.filesystem(scheme, **options), url
        else:
            fs, path = fsspec.core.url_to_fs(url, **options)
        transport = fsspec_transport(fs, path, retries_itself=not once)
        super().__init__(transport, url, Secrets.of(url, options), retries)

    @classmethod
    def from_filesystem(
        cls, fs: Any, path: str, name: str, retries: Retries | None = None
    ) -> Self:
        """Return a source over `path` of an fsspec file system that is there already.

        Parameters
        ----------
        fs
            An ``fsspec.AbstractFileSystem``.
        path
            The file's path in it, without protocol.
        name
            How to call it in messages.
        retries
            How often what fails for a moment is tried again.
        """
        source = cls.__new__(cls)
        secrets = Secrets.of(path, getattr(fs, "storage_options", None))
        RemoteSource.__init__(
            source, fsspec_transport(fs, path), name, secrets, retries
        )
        return source


def _retries_are_ours(options: Mapping[str, Any]) -> bool:
    return "retries" not in (options.get("config_kwargs") or {})
