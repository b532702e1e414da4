"""OME-Zarr behind URLs: in memory, and on an S3 server."""

from __future__ import annotations

import pickle
import uuid
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest
import xarray as xr
import zarr

from limnd2_xr.export.export_journal import Journal
from limnd2_xr.export.zarr_target import RemoteTarget, open_target

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {"key": "a", "secret": "b"}


def dataset(add: int = 0) -> xr.Dataset:
    values = np.arange(3 * 60 * 50, dtype="u2").reshape(3, 60, 50) + np.uint16(add)
    return xr.Dataset({"image": (("T", "Y", "X"), values)}).chunk({"T": 1})


@pytest.fixture(scope="module")
def s3(s3_server: str) -> dict[str, Any]:
    """Storage options of a local S3 server with the bucket ``images``."""
    options = {**KEYS, "endpoint_url": s3_server}
    fsspec.filesystem("s3", **options).mkdir("images")
    return options


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """URL of a hierarchy to be, and storage options."""
    name = uuid.uuid4().hex
    if request.param == "memory":
        return f"memory://{name}/a.zarr", {}
    return f"s3://images/{name}.zarr", request.getfixturevalue("s3")


def read(place: tuple[str, dict[str, Any]], path: str = "0") -> Any:
    url, options = place
    fs, root = fsspec.url_to_fs(url, **options)
    mapping = {
        name.removeprefix(root).lstrip("/"): fs.cat_file(name) for name in fs.find(root)
    }
    store = zarr.storage.MemoryStore(
        {
            key: zarr.core.buffer.default_buffer_prototype().buffer.from_bytes(data)
            for key, data in mapping.items()
        }
    )
    return zarr.open_array(store, path=path, mode="r")[:]


def files(place: tuple[str, dict[str, Any]]) -> list[str]:
    fs, root = fsspec.url_to_fs(place[0], **place[1])
    fs.invalidate_cache()
    above = root.rpartition("/")[0]
    stem = root.rpartition("/")[2].removesuffix(".zarr")
    return sorted(
        name.removeprefix(above) for name in fs.find(above) if f"/{stem}" in name
    )


def test_a_url_is_written_replaced_and_refused(
    place: tuple[str, dict[str, Any]],
) -> None:
    url, options = place
    dataset().nd2.to_ome_zarr(url, storage_options=options, pyramid=1)
    np.testing.assert_array_equal(read(place)[:, 0], dataset()["image"])
    names = files(place)
    assert not [name for name in names if ".export" in name]
    with pytest.raises(FileExistsError, match="overwrite=True"):
        dataset(1).nd2.to_ome_zarr(url, storage_options=options, pyramid=1)
    dataset(1).nd2.to_ome_zarr(url, storage_options=options, pyramid=1, overwrite=True)
    np.testing.assert_array_equal(read(place)[:, 0], dataset(1)["image"])
    assert files(place) == names


def test_a_broken_export_is_no_zarr_and_is_continued(
    place: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, options = place
    note = Journal.note

    def failing(self: Journal, image: int, block: int, found: Any) -> None:
        if block == 1:
            raise OSError("the network is down")
        note(self, image, block, found)

    monkeypatch.setattr("limnd2_xr.export.zarr_blocks.BLOCK_NBYTES", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "note", failing)
        with pytest.raises(OSError, match="network"):
            dataset().nd2.to_ome_zarr(url, storage_options=options)
    assert not [name for name in files(place) if name.endswith("a.zarr/zarr.json")]
    with pytest.raises(FileExistsError, match="resume=True continues it"):
        dataset().nd2.to_ome_zarr(url, storage_options=options)
    with pytest.raises(ValueError, match="other options"):
        dataset().nd2.to_ome_zarr(
            url, storage_options=options, resume=True, compressor=None
        )
    dataset().nd2.to_ome_zarr(url, storage_options=options, resume=True)
    np.testing.assert_array_equal(read(place)[:, 0], dataset()["image"])
    assert not [name for name in files(place) if ".export" in name]
    dataset().nd2.to_ome_zarr(url, storage_options=options, resume=True)


def test_a_replacement_that_broke_off_is_continued(
    place: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, storage = place
    options: dict[str, Any] = {"storage_options": storage, "pyramid": 1}
    dataset().nd2.to_ome_zarr(url, **options)
    names = files(place)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "note", _fails)
        with pytest.raises(OSError, match="network"):
            dataset(1).nd2.to_ome_zarr(url, overwrite=True, **options)
    np.testing.assert_array_equal(read(place)[:, 0], dataset()["image"])
    with monkeypatch.context() as patch:  # when the old one is gone
        fs, _ = fsspec.url_to_fs(url, **storage)  # the same for all
        patch.setattr(fs, "copy", _fails)
        with pytest.raises(OSError, match="network"):
            dataset(1).nd2.to_ome_zarr(url, overwrite=True, resume=True, **options)
    with pytest.raises(ValueError, match="other options"):
        dataset(2).nd2.to_ome_zarr(url, resume=True, **options)
    dataset(1).nd2.to_ome_zarr(url, overwrite=True, resume=True, **options)
    np.testing.assert_array_equal(read(place)[:, 0], dataset(1)["image"])
    assert files(place) == names


def _fails(*_args: Any, **_options: Any) -> None:
    raise OSError("the network is down")


def test_what_is_behind_a_url_and_no_zarr_stays() -> None:
    name = uuid.uuid4().hex
    fs = fsspec.filesystem("memory")
    fs.pipe_file(f"/{name}/thesis.docx", b"years of work")
    with pytest.raises(FileExistsError, match="no zarr"):
        dataset().nd2.to_ome_zarr(f"memory://{name}", overwrite=True)
    assert fs.cat_file(f"/{name}/thesis.docx") == b"years of work"


def test_a_remote_target_travels_without_its_connection_and_shows_no_secrets() -> None:
    target = open_target("memory://bucket/a", {"secret": "hush"})
    assert isinstance(target, RemoteTarget)
    assert "hush" not in repr(target)
    again = pickle.loads(pickle.dumps(target))
    assert again == target


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_storage_options_are_for_urls(scheme: str, tmp_path: Path) -> None:
    dest = f"{scheme}{tmp_path / 'cells.ome.zarr'}"
    with pytest.raises(ValueError, match="storage_options are for URLs"):
        dataset().nd2.to_ome_zarr(dest, storage_options={"key": "of no use"})
    assert list(tmp_path.iterdir()) == []
