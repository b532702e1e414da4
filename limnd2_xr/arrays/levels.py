"""Smaller copies of the image: the groups ``levels/1``, ``levels/2`` ..."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr
from xarray.core import indexing

from limnd2_xr.arrays.coords import coordinates
from limnd2_xr.arrays.dataset import IMAGE
from limnd2_xr.arrays.lazy import ChunkFrameArray
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.pyramid import (
    LEVEL_FAMILY,
    decode_level,
    stored_levels,
    wrong_size,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.arrays.lazy import Indices, StoreManager
    from limnd2_xr.frames.pyramid import PyramidLevel
    from limnd2_xr.frames.store import FrameStore, StoreState

__all__ = ["LEVELS", "LevelArray", "levels_group", "levels_of"]

LEVELS: Final = "/levels"
"""Path of the groups."""


class LevelArray(ChunkFrameArray):
    """Stored smaller copies of the frames of one level, read when asked for.

    Parameters
    ----------
    manager
        Owner of the open `FrameStore`.
    state
        What opening the file found out.
    level
        Which level.
    """

    def __init__(
        self,
        manager: StoreManager,
        state: StoreState,
        level: PyramidLevel,
    ) -> None:
        layout = level.layout
        super().__init__(manager, state, layout.frame_shape, layout.dtype)
        self._level = level

    def __dask_tokenize__(self) -> tuple[str, int]:
        return self.manager.token, self._level.size

    def read_frame(
        self, store: FrameStore, number: int, indices: tuple[Indices, ...]
    ) -> NDArray[Any]:
        """Return a part of the copy of one frame, zeros where there is none.

        Only the rows that are asked for are read, and what is between them.
        """
        name, layout = self._level.chunk_name(number), self._level.layout
        entry = store.state.chunks.find(name)
        if entry is None:
            return np.zeros(tuple(map(len, indices)), self.dtype)
        try:
            if entry.nbytes not in {None, layout.frame_nbytes}:
                raise wrong_size(entry.nbytes, layout)
            first, stop = int(indices[1].min()), int(indices[1].max()) + 1
            part = store.read_chunk_part(
                name, first * layout.row_nbytes, (stop - first) * layout.row_nbytes
            )
        except CorruptChunk as error:
            raise error.located(path=store.source_name, chunk=name) from error
        pixels = decode_level(part, replace(layout, height=stop - first))
        channels, rows, *rest = indices
        found: NDArray[Any] = pixels[np.ix_(channels, rows - first, *rest)]
        return found


def level_dims(state: StoreState, level: PyramidLevel) -> tuple[str, ...]:
    """Dims of a level: those of the image, with Y and X of their own.

    Groups of a tree share the dims of their names, and these have another length.
    """
    own = {dim: f"{dim}_{level.level}" for dim in ("Y", "X")}
    return tuple(own.get(dim, dim) for dim in state.dims)


def levels_of(state: StoreState) -> tuple[PyramidLevel, ...]:
    """All levels of which a file has copies.

    Raises
    ------
    CorruptChunk
        If copies cannot be of its images.
    """
    sizes = {
        family.name(number): entry.nbytes
        for prefix, family in state.chunks.families().items()
        if prefix.startswith(LEVEL_FAMILY)
        for number, entry in family.items()
    }
    return stored_levels(sizes, state.table.layout)


def levels_group(state: StoreState, manager: StoreManager) -> dict[str, xr.Dataset]:
    """Return one group a stored level: ``levels/1`` is half as wide as the image.

    Parameters
    ----------
    state
        What opening the file found out.
    manager
        Owner of the open file.
    """
    levels = levels_of(state)
    if not levels:
        return {}
    made = coordinates(state, manager)
    groups = {}
    for level in levels:
        dims = level_dims(state, level)
        pixels = indexing.LazilyIndexedArray(LevelArray(manager, state, level))
        coords = {name: made[name] for name in dims if name in made}
        coords |= _in_plane(state, level)
        variable = xr.Variable(dims, pixels, {"downsampled": 2**level.level})
        groups[f"{LEVELS}/{level.level}"] = xr.Dataset(
            {IMAGE: variable}, xr.Coordinates(coords, indexes={})
        )
    return groups


def _in_plane(state: StoreState, level: PyramidLevel) -> dict[str, xr.Variable]:
    """Centres of the larger pixels, in the coordinates of the image."""
    factor, pixel_um = 2**level.level, state.document.optics.pixel_size_um
    made = {}
    for dim, length in (("Y", level.layout.height), ("X", level.layout.width)):
        values = np.arange(length) * factor + (factor - 1) / 2
        name = f"{dim}_{level.level}"
        if pixel_um is None:
            made[name] = xr.Variable((name,), values, {"long_name": "pixel"})
        else:
            attrs = {"long_name": "distance in the image", "units": "um"}
            made[name] = xr.Variable((name,), values * pixel_um, attrs)
    return made
