"""Channels of an image as OME-Zarr shows them: names, colours, display ranges."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.arrays.ngff import channel_entry, rendering

if TYPE_CHECKING:
    from typing import Self

    import xarray as xr

    from limnd2_xr.export.export_journal import Found

__all__ = ["ChannelDisplay"]

_COLOR: Final = re.compile(r"#?([0-9A-Fa-f]{6})")
_RGB: Final = ("FF0000", "00FF00", "0000FF")
_WHITE: Final = "FFFFFF"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelDisplay:
    """How the channels of an image are shown."""

    names: tuple[str, ...]
    colors: tuple[str, ...]
    """``RRGGBB``."""
    ranges: tuple[tuple[float, float] | None, ...]
    """Values shown darkest and brightest; None where not known."""
    limits: tuple[float, float] | None
    """Values that a pixel can have; None of floats: that is known from the pixels."""
    planes: int = 1
    """Along Z."""

    @classmethod
    def of(cls, image: xr.DataArray) -> Self:
        """Return what the coordinates of an image tell.

        Parameters
        ----------
        image
            Of one position; components of RGB become channels.
        """
        count, samples = image.sizes.get("C", 1), image.sizes.get("S", 1)
        names = [
            name or f"channel {i}" for i, name in enumerate(_texts(image, "C", count))
        ]
        colors = [_hex(text) for text in _texts(image, "color", count)]
        lows = _numbers(image, "display_min", count)
        highs = _numbers(image, "display_max", count)
        ranges = [
            (low, high) if math.isfinite(high - low) and low < high else None
            for low, high in zip(lows, highs, strict=True)
        ]
        if samples > 1:
            letters = ["RGBA"[i] if samples <= 4 else str(i) for i in range(samples)]
            names = [
                letter if count == 1 else f"{name} {letter}"
                for name in names
                for letter in letters
            ]
            colors = [(*_RGB, *[_WHITE] * samples)[i] for i in range(samples)] * count
            ranges = [one for one in ranges for _ in letters]
        return cls(
            names=tuple(names),
            colors=tuple(colors),
            ranges=tuple(ranges),
            limits=_limits(image),
            planes=image.sizes.get("Z", 1),
        )

    def omero(self, found: Found) -> dict[str, Any]:
        """Return the metadata ``omero``.

        Parameters
        ----------
        found
            In the pixels, where `limits` are not known.
        """
        limits = self.limits or _span(found)
        channels = zip(self.names, self.colors, self.ranges, strict=True)
        return {
            "channels": [
                channel_entry(name, color, limits, shown)
                for name, color, shown in channels
            ],
            "rdefs": rendering(self.planes, is_grey=self.colors == (_WHITE,)),
        }


def _span(found: Found) -> tuple[float, float]:
    """Return the values found in pixels, as a range that is not empty."""
    low, high = found.low, found.high
    if low is None or high is None:
        return 0.0, 1.0
    return (low, high) if low < high else (low, low + 1.0)


def _limits(image: xr.DataArray) -> tuple[float, float] | None:
    if image.dtype.kind == "f":
        return None
    limits = np.iinfo(image.dtype)
    bits = image.attrs.get("significant_bits")
    is_stated = isinstance(bits, (int, np.integer)) and 0 < bits < limits.bits
    if is_stated and image.dtype.kind == "u":
        return 0.0, float(2 ** int(bits) - 1)  # type: ignore[arg-type]  # an int
    return float(limits.min), float(limits.max)


def _hex(text: str) -> str:
    found = _COLOR.fullmatch(text)
    return found[1].upper() if found else _WHITE


def _texts(image: xr.DataArray, name: str, count: int) -> list[str]:
    if name not in image.coords:
        return [""] * count
    values = np.atleast_1d(image.coords[name].values)
    return (
        [str(value) for value in values] if values.shape == (count,) else [""] * count
    )


def _numbers(image: xr.DataArray, name: str, count: int) -> list[float]:
    if name in image.coords:
        values = np.atleast_1d(image.coords[name].values)
        if values.shape == (count,) and values.dtype.kind in "iuf":
            return [float(value) for value in values]
    return [math.nan] * count
