"""Sequences of TIFF and PNG files: names, pixels, conversion, failures."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr import Nd2Warning
from limnd2_xr.export.file_names import file_name, safe_part

if TYPE_CHECKING:
    from pathlib import Path


def image(dims: str = "TZCYX", dtype: str = "u2") -> xr.DataArray:
    sizes = {"T": 2, "P": 2, "Z": 2, "C": 2, "Y": 12, "X": 10, "S": 3}
    shape = [sizes[dim] for dim in dims]
    values = np.random.default_rng(2).integers(0, 200, shape).astype(dtype)
    coords: dict[str, Any] = {"C": ["DAPI", "a/b"]} if "C" in dims else {}
    return xr.DataArray(values, dims=tuple(dims), coords=coords, name="cells")


def test_names_follow_the_template_and_pixels_the_names(tmp_path: Path) -> None:
    found = image()
    template = "{name}_t{T:03}_z{Z}_{C}.tif"
    paths = found.nd2.to_tiff_sequence(tmp_path / "new", template=template)
    assert paths[0].name == "cells_t000_z0_DAPI.tif"
    assert paths[-1].name == "cells_t001_z1_a_b.tif"
    assert sorted(tmp_path.joinpath("new").iterdir()) == sorted(paths)
    planes = found.values.reshape(-1, 12, 10)
    for path, plane in zip(paths, planes, strict=True):
        np.testing.assert_array_equal(tifffile.imread(path), plane)


def test_without_a_template_everything_is_named(tmp_path: Path) -> None:
    found = image("PTCYX").assign_coords(P=["A", "B"])
    names = [path.name for path in found.nd2.to_png_sequence(tmp_path)]
    assert names[1] == "cells_t0_A_a_b.png"
    assert len(set(names)) == 8
    one = found.isel(P=0, T=0, C=0)
    assert [p.name for p in one.nd2.to_tiff_sequence(tmp_path)] == ["cells.tif"]


@pytest.mark.realdata
def test_samples_as_png(each_sample: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Nd2Warning)
        with xr.open_dataset(each_sample) as ds:
            pixels = ds["image"].load()
            if pixels.dtype.kind == "f":
                with pytest.raises(ValueError, match="scale"):
                    ds.nd2.to_png_sequence(tmp_path / "p")
                assert not (tmp_path / "p").exists()
                return
            paths = ds.nd2.to_png_sequence(tmp_path / "p")
    inner = pixels.shape[-3:] if "S" in pixels.dims else pixels.shape[-2:]
    # No sample has loops in another order than its dims.
    for path, plane in zip(paths, pixels.values.reshape(-1, *inner), strict=True):
        found = imagecodecs.png_decode(path.read_bytes())
        np.testing.assert_array_equal(found, plane)


def test_bits_are_converted_only_when_asked_for(tmp_path: Path) -> None:
    found = image("TYX").astype("f4") / 200
    paths = found.nd2.to_png_sequence(tmp_path, scale=255, dtype="u1")
    seen = imagecodecs.png_decode(paths[1].read_bytes())
    assert seen.dtype == np.uint8
    np.testing.assert_array_equal(seen, np.rint(found.values[1] * np.float64(255)))
    with pytest.raises(ValueError, match="do not fit"):
        image("TYX").nd2.to_tiff_sequence(tmp_path / "x", scale=1000)
    kept = image("TYX", "f4").nd2.to_tiff_sequence(tmp_path / "f")
    assert tifffile.imread(kept[0]).dtype == np.float32
    with pytest.raises(ValueError, match="uint32"):
        image("TYX", "u4").nd2.to_png_sequence(tmp_path / "y")


def test_rgb_and_lazy_arrays(tmp_path: Path) -> None:
    found = image("TYXS", "u1")
    for kind, read in (
        ("tiff", tifffile.imread),
        ("png", lambda p: imagecodecs.png_decode(p.read_bytes())),
    ):
        write = getattr(found.chunk({"T": 1}).nd2, f"to_{kind}_sequence")
        for path, plane in zip(write(tmp_path / kind), found.values, strict=True):
            np.testing.assert_array_equal(read(path), plane)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{name}_{T}.tif", "lacks Z, C"),
        ("{name}_{T}_{Z}_{C}_{well}.tif", "has well"),
        ("{T}_{Z}_{C", "expected '}'"),
        ("{T}_{Z}_{C:d}.tif", "format"),
        ("../{T}_{Z}_{C}.tif", "no name of a file"),
        ("{}_{Z}_{C}.tif", "no name"),
    ],
)
def test_templates_that_do_not_fit_are_refused(
    template: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=told):
        image().nd2.to_tiff_sequence(tmp_path / "new", template=template)
    assert not list(tmp_path.iterdir())


def test_names_that_become_the_same_are_refused(tmp_path: Path) -> None:
    for labels in (["a/", "a?"], ["GFP", "gfp"]):
        found = image("CYX").assign_coords(C=labels)
        with pytest.raises(ValueError, match="two images"):
            found.nd2.to_tiff_sequence(tmp_path / "new")
        assert not list(tmp_path.iterdir())
        found.nd2.to_tiff_sequence(tmp_path / str(labels[0][0]), template="{c}.tif")
        for path in tmp_path.rglob("*"):
            if path.is_file():
                path.unlink()
        for path in tmp_path.iterdir():
            path.rmdir()


def test_existing_files_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    found = image("TYX")
    (tmp_path / "cells_t1.tif").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        found.nd2.to_tiff_sequence(tmp_path)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"mine"]
    found.nd2.to_tiff_sequence(tmp_path, overwrite=True)
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "cells_t1.tif"), found.values[1]
    )


@given(st.text(st.characters(codec=None), max_size=300))
def test_any_label_makes_a_name(label: str) -> None:
    safe = safe_part(label)
    assert not set(safe) & set('<>:"/\\|?*\0\n')
    assert len(safe.encode("utf-8")) <= 200
    assert file_name("x{C}.tif", {"C": label}) == f"x{safe}.tif"
