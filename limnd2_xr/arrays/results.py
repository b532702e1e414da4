"""Analysis results from the ``.h5`` beside a file, as lazy tables (FORMAT 12.1)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr
from xarray.core import indexing

from limnd2_xr.arrays.lazy import AwaitedArray
from limnd2_xr.damage import report_damage
from limnd2_xr.errors import CorruptChunk, StaleFile
from limnd2_xr.model.results import (
    ATTRIBUTES,
    ColumnInfo,
    RecipeRun,
    attribute_text,
    parse_column_info,
    parse_recipe_run,
    parse_table_info,
    unique_titles,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    import h5py
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["companion_of", "open_results", "results_frame"]

RESULTS: Final = "results"
"""Group of the tree that holds the results."""

_ROW: Final = "row"
_IGNORED: Final = "_FileContent"
_MAX_DEPTH: Final = 4
_MAX_TEXT_NBYTES: Final = 1 << 20
_EXACT_IN_FLOAT: Final = 2**53
_DAMAGE: Final = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises for what is not as it should be; `CorruptChunk` is among them."""


def companion_of(path: str | os.PathLike[str]) -> Path | None:
    """Return the file with the results of an .nd2 file: of the same name, ``.h5``.

    Parameters
    ----------
    path
        Local path of the .nd2 file.

    Returns
    -------
    Path or None
        None if there is none.

    Examples
    --------
    >>> companion_of("nowhere.nd2") is None
    True
    """
    found = Path(path).with_suffix(".h5")
    return found if found.is_file() else None


def open_results(
    path: str | os.PathLike[str], *, masked: bool = True
) -> dict[str, xr.Dataset]:
    """Open the analysis results of a file; only the descriptions of tables are read.

    Of each recipe the newest run counts. Values are read from the file, which is open
    only meanwhile, when they are asked for. A file whose bytes are damaged may end the
    process: the HDF5 library trusts what it reads.

    Parameters
    ----------
    path
        Local path of the ``.h5`` file, or of the .nd2 file beside it.
    masked
        Give whole numbers as float64, NaN where there is no value. Else they stay as
        stored, and ``null_value`` among the attributes tells which means none.

    Returns
    -------
    dict of str to Dataset
        By ``results/<recipe>/<table>``; tables within a table stand below it. Each has
        one variable a column, called by its title, along the dimension ``row``
        (``row_1`` one level below). Texts are ``str``, ``""`` where there is none.
        Empty if there is no such file.

    Raises
    ------
    ImportError
        If h5py is not installed.
    CorruptChunk
        If the file is no HDF5 file.

    Warns
    -----
    Nd2Warning
        For each table or column that cannot be read; it is left out.
    """
    file: Path | None = Path(path)
    if file is not None and file.suffix.lower() not in {".h5", ".hdf5"}:
        file = companion_of(file)
    if file is None or not file.is_file():
        return {}
    source = _ResultsFile.of(file)
    found: dict[str, xr.Dataset] = {}
    with source.open() as h5:
        for recipe, group in _groups(h5, source):
            with_run = _newest(group, source)
            if with_run is not None:
                variant, run = with_run
                tables = _Tables(source, recipe, run, masked=masked)
                found.update(tables.of(variant, f"{RESULTS}/{_node(recipe)}", 0))
    return found


def results_frame(table: xr.Dataset) -> pd.DataFrame:
    """Return a table of results as a pandas DataFrame, with its own types.

    Parameters
    ----------
    table
        One of `open_results`.

    Returns
    -------
    pandas.DataFrame
        Whole numbers as ``Int64`` and texts as ``string``, ``pandas.NA`` where there is
        no value; the index counts the rows.
    """
    import pandas as pd

    columns: dict[str, Any] = {}
    for name, variable in table.data_vars.items():
        values = variable.values
        if values.dtype.kind == "O":
            texts = [text or None for text in values.tolist()]
            columns[str(name)] = pd.array(texts, dtype=pd.StringDtype())
        elif variable.attrs.get("decltype") == "int":
            null = variable.attrs.get("null_value")
            absent = np.isnan(values) if values.dtype.kind == "f" else values == null
            whole = np.where(absent, 0, values).astype(np.int64)
            columns[str(name)] = pd.arrays.IntegerArray(whole, np.asarray(absent, bool))
        else:
            columns[str(name)] = values
    rows = next(iter(table.sizes.values()), 0)
    return pd.DataFrame(columns, index=pd.RangeIndex(rows))


@dataclass(frozen=True, slots=True)
class _ResultsFile:
    """A file of results as it was when it was opened first."""

    path: str
    nbytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> _ResultsFile:
        stat = path.stat()
        return cls(str(path.absolute()), stat.st_size, stat.st_mtime_ns)

    def open(self) -> h5py.File:
        try:
            import h5py
        except ImportError as error:
            raise ImportError(
                f"{self.path}: reading analysis results needs h5py; install it with "
                'pip install "limnd2-xr[results]"'
            ) from error
        if self != self.of(Path(self.path)):
            raise StaleFile(
                "the file changed since it was opened; open it again", path=self.path
            )
        try:
            return h5py.File(self.path, "r", locking="best-effort")
        except OSError as error:
            raise CorruptChunk(f"no HDF5 file: {error}", path=self.path) from error


