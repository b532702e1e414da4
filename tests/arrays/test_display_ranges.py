"""Display ranges as coordinates of channels: read late, and written back."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import limnd2_xr
from limnd2_xr.container.prefetch import RegionCache
from limnd2_xr.model.display import (
    DISPLAY,
    Display,
    DisplayRange,
    display_tree,
    parse_display,
)
from limnd2_xr.testing.counting import count_reads
from limnd2_xr.testing.synthetic import ChannelSpec, SyntheticSpec, TimeLoop, build
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.encode import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COORDS = ("display_min", "display_max", "gamma")
RANGES = (
    DisplayRange(minimum=10, maximum=900, gamma=0.5),
    DisplayRange(minimum=20, maximum=800),
    DisplayRange(minimum=30, maximum=4095, gamma=2.0),
)
VALUES = [[10.0, 20.0, 30.0], [900.0, 800.0, 4095.0], [0.5, 1.0, 2.0]]


def payload_of(
    ranges: tuple[DisplayRange, ...], bits: int | None, **more: Any
) -> bytes:
    return encode(display_tree(Display(ranges=ranges, **more), bits))


PAYLOAD = payload_of(RANGES, 12, auto_contrast=True)
SPEC = SyntheticSpec(
    loops=(TimeLoop(2),),
    width=8,
    height=6,
    channels=(ChannelSpec("A"), ChannelSpec("B"), ChannelSpec("C")),
    significant_bits=12,
    extra_chunks={DISPLAY: PAYLOAD},
)
DATA = build(SPEC).data


@pytest.fixture
def ds() -> Iterator[xr.Dataset]:
    with xr.open_dataset(DATA, engine="nd2") as opened:
        yield opened


def ranges(obj: xr.Dataset | xr.DataArray) -> list[list[float]]:
    return [np.atleast_1d(obj[name].values).tolist() for name in COORDS]


def write(obj: xr.Dataset | xr.DataArray, path: Path, **options: Any) -> xr.Dataset:
    image = obj["image"] if isinstance(obj, xr.Dataset) else obj
    image.nd2.write_nd2(path, **{"on_loss": "raise", **options})
    return xr.load_dataset(path, engine="nd2")


def chunk(path: Path) -> Any:
    with xr.open_dataset(path, engine="nd2") as opened:
        names = {c.name for c in opened.nd2.chunks()}
        return opened.nd2.chunk(DISPLAY, raw=True) if DISPLAY in names else None


def test_channels_have_ranges(ds: xr.Dataset) -> None:
    assert ranges(ds) == VALUES
    for name in COORDS:
        assert ds[name].dims == ("C",)
        assert ds[name].dtype == np.float64
        assert ds[name].attrs["long_name"]
    assert ranges(ds.sel(C=["C", "A"])) == [[row[2], row[0]] for row in VALUES]


@pytest.mark.parametrize("is_held", [True, False])
def test_they_are_read_when_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, is_held: bool
) -> None:
    """A chunk that was read along with others is not read again."""
    if not is_held:
        monkeypatch.setattr(RegionCache, "held", lambda *_: None)
    reads = []
    for extra in ({}, {DISPLAY: PAYLOAD}):
        spec = SyntheticSpec(width=8, height=6, extra_chunks=extra)
        with (
            count_reads() as counter,
            xr.open_dataset(build(spec).data, engine="nd2") as opened,
        ):
            repr(opened)
            reads.append(counter.reads)
            assert ("gamma" in opened.coords) == bool(extra)
            if extra:
                assert np.isfinite(ranges(opened)).all()
                assert counter.reads == reads[-1] + (0 if is_held else 1)
    assert reads[0] == reads[1]


def test_a_colour_image_has_one_range() -> None:
    three = (
        DisplayRange(minimum=5, maximum=200, gamma=0.7),
        DisplayRange(minimum=3, maximum=100, gamma=0.8),
        DisplayRange(minimum=9, maximum=250, gamma=0.9),
    )
    spec = SyntheticSpec(
        width=8,
        height=6,
        channels=(ChannelSpec("HE", components=3),),
        dtype="uint8",
        extra_chunks={DISPLAY: payload_of(three, 8)},
    )
    with xr.open_dataset(build(spec).data, engine="nd2") as opened:
        assert ranges(opened) == [[3.0], [250.0], [0.7]]


@pytest.mark.parametrize("payload", [b"<no", b"", payload_of(RANGES[:0], 12), PAYLOAD])
def test_damage_costs_a_warning_and_the_ranges(payload: bytes, tmp_path: Path) -> None:
    spec = SyntheticSpec(
        width=8,
        height=6,
        channels=tuple(ChannelSpec(f"{i}") for i in range(9)),
        extra_chunks={DISPLAY: payload},
    )
    with xr.open_dataset(build(spec).data, engine="nd2") as opened:
        if payload == payload_of(RANGES[:0], 12):
            values = ranges(opened)
        else:
            with pytest.warns(limnd2_xr.Nd2Warning, match=r"LUTDataV1_0!.*not known"):
                values = ranges(opened)
            with pytest.warns(limnd2_xr.Nd2Warning, match="LUTDataV1_0!"):
                opened["image"].nd2.write_nd2(tmp_path / "a.nd2")
            assert chunk(tmp_path / "a.nd2") == payload
        assert np.isnan(values).all()
        assert opened["image"].values.shape == (9, 6, 8)


def test_a_file_that_is_written_again_keeps_its_bytes(
    ds: xr.Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "a.nd2"
    again = write(ds, path)
    assert chunk(path) == PAYLOAD
    xr.testing.assert_identical(again, ds.load())
    for other in (ds.isel(T=[1]), ds.isel(Y=slice(3)), ds.drop_vars(COORDS)):
        assert ranges(write(other, path, overwrite=True, on_loss="ignore")) == VALUES
        assert chunk(path) == PAYLOAD


@pytest.mark.parametrize("picked", [[1], [2, 0], [2, 1, 0], [0, 1]])
@pytest.mark.parametrize("dropped", [(), COORDS])
def test_ranges_stay_with_their_channel(
    ds: xr.Dataset, picked: list[int], dropped: tuple[str, ...], tmp_path: Path
) -> None:
    part = ds.isel(C=picked).drop_vars(dropped)
    again = write(part, tmp_path / "a.nd2")
    assert ranges(again) == [[row[i] for i in picked] for row in VALUES]
    display = parse_display(decode(chunk(tmp_path / "a.nd2")), len(picked), 12)
    assert display.auto_contrast


def test_edited_ranges_are_shown(ds: xr.Dataset, tmp_path: Path) -> None:
    edited = ds.assign_coords(display_max=("C", [900.0, 850.5, 4095.0]))
    again = write(edited, tmp_path / "a.nd2")
    assert ranges(again) == [VALUES[0], [900.0, 850.5, 4095.0], VALUES[2]]
    # Else NIS-Elements would choose them by itself.
    display = parse_display(decode(chunk(tmp_path / "a.nd2")), 3, 12)
    assert not display.auto_contrast
    assert ranges(write(ds.isel(C=1), tmp_path / "b.nd2")) == [[r[1]] for r in VALUES]


def test_ranges_that_are_taken_out_are_those_of_all_values(
    ds: xr.Dataset, tmp_path: Path
) -> None:
    nothing = ("C", [np.nan] * 3)
    cleared = ds.assign_coords(dict.fromkeys(COORDS, nothing))
    again = write(cleared, tmp_path / "a.nd2")
    assert ranges(again) == [[0.0] * 3, [4095.0] * 3, [1.0] * 3]


def fresh(dtype: str = "uint16", **coords: Any) -> xr.DataArray:
    return xr.DataArray(np.zeros((2, 4, 5), dtype), dims=("C", "Y", "X"), coords=coords)


@pytest.mark.parametrize(
    ("dtype", "coords", "expected"),
    [
        ("uint16", {}, None),
        ("uint16", {"gamma": ("C", [np.nan, np.nan])}, None),
        ("uint8", {"display_max": 100}, [[0, 0], [100, 100], [1, 1]]),
        ("uint8", {"gamma": ("C", [0.5, np.nan])}, [[0, 0], [255, 255], [0.5, 1]]),
        ("uint16", {"display_min": ("C", [5, 7])}, [[5, 7], [65535] * 2, [1, 1]]),
        (
            "float32",
            {"display_min": ("C", [-2.5, np.nan])},
            [[-2.5, 0], [1, 1], [1, 1]],
        ),
    ],
)
def test_a_new_array_has_ranges(
    dtype: str, coords: Any, expected: list[list[float]] | None, tmp_path: Path
) -> None:
    again = write(fresh(dtype, **coords), tmp_path / "a.nd2")
    if expected is None:
        assert not set(COORDS) & set(again.coords)
    else:
        assert ranges(again) == expected


def test_ranges_are_grey_values_whatever_the_bits(
    ds: xr.Dataset, tmp_path: Path
) -> None:
    image = ds["image"]
    for options in ({"significant_bits": 16}, {"dtype": "float32"}):
        name = f"{next(iter(options))}.nd2"
        again = write(image, tmp_path / name, **{"on_loss": "ignore", **options})
        assert ranges(again) == VALUES
    again = write(image, tmp_path / "a.nd2", scale=0.5, on_loss="ignore")
    assert ranges(again) == [[5, 10, 15], [450, 400, 2047.5], VALUES[2]]


@pytest.mark.parametrize(
    ("coords", "reason"),
    [
        ({"display_min": ("C", [-1.0, 0])}, "at least 0"),
        ({"display_max": ("C", [np.inf, 0])}, "cannot be the end"),
        ({"gamma": 0.0}, "gamma"),
        ({"gamma": "1"}, "not numbers"),
    ],
)
def test_what_cannot_be_stored_is_refused(
    coords: Any, reason: str, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, OverflowError), match=reason):
        write(fresh(**coords), tmp_path / "a.nd2")
    assert not (tmp_path / "a.nd2").exists()


def test_of_ranges_that_vary_along_time_one_is_written(
    ds: xr.Dataset, tmp_path: Path
) -> None:
    later = {
        "T": ds["T"].variable + 10,
        "time": ds["time"].variable + 10,
        "acquired": ds["acquired"].variable + np.timedelta64(10, "s"),
    }
    other = ds.assign_coords({n: ds[n].variable * 2 for n in COORDS} | later)
    both = xr.concat([ds, other], "T", coords="different", compat="equals")
    assert both["display_max"].dims == ("T", "C")
    with pytest.warns(limnd2_xr.Nd2Warning, match="one value a channel is written"):
        again = write(both, tmp_path / "a.nd2", on_loss="warn")
    assert ranges(again) == [VALUES[0], [1800.0, 1600.0, 8190.0], VALUES[2]]


ENDS = st.floats(0, 70_000, allow_subnormal=False)


@given(
    st.lists(
        st.tuples(
            *(
                st.one_of(st.just(np.nan), values)
                for values in (ENDS, ENDS, st.floats(0.01, 10))
            )
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["uint8", "uint16", "float32"]),
    st.data(),
)
def test_any_ranges_are_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    wanted: list[tuple[float, ...]],
    dtype: str,
    data: st.DataObject,
) -> None:
    n = len(wanted)
    columns = np.array(wanted).T
    image = xr.DataArray(
        np.zeros((n, 2, 2), dtype),
        dims=("C", "Y", "X"),
        coords={name: ("C", v) for name, v in zip(COORDS, columns, strict=True)},
    )
    path = tmp_path_factory.mktemp("ranges") / "a.nd2"
    again = write(image, path)
    if np.isnan(columns).all():
        assert chunk(path) is None
        return
    brightest = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}[dtype]
    default = np.array([[0.0], [brightest], [1.0]])
    expected = np.where(np.isnan(columns), default, columns)
    np.testing.assert_allclose(ranges(again), expected, rtol=1e-11)
    picked = data.draw(st.lists(st.integers(0, n - 1), min_size=1, unique=True))
    with xr.open_dataset(path, engine="nd2") as opened:
        part = write(opened.isel(C=picked), path.with_name("b.nd2"))
    np.testing.assert_allclose(ranges(part), expected[:, picked], rtol=1e-11)


@pytest.mark.parametrize("chunks", [None, {}])
def test_lazy_ranges_behave_as_other_coordinates(chunks: Any, tmp_path: Path) -> None:
    pytest.importorskip("h5netcdf")
    (tmp_path / "a.nd2").write_bytes(DATA)
    with xr.open_dataset(tmp_path / "a.nd2", chunks=chunks) as opened:
        assert "display_max" in repr(opened)
        again = pickle.loads(pickle.dumps(opened))
        xr.testing.assert_identical(again, opened)
        again.close()
        assert ranges(opened.chunk(T=1).compute()) == VALUES
        opened.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
        assert ranges(write(opened, tmp_path / "b.nd2")) == VALUES
        assert chunk(tmp_path / "b.nd2") == PAYLOAD
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as saved:
        assert ranges(saved) == VALUES
    with xr.open_mfdataset(
        [tmp_path / "a.nd2", tmp_path / "b.nd2"],
        combine="nested",
        concat_dim="P",
        data_vars="all",
        coords="different",
        compat="equals",
        join="exact",
    ) as both:
        assert ranges(both) == VALUES


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rgb8", [[0.0], [254.0], [1.0]]),
        ("timelapse_t53", [[521.0], [56606.0], [1.0]]),
        ("zstack_z11", [[307.0], [4851.0], [1.0]]),
        ("confocal_t3_z10_c2", [[np.nan] * 2] * 3),
    ],
)
def test_real_files(
    name: str,
    expected: list[list[float]],
    real_file: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.nd2"
    with xr.open_dataset(real_file(name)) as opened:
        np.testing.assert_array_equal(ranges(opened), expected)
        stored = opened.nd2.chunk(DISPLAY, raw=True)
        part = opened["image"].isel(C=[-1], Y=slice(9), X=slice(9))
        again = write(part, path, on_loss="ignore")
        np.testing.assert_array_equal(ranges(again), [row[-1:] for row in expected])
        if opened.sizes["C"] == 1 or np.isnan(expected).all():
            assert chunk(path) == stored
        edited = part.assign_coords(display_min=("C", [1.0]), gamma=0.5)
        again = write(edited, path, overwrite=True, on_loss="ignore")
        high = expected[1][-1] if np.isfinite(expected[1][-1]) else 4095.0
        assert ranges(again) == [[1.0], [high], [0.5]]
