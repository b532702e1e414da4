"""What is known about one frame, and which frames are missing, from the coordinates.

Read from the object itself, not from the file: so it follows selections, and works on
what was saved and loaded again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.arrays.attrs import document_of
from limnd2_xr.model.channels import channel_names

if TYPE_CHECKING:
    import xarray as xr

    from limnd2_xr.model.channels import Channel

__all__ = ["FrameMetadata", "frame_metadata", "missing_frames"]

FRAME_DIMS = ("U", "T", "P", "Z")
"""Dimensions along which frames are counted; the others lie within a frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameMetadata:
    """What is known about one frame; unknown values are None."""

    labels: dict[str, Any]
    """Coordinate label of the frame along each of T, P and Z that there is."""
    time_s: float | None
    """Seconds since the start of the acquisition."""
    acquired: np.datetime64 | None
    """Moment of capture, UTC."""
    stage_um: tuple[float | None, float | None, float | None]
    """Stage position X, Y, Z in um."""
    missing: bool
    """True if the file lacks the frame."""
    channels: tuple[Channel, ...]
    """Channels of the frame, as the object still has them."""


def frame_metadata(
    obj: xr.Dataset | xr.DataArray, indices: dict[str, int]
) -> FrameMetadata:
    """Return what is known about one frame of an object.

    Parameters
    ----------
    obj
        Opened from an .nd2 file, or selected from what was.
    indices
        Number of the frame along each of T, P, Z that the object has; one that has
        length 1 may be left out.

    Raises
    ------
    ValueError
        If a dimension is unknown, or left out although it has several frames.
    IndexError
        If an index is out of bounds.
    """
    dims = [str(dim) for dim in obj.dims if dim in FRAME_DIMS]
    unknown = sorted(set(indices) - set(dims))
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)} is not among the frame dimensions {dims}"
        )
    lacking = [dim for dim in dims if dim not in indices and obj.sizes[dim] != 1]
    if lacking:
        which = ", ".join(f"{dim}=0..{obj.sizes[dim] - 1}" for dim in lacking)
        raise ValueError(f"say which frame is meant: {which}")
    frame = obj.isel({dim: indices.get(dim, 0) for dim in dims})
    labels = {
        dim: frame.coords[dim].item() for dim in FRAME_DIMS if dim in frame.coords
    }
    acquired = _value(frame, "acquired")
    return FrameMetadata(
        labels=labels,
        time_s=_value(frame, "time"),
        acquired=None if acquired is None else np.datetime64(acquired, "us"),
        stage_um=(
            _value(frame, "stage_x"),
            _value(frame, "stage_y"),
            _value(frame, "stage_z"),
        ),
        missing=bool(_value(frame, "missing") or False),
        channels=_channels(frame),
    )


def missing_frames(obj: xr.Dataset | xr.DataArray) -> list[dict[str, Any]]:
    """Labels of the frames in an object that the file lacks, in the object's order."""
    if "missing" not in obj.coords:
        return []
    flags = obj.coords["missing"]
    where = np.argwhere(np.atleast_1d(flags.values))
    if flags.ndim == 0:
        return [{}] if len(where) else []
    return [
        {
            str(dim): obj.coords[dim].values[i].item() if dim in obj.coords else int(i)
            for dim, i in zip(flags.dims, at, strict=True)
        }
        for at in where
    ]


def _value(frame: xr.Dataset | xr.DataArray, name: str) -> Any:
    """Scalar coordinate, None where it is absent or marked as unknown."""
    if name not in frame.coords or frame.coords[name].ndim:
        return None
    value = frame.coords[name].values[()]
    if value.dtype.kind == "M":
        return None if np.isnat(value) else value
    if value.dtype.kind == "f":
        return None if np.isnan(value) else float(value)
    return value.item()


def _channels(frame: xr.Dataset | xr.DataArray) -> tuple[Channel, ...]:
    document = document_of(frame.attrs)
    if document is None or "C" not in frame.coords:
        return ()
    channels = document.channels
    by_name = dict(zip(channel_names(channels), channels, strict=True))
    names = np.atleast_1d(frame.coords["C"].values).tolist()
    return tuple(by_name[name] for name in names if name in by_name)
