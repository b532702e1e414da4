"""``limnd2.results``: tables of analyses, from the ``.h5`` beside a file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.arrays.results import companion_of, open_results, results_frame
from limnd2_xr.errors import Nd2Error

if TYPE_CHECKING:
    import os

    import pandas as pd
    import xarray as xr

__all__ = [
    "PaneDataVersionTooLow",
    "ResultItem",
    "ResultPane",
    "ResultPanesConfiguration",
    "TableData",
    "create_table_data_from_h5",
    "read_results_from_h5",
]

_PANES: Final = {
    "main-left": "main-left",
    "main-right": "main-right",
    "side-by-image": "side",
}
"""Name of a pane by the flag of its table (FORMAT 12.1)."""
_STATES: Final = ("jsonRuntimeState", "jsonInitialState")
_LOWEST_VERSION: Final = 2
_ATTRIBUTES: Final = {
    "Application_name": "application",
    "Application_version": "application_version",
    "Application_build_number": "application_build",
    "Creation_time": "created",
    "GA3_recipe_hash": "recipe_hash",
    "Username": "user",
}


class PaneDataVersionTooLow(RuntimeError):
    """What a pane shows was stored by a program that is too old."""


class ResultPanesConfiguration(StrEnum):
    """How a result is shown: nowhere, in one pane, or in several."""

    none = "none"
    simple = "simple"
    complex = "complex"


@dataclass(frozen=True, kw_only=True)
class TableData:
    """A table with its values."""

    name: str
    metadata: dict[str, Any] = field(default_factory=dict)
    private_tables: list[str] = field(default_factory=list)
    column_metadata: dict[str, dict[str, Any]] = field(default_factory=dict)
    df: pd.DataFrame

    @property
    def column_lookup(self) -> dict[str, str]:
        """Title of a column by its identifier."""
        return {
            said["Id"]: title
            for title, said in self.column_metadata.items()
            if said.get("Id")
        }


@dataclass(frozen=True, kw_only=True)
class ResultPane:
    """What a result shows in one place, and the tables behind it."""

    state: dict[str, Any] = field(default_factory=dict)
    private_table_locations: dict[str, str] = field(default_factory=dict)
    path: str = field(default="", repr=False)

    @property
    def private_tables(self) -> dict[str, TableData]:
        """The tables by name; they are read now."""
        return {
            name: create_table_data_from_h5(self.path, location)
            for name, location in self.private_table_locations.items()
        }


@dataclass(frozen=True, kw_only=True)
class ResultItem:
    """The newest run of an analysis."""

    name: str
    load_error: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    binaries: list[str] = field(default_factory=list)
    result_panes: dict[str, ResultPane] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    """Where each table is, by its name."""

    @property
    def result_panes_configuration(self) -> ResultPanesConfiguration:
        """How it is shown."""
        if not self.result_panes:
            return ResultPanesConfiguration.none
        if len(self.result_panes) == 1:
            return ResultPanesConfiguration.simple
        return ResultPanesConfiguration.complex


def read_results_from_h5(path: str | os.PathLike[str]) -> dict[str, ResultItem]:
    """Return the results of analyses by name.

    Parameters
    ----------
    path
        Of the ``.h5`` file, or of the .nd2 file beside it.

    Returns
    -------
    dict of str to ResultItem
        Empty if there is no such file.

    Raises
    ------
    ImportError
        If h5py is not installed.
    CorruptChunk
        If it is no HDF5 file.
    """
    file = _h5_file(path)
    if file is None:
        return {}
    recipes: dict[str, dict[str, xr.Dataset]] = {}
    for location, table in open_results(file).items():
        recipe, name = location.split("/", 2)[1:]
        recipes.setdefault(recipe, {})[name] = table
    return {name: _result(name, tables, file) for name, tables in recipes.items()}


def create_table_data_from_h5(path: str | os.PathLike[str], location: str) -> TableData:
    """Return a table with its values.

    Parameters
    ----------
    path
        Of the ``.h5`` file, or of the .nd2 file beside it.
    location
        Name of the result, of the table, and of tables within it, with slashes between.

    Raises
    ------
    KeyError
        If there is no such table.
    """
    file = _h5_file(path)
    tables = open_results(file) if file is not None else {}
    name = f"results/{location.strip('/').removeprefix('results/')}"
    if name not in tables:
        raise KeyError(f"{path} has no table {location!r}")
    table = tables[name]
    prefix = f"{name}/"
    return TableData(
        name=str(table.attrs.get("title") or location.rsplit("/", 1)[-1]),
        metadata=_json(table.attrs.get("metadata", "")),
        private_tables=[n.removeprefix(prefix) for n in tables if n.startswith(prefix)],
        column_metadata={
            str(title): {
                **_json(variable.attrs.get("metadata", "")),
                "Id": variable.attrs.get("id", ""),
            }
            for title, variable in table.data_vars.items()
        },
        df=results_frame(table),
    )


def _h5_file(path: str | os.PathLike[str]) -> Path | None:
    file = Path(path)
    if file.suffix.lower() in {".h5", ".hdf5"}:
        return file if file.is_file() else None
    return companion_of(file)


def _result(recipe: str, tables: dict[str, xr.Dataset], file: Path) -> ResultItem:
    first = next(iter(tables.values()))
    attributes = {name: first.attrs.get(ours, "") for name, ours in _ATTRIBUTES.items()}
    created = attributes["Creation_time"]
    attributes["Creation_time"] = (
        datetime.fromisoformat(created).timestamp() if created else None
    )
    panes: dict[str, ResultPane] = {}
    complaint = None
    for name, table in tables.items():
        found = {
            _PANES[flag] for flag in table.attrs.get("flags", ()) if flag in _PANES
        }
        if "/" in name or not found:
            continue
        inner = [n for n in tables if n.startswith(f"{name}/")]
        try:
            pane = ResultPane(
                state=_state(table),
                private_table_locations={
                    n.removeprefix(f"{name}/"): f"{recipe}/{n}" for n in inner
                },
                path=str(file),
            )
        except (PaneDataVersionTooLow, Nd2Error) as error:
            complaint = str(error)
            continue
        panes.update(dict.fromkeys(sorted(found), pane))
    return ResultItem(
        name=recipe,
        load_error=complaint,
        attributes=attributes,
        result_panes=panes,
        tables={name: f"{recipe}/{name}" for name in tables},
    )


def _state(table: xr.Dataset) -> dict[str, Any]:
    """Return what a pane shows: the first cell of a column that is made for that."""
    columns = {v.attrs.get("feature"): v for v in table.data_vars.values()}
    for feature in _STATES:
        column = columns.get(feature)
        if column is None or not column.size:
            continue
        version = _json(column.attrs.get("metadata", "")).get("ver", 0)
        if not isinstance(version, (int, float)) or version < _LOWEST_VERSION:
            raise PaneDataVersionTooLow(
                f"column {column.name!r} is of version {version}; 2 and above are known"
            )
        return _json(str(column[:1].values[0]))
    return {}


def _json(source: str) -> dict[str, Any]:
    """Return a JSON object; empty where it is none."""
    try:
        found = json.loads(source) if source else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
