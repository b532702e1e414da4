"""From an array with coordinates and attributes to the metadata of a file.

What the dataset reads from a file, writing puts back: each coordinate and attribute has
one place in the document or in the records of the frames. What the array does not tell
is taken from the file that it came from, else filled in so that every reader is
content (FORMAT 13).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.arrays.attrs import flat_attributes
from limnd2_xr.arrays.described_channels import described_channels
from limnd2_xr.arrays.described_loops import described_experiment, loop_order, steps_of
from limnd2_xr.arrays.units import (
    has_unit,
    in_unit,
    milliseconds,
    moment_of,
    stated_step,
)
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.picture import Acquisition, julian_day_of
from limnd2_xr.model.records import FrameRecords

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import NDArray

    from limnd2_xr.arrays.readback import Known
    from limnd2_xr.model.attributes import Attributes
    from limnd2_xr.model.channels import Channel
    from limnd2_xr.model.optics import Optics

__all__ = [
    "UNKNOWN_MS",
    "Description",
    "describe",
    "per_frame_times",
    "with_attributes",
]

UNKNOWN_MS: Final = -1.0
"""Stored for a time that is not known, as the vendor's writer does (FORMAT 1.4)."""

_DAY_MS: Final = 86_400_000
_SAME_DAYS: Final = 2e-8
"""Dates as text are good for a millisecond, Julian days for 40 us."""

