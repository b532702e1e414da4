"""Coordinates of the dataset, from the model: one function for each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from limnd2_xr.arrays.lazy import PerFrameArray
from limnd2_xr.model.channels import channel_names, unique_names
from limnd2_xr.model.experiment import XYPositionLoop
from limnd2_xr.model.positions import stage_positions, z_coordinate
from limnd2_xr.model.times import acquired, frame_times, time_coordinate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from xarray.backends import CachingFileManager

    from limnd2_xr.frames.store import FrameStore, StoreState

__all__ = ["coordinates"]


def coordinates(
    state: StoreState,
    manager: CachingFileManager[FrameStore],
    skip: frozenset[str] = frozenset(),
) -> dict[str, xr.Variable]:
    """All coordinates of the image as variables by name.

    Parameters
    ----------
    state
        What opening the file found out.
    manager
        For values that lie with the frames and are read when asked for.
    skip
        Names to leave out.
    """
    made = {
        **_per_frame(state, manager),
        **_along_loops(state),
        **_per_channel(state),
        **_in_plane(state),
    }
    return {name: variable for name, variable in made.items() if name not in skip}


def _per_frame(
    state: StoreState, manager: CachingFileManager[FrameStore]
) -> dict[str, xr.Variable]:
    document, axes, records = state.document, state.axes, state.records
    dims = axes.dims
    stage = stage_positions(document, axes, records)
    made = {}
    times: Any
    taken: Any
    if records.has_times or not state.table.numbers.size:
        times = frame_times(document, axes, records)
        taken = acquired(document, axes, times)
    else:
        # Without a cache the times lie with the frames: a read each, so only on demand.
        times = _lazily(manager, _stored_times, axes.shape, "float64")
        taken = _lazily(manager, _stored_acquired, axes.shape, "datetime64[ns]")
    made["time"] = _variable(
        dims, times, "time since the start of the acquisition", "s"
    )
    made["acquired"] = xr.Variable(
        dims,
        taken,
        {"long_name": "time of capture (UTC)"},
        {"units": "microseconds since 1970-01-01", "dtype": "int64"},
    )
    for axis in "xyz":
        name = f"stage {axis.upper()} position"
        made[f"stage_{axis}"] = _variable(dims, getattr(stage, axis), name, "um")
    missing = state.table.missing
    if len(missing):
        flags = np.isin(axes.sequence(), missing)
        made["missing"] = _variable(dims, flags, "frame is not in the file")
    return made


def _along_loops(state: StoreState) -> dict[str, xr.Variable]:
    document, axes, records = state.document, state.axes, state.records
    made = {}
    for dim, length in zip(axes.dims, axes.shape, strict=True):
        if dim == "T":
            times = frame_times(document, axes, records)
            values, unit = time_coordinate(document, axes, times)
            name = "time" if unit else "time point"
            made["T"] = _variable(("T",), values, name, unit)
        elif dim == "Z":
            stage_z = stage_positions(document, axes, records).z
            values, unit = z_coordinate(document, axes, stage_z)
            name = "distance from the home plane" if unit else "slice"
            made["Z"] = _variable(("Z",), values, name, unit)
        elif dim == "P":
            made |= _positions(state, length)
        else:
            made[dim] = _variable((dim,), np.arange(length), "index of the custom loop")
    return made


def _positions(state: StoreState, length: int) -> dict[str, xr.Variable]:
    loops = state.document.experiment.loops
    found = [loop.points for loop in loops if isinstance(loop, XYPositionLoop)]
    points = found[0][:length] if found else ()
    names = [point.name for point in points]
    labels: NDArray[Any] = np.arange(length)
    if any(names):
        names += [""] * (length - len(names))
        labels = _texts(unique_names([name or str(i) for i, name in enumerate(names)]))
    made = {"P": _variable(("P",), labels, "position")}
    for axis in "xyz":
        values = np.full(length, np.nan)
        values[: len(points)] = [getattr(point, f"{axis}_um") for point in points]
        name = f"stage {axis.upper()} of the position as set"
        made[f"position_{axis}"] = _variable(("P",), values, name, "um")
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
    return xr.Variable(tuple(dims), values, attrs)


def _texts(texts: Sequence[str]) -> NDArray[np.str_]:
    return np.array(texts, dtype=np.str_)


def _lazily(
    manager: CachingFileManager[FrameStore],
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
