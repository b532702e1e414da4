"""What an OME-Zarr is made of: smaller copies, compressed chunks, places in a grid."""

from __future__ import annotations

import pickle
from typing import Any

import imagecodecs
import numcodecs  # type: ignore[import-untyped]
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from limnd2_xr.arrays.ngff import Axis, node_names
from limnd2_xr.export.blosc_planes import PlaneBlosc
from limnd2_xr.export.ngff_metadata import multiscales_of
from limnd2_xr.export.pyramid_levels import halved
from limnd2_xr.export.zarr_arrays import ArraySpec
from limnd2_xr.export.zarr_codecs import COMPRESSORS

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning:zarr")

INTEGERS = [np.dtype(name) for name in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8")]


def exact_means(pixels: np.ndarray[Any, Any]) -> list[list[int]]:
    """Means of 2 x 2 by Python's own integers, halves to even."""
    rows, columns = pixels.shape
    found: list[list[int]] = []
    for y in range(max(1, rows // 2)):
        found.append([])
        for x in range(max(1, columns // 2)):
            four = [
                int(pixels[min(2 * y + dy, rows - 1), min(2 * x + dx, columns - 1)])
                for dy in (0, 1)
                for dx in (0, 1)
            ]
            quarter, rest = divmod(sum(four), 4)
            found[-1].append(quarter + (rest + (quarter & 1) > 2))
    return found


@given(
    st.sampled_from(INTEGERS).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=2))
    )
)
def test_means_of_integers_are_exact(pixels: np.ndarray[Any, Any]) -> None:
    found = halved(pixels, "mean")
    assert found.dtype == pixels.dtype
    assert found.tolist() == exact_means(pixels)


@given(hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=5, min_side=2)))
def test_means_are_those_of_numpy(pixels: np.ndarray[Any, Any]) -> None:
    height, width = (n // 2 for n in pixels.shape[-2:])
    whole = pixels[..., : 2 * height, : 2 * width]
    blocks = whole.reshape(*pixels.shape[:-2], height, 2, width, 2)
    expected = np.rint(blocks.mean(axis=(-3, -1))).astype(np.uint16)
    np.testing.assert_array_equal(halved(pixels, "mean"), expected)


@pytest.mark.parametrize("dtype", ["f4", "f8", ">u2"])
def test_means_of_large_images_piece_by_piece(dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 4000, (1501, 1200)).astype(dtype)
    values[0, 0] = np.nan if dtype[0] == "f" else 1
    found = halved(values, "mean")
    assert found.shape == (750, 600)
    blocks = values[:1500].astype(float).reshape(750, 2, 600, 2)
    expected = blocks.mean(axis=(1, 3))
    if dtype[0] != "f":
        expected = np.rint(expected)
    np.testing.assert_array_equal(found, expected.astype(found.dtype))


def test_the_nearest_label_is_a_label() -> None:
    labels = np.array([[7, 9, 1], [3, 9, 1], [5, 5, 5]], np.uint32)
    np.testing.assert_array_equal(halved(labels, "nearest"), [[7]])
    np.testing.assert_array_equal(halved(labels[:1], "nearest"), [[7]])


# ---- chunks ---------------------------------------------------------------------------

pixels_of = st.one_of(
    hnp.arrays(
        st.sampled_from([np.dtype("u2"), np.dtype("i2"), np.dtype("f2")]),
        hnp.array_shapes(min_dims=1, max_dims=3, max_side=90),
    ),
    st.builds(
        lambda shape, top, seed: (
            np.random.default_rng(seed).integers(0, top, shape).astype("u2")
        ),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=40, max_side=200),
        st.sampled_from([1, 2, 300, 4000, 65536]),
        st.integers(0, 9),
    ),
)


@given(pixels_of, st.integers(1, 9))
def test_what_planes_are_packed_into_is_blosc(
    pixels: np.ndarray[Any, Any], clevel: int
) -> None:
    encode = PlaneBlosc(clevel, numcodecs.Blosc("zstd", clevel, shuffle=1))
    packed = encode(pixels)
    assert bytes(numcodecs.Blosc().decode(packed)) == pixels.tobytes()
    assert imagecodecs.blosc_decode(packed) == pixels.tobytes()
    assert len(packed) <= pixels.nbytes + 16


def test_bytes_without_planes_are_left_to_blosc() -> None:
    codec = numcodecs.Blosc("zstd", 3, shuffle=1)
    data = bytes(range(256)) * 100
    assert PlaneBlosc(3, codec)(data) == codec.encode(data)


