"""HTTP, through fsspec and past it: few requests, tried again, of one version of the file."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import pickle
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from limnd2_xr.container import fsspec_transport
from limnd2_xr.container import http_transport as http_transport_module
from limnd2_xr.container.direct_source import DirectSource
from limnd2_xr.container.http_transport import http_transport
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.errors import Nd2Error, RemoteError, StaleFile
from limnd2_xr.testing.counting import count_reads
from limnd2_xr.testing.http_server import Fault, HttpServer, ServedFile

if TYPE_CHECKING:
    from pathlib import Path

FAR = 200_000
"""Behind what came along when the file was opened."""
SECRET = "AKIA0secret9"  # noqa: S105


def spec_of(site: HttpServer, path: str = "/a.nd2", **options: Any) -> SourceSpec:
    return SourceSpec.of(site.url(path), options)


def test_opening_takes_one_request(
    site: HttpServer, transport: str, content: bytes
) -> None:
    with spec_of(site).open() as source:
        assert isinstance(source, DirectSource) == (transport == "direct")
        assert (source.size, source.requests) == (len(content), 32)
        assert source.stamp.etag == site.files["/a.nd2"].etag
        assert source.read_at(100, 50) == content[100:150]
    (request,) = site.requests
    assert request.headers["user-agent"]
    assert (request.method, request.range) == ("GET", (0, 65536))


def test_one_request_a_read(site: HttpServer, transport: str, content: bytes) -> None:
    with spec_of(site).open() as source:
        site.reset()
        with count_reads() as counter:
            source.read_at(FAR, 50)
            source.read_into(FAR + 7, [bytearray(3), bytearray(4)])
        assert [r.range for r in site.requests] == [
            (FAR, FAR + 50),
            (FAR + 7, FAR + 14),
        ]
        assert counter.ranges == [(FAR, 50), (FAR + 7, 7)]
        frame = np.zeros((5, 7), np.uint16)
        source.read_into(FAR, [frame])
        assert frame.tobytes() == content[FAR : FAR + 70]
        asked = {request.headers.get("if-match") for request in site.requests}
        assert asked == {site.files["/a.nd2"].etag}


def test_several_reads_at_the_same_time(
    site: HttpServer, transport: str, content: bytes
) -> None:
    ranges = [(FAR + 1000 * i, FAR + 1000 * i + 10) for i in range(8)]
    with spec_of(site).open() as source:
        site.latency = 0.05
        assert source.read_many(ranges) == [content[a:b] for a, b in ranges]
    assert site.max_concurrent >= 2


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_another_host_by_its_number(host: str, transport: str, content: bytes) -> None:
    try:
        server = HttpServer({"/a.nd2": content}, host=host)
    except OSError:
        pytest.skip("no IPv6 here")
    with server:
        url = server.url("/a.nd2?sig=" + SECRET)
        with SourceSpec.of(url).open() as source:
            assert SECRET not in source.name
            assert isinstance(source, DirectSource) == (transport == "direct")
            assert source.read_at(FAR, 50) == content[FAR : FAR + 50]


def test_certificates(
    transport: str,
    content: bytes,
    pauses: list[float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are checked, against other authorities where ``SSL_CERT_FILE`` says so."""
    names = certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*names)
    http_transport_module._trust.cache_clear()
    with HttpServer({"/a.nd2": content}, tls=tls) as server:
        spec = SourceSpec.of(server.url("/a.nd2"))
        with pytest.raises(RemoteError, match="certificate verify failed"):
            spec.open()
        assert pauses == []
        if transport == "direct":  # aiohttp looks once, when it is imported
            monkeypatch.setenv("SSL_CERT_FILE", str(names[0]))
            http_transport_module._trust.cache_clear()
            for _ in range(2):
                with spec.open() as source:
                    assert isinstance(source, DirectSource)
                    assert source.read_at(FAR, 50) == content[FAR : FAR + 50]
            assert server.n_connections <= 3
    http_transport_module._trust.cache_clear()


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine by itself, and its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    begin = datetime.now(UTC) - timedelta(days=1)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "cert.pem", folder / "key.pem"
    pem = serialization.Encoding.PEM
    certificate.write_bytes(made.public_bytes(pem))
    secret.write_bytes(
        key.private_bytes(
            pem,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, secret


def test_a_proxy_of_the_environment_is_used(
    site: HttpServer, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "http://files.invalid/a.nd2"
    proxy = site.url().replace("://", f"://me:{SECRET}@")
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "127.0.0.1,.lab")
    with SourceSpec.of(url).open() as source:
        assert source.read_at(FAR, 50) == content[FAR : FAR + 50]
        assert {request.path for request in site.requests} == {url}
        site.faults += [Fault("status", 403)]
        with pytest.raises(RemoteError) as caught:
            source.read_at(FAR, 50)
    assert not [text for text in texts_of(caught.value) if SECRET in text]
    assert http_transport("http://nas.lab/a.nd2", {}) is not None
    site.reset()
    spec_of(site).open().close()
    assert [request.path for request in site.requests] == ["/a.nd2"]


FAULTS = {
    "500": Fault("status", 500),
    "503": Fault("status", 503),
    "429": Fault("status", 429),
    "reset": Fault("reset"),
    "short": Fault("short"),
    "shifted": Fault("shifted"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_fails_for_a_moment_is_tried_again(
    site: HttpServer, transport: str, pauses: list[float], name: str, content: bytes
) -> None:
    with spec_of(site).open() as source:
        site.reset()
        site.faults += [FAULTS[name], FAULTS[name]]
        assert source.read_at(FAR, 5000) == content[FAR : FAR + 5000]
    # aiohttp itself makes a request again on another connection once one was closed.
    assert site.n_requests >= 3
    assert pauses in ([0.1, 0.2], [0.1], [])
    assert name == "reset" or pauses == [0.1, 0.2]


def test_a_file_is_opened_in_spite_of_faults(
    site: HttpServer, transport: str, pauses: list[float], content: bytes
) -> None:
    site.faults += [FAULTS["503"], FAULTS["short"], FAULTS["500"]]
    with spec_of(site).open() as source:
        assert source.size == len(content)
    assert pauses == [0.1, 0.2, 0.4]


@pytest.mark.parametrize("name", FAULTS)
def test_what_goes_on_failing_is_an_error(
    site: HttpServer, transport: str, pauses: list[float], name: str
) -> None:
    with spec_of(site).open() as source:
        site.faults += [FAULTS[name]] * 40
        with pytest.raises(RemoteError) as caught:
            source.read_at(FAR, 5000)
    assert len(pauses) == 5
    assert (caught.value.path, caught.value.offset) == (site.url("/a.nd2"), FAR)
    assert caught.value.__cause__ is not None
    assert str(caught.value).startswith(f"{site.url('/a.nd2')}: at offset {FAR}: ")
    if name.isdigit():
        assert f"HTTP status {name} " in caught.value.reason
    assert isinstance(caught.value, OSError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 405, 501])
def test_what_is_refused_is_not_tried_again(
    site: HttpServer, transport: str, pauses: list[float], status: int
) -> None:
    with spec_of(site).open() as source:
        site.reset()
        site.faults += [Fault("status", status)]
        with pytest.raises(RemoteError, match=f"HTTP status {status}"):
            source.read_at(FAR, 5000)
        assert site.n_requests == 1
    site.faults += [Fault("status", status)] * 2
    with pytest.raises(RemoteError, match=f"HTTP status {status}"):
        spec_of(site).open()
    site.faults.clear()
    with pytest.raises(FileNotFoundError, match=r"none\.nd2"):
        spec_of(site, "/none.nd2").open()
    assert pauses == []


def test_compressed_files_are_refused(
    site: HttpServer, transport: str, pauses: list[float]
) -> None:
    site.faults += [Fault("packed")] * 2
    with pytest.raises(RemoteError, match=r"compressed \(gzip\).*download the file"):
        spec_of(site).open()
    assert pauses == []


def test_servers_say_when_to_come_back(
    site: HttpServer, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMND2_XR_TRANSPORT", "fsspec")
    with spec_of(site).open() as source:
        site.faults += [Fault("status", 503, {"Retry-After": n}) for n in ("3", "3600")]
        source.read_at(FAR, 50)
    assert pauses == [3.0, 10.0]


def test_a_file_that_changed_is_stale(
    site: HttpServer, transport: str, pauses: list[float], content: bytes
) -> None:
    with spec_of(site).open() as source:
        site.files["/a.nd2"] = ServedFile(content[::-1])
        with pytest.raises(StaleFile, match="changed since it was opened") as caught:
            source.read_at(FAR, 50)
        assert caught.value.offset == FAR
        del site.files["/a.nd2"]
        with pytest.raises(StaleFile, match="is gone"):
            source.read_at(FAR, 50)
    assert pauses == []


@pytest.mark.parametrize("change", ["etag", "weak", "time", "size"])
def test_servers_that_know_no_conditions(
    site: HttpServer, transport: str, change: str, content: bytes
) -> None:
    """What they send is of another version: it is not taken."""
    site.conditions = False
    file = site.files["/a.nd2"]
    file.etag = {"etag": '"1"', "weak": 'W/"1"'}.get(change, "")
    file.last_modified = 1.7e9 if change == "time" else None
    with spec_of(site).open() as source:
        assert source.read_at(FAR, 50) == content[FAR : FAR + 50]
        if change == "size":
            file.content = content + b"more"
        elif change == "time":
            file.last_modified = 1.7e9 + 1
        else:
            assert file.etag is not None
            file.etag = file.etag.replace("1", "2")
        with pytest.raises(StaleFile):
            source.read_at(FAR, 50)


def test_a_stamp_is_the_same_for_both_transports(
    site: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = site.files["/a.nd2"]
    for etag, modified in (('"1"', None), ('W/"1"', 1.7e9), ("", 1.7e9), ("", None)):
        file.etag, file.last_modified = etag, modified
        stamps = []
        for name in ("fsspec", "direct"):
            monkeypatch.setenv("LIMND2_XR_TRANSPORT", name)
            stamps.append(spec_of(site).stamp())
        assert stamps[0] == stamps[1]
        assert stamps[0].etag == (etag or (modified and "modified 1700000000") or None)


def test_servers_without_ranges(
    site: HttpServer, transport: str, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    site.ranges = False
    with spec_of(site).open() as source:
        assert source.read_at(FAR, 50) == content[FAR : FAR + 50]
    monkeypatch.setattr(fsspec_transport, "MAX_WHOLE_NBYTES", 1000)
    site.reset()
    with pytest.raises(Nd2Error, match=r"a\.nd2: .*does not support byte ranges"):
        spec_of(site).open()
    site.tells_size = False
    with pytest.raises(Nd2Error, match=r"a\.nd2: .*does not tell the size"):
        spec_of(site).open()


def test_servers_that_tell_sizes_with_ranges_only(
    site: HttpServer, transport: str, content: bytes
) -> None:
    site.tells_size = site.heads = False
    with spec_of(site).open() as source:
        assert source.size == len(content)


def test_an_empty_file(site: HttpServer, transport: str) -> None:
    site.files["/empty.nd2"] = ServedFile(b"")
    with spec_of(site, "/empty.nd2").open() as source:
        assert source.size == 0


def test_paths_are_asked_for_as_they_are(site: HttpServer, transport: str) -> None:
    for path in ("/d/a%20b.nd2", "/d/%C3%A9.nd2", "/a~b/c.nd2", "/x/a.nd2?v=a%2Bb"):
        site.reset()
        site.check = lambda request: 404
        with pytest.raises(FileNotFoundError):
            spec_of(site, path).open()
        assert {request.path for request in site.requests} == {path}


@pytest.mark.parametrize(
    ("url", "options", "understood"),
    [
        ("https://h/a.nd2", {}, True),
        ("HTTP://h:80/a%20b.nd2?x=1", {"headers": {"A": "b"}}, True),
        ("https://h/a.nd2", {"headers": {"A": b"b"}}, False),
        ("https://h/a.nd2", {"client_kwargs": {"auth": None}}, False),
        ("https://me:pw@h/a.nd2", {}, False),
        ("https://h/a b.nd2", {}, False),
        ("https://h/é.nd2", {}, False),
        ("https://h/a.nd2#x", {}, False),
        ("simplecache::https://h/a.nd2", {}, False),
        ("s3://b/a.nd2", {}, False),
    ],
)
def test_what_goes_past_fsspec(
    url: str, options: dict[str, Any], understood: bool
) -> None:
    assert (http_transport(url, options) is not None) == understood


def test_connections_are_used_again(
    site: HttpServer, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMND2_XR_TRANSPORT", "direct")
    with spec_of(site).open() as source:
        before = site.n_connections
        for _ in range(3):
            assert source.read_at(FAR, 50) == content[FAR : FAR + 50]
        assert site.n_connections - before <= 1
        before = site.n_connections
        monkeypatch.setattr(http_transport_module, "_IDLE_SECONDS", -1)
        assert source.read_at(FAR, 50) == content[FAR : FAR + 50]
        assert site.n_connections == before + 1


def test_redirected_files_are_read(
    site: HttpServer, transport: str, content: bytes
) -> None:
    site.redirects["/old.nd2"] = "/a.nd2"
    with spec_of(site, "/old.nd2").open() as source:
        assert source.read_at(FAR, 50) == content[FAR : FAR + 50]
    with spec_of(site).open() as source:
        site.files["/b.nd2"] = site.files["/a.nd2"]
        site.redirects["/a.nd2"] = "/b.nd2"
        assert source.read_at(FAR, 50) == content[FAR : FAR + 50]


# ---- credentials ------------------------------------------------------------------------


def refuse_strangers(site: HttpServer) -> None:
    """Let only those in who have the secret, wherever they have it."""

    def check(request: Any) -> int | None:
        given = request.path + request.headers.get("authorization", "")
        return None if SECRET in given or "bWU6QUtJQTBzZWNyZXQ5" in given else 403

    site.check = check


def credentials(site: HttpServer) -> dict[str, tuple[str, dict[str, Any]]]:
    """URL and options of different ways to give the secret."""
    url = site.url("/a.nd2")
    return {
        "header": (url, {"headers": {"Authorization": f"Bearer {SECRET}"}}),
        "user": (url.replace("://", f"://me:{SECRET}@"), {}),
        "signed": (f"{url}?X-Amz-Expires=60&X-Amz-Signature={SECRET}", {}),
    }


@pytest.mark.parametrize("way", ["header", "user", "signed"])
def test_credentials_are_used_and_not_shown(
    site: HttpServer,
    transport: str,
    pauses: list[float],
    way: str,
    content: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    refuse_strangers(site)
    url, options = credentials(site)[way]
    spec = pickle.loads(pickle.dumps(SourceSpec.of(url, options)))
    shown = [repr(spec), str(spec), spec.name, spec.identity]
    with spec.open() as source:
        assert source.read_at(FAR, 50) == content[FAR : FAR + 50]
        shown += [repr(source), source.name, repr(source.stamp)]
        for fault in (Fault("status", 403), *[Fault("status", 503)] * 6):
            site.faults += [fault]
        for _ in range(2):
            with pytest.raises(RemoteError) as caught:
                source.read_at(FAR, 50)
            shown += texts_of(caught.value)
    site.check = lambda request: 403
    with pytest.raises(RemoteError) as caught:
        spec.open()
    shown += texts_of(caught.value)
    site.check = lambda request: 404
    with pytest.raises(FileNotFoundError) as gone:
        spec.open()
    shown += texts_of(gone.value)
    assert not [text for text in shown if SECRET in text]
    assert SECRET not in caplog.text


def test_other_hosts_get_no_authorization_and_keep_their_secrets(
    site: HttpServer, transport: str, content: bytes
) -> None:
    """A server may send on to a place that it signed, as repositories of data do."""
    headers = {"Authorization": f"Bearer {SECRET}"}
    with HttpServer({"/b.nd2": content}) as other:
        site.redirects["/a.nd2"] = other.url("/b.nd2?X-Amz-Signature=s1gned9")
        with spec_of(site, headers=headers).open() as source:
            assert source.read_at(FAR, 50) == content[FAR : FAR + 50]
            assert site.requests[0].headers["authorization"] == f"Bearer {SECRET}"
            assert not [one for one in other.requests if SECRET in str(one.headers)]
            other.check = lambda request: 403
            with pytest.raises(RemoteError) as caught:
                source.read_at(FAR, 50)
    shown = " ".join(texts_of(caught.value))
    assert "s1gned9" not in shown
    assert SECRET not in shown


def texts_of(error: BaseException | None) -> list[str]:
    """All that a traceback shows of an error and of what it came from."""
    texts = []
    while error is not None:
        texts += [str(error), repr(error), repr(error.args)]
        error = error.__cause__ or error.__context__
    return texts


# ---- asyncio ----------------------------------------------------------------------------


def test_a_running_event_loop_does_not_matter(
    site: HttpServer, transport: str, content: bytes
) -> None:
    """As in a notebook."""

    async def read() -> bytes:
        with spec_of(site).open() as source:
            return source.read_at(FAR, 50)

    assert asyncio.run(read()) == content[FAR : FAR + 50]
