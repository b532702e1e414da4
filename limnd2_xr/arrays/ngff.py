"""Metadata of OME-Zarr that a file shown as zarr and one exported to it have in common."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from limnd2_xr.model.plates import well_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "UNITS",
    "Axis",
    "AxisType",
    "channel_entry",
    "multiscales_entry",
    "node_names",
    "plate_content",
    "rendering",
    "well_cell",
    "well_content",
]

AxisType: TypeAlias = Literal["time", "channel", "space"]

UNITS: Final = {"s": "second", "um": "micrometer"}
"""Units as OME-Zarr calls them."""

_RISKY: Final = re.compile(r"[^A-Za-z0-9._-]+")
_CELL: Final = re.compile(r"([A-Z]+)0*([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis of an image at full size."""

    dim: str
    """Of the dataset: T, C, Z, Y or X."""
    unit: str | None = None
    """``"second"``, ``"micrometer"``, or None where not known."""
    scale: float = 1.0
    """Distance from pixel to pixel, above 0."""
    start: float = 0.0
    """Coordinate of the centre of the first pixel."""

    @property
    def name(self) -> str:
        """In OME-Zarr."""
        return self.dim.lower()

    @property
    def type(self) -> AxisType:
        """What is along it."""
        return {"T": "time", "C": "channel"}.get(self.dim, "space")  # type: ignore[return-value]  # one of the three


def multiscales_entry(
    name: str, axes: Sequence[Axis], levels: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """Return the one entry of ``multiscales``.

    Parameters
    ----------
    name
        Of the image.
    axes
        Of the image at full size.
    levels
        How many pixels of it are one of a level, along Y and X, by the path of the level.

    Examples
    --------
    >>> axes = [Axis(dim="X", unit="micrometer", scale=0.5)]
    >>> entry = multiscales_entry("cells", axes, {"0": {}, "1": {"X": 2}})
    >>> entry["datasets"][1]["coordinateTransformations"]
    [{'type': 'scale', 'scale': [1.0]}, {'type': 'translation', 'translation': [0.25]}]
    """
    listed = []
    for axis in axes:
        entry: dict[str, Any] = {"name": axis.name, "type": axis.type}
        listed.append(entry | ({"unit": axis.unit} if axis.unit else {}))
    return {
        "name": name,
        "axes": listed,
        "datasets": [
            {"path": path, "coordinateTransformations": _place(axes, factors)}
            for path, factors in levels.items()
        ],
    }


def _place(axes: Sequence[Axis], factors: Mapping[str, int]) -> list[dict[str, Any]]:
    """Scale and translation of a level: centres of pixels that cover several."""
    scale, translation = [], []
    for axis in axes:
        factor = factors.get(axis.dim, 1)
        scale.append(axis.scale * factor)
        translation.append(axis.start + axis.scale * (factor - 1) / 2)
    return [
        {"type": "scale", "scale": scale},
        {"type": "translation", "translation": translation},
    ]


def channel_entry(
    label: str,
    color: str,
    limits: tuple[float, float],
    shown: tuple[float, float] | None,
) -> dict[str, Any]:
    """Return what ``omero`` says of a channel.

    Parameters
    ----------
    label
        Its name.
    color
        ``RRGGBB``.
    limits
        Values that a pixel can have.
    shown
        Values shown darkest and brightest; None where not known.
    """
    start, end = shown or limits
    return {
        "label": label,
        "color": color,
        "active": True,
        "coefficient": 1.0,
        "family": "linear",
        "inverted": False,
        "window": {
            "start": start,
            "end": end,
            "min": min(limits[0], start),
            "max": max(limits[1], end),
        },
    }


def rendering(planes: int, *, is_grey: bool = False) -> dict[str, Any]:
    """Return what ``omero`` says of where a viewer begins: the middle of a stack."""
    model = "greyscale" if is_grey else "color"
    return {"defaultT": 0, "defaultZ": planes // 2, "model": model}


def well_cell(row: int, column: int) -> tuple[str, str]:
    """Return the names of row and column of a well.

    Examples
    --------
    >>> well_cell(1, 2)
    ('B', '3')
    """
    found = _CELL.fullmatch(well_name(row, column))
    assert found is not None  # noqa: S101 - well_name writes nothing else
    return found[1], found[2]


def plate_content(
    wells: Mapping[tuple[int, int], int],
    *,
    name: str = "",
    rows: int = 0,
    columns: int = 0,
) -> dict[str, Any]:
    """Return what the root of a plate says of it.

    Parameters
    ----------
    wells
        Number of images by row and column, counted from 0; wells without are left out.
    name
        Of the plate, ``""`` for none.
    rows, columns
        Of the plate; the least that has the wells if that is more.
    """
    rows = max(rows, *(row + 1 for row, _ in wells))
    columns = max(columns, *(column + 1 for _, column in wells))
    most = max(wells.values())
    return {
        **({"name": name} if name else {}),
        "rows": [{"name": well_cell(row, 0)[0]} for row in range(rows)],
        "columns": [{"name": well_cell(0, column)[1]} for column in range(columns)],
        "wells": [
            {
                "path": "/".join(well_cell(row, column)),
                "rowIndex": row,
                "columnIndex": column,
            }
            for row, column in sorted(wells)
        ],
        "acquisitions": [{"id": 0, "maximumfieldcount": most}],
        "field_count": most,
    }


def well_content(fields: int) -> dict[str, Any]:
    """Return what the group of a well with so many images says of it."""
    return {"images": [{"path": str(n), "acquisition": 0} for n in range(fields)]}


def node_names(names: Iterable[str]) -> list[str]:
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
