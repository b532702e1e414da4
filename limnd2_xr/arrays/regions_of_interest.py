"""ROIs of a file: a table in the group ``rois``, and objects that give outlines."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from limnd2_xr.errors import Nd2Error, warn_user
from limnd2_xr.frames.masks import decode_rle
from limnd2_xr.model import roi_geometry
from limnd2_xr.model.rois import ROI_CHUNK, parse_rois
from limnd2_xr.model.serialise import to_plain
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from xarray.backends import CachingFileManager

    from limnd2_xr.frames.store import FrameStore, StoreState
    from limnd2_xr.model.rois import Roi

__all__ = ["ROIS", "ImageRoi", "rois_group", "rois_of"]

ROIS: Final = "/rois"
"""Path of the group."""
ROI_RASTER: Final = "CustomData|RoiRleGlobal_v1!"
"""Holds the pixels of raster ROIs (FORMAT 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRoi:
    """A ROI together with the image that it lies on."""

    roi: Roi
    """What the file says about it."""
    width: int
    """Pixels of a row of the image."""
    height: int
    """Rows of the image."""
    labels: NDArray[np.uint32] | None = field(default=None, repr=False, compare=False)
    """Pixels of all raster ROIs by their numbers, if there are any."""

    @property
    def id(self) -> int:
        """Number of the ROI."""
        return self.roi.id

    @property
    def label(self) -> str:
        """Name that the user gave."""
        return self.roi.label

    def to_polygon(self, time_s: float | None = None) -> NDArray[np.float64]:
        """Outline in pixels: vertices x, y, of shape (n, 2); y counts downwards.

        Parameters
        ----------
        time_s
            Moment, for one that moves; None for its first place.
        """
        outlines = self.to_polygons(time_s)
        return outlines[0] if outlines else np.empty((0, 2))

    def to_polygons(self, time_s: float | None = None) -> list[NDArray[np.float64]]:
        """All outlines in pixels, holes among them (even-odd rule).

        Parameters
        ----------
        time_s
            As for `to_polygon`.
        """
        return roi_geometry.polygons(
            self.roi, self.width, self.height, _ms(time_s), labels=self.labels
        )

    def to_mask(self, time_s: float | None = None) -> NDArray[np.bool_]:
        """Pixels whose centres lie inside: bool of shape (Y, X).

        Parameters
        ----------
        time_s
            As for `to_polygon`.
        """
        return roi_geometry.mask(
            self.roi, self.width, self.height, _ms(time_s), labels=self.labels
        )


def _ms(time_s: float | None) -> float | None:
    return None if time_s is None else time_s * 1000.0


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
        warn_user(f"{located}; the ROIs are left out")
        return ()
    labels = None
    if any(roi.shape == "raster" for roi in rois) and ROI_RASTER in store.state.chunks:
        try:
            payload = store.read_chunk(ROI_RASTER)
            labels = decode_rle(payload, (layout.height, layout.width))
        except Nd2Error as error:
            located = error.located(path=store.source_name, chunk=ROI_RASTER)
            warn_user(f"{located}; the pixels of raster ROIs are left out")
    return tuple(
        ImageRoi(roi=roi, width=layout.width, height=layout.height, labels=labels)
        for roi in rois
    )


def rois_group(
    state: StoreState, manager: CachingFileManager[FrameStore]
) -> dict[str, xr.Dataset]:
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
    """ROIs as columns along the dim ``roi``; ``definition`` holds each whole, as JSON."""
    texts = {
        "label": [roi.label for roi in rois],
        "guid": [roi.guid for roi in rois],
        "shape": [str(roi.shape) for roi in rois],
        "interpretation": [str(roi.interpretation) for roi in rois],
        "color": [roi.color for roi in rois],
        "scope": [str(roi.scope) for roi in rois],
        "definition": [json.dumps(to_plain(roi)) for roi in rois],
    }
    numbers: dict[str, list[Any]] = {
        "id": [roi.id for roi in rois],
        "position": [-1 if roi.position is None else roi.position for roi in rois],
        "key_frames": [len(roi.key_frames) for roi in rois],
        "stimulation_group": [roi.stimulation_group for roi in rois],
    }
    first = [roi.key_frames[0] if roi.key_frames else None for roi in rois]
    places = {
        name: [np.nan if frame is None else getattr(frame, name) for frame in first]
        for name in ("center_x", "center_y", "size_x", "size_y", "rotation")
    }
    variables: dict[str, xr.Variable] = {}
    for name, values in numbers.items():
        variables[name] = xr.Variable("roi", np.array(values, np.int64))
    for name, strings in texts.items():
        variables[name] = xr.Variable("roi", np.array(strings, np.str_))
    for name, floats in places.items():
        variables[name] = xr.Variable("roi", np.array(floats, np.float64))
    variables["position"].attrs["long_name"] = "index along P; -1 for all positions"
    variables["center_x"].attrs["long_name"] = "centre, -1 at the left edge to 1"
    variables["center_y"].attrs["long_name"] = "centre, -1 at the top to 1"
    return xr.Dataset(variables)
