"""Planes of an OME document: when and where each was taken, and how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.export.plane_values import plane_flags, plane_seconds, plane_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from numpy.typing import NDArray
    from ome_types import model as m

    from limnd2_xr.export.export_image import ExportImage, SinglePosition
    from limnd2_xr.export.recorded_values import RecordedValues

__all__ = ["dimension_order", "ome_planes"]

_EXPOSURE: Final = "Camera_ExposureTime1"
"""Column of the exposure of each frame, in ms."""
_SCANNING: Final = frozenset({"laserScanConfocal", "multiphoton"})


def dimension_order(plane_dims: Sequence[str]) -> Any:
    """Return the order in which planes are stored, the fastest dim first.

    Parameters
    ----------
    plane_dims
        Those of T and Z that there are, the slower first.

    Examples
    --------
    >>> (
    ...     dimension_order(("T", "Z")),
    ...     dimension_order(("T",)),
    ...     dimension_order(("Z", "T")),
    ... )
    ('XYCZT', 'XYCZT', 'XYCTZ')
    """
    return "XYCTZ" if tuple(plane_dims) == ("Z", "T") else "XYCZT"


def ome_planes(
    source: ExportImage,
    position: SinglePosition,
    recorded: Sequence[RecordedValues] = (),
) -> list[m.Plane]:
    """Planes of one image in storage order: times, exposures, stage positions.

    A plane that the file lacks has none of these.

    Parameters
    ----------
    source
        What is exported.
    position
        Which image of it.
    recorded
        Recorded columns of the frames.
    """
    from ome_types import model as m

    image = position.image
    stage = {axis: plane_values(image, f"stage_{axis}", "um") for axis in "xyz"}
    columns: dict[str, tuple[NDArray[np.float64] | None, str]] = {
        "delta_t": (plane_seconds(image, source.acquisition_start), "s"),
        "exposure_time": (_exposures(source, position, recorded), "s"),
        **{f"position_{axis}": (values, "µm") for axis, values in stage.items()},
    }
    missing = plane_flags(image, "missing")
    known = {
        name: (_listed(values, missing), unit)
        for name, (values, unit) in columns.items()
        if values is not None
    }
    dims = source.plane_dims
    sizes = [image.sizes[dim] for dim in dims]
    planes = []
    for number, (*at, channel) in enumerate(np.ndindex(*sizes, image.sizes["C"])):
        index = dict(zip(dims, at, strict=True))
        told: dict[str, Any] = {}
        for name, (values, unit) in known.items():
            value = values[number]
            if value is not None:
                told[name] = value
                told[f"{name}_unit"] = unit
        planes.append(
            m.Plane(
                the_z=index.get("Z", 0),
                the_t=index.get("T", 0),
                the_c=channel,
                **told,
            )
        )
    return planes


def _listed(
    values: NDArray[np.float64], missing: NDArray[np.bool_]
) -> list[float | None]:
    """Values plane by plane, None where there is none."""
    known = np.isfinite(values) & ~missing
    return [
        value if good else None
        for value, good in zip(
            values.ravel().tolist(), known.ravel().tolist(), strict=True
        )
    ]


def _exposures(
    source: ExportImage,
    position: SinglePosition,
    recorded: Sequence[RecordedValues],
) -> NDArray[np.float64] | None:
    """Seconds over planes: as recorded for each frame, else as set for the channel.

    A column holds one value a frame, so it tells nothing of several channels; scanners
    record the dwell time of something else there.
    """
    image: xr.DataArray = position.image
    told = plane_values(image, "exposure_time", "s")
    flags = {flag for channel in source.channels for flag in channel.modality_flags}
    column = next((c for c in recorded if c.id == _EXPOSURE and c.unit == "ms"), None)
    per_frame = "exposure_time" in image.coords and (
        set(image.coords["exposure_time"].dims) - {"C"}
    )
    if (
        column is None
        or per_frame
        or len(source.channels) != 1
        or flags & _SCANNING
        or source.is_edited("exposure_time")
    ):
        return told
    values = column.values.isel(position.index).astype(np.float64) / 1000.0
    values = values.transpose(*source.plane_dims).expand_dims("C", axis=-1)
    found: NDArray[np.float64] = values.values
    if not (np.isfinite(found) & (found > 0)).all():
        return told
    return found
