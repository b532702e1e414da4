"""From the channel coordinates of an array to the channels of a file."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.arrays.units import in_unit
from limnd2_xr.model.channels import Channel, channel_names, default_channels
from limnd2_xr.model.modality import flags_of_description

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

    from limnd2_xr.arrays.units import Unit
    from limnd2_xr.model.attributes import Attributes

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
    base: Sequence[Channel],
) -> tuple[Channel, ...]:
    """Channels that the coordinates along C describe.

    Parameters
    ----------
    image
        With the dim C.
    attributes
        Of the file to be; they tell what the channels are called if nothing else does.
    base
        Channels of the file that the array came from: a channel with the label of one
        of these is that one, with everything that coordinates do not tell; one with
        another label in the place of one that is gone is that one renamed.

    Raises
    ------
    ValueError
        If names repeat, or a colour, a modality or a unit is not known.
    """
    channels = _named(image, attributes, base)
    for name, (field, unit) in _NUMBERS.items():
        if name in image.coords:
            values = np.broadcast_to(
                in_unit(image.coords[name], unit), (len(channels),)
            ).tolist()
            channels = [
                _with_number(c, field, v) for c, v in zip(channels, values, strict=True)
            ]
    for name in _TEXTS:
        if name in image.coords:
            texts = np.broadcast_to(image.coords[name].values, (len(channels),))
            channels = [
                _with_text(c, name, str(text))
                for c, text in zip(channels, texts.tolist(), strict=True)
            ]
    return tuple(channels)


def _named(
    image: xr.DataArray, attributes: Attributes, base: Sequence[Channel]
) -> list[Channel]:
    count = image.sizes["C"]
    rgb = attributes.components == 3 * count
    size = 3 if rgb else 1
    known = dict(zip(channel_names(base), base, strict=True))
    if "C" not in image.coords:
        if len(base) == count:
            return [replace(channel, component_count=size) for channel in base]
        return _defaults(attributes, count, size)
    names = [str(name) for name in np.atleast_1d(image.coords["C"].values).tolist()]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"channel names repeat ({', '.join(map(repr, repeated[:5]))}): give each its "
            "own with da.assign_coords(C=[...])"
        )
    renamed = len(base) == count
    fresh = _defaults(attributes, count, size)
    channels = []
    for i, name in enumerate(names):
        if name in known:
            channel = known[name]
        elif renamed and list(known)[i] not in names:
            channel = replace(base[i], name=name)
        else:
            path = base[0].light_path if base else fresh[i].light_path
            channel = replace(fresh[i], name=name, light_path=path)
        channels.append(replace(channel, component_count=size))
    return channels


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
