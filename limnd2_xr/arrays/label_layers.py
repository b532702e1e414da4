"""Which binary layer of a file each label image becomes, and what describes them all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import xarray as xr

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.channels import unique_names
from limnd2_xr.model.layers import (
    RASTER_LAYERS,
    RLE_LAYERS,
    decode_raster_layers,
    encode_raster_layers,
    new_rle_layer,
    parse_rle_layers,
    rle_layers_tree,
)
from limnd2_xr.variants import xml
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from limnd2_xr.model.layers import BinaryLayer

__all__ = [
    "LAYER_CHUNKS",
    "LabelLayer",
    "LabelLayers",
    "Labels",
    "StoredMasks",
    "label_layers",
    "layer_names",
    "named_labels",
]

Labels: TypeAlias = "xr.DataArray | xr.Dataset | Mapping[str, xr.DataArray]"
"""One label image or several, by the names of their layers."""

LAYER_CHUNKS: Final[Mapping[str, Callable[[bytes], tuple[BinaryLayer, ...]]]] = {
    RLE_LAYERS: lambda payload: parse_rle_layers(decode(payload)),
    RASTER_LAYERS: decode_raster_layers,
}


def _nothing(_name: str) -> bytes | None:
    return None


def _no(_name: str) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMasks:
    """Binary layers of the file that label images are written to, or came from."""

    read: Callable[[str], bytes | None] = _nothing
    """Payload of a chunk of it, None where there is none."""
    has: Callable[[str], bool] = _no
    """Whether there is such a chunk."""
    frames: NDArray[np.int64] | None = field(default=None, repr=False)
    """For each frame that is written its number in that file; None: the same."""
    stays: bool = True
    """Whether layers that are not given are written again, masks and all."""

    def layers(self) -> tuple[BinaryLayer, ...]:
        """All layers that it describes, those that others repeat as tiles among them.

        Raises
        ------
        CorruptChunk
            If a description is damaged.
        """
        found: list[BinaryLayer] = []
        for chunk, parse in LAYER_CHUNKS.items():
            payload = self.read(chunk)
            if payload is None:
                continue
            try:
                found += parse(payload)
            except CorruptChunk as error:
                raise error.located(chunk=chunk) from error
        return tuple(found)

    def frame(self, number: int) -> int:
        """Return the number in that file of a frame that is written."""
        return number if self.frames is None else int(self.frames[number])


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelLayer:
    """One layer to be stored."""

    layer: BinaryLayer
    array: xr.DataArray
    source: BinaryLayer | None
    """What the file has in its place, whose masks may be the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelLayers:
    """Layers to be stored, and the chunks that describe them and those that stay."""

    items: tuple[LabelLayer, ...]
    descriptions: Mapping[str, bytes | None]
    """By chunk; None where there are no layers of that kind."""


def layer_names(layers: Sequence[BinaryLayer]) -> list[str]:
    """Names of the variables of layers: their own, made unique, and no paths."""
    return unique_names(
        [layer.name.replace("/", "_") or f"layer_{layer.id}" for layer in layers]
    )


