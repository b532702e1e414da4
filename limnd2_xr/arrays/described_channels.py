"""From the channel coordinates of an array to the channels of a file."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.arrays.units import in_unit
from limnd2_xr.model.channels import Channel, channel_names, default_channels
from limnd2_xr.model.modality import flags_of_description
from limnd2_xr.model.optics import LightPath

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from limnd2_xr.arrays.readback import Known
    from limnd2_xr.arrays.units import Unit
    from limnd2_xr.model.attributes import Attributes
    from limnd2_xr.model.document import Nd2Document

__all__ = ["described_channels"]

_NUMBERS: Final[dict[str, tuple[str, Unit]]] = {
    "emission_wavelength": ("emission_nm", "nm"),
    "excitation_wavelength": ("excitation_nm", "nm"),
    "exposure_time": ("exposure_s", "s"),
    "pinhole_diameter": ("pinhole_um", "um"),
}
_TEXTS: Final = ("color", "modality", "binning", "camera")
_COLOR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_BINNING: Final = re.compile(r"\d+(\.\d+)?x\d+(\.\d+)?")
_PALETTE: Final = ("#0000ff", "#00ff00", "#ff0000", "#00ffff", "#ff00ff", "#ffff00")


def described_channels(
    image: xr.DataArray,
    attributes: Attributes,
    base: Nd2Document | None,
    known: Known,
) -> tuple[Channel, ...]:
    """Channels that the coordinates along C describe.

    Parameters
    ----------
    image
        With the dim C.
    attributes
        Of the file to be; they tell what the channels are called if nothing else does.
    base
        Document of the file that the array came from, None without one: a channel with
        the label of one of its channels is that one, with everything that coordinates
        do not tell; so is one with another label in its place.
    known
        What is known of the array from that file.

    Raises
    ------
    ValueError
        If names repeat, or a colour, a modality or a unit is not known.
    """
    channels = _named(image, attributes, base)
    told = [
        name
        for name in (*_NUMBERS, *_TEXTS)
        if name in image.coords and not known.same(image, name)
    ]
    for name in told:
        values = _per_channel(image, name)
        channels = [
            _with_number(channel, _NUMBERS[name][0], value)
            if name in _NUMBERS
            else _with_text(channel, name, str(value))
            for channel, value in zip(channels, values, strict=True)
        ]
    return tuple(map(_without_colour_wavelengths, channels))


def _without_colour_wavelengths(channel: Channel) -> Channel:
    """Leave out what a file cannot say of three components; it is told as a loss."""
    if not channel.is_rgb:
        return channel
    return replace(channel, emission_nm=None, excitation_nm=None)


def _per_channel(image: xr.DataArray, name: str) -> list[Any]:
    """Values of a coordinate, one a channel, in the unit of the dataset."""
    coordinate = image.coords[name]
    others = [str(dim) for dim in coordinate.dims if dim != "C"]
    if others:
        raise ValueError(
            f"coordinate {name} varies along {', '.join(others)}, but a file holds one "
            f"value a channel: take one of them with da.assign_coords({name}="
            f"da.{name}.isel(...)), or da.drop_vars({name!r})"
        )
    values: NDArray[Any] = coordinate.values
    if name in _NUMBERS:
        values = in_unit(coordinate, _NUMBERS[name][1])
    found: list[Any] = np.broadcast_to(values, (image.sizes["C"],)).tolist()
    return found


def _named(
    image: xr.DataArray, attributes: Attributes, base: Nd2Document | None
) -> list[Channel]:
    count = image.sizes["C"]
    rgb = attributes.components == 3 * count
    size = 3 if rgb else 1
    old = base.channels if base else ()
    known = dict(zip(channel_names(old), old, strict=True))
    others = list(old) if len(old) == count else _defaults(attributes, count, size)
    if base and len(old) != count:
        path = LightPath(
            **{item.name: getattr(base.optics, item.name) for item in fields(LightPath)}
        )
        others = [replace(channel, light_path=path) for channel in others]
    if "C" not in image.coords:
        return [replace(channel, component_count=size) for channel in others]
    names = [str(name) for name in np.atleast_1d(image.coords["C"].values).tolist()]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"channel names repeat ({', '.join(map(repr, repeated[:5]))}): give each its "
            "own with da.assign_coords(C=[...])"
        )
    return [
        replace(known[name], component_count=size)
        if name in known
        else replace(others[i], name=name, component_count=size)
        for i, name in enumerate(names)
    ]


def _defaults(attributes: Attributes, count: int, size: int) -> list[Channel]:
    """Channels about which nothing is said: named by the vendor's rule, coloured."""
    made = default_channels(replace(attributes, components=count * size))
    if count == 1 and size == 3:
        made = (Channel(name="RGB"),)
    elif len(made) != count:
        made = tuple(Channel(name=f"Channel_{i}") for i in range(count))
    plain = count == 1 or size == 3
    light = "brightfield" if size == 3 else "fluorescence"
    return [
        replace(
            channel,
            component_count=size,
            color="#ffffff" if plain else _PALETTE[i % len(_PALETTE)],
            modality=light,
            modality_flags=(light, "camera"),
        )
        for i, channel in enumerate(made)
    ]


def _with_number(channel: Channel, field: str, value: float) -> Channel:
    known = np.isfinite(value) and value > 0
    changed: dict[str, Any] = {field: float(value) if known else None}
    return replace(channel, **changed)


def _with_text(channel: Channel, name: str, text: str) -> Channel:
    changed: dict[str, Any]
    if text == (getattr(channel, name) or ""):
        return channel
    if name == "color":
        if not _COLOR.fullmatch(text):
            raise ValueError(
                f"color {text!r} of channel {channel.name!r}: not '#rrggbb'"
            )
        changed = {"color": text.lower()}
    elif name == "modality":
        flags = flags_of_description(text)
        changed = {"modality": text, "modality_flags": flags}
    elif name == "binning":
        if text and not _BINNING.fullmatch(text):
            raise ValueError(f"binning {text!r} of channel {channel.name!r}: not '2x2'")
        changed = {"binning": text or None}
    else:
        changed = {"light_path": replace(channel.light_path, camera=text)}
    return replace(channel, **changed)
