"""Metadata of the groups of an OME-Zarr, checked by the models of yaozarrs."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from limnd2_xr.export.ngff_layout import well_cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from limnd2_xr.arrays.plate import PlateWells
    from limnd2_xr.export.export_journal import Found
    from limnd2_xr.export.ngff_axes import Axis
    from limnd2_xr.export.pyramid_levels import Method

__all__ = [
    "NgffVersion",
    "checked",
    "image_group",
    "label_group",
    "labels_group",
    "multiscales_of",
    "node_names",
    "plate_group",
    "series_groups",
    "well_groups",
]

NgffVersion: TypeAlias = Literal["0.4", "0.5"]

_MOST_COLORS: Final = 4096
"""Labels beyond have no colour of their own; viewers choose one."""
_RISKY: Final = re.compile(r"[^A-Za-z0-9._-]+")


def multiscales_of(
    axes: Sequence[Axis],
    sizes: Sequence[tuple[int, int]],
    name: str,
    method: Method,
) -> dict[str, Any]:
    """Return the one entry of ``multiscales``.

    Parameters
    ----------
    axes
        Of the image at full size.
    sizes
        Height and width of each level.
    name
        Of the image.
    method
        How smaller copies are made.
    """
    listed = []
    for axis in axes:
        entry = {"name": axis.name, "type": axis.type}
        listed.append(entry | ({"unit": axis.unit} if axis.unit else {}))
    return {
        "name": name,
        "axes": listed,
        "datasets": [
            {
                "path": str(level),
                "coordinateTransformations": _transformations(axes, sizes, level),
            }
            for level in range(len(sizes))
        ],
        "type": method,
        "metadata": {
            "description": "mean of 2 x 2 pixels, halves to the even neighbour"
            if method == "mean"
            else "first of 2 x 2 pixels"
        },
    }


def _transformations(
    axes: Sequence[Axis], sizes: Sequence[tuple[int, int]], level: int
) -> list[dict[str, Any]]:
    """Scale and translation of a level: centres of pixels that cover several."""
    scale, translation = [], []
    for axis in axes:
        factor = 1
        if axis.dim in {"Y", "X"}:
            along = [size[axis.dim == "X"] for size in sizes]
            # A single row is not halved any further.
            factor = 2 ** sum(1 for n in along[:level] if n > 1)
        scale.append(axis.scale * factor)
        translation.append(axis.start + axis.scale * (factor - 1) / 2)
    return [
        {"type": "scale", "scale": scale},
        {"type": "translation", "translation": translation},
    ]


def image_group(
    multiscales: Mapping[str, Any], omero: Mapping[str, Any], version: NgffVersion
) -> dict[str, Any]:
    """Return the attributes of the group of an image."""
    omero = {"name": multiscales["name"], **omero} if version == "0.5" else omero
    return checked("Image", {"multiscales": [multiscales], "omero": omero}, version)


def label_group(
    multiscales: Mapping[str, Any], color: str, found: Found, version: NgffVersion
) -> dict[str, Any]:
    """Return the attributes of the group of a label image.

    Parameters
    ----------
    multiscales
        From `multiscales_of`.
    color
        Of all objects, as ``#rrggbb``; ``""`` where not known.
    found
        The largest label.
    version
        Of OME-Zarr.
    """
    about: dict[str, Any] = {"source": {"image": "../../"}}
    if re.fullmatch(r"#[0-9A-Fa-f]{6}", color):
        rgba = [*bytes.fromhex(color[1:]), 255]
        last = min(_MOST_COLORS, max(1, int(found.high or 1)))
        about["colors"] = [
            {"label-value": value, "rgba": rgba} for value in range(1, last + 1)
        ]
    content = {"multiscales": [multiscales], "image-label": about}
    return checked("LabelImage", content, version)


def labels_group(names: Sequence[str], version: NgffVersion) -> dict[str, Any]:
    """Return the attributes of the group that holds the label images."""
    return checked("LabelsGroup", {"labels": list(names)}, version)


def series_groups(
    paths: Sequence[str], version: NgffVersion
) -> dict[str, dict[str, Any]]:
    """Return the attributes of the root and of the group OME of a series of images."""
    return {
        "": checked("Bf2Raw", {"bioformats2raw.layout": 3}, version),
        "OME": checked("Series", {"series": list(paths)}, version),
    }


def plate_group(wells: PlateWells, version: NgffVersion) -> dict[str, Any]:
    """Return the attributes of the root of a plate."""
    rows = max(well.row for well in wells) + 1
    columns = max(well.column for well in wells) + 1
    if wells.plate is not None:
        rows, columns = max(rows, wells.plate.rows), max(columns, wells.plate.columns)
    most = max(well.fields for well in wells)
    plate = {
        "rows": [{"name": well_cell(row, 0)[0]} for row in range(rows)],
        "columns": [{"name": well_cell(0, column)[1]} for column in range(columns)],
        "wells": [
            {
                "path": "/".join(well_cell(well.row, well.column)),
                "rowIndex": well.row,
                "columnIndex": well.column,
            }
            for well in wells
        ],
        "acquisitions": [{"id": 0, "maximumfieldcount": most}],
        "field_count": most,
    }
    if wells.plate is not None and wells.plate.name:
        plate["name"] = wells.plate.name
    made = checked("Plate", {"plate": plate}, version)
    # yaozarrs leaves it out of 0.5, where other validators miss it.
    made.get("ome", made)["plate"]["version"] = version
    return made


def well_groups(wells: PlateWells, version: NgffVersion) -> dict[str, dict[str, Any]]:
    """Return the attributes of the groups of rows and wells, by path."""
    made: dict[str, dict[str, Any]] = {}
    for well in wells:
        row, column = well_cell(well.row, well.column)
        images = [{"path": str(n), "acquisition": 0} for n in range(well.fields)]
        made[row] = {}
        made[f"{row}/{column}"] = checked("Well", {"well": {"images": images}}, version)
    return made


def checked(
    model: str, content: Mapping[str, Any], version: NgffVersion
) -> dict[str, Any]:
    """Return attributes of a group, after a model of yaozarrs has checked them.

    Parameters
    ----------
    model
        Its name.
    content
        What the group says, without the version.
    version
        0.5 has all of it, and the version, under ``ome``.
    """
    from yaozarrs import v04, v05

    module = v05 if version == "0.5" else v04
    found: dict[str, Any] = (
        getattr(module, model)
        .model_validate(dict(content))
        .model_dump(exclude_none=True, by_alias=True, mode="json")
    )
    return {"ome": {"version": version, **found}} if version == "0.5" else found


def node_names(names: Sequence[str]) -> list[str]:
    """Return names for groups: of letters that paths and URLs can have, each once.

    Examples
    --------
    >>> node_names(["cells (1)", "cells 1", "", "cells_1"])
    ['cells_1', 'cells_1_2', 'label', 'cells_1_3']
    """
    made: list[str] = []
    counts: Counter[str] = Counter()
    for name in names:
        base = _RISKY.sub("_", name).strip("_.") or "label"
        found = base
        while found.lower() in {other.lower() for other in made}:
            counts[base] += 1
            found = f"{base}_{counts[base] + 1}"
        made.append(found)
    return made