def label_layers(
    labels: Labels, shape: tuple[int, int], stored: StoredMasks, *, exact: bool
) -> LabelLayers:
    """Find or make the layer of each label image.

    Parameters
    ----------
    labels
        Label images; the attributes ``color`` and ``channel`` are the layer's, of one
        that the file has also ``state_code`` and ``color_mode``.
    shape
        Rows and columns of the images.
    stored
        What the file has.
    exact
        These are all layers that the file shall have, each known by the attribute
        ``layer_id`` that it was read with. Else they are added to those of the file, or
        take the place of layers of the same name.
    """
    known = stored.layers()
    seen = [layer for layer in known if not layer.emulated]
    names = layer_names(seen)
    made: list[BinaryLayer] = []
    items = []
    named = named_labels(labels)
    matches = {
        name: _match(name, array, seen, names, exact=exact)
        for name, array in named.items()
    }
    # Arithmetic keeps attributes: of images that say they are one layer, one is it.
    first = {at: name for name, at in reversed(matches.items())}
    first |= {at: name for name, at in matches.items() if _is_named(name, at, names)}
    for name, array in named.items():
        at = matches[name] if first[matches[name]] == name else None
        source = None if at is None else seen[at]
        channel = str(array.attrs.get("channel", source.channel if source else ""))
        if source is None:
            layer = new_rle_layer(name, [*known, *made], channel=channel)
        elif source.kind == "raster" and (source.height, source.width) != shape:
            # Its tiles are of another image.
            layer = new_rle_layer(name, [*known, *made], channel=channel)
            source = None
        else:
            assert at is not None  # noqa: S101 - as there is a source
            is_same = name in {names[at], source.name}
            layer = replace(
                source,
                name=source.name if is_same else name,
                state_code=int(array.attrs.get("state_code", source.state_code)),
                color_mode=int(array.attrs.get("color_mode", source.color_mode)),
            )
        layer = replace(
            layer,
            color=str(array.attrs.get("color", layer.color)),
            channel=channel,
        )
        made.append(layer)
        items.append(LabelLayer(layer=layer, array=array, source=source))
    stay = _kept(known, items, exact=exact or not stored.stays)
    return LabelLayers(items=tuple(items), descriptions=_descriptions(stay, stored))


def named_labels(labels: Labels) -> dict[str, xr.DataArray]:
    """Label images by the names of their layers; refuses what is no DataArray."""
    if isinstance(labels, xr.DataArray):
        name = labels.attrs.get("long_name", "labels")
        return {str(name if labels.name is None else labels.name): labels}
    if isinstance(labels, xr.Dataset):
        return {str(name): labels[name] for name in labels.data_vars}
    for name, array in labels.items():
        if not isinstance(array, xr.DataArray):
            raise TypeError(
                f"labels {name!r} are of type {type(array).__name__}: name their dims, "
                "e.g. xr.DataArray(values, dims=('T', 'Y', 'X'))"
            )
    return {str(name): array for name, array in labels.items()}


def _match(
    name: str,
    array: xr.DataArray,
    layers: Sequence[BinaryLayer],
    names: Sequence[str],
    *,
    exact: bool,
) -> int | None:
    """Return which layer of the file a label image is, None for a new one."""
    if exact and "layer_id" in array.attrs:
        told = array.attrs["layer_id"], array.attrs.get("stored_as")
        for at, layer in enumerate(layers):
            if (layer.id, layer.kind) == told:
                return at
    if name in names:
        return names.index(name)
    return next((at for at, layer in enumerate(layers) if layer.name == name), None)


def _is_named(name: str, at: int | None, names: Sequence[str]) -> bool:
    return at is not None and names[at] == name


def _kept(
    known: Sequence[BinaryLayer], items: Sequence[LabelLayer], *, exact: bool
) -> list[BinaryLayer]:
    """All layers that the file will have: its own in their order, then new ones."""
    by_source = {id(item.source): item.layer for item in items if item.source}
    stay = []
    for layer in known:
        if id(layer) in by_source:
            stay.append(by_source[id(layer)])
        elif not exact:
            stay.append(layer)
    ids = {layer.id for layer in stay if layer.kind == "rle"}
    if exact:
        # What only repeats a layer goes with it.
        stay += [layer for layer in known if layer.emulated and layer.id in ids]
    return [*stay, *(item.layer for item in items if item.source is None)]


def _descriptions(
    layers: Sequence[BinaryLayer], stored: StoredMasks
) -> dict[str, bytes | None]:
    rle = [layer for layer in layers if layer.kind == "rle"]
    raster = [layer for layer in layers if layer.kind == "raster"]
    before, tiled = map(stored.read, LAYER_CHUNKS)
    made: dict[str, bytes | None] = {RLE_LAYERS: None, RASTER_LAYERS: None}
    if rle:
        base = None if before is None else decode(before)
        tree = rle_layers_tree(rle, base)
        made[RLE_LAYERS] = before if tree is base else xml.encode(tree)
    if raster:
        made[RASTER_LAYERS] = encode_raster_layers(raster, tiled)
    return made
