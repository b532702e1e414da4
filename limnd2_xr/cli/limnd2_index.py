"""`limnd2-index`: the arguments of limnd2's command in those of `limnd2-xr index`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["file_index", "index_arguments"]

_COLUMNS: Final = {
    "path": "path",
    "name": "name",
    "version": "version",
    "size": "size",
    "modified": "modified",
    "experiment": "dims",
    "dtype": "dtype",
    "bits": "bits",
    "compression": "compression",
    "channels": "channels",
    "binary": "masks",
    "software": "software",
}
"""Our column by the name of theirs in small letters."""


def file_index(arguments: Sequence[str] | None = None) -> None:
    """Run ``limnd2-index``, which is ``limnd2-xr index``.

    Parameters
    ----------
    arguments
        By default those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="limnd2-index", description="List .nd2 files, as limnd2-xr index does."
    )
    parser.add_argument("paths", nargs="+")
    parser.add_argument("-r", "--recurse", action="store_true")
    parser.add_argument("-g", "--glob-pattern", default="*.nd2")
    parser.add_argument("-s", "--sort-by")
    parser.add_argument("-f", "--format", choices=("table", "csv", "json"))
    parser.add_argument("-c", "--columns", nargs="+")
    parser.add_argument("--all-columns", action="store_true")
    parser.add_argument("-F", "--filter", action="append", default=[])
    given = parser.parse_args(arguments)
    try:
        found = index_arguments(given)
    except ValueError as error:
        parser.error(str(error))
    from limnd2_xr.cli import main

    sys.argv[1:] = ["index", *found]
    main()


def index_arguments(given: argparse.Namespace) -> list[str]:
    """Return the arguments of ``limnd2-xr index``.

    Parameters
    ----------
    given
        Those of ``limnd2-index``.
    """
    stars = "**/" if given.recurse else ""
    found = [
        f"{path.rstrip('/')}/{stars}{given.glob_pattern}"
        if given.glob_pattern != "*.nd2" and Path(path).is_dir()
        else path
        for path in given.paths
    ]
    if given.recurse:
        found.append("--recurse")
    if given.sort_by:
        column = _column(given.sort_by.removesuffix("-"))
        found += ["--sort-by", column + "-" * given.sort_by.endswith("-")]
    if given.format:
        found += ["--format", given.format]
    if given.all_columns:
        found += ["--columns", "all"]
    elif given.columns:
        names = [part for text in given.columns for part in text.split(",")]
        found += ["--columns", ",".join(map(_column, names))]
    for text in given.filter:
        found += ["--filter", text]
    return found


def _column(name: str) -> str:
    known = _COLUMNS.get(name.strip().lower())
    if known is None:
        raise ValueError(
            f"column {name}: there are {', '.join(map(str.title, _COLUMNS))}; "
            "limnd2-xr index has more"
        )
    return known
