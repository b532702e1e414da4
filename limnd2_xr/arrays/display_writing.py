"""How the channels of an array are shown: from its coordinates to a chunk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from limnd2_xr.arrays.attached import AttachedChunks
from limnd2_xr.arrays.coords import DISPLAY_COORDS
from limnd2_xr.arrays.readback import coordinate_differences
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.display import integer_bits, range_table
from limnd2_xr.model.display import (
    DISPLAY,
    Display,
    DisplayRange,
    component_ranges,
    display_tree,
    parse_display,
)
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.encode import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from limnd2_xr.arrays.origin import Origin
    from limnd2_xr.model.attributes import Attributes
    from limnd2_xr.variants.tree import Level

__all__ = ["display_chunks", "scaled_ranges"]


def display_chunks(
    image: xr.DataArray, origin: Origin | None, attributes: Attributes
) -> AttachedChunks:
    """Make the chunk that says how the channels of an array are shown.

    Parameters
    ----------
    image
        With the coordinates ``display_min``, ``display_max`` and ``gamma`` along C, some
        of them or none: what it does not tell is as in the file that it came from, or
        the whole range of values.
    origin
        That file.
    attributes
        Of the file to be written.

    Raises
    ------
    ValueError
        If a range cannot be stored.
    """
    bits = integer_bits(attributes)
    counts = [image.sizes.get("S", 1)] * image.sizes["C"]
    file = _File.of(origin)
    known = _known(origin, len(counts))
    given = np.array([_told(image, name, known[name]) for name in DISPLAY_COORDS])
    same = origin is not None and bits == integer_bits(origin.state.document.attributes)
    edited = not (same and np.array_equal(given, [*known.values()], equal_nan=True))
    if not edited and origin is not None and (origin.has_all_channels or not file.tree):
        return AttachedChunks()
    told = any(name in image.coords for name in DISPLAY_COORDS)
    if np.isnan(given).all() and not (told and file.display.ranges):
        return file.without_ranges()
    ranges = _filled(given, 1.0 if bits is None else 2.0**bits - 1)
    components = component_ranges(ranges, counts, file.components(origin, counts))
    display = Display(
        ranges=components, auto_contrast=file.display.auto_contrast and not edited
    )
    tree = _tree(display, bits, rgb=counts[0] == 3, base=file.tree)
    made = {DISPLAY: encode(tree)}
    found = parse_display(decode(made[DISPLAY]), sum(counts), bits)
    return AttachedChunks(
        made=made,
        losses=_losses(image, range_table(found.ranges, counts)),
    )


def scaled_ranges(image: xr.DataArray, scale: float) -> xr.DataArray:
    """Return an array whose display ranges are those of pixels times a factor.

    Parameters
    ----------
    image
        With the coordinates ``display_min`` and ``display_max``, or without.
    scale
        The factor.
    """
    names = [name for name in DISPLAY_COORDS[:2] if name in image.coords]
    scaled = {
        name: image.coords[name].variable.copy(data=image.coords[name].values * scale)
        for name in names
    }
    return image.assign_coords(scaled)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """What the file behind an array says of how it is shown."""

    payload: bytes | None = None
    tree: Level | None = None
    display: Display = field(default_factory=Display)

    @classmethod
    def of(cls, origin: Origin | None) -> _File:
        """Read it; nothing is known of a damaged one."""
        if origin is None:
            return cls()
        attributes = origin.state.document.attributes
        try:
            for _, payload in origin.payloads([DISPLAY]):
                tree = decode(payload)
                n = attributes.components
                display = parse_display(tree, n, integer_bits(attributes))
                return cls(payload=payload, tree=tree, display=display)
        except CorruptChunk:
            pass
        return cls()

    def without_ranges(self) -> AttachedChunks:
        """Carry what has no ranges along, whichever channels are written."""
        if self.payload is None or self.display.ranges:
            return AttachedChunks()
        return AttachedChunks(made={DISPLAY: self.payload})

    def components(
        self, origin: Origin | None, counts: list[int]
    ) -> tuple[DisplayRange, ...]:
        """Ranges of the components that an array has; none where that is not known."""
        if origin is None or not self.display.ranges:
            return ()
        n = origin.state.table.layout.samples
        picked = origin.known.picked.get("C")
        if picked is None or [n] * len(picked) != counts:
            return ()
        return tuple(
            component
            for channel in picked.tolist()
            for component in self.display.ranges[channel * n : (channel + 1) * n]
        )


def _known(origin: Origin | None, count: int) -> dict[str, NDArray[np.float64]]:
    """Ranges that the file has for the channels of an array."""
    coords: Mapping[Any, Any] = {} if origin is None else origin.known.coords.coords
    return {
        name: np.broadcast_to(coords[name].values, (count,))
        if name in coords
        else np.full(count, np.nan)
        for name in DISPLAY_COORDS
    }


def _told(
    image: xr.DataArray, name: str, known: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values of a coordinate, one a channel; around all where it varies within one."""
    if name not in image.coords:
        return known
    found = image.coords[name]
    if found.dtype.kind not in "iuf":
        raise ValueError(f"coordinate {name} holds {found.dtype} values, not numbers")
    others = [dim for dim in found.dims if dim != "C"]
    if name == "gamma":
        found = found.isel(dict.fromkeys(others, 0))
    elif others:
        found = found.min(others) if name == "display_min" else found.max(others)
    return np.broadcast_to(found.values, known.shape).astype(np.float64)


def _filled(given: NDArray[np.float64], brightest: float) -> list[DisplayRange]:
    """Return ranges, those of unknown ends over all values."""
    default = np.array([[0.0], [brightest], [1.0]])
    return [
        DisplayRange(minimum=low, maximum=high, gamma=gamma)
        for low, high, gamma in np.where(np.isnan(given), default, given).T.tolist()
    ]


def _tree(
    display: Display, bits: int | None, *, rgb: bool, base: Level | None
) -> Level:
    try:
        return display_tree(display, bits, rgb=rgb, base=base)
    except CorruptChunk:
        # As values of another type, ranges of the source may be none.
        return display_tree(display, bits, rgb=rgb)


def _losses(image: xr.DataArray, found: NDArray[np.float64]) -> tuple[str, ...]:
    """Say which ranges read differently; those that were not known may."""
    told = []
    for name, values in zip(DISPLAY_COORDS, found, strict=True):
        if name not in image.coords:
            continue
        own, read = image.coords[name], xr.DataArray(values, dims=("C",))
        if set(own.dims) - {"C"}:
            told.append(f"coordinate {name} (one value a channel is written)")
            continue
        given = np.broadcast_to(own.values, values.shape).astype(np.float64)
        filled = read.copy(data=np.where(np.isnan(given), values, given))
        told += coordinate_differences({name: filled}, {name: read}, ())
    return tuple(told)
