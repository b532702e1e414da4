"""Shared: writing an image as other formats, and reading what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import limnd2_xr

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture
def converted(tmp_path: Path) -> Callable[..., xr.Dataset]:
    """Convert to .nd2 and return what is in it, loaded."""

    def convert(sources: Any, **settings: Any) -> xr.Dataset:
        path = tmp_path / "converted.nd2"
        limnd2_xr.convert_to_nd2(sources, path, overwrite=True, **settings)
        with xr.open_dataset(path) as dataset:
            return dataset.load()

    return convert


@pytest.fixture
def pixels() -> Callable[..., NDArray[Any]]:
    """Return pixels of a shape, no two frames alike."""

    def make(*shape: int, dtype: str = "uint16") -> NDArray[Any]:
        rng = np.random.default_rng(len(shape))
        return rng.integers(0, 255, shape).astype(dtype)

    return make
