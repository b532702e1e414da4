"""What a user says overrules what files say; what makes no sense is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import limnd2_xr
from limnd2_xr import UnsupportedFeature

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Convert = Callable[..., xr.Dataset]
    Pixels = Callable[..., NDArray[Any]]


@pytest.fixture
def stack(tmp_path: Path, pixels: Pixels) -> Path:
    """Return an array of T3 Z2 C2 Y20 X40."""
    path = tmp_path / "a.npy"
    np.save(path, pixels(3, 2, 2, 20, 40))
    return path


def test_all_settings_reach_the_file(stack: Path, converted: Convert) -> None:
    ds = converted(
        stack,
        dims="TZCYX",
        time_step="500 ms",
        z_step=0.5,
        pixel_size="325nm",
        channel_names=["DAPI", "BF"],
        colors=["blue", "#FFFFFF"],
        emission=["461", ""],
        excitation=[405, "0.4um"],
        exposure=["100ms", 0.25],
        modality=["fluorescence, spinning disk", "brightfield"],
        objective="Plan Apo 60x",
        magnification=60.0,
        numerical_aperture=1.4,
        refractive_index=1.515,
        attrs={"author": "Ada", "description": "made"},
        significant_bits=12,
        compression="zlib",
    )
    assert ds["T"].values.tolist() == [0, 0.5, 1]
    assert ds["Z"].values.tolist() == [0, 0.5]
    assert ds["X"].values[1] == 0.325
    assert ds["C"].values.tolist() == ["DAPI", "BF"]
    assert ds["color"].values.tolist() == ["#0000ff", "#ffffff"]
    assert ds["emission_wavelength"].values[0] == 461
    assert np.isnan(ds["emission_wavelength"].values[1])
    assert ds["excitation_wavelength"].values.tolist() == [405, 400]
    assert ds["exposure_time"].values.tolist() == [0.1, 0.25]
    assert ds["modality"].values.tolist() == [
        "fluorescence, spinning disk",
        "brightfield",
    ]
    wanted = {
        "objective": "Plan Apo 60x",
        "magnification": 60.0,
        "numerical_aperture": 1.4,
        "refractive_index": 1.515,
        "author": "Ada",
        "significant_bits": 12,
        "compression": "lossless",
    }
    assert {name: ds.attrs.get(name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"time_step": "fast"}, "time_step must be a number"),
        ({"time_step": "5 um"}, "cannot be converted to s"),
        ({"time_step": 0}, "above 0"),
        ({"z_step": "1e999"}, "finite"),
        ({"z_step": 0}, "z_step is 0"),
        ({"pixel_size": -1}, "above 0"),
        ({"channel_names": ["a"]}, "1 values for 2 channels"),
        ({"channel_names": ["a", "a"]}, "channel names repeat"),
        ({"colors": ["pinkish", "red"]}, "pinkish"),
        ({"modality": ["magic"]}, "modality 'magic' is not known"),
        ({"emission": "461"}, "for 2 channels"),
        ({"wells": True}, "no positions"),
        ({"pattern": "{T}.tif", "regex": "(?P<T>.)"}, "not both"),
        ({"along": "Q"}, "along must be"),
        ({"reader": "magic"}, "reader must be"),
        ({"compression": "lzw"}, "compression must be"),
        ({"level": 3}, "level 3 is of"),
        ({"significant_bits": 17}, "17 significant bits"),
        ({"attrs": {"acquisition_start": "soon"}}, "ISO 8601"),
    ],
)
def test_impossible_settings_are_refused(
    settings: dict[str, Any], reason: str, stack: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=reason):
        limnd2_xr.convert_to_nd2(
            stack, tmp_path / "out.nd2", **{"dims": "TZCYX", **settings}
        )
    with pytest.raises(ValueError, match=reason):
        limnd2_xr.plan_conversion(stack, **{"dims": "TZCYX", **settings})
    assert sorted(tmp_path.iterdir()) == [stack]


def test_a_setting_that_does_not_exist_is_an_error(stack: Path) -> None:
    with pytest.raises(TypeError, match="colour"):
        limnd2_xr.plan_conversion(stack, colour="red")


def test_a_step_of_time_overrules_recorded_times(
    tmp_path: Path, converted: Convert, pixels: Pixels
) -> None:
    image = xr.DataArray(pixels(3, 20, 40), dims=("T", "Y", "X"), name="image")
    image = image.assign_coords(time=("T", [0.0, 7.0, 9.0]))
    image.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    assert converted(tmp_path / "a.nc")["time"].values.tolist() == [0, 7, 9]
    assert converted(tmp_path / "a.nc", time_step=2)["time"].values.tolist() == [
        0,
        2,
        4,
    ]


def test_what_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from limnd2_xr.conversion import opening

    monkeypatch.setattr(opening, "find_spec", lambda _name: None)
    for name, extra in (("a.tif", "export"), ("a.png", "export"), ("a.nc", "netcdf")):
        (tmp_path / name).write_bytes(b"II*\0")
        with pytest.raises(UnsupportedFeature, match=rf"limnd2-xr\[{extra}\]"):
            limnd2_xr.plan_conversion(tmp_path / name)


def test_an_existing_file_stays(stack: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.nd2"
    target.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        limnd2_xr.convert_to_nd2(stack, target, dims="TZCYX")
    assert target.read_bytes() == b"mine"
    plan = limnd2_xr.convert_to_nd2(stack, target, dims="TZCYX", overwrite=True)
    assert plan.frames == 6
    with pytest.raises(ValueError, match="one of the inputs"):
        limnd2_xr.convert_to_nd2(target, target, overwrite=True)


def test_memory_stays_small(
    tmp_path: Path, converted: Convert, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than a block of frames is asked for at once."""
    from limnd2_xr.arrays import write
    from limnd2_xr.conversion import tiff_source

    asked = []
    read = tiff_source._Series.read

    def counted(self: Any, indices: Any) -> Any:
        asked.append(np.prod([len(index) for index in indices]) * self.dtype.itemsize)
        return read(self, indices)

    import tifffile

    data = np.arange(64 * 20 * 40).reshape(64, 20, 40).astype("uint16")
    tifffile.imwrite(tmp_path / "a.tif", data, metadata={"axes": "TYX"})
    monkeypatch.setattr(write, "BLOCK_NBYTES", 4 * data[0].nbytes)
    monkeypatch.setattr(tiff_source._Series, "read", counted)
    image = converted(tmp_path / "a.tif")["image"]
    np.testing.assert_array_equal(image[:, 0], data)
    assert max(asked) <= 4 * data[0].nbytes
    assert sum(asked) == data.nbytes
