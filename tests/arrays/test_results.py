"""Analysis results: fixtures as FORMAT 12.1 says, since no public file has any."""

from __future__ import annotations

import json
import os
import pickle
import sys
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.arrays.results import companion_of, open_results, results_frame
from limnd2_xr.errors import CorruptChunk, Nd2Warning, StaleFile

if TYPE_CHECKING:
    from pathlib import Path


def column(
    group: h5py.Group, name: str, values: Any, *, null: int | None = None, **meta: Any
) -> h5py.Dataset:
    dataset = group.create_dataset(name, data=values)
    dataset.attrs["Object"] = "Column"
    dataset.attrs["Id"] = f"id-{name}"
    dataset.attrs["Metadata"] = json.dumps(meta)
    if null is not None:
        dataset.attrs["NullValue"] = null
    return dataset


def table(parent: h5py.Group, name: str, **meta: Any) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["Object"] = np.bytes_(b"Table")
    group.attrs["Id"] = f"id-{name}"
    group.attrs["Metadata"] = json.dumps(meta)
    return group


def texts(values: list[str]) -> Any:
    return np.array([value.encode() for value in values], object)


def recipe(h5: h5py.File, name: str, variant: str, created: float | None) -> h5py.Group:
    group = h5.require_group(name).create_group(variant)
    if created is not None:
        group.attrs["Creation_time"] = created
    return group


@pytest.fixture
def h5_path(tmp_path: Path) -> Path:
    path = tmp_path / "well.h5"
    with h5py.File(path, "w") as h5:
        old = recipe(h5, "Cells", "v2", 2460741.25)
        table(old, "Old")
        new = recipe(h5, "Cells", "v1", 1741370400.0)  # 2025-03-07 18:00
        new.attrs["Application_name"] = "NIS-Elements AR"
        new.attrs["Application_version"] = np.array([b"6.10"])
        new.attrs["Application_build_number"] = 2021
        new.attrs["Username"] = b"me"
        new.attrs["GA3_recipe_hash"] = "abc"
        cells = table(new, "Records", _systemFlags=["result", 3], title="Cell records")
        column(
            cells,
            "0000000000_Entity",
            np.array([1, 2, -1, 4], "<i4"),
            decltype="int",
            title="Entity",
        )
        column(
            cells,
            "0000000001_Class",
            np.array([7, -99, 3, -1], ">i8"),
            null=-99,
            decltype="int",
        )
        column(
            cells,
            "0000000002_Mean",
            np.array([0.5, np.nan, 2.5, -1.0]),
            decltype="double",
            title="Mean/Area",
        )
        column(
            cells,
            "0000000003_Name",
            texts(["a", "", "µm", "d"]),
            decltype="QString",
            title="Name",
        )
        column(
            cells,
            "0000000004_Fixed",
            np.array([b"x", b"", "é".encode(), b"yz"], "S4"),
            decltype="QString",
            title="Name",
        )
        column(cells, "0000000005_Flag", np.array([1, 0, 1, -1], "i1"), feature="f")
        layer = new.create_group("Mask")
        layer.attrs["Object"] = "BinaryLayer"
        table(new, "_FileContent")
        new.create_dataset("loose", data=np.arange(3))
        inner = table(cells, "Inner")
        column(inner, "0000000000_N", np.arange(2), decltype="int", title="N")
        table(recipe(h5, "Empty", "v", None), "Nothing")
    return path


