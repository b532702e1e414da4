"""Changing what an existing file says, without rewriting its pixels."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import nd2
import numpy as np
import pytest
import xarray as xr

import limnd2_xr
from limnd2_xr.container.chunk_index import read_index
from limnd2_xr.container.source import FileSource
from limnd2_xr.testing.synthetic import (
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPEC = SyntheticSpec(
    loops=(
        TimeLoop(3),
        PositionLoop((Point(1.0, 2.0), Point(3.0, 4.0))),
        ZLoop(2, step_um=0.5),
    ),
    width=16,
    height=12,
    times_ms=np.arange(12) * 10.0,
)
N_FRAMES = 12


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of T 3, P 2, Z 2, nested in this order."""
    return build(SPEC).save(tmp_path / "a.nd2")


def load(path: Path) -> xr.Dataset:
    return xr.load_dataset(path, engine="nd2")


def entries_of(path: Path, frames: bool) -> dict[str, tuple[int, bytes]]:
    """Offset and payload of each chunk that the map lists."""
    with FileSource(path) as source:
        loaded = read_index(source)
        names = list(loaded.index.names())
        for prefix, family in loaded.index.families().items():
            if (prefix == "ImageDataSeq") == frames:
                names += [family.name(number) for number in family.numbers.tolist()]
        names = [n for n in names if n.startswith("ImageDataSeq") == frames]
        entries: dict[str, Any] = {name: loaded.index.find(name) for name in names}
        found = loaded.prefetch.chunks(entries)
        return {n: (entries[n].offset, bytes(found[n])) for n in names}


def columns_of(path: Path) -> dict[str, Any]:
    """Describe the recorded columns, by their ID; those of the stage left out."""
    columns = load(path).nd2.metadata.recorded_columns
    return {column.id: column for column in columns if column.id not in {"X", "Y", "Z"}}


def events_of(path: Path) -> list[dict[str, Any]]:
    with nd2.ND2File(path) as file:
        events: list[dict[str, Any]] = file.events()
    return events


def test_attributes_change_and_all_else_stays(path: Path) -> None:
    before, frames = load(path), entries_of(path, frames=True)
    given = {
        "description": "second look, µm and λ",
        "author": "B. Author",
        "sample": "S-1",
        "objective": "Plan Apo 60x",
        "magnification": 60.0,
        "numerical_aperture": 1.4,
        "software": "mine",
        "software_version": "2.0",
        "microscope": "Ti",
        "camera": "Prime",
        "zoom": 1.5,
        "refractive_index": 1.515,
    }
    limnd2_xr.update_nd2(path, attrs=given)
    after = load(path)
    assert {name: after.attrs[name] for name in given} == given
    np.testing.assert_array_equal(after["image"].values, before["image"].values)
    for name in before.coords:
        if name != "camera":
            assert after[name].variable.identical(before[name].variable), name
    untouched = before.attrs.keys() - given.keys() - {"nd2_metadata"}
    assert {name: after.attrs[name] for name in untouched} == {
        name: before.attrs[name] for name in untouched
    }
    assert entries_of(path, frames=True) == frames
    with nd2.ND2File(path) as file:
        assert file.text_info["description"] == given["description"]
        assert file.text_info["author"] == given["author"]


def test_what_is_the_same_already_changes_no_chunk(path: Path) -> None:
    limnd2_xr.update_nd2(path, attrs={"author": "A. Author"})
    chunks = entries_of(path, frames=False)
    limnd2_xr.update_nd2(path, attrs={"author": "A. Author"})
    limnd2_xr.update_nd2(path)
    assert entries_of(path, frames=False) == chunks


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"colour": "red"}, "colour cannot be changed; these can: author, "),
        ({"significant_bits": 12}, "significant_bits cannot be changed"),
        ({"magnification": -1}, "magnification must be a number above 0, not -1"),
        ({"zoom": "big"}, "zoom must be a number above 0, not 'big'"),
        ({"author": 7}, "author must be a text, not 7"),
    ],
)
def test_attributes_that_a_file_cannot_hold_are_refused(
    path: Path, attrs: dict[str, Any], message: str
) -> None:
    data = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        limnd2_xr.update_nd2(path, attrs=attrs)
    assert path.read_bytes() == data


