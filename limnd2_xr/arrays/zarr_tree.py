"""What a file looks like as OME-Zarr: its groups and arrays, and where chunks come from.

One position is one image. Several are a series as bioformats2raw makes them, or, if all
are in wells, a plate: images of OME-Zarr have no axis for positions.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.arrays.coords import coordinates
from limnd2_xr.arrays.label_layers import layer_names
from limnd2_xr.arrays.labels import LabelArray, layers_of
from limnd2_xr.arrays.lazy import OpenWhileRead
from limnd2_xr.arrays.levels import LevelArray, levels_of
from limnd2_xr.arrays.ngff import node_names, well_cell
from limnd2_xr.arrays.ngff_attributes import (
    VERSION,
    NgffImage,
    PlacedPosition,
    label_attributes,
    omero,
    plate_attributes,
    well_attributes,
)
from limnd2_xr.arrays.zarr_chunks import (
    ArrayChunks,
    DecodedChunks,
    FrameChunks,
    LevelChunks,
)
from limnd2_xr.arrays.zarr_layout import ChunkLayout, array_document, plain_codecs
from limnd2_xr.errors import UnsupportedFeature

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

    from limnd2_xr.arrays.zarr_chunks import ChunkSource
    from limnd2_xr.frames.store import FrameStore

__all__ = ["TreeOptions", "ZarrTree", "zarr_tree"]

_MAX_WELL: Final = 702
"""Rows and columns that a plate may have: up to ``ZZ``."""
_POSITIONS: Final = ("U", "P")
"""Dims of the file that OME-Zarr has no axis for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeOptions:
    """What of a file is shown."""

    levels: bool = True
    """Stored smaller copies."""
    labels: bool = True
    """Binary layers."""
    inflate: bool = False
    """Chunks of compressed frames as pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZarrTree:
    """Groups and arrays by their paths."""

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Every ``zarr.json``, by its key."""
    arrays: dict[str, ChunkSource] = field(default_factory=dict)
    """Chunks of every array, by its path."""
    images: list[str] = field(default_factory=list)
    """Paths of the groups of images, position by position."""

    def add_group(self, path: str, ome: dict[str, Any] | None = None) -> None:
        """Add a group with attributes of OME-Zarr."""
        self.documents[_key(path)] = {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": {} if ome is None else {"ome": ome},
        }

    def add_array(
        self, path: str, document: dict[str, Any], chunks: ChunkSource
    ) -> None:
        """Add an array."""
        self.documents[_key(path)] = document
        self.arrays[path] = chunks

    def consolidate(self, path: str) -> None:
        """Have a group tell what is in it: servers of files cannot list folders."""
        prefix = f"{path}/" if path else ""
        within = {
            key.removeprefix(prefix).removesuffix("/zarr.json"): document
            for key, document in self.documents.items()
            if key.startswith(prefix) and key != _key(path)
        }
        self.documents[_key(path)]["consolidated_metadata"] = {
            "kind": "inline",
            "must_understand": False,
            "metadata": within,
        }


def _key(path: str) -> str:
    return f"{path}/zarr.json" if path else "zarr.json"


def zarr_tree(store: FrameStore, options: TreeOptions) -> ZarrTree:
    """Return the groups and arrays of a file.

    Parameters
    ----------
    store
        The open file.
    options
        What is shown.

    Raises
    ------
    UnsupportedFeature
        If the frames cannot be decoded.
    """
    state = store.state
    if state.table.layout.compression == "unsupported":
        raise UnsupportedFeature(
            "lossy compressed frames cannot be decoded (FORMAT 6.4); metadata can be read",
            path=state.spec.name,
        )
    builder = _Builder(store, options)
    axes = state.axes
    count = math.prod(axes.size(dim) for dim in axes.dims if dim in _POSITIONS)
    tree = ZarrTree()
    if count == 1:
        builder.add_image(tree, "", 0)
        return tree
    places = _places(store)
    if places is not None:
        _add_plate(tree, builder.name, places)
        paths = [place.path for place in places]
    else:
        paths = [str(number) for number in range(count)]
        tree.add_group("", {"version": VERSION, "bioformats2raw.layout": 3})
        tree.add_group("OME", {"version": VERSION, "series": paths})
    for position, path in enumerate(paths):
        builder.add_image(tree, path, position)
    return tree


def _places(store: FrameStore) -> list[PlacedPosition] | None:
    """Where on its plate each position is; None if that is not known of all."""
    wells, axes = store.state.wells, store.axes
    if wells is None or "U" in axes.dims or len(wells) != axes.size("P"):
        return None
    seen: Counter[tuple[int, int]] = Counter()
    places = []
    for cell in zip(wells.row.tolist(), wells.column.tolist(), strict=True):
        if not all(0 <= at < _MAX_WELL for at in cell):
            return None
        places.append(PlacedPosition(row=cell[0], column=cell[1], field=seen[cell]))
        seen[cell] += 1
    return places


def _add_plate(tree: ZarrTree, name: str, places: Sequence[PlacedPosition]) -> None:
    tree.add_group("", plate_attributes(name, places))
    fields = Counter((place.row, place.column) for place in places)
    for (row, column), count in sorted(fields.items()):
        cell = well_cell(row, column)
        tree.add_group(cell[0])
        tree.add_group("/".join(cell), well_attributes(count))


