"""What a user says of a conversion, and how it overrules what files say."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from limnd2_xr.arrays.units import in_unit
from limnd2_xr.conversion.ome_described import axis, z_axis
from limnd2_xr.conversion.wells import wells_in_names
from limnd2_xr.model.modality import flags_of_description

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import DTypeLike

    from limnd2_xr.arrays.stored_pixels import Compression, OnLoss
    from limnd2_xr.arrays.units import Unit

__all__ = ["ConversionSettings", "described_by_settings"]

_QUANTITY: Final = re.compile(
    r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S*)\s*"
)
_HEX: Final = re.compile(r"#?([0-9a-fA-F]{6})")
_COLORS: Final = {
    "blue": "#0000ff",
    "green": "#00ff00",
    "red": "#ff0000",
    "cyan": "#00ffff",
    "magenta": "#ff00ff",
    "yellow": "#ffff00",
    "white": "#ffffff",
    "gray": "#ffffff",
    "grey": "#ffffff",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionSettings:
    """How files become an .nd2 file; what is not given is as the files say."""

    pattern: str | None = None
    """Of names: ``img_t{T}_z{Z}_{C}.tif``, with groups T, Z, C, P (position), W (well),
    F (field of a well) and _ (anything)."""
    regex: str | None = None
    r"""The same as a regular expression with named groups: ``t(?P<T>\\d+)\\.tif``."""
    along: str | None = None
    """Without a pattern: dim along which several files follow each other, in natural
    order: T, P, Z or C."""
    fill_missing: bool = False
    """Accept missing files: zeros are stored for them, and a warning lists them."""
    dims: str | None = None
    """Dims of a plain array, or what those of a file really are: ``"TZCYX"``."""
    series: int | None = None
    """Which image of a file of several; None: all, as positions."""
    variable: str | None = None
    """Which variable of a netCDF or zarr file."""
    reader: str = "auto"
    """How to read: ``auto``, ``tiff``, ``picture``, ``zarr``, ``netcdf``, ``npy`` or
    ``bioio``."""
    drop_alpha: bool = False
    """Leave out transparency."""
    time_step: float | str | None = None
    """In seconds, or with a unit: ``"500 ms"``."""
    z_step: float | str | None = None
    """In um, or with a unit; below 0 for a stack taken from the top down."""
    pixel_size: float | str | None = None
    """In um, or with a unit."""
    channel_names: Sequence[str] | None = None
    colors: Sequence[str] | None = None
    """Of channels: ``#00ff00``, or ``green``."""
    emission: Sequence[float | str] | None = None
    """Wavelengths of channels in nm."""
    excitation: Sequence[float | str] | None = None
    """Wavelengths of channels in nm."""
    exposure: Sequence[float | str] | None = None
    """Of channels, in seconds or with a unit."""
    modality: Sequence[str] | None = None
    """Of channels, or one for all: ``fluorescence, spinning disk``."""
    objective: str | None = None
    magnification: float | None = None
    numerical_aperture: float | None = None
    refractive_index: float | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """Other attributes of the dataset: ``{"description": "...", "author": "..."}``."""
    wells: bool = False
    """Take the wells of positions from their names."""
    compression: Compression = None
    """``"zlib"``, or None."""
    level: int | None = None
    """Of zlib, 1 to 9."""
    significant_bits: int | None = None
    """Bits of a pixel that carry data."""
    dtype: DTypeLike | None = None
    """Convert pixels to uint8, uint16 or float32; values that do not fit are an error."""
    scale: float | None = None
    """Multiply pixels."""
    on_loss: OnLoss = "warn"
    """Warn of metadata that the file has no place for, raise, or say nothing."""


