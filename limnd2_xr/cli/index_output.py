"""Rows of an index as a table, CSV, JSON or Parquet, written as they come."""

# ruff: noqa: TID253  (the command alone needs rich, and imports this when it runs)

from __future__ import annotations

import csv
import io
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from rich.console import Console
from rich.table import Table
from rich.text import Text

from limnd2_xr.cli.messages import human_nbytes, one_line
from limnd2_xr.cli.render import UNBOUND
from limnd2_xr.export.requirements import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    Row: TypeAlias = dict[str, Any]

__all__ = ["FORMATS", "RowWriter", "row_writer"]

_INTEGERS: Final = frozenset(
    {"size", "T", "P", "Z", "C", "Y", "X", "bits", "missing", "masks"}
)
_FLOATS: Final = frozenset({"pixel_size", "z_step"})
_BATCH: Final = 1000


class RowWriter(Protocol):
    """Takes rows one by one."""

    def __call__(self, row: Row) -> None:
        """Write a row, which has the columns in their order."""
        ...


@contextmanager
def row_writer(
    form: str, columns: Sequence[str], file: BinaryIO
) -> Iterator[RowWriter]:
    """Give what writes rows.

    Parameters
    ----------
    form
        One of `FORMATS`.
    columns
        Names, in their order.
    file
        Written to; not closed.

    Yields
    ------
    callable
        To be called with each row.

    Raises
    ------
    ModuleNotFoundError
        If Parquet is asked for, and pyarrow is not installed.
    """
    with FORMATS[form](columns, file) as write:
        yield write


@contextmanager
def _csv(columns: Sequence[str], file: BinaryIO) -> Iterator[RowWriter]:
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()

    def write(row: Row) -> None:
        writer.writerow({name: _cell(value) for name, value in row.items()})

    try:
        yield write
    finally:
        text.detach()


def _cell(value: Any) -> Any:
    return ";".join(value) if isinstance(value, list) else value


@contextmanager
def _json(columns: Sequence[str], file: BinaryIO) -> Iterator[RowWriter]:
    del columns
    mark = b"[\n"

    def write(row: Row) -> None:
        nonlocal mark
        text = json.dumps(row, allow_nan=False, ensure_ascii=False)
        file.write(mark + b"  " + text.encode("utf-8", "replace"))
        mark = b",\n"

    yield write
    file.write(b"[]\n" if mark == b"[\n" else b"\n]\n")


@contextmanager
def _parquet(columns: Sequence[str], file: BinaryIO) -> Iterator[RowWriter]:
    if file.isatty():
        raise ValueError("Parquet is binary: say where to with --output FILE")
    require("Parquet", "pyarrow")
    import pyarrow as pa
    from pyarrow import parquet

    types = {
        **dict.fromkeys(_INTEGERS, pa.int64()),
        **dict.fromkeys(_FLOATS, pa.float64()),
        "channels": pa.list_(pa.string()),
    }
    schema = pa.schema([(name, types.get(name, pa.string())) for name in columns])
    rows: list[Row] = []
    with parquet.ParquetWriter(file, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            rows.clear()

        def write(row: Row) -> None:
            rows.append(row)
            if len(rows) >= _BATCH:
                flush()

        yield write
        flush()


@contextmanager
def _table(columns: Sequence[str], file: BinaryIO) -> Iterator[RowWriter]:
    """Collect all rows, as the width of columns depends on them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        is_number = name in _INTEGERS | _FLOATS
        table.add_column(
            name,
            justify="right" if is_number else "left",
            no_wrap=is_number,
            overflow="fold",
        )

    def write(row: Row) -> None:
        table.add_row(*(_shown(name, row[name]) for name in columns))

    yield write
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    console = Console(file=text, highlight=False)
    if not console.is_terminal:
        console = Console(file=text, highlight=False, width=UNBOUND)
    with console.capture() as capture:
        console.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    text.write("\n".join(lines) + "\n")
    text.detach()


def _shown(name: str, value: Any) -> Text:
    if value is None:
        return Text()
    if name == "size":
        return Text(human_nbytes(value))
    if isinstance(value, float):
        return Text(f"{value:.6g}")
    return Text(one_line(str(_cell(value))))


FORMATS: Final = {"table": _table, "csv": _csv, "json": _json, "parquet": _parquet}
"""What writes each format."""
