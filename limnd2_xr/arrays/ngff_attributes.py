"""OME-Zarr 0.5 attributes of what is in a file: multiscales, omero, plates, labels."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.arrays.ngff import (
    UNITS,
    Axis,
    channel_entry,
    multiscales_entry,
    plate_content,
    rendering,
    well_cell,
    well_content,
)
from limnd2_xr.model.display import DISPLAY

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
    "well_attributes",
]

VERSION: Final = "0.5"

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
        return "/".join((*well_cell(self.row, self.column), str(self.field)))


@dataclass(frozen=True, slots=True, kw_only=True)
class NgffImage:
    """Axes of an image and how far apart its pixels are."""

    name: str
    axes: tuple[Axis, ...]
    """Of T, C, Z, Y, X those that it has, in this order; it begins at 0 on each."""

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
            Names of its axes.
        coords
            Coordinates of the file by name.
        """
        found = (_axis(axis.upper(), coords.get(axis.upper())) for axis in axes)
        return cls(name=name, axes=tuple(found))

    def multiscale(self, levels: Sequence[int] = (0,)) -> dict[str, Any]:
        """Return the entry of ``multiscales``.

        Parameters
        ----------
        levels
            How often each dataset is halved, which is also its path.
        """
        halved = {str(level): dict.fromkeys("YX", 2**level) for level in levels}
        return multiscales_entry(self.name, self.axes, halved)


def _axis(dim: str, coordinate: xr.Variable | None) -> Axis:
    """Mean distance of neighbours and its unit; 1 without a unit where not known."""
    unit = None if coordinate is None else UNITS.get(coordinate.attrs.get("units", ""))
    if coordinate is None or unit is None:
        return Axis(dim=dim)
    values = np.asarray(coordinate.values, dtype=np.float64)
    if len(values) < 2:
        return Axis(dim=dim, unit=unit)
    step = abs(float(values[-1] - values[0])) / (len(values) - 1)
    is_known = math.isfinite(step) and step > 0
    return Axis(dim=dim, unit=unit, scale=step if is_known else 1.0)


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
        known = math.isfinite(low) and math.isfinite(high) and low < high
        channels += [
            channel_entry(label, shown, (0.0, top), (low, high) if known else None)
            for label, shown in _shown(name, color, layout.samples, layout.channels)
        ]
    return {"channels": channels, "rdefs": rendering(store.axes.size("Z"))}


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
    wells = Counter((place.row, place.column) for place in positions)
    plate = {"version": VERSION, **plate_content(wells, name=name)}
    return {"version": VERSION, "plate": plate}


def well_attributes(fields: int) -> dict[str, Any]:
    """Return the attributes of a well with so many positions."""
    return {"version": VERSION, "well": {"version": VERSION, **well_content(fields)}}


def label_attributes(image: NgffImage, levels: Sequence[int]) -> dict[str, Any]:
    """Return the attributes of a label image with the levels of its image."""
    return {
        "version": VERSION,
        "multiscales": [image.multiscale(levels)],
        "image-label": {"source": {"image": "../../"}},
    }
