"""How NIS-Elements shows an image: the range and gamma of each component.

``CustomDataVar|LUTDataV1_0!`` has, for each component and one more, a range of whole
numbers where 65535 stands for the brightest value that the significant bits hold. In
the sample of four channels these are the 0.1 % and 99.9 % quantiles of the components,
in 8-bit ones multiples of 257 [V]; that 12 significant bits count as 4095 is [G]. The
same range is stored as fractions, too, which may say something else, and then do not
count [V]; for floats they are all there is, taken as values [G]. An image of one
component is shown by a range of the whole, unless that of its component was changed
[V, two files].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.fields import (
    finite,
    flag,
    integer,
    levels_by_number,
    positive,
    unwrap,
)
from limnd2_xr.model.tree_building import struct, xml_f64, xml_struct, xml_u32
from limnd2_xr.model.tree_editing import replaced_struct, with_fields
from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limnd2_xr.model.tree_building import Field

__all__ = [
    "DISPLAY",
    "Display",
    "DisplayRange",
    "channel_ranges",
    "component_ranges",
    "display_tree",
    "parse_display",
]

DISPLAY: Final = "CustomDataVar|LUTDataV1_0!"
"""Chunk that says how the image is shown."""

_FULL: Final = 65535
_MAX_UINT32: Final = 0xFFFF_FFFF
_ROUNDING: Final = 0.5 + 1e-6
_LUT: Final = "m_sLutParam"
_RANGES: Final = "sCompLutParam"
_VIEW: Final = "m_bViewLut"
_AUTO: Final = "m_bEnableAutoContrast"
_SPECTRAL: Final = "sLutDataSpectral"
_WHITE: Final = 0xFFFFFF
_GROUP_COLORS: Final = (0xFF0000, 0x00FF00, 0x0000FF)
_GREY, _RGB, _CHANNELS = 1, 2, 4
_SPARE: Final = 1
_LEAST_ENTRIES: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class DisplayRange:
    """Values of one component that are shown darkest and brightest."""

    minimum: float
    """Value that is black, in grey values of the image."""
    maximum: float
    """Value that is brightest."""
    gamma: float = 1.0
    """Exponent of the curve between them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Display:
    """How an image is shown."""

    ranges: tuple[DisplayRange, ...] = ()
    """Range of each component; empty if none is stored."""
    auto_contrast: bool = False
    """Whether ranges follow what is shown; then those stored are the last ones."""


def parse_display(
    level: Level, components: int, significant_bits: int | None
) -> Display:
    """Return how a decoded ``LUTDataV1_0`` shows an image.

    Parameters
    ----------
    level
        Root of the chunk, or the struct in it.
    components
        Components of a pixel.
    significant_bits
        Bits of a value that carry data; None for floats.

    Raises
    ------
    CorruptChunk
        If there are ranges, but not of every component, or a number is none.
    """
    level = _content(level)
    auto = flag(level, _AUTO)
    lut = level.level(_LUT)
    if lut is None:
        return Display(auto_contrast=auto)
    stored = levels_by_number(lut.level(_RANGES, create=True))
    if len(stored) < components:
        raise CorruptChunk(
            f"has display ranges of {len(stored)} components, the image has "
            f"{components}"
        )
    scale = _Scale(significant_bits)
    ranges = tuple(scale.parse(item) for item in stored[:components])
    # A range of the whole has no fractions: it cannot be that of floats.
    if components == 1 and significant_bits and ranges[0] == scale.everything:
        ranges = (scale.parse(lut),)
    return Display(ranges=ranges, auto_contrast=auto)


