"""What reading a file back will give, computed before it is written.

Metadata of a file are few numbers where an array has whole coordinates. So after an
array was described in the terms of a file, the dataset that this description reads as
is made by the code that reads files, and compared with the array: what would come back
differently is told, never lost in silence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from limnd2_xr.arrays.attrs import METADATA_ATTR, flat_attributes
from limnd2_xr.arrays.coords import DISPLAY_COORDS, WELL_COORDS, coordinates
from limnd2_xr.arrays.units import has_unit, in_unit, moment_of
from limnd2_xr.container.byte_source import FileStamp
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.frames.store import StoreState
from limnd2_xr.frames.table import FrameTable

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from numpy.typing import NDArray

    from limnd2_xr.frames.layout import PixelLayout
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.records import FrameRecords

__all__ = [
    "Known",
    "coordinate_differences",
    "differences",
    "find_labels",
    "read_back",
]

_REWRITTEN: Final = {METADATA_ATTR, "compression", "format_version", "loop_order"}
"""Attributes that tell how a file is made, and so follow the way it is written."""
_ELSEWHERE: Final = frozenset({"missing", *DISPLAY_COORDS, *WELL_COORDS})
"""Coordinates that are compared where their chunks are made, or counted."""
_NOMINAL_S: Final = 1e-6
"""T is nominal: a microsecond that computing its steps anew changes tells nothing."""
_DERIVED: Final = {"pixel_size_um": "X", "z_step_um": "Z"}
"""Attributes that repeat what a coordinate tells."""


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
    image: xr.DataArray | xr.Dataset, whole: xr.Dataset, dim: str
) -> NDArray[np.int64] | None:
    """Find which indices of a whole file an array has along a dim; None if unknown.

    By the labels. As many others as the file has are new names for the same; of labels
    that repeat in the file none says where it comes from.

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
    labels = whole[dim].values.tolist()
    wanted = np.atleast_1d(image.coords[dim].values).tolist()
    if wanted == labels:
        return np.arange(length)
    places = {label: i for i, label in enumerate(labels)}
    found = np.array([places.get(label, -1) for label in wanted], dtype=np.int64)
    if (found >= 0).all():
        return found if len(places) == length else None
    return np.arange(length) if len(wanted) == length else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known about an array beforehand: its file, as far as the array has it."""

    coords: xr.Dataset = field(default_factory=xr.Dataset)
    """Coordinates that the file gives for the array's labels."""
    picked: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    """For each dim of the file which of its indices the array has, if that is known."""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """Attributes that the file gives."""

    @classmethod
    def of(cls, whole: xr.Dataset, image: xr.DataArray) -> Known:
        """Find the labels of an array in a whole file.

        What runs along a dim with other labels than the array's is left out.
        """
        picks = {str(dim): find_labels(image, whole, str(dim)) for dim in whole.dims}
        strange = [dim for dim, found in picks.items() if found is None]
        picked = {dim: found for dim, found in picks.items() if found is not None}
        coords = whole.drop_dims(strange).isel(picked)
        return cls(coords=coords, picked=picked, attrs=whole.attrs)

    def same(self, image: xr.DataArray, name: str) -> bool:
        """Say whether a coordinate of the array is what the file gives, if there is one."""
        if name not in image.coords:
            return bool(self.coords.coords)
        return name in self.coords.coords and not _unlike(
            image.coords[name], self.coords.coords[name]
        )

    def is_dense(self, dim: str) -> bool:
        """Say whether the array has neighbours along a dim, in order."""
        return dim in self.picked and bool((np.diff(self.picked[dim]) == 1).all())

    def is_whole(self, dim: str, length: int) -> bool:
        """Say whether the array has all indices of a loop of this length, in order."""
        return dim in self.picked and np.array_equal(
            self.picked[dim], np.arange(length)
        )


