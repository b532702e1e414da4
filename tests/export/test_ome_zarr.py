"""OME-Zarr: every layout, read again by the libraries that people open it with."""

from __future__ import annotations

import gc
import json
import warnings
from typing import TYPE_CHECKING, Any

import cloudpickle  # type: ignore[import-untyped]
import dask.array
import numpy as np
import ome_zarr_models
import ome_zarr_models.v04.bioformats2raw as v04_series
import ome_zarr_models.v05.bioformats2raw as v05_series
import pytest
import tensorstore
import xarray as xr
import yaozarrs
import zarr
from ome_zarr.format import format_from_version
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

import limnd2_xr
from limnd2_xr.errors import Nd2Warning
from limnd2_xr.export.pyramid_levels import halved, level_sizes
from limnd2_xr.frames.masks import encode_rle
from limnd2_xr.model.frame_wells import FRAME_WELLS
from limnd2_xr.model.layers import RLE_LAYERS, new_rle_layer, rle_layers_tree
from limnd2_xr.testing.counting import count_reads
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)
from limnd2_xr.variants import xml

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# What opens the exports warns of its own future, of names, and leaves loops to the collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning:zarr"),
]

VERSIONS = ("0.4", "0.5")
NGFF = "TCZYX"
versions = pytest.mark.parametrize("version", VERSIONS)


# ---- checking -------------------------------------------------------------------------


def attributes(path: Path, version: str) -> dict[str, Any]:
    found: dict[str, Any] = dict(zarr.open_group(path, mode="r").attrs)
    return found["ome"] if version == "0.5" else found


