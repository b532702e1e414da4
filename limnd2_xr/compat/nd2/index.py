"""A table of the files of a folder: ``nd2.index`` and its command.

``python -m limnd2_xr.compat.nd2.index FOLDER``.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict

from limnd2_xr.arrays.expressions import compile_filter
from limnd2_xr.compat.nd2.file import ND2File
from limnd2_xr.model.picture import datetime_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["HEADERS", "TIME_FORMAT", "Record", "index_file", "index_files", "main"]

TIME_FORMAT: Final = "%Y-%m-%d %H:%M:%S"
"""How `Record` writes times."""


class Record(TypedDict):
    """What is listed of a file, in the order of the columns."""

    path: str
    name: str
    version: str
    kb: float
    acquired: str
    experiment: str
    dtype: str
    shape: list[int]
    axes: str
    binary: bool
    rois: bool
    software_name: str
    software_version: str
    grabber: str


HEADERS: Final = list(Record.__annotations__)
"""Names of the columns."""


def index_file(path: Path) -> Record:
    """Return what is listed of one file.

    Parameters
    ----------
    path
        Of the file.
    """
    path = Path(path)
    with ND2File(path) as file:
        state = file._session.state
        document = state.document
        names = {name for name, _ in state.chunks.items()}
        return Record(
            path=str(path.resolve()),
            name=path.name,
            version=document.format_version,
            kb=round(path.stat().st_size / 1000, 2),
            acquired=_acquired(document.acquisition.frame0_jd),
            experiment=";".join(
                f"{loop.type}:{loop.count}" for loop in file.experiment
            ),
            dtype=str(file.dtype),
            shape=list(file.shape),
            axes="".join(file.sizes),
            binary=any("BinaryMetadata_v" in name for name in names),
            rois=bool(file.rois),
            software_name=document.software.name,
            software_version=document.software.version,
            grabber=document.software.grabber,
        )


def _acquired(julian_day: float | None) -> str:
    """Local time of a Julian day."""
    if julian_day is None:
        return ""
    moment: datetime = datetime_of(julian_day).astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC).astimezone().strftime(TIME_FORMAT)


def index_files(
    paths: Iterable[Path], recurse: bool = False, glob: str = "*.nd2"
) -> list[Record]:
    """Return what is listed of files and of the files in folders.

    Parameters
    ----------
    paths
        Files and folders.
    recurse
        Look into folders of folders.
    glob
        Names of files to list in folders.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found += sorted(path.rglob(glob) if recurse else path.glob(glob))
        else:
            found.append(path)
    with ThreadPoolExecutor() as pool:
        return list(pool.map(index_file, found))


def main(argv: Sequence[str] = ()) -> None:
    """Run the command.

    Parameters
    ----------
    argv
        Arguments; those of the process if there are none.
    """
    args = _parser().parse_args(argv or sys.argv[1:])
    rows: list[dict[str, Any]] = [
        dict(record) for record in index_files(args.paths, args.recurse, args.glob)
    ]
    if args.sort_by:
        column = args.sort_by.rstrip("-")
        rows.sort(key=lambda row: row[column], reverse=args.sort_by.endswith("-"))
    for text in args.filter:
        try:
            keep = compile_filter(text, HEADERS)
            rows = [row for row in rows if keep(row)]
        except (ValueError, TypeError) as error:
            print(f"Error in filter {text!r}: {error}", file=sys.stderr)  # noqa: T201
            raise SystemExit(1) from None
    columns = _columns(args.include, args.exclude)
    _show(rows, columns, args.format, header=args.header)


def _columns(include: str, exclude: str) -> list[str]:
    wanted = [name for name in include.split(",") if name]
    for name in wanted:
        if name not in HEADERS:
            print(f"Unrecognized column: {name}", file=sys.stderr)  # noqa: T201
    columns = [name for name in wanted if name in HEADERS] or HEADERS
    return [name for name in columns if name not in exclude.split(",")]


def _show(
    rows: list[dict[str, Any]], columns: list[str], how: str, *, header: bool
) -> None:
    chosen = [{name: row[name] for name in columns} for row in rows]
    if how == "json":
        print(json.dumps(chosen, indent=2))  # noqa: T201
    elif how == "csv":
        writer = csv.DictWriter(sys.stdout, columns)
        if header:
            writer.writeheader()
        writer.writerows(chosen)
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(*columns)
        for row in chosen:
            table.add_row(*map(str, row.values()))
        Console().print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nd2.index", description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path, help="files and folders")
    parser.add_argument("-r", "--recurse", action="store_true")
    parser.add_argument("-g", "--glob-pattern", dest="glob", default="*.nd2")
    sortable = [*HEADERS, *(f"{name}-" for name in HEADERS)]
    parser.add_argument("-s", "--sort-by", choices=sortable, metavar="COLUMN[-]")
    formats = ("table", "csv", "json")
    parser.add_argument("-f", "--format", choices=formats, default=_default_format())
    parser.add_argument("-i", "--include", default="", metavar="A,B")
    parser.add_argument("-e", "--exclude", default="", metavar="A,B")
    parser.add_argument("--no-header", dest="header", action="store_false")
    parser.add_argument("-F", "--filter", action="append", default=[], metavar="EXPR")
    return parser


def _default_format() -> str:
    try:
        import rich  # noqa: F401
    except ImportError:
        return "json"
    return "table"


if __name__ == "__main__":
    main()
