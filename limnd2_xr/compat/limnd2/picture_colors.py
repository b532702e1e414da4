"""Colours of planes, as stored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

__all__ = ["WHITE", "calculateColor"]

WHITE: Final = 0xFFFFFF
"""The colour of what has none."""
_NAMED_COLORS: Final = {
    "red": 0xFF0000,
    "green": 0x008000,
    "blue": 0x0000FF,
    "yellow": 0xFFFF00,
    "cyan": 0x00FFFF,
    "magenta": 0xFF00FF,
    "orange": 0xFFA500,
    "pink": 0xFFC0CB,
    "purple": 0x800080,
    "brown": 0xA52A2A,
    "gray": 0x808080,
    "black": 0x000000,
    "white": 0xFFFFFF,
}


def calculateColor(color: str | tuple[int, int, int] | None) -> int:
    """Return a colour as it is stored: ``0x00BBGGRR``.

    Parameters
    ----------
    color
        Name, ``"#rrggbb"``, ``"rrggbb"`` or red, green and blue; None is white.

    Raises
    ------
    ValueError
        If it is no colour.

    Examples
    --------
    >>> hex(calculateColor("#0080ff"))
    '0xff8000'
    """
    if color is None:
        return WHITE
    if isinstance(color, str):
        named = _NAMED_COLORS.get(color.strip().lower())
        digits = color.strip().removeprefix("#")
        if named is None:
            if len(digits) != 6 or not set(digits.lower()) <= set("0123456789abcdef"):
                raise ValueError(
                    f"Invalid HTML color string {color!r}: give #rrggbb or one of "
                    f"{', '.join(_NAMED_COLORS)}"
                )
            named = int(digits, 16)
        red, green, blue = named.to_bytes(3, "big")
    else:
        given: Any = color  # whatever it is
        parts = tuple(given) if isinstance(given, Iterable) else ()
        whole = all(isinstance(part, (int, np.integer)) for part in parts)
        if len(parts) != 3 or not whole or not all(0 <= part <= 0xFF for part in parts):
            raise ValueError(
                f"a colour is a name, #rrggbb or red, green and blue from 0 to 255, not "
                f"{color!r}"
            )
        red, green, blue = map(int, parts)
    return red | green << 8 | blue << 16
