"""Smaller copies to chunks: the groups ``levels`` of a tree that is written.

Copies that are made from the frames while these are written are another matter, see
`limnd2_xr.frames.copy_room`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from limnd2_xr.arrays.frame_blocks import FrameBlocks
from limnd2_xr.arrays.label_layers import StoredMasks
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.pyramid import (
    decode_level,
    encode_level,
    level_chunk_name,
    level_layout,
    level_sizes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray as xr

    from limnd2_xr.frames.layout import PixelLayout
    from limnd2_xr.model.axes import Axes

__all__ = ["LevelPayloads", "level_payloads"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    """Copies of one level."""

    blocks: FrameBlocks
    layout: PixelLayout
    size: int
    """In the names of the chunks."""
    is_partial: bool
    """Whether the file that the copies came from has them, of some frames at least."""


class LevelPayloads(Mapping[str, "bytes | None"]):
    """Chunks of smaller copies by name, each made when it is asked for.

    Of lazy arrays one block is in memory at a time. A copy that is what its file has
    keeps its bytes. None stands for a frame of which that file has no copy, as long as
    the array has zeros there, which is what such frames read as.

    Parameters
    ----------
    levels
        What is stored, by level.
    axes
        Loops of the file.
    stored
        What the file has that the copies came from.
    """

    def __init__(
        self, levels: Mapping[int, _Level], axes: Axes, stored: StoredMasks
    ) -> None:
        self._stored = stored
        self._places = {
            level_chunk_name(level.size, number): (level, number)
            for level in levels.values()
            for number in range(axes.n_frames)
        }

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __getitem__(self, name: str) -> bytes | None:
        level, number = self._places[name]
        pixels = level.blocks.frame(number).reshape(level.layout.frame_shape)
        before = self._stored.read(
            level_chunk_name(level.size, self._stored.frame(number))
        )
        if before is None:
            if level.is_partial and not pixels.any():
                return None
            return encode_level(pixels, level.layout)
        try:
            known = decode_level(before, level.layout)
        except CorruptChunk:
            return encode_level(pixels, level.layout)
        same = np.array_equal(known, pixels, equal_nan=known.dtype.kind == "f")
        # What pads the rows may be anything.
        return before if same else encode_level(pixels, level.layout)


def level_payloads(
    levels: Mapping[int, xr.DataArray],
    axes: Axes,
    layout: PixelLayout,
    stored: StoredMasks | None = None,
) -> LevelPayloads:
    """Describe smaller copies as chunks of a file.

    Parameters
    ----------
    levels
        Copies by level: 1 is half as wide and high as the image. Over the loop dims, C,
        Y, X and, for RGB, S, in any order; Y and X may also be called ``Y_1`` and
        ``X_1``, with the number of the level, as in the tree.
    axes
        Loops of the file.
    layout
        Of its frames.
    stored
        What the file has that the copies came from.

    Raises
    ------
    ValueError
        If a level is none, or its dims, sizes or type do not fit the image; what is
        needed is said.
    """
    stored = stored or StoredMasks()
    found = {
        number: _checked(number, array, axes, layout, stored)
        for number, array in levels.items()
    }
    return LevelPayloads(found, axes, stored)


def _checked(
    number: int,
    array: xr.DataArray,
    axes: Axes,
    layout: PixelLayout,
    stored: StoredMasks,
) -> _Level:
    if number < 1:
        raise ValueError(f"levels of smaller copies are 1, 2, ..., not {number}")
    small = level_layout(layout, number)
    own = {f"{dim}_{number}": dim for dim in ("Y", "X") if dim not in array.dims}
    array = array.rename({old: new for old, new in own.items() if old in array.dims})
    needed: dict[str, int] = dict(zip(axes.dims, axes.shape, strict=True))
    needed |= zip(("C", "Y", "X", "S"), small.frame_shape, strict=False)
    sizes = {str(dim): length for dim, length in array.sizes.items()}
    if {**dict.fromkeys(needed, 1), **sizes} != needed:
        raise ValueError(
            f"level {number} is of the sizes {sizes}, not {needed}: make the copies from "
            'the image with pyramid=True, or drop them with tree.drop_nodes("levels")'
        )
    if not np.can_cast(array.dtype, layout.dtype, "equiv"):
        raise ValueError(
            f"level {number} is {array.dtype}, the image {layout.dtype}: convert it with "
            f'.astype("{layout.dtype}")'
        )
    inner = tuple(dim for dim in ("C", "Y", "X", "S") if dim in array.dims)
    size, is_partial = _stored_size(number, layout, axes, stored)
    return _Level(
        blocks=FrameBlocks(array, axes, inner),
        layout=small,
        size=size,
        is_partial=is_partial,
    )


def _stored_size(
    number: int, layout: PixelLayout, axes: Axes, stored: StoredMasks
) -> tuple[int, bool]:
    """Size by which the file calls a level, and whether it has copies of it."""
    sizes = level_sizes(layout, number)
    frames = [stored.frame(frame) for frame in range(axes.n_frames)]
    for size in sizes:
        if any(stored.has(level_chunk_name(size, frame)) for frame in frames):
            return size, True
    return sizes[0], False
