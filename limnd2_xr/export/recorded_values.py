"""Recorded columns of the frames that an exported image has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xarray as xr

from limnd2_xr.damage import report_damage
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.recorded import column_chunk, column_titles, decode_recorded

if TYPE_CHECKING:
    from limnd2_xr.export.export_image import ExportImage

__all__ = ["RecordedValues", "recorded_values"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedValues:
    """One recorded column."""

    id: str
    """As the file calls it, e.g. ``Camera_ExposureTime1``."""
    title: str
    """As a table is headed, with the unit."""
    unit: str
    """Unit as stored, may be empty."""
    values: xr.DataArray
    """Over the loop dims of the image."""


def recorded_values(source: ExportImage) -> tuple[RecordedValues, ...]:
    """Return recorded columns of the file, for the frames that the image has.

    Nothing if it cannot be told which frames of the file these are.

    Parameters
    ----------
    source
        What is exported.

    Warns
    -----
    Nd2Warning
        If a column is damaged; it is left out.
    """
    origin = source.origin
    if origin is None or not origin.knows_frames:
        return ()
    document = origin.state.document
    count = document.attributes.sequence_count
    frames = origin.frames(source.loops)
    titles = column_titles(document.recorded_columns)
    columns = {column_chunk(c.id): c for c in document.recorded_columns}
    found = []
    for name, payload in origin.payloads(list(columns)):
        column = columns[name]
        try:
            values = decode_recorded(payload, column, count)
        except CorruptChunk as error:
            located = error.located(path=origin.spec.name, chunk=name)
            report_damage(located, "this column is left out")
            continue
        if frames.size and int(frames.max()) >= len(values):
            continue
        picked: Any = values[frames]
        found.append(
            RecordedValues(
                id=column.id,
                title=titles[column.id],
                unit=column.unit.strip(),
                values=xr.DataArray(picked, dims=source.loops),
            )
        )
    return tuple(found)
