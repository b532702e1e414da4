"""nd2 reads the masks that this package writes as this package does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nd2
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import limnd2_xr

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

DIMS = ("T", "Z", "Y", "X")
SHAPE = (2, 3, 30, 40)


def image() -> xr.DataArray:
    pixels = np.arange(np.prod(SHAPE), dtype="u2").reshape(SHAPE)
    return xr.DataArray(pixels, dims=DIMS, coords={"C": "GFP"})


def of_nd2(path: Path) -> dict[str, NDArray[Any]]:
    """Masks of each layer by frame; nd2 gives None for a frame without a mask."""
    with nd2.ND2File(path) as file:
        assert file.binary_data is not None
        return {
            layer.name: np.stack(
                [np.zeros(SHAPE[2:]) if m is None else m for m in layer.data]
            )
            for layer in file.binary_data
        }


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    masks=hnp.arrays(np.uint32, SHAPE, elements=st.integers(0, 300), fill=st.just(0))
)
def test_any_masks(tmp_path: Path, masks: NDArray[np.uint32]) -> None:
    path = tmp_path / "a.nd2"
    labels = xr.DataArray(masks, dims=DIMS)
    image().nd2.write_nd2(path, labels={"cells": labels}, overwrite=True)
    found = of_nd2(path)["cells"]
    with xr.open_dataset(path, engine="nd2") as ds:
        ours = ds.nd2.labels["cells"].values
    assert np.array_equal(ours, masks)
    assert np.array_equal(found.reshape(SHAPE), masks)


@pytest.mark.parametrize("added", [False, True])
def test_several_layers(tmp_path: Path, added: bool) -> None:
    path = tmp_path / "a.nd2"
    rng = np.random.default_rng(0)
    layers = {
        name: xr.DataArray(
            np.kron(rng.integers(0, 5, (2, 3, 6, 8)), np.ones((5, 5), int)),
            dims=DIMS,
            attrs={"color": color, "channel": "GFP"},
        )
        for name, color in (("nuclei", "#ff0000"), ("cells", "#00ff00"))
    }
    if added:
        image().nd2.write_nd2(path)
        for name, labels in layers.items():
            limnd2_xr.update_nd2(path, labels={name: labels})
    else:
        image().nd2.write_nd2(path, labels=layers)
    found = of_nd2(path)
    assert list(found) == list(layers)
    for name, labels in layers.items():
        assert np.array_equal(found[name].reshape(SHAPE), labels), name
    with nd2.ND2File(path) as file:
        assert np.array_equal(file.asarray(), image())
        assert file.binary_data is not None
        assert [layer.comp_name for layer in file.binary_data] == ["GFP", "GFP"]
