"""Masks on their way into a file, as tiles."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from limnd2_xr.compat.limnd2.base import BinaryIdNotFountError
from limnd2_xr.compat.limnd2.binary import BinaryRasterMetadata
from limnd2_xr.compat.limnd2.image_input import unmasked
from limnd2_xr.frames.masks import encode_tile
from limnd2_xr.model.layers import RASTER_LAYERS, decode_raster_layers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import ArrayLike

    from limnd2_xr.model.binary_layer import BinaryLayer

__all__ = ["WrittenMasks"]


class WrittenMasks:
    """The layers of a file to be written, and the chunks of their masks.

    Parameters
    ----------
    metadata
        `BinaryRasterMetadata`, or its items.
    """

    def __init__(self, metadata: Iterable[Any] = ()) -> None:
        self._payload = b""
        self._layers: dict[int, BinaryLayer] = {}
        items = BinaryRasterMetadata(metadata)
        if items:
            self._payload = items.to_json().encode()
            layers = decode_raster_layers(self._payload)
            self._layers = {layer.id: layer for layer in layers}

    def descriptions(self) -> dict[str, bytes]:
        """Return the chunk that describes the layers, by its name."""
        return {RASTER_LAYERS: self._payload} if self._layers else {}

    def tiles(
        self, binid: int, frame: int, labels: ArrayLike, level: int = 0
    ) -> Iterator[tuple[str, bytes]]:
        """Yield name and payload of each tile of a mask.

        Parameters
        ----------
        binid
            Number of the layer.
        frame
            Number of the frame.
        labels
            Of shape (rows, columns).
        level
            How often width and height are halved.

        Raises
        ------
        BinaryIdNotFountError
            If there is no such layer.
        ValueError
            If the labels do not fit it.
        """
        layer = self._layers.get(operator.index(binid))
        if layer is None:
            raise BinaryIdNotFountError(binid)
        size = layer.full_size >> level
        array = unmasked(labels)
        if array.dtype.kind not in "biu" or (array.size and int(array.min()) < 0):
            raise ValueError(
                f"labels are whole numbers from 0 on, not {array.dtype} values"
            )
        if array.shape != layer.level_shape(size):
            raise ValueError(
                f"labels of shape {array.shape} for masks of {layer.level_shape(size)}"
            )
        shape = layer.tile_height, layer.tile_width
        for (row, column), name in layer.tile_names(frame, size).items():
            y, x = row * shape[0], column * shape[1]
            part = array[y : y + shape[0], x : x + shape[1]]
            yield name, encode_tile(part, shape, layer.compression_level or 6)
