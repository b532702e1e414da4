"""What OME-Zarr says of an image, in terms of our dataset."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from limnd2_xr.arrays.attrs import METADATA_ATTR
from limnd2_xr.arrays.units import in_unit
from limnd2_xr.conversion.ome_described import axis, document_coords, z_axis
from limnd2_xr.errors import Nd2Error
from limnd2_xr.model.channels import unique_names
from limnd2_xr.model.document import Nd2Document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from limnd2_xr.arrays.units import Unit
    from limnd2_xr.conversion.source_image import SourceImage

__all__ = [
    "axis_name",
    "described_by_own",
    "is_colour_image",
    "omero_coords",
    "placed_coords",
    "placement",
]

_HEX: Final = frozenset("0123456789abcdefABCDEF")
_OWN: Final = "limnd2_xr"
"""Attribute in which our exports keep what OME-Zarr has no place for."""


def axis_name(axis: Any) -> str:
    """Return the name of an axis, which before version 0.4 is all that is told."""
    return str(axis["name"] if isinstance(axis, dict) else axis)


def placement(
    inner: Sequence[Any], outer: Sequence[Any], ndim: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Put transformations together: first those of a level, then of all levels.

    Parameters
    ----------
    inner, outer
        ``coordinateTransformations`` of the dataset and of the multiscale.
    ndim
        Of the array.

    Returns
    -------
    tuple of numpy.ndarray
        Scale and translation along each axis.
    """
    scale, shift = np.ones(ndim), np.zeros(ndim)
    for step in (*inner, *outer):
        match step.get("type"):
            case "scale":
                factor = np.asarray(step["scale"], np.float64)
                scale, shift = scale * factor, shift * factor
            case "translation":
                shift = shift + np.asarray(step["translation"], np.float64)
    return scale, shift


def placed_coords(
    axes: Sequence[tuple[str, Any, float, float]], sizes: Mapping[str, int]
) -> tuple[dict[str, xr.Variable], list[str]]:
    """Return coordinates of what scale and translation say, and what is left out.

    Parameters
    ----------
    axes
        Dim, metadata, scale and translation of each axis of time and space.
    sizes
        Of the pixels, by dim.
    """
    coords: dict[str, xr.Variable] = {}
    notes = []
    moved = []
    for dim, metadata, scale, shift in axes:
        stated = str(metadata.get("unit") or "") if isinstance(metadata, dict) else ""
        unit: Unit = "s" if dim == "T" else "um"
        if not stated:
            if scale != 1.0:
                notes.append(f"scale {scale:g} along {dim} (without a unit)")
            continue
        try:
            step, begin = in_unit(
                xr.DataArray([scale, shift], dims="_", attrs={"units": stated}), unit
            ).tolist()
        except ValueError:
            notes.append(f"scale {scale:g} along {dim} (in {stated!r})")
            continue
        values = np.arange(sizes[dim]) * step
        if dim == "Z":
            coords |= _slices(values, begin, step)
            continue
        coords[dim] = axis(dim, values, unit)
        if begin and dim == "T":
            coords["time"] = xr.Variable("T", values + begin, {"units": "s"})
        elif begin:
            moved.append(dim)
    if moved:
        notes.append(f"translation along {' and '.join(moved)}")
    return coords, notes


def _slices(
    values: NDArray[np.float64], begin: float, step: float
) -> dict[str, xr.Variable]:
    """Heights of slices: around 0 they count from the home plane, else as the stage."""
    heights = values + begin
    if begin and heights.min() <= 0 <= heights.max():
        return {"Z": axis("Z", heights, "um")}
    coords = {"Z": z_axis(len(values), step)}
    if begin:
        coords["stage_z"] = xr.Variable("Z", heights, {"units": "um"})
    return coords


def omero_coords(omero: Any, count: int) -> dict[str, xr.Variable]:
    """Return coordinates of what ``omero`` says of channels, if it is of so many.

    Parameters
    ----------
    omero
        Of the image, None without one.
    count
        Channels of the pixels.
    """
    channels = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(channels, list) or len(channels) != count:
        return {}
    coords: dict[str, xr.Variable] = {}
    names = [str(channel.get("label") or "") for channel in channels]
    if any(names):
        filled = [name or f"Channel_{i}" for i, name in enumerate(names)]
        coords["C"] = xr.Variable("C", unique_names(filled))
    colors = [str(channel.get("color") or "").lstrip("#")[:6] for channel in channels]
    if all(len(color) == 6 and set(color) <= _HEX for color in colors):
        coords["color"] = xr.Variable("C", [f"#{color.lower()}" for color in colors])
    windows = [channel.get("window") or {} for channel in channels]
    if all("start" in window and "end" in window for window in windows):
        for name, key in (("display_min", "start"), ("display_max", "end")):
            values = [float(window[key]) for window in windows]
            coords[name] = xr.Variable("C", values)
    return coords


def is_colour_image(attrs: Mapping[str, Any]) -> bool:
    """Whether our export says that three channels are the colours of one image.

    Parameters
    ----------
    attrs
        Of the root of a store.
    """
    own = attrs.get(_OWN)
    document = own.get(METADATA_ATTR) if isinstance(own, dict) else None
    channels = document.get("channels") if isinstance(document, dict) else None
    if not isinstance(channels, list) or len(channels) != 1:
        return False
    return isinstance(channels[0], dict) and channels[0].get("component_count") == 3


def described_by_own(image: SourceImage, attrs: Mapping[str, Any]) -> SourceImage:
    """Return an image with what our exports keep beside OME-Zarr's own metadata.

    Parameters
    ----------
    image
        Of a store; what is known of it already stays.
    attrs
        Of its group, or of the root.
    """
    own = attrs.get(_OWN)
    if not isinstance(own, dict):
        return image
    told = own.get("attributes")
    found = dict(told) if isinstance(told, dict) else {}
    coords = dict(image.coords)
    notes = image.notes
    if METADATA_ATTR in own:
        try:
            document = Nd2Document.from_json(json.dumps(own[METADATA_ATTR]))
        except Nd2Error as error:
            notes = (*notes, f"document of the .nd2 file ({error})")
        else:
            found[METADATA_ATTR] = document.to_json()
            coords |= document_coords(document, coords)
    return replace(image, coords=coords, attrs={**found, **image.attrs}, notes=notes)
