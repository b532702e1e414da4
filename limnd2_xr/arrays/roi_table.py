"""ROIs of a table that was made, edited or saved: the inverse of `rois_dataset`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.arrays.regions_of_interest import PLACES, rois_dataset
from limnd2_xr.arrays.table_columns import TableColumns
from limnd2_xr.errors import warn_user
from limnd2_xr.model.rois import INTERPRETATIONS, SCOPES, SHAPES, Roi, RoiKeyFrame
from limnd2_xr.model.serialise import from_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import xarray as xr

__all__ = ["rois_from_dataset"]

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
    >>> import xarray as xr
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
