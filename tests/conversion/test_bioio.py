"""Formats for which a reader of bioio is installed."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import bioio_base.types
import dask.array
import numpy as np
import pytest
import xarray as xr
from bioio_base.reader import Reader as BioioReader

from limnd2_xr import Nd2Error, UnsupportedFeature
from limnd2_xr.conversion import bioio_source
from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Convert = Callable[..., xr.Dataset]

PIXELS = np.arange(2 * 3 * 2 * 1 * 20 * 40).reshape(2, 3, 2, 1, 20, 40).astype("u2")


class Reader(BioioReader):
    """Two scenes of a format of our own, through the API of bioio."""

    scenes: ClassVar[tuple[str, ...]] = ("left", "right")

    def __init__(self, image: str, **_options: Any) -> None:
        self._path = image
        if "broken" in image:
            raise OSError("the header is cut short")

    @property
    def xarray_dask_data(self) -> xr.DataArray:
        data = PIXELS[self.current_scene_index]
        return xr.DataArray(
            dask.array.from_array(data),
            dims=tuple("TCZYX"),
            coords={"C": ["DAPI", "GFP"]},
        )

    @property
    def physical_pixel_sizes(self) -> Any:
        return bioio_base.types.PhysicalPixelSizes(0.5, 0.25, 0.25)

    @staticmethod
    def _is_supported_image(fs: Any, path: str, **kwargs: Any) -> bool:
        return True

    def _read_delayed(self) -> xr.DataArray:
        return self.xarray_dask_data

    def _read_immediate(self) -> xr.DataArray:
        return self.xarray_dask_data.compute()


class ReaderMetadata:
    """As plug-ins have it."""

    @staticmethod
    def get_supported_extensions() -> list[str]:
        return ["odd"]

    @staticmethod
    def get_reader() -> Any:
        return Reader


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("a_bioio_reader")
    module.ReaderMetadata = ReaderMetadata  # type: ignore[attr-defined]
    found = [
        EntryPoint(name, name, "bioio.readers") for name in ("missing", module.__name__)
    ]
    monkeypatch.setattr(bioio_source, "entry_points", lambda **_group: found)
    monkeypatch.setitem(__import__("sys").modules, module.__name__, module)


@pytest.mark.usefixtures("plug_in")
def test_scenes_are_positions(tmp_path: Path, converted: Convert) -> None:
    path = tmp_path / "a.odd"
    path.write_bytes(b"?")
    ds = converted(path)
    assert ds["image"].dims == ("T", "P", "C", "Y", "X")
    np.testing.assert_array_equal(
        ds["image"], PIXELS[:, :, :, 0].transpose(1, 0, 2, 3, 4)
    )
    assert ds["P"].values.tolist() == ["left", "right"]
    assert ds["C"].values.tolist() == ["DAPI", "GFP"]
    assert ds.attrs["pixel_size_um"] == 0.25
    one = converted(path, series=1)["image"]
    np.testing.assert_array_equal(one, PIXELS[1, :, :, 0])


@pytest.mark.usefixtures("plug_in")
def test_failures_of_readers_are_named(tmp_path: Path, converted: Convert) -> None:
    path = tmp_path / "broken.odd"
    path.write_bytes(b"?")
    with pytest.raises(Nd2Error, match=r"broken\.odd.*the header is cut short"):
        converted(path)


def test_without_a_reader_the_message_says_what_to_install(
    tmp_path: Path, converted: Convert
) -> None:
    path = tmp_path / "a.czi"
    path.write_bytes(b"?")
    with pytest.raises(
        UnsupportedFeature, match=r"of \.czi; .*bioio-czi.* pip install"
    ):
        converted(path)


def test_a_real_reader(tmp_path: Path, converted: Convert) -> None:
    pytest.importorskip("bioio_nd2")
    spec = SyntheticSpec(loops=(TimeLoop(3),), width=40, height=20, calibration_um=0.5)
    path = build(spec).save(tmp_path / "a.nd2")
    with xr.open_dataset(path) as ds:
        found = converted(path, reader="bioio")
        np.testing.assert_array_equal(found["image"], ds["image"])
    assert found.attrs["pixel_size_um"] == 0.5