def test_tables_of_the_newest_run(h5_path: Path) -> None:
    found = open_results(h5_path)
    assert list(found) == [
        "results/Cells/Records",
        "results/Cells/Records/Inner",
        "results/Empty/Nothing",
    ]
    cells = found["results/Cells/Records"]
    assert dict(cells.sizes) == {"row": 4}
    assert list(cells) == ["Entity", "Class", "Mean_Area", "Name", "Name (2)", "Flag"]
    metadata = cells.attrs.pop("metadata")
    assert json.loads(metadata)["title"] == "Cell records"
    assert cells.attrs == {
        "recipe": "Cells",
        "created": "2025-03-07T18:00:00Z",
        "application": "NIS-Elements AR",
        "application_version": "6.10",
        "application_build": "2021",
        "user": "me",
        "recipe_hash": "abc",
        "id": "id-Records",
        "title": "Cell records",
        "flags": ["result"],
    }
    nan = np.nan
    np.testing.assert_array_equal(cells["Entity"], [1, 2, nan, 4])
    np.testing.assert_array_equal(cells["Class"], [7, nan, 3, -1])
    np.testing.assert_array_equal(cells["Mean_Area"], [0.5, nan, 2.5, -1])
    assert cells["Mean_Area"].attrs["long_name"] == "Mean/Area"
    assert cells["Name"].values.tolist() == ["a", "", "µm", "d"]
    assert cells["Name (2)"].values.tolist() == ["x", "", "é", "yz"]
    assert cells["Flag"].dtype == np.int8
    assert cells["Flag"].attrs["feature"] == "f"
    assert dict(found["results/Cells/Records/Inner"].sizes) == {"row_1": 2}
    assert not found["results/Empty/Nothing"].variables


def test_whole_numbers_as_stored(h5_path: Path) -> None:
    cells = open_results(h5_path, masked=False)["results/Cells/Records"]
    assert cells["Entity"].dtype == np.int32
    assert cells["Class"].dtype == np.dtype("=i8")
    assert cells["Class"].values.tolist() == [7, -99, 3, -1]
    assert cells["Class"].attrs["null_value"] == -99
    assert cells["Entity"].attrs["null_value"] == -1


@pytest.mark.parametrize("masked", [True, False])
def test_a_frame_has_types_of_its_own(h5_path: Path, masked: bool) -> None:
    found = open_results(h5_path, masked=masked)
    frame = results_frame(found["results/Cells/Records"])
    expected = pd.DataFrame(
        {
            "Entity": pd.array([1, 2, None, 4], "Int64"),
            "Class": pd.array([7, None, 3, -1], "Int64"),
            "Mean_Area": [0.5, np.nan, 2.5, -1.0],
            "Name": pd.array(["a", None, "µm", "d"], "string"),
            "Name (2)": pd.array(["x", None, "é", "yz"], "string"),
            "Flag": np.array([1, 0, 1, -1], "i1"),
        }
    )
    pd.testing.assert_frame_equal(frame, expected)
    assert results_frame(found["results/Empty/Nothing"]).empty


def test_they_fit_into_a_tree(h5_path: Path) -> None:
    tree = xr.DataTree.from_dict(dict(open_results(h5_path)))
    inner = tree["results/Cells/Records/Inner"]
    assert isinstance(inner, xr.DataTree)
    assert inner.dataset["N"].values.tolist() == [0, 1]


