"""What ImageJ and plain TIFF files say of their pixels, in terms of our dataset."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from limnd2_xr.arrays.units import in_unit
from limnd2_xr.conversion.ome_described import axis, z_axis
from limnd2_xr.model.channels import unique_names

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["describe_imagej", "plain_pixel_size"]

_CENTIMETER: Final = 3
_SLICE: Final = re.compile(r"^(?:[czt]:\d+/\d+\s*)+-?\s*")


def describe_imagej(
    metadata: Mapping[str, Any],
    resolution: tuple[float, float],
    sizes: Mapping[str, int],
) -> tuple[dict[str, xr.Variable], dict[str, Any], tuple[str, ...]]:
    """Return coordinates, attributes, and what has no place.

    Parameters
    ----------
    metadata
        Of ImageJ, as tifffile gives them.
    resolution
        Pixels in a unit of length, along X and Y.
    sizes
        Of the pixels, by dim.
    """
    coords: dict[str, xr.Variable] = {}
    notes: list[str] = []
    unit = _unit(str(metadata.get("unit") or ""))
    if unit not in {"", "pixel", "pixels"}:
        try:
            um = float(in_unit(xr.DataArray(1.0, attrs={"units": unit}), "um"))
        except ValueError:
            notes.append(f"pixel size and spacing (in {unit!r})")
        else:
            for dim, density in zip("XY", resolution, strict=True):
                if density > 0:
                    edge = round(um / density, 12)
                    coords[dim] = axis(dim, np.arange(sizes[dim]) * edge, "um")
            spacing = float(metadata.get("spacing") or 0.0)
            if spacing and "Z" in sizes:
                coords["Z"] = z_axis(sizes["Z"], spacing * um)
    interval = float(metadata.get("finterval") or 0.0)
    if interval > 0 and "T" in sizes:
        stated = str(metadata.get("tunit") or "s")
        try:
            factor = float(in_unit(xr.DataArray(1.0, attrs={"units": stated}), "s"))
        except ValueError:
            notes.append(f"time step (in {stated!r})")
        else:
            coords["T"] = axis("T", np.arange(sizes["T"]) * interval * factor, "s")
    coords |= _channels(metadata, sizes)
    attrs = {}
    info = str(metadata.get("Info") or "").strip()
    if info:
        attrs["description"] = info
    unkept = [name for name in ("ROI", "Overlays") if metadata.get(name)]
    notes += [f"{name} of ImageJ" for name in unkept]
    return coords, attrs, tuple(notes)


def plain_pixel_size(resolution: tuple[float, float], unit: int) -> float | None:
    """Return the edge of a pixel in um that a TIFF file states, None if there is none.

    Pixels in a centimetre are of a microscope; those in an inch are for printing.
    """
    if unit != _CENTIMETER or resolution[0] != resolution[1] or resolution[0] <= 1:
        return None
    return round(10_000.0 / resolution[0], 12)


def _unit(text: str) -> str:
    """Return a unit in which ImageJ may have escaped the letter mu."""
    return text.replace("\\u00B5", "\u00b5").strip()


def _channels(
    metadata: Mapping[str, Any], sizes: Mapping[str, int]
) -> dict[str, xr.Variable]:
    count = sizes.get("C", 1)
    coords: dict[str, xr.Variable] = {}
    if "S" in sizes:
        return coords
    names = _labels(metadata.get("Labels"), sizes)
    if names:
        coords["C"] = xr.Variable("C", unique_names(names))
    tables = metadata.get("LUTs")
    if isinstance(tables, list) and len(tables) == count:
        ends = [np.asarray(table)[:, -1].tolist() for table in tables]
        coords["color"] = xr.Variable(
            "C", ["#{:02x}{:02x}{:02x}".format(*end) for end in ends]
        )
    ranges = metadata.get("Ranges")
    if isinstance(ranges, tuple) and len(ranges) == 2 * count:
        coords["display_min"] = xr.Variable("C", np.array(ranges[::2], np.float64))
        coords["display_max"] = xr.Variable("C", np.array(ranges[1::2], np.float64))
    return coords


def _labels(labels: Any, sizes: Mapping[str, int]) -> list[str]:
    """Names of channels, if the labels of slices tell these and nothing else."""
    count = sizes.get("C", 1)
    if not isinstance(labels, list) or count < 2:
        return []
    plain = [_SLICE.sub("", str(label)).strip() for label in labels]
    names = plain[:count]
    repeats = all(plain[i : i + count] == names for i in range(0, len(plain), count))
    return names if all(names) and len(set(names)) == count and repeats else []