def differences(
    image: xr.DataArray, found: xr.Dataset, before: Mapping[str, Any]
) -> list[str]:
    """Say what of an array reading back will not give, one text each.

    Parameters
    ----------
    image
        The array to be written.
    found
        From `read_back`.
    before
        Attributes of the file that the array came from. Those of them that repeat
        coordinates are not looked at: selecting leaves them as they were.
    """
    told = coordinate_differences(image.coords, found.coords)
    for name, value in image.attrs.items():
        if name in _REWRITTEN or _is_stale(name, image, before):
            continue
        if name not in found.attrs:
            if not (value is None or (isinstance(value, str) and not value)):
                told.append(f"attribute {name} (a file has no place for it)")
        elif not _same_value(name, value, found.attrs[name]):
            told.append(f"attribute {name} (reads as {found.attrs[name]!r:.60})")
    return told


def coordinate_differences(
    given: Mapping[Any, xr.DataArray],
    found: Mapping[Any, xr.DataArray],
    skip: Container[Any] = _ELSEWHERE,
) -> list[str]:
    """Say which coordinates reading back will not give, one text each.

    Parameters
    ----------
    given, found
        Coordinates to be written, and as they will be read.
    skip
        Names of those that are not looked at.
    """
    told = []
    for name, coordinate in given.items():
        if name in skip:
            continue
        if name not in found:
            told.append(f"coordinate {name} (a file has no place for it)")
            continue
        text = _unlike(coordinate, found[name])
        if text:
            told.append(f"coordinate {name} ({text})")
    return told


def _is_stale(name: Any, image: xr.DataArray, before: Mapping[str, Any]) -> bool:
    """Whether an attribute repeats what was true before, or is of something else."""
    value = image.attrs[name]
    if name == "significant_bits":
        # Checked against the pixels, or chosen, before this.
        return True
    if name not in _DERIVED:
        return False
    known = name in before and _same_value(name, value, before[name])
    return known or _DERIVED[name] not in image.dims


def _unlike(given: xr.DataArray, found: xr.DataArray) -> str:
    """Say how a coordinate differs from what will be read; "" if it does not."""
    if {d for d in given.dims if given.sizes[d] > 1} != {
        d for d in found.dims if found.sizes[d] > 1
    }:
        spread = [d for d in found.dims if d not in given.dims]
        if set(given.dims) - set(found.dims) or not _is_constant(found, spread):
            return f"reads along {', '.join(map(str, found.dims)) or 'no dim'}"
        found = found.isel(dict.fromkeys(spread, 0))
    if given.dtype.kind == "m":
        # A span has its unit in its type, which files have not.
        given = given.copy(data=in_unit(given, "s")).assign_attrs(units="s")
    a = given.squeeze().values
    b = found.squeeze().transpose(*given.squeeze().dims).values
    if a.shape != b.shape:
        return f"reads as {b.shape} values"
    if a.dtype.kind == "M" or b.dtype.kind == "M":
        if a.dtype.kind != b.dtype.kind:
            return "dates read as seconds" if b.dtype.kind == "f" else "reads as dates"
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
    elif a.dtype.kind in "OSU" and b.dtype.kind in "OSU":
        same = a.astype(str) == b.astype(str)
    else:
        same = np.zeros(a.shape, dtype=bool)
    if bool(np.all(same)):
        if has_unit(found) or not has_unit(given):
            return ""
        return f"{given.attrs.get('units')} reads as a number without a unit"
    at = np.unravel_index(np.argmin(same), np.shape(same))
    return f"{_short(a[at])} reads as {_short(b[at])}"


def _is_constant(found: xr.DataArray, dims: list[Any]) -> bool:
    if not dims:
        return True
    first = found.isel(dict.fromkeys(dims, 0))
    return bool(((found == first) | (found.isnull() & first.isnull())).all())


def _factor(given: xr.DataArray, found: xr.DataArray) -> float:
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
    if isinstance(a, int | float | np.integer | np.floating):
        return isinstance(b, int | float) and math.isclose(a, b, rel_tol=1e-12)
    return isinstance(a, str) and bool(a == b)


def _short(value: Any) -> str:
    if isinstance(value, str):
        return repr(str(value))
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)
