"""OME-Zarr 0.5 attributes of what is in a file: multiscales, omero, plates, labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.model.display import DISPLAY
from limnd2_xr.model.plates import well_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr

    from limnd2_xr.frames.store import FrameStore

__all__ = [
    "VERSION",
    "NgffImage",
    "PlacedPosition",
    "label_attributes",
    "omero",
    "plate_attributes",
    "row_name",
    "well_attributes",
]

VERSION: Final = "0.5"

_KINDS: Final = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_UNITS: Final = {"s": "second", "um": "micrometer"}
_COMPONENTS: Final = (("Blue", "0000FF"), ("Green", "00FF00"), ("Red", "FF0000"))
"""Components of an RGB channel as they are stored (FORMAT 6.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedPosition:
    """Where on a plate a position is."""

    row: int
    """Row of its well, counted from 0."""
    column: int
    """Column of its well, counted from 0."""
    field: int
    """Number of the position in its well, counted from 0."""

    @property
    def path(self) -> str:
        """Path of its image."""
        return f"{row_name(self.row)}/{self.column + 1}/{self.field}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NgffImage:
    """Axes of an image and how far apart its pixels are."""

    name: str
    axes: tuple[str, ...]
    """Of ``t``, ``c``, ``z``, ``y``, ``x`` those that it has, in this order."""
    scale: tuple[float, ...]
    """Distance of neighbours along each axis; 1 where it is not known."""
    units: Mapping[str, str]
    """Of axes whose distances are known."""

    @classmethod
    def of(
        cls, name: str, axes: Sequence[str], coords: Mapping[str, xr.Variable]
    ) -> NgffImage:
        """Take scales from coordinates.

        Parameters
        ----------
        name
            What the image is called.
        axes
            Its axes.
        coords
            Coordinates of the file by name.
        """
        scales, units = [], {}
        for axis in axes:
            step, unit = _step(coords.get(axis.upper()))
            scales.append(step)
            if unit is not None:
                units[axis] = unit
        return cls(name=name, axes=tuple(axes), scale=tuple(scales), units=units)

    def multiscale(self, levels: Sequence[int] = (0,)) -> dict[str, Any]:
        """Return the entry of ``multiscales``.

        Parameters
        ----------
        levels
            How often each dataset is halved, which is also its path.
        """
        axes = []
        for axis in self.axes:
            entry = {"name": axis, "type": _KINDS[axis]}
            if axis in self.units:
                entry["unit"] = self.units[axis]
            axes.append(entry)
        return {
            "name": self.name,
            "axes": axes,
            "datasets": [
                {"path": str(level), "coordinateTransformations": self._place(level)}
                for level in levels
            ],
        }

    def _place(self, level: int) -> list[dict[str, Any]]:
        factor = 2.0**level
        halved = [axis in {"y", "x"} for axis in self.axes]
        scale = [
            s * factor if h else s for s, h in zip(self.scale, halved, strict=True)
        ]
        transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if level:
            # The first pixel is the mean of several: it lies between them.
            shift = [
                s * (factor - 1) / 2 if h else 0.0
                for s, h in zip(self.scale, halved, strict=True)
            ]
            transforms.append({"type": "translation", "translation": shift})
        return transforms


def _step(coordinate: xr.Variable | None) -> tuple[float, str | None]:
    """Mean distance of neighbours and its unit; 1 without a unit where not known."""
    unit = None if coordinate is None else _UNITS.get(coordinate.attrs.get("units", ""))
    if coordinate is None or unit is None:
        return 1.0, None
    values = np.asarray(coordinate.values, dtype=np.float64)
    if len(values) < 2:
        return 1.0, unit
    step = abs(float(values[-1] - values[0])) / (len(values) - 1)
    return (step, unit) if math.isfinite(step) and step > 0 else (1.0, unit)


def omero(store: FrameStore, coords: Mapping[str, xr.Variable]) -> dict[str, Any]:
    """Return how channels are shown: names, colours and ranges.

    Parameters
    ----------
    store
        The open file.
    coords
        Its coordinates by name.
    """
    layout, attributes = store.table.layout, store.document.attributes
    names, colors = coords["C"].values.tolist(), coords["color"].values.tolist()
    ranges = np.full((2, layout.channels), np.nan)
    if DISPLAY in store.state.chunks:
        ranges = store.read_ranges()[:2]
    top = 1.0
    if layout.dtype.kind != "f":
        top = float(2**attributes.bits_significant - 1)
    channels = []
    for name, color, low, high in zip(names, colors, *ranges.tolist(), strict=True):
        for label, shown in _shown(name, color, layout.samples, layout.channels):
            known = math.isfinite(low) and math.isfinite(high) and low < high
            start, end = (low, high) if known else (0.0, top)
            channels.append(
                {
                    "label": label,
                    "color": shown,
                    "active": True,
                    "coefficient": 1.0,
                    "family": "linear",
                    "inverted": False,
                    "window": {
                        "min": min(0.0, start),
                        "max": max(top, end),
                        "start": start,
                        "end": end,
                    },
                }
            )
    middle = store.axes.size("Z") // 2
    return {
        "channels": channels,
        "rdefs": {"defaultT": 0, "defaultZ": middle, "model": "color"},
    }


def _shown(name: str, color: str, samples: int, channels: int) -> list[tuple[str, str]]:
    """Label and colour of each component of a channel."""
    if samples == 1:
        return [(name, color.removeprefix("#").upper())]
    prefix = f"{name} " if channels > 1 else ""
    return [(f"{prefix}{label}", shown) for label, shown in _COMPONENTS]


def plate_attributes(name: str, positions: Sequence[PlacedPosition]) -> dict[str, Any]:
    """Return the attributes of a plate.

    Parameters
    ----------
    name
        What the plate is called.
    positions
        All of its positions, and where they are.
    """
    n_rows = max(place.row for place in positions) + 1
    n_columns = max(place.column for place in positions) + 1
    wells = dict.fromkeys((place.row, place.column) for place in positions)
    fields = [place.field for place in positions]
    return {
        "version": VERSION,
        "plate": {
            "version": VERSION,
            "name": name,
            "rows": [{"name": row_name(row)} for row in range(n_rows)],
            "columns": [{"name": str(column + 1)} for column in range(n_columns)],
            "wells": [
                {
                    "path": f"{row_name(row)}/{column + 1}",
                    "rowIndex": row,
                    "columnIndex": column,
                }
                for row, column in sorted(wells)
            ],
            "field_count": max(fields) + 1,
        },
    }


def well_attributes(fields: int) -> dict[str, Any]:
    """Return the attributes of a well with so many positions."""
    images = [{"path": str(field)} for field in range(fields)]
    return {"version": VERSION, "well": {"version": VERSION, "images": images}}


def label_attributes(image: NgffImage, levels: Sequence[int]) -> dict[str, Any]:
    """Return the attributes of a label image with the levels of its image."""
    return {
        "version": VERSION,
        "multiscales": [image.multiscale(levels)],
        "image-label": {"source": {"image": "../../"}},
    }


def row_name(row: int) -> str:
    """Return the letters of a row of wells, counted from 0."""
    return well_name(row, 0).rstrip("0123456789")
