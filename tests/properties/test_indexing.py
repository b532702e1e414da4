"""Whatever is indexed lazily equals what numpy gives on the loaded array."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
import xarray as xr
from hypothesis import given

import limnd2_xr
from limnd2_xr.frames import packed_frames, plain_frames, staged_reads
from limnd2_xr.testing.strategies import specs
from limnd2_xr.testing.synthetic import SyntheticFile, SyntheticSpec, build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

pytestmark = [
    pytest.mark.filterwarnings("ignore::limnd2_xr.errors.Nd2Warning"),
    # Generated files are shown by their spec, which is long.
    pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning"),
]


def says_what_it_holds(spec: SyntheticSpec) -> bool:
    """Without picture metadata three components may be RGB or three channels."""
    return spec.metadata != "none" or sum(c.components for c in spec.channels) == 1


FILES = specs().filter(says_what_it_holds).map(build)


@pytest.fixture(params=["memory", "file object", "file object, threads"], autouse=True)
def source(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Have each test read bytes in memory, and through buffers, with and without threads."""
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", request.param)
    if "threads" in request.param:
        # Every read is shared out, and every frame large enough to be read directly.
        monkeypatch.setattr(plain_frames, "THREADED_NBYTES", 0)
        monkeypatch.setattr(packed_frames, "PACKED_THREADED_NBYTES", 0)
        for module in (plain_frames, staged_reads):
            monkeypatch.setattr(module, "READ_LIMIT_NBYTES", 4096)
        monkeypatch.setattr(plain_frames, "DIRECT_NBYTES", 1)
        limnd2_xr.set_threads(3)
    yield
    limnd2_xr.set_threads(None)


SOURCE = "memory"


@contextmanager
def opened(file: SyntheticFile, *, dask: bool) -> Iterator[xr.DataArray]:
    given = file.data if SOURCE == "memory" else io.BytesIO(file.data)
    # xarray itself fails on bytes together with chunks=, so chunk afterwards.
    with xr.open_dataset(given, engine="nd2") as ds:
        image = ds["image"]
        yield image.chunk(image.encoding["preferred_chunks"]) if dask else image


def one_index(draw: Callable[..., Any], length: int) -> Any:
    index = st.integers(-length, length - 1)
    return draw(
        st.one_of(
            index,
            st.slices(length),
            st.lists(index, max_size=5).map(lambda i: np.array(i, dtype=np.int64)),
            st.lists(st.booleans(), min_size=length, max_size=length).map(np.array),
        )
    )


@given(FILES, st.booleans())
def test_whole_image_equals_the_truth(file: SyntheticFile, dask: bool) -> None:
    with opened(file, dask=dask) as image:
        truth = file.array()
        assert image.shape == truth.shape
        assert image.dtype == truth.dtype
        np.testing.assert_array_equal(image.values, truth)


@given(FILES, st.booleans(), st.data())
def test_outer_indexing_equals_numpy(
    file: SyntheticFile, dask: bool, data: Any
) -> None:
    truth = file.array()
    with opened(file, dask=dask) as image:
        key = {
            dim: one_index(data.draw, n)
            for dim, n in image.sizes.items()
            if data.draw(st.booleans())
        }
        expected = xr.DataArray(truth, dims=image.dims).isel(key)
        got = image.isel(key)
        assert got.dims == expected.dims
        np.testing.assert_array_equal(got.values, expected.values)


@given(FILES, st.data())
def test_selecting_twice_equals_numpy(file: SyntheticFile, data: Any) -> None:
    with opened(file, dask=False) as image:
        got = image
        expected = xr.DataArray(file.array(), dims=got.dims)
        for _ in range(2):
            key = {dim: one_index(data.draw, n) for dim, n in got.sizes.items() if n}
            got, expected = got.isel(key), expected.isel(key)
        np.testing.assert_array_equal(got.values, expected.values)


@given(FILES, st.booleans(), st.integers(0, 6), st.data())
def test_pointwise_indexing_equals_numpy(
    file: SyntheticFile, dask: bool, points: int, data: Any
) -> None:
    truth = file.array()
    with opened(file, dask=dask) as image:
        key = {}
        for dim, n in image.sizes.items():
            if data.draw(st.booleans()):
                index = data.draw(
                    st.lists(st.integers(0, n - 1), min_size=points, max_size=points)
                )
                key[dim] = xr.DataArray(np.array(index, dtype=np.int64), dims="point")
        expected = xr.DataArray(truth, dims=image.dims).isel(key)
        got = image.isel(key)
        assert got.dims == expected.dims
        np.testing.assert_array_equal(got.values, expected.values)


@given(FILES, st.data())
def test_boolean_mask_over_all_dims_equals_numpy(
    file: SyntheticFile, data: Any
) -> None:
    truth: NDArray[Any] = file.array()
    with opened(file, dask=False) as image:
        level = int(np.nan_to_num(truth).max(initial=0)) // 2
        mask = xr.DataArray(truth > level, dims=image.dims)
        np.testing.assert_array_equal(
            image.where(mask, 0).values, np.where(truth > level, truth, 0)
        )


@given(FILES, st.data())
def test_numpy_indexing_of_the_variable_equals_numpy(
    file: SyntheticFile, data: Any
) -> None:
    truth = file.array()
    with opened(file, dask=False) as image:
        key = tuple(
            data.draw(st.one_of(st.integers(-n, n - 1), st.slices(n)))
            for n in truth.shape
        )
        np.testing.assert_array_equal(image[key].values, truth[key])
