"""`RemoteSource`: the bytes of a file behind a transport, read whatever the network does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from limnd2_xr.container.byte_source import BaseSource, FileStamp, scatter
from limnd2_xr.container.redaction import Secrets, redacted
from limnd2_xr.container.remote_failure import (
    Elsewhere,
    NoRanges,
    presentable,
    reason_of,
    verdict_of,
)
from limnd2_xr.container.retrying import RETRIES, Retries
from limnd2_xr.errors import Nd2Error, RemoteError, StaleFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from limnd2_xr.container.transport import BaseTransport

__all__ = ["GAP_NBYTES", "RemoteSource"]

T = TypeVar("T")

GAP_NBYTES = 1 << 20
"""What comes in the time that a request takes to be answered: 30 ms at 35 MB/s.

So much is read needlessly, at most, to save a request that others would wait for, as when
a file is opened. Where many requests run at once one more costs less; what reads frames
takes that into account.
"""
HEAD_NBYTES = 64 << 10


class RemoteSource(BaseSource):
    """A remote file, read range by range; nothing is cached but its first 64 KiB.

    Parameters
    ----------
    transport
        Makes the requests.
    name
        How to call the file in messages; credentials in it are hidden.
    secrets
        What must not be shown.
    retries
        How often what fails for a moment is tried again.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    RemoteError
        It cannot be read.
    """

    __slots__ = ("_head", "_retries", "_secrets", "_transport")

    def __init__(
        self,
        transport: BaseTransport,
        name: str,
        secrets: Secrets | None = None,
        retries: Retries | None = None,
    ) -> None:
        super().__init__(redacted(name), FileStamp(0), GAP_NBYTES, transport.requests)
        self._transport = transport
        self._secrets = secrets or Secrets()
        self._retries = retries or RETRIES
        begun = self._call(lambda: transport.begin(HEAD_NBYTES), None)
        self._head = begun.head
        self.stamp = FileStamp(begun.size, etag=begun.version)

    def _fetch(self, offset: int, nbytes: int) -> bytes:
        if offset + nbytes <= len(self._head):
            return self._head[offset : offset + nbytes]
        return bytes(self._call(lambda: self._transport.fetch(offset, nbytes), offset))

    def _fill(self, offset: int, views: list[memoryview], nbytes: int) -> None:
        if offset + nbytes <= len(self._head):
            scatter(memoryview(self._head)[offset : offset + nbytes], views)
        else:
            self._call(lambda: self._transport.fetch_into(offset, views), offset)

    def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of several (start, end) ranges, read at the same time."""
        if len(ranges) < 2 or self.requests < 2:
            return super().read_many(ranges)
        with ThreadPoolExecutor(min(len(ranges), self.requests)) as pool:
            read = [pool.submit(self.read_at, a, b - a) for a, b in ranges]
            return [one.result() for one in read]

    def _call(self, request: Callable[[], T], offset: int | None) -> T:
        """Make a request until it succeeds; turn its last error into one of ours."""
        try:
            return self._retries.call(request, self._may_help)
        except Elsewhere:
            raise
        except Nd2Error as error:
            raise error.located(path=self.name) from None
        except Exception as error:  # noqa: BLE001 - of any library
            failure = error
        # Not within the handler: the error would hold on to the one that it stands for.
        raise self._told(failure, offset) from presentable(failure, self._secrets)

    def _may_help(self, error: BaseException) -> bool:
        verdict = verdict_of(error)
        return verdict == "short" or (
            verdict == "transient" and not self._transport.retries_itself
        )

    def _told(self, error: Exception, offset: int | None) -> Exception:
        verdict = verdict_of(error)
        if offset is None:
            if verdict == "missing":
                return FileNotFoundError(self.name)
            if isinstance(error, IsADirectoryError):
                return IsADirectoryError(self.name)
        elif verdict in {"changed", "missing"}:
            what = "changed" if verdict == "changed" else "is gone"
            return StaleFile(
                f"the file {what} since it was opened; open it again",
                path=self.name,
                offset=offset,
            )
        reason = reason_of(error, self._secrets)
        if isinstance(error, NoRanges):
            reason = str(error)
        elif type(error).__name__ == "NoCredentialsError":  # botocore's
            reason = (
                "no credentials were found; give some in storage_options, or, if the "
                'bucket is public, storage_options={"anon": True}'
            )
        return RemoteError(reason, path=self.name, offset=offset)

    def _release(self) -> None:
        """Do nothing: connections belong to the transport's library, which shares them."""
