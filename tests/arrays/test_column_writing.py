"""Recorded columns from the group that shows them, and the chunks that they become."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import limnd2_xr
from limnd2_xr.arrays.column_writing import (
    DescribedColumns,
    columns_from_dataset,
    described_columns,
)
from limnd2_xr.arrays.dataset import open_state
from limnd2_xr.arrays.groups import open_groups
from limnd2_xr.model.comparison import same, same_records
from limnd2_xr.model.recorded import column_chunk
from limnd2_xr.testing.synthetic import (
    Column,
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    build,
)

if TYPE_CHECKING:
    from pathlib import Path

N = 6
# Frames are numbered P, T, the last one fastest; the dims are T, P.
COLUMNS: dict[str, Any] = {
    "X": Column(np.linspace(-5, 5, N), description="X Coord", unit="µm"),
    "Z1": Column(np.arange(N) / 3, description="Ti ZDrive", unit="µm"),
    "PFS_STATUS": Column(np.arange(N) - 3, description="PFS Status"),
    "Who": Column([f"person {i} µ🔬"[: 2 * i] for i in range(N)], unit=" "),
    "Plain": Column(np.arange(N) / 7),
    "T": Column(np.arange(N), description="Temperature", unit="°C"),
    "a/b": Column(np.full(N, np.nan)),
}
SPEC = SyntheticSpec(
    loops=(PositionLoop((Point(1.0, 2.0), Point(3.0, 4.0))), TimeLoop(3)),
    width=8,
    height=6,
    columns=COLUMNS,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(SPEC).save(tmp_path_factory.mktemp("columns") / "a.nd2")


def recorded(path: Path) -> xr.Dataset:
    with xr.open_datatree(path, engine="nd2") as tree:
        return tree["recorded"].to_dataset().load()


def payloads(path: Path) -> dict[str, bytes]:
    with xr.open_dataset(path, engine="nd2") as ds:
        names = [chunk.name for chunk in ds.nd2.chunks()]
        return {name: ds.nd2.chunk(name, raw=True) for name in names}


def described(path: Path, columns: Any, **options: Any) -> DescribedColumns:
    state = open_state(path)
    return described_columns(
        state.document,
        state.records,
        state.axes,
        columns,
        stored=payloads(path).get,
        **options,
    )


def test_variables_have_the_ids_of_their_columns(path: Path) -> None:
    table = recorded(path)
    assert {"stage_x", "column_T", "a_b"} < set(table)
    assert list(columns_from_dataset(table)) == list(COLUMNS)
    bare = xr.Dataset(dict.fromkeys(("stage_z", "column_T", "column_A"), 0))
    assert list(columns_from_dataset(bare)) == ["Z", "T", "column_A"]
    with pytest.raises(ValueError, match="two variables are the recorded column Z"):
        columns_from_dataset(xr.Dataset({"stage_z": 1, "Z": 2}))


@pytest.mark.parametrize("form", ["opened", "netcdf", "ids only"])
def test_columns_that_do_not_change_are_the_same_to_the_byte(
    path: Path, tmp_path: Path, form: str
) -> None:
    table = recorded(path)
    if form == "netcdf":
        saved = table.rename(a_b="a-b").drop_vars(["T", "P"], errors="ignore")
        saved.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
        with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as opened:
            table = opened.load()
    columns = columns_from_dataset(table)
    if form == "ids only":
        columns = {id_: values.drop_attrs() for id_, values in columns.items()}
    state, stored = open_state(path), payloads(path)
    found = described(path, columns, exact=True)
    assert found.document == state.document
    assert same_records(found.records, state.records)
    assert found.removed == ()
    assert found.payloads == {
        name: stored[name]
        for name in map(column_chunk, COLUMNS)
        if name not in {"CustomData|X!", "CustomData|Z1!"}
    }


def test_updating_with_the_group_itself_changes_nothing(
    path: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "b.nd2"
    copy.write_bytes(path.read_bytes())
    limnd2_xr.update_nd2(copy, columns=recorded(path))
    assert payloads(copy) == payloads(path)


def test_an_edited_variable_changes_its_column_only(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "b.nd2"
    copy.write_bytes(path.read_bytes())
    table = recorded(path)
    table["PFS_STATUS"][0, 1] = 99
    table["stage_x"][2, 1] = 7.5
    table["column_T"].attrs |= {"units": "K", "long_name": "Warmth", "group": 2}
    limnd2_xr.update_nd2(copy, columns=table)
    again, before, after = recorded(copy), payloads(path), payloads(copy)
    xr.testing.assert_equal(again, table)
    assert again["column_T"].attrs == {
        "long_name": "Warmth",
        "units": "K",
        "id": "T",
        "title": "Warmth [K]",
        "group": 2,
    }
    assert {name for name in after if after[name] != before.get(name)} == {
        "CustomData|PFS_STATUS!",
        "CustomData|X!",
        "CustomDataVar|CustomDataV2_0!",
    }
    pfs = np.frombuffer(after["CustomData|PFS_STATUS!"], "<i4")
    assert pfs.tolist() == [-3, -2, -1, 99, 1, 2]


def test_units_decide_whether_the_stage_moved(path: Path) -> None:
    table = recorded(path)
    as_mm = table["stage_x"].assign_attrs(units="mm")
    moved = described(path, {"X": as_mm}).records.x
    assert moved is not None
    np.testing.assert_allclose(moved, np.linspace(-5000.0, 5000.0, N))
    in_mm = (table["stage_x"] / 1000).assign_attrs(units="mm")
    same_place = described(path, {"X": in_mm}).records.x
    assert same_place is not None
    np.testing.assert_allclose(same_place, np.linspace(-5.0, 5.0, N), atol=1e-12)


def test_numbers_of_another_kind_are_stored_as_such(path: Path) -> None:
    table = recorded(path)
    found = described(path, {"PFS_STATUS": table["PFS_STATUS"].astype(float)})
    kinds = {c.id: c.kind for c in found.document.recorded_columns}
    assert kinds["PFS_STATUS"] == "float"
    assert len(found.payloads["CustomData|PFS_STATUS!"]) == 8 * N


def test_exactly_these_columns(path: Path) -> None:
    found = described(path, {"Plain": np.zeros(N), "New": ["x"] * N}, exact=True)
    ids = [column.id for column in found.document.recorded_columns]
    assert ids == ["X", "Z1", "Plain", "New"]  # where the stage was stays
    assert set(found.removed) == {
        column_chunk(id_) for id_ in ("PFS_STATUS", "Who", "T", "a/b")
    }
    assert found.payloads.keys() == {"CustomData|Plain!", "CustomData|New!"}


def test_columns_of_odd_files_keep_their_bytes(tmp_path: Path) -> None:
    """Z as float32 (oddity 29), one cut short, texts with something behind the NUL."""
    spec = replace(SPEC, columns={**COLUMNS, "Z": Column(np.arange(N) / 3)})
    path = build(spec).save(tmp_path / "odd.nd2")
    text = b"".join(
        f"t{i}\0rest".encode("utf-16-le").ljust(512, b"\1") for i in range(N)
    )
    limnd2_xr.update_nd2(
        path,
        chunks={
            "CustomData|Z!": (np.arange(N, dtype="<f4") / 3).tobytes(),
            "CustomData|PFS_STATUS!": np.arange(4, dtype="<i4").tobytes(),
            "CustomData|Who!": text,
        },
    )
    before = payloads(path)
    table = recorded(path)
    assert table["stage_z"].dtype == np.float32
    assert table["PFS_STATUS"].dtype == np.float64
    assert table["Who"].values[1, 1] == "t4"
    limnd2_xr.update_nd2(path, columns=table)
    assert payloads(path) == before


VALUES = (
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=N, max_size=N)
    | st.lists(st.floats(), min_size=N, max_size=N)
    | st.lists(
        st.text(
            st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"]),
            max_size=9,
        ),
        min_size=N,
        max_size=N,
    )
)


@given(VALUES)
def test_what_is_written_is_read_and_written_again(values: list[Any]) -> None:
    file = build(SPEC)
    state = open_state(file.data)
    first = described_columns(
        state.document, state.records, state.axes, {"V": np.array(values)}
    )
    (chunk, payload), *_ = first.payloads.items()
    spec = replace(SPEC, columns={"V": Column(values)})
    groups = open_groups(build(spec).data)
    column = columns_from_dataset(groups["/recorded"].load())["V"]
    assert same(tuple(column.values.T.ravel().tolist()), tuple(values))
    second = described_columns(
        first.document,
        state.records,
        state.axes,
        {"V": column},
        stored={chunk: payload}.get,
    )
    assert second.payloads == {chunk: payload}
    assert second.document == first.document
