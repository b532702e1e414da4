"""What the command line takes for files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fsspec
import pytest

from limnd2_xr.cli.export_plan import ExportOptions, check_outputs, plan_jobs
from limnd2_xr.cli.inputs import InputFile, find_inputs, storage_options_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a/cells.nd2", "cells"),
        ("a/cells.ND2", "cells"),
        ("a/.nd2", ".nd2"),
        ("a/run.1.nd2", "run.1"),
        ("a/cells.tif", "cells.tif"),
        ("https://host/x/my%20cells.nd2?versionId=3&sig=a/b.nd2", "my cells"),
        ("s3://bucket/a%2Fb.nd2", "a_b"),
        ("s3://bucket", "bucket"),
        ("simplecache::s3://bucket/x/cells.nd2", "cells"),
        ("zip://cells.nd2::https://host/all.zip", "cells"),
    ],
)
def test_stems(name: str, stem: str) -> None:
    assert InputFile(name=name).stem == stem


def test_order_and_hidden_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("t10.nd2", "t2.nd2", "T1.ND2", "._t2.nd2", "[a].nd2", "x.tif"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.nd2").touch()
    (tmp_path / "sub" / "again").symlink_to(tmp_path)

    def names(*given: str, recurse: bool = False) -> list[str]:
        return [file.name for file in find_inputs(given, recurse=recurse)]

    here = str(tmp_path)
    expected = [f"{here}/{n}.nd2" for n in ("[a]", "T1", "t2", "t10")]
    assert [n.replace("ND2", "nd2") for n in names(here)] == expected
    assert names(here, recurse=True)[-1] == f"{here}/sub/b.nd2"
    assert len(names(here, recurse=True)) == 5
    assert names("t*.nd2") == ["t2.nd2", "t10.nd2"]
    # A file that has such a name is that file.
    assert names("[a].nd2", "[t]2.nd2") == ["[a].nd2", "t2.nd2"]
    assert names("t2.nd2", f"{here}/t2.nd2", f"file://{here}/t2.nd2") == ["t2.nd2"]
    again = [f"sub/again/{n}" for n in ("[a].nd2", "T1.ND2", "t2.nd2", "t10.nd2")]
    assert names("sub/*") == [*again, "sub/b.nd2"]
    monkeypatch.setenv("HOME", here)
    assert names("~/t2.nd2") == [f"{here}/t2.nd2"]


def test_globs_of_urls() -> None:
    fs = fsspec.filesystem("memory")
    for name in ("t10", "t2"):
        fs.pipe_file(f"/globs/{name}.nd2", b"")
    found = find_inputs(["memory://globs/*.nd2", "https://host/a*.nd2?b=*"])
    assert [file.name for file in found] == [
        "memory:///globs/t2.nd2",
        "memory:///globs/t10.nd2",
        "https://host/a*.nd2?b=*",
    ]
    with pytest.raises(ValueError, match="no file matches"):
        find_inputs(["memory://globs/x*.nd2"])


def test_outputs(tmp_path: Path) -> None:
    options = ExportOptions(to="ome-zarr")
    files = (
        InputFile(name="in/a.nd2", below=("x",)),
        InputFile(name="s3://bucket/b.nd2"),
    )

    def outputs(folder: str | None) -> list[str]:
        return [job.output for job in plan_jobs(files, options, output_folder=folder)]

    assert outputs(None) == ["in/a.ome.zarr", "b.ome.zarr"]
    assert outputs("out/") == ["out/x/a.ome.zarr", "out/b.ome.zarr"]
    assert outputs(f"file://{tmp_path}") == [
        f"{tmp_path}/x/a.ome.zarr",
        f"{tmp_path}/b.ome.zarr",
    ]
    assert outputs("s3://b/p/") == ["s3://b/p/x/a.ome.zarr", "s3://b/p/b.ome.zarr"]
    with pytest.raises(ValueError, match="would be replaced by an export"):
        plan_jobs(
            [InputFile(name="a.nc"), InputFile(name="a")], ExportOptions(to="netcdf")
        )


def test_servers_that_fail_are_told_without_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no access with opensesame")

    jobs = plan_jobs(
        [InputFile(name="a.nd2")],
        ExportOptions(to="ome-tiff"),
        output_folder="s3://me:opensesame@bucket",
        storage_options={"secret": "opensesame"},
    )
    monkeypatch.setattr("fsspec.core.url_to_fs", broken)
    with pytest.raises(
        ValueError, match=r"^s3://\*\*\*@bucket/a.ome.tif: no access"
    ) as error:
        check_outputs(jobs)
    assert "opensesame" not in str(error.value)


def test_storage_options() -> None:
    words = ["anon=true", "key=a=b", "n=5", 'pin="05"', "a.b.c=x", "a.b.d=null", "e="]
    assert storage_options_of(words) == {
        "anon": True,
        "key": "a=b",
        "n": 5,
        "pin": "05",
        "a": {"b": {"c": "x", "d": None}},
        "e": "",
    }
    for word in ("secret", "=secret", "a..b=secret"):
        with pytest.raises(ValueError, match="key=value") as error:
            storage_options_of([word])
        assert "secret" not in str(error.value)
    with pytest.raises(ValueError, match="a is a value already"):
        storage_options_of(["a=1", "a.b=2"])
