"""Coordinates of the dataset, from the model: one function for each kind."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr
from xarray.core import indexing

from limnd2_xr.arrays.lazy import ComputedArray, PerFrameArray
from limnd2_xr.damage import DamageReport
from limnd2_xr.frames.display import ranges_in
from limnd2_xr.model.channels import channel_names, unique_names
from limnd2_xr.model.display import DISPLAY
from limnd2_xr.model.experiment import XYPositionLoop
from limnd2_xr.model.positions import (
    StagePositions,
    stage_positions,
    z_coordinate,
)
from limnd2_xr.model.times import acquired, frame_times, time_coordinate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from limnd2_xr.arrays.lazy import StoreManager
    from limnd2_xr.frames.store import FrameStore, StoreState
    from limnd2_xr.model.wells import PositionWells

__all__ = ["DISPLAY_COORDS", "WELL_COORDS", "coordinates", "well_variables"]

DISPLAY_COORDS: Final = ("display_min", "display_max", "gamma")
"""Coordinates along C that tell how the image is shown."""

WELL_COORDS: Final = ("well", "well_row", "well_column", "field")
"""Coordinates along P that tell of wells."""

_LONG_NAMES: Final = {
    "display_min": "value shown darkest",
    "display_max": "value shown brightest",
    "gamma": "exponent of the display curve",
    "well": "well",
    "well_row": "row of the well, counted from 0",
    "well_column": "column of the well, counted from 0",
    "field": "number of the position in its well, counted from 0",
}


def coordinates(
    state: StoreState,
    manager: StoreManager | None,
    skip: frozenset[str] = frozenset(),
) -> dict[str, xr.Variable]:
    """All coordinates of the image as variables by name.

    Parameters
    ----------
    state
        What opening the file found out.
    manager
        For values that lie with the frames and are read when asked for; None where
        there are no frames yet.
    skip
        Names to leave out.
    """
    document, axes, records = state.document, state.axes, state.records
    stage = stage_positions(document, axes, records)
    times = frame_times(document, axes, records)
    made = {
        **_times(state, manager, times),
        **_stage(state, stage),
        **_along_loops(state, stage, times),
        **_wells(state),
        **_per_channel(state),
        **_display(state, manager),
        **_in_plane(state),
    }
    return {name: variable for name, variable in made.items() if name not in skip}


def _times(
    state: StoreState,
    manager: StoreManager | None,
    known: NDArray[np.float64],
) -> dict[str, xr.Variable]:
    dims, shape = state.axes.dims, state.axes.shape
    times: Any = known
    if state.records.has_times or not state.table.numbers.size or manager is None:
        taken: Any = acquired(state.document, state.axes, known)
    else:
        # Without a cache the times lie with the frames: a read each, so only on demand.
        times = _lazily(manager, _stored_times, shape, "float64")
        taken = _lazily(manager, _stored_acquired, shape, "datetime64[ns]")
    time = _variable(dims, times, "time since the start of the acquisition", "s")
    moment = _variable(dims, taken, "time of capture (UTC)")
    moment.encoding = {"units": "microseconds since 1970-01-01", "dtype": "int64"}
    return {"time": time, "acquired": moment}


def _stage(state: StoreState, stage: StagePositions) -> dict[str, xr.Variable]:
    dims = state.axes.dims
    made = {
        f"stage_{axis}": _variable(
            dims, getattr(stage, axis), f"stage {axis.upper()} position", "um"
        )
        for axis in "xyz"
    }
    missing = state.table.missing
    if len(missing):
        flags = np.isin(state.axes.sequence(), missing)
        made["missing"] = _variable(dims, flags, "frame is not in the file")
    return made


def _along_loops(
    state: StoreState, stage: StagePositions, times: NDArray[np.float64]
) -> dict[str, xr.Variable]:
    document, axes = state.document, state.axes
    made = {}
    for dim, length in zip(axes.dims, axes.shape, strict=True):
        if dim == "T":
            values, unit = time_coordinate(document, axes, times)
            name = "time" if unit else "time point"
            made["T"] = _variable(("T",), values, name, unit)
        elif dim == "Z":
            values, unit = z_coordinate(document, axes, stage.z)
            name = "distance from the home plane" if unit else "slice"
            made["Z"] = _variable(("Z",), values, name, unit)
        elif dim == "P":
            made |= _positions(state, length)
        else:
            made[dim] = _variable((dim,), np.arange(length), "index of the custom loop")
    return made


def _positions(state: StoreState, length: int) -> dict[str, xr.Variable]:
    """Names and places of the points; of loops in each other the inner one's place."""
    axes = state.axes
    names = [""] * length
    places = np.full((length, 3), np.nan)
    is_told = False
    for place in axes.loops_along("P"):
        loop = axes.loop(place, state.document.experiment.loops)
        if not isinstance(loop, XYPositionLoop):
            continue
        is_told = True
        for i, k in enumerate(axes.loop_index(place).tolist()):
            if k < len(loop.points):
                point = loop.points[k]
                names[i] = " ".join(name for name in (names[i], point.name) if name)
                places[i] = [
                    np.nan if v is None else v
                    for v in (point.x_um, point.y_um, point.z_um)
                ]
    labels: NDArray[Any] = np.arange(length)
    if any(names):
        labels = _texts(unique_names([name or str(i) for i, name in enumerate(names)]))
    made = {"P": _variable(("P",), labels, "position")}
    for axis, values in zip("xyz", places.T, strict=True) if is_told else ():
        name = f"stage {axis.upper()} of the position as set"
        made[f"position_{axis}"] = _variable(("P",), values.copy(), name, "um")
    return made


