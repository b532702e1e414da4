"""Which step of each loop a frame is, as limnd2 counts them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

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
    counts = [count for _, count in axes.nesting]
    total = math.prod(counts)
    indexes = np.unravel_index(np.arange(total), counts) if counts else ()
    names: list[str] = []
    columns: list[list[int]] = []
    for dim in axes.file_order:
        column = np.zeros(total, np.int64)
        for place in axes.loops_along(dim):
            column = column * counts[place] + indexes[place]
        names.append(_LETTERS[dim])
        columns.append(column.tolist())
    if wells and "m" in names:
        by_frame = {item.seqIndex: item.wellIndex for item in wells}
        well = [by_frame.get(number, 0) for number in range(total)]
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