@given(
    key=st.one_of(
        st.slices(4),
        st.integers(-4, 3),
        st.lists(st.integers(-4, 3), max_size=6).map(lambda k: np.array(k, int)),
    )
)
def test_rows_are_read_as_asked_for(
    tmp_path_factory: pytest.TempPathFactory, key: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "indexed.h5"
    values = np.array([1, -1, 3, 4])
    if not path.exists():
        with h5py.File(path, "w") as h5:
            column(table(recipe(h5, "R", "v", 1.0), "T"), "A", values, decltype="int")
    found = open_results(path)["results/R/T"]["A"]
    np.testing.assert_array_equal(
        found[key], np.where(values == -1, np.nan, values)[key]
    )


def test_rows_may_be_listed_in_two_dimensions(h5_path: Path) -> None:
    names = open_results(h5_path)["results/Cells/Records"]["Name"]
    rows = xr.DataArray([[3, 0], [0, 2]], dims=("a", "b"))
    assert names[rows].values.tolist() == [["d", "a"], ["a", "µm"]]


def test_values_are_read_when_they_are_asked_for(h5_path: Path) -> None:
    found = open_results(h5_path)["results/Cells/Records"]
    again = pickle.loads(pickle.dumps(found))
    assert not found["Name"].variable._in_memory
    chunked = again.chunk(row=2)
    assert chunked["Name"].data.name == found.chunk(row=2)["Name"].data.name
    xr.testing.assert_identical(chunked.compute(), found.compute())
    with pytest.raises(IndexError, match="row 9 is outside the 4 rows"):
        found["Name"][9].load()


def test_a_file_that_changed_is_not_read(h5_path: Path) -> None:
    found = open_results(h5_path)["results/Cells/Records"]
    os.utime(h5_path, ns=(1, 1))
    with pytest.raises(StaleFile, match=r"well\.h5: the file changed"):
        found["Name"].load()


def test_the_file_beside(h5_path: Path, tmp_path: Path) -> None:
    nd2 = tmp_path / "well.nd2"
    assert companion_of(nd2) == h5_path
    assert len(open_results(nd2)) == 3
    assert companion_of(tmp_path / "other.nd2") is None
    assert open_results(tmp_path / "other.nd2") == {}
    assert open_results(tmp_path / "other.h5") == {}


def test_what_is_no_hdf5_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(b"not HDF5")
    with pytest.raises(CorruptChunk, match=r"a\.h5: no HDF5 file"):
        open_results(path)


def test_without_h5py(h5_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"limnd2-xr\[results\]"):
        open_results(h5_path)


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("matrix", np.zeros((2, 2)), "has 2 dimensions"),
        ("scalar", 5, "has 0 dimensions"),
        ("complex", np.zeros(4, complex), "holds complex128"),
        ("short", np.zeros(3), "has 3 rows, others 4"),
        ("metadata", np.zeros(4), "its metadata are no JSON"),
    ],
)
def test_a_damaged_column_is_left_out(
    h5_path: Path, name: str, values: Any, reason: str
) -> None:
    with h5py.File(h5_path, "r+") as h5:
        made = column(h5["Cells/v1/Records"], f"0000000009_{name}", values)
        if name == "metadata":
            made.attrs["Metadata"] = "["
    with pytest.warns(Nd2Warning, match=f"{name} cannot be read.*{reason}"):
        found = open_results(h5_path)
    assert len(found["results/Cells/Records"]) == 6


def test_a_damaged_table_is_left_out(h5_path: Path) -> None:
    with h5py.File(h5_path, "r+") as h5:
        h5["Cells/v1/Records"].attrs["Metadata"] = "[1]"
    with pytest.warns(Nd2Warning, match="table /Cells/v1/Records .*no JSON object"):
        found = open_results(h5_path)
    assert list(found) == ["results/Cells/Records/Inner", "results/Empty/Nothing"]


def test_links_and_loops_lead_nowhere(h5_path: Path) -> None:
    with h5py.File(h5_path, "r+") as h5:
        run = h5["Cells/v1"]
        run["soft"] = h5py.SoftLink("/Cells/v1/Records")
        run["dangling"] = h5py.SoftLink("/nowhere")
        run["external"] = h5py.ExternalLink("elsewhere.h5", "/")
        run["Records/Inner/again"] = run["Records"]
    found = open_results(h5_path)
    assert max(path.count("/") for path in found) < 8
    assert not any("soft" in path or "external" in path for path in found)


def test_numbers_that_floats_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    values = np.array([2**53 + 1, -1])
    with h5py.File(path, "w") as h5:
        column(table(recipe(h5, "R", "v", 1.0), "T"), "A", values, decltype="int")
    with pytest.raises(ValueError, match="masked=False"):
        open_results(path)["results/R/T"].load()
    exact = open_results(path, masked=False)["results/R/T"]
    assert exact["A"].values.tolist() == values.tolist()
    frame = results_frame(exact)
    assert frame["A"].tolist() == [2**53 + 1, pd.NA]