def described_by_settings(
    coords: Mapping[str, xr.Variable],
    attrs: Mapping[str, Any],
    sizes: Mapping[str, int],
    settings: ConversionSettings,
) -> tuple[dict[str, xr.Variable], dict[str, Any]]:
    """Return coordinates and attributes as a user wants them.

    Parameters
    ----------
    coords, attrs
        As the files say.
    sizes
        Of the pixels, by dim.
    settings
        What the user says.

    Raises
    ------
    ValueError
        If a value is none, or there are more or fewer than channels.
    """
    found, told = dict(coords), dict(attrs)
    if settings.pixel_size is not None:
        size = _above_0("pixel_size", settings.pixel_size, "um")
        for dim in "YX":
            found[dim] = axis(dim, np.arange(sizes[dim]) * size, "um")
        told.pop("pixel_size_um", None)
    if settings.z_step is not None:
        _needs("z_step", "Z", sizes)
        step = _quantity("z_step", settings.z_step, "um")
        if not step:
            raise ValueError("z_step is 0")
        found["Z"] = z_axis(sizes["Z"], step)
        told.pop("z_step_um", None)
    if settings.time_step is not None:
        _needs("time_step", "T", sizes)
        step = _above_0("time_step", settings.time_step, "s")
        found["T"] = axis("T", np.arange(sizes["T"]) * step, "s")
        for name in ("time", "acquired"):
            found.pop(name, None)
    found |= _channels(settings, sizes.get("C", 1))
    if settings.wells:
        if "P" not in sizes or "P" not in found:
            raise ValueError("wells: there are no positions with names")
        wells = wells_in_names([str(name) for name in found["P"].values])
        found = {n: v for n, v in found.items() if n not in {"well_row", "well_column"}}
        found["well"] = xr.Variable("P", wells)
    named = {
        "objective": settings.objective,
        "magnification": settings.magnification,
        "numerical_aperture": settings.numerical_aperture,
        "refractive_index": settings.refractive_index,
        **settings.attrs,
    }
    told |= {name: value for name, value in named.items() if value is not None}
    return found, told


def _channels(settings: ConversionSettings, count: int) -> dict[str, xr.Variable]:
    coords: dict[str, xr.Variable] = {}
    if settings.channel_names is not None:
        names = _one_each("channel_names", settings.channel_names, count)
        coords["C"] = xr.Variable("C", [str(name) for name in names])
    if settings.colors is not None:
        colors = _one_each("colors", settings.colors, count)
        coords["color"] = xr.Variable("C", [_color(color) for color in colors])
    if settings.modality is not None:
        texts = [str(text) for text in settings.modality]
        texts = _one_each(
            "modality", texts * count if len(texts) == 1 else texts, count
        )
        for text in texts:
            flags_of_description(text)
        coords["modality"] = xr.Variable("C", texts)
    numbers: tuple[tuple[str, str, Unit], ...] = (
        ("emission", "emission_wavelength", "nm"),
        ("excitation", "excitation_wavelength", "nm"),
        ("exposure", "exposure_time", "s"),
    )
    for name, coordinate, unit in numbers:
        given = getattr(settings, name)
        if given is not None:
            own = _one_each(name, given, count)
            values = [
                np.nan if value == "" else _above_0(name, value, unit) for value in own
            ]
            coords[coordinate] = xr.Variable("C", values, {"units": unit})
    return coords


def _one_each(name: str, values: Sequence[Any], count: int) -> list[Any]:
    if isinstance(values, str) or len(values) != count:
        given = f"{values!r}" if isinstance(values, str) else f"{len(values)} values"
        raise ValueError(
            f"{name}: {given} for {count} channel{'s' * (count != 1)}; give one each"
        )
    return list(values)


def _needs(name: str, dim: str, sizes: Mapping[str, int]) -> None:
    if dim not in sizes:
        raise ValueError(f"{name}: the image has no dim {dim}")


def _color(text: str) -> str:
    known = _COLORS.get(text.strip().lower())
    match = _HEX.fullmatch(text.strip())
    if known is None and match is None:
        raise ValueError(
            f"color {text!r}: neither '#rrggbb' nor one of {', '.join(_COLORS)}"
        )
    return known or f"#{match[1].lower()}"  # type: ignore[index]


def _above_0(name: str, value: float | str, unit: Unit) -> float:
    number = _quantity(name, value, unit)
    if not number > 0:
        raise ValueError(f"{name} must be above 0, not {value!r}")
    return number


def _quantity(name: str, value: float | str, unit: Unit) -> float:
    """Return a number in a unit, from one with or without a unit of its own.

    Examples
    --------
    >>> _quantity("time_step", "500 ms", "s"), _quantity("z_step", -0.5, "um")
    (0.5, -0.5)
    """
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        raise ValueError(
            f"{name} must be a number, possibly with a unit, not {value!r}"
        )
    number = xr.DataArray(float(match[1]), name=name, attrs={"units": match[2] or unit})
    try:
        found = float(in_unit(number, unit))
    except ValueError:
        raise ValueError(
            f"{name}: {match[2]!r} cannot be converted to {unit}"
        ) from None
    if not np.isfinite(found):
        raise ValueError(f"{name} must be finite, not {value!r}")
    return found
