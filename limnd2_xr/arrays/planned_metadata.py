"""Metadata of a file to be written: those of the array's file, or what it tells itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.arrays.described import UNKNOWN_MS, Description, describe
from limnd2_xr.arrays.described_loops import loop_order
from limnd2_xr.arrays.readback import Known, differences, read_back
from limnd2_xr.arrays.stored_pixels import pixel_layout
from limnd2_xr.arrays.units import milliseconds
from limnd2_xr.frames.layout import PixelLayout
from limnd2_xr.model.description_text import agreeing_description
from limnd2_xr.model.document import RECORD_CHUNKS, Nd2Document
from limnd2_xr.model.records import FrameRecords
from limnd2_xr.model.to_raw import Base

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import NDArray

    from limnd2_xr.arrays.origin import Origin
    from limnd2_xr.model.attributes import Attributes
    from limnd2_xr.model.raw import RawMetadata

__all__ = ["planned_metadata", "stored_metadata"]

_PER_FRAME: Final = {
    "time": ("times_ms",),
    "acquired": ("times_ms",),
    "stage_x": ("x",),
    "stage_y": ("y",),
    "stage_z": ("z", "z1", "z2"),
}
"""Coordinates of frames, and what a file records of them."""


def planned_metadata(
    image: xr.DataArray,
    attributes: Attributes,
    origin: Origin | None,
    base: Nd2Document | None,
) -> tuple[Description, RawMetadata, list[str]]:
    """Return metadata as the file will have them, as stored, and what they do not tell.

    First those that the array came with, as they are: if they read as what the array
    has, nothing was changed. Else those that its coordinates describe.

    Parameters
    ----------
    image
        With the dims of an image.
    attributes
        How its frames are to be stored.
    origin
        File behind it, if there is one.
    base
        Document that the array came with, None without one.

    Raises
    ------
    ValueError
        If a file cannot hold what the coordinates say.
    """
    layout = pixel_layout(attributes, image)
    if origin is not None and _fits(image, origin):
        kept = Description(
            document=replace(origin.state.document, attributes=attributes),
            records=origin.state.records,
        )
        beside = {} if kept.records.has_times else _beside_frames(origin)
        if not _losses(image, kept, layout, origin.known, beside):
            made, raw = stored_metadata(kept, origin)
            if beside:
                times = _by_number(beside["time"], origin)
                made = replace(made, records=made.records.with_times(times))
            return made, raw, []
    known = origin.known if origin else _known(image, base)
    made = describe(image, attributes, base, known)
    if origin is not None and origin.knows_frames:
        made = _with_recorded(made, image, origin)
    made, raw = stored_metadata(made, origin)
    return made, raw, _losses(image, made, layout, known)


def _beside_frames(origin: Origin) -> dict[str, xr.Variable]:
    """Coordinates of a whole file that lie with its frames and nowhere else."""
    return {name: origin.known.coords[name].variable for name in ("time", "acquired")}


def _by_number(time: xr.Variable, origin: Origin) -> NDArray[np.float64]:
    """Milliseconds of each frame, by its number."""
    found = np.full(time.size, UNKNOWN_MS)
    ms = milliseconds(time.values).ravel()
    found[origin.state.axes.sequence().ravel()] = ms
    return np.where(np.isfinite(found), found, UNKNOWN_MS)


def _losses(
    image: xr.DataArray,
    made: Description,
    layout: PixelLayout,
    known: Known,
    beside: Mapping[str, xr.Variable] | None = None,
) -> list[str]:
    """Say what of an array will be read back differently."""
    count = made.document.attributes.sequence_count
    found = read_back(made.document, made.records, layout, count)
    found = found.assign_coords(beside or {})
    text = image.attrs.get("description")
    if isinstance(text, str) and text != found.attrs.get("description"):
        # Its counts of frames and channels follow them: nothing is lost by that.
        agreed = agreeing_description(text, made.document)
        image = image.assign_attrs(description=agreed)
    return differences(image, found, known.attrs)


def stored_metadata(
    made: Description, origin: Origin | None
) -> tuple[Description, RawMetadata]:
    """Return metadata as they will be read, and as they are stored."""
    base = None
    if origin is not None:
        base = Base(
            raw=origin.raw,
            document=origin.state.document,
            records=origin.state.records,
        )
    raw = made.document.to_raw(made.records, base=base)
    document, records = Nd2Document.from_raw(raw)
    return Description(document=document, records=records), raw


def _fits(image: xr.DataArray, origin: Origin) -> bool:
    """Whether the array has the frames and channels of its file, in its order."""
    dims = {dim for dim in ("U", "T", "P", "Z") if dim in image.dims}
    return (
        origin.has_all_frames
        and origin.has_all_channels
        and {dim for dim in dims if image.sizes[dim] > 1}
        == {dim for dim in origin.state.axes.dims if origin.state.axes.size(dim) > 1}
        and dims == set(origin.state.axes.dims)
    )


def _known(image: xr.DataArray, base: Nd2Document | None) -> Known:
    """Return what the document of an array tells, where its file is not at hand."""
    if base is None:
        return Known()
    count = max(base.attributes.sequence_count, 1)
    attributes = base.attributes
    layout = PixelLayout(
        height=attributes.height,
        width=attributes.width,
        channels=len(base.channels),
        samples=attributes.components // max(len(base.channels), 1),
        dtype=attributes.dtype,
        row_nbytes=attributes.row_nbytes,
    )
    return Known.of(read_back(base, FrameRecords(), layout, count), image)


def _with_recorded(
    made: Description, image: xr.DataArray, origin: Origin
) -> Description:
    """Keep what was recorded of the frames where the array tells nothing else of them."""
    order = loop_order(image, made.document.experiment)
    frames = origin.frames(order).ravel()
    old = origin.state.records
    columns = {
        name: None
        if (values := getattr(old, name)) is None
        else _picked(values, frames)
        for name in FrameRecords.__dataclass_fields__
    }
    changed = [name for name in _PER_FRAME if not origin.known.same(image, name)]
    for name, fields in _PER_FRAME.items():
        if name in changed:
            columns |= dict.fromkeys(fields)
            columns[fields[0]] = getattr(made.records, fields[0])
    if not old.has_times:
        columns["times_ms"] = made.records.times_ms
    document, source = made.document, origin.state.document
    if origin.has_all_frames and not changed:
        acquisition = replace(
            source.acquisition, start_jd=document.acquisition.start_jd
        )
        document = replace(document, picture=source.picture, acquisition=acquisition)
    lost = {
        chunk
        for name, chunk in RECORD_CHUNKS.items()
        if columns[name] is None and getattr(old, name) is not None
    }
    recorded = tuple(
        replace(column, size=len(frames))
        for column in source.recorded_columns
        if f"CustomData|{column.id}!" not in lost
    )
    return Description(
        document=replace(document, recorded_columns=recorded),
        records=FrameRecords(**columns),
    )


def _picked(
    values: NDArray[np.float64], frames: NDArray[np.int64]
) -> NDArray[np.float64]:
    known = np.append(values, np.nan)
    return known[np.minimum(frames, len(values))]
