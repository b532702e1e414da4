"""Wells of positions, from names such as ``plate1_A01_s2``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from limnd2_xr.model.plates import canonical_well, parse_well

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["wells_in_names"]

_UPPER: Final = re.compile(r"(?<![A-Za-z0-9])([A-Z]{1,2}0*[1-9]\d?)(?![A-Za-z0-9])")
_LOWER: Final = re.compile(r"(?<![A-Za-z0-9])([a-z]{1,2}0*[1-9]\d?)(?![A-Za-z0-9])")
_LARGEST: Final = (32, 48)
"""Rows and columns of 1536 wells."""


def wells_in_names(names: Sequence[str]) -> list[str]:
    """Return the well that each name tells.

    Parameters
    ----------
    names
        Of positions: each with one part, such as ``A01``, ``b3`` or ``AF48``, that is a
        well of a plate of at most 1536.

    Raises
    ------
    ValueError
        If a name has none or several.

    Examples
    --------
    >>> wells_in_names(["plate1_A1_s2", "B03"])
    ['A01', 'B03']
    """
    return [_well_in(name) for name in names]


def _well_in(name: str) -> str:
    # Small letters count counters, as in s2 and t10, where there is a large one.
    for expression in (_UPPER, _LOWER):
        found = {canonical_well(part) for part in expression.findall(name)}
        usual = {well for well in found if _is_usual(well)}
        if len(usual) == 1:
            return usual.pop()
        if usual:
            break
    told = f"tells {len(usual)} wells" if usual else "tells no well"
    raise ValueError(
        f"position {name!r} {told}: each name must have one part such as A01, or the "
        "pattern a group {W}"
    )


def _is_usual(well: str) -> bool:
    row, column = parse_well(well)
    return row < _LARGEST[0] and column < _LARGEST[1]