def display_tree(
    display: Display,
    significant_bits: int | None,
    *,
    rgb: bool = False,
    base: Level | None = None,
) -> Level:
    """Return the root of ``LUTDataV1_0``: the inverse of `parse_display`.

    Ranges come back with twelve significant digits.

    Parameters
    ----------
    display
        What to store.
    significant_bits
        Bits of a value that carry data; None for floats.
    rgb
        Whether the components are the colours of one channel.
    base
        Root of the source: what it says besides stays, and so do the ranges of those
        components that are the same.

    Raises
    ------
    ValueError
        If a range cannot be stored: it is negative, not finite, or its gamma is not
        above 0.

    Examples
    --------
    >>> display = Display(ranges=(DisplayRange(minimum=100, maximum=4000, gamma=0.8),))
    >>> parse_display(display_tree(display, 12), 1, 12) == display
    True
    """
    scale = _Scale(significant_bits)
    n = len(display.ranges)
    if base is None:
        fields = [_boolean(_VIEW, bool(n))]
        if n:
            fields.append(xml_struct(_LUT, _fresh_lut(display.ranges, scale, rgb)))
        fields += [
            _boolean(_AUTO, display.auto_contrast),
            _boolean("m_bEnableAutoWhite", False),
            xml_u32("m_uiAutoWhiteColor", _WHITE),
        ]
        return struct(xml_struct("no_name", struct(*fields)))
    content = _content(base)
    changes = []
    if flag(content, _AUTO) != display.auto_contrast:
        changes.append(_boolean(_AUTO, display.auto_contrast))
    lut = content.level(_LUT)
    if n and (lut is None or integer(lut, "uiLutComponentCount", n) != n):
        changes += [
            _boolean(_VIEW, True),
            xml_struct(_LUT, _fresh_lut(display.ranges, scale, rgb)),
        ]
    elif n and lut is not None:
        before = parse_display(base, n, significant_bits)
        if before.ranges != display.ranges:
            lut = _edited_lut(lut, before.ranges, display.ranges, scale)
            changes.append(xml_struct(_LUT, lut))
    return replaced_struct(base, with_fields(content, *changes)) if changes else base


def channel_ranges(
    ranges: Sequence[DisplayRange], counts: Sequence[int]
) -> tuple[DisplayRange, ...]:
    """Return the range of each channel: of its only component, or around all of them.

    Parameters
    ----------
    ranges
        Of the components.
    counts
        Components of each channel.

    Raises
    ------
    ValueError
        If there are more or fewer ranges than components.

    Examples
    --------
    >>> red, rest = (
    ...     DisplayRange(minimum=5, maximum=9),
    ...     DisplayRange(minimum=0, maximum=8),
    ... )
    >>> channel_ranges([red, rest, rest], [3])
    (DisplayRange(minimum=0, maximum=9, gamma=1.0),)
    """
    if len(ranges) != sum(counts):
        raise ValueError(f"{len(ranges)} ranges are given for {sum(counts)} components")
    found = []
    at = 0
    for count in counts:
        own = ranges[at : at + count]
        at += count
        found.append(
            DisplayRange(
                minimum=min(item.minimum for item in own),
                maximum=max(item.maximum for item in own),
                gamma=own[0].gamma,
            )
        )
    return tuple(found)


