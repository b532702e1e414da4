"""Object stores: S3 against a server, Google's and Azure's by what their clients are asked."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import fsspec
import pytest

from limnd2_xr.container import obstore_transport
from limnd2_xr.container.direct_source import DirectSource
from limnd2_xr.container.fsspec_transport import AzureTransport, fsspec_transport
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.errors import RemoteError, StaleFile
from limnd2_xr.testing.http_server import Fault, ServedFile

if TYPE_CHECKING:
    from limnd2_xr.testing.http_server import HttpServer

s3fs = pytest.importorskip("s3fs")
FAR = 200_000
SECRET = "wJalrXUtnFEMIbPxRfiCY"  # noqa: S105
URL = "s3://bucket/d/a.nd2"


@pytest.fixture(scope="module")
def moto(s3_server: str) -> str:
    """The address of an S3 server with a bucket ``bucket``."""
    fs = s3fs.S3FileSystem(**credentials(s3_server))
    fs.call_s3("create_bucket", Bucket="bucket")
    return s3_server


def credentials(address: str) -> dict[str, Any]:
    return {
        "key": "AKIAIOSFODNN7EXAMPLE",
        "secret": SECRET,
        "client_kwargs": {"endpoint_url": address, "region_name": "us-east-1"},
    }


def store(address: str, content: bytes) -> None:
    fs = s3fs.S3FileSystem(**credentials(address))
    fs.pipe_file("bucket/d/a.nd2", content)


def read_far(spec: SourceSpec) -> bytes:
    with spec.open() as source:
        return source.read_at(FAR, 50)


def test_s3(
    moto: str, transport: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store(moto, content)
    spec = SourceSpec.of(URL, credentials(moto))
    with spec.open() as source:
        assert isinstance(source, DirectSource) == (transport == "direct")
        assert (source.name, source.size) == (URL, len(content))
        assert source.read_at(FAR, 50) == content[FAR : FAR + 50]
        assert source.stamp == spec.stamp()
        store(moto, content[::-1])
        with pytest.raises(StaleFile) as stale:
            source.read_at(FAR, 50)
    assert source.stamp != spec.stamp()
    with pytest.raises(FileNotFoundError) as missing:
        SourceSpec.of("s3://bucket/none.nd2", credentials(moto)).open()
    with pytest.raises(FileNotFoundError):
        SourceSpec.of("s3://no-such-bucket/none.nd2", credentials(moto)).open()
    with pytest.raises(IsADirectoryError):
        SourceSpec.of("s3://bucket", credentials(moto)).open()
    shown = [repr(spec), repr(source), *map(str, (stale.value, missing.value))]
    assert not [text for text in shown if SECRET in text]
    assert SECRET not in caplog.text


FORKS = """
import os, pickle, sys
from limnd2_xr.container.direct_source import DirectSource

