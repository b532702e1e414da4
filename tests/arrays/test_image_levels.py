"""The image at smaller sizes: from the copies in its file, or computed."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from limnd2_xr.arrays.image_levels import level_of
from limnd2_xr.errors import UnsupportedDtype
from limnd2_xr.frames.layout import PixelLayout
from limnd2_xr.frames.packing import row_nbytes
from limnd2_xr.frames.pyramid import encode_level, halve, smaller_copies
from limnd2_xr.testing.counting import count_reads
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

FACTOR = 100
"""What the copies of the file below have more than the means of its pixels."""
LOOPS = (ZLoop(2), TimeLoop(3))
SIZES = {"T": 3, "Z": 2, "C": 2, "Y": 6, "X": 1100}


def saved(tmp_path: Path, leave_out: int = -1, **options: Any) -> Path:
    """Write a file whose copies can be told from computed ones."""
    spec: dict[str, Any] = {
        "loops": LOOPS,
        "width": SIZES["X"],
        "height": SIZES["Y"],
        "channels": (ChannelSpec("DAPI"), ChannelSpec("GFP")),
        "calibration_um": 0.5,
        **options,
    }
    plain = build(SyntheticSpec(**spec))
    layout = PixelLayout(
        height=spec["height"],
        width=spec["width"],
        channels=2,
        samples=1,
        dtype=np.dtype("u2"),
        row_nbytes=row_nbytes(spec["width"], 2, "u2"),
    )
    extra = {}
    with xr.open_dataset(plain.data, engine="nd2") as ds:
        for t, z in np.ndindex(3, 2):
            number = z * 3 + t
            if number == leave_out:
                continue
            frame = ds["image"].isel(T=t, Z=z).values
            for level, copy in smaller_copies(frame, layout):
                extra[level.chunk_name(number)] = encode_level(
                    copy + np.uint16(FACTOR), level.layout
                )
    return build(SyntheticSpec(**spec, extra_chunks=extra)).save(tmp_path / "a.nd2")


def halved(pixels: NDArray[Any], times: int, *, rgb: bool = False) -> NDArray[Any]:
    for _ in range(times):
        pixels = halve(pixels, rgb=rgb)
    return pixels


@given(st.data())
def test_levels_are_means_of_means(data: st.DataObject) -> None:
    rgb = data.draw(st.booleans())
    dims = ["T", "C", "Y", "X", *(["S"] if rgb else [])]
    sizes = [data.draw(st.integers(1, most)) for most in (3, 2, 9, 9)] + [3] * rgb
    dtype = data.draw(st.sampled_from(["u1", "u2", "f4"]))
    finite: dict[str, Any] = {}
    if dtype == "f4":
        finite = {"allow_nan": False, "allow_infinity": False}
    pixels = data.draw(
        hnp.arrays(
            dtype, tuple(sizes), elements=hnp.from_dtype(np.dtype(dtype), **finite)
        )
    )
    image = xr.DataArray(pixels, dims=dims, name="pixels", attrs={"a": 1})
    order = data.draw(st.permutations(dims))
    image = image.transpose(*order)
    if data.draw(st.booleans()):
        image = image.chunk(
            data.draw(st.sampled_from([{}, {"T": 1}, {"Y": 2, "X": 3}]))
        )
    times = data.draw(st.integers(1, 3))
    if min(image.sizes["Y"], image.sizes["X"]) >> times == 0:
        with pytest.raises(ValueError, match=f"pixels at level {times}"):
            level_of(image, times)
        return
    found = level_of(image, times)
    assert found.dims == tuple(order)
    assert found.name == "pixels"
    assert found.attrs == {"a": 1, "downsampled": 2**times}
    assert isinstance(found.data, dask.array.Array)
    loaded = found.compute(scheduler="synchronous")
    assert found.dtype == loaded.dtype == image.dtype
    assert found.shape == loaded.shape
    expected = halved(pixels, times, rgb=rgb)
    np.testing.assert_array_equal(loaded.transpose(*dims), expected)


def test_coordinates_are_those_of_the_larger_pixels() -> None:
    image = xr.DataArray(
        np.zeros((2, 5, 8), "u1"),
        dims=("T", "Y", "X"),
        coords={
            "T": [3.0, 4.0],
            "Y": np.arange(5) * 0.5,
            "X": ("X", np.arange(8), {"units": "um"}),
            "time": ("T", [0.1, 0.2]),
            "distance": (("Y", "X"), np.zeros((5, 8))),
            "well": "B3",
        },
        attrs={"pixel_size_um": 0.5},
    )
    found = level_of(image, 1)
    assert set(found.coords) == {"T", "Y", "X", "time", "well"}
    assert found["Y"].values.tolist() == [0.25, 1.25]
    assert found["X"].values.tolist() == [0.5, 2.5, 4.5, 6.5]
    assert found["X"].attrs == {"units": "um"}
    assert found["time"].identical(image["time"])
    assert found.attrs["pixel_size_um"] == 1.0
    assert level_of(image, 2).sel(X=5.0, method="nearest")["X"] == 5.5
    assert "Y" not in level_of(image.drop_vars("Y"), 1).coords
    assert "Y" not in level_of(image.assign_coords(Y=list("abcde")), 1).coords


def test_level_0_is_the_image() -> None:
    image = xr.DataArray(np.zeros((2, 2)), dims=("Y", "X"))
    assert level_of(image, 0) is image
    assert level_of(image.to_dataset(name="other"), 0).identical(image.rename("other"))


def test_what_has_no_levels_is_refused() -> None:
    image = xr.DataArray(np.zeros((2, 4), "u1"), dims=("Y", "X"))
    with pytest.raises(ValueError, match="nothing is left of 2 x 4 pixels at level 2"):
        level_of(image, 2)
    with pytest.raises(ValueError, match="not -1"):
        level_of(image, -1)
    with pytest.raises(TypeError):
        level_of(image, 1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no dim Y and X"):
        level_of(image.rename(Y="y", X="x"), 1)
    with pytest.raises(UnsupportedDtype, match="float64"):
        level_of(image.astype(float), 1)


def test_blocks_are_whole_frames() -> None:
    image = xr.DataArray(
        dask.array.zeros((4, 2, 8, 8), dtype="u2"), dims=("T", "C", "Y", "X")
    )
    found = level_of(image.chunk({"T": 3, "Y": 3, "X": 5}), 1)
    assert found.chunks == ((3, 1), (2,), (4,), (4,))


def test_copies_in_the_file_are_read(tmp_path: Path) -> None:
    with xr.open_dataset(saved(tmp_path)) as ds:
        found = level_of(ds, 1)
        expected = halve(ds["image"].values) + np.uint16(FACTOR)
    with xr.open_dataset(tmp_path / "a.nd2") as ds:
        found = level_of(ds, 1)
        assert found.dims == ("T", "Z", "C", "Y", "X")
        assert found.chunks is None
        assert found["X"].values[:2].tolist() == [0.25, 1.25]
        assert found["C"].values.tolist() == ["DAPI", "GFP"]
        assert found.attrs["objective"] == ds["image"].attrs["objective"]
        with count_reads() as reads:
            part = found.isel(T=1, Z=0, C=1, Y=slice(1, 2)).values
        assert reads.nbytes < 3 * 550 * 2 * 2 + 4200
        np.testing.assert_array_equal(part, expected[1, 0, 1, 1:2])
        np.testing.assert_array_equal(found, expected)


def test_copies_follow_a_selection_of_frames_and_channels(tmp_path: Path) -> None:
    with xr.open_dataset(saved(tmp_path)) as ds:
        expected = halve(ds["image"].values) + np.uint16(FACTOR)
    with xr.open_dataset(tmp_path / "a.nd2") as ds:
        image = ds["image"]
        found = level_of(image.isel(T=[2, 0], Z=1), 1)
        np.testing.assert_array_equal(found, expected[[2, 0], 1])
        assert found["T"].variable.identical(ds["T"][[2, 0]].variable)
        found = level_of(image.sel(C="GFP").isel(T=slice(None, None, -1)), 1)
        assert found.dims == ("T", "Z", "Y", "X")
        np.testing.assert_array_equal(found, expected[::-1, :, 1])
        found = level_of(image.isel(T=1).drop_vars("T"), 1)
        np.testing.assert_array_equal(found, expected[1])
    with xr.open_dataset(tmp_path / "a.nd2", chunks={}) as ds:
        np.testing.assert_array_equal(level_of(ds, 1), expected)
        cut = ds.chunk({"T": 2, "Y": 5}).chunk({"T": 1})
        np.testing.assert_array_equal(level_of(cut, 1), expected)


def test_the_copies_of_the_selected_frames_are_enough(tmp_path: Path) -> None:
    with xr.open_dataset(saved(tmp_path, leave_out=4)) as ds:  # T 1, Z 1
        assert level_of(ds, 1).chunks is not None
        assert level_of(ds["image"].isel(T=[1, 2]), 1).chunks is not None
        assert level_of(ds["image"].isel(Z=0), 1).chunks is None
        assert level_of(ds["image"].isel(T=0), 1).chunks is None


def computed_instead(image: xr.DataArray) -> None:
    found = level_of(image, 1)
    rest = [dim for dim in image.dims if dim not in {"Y", "X"}]
    ordered = image.transpose(*rest, "Y", "X")
    np.testing.assert_array_equal(
        found.transpose(*rest, "Y", "X"), halve(ordered.values)
    )


@pytest.mark.parametrize("chunks", [None, {}], ids=["lazy", "dask"])
def test_what_the_copies_are_not_true_of_is_computed(
    tmp_path: Path, chunks: dict[str, int] | None
) -> None:
    path = saved(tmp_path)
    with ExitStack() as stack:
        check_what_the_copies_are_not_true_of(
            lambda: stack.enter_context(xr.open_dataset(path, chunks=chunks))["image"]
        )


def check_what_the_copies_are_not_true_of(opened: Callable[[], xr.DataArray]) -> None:
    computed_instead(opened().isel(X=slice(1, None)))
    computed_instead(opened().isel(Y=slice(None, None, -1)))
    computed_instead(opened().isel(Y=[0, 1, 2, 3, 5, 4]))
    computed_instead(opened() + np.uint16(1))
    image = opened()
    computed_instead(image.copy(data=image.data[..., ::-1]))
    computed_instead(opened().roll(X=1))
    image = opened().copy()
    image[0, 0] = 7
    computed_instead(image)
    computed_instead(opened().load())
    computed_instead(opened().transpose("X", ...))


def test_levels_that_the_file_has_not_are_computed(tmp_path: Path) -> None:
    with xr.open_dataset(saved(tmp_path)) as ds:
        found = level_of(ds, 2)
        np.testing.assert_array_equal(found, halved(ds["image"].values, 2))


def test_copies_of_another_image_are_not_used(tmp_path: Path) -> None:
    extra = {"CustomDataSeq|DownsampledColorData_1024|0!": b"abc"}
    spec = SyntheticSpec(width=1100, height=6, extra_chunks=extra)
    with xr.open_dataset(build(spec).save(tmp_path / "b.nd2")) as ds:
        np.testing.assert_array_equal(level_of(ds, 1), halve(ds["image"].values))