def test_columns_of_numbers_and_texts_are_read_by_nd2(path: Path) -> None:
    frames = entries_of(path, frames=True)
    whole = np.arange(N_FRAMES) - 3
    limnd2_xr.update_nd2(
        path,
        columns={
            "Count": whole,
            "Flag": whole > 0,
            "Half": [i / 2 for i in range(N_FRAMES)],
            "Note": [f"frame {i}, µm" for i in range(N_FRAMES)],
        },
    )
    kinds = {name: column.kind for name, column in columns_of(path).items()}
    assert kinds == {"Count": "int", "Flag": "int", "Half": "float", "Note": "string"}
    assert {column.size for column in columns_of(path).values()} == {N_FRAMES}
    events = events_of(path)
    assert [event["Count"] for event in events] == whole.tolist()
    assert [event["Flag"] for event in events] == (whole > 0).astype(int).tolist()
    assert [event["Half"] for event in events] == [i / 2 for i in range(N_FRAMES)]
    assert events[5]["Note"] == "frame 5, µm"
    assert entries_of(path, frames=True) == frames


def test_columns_over_loops_are_spread_over_the_frames(path: Path) -> None:
    over_t = xr.DataArray(
        [20.5, 21.0, 21.5],
        dims="T",
        attrs={"units": "°C", "long_name": "Temperature"},
    )
    over_zp = xr.DataArray([[0, 1], [10, 11]], dims=("Z", "P"))
    limnd2_xr.update_nd2(path, columns={"Temp": over_t, "Place": over_zp})
    column = columns_of(path)["Temp"]
    assert (column.description, column.unit) == ("Temperature", "°C")
    events = events_of(path)
    assert [event["Temperature [°C]"] for event in events] == [
        value for value in (20.5, 21.0, 21.5) for _ in range(4)
    ]
    # Frames are numbered T, P, Z, the last one fastest.
    assert [event["Place"] for event in events] == [0, 10, 1, 11] * 3


def test_a_column_is_replaced_in_its_place(path: Path) -> None:
    first = {"A": np.zeros(N_FRAMES), "B": np.ones(N_FRAMES)}
    limnd2_xr.update_nd2(path, columns=first)
    limnd2_xr.update_nd2(path, columns={"A": np.arange(N_FRAMES)})
    assert list(columns_of(path)) == ["A", "B"]
    assert columns_of(path)["A"].kind == "int"
    assert [event["A"] for event in events_of(path)] == list(range(N_FRAMES))


@pytest.mark.parametrize("kind", ["plain", "array"])
def test_columns_of_the_stage_move_it(path: Path, kind: str) -> None:
    numbers = np.arange(N_FRAMES)
    x: Any = numbers
    if kind == "array":
        shape = (3, 2, 2)
        mm = numbers.reshape(shape) / 1000
        x = xr.DataArray(mm, dims=("T", "P", "Z"), attrs={"units": "mm"})
    limnd2_xr.update_nd2(path, columns={"X": x, "Z": numbers + 0.5})
    ds = load(path)
    np.testing.assert_allclose(ds["stage_x"].values.ravel(), numbers, atol=1e-12)
    assert (ds["stage_z"].values.ravel() == numbers + 0.5).all()
    assert ds.nd2.metadata.picture.z_um == 0.5
    recorded = {column.id: column for column in ds.nd2.metadata.recorded_columns}
    assert (recorded["X"].unit, recorded["X"].kind) == ("µm", "float")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"V": [1, 2]}, r"column V has the shape \(2,\), but the file has 12 frames"),
        ({"V": xr.DataArray([1, 2], dims="C")}, "column V runs along C"),
        ({"V": xr.DataArray([1, 2], dims="T")}, "column V has 2 values along T"),
        ({"V": [2**31] * N_FRAMES}, "do not fit into int32"),
        ({"V": ["x" * 256] * N_FRAMES}, "over 255 characters"),
        ({"V": [None] * N_FRAMES}, "not numbers or texts"),
        ({"V": [1j] * N_FRAMES}, "not numbers or texts"),
        ({"a|b": [0] * N_FRAMES}, "cannot be the ID of a column"),
        ({"": [0] * N_FRAMES}, "cannot be the ID of a column"),
        ({"X": ["a"] * N_FRAMES}, "column X holds <U1 values, not numbers"),
        ({"AcqTimesCache": [0.0] * N_FRAMES}, "is no column"),
        ({"AcqFramesCache": [0] * N_FRAMES}, "is no column"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    path: Path, columns: dict[str, Any], message: str
) -> None:
    data = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        limnd2_xr.update_nd2(path, columns=columns)
    assert path.read_bytes() == data


