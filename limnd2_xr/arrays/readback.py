"""What reading a file back will give, computed before it is written.

Metadata of a file are few numbers where an array has whole coordinates. So after an
array was described in the terms of a file, the dataset that this description reads as
is made by the code that reads files, and compared with the array: what would come back
differently is told, never lost in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from limnd2_xr.arrays.attrs import METADATA_ATTR, flat_attributes
from limnd2_xr.arrays.coords import coordinates
from limnd2_xr.arrays.units import moment_of
from limnd2_xr.container.byte_source import FileStamp
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.frames.store import StoreState
from limnd2_xr.frames.table import FrameTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.frames.layout import PixelLayout
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.records import FrameRecords

__all__ = ["differences", "find_labels", "read_back", "same_coordinate"]

_REWRITTEN: Final = {METADATA_ATTR, "compression", "format_version", "loop_order"}
"""Attributes that tell how a file is made, and so follow the way it is written."""
_NOMINAL_S: Final = 1e-6
"""T is nominal: a microsecond that computing its steps anew changes tells nothing."""
_DERIVED: Final = {"pixel_size_um", "z_step_um", "significant_bits"}
"""Attributes that repeat what coordinates or pixels tell."""


def read_back(
    document: Nd2Document, records: FrameRecords, layout: PixelLayout, n_frames: int
) -> xr.Dataset:
    """Coordinates and attributes that a file with these metadata opens with.

    Parameters
    ----------
    document, records
        Metadata of the file.
    layout
        Of its frames.
    n_frames
        How many it has.
    """
    nothing = np.empty(0, dtype=np.int64)
    state = StoreState(
        spec=SourceSpec.of(b""),
        stamp=FileStamp(0),
        document=document,
        records=records,
        axes=document.axes(n_frames, n_frames),
        table=FrameTable(
            layout=layout,
            numbers=nothing,
            chunk_offsets=nothing,
            nbytes=nothing,
            header_nbytes=0,
            n_frames=0,
        ),
    )
    made = coordinates(state, None)
    return xr.Dataset(
        coords=xr.Coordinates(made, indexes={}), attrs=flat_attributes(document)
    )


def find_labels(
    image: xr.DataArray, whole: xr.Dataset, dim: str
) -> NDArray[np.int64] | None:
    """Find an array's labels along a dim of a whole file; None if one is not there.

    Parameters
    ----------
    image
        Selected from the image of `whole`, or not; a dim that it lacks may be there as a
        scalar coordinate.
    whole
        Coordinates of a whole file.
    dim
        One of its dims.
    """
    length = whole.sizes[dim]
    if dim not in image.coords:
        fits = image.sizes[dim] == length if dim in image.dims else length == 1
        return np.arange(length) if fits else None
    labels = {
        label: i for i, label in reversed(list(enumerate(whole[dim].values.tolist())))
    }
    wanted = np.atleast_1d(image.coords[dim].values).tolist()
    found = np.array([labels.get(label, -1) for label in wanted], dtype=np.int64)
    return None if (found < 0).any() else found


def differences(image: xr.DataArray, found: xr.Dataset) -> list[str]:
    """Say what of an array reading back will not give, one text each.

    Parameters
    ----------
    image
        The array to be written.
    found
        From `read_back`.
    """
    told = []
    for name, coordinate in image.coords.items():
        if name == "missing":
            continue
        if name not in found.coords:
            told.append(f"coordinate {name} (a file has no place for it)")
            continue
        text = _unlike(coordinate, found.coords[name])
        if text:
            told.append(f"coordinate {name} ({text})")
    for name, value in image.attrs.items():
        if name in _REWRITTEN | _DERIVED:
            continue
        if name not in found.attrs:
            if value not in ("", None):
                told.append(f"attribute {name} (a file has no place for it)")
        elif not _same_value(name, value, found.attrs[name]):
            told.append(f"attribute {name} (reads as {found.attrs[name]!r:.60})")
    return told


def same_coordinate(given: xr.DataArray, found: xr.DataArray) -> bool:
    """Say whether a coordinate is what a file gives, value by value."""
    return not _unlike(given, found)


def _unlike(given: xr.DataArray, found: xr.DataArray) -> str:
    """Say how a coordinate differs from what will be read; "" if it does not."""
    if {d for d in given.dims if given.sizes[d] > 1} != {
        d for d in found.dims if found.sizes[d] > 1
    }:
        spread = [d for d in found.dims if d not in given.dims]
        if set(given.dims) - set(found.dims) or not _is_constant(found, spread):
            return f"reads along {', '.join(map(str, found.dims)) or 'no dim'}"
        found = found.isel(dict.fromkeys(spread, 0))
    a = given.squeeze().values
    if a.dtype.kind == "m" and found.attrs.get("units") == "s":
        a = a / np.timedelta64(1, "s")
    b = found.squeeze().transpose(*given.squeeze().dims).values
    if a.shape != b.shape:
        return f"reads as {b.shape} values"
    if a.dtype.kind == "M" or b.dtype.kind == "M":
        if a.dtype.kind != b.dtype.kind:
            return f"reads as {b.dtype}"
        apart = np.abs(a - b)
        both = np.isnat(a) & np.isnat(b)
        same = both | (apart <= np.timedelta64(1, "ms"))
    elif a.dtype.kind in "iuf" and b.dtype.kind in "iuf":
        factor = _factor(given, found)
        scaled = a.astype(np.float64) * factor
        size = np.abs(scaled[np.isfinite(scaled)]).max(initial=0.0)
        least = _NOMINAL_S if given.name == "T" and "units" in found.attrs else 0.0
        atol = max(1e-9 * size, least)
        same = np.isclose(scaled, b, rtol=1e-9, atol=atol, equal_nan=True)
    else:
        same = a.astype(str) == b.astype(str)
    if bool(np.all(same)):
        return ""
    at = np.unravel_index(np.argmin(same), np.shape(same))
    return f"{_short(a[at])} reads as {_short(b[at])}"


def _is_constant(found: xr.DataArray, dims: list[Any]) -> bool:
    if not dims:
        return True
    first = found.isel(dict.fromkeys(dims, 0))
    return bool(((found == first) | (found.isnull() & first.isnull())).all())


def _factor(given: xr.DataArray, found: xr.DataArray) -> float:
    from limnd2_xr.arrays.units import in_unit

    units = found.attrs.get("units")
    if units not in {"um", "nm", "s"} or not given.attrs.get("units"):
        return 1.0
    one = xr.DataArray(1.0, attrs=given.attrs, name=given.name)
    return float(in_unit(one, units))


def _same_value(name: Any, a: Any, b: Any) -> bool:
    if name == "acquisition_start":
        try:
            apart = moment_of(str(a)) - moment_of(str(b))
        except ValueError:
            return False
        return bool(abs(apart) <= np.timedelta64(1, "ms"))
    if isinstance(a, int | float | np.number) and isinstance(b, int | float):
        return bool(np.isclose(float(a), b, rtol=1e-12))
    return bool(np.array_equal(np.asarray(a), np.asarray(b)))


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)