_LIGHT_PATH: Final = {
    "objective": "objective",
    "magnification": "magnification",
    "numerical_aperture": "numerical_aperture",
    "refractive_index": "refractive_index",
    "zoom": "zoom",
    "camera": "camera",
    "microscope": "microscope",
}
_TEXT: Final = {"description": "description", "author": "author", "sample": "sample_id"}
_SOFTWARE: Final = {"software": "name", "software_version": "version"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Metadata of a file to be written."""

    document: Nd2Document
    """Everything but what varies from frame to frame."""
    records: FrameRecords
    """Time and stage position of each frame, by frame number."""


def describe(
    image: xr.DataArray,
    attributes: Attributes,
    base: Nd2Document | None,
    known: Known,
) -> Description:
    """Metadata that the coordinates and attributes of an array describe.

    Parameters
    ----------
    image
        With the dims C, Y, X and those of its loops.
    attributes
        Size and type of the frames to be written.
    base
        Document of the file that the array came from, None without one.
    known
        What is known of the array from that file.

    Raises
    ------
    ValueError
        If an axis is uneven, a unit unknown, a name repeated or a value impossible:
        what is wrong and what to do about it.
    """
    old = base or Nd2Document(attributes=attributes)
    order = loop_order(image, base.experiment if base else None)
    experiment = described_experiment(image, base.experiment if base else None, known)
    per_frame = _PerFrame(image, order)
    changed = _changed_attributes(dict(image.attrs), base)
    channels = described_channels(image, attributes, base, known)
    if "camera" in image.coords and not known.same(image, "camera"):
        # What is said of each channel comes before what is said of all.
        changed.pop("camera", None)
    channels = tuple(
        _with_light_path(channel, changed, old.optics.camera) for channel in channels
    )
    times = per_frame.times()
    stage = {axis: per_frame.values(f"stage_{axis}", "um") for axis in "xyz"}
    first = {axis: _frame0_um(image, axis, um, old) for axis, um in stage.items()}
    picture = replace(old.picture, x_um=first["x"], y_um=first["y"], z_um=first["z"])
    document = Nd2Document(
        attributes=attributes,
        format_version="3.0",
        channels=channels,
        experiment=experiment,
        picture=picture,
        optics=_optics(image, old.optics, channels, known),
        acquisition=_acquisition(
            image.attrs.get("acquisition_start"), base, per_frame.moments(), times
        ),
        text=replace(old.text, **_renamed(changed, _TEXT)),
        software=replace(old.software, **_renamed(changed, _SOFTWARE)),
    )
    records = FrameRecords(times_ms=times, **stage)
    return Description(document=document, records=records)


def with_attributes(document: Nd2Document, attrs: Mapping[str, Any]) -> Nd2Document:
    """Return a document that says what attributes of a dataset say.

    Parameters
    ----------
    document
        Of a file.
    attrs
        By name, as the dataset has them.

    Raises
    ------
    ValueError
        If an attribute has no place in a file, or its value is impossible.
    """
    known = {*_LIGHT_PATH, *_TEXT, *_SOFTWARE}
    unknown = sorted(attrs.keys() - known)
    if unknown:
        raise ValueError(
            f"attributes {', '.join(unknown)} cannot be changed; these can: "
            f"{', '.join(sorted(known))}"
        )
    changed = _changed_attributes(dict(attrs), document)
    path = _renamed(changed, _LIGHT_PATH)
    return replace(
        document,
        channels=tuple(
            _with_light_path(c, changed, document.optics.camera)
            for c in document.channels
        ),
        optics=replace(document.optics, **path),
        text=replace(document.text, **_renamed(changed, _TEXT)),
        software=replace(document.software, **_renamed(changed, _SOFTWARE)),
    )


@dataclass(frozen=True, slots=True)
class _PerFrame:
    """Coordinates over the loop dims, brought to the order of frame numbers."""

    image: xr.DataArray
    order: tuple[str, ...]

    @property
    def count(self) -> int:
        return int(np.prod([self.image.sizes[dim] for dim in self.order], dtype=int))

    def raw(self, name: str) -> NDArray[Any] | None:
        """Values of a coordinate for each frame; None if there is none."""
        if name not in self.image.coords:
            return None
        found = self.image.coords[name]
        strange = set(found.dims) - set(self.order)
        if strange:
            raise ValueError(
                f"coordinate {name} varies along {', '.join(sorted(map(str, strange)))}, "
                "but a file holds one value a frame: take one of them with "
                f"da.assign_coords({name}=da.{name}.isel(...)), or da.drop_vars({name!r})"
            )
        shape = {dim: self.image.sizes[dim] for dim in self.order}
        return self.spread(found, shape)

    def spread(self, found: xr.DataArray, shape: dict[str, int]) -> NDArray[Any]:
        own = [dim for dim in self.order if dim in found.dims]
        values = found.transpose(*own).values
        index = tuple(slice(None) if dim in found.dims else None for dim in self.order)
        return np.broadcast_to(values[index], tuple(shape.values())).reshape(-1)

    def values(self, name: str, unit: Any) -> NDArray[np.float64] | None:
        """Numbers of a coordinate in a unit; None if there is none or none is known."""
        raw = self.raw(name)
        if raw is None:
            return None
        coordinate = self.image.coords[name]
        numbers = in_unit(coordinate.copy(data=coordinate.values), unit)
        shape = {dim: self.image.sizes[dim] for dim in self.order}
        spread = self.spread(coordinate.copy(data=numbers), shape).copy()
        return spread if np.isfinite(spread).any() else None

    def moments(self) -> NDArray[np.datetime64] | None:
        """When each frame was taken, UTC: from ``acquired``, else from a T of dates."""
        for name in ("acquired", "T"):
            found = self.raw(name)
            if found is None or (name == "T" and found.dtype.kind != "M"):
                continue
            if found.dtype.kind != "M":
                raise ValueError(
                    f"coordinate {name} must hold datetime64, not {found.dtype} values"
                )
            if not np.isnat(found).all():
                return found
        return None

    def times(self) -> NDArray[np.float64]:
        """Milliseconds since the start; as measured, else as T has it, else unknown."""
        seconds = self.values("time", "s")
        moments = self.moments()
        if seconds is None and moments is not None:
            start = moments[~np.isnat(moments)].min()
            seconds = (moments - start) / np.timedelta64(1, "ns") / 1e9
        if seconds is None and "T" in self.image.coords:
            nominal = self.image.coords["T"]
            seconds = self.values("T", "s") if has_unit(nominal) else None
        if seconds is None:
            return np.full(self.count, UNKNOWN_MS)
        ms = milliseconds(seconds)
        return np.where(np.isfinite(ms), ms, UNKNOWN_MS)


def per_frame_times(image: xr.DataArray, order: tuple[str, ...]) -> NDArray[np.float64]:
    """Milliseconds of each frame of an array, -1 where unknown.

    Parameters
    ----------
    image
        With the coordinate ``time``, ``acquired`` or ``T``.
    order
        Its loop dims, the slowest first.
    """
    return _PerFrame(image, order).times()


def _changed_attributes(
    attrs: dict[Any, Any], base: Nd2Document | None
) -> dict[str, Any]:
    """Attributes that say other things than the file that the array came from."""
    before = flat_attributes(base) if base else {}
    told = {*_LIGHT_PATH, *_TEXT, *_SOFTWARE}
    changed: dict[str, Any] = {}
    for name in told & attrs.keys():
        value = _checked(name, attrs[name])
        if (value or None) != before.get(name):
            changed[name] = value
    return changed


def _checked(name: str, value: Any) -> Any:
    numbers = {"magnification", "numerical_aperture", "refractive_index", "zoom"}
    if value is None:
        return "" if name not in numbers else None
    if name not in numbers:
        if not isinstance(value, str):
            raise ValueError(f"attribute {name} must be a text, not {value!r}")
        return str(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not (np.isfinite(number) and number > 0):
        raise ValueError(f"attribute {name} must be a number above 0, not {value!r}")
    return number


def _renamed(changed: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names[name]: value for name, value in changed.items() if name in names}


def _with_light_path(channel: Channel, changed: dict[str, Any], camera: str) -> Channel:
    fields = _renamed(changed, _LIGHT_PATH)
    if channel.camera not in {"", camera}:
        # Of several cameras the file names the first: this channel has another one.
        fields.pop("camera", None)
    return replace(channel, light_path=replace(channel.light_path, **fields))


def _frame0_um(
    image: xr.DataArray,
    axis: str,
    values: NDArray[np.float64] | None,
    old: Nd2Document,
) -> float | None:
    """Stage position of the first frame; that of the old file only if all share it."""
    if values is not None:
        return float(values[0]) if np.isfinite(values[0]) else None
    place = image.coords.get(f"position_{axis}")
    if place is not None and not place.ndim:
        found = float(in_unit(place, "um"))
        return found if np.isfinite(found) else None
    moved = {"P", "Z"} if axis == "z" else {"P"}
    if any(loop.dim in moved for loop in old.experiment.loops):
        return None
    kept = {"x": old.picture.x_um, "y": old.picture.y_um, "z": old.picture.z_um}
    return kept[axis]


def _optics(
    image: xr.DataArray,
    old: Optics,
    channels: tuple[Channel, ...],
    known: Known,
) -> Optics:
    """Light path of the first channel, which is that of the file, and pixel size."""
    path = channels[0].light_path
    pixel = old.pixel_size_um
    if not all(known.same(image, dim) and known.is_dense(dim) for dim in "YX"):
        pixel = _pixel_size(image, old.pixel_size_um)
    return replace(
        old,
        **{name: getattr(path, name) for name in path.__dataclass_fields__},
        pixel_size_um=pixel,
        aspect=old.aspect or 1.0,
    )


def _pixel_size(image: xr.DataArray, old: float | None) -> float | None:
    """Edge of the pixels, from X and Y; None where these number the pixels."""
    found: dict[str, float] = {}
    for dim in ("Y", "X"):
        if dim not in image.coords:
            continue
        coordinate = image.coords[dim]
        if not has_unit(coordinate):
            values = np.asarray(coordinate.values)
            step = (
                steps_of(values.astype(np.float64))
                if values.dtype.kind in "iuf"
                else None
            )
            if step is None or step != np.rint(step):
                raise ValueError(
                    f"coordinate {dim} has no unit: set da.{dim}.attrs['units'] = 'um' (or "
                    "nm, mm), or number the pixels 0, 1, 2, ..."
                )
            continue
        step = steps_of(in_unit(coordinate, "um"))
        if step is None or (step == 0 and image.sizes[dim] > 1):
            raise ValueError(
                f"coordinate {dim} is not equidistant, but the pixels of a file are: "
                f"interpolate with da.interp({dim}=...), or number the pixels"
            )
        if step:
            found[dim] = abs(step)
    sizes = list(found.values())
    if "X" not in image.coords and "Y" not in image.coords:
        return stated_step(image, "pixel_size_um") or old
    if not sizes:
        # A single pixel has no distance to the next: what was known holds.
        single = all(
            image.sizes[dim] == 1 and dim in image.coords for dim in ("Y", "X")
        )
        return old if single else None
    if len(sizes) == 2 and abs(sizes[0] - sizes[1]) > 1e-6 * sizes[0]:
        raise ValueError(
            f"pixels are {sizes[1]:g} um wide and {sizes[0]:g} um high, but a file holds "
            "square pixels only: interpolate to equal steps along X and Y"
        )
    size = found.get("X", sizes[0])
    return old if old is not None and abs(old - size) <= 1e-9 * size else size


def _acquisition(
    told: Any,
    base: Nd2Document | None,
    moments: NDArray[np.datetime64] | None,
    times_ms: NDArray[np.float64],
) -> Acquisition:
    """When it was taken: moment of frame 0 and, where it is told, of the start.

    Of the file that the array came from only the start holds: frame 0 may be another.
    """
    old = base.acquisition if base else Acquisition()
    first = None if times_ms[0] == UNKNOWN_MS else float(times_ms[0])
    frame0, start = None, old.start_jd
    if moments is not None:
        frame0, implied = _frame0_and_start(moments, times_ms)
        start = implied if start is None and frame0 is None else start
    elif start is None and old.frame0_jd is not None:
        start = old.frame0_jd - (old.frame0_ms or 0.0) / _DAY_MS
    if told not in ("", None):
        stated = julian_day_of(_moment(str(told)))
        implied = start
        if implied is None and frame0 is not None:
            implied = frame0 - (first or 0.0) / _DAY_MS
        if implied is None or abs(implied - stated) > _SAME_DAYS:
            start = stated
    if moments is None and start is not None and (first is not None or base is None):
        frame0 = start + (first or 0.0) / _DAY_MS
    return replace(old, start_jd=start, frame0_jd=frame0, frame0_ms=first or 0.0)


def _frame0_and_start(
    moments: NDArray[np.datetime64], times_ms: NDArray[np.float64]
) -> tuple[float | None, float | None]:
    """Julian days of frame 0 and of the start, as far as moments and times tell."""
    if not np.isnat(moments[0]):
        return julian_day_of(moments[0]), None
    timed = ~np.isnat(moments) & (times_ms != UNKNOWN_MS)
    if not timed.any():
        return None, None
    at = int(timed.argmax())
    start = julian_day_of(moments[at]) - float(times_ms[at]) / _DAY_MS
    first = float(times_ms[0])
    return (None if first == UNKNOWN_MS else start + first / _DAY_MS), start


def _moment(text: str) -> np.datetime64:
    try:
        return moment_of(text)
    except ValueError:
        raise ValueError(
            f"attribute acquisition_start is {text!r}: write it as ISO 8601 in UTC, e.g. "
            "'2024-05-17T09:30:00Z'"
        ) from None