class _Column(AwaitedArray):
    """Values of one column; the rows asked for are read, and what lies between them."""

    def __init__(
        self, source: _ResultsFile, place: str, info: ColumnInfo, *, masked: bool
    ) -> None:
        self._source = source
        self._place = place
        self._info = info
        self._masked = masked
        self.shape: tuple[int, ...] = (0,)
        self.dtype: np.dtype[Any] = np.dtype(object)

    @classmethod
    def of(
        cls,
        dataset: h5py.Dataset,
        source: _ResultsFile,
        info: ColumnInfo,
        *,
        masked: bool,
    ) -> _Column:
        """Describe a dataset as a column, refusing what is none."""
        column = cls(source, dataset.name, info, masked=masked)
        if dataset.ndim != 1:
            raise CorruptChunk(f"has {dataset.ndim} dimensions, where a column has one")
        stored = dataset.dtype
        if stored.kind not in "iufbSO":
            raise CorruptChunk(f"holds {stored}, neither numbers nor texts")
        if stored.kind == "O":
            import h5py

            if h5py.check_string_dtype(stored) is None:
                raise CorruptChunk(f"holds {stored.metadata}, no texts")
        if stored.kind in "iu" and column.has_nulls:
            stored = np.dtype(np.float64)
        elif stored.kind in "SO":
            stored = np.dtype(object)
        column.shape, column.dtype = dataset.shape, stored.newbyteorder("=")
        return column

    @property
    def has_nulls(self) -> bool:
        return self._masked and self._info.null is not None

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (type(self).__name__, self._source, self._place, self._masked)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        if isinstance(key, indexing.VectorizedIndexer):
            return indexing.explicit_indexing_adapter(
                key, self.shape, indexing.IndexingSupport.OUTER, self._read
            )
        # xarray's adapter fails on an empty slice with a negative step.
        return self._read(key.tuple)

    def _read(self, key: tuple[Any, ...]) -> Any:
        rows = self._rows(key[0])
        if not rows.size:
            return np.empty(rows.shape, self.dtype)
        first, last = int(rows.min()), int(rows.max())
        with self._source.open() as h5:
            try:
                stored = h5[self._place][first : last + 1]
            except _DAMAGE as error:
                raise CorruptChunk(
                    f"table column {self._place} cannot be read: {error}",
                    path=self._source.path,
                ) from error
        return self._decoded(np.asarray(stored))[rows - first]

    def _rows(self, key: Any) -> NDArray[np.int64]:
        """Return the rows that an index selects, without listing all there are."""
        n = self.shape[0]
        if isinstance(key, slice):
            start, stop, step = key.indices(n)
            return np.arange(start, stop, step, dtype=np.int64)
        rows: NDArray[np.int64] = np.asarray(key, np.int64)
        rows = np.where(rows < 0, rows + n, rows)
        if rows.size and not 0 <= rows.min() <= rows.max() < n:
            raise IndexError(f"row {key} is outside the {n} rows of {self._place}")
        return rows

    def _decoded(self, stored: NDArray[Any]) -> NDArray[Any]:
        if stored.dtype.kind in "SO":
            out = np.empty(len(stored), object)
            out[:] = [_cell(value) for value in stored.tolist()]
            return out
        if stored.dtype.kind in "iu" and self.has_nulls:
            null = stored == self._info.null
            kept = stored[~null]
            if kept.size and max(-int(kept.min()), int(kept.max())) > _EXACT_IN_FLOAT:
                raise ValueError(
                    f"{self._source.path}: table column {self._place} has numbers above "
                    "2**53, which float64 cannot hold: read it with masked=False"
                )
            values = stored.astype(np.float64)
            values[null] = np.nan
            return values
        return stored.astype(self.dtype, copy=False)