def assert_valid(path: Path, images: Sequence[str], version: Any) -> None:
    """Valid for two validators, and opened by ome-zarr, tensorstore and xarray."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", yaozarrs._validation_warning.ValidationWarning)
        yaozarrs.validate_zarr_store(str(path))
    root = zarr.open_group(path, mode="r")
    if "bioformats2raw.layout" in attributes(path, version):
        models = {"0.4": v04_series, "0.5": v05_series}[version]
        assert models.BioFormats2Raw.from_zarr(root)
    else:
        ome_zarr_models.open_ome_zarr(root, version=version)
    for image in images:
        group = path / image
        ome_zarr_models.open_ome_zarr(zarr.open_group(group, mode="r"), version=version)
        location = parse_url(str(group), fmt=format_from_version(version))
        assert location is not None
        nodes = list(Reader(location)())
        levels = attributes(group, version)["multiscales"][0]["datasets"]
        if "labels" not in image:  # to which it adds a channel
            assert [level.shape for level in nodes[0].data] == [
                zarr.open_array(group / level["path"], mode="r").shape
                for level in levels
            ]
        others = [level["path"] for level in levels[1:]]
        opened = xr.open_zarr(
            group, consolidated=False, chunks=None, drop_variables=others
        )
        with opened:
            np.testing.assert_array_equal(opened["0"], pixels_at(group, "0", version))


def pixels_at(group: Path, level: str, version: str) -> np.ndarray[Any, Any]:
    """Read a level with tensorstore."""
    spec = {
        "driver": "zarr3" if version == "0.5" else "zarr",
        "kvstore": {"driver": "file", "path": str(group / level)},
    }
    found: np.ndarray[Any, Any] = tensorstore.open(spec).result().read().result()
    return found


def ngff_pixels(image: xr.DataArray) -> np.ndarray[Any, Any]:
    """Pixels as OME-Zarr has them: RGB as channels."""
    if "S" in image.dims:
        assert image.sizes["C"] == 1
        image = image.isel(C=0, drop=True).rename(S="C")
    if "C" not in image.dims:
        image = image.expand_dims("C")
    values: np.ndarray[Any, Any] = image.transpose(
        *[dim for dim in NGFF if dim in image.dims]
    ).values
    return values


def assert_pixels(group: Path, image: xr.DataArray, version: str) -> None:
    expected = ngff_pixels(image)
    for level in attributes(group, version)["multiscales"][0]["datasets"]:
        found = pixels_at(group, level["path"], version)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
        expected = halved(expected, "mean")


def scales(group: Path, version: str) -> tuple[dict[str, float], dict[str, float]]:
    """Scale and translation of the image at full size, by axis."""
    multiscale = attributes(group, version)["multiscales"][0]
    names = [axis["name"] for axis in multiscale["axes"]]
    scale, translation = multiscale["datasets"][0]["coordinateTransformations"]
    return (
        dict(zip(names, scale["scale"], strict=True)),
        dict(zip(names, translation["translation"], strict=True)),
    )


# ---- samples --------------------------------------------------------------------------


@pytest.mark.realdata
@versions
def test_every_sample_is_valid_and_has_the_pixels_and_scales_of_its_file(
    each_sample: Path, tmp_path: Path, version: Any
) -> None:
    target = tmp_path / "a.ome.zarr"
    with xr.open_dataset(each_sample, on_damage="ignore") as ds:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "steps along T", Nd2Warning)
            warnings.filterwarnings("ignore", "Z goes down", Nd2Warning)
            ds.nd2.to_ome_zarr(target, version=version, pyramid=1)
        count = ds.sizes.get("P", 1)
        images = [""] if count == 1 else [str(i) for i in range(count)]
        assert_valid(target, images, version)
        document = ds.nd2.metadata
        for number, path in enumerate(images):
            image = ds["image"].isel(P=number) if "P" in ds.dims else ds["image"]
            assert_pixels(target / path, image, version)
            scale, _ = scales(target / path, version)
            assert scale["x"] == pytest.approx(document.optics.pixel_size_um or 1.0)
            if ds.sizes.get("Z", 1) > 1 and document.z_step_um:
                assert scale["z"] == pytest.approx(document.z_step_um, rel=1e-6)
            channels = attributes(target / path, version)["omero"]["channels"]
            if "S" not in ds.dims:
                assert [c["label"] for c in channels] == ds["C"].values.tolist()
                assert ["#" + c["color"] for c in channels] == [
                    color.upper() or "#FFFFFF" for color in ds["color"].values.tolist()
                ]
        if count > 1:
            text = (target / "OME" / "METADATA.ome.xml").read_text("utf-8")
            assert text.count("<Image ") == count
    assert not list(tmp_path.glob("*.partial*"))


# ---- layouts --------------------------------------------------------------------------

SPEC = SyntheticSpec(
    loops=(
        TimeLoop(3, period_ms=2000.0, avg_period_ms=2000.0),
        PositionLoop((Point(100.0, 50.0), Point(-30.0, 20.0))),
        ZLoop(2, step_um=0.5),
    ),
    width=45,
    height=31,
    channels=(ChannelSpec("DAPI", color=0xFF0000), ChannelSpec("GFP", color=0x00FF00)),
    significant_bits=12,
    calibration_um=0.25,
)
DATA = build(SPEC).data


def opened(data: bytes | Path = DATA, **options: Any) -> xr.Dataset:
    return xr.open_dataset(data, engine="nd2", **options)


@pytest.fixture
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(SPEC).save(tmp_path_factory.mktemp("source") / "a.nd2")


@pytest.mark.parametrize(
    ("version", "chunks"),
    [
        ("0.4", None),
        ("0.5", None),
        ("0.5", {}),
        ("0.5", {"T": 2, "P": 2, "Z": 1, "X": 20}),
    ],
)
def test_positions_become_a_series(
    tmp_path: Path, source: Path, version: Any, chunks: Any
) -> None:
    with opened(source) as opened_ds:
        ds = opened_ds if chunks is None else opened_ds.chunk(chunks)
        ds.nd2.to_ome_zarr(tmp_path / "a", version=version, pyramid=3, chunks=16)
        assert_valid(tmp_path / "a", ["0", "1"], version)
        for number in range(2):
            image = ds["image"].isel(P=number)
            assert_pixels(tmp_path / "a" / str(number), image, version)
    root = attributes(tmp_path / "a", version)
    assert root["bioformats2raw.layout"] == 3
    series = attributes(tmp_path / "a" / "OME", version)["series"]
    assert series == ["0", "1"]


@versions
def test_scales_translations_and_windows(tmp_path: Path, version: Any) -> None:
    with opened() as ds:
        ds.nd2.to_ome_zarr(tmp_path / "a", version=version, pyramid=2, positions=1)
        stage = {axis: ds[f"stage_{axis}"].isel(P=1).values.flat[0] for axis in "xyz"}
        assert ds.sizes["P"] == 2
    group = tmp_path / "a"
    scale, translation = scales(group, version)
    assert scale == {"t": 2.0, "c": 1.0, "z": 0.5, "y": 0.25, "x": 0.25}
    assert translation["x"] == pytest.approx(stage["x"] - 22 * 0.25)
    assert translation["y"] == pytest.approx(stage["y"] - 15 * 0.25)
    assert translation["z"] == pytest.approx(stage["z"])
    multiscale = attributes(group, version)["multiscales"][0]
    units = {axis["name"]: axis.get("unit") for axis in multiscale["axes"]}
    assert units == {
        "t": "second",
        "c": None,
        "z": "micrometer",
        "y": "micrometer",
        "x": "micrometer",
    }
    # The centre of a pixel of level 2 is that of the four by four pixels it covers.
    small, moved = multiscale["datasets"][2]["coordinateTransformations"]
    assert small["scale"][-1] == 1.0
    assert moved["translation"][-1] == pytest.approx(translation["x"] + 1.5 * 0.25)
    omero = attributes(group, version)["omero"]
    assert [c["window"]["max"] for c in omero["channels"]] == [4095.0, 4095.0]
    attrs: dict[str, Any] = dict(zarr.open_group(group, mode="r").attrs)
    own = attrs["limnd2_xr"]
    assert own["attributes"]["pixel_size_um"] == 0.25
    assert own["nd2_metadata"]["attributes"]["width"] == 45


def test_a_part_of_a_frame_lies_where_it_was(tmp_path: Path) -> None:
    with opened() as ds:
        part = ds.isel(P=0, X=slice(10, 30), Y=slice(None, None, 2))
        part.nd2.to_ome_zarr(tmp_path / "a")
        stage = float(ds["stage_x"].isel(P=0).values.flat[0])
    scale, translation = scales(tmp_path / "a", "0.5")
    assert (scale["x"], scale["y"]) == (0.25, 0.5)
    assert translation["x"] == pytest.approx(stage + (10 - 22) * 0.25)


def test_a_stack_from_top_to_bottom_keeps_its_order_and_says_so(tmp_path: Path) -> None:
    spec = SyntheticSpec(loops=(ZLoop(4, step_um=0.5, kind=6),), width=8)
    with opened(build(spec).data) as ds:
        falls = float(ds["Z"][1] - ds["Z"][0]) < 0
        assert falls
        with pytest.warns(Nd2Warning, match="Z goes downwards"):
            ds.nd2.to_ome_zarr(tmp_path / "a")
        assert_pixels(tmp_path / "a", ds["image"], "0.5")
        scale, translation = scales(tmp_path / "a", "0.5")
        assert scale["z"] == 0.5
        assert translation["z"] == pytest.approx(float(ds["stage_z"].min()))
        ds.isel(Z=slice(None, None, -1)).nd2.to_ome_zarr(tmp_path / "b")
        assert scales(tmp_path / "b", "0.5") == (scale, translation)


def test_uneven_steps_are_told(tmp_path: Path) -> None:
    with opened() as ds:
        ds.isel(P=0, T=[0, 1]).nd2.to_ome_zarr(tmp_path / "even")
        more = ds.isel(P=0).assign_coords(T=("T", [0.0, 2.0, 6.0], {"units": "s"}))
        with pytest.warns(Nd2Warning, match="steps along T are from 2 to 4"):
            more.nd2.to_ome_zarr(tmp_path / "uneven")
    assert scales(tmp_path / "uneven", "0.5")[0]["t"] == 3.0


WELLS = ("A1", "B3", "A1", "A1")
FRAMES = [
    {
        "plateIndex": 0,
        "seqIndex": number,
        "wellIndex": 0,
        "wellName": name,
        "wellCompactName": name,
        "wellColIndex": int(name[1:]) - 1,
        "wellRowIndex": ord(name[0]) - ord("A"),
    }
    for number, name in enumerate(WELLS)
]


def plate(wells: Any = FRAMES) -> bytes:
    import zlib

    spec = SyntheticSpec(
        loops=(PositionLoop(tuple(Point(10.0 * i, 0.0) for i in range(4))),),
        width=20,
        height=12,
        extra_chunks={FRAME_WELLS: zlib.compress(json.dumps(wells).encode())},
    )
    return build(spec).data


@versions
def test_wells_become_a_plate_with_any_number_of_fields(
    tmp_path: Path, version: Any
) -> None:
    with opened(plate()) as ds:
        ds.nd2.to_ome_zarr(tmp_path / "a", version=version)
        images = ["A/1/0", "A/1/1", "A/1/2", "B/3/0"]
        assert_valid(tmp_path / "a", images, version)
        for path, position in zip(images, (0, 2, 3, 1), strict=True):
            image = ds["image"].isel(P=position)
            assert_pixels(tmp_path / "a" / path, image, version)
    found = attributes(tmp_path / "a", version)["plate"]
    assert found["field_count"] == 3
    assert [well["path"] for well in found["wells"]] == ["A/1", "B/3"]
    assert [column["name"] for column in found["columns"]][:3] == ["1", "2", "3"]
    well = attributes(tmp_path / "a" / "A" / "1", version)["well"]
    assert [image["path"] for image in well["images"]] == ["0", "1", "2"]
    assert all(image["acquisition"] == 0 for image in well["images"])


def test_a_position_without_a_well_makes_it_a_series(tmp_path: Path) -> None:
    with opened(plate()) as ds:
        ds = ds.assign_coords(well=("P", ["A01", "", "A01", "A01"]))  # noqa: PLW2901
        ds = ds.drop_vars(["well_row", "well_column"])  # noqa: PLW2901
        with pytest.warns(Nd2Warning, match="1 of 4 positions are in no well"):
            ds.nd2.to_ome_zarr(tmp_path / "a")
    assert attributes(tmp_path / "a" / "OME", "0.5")["series"] == list("0123")


def labelled() -> tuple[bytes, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    masks = np.kron(rng.integers(0, 4, (3, 8, 10)), np.ones((4, 4), int)).astype("u4")
    layer = new_rle_layer("cell (bodies)", color="#ff8000")
    chunks = {RLE_LAYERS: xml.encode(rle_layers_tree([layer]))}
    for number in range(3):
        chunks[layer.chunk_name(number)] = encode_rle(masks[number])
    spec = SyntheticSpec(loops=(TimeLoop(3),), width=40, height=32, extra_chunks=chunks)
    return build(spec).data, masks


@versions
def test_layers_become_labels(tmp_path: Path, version: Any) -> None:
    data, masks = labelled()
    with opened(data) as ds:
        ds.isel(T=slice(1, 3)).nd2.to_ome_zarr(
            tmp_path / "a", version=version, pyramid=2, chunks=(1, 1, 16, 16)
        )
        ds.nd2.to_ome_zarr(tmp_path / "without", include_labels=False)
    assert not (tmp_path / "without" / "labels").exists()
    assert_valid(tmp_path / "a", ["", "labels/cell_bodies"], version)
    assert attributes(tmp_path / "a" / "labels", version)["labels"] == ["cell_bodies"]
    group = tmp_path / "a" / "labels" / "cell_bodies"
    for level, step in enumerate((1, 2, 4)):
        found = pixels_at(group, str(level), version)
        np.testing.assert_array_equal(found, masks[1:, ::step, ::step])
    about = attributes(group, version)["image-label"]
    assert about["source"] == {"image": "../../"}
    assert about["colors"] == [
        {"label-value": value, "rgba": [255, 128, 0, 255]} for value in (1, 2, 3)
    ]
    multiscale = attributes(group, version)["multiscales"][0]
    assert multiscale["name"] == "cell (bodies)"
    assert [axis["name"] for axis in multiscale["axes"]] == ["t", "y", "x"]


def test_labels_of_a_tree_are_those_of_its_group(tmp_path: Path) -> None:
    data, masks = labelled()
    with xr.open_datatree(data, engine="nd2") as tree:
        edited = tree.copy()
        edited["labels"] = xr.DataTree(tree["labels"].to_dataset() * 2)
        edited.nd2.to_ome_zarr(tmp_path / "a")
        edited["labels"] = xr.DataTree(tree["labels"].to_dataset() * 0.5)
        with pytest.raises(TypeError, match="not whole numbers"):
            edited.nd2.to_ome_zarr(tmp_path / "b")
        flat = tree["labels"].to_dataset().isel(Y=0, drop=True)
        edited["labels"] = xr.DataTree(flat)
        with pytest.raises(ValueError, match="do not fit the image"):
            edited.nd2.to_ome_zarr(tmp_path / "b")
    found = pixels_at(tmp_path / "a" / "labels" / "cell_bodies", "0", "0.5")
    np.testing.assert_array_equal(found, masks * 2)


# ---- any array ------------------------------------------------------------------------


@versions
def test_rgb_are_three_channels(tmp_path: Path, version: Any) -> None:
    spec = SyntheticSpec(
        width=21,
        height=10,
        dtype="uint8",
        channels=(ChannelSpec("brightfield", components=3),),
    )
    with opened(build(spec).data) as ds:
        ds.nd2.to_ome_zarr(tmp_path / "a", version=version, pyramid=1)
        assert_valid(tmp_path / "a", [""], version)
        assert_pixels(tmp_path / "a", ds["image"], version)
    channels = attributes(tmp_path / "a", version)["omero"]["channels"]
    assert [c["label"] for c in channels] == ["R", "G", "B"]
    assert [c["color"] for c in channels] == ["FF0000", "00FF00", "0000FF"]
    assert [c["window"]["end"] for c in channels] == [255.0] * 3


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", ">u2", "u4", "i8", "f4", "f8"])
def test_arrays_of_any_numbers_and_order_of_dims(tmp_path: Path, dtype: str) -> None:
    rng = np.random.default_rng(1)
    values = (rng.random((5, 2, 9, 3)) * 200 - 100 * (dtype[-2] != "u")).astype(dtype)
    ds = xr.Dataset({"a": (("X", "T", "Y", "Z"), values)})
    ds.nd2.to_ome_zarr(tmp_path / "a", pyramid=1)
    assert_pixels(
        tmp_path / "a", ds["a"].astype(ds["a"].dtype.newbyteorder("=")), "0.5"
    )
    scale, _ = scales(tmp_path / "a", "0.5")
    assert set(scale.values()) == {1.0}
    if dtype == "f4":
        window = attributes(tmp_path / "a", "0.5")["omero"]["channels"][0]["window"]
        assert (window["min"], window["max"]) == (values.min(), values.max())


def test_what_was_computed_is_written_and_each_frame_read_once(
    tmp_path: Path, source: Path
) -> None:
    with opened(source) as ds:
        doubled = ds.chunk({"T": 2, "P": 2, "Z": 1}) * 2
        with count_reads() as counter:
            doubled.nd2.to_ome_zarr(tmp_path / "a", pyramid=2)
        for number in range(2):
            image = doubled["image"].isel(P=number)
            assert_pixels(tmp_path / "a" / str(number), image, "0.5")
    frame = 45 * 31 * 2 * 2
    assert 12 * frame <= counter.nbytes < 12 * (frame + 4200) + 2**17


@pytest.mark.parametrize("chunks", [None, {}], ids=["lazy", "dask"])
def test_of_a_file_each_frame_is_read_once(tmp_path: Path, chunks: Any) -> None:
    spec = SyntheticSpec(loops=(TimeLoop(6), ZLoop(3)), width=300, height=200)
    source = build(spec).save(tmp_path / "a.nd2")
    with xr.open_dataset(source, chunks=chunks) as ds, count_reads() as counter:
        ds.nd2.to_ome_zarr(tmp_path / "a", pyramid=2, chunks={"z": 2, "y": 64, "x": 64})
        pixels = [nbytes for _, nbytes in counter.ranges if nbytes > 10_000]
        assert 18 * 300 * 200 * 2 <= sum(pixels) <= 1.2 * 18 * 300 * 200 * 2
        assert_pixels(tmp_path / "a", ds["image"], "0.5")


@pytest.mark.parametrize(
    "compressor",
    [
        "blosc-zstd",
        "blosc-lz4",
        "zstd",
        "gzip",
        None,
        {"id": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 2},
        zarr.codecs.ZstdCodec(level=1),
    ],
    ids=str,
)
@pytest.mark.parametrize("shards", [None, {"t": 2, "y": 32, "x": 64}])
def test_compressors_and_shards(tmp_path: Path, compressor: Any, shards: Any) -> None:
    with opened() as ds:
        one = ds.isel(P=0)
        one.nd2.to_ome_zarr(
            tmp_path / "a", compressor=compressor, chunks=16, shards=shards, pyramid=1
        )
        assert_pixels(tmp_path / "a", one["image"], "0.5")
        if shards is None and not isinstance(compressor, zarr.codecs.ZstdCodec):
            one.nd2.to_ome_zarr(tmp_path / "b", compressor=compressor, version="0.4")
            assert_pixels(tmp_path / "b", one["image"], "0.4")
    array = zarr.open_array(tmp_path / "a" / "0", mode="r")
    assert array.chunks == (1, 1, 1, 16, 16)
    assert array.shards == (None if shards is None else (2, 1, 1, 32, 48))
    np.testing.assert_array_equal(array[:], pixels_at(tmp_path / "a", "0", "0.5"))


def test_frames_of_nothing_take_no_room_and_read_as_zero(tmp_path: Path) -> None:
    values = np.zeros((3, 64, 64), np.uint16)
    values[1, 5, 7] = 3
    ds = xr.Dataset({"image": (("T", "Y", "X"), values)})
    ds.nd2.to_ome_zarr(tmp_path / "a", chunks=32, shards=64)
    ds.nd2.to_ome_zarr(tmp_path / "b", chunks=32)
    assert len([p for p in (tmp_path / "b" / "0" / "c").rglob("*") if p.is_file()]) == 1
    for name in "ab":
        np.testing.assert_array_equal(
            zarr.open_array(tmp_path / name / "0", mode="r")[:, 0], values
        )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"version": "0.3"}, 'version must be "0.5" or "0.4"'),
        ({"version": "0.4", "shards": 64}, "zarr 2 has none"),
        ({"pyramid": "some"}, "pyramid must be"),
        ({"pyramid": -1}, "pyramid must be"),
        ({"pyramid": 9}, "31 x 45 pixels can be halved 5 times"),
        ({"chunks": 0}, "chunks must be whole numbers above 0, not 0 along y"),
        ({"chunks": (1,) * 6}, "chunks has 6 lengths"),
        ({"chunks": {"q": 3}}, "chunks names the axes q"),
        ({"chunks": {"x": 1.5}}, "not 1.5 along x"),
        ({"chunks": 16, "shards": 24}, "do not hold whole chunks of 16"),
        ({"compressor": "best"}, "compressor must be one of blosc-zstd"),
        ({"compressor": {"id": "blosc", "cname": "no"}}, "no compressor"),
        ({"compressor": {"id": "blosc", "clevel": 99}}, "clevel is 0 to 9"),
        ({"compressor": {"id": "zstd", "level": 99}}, "no compressor .* 22"),
        ({"compressor": {"id": "gzip", "level": 99}}, "no compressor .* 9"),
        ({"compressor": {"id": "lzma"}}, "no codec of zarr 3"),
        ({"compressor": 7}, "compressor must be a name"),
        (
            {"compressor": zarr.codecs.ZstdCodec(), "version": "0.4"},
            "is a codec of zarr 3",
        ),
        ({"positions": 2}, "no position 2 among 2"),
        ({"positions": 1.0}, r"no position 1\.0 among 2"),
        ({"positions": True}, "no position True among 2"),
        ({"positions": "edge"}, "no position 'edge'"),
        ({"positions": []}, "leaves no position"),
        ({"positions": [0, 0]}, "a position twice"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, Any], match: str
) -> None:
    with opened() as ds, pytest.raises((ValueError, TypeError), match=match):
        ds.nd2.to_ome_zarr(tmp_path / "a", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("image", "match"),
    [
        (xr.DataArray(np.zeros((2, 3), "u2"), dims=("T", "X")), "no dim Y"),
        (xr.DataArray(np.zeros((0, 3), "u2"), dims=("Y", "X")), "is empty"),
        (xr.DataArray(np.zeros((2, 3), bool), dims=("Y", "X")), "type bool"),
        (xr.DataArray(np.zeros((2, 3), "c8"), dims=("Y", "X")), "type complex64"),
    ],
)
def test_what_is_no_image_is_refused(
    tmp_path: Path, image: xr.DataArray, match: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=match):
        image.to_dataset(name="image").nd2.to_ome_zarr(tmp_path / "a")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("positions", "count"),
    [(slice(1, None), 1), ([1, 0], 2), (None, 2), (-1, 0), ("1", 0)],
)
def test_positions_are_chosen(tmp_path: Path, positions: Any, count: int) -> None:
    with opened() as ds:
        named = ds.assign_coords(P=["0", "1"])
        named.nd2.to_ome_zarr(tmp_path / "a", positions=positions)
        first = 0 if positions is None else 1
        group = tmp_path / "a" / ("0" if count == 2 else "")
        assert_pixels(group, ds["image"].isel(P=first), "0.5")


def test_custom_loops_become_images_of_a_series(tmp_path: Path) -> None:
    values = np.arange(2 * 3 * 4 * 5, dtype="u2").reshape(2, 3, 4, 5)
    image = xr.DataArray(values, dims=("U", "P", "Y", "X"))
    image.to_dataset(name="image").nd2.to_ome_zarr(tmp_path / "a")
    assert attributes(tmp_path / "a" / "OME", "0.5")["series"] == list("012345")
    found = pixels_at(tmp_path / "a" / "4", "0", "0.5")
    np.testing.assert_array_equal(found, values[1, 1][None])


def test_a_set_of_threads_does_not_change_what_is_written(tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(0, 999, (2, 300, 400), np.uint16)
    ds = xr.Dataset({"image": (("T", "Y", "X"), values)})
    for threads in (1, 3):
        limnd2_xr.set_threads(threads)
        try:
            ds.nd2.to_ome_zarr(tmp_path / str(threads) / "a", chunks=100)
        finally:
            limnd2_xr.set_threads(None)
    one, three = (files_of(tmp_path / name) for name in "13")
    assert one == three


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_bar_is_shown_if_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ds = xr.Dataset({"image": (("Y", "X"), np.ones((8, 8), np.uint16))})
    ds.nd2.to_ome_zarr(tmp_path / "a")
    assert not capsys.readouterr().out
    ds.nd2.to_ome_zarr(tmp_path / "b", progress=True)
    assert "100%" in capsys.readouterr().out


def test_later(tmp_path: Path) -> None:
    pixels = dask.array.ones((2, 40, 50), chunks=(1, 20, 50), dtype=np.uint16)
    ds = xr.Dataset({"image": (("T", "Y", "X"), pixels)})
    later = ds.nd2.to_ome_zarr(tmp_path / "a", compute=False)
    assert not (tmp_path / "a").exists()
    later.compute()
    assert pixels_at(tmp_path / "a", "0", "0.5").sum() == 4000


@pytest.mark.parametrize("lazy", [False, True], ids=["file", "dask"])
def test_tasks_travel_to_other_processes(
    tmp_path: Path, source: Path, lazy: bool
) -> None:
    with opened(source) as ds:
        some = (ds.chunk({"T": 1}) if lazy else ds).isel(P=0)
        later = some.nd2.to_ome_zarr(tmp_path / "a", compute=False)
        with xr.set_options(warn_for_unclosed_files=False):  # as in a worker
            elsewhere = cloudpickle.loads(cloudpickle.dumps(later))
            elsewhere.compute(scheduler="sync")
            del elsewhere
            gc.collect()
        assert_pixels(tmp_path / "a", some["image"], "0.5")


# ---- levels ---------------------------------------------------------------------------


def test_sizes_of_levels() -> None:
    assert level_sizes(256, 200) == ((256, 200),)
    assert level_sizes(257, 100) == ((257, 100), (128, 50))
    assert level_sizes(4, 4, False) == ((4, 4),)
    assert level_sizes(3000, 1)[-1] == (187, 1)
