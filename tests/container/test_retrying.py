"""When to try again, for how long, and what errors of many libraries mean."""

from __future__ import annotations

import pickle
import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.container import http_transport
from limnd2_xr.container.redaction import Secrets
from limnd2_xr.container.remote_failure import (
    HttpStatus,
    ShortBody,
    TransportFailure,
    presentable,
    status_of,
    verdict_of,
)
from limnd2_xr.container.retrying import Retries
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.errors import RemoteError
from limnd2_xr.testing.http_server import Fault, HttpServer


class Clock:
    """Time that passes only while one sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


def failures(policy: Retries, error: Exception) -> int:
    """How often work is tried that never succeeds."""
    calls = 0

    def work() -> None:
        nonlocal calls
        calls += 1
        raise error

    with pytest.raises(type(error)):
        policy.call(work, lambda one: verdict_of(one) == "transient")
    return calls


@given(
    attempts=st.integers(1, 12),
    longest=st.floats(0.1, 30),
    total=st.floats(0.1, 100),
    jitter=st.floats(0, 1),
)
def test_number_and_time_are_bounded(
    attempts: int, longest: float, total: float, jitter: float
) -> None:
    clock = Clock()
    policy = Retries(
        attempts=attempts,
        longest_pause=longest,
        total=total,
        sleep=clock.sleep,
        clock=lambda: clock.now,
        jitter=lambda: jitter,
    )
    assert failures(policy, ConnectionError()) == len(clock.pauses) + 1 <= attempts
    assert clock.now <= total
    doubled = [min(0.1 * 2**i, longest) for i in range(attempts)]
    for pause, most in zip(clock.pauses, doubled, strict=False):
        assert most / 2 <= pause <= most
    assert failures(policy, PermissionError()) == 1


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (HttpStatus(503, "", {}), "transient"),
        (HttpStatus(429, "", {}), "transient"),
        (HttpStatus(408, "", {}), "transient"),
        (HttpStatus(501, "", {}), "final"),
        (HttpStatus(403, "", {}), "final"),
        (HttpStatus(404, "", {}), "missing"),
        (HttpStatus(412, "", {}), "changed"),
        (ShortBody(), "short"),
        (TimeoutError(), "transient"),
        (ConnectionResetError(), "transient"),
        (FileNotFoundError(), "missing"),
        (PermissionError(), "final"),
        (ssl.SSLCertVerificationError(), "final"),
        (ValueError("whatever"), "final"),
        (OSError("Forbidden: https://storage.googleapis.com/..."), "final"),
    ],
)
def test_what_errors_mean(error: Exception, verdict: str) -> None:
    assert verdict_of(error) == verdict


def library_errors() -> list[Any]:
    aiohttp = pytest.importorskip("aiohttp")
    exceptions = pytest.importorskip("botocore.exceptions")
    gcsfs = pytest.importorskip("gcsfs.retry")
    azure = pytest.importorskip("azure.core.exceptions")

    def client_error(status: int) -> Any:
        answer = {"Error": {}, "ResponseMetadata": {"HTTPStatusCode": status}}
        return exceptions.ClientError(answer, "GetObject")

    return [
        (aiohttp.ServerTimeoutError(), "transient"),
        (aiohttp.ServerDisconnectedError(), "transient"),
        (aiohttp.ClientPayloadError(), "short"),
        (aiohttp.InvalidURL("x"), "final"),
        (client_error(503), "transient"),
        (client_error(403), "final"),
        (client_error(412), "changed"),
        (exceptions.EndpointConnectionError(endpoint_url="x"), "transient"),
        (exceptions.ReadTimeoutError(endpoint_url="x"), "transient"),
        (exceptions.NoCredentialsError(), "final"),
        (exceptions.SSLError(endpoint_url="x", error="x"), "final"),
        (gcsfs.HttpError({"code": 503, "message": "x"}), "transient"),
        (gcsfs.HttpError({"code": "412", "message": "x"}), "changed"),
        (azure.ServiceResponseError("cut"), "transient"),
        (azure.ClientAuthenticationError("no"), "final"),
    ]


def test_what_errors_of_libraries_mean() -> None:
    found = [(str(error), verdict_of(error)) for error, _ in library_errors()]
    assert found == [(str(error), verdict) for error, verdict in library_errors()]


def test_a_status_may_be_of_the_cause() -> None:
    error = OSError("translated")
    error.__cause__ = HttpStatus(503, "", {})
    assert status_of(error) == 503
    assert verdict_of(error) == "transient"
    assert status_of(ValueError()) is None


def test_a_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request ends after some time without an answer, and is made again."""
    monkeypatch.setenv("LIMND2_XR_TRANSPORT", "direct")
    monkeypatch.setattr(http_transport, "_SILENCE_SECONDS", 0.2)
    with HttpServer({"/a.nd2": bytes(100_000)}) as server:
        with SourceSpec.of(server.url("/a.nd2")).open() as source:
            server.faults += [Fault("stall")]
            assert source.read_at(90_000, 5) == bytes(5)
        assert server.n_requests == 3


def test_errors_that_cannot_travel_are_told() -> None:
    class Odd(Exception):
        """Local, so it cannot be pickled."""

    told = presentable(Odd("why"), Secrets())
    assert isinstance(told, TransportFailure)
    assert "Odd: why" in str(told)
    error = HttpStatus(403, "Forbidden", {"X": "y"})
    assert presentable(error, Secrets()) is error
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.headers) == (str(error), error.headers)
    hidden = presentable(OSError("https://h/?sig=secret"), Secrets(("secret",)))
    assert "secret" not in str(hidden)
    assert isinstance(pickle.loads(pickle.dumps(RemoteError("x"))), RemoteError)