class _Builder:
    """Makes images of one file; what they share is found out once."""

    def __init__(self, store: FrameStore, options: TreeOptions) -> None:
        self._store = store
        self._options = options
        state = store.state
        lender = OpenWhileRead(state)
        self.name = _stem(state.spec.name)
        self._coords = coordinates(state, None)
        loops = [(dim.lower(), axes_size) for dim, axes_size in _loops(store)]
        self._lengths = dict(loops)
        self.axes = tuple(
            axis for axis in "tczyx" if axis in self._lengths or axis in "cyx"
        )
        self._omero = omero(store, self._coords)
        self._levels = levels_of(state) if options.levels else ()
        self._layers = layers_of(store) if options.labels else ()
        self._sources = [LevelArray(lender, state, level) for level in self._levels]
        self._masks = [LabelArray(lender, state, layer) for layer in self._layers]
        frames = state.axes.sequence()
        dims: Sequence[str] = state.axes.dims
        outer = [at for at, dim in enumerate(dims) if dim in _POSITIONS]
        inner = [at for at, dim in enumerate(dims) if dim not in _POSITIONS]
        self._sequence = frames.transpose(*outer, *inner).reshape(
            -1, *(self._lengths.get(axis, 1) for axis in self.axes)
        )
        """Sequence number of each chunk: positions, then the axes of an image."""
        held = state.table.rows(self._sequence) >= 0
        self._held = np.where(held, self._sequence, -1)
        self._chunk = ChunkLayout.of(
            state.table.layout, self.axes, inflate=options.inflate
        )

    def add_image(self, tree: ZarrTree, path: str, position: int) -> None:
        """Add one position as an image with all that belongs to it."""
        name = self.name if len(self._sequence) == 1 else self._position_name(position)
        image = NgffImage.of(name, self.axes, self._coords)
        tree.images.append(path)
        numbers = self._held[position]
        levels = [0]
        tree.add_group(path)
        self._add_array(
            tree, _join(path, "0"), self._chunk, FrameChunks(numbers, self._chunk)
        )
        for level, pixels in zip(self._levels, self._sources, strict=True):
            if not np.isin(numbers[numbers >= 0], level.frames).all():
                continue  # a copy of some frames would show the others black
            levels.append(level.level)
            chunk = ChunkLayout.of(level.layout, self.axes)
            source = LevelChunks(numbers, chunk, level, pixels)
            self._add_array(
                tree, _join(path, str(level.level)), chunk, source, level.layout
            )
        self._add_coordinates(tree, path)
        ome = {
            "version": VERSION,
            "multiscales": [image.multiscale(levels)],
            "omero": {"id": position, "name": name, **self._omero},
        }
        labels = self._add_labels(tree, path, position, image, levels)
        if labels:
            tree.add_group(
                _join(path, "labels"), {"version": VERSION, "labels": labels}
            )
        tree.documents[_key(path)]["attributes"] = {"ome": ome}
        tree.consolidate(path)

    def _position_name(self, position: int) -> str:
        names = self._coords["P"].values.tolist() if "P" in self._coords else []
        at = position % len(names) if names else position
        return f"{self.name} {names[at] if names else at}"

    def _add_array(
        self,
        tree: ZarrTree,
        path: str,
        chunk: ChunkLayout,
        source: ChunkSource,
        layout: Any = None,
    ) -> None:
        layout = layout or self._store.table.layout
        lengths = {
            **self._lengths,
            "c": layout.components,
            "y": layout.height,
            "x": layout.width,
        }
        shape = [lengths[axis] for axis in self.axes]
        document = array_document(
            shape, layout.dtype, chunk.shape, chunk.codecs, self.axes
        )
        tree.add_array(path, document, source)

    def _add_coordinates(self, tree: ZarrTree, path: str) -> None:
        """Add labels of pixels, for readers that know xarray's ways."""
        for axis in self.axes:
            variable = self._coords.get(axis.upper())
            if variable is None or variable.dtype.kind not in "fi":
                continue
            tree.add_array(_join(path, axis), *_small_array(axis, variable))

    def _add_label(self, tree: ZarrTree, path: str, source: DecodedChunks) -> None:
        height, width = source.shape
        lengths = {**self._lengths, "c": 1, "y": height, "x": width}
        chunk = {"y": height, "x": width}
        dtype = source.pixels.dtype
        document = array_document(
            [lengths[axis] for axis in self.axes],
            dtype,
            [chunk.get(axis, 1) for axis in self.axes],
            plain_codecs(dtype),
            self.axes,
        )
        tree.add_array(path, document, source)

    def _add_labels(
        self,
        tree: ZarrTree,
        path: str,
        position: int,
        image: NgffImage,
        levels: Sequence[int],
    ) -> list[str]:
        """Add binary layers as label images; return their names."""
        titles = layer_names(self._layers)
        names = node_names(titles)
        for name, title, mask in zip(names, titles, self._masks, strict=True):
            folder = _join(path, f"labels/{name}")
            shown = replace(image, name=title)
            tree.add_group(folder, label_attributes(shown, levels))
            for level in levels:
                source = DecodedChunks(self._sequence[position], mask, 2**level)
                self._add_label(tree, f"{folder}/{level}", source)
        return names


def _loops(store: FrameStore) -> list[tuple[str, int]]:
    axes = store.axes
    return [(dim, axes.size(dim)) for dim in axes.dims if dim not in _POSITIONS]


def _small_array(
    name: str, variable: xr.Variable
) -> tuple[dict[str, Any], ArrayChunks]:
    values = np.asarray(variable.values)
    values = values.astype(values.dtype.newbyteorder("<"))
    attributes = {str(key): value for key, value in variable.attrs.items()}
    document = array_document(
        values.shape,
        values.dtype,
        values.shape,
        plain_codecs(values.dtype),
        (name,),
        attributes,
    )
    return document, ArrayChunks(values.tobytes())


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _stem(name: str) -> str:
    found = PurePosixPath(name.replace("\\", "/").split("?", 1)[0]).stem
    return found or "image"
