"""References in kerchunk's format as files: JSON, or a folder of parquet."""

from __future__ import annotations

import base64
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["writer_of"]

_RECORDS: Final = 10_000
"""References in one file of parquet."""
_METADATA: Final = (".zarray", ".zattrs", ".zgroup")


def writer_of(target: Any) -> Callable[[dict[str, Any], Any], None]:
    """Return how references are written to a target of that name.

    Raises
    ------
    ImportError
        If the format is parquet and pyarrow is not installed.
    ValueError
        If the name does not tell the format.
    """
    suffix = Path(str(target)).suffix.lower()
    if suffix == ".json":
        return _write_json
    if suffix in {".parquet", ".parq"}:
        try:
            import pyarrow as pa  # noqa: F401 - before the file is read
        except ImportError as error:
            raise ImportError(
                "references are written as parquet by pyarrow: python -m pip install pyarrow"
            ) from error
        return _write_parquet
    raise ValueError(f"{target}: names of references end in .json or .parquet")


def _write_json(refs: dict[str, Any], target: Any) -> None:
    text = json.dumps({"version": 1, "refs": refs})
    Path(target).write_text(text, encoding="ascii")


def _write_parquet(refs: dict[str, Any], target: Any) -> None:
    """Write what fsspec's ``LazyReferenceMapper`` reads."""
    folder = Path(target)
    folder.mkdir(parents=True)
    metadata: dict[str, Any] = {}
    records: defaultdict[str, dict[int, Any]] = defaultdict(dict)
    for key, value in refs.items():
        if key.endswith(_METADATA):
            metadata[key] = json.loads(value)
    for key, value in refs.items():
        if not key.endswith(_METADATA):
            name, _, chunk = key.rpartition("/")
            records[name][_place(chunk, metadata[f"{name}/.zarray"])] = value
    for name, found in records.items():
        (folder / name).mkdir()
        for record in range(max(found) // _RECORDS + 1):
            first = record * _RECORDS
            rows = [found.get(first + row) for row in range(_RECORDS)]
            _write_record(rows, folder / name / f"refs.{record}.parq")
    text = json.dumps({"metadata": metadata, "record_size": _RECORDS})
    (folder / ".zmetadata").write_text(text, encoding="ascii")


def _place(chunk: str, document: dict[str, Any]) -> int:
    """Return the number of a chunk in the order of the array."""
    place = 0
    lengths = zip(document["shape"], document["chunks"], strict=True)
    for at, (length, step) in zip(chunk.split("."), lengths, strict=False):
        place = place * math.ceil(length / step) + int(at)
    return place


def _write_record(rows: list[Any], path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    links = [row if isinstance(row, list) else None for row in rows]
    table = pa.table(
        {
            "path": pa.array([link and link[0] for link in links], pa.string()),
            "offset": pa.array([link[1] if link else 0 for link in links], pa.int64()),
            "size": pa.array([link[2] if link else 0 for link in links], pa.int64()),
            "raw": pa.array(
                [_as_bytes(row) if isinstance(row, str) else None for row in rows],
                pa.binary(),
            ),
        }
    )
    parquet.write_table(table, path, compression="zstd")


def _as_bytes(text: str) -> bytes:
    if text.startswith("base64:"):
        return base64.b64decode(text.removeprefix("base64:"))
    return text.encode("ascii")
