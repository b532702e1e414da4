"""Arrays written with smaller copies of their frames."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from typing import TYPE_CHECKING, Any

import dask
import dask.array
import nd2
import numpy as np
import pytest
import xarray as xr

import limnd2_xr
from limnd2_xr.arrays.image_levels import level_of
from limnd2_xr.frames.pyramid import halve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from limnd2_xr.arrays.stored_pixels import Compression

DIMS = ("T", "C", "Y", "X")
SHAPE = (4, 2, 7, 2100)
"""Levels 1 and 2 are 3 x 1050 and 1 x 525 pixels."""
NAMES = [
    f"CustomDataSeq|DownsampledColorData_{size}|{frame}!"
    for size in (2048, 1024)
    for frame in range(4)
]

packings = pytest.mark.parametrize("compression", [None, "zlib"])
kinds = pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])


def image(seed: int = 0, *, lazy: bool = False) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    found = xr.DataArray(rng.integers(0, 4000, SHAPE).astype("u2"), dims=DIMS)
    return found.chunk({"T": 1}) if lazy else found


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "files").mkdir()
    path = tmp_path / "files" / "a.nd2"
    yield path
    assert {p.suffix for p in path.parent.iterdir()} <= {".nd2"}


def levels(path: Path) -> dict[str, NDArray[Any]]:
    """Copies in a file, which must be those of its frames, by level."""
    with xr.open_datatree(path, engine="nd2") as tree:
        pixels = np.asarray(tree["image"])
        found = {
            str(name): np.asarray(group["image"])
            for name, group in tree["levels"].items()
        }
    assert list(found) == ["1", "2"]
    np.testing.assert_array_equal(found["1"], halve(pixels))
    np.testing.assert_array_equal(found["2"], halve(halve(pixels)))
    return found


def copies(path: Path) -> list[str]:
    with xr.open_dataset(path, engine="nd2") as ds:
        names = [chunk.name for chunk in ds.nd2.chunks()]
    return [name for name in names if "Downsampled" in name]


@packings
@kinds
def test_copies_are_written_and_read(
    path: Path, compression: str | None, lazy: bool
) -> None:
    image(lazy=lazy).nd2.write_nd2(path, compression=compression, pyramid=True)
    levels(path)
    assert sorted(copies(path)) == sorted(NAMES)
    with xr.open_dataset(path) as ds:
        np.testing.assert_array_equal(ds["image"], image())
        np.testing.assert_array_equal(level_of(ds, 1), halve(image().values))
    with nd2.ND2File(path) as other:
        np.testing.assert_array_equal(other.asarray(), image())


@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_copies_of_colour_images(path: Path, dtype: str) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 250, (2, 5, 1100, 3)).astype(dtype)
    da = xr.DataArray(pixels, dims=("T", "Y", "X", "S"))
    da.to_dataset(name="image").nd2.to_nd2(path, pyramid=True)
    with xr.open_datatree(path, engine="nd2") as tree:
        level = tree["levels/1/image"]
        assert level.dims == ("T", "C", "Y_1", "X_1", "S")
        np.testing.assert_array_equal(level[:, 0], halve(pixels, rgb=True))


def test_small_images_get_no_copies(path: Path) -> None:
    image().isel(X=slice(1024)).nd2.write_nd2(path, pyramid=True)
    assert copies(path) == []


@packings
def test_whoever_writes_the_result_is_the_same(
    path: Path, compression: str | None
) -> None:
    options: dict[str, Any] = {"compression": compression, "pyramid": True}
    image().nd2.write_nd2(path, **options)
    serial = path.read_bytes()
    expected = levels(path)
    with dask.config.set(scheduler="threads"):
        image(lazy=True).nd2.write_nd2(path, overwrite=True, **options)
    same_but_for_places(path, serial, compression)
    later = image(lazy=True).nd2.write_nd2(
        path, overwrite=True, compute=False, **options
    )
    later.compute()
    same_but_for_places(path, serial, compression)
    limnd2_xr.create_nd2(image(), path, overwrite=True, **options)
    for t in (2, 0, 3, 1):
        part = image()[t : t + 1]
        part.nd2.write_nd2(path, region={"T": slice(t, t + 1)})
    limnd2_xr.finalize_nd2(path, overwrite=True)
    same_but_for_places(path, serial, compression)
    assert levels(path).keys() == expected.keys()


def same_but_for_places(path: Path, serial: bytes, compression: str | None) -> None:
    """Compressed frames lie in the order in which they got ready, and nothing else."""
    found = path.read_bytes()
    assert len(found) == len(serial)
    first_frame = serial.index(b"ImageDataSeq|") - 16
    assert found[:first_frame] == serial[:first_frame]
    if compression is None:
        assert found == serial


SCRIPT = """
import sys
import numpy as np
from limnd2_xr.frames.frame_target import FrameTarget
path, t = sys.argv[1], int(sys.argv[2])
FrameTarget.find(path).put([t, t + 1], np.load(path + ".npy")[t : t + 2])
"""


@pytest.mark.slow
def test_processes_write_frames_with_their_copies(path: Path) -> None:
    image().nd2.write_nd2(path, pyramid=True)
    serial = path.read_bytes()
    np.save(f"{path}.npy", image().values)
    limnd2_xr.create_nd2(image(), path, overwrite=True, pyramid=True)
    processes = [
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", textwrap.dedent(SCRIPT), str(path), str(t)]
        )
        for t in (0, 2)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    limnd2_xr.finalize_nd2(path, overwrite=True)
    path.with_name("a.nd2.npy").unlink()
    assert path.read_bytes() == serial


@packings
def test_frames_that_nobody_wrote_are_zeros_in_all_levels(
    path: Path, compression: Compression
) -> None:
    limnd2_xr.create_nd2(image(), path, compression=compression, pyramid=True)
    image()[:2].nd2.write_nd2(path, region={"T": slice(2)})
    image(7)[1:2].nd2.write_nd2(path, region={"T": slice(1, 2)})
    with pytest.warns(limnd2_xr.Nd2Warning, match="2 of 4 frames"):
        limnd2_xr.finalize_nd2(path)
    found = levels(path)
    assert found["1"][:2].all(axis=(1, 2, 3)).any()
    assert not found["1"][2:].any()
    np.testing.assert_array_equal(found["1"][1], halve(image(7).values[1]))


@packings
@kinds
def test_an_exception_leaves_what_was_there(
    path: Path, compression: str | None, lazy: bool
) -> None:
    image(1).nd2.write_nd2(path, pyramid=True)
    before = path.read_bytes()
    bad = image()
    bad[3, 1, 4, 2000] = 5000
    bad = bad.chunk({"T": 1}) if lazy else bad
    with pytest.raises(ValueError, match="frame 3: 5000"):
        bad.nd2.write_nd2(
            path,
            compression=compression,
            significant_bits=12,
            pyramid=True,
            overwrite=True,
        )
    assert path.read_bytes() == before


def written_with_other_copies(path: Path) -> Path:
    """Write a file whose copies are not what would be computed."""
    image().nd2.write_nd2(path, pyramid=True)
    data = bytearray(path.read_bytes())
    with xr.open_dataset(path, engine="nd2") as ds:
        places = {c.name: c for c in ds.nd2.chunks()}
    # The last pixel of each copy, which ends where the next chunk begins.
    starts = [*sorted(c.offset for c in places.values()), len(data)]
    for name in NAMES:
        end = next(at for at in starts if at > places[name].offset)
        data[end - 2 : end] = b"\x07\x00"
    other = path.with_name("other.nd2")
    other.write_bytes(data)
    return other


def stored(path: Path) -> list[bytes]:
    with xr.open_dataset(path, engine="nd2") as ds:
        return [ds.nd2.chunk(name, raw=True) for name in NAMES]


@pytest.mark.parametrize("chunks", [None, {}], ids=["lazy", "dask"])
def test_copies_of_an_opened_file_stay_as_they_are(
    path: Path, chunks: dict[str, int] | None
) -> None:
    other = written_with_other_copies(path)
    with xr.open_dataset(other, chunks=chunks) as ds:
        ds.nd2.to_nd2(path, overwrite=True)
    assert stored(path) == stored(other)
    with pytest.raises(AssertionError):
        levels(path)


def changed(image: xr.DataArray, how: str) -> xr.DataArray:
    if how == "set":
        image = image.copy()
        image[1, 1, 3:5] = 9
        return image
    if how == "data":
        return image.copy(data=image.data[..., ::-1])
    if how == "roll":
        return image.roll(X=1)
    return image


@pytest.mark.parametrize("chunks", [None, {}], ids=["lazy", "dask"])
@pytest.mark.parametrize("how", ["set", "data", "roll", "scale", "pyramid"])
def test_copies_of_changed_pixels_are_made_anew(
    path: Path, how: str, chunks: dict[str, int] | None
) -> None:
    other = written_with_other_copies(path)
    options: dict[str, Any] = {"scale": 2.0} if how == "scale" else {}
    options |= {"pyramid": True} if how == "pyramid" else {}
    with xr.open_dataset(other, chunks=chunks) as ds:
        array = changed(ds["image"], how)
        array.nd2.write_nd2(path, overwrite=True, **options)
    levels(path)
    assert sorted(copies(path)) == sorted(NAMES)


def test_copies_of_a_part_are_made_if_wanted(path: Path) -> None:
    other = written_with_other_copies(path)
    with xr.open_dataset(other) as ds, warnings.catch_warnings():
        warnings.simplefilter("error")
        ds.isel(T=slice(2), Y=slice(4)).nd2.to_nd2(path, overwrite=True, pyramid=True)
    with xr.open_datatree(path, engine="nd2") as tree:
        expected = halve(image().values[:2, :, :4])
        np.testing.assert_array_equal(tree["levels/1/image"], expected)
    with (
        xr.open_dataset(other) as ds,
        pytest.warns(limnd2_xr.Nd2Warning, match="Downsampled"),
    ):
        ds.isel(T=slice(2)).nd2.to_nd2(path, overwrite=True)
    assert copies(path) == []


def test_a_pyramid_replaces_the_levels_of_a_tree(path: Path) -> None:
    other = written_with_other_copies(path)
    with xr.open_datatree(other, engine="nd2") as tree:
        tree.nd2.to_nd2(path, pyramid=True, overwrite=True)
    levels(path)
    with xr.open_datatree(other, engine="nd2") as tree:
        tree.nd2.to_nd2(path, overwrite=True)
    assert stored(path) == stored(other)


def test_pixels_are_computed_once(path: Path) -> None:
    computed: list[int] = []

    def count(block: Any) -> Any:
        computed.append(1)
        return block

    data = image(lazy=True).data.map_blocks(
        count, dtype="u2", meta=np.empty((0,) * 4, "u2")
    )
    xr.DataArray(data, dims=DIMS).nd2.write_nd2(path, pyramid=True)
    assert len(computed) == 4
    levels(path)
