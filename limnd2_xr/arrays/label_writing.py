"""Label images to binary layers: what `to_nd2(labels=...)` and `update_nd2` store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import xarray as xr

from limnd2_xr.frames.masks import encode_rle
from limnd2_xr.model.layers import (
    RLE_LAYERS,
    new_rle_layer,
    parse_rle_layers,
    rle_layers_tree,
)
from limnd2_xr.variants import xml
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.layers import BinaryLayer

__all__ = ["LabelPayloads", "Labels", "label_payloads"]

Labels: TypeAlias = "xr.DataArray | xr.Dataset | Mapping[str, xr.DataArray]"
"""One label image or several, by the names of their layers."""

_LARGEST: Final = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """One layer to be stored."""

    layer: BinaryLayer
    array: xr.DataArray


class LabelPayloads(Mapping[str, bytes]):
    """Chunks of label images by name, each made when it is asked for.

    Of lazy arrays one frame is in memory at a time.

    Parameters
    ----------
    layers
        What is stored.
    axes
        Loops of the file.
    description
        Payload of the chunk that describes all layers.
    """

    def __init__(
        self, layers: Sequence[_Stored], axes: Axes, description: bytes
    ) -> None:
        self._layers = layers
        self._axes = axes
        self._description = description
        self._places = {
            stored.layer.chunk_name(number): (stored, number)
            for stored in layers
            for number in range(axes.n_frames)
        }
        self._index = {
            int(number): place
            for place, number in np.ndenumerate(np.atleast_1d(axes.sequence()))
        }

    def __len__(self) -> int:
        return 1 + len(self._places)

    def __iter__(self) -> Iterator[str]:
        yield RLE_LAYERS
        yield from self._places

    def __contains__(self, name: object) -> bool:
        return name == RLE_LAYERS or name in self._places

    def __getitem__(self, name: str) -> bytes:
        if name == RLE_LAYERS:
            return self._description
        stored, number = self._places[name]
        place = dict(zip(self._axes.dims, self._index[number], strict=False))
        frame = stored.array.isel(
            {dim: at for dim, at in place.items() if dim in stored.array.dims}
        )
        labels = frame.transpose("Y", "X").values
        return encode_rle(_checked(labels, stored.layer.name))


def label_payloads(
    labels: Labels,
    axes: Axes,
    shape: tuple[int, int],
    stored: bytes | None = None,
    taken: Sequence[BinaryLayer] = (),
) -> LabelPayloads:
    """Describe label images as layers of a file.

    Parameters
    ----------
    labels
        Whole numbers over Y, X and any of the loop dims; an image without a loop dim is
        the same in all its frames. The attributes ``color``, ``channel`` and
        ``long_name`` are the layer's.
    axes
        Loops of the file.
    shape
        Rows and columns of its images.
    stored
        Payload of the chunk that describes the layers which the file has. A layer of the
        same name is replaced, others stay.
    taken
        Layers of tiles that the file has, whose ids are not free.

    Raises
    ------
    ValueError
        If an array does not fit the file, or its values are not whole numbers.
    """
    arrays = _named(labels)
    base = None if stored is None else decode(stored)
    known = list(parse_rle_layers(base)) if base is not None else []
    found = []
    for name, array in arrays.items():
        _check_dims(name, array, axes, shape)
        layer = next((item for item in known if item.name == name), None)
        if layer is None:
            layer = new_rle_layer(name, [*known, *taken])
            known.append(layer)
        color = str(array.attrs.get("color", layer.color))
        channel = str(array.attrs.get("channel", layer.channel))
        changed = replace(layer, color=color, channel=channel)
        known[known.index(layer)] = changed
        found.append(_Stored(layer=changed, array=array))
    description = xml.encode(rle_layers_tree(known, base))
    return LabelPayloads(found, axes, description)


def _named(labels: Labels) -> dict[str, xr.DataArray]:
    if isinstance(labels, xr.DataArray):
        name = labels.attrs.get("long_name", "labels")
        return {str(name if labels.name is None else labels.name): labels}
    if isinstance(labels, xr.Dataset):
        return {str(name): labels[name] for name in labels.data_vars}
    return {str(name): array for name, array in labels.items()}


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


def _checked(labels: Any, name: str) -> Any:
    if labels.dtype.kind == "b":
        return labels.astype(np.uint32)
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high > _LARGEST:
        raise ValueError(
            f"labels {name!r} run from {low} to {high}, but a file holds 0 to {_LARGEST}"
        )
    return labels.astype(np.uint32)