spec = pickle.load(sys.stdin.buffer)
source = spec.open()
assert isinstance(source, DirectSource)
before = source.read_at(200_000, 50)
child = os.fork()
if not child:
    again = spec.open()
    assert not isinstance(again, DirectSource)
    same = before == source.read_at(200_000, 50) == again.read_at(200_000, 50)
    os._exit(0 if same else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_another_process_and_its_forks_read_what_was_opened(
    moto: str, content: bytes
) -> None:
    """The threads of obstore do not survive the fork: it would be waited for them."""
    pytest.importorskip("obstore")
    store(moto, content)
    spec = pickle.dumps(SourceSpec.of(URL, credentials(moto)))
    command = [sys.executable, "-W", "ignore", "-c", FORKS]
    done = subprocess.run(  # noqa: S603
        command, input=spec, timeout=60, check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()


def test_s3_with_the_credentials_of_the_environment(
    moto: str, transport: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(moto, content)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": moto,
    }.items():
        monkeypatch.setenv(name, value)
    assert read_far(SourceSpec.of(URL)) == content[FAR : FAR + 50]


def s3_like(site: HttpServer, content: bytes) -> SourceSpec:
    """A file of an S3 server whose faults can be chosen."""
    site.files["/bucket/a.nd2"] = ServedFile(content, last_modified=1.7e9)
    return SourceSpec.of(
        "s3://bucket/a.nd2", {"anon": True, "endpoint_url": site.url()}
    )


def test_s3_is_tried_again_once_and_not_twice(
    site: HttpServer, transport: str, pauses: list[float], content: bytes
) -> None:
    """Botocore and s3fs would try again, too, for each time that it is tried again here."""
    with s3_like(site, content).open() as source:
        assert isinstance(source, DirectSource) == (transport == "direct")
        site.reset()
        site.faults += [Fault("status", 503), Fault("short"), Fault("status", 500)]
        assert source.read_at(FAR, 50) == content[FAR : FAR + 50]
        assert (site.n_requests, pauses) == (4, [0.1, 0.2, 0.4])
        site.reset()
        site.faults += [Fault("status", 503)] * 40
        with pytest.raises(RemoteError, match="HTTP status 503") as caught:
            source.read_at(FAR, 50)
        assert site.n_requests == 6
        assert caught.value.__cause__ is not None


def test_a_client_that_was_told_how_to_try_again_does(
    site: HttpServer, pauses: list[float], content: bytes
) -> None:
    """What the user chose counts; here nothing is tried again on top of it."""
    spec = s3_like(site, content)
    config = {"retries": {"total_max_attempts": 2, "mode": "standard"}}
    spec = SourceSpec.of(
        spec.location, {**spec.storage_options, "config_kwargs": config}
    )
    with spec.open() as source:
        site.reset()
        site.faults += [Fault("status", 503)] * 40
        with pytest.raises(RemoteError):
            source.read_at(FAR, 50)
    assert (site.n_requests, pauses) == (2, [])


def test_an_s3_file_object_keeps_its_file_system(moto: str, content: bytes) -> None:
    store(moto, content)
    fs = s3fs.S3FileSystem(**credentials(moto))
    with fs.open("bucket/d/a.nd2") as file:
        spec = pickle.loads(pickle.dumps(SourceSpec.of(file)))
    assert SECRET not in repr(spec)
    with spec.open() as source:
        assert source.read_at(FAR, 50) == content[FAR : FAR + 50]


@pytest.mark.parametrize(
    ("url", "options", "understood"),
    [
        ("s3://b/a.nd2", {"anon": True}, False),  # of which region?
        ("s3://b/a.nd2", {"anon": True, "endpoint_url": "http://h"}, True),
        ("s3://b/a.nd2?versionId=3", {"anon": True, "endpoint_url": "http://h"}, False),
        ("s3://b/a b.nd2", {"anon": True, "endpoint_url": "http://h"}, False),
        ("s3://b/a.nd2", {"endpoint_url": "http://h"}, False),
        ("s3://b/a.nd2", {"profile": "lab", "endpoint_url": "http://h"}, False),
        ("gs://b/a.nd2", {"token": "anon"}, False),
        ("az://b/a.nd2", {"account_name": "a"}, False),
        ("memory://a.nd2", {}, False),
    ],
)
def test_obstore_does_what_it_understands(
    url: str, options: dict[str, Any], understood: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("obstore")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "LIMND2_XR_TRANSPORT"):
        monkeypatch.delenv(name, raising=False)
    found = obstore_transport.obstore_transport(url, options)
    assert (found is not None) == understood


def test_a_reader_of_obstore_is_an_open_file(content: bytes) -> None:
    obstore = pytest.importorskip("obstore")
    memory = obstore.store.MemoryStore()
    obstore.put(memory, "a.nd2", content)
    with SourceSpec.of(obstore.open_reader(memory, "a.nd2")).open() as source:
        assert source.size == len(content)
        assert source.read_at(FAR, 50) == content[FAR : FAR + 50]
        two = [bytearray(5), bytearray(7)]
        source.read_into(FAR, two)
    assert b"".join(two) == content[FAR : FAR + 12]


# ---- Google and Azure -------------------------------------------------------------------


class FakeGcs(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """What gcsfs offers, over bytes; the generation that is asked for has to be there."""

    protocol = ("gs", "gcs")
    async_impl = True
    cachable = False

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content, self.generation = content, "17"
        self.asked: list[tuple[int, int, str]] = []

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        return {
            "name": path,
            "size": len(self.content),
            "type": "file",
            "generation": self.generation,
        }

    def cat_file(
        self, path: str, start: int = 0, end: int = 0, generation: str = ""
    ) -> bytes:
        self.asked.append((start, end, generation))
        if generation != self.generation:
            raise FileNotFoundError(path)
        return self.content[start:end]


def test_gcs_is_asked_for_the_generation_that_was_opened(content: bytes) -> None:
    gcsfs = pytest.importorskip("gcsfs")
    assert FakeGcs.protocol == gcsfs.GCSFileSystem.protocol[:2] or (
        "gs" in gcsfs.GCSFileSystem.protocol
    )
    fs = FakeGcs(content)
    with SourceSpec("url", "gs://b/a.nd2", "b/a.nd2", content=fs).open() as source:
        assert source.read_at(FAR, 50) == content[FAR : FAR + 50]
        assert fs.asked == [(FAR, FAR + 50, "17")]
        assert source.stamp.etag == "generation 17"
        fs.generation = "18"
        with pytest.raises(StaleFile):
            source.read_at(FAR, 50)


def test_azure_is_asked_for_the_etag_that_was_opened(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    adlfs = pytest.importorskip("adlfs")
    from azure.core import MatchConditions
    from azure.core.exceptions import ResourceModifiedError

    etag = '"0x1"'
    asked: list[dict[str, Any]] = []

    class Blob:
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *error: object) -> None:
            return None

        async def download_blob(self, **options: Any) -> Any:
            asked.append(options)
            if options["etag"] != etag:
                raise ResourceModifiedError(
                    message="changed",
                    response=Answer(status_code=412, reason="changed"),
                )

            async def readall() -> bytes:
                start = options["offset"]
                return content[start : start + options["length"]]

            return SimpleNamespace(readall=readall)

    class Answer(SimpleNamespace):
        headers: ClassVar[dict[str, str]] = {}

        def text(self) -> str:
            return ""

    fs = adlfs.AzureBlobFileSystem(
        account_name="lab", account_key="c2VjcmV0", skip_instance_cache=True
    )
    client = SimpleNamespace(get_blob_client=lambda container, blob: Blob())
    monkeypatch.setattr(fs, "service_client", client)
    monkeypatch.setattr(fs, "info", lambda path: {"size": len(content), "etag": etag})
    assert isinstance(fsspec_transport(fs, "c/a.nd2"), AzureTransport)
    with SourceSpec("url", "az://c/a.nd2", "c/a.nd2", content=fs).open() as source:
        assert source.read_at(FAR, 50) == content[FAR : FAR + 50]
        assert asked == [
            {
                "offset": FAR,
                "length": 50,
                "etag": etag,
                "match_condition": MatchConditions.IfNotModified,
            }
        ]
        etag = '"0x2"'
        with pytest.raises(StaleFile):
            source.read_at(FAR, 50)
