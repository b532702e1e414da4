"""Label images to binary layers: what `to_nd2(labels=...)` and `update_nd2` store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.arrays.frame_blocks import FrameBlocks
from limnd2_xr.arrays.label_layers import (
    LabelLayer,
    LabelLayers,
    Labels,
    StoredMasks,
    label_layers,
)
from limnd2_xr.errors import CorruptChunk, UnsupportedFeature
from limnd2_xr.frames.masks import (
    decode_rle,
    decode_tile,
    encode_rle,
    encode_tile,
    halve_labels,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray as xr
    from numpy.typing import NDArray

    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.binary_layer import BinaryLayer

__all__ = ["LabelPayloads", "Labels", "StoredMasks", "label_payloads"]

_LARGEST: Final = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    """One tile of a frame to be written."""

    level: int
    """How often the mask is halved."""
    place: tuple[int, int]
    """Row and column in the grid of tiles."""
    source: str
    """Name of its chunk in the file that the mask may come from."""


class LabelPayloads(Mapping[str, "bytes | None"]):
    """Chunks of label images by name, each made when it is asked for.

    Of lazy arrays one block of each is in memory at a time. A mask that is what the file has
    already keeps its bytes; None stands for a chunk that is not needed.

    Parameters
    ----------
    layers
        What is stored.
    axes
        Loops of the file.
    stored
        What the file has.
    """

    def __init__(self, layers: LabelLayers, axes: Axes, stored: StoredMasks) -> None:
        self._stored = stored
        # By their place: layers of a file may have the same name.
        self._items = layers.items
        self._blocks = [
            FrameBlocks(item.array, axes, ("Y", "X")) for item in layers.items
        ]
        self._descriptions = {
            name: data for name, data in layers.descriptions.items() if data is not None
        }
        self._masks: dict[str, tuple[int, int, _Tile | None]] = {}
        for at, item in enumerate(layers.items):
            for number in range(axes.n_frames):
                if item.layer.kind == "rle":
                    self._masks[item.layer.chunk_name(number)] = at, number, None
                    continue
                for name, tile in _tiles(item.layer, number, stored):
                    self._masks[name] = at, number, tile
        self._latest: tuple[tuple[int, int], NDArray[np.uint32]] | None = None

    def __len__(self) -> int:
        return len(self._descriptions) + len(self._masks)

    def __iter__(self) -> Iterator[str]:
        yield from self._descriptions
        yield from self._masks

    def __contains__(self, name: object) -> bool:
        return name in self._descriptions or name in self._masks

    def __getitem__(self, name: str) -> bytes | None:
        if name in self._descriptions:
            return self._descriptions[name]
        at, number, tile = self._masks[name]
        item, labels = self._items[at], self._frame(at, number)
        if tile is None:
            return self._mask(item, number, labels)
        return self._tile(item.layer, tile, labels)

    def _frame(self, at: int, number: int) -> NDArray[np.uint32]:
        """One label image; the latest is kept, as it may be asked for tile by tile."""
        key = at, number
        if self._latest is not None and self._latest[0] == key:
            return self._latest[1]
        frame = self._blocks[at].frame(number)
        found = _checked(frame, self._items[at].layer.name)
        self._latest = key, found
        return found

    def _mask(
        self, item: LabelLayer, number: int, labels: NDArray[np.uint32]
    ) -> bytes | None:
        if item.source is None:
            return encode_rle(labels)
        name = item.source.chunk_name(self._stored.frame(number))
        payload = self._payload(name)
        if payload is None:
            return encode_rle(labels) if labels.any() else None
        try:
            same = np.array_equal(decode_rle(payload, labels.shape), labels)
        except (CorruptChunk, UnsupportedFeature):
            same = not labels.any()  # as which it reads, with a warning
        # Objects may overlap, which an image of them cannot tell.
        return payload if same else encode_rle(labels)

    def _tile(
        self, layer: BinaryLayer, tile: _Tile, labels: NDArray[np.uint32]
    ) -> bytes | None:
        for _ in range(tile.level):
            labels = halve_labels(labels)
        tile_shape = (layer.tile_height, layer.tile_width)
        y, x = (at * side for at, side in zip(tile.place, tile_shape, strict=True))
        part = labels[y : y + tile_shape[0], x : x + tile_shape[1]]
        payload = self._payload(tile.source)
        if payload is None:
            return encode_tile(part, tile_shape) if part.any() else None
        try:
            stored = decode_tile(payload, tile_shape)
            same = np.array_equal(stored[: part.shape[0], : part.shape[1]], part)
        except CorruptChunk:
            same = not part.any()  # as which it reads, with a warning
        return payload if same else encode_tile(part, tile_shape)

    def _payload(self, name: str) -> bytes | None:
        """Return what the file has under this name; None for what cannot be read."""
        try:
            return self._stored.read(name)
        except CorruptChunk:
            return None


def _tiles(
    layer: BinaryLayer, number: int, stored: StoredMasks
) -> Iterator[tuple[str, _Tile]]:
    """Tiles of a frame by name, of the mask and of those smaller ones that the file has."""
    level, size = 0, layer.full_size
    while size >= 1:
        names = layer.tile_names(number, size)
        sources = layer.tile_names(stored.frame(number), size)
        if level == 0 or any(map(stored.has, sources.values())):
            for place, name in names.items():
                yield name, _Tile(level=level, place=place, source=sources[place])
        level, size = level + 1, size // 2


def label_payloads(
    labels: Labels,
    axes: Axes,
    shape: tuple[int, int],
    stored: StoredMasks | None = None,
    *,
    exact: bool = False,
) -> LabelPayloads:
    """Describe label images as layers of a file.

    Parameters
    ----------
    labels
        Whole numbers over Y, X and any of the loop dims; an image without a loop dim is
        the same in all its frames. The attributes ``color`` and ``channel`` are the
        layer's.
    axes
        Loops of the file.
    shape
        Rows and columns of its images.
    stored
        Layers that the file has. Without `exact` one of the same name is replaced, and
        others stay.
    exact
        Whether these are all layers that the file shall have.

    Raises
    ------
    ValueError
        If an array does not fit the file, or its values are not whole numbers.
    """
    stored = stored or StoredMasks()
    layers = label_layers(labels, shape, stored, exact=exact)
    for item in layers.items:
        # Before anything is read: blocks are found by the dims.
        _check_dims(item.layer.name, item.array, axes, shape)
    return LabelPayloads(layers, axes, stored)


def _check_dims(
    name: str, array: xr.DataArray, axes: Axes, shape: tuple[int, int]
) -> None:
    if array.dtype.kind not in "bui":
        raise ValueError(
            f"labels {name!r} are {array.dtype} values, not whole numbers: use astype"
        )
    sizes: dict[Any, int] = dict(zip(axes.dims, axes.shape, strict=True))
    sizes |= dict(zip(("Y", "X"), shape, strict=True))
    lacking = [dim for dim in ("Y", "X") if dim not in array.dims]
    strange = [str(dim) for dim in array.dims if dim not in sizes]
    if lacking or strange:
        raise ValueError(
            f"labels {name!r} have the dims {', '.join(map(str, array.dims))}; they need Y "
            f"and X and may have {', '.join(axes.dims) or 'no loop'}"
        )
    unlike = [dim for dim in array.dims if array.sizes[dim] != sizes[dim]]
    if unlike:
        raise ValueError(
            f"labels {name!r} have {array.sizes[unlike[0]]} values along {unlike[0]}, the "
            f"image {sizes[unlike[0]]}"
        )


def _checked(labels: Any, name: str) -> NDArray[np.uint32]:
    low, high = 0, 1
    if labels.dtype.kind != "b" and labels.size:
        low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > _LARGEST:
        raise ValueError(
            f"labels {name!r} run from {low} to {high}, but a file holds 0 to {_LARGEST}"
        )
    found: NDArray[np.uint32] = labels.astype(np.uint32)
    return found
