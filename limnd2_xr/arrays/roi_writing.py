"""ROIs to be written: numbered, and encoded with their pixels (FORMAT 10.2, 10.4)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import numpy as np
import xarray as xr

from limnd2_xr.arrays.image_roi import ImageRoi
from limnd2_xr.arrays.regions_of_interest import ROI_RASTER
from limnd2_xr.arrays.roi_table import rois_from_dataset
from limnd2_xr.arrays.stored_trees import edited_payload, readable_tree
from limnd2_xr.errors import CorruptChunk, Nd2Error
from limnd2_xr.frames.masks import decode_rle, encode_rle
from limnd2_xr.model.comparison import same
from limnd2_xr.model.roi_tree import rois_tree
from limnd2_xr.model.rois import (
    ROI_CHUNK,
    Roi,
    parse_rois,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from limnd2_xr.model.roi_making import RoiWindow

__all__ = ["roi_payloads"]

_LARGEST: Final = 2**32 - 1


def roi_payloads(
    rois: Sequence[Roi | ImageRoi] | xr.Dataset,
    shape: tuple[int, int],
    stored: bytes | None = None,
    raster: bytes | None = None,
    *,
    window: RoiWindow | None = None,
) -> dict[str, bytes]:
    """Chunks of a file that has just these ROIs.

    ROIs with the number 0 get a free one, and a GUID if they have none.

    Parameters
    ----------
    rois
        ROIs, or a table of them.
    shape
        Rows and columns of the image.
    stored
        Payload of ``RoiMetadata_v1`` that the file has. What else it says of a ROI
        stays; it is returned as it is if nothing changes.
    raster
        Payload of ``RoiRleGlobal_v1`` that the file has: pixels of raster ROIs that are
        given without.
    window
        Part of the image of the file that `shape` is of: ROIs and pixels of the whole
        image are moved to where they are in the part.

    Returns
    -------
    dict
        Payload by chunk name; empty if there are no ROIs and were none.

    Raises
    ------
    ValueError
        If a ROI belongs to an image of another size, two have one number, the pixels of
        raster ROIs are not known or overlap, or a value cannot be stored.

    Examples
    --------
    >>> list(roi_payloads([Roi(id=1, shape="point")], (6, 8)))
    ['CustomData|RoiMetadata_v1!']
    """
    given = rois_from_dataset(rois) if isinstance(rois, xr.Dataset) else tuple(rois)
    before = _stored_rois(stored)
    if window is not None and (window.width, window.height) != window.old_size:
        given = tuple(_in_window(roi, window) for roi in given)
        raster = _raster_in_window(raster, window)
    wanted = _numbered([_checked(roi, shape) for roi in given], before)
    found: dict[str, bytes] = {}
    if wanted or stored is not None:
        found[ROI_CHUNK] = edited_payload(stored, lambda base: rois_tree(wanted, base))
    pixels = _raster_payload(given, wanted, before, shape, raster)
    if pixels is not None:
        found[ROI_RASTER] = pixels
    return found


def _in_window(roi: Roi | ImageRoi, window: RoiWindow) -> Roi | ImageRoi:
    if isinstance(roi, Roi):
        return window.moved(roi)
    if (roi.width, roi.height) != window.old_size:
        return roi
    labels = roi.labels
    return ImageRoi(
        roi=window.moved(roi.roi),
        width=window.width,
        height=window.height,
        labels=None if labels is None else labels[_rows_and_columns(window)],
    )


def _rows_and_columns(window: RoiWindow) -> tuple[slice, slice]:
    rows = slice(window.top, window.top + window.height)
    return rows, slice(window.left, window.left + window.width)


def _raster_in_window(stored: bytes | None, window: RoiWindow) -> bytes | None:
    width, height = window.old_size
    pixels = _stored_pixels(stored, (height, width))
    return None if pixels is None else encode_rle(pixels[_rows_and_columns(window)])


def _stored_rois(stored: bytes | None) -> tuple[Roi, ...]:
    tree = readable_tree(stored)
    if tree is None:
        return ()
    try:
        return parse_rois(tree)
    except CorruptChunk:
        return ()


def _checked(roi: Roi | ImageRoi, shape: tuple[int, int]) -> Roi:
    if isinstance(roi, Roi):
        return roi
    if (roi.height, roi.width) != tuple(shape):
        raise ValueError(
            f"ROI {roi.label or roi.id!r} lies on an image of {roi.height} rows and "
            f"{roi.width} columns, and this one has {shape[0]} and {shape[1]}: move it with "
            "ImageRoi.polygon(...), or pass its .roi to have it stretched"
        )
    return roi.roi


def _numbered(rois: Sequence[Roi], before: Sequence[Roi]) -> tuple[Roi, ...]:
    """Give numbers to the ROIs that have none; refuse those of one number."""
    known = Counter(roi.id for roi in before)
    counts = Counter(roi.id for roi in rois)
    for number, times in counts.items():
        if number != 0 and times > max(known[number], 1):
            raise ValueError(
                f"{times} ROIs have the number {number}: 0 stands for any that is free"
            )
    taken = {*known, *counts}
    free = (number for number in count(1) if number not in taken)
    stored_without = [roi for roi in before if roi.id == 0]
    found = []
    for roi in rois:
        if roi.id != 0 or any(same(roi, old) for old in stored_without):
            found.append(roi)
        else:
            guid = roi.guid or f"{{{uuid4()}}}".upper()
            found.append(replace(roi, id=next(free), guid=guid))
    return tuple(found)


def _raster_payload(
    given: Sequence[Roi | ImageRoi],
    wanted: Sequence[Roi],
    before: Sequence[Roi],
    shape: tuple[int, int],
    stored: bytes | None,
) -> bytes | None:
    """Return the picture of all raster ROIs, None if none is needed."""
    rasters = [
        (item.labels if isinstance(item, ImageRoi) else None, roi.id)
        for item, roi in zip(given, wanted, strict=True)
        if roi.shape == "raster"
    ]
    had = {roi.id for roi in before if roi.shape == "raster"}
    without = all(labels is None for labels, _ in rasters)
    if without and stored is not None and {number for _, number in rasters} == had:
        return stored
    if not rasters and stored is None:
        return None
    there = _stored_pixels(stored, shape)
    found = np.zeros(shape, np.uint32)
    sources: dict[int, tuple[NDArray[Any] | None, list[int]]] = {}
    for labels, number in rasters:
        source = labels
        if labels is None and number in had:
            source = there
        if source is None:
            raise ValueError(
                f"ROI {number} is a raster and its pixels are not known: give it as an "
                "ImageRoi with `labels`"
            )
        sources.setdefault(id(source), (source, []))[1].append(number)
    for source, numbers in sources.values():
        assert source is not None  # noqa: S101 - refused above
        _paint(found, source, numbers)
    if stored is not None and there is not None and np.array_equal(found, there):
        return stored
    return encode_rle(found)


def _paint(found: NDArray[np.uint32], labels: NDArray[Any], numbers: list[int]) -> None:
    if labels.shape != found.shape:
        raise ValueError(
            f"ROI {numbers[0]}: labels of shape {labels.shape} for an image of shape "
            f"{found.shape}"
        )
    if not 1 <= min(numbers) <= max(numbers) <= _LARGEST:
        raise ValueError(f"a raster ROI needs a number from 1 to {_LARGEST}")
    mine = np.isin(labels, numbers)
    if (found[mine] != 0).any():
        raise ValueError(
            f"raster ROIs overlap, among them {numbers[0]}: a pixel belongs to one"
        )
    found[mine] = labels[mine]


def _stored_pixels(
    stored: bytes | None, shape: tuple[int, int]
) -> NDArray[np.uint32] | None:
    if stored is None:
        return None
    try:
        return decode_rle(stored, shape)
    except Nd2Error:
        return None
