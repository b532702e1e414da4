"""References to frames: others read the pixels of `open_dataset` without this package."""

from __future__ import annotations

import json
import pickle
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import fsspec
import icechunk
import numpy as np
import pytest
import xarray as xr
from fsspec.implementations.reference import LazyReferenceMapper
from obspec_utils.registry import ObjectStoreRegistry
from obstore.store import LocalStore, S3Store
from virtualizarr import open_virtual_dataset
from virtualizarr.manifests import ManifestArray
from virtualizarr.parsers.typing import Parser
from zarr.storage import FsspecStore

import limnd2_xr
from limnd2_xr.arrays.virtual import Nd2Parser, frame_references, to_kerchunk
from limnd2_xr.errors import CorruptChunk, UnsupportedFeature
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.testing.counting import count_reads
from limnd2_xr.testing.http_server import HttpServer
from limnd2_xr.testing.legacy import LegacySpec, build_legacy
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    CustomLoop,
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# zarr 3.1 says of codecs and of text that no specification has them; 2.8 of VirtualiZarr
# warns of rows that are padded.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in"),
    pytest.mark.filterwarnings("ignore:The data type"),
    pytest.mark.filterwarnings("ignore:.*chunk:UserWarning"),
]

TWO = (ChannelSpec("DAPI"), ChannelSpec("GFP"))
RGB = ChannelSpec("Bright", components=3)
POINTS = tuple(Point(10.0 * i, 5.0 * i) for i in range(2))
SPECS = {
    "nested": SyntheticSpec(
        loops=(ZLoop(2), TimeLoop(3), PositionLoop(POINTS)),
        channels=TWO,
        width=10,
        height=7,
    ),
    "zlib": SyntheticSpec(
        loops=(TimeLoop(2),), channels=TWO, width=9, height=7, compression="zlib"
    ),
    "rgb": SyntheticSpec(channels=(RGB,), dtype="uint8", width=12, height=5),
    "missing": SyntheticSpec(
        loops=(TimeLoop(4),), width=9, height=7, missing=frozenset({2})
    ),
    "custom_loop": SyntheticSpec(
        loops=(CustomLoop(2), TimeLoop(2)), width=8, height=6, dtype="float32"
    ),
    "unknown_sizes": SyntheticSpec(
        loops=(TimeLoop(3),),
        width=8,
        height=6,
        map_style="size_equals_offset",
        compression="zlib",
    ),
}
REAL = ("confocal_t3_z10_c2", "netime_t2_u8", "rgb8", "zstack_z11")
MADE = ("a2_t_u8_oddwidth", "f_t_xy_z", "g_bare", "r9_t_u16_w101_zlib")
ODD = SyntheticSpec(channels=(*TWO, ChannelSpec("third")), width=9, height=7)
"""Rows of 54 bytes, padded to 56: 6 bytes a pixel."""


def registry() -> ObjectStoreRegistry[Any]:
    return ObjectStoreRegistry({"file://": LocalStore()})


def opened(path: Path, **options: Any) -> xr.Dataset:
    """References of a file."""
    parser = Nd2Parser(on_damage="ignore", **options)
    found: xr.Dataset = open_virtual_dataset(path.as_uri(), registry(), parser)
    return found


def wanted(path: Path, **options: Any) -> xr.Dataset:
    """As `open_dataset` has it, but S as in the file."""
    with xr.open_dataset(path, on_damage="ignore", **options) as dataset:
        dataset.load()
    return dataset.isel(S=[2, 1, 0]) if "S" in dataset.dims else dataset


def repository(where: Any, prefix: str, files: Any, access: Any = None) -> Any:
    config = icechunk.RepositoryConfig.default()
    container = icechunk.VirtualChunkContainer(prefix, files)
    config.set_virtual_chunk_container(container)
    allowed = icechunk.containers_credentials({prefix: access})
    return icechunk.Repository.create(
        where, config, authorize_virtual_chunk_access=allowed
    )


def local_repository(folder: Path) -> Any:
    prefix = f"{folder.as_uri()}/"
    files = icechunk.local_filesystem_store(str(folder))
    # icechunk 1 takes None, and 2 no longer does.
    access = getattr(icechunk.credentials, "LocalFileSystemAccess", None)
    return repository(icechunk.in_memory_storage(), prefix, files, access)


def commit(repo: Any, virtual: xr.Dataset, **options: Any) -> None:
    session = repo.writable_session("main")
    virtual.vz.to_icechunk(session.store, **options)
    session.commit("references")


