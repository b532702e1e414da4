"""ROIs of a file: objects that give outlines, and a table in the group ``rois``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import numpy as np
import xarray as xr

from limnd2_xr.arrays.image_roi import ImageRoi
from limnd2_xr.arrays.table_columns import text_column, whole_column
from limnd2_xr.damage import report_damage
from limnd2_xr.errors import Nd2Error
from limnd2_xr.frames.masks import decode_rle
from limnd2_xr.model.rois import ROI_CHUNK, parse_rois
from limnd2_xr.model.serialise import to_plain
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limnd2_xr.arrays.file_manager import FileManager
    from limnd2_xr.frames.store import FrameStore, StoreState
    from limnd2_xr.model.rois import Roi

__all__ = [
    "PLACES",
    "ROIS",
    "ROI_RASTER",
    "ImageRoi",
    "rois_dataset",
    "rois_group",
    "rois_of",
]

ROIS: Final = "/rois"
"""Path of the group."""
ROI_RASTER: Final = "CustomData|RoiRleGlobal_v1!"
"""Holds the pixels of raster ROIs (FORMAT 3)."""
PLACES: Final = ("center_x", "center_y", "size_x", "size_y", "rotation")
"""Columns of the table that are fields of the first key frame."""


def rois_of(store: FrameStore) -> tuple[ImageRoi, ...]:
    """All ROIs of an open file; a damaged chunk costs a warning.

    Parameters
    ----------
    store
        An open file.
    """
    layout = store.table.layout
    if ROI_CHUNK not in store.state.chunks:
        return ()
    try:
        rois = parse_rois(decode(store.read_chunk(ROI_CHUNK)))
    except Nd2Error as error:
        located = error.located(path=store.source_name, chunk=ROI_CHUNK)
        report_damage(located, "the ROIs are left out")
        return ()
    labels = None
    if any(roi.shape == "raster" for roi in rois) and ROI_RASTER in store.state.chunks:
        try:
            payload = store.read_chunk(ROI_RASTER)
            labels = decode_rle(payload, (layout.height, layout.width))
        except Nd2Error as error:
            located = error.located(path=store.source_name, chunk=ROI_RASTER)
            report_damage(located, "the pixels of raster ROIs are left out")
    return tuple(
        ImageRoi(roi=roi, width=layout.width, height=layout.height, labels=labels)
        for roi in rois
    )


def rois_group(state: StoreState, manager: FileManager) -> dict[str, xr.Dataset]:
    """Return the group ``rois``: one row a ROI; nothing without any.

    Parameters
    ----------
    state
        What opening the file found out.
    manager
        Owner of the open file.
    """
    del state
    with manager.acquire_context() as store:
        found = rois_of(store)
    return {ROIS: rois_dataset([item.roi for item in found])} if found else {}


def rois_dataset(rois: Sequence[Roi]) -> xr.Dataset:
    """ROIs as columns along the dim ``roi``; ``definition`` holds each whole, as JSON.

    `limnd2_xr.arrays.roi_table.rois_from_dataset` is the inverse.

    Parameters
    ----------
    rois
        As a file has them.
    """
    texts = {
        "label": [roi.label for roi in rois],
        "guid": [roi.guid for roi in rois],
        "shape": [str(roi.shape) for roi in rois],
        "interpretation": [str(roi.interpretation) for roi in rois],
        "color": [roi.color for roi in rois],
        "scope": [str(roi.scope) for roi in rois],
        "definition": [json.dumps(to_plain(roi)) for roi in rois],
    }
    numbers: dict[str, list[int]] = {
        "id": [roi.id for roi in rois],
        "position": [-1 if roi.position is None else roi.position for roi in rois],
        "key_frames": [len(roi.key_frames) for roi in rois],
        "stimulation_group": [roi.stimulation_group for roi in rois],
    }
    first = [roi.key_frames[0] if roi.key_frames else None for roi in rois]
    variables: dict[str, xr.Variable] = {}
    for name, values in numbers.items():
        variables[name] = xr.Variable("roi", whole_column(values))
    for name, strings in texts.items():
        variables[name] = xr.Variable("roi", text_column(strings))
    for name in PLACES:
        floats = [np.nan if frame is None else getattr(frame, name) for frame in first]
        variables[name] = xr.Variable("roi", np.array(floats, np.float64))
    variables["position"].attrs["long_name"] = "index along P; -1 for all positions"
    variables["center_x"].attrs["long_name"] = "centre, -1 at the left edge to 1"
    variables["center_y"].attrs["long_name"] = "centre, -1 at the top to 1"
    return xr.Dataset(variables)
