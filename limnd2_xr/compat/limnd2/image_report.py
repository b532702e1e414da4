"""What was gathered of a file as a text, and as a workbook."""

from __future__ import annotations

import importlib
import io
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["as_text", "as_workbook"]

_TITLES: Final = {
    "customMetadata": "Custom metadata",
    "acquisitionDetails": "Acquisition details",
    "recordedData": "Recorded data",
}
_NOT_IN_CELLS: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_NOT_IN_NAMES: Final = re.compile(r"[\\/*?:\[\]]")
_MOST_TEXT: Final = 32_767
"""Characters that a cell of Excel holds."""


def as_text(information: dict[str, Any]) -> str:
    """Return what was gathered of a file as a text for people."""
    parts = []
    for title, rows in _sheets(information):
        lines = [title, "=" * len(title)]
        lines += ["\t".join("" if v is None else str(v) for v in row) for row in rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def as_workbook(information: dict[str, Any]) -> bytes:
    """Return what was gathered of a file as an Excel workbook, a sheet a table.

    Raises
    ------
    ImportError
        If openpyxl is not installed.
    """
    try:
        openpyxl = importlib.import_module("openpyxl")
    except ImportError as error:
        raise ImportError(
            'Excel workbooks need openpyxl: pip install "limnd2-xr[excel]" brings it'
        ) from error
    book = openpyxl.Workbook(write_only=True)
    names: set[str] = set()
    for title, rows in _sheets(information):
        sheet = book.create_sheet(_sheet_name(title, names))
        for row in rows:
            sheet.append([_cell(value) for value in row])
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def _sheets(information: dict[str, Any]) -> Iterator[tuple[str, list[list[Any]]]]:
    """Yield title and rows of each part that says something."""
    yield "General", [list(pair) for pair in information["generalInfo"].items()]
    texts = {k: v for k, v in information.get("imageTextInfo", {}).items() if v}
    if texts:
        yield "Text", [list(pair) for pair in texts.items()]
    for number, loop in enumerate(information.get("experimentData", ()), 1):
        yield f"Loop {number} {loop['LoopName']}", _rows(loop["data"])
    for name, title in _TITLES.items():
        table = information.get(name)
        if table and table["rowdata"]:
            yield title, _rows(table)


def _rows(table: dict[str, Any]) -> list[list[Any]]:
    fields = [column["field"] for column in table["coldefs"]]
    head = [column["headerName"] for column in table["coldefs"]]
    return [head, *([row.get(name) for name in fields] for row in table["rowdata"])]


def _sheet_name(title: str, taken: set[str]) -> str:
    """Return a name that Excel takes: short, without some characters, once."""
    name = _NOT_IN_NAMES.sub(" ", title)[:31]
    number = 1
    while name.lower() in taken:
        number += 1
        name = f"{name[: 31 - len(str(number)) - 1]} {number}"
    taken.add(name.lower())
    return name


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return _NOT_IN_CELLS.sub(" ", value)[:_MOST_TEXT]
    return value
