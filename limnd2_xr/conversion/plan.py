"""What a conversion would do, before it does."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import xarray as xr

    from limnd2_xr.arrays.write_plan import WritePlan

__all__ = ["ConversionPlan", "PlannedInput", "described_plan"]

_CHANNEL: Final = {
    "color": "color",
    "emission_wavelength": "emission_nm",
    "excitation_wavelength": "excitation_nm",
    "exposure_time": "exposure_s",
    "modality": "modality",
}
_POSITION: Final = ("well", "position_x", "position_y", "position_z")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedInput:
    """One file, or a part of it, and what of the image it is."""

    file: str | None
    """None for a missing one, for which zeros are stored."""
    part: str = ""
    """Image or path within the file."""
    place: tuple[tuple[str, int], ...] = ()
    """Index along each dim that files tell."""

    def to_plain(self) -> dict[str, Any]:
        """Return the input for JSON."""
        found: dict[str, Any] = {"file": self.file, **dict(self.place)}
        return found | ({"part": self.part} if self.part else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionPlan:
    """What a conversion does: which files become which frames of what image."""

    target: str | None
    """File that is written; None where none was named."""
    format: str
    """What the inputs are."""
    sizes: dict[str, int]
    """Length of each dim."""
    dtype: str
    """Of the pixels as they are read."""
    stored_dtype: str
    """Of the pixels as they are stored."""
    significant_bits: int
    frames: int
    """Stored images; each has all channels."""
    pixel_bytes: int
    """Of all frames, not compressed."""
    compression: str | None
    pixel_size_um: float | None
    z_step_um: float | None
    time_step_s: float | None
    channels: tuple[dict[str, Any], ...]
    positions: tuple[dict[str, Any], ...]
    labels: tuple[str, ...]
    """Names of label images, which become binary layers."""
    attrs: dict[str, Any]
    """Objective, texts and other attributes."""
    inputs: tuple[PlannedInput, ...]
    missing: tuple[str, ...] = ()
    """Places for which there is no file."""
    passed_over: int = 0
    """Files of folders whose names do not fit the pattern."""
    notes: tuple[str, ...] = ()
    """Metadata of the inputs that are not kept, and what was assumed."""

    def to_json(self, indent: int | None = 2) -> str:
        """Return the plan as JSON.

        Parameters
        ----------
        indent
            Of lines; None puts all on one.
        """
        plain = {
            **asdict(self),
            "inputs": [known.to_plain() for known in self.inputs],
        }
        return json.dumps(plain, indent=indent, allow_nan=False)


def described_plan(
    image: xr.DataArray,
    write: WritePlan,
    *,
    target: str | None,
    kind: str,
    source_dtype: np.dtype[Any],
    compression: str | None,
    inputs: Iterable[PlannedInput],
    labels: Iterable[str] = (),
    missing: Iterable[str] = (),
    passed_over: int = 0,
    notes: Iterable[str] = (),
) -> ConversionPlan:
    """Tell what is going to be written.

    Parameters
    ----------
    image
        With its coordinates.
    write
        The same in terms of a file.
    target, kind, source_dtype, compression, inputs, labels, missing, passed_over, notes
        As in the plan.
    """
    document = write.document
    sizes = {str(dim): int(size) for dim, size in write.image.sizes.items()}
    return ConversionPlan(
        target=target,
        format=kind,
        sizes=sizes,
        dtype=str(source_dtype),
        stored_dtype=str(write.layout.dtype),
        significant_bits=document.attributes.bits_significant,
        frames=write.n_frames,
        pixel_bytes=image.size * write.layout.dtype.itemsize,
        compression=compression,
        pixel_size_um=document.optics.pixel_size_um,
        z_step_um=document.z_step_um,
        time_step_s=_step(image, "T"),
        channels=tuple(
            {
                "name": channel.name,
                "color": channel.color,
                "emission_nm": channel.emission_nm,
                "excitation_nm": channel.excitation_nm,
                "exposure_s": channel.exposure_s,
                "modality": channel.modality,
            }
            for channel in document.channels
        ),
        positions=_positions(image),
        labels=tuple(labels),
        attrs={
            str(name): _plain(value)
            for name, value in image.attrs.items()
            if name != "nd2_metadata"
        },
        inputs=tuple(inputs),
        missing=tuple(missing),
        passed_over=passed_over,
        notes=tuple(notes),
    )


def _step(image: xr.DataArray, dim: str) -> float | None:
    if dim not in image.coords or image.sizes.get(dim, 1) < 2:
        return None
    values = image.coords[dim].values
    if values.dtype.kind != "f" or "units" not in image.coords[dim].attrs:
        return None
    return float((values[-1] - values[0]) / (len(values) - 1))


def _positions(image: xr.DataArray) -> tuple[dict[str, Any], ...]:
    if "P" not in image.dims:
        return ()
    count = image.sizes["P"]
    names = image.coords["P"].values if "P" in image.coords else np.arange(count)
    told: dict[str, Any] = {"name": names.tolist()}
    for name in (*_POSITION, "well_row", "well_column"):
        if name in image.coords and image.coords[name].dims == ("P",):
            told[name] = image.coords[name].values.tolist()
    return tuple(
        {name: _plain(values[i]) for name, values in told.items()} for i in range(count)
    )


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, np.ndarray):
        return [_plain(one) for one in value.tolist()]
    return value if isinstance(value, (str, int, float, bool, list)) else str(value)
