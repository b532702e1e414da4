"""TIFF of every kind becomes the same pixels and metadata."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

import limnd2_xr
from limnd2_xr import Nd2Error, Nd2Warning, UnsupportedDtype
from limnd2_xr.conversion.tiff_source import is_tiff

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

    Convert = Callable[..., xr.Dataset]
    Pixels = Callable[..., NDArray[Any]]


@pytest.fixture
def tiff(tmp_path: Path) -> Callable[..., Path]:
    def write(data: NDArray[Any], name: str = "a.tif", **options: Any) -> Path:
        path = tmp_path / name
        tifffile.imwrite(path, data, **options)
        return path

    return write


PLAIN: dict[str, dict[str, Any]] = {
    "strips": {},
    "bigtiff": {"bigtiff": True},
    "big-endian": {"byteorder": ">"},
    "tiles": {"tile": (16, 16)},
    "zlib": {"compression": "zlib", "predictor": True},
    "lzw tiles": {"compression": "lzw", "tile": (16, 16)},
    "zstd": {"compression": "zstd"},
    "one directory": {"truncate": True},
}


@pytest.mark.parametrize("options", PLAIN.values(), ids=PLAIN.keys())
def test_storage_does_not_matter(
    options: dict[str, Any],
    tiff: Callable[..., Path],
    converted: Convert,
    pixels: Pixels,
) -> None:
    data = pixels(2, 3, 2, 20, 40)
    path = tiff(data, metadata={"axes": "TZCYX"}, photometric="minisblack", **options)
    assert is_tiff(str(path))
    image = converted(path)["image"]
    assert image.dims == ("T", "Z", "C", "Y", "X")
    np.testing.assert_array_equal(image, data)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_types_stay(
    dtype: str, tiff: Callable[..., Path], converted: Convert, pixels: Pixels
) -> None:
    data = pixels(24, 33, dtype=dtype)
    image = converted(tiff(data))["image"]
    assert image.dtype == dtype
    np.testing.assert_array_equal(image[0], data)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colours_are_samples(
    planar: str, tiff: Callable[..., Path], converted: Convert, pixels: Pixels
) -> None:
    data = pixels(20, 40, 3, dtype="uint8")
    stored = data if planar == "contig" else data.transpose(2, 0, 1)
    path = tiff(stored, photometric="rgb", planarconfig=planar)
    image = converted(path)["image"]
    assert image.dims == ("C", "Y", "X", "S")
    np.testing.assert_array_equal(image[0], data)


def test_samples_without_colours_are_channels(
    tiff: Callable[..., Path], converted: Convert, pixels: Pixels
) -> None:
    data = pixels(20, 40, 5)
    path = tiff(data, photometric="minisblack", planarconfig="contig")
    image = converted(path)["image"]
    assert image.dims == ("C", "Y", "X")
    np.testing.assert_array_equal(image, data.transpose(2, 0, 1))


def test_transparency_is_dropped_only_when_told(
    tiff: Callable[..., Path], converted: Convert, pixels: Pixels
) -> None:
    data = pixels(20, 40, 4, dtype="uint8")
    path = tiff(data, photometric="rgb", extrasamples=["unassalpha"])
    with pytest.raises(Nd2Error, match="--drop-alpha"):
        converted(path)
    with pytest.warns(Nd2Warning, match="transparency"):
        image = converted(path, drop_alpha=True)["image"]
    np.testing.assert_array_equal(image[0], data[..., :3])


def test_pages_of_unknown_meaning_are_time_points_unless_named(
    tiff: Callable[..., Path], converted: Convert, pixels: Pixels
) -> None:
    data = pixels(5, 20, 40)
    path = tiff(data, photometric="minisblack", metadata=None)
    with pytest.warns(Nd2Warning, match="5 pages are taken for time points"):
        assert converted(path)["image"].dims == ("T", "C", "Y", "X")
    image = converted(path, dims="ZYX")["image"]
    assert image.dims == ("Z", "C", "Y", "X")
    np.testing.assert_array_equal(image[:, 0], data)
    with pytest.raises(Nd2Error, match="are 4, but the array has 3"):
        converted(path, dims="TZYX")


def test_dims_in_another_order_are_transposed(
    tiff: Callable[..., Path], converted: Convert, pixels: Pixels
) -> None:
    data = pixels(2, 3, 4, 20, 40)
    path = tiff(data, photometric="minisblack", metadata={"axes": "CZTYX"})
    image = converted(path)["image"]
    np.testing.assert_array_equal(image, data.transpose(2, 1, 0, 3, 4))


def test_a_hyperstack_of_imagej(
    tiff: Callable[..., Path], converted: Convert, pixels: Pixels
) -> None:
    data = pixels(2, 3, 2, 20, 40)
    tables = [np.zeros((3, 256), "u1") for _ in range(2)]
    tables[0][2], tables[1][1] = np.arange(256), np.arange(256)
    path = tiff(
        data,
        imagej=True,
        resolution=(1 / 0.325, 1 / 0.325),
        metadata={
            "axes": "TZCYX",
            "spacing": 0.5,
            "unit": "um",
            "finterval": 2.5,
            "Labels": ["DAPI", "GFP"] * 6,
            "LUTs": tables,
            "Ranges": [10.0, 100.0, 20.0, 200.0],
            "Info": "fixed cells",
        },
    )
    ds = converted(path)
    np.testing.assert_array_equal(ds["image"], data)
    assert ds["C"].values.tolist() == ["DAPI", "GFP"]
    assert ds["color"].values.tolist() == ["#0000ff", "#00ff00"]
    assert ds["display_max"].values.tolist() == [100.0, 200.0]
    assert ds["Z"].values.tolist() == [-0.5, 0.0, 0.5]
    assert ds["T"].values.tolist() == [0.0, 2.5]
    assert ds.attrs["pixel_size_um"] == pytest.approx(0.325, rel=1e-6)
    assert "fixed cells" in ds.attrs["description"]


def test_pixels_per_centimetre_are_a_calibration_those_per_inch_not(
    tiff: Callable[..., Path], converted: Convert, pixels: Pixels
) -> None:
    data = pixels(20, 40)
    path = tiff(data, resolution=(40000, 40000), resolutionunit="CENTIMETER")
    assert converted(path).attrs["pixel_size_um"] == 0.25
    path = tiff(data, resolution=(300, 300), resolutionunit="INCH")
    assert "pixel_size_um" not in converted(path).attrs


def test_of_a_pyramid_only_the_full_resolution_is_taken(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    data = pixels(2, 64, 96)
    path = tmp_path / "pyramid.ome.tif"
    with tifffile.TiffWriter(path) as writer:
        metadata = {"axes": "CYX", "Channel": {"Name": ["a", "b"]}}
        writer.write(data, subifds=1, tile=(32, 32), metadata=metadata)
        writer.write(data[:, ::2, ::2], subfiletype=1, tile=(32, 32))
    ds = converted(path)
    np.testing.assert_array_equal(ds["image"], data)
    assert ds["C"].values.tolist() == ["a", "b"]


def test_images_of_a_file_are_positions_if_they_are_alike(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    data = pixels(3, 2, 20, 40)
    path = tmp_path / "three.ome.tif"
    with tifffile.TiffWriter(path) as writer:
        for i, image in enumerate(data):
            metadata = {"axes": "ZYX", "Name": f"spot {i}"}
            writer.write(image, photometric="minisblack", metadata=metadata)
        writer.write(data[0, 0, :10], metadata={"axes": "YX", "Name": "thumbnail"})
    with pytest.raises(Nd2Error, match=r"series 3\): Y10 X40 uint16.*--series"):
        converted(path)
    one = converted(path, series=1)["image"]
    np.testing.assert_array_equal(one[:, 0], data[1])
    with pytest.raises(Nd2Error, match="4 images, and no 9"):
        converted(path, series=9)

    with tifffile.TiffWriter(path) as writer:
        for i, image in enumerate(data):
            metadata = {"axes": "ZYX", "Name": f"spot {i}"}
            writer.write(image, photometric="minisblack", metadata=metadata)
    ds = converted(path)
    assert ds["image"].dims == ("P", "Z", "C", "Y", "X")
    assert ds["P"].values.tolist() == ["spot 0", "spot 1", "spot 2"]
    np.testing.assert_array_equal(ds["image"][:, :, 0], data)


def test_an_image_in_many_files(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    data = pixels(3, 20, 40)
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{i}" for i in range(3)]
    blocks = "".join(
        f'<TiffData FirstT="{i}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="t{i}.ome.tif">{uuid}</UUID></TiffData>'
        for i, uuid in enumerate(uuids)
    )
    for i, uuid in enumerate(uuids):
        text = (
            '<?xml version="1.0"?>'
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuid}">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
            'SizeX="40" SizeY="20" SizeZ="1" SizeC="1" SizeT="3">'
            f'<Channel ID="Channel:0:0" Name="GFP"/>{blocks}</Pixels></Image></OME>'
        )
        tifffile.imwrite(
            tmp_path / f"t{i}.ome.tif", data[i], description=text, metadata=None
        )
    ds = converted(tmp_path / "t0.ome.tif")
    np.testing.assert_array_equal(ds["image"][:, 0], data)
    assert ds["C"].values.tolist() == ["GFP"]

    with pytest.raises(Nd2Error, match="by naming one of them"):
        converted(f"{tmp_path}/t{{T}}.ome.tif")

    (tmp_path / "t1.ome.tif").unlink()
    with pytest.raises(Nd2Error, match=r"1 of 3 planes.*--fill-missing"):
        converted(tmp_path / "t0.ome.tif")
    with pytest.warns(Nd2Warning, match="1 of 3 planes, which are in no file"):
        ds = converted(tmp_path / "t0.ome.tif", fill_missing=True)
    assert ds["image"].max(["C", "Y", "X"]).values.astype(bool).tolist() == [1, 0, 1]


@pytest.mark.parametrize("dtype", ["int32", "uint32", "float64", "bool"])
def test_other_types_are_converted_only_when_told(
    dtype: str, tmp_path: Path, tiff: Callable[..., Path], converted: Convert
) -> None:
    data = np.arange(800).reshape(20, 40).astype(dtype)
    path = tiff(data, photometric="minisblack")
    with pytest.raises(UnsupportedDtype, match=rf"{dtype}.*--dtype"):
        limnd2_xr.convert_to_nd2(path, tmp_path / "out.nd2")
    assert not (tmp_path / "out.nd2").exists()
    image = converted(path, dtype="uint16")["image"]
    np.testing.assert_array_equal(image[0], data)


def test_values_that_do_not_fit_leave_no_file(
    tmp_path: Path, tiff: Callable[..., Path], converted: Convert
) -> None:
    path = tiff(np.full((20, 40), 70_000, "uint32"))
    target = tmp_path / "out.nd2"
    with pytest.raises(ValueError, match="do not fit into uint16"):
        limnd2_xr.convert_to_nd2(path, target, dtype="uint16")
    assert sorted(tmp_path.iterdir()) == [path]
    assert converted(path, dtype="uint16", scale=0.5)["image"].max() == 35_000


def test_damaged_files_are_named(
    tmp_path: Path, tiff: Callable[..., Path], pixels: Pixels
) -> None:
    path = tiff(pixels(6, 64, 96), compression="zlib", photometric="minisblack")
    data = path.read_bytes()
    target = tmp_path / "out.nd2"
    for cut in (3, 9, 300, len(data) // 2, len(data) - 100):
        path.write_bytes(data[:cut])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises((Nd2Error, ValueError), match=r"a\.tif"):
                limnd2_xr.convert_to_nd2(path, target)
        assert not target.exists()