def test_pixels_of_one_byte_that_are_said_to_have_two() -> None:
    pixels = np.random.default_rng(1).integers(0, 9, (64, 101)).astype("u1")
    packed = PlaneBlosc(3, numcodecs.Blosc("zstd", 3, shuffle=1))(pixels)
    assert bytes(numcodecs.Blosc().decode(packed)) == pixels.tobytes()


@pytest.mark.parametrize("clevel", [5, 9])
def test_high_levels_make_labels_small(clevel: int) -> None:
    cells = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    labels = np.kron(cells, np.ones((8, 8), np.uint16))
    labels[np.random.default_rng(1).random(labels.shape) < 0.02] = 0
    codec = numcodecs.Blosc("zstd", clevel, shuffle=1)
    packed = PlaneBlosc(clevel, codec)(labels)
    assert len(packed) <= 1.02 * len(codec.encode(labels))
    assert bytes(codec.decode(packed)) == labels.tobytes()


@pytest.mark.parametrize("rows", [1024, 1000, 997])
def test_planes_of_large_chunks(rows: int) -> None:
    light = np.random.default_rng(1).poisson(300, (rows, 1200)).astype(np.uint16)
    codec = numcodecs.Blosc("zstd", 3, shuffle=1)
    packed = PlaneBlosc(3, codec)(light)
    assert len(packed) <= 1.01 * len(codec.encode(light))
    for threads in (1, 4):
        decoded = imagecodecs.blosc_decode(packed, numthreads=threads)
        assert decoded == light.tobytes()


specs = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["u1", "u2", "i4", "f4", "f8"]).map(np.dtype),
        "shape": st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(1, 40)),
        "chunks": st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20)),
        "more": st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
        "sharded": st.booleans(),
        "zarr_format": st.sampled_from([2, 3]),
        "compressor": st.sampled_from([*COMPRESSORS, None]),
    }
)


@given(specs, st.integers(0, 99))
def test_what_is_stored_is_what_zarr_reads(made: dict[str, Any], seed: int) -> None:
    shards = None
    if made["sharded"] and made["zarr_format"] == 3:
        pairs = zip(made["chunks"], made["more"], strict=True)
        shards = tuple(size * more for size, more in pairs)
    spec = ArraySpec(
        path="image/0",
        axes=("z", "y", "x"),
        shape=made["shape"],
        dtype=made["dtype"],
        chunks=made["chunks"],
        shards=shards,
        compressor=made["compressor"],
        zarr_format=made["zarr_format"],
    )
    spec = pickle.loads(pickle.dumps(spec))
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 3, spec.shape).astype(spec.dtype)
    pixels[rng.random(spec.shape) < 0.5] = 0
    stored = dict(spec.files)
    for place, part in spec.objects(pixels, (0, 0, 0)):
        data = spec.encoded(part)
        if data is not None:
            stored[spec.key(place)] = data
    buffer = zarr.core.buffer.default_buffer_prototype().buffer
    store = zarr.storage.MemoryStore(
        {key: buffer.from_bytes(data) for key, data in stored.items()}
    )
    array = zarr.open_array(store, path="image/0", mode="r")
    np.testing.assert_array_equal(array[:], pixels)


# ---- names ----------------------------------------------------------------------------


@given(st.lists(st.text(max_size=5), max_size=6))
def test_names_of_groups_are_plain_and_differ(names: list[str]) -> None:
    found = node_names(names)
    assert len({name.lower() for name in found}) == len(names)
    assert all(name.isascii() and name.strip("._") for name in found)


def test_a_single_row_is_not_scaled() -> None:
    axes = [Axis(dim=dim, scale=2.0, start=10.0) for dim in "YX"]
    made = multiscales_of(axes, ((1, 8), (1, 4), (1, 2)), "a", "mean")
    scale, translation = made["datasets"][2]["coordinateTransformations"]
    assert scale["scale"] == [2.0, 8.0]
    assert translation["translation"] == [10.0, 13.0]
    assert made["type"] == "mean"


def test_of_smaller_copies_is_told_only_where_there_are_some() -> None:
    axes = [Axis(dim=dim, scale=2.0, start=10.0) for dim in "YX"]
    made = multiscales_of(axes, ((6, 8),), "a", "mean")
    assert not {"type", "metadata"} & made.keys()
