"""ROIs to be written: read from a table, numbered, and encoded (FORMAT 10.2, 10.4)."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import numpy as np
import xarray as xr

from limnd2_xr.arrays.regions_of_interest import (
    PLACES,
    ROI_RASTER,
    ImageRoi,
    rois_dataset,
)
from limnd2_xr.arrays.stored_trees import edited_payload, readable_tree
from limnd2_xr.arrays.table_columns import TableColumns
from limnd2_xr.errors import CorruptChunk, Nd2Error, warn_user
from limnd2_xr.frames.masks import decode_rle, encode_rle
from limnd2_xr.model.comparison import same
from limnd2_xr.model.roi_tree import rois_tree
from limnd2_xr.model.rois import (
    INTERPRETATIONS,
    ROI_CHUNK,
    SCOPES,
    SHAPES,
    Roi,
    RoiKeyFrame,
    parse_rois,
)
from limnd2_xr.model.serialise import from_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["roi_payloads", "rois_from_dataset"]

_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "shape": SHAPES,
    "interpretation": INTERPRETATIONS,
    "scope": SCOPES,
}
_TEXTS: Final = ("label", "guid", "color", *_WORDS)
_WHOLE: Final = ("id", "position", "key_frames", "stimulation_group")
_DEFINITION: Final = "definition"
_BOXES: Final = ("rectangle", "square", "ellipse", "circle", "line")
_NODES: Final = ("polygon", "polyline", "bezier")
_LARGEST: Final = 2**32 - 1
_FRESH: Final = Roi(id=0, key_frames=(RoiKeyFrame(),))
"""What a row without a definition begins with."""


def rois_from_dataset(dataset: xr.Dataset) -> tuple[Roi, ...]:
    """ROIs of a table such as the group ``rois``: the inverse of `rois_dataset`.

    The column ``definition`` gives each ROI whole. Another column that says something
    else was edited, and counts; ``center_x``, ``center_y``, ``size_x``, ``size_y`` and
    ``rotation`` are those of the first key frame. Rows without a definition are made
    from ``shape`` and these columns alone. Values that are missing (NaN) count nowhere.

    Parameters
    ----------
    dataset
        Columns along one dim.

    Returns
    -------
    tuple of Roi
        One a row. Those without an ``id`` have 0: they get a number when written.

    Raises
    ------
    ValueError
        If a value is of another type or cannot be applied, naming column and ROI; or if
        a row without a definition has a shape that columns do not describe.

    Warns
    -----
    Nd2Warning
        If the table has columns that a file has no place for.

    Examples
    --------
    >>> table = xr.Dataset(
    ...     {
    ...         "shape": ("roi", ["circle"]),
    ...         "label": ("roi", ["cell"]),
    ...         "center_x": ("roi", [0.0]),
    ...         "center_y": ("roi", [0.5]),
    ...         "size_x": ("roi", [0.1]),
    ...         "size_y": ("roi", [0.1]),
    ...     }
    ... )
    >>> rois_from_dataset(table)[0].key_frames[0].center_y
    0.5
    """
    table = TableColumns(dataset, "ROI")
    known = {*_TEXTS, *_WHOLE, *PLACES, _DEFINITION}
    strange = sorted(set(table.names) - known)
    if strange:
        warn_user(
            f"an .nd2 file has no place for {', '.join(strange)} of the table of ROIs"
        )
    rois = [_defined(text, i) for i, text in enumerate(table.texts(_DEFINITION))]
    said = rois_dataset([_FRESH if roi is None else roi for roi in rois])
    given: list[dict[str, Any]] = [{} for _ in rois]
    edits: list[dict[str, Any]] = [{} for _ in rois]
    columns: dict[str, Sequence[Any]] = {
        **{name: table.texts(name) for name in _TEXTS},
        **{name: table.whole(name) for name in _WHOLE},
        **{name: table.numbers(name) for name in PLACES},
    }
    for name, values in columns.items():
        for i, before in enumerate(said[name].values.tolist()):
            if values[i] is not None:
                given[i][name] = values[i]
                if values[i] != before:
                    edits[i][name] = values[i]
    for i, roi in enumerate(rois):
        if roi is None:
            _check_fresh(given[i], i)
    return tuple(
        _edited(_FRESH if roi is None else roi, changes)
        for roi, changes in zip(rois, edits, strict=True)
    )


def _defined(text: str | None, row: int) -> Roi | None:
    if not text:
        return None
    try:
        roi = from_plain(Roi, json.loads(text))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"column {_DEFINITION} of the table of ROIs does not define one in row "
            f"{row}: {error}"
        ) from None
    assert isinstance(roi, Roi)  # noqa: S101 - that is what was asked for
    return roi


def _check_fresh(row: Mapping[str, Any], number: int) -> None:
    """Refuse a row that is all there is of a ROI and does not describe it."""
    shape = row.get("shape")
    name = f"row {number} of the table of ROIs"
    if shape is None:
        raise ValueError(f"{name} has neither a {_DEFINITION} nor a shape")
    if shape not in (*_BOXES, "point"):
        raise ValueError(
            f"{name} is of shape {shape!r}, which columns do not describe: make it with "
            "limnd2_xr.ImageRoi, e.g. ImageRoi.polygon(...)"
        )
    needed = PLACES[:2] if shape == "point" else PLACES[:4]
    lacking = [column for column in needed if column not in row]
    if lacking:
        raise ValueError(f"{name}, a {shape}, has no {', '.join(lacking)}")


def _edited(roi: Roi, edits: dict[str, Any]) -> Roi:
    """Apply what columns say that is not what the ROI says itself."""
    places: dict[str, float] = {
        name: edits.pop(name) for name in PLACES if name in edits
    }
    if places:
        edits["key_frames"] = _moved(roi, places, edits.pop("key_frames", None))
    elif "key_frames" in edits:
        raise _unapplied(roi, "key_frames", edits["key_frames"])
    for name, words in _WORDS.items():
        if name in edits:
            edits[name] = _coded(roi, name, edits[name], words)
    if edits.get("position") is not None:
        place = edits["position"]
        if place < -1:
            raise _unapplied(roi, "position", place)
        edits["position"] = None if place == -1 else place
        # The scope goes along, unless it is given or was at odds before.
        if roi.scope == _scope(roi.position):
            edits.setdefault("scope", _scope(edits["position"]))
    edited: Roi = replace(roi, **edits)
    if "shape" in edits:
        _check_shape(edited)
    return edited


def _moved(
    roi: Roi, places: Mapping[str, float], frames: int | None
) -> tuple[RoiKeyFrame, ...]:
    if frames is not None:
        raise _unapplied(roi, "key_frames", frames)
    if not roi.key_frames:
        name = next(iter(places))
        raise _unapplied(roi, name, places[name])
    first, *others = roi.key_frames
    changes: dict[str, Any] = dict(places)
    return replace(first, **changes), *others


def _unapplied(roi: Roi, column: str, value: object) -> ValueError:
    why = {
        "key_frames": f"it has {len(roi.key_frames)}, which columns do not describe",
        "position": "-1 stands for all positions",
    }.get(column, "it has no key frame")
    return ValueError(
        f"column {column} of the table of ROIs says {value!r} of ROI {roi.id}, but {why}"
    )


def _coded(roi: Roi, column: str, value: str, words: Iterable[str]) -> str | int:
    """Return a word, or the code of one that is not known."""
    if value in words:
        return value
    if value.isascii() and value.isdigit():
        return int(value)
    raise ValueError(
        f"column {column} of the table of ROIs says {value!r} of ROI {roi.id}: that is "
        f"none of {', '.join(words)}"
    )


def _scope(position: int | None) -> str:
    return "global" if position is None else "position"


def _check_shape(roi: Roi) -> None:
    """Refuse another shape than the ROI has the geometry of."""
    has_nodes = all(frame.points for frame in roi.key_frames)
    if roi.shape == "raster" or (roi.shape in _NODES and not has_nodes):
        raise ValueError(
            f"column shape of the table of ROIs makes ROI {roi.id} a {roi.shape}, whose "
            "outline it does not have: make it with limnd2_xr.ImageRoi"
        )


def roi_payloads(
    rois: Sequence[Roi | ImageRoi] | xr.Dataset,
    shape: tuple[int, int],
    stored: bytes | None = None,
    raster: bytes | None = None,
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
    wanted = _numbered([_checked(roi, shape) for roi in given], before)
    found: dict[str, bytes] = {}
    if wanted or stored is not None:
        found[ROI_CHUNK] = edited_payload(stored, lambda base: rois_tree(wanted, base))
    pixels = _raster_payload(given, wanted, before, shape, raster)
    if pixels is not None:
        found[ROI_RASTER] = pixels
    return found


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
