"""Which step of each loop a frame is, as limnd2 counts them."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limnd2_xr.compat.limnd2.wellplates import WellplateFrameInfo
    from limnd2_xr.model.axes import Axes

__all__ = ["LoopIndexes", "dimension_sizes", "loop_indexes"]

_LETTERS: Final = {"T": "t", "P": "m", "Z": "z", "U": "?"}

LoopIndexes = tuple[list[str], list[tuple[int, ...]]]
"""Letters of the loops, and the step of each for every frame."""


def dimension_sizes(axes: Axes) -> dict[str, int]:
    """Return the steps of each loop by its letter, the outermost first.

    Loops along one dimension count as one. A run that was stopped is as long as it was.
    """
    return {_LETTERS[dim]: axes.size(dim) for dim in axes.file_order}


def loop_indexes(axes: Axes, wells: WellplateFrameInfo | None) -> LoopIndexes:
    """Return the step of each loop for each frame, in the order of the frames.

    Parameters
    ----------
    axes
        Loops of the file.
    wells
        Well of each frame. With them and positions the well comes first, as ``w``, and
        ``m`` counts the positions within it.
    """
    names: list[str] = []
    columns: list[list[int]] = []
    indexes = list(product(*(range(count) for _, count in axes.nesting)))
    for dim in axes.file_order:
        places = axes.loops_along(dim)
        column = []
        for index in indexes:
            total = 0
            for place in places:
                total = total * axes.nesting[place][1] + index[place]
            column.append(total)
        names.append(_LETTERS[dim])
        columns.append(column)
    if wells and "m" in names:
        by_frame = {item.seqIndex: item.wellIndex for item in wells}
        well = [by_frame.get(number, 0) for number in range(len(indexes))]
        at = names.index("m")
        columns[at] = _within(well, columns[at])
        names.insert(0, "w")
        columns.insert(0, well)
    return names, list(zip(*columns, strict=True)) if columns else []


def _within(wells: Sequence[int], positions: Sequence[int]) -> list[int]:
    """Return the number of each position among those of its well."""
    seen: dict[int, dict[int, int]] = {}
    return [
        seen.setdefault(well, {}).setdefault(position, len(seen[well]))
        for well, position in zip(wells, positions, strict=True)
    ]
