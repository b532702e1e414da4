"""Arrays, pictures and stores: the same pixels, and what they say of themselves."""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import limnd2_xr
from limnd2_xr import Nd2Error, Nd2Warning
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Convert = Callable[..., xr.Dataset]
    Pixels = Callable[..., NDArray[Any]]

SPEC = SyntheticSpec(
    loops=(
        TimeLoop(2, period_ms=10_000.0, avg_period_ms=10_000.0),
        PositionLoop((Point(1.0, 2.0, 3.0, name="a"), Point(4.0, 5.0, 6.0, name="b"))),
        ZLoop(3, step_um=0.5),
    ),
    width=40,
    height=20,
    channels=(
        ChannelSpec("DAPI", color=0xFF0000, emission_nm=461.0, excitation_nm=405.0),
        ChannelSpec("GFP", color=0x00FF00, emission_nm=510.0, excitation_nm=488.0),
    ),
    significant_bits=12,
    calibration_um=0.325,
    times_ms=np.arange(12) * 1250.0 + 500.0,
)


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    return build(SPEC).save(tmp_path / "cells.nd2")


@pytest.mark.parametrize("kind", ["netcdf", "zarr", "nd2"])
def test_what_xarray_saved_of_a_file_is_that_file_again(
    kind: str, cells: Path, tmp_path: Path, converted: Convert
) -> None:
    with xr.open_dataset(cells) as ds:
        if kind == "netcdf":
            ds.to_netcdf(tmp_path / "cells.nc", engine="h5netcdf")
        elif kind == "zarr":
            ds.to_zarr(tmp_path / "cells.zarr", consolidated=False, zarr_format=2)
        name = {"netcdf": "cells.nc", "zarr": "cells.zarr", "nd2": "cells.nd2"}[kind]
        xr.testing.assert_identical(converted(tmp_path / name), ds.load())


