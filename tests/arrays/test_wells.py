"""Wells as coordinates of positions: read, selected by and written back."""

from __future__ import annotations

import json
import pickle
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import limnd2_xr
from limnd2_xr.arrays.plate import sel_well, wells_of
from limnd2_xr.model.frame_wells import FRAME_WELLS
from limnd2_xr.model.plates import PLATE_CHUNK, Plate, parse_plate, plate_tree
from limnd2_xr.testing.counting import count_reads
from limnd2_xr.testing.synthetic import (
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.encode import encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

COORDS = ("well", "well_row", "well_column", "field")
NAMES = ("A1", "A1", "B3", "A1", "H12")
LOOPS = (
    TimeLoop(2),
    PositionLoop(tuple(Point(10.0 * i, 5.0 * i) for i in range(5))),
    ZLoop(2),
)
PLATE = Plate.of_size(8, 12, name="96 Well Plate")


def entry(frame: int, name: str, **more: Any) -> dict[str, Any]:
    """What NIS-Elements stores of one frame (FORMAT 12.3)."""
    return {
        "plateIndex": 0,
        "plateUuid": "{1-2}",
        "seqIndex": frame,
        "wellIndex": sorted(set(NAMES)).index(name) if name in NAMES else 9,
        "wellName": name,
        "wellCompactName": name,
        "wellColIndex": int(name[1:]) - 1,
        "wellRowIndex": ord(name[0]) - ord("A"),
        **more,
    }


def packed(items: Any) -> bytes:
    return zlib.compress(json.dumps(items).encode(), 1)


# T, P, Z: two slices at each of five positions, twice.
ITEMS = [entry(f, NAMES[f // 2 % 5], note=f"frame {f}") for f in range(20)]
CHUNKS = {FRAME_WELLS: packed(ITEMS), PLATE_CHUNK: encode(plate_tree(PLATE))}


def file_of(chunks: dict[str, bytes], loops: Sequence[Any] = LOOPS) -> bytes:
    spec = SyntheticSpec(loops=tuple(loops), width=8, height=6, extra_chunks=chunks)
    return build(spec).data


DATA = file_of(CHUNKS)


@pytest.fixture
def ds() -> Iterator[xr.Dataset]:
    with xr.open_dataset(DATA, engine="nd2") as opened:
        yield opened


def wells(obj: xr.Dataset | xr.DataArray) -> list[tuple[Any, ...]]:
    columns = (np.atleast_1d(obj[name].values).tolist() for name in COORDS)
    return list(zip(*columns, strict=True))


def write(obj: xr.Dataset | xr.DataArray, path: Path, **options: Any) -> xr.Dataset:
    image = obj["image"] if isinstance(obj, xr.Dataset) else obj
    image.nd2.write_nd2(path, **{"on_loss": "raise", **options})
    return xr.load_dataset(path, engine="nd2")


def chunk(path: Path, name: str) -> Any:
    with xr.open_dataset(path, engine="nd2") as opened:
        found = {c.name for c in opened.nd2.chunks()}
        return opened.nd2.chunk(name, raw=True) if name in found else None


def items(path: Path) -> Any:
    return json.loads(zlib.decompress(chunk(path, FRAME_WELLS)))


def test_positions_have_wells(ds: xr.Dataset) -> None:
    assert wells(ds) == [
        ("A01", 0, 0, 0),
        ("A01", 0, 0, 1),
        ("B03", 1, 2, 0),
        ("A01", 0, 0, 2),
        ("H12", 7, 11, 0),
    ]
    for name in COORDS:
        assert ds[name].dims == ("P",)
        assert ds[name].attrs["long_name"]
    assert {ds[name].dtype for name in COORDS[1:]} == {np.dtype(np.int64)}


def test_other_files_have_none_and_cost_no_read() -> None:
    # The chunks lie beyond the 64 KiB that opening reads at both ends of a file.
    loops = (PositionLoop((Point(0, 0), Point(1, 1))),)
    reads = []
    for chunks in (
        {"CustomData|A!": bytes(200_000), "CustomData|Z!": bytes(200_000)},
        {
            "CustomData|A!": bytes(200_000),
            FRAME_WELLS: packed([entry(0, "A1"), entry(1, "B3")]),
            "CustomData|Z!": bytes(200_000),
        },
    ):
        data = file_of(chunks, loops)
        with (
            count_reads() as counter,
            xr.open_dataset(data, engine="nd2") as opened,
        ):
            reads.append((counter.reads, "well" in opened.coords))
    (plain, no), (with_wells, yes) = reads
    assert (no, yes) == (False, True)
    assert with_wells <= plain + 1


def test_a_single_position_has_scalars() -> None:
    data = file_of({FRAME_WELLS: packed([entry(0, "B3")])}, ())
    with xr.open_dataset(data, engine="nd2") as opened:
        assert opened["well"].dims == ()
        assert wells(opened) == [("B03", 1, 2, 0)]
        assert sel_well(opened, "B3").identical(opened)
        assert wells_of(opened)["B3"].positions == (0,)
        with pytest.raises(KeyError, match="A01"):
            sel_well(opened, "A01")
    with xr.open_dataset(data, engine="nd2", full_dims=True) as opened:
        assert opened["well"].dims == ("P",)


@pytest.mark.parametrize(
    "payload",
    [
        b"abc",
        CHUNKS[FRAME_WELLS][:-9],
        packed([entry(0, "A1"), entry(1, "B3")]),  # two slices of one position
    ],
)
def test_damage_costs_a_warning_and_the_wells(payload: bytes, tmp_path: Path) -> None:
    data = file_of({FRAME_WELLS: payload})
    with pytest.warns(limnd2_xr.Nd2Warning, match="WellPlateFrameInfoZJSON!"):
        opened = xr.load_dataset(data, engine="nd2")
    assert not set(COORDS) & set(opened.coords)
    assert opened["image"].shape == (2, 5, 2, 1, 6, 8)
    with pytest.warns(limnd2_xr.Nd2Warning, match="WellPlateFrameInfoZJSON!"):
        opened["image"].nd2.write_nd2(tmp_path / "a.nd2")
    with pytest.warns(limnd2_xr.Nd2Warning, match="WellPlateFrameInfoZJSON!"):
        assert chunk(tmp_path / "a.nd2", FRAME_WELLS) == payload


def test_a_file_that_is_written_again_keeps_its_bytes(
    ds: xr.Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "a.nd2"
    again = write(ds, path)
    xr.testing.assert_identical(again, ds.load())
    for name, payload in CHUNKS.items():
        assert chunk(path, name) == payload
    # Also where the file is another, but not its frames; and where wells are dropped.
    write(ds.isel(X=slice(4)), path, overwrite=True)
    assert chunk(path, FRAME_WELLS) == CHUNKS[FRAME_WELLS]
    again = write(ds.drop_vars(COORDS), path, overwrite=True)
    assert wells(again) == wells(ds)
    assert chunk(path, FRAME_WELLS) == CHUNKS[FRAME_WELLS]


def test_a_selection_keeps_what_is_known_of_its_frames(
    ds: xr.Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "a.nd2"
    part = ds.isel(T=[1], P=[4, 2], Z=[1])
    again = write(part, path, on_loss="ignore")
    assert wells(again) == [("H12", 7, 11, 0), ("B03", 1, 2, 0)]
    assert items(path) == [
        {**ITEMS[19], "seqIndex": 0},
        {**ITEMS[15], "seqIndex": 1},
    ]
    assert chunk(path, PLATE_CHUNK) == CHUNKS[PLATE_CHUNK]


def test_fields_are_counted_anew_and_that_is_told(
    ds: xr.Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "a.nd2"
    with pytest.warns(limnd2_xr.Nd2Warning, match=r"field \(1 reads as 0\)"):
        again = write(ds.isel(P=[1, 3]), path, on_loss="warn")
    assert wells(again) == [("A01", 0, 0, 0), ("A01", 0, 0, 1)]


def test_other_fields_are_told(ds: xr.Dataset, tmp_path: Path) -> None:
    edited = ds.assign_coords(field=("P", [2, 1, 0, 0, 0]))
    with pytest.raises(ValueError, match=r"coordinate field \(2 reads as 0\)"):
        write(edited, tmp_path / "a.nd2")
    again = write(edited, tmp_path / "a.nd2", on_loss="ignore")
    assert wells(again) == wells(ds)


def test_one_position_is_in_its_well(ds: xr.Dataset, tmp_path: Path) -> None:
    again = write(ds.isel(P=2), tmp_path / "a.nd2", on_loss="ignore")
    assert again["well"].dims == ()
    assert wells(again) == [("B03", 1, 2, 0)]


def test_other_wells_of_an_opened_file(ds: xr.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    names = ["A1", "B3", "B3", "C4", "H12"]
    edited = ds.drop_vars(COORDS).assign_coords(well=("P", names))
    again = write(edited, path)
    assert wells(again) == [
        ("A01", 0, 0, 0),
        ("B03", 1, 2, 0),
        ("B03", 1, 2, 1),
        ("C04", 2, 3, 0),
        ("H12", 7, 11, 0),
    ]
    stored = items(path)
    assert [item["seqIndex"] for item in stored] == list(range(20))
    assert stored[0] == ITEMS[0]
    # The well that others are in already, on the same plate; and one that is new.
    assert stored[2] == {**entry(2, "B3"), "note": "frame 2"}
    assert stored[6] == {**entry(6, "C4", wellIndex=3), "note": "frame 6"}
    assert chunk(path, PLATE_CHUNK) == CHUNKS[PLATE_CHUNK]


def test_positions_moved_to_other_wells_stay_on_their_plate(
    ds: xr.Dataset, tmp_path: Path
) -> None:
    moved = ds.drop_vars(COORDS).assign_coords(well=("P", ["C1"] * 5))
    write(moved, tmp_path / "a.nd2")
    stored = items(tmp_path / "a.nd2")
    assert {item["plateUuid"] for item in stored} == {"{1-2}"}
    assert [item["note"] for item in stored] == [item["note"] for item in ITEMS]


def test_a_plate_that_is_too_small_grows(ds: xr.Dataset, tmp_path: Path) -> None:
    names = ["P24", *NAMES[1:]]
    edited = ds.drop_vars(COORDS).assign_coords(well=("P", names))
    write(edited, tmp_path / "a.nd2")
    plate = parse_plate(decode(chunk(tmp_path / "a.nd2", PLATE_CHUNK)))
    assert (plate.rows, plate.columns) == (16, 24)


def test_wells_can_be_taken_out(ds: xr.Dataset, tmp_path: Path) -> None:
    none = ds.drop_vars(COORDS).assign_coords(well=("P", [""] * 5))
    again = write(none, tmp_path / "a.nd2")
    assert not set(COORDS) & set(again.coords)
    assert chunk(tmp_path / "a.nd2", FRAME_WELLS) is None


def fresh(**coords: Any) -> xr.DataArray:
    pixels = np.zeros((3, 4, 5), np.uint16)
    return xr.DataArray(pixels, dims=("P", "Y", "X"), coords=coords)


@pytest.mark.parametrize(
    "coords",
    [
        {"well": ("P", ["a1", "B03", "B3"])},
        {"well": ("P", np.array(["A1", "B03", "B3"], object))},
        {
            "well_row": ("P", np.array([0, 1, 1], np.uint8)),
            "well_column": ("P", np.array([0, 2, 2], np.int8)),
        },
        {"well_row": ("P", [0, 1, 1]), "well_column": ("P", [0.0, 2.0, 2.0])},
        {
            "well": ("P", ["A01", "B03", "B03"]),
            "well_row": ("P", [0, 1, 1]),
            "field": ("P", [0, 0, 1]),
        },
    ],
    ids=["names", "objects", "small cells", "cells", "some of all"],
)
def test_a_new_array_has_wells(coords: Any, tmp_path: Path) -> None:
    again = write(fresh(**coords), tmp_path / "a.nd2")
    assert wells(again) == [("A01", 0, 0, 0), ("B03", 1, 2, 0), ("B03", 1, 2, 1)]
    assert items(tmp_path / "a.nd2")[2] == {
        "plateIndex": 0,
        "plateUuid": "",
        "seqIndex": 2,
        "wellIndex": 1,
        "wellName": "B3",
        "wellCompactName": "B3",
        "wellColIndex": 2,
        "wellRowIndex": 1,
    }
    plate = parse_plate(decode(chunk(tmp_path / "a.nd2", PLATE_CHUNK)))
    assert (plate.rows, plate.columns) == (2, 3)


def test_missing_wells_are_not_known(tmp_path: Path) -> None:
    names = np.array(["A1", None, np.nan], object)
    image = fresh(well=("P", names), well_row=("P", [np.nan, np.nan, -1.0]))
    again = write(image, tmp_path / "a.nd2")
    assert wells(again) == [("A01", 0, 0, 0), ("", -1, -1, -1), ("", -1, -1, -1)]
    assert len(items(tmp_path / "a.nd2")) == 1


def test_a_name_of_its_own_needs_row_and_column(tmp_path: Path) -> None:
    names = ("P", ["control", "B03", "B03"])
    image = fresh(well=names, well_row=("P", [4, 1, 1]), well_column=("P", [0, 2, 2]))
    again = write(image, tmp_path / "a.nd2")
    assert wells(again)[0] == ("control", 4, 0, 0)
    assert sel_well(again, "control").sizes["P"] == 1
    with pytest.raises(ValueError, match="'control' of position 0 has no row"):
        write(fresh(well=names), tmp_path / "b.nd2")


@pytest.mark.parametrize(
    ("coords", "reason"),
    [
        ({"well": ["B03"] * 3, "well_row": [1, 5, 1]}, r"position 1 .* say 5 and 2"),
        ({"well": ["B03"] * 3, "well_column": [2, 2, 0]}, r"position 2 .* 1 and 0"),
        ({"well_row": [0, 0, 0]}, "well_row needs well_column"),
        ({"well_column": [0, 0, 0]}, "well_column needs well_row"),
        ({"well_row": [0, 0, 0], "well_column": [0, -1, 0]}, "no row and column"),
        ({"well_row": [0, 0.5, 0], "well_column": [0, 0, 0]}, "not whole"),
        ({"well_row": [0, 2**40, 0], "well_column": [0, 0, 0]}, "out of range"),
        ({"well_row": ["0"] * 3, "well_column": [0, 0, 0]}, "not numbers"),
        ({"well": [1, 2, 3]}, "holds 1, but wells are named"),
        ({"well": [["A1", "A2"]] * 3}, "varies along U"),
        ({"field": [0, 1, 2]}, "without wells a file has no place"),
    ],
)
def test_what_contradicts_itself_is_refused(
    coords: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    made = {n: (("P", "U")[: np.ndim(v)], v) for n, v in coords.items()}
    image = fresh().expand_dims(U=2).assign_coords(made)
    with pytest.raises(ValueError, match=reason):
        write(image, tmp_path / "a.nd2")
    assert not (tmp_path / "a.nd2").exists()


def test_an_opened_file_contradicts_itself(ds: xr.Dataset, tmp_path: Path) -> None:
    edited = ds.assign_coords(well=("P", ["A1", "A1", "A1", "A1", "A1"]))
    with pytest.raises(ValueError, match=r"position 2 .* drop_vars"):
        write(edited, tmp_path / "a.nd2")


def test_after_arithmetic_wells_are_those_of_the_coordinates(
    ds: xr.Dataset, tmp_path: Path
) -> None:
    again = write((ds["image"] // 2).load(), tmp_path / "a.nd2")
    assert wells(again) == wells(ds)


def test_wells_of_two_plates_are_written_again(tmp_path: Path) -> None:
    loops = (PositionLoop((Point(0, 0), Point(1, 1))),)
    stored = [entry(0, "A1"), entry(1, "A1", plateIndex=1)]
    data = file_of({FRAME_WELLS: packed(stored)}, loops)
    with xr.open_dataset(data, engine="nd2") as opened:
        assert opened["field"].values.tolist() == [0, 0]
        write(opened.isel(P=[1, 0]), tmp_path / "a.nd2", on_loss="ignore")
        with pytest.raises(ValueError, match="2 positions are field 0 of well 'A1'"):
            sel_well(opened, "A1", field=0)
    assert [item["plateIndex"] for item in items(tmp_path / "a.nd2")] == [1, 0]


def test_names_without_a_place_are_written_again(tmp_path: Path) -> None:
    loops = (PositionLoop((Point(0, 0), Point(1, 1))),)
    odd = {"wellRowIndex": -1, "wellColIndex": -1, "wellName": "control"}
    data = file_of(
        {FRAME_WELLS: packed([entry(0, "A1"), entry(1, "A2", **odd)])}, loops
    )
    with xr.open_dataset(data, engine="nd2") as opened:
        again = write(opened.isel(P=[1]), tmp_path / "a.nd2", on_loss="ignore")
    assert wells(again) == [("control", -1, -1, 0)]


CELLS = st.sampled_from(["A01", "B03", "P24", "AF48", "AG01", "control", ""])


@given(st.lists(CELLS, min_size=1, max_size=6), st.data())
def test_any_wells_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], data: st.DataObject
) -> None:
    n = len(names)
    image = xr.DataArray(
        np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1),
        dims=("P", "T", "Y", "X"),
        coords={
            "well": ("P", names),
            "well_row": ("P", [7 if name == "control" else -1 for name in names]),
            "well_column": ("P", [0 if name == "control" else -1 for name in names]),
        },
    )
    path = tmp_path_factory.mktemp("wells") / "a.nd2"
    again = write(image, path)
    if not any(names):
        assert "well" not in again.coords
        return
    assert again["well"].values.tolist() == names
    order = data.draw(st.permutations(range(n)))
    part = order[: data.draw(st.integers(1, n))]
    with xr.open_dataset(path, engine="nd2") as opened:
        selected = opened.isel(P=part)
        second = write(selected, path.with_name("b.nd2"), on_loss="ignore")
    if any(names[i] for i in part):
        for name in COORDS[:3]:
            got = np.atleast_1d(second[name].values)
            np.testing.assert_array_equal(got, again[name].values[part])


def test_the_wells_of_an_object(ds: xr.Dataset) -> None:
    found = wells_of(ds)
    assert found.plate == PLATE
    assert found.names == ("A01", "B03", "H12")
    assert len(found) == 3
    assert "b3" in found
    assert "C1" not in found
    assert [well.fields for well in found] == [3, 1, 1]
    assert found["A1"].positions == (0, 1, 3)
    assert (found["H12"].row, found["H12"].column) == (7, 11)
    with pytest.raises(KeyError, match="'C5'; wells are A01, B03, H12"):
        found["C5"]
    table = found.to_dataset()
    assert table["fields"].sel(well="A01").item() == 3
    assert table["well_row"].values.tolist() == [0, 1, 7]
    part = wells_of(ds["image"].isel(P=[3, 2]))
    assert part.names == ("A01", "B03")
    assert part["A01"].positions == (0,)


def test_without_a_description_the_plate_holds_the_wells(ds: xr.Dataset) -> None:
    loops = (PositionLoop((Point(0, 0), Point(1, 1))),)
    stored = packed([entry(0, "A1"), entry(1, "B4")])
    with xr.open_dataset(file_of({FRAME_WELLS: stored}, loops), engine="nd2") as opened:
        assert wells_of(opened).plate == Plate.of_size(3, 4, name="12 wells")
    computed = wells_of(ds["image"] + 1)
    assert computed.plate == Plate.of_size(8, 12, name="96 wells")
    nothing = wells_of(fresh())
    assert (nothing.plate, nothing.wells) == (None, ())
    data = file_of({**CHUNKS, PLATE_CHUNK: b"damaged"})
    with (
        xr.open_dataset(data, engine="nd2") as opened,
        pytest.warns(limnd2_xr.Nd2Warning, match="WellPlateDesc_0!"),
    ):
        assert wells_of(opened).plate == Plate.of_size(8, 12, name="96 wells")


@pytest.mark.parametrize("name", ["A01", "A1", "a01", " a1 "])
def test_selecting_by_well(ds: xr.Dataset, name: str) -> None:
    found = sel_well(ds, name)
    assert found.identical(ds.isel(P=[0, 1, 3]))
    assert sel_well(ds["image"], name).identical(ds["image"].isel(P=[0, 1, 3]))
    assert sel_well(ds, name, field=2).identical(ds.isel(P=3))
    assert sel_well(ds, "B3").sizes["P"] == 1


def test_selecting_several_wells(ds: xr.Dataset) -> None:
    assert sel_well(ds, ["H12", "A1"]).identical(ds.isel(P=[4, 0, 1, 3]))
    assert sel_well(ds, ("A1", "B3"), field=0).identical(ds.isel(P=[0, 2]))
    image = fresh(well=("P", ["A1", "B3", "A1"]))
    assert sel_well(image, "A1", field=1).identical(image.isel(P=2))


def test_wells_that_are_not_there(ds: xr.Dataset) -> None:
    with pytest.raises(KeyError, match="'C01'; wells are A01, B03, H12"):
        sel_well(ds, "C01")
    with pytest.raises(KeyError, match="has no field 3; its fields are 0, 1, 2"):
        sel_well(ds, "A01", field=3)
    with pytest.raises(KeyError, match="no coordinate 'well'"):
        sel_well(fresh(), "A01")
    with pytest.raises(KeyError, match="no position"):
        sel_well(ds, "")
    with pytest.raises(TypeError, match="not by 3"):
        sel_well(ds, [3])  # type: ignore[list-item]


def test_wells_survive_saving_and_pickling(ds: xr.Dataset, tmp_path: Path) -> None:
    pytest.importorskip("h5netcdf")
    ds.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as saved:
        assert wells(saved) == wells(ds)
        assert wells(write(saved["image"], tmp_path / "b.nd2")) == wells(ds)
    assert pickle.loads(pickle.dumps(ds)).identical(ds)


def test_wells_of_several_files_in_one(tmp_path: Path) -> None:
    paths = []
    for i, name in enumerate(("A1", "B3")):
        data = file_of({FRAME_WELLS: packed([entry(0, name)])}, ())
        paths.append(tmp_path / f"{i}.nd2")
        paths[-1].write_bytes(data)
    parts = [xr.load_dataset(path, engine="nd2") for path in paths]
    both = xr.concat(parts, "P", coords=[*COORDS], compat="override", join="override")
    assert both["well"].values.tolist() == ["A01", "B03"]
    again = write(both["image"], tmp_path / "a.nd2", on_loss="ignore")
    assert wells(again) == [("A01", 0, 0, 0), ("B03", 1, 2, 0)]