def read_back(repo: Any) -> xr.Dataset:
    store = repo.readonly_session("main").store
    with xr.open_zarr(store, consolidated=False, chunks=None) as dataset:
        loaded: xr.Dataset = dataset.load()
        return loaded


def read_references(references: Any, **options: Any) -> xr.Dataset:
    """Read them with zarr and fsspec."""
    options = {"remote_protocol": "file", "asynchronous": True, **options}
    files = fsspec.filesystem("reference", fo=references, **options)
    store = FsspecStore(files, read_only=True)
    with xr.open_zarr(store, consolidated=False, zarr_format=2, chunks=None) as dataset:
        loaded: xr.Dataset = dataset.load()
        return loaded


@pytest.fixture(params=SPECS)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "cells.nd2"
    path.write_bytes(build(SPECS[request.param]).data)
    return path


def check(path: Path) -> None:
    expected = wanted(path)
    virtual = opened(path)
    data: Any = virtual["image"].variable._data
    assert type(data) is ManifestArray
    repo = local_repository(path.parent)
    commit(repo, virtual)
    xr.testing.assert_identical(read_back(repo), expected)
    references = json.loads(json.dumps(to_kerchunk(path, on_damage="ignore")))
    found = read_references(references)
    assert found["image"].dims[-3:] == ("Y", "X", "C") or "S" in found.dims
    xr.testing.assert_identical(found.transpose(*expected.dims), expected)


def test_synthetic_files(file: Path) -> None:
    check(file)


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str, real_file: Callable[[str], Path]) -> None:
    check(real_file(name))


@pytest.mark.realdata
@pytest.mark.parametrize("name", MADE)
def test_made_files(name: str, made_file: Callable[[str], Path]) -> None:
    check(made_file(name))


def test_references_point_at_pixels(tmp_path: Path) -> None:
    file = build(SPECS["zlib"])
    path = tmp_path / "cells.nd2"
    path.write_bytes(file.data)
    refs = to_kerchunk(path)["refs"]
    offset, nbytes = file.chunks["ImageDataSeq|1!"]
    # Behind the header and the name come 8 bytes of time, which the size counts.
    assert refs["image/1.0.0.0"] == [str(path), offset + 4096, nbytes - 8]
    document = json.loads(refs["image/.zarray"])
    assert document["compressor"] == {"id": "zlib", "level": 1}
    assert document["chunks"] == [1, 7, 9, 2]


def test_a_missing_frame_has_no_reference(tmp_path: Path) -> None:
    path = tmp_path / "cells.nd2"
    path.write_bytes(build(SPECS["missing"]).data)
    refs = to_kerchunk(path, on_damage="ignore")["refs"]
    assert "image/1.0.0.0" in refs
    assert "image/2.0.0.0" not in refs


@pytest.mark.parametrize(
    "data",
    [
        build(ODD).data,
        build_legacy(LegacySpec(width=12, height=10)).data,
        build(SyntheticSpec(compression="lossy")).data,
    ],
    ids=["odd padding", "format 1.0", "lossy"],
)
def test_what_cannot_be_referred_to_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cells.nd2"
    path.write_bytes(data)
    with pytest.raises(UnsupportedFeature, match="cannot be referred to") as caught:
        opened(path)
    assert str(path) in str(caught.value)
    with pytest.raises(UnsupportedFeature, match="zarr_store"):
        to_kerchunk(path, tmp_path / "refs.json")
    assert not (tmp_path / "refs.json").exists()


# ---- many files -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files that differ in their pixels only."""
    found = tmp_path_factory.mktemp("many")
    for number in range(3):
        spec = SyntheticSpec(
            loops=(TimeLoop(2), ZLoop(2)),
            channels=TWO,
            width=9,
            height=7,
            seed=number,
        )
        (found / f"run{number}.nd2").write_bytes(build(spec).data)
    return found


@pytest.mark.parametrize("dim", ["P", "T"])
def test_a_catalogue_of_several_files(dim: str, folder: Path) -> None:
    paths = sorted(folder.glob("*.nd2"))
    options: Any = {
        "dim": dim,
        "coords": "minimal",
        "compat": "override",
        "combine_attrs": "override",
    }
    if dim == "T":
        options["coords"] = "different"
        options["compat"] = "equals"
    full = {"full_dims": True}
    catalogue = xr.concat([opened(path, **full) for path in paths], **options)
    expected = xr.concat([wanted(path, **full) for path in paths], **options)
    repo = local_repository(folder)
    commit(repo, catalogue)
    found = read_back(repo)
    xr.testing.assert_equal(found, expected)
    assert found.sizes[dim] == (6 if dim == "T" else 3)


