"""Plates and wells of an OME document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.arrays.plate import wells_of
from limnd2_xr.arrays.units import in_unit
from limnd2_xr.export.xml_text import xml_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from numpy.typing import NDArray
    from ome_types import model as m

    from limnd2_xr.export.export_image import ExportImage, SinglePosition
    from limnd2_xr.model.plates import Plate

__all__ = ["ome_plates", "stage_label"]

_NUMBERED: Final = "0123456789"


def ome_plates(
    source: ExportImage, positions: Sequence[SinglePosition]
) -> list[m.Plate]:
    """Return the plate that the positions are on, with a sample for each of them.

    Parameters
    ----------
    source
        What is exported.
    positions
        All of it.

    Returns
    -------
    list of ome_types.model.Plate
        Empty if no position is in a well that has a row and a column.
    """
    from ome_types import model as m

    if "well" not in source.image.coords:
        return []
    found = wells_of(source.image)
    placed = [well for well in found if well.row >= 0 and well.column >= 0]
    if not placed:
        return []
    at: dict[int, list[SinglePosition]] = {}
    for position in positions:
        at.setdefault(position.index.get("P", 0), []).append(position)
    numbers = iter(range(len(positions)))
    wells = []
    for number, well in enumerate(placed):
        samples = [sample for place in well.positions for sample in at[place]]
        wells.append(
            m.Well(
                id=f"Well:0:{number}",
                row=well.row,
                column=well.column,
                external_description=xml_text(well.name),
                well_samples=[_sample(p, next(numbers)) for p in samples],
            )
        )
    return [_plate(found.plate, wells)]


def _sample(position: SinglePosition, number: int) -> m.WellSample:
    from ome_types import model as m

    places: dict[str, Any] = {
        f"position_{axis}": value
        for axis in "xy"
        if (value := place_um(position.image, axis)) is not None
    }
    units: dict[str, Any] = {f"{name}_unit": "µm" for name in places}
    return m.WellSample(
        id=f"WellSample:0:{number}",
        index=number,
        image_ref=m.ImageRef(id=f"Image:{position.number}"),
        **places,
        **units,
    )


def _plate(plate: Plate | None, wells: list[m.Well]) -> m.Plate:
    from ome_types import model as m

    told: dict[str, Any] = {}
    if plate is not None:
        told = {
            "name": xml_text(plate.name) or None,
            "rows": plate.rows or None,
            "columns": plate.columns or None,
            "row_naming_convention": _naming(plate.row_naming, "letter"),
            "column_naming_convention": _naming(plate.column_naming, "number"),
        }
    return m.Plate(id="Plate:0", wells=wells, **told)


def _naming(naming: str, usual: str) -> str:
    """How rows or columns are named, from the names of the first and the last."""
    first = naming.strip()[:1]
    if not first:
        return usual
    return "number" if first in _NUMBERED else "letter"


def place_um(image: xr.DataArray, axis: str) -> float | None:
    """Return where a position is: as set, else where the stage was first.

    Parameters
    ----------
    image
        Of the position.
    axis
        ``x``, ``y`` or ``z``.
    """
    for name in (f"position_{axis}", f"stage_{axis}"):
        if name in image.coords:
            values: NDArray[np.float64] = in_unit(image.coords[name], "um")
            known = values[np.isfinite(values)]
            if known.size:
                return float(known.ravel()[0])
    return None


def stage_label(source: ExportImage, position: SinglePosition) -> m.StageLabel | None:
    """Return name and place of a position; None where it has no name.

    Parameters
    ----------
    source
        What is exported.
    position
        Which image of it.
    """
    from ome_types import model as m

    name = source.position_label(position.index)
    if not name and "well" in position.image.coords:
        name = str(position.image.coords["well"].values)
    if not name:
        return None
    places: dict[str, Any] = {}
    for axis in "xyz":
        value = place_um(position.image, axis)
        if value is not None:
            places |= {axis: value, f"{axis}_unit": "µm"}
    return m.StageLabel(name=xml_text(name), **places)
