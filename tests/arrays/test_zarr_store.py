"""Files as OME-Zarr stores: the pixels of `open_dataset`, valid, without a copy."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import time
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import ome_zarr_models
import psutil
import pytest
import tensorstore
import xarray as xr
import yaozarrs
import zarr
from hypothesis import given
from hypothesis import strategies as st
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

import limnd2_xr
from limnd2_xr.arrays.serving import ZarrServer
from limnd2_xr.arrays.zarr_store import zarr_store
from limnd2_xr.errors import CorruptChunk, StaleFile, UnsupportedFeature
from limnd2_xr.testing.contents import contents
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

    from numpy.typing import NDArray

    from limnd2_xr.arrays.zarr_store import Nd2ZarrStore

# zarr says of its own codec for zlib that no specification has it.
pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in")

TWO = (ChannelSpec("DAPI", color=0xFF0000), ChannelSpec("GFP", color=0x00FF00))
POINTS = tuple(Point(10.0 * i, 5.0 * i) for i in range(3))
DECODED = {"a3_z_3c_12bit", "c_rgb_u8"}
"""Rows padded by a part of a pixel: no codec of zarr describes that."""

RGB = ChannelSpec("Bright", components=3)
SPECS = {
    "nested": SyntheticSpec(
        loops=(ZLoop(2, step_um=0.5), TimeLoop(3)), channels=TWO, width=10, height=7
    ),
    "zlib": SyntheticSpec(
        loops=(TimeLoop(2),), channels=TWO, width=9, height=7, compression="zlib"
    ),
    "zlib_odd": SyntheticSpec(
        channels=(*TWO, ChannelSpec("third")), width=9, height=7, compression="zlib"
    ),
    "rgb": SyntheticSpec(loops=(ZLoop(3),), channels=(RGB,), dtype="uint8", width=12),
    "two_rgb": SyntheticSpec(channels=(RGB, RGB), dtype="uint8", width=10, height=6),
    "float": SyntheticSpec(loops=(TimeLoop(2),), dtype="float32", width=5, height=3),
    "positions": SyntheticSpec(
        loops=(TimeLoop(2), PositionLoop(POINTS), ZLoop(2)), width=8, height=6
    ),
    "custom_loop": SyntheticSpec(
        loops=(CustomLoop(2), TimeLoop(2)), width=8, height=6, channels=TWO
    ),
    "unknown_sizes": SyntheticSpec(
        loops=(TimeLoop(3),), width=9, height=7, map_style="size_equals_offset"
    ),
    "missing": SyntheticSpec(
        loops=(TimeLoop(4),), width=9, height=7, missing=frozenset({2})
    ),
    "from_one": SyntheticSpec(loops=(TimeLoop(3),), width=8, height=6, first_frame=1),
    "one_frame": SyntheticSpec(width=8, height=6),
}


def images(dataset: xr.Dataset) -> list[NDArray[Any]]:
    """Pixels of each position in the order of OME-Zarr, components as stored."""
    image = dataset["image"]
    if "S" in image.dims:
        image = image.isel(S=[2, 1, 0])
    image = image.stack(c=[dim for dim in ("C", "S") if dim in image.dims])
    outer = [dim for dim in ("U", "P") if dim in image.dims]
    image = image.stack(position=outer) if outer else image.expand_dims("position")
    axes = [dim for dim in ("T", "c", "Z", "Y", "X") if dim in image.dims]
    pixels = image.transpose("position", *axes).values
    return list(pixels)


def paths(store: Nd2ZarrStore) -> list[str]:
    """Paths of the images of a store."""
    attrs = zarr.open_group(store, mode="r").attrs["ome"]
    assert isinstance(attrs, dict)
    if "multiscales" in attrs:
        return [""]
    if "plate" in attrs:
        found = []
        for well in attrs["plate"]["wells"]:
            group: Any = zarr.open_group(store, path=well["path"], mode="r")
            of_well = group.attrs["ome"]["well"]["images"]
            found += [f"{well['path']}/{image['path']}" for image in of_well]
        return found
    series: Any = zarr.open_group(store, path="OME", mode="r").attrs["ome"]
    return list(series["series"])


def array(store: Any, path: str) -> Any:
    found: Any = zarr.open_array(store, path=path, mode="r")
    return found


def join(path: str, name: str) -> str:
    return f"{path}/{name}".lstrip("/")


def value(store: Nd2ZarrStore, key: str, part: Any = None) -> bytes | None:
    found = asyncio.run(store.get(key, default_buffer_prototype(), part))
    return None if found is None else found.to_bytes()


def keys(store: Nd2ZarrStore) -> list[str]:
    async def collect() -> list[str]:
        return [key async for key in store.list()]

    return asyncio.run(collect())


def validate(store: Nd2ZarrStore, folder: Path) -> None:
    """Have yaozarrs validate the metadata, which it wants to find in a folder."""
    for key in keys(store):
        if key.endswith("zarr.json"):
            target = folder / "image.zarr" / key
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(value(store, key) or b"")
    yaozarrs.validate_zarr_store(folder / "image.zarr")


def check(file: Any, folder: Path, **options: Any) -> None:
    """Compare all pixels with those of `open_dataset`, and have others validate it all."""
    with (
        zarr_store(file, on_damage="ignore", **options) as store,
        xr.open_dataset(file, engine="nd2", on_damage="ignore") as dataset,
    ):
        wanted = images(dataset)
        where = paths(store)
        assert len(where) == len(wanted)
        for path, pixels in zip(where, wanted, strict=True):
            found = array(store, join(path, "0"))
            np.testing.assert_array_equal(found[...], pixels)
            assert found.dtype == pixels.dtype
            group = zarr.open_group(store, path=path, mode="r")
            ome_zarr_models.open_ome_zarr(group)
        validate(store, folder)


# ---- pixels and validity --------------------------------------------------------------


@pytest.mark.realdata
def test_samples(each_sample: Path, tmp_path: Path) -> None:
    check(each_sample, tmp_path)


@pytest.mark.parametrize("name", SPECS)
def test_synthetic_files(name: str, tmp_path: Path) -> None:
    check(build(SPECS[name]).data, tmp_path)


@pytest.mark.parametrize("name", ["zlib", "zlib_odd", "unknown_sizes"])
def test_inflated_files(name: str, tmp_path: Path) -> None:
    check(build(SPECS[name]).data, tmp_path, inflate=True)


@pytest.mark.parametrize("channels", [TWO, (RGB,)])
def test_format_1(channels: tuple[ChannelSpec, ...], tmp_path: Path) -> None:
    bits = 8 if channels == (RGB,) else 12
    spec = LegacySpec(
        loops=(TimeLoop(2),), channels=channels, width=12, height=10, bits=bits
    )
    check(build_legacy(spec).data, tmp_path)


@given(
    width=st.integers(1, 9),
    height=st.integers(1, 4),
    components=st.integers(1, 4),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    compression=st.sampled_from([None, "zlib"]),
    inflate=st.booleans(),
)
def test_any_layout(
    width: int,
    height: int,
    components: int,
    dtype: str,
    compression: Any,
    inflate: bool,
) -> None:
    channels = tuple(ChannelSpec(f"c{i}") for i in range(components))
    spec = SyntheticSpec(
        loops=(TimeLoop(2),),
        width=width,
        height=height,
        channels=channels,
        dtype=dtype,
        compression=compression,
    )
    file = build(spec)
    with zarr_store(file.data, inflate=inflate) as store:
        found = array(store, "0")[...]
    # (T, C, Y, X), as the bytes that were written tell
    np.testing.assert_array_equal(found, np.moveaxis(file.frames, -1, 1))


# ---- bytes ----------------------------------------------------------------------------


@pytest.mark.realdata
def test_chunks_are_bytes_of_the_file(each_sample: Path) -> None:
    content = each_sample.read_bytes()
    with zarr_store(each_sample, on_damage="ignore") as store:
        chunks = [key for key in keys(store) if "0/c/" in key]
        assert chunks
        for key in chunks[:4]:
            found = value(store, key)
            assert found is not None
            assert (found in content) == (each_sample.stem not in DECODED)


def test_a_chunk_is_its_frame_without_header_name_and_time() -> None:
    file = build(SPECS["zlib"])
    with zarr_store(file.data) as store:
        offset, nbytes = file.chunks["ImageDataSeq|1!"]
        stored = file.data[offset:][4096 - 8 :][:nbytes]
        assert value(store, "0/c/1/0/0/0") == stored[8:]


def test_codecs_are_those_of_zarr() -> None:
    with zarr_store(build(SPECS["zlib"]).data) as store:
        document = json.loads(value(store, "0/zarr.json") or b"")
    assert document["codecs"] == [
        {"name": "transpose", "configuration": {"order": [0, 2, 3, 1]}},
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "numcodecs.zlib", "configuration": {"level": 1}},
    ]
    with zarr_store(build(SPECS["zlib"]).data, inflate=True) as store:
        document = json.loads(value(store, "0/zarr.json") or b"")
    assert [codec["name"] for codec in document["codecs"]] == ["transpose", "bytes"]


def test_padding_reaches_over_the_edge() -> None:
    """9 pixels of 2 bytes are 18 bytes, so rows have 20: 10 pixels."""
    with zarr_store(build(SPECS["missing"]).data, on_damage="ignore") as store:
        found = array(store, "0")
        assert (found.shape, found.chunks) == ((4, 1, 7, 9), (1, 1, 7, 10))


def test_a_missing_frame_has_no_key() -> None:
    with zarr_store(build(SPECS["missing"]).data, on_damage="ignore") as store:
        assert value(store, "0/c/2/0/0/0") is None
        assert not asyncio.run(store.exists("0/c/2/0/0/0"))
        assert asyncio.run(store.exists("0/c/3/0/0/0"))
        assert not array(store, "0")[2].any()


def test_every_byte_request() -> None:
    with zarr_store(build(SPECS["nested"]).data) as store:
        for key in ("0/zarr.json", "0/c/1/0/1/0/0"):
            whole = value(store, key)
            assert whole is not None
            requests: list[tuple[Any, bytes]] = [
                (RangeByteRequest(3, 9), whole[3:9]),
                (RangeByteRequest(3, 10**6), whole[3:]),
                (OffsetByteRequest(5), whole[5:]),
                (SuffixByteRequest(7), whole[-7:]),
                (SuffixByteRequest(10**6), whole),
            ]
            for request, expected in requests:
                assert value(store, key, request) == expected
            found = asyncio.run(
                store.get_partial_values(
                    default_buffer_prototype(),
                    [(key, request) for request, _ in requests] + [("no", None)],
                )
            )
            parts = [None if part is None else part.to_bytes() for part in found]
            assert parts == [*(expected for _, expected in requests), None]


@pytest.mark.parametrize(
    "key",
    [
        "",
        ".zgroup",
        ".zattrs",
        "0",
        "0/c",
        "0/c/0",
        "0/c/0/0/0/0/0/0",
        "0/c/00/0/0/0/0",
        "0/c/3/0/0/0/0",
        "0/c/-1/0/0/0/0",
        "0/c/0/0/0/0/x",
        "1/c/0/0/0/0/0",
        "c/0/0/0/0/0",
    ],
)
def test_there_is_nothing_else(key: str) -> None:
    with zarr_store(build(SPECS["nested"]).data) as store:
        assert value(store, key) is None
        assert not asyncio.run(store.exists(key))
        with pytest.raises(FileNotFoundError):
            asyncio.run(store.getsize(key))


@pytest.mark.parametrize("name", ["nested", "positions", "missing", "two_rgb"])
def test_listing_and_sizes_agree_with_reading(name: str) -> None:
    with zarr_store(build(SPECS[name]).data, on_damage="ignore") as store:
        listed = keys(store)
        assert len(set(listed)) == len(listed)
        for key in listed:
            found = value(store, key)
            assert found is not None
            assert asyncio.run(store.getsize(key)) == len(found)

        async def walk(folder: str) -> list[str]:
            found = []
            async for child in store.list_dir(folder):
                path = join(folder, child)
                found += [path] if path in listed else await walk(path)
            return found

        async def within(prefix: str) -> list[str]:
            return [key async for key in store.list_prefix(prefix)]

        assert sorted(asyncio.run(walk(""))) == sorted(listed)
        for prefix in ("", "0", "0/c", "0/c/1/", "1/0/c/0/0/0"):
            expected = [key for key in listed if key.startswith(prefix)]
            assert sorted(asyncio.run(within(prefix))) == sorted(expected)


# ---- what is read ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["path", "bytes"])
def test_one_chunk_is_one_read_of_its_frame(kind: str, tmp_path: Path) -> None:
    spec = SyntheticSpec(loops=(TimeLoop(3),), channels=TWO, width=64, height=48)
    file: Any = build(spec).data
    if kind == "path":
        path = tmp_path / "cells.nd2"
        path.write_bytes(file)
        file = path
    frame_nbytes = 64 * 48 * 4
    with zarr_store(file) as store:
        image = array(store, "0")
        with count_reads() as counter:
            image[1]
        assert counter.reads == 1
        # The header is looked at within the same read, once.
        assert counter.nbytes in {frame_nbytes, frame_nbytes + 4096}
        with count_reads() as counter:
            image[1, 0, 5:7, 3:4]  # a part of a chunk costs all of it
        assert (counter.reads, counter.nbytes) == (1, frame_nbytes)
        with count_reads() as counter:
            image[...]
        assert counter.reads == 3


def test_frames_on_a_server_are_requested_at_once() -> None:
    spec = SyntheticSpec(loops=(TimeLoop(12),), width=128, height=96)
    file = build(spec)
    with (
        HttpServer({"/cells.nd2": file.data}, latency=0.02) as site,
        zarr_store(site.url("/cells.nd2")) as store,
    ):
        image = array(store, "0")
        site.reset()
        found = image[...]
        requests = [request.range for request in site.requests]
        assert len(set(requests)) == len(requests) <= 12
        assert site.max_concurrent > 2
        np.testing.assert_array_equal(found[:, 0], file.frames[..., 0])
        site.reset()
        image[7]
        (request,) = site.requests
        start = file.chunks["ImageDataSeq|7!"][0] + 4096
        assert request.range == (start, start + 128 * 96 * 2)


def test_opening_and_listing_read_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "cells.nd2"
    path.write_bytes(build(SPECS["positions"]).data)
    with zarr_store(path) as store, count_reads() as counter:
        zarr.open_group(store, mode="r")
        xr.open_zarr(store, group="1", chunks=None).close()
        assert keys(store)
        assert asyncio.run(store.getsize("1/0/c/0/0/0/0/0")) == 8 * 6 * 2
    assert counter.reads == 0


def test_damage_is_an_error_that_names_the_frame() -> None:
    file = build(SPECS["nested"])
    data = bytearray(file.data)
    offset, _ = file.chunks["ImageDataSeq|1!"]
    data[offset + 16 : offset + 31] = b"ImageDataSeq|7!"
    with zarr_store(bytes(data), on_damage="ignore") as store:
        image = array(store, "0")
        # Frame 1 is T 1, Z 0: time is the inner loop.
        with pytest.raises(CorruptChunk, match=r"ImageDataSeq\|1!"):
            image[1, :, 0]
        np.testing.assert_array_equal(image[2, 0, 1], file.frames[5, :, :, 0])


def test_lossy_files_are_refused() -> None:
    spec = SyntheticSpec(compression="lossy")
    with pytest.raises(UnsupportedFeature, match="lossy"):
        zarr_store(build(spec).data)


# ---- what others see ------------------------------------------------------------------


def test_axes_scales_and_channels() -> None:
    spec = SyntheticSpec(
        loops=(
            TimeLoop(3, period_ms=2000.0, avg_period_ms=2000.0),
            ZLoop(2, step_um=0.7),
        ),
        channels=TWO,
        width=8,
        height=6,
        calibration_um=0.25,
        significant_bits=12,
    )
    with zarr_store(build(spec).data) as store:
        attrs: Any = zarr.open_group(store, mode="r").attrs["ome"]
    (multiscale,) = attrs["multiscales"]
    assert attrs["version"] == "0.5"
    assert multiscale["axes"] == [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "c", "type": "channel"},
        {"name": "z", "type": "space", "unit": "micrometer"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    place, shift = multiscale["datasets"][0]["coordinateTransformations"]
    assert place["scale"] == pytest.approx([2.0, 1.0, 0.7, 0.25, 0.25])
    assert shift["translation"] == [0.0] * 5
    shown = [(one["label"], one["color"]) for one in attrs["omero"]["channels"]]
    assert shown == [("DAPI", "0000FF"), ("GFP", "00FF00")]
    window = {"min": 0.0, "max": 4095.0, "start": 0.0, "end": 4095.0}
    assert attrs["omero"]["channels"][0]["window"] == window


def test_rgb_is_three_channels_in_the_order_of_the_file() -> None:
    with zarr_store(build(SPECS["rgb"]).data) as store:
        attrs: Any = zarr.open_group(store, mode="r").attrs["ome"]
    shown = [(one["label"], one["color"]) for one in attrs["omero"]["channels"]]
    assert shown == [("Blue", "0000FF"), ("Green", "00FF00"), ("Red", "FF0000")]
    with zarr_store(build(SPECS["two_rgb"]).data) as store:
        attrs = zarr.open_group(store, mode="r").attrs["ome"]
    labels = [one["label"] for one in attrs["omero"]["channels"]]
    assert labels[:4] == ["Bright Blue", "Bright Green", "Bright Red", "Bright_2 Blue"]


@pytest.mark.realdata
def test_display_ranges_are_windows(real_file: Callable[[str], Path]) -> None:
    path = real_file("fluo_c4")
    with zarr_store(path) as store, xr.open_dataset(path) as dataset:
        attrs: Any = zarr.open_group(store, mode="r").attrs["ome"]
        windows = [one["window"] for one in attrs["omero"]["channels"]]
        if "display_min" in dataset.coords:
            starts = dataset["display_min"].values.tolist()
            assert [window["start"] for window in windows] == starts
    assert all(w["min"] <= w["start"] < w["end"] <= w["max"] for w in windows)


def test_positions_are_a_series() -> None:
    with zarr_store(build(SPECS["positions"]).data) as store:
        root = zarr.open_group(store, mode="r")
        assert root.attrs["ome"] == {"version": "0.5", "bioformats2raw.layout": 3}
        assert store.images == ("0", "1", "2")
        series: Any = root["OME"].attrs["ome"]
        assert series["series"] == ["0", "1", "2"]
        image: Any = root["1"].attrs["ome"]
        assert image["multiscales"][0]["axes"][0]["name"] == "t"


def test_wells_are_a_plate(tmp_path: Path) -> None:
    names = ("A1", "B3", "A1")
    with xr.open_dataset(build(SPECS["positions"]).data) as dataset:
        dataset.load().assign_coords(well=("P", list(names))).nd2.to_nd2(
            tmp_path / "plate.nd2"
        )
    with (
        zarr_store(tmp_path / "plate.nd2") as store,
        xr.open_dataset(tmp_path / "plate.nd2") as dataset,
    ):
        root = zarr.open_group(store, mode="r")
        plate: Any = root.attrs["ome"]
        assert plate["plate"]["wells"] == [
            {"path": "A/1", "rowIndex": 0, "columnIndex": 0},
            {"path": "B/3", "rowIndex": 1, "columnIndex": 2},
        ]
        assert plate["plate"]["field_count"] == 2
        ome_zarr_models.open_ome_zarr(root)
        assert paths(store) == ["A/1/0", "A/1/1", "B/3/0"]
        assert store.images == ("A/1/0", "B/3/0", "A/1/1")
        wanted = images(dataset)
        for path, position in (("A/1/0", 0), ("A/1/1", 2), ("B/3/0", 1)):
            found = array(store, f"{path}/0")[...]
            np.testing.assert_array_equal(found, wanted[position])
        validate(store, tmp_path)


@pytest.fixture(scope="module")
def everything() -> bytes:
    """A file with copies and binary layers."""
    options: dict[str, Any] = {
        "loops": (TimeLoop(2), PositionLoop(POINTS[:2])),
        "channels": TWO,
        "width": 1030,
        "height": 8,
    }
    extra = contents(SyntheticSpec(**options))
    return build(SyntheticSpec(**options, extra_chunks=extra)).data


def test_stored_copies_are_levels(everything: bytes) -> None:
    with (
        zarr_store(everything, labels=False) as store,
        xr.open_datatree(everything, engine="nd2") as tree,
    ):
        attrs: Any = zarr.open_group(store, path="1", mode="r").attrs["ome"]
        first, second = attrs["multiscales"][0]["datasets"]
        assert (first["path"], second["path"]) == ("0", "1")
        scale, shift = second["coordinateTransformations"]
        assert scale["scale"] == [1.0, 1.0, 1.0, 1.0]
        assert shift["translation"] == [0.0, 0.0, 0.25, 0.25]
        stored = tree["levels/1/image"].isel(P=1)
        found = array(store, "1/1")
        assert found.shape == (2, 2, 4, 515)
        np.testing.assert_array_equal(found[...], stored.values)
    with zarr_store(everything, levels=False, labels=False) as store:
        assert not asyncio.run(store.exists("1/1/zarr.json"))
        assert "1" not in xr.open_zarr(store, group="1", chunks=None)


def test_binary_layers_are_labels(everything: bytes, tmp_path: Path) -> None:
    with (
        zarr_store(everything) as store,
        xr.open_datatree(everything, engine="nd2") as tree,
    ):
        attrs: Any = zarr.open_group(store, path="1/labels", mode="r").attrs["ome"]
        layers = list(tree["labels"].data_vars)
        assert len(layers) == len(attrs["labels"]) > 0
        for layer, name in zip(layers, attrs["labels"], strict=True):
            labels: Any = tree["labels"]
            wanted = labels[layer].isel(P=1).values
            assert wanted.any()
            found = array(store, f"1/labels/{name}/0")
            assert found.shape == (2, 1, 8, 1030)
            np.testing.assert_array_equal(found[:, 0], wanted)
            small = array(store, f"1/labels/{name}/1")
            np.testing.assert_array_equal(small[:, 0], wanted[:, ::2, ::2])
            group = zarr.open_group(store, path=f"1/labels/{name}", mode="r")
            assert isinstance(
                ome_zarr_models.open_ome_zarr(group), ome_zarr_models.v05.ImageLabel
            )
        validate(store, tmp_path)


def test_xarray_sees_labels_of_pixels() -> None:
    data = build(SPECS["nested"]).data
    with zarr_store(data) as store, xr.open_dataset(data) as dataset:
        found = xr.open_zarr(store, chunks=None)
        assert found["0"].dims == ("t", "c", "z", "y", "x")
        for axis in "tzyx":
            np.testing.assert_array_equal(found[axis], dataset[axis.upper()])
        assert found["x"].attrs["units"] == "um"
        top = dataset["Z"].values[1]
        place = {"x": 2.0, "z": top}
        wanted = dataset["image"].sel(X=2.0, Z=top).transpose("T", "C", "Y")
        assert (found["0"].sel(place).values == wanted.values).all()
        lazy = xr.open_zarr(store, consolidated=False, chunks={})
        assert (lazy["0"].max("t").values == found["0"].max("t").values).all()


@pytest.mark.parametrize("name", ["nested", "zlib", "positions", "rgb"])
def test_others_read_it_over_http(name: str) -> None:
    with (
        zarr_store(build(SPECS[name]).data, inflate=True) as store,
        ZarrServer({"my cells.zarr": store}) as server,
    ):
        path = paths(store)[-1]
        wanted = array(store, join(path, "0"))[...]
        url = join(server.urls["my cells.zarr"], path).rstrip("/")
        opened = tensorstore.open(
            {
                "driver": "zarr3",
                "kvstore": {"driver": "http", "base_url": f"{url}/0/"},
            }
        ).result()
        np.testing.assert_array_equal(opened.read().result(), wanted)
        assert (
            opened.domain.labels
            == array(store, join(path, "0")).metadata.dimension_names
        )
        location = parse_url(url)
        assert location is not None
        (node,) = Reader(location)()
        np.testing.assert_array_equal(node.data[0].compute(), wanted)
        found = xr.open_zarr(url, chunks=None)
        np.testing.assert_array_equal(found["0"], wanted)


# ---- the store as an object -----------------------------------------------------------


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    path = tmp_path / "cells.nd2"
    path.write_bytes(build(SPECS["nested"]).data)
    return path


def test_it_is_a_public_name() -> None:
    assert limnd2_xr.zarr_store is zarr_store
    assert "zarr_store" in limnd2_xr.__all__


def test_a_pickled_store_opens_the_file_again(cells: Path) -> None:
    with zarr_store(cells, labels=False) as store:
        wanted = int(array(store, "0")[...].sum(dtype=np.int64))
        pickled = pickle.dumps(store)
        again = pickle.loads(pickled)
        assert again == store
        assert hash(again) == hash(store)
        assert again != zarr_store(cells)
        assert array(again, "0")[...].sum(dtype=np.int64) == wanted
        again.close()


def test_a_changed_file_is_stale(cells: Path) -> None:
    with zarr_store(cells) as store:
        pickled = pickle.dumps(store)
    os.utime(cells, ns=(1, 1))
    again = pickle.loads(pickled)
    with pytest.raises(StaleFile):
        array(again, "0")


def open_files() -> list[str]:
    return [f.path for f in psutil.Process().open_files() if f.path.endswith(".nd2")]


def test_close_closes_the_file_and_reading_opens_it_again(cells: Path) -> None:
    store = zarr_store(cells)
    image = array(store, "0")
    first = image[0]
    store.close()
    assert open_files() == []
    np.testing.assert_array_equal(image[0], first)
    assert open_files() != []
    del image, store
    until = time.monotonic() + 5
    while open_files() and time.monotonic() < until:
        time.sleep(0.01)  # a thread that read may not have let go yet
    assert open_files() == []


def test_many_tasks_read_at_once(cells: Path) -> None:
    with zarr_store(cells) as store:
        chunks = [key for key in keys(store) if key.startswith("0/c/")]
        expected = [value(store, key) for key in chunks]

        async def read_all() -> list[bytes]:
            work = [store.get(key, default_buffer_prototype()) for key in chunks * 20]
            return [found.to_bytes() for found in await asyncio.gather(*work) if found]

        assert asyncio.run(read_all()) == expected * 20


def test_the_fused_pipeline_of_zarr_reads_it(cells: Path) -> None:
    if not hasattr(zarr.core.codec_pipeline, "FusedCodecPipeline"):
        pytest.skip("zarr 3.4 has it")
    with zarr_store(cells) as store:
        wanted = array(store, "0")[...]
        name = "zarr.core.codec_pipeline.FusedCodecPipeline"
        with zarr.config.set({"codec_pipeline.path": name}):
            np.testing.assert_array_equal(array(store, "0")[...], wanted)


# ---- the server -----------------------------------------------------------------------


@pytest.fixture
def server(cells: Path) -> Iterator[ZarrServer]:
    with (
        zarr_store(cells) as store,
        ZarrServer({"cells.zarr": store}, origin="https://viewer.example") as server,
    ):
        yield server


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, bytes, Any]:
    request = Request(url, method=method, headers=headers)
    try:
        with urlopen(request, timeout=10) as answer:
            return answer.status, answer.read(), answer.headers
    except HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def test_server_sends_ranges_and_what_browsers_ask_for(server: ZarrServer) -> None:
    url = f"{server.urls['cells.zarr']}/0/c/1/0/1/0/0"
    status, whole, headers = ask(url)
    assert (status, len(whole)) == (200, 10 * 7 * 4)
    assert headers["Access-Control-Allow-Origin"] == "https://viewer.example"
    for asked, part in (
        ("bytes=3-8", whole[3:9]),
        ("bytes=270-", whole[270:]),
        ("bytes=-5", whole[-5:]),
        ("bytes=270-9999", whole[270:]),
    ):
        status, body, headers = ask(url, Range=asked)
        assert (status, body) == (206, part)
        start = whole.index(part)
        assert headers["Content-Range"] == f"bytes {start}-{start + len(part) - 1}/280"
    for asked in ("bytes=280-", "bytes=9-3", "bytes=-0"):
        assert ask(url, Range=asked)[0] == 416
    assert ask(url, Range="lines=1-2")[:2] == (200, whole)
    status, body, headers = ask(url, "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", "280")
    status, body, headers = ask(url, "OPTIONS")
    assert (status, body) == (204, b"")
    assert "GET" in headers["Access-Control-Allow-Methods"]


def test_server_knows_nothing_else(server: ZarrServer, cells: Path) -> None:
    url = server.urls["cells.zarr"]
    root = url.rsplit("/", 1)[0]
    for other in (f"{url}/", f"{url}/9", root, f"{root}/../{cells.name}", f"{url}/%2e"):
        assert ask(other)[0] == 404


def test_server_tells_of_damage() -> None:
    file = build(SPECS["nested"])
    data = bytearray(file.data)
    offset, _ = file.chunks["ImageDataSeq|1!"]
    data[offset + 16 : offset + 31] = b"ImageDataSeq|7!"
    with (
        zarr_store(bytes(data), on_damage="ignore") as store,
        ZarrServer({"a.zarr": store}) as server,
    ):
        status, body, _ = ask(f"{server.urls['a.zarr']}/0/c/1/0/0/0/0")
    assert status == 500
    assert b"ImageDataSeq|1!" in body