def _wells(state: StoreState) -> dict[str, xr.Variable]:
    if state.wells is None:
        return {}
    return well_variables(state.wells, state.axes.dims)


def well_variables(wells: PositionWells, dims: Sequence[str]) -> dict[str, xr.Variable]:
    """Return the coordinates of positions that are in wells.

    Parameters
    ----------
    wells
        Well of each position.
    dims
        Dims of the image; without P the coordinates are scalars.
    """
    columns = (wells.name, wells.row, wells.column, wells.field)
    values = dict(zip(WELL_COORDS, columns, strict=True))
    if "P" in dims:
        return {
            name: _variable(("P",), v, _LONG_NAMES[name]) for name, v in values.items()
        }
    return {
        name: _variable((), np.asarray(v[0]), _LONG_NAMES[name])
        for name, v in values.items()
    }


def _display(state: StoreState, manager: StoreManager | None) -> dict[str, xr.Variable]:
    """How each channel is shown, where the file says: read when it is asked for."""
    if manager is None or DISPLAY not in state.chunks:
        return {}
    shape = (state.table.layout.channels,)
    made = {}
    for row, name in enumerate(DISPLAY_COORDS):
        if state.display is None:
            values = _lazily(manager, partial(_stored_ranges, row), shape, "float64")
        else:
            held = partial(_held_ranges, state, row)
            array = ComputedArray(held, shape, np.dtype(np.float64))
            values = indexing.LazilyIndexedArray(array)
        made[name] = _variable(("C",), values, _LONG_NAMES[name])
    return made


def _per_channel(state: StoreState) -> dict[str, xr.Variable]:
    channels = state.document.channels
    made = {"C": _variable(("C",), _texts(channel_names(channels)), "channel")}
    numbers = {
        "emission_wavelength": ("emission_nm", "nm"),
        "excitation_wavelength": ("excitation_nm", "nm"),
        "exposure_time": ("exposure_s", "s"),
        "pinhole_diameter": ("pinhole_um", "um"),
    }
    for name, (field, unit) in numbers.items():
        values = [getattr(channel, field) for channel in channels]
        floats = np.array(
            [np.nan if v is None else v for v in values], dtype=np.float64
        )
        made[name] = _variable(("C",), floats, name.replace("_", " "), unit)
    texts = {
        "color": [channel.color for channel in channels],
        "modality": [channel.modality for channel in channels],
        "binning": [channel.binning or "" for channel in channels],
        "camera": [channel.camera for channel in channels],
    }
    for name, strings in texts.items():
        made[name] = _variable(("C",), _texts(strings), name)
    return made


def _in_plane(state: StoreState) -> dict[str, xr.Variable]:
    layout, pixel_um = state.table.layout, state.document.optics.pixel_size_um
    made = {}
    for dim, length in (("Y", layout.height), ("X", layout.width)):
        values = np.arange(length, dtype=np.float64)
        if pixel_um is None:
            made[dim] = _variable((dim,), values, "pixel")
        else:
            made[dim] = _variable(
                (dim,), values * pixel_um, "distance in the image", "um"
            )
    if layout.samples > 1:
        made["S"] = _variable(("S",), _texts(["R", "G", "B"]), "color component")
    return made


def _variable(
    dims: Sequence[str], values: Any, long_name: str, units: str | None = None
) -> xr.Variable:
    attrs = {"long_name": long_name} | ({"units": units} if units else {})
    # Arrays as xarray has them itself: it need not look what they are.
    return xr.Variable(tuple(dims), values, attrs, fastpath=True)


def _texts(texts: Sequence[str]) -> NDArray[np.str_]:
    return np.array(texts, dtype=np.str_)


def _lazily(
    manager: StoreManager,
    compute: Any,
    shape: tuple[int, ...],
    dtype: str,
) -> indexing.LazilyIndexedArray:
    array = PerFrameArray(manager, compute, shape, np.dtype(dtype))
    return indexing.LazilyIndexedArray(array)


def _stored_times(store: FrameStore) -> NDArray[np.float64]:
    """Return the times that lie with the frames, those of the loops where they do not."""
    records = store.records.with_times(store.read_times())
    return frame_times(store.document, store.axes, records)


def _stored_acquired(store: FrameStore) -> NDArray[np.datetime64]:
    return acquired(store.document, store.axes, _stored_times(store))


def _held_ranges(state: StoreState, row: int) -> NDArray[np.float64]:
    """Return the same of a chunk that was read when the file was opened."""
    payload, layout = state.display or b"", state.table.layout
    with DamageReport(state.spec.name, state.on_damage):
        found = ranges_in(payload, state.document.attributes, layout, state.spec.name)
    row_of: NDArray[np.float64] = found[row]
    return row_of


def _stored_ranges(row: int, store: FrameStore) -> NDArray[np.float64]:
    """Return minima, maxima or gammas of the channels."""
    found: NDArray[np.float64] = store.read_ranges()[row]
    return found