def test_chunks_are_put_replaced_and_removed(path: Path) -> None:
    frames, before = entries_of(path, frames=True), entries_of(path, frames=False)
    limnd2_xr.update_nd2(path, chunks={"CustomData|New!": b"abc", "Seq|4!": b"4"})
    limnd2_xr.update_nd2(path, chunks={"CustomData|New!": b"longer than it was"})
    now = entries_of(path, frames=False)
    assert now["CustomData|New!"][1] == b"longer than it was"
    assert now["Seq|4!"][1] == b"4"
    limnd2_xr.update_nd2(path, chunks={"CustomData|New!": None, "Seq|4!": None})
    assert entries_of(path, frames=False) == before
    assert entries_of(path, frames=True) == frames


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ({"ImageDataSeq|0!": b"x"}, "not an ordinary chunk"),
        ({"ND2 FILEMAP SIGNATURE NAME 0001!": b""}, "not an ordinary chunk"),
        ({"Absent!": None}, "has no chunk Absent!"),
    ],
)
def test_frames_the_map_and_absent_chunks_are_refused(
    path: Path, chunks: dict[str, bytes | None], message: str
) -> None:
    data = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        limnd2_xr.update_nd2(path, chunks=chunks)
    assert path.read_bytes() == data


def test_all_at_once_is_one_change(path: Path) -> None:
    limnd2_xr.update_nd2(
        path,
        attrs={"author": "A"},
        columns={"V": np.zeros(N_FRAMES)},
        chunks={"CustomData|New!": b"abc"},
    )
    data = path.read_bytes()
    # The old map, which ended the file before, is the only one that is left behind.
    assert data.count(b"ND2 FILEMAP SIGNATURE NAME 0001!") == 2
    assert load(path).attrs["author"] == "A"
    assert columns_of(path).keys() == {"V"}


def test_a_file_that_is_open_stays_readable(path: Path) -> None:
    pixels = load(path)["image"].values
    with xr.open_dataset(path, engine="nd2", chunks={}) as ds:
        author = ds.attrs.get("author")
        first = ds["image"].isel(T=0).values
        limnd2_xr.update_nd2(path, attrs={"author": "Somebody"})
        assert (first == pixels[0]).all()
        assert ds.attrs.get("author") == author


def test_only_files_on_this_machine_can_be_changed(path: Path) -> None:
    with pytest.raises(ValueError, match="not a file on this machine"):
        limnd2_xr.update_nd2("memory://a.nd2", attrs={"author": "A"})
    with pytest.raises(FileNotFoundError):
        limnd2_xr.update_nd2(path.with_name("absent.nd2"), attrs={"author": "A"})


def test_a_file_without_its_map_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4096])
    with (
        pytest.warns(limnd2_xr.Nd2Warning),
        pytest.raises(limnd2_xr.CorruptChunk, match="map"),
    ):
        limnd2_xr.update_nd2(path, attrs={"author": "A"})


def test_of_xml_files_columns_and_chunks_can_be_changed(tmp_path: Path) -> None:
    path = build(replace(SPEC, metadata="xml")).save(tmp_path / "old.nd2")
    data = path.read_bytes()
    for given in (
        {"attrs": {"author": "A"}},
        {"columns": {"X": np.full(N_FRAMES, 7.0)}},
    ):
        with pytest.raises(limnd2_xr.UnsupportedFeature, match=r"format 2\.1.*to_nd2"):
            limnd2_xr.update_nd2(path, **given)
    assert path.read_bytes() == data
    limnd2_xr.update_nd2(
        path, columns={"V": np.arange(N_FRAMES)}, chunks={"CustomData|New!": b"abc"}
    )
    assert [event["V"] for event in events_of(path)] == list(range(N_FRAMES))
    with xr.open_dataset(path) as ds:
        ds.assign_attrs(author="A").nd2.to_nd2(tmp_path / "new.nd2", on_loss="raise")
    with nd2.ND2File(tmp_path / "new.nd2") as file:
        assert file.version == (3, 0)
        assert file.text_info["author"] == "A"


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["confocal_t3_z10_c2", "zstack_z11", "rgb8"])
def test_real_files_keep_all_that_is_not_changed(
    real_file: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    path = tmp_path / "a.nd2"
    shutil.copyfile(real_file(name), path)
    path.chmod(0o644)
    before, frames = entries_of(path, frames=False), entries_of(path, frames=True)
    n_frames = len(frames)
    limnd2_xr.update_nd2(
        path, attrs={"author": "Me"}, columns={"Fresh": np.arange(n_frames)}
    )
    after = entries_of(path, frames=False)
    changed = {n for n in before if after.get(n) != before[n]}
    assert changed <= {"ImageTextInfoLV!", "CustomDataVar|CustomDataV2_0!"}
    assert after.keys() - before.keys() <= {
        "CustomData|Fresh!",
        "CustomDataVar|CustomDataV2_0!",
    }
    assert entries_of(path, frames=True) == frames
    old, new = load(real_file(name)), load(path)
    assert new["image"].equals(old["image"])
    for label in old.coords:
        assert new[label].identical(old[label])
    assert [event["Fresh"] for event in events_of(path)] == list(range(n_frames))
