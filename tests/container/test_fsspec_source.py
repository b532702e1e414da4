"""Files that fsspec reaches, whatever its file system."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.container.fsspec_source import FsspecSource
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.errors import CorruptChunk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from limnd2_xr.testing.http_server import HttpServer

pytest.importorskip("aiohttp")


@pytest.fixture
def in_memory(content: bytes) -> Iterator[str]:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/sources/a.nd2", content)
    yield "memory://sources/a.nd2"
    fs.rm("/sources", recursive=True)


@pytest.fixture(params=["memory", "http", "zip"])
def url(request: pytest.FixtureRequest, tmp_path: Path, content: bytes) -> str:
    if request.param == "memory":
        found: str = request.getfixturevalue("in_memory")
        return found
    if request.param == "http":
        return str(request.getfixturevalue("site").url("/a.nd2"))
    fs = fsspec.filesystem("zip", fo=str(tmp_path / "a.zip"), mode="w")
    fs.pipe_file("a.nd2", content)
    fs.close()
    return f"zip://a.nd2::{tmp_path / 'a.zip'}"


def test_reads_equal_slicing(url: str, content: bytes) -> None:
    with SourceSpec.of(url).open() as source:

        @given(offset=st.integers(0, len(content)), nbytes=st.integers(0, 3000))
        def check(offset: int, nbytes: int) -> None:
            if offset + nbytes > len(content):
                with pytest.raises(CorruptChunk, match="file ends"):
                    source.read_at(offset, nbytes)
                return
            assert source.read_at(offset, nbytes) == content[offset : offset + nbytes]
            buffers = [bytearray(nbytes // 2), bytearray(nbytes - nbytes // 2)]
            source.read_into(offset, buffers)
            assert b"".join(buffers) == content[offset : offset + nbytes]

        check()
        assert source.name == url
        assert source.size == len(content)
    with pytest.raises(ValueError, match="closed"):
        source.read_at(0, 1)


def test_threads(url: str, content: bytes) -> None:
    offsets = list(range(0, 29_000, 501))
    with SourceSpec.of(url).open() as source, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda offset: source.read_at(offset, 800), offsets))
    assert found == [content[offset : offset + 800] for offset in offsets]


def test_spec_travels(url: str, content: bytes) -> None:
    spec = SourceSpec.of(url)
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec
    assert hash(again) == hash(spec)
    assert spec.kind == "url"
    with again.open() as source:
        assert source.read_at(5, 5) == content[5:10]


def test_files_opened_by_fsspec_are_opened_anew(url: str, content: bytes) -> None:
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
        assert source.read_at(9, 9) == content[9:18]
    assert again.stamp() == spec.stamp()


def test_open_files(in_memory: str, tmp_path: Path, content: bytes) -> None:
    """`fsspec.open` gives an object that is not open yet."""
    spec = SourceSpec.of(fsspec.open(in_memory, "rb"))
    assert spec.kind == "url"
    path = tmp_path / "b.nd2"
    path.write_bytes(content)
    spec = SourceSpec.of(fsspec.open(path, "rb"))
    assert (spec.kind, spec.location) == ("path", str(path))
    with fsspec.filesystem("file").open(str(path)) as file:
        assert SourceSpec.of(file).kind == "path"


def test_compressed_files_are_read_as_they_are(tmp_path: Path, content: bytes) -> None:
    with fsspec.open(tmp_path / "a.nd2.gz", "wb", compression="gzip") as file:
        file.write(content)
    with fsspec.open(tmp_path / "a.nd2.gz", "rb", compression="gzip") as file:
        spec = SourceSpec.of(file)
        with spec.open() as source:
            assert source.read_at(20, 20) == content[20:40]


def test_missing(site: HttpServer) -> None:
    for url in ("memory://sources/none.nd2", site.url("/none.nd2")):
        with pytest.raises(FileNotFoundError):
            SourceSpec.of(url).open()
    with pytest.raises(ValueError, match="Protocol not known"):
        SourceSpec.of("nosuch://a.nd2").open()


def test_directory(in_memory: str) -> None:
    with pytest.raises(IsADirectoryError, match="sources"):
        SourceSpec.of("memory://sources").open()


def test_stamp_notices_a_new_file(
    site: HttpServer, in_memory: str, content: bytes
) -> None:
    spec = SourceSpec.of(site.url("/a.nd2"))
    with spec.open() as source:
        assert source.stamp == spec.stamp()
        site.files["/a.nd2"].etag = '"two"'
        assert source.stamp != spec.stamp()
        assert source.stamp.size == spec.stamp().size
    spec = SourceSpec.of(in_memory)
    before = spec.stamp()
    assert before == spec.stamp()
    fsspec.filesystem("memory").pipe_file("/sources/a.nd2", content[:-1])
    assert before != spec.stamp()


def test_source_over_a_file_system(in_memory: str, content: bytes) -> None:
    fs = fsspec.filesystem("memory")
    with FsspecSource.from_filesystem(fs, "/sources/a.nd2", "my file") as source:
        assert source.name == "my file"
        assert source.read_at(0, 3) == content[:3]