def component_ranges(
    ranges: Sequence[DisplayRange],
    counts: Sequence[int],
    base: Sequence[DisplayRange] = (),
) -> tuple[DisplayRange, ...]:
    """Return the range of each component: that of its channel.

    Parameters
    ----------
    ranges
        Of the channels.
    counts
        Components of each channel.
    base
        Ranges of the components of the source: those of a channel whose range is the
        same stay as they were.

    Examples
    --------
    >>> component_ranges([DisplayRange(minimum=0, maximum=9)], [3]) == (
    ...     DisplayRange(minimum=0, maximum=9),
    ... ) * 3
    True
    """
    found = [
        own for own, count in zip(ranges, counts, strict=True) for _ in range(count)
    ]
    if len(base) == len(found):
        at = 0
        before = channel_ranges(base, counts)
        for own, old, count in zip(ranges, before, counts, strict=True):
            if own == old:
                found[at : at + count] = base[at : at + count]
            at += count
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Grey values as stored, and back."""

    significant_bits: int | None

    @property
    def brightest(self) -> float:
        return 2.0 ** (self.significant_bits or 0) - 1 if self.significant_bits else 1.0

    @property
    def everything(self) -> DisplayRange:
        return DisplayRange(minimum=0.0, maximum=self.brightest)

    def parse(self, level: Level) -> DisplayRange:
        return DisplayRange(
            minimum=self._value(level, "Min", 0),
            maximum=self._value(level, "Max", _FULL),
            gamma=positive(level, "dGammaSrc") or 1.0,
        )

    def _value(self, level: Level, which: str, default: int) -> float:
        fraction = finite(level, f"f{which}Src")
        if self.significant_bits is None:
            if fraction is None:
                raise CorruptChunk(f"field f{which}Src is no number")
            return fraction
        stored = integer(level, f"ui{which}Src", default)
        if fraction is None or abs(fraction * _FULL - stored) > _ROUNDING:
            fraction = stored / _FULL
        # The nearest double to a decimal fraction, times 4095, is seldom whole.
        return float(f"{fraction * self.brightest:.12g}")

    def fields(self, wanted: DisplayRange, *, fractions: bool = True) -> list[Field]:
        if not wanted.gamma > 0 or not math.isfinite(wanted.gamma):
            raise ValueError(f"the gamma of a display must be above 0: {wanted.gamma}")
        low, high = wanted.minimum, wanted.maximum
        if self.significant_bits is None:
            numbers = [0, _FULL]
        else:
            numbers = [self._number(low), self._number(high)]
        if not math.isfinite(low) or not math.isfinite(high):
            raise ValueError(f"a display range must be finite: {low} to {high}")
        fields = [xml_u32("uiMinSrc", numbers[0]), xml_u32("uiMaxSrc", numbers[1])]
        if fractions:
            fields += [
                xml_f64("fMinSrc", low / self.brightest),
                xml_f64("fMaxSrc", high / self.brightest),
            ]
        return [*fields, xml_f64("dGammaSrc", wanted.gamma)]

    def _number(self, value: float) -> int:
        scaled = value / self.brightest * _FULL
        if not 0 <= scaled <= _MAX_UINT32:
            raise ValueError(
                f"{value} cannot be the end of a display range: it must be at least 0"
            )
        return round(scaled)


def _content(level: Level) -> Level:
    return unwrap(level)


def _fresh_lut(ranges: Sequence[DisplayRange], scale: _Scale, rgb: bool) -> Level:
    """Build what NIS-Elements 5 writes, with these ranges."""
    n = len(ranges)
    entries = max(n + _SPARE, _LEAST_ENTRIES)
    groups = min(n, len(_GROUP_COLORS))
    whole = ranges[0] if n == 1 and scale.significant_bits else scale.everything
    each = [*ranges, *[scale.everything] * (entries - n)]
    return struct(
        xml_u32("uiGradient", 0),
        xml_u32("uiGradientBrightField", 0),
        *scale.fields(whole, fractions=False),
        *_destination(),
        xml_u32("uiColorSpace", _GREY if n == 1 else _RGB if rgb else _CHANNELS),
        xml_u32("uiRepresentation", 0),
        xml_u32("uiLutComponentCount", n),
        xml_u32("uiGroupCount", groups),
        xml_struct(
            _RANGES,
            struct(
                *(
                    xml_struct(f"a{i:02d}", _component(item, scale, i % groups))
                    for i, item in enumerate(each)
                )
            ),
        ),
        xml_struct(_SPECTRAL, _spectral(groups)),
    )


def _component(wanted: DisplayRange, scale: _Scale, group: int) -> Level:
    return struct(*scale.fields(wanted), *_destination(), xml_u32("uiGroup", group))


def _destination() -> tuple[Field, Field]:
    return xml_u32("uiMinDst", 0), xml_u32("uiMaxDst", _FULL)


def _spectral(groups: int) -> Level:
    return struct(
        xml_f64("dGainTrueColor", 1.0),
        xml_f64("dOffsetTrueColor", 0.0),
        xml_f64("dGainGrayScale", 1.0),
        xml_f64("dOffsetGrayScal", 0.0),  # sic
        xml_u32("uiSpectralColorMode", 0),
        *(
            xml_struct(
                f"aGroup{i:02d}",
                struct(
                    xml_u32("uiColorGroup", color),
                    xml_u32("uiColorCustom", color),
                    xml_f64("dGainCustom", 1.0),
                    xml_f64("dOffsetCustom", 0.0),
                    xml_f64("dGainGrouped", 1.0),
                    xml_f64("dOffsetGrouped", 0.0),
                ),
            )
            for i, color in enumerate(_GROUP_COLORS[:groups])
        ),
    )


def _edited_lut(
    lut: Level,
    before: Sequence[DisplayRange],
    wanted: Sequence[DisplayRange],
    scale: _Scale,
) -> Level:
    """Return stored parameters with the ranges of components that changed."""
    stored = lut.level(_RANGES, create=True)
    # The names of components in the order in which their levels count.
    places = {id(item): name for name, item in stored if isinstance(item, Level)}
    changes = []
    for item, old, new in zip(levels_by_number(stored), before, wanted, strict=False):
        if old != new:
            edited = with_fields(item, *scale.fields(new))
            changes.append(xml_struct(places[id(item)], edited))
    lut = with_fields(lut, xml_struct(_RANGES, with_fields(stored, *changes)))
    if len(wanted) == 1 and scale.significant_bits:
        # Both places, so that either is right.
        lut = with_fields(lut, *scale.fields(wanted[0], fractions=False))
    return lut


def _boolean(name: str, value: bool) -> Field:
    return name, "bool", value