def test_variables_of_other_programs(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    data = pixels(2, 20, 40)
    dims = ("time", "y", "x")
    path = tmp_path / "a.nc"
    ds = xr.Dataset({"counts": (dims, data), "mask": (dims, data > 5)})
    ds.to_netcdf(path, engine="h5netcdf")
    with pytest.raises(Nd2Error, match=r"counts, mask: choose with .*--variable"):
        converted(path)
    image = converted(path, variable="counts")["image"]
    np.testing.assert_array_equal(image[:, 0], data)
    with pytest.raises(Nd2Error, match="no variable 'x'"):
        converted(path, variable="x")
    path.write_bytes(b"no netCDF")
    with pytest.raises(Nd2Error, match=r"a\.nc: not readable as netCDF"):
        converted(path)


def test_npy_needs_the_names_of_its_dims(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    data = pixels(20, 3, 40, 2, dtype="float32")
    path = tmp_path / "a.npy"
    np.save(path, data)
    with pytest.raises(Nd2Error, match=r"--dims TCYX"):
        converted(path)
    for dims, reason in (
        ("YTXQ", "Q is not"),
        ("YTX", "are 3"),
        ("TTYX", "once"),
        ("TZCX", "Y and X"),
    ):
        with pytest.raises(Nd2Error, match=reason):
            converted(path, dims=dims)
    image = converted(path, dims="yzxc")["image"]
    np.testing.assert_array_equal(image, data.transpose(1, 3, 0, 2))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(Nd2Error, match=r"a\.npy: not readable as \.npy"):
        converted(path, dims="yzxc")
    np.save(path, np.array([{"a": 1}], object))
    with pytest.raises(Nd2Error, match="not readable"):
        converted(path, dims="YX")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations("TZCYX"),
    sizes=st.fixed_dictionaries({dim: st.integers(1, 4) for dim in "TZCYX"}),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    kind=st.sampled_from(["npy", "tiff", "zarr", "zarr 2"]),
)
def test_any_array_is_the_same_in_any_order_of_dims(
    order: list[str],
    sizes: dict[str, int],
    dtype: str,
    kind: str,
    tmp_path: Path,
    converted: Convert,
) -> None:
    shape = tuple(sizes[dim] for dim in order)
    data = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    path, dims = tmp_path / f"a.{kind}", "".join(order)
    if kind == "npy":
        np.save(path, data)
    elif kind == "tiff":
        metadata = {"axes": dims}
        tifffile.imwrite(path, data, photometric="minisblack", metadata=metadata)
        # Lengths of 1 are left out by what tells the axes.
        dims = "".join(dim for dim in dims if sizes[dim] > 1 or dim in "YX")
    else:
        array = zarr.create_array(
            path,
            shape=shape,
            dtype=dtype,
            zarr_format=2 if kind == "zarr 2" else 3,
            overwrite=True,
        )
        array[...] = data
    if kind == "tiff":
        try:
            found = converted(path)["image"]
        except Nd2Error:
            # An edge of one pixel can look like any other axis.
            assert 1 in sizes.values()
            return
    else:
        found = converted(path, dims=dims)["image"]
    expected = data.transpose([order.index(dim) for dim in "TZCYX"])
    np.testing.assert_array_equal(found.values.reshape(expected.shape), expected)


@pytest.mark.parametrize("dtype", [">u2", ">f4"])
def test_the_order_of_bytes_does_not_matter(
    dtype: str, tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    data = pixels(20, 40).astype(dtype)
    np.save(tmp_path / "a.npy", data)
    zarr.create_array(tmp_path / "a.zarr", data=data, zarr_format=2)
    for name in ("a.npy", "a.zarr"):
        image = converted(tmp_path / name, dims="YX")["image"]
        assert image.dtype == data.dtype.newbyteorder("=")
        np.testing.assert_array_equal(image[0], data)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("samples", [1, 3])
def test_png(
    dtype: str, samples: int, tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    data = pixels(*((20, 40) if samples == 1 else (20, 40, 3)), dtype=dtype)
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(data))
    image = converted(path)["image"]
    assert image.dtype == dtype
    np.testing.assert_array_equal(image[0], data)


def test_transparency_of_png(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    data = pixels(20, 40, 4, dtype="uint8")
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(data))
    with pytest.raises(Nd2Error, match="--drop-alpha"):
        converted(path)
    with pytest.warns(Nd2Warning, match="transparency"):
        image = converted(path, drop_alpha=True)["image"]
    np.testing.assert_array_equal(image[0], data[..., :3])


@pytest.mark.parametrize("samples", [1, 3])
def test_jpeg(samples: int, tmp_path: Path, converted: Convert, pixels: Pixels) -> None:
    data = pixels(*((20, 40) if samples == 1 else (20, 40, 3)), dtype="uint8")
    path = tmp_path / "a.JPG"
    path.write_bytes(imagecodecs.jpeg_encode(data, level=90))
    decoded = imagecodecs.jpeg_decode(path.read_bytes())
    np.testing.assert_array_equal(converted(path)["image"][0], decoded)


def chunk(name: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(name + data).to_bytes(4, "big")
    return len(data).to_bytes(4, "big") + name + data + checksum


@pytest.mark.parametrize(
    ("side", "reason"), [(2**31 - 1, "too large"), (60_000, "66 b")]
)
def test_a_picture_that_says_it_is_huge(
    side: int, reason: str, tmp_path: Path, converted: Convert
) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    path = tmp_path / "huge.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + data)
    with pytest.raises(Nd2Error, match=rf"huge\.png.*{reason}"):
        converted(path)


def test_a_store_that_says_it_is_huge(tmp_path: Path, converted: Convert) -> None:
    path = tmp_path / "a.zarr"
    for shape in ((2**40, 20, 40), (2, 2**40, 4), (2, 2**23, 2**23)):
        zarr.create_array(
            path, shape=shape, chunks=(1, 20, 40), dtype="uint16", overwrite=True
        )
        with pytest.raises(Nd2Error, match=r"a\.zarr.*too large"):
            converted(path, dims="TYX")


def test_cmyk_is_refused(tmp_path: Path, converted: Convert, pixels: Pixels) -> None:
    path = tmp_path / "a.jpg"
    data = bytearray(imagecodecs.jpeg_encode(pixels(20, 40, 3, dtype="uint8")))
    # Samples a pixel, in the header of the frame.
    data[data.index(b"\xff\xc0") + 9] = 4
    path.write_bytes(data)
    with pytest.raises(Nd2Error, match=r"a\.jpg: a JPEG of 4 samples a pixel, as CMYK"):
        converted(path, drop_alpha=True)


def test_pictures_in_a_sequence(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    data = pixels(3, 20, 40, dtype="uint8")
    for i, image in enumerate(data):
        (tmp_path / f"{i}.png").write_bytes(imagecodecs.png_encode(image))
    ds = converted(f"{tmp_path}/{{T}}.png", time_step=1.5)
    np.testing.assert_array_equal(ds["image"][:, 0], data)
    assert ds["T"].values.tolist() == [0.0, 1.5, 3.0]


def test_damaged_pictures_are_named(tmp_path: Path, pixels: Pixels) -> None:
    data = pixels(20, 40, dtype="uint8")
    encoded = {
        "a.png": imagecodecs.png_encode(data),
        "a.jpg": imagecodecs.jpeg_encode(data),
    }
    for name, whole in encoded.items():
        for cut in (0, 5, 20, 100):
            (tmp_path / name).write_bytes(whole[:cut])
            with pytest.raises(Nd2Error, match=name):
                limnd2_xr.convert_to_nd2(tmp_path / name, tmp_path / "out.nd2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "a.png"]


def ome_zarr(
    path: Path, images: dict[str, NDArray[Any]], version: str, **more: Any
) -> None:
    """Write images as OME-Zarr by hand, as the specification says."""
    axes = [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "c", "type": "channel"},
        {"name": "z", "type": "space", "unit": "micrometer"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "nanometer"},
    ]
    scales = [1.0, 1.0, 0.7, 0.5, 500.0]
    for part, data in images.items():
        levels = [
            {
                "path": str(level),
                "coordinateTransformations": [
                    {
                        "type": "scale",
                        "scale": [*scales[:3], *(s * 2**level for s in scales[3:])],
                    }
                ],
            }
            for level in range(2)
        ]
        attrs = {
            "multiscales": [
                {
                    "name": f"image {part}",
                    "version": version,
                    "axes": axes,
                    "datasets": levels,
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [2.5, 1.0, 1.0, 1.0, 1.0]}
                    ],
                }
            ],
            "omero": {
                "channels": [
                    {
                        "label": name,
                        "color": color,
                        "window": {"min": 0, "max": 255, "start": 5, "end": 99},
                    }
                    for name, color in (("DAPI", "0000FF"), ("GFP", "00FF00"))
                ]
            },
        }
        group = zarr.open_group(
            path / part, mode="w", zarr_format=2 if version == "0.4" else 3
        )
        store(group, attrs, version)
        for level in range(2):
            pixels = data[..., :: 2**level, :: 2**level]
            group.create_array(
                str(level), data=pixels, chunks=(1, 1, 2, 8, 16), overwrite=True
            )
    for part, attrs in more.items():
        where = path / part.replace("__", "/") if part != "root" else path
        group = zarr.open_group(
            where, mode="a", zarr_format=2 if version == "0.4" else 3
        )
        store(group, attrs, version)


def store(group: Any, attrs: dict[str, Any], version: str) -> None:
    if version == "0.4":
        group.attrs.update(attrs)
    else:
        group.attrs["ome"] = {"version": version, **attrs}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_of_ome_zarr(
    version: str, tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    data = pixels(3, 2, 4, 20, 40)
    ome_zarr(tmp_path / "a.zarr", {"": data}, version)
    ds = converted(tmp_path / "a.zarr")
    np.testing.assert_array_equal(ds["image"], data.transpose(0, 2, 1, 3, 4))
    assert ds["C"].values.tolist() == ["DAPI", "GFP"]
    assert ds["color"].values.tolist() == ["#0000ff", "#00ff00"]
    assert ds["display_min"].values.tolist() == [5, 5]
    assert ds["T"].values.tolist() == [0, 2.5, 5]
    assert ds.attrs["pixel_size_um"] == 0.5
    assert ds.attrs["z_step_um"] == pytest.approx(0.7)


def test_colours_of_ome_zarr_are_channels_unless_named(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    data = pixels(1, 3, 1, 20, 40, dtype="uint8")
    ome_zarr(tmp_path / "a.zarr", {"": data}, "0.5")
    assert converted(tmp_path / "a.zarr")["image"].dims == ("C", "Y", "X")
    image = converted(tmp_path / "a.zarr", dims="TSZYX")["image"]
    assert image.dims == ("C", "Y", "X", "S")
    np.testing.assert_array_equal(image[0], data[0, :, 0].transpose(1, 2, 0))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_of_ome_zarr_are_masks(
    version: str, tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    data = pixels(3, 2, 1, 20, 40)
    cells = np.zeros((3, 1, 1, 20, 40), "int32")
    cells[1, ..., 3:9, 5:20] = 7
    small = np.zeros((3, 1, 1, 10, 20), "int32")
    ome_zarr(tmp_path / "a.zarr", {"": data}, version)
    for name, labels in (("cells", cells), ("small", small)):
        ome_zarr(tmp_path / "a.zarr/labels", {name: labels}, version)
    ome_zarr(tmp_path / "a.zarr", {}, version, labels={"labels": ["cells", "small"]})
    with pytest.warns(Nd2Warning, match="labels 'small'") as caught:
        converted(tmp_path / "a.zarr")
    assert len(caught) == 1
    with xr.open_datatree(tmp_path / "converted.nd2") as tree:
        found = tree["labels"]
        assert list(found.data_vars) == ["cells"]
        np.testing.assert_array_equal(found["cells"], cells[:, 0, 0])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_of_ome_zarr(
    version: str, tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    data = pixels(3, 1, 2, 1, 20, 40)
    images = {"A/1/0": data[0], "A/1/1": data[1], "C/2/0": data[2]}
    plate = {
        "rows": [{"name": "A"}, {"name": "C"}],
        "columns": [{"name": "1"}, {"name": "2"}],
        "wells": [
            {"path": "A/1", "rowIndex": 0, "columnIndex": 0},
            {"path": "C/2", "rowIndex": 2, "columnIndex": 1},
        ],
    }
    ome_zarr(
        tmp_path / "p.zarr",
        images,
        version,
        root={"plate": plate},
        A__1={"well": {"images": [{"path": "0"}, {"path": "1"}]}},
        C__2={"well": {"images": [{"path": "0"}]}},
    )
    ds = converted(tmp_path / "p.zarr")
    assert ds["image"].dims == ("P", "C", "Y", "X")
    np.testing.assert_array_equal(ds["image"], data[:, 0, :, 0])
    assert ds["well"].values.tolist() == ["A01", "A01", "C02"]
    plan = limnd2_xr.plan_conversion(tmp_path / "p.zarr", series=2)
    assert [known.part for known in plan.inputs] == ["C/2/0"]


def test_a_series_of_ome_zarr_with_its_xml(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    data = pixels(2, 1, 2, 1, 20, 40)
    images = {"0": data[0], "1": data[1]}
    ome_zarr(tmp_path / "s.zarr", images, "0.5", root={"bioformats2raw.layout": 3})
    ome_zarr(tmp_path / "s.zarr", {}, "0.5", OME={"series": ["1", "0"]})
    image = (
        '<Image ID="Image:{i}" Name="spot {i}"><AcquisitionDate>2026-02-03T04:05:06</'
        'AcquisitionDate><Pixels SizeC="2"><Channel Name="a"/><Channel Name="b"/></Pixels>'
        "</Image>"
    )
    text = "".join(image.format(i=i) for i in range(2))
    (tmp_path / "s.zarr/OME/METADATA.ome.xml").write_text(f"<OME>{text}</OME>")
    ds = converted(tmp_path / "s.zarr")
    np.testing.assert_array_equal(ds["image"], data[::-1, 0, :, 0])
    assert ds["P"].values.tolist() == ["spot 0", "spot 1"]
    assert ds["C"].values.tolist() == ["a", "b"]
    assert ds.attrs["acquisition_start"].startswith("2026-02-03T04:05:06")


def test_broken_metadata_of_zarr_are_named(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    path = tmp_path / "a.zarr"
    ome_zarr(path, {"": pixels(3, 2, 4, 20, 40)}, "0.5")
    document = json.loads((path / "zarr.json").read_text())
    scales = document["attributes"]["ome"]["multiscales"][0]
    scales["axes"] = scales["axes"][1:]
    (path / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(Nd2Error, match=r"a\.zarr: dims 'czyx' are 4"):
        converted(path)
    scales["datasets"] = []
    (path / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(Nd2Error, match=r"a\.zarr: not readable as zarr"):
        converted(path)
