"""OME metadata, TIFF and Zarr that the drop-in writes hold what nd2's hold."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import nd2 as real
import numpy as np
import pytest
import tifffile
import zarr
from ome_types import from_xml

from limnd2_xr.compat import nd2
from limnd2_xr.compat.nd2.zarr_attributes import as_json
from limnd2_xr.errors import Nd2Warning
from limnd2_xr.testing.contents import contents
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

SPEC = SyntheticSpec(
    loops=(
        TimeLoop(2),
        PositionLoop((Point(1.0, 2.0, name="one"), Point(3.0, 4.0, name="two"))),
        ZLoop(3),
    ),
    channels=(ChannelSpec("DAPI"), ChannelSpec("GFP")),
    width=32,
    height=24,
    times_ms=3.0 + 10.0 * np.arange(12),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(SPEC).save(tmp_path_factory.mktemp("exports") / "file.nd2")


def test_ome_refers_to_pages(path: Path) -> None:
    with real.ND2File(path) as theirs, nd2.ND2File(path) as opened:
        expected = theirs.ome_metadata(tiff_file_name="a.ome.tif")
        found = opened.ome_metadata(tiff_file_name="a.ome.tif")
        without = opened.ome_metadata(include_unstructured=False)
    assert len(found.images) == len(expected.images) == 2
    page = 0
    for image in found.images:
        for plane, block in zip(
            image.pixels.planes, image.pixels.tiff_data_blocks, strict=True
        ):
            assert block.ifd == page
            assert block.uuid is not None
            assert block.uuid.file_name == "a.ome.tif"
            places = (block.first_c, block.first_z, block.first_t)
            assert places == (plane.the_c, plane.the_z, plane.the_t)
            page += 1
    assert page == 24
    assert without.images[0].pixels.metadata_only is not None


def told(ome: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": image.name,
            "planes": [
                [
                    *(plane.the_t, plane.the_z, plane.the_c),
                    *(plane.delta_t, plane.delta_t_unit),
                    *(plane.exposure_time, plane.exposure_time_unit),
                ]
                for plane in image.pixels.planes
            ],
        }
        for image in ome.images
    ]


def test_times_are_in_ms_and_images_are_called_after_positions(
    path: Path, tmp_path: Path
) -> None:
    points = (Point(1.0, 2.0, name="one"), Point(3.0, 4.0))
    spec = replace(SPEC, loops=(TimeLoop(2), PositionLoop(points), ZLoop(3)))
    unnamed = build(spec).save(tmp_path / "un.named.nd2")
    single = replace(SPEC, loops=(TimeLoop(2),), times_ms=np.array([0.5, 1000.25]))
    alone = build(single).save(tmp_path / "alone.nd2")
    for place in (path, unnamed, alone):
        with real.ND2File(place) as theirs, nd2.ND2File(place) as opened:
            expected = told(theirs.ome_metadata())
            assert told(opened.ome_metadata()) == expected
            seen: list[Any] = []
            opened.write_tiff(tmp_path / "a.ome.tif", modify_ome=seen.append)
            opened.write_tiff(tmp_path / "b.tif")
        assert told(seen[0]) == expected
        for made in ("a.ome.tif", "b.tif"):
            with tifffile.TiffFile(tmp_path / made) as tiff:
                assert told(from_xml(tiff.ome_metadata or "")) == expected
    with nd2.ND2File(io.BytesIO(alone.read_bytes())) as nameless:
        assert nameless.ome_metadata().images[0].name


def test_files_without_a_name_are_exported(path: Path, tmp_path: Path) -> None:
    with nd2.ND2File(io.BytesIO(path.read_bytes())) as opened:
        expected = opened.asarray(0)
        assert len(opened.ome_metadata().images) == 2
        opened.write_tiff(tmp_path / "a.ome.tif")
        opened.write_ome_zarr(tmp_path / "a.zarr", position=0)
    stored = np.asarray(zarr.open_array(tmp_path / "a.zarr/0", mode="r")[:])
    paged = tifffile.imread(tmp_path / "a.ome.tif", series=0)
    for found in (np.moveaxis(stored, 1, 2), paged):
        np.testing.assert_array_equal(found.squeeze(), expected.squeeze())


@pytest.mark.realdata
def test_times_of_real_planes(real_file: Callable[[str], Path]) -> None:
    name = real_file("confocal_t3_z10_c2")
    with real.ND2File(name) as theirs, nd2.ND2File(name) as opened:
        [expected], [found] = (told(f.ome_metadata()) for f in (theirs, opened))
    assert [p[3] for p in found["planes"]] == [p[3] for p in expected["planes"]]
    assert [p[5] for p in found["planes"]] == pytest.approx(
        [p[5] for p in expected["planes"]], abs=1e-9
    )


@pytest.mark.parametrize("name", ["a.ome.tif", "a.tif"])
def test_tiff_has_the_same_pixels(path: Path, tmp_path: Path, name: str) -> None:
    seen: list[tuple[int, int, dict[str, int]]] = []
    changed: list[Any] = []
    dest = tmp_path / name
    dest.write_bytes(b"old")
    nd2.nd2_to_tiff(
        path,
        dest,
        on_frame=lambda *told: seen.append(told),
        modify_ome=changed.append,
    )
    real.nd2_to_tiff(path, tmp_path / f"real.{name}")
    assert len(changed) == (name == "a.ome.tif")
    assert len(seen) == 12
    assert {total for _, total, _ in seen} == {12}
    with (
        tifffile.TiffFile(dest) as found,
        tifffile.TiffFile(tmp_path / f"real.{name}") as expected,
    ):
        assert found.is_bigtiff
        assert found.is_ome
        assert len(found.series) == 2
        pages = [page.asarray() for page in expected.pages]
        np.testing.assert_array_equal([page.asarray() for page in found.pages], pages)


def test_a_closed_file_is_exported(path: Path, tmp_path: Path) -> None:
    opened = nd2.ND2File(path)
    expected = opened.asarray(1)
    opened.close()
    opened.write_tiff(tmp_path / "a.ome.tif", include_unstructured_metadata=False)
    assert opened.closed
    found = tifffile.imread(tmp_path / "a.ome.tif", series=1)
    np.testing.assert_array_equal(found.squeeze(), expected.squeeze())


def test_zarr_has_the_same_pixels(path: Path, tmp_path: Path) -> None:
    with nd2.ND2File(path) as opened:
        made = opened.write_ome_zarr(tmp_path / "all.zarr", chunk_shape=(1, 24, 32))
        one = opened.write_ome_zarr(tmp_path / "one.zarr", position=1)
        pixels = opened.asarray()
        last = opened.write_ome_zarr(tmp_path / "last.zarr", position=-1)
        for wrong in (2, -3):
            with pytest.raises(IndexError, match=f"Position {wrong} out of range"):
                opened.write_ome_zarr(tmp_path / "x.zarr", position=wrong)
        with pytest.raises(ValueError, match=r"Only version '0\.5'"):
            opened.write_ome_zarr(tmp_path / "x.zarr", version="0.4")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="backend must be one of"):
            opened.write_ome_zarr(tmp_path / "x.zarr", backend="h5")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="more axes than the image"):
            opened.write_ome_zarr(tmp_path / "x.zarr", chunk_shape=(1,) * 6)
        assert not (tmp_path / "x.zarr").exists()
        with pytest.raises(FileExistsError):
            opened.write_ome_zarr(tmp_path / "one.zarr")
        opened.write_ome_zarr(tmp_path / "one.zarr", position=0, overwrite=True)
    assert made == tmp_path / "all.zarr"
    for p in range(2):
        array = zarr.open_array(f"{made}/{p}/0", mode="r")
        expected = pixels[:, p].transpose(0, 2, 1, 3, 4)
        np.testing.assert_array_equal(np.asarray(array[:]), expected)
        assert array.chunks[-3:] == (1, 24, 32)
    final = zarr.open_array(f"{last}/0", mode="r")
    np.testing.assert_array_equal(
        np.asarray(final[:]), pixels[:, 1].transpose(0, 2, 1, 3, 4)
    )
    first = zarr.open_array(f"{one}/0", mode="r")
    np.testing.assert_array_equal(
        np.asarray(first[:]), pixels[:, 0].transpose(0, 2, 1, 3, 4)
    )


def test_an_image_in_one_chunk(path: Path, tmp_path: Path) -> None:
    for module in (real, nd2):
        dest = tmp_path / f"{module.__name__}.zarr"
        with module.ND2File(path) as opened:
            opened.write_ome_zarr(dest, chunk_shape=None, position=0)
        assert zarr.open_array(dest / "0", mode="r").chunks == (2, 2, 3, 24, 32)


def test_the_root_tells_all_metadata(path: Path, tmp_path: Path) -> None:
    for full in (True, False):
        found: list[Any] = []
        for module in (real, nd2):
            dest = tmp_path / f"{module.__name__}.{full}.zarr"
            with module.ND2File(path) as opened:
                opened.write_ome_zarr(dest, include_all_metadata=full)
            root = zarr.open_group(dest, mode="r")
            assert "ome" in root.attrs
            found.append(root.attrs["nd2"])
        assert found[0] == found[1]
        assert len(found[0]) == (3 if full else 1)
    assert not list(tmp_path.rglob(".zarr.json*"))


def test_damaged_custom_data_do_not_end_an_export(tmp_path: Path) -> None:
    spec = SyntheticSpec(width=16, height=12)
    bad = replace(spec, extra_chunks={"CustomDataVar|Bad!": b"\x0b\xff<broken"})
    with (
        nd2.ND2File(build(bad).save(tmp_path / "a.nd2")) as opened,
        pytest.warns(Nd2Warning, match=r"custom_data are left out.*a\.nd2.*\|Bad!"),
    ):
        made = opened.write_ome_zarr(tmp_path / "a.zarr")
    told: Any = zarr.open_group(made, mode="r").attrs["nd2"]
    assert set(told) == {"version", "unstructured_metadata"}


def test_metadata_in_the_root_are_json() -> None:
    assert as_json([np.inf, -np.inf, np.float32(0.5), b"\xff", {1: np.arange(2)}]) == [
        *("Infinity", "-Infinity", 0.5, "\\xff", {"1": [0, 1]}),
    ]


def wells(*names: str) -> tuple[Point, ...]:
    return tuple(Point(float(i), 2.0, name=name) for i, name in enumerate(names))


@pytest.mark.parametrize(
    "loops",
    [
        (PositionLoop(wells("A1", "B02", "A12")),),
        (TimeLoop(2), PositionLoop(wells("A1", "B02", "A12"))),
    ],
    ids=["positions", "times and positions"],
)
def test_positions_named_like_wells_are_a_plate(
    loops: tuple[Any, ...], tmp_path: Path
) -> None:
    spec = SyntheticSpec(loops=loops, width=16, height=12)
    n = len(build(spec).frames)
    spec = replace(spec, times_ms=3.0 + 10.0 * np.arange(n))
    spec = replace(spec, extra_chunks=contents(spec))
    path = build(spec).save(tmp_path / "p.nd2")
    found: dict[str, Any] = {}
    expected: dict[str, Any] = {}
    for module, into in ((nd2, found), (real, expected)):
        dest = tmp_path / f"{module.__name__}.zarr"
        with module.ND2File(path) as opened:
            opened.write_ome_zarr(dest, include_labels=module is nd2)
        root = zarr.open_group(dest, mode="r")
        plate: Any = root.attrs["ome"]
        into["wells"] = sorted(well["path"] for well in plate["plate"]["wells"])
        into["pixels"] = [
            np.squeeze(np.asarray(zarr.open_array(f"{dest}/{at}/0/0", mode="r")[:]))
            for at in into["wells"]
        ]
    assert found["wells"] == expected["wells"] == ["A/1", "A/12", "B/2"]
    np.testing.assert_array_equal(found["pixels"], expected["pixels"])
    labels = tmp_path / f"{nd2.__name__}.zarr" / "B" / "2" / "0" / "labels"
    assert (labels / "zarr.json").exists()


@pytest.mark.parametrize(
    ("names", "images"),
    [
        (("A1", "B2", "A1"), ["A/1/0", "A/1/1", "B/2/0"]),
        (("A1", "b2"), ["0", "1"]),
        (("A1", "B0"), ["0", "1"]),
        (("A1", "B2\n"), ["0", "1"]),
        (("A1",), [""]),
    ],
)
def test_what_names_make_a_plate(
    names: tuple[str, ...], images: list[str], tmp_path: Path
) -> None:
    spec = SyntheticSpec(loops=(PositionLoop(wells(*names)),), width=16, height=12)
    with nd2.ND2File(build(spec).save(tmp_path / "p.nd2")) as opened:
        made = opened.write_ome_zarr(tmp_path / "p.zarr")
    found = sorted(
        str(path.parent.parent.relative_to(made).as_posix()).removeprefix(".")
        for path in made.rglob("0/zarr.json")
        if json.loads(path.read_text())["node_type"] == "array"
    )
    assert found == images
