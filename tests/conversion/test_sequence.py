"""Sequences of files: found, ordered, complete or refused."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

import limnd2_xr
from limnd2_xr import Nd2Error, Nd2Warning
from limnd2_xr.conversion.file_grid import grid_of_files
from limnd2_xr.conversion.filename_pattern import FilenamePattern

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

    Convert = Callable[..., xr.Dataset]
    Pixels = Callable[..., NDArray[Any]]


@pytest.fixture
def folder(tmp_path: Path, pixels: Pixels) -> Path:
    """Return a folder of img_t{T}_z{Z}_{C}.tif: T3 Z2 C2, Y20 X40."""
    for t, z, (i, c) in itertools.product(
        range(3), range(2), enumerate(("DAPI", "GFP"))
    ):
        data = np.full((20, 40), 100 * t + 10 * z + i, "uint16")
        # Numbers without zeros before them: 8, 9, 10 sort as people count.
        tifffile.imwrite(tmp_path / f"img_t{t + 8}_z{z}_{c}.tif", data)
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


EXPECTED = (
    100 * np.arange(3)[:, None, None]
    + 10 * np.arange(2)[:, None]
    + np.arange(2)[None, None]
)


def corner(ds: xr.Dataset) -> NDArray[Any]:
    """Return the first pixel of every frame."""
    return np.asarray(ds["image"].isel(Y=0, X=0))


SOURCES: dict[str, tuple[str, dict[str, Any]]] = {
    "a pattern": ("img_t{T}_z{Z}_{C}.tif", {}),
    "a folder": ("", {"pattern": "img_t{T}_z{Z}_{C}.tif"}),
    "a glob": ("*.tif", {"pattern": "{_}t{T}_z{Z}_{C}.tif"}),
    "an expression": ("", {"regex": r"img_t(?P<T>\d+)_z(?P<Z>\d+)_(?P<C>\w+)\.tif"}),
}


@pytest.mark.parametrize(("name", "settings"), SOURCES.values(), ids=SOURCES.keys())
def test_every_file_has_its_frame(
    name: str, settings: dict[str, Any], folder: Path, converted: Convert
) -> None:
    ds = converted(f"{folder}/{name}", **settings)
    assert ds["image"].dims == ("T", "Z", "C", "Y", "X")
    assert ds["C"].values.tolist() == ["DAPI", "GFP"]
    np.testing.assert_array_equal(corner(ds), EXPECTED)


def test_the_plan_tells_what_each_file_is(folder: Path) -> None:
    plan = limnd2_xr.plan_conversion(
        folder, pattern="img_t{T}_z{Z}_{C}.tif", time_step="2 min"
    )
    assert plan.sizes == {"T": 3, "Z": 2, "C": 2, "Y": 20, "X": 40}
    assert (plan.frames, plan.passed_over, plan.time_step_s) == (6, 1, 120.0)
    last = plan.inputs[-1].to_plain()
    assert last == {"file": f"{folder}/img_t10_z1_GFP.tif", "T": 2, "Z": 1, "C": 1}
    assert not list(folder.glob("*.nd2"))


def test_missing_files_are_refused_or_filled(folder: Path, converted: Convert) -> None:
    (folder / "img_t9_z1_GFP.tif").unlink()
    source = f"{folder}/img_t{{T}}_z{{Z}}_{{C}}.tif"
    with pytest.raises(ValueError, match=r"1 of 12 .* T=9, Z=1, C=GFP.*--fill-missing"):
        converted(source)
    with pytest.warns(Nd2Warning, match="1 file is missing.*: T=9, Z=1, C=GFP"):
        ds = converted(source, fill_missing=True)
    expected = EXPECTED.copy()
    expected[1, 1, 1] = 0
    np.testing.assert_array_equal(corner(ds), expected)


def test_a_time_point_without_any_file_is_a_gap(
    folder: Path, converted: Convert
) -> None:
    for path in folder.glob("img_t9_*"):
        path.unlink()
    source = f"{folder}/img_t{{T}}_z{{Z}}_{{C}}.tif"
    # Of 8 and 10 alone nothing says that 9 is missing: they may count by twos.
    np.testing.assert_array_equal(corner(converted(source)), EXPECTED[[0, 2]])
    for path in list(folder.glob("img_t10_*")):
        path.rename(path.with_name(path.name.replace("t10", "t11")))
        data = tifffile.imread(path.with_name(path.name.replace("t10", "t11")))
        tifffile.imwrite(path.with_name(path.name.replace("t10", "t9")), data)
    with pytest.raises(
        ValueError, match="4 of 16 files are missing: T=10, Z=0, C=DAPI"
    ):
        converted(source)


def test_two_files_of_one_frame_are_refused(folder: Path, converted: Convert) -> None:
    (folder / "img_t08_z0_DAPI.tif").write_bytes(
        (folder / "img_t8_z0_DAPI.tif").read_bytes()
    )
    with pytest.raises(
        ValueError, match=r"t0?8_z0.* and .*t0?8_z0.* are the same frame"
    ):
        converted(f"{folder}/img_t{{T}}_z{{Z}}_{{C}}.tif")


@pytest.mark.parametrize(
    "other", [np.zeros((20, 41), "uint16"), np.zeros((20, 40), "uint8")]
)
def test_files_that_differ_are_named(
    other: NDArray[Any], folder: Path, converted: Convert
) -> None:
    tifffile.imwrite(folder / "img_t9_z1_GFP.tif", other)
    with pytest.raises(
        Nd2Error, match=r"t8_z0_DAPI.tif is Y20 X40 uint16, but .*t9_z1_GFP.tif: Y20 X4"
    ):
        converted(f"{folder}/img_t{{T}}_z{{Z}}_{{C}}.tif")


def test_a_wrong_pattern_does_not_make_a_huge_file(
    folder: Path, converted: Convert
) -> None:
    for name in ("img_t1_z0_a.tif", "img_t20240101120000_z0_a.tif", "img_t2_z0_a.tif"):
        tifffile.imwrite(folder / name, np.zeros((20, 40), "uint16"))
    with pytest.raises(ValueError, match="is the pattern right"):
        converted(f"{folder}/img_t{{T}}_z{{Z}}_a.tif", fill_missing=True)


def test_files_that_were_named_have_to_fit(folder: Path, converted: Convert) -> None:
    with pytest.raises(ValueError, match=r"notes.txt does not fit the pattern"):
        converted([folder / "notes.txt"], pattern="img_t{T}_z{Z}_{C}.tif")
    with pytest.raises(ValueError, match="no image files"):
        converted(folder, pattern="a{T}.png")
    with pytest.raises(FileNotFoundError):
        converted(folder / "none.tif")
    with pytest.raises(FileNotFoundError, match="no file matches"):
        converted(folder / "none*.tif")


def test_files_on_other_machines_are_not_fetched(converted: Convert) -> None:
    for name in ("a.tif", "a.png", "a.nc"):
        with pytest.raises(ValueError, match="not on this machine"):
            converted(f"http://127.0.0.1:9/{name}")


def test_several_files_need_to_be_told_apart(folder: Path, converted: Convert) -> None:
    with pytest.raises(ValueError, match=r"12 files, from .*--pattern.*--along"):
        converted(folder)
    ds = converted(f"{folder}/*_z0_GFP.tif", along="P")
    assert ds["P"].values.tolist() == [f"img_t{t}_z0_GFP" for t in (8, 9, 10)]
    assert corner(ds)[:, 0].tolist() == [1, 101, 201]


def test_folders_are_part_of_a_pattern(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    data = pixels(2, 3, 4, 20, 40)
    for i, well in enumerate(("A1", "B12")):
        (tmp_path / "plate 1" / well).mkdir(parents=True)
        for f in range(3):
            path = tmp_path / "plate 1" / well / f"f{f}.tif"
            tifffile.imwrite(path, data[i, f], photometric="minisblack")
    ds = converted(f"{tmp_path}/plate 1/{{W}}/f{{F}}.tif", dims="ZYX", z_step=-0.5)
    assert ds["image"].dims == ("P", "Z", "C", "Y", "X")
    np.testing.assert_array_equal(
        ds["image"][:, :, 0], data.reshape(6, *data.shape[2:])
    )
    assert ds["well"].values.tolist() == ["A01"] * 3 + ["B12"] * 3
    assert ds["field"].values.tolist() == [0, 1, 2] * 2
    assert ds["P"].values.tolist()[:2] == ["A01 0", "A01 1"]
    assert ds["Z"].values.tolist() == [0.5, 0.0, -0.5, -1.0]


def test_wells_may_have_different_fields(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    for name in ("A01_f1_t0", "A01_f2_t0", "C02_f7_t0", "A01_f1_t1", "A01_f2_t1"):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels(20, 40))
    source = f"{tmp_path}/{{W}}_f{{F}}_t{{T}}.tif"
    with pytest.raises(ValueError, match="1 of 6 files are missing: T=1, P=C02 7"):
        converted(source)
    tifffile.imwrite(tmp_path / "C02_f7_t1.tif", pixels(20, 40))
    ds = converted(source)
    assert ds["well"].values.tolist() == ["A01", "A01", "C02"]
    assert dict(ds["image"].sizes)["T"] == 2


def test_wells_are_taken_from_names_of_positions(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    for name in ("a_B03_s1", "a_A01_s1"):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels(20, 40))
    ds = converted(tmp_path, along="P", wells=True)
    assert ds["well"].values.tolist() == ["A01", "B03"]
    assert "well" not in converted(tmp_path, along="P")


def test_metadata_of_files_are_put_together(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    colors = {"DAPI": 0x0000FFFF, "GFP": 0x00FF00FF}
    for t, (name, color) in itertools.product(range(2), colors.items()):
        metadata = {
            "axes": "ZYX",
            "PhysicalSizeX": 0.25,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": 0.25,
            "PhysicalSizeYUnit": "µm",
            "PhysicalSizeZ": 1.5,
            "Channel": {
                "Name": "x",
                "Color": color,
                "EmissionWavelength": 400 + color % 99,
            },
            "Plane": {
                "DeltaT": [10.0 * t + z for z in range(3)],
                "PositionX": [7.0] * 3,
                "PositionXUnit": ["mm"] * 3,
            },
        }
        path = tmp_path / f"{name}_{t}.ome.tif"
        tifffile.imwrite(
            path, pixels(3, 20, 40), photometric="minisblack", metadata=metadata
        )
    ds = converted(f"{tmp_path}/{{C}}_{{T}}.ome.tif")
    assert ds["C"].values.tolist() == ["DAPI", "GFP"]
    assert ds["color"].values.tolist() == ["#0000ff", "#00ff00"]
    assert ds["emission_wavelength"].values.tolist() == [
        400 + color % 99 for color in colors.values()
    ]
    assert ds["time"].values.tolist() == [[0, 1, 2], [10, 11, 12]]
    assert (ds["stage_x"] == 7000).all()
    assert ds["Z"].values.tolist() == [-1.5, 0.0, 1.5]
    assert ds.attrs["pixel_size_um"] == 0.25


@given(
    st.sets(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1),
    st.randoms(use_true_random=False),
)
def test_a_grid_holds_each_file_once_or_names_what_is_missing(
    places: set[tuple[int, int]], shuffle: Any
) -> None:
    pattern = FilenamePattern.parse("t{T}_c{C}.tif")
    paths = [pattern.fill({"T": str(t), "C": str(c)}) for t, c in places]
    shuffle.shuffle(paths)
    grid = grid_of_files(paths, pattern, fill_missing=True)
    files = [path for path in grid.files.ravel() if path is not None]
    assert sorted(files) == sorted(paths)
    for place, path in grid.places():
        t, c = (grid.labels[dim][i] for dim, i in zip("TC", place, strict=True))
        assert path in {None, f"t{t}_c{c}.tif"}
    assert len(grid.missing) == grid.files.size - len(paths)
    if grid.missing:
        with pytest.raises(ValueError, match=re.escape(grid.missing[0])):
            grid_of_files(paths, pattern, fill_missing=False)
