"""`limnd2-xr index`."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from limnd2_xr.arrays.file_index import COLUMNS, index_file
from limnd2_xr.cli.app import app
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """t2.nd2, t10.nd2, sub/z.nd2 and notes.txt, where commands run."""
    for name, loops, channels in (
        ("t2", (TimeLoop(2),), ("DAPI",)),
        ("t10", (TimeLoop(10),), ("DAPI", "GFP")),
        ("sub/z", (ZLoop(3, step_um=0.5),), ("GFP",)),
    ):
        spec = SyntheticSpec(
            loops=loops,
            channels=tuple(ChannelSpec(channel) for channel in channels),
            width=8,
            height=6,
            calibration_um=0.325,
        )
        (tmp_path / "sub").mkdir(exist_ok=True)
        build(spec).save(tmp_path / f"{name}.nd2")
    (tmp_path / "notes.txt").write_text("no")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["index", *map(str, arguments)])


def listed(*arguments: object) -> list[str]:
    result = run(*arguments, "-f", "csv", "-c", "name")
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.splitlines()[1:]


def test_json_has_all_columns(folder: Path) -> None:
    result = run(".", "-r", "--format=json")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = json.loads(result.stdout)
    assert [row["path"] for row in rows] == ["./t2.nd2", "./t10.nd2", "./sub/z.nd2"]
    assert all(tuple(row) == COLUMNS for row in rows)
    row = rows[2]
    assert row["size"] == (folder / "sub" / "z.nd2").stat().st_size
    assert row["modified"].endswith("Z")
    expected = {
        "version": "3.0",
        "dims": "ZCYX",
        "T": 1,
        "P": 1,
        "Z": 3,
        "C": 1,
        "Y": 6,
        "X": 8,
        "dtype": "uint16",
        "channels": ["GFP"],
        "pixel_size": 0.325,
        "z_step": 0.5,
        "compression": "none",
        "missing": 0,
        "masks": 0,
        "damage": None,
        "error": None,
    }
    assert {name: row[name] for name in expected} == expected


def test_csv_and_columns(folder: Path) -> None:
    result = run("t10.nd2", "t2.nd2", "-f", "csv", "-c", "T,channels,name")
    assert list(csv.reader(io.StringIO(result.stdout))) == [
        ["T", "channels", "name"],
        ["10", "DAPI;GFP", "t10.nd2"],
        ["2", "DAPI", "t2.nd2"],
    ]
    everything = run("t2.nd2", "-f", "csv").stdout.splitlines()[0]
    assert everything == ",".join(COLUMNS)


def test_a_table_is_for_people(folder: Path) -> None:
    head, *rows = run(".").stdout.splitlines()
    assert head.split()[:4] == ["path", "size", "dims", "T"]
    assert [row.split()[0] for row in rows] == ["./t2.nd2", "./t10.nd2"]
    assert rows[0].split()[2:4] in (["kB", "TCYX"], ["B", "TCYX"])


def test_filters_and_order(folder: Path) -> None:
    assert listed(".", "-r") == ["t2.nd2", "t10.nd2", "z.nd2"]
    assert listed(".", "-r", "--sort-by", "name") == ["t10.nd2", "t2.nd2", "z.nd2"]
    assert listed(".", "-r", "-s", "T-") == ["t10.nd2", "t2.nd2", "z.nd2"]
    # Of t2 and t10 the distance of planes is not known.
    assert listed(".", "-r", "-s", "z_step-")[0] == "z.nd2"
    assert listed(".", "-r", "-F", "'GFP' in channels") == ["t10.nd2", "z.nd2"]
    assert listed(".", "-r", "-F", "T > 1", "-F", "len(channels) == 1") == ["t2.nd2"]
    assert listed(".", "-r", "-F", "z_step < 1") == ["z.nd2"]
    assert listed("*.nd2", "-F", "T * Z * size / size >= 10") == ["t10.nd2"]


def test_parquet(folder: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    (folder / "bad.nd2").write_bytes(b"no")
    result = run(".", "-r", "--output", "index.parquet")
    assert (result.exit_code, result.stdout) == (1, "")
    table = parquet.read_table("index.parquet")
    assert tuple(table.column_names) == COLUMNS
    rows = table.select(["name", "T", "channels", "pixel_size"]).to_pylist()
    assert rows[1:3] == [
        {"name": "t2.nd2", "T": 2, "channels": ["DAPI"], "pixel_size": 0.325},
        {"name": "t10.nd2", "T": 10, "channels": ["DAPI", "GFP"], "pixel_size": 0.325},
    ]
    assert rows[0] == {
        "name": "bad.nd2",
        "T": None,
        "channels": None,
        "pixel_size": None,
    }

    again = run(".", "--output", "index.parquet")
    assert again.exit_code == 2
    assert "index.parquet: exists already; --overwrite" in again.stderr
    assert run("t2.nd2", "--output=index.parquet", "--overwrite").exit_code == 0
    assert parquet.read_table("index.parquet").num_rows == 1


def test_bad_files_are_rows(folder: Path) -> None:
    (folder / "bad.nd2").write_bytes(b"no")
    result = run(".", "none.nd2", "-f", "json", "-c", "name,T,error")
    assert result.exit_code == 1
    assert [line.split(": ")[:2] for line in result.stderr.splitlines()] == [
        ["limnd2-xr", "./bad.nd2"],
        ["limnd2-xr", "none.nd2"],
    ]
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["none.nd2"] == {"name": "none.nd2", "T": None, "error": "no such file"}
    assert "not an .nd2 file" in rows["bad.nd2"]["error"]
    # What is not known is no reason to fail; what a filter leaves out is told, too.
    result = run(".", "-f", "csv", "-c", "name", "-F", "T / 2 > 2")
    assert result.stdout.splitlines() == ["name", "t10.nd2"]
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["notes*"], "notes*: no file matches"),
        ([".", "-f", "xlsx"], "formats are table, csv"),
        ([".", "-c", "name,nope"], "--columns nope: columns are path, name"),
        ([".", "-s", "nope-"], "--sort-by nope: columns are"),
        ([".", "-F", "__import__('os')"], "a filter cannot use"),
        ([".", "-F", "name.__class__"], "a filter cannot use name.__class__"),
        ([".", "-F", "nope > 1"], "a filter cannot use nope; columns are"),
        ([".", "-F", "name > 1"], "does not fit ./t2.nd2"),
        ([".", "-F", "T / 0 > 1"], "does not fit ./t2.nd2: division by zero"),
        ([".", "-o", "none/a.csv"], "there is no folder none"),
    ],
)
def test_bad_usage(words: list[str], reason: str, folder: Path) -> None:
    if words == ["notes*"]:
        (folder / "notes.txt").unlink()
    result = run(*words, *([] if "-f" in words else ["-f", "csv"]))
    assert result.exit_code == 2
    assert reason in result.stderr.splitlines()[-1]


@pytest.mark.slow
def test_processes_give_the_same(folder: Path) -> None:
    (folder / "bad.nd2").write_bytes(b"no")
    words = (".", "-r", "-f", "json")
    one, two = run(*words), run(*words, "--jobs", 2)
    assert one.stdout == two.stdout
    assert one.exit_code == two.exit_code == 1


@pytest.mark.realdata
def test_rows_of_samples(each_sample: Path) -> None:
    import xarray as xr

    row = index_file(str(each_sample))
    with xr.open_dataset(
        each_sample, engine="nd2", full_dims=True, on_damage="ignore"
    ) as ds:
        sizes = {dim: ds["image"].sizes[dim] for dim in "TPZCYX"}
        assert {dim: getattr(row, dim) for dim in "TPZCYX"} == sizes
        assert row.dtype == str(ds["image"].dtype)
        assert row.objective == ds.attrs.get("objective")
        assert row.pixel_size == ds.attrs.get("pixel_size_um")
        assert row.bits == ds.attrs["significant_bits"]
        assert row.channels is not None
        assert len(row.channels) == ds.sizes["C"]
    assert row.error is None
