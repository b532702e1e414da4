"""Chunks that hold one value a frame, cut or filled up to the frames that there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.frames.content_survey import read_payload
from limnd2_xr.frames.repair_loops import with_sizes
from limnd2_xr.frames.verify_counts import CACHES
from limnd2_xr.model.raw import FRAME_TIMES, RECORDED_COLUMNS
from limnd2_xr.model.recorded import column_chunk
from limnd2_xr.variants.encode import encode

if TYPE_CHECKING:
    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.frames.content_survey import Contents
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.records import RecordedColumn

__all__ = ["FittedColumns", "fitted_columns"]

_RANGES: Final = ("CustomData|FloatCompRangeCache", "CustomData|FloatRangeCache")
"""Caches of two float32 a frame."""
_NAN: Final = {4: np.float32(np.nan).tobytes(), 8: np.float64(np.nan).tobytes()}


@dataclass(slots=True, kw_only=True)
class FittedColumns:
    """Chunks that have to change; None for those that have to go."""

    payloads: dict[str, bytes | None] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)


def fitted_columns(
    source: ByteSource, contents: Contents, n_frames: int, document: Nd2Document
) -> FittedColumns:
    """Cut or fill up caches and recorded columns that are not of `n_frames` frames.

    What is filled up is not a number in columns of floats, and zero in caches that hold
    nothing else. Other chunks that are too short go.

    Parameters
    ----------
    source
        The open file.
    contents
        Its chunks.
    n_frames
        How many frames there will be.
    document
        For the description of the columns.
    """
    fitted = FittedColumns()
    items = {name: size for name, size in CACHES.items() if name != FRAME_TIMES}
    items |= {name: 8 for name in contents.source_of if name.startswith(_RANGES)}
    for name, item in items.items():
        if name in contents.source_of and contents.nbytes[name] != item * n_frames:
            payload = _payload(source, contents, name)
            empty = bytes(item) if not any(payload) else None
            _put(fitted, name, _resized(payload, item, n_frames, empty))
    sizes: dict[str, int] = {}
    for column in document.recorded_columns:
        name = column_chunk(column.id)
        if name not in contents.source_of or not column.size or column.size == n_frames:
            continue
        payload = _payload(source, contents, name)
        item, rest = divmod(len(payload), column.size)
        kept = None
        if item and not rest:
            kept = _resized(payload, item, n_frames, _empty(column, item))
        _put(fitted, name, kept)
        sizes[column.id] = n_frames
    table = RECORDED_COLUMNS[0]
    if sizes and contents.raw is not None and table in contents.raw.levels:
        fitted.payloads[table] = encode(with_sizes(contents.raw.levels[table], sizes))
    fitted.changed = [
        f"{name} has {n_frames} values now"
        for name, payload in fitted.payloads.items()
        if payload is not None and name != table
    ]
    return fitted


def _payload(source: ByteSource, contents: Contents, name: str) -> bytes:
    return read_payload(source, name, contents.source_of[name])[0]


def _put(fitted: FittedColumns, name: str, payload: bytes | None) -> None:
    fitted.payloads[name] = payload


def _empty(column: RecordedColumn, item: int) -> bytes | None:
    """Return what stands for a value that is not known."""
    if column.kind == "string":
        return bytes(item)
    return _NAN.get(item) if column.kind == "float" else None


def _resized(
    payload: bytes, item: int, count: int, empty: bytes | None
) -> bytes | None:
    lacking = count - len(payload) // item
    if lacking <= 0:
        return payload[: item * count]
    if empty is None:
        return None
    return payload[: len(payload) // item * item] + lacking * empty