def test_a_catalogue_grows(folder: Path) -> None:
    first, second, _ = sorted(folder.glob("*.nd2"))
    repo = local_repository(folder)
    commit(repo, opened(first))
    commit(repo, opened(second), append_dim="T")
    found = read_back(repo)["image"]
    pixels = [wanted(path)["image"].values for path in (first, second)]
    np.testing.assert_array_equal(found.values, np.concatenate(pixels))


KEYS = {"key": "testing", "secret": "hidden secret"}


@contextmanager
def bucket(moto: str, folder: Path) -> Iterator[S3Store]:
    """Yield a bucket with the files of a folder."""
    files = fsspec.filesystem("s3", endpoint_url=moto, **KEYS)
    files.mkdir("bucket")
    for path in folder.glob("*.nd2"):
        files.pipe_file(f"bucket/{path.name}", path.read_bytes())
    store = S3Store(
        "bucket",
        endpoint=moto,
        access_key_id=KEYS["key"],
        secret_access_key=KEYS["secret"],
        region="us-east-1",
        client_options={"allow_http": True},
    )
    try:
        yield store
    finally:
        files.rm("bucket", recursive=True)


def test_a_catalogue_of_files_on_s3(s3_server: str, folder: Path) -> None:
    names = sorted(path.name for path in folder.glob("*.nd2"))
    with bucket(s3_server, folder) as store:
        stores = ObjectStoreRegistry({"s3://bucket": store})
        virtual = [
            open_virtual_dataset(
                f"s3://bucket/{name}", stores, Nd2Parser(full_dims=True)
            )
            for name in names
        ]
        options: Any = {"dim": "P", "coords": "minimal", "compat": "override"}
        catalogue = xr.concat(virtual, **options)
        settings: dict[str, Any] = {
            "region": "us-east-1",
            "endpoint_url": s3_server,
            "allow_http": True,
            "s3_compatible": True,
            "force_path_style": True,
        }
        access = icechunk.s3_static_credentials(
            access_key_id=KEYS["key"], secret_access_key=KEYS["secret"]
        )
        where = icechunk.s3_storage(
            bucket="bucket",
            prefix="catalogue",
            access_key_id=KEYS["key"],
            secret_access_key=KEYS["secret"],
            region="us-east-1",
            endpoint_url=s3_server,
            allow_http=True,
            force_path_style=True,
        )
        container = icechunk.s3_store(**settings)
        repo = repository(where, "s3://bucket/", container, access)
        commit(repo, catalogue)
        found = read_back(repo)
        files = [wanted(folder / name, full_dims=True) for name in names]
        expected = xr.concat(files, **options)
        xr.testing.assert_equal(found, expected)

        # The same file by fsspec, whose options are not in the references.
        remote: Any = {"endpoint_url": s3_server, **KEYS}
        refs = to_kerchunk(f"s3://bucket/{names[0]}", storage_options=remote)
        assert KEYS["secret"] not in json.dumps(refs)
        options = {"remote_options": {**remote, "asynchronous": True}}
        read = read_references(refs, remote_protocol="s3", **options)
        expected = wanted(folder / names[0])
        xr.testing.assert_equal(read.transpose(*expected.dims), expected)


# ---- the parser and the files it makes ------------------------------------------------


def test_the_parser_is_one_for_virtualizarr() -> None:
    parser = Nd2Parser(check_frames=True)
    assert isinstance(parser, Parser)
    assert pickle.loads(pickle.dumps(parser)) == parser
    assert limnd2_xr.Nd2Parser is Nd2Parser
    assert limnd2_xr.to_kerchunk is to_kerchunk


def test_variables_that_are_loaded(folder: Path) -> None:
    url, stores = (folder / "run0.nd2").as_uri(), registry()
    parser = Nd2Parser()
    bare = open_virtual_dataset(url, stores, parser, loadable_variables=[])
    assert list(bare.variables) == ["image"]
    some = open_virtual_dataset(url, stores, parser, loadable_variables=["C", "image"])
    assert set(some.variables) == {"C", "image"}
    assert isinstance(some["image"].values, np.ndarray)
    less = open_virtual_dataset(url, stores, parser, drop_variables=["time"])
    assert "time" not in less.variables
    assert "stage_x" in less.coords


def test_zarr_2_takes_the_stored_order(folder: Path) -> None:
    path = folder / "run0.nd2"
    virtual = opened(path, stored_order=True)
    assert virtual["image"].dims == ("T", "Z", "Y", "X", "C")
    refs = virtual.vz.to_kerchunk(format="dict")
    document = refs["refs"]["image/.zarray"]
    document = json.loads(document) if isinstance(document, str) else document
    assert not document["filters"]
    expected = to_kerchunk(path)["refs"]
    chunks = [key for key in expected if key.startswith("image/0")]
    assert [refs["refs"][key] for key in chunks] == [expected[key] for key in chunks]


