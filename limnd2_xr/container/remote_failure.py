"""What the errors of the many transports mean, and how they are shown."""

from __future__ import annotations

import pickle
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limnd2_xr.container.redaction import Secrets

__all__ = [
    "Changed",
    "Elsewhere",
    "Encoded",
    "HttpStatus",
    "NoRanges",
    "ShortBody",
    "TransportFailure",
    "Verdict",
    "asked_delay",
    "presentable",
    "reason_of",
    "status_of",
    "verdict_of",
]

Verdict: TypeAlias = Literal["transient", "short", "changed", "missing", "final"]
"""What to do about an error: try again, or tell what it says about the file.

``"short"`` is transient, too, but nobody below this package tries again.
"""

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 509, 529})
_CHANGED = frozenset({412, 416})
_MISSING = frozenset({404, 410})
_STATUS_IN_WORDS = re.compile(r"status code: (\d{3})")
_NETWORK_LIBRARIES = (
    "aiohttp",
    "botocore",
    "aiobotocore",
    "requests",
    "urllib3",
    "azure",
)
_CUT = {"ClientPayloadError", "IncompleteReadError", "ResponseStreamingError"}
_UNKNOWN_HOST = ("DNSError", "InvalidURL", "NonHttpUrl", "CertificateError", "SSLError")


class ShortBody(OSError):
    """An answer had fewer bytes, or more, than were asked for."""


class Changed(OSError):
    """An answer was about another version of the file."""


class NoRanges(OSError):
    """The server sends the whole file whatever is asked for."""


class Encoded(NoRanges):
    """The server sends the file compressed."""


class Elsewhere(Exception):
    """A transport cannot do what is asked; another one may."""


class HttpStatus(OSError):
    """A web server refused."""

    def __init__(self, status: int, reason: str, headers: dict[str, str]) -> None:
        super().__init__(status, reason, headers)
        self.status = status
        self.message = reason
        self.headers = headers

    def __str__(self) -> str:
        return f"HTTP status {self.status} {self.message}"


class TransportFailure(Exception):
    """What can be told of an error that shows credentials, or cannot leave its process."""


def verdict_of(error: BaseException) -> Verdict:
    """Say what an error of any transport means.

    Timeouts, resets and the statuses 408, 425, 429 and 5xx (but 501 and 505) are
    transient; that a name, certificate or URL is wrong, or access denied, is final.
    """
    if isinstance(error, ShortBody) or type(error).__name__ in _CUT:
        return "short"
    if isinstance(error, Changed):
        return "changed"
    status = status_of(error)
    if status is not None:
        if status in _TRANSIENT:
            return "transient"
        if status in _CHANGED:
            return "changed"
        return "missing" if status in _MISSING else "final"
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, PermissionError | NoRanges | Elsewhere):
        return "final"
    if isinstance(error, TimeoutError | ConnectionError):
        return "transient"
    return _verdict_by_name(error)


def _verdict_by_name(error: BaseException) -> Verdict:
    """Judge errors of libraries that may not be installed."""
    kind = type(error)
    library = kind.__module__.partition(".")[0]
    if library == "obstore":
        if kind.__name__ == "PreconditionError":
            return "changed"
        return "transient" if kind.__name__ == "GenericError" else "final"
    names = {base.__name__ for base in kind.__mro__}
    if library not in _NETWORK_LIBRARIES or any(
        unknown in name for name in names for unknown in _UNKNOWN_HOST
    ):
        return "final"
    if library in {"botocore", "aiobotocore"}:
        transient = {
            "HTTPClientError",
            "EndpointConnectionError",
            "ResponseStreamingError",
        }
        return "transient" if names & transient else "final"
    transient = {"ClientConnectionError", "ClientOSError", "RequestException"}
    transient |= {"ServiceRequestError", "ServiceResponseError", "HTTPError"}
    return "transient" if names & transient else "final"


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an error is about, None if it is about something else."""
    for one in _chain(error):
        if type(one).__module__ == "aiohttp.http_exceptions":
            continue  # says 400 of an answer that it cannot parse
        for name in ("status", "status_code", "code"):
            status = getattr(one, name, None)
            if isinstance(status, str) and status.isdigit():
                status = int(status)
            if isinstance(status, int) and 400 <= status < 600:
                return status
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if isinstance(status, int) and 400 <= status < 600:
                return status
        if type(one).__module__.startswith(("obstore", "builtins")):
            found = _STATUS_IN_WORDS.search(str(one))
            if found:
                return int(found[1])
    return None


def asked_delay(error: BaseException) -> float | None:
    """Return for how many seconds the server asked to be left alone, None if it did not."""
    for one in _chain(error):
        headers: Any = getattr(one, "headers", None)
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            headers = response.get("ResponseMetadata", {}).get("HTTPHeaders")
        if not hasattr(headers, "get"):
            continue
        text = str(headers.get("Retry-After") or headers.get("retry-after") or "")
        if text.isdecimal():
            return float(text)
    return None


def reason_of(error: BaseException, secrets: Secrets) -> str:
    """Say what went wrong, in one line and without secrets."""
    status = status_of(error)
    if status is not None:
        try:
            return f"HTTP status {status} {HTTPStatus(status).phrase}"
        except ValueError:
            return f"HTTP status {status}"
    told = str(error).partition("\n\nDebug source")[0]  # obstore's, for programmers
    return secrets.scrub(" ".join(told.split())) or type(error).__name__


def presentable(error: BaseException, secrets: Secrets) -> BaseException:
    """Return the error, or what can be told of it where it would show secrets.

    So it is where it cannot be pickled: errors travel from the workers of a cluster with
    what caused them.
    """
    if _can_travel(error) and not any(
        secrets.are_in(f"{one!r} {one}") for one in _chain(error)
    ):
        return error
    words = secrets.scrub(str(error))
    return TransportFailure(f"{type(error).__module__}.{type(error).__name__}: {words}")


def _can_travel(error: BaseException) -> bool:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - of our own making
    except Exception:  # noqa: BLE001 - whatever the error's own methods raise
        return False
    return True


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
