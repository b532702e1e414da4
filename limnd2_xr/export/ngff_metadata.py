"""Metadata of the groups of an OME-Zarr, checked by the models of yaozarrs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from limnd2_xr.arrays.ngff import (
    multiscales_entry,
    node_names,
    plate_content,
    well_cell,
    well_content,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from limnd2_xr.arrays.ngff import Axis
    from limnd2_xr.arrays.plate import PlateWells
    from limnd2_xr.export.export_journal import Found
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
        How smaller copies are made; not told where there are none.
    """
    entry = multiscales_entry(
        name, axes, {str(level): _factors(sizes, level) for level in range(len(sizes))}
    )
    if len(sizes) == 1:
        return entry
    description = (
        "mean of 2 x 2 pixels, halves to the even neighbour"
        if method == "mean"
        else "first of 2 x 2 pixels"
    )
    return {**entry, "type": method, "metadata": {"description": description}}


def _factors(sizes: Sequence[tuple[int, int]], level: int) -> dict[str, int]:
    """Pixels of the image along one of a level: a single row is not halved any further."""
    lengths = zip(*sizes[:level], strict=True) if level else ((), ())
    return {
        dim: 2 ** sum(1 for n in along if n > 1)
        for dim, along in zip(("Y", "X"), lengths, strict=True)
    }


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
    known = wells.plate
    plate = plate_content(
        {(well.row, well.column): well.fields for well in wells},
        name=known.name if known else "",
        rows=known.rows if known else 0,
        columns=known.columns if known else 0,
    )
    made = checked("Plate", {"plate": plate}, version)
    # yaozarrs leaves it out of 0.5, where other validators miss it.
    made.get("ome", made)["plate"]["version"] = version
    return made


def well_groups(wells: PlateWells, version: NgffVersion) -> dict[str, dict[str, Any]]:
    """Return the attributes of the groups of rows and wells, by path."""
    made: dict[str, dict[str, Any]] = {}
    for well in wells:
        row, column = well_cell(well.row, well.column)
        content = {"well": well_content(well.fields)}
        made[row] = {}
        made[f"{row}/{column}"] = checked("Well", content, version)
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
