"""Raw images of a DeepSIM as a group of the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

from limnd2_xr.arrays.dataset import open_state
from limnd2_xr.arrays.deepsim_group import deepsim_group
from limnd2_xr.arrays.lazy import OpenWhileRead
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.deepsim import DeepSimImages, deepsim_chunk_name, encode_deepsim
from limnd2_xr.testing.counting import count_reads
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (5, 40, 300)
"""Raw images of a frame, rows and columns of each."""


def raw_images(component: int, number: int) -> Any:
    rng = np.random.default_rng([component, number])
    return rng.integers(0, 60000, SHAPE).astype("u2")


def raw(component: int, number: int, **changes: Any) -> bytes:
    options: dict[str, Any] = {
        "images": raw_images(component, number),
        "calibration_key": f"key {component}\0",
        "calibration_xml": "<calibration/>",
        "psf": 0.5 + number,
        "psf_default": 0.25,
        "iterations": 10 * number,
        "iterations_default": 7,
        "roi_x": -component,
        "roi_y": 300,
    }
    return encode_deepsim(DeepSimImages(**{**options, **changes}))


def group(
    tmp_path: Path, chunks: dict[str, bytes], **options: Any
) -> dict[str, xr.Dataset]:
    spec: dict[str, Any] = {
        "loops": (ZLoop(2), TimeLoop(3)),
        "channels": (ChannelSpec("DAPI"), ChannelSpec("GFP")),
        "width": 8,
        "height": 6,
    }
    spec |= options
    path = build(SyntheticSpec(**spec, extra_chunks=chunks)).save(tmp_path / "a.nd2")
    state = open_state(path)
    return deepsim_group(state, OpenWhileRead(state))


def chunks(*places: tuple[int, int]) -> dict[str, bytes]:
    return {deepsim_chunk_name(c, n): raw(c, n) for c, n in places}


def test_each_component_is_a_variable_over_the_loops(tmp_path: Path) -> None:
    made = group(tmp_path, chunks((0, 4), (0, 5), (1, 0), (1, 4)))
    assert list(made) == ["/deepsim"]
    ds = made["/deepsim"]
    first = ds["component_0"]
    assert first.dims == ("T", "Z", "raw", "Y_raw", "X_raw")
    assert first.shape == (3, 2, *SHAPE)
    assert first.dtype == "uint16"
    assert first.attrs["channel"] == "DAPI"
    assert first.attrs["component"] == 0
    assert first.attrs["calibration_key"] == "key 0"
    assert first.attrs["calibration_xml"] == "<calibration/>"
    np.testing.assert_array_equal(first.isel(T=1, Z=1), raw_images(0, 4))
    np.testing.assert_array_equal(
        ds["component_1"][0, 0, [4, 1], 7:20:3, -1],
        raw_images(1, 0)[[4, 1], 7:20:3, -1],
    )
    assert ds["component"].values.tolist() == [0, 1]
    assert ds["T"].size == 3


def test_frames_without_raw_images_are_zeros_without_settings(tmp_path: Path) -> None:
    ds = group(tmp_path, chunks((0, 4), (1, 0)))["/deepsim"]
    assert not ds["component_0"].isel(T=0).any()
    assert ds["psf"].dims == ("component", "T", "Z")
    nan = np.nan
    np.testing.assert_array_equal(ds["psf"][0], [[nan, nan], [nan, 4.5], [nan, nan]])
    np.testing.assert_array_equal(ds["iterations"][1, 0], [0, nan])
    assert float(ds["roi_x"][1, 0, 0]) == -1
    assert float(ds["roi_y"][0, 1, 1]) == 300
    assert float(ds["psf_default"][0, 1, 1]) == 0.25
    assert float(ds["iterations_default"][0, 1, 1]) == 7


def test_only_rows_that_are_asked_for_are_read(tmp_path: Path) -> None:
    state = open_state(
        build(SyntheticSpec(width=8, height=6, extra_chunks=chunks((0, 0)))).save(
            tmp_path / "a.nd2"
        )
    )
    with count_reads() as reads:
        made = deepsim_group(state, OpenWhileRead(state))["/deepsim"]
    assert reads.nbytes < 3 * 4500  # beginnings of the only chunk
    with count_reads() as reads:
        made["component_0"].isel(raw=3, Y_raw=slice(10, 12)).load()
    assert reads.nbytes < 4500 + 1000 + 2 * 300 * 2


def test_a_file_without_raw_images_has_no_group(tmp_path: Path) -> None:
    assert group(tmp_path, {}) == {}
    # One of a frame that the file does not have is none.
    assert group(tmp_path, chunks((0, 17))) == {}


def test_raw_images_of_another_shape_are_refused(tmp_path: Path) -> None:
    other = raw(0, 5, images=np.zeros((5, 40, 299), "u2"))
    some = chunks((0, 4)) | {deepsim_chunk_name(0, 5): other}
    ds = group(tmp_path, some)["/deepsim"]
    np.testing.assert_array_equal(ds["component_0"][1, 1], raw_images(0, 4))
    with pytest.raises(
        CorruptChunk, match=r"5 .* of 40 x 299 .* 5 of 40 x 300"
    ) as error:
        ds["component_0"][2, 1].load()
    assert error.value.chunk == deepsim_chunk_name(0, 5)
    some = chunks((0, 4)) | {deepsim_chunk_name(1, 0): other}
    with pytest.raises(CorruptChunk, match="40 x 299") as error:
        group(tmp_path, some)
    assert error.value.chunk == deepsim_chunk_name(1, 0)
    assert error.value.path


@pytest.mark.parametrize("damaged", [b"", bytes(500), raw(0, 0)[:-1]])
def test_damage_names_the_chunk(tmp_path: Path, damaged: bytes) -> None:
    name = deepsim_chunk_name(0, 0)
    with pytest.raises(CorruptChunk) as error:
        group(tmp_path, {name: damaged})
    assert error.value.chunk == name
    later = deepsim_chunk_name(0, 3)
    ds = group(tmp_path, chunks((0, 0)) | {later: damaged})["/deepsim"]
    with pytest.raises(CorruptChunk) as error:
        ds["component_0"].load()
    assert error.value.chunk == later
    with pytest.raises(CorruptChunk) as error:
        ds["psf"].load()
    assert error.value.chunk == later


def test_the_group_can_be_saved(tmp_path: Path) -> None:
    pytest.importorskip("h5netcdf")
    ds = group(tmp_path, chunks((0, 4), (1, 0)))["/deepsim"]
    ds.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as again:
        assert set(again.variables) == set(ds.variables)
        for name in ds.variables:
            assert again[name].variable.identical(ds[name].variable)