class _Tables:
    """Builds the tables of one run of a recipe."""

    def __init__(
        self, source: _ResultsFile, recipe: str, run: RecipeRun, *, masked: bool
    ) -> None:
        self._source = source
        self._masked = masked
        said = {
            "recipe": recipe,
            "created": run.created,
            "application": run.application,
            "application_version": run.version,
            "application_build": run.build,
            "user": run.user,
            "recipe_hash": run.recipe_hash,
        }
        self._attrs = {name: value for name, value in said.items() if value}

    def of(self, group: h5py.Group, path: str, depth: int) -> dict[str, xr.Dataset]:
        """Return the tables in a group, and those within them, by path."""
        found: dict[str, xr.Dataset] = {}
        for name, table in _groups(group, self._source):
            if name == _IGNORED or _kind(table, self._source) != "Table":
                continue
            here = f"{path}/{_node(name)}"
            try:
                found[here] = self._table(table, depth)
            except _DAMAGE as error:
                _warn(self._source, f"table {table.name}", error)
            if depth < _MAX_DEPTH:
                found.update(self.of(table, here, depth + 1))
        return found

    def _table(self, table: h5py.Group, depth: int) -> xr.Dataset:
        info = parse_table_info(_attributes(table, self._source))
        columns: list[tuple[ColumnInfo, _Column]] = []
        for name, item in _items(table, self._source):
            if not hasattr(item, "chunks") or _kind(item, self._source) != "Column":
                continue
            try:
                column_info = parse_column_info(_attributes(item, self._source), name)
                column = _Column.of(
                    item, self._source, column_info, masked=self._masked
                )
                if columns and columns[0][1].shape != column.shape:
                    raise CorruptChunk(
                        f"has {column.shape[0]} rows, others {columns[0][1].shape[0]}"
                    )
            except _DAMAGE as error:
                _warn(self._source, f"table column {item.name}", error)
                continue
            columns.append((column_info, column))
        dim = f"{_ROW}_{depth}" if depth else _ROW
        names = unique_titles(column_info.title for column_info, _ in columns)
        said = {
            "id": info.id,
            "title": info.title,
            "flags": list(info.flags),
            "metadata": info.metadata,
        }
        return xr.Dataset(
            {
                name: self._variable(dim, column_info, column)
                for name, (column_info, column) in zip(names, columns, strict=True)
            },
            attrs={**self._attrs, **{k: v for k, v in said.items() if v}},
        )

    def _variable(self, dim: str, info: ColumnInfo, column: _Column) -> xr.Variable:
        said: dict[str, Any] = {
            "long_name": info.title,
            "id": info.id,
            "decltype": info.declared,
            "feature": info.feature,
            "metadata": info.metadata,
        }
        attrs = {name: value for name, value in said.items() if value}
        if info.null is not None and not self._masked:
            attrs["null_value"] = info.null
        return xr.Variable((dim,), indexing.LazilyIndexedArray(column), attrs)


def _newest(
    recipe: h5py.Group, source: _ResultsFile
) -> tuple[h5py.Group, RecipeRun] | None:
    """Return the newest run of a recipe, the last by name of equal ones."""
    runs = [
        (variant, parse_recipe_run(_attributes(variant, source)))
        for _, variant in _groups(recipe, source)
    ]
    if not runs:
        return None
    latest = max(_created(run) for _, run in runs)
    return [pair for pair in runs if _created(pair[1]) == latest][-1]


def _created(run: RecipeRun) -> float:
    return -np.inf if run.created_s is None else run.created_s


def _groups(
    group: h5py.Group, source: _ResultsFile
) -> Iterator[tuple[str, h5py.Group]]:
    for name, item in _items(group, source):
        if hasattr(item, "keys"):
            yield name, item


def _items(group: h5py.Group, source: _ResultsFile) -> Iterator[tuple[str, Any]]:
    """Yield what a group itself holds, by name; links to elsewhere are passed over."""
    import h5py

    try:
        names = list(group)
    except _DAMAGE as error:
        _warn(source, f"group {group.name}", error)
        return
    for name in names:
        try:
            hard = isinstance(group.get(name, getlink=True), h5py.HardLink)
            item = group[name] if hard else None
        except _DAMAGE as error:
            _warn(source, f"{group.name}/{name}", error)
            continue
        if item is not None:
            yield name, item


def _kind(item: Any, source: _ResultsFile) -> str:
    return attribute_text(_attributes(item, source).get("Object"))


def _attributes(item: Any, source: _ResultsFile) -> dict[str, object]:
    """Return those attributes that say something here and can be read."""
    found: dict[str, object] = {}
    try:
        for name in ATTRIBUTES:
            if name in item.attrs and _is_plain(item.attrs.get_id(name)):
                found[name] = item.attrs[name]
    except _DAMAGE as error:
        _warn(source, f"what is said of {item.name}", error)
    return found


def _is_plain(attribute: h5py.h5a.AttrID) -> bool:
    """Whether an attribute is one text or number: the library may crash on others."""
    import h5py

    classes = {h5py.h5t.STRING, h5py.h5t.INTEGER, h5py.h5t.FLOAT}
    stored = attribute.get_type()
    return (
        stored.get_class() in classes
        and stored.get_size() <= _MAX_TEXT_NBYTES
        and attribute.get_space().get_simple_extent_npoints() == 1
    )


def _node(name: str) -> str:
    """Return a name that a node of a tree can have."""
    return f"{name}_" if name in {".", ".."} else name


def _cell(value: object) -> str:
    if isinstance(value, bytes):
        return value.rstrip(b"\0").decode("utf-8", "replace")
    return str(value)


def _warn(source: _ResultsFile, what: str, error: BaseException) -> None:
    report_damage(
        f"{what} cannot be read and is left out: {error}", path=str(source.path)
    )
