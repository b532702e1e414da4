"""Remote files: ranges are asked for and what comes back is checked."""

from __future__ import annotations

import asyncio
import http.server
import pickle
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.container import fsspec_source
from limnd2_xr.container.chunk_index import read_index
from limnd2_xr.container.source import FsspecSource, SourceSpec
from limnd2_xr.errors import CorruptChunk, Nd2Error
from limnd2_xr.testing.counting import count_reads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest.importorskip("aiohttp")

DATA = np.random.default_rng(1).integers(0, 256, 30_011, np.uint8).tobytes()


@dataclass
class Site:
    """A web server of one file; its behaviour can be changed between requests."""

    url: str = ""
    data: bytes = DATA
    etag: str = '"one"'
    ranges: bool = True
    announces_no_ranges: bool = False
    tells_size: bool = True
    cut: int = 0
    extra: int = 0
    requests: list[str] = field(default_factory=list)
    headers: list[str | None] = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `Site.data`, byte ranges included."""

    site: Site
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        site = self.site
        data, status = site.data, 200
        if self.path != "/a.nd2":
            data, status = b"", 404
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        site.requests.append(f"{self.command} {self.headers.get('Range', '')}".strip())
        if asked and site.ranges and status == 200:
            first, last = int(asked[1]), int(asked[2])
            data = data[first : last + 1 + site.extra][: -site.cut or None]
            status = 206
        site.headers.append(self.headers.get("Authorization"))
        self.send_response(status)
        if site.tells_size or status == 206:
            self.send_header("Content-Length", str(len(data)))
        else:
            self.send_header("Connection", "close")
        if site.announces_no_ranges:
            self.send_header("Accept-Ranges", "none")
        self.send_header("ETag", site.etag)
        self.end_headers()
        if body:
            self.wfile.write(data)
        if not site.tells_size and status != 206:
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[Site]:
    site = Site()
    handler = type("SiteHandler", (Handler,), {"site": site})
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{httpd.server_port}/a.nd2"
    yield site
    fs, _ = fsspec.core.url_to_fs(site.url)
    if fs._session is not None:
        done = asyncio.run_coroutine_threadsafe(fs._session.close(), fs.loop)
        done.result(10)
    fs.clear_instance_cache()
    httpd.shutdown()
    httpd.server_close()
    thread.join(10)


@pytest.fixture
def site(server: Site) -> Iterator[Site]:
    fresh = Site(server.url)
    vars(server).update(vars(fresh))
    yield server
    vars(server).update(vars(fresh))


@pytest.fixture
def in_memory() -> Iterator[str]:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/sources/a.nd2", DATA)
    yield "memory://sources/a.nd2"
    fs.rm("/sources", recursive=True)


@pytest.fixture(params=["memory", "http", "zip"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        found: str = request.getfixturevalue("in_memory")
        return found
    if request.param == "http":
        return str(request.getfixturevalue("site").url)
    fs = fsspec.filesystem("zip", fo=str(tmp_path / "a.zip"), mode="w")
    fs.pipe_file("a.nd2", DATA)
    fs.close()
    return f"zip://a.nd2::{tmp_path / 'a.zip'}"


def test_reads_equal_slicing(url: str) -> None:
    with SourceSpec.of(url).open() as source:

        @given(offset=st.integers(0, len(DATA)), nbytes=st.integers(0, 3000))
        def check(offset: int, nbytes: int) -> None:
            if offset + nbytes > len(DATA):
                with pytest.raises(CorruptChunk, match="file ends"):
                    source.read_at(offset, nbytes)
                return
            assert source.read_at(offset, nbytes) == DATA[offset : offset + nbytes]
            buffers = [bytearray(nbytes // 2), bytearray(nbytes - nbytes // 2)]
            source.read_into(offset, buffers)
            assert b"".join(buffers) == DATA[offset : offset + nbytes]

        check()
        assert source.name == url
        assert source.size == len(DATA)
    with pytest.raises(ValueError, match="closed"):
        source.read_at(0, 1)


def test_one_request_a_read(site: Site) -> None:
    with SourceSpec.of(site.url).open() as source:
        site.requests.clear()
        with count_reads() as counter:
            source.read_at(100, 50)
            source.read_into(7, [bytearray(3), bytearray(4)])
    assert site.requests == ["GET bytes=100-149", "GET bytes=7-13"]
    assert counter.ranges == [(100, 50), (7, 7)]


def test_threads(url: str) -> None:
    offsets = list(range(0, 29_000, 501))
    with SourceSpec.of(url).open() as source, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda offset: source.read_at(offset, 800), offsets))
    assert found == [DATA[offset : offset + 800] for offset in offsets]


def test_spec_travels(url: str) -> None:
    spec = SourceSpec.of(url)
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec
    assert hash(again) == hash(spec)
    assert spec.kind == "url"
    with again.open() as source:
        assert source.read_at(5, 5) == DATA[5:10]


def test_storage_options_are_used_and_not_shown(site: Site) -> None:
    options = {"headers": {"Authorization": "secret"}}
    spec = SourceSpec.of(site.url, options)
    assert "secret" not in repr(spec)
    assert spec != SourceSpec.of(site.url)
    assert pickle.loads(pickle.dumps(spec)).storage_options == options
    assert isinstance(hash(spec), int)
    with spec.open() as source:
        site.headers.clear()
        assert source.read_at(0, 4) == DATA[:4]
    assert site.headers == ["secret"]


def test_files_opened_by_fsspec_are_opened_anew(url: str) -> None:
    with fsspec.open(url, "rb") as file:
        spec = SourceSpec.of(file)
        if file.__class__.__module__.startswith("zipfile"):
            assert spec.kind == "object"  # a plain file object of the standard library
            return
    assert spec.kind == "url"
    assert spec.name.endswith("a.nd2")
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec
    assert hash(again) == hash(spec)
    with again.open() as source:
        assert source.read_at(9, 9) == DATA[9:18]
    assert again.stamp() == spec.stamp()


def test_open_files(in_memory: str, tmp_path: Path) -> None:
    """`fsspec.open` gives an object that is not open yet."""
    spec = SourceSpec.of(fsspec.open(in_memory, "rb"))
    assert spec.kind == "url"
    path = tmp_path / "b.nd2"
    path.write_bytes(DATA)
    spec = SourceSpec.of(fsspec.open(path, "rb"))
    assert (spec.kind, spec.location) == ("path", str(path))
    with fsspec.filesystem("file").open(str(path)) as file:
        assert SourceSpec.of(file).kind == "path"


def test_compressed_files_are_read_as_they_are(tmp_path: Path) -> None:
    with fsspec.open(tmp_path / "a.nd2.gz", "wb", compression="gzip") as file:
        file.write(DATA)
    with fsspec.open(tmp_path / "a.nd2.gz", "rb", compression="gzip") as file:
        spec = SourceSpec.of(file)
        with spec.open() as source:
            assert source.read_at(20, 20) == DATA[20:40]


def test_missing(site: Site) -> None:
    for url in ("memory://sources/none.nd2", site.url.replace("a.nd2", "none.nd2")):
        with pytest.raises(FileNotFoundError):
            SourceSpec.of(url).open()
    with pytest.raises(ValueError, match="Protocol not known"):
        SourceSpec.of("nosuch://a.nd2").open()


def test_directory(in_memory: str) -> None:
    with pytest.raises(IsADirectoryError, match="sources"):
        SourceSpec.of("memory://sources").open()


def test_stamp_notices_a_new_file(site: Site, in_memory: str) -> None:
    spec = SourceSpec.of(site.url)
    with spec.open() as source:
        assert source.stamp == spec.stamp()
        site.etag = '"two"'
        assert source.stamp != spec.stamp()
        assert source.stamp.size == spec.stamp().size
    spec = SourceSpec.of(in_memory)
    before = spec.stamp()
    assert before == spec.stamp()
    fsspec.filesystem("memory").pipe_file("/sources/a.nd2", DATA[:-1])
    assert before != spec.stamp()


def test_server_without_size(site: Site) -> None:
    site.tells_size = False
    with pytest.raises(Nd2Error, match=r"a\.nd2: the server does not tell the size"):
        SourceSpec.of(site.url).open()


def test_server_without_ranges(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.ranges = False
    with SourceSpec.of(site.url).open() as source:
        assert source.read_at(100, 50) == DATA[100:150]
        monkeypatch.setattr(fsspec_source, "_MAX_WHOLE_NBYTES", 1000)
        with pytest.raises(Nd2Error, match="does not support byte ranges"):
            source.read_at(100, 50)
        assert source.read_at(0, len(DATA)) == DATA


def test_large_file_on_a_server_that_says_it_has_no_ranges(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not downloaded to find that out."""
    site.ranges, site.announces_no_ranges = False, True
    monkeypatch.setattr(fsspec_source, "_MAX_WHOLE_NBYTES", 1000)
    with pytest.raises(Nd2Error, match="does not support byte ranges"):
        SourceSpec.of(site.url).open()
    assert not any(request.startswith("GET") for request in site.requests)