@pytest.mark.parametrize(
    ("spec", "name"),
    [("missing", "refs.json"), ("nested", "refs.parquet"), ("zlib", "refs.parq")],
)
def test_references_in_files(spec: str, name: str, tmp_path: Path) -> None:
    file, target = tmp_path / "cells.nd2", tmp_path / name
    file.write_bytes(build(SPECS[spec]).data)
    references = to_kerchunk(file, target, on_damage="ignore")
    if target.suffix == ".json":
        assert json.loads(target.read_text()) == references
    source: Any = str(target)
    if target.suffix != ".json":
        # With another library for parquet than fsspec's own choice.
        source = LazyReferenceMapper(
            source, fsspec.filesystem("file"), engine="pyarrow"
        )
    expected = wanted(file)
    found = read_references(source)
    xr.testing.assert_identical(found.transpose(*expected.dims), expected)


def test_parquet_needs_pyarrow(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="pip install pyarrow"):
        to_kerchunk(folder / "run0.nd2", tmp_path / "refs.parquet")
    assert not (tmp_path / "refs.parquet").exists()


def test_targets_without_a_format(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"refs\.txt.*json or"):
        to_kerchunk(folder / "run0.nd2", tmp_path / "refs.txt")
    with pytest.raises(ValueError, match="others cannot find <bytes>"):
        to_kerchunk((folder / "run0.nd2").read_bytes())


@pytest.mark.parametrize("way", ["?X-Amz-Signature=s1gned", "me:s1gned@"])
def test_credentials_are_in_no_reference(way: str, folder: Path) -> None:
    """They would let in who has the references, until they expire."""
    url = "https://h/run0.nd2"
    signed = url + way if way[0] == "?" else url.replace("h/", f"{way}h/")
    with pytest.raises(ValueError, match="give the plain URL") as caught:
        Nd2Parser()(signed, registry())
    assert "s1gned" not in str(caught.value)


def test_references_to_signed_urls(folder: Path) -> None:
    with HttpServer({"/run0.nd2": folder / "run0.nd2"}) as site:
        signed = site.url("/run0.nd2?X-Amz-Signature=s1gned")
        with pytest.raises(ValueError, match=r"Signature=\*\*\*.*url= with") as caught:
            to_kerchunk(signed)
        assert "s1gned" not in str(caught.value)
        refs = to_kerchunk(signed, url="s3://lab/run0.nd2")["refs"]
        with fsspec.open(site.url("/run0.nd2")) as file:
            same = to_kerchunk(file)["refs"]
    assert refs["image/0.0.0.0.0"][0] == "s3://lab/run0.nd2"
    assert same["image/0.0.0.0.0"] == [
        site.url("/run0.nd2"),
        *refs["image/0.0.0.0.0"][1:],
    ]
    assert "s1gned" not in json.dumps(refs)


def test_headers_of_local_files_are_checked(tmp_path: Path) -> None:
    file = build(SyntheticSpec(loops=(TimeLoop(5),), width=8, height=6))
    data = bytearray(file.data)
    offset, _ = file.chunks["ImageDataSeq|1!"]
    data[offset + 16 : offset + 31] = b"ImageDataSeq|7!"
    path = tmp_path / "cells.nd2"
    path.write_bytes(data)
    with pytest.raises(CorruptChunk, match=r"ImageDataSeq\|1!"):
        to_kerchunk(path)
    refs = to_kerchunk(path, check_frames=False)["refs"]
    assert refs["image/1.0.0.0"][1] == offset + 4096


def test_unchecked_references_cost_no_read() -> None:
    file = build(SPECS["nested"])
    with FrameStore.open(file.data) as store:
        with count_reads() as counter:
            unchecked = frame_references(store, store.state, check=False)
        assert counter.reads == 0
        with count_reads() as counter:
            checked = frame_references(store, store.state, check=True)
        assert counter.reads <= store.table.n_frames
    np.testing.assert_array_equal(checked.offsets, unchecked.offsets)
    np.testing.assert_array_equal(checked.nbytes, unchecked.nbytes)


def test_virtualizarr_is_not_needed_for_kerchunk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("virtualizarr", "kerchunk", "limnd2_xr.arrays.manifest_store"):
        monkeypatch.setitem(sys.modules, name, None)
    assert "image/0.0.0.0.0" in to_kerchunk(folder / "run0.nd2")["refs"]
