"""Pixels at points equal those of numpy, and only the rows needed are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import limnd2_xr
from limnd2_xr.frames.points import PointKey
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.testing.counting import count_reads
from limnd2_xr.testing.legacy import LegacySpec, build_legacy
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ALL = slice(None)
COMMON: dict[str, Any] = {
    "loops": (TimeLoop(3), ZLoop(2)),
    "width": 12,
    "height": 9,
}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two channels, padded": {
        "channels": (ChannelSpec("a"), ChannelSpec("b")),
        "width": 13,
        "dtype": "uint8",
    },
    "RGB": {"channels": (ChannelSpec("rgb", components=3),), "dtype": "uint8"},
    "zlib": {"compression": "zlib"},
    "zlib RGB": {
        "channels": (ChannelSpec("rgb", components=3),),
        "compression": "zlib",
        "dtype": "uint8",
    },
    "lacks frames": {"missing": frozenset({0, 4})},
}
FILES = {name: build(SyntheticSpec(**(COMMON | kind))) for name, kind in KINDS.items()}


@pytest.fixture(params=[True, False], ids=["mapped", "buffers"])
def _mapped(request: pytest.FixtureRequest) -> Iterator[None]:
    limnd2_xr.set_mapping(request.param)
    yield
    limnd2_xr.set_mapping(True)


def expected(pixels: Any, key: tuple[Any, ...]) -> Any:
    """Index with numpy, the dims of the points first."""
    shape = np.broadcast_shapes(*(k.shape for k in key if not isinstance(k, slice)))
    numbers = []
    for own, length in zip(key, pixels.shape, strict=True):
        if isinstance(own, slice):
            numbers.append(np.arange(length)[own])
        else:
            numbers.append(np.broadcast_to(own, shape).ravel() % length)
    count = int(np.prod(shape))
    rows = [
        pixels[
            np.ix_(
                *(
                    n if isinstance(k, slice) else n[i : i + 1]
                    for n, k in zip(numbers, key, strict=True)
                )
            )
        ]
        for i in range(count)
    ]
    kept = [len(n) for n, k in zip(numbers, key, strict=True) if isinstance(k, slice)]
    flat = np.stack(rows) if rows else np.empty((0,), pixels.dtype)
    return flat.reshape(*shape, *kept)


@st.composite
def keys(draw: Callable[..., Any], lengths: tuple[int, ...]) -> tuple[Any, ...]:
    """A slice or an array for each dim, at least one array; arrays broadcast."""
    points = draw(st.sampled_from([(1,), (4,), (2, 3), (0,)]))
    flags = st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths))
    key = []
    for length, is_array in zip(lengths, draw(flags.filter(any)), strict=True):
        if is_array:
            shape = draw(st.sampled_from([points, (1,) * len(points)]))
            count = int(np.prod(shape))
            index = st.integers(-length, length - 1)
            values = draw(st.lists(index, min_size=count, max_size=count))
            key.append(np.array(values, dtype=np.int64).reshape(shape))
        else:
            key.append(draw(st.slices(length)))
    return tuple(key)


@pytest.mark.filterwarnings("ignore::limnd2_xr.errors.Nd2Warning")
@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_points_are_those_of_numpy(name: str, data: st.DataObject) -> None:
    file = FILES[name]
    with FrameStore.open(file.data) as store:
        key = data.draw(keys(store.shape))
        found = store.read_points(key)
        pixels = file.array()
        np.testing.assert_array_equal(found, expected(pixels, key))


@pytest.mark.usefixtures("_mapped")
@pytest.mark.parametrize("name", ["plain", "RGB", "zlib"])
def test_points_of_a_file_on_disk(name: str, tmp_path: Path) -> None:
    file = FILES[name]
    with FrameStore.open(file.save(tmp_path / "a.nd2")) as store:
        rest = (ALL,) * (len(store.shape) - 5)
        at = np.array([2, 0, 1])
        tried: list[tuple[Any, ...]] = [
            (at, at % 2, ALL, at, 3 * at, *rest),
            (at, ALL, ALL, ALL, at, *rest),
            (at, ALL, ALL, at[:, None], ALL, *rest),
        ]
        for key in tried:
            found = store.read_points(key)
            np.testing.assert_array_equal(found, expected(file.array(), key))


def test_a_point_of_each_frame_reads_a_pixel_of_each(tmp_path: Path) -> None:
    spec = SyntheticSpec(loops=(TimeLoop(20),), width=512, height=512)
    file = build(spec)
    rng = np.random.default_rng(0)
    y, x = rng.integers(512, size=(2, 20))
    limnd2_xr.set_mapping(False)
    try:
        with FrameStore.open(file.save(tmp_path / "a.nd2")) as store:
            key = np.arange(20), ALL, y, x
            store.read_points(key)
            with count_reads() as counter:
                found = store.read_points(key)
    finally:
        limnd2_xr.set_mapping(True)
    np.testing.assert_array_equal(found[:, 0], file.array()[np.arange(20), 0, y, x])
    assert counter.reads == 20
    assert counter.nbytes == 20 * 2


def test_points_read_no_product_of_frames_and_rows(tmp_path: Path) -> None:
    """The outer product of these points is the whole file."""
    spec = SyntheticSpec(loops=(TimeLoop(64),), width=2048, height=64)
    file = build(spec)
    at = np.arange(64)
    with FrameStore.open(file.save(tmp_path / "a.nd2")) as store:
        with count_reads() as counter:
            found = store.read_points((at, ALL, at, 2 * at))
        assert counter.nbytes <= 64 * (64 + 2)  # headers, and a pixel of each
    np.testing.assert_array_equal(found[:, 0], file.array()[at, 0, at, 2 * at])


def test_points_out_of_bounds() -> None:
    with FrameStore.open(FILES["plain"].data) as store:
        with pytest.raises(IndexError, match=r"index 9 .* dimension Y of length 9"):
            store.read_points((ALL, ALL, ALL, np.array([0, 9]), ALL))
        with pytest.raises(IndexError, match="2 indices"):
            store.read_points((ALL, np.array([0])))


def test_shape_of_points() -> None:
    key = PointKey.of((np.zeros((4, 1), int), np.zeros(3, int)), (5, 5), ("Y", "X"))
    assert key.shape == (4, 3)
    assert key.size == 12


def test_points_of_format_1() -> None:
    pytest.importorskip("imagecodecs")
    file = build_legacy(LegacySpec())
    with FrameStore.open(file.data) as store:
        *loops, _, height, width = store.shape
        rng = np.random.default_rng(3)
        at = [rng.integers(length, size=5) for length in (*loops, height, width)]
        key: tuple[Any, ...] = (*at[:-2], ALL, *at[-2:])
        everything = store.read((ALL,) * len(store.shape))
        np.testing.assert_array_equal(store.read_points(key), expected(everything, key))
