"""Masks of whole frames from an open file, and whether a frame has one at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from limnd2_xr.damage import report_damage
from limnd2_xr.errors import CorruptChunk, UnsupportedFeature
from limnd2_xr.frames.masks import assemble, decode_rle, decode_tile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from limnd2_xr.frames.store import FrameStore
    from limnd2_xr.model.binary_layer import BinaryLayer

__all__ = ["read_mask", "read_masks"]

_BATCH: Final = 256
"""Frames whose chunks are read at once."""
_EMPTY_NBYTES: Final = 4
"""No more than these are a picture that holds nothing (FORMAT 10.2)."""


def read_masks(
    store: FrameStore, layer: BinaryLayer
) -> Iterator[NDArray[np.uint32] | None]:
    """Yield the mask of each frame of a layer, by number; None for one without.

    Parameters
    ----------
    store
        The open file.
    layer
        One of its layers.

    Yields
    ------
    ndarray of uint32 or None
        Of shape (Y, X).

    Warns
    -----
    Nd2Warning
        For each mask that is damaged; it counts as none.
    """
    chunks, n = store.state.chunks, store.axes.n_frames
    for first in range(0, n, _BATCH):
        names = [
            {at: name for at, name in _names(layer, number).items() if name in chunks}
            for number in range(first, min(first + _BATCH, n))
        ]
        found = store.read_chunks(name for part in names for name in part.values())
        for part in names:
            payloads = {at: found[name] for at, name in part.items()}
            yield _mask(store, layer, payloads, next(iter(part.values()), ""))


def read_mask(
    store: FrameStore, layer: BinaryLayer, number: int
) -> NDArray[np.uint32] | None:
    """Return the mask of one frame of a layer; None if it has none.

    Parameters
    ----------
    store
        The open file.
    layer
        One of its layers.
    number
        Of the frame.

    Returns
    -------
    ndarray of uint32 or None
        Of shape (Y, X).

    Warns
    -----
    Nd2Warning
        If the mask is damaged; it counts as none.
    """
    chunks = store.state.chunks
    names = {at: name for at, name in _names(layer, number).items() if name in chunks}
    found = store.read_chunks(names.values())
    payloads = {at: found[name] for at, name in names.items()}
    return _mask(store, layer, payloads, next(iter(names.values()), ""))


def _names(layer: BinaryLayer, number: int) -> Mapping[tuple[int, int], str]:
    """Chunks of one frame by their place in the grid of tiles."""
    if layer.kind == "rle":
        return {(0, 0): layer.chunk_name(number)}
    return layer.tile_names(number)


def _mask(
    store: FrameStore,
    layer: BinaryLayer,
    payloads: Mapping[tuple[int, int], bytes],
    chunk: str,
) -> NDArray[np.uint32] | None:
    layout = store.table.layout
    shape = layout.height, layout.width
    try:
        if layer.kind == "rle":
            payload = payloads.get((0, 0), b"")
            return decode_rle(payload, shape) if len(payload) > _EMPTY_NBYTES else None
        tile_shape = layer.tile_height, layer.tile_width
        tiles = {at: decode_tile(data, tile_shape) for at, data in payloads.items()}
        return assemble(tiles, shape, tile_shape) if tiles else None
    except (CorruptChunk, UnsupportedFeature) as error:
        located = error.located(path=store.source_name, chunk=chunk)
        report_damage(located, "this mask is left out")
        return None
