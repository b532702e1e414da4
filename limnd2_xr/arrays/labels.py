"""Binary layers of a file as lazy label images: the group ``labels``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr
from xarray.core import indexing

from limnd2_xr.arrays.coords import coordinates
from limnd2_xr.arrays.dataset import open_state
from limnd2_xr.arrays.label_layers import LAYER_CHUNKS, layer_names
from limnd2_xr.arrays.lazy import ChunkFrameArray, OpenWhileRead
from limnd2_xr.arrays.readback import find_labels
from limnd2_xr.damage import report_damage
from limnd2_xr.errors import CorruptChunk, Nd2Error, UnsupportedFeature
from limnd2_xr.frames.masks import decode_rle, decode_tile

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from limnd2_xr.arrays.lazy import Indices, StoreManager
    from limnd2_xr.container.source import SourceSpec
    from limnd2_xr.frames.store import FrameStore, StoreState
    from limnd2_xr.model.layers import BinaryLayer

__all__ = ["GROUP", "LabelArray", "labels_group", "labels_like", "layers_of"]

GROUP: Final = "/labels"
"""Path of the group."""
_INDEXES: Final = ("U", "T", "P", "Z", "Y", "X")


class LabelArray(ChunkFrameArray):
    """Label images of one layer over the loop dims; each frame is read when asked for.

    Parameters
    ----------
    manager
        Owner of the open `FrameStore`.
    state
        What opening the file found out.
    layer
        Which layer.
    """

    def __init__(
        self,
        manager: StoreManager,
        state: StoreState,
        layer: BinaryLayer,
    ) -> None:
        layout = state.table.layout
        frame_shape = (layout.height, layout.width)
        super().__init__(manager, state, frame_shape, np.dtype(np.uint32))
        self._layer = layer

    def __dask_tokenize__(self) -> tuple[str, BinaryLayer]:
        return self.manager.token, self._layer

    def read_frame(
        self, store: FrameStore, number: int, indices: tuple[Indices, ...]
    ) -> NDArray[np.uint32]:
        """Return labels of one frame: of a layer of tiles only those tiles are read."""
        rows, columns = indices
        if self._layer.kind != "rle":
            return _read_tiles(store, self._layer, number, rows, columns)
        height, width = self.shape[-2:]
        name = self._layer.chunk_name(number)
        found = _decoded(store, name, lambda data: decode_rle(data, (height, width)))
        if found is None:
            return np.zeros((len(rows), len(columns)), np.uint32)
        return found[np.ix_(rows, columns)]


def _decoded(
    store: FrameStore, name: str, decode: Callable[[bytes], NDArray[np.uint32]]
) -> NDArray[np.uint32] | None:
    """Labels of one chunk; None without it, and, with a warning, if it is damaged.

    A frame without a chunk has no objects (FORMAT 10.2).
    """
    if name not in store.state.chunks:
        return None
    try:
        return decode(store.read_chunk(name))
    except (CorruptChunk, UnsupportedFeature) as error:
        located = error.located(path=store.source_name, chunk=name)
        report_damage(located, "this mask reads as 0")
        return None


def _read_tiles(
    store: FrameStore,
    layer: BinaryLayer,
    number: int,
    rows: Indices,
    columns: Indices,
) -> NDArray[np.uint32]:
    """Labels at some rows and columns of a frame; zero where there is no tile."""
    names = layer.tile_names(number)
    tile_shape = layer.tile_height, layer.tile_width
    found = np.zeros((len(rows), len(columns)), np.uint32)
    tile_rows, tile_columns = rows // tile_shape[0], columns // tile_shape[1]
    for row in np.unique(tile_rows).tolist():
        for column in np.unique(tile_columns).tolist():
            name = names.get((row, column), "")
            tile = _decoded(store, name, lambda data: decode_tile(data, tile_shape))
            if tile is None:
                continue
            y, x = (
                np.flatnonzero(tile_rows == row),
                np.flatnonzero(tile_columns == column),
            )
            found[np.ix_(y, x)] = tile[
                np.ix_(
                    rows[y] - row * tile_shape[0], columns[x] - column * tile_shape[1]
                )
            ]
    return found


def labels_group(state: StoreState, manager: StoreManager) -> dict[str, xr.Dataset]:
    """Return the group ``labels``: one variable a layer; nothing if there is none.

    Parameters
    ----------
    state
        What opening the file found out.
    manager
        Owner of the open file.
    """
    with manager.acquire_context() as store:
        layers = layers_of(store)
    if not layers:
        return {}
    dims = (*state.axes.dims, "Y", "X")
    variables = {
        name: xr.Variable(
            dims,
            indexing.LazilyIndexedArray(LabelArray(manager, state, layer)),
            layer_attributes(layer),
        )
        for name, layer in zip(layer_names(layers), layers, strict=True)
    }
    made = coordinates(state, manager)
    coords = {name: made[name] for name in _INDEXES if name in made}
    return {GROUP: xr.Dataset(variables, xr.Coordinates(coords, indexes={}))}


def labels_like(obj: xr.Dataset | xr.DataArray, spec: SourceSpec) -> xr.Dataset:
    """Label images of a file for the frames, rows and columns that an object has.

    Parameters
    ----------
    obj
        Opened from the file, or selected from what was.
    spec
        The file.

    Raises
    ------
    ValueError
        If the object has labels that the file does not have.
    """
    state = open_state(spec, on_damage="ignore")  # told when it was opened
    whole = labels_group(state, OpenWhileRead(state)).get(GROUP, xr.Dataset())
    picks = {}
    for dim in whole.dims:
        found = find_labels(obj, whole, str(dim))
        if found is None:
            raise ValueError(f"labels of {dim} are not those of {spec.name}")
        picks[dim] = found
    scalars = {dim: int(at[0]) for dim, at in picks.items() if dim not in obj.dims}
    chosen = whole.isel({dim: picks[dim] for dim in picks if dim in obj.dims})
    return chosen.isel(scalars)


def layers_of(store: FrameStore) -> tuple[BinaryLayer, ...]:
    """All binary layers of an open file; damaged descriptions cost a warning."""
    found: list[BinaryLayer] = []
    for chunk, parse in LAYER_CHUNKS.items():
        if chunk not in store.state.chunks:
            continue
        try:
            found += parse(store.read_chunk(chunk))
        except Nd2Error as error:
            located = error.located(path=store.source_name, chunk=chunk)
            report_damage(located, "its binary layers are left out")
    # What only repeats a run-length layer has no tiles of its own.
    return tuple(layer for layer in found if not layer.emulated)


def layer_attributes(layer: BinaryLayer) -> dict[str, Any]:
    """Attributes of a layer's variable, such as netCDF and zarr can store."""
    return {
        "long_name": layer.name,
        "color": layer.color,
        "channel": layer.channel,
        "state": list(layer.state),
        "state_code": layer.state_code,
        "color_mode": layer.color_mode,
        "layer_id": layer.id,
        "component_order": layer.component_order,
        "stored_as": layer.kind,
        "uuid": layer.uuid,
        "file_tag": layer.file_tag,
    }
