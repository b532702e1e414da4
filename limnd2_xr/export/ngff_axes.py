"""Axes of an image in OME-Zarr: units, steps, and where the image lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.arrays.attrs import document_of
from limnd2_xr.arrays.ngff import UNITS, Axis
from limnd2_xr.arrays.units import has_unit, in_unit, stated_step
from limnd2_xr.errors import warn_user
from limnd2_xr.export.ngff_layout import AXES

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from limnd2_xr.arrays.units import Unit

__all__ = ["Axis", "axes_of", "report_axes"]

_EVEN: Final = 1e-3
"""Steps that differ by less than this of their mean are alike."""
_STEPS: Final = {"X": "pixel_size_um", "Y": "pixel_size_um", "Z": "z_step_um"}
"""Attributes with the step of an axis of length 1."""


def axes_of(image: xr.DataArray) -> tuple[Axis, ...]:
    """Return the axes of an image, in the order of OME-Zarr: C always.

    Space is where the stage was: the centre of the camera's frame lies at the recorded
    (else the set) position of the first frame, with the axes of the image. Without one
    it begins at the labels of Y and X.

    Parameters
    ----------
    image
        Of one position.
    """
    # There always is a channel, as what is said of channels needs one.
    return tuple(_axis(image, dim) for dim in AXES if dim in image.dims or dim == "C")


def _axis(image: xr.DataArray, dim: str) -> Axis:
    if dim == "C" or dim not in image.coords:
        return Axis(dim=dim)
    coordinate = image.coords[dim]
    if coordinate.dtype.kind not in "iufm":
        return Axis(dim=dim)
    unit: Unit = "s" if dim == "T" else "um"
    known = has_unit(coordinate)
    labels = in_unit(coordinate, unit) if known else coordinate.values.astype(float)
    scale = _step(image, dim, labels)
    start = float(np.nan_to_num(labels.min()))
    if known and dim != "T":
        start += _offset(image, dim, labels, scale)
    shown = UNITS[unit] if known else None
    return Axis(dim=dim, unit=shown, scale=scale, start=start)


def _step(image: xr.DataArray, dim: str, labels: NDArray[np.float64]) -> float:
    if len(labels) > 1:
        step = abs(float(labels[-1] - labels[0])) / (len(labels) - 1)
    else:
        name = _STEPS.get(dim)
        step = (stated_step(image, name) if name else None) or 1.0
    return step if np.isfinite(step) and step > 0 else 1.0


def _offset(
    image: xr.DataArray, dim: str, labels: NDArray[np.float64], step: float
) -> float:
    """Return where the stage was, less what the labels say of that place."""
    name = dim.lower()
    for coordinate in (f"stage_{name}", f"position_{name}"):
        if coordinate not in image.coords:
            continue
        # Of the first frame, which of a stack is the first plane, not the home plane.
        values = in_unit(image.coords[coordinate], "um")
        stage = float(values.ravel()[0]) if values.size else np.nan
        if not np.isfinite(stage):
            continue
        if dim == "Z":
            return stage - float(labels[0]) if coordinate == "stage_z" else stage
        return stage - (_full_size(image, dim) - 1) / 2 * _full_step(image, step)
    return 0.0


def _full_size(image: xr.DataArray, dim: str) -> int:
    """Pixels of the camera's frame, of which the image may be a part."""
    document = document_of(image.attrs)
    if document is None:
        return image.sizes[dim]
    return document.attributes.height if dim == "Y" else document.attributes.width


def _full_step(image: xr.DataArray, step: float) -> float:
    document = document_of(image.attrs)
    return (document.optics.pixel_size_um if document else None) or step


def report_axes(image: xr.DataArray) -> None:
    """Warn of labels that a positive scale and a start cannot express.

    Warns
    -----
    Nd2Warning
        If planes go downwards, or steps differ.
    """
    for dim in AXES:
        if dim == "C" or dim not in image.coords or image.sizes.get(dim, 1) < 2:
            continue
        coordinate = image.coords[dim]
        if coordinate.dtype.kind not in "iuf" or not has_unit(coordinate):
            continue
        steps = np.diff(coordinate.values.astype(np.float64))
        mean = float(steps.mean())
        if mean < 0:
            warn_user(
                f"{dim} goes downwards, which OME-Zarr cannot say: the order is kept, "
                f"and coordinates along {dim} go upwards from the lowest; export "
                f".isel({dim}=slice(None, None, -1)) for true ones"
            )
        if np.abs(steps - mean).max() > _EVEN * abs(mean):
            warn_user(
                f"steps along {dim} are from {np.abs(steps).min():.6g} to "
                f"{np.abs(steps).max():.6g}, and OME-Zarr has one for all: "
                f"{abs(mean):.6g}"
            )