def test_server_that_sends_another_length(site: Site) -> None:
    with SourceSpec.of(site.url).open() as source:
        site.cut = 3
        with pytest.raises(CorruptChunk, match="file ends"):
            source.read_at(100, 50)
        site.cut, site.extra = 0, 5
        with pytest.raises(Nd2Error, match="sent 55 bytes when 50"):
            source.read_at(100, 50)


def test_opening_an_nd2_file_takes_few_requests(
    site: Site, build: Callable[..., Any]
) -> None:
    frames = [(f"ImageDataSeq|{i}!", bytes([i]) * 40_000) for i in range(40)]
    built = build([("ImageAttributesLV!", b"a" * 200), *frames])
    site.data = built.data
    with SourceSpec.of(site.url).open() as source:
        site.requests.clear()
        loaded = read_index(source)
        assert len(site.requests) == 2
        assert len(loaded.index) == 41
        name = "ImageAttributesLV!"
        entry = loaded.index.find(name)
        assert entry is not None
        chunks = loaded.prefetch.chunks({name: entry})
        assert chunks == {name: b"a" * 200}
        assert len(site.requests) == 2


def test_source_over_a_file_system(in_memory: str) -> None:
    fs = fsspec.filesystem("memory")
    with FsspecSource.from_filesystem(fs, "/sources/a.nd2", "my file") as source:
        assert source.name == "my file"
        assert source.read_at(0, 3) == DATA[:3]
