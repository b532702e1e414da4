"""Exports to an S3 server and from it, and the command that users of limnd2 know."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from typer.testing import CliRunner

from limnd2_xr.cli.app import app
from limnd2_xr.cli.ome_zarr_export import ome_zarr_app
from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from typer.testing import Result

KEYS = {"key": "testkey", "secret": "testsecret"}


@pytest.fixture(scope="module")
def s3(s3_server: str) -> Any:
    """File system of a local S3 server with the bucket ``images``."""
    fs = fsspec.filesystem("s3", endpoint_url=s3_server, **KEYS)
    fs.mkdir("images")
    return fs


@pytest.fixture
def options(s3: Any) -> list[str]:
    words = [f"{key}={value}" for key, value in KEYS.items()]
    words.append(f"endpoint_url={s3.storage_options['endpoint_url']}")
    return [f"--storage-option={word}" for word in words]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """cells.nd2 in a folder of its own, where commands run."""
    monkeypatch.chdir(tmp_path)
    spec = SyntheticSpec(loops=(TimeLoop(3),), width=40, height=20)
    return build(spec).save(tmp_path / "cells.nd2")


@pytest.fixture
def pixels(file: Path) -> NDArray[np.uint16]:
    with xr.open_dataset(file) as ds:
        values: NDArray[np.uint16] = ds["image"].values
    return values


def export(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def ome_zarr(*arguments: object) -> Result:
    return CliRunner().invoke(ome_zarr_app, list(map(str, arguments)))


def test_ome_zarr_export_as_limnd2_has_it(file: Path, pixels: NDArray[Any]) -> None:
    result = ome_zarr("cells.nd2")
    assert (result.exit_code, result.stderr) == (0, "")
    np.testing.assert_array_equal(
        zarr.open_array("cells.ome.zarr/0", mode="r")[:], pixels
    )
    assert zarr.open_group("cells.ome.zarr", mode="r").metadata.zarr_format == 3
    assert ome_zarr("cells.nd2", "--output-folder", "exports").exit_code == 0
    assert (file.parent / "exports" / "cells.ome.zarr" / "zarr.json").exists()

    result = ome_zarr("cells.nd2")
    assert result.exit_code == 2
    assert "cells.ome.zarr exists already" in result.stderr
    assert ome_zarr("cells.nd2", "--overwrite").exit_code == 0
    assert ome_zarr("none.nd2").exit_code == 1


@pytest.mark.slow
def test_ome_zarr_on_s3(
    s3: Any, options: list[str], file: Path, pixels: NDArray[Any]
) -> None:
    words = (file, "--s3-prefix", "s3://images/zarr", *options)
    result = ome_zarr(*words)
    assert (result.exit_code, result.stderr) == (0, "")
    s3.get("images/zarr/cells.ome.zarr", "back.zarr", recursive=True)
    np.testing.assert_array_equal(zarr.open_array("back.zarr/0", mode="r")[:], pixels)
    assert result.stdout.splitlines()[1].split()[1] == "s3://images/zarr/cells.ome.zarr"

    assert ome_zarr(*words).exit_code == 2
    result = ome_zarr(file, "--s3-prefix=s3://nobody/zarr", *options)
    assert result.exit_code == 1
    assert "testsecret" not in result.stdout + result.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The data type:FutureWarning")
def test_files_and_folders_on_s3(
    s3: Any, options: list[str], file: Path, pixels: NDArray[Any]
) -> None:
    s3.put_file(str(file), "images/in/cells.nd2")
    for to in ("ome-tiff", "zarr", "tiff"):
        # A glob that the server expands; from one bucket into it again.
        words = ("s3://images/in/*.nd2", "--to", to, "--s3-prefix=s3://images/out")
        result = export(*words, *options, "--json-progress")
        assert (result.exit_code, result.stderr) == (0, "")
        end = json.loads(result.stdout.splitlines()[-2])
        assert (end["event"], end["status"]) == ("end", "done")
        assert end["bytes"] > pixels.nbytes // 10
        assert export(*words, *options).exit_code == 2
    s3.get("images/out/", "back/", recursive=True)
    np.testing.assert_array_equal(
        np.squeeze(tifffile.imread("back/cells.ome.tif")), np.squeeze(pixels)
    )
    np.testing.assert_array_equal(
        tifffile.imread("back/cells_tiff/cells_t1.tif"), pixels[1, 0]
    )
    with xr.open_zarr("back/cells.zarr", consolidated=False) as ds:
        np.testing.assert_array_equal(ds["image"], pixels)
