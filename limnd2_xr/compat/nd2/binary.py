"""Binary layers: masks of every frame, as arrays of labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray  # noqa: TC002 - for typing.get_type_hints

from limnd2_xr.arrays.labels import layers_of
from limnd2_xr.frames.mask_reading import read_masks
from limnd2_xr.model.channel_tree import stored_color

if TYPE_CHECKING:
    from limnd2_xr.frames.store import FrameStore
    from limnd2_xr.model.layers import BinaryLayer as StoredLayer

__all__ = ["BinaryLayer", "BinaryLayers", "binary_layers"]

_UINT16 = np.iinfo(np.uint16)


@dataclass(frozen=True, slots=True)
class BinaryLayer:
    """One layer: a label image for each frame, None for frames that have none."""

    data: list[NDArray[Any] | None] = field(repr=False)
    """By frame number, of shape (Y, X): uint16, or uint32 where ids need it."""
    name: str
    """Name of the layer."""
    file_tag: str
    """What names of its chunks contain."""
    comp_name: str | None
    """Name of the channel that it belongs to."""
    comp_order: int | None
    """Number of that channel."""
    color: int | None
    """Colour as stored: red in the lowest byte."""
    color_mode: int | None
    """How objects are coloured: 0 by `color`."""
    state: int | None
    """Flags, as stored."""
    layer_id: int | None
    """Number of the layer."""
    coordinate_shape: tuple[int, ...]
    """Length of each loop, those of length 1 too."""

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.data)

    def __getitem__(self, key: int) -> NDArray[Any] | None:
        """Return the mask of one frame, None if it has none."""
        return self.data[key]

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Rows and columns of a mask; (0, 0) if no frame has one."""
        return next((mask.shape for mask in self.data if mask is not None), (0, 0))

    def asarray(self) -> NDArray[Any] | None:
        """Return all masks, zero for frames without, or None if no frame has one."""
        return self._filled(self.frame_shape) if any_mask(self) else None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return `asarray`, or an array without dimensions for None."""
        found = self.asarray()
        return _as_asked(np.zeros(()) if found is None else found, dtype, copy)

    def _filled(self, frame_shape: tuple[int, ...]) -> NDArray[Any]:
        kinds = {mask.dtype for mask in self.data if mask is not None}
        dtype = np.result_type(*kinds) if kinds else np.dtype(np.uint16)
        out = np.zeros((len(self.data), *frame_shape), dtype)
        for target, mask in zip(out, self.data, strict=True):
            if mask is not None:
                target[...] = mask
        return out.reshape(self.coordinate_shape + frame_shape)


class BinaryLayers(Sequence[BinaryLayer]):
    """All layers of a file."""

    def __init__(self, data: list[BinaryLayer]) -> None:
        self._data = data

    @overload
    def __getitem__(self, key: int) -> BinaryLayer: ...
    @overload
    def __getitem__(self, key: slice) -> list[BinaryLayer]: ...
    def __getitem__(self, key: int | slice) -> BinaryLayer | list[BinaryLayer]:
        """Return a layer, or a list of layers."""
        return self._data[key]

    def __iter__(self) -> Iterator[BinaryLayer]:
        """Yield the layers."""
        return iter(self._data)

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self._data)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {len(self)} layers>"

    def asarray(self) -> NDArray[Any]:
        """Return the masks of all layers, of shape (layers, loops, Y, X).

        A layer without any mask is zero, so that numbers of layers stay what they are.

        Raises
        ------
        ValueError
            If there is no mask at all.
        """
        shapes = [layer.frame_shape for layer in self._data if any_mask(layer)]
        if not shapes:
            raise ValueError("need at least one mask: no layer has any")
        return np.stack([layer._filled(shapes[0]) for layer in self._data])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return `asarray`."""
        return _as_asked(self.asarray(), dtype, copy)


def any_mask(layer: BinaryLayer) -> bool:
    """Say whether any frame of a layer has a mask."""
    return any(mask is not None for mask in layer.data)


def _as_asked(found: NDArray[Any], dtype: Any, copy: bool | None) -> NDArray[Any]:
    if copy is False:
        raise ValueError("an array of masks is always a copy")
    return found if dtype is None else found.astype(dtype, copy=False)


def binary_layers(store: FrameStore) -> BinaryLayers | None:
    """Return the layers of an open file, None if it has none."""
    layers = layers_of(store)
    if not layers:
        return None
    coords = tuple(count for _, count in store.axes.nesting)
    return BinaryLayers([_layer(store, layer, coords) for layer in layers])


def _layer(
    store: FrameStore, layer: StoredLayer, coords: tuple[int, ...]
) -> BinaryLayer:
    masks = read_masks(store, layer)
    return BinaryLayer(
        data=[None if mask is None else _narrowed(mask) for mask in masks],
        name=layer.name,
        file_tag=layer.file_tag,
        comp_name=layer.channel,
        comp_order=layer.component_order,
        color=stored_color(layer.color),
        color_mode=layer.color_mode,
        state=layer.state_code,
        layer_id=layer.id,
        coordinate_shape=coords,
    )


def _narrowed(mask: NDArray[np.uint32]) -> NDArray[Any]:
    largest = int(mask.max(initial=0))
    return mask.astype(np.uint16) if largest <= _UINT16.max else mask
