"""What an export to OME-Zarr will hold, found out before anything is written."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr
from xarray.core import indexing

from limnd2_xr.arrays.dataset import image_of
from limnd2_xr.arrays.lazy import FrameArray
from limnd2_xr.arrays.opened_pixels import identity_of, opened_pixels
from limnd2_xr.errors import Nd2Error, warn_user
from limnd2_xr.export.ngff_axes import axes_of, report_axes
from limnd2_xr.export.ngff_channels import ChannelDisplay
from limnd2_xr.export.ngff_layout import layout_of, select_positions
from limnd2_xr.export.ngff_metadata import multiscales_of, node_names
from limnd2_xr.export.ome_zarr_groups import (
    Hierarchy,
    ImageGroup,
    LabelGroup,
    own_attributes,
)
from limnd2_xr.export.pyramid_levels import level_sizes
from limnd2_xr.export.zarr_arrays import ArraySpec, sizes_by_axis
from limnd2_xr.export.zarr_blocks import ImageExport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from limnd2_xr.export.ngff_axes import Axis
    from limnd2_xr.export.ngff_layout import ImagePlace
    from limnd2_xr.export.ngff_metadata import NgffVersion
    from limnd2_xr.export.pyramid_levels import Pyramid
    from limnd2_xr.export.zarr_arrays import Sizes

__all__ = ["ExportPlan", "OmeZarrOptions", "plan_export"]

TILE: Final = 1024
"""Height and width of a chunk, if not said: 2 MiB of 16 bits."""
OME_XML: Final = "OME/METADATA.ome.xml"
"""Where a series keeps its OME document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OmeZarrOptions:
    """How images are written."""

    version: NgffVersion = "0.5"
    pyramid: Pyramid = "auto"
    chunks: Sizes = None
    shards: Sizes = None
    compressor: Any = "blosc-zstd"

    def __post_init__(self) -> None:
        if self.version not in {"0.4", "0.5"}:
            raise ValueError(f'version must be "0.5" or "0.4", not {self.version!r}')
        if self.shards is not None and self.version == "0.4":
            raise ValueError('shards are of version="0.5": zarr 2 has none')


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan:
    """All that is written."""

    hierarchy: Hierarchy
    arrays: tuple[ArraySpec, ...]
    files: dict[str, bytes]
    """Of no group or array, by key."""
    exports: tuple[ImageExport, ...]
    """Images and labels, with their pixels."""
    digest: str | None
    """Equal for the same pixels and options; None where pixels have no identity."""
    is_dask: bool
    """Whether the image was a dask array, to be computed as others are."""

    def without_pixels(self) -> ExportPlan:
        """Return the plan as far as it is needed to finish."""
        return replace(self, exports=())


def plan_export(
    dataset: xr.Dataset,
    labels: xr.Dataset | bool,
    options: OmeZarrOptions,
    positions: Any,
    target_name: str,
) -> ExportPlan:
    """Return what an export will hold.

    Parameters
    ----------
    dataset
        Of those positions that are wanted.
    labels
        As for `limnd2_xr.export.ome_zarr.to_ome_zarr`; given ones are of all positions.
    options
        How images are written.
    positions
        Which were chosen.
    target_name
        Path or URL; single images are called after it.

    Raises
    ------
    ValueError, TypeError
        If the image or the labels cannot be exported so.
    """
    image = _image(dataset)
    layers = _labels(dataset, image, labels, positions)
    layout = layout_of(dataset, image, _stem(target_name))
    sizes = level_sizes(image.sizes["Y"], image.sizes["X"], options.pyramid)
    report_axes(image)
    names = node_names([str(name) for name in layers])
    groups: list[ImageGroup] = []
    exports: list[ImageExport] = []
    pixels = _pixels(image)
    known: dict[Any, ArraySpec] = {}
    # Graphs of dask are slow to cut, and nothing but pixels needs that.
    about = image.copy(data=np.broadcast_to(np.zeros((), image.dtype), image.shape))
    for place in layout.images:
        part = pixels.isel(place.index)
        made = _Image(about.isel(place.index), part, place, sizes, options, known)
        group, export = made.group(len(exports))
        exports.append(export)
        found = []
        for node, (title, layer) in zip(names, layers.items(), strict=True):
            index = {dim: at for dim, at in place.index.items() if dim in layer.dims}
            chosen = layer.isel(index)
            label, export = made.label(chosen, node, str(title), len(exports))
            exports.append(export)
            found.append(label)
        groups.append(replace(group, labels=tuple(found)))
    hierarchy = Hierarchy(
        version=options.version,
        images=tuple(groups),
        wells=layout.wells,
        is_series=layout.kind == "series",
        own=own_attributes({**dataset.attrs, **image.attrs}),
    )
    arrays = tuple(level for export in exports for level in export.levels)
    digest = _digest(hierarchy, exports, [image, *layers.values()])
    own = hierarchy.own if digest is None else {"export": digest, **hierarchy.own}
    return ExportPlan(
        hierarchy=replace(hierarchy, own=own),
        arrays=arrays,
        files=_ome_files(dataset) if layout.kind == "series" else {},
        exports=tuple(exports),
        digest=digest,
        is_dask=image.chunks is not None,
    )


@dataclass(frozen=True, slots=True)
class _Image:
    """One image of one position, about to be described."""

    image: xr.DataArray
    pixels: xr.Variable
    place: ImagePlace
    sizes: tuple[tuple[int, int], ...]
    options: OmeZarrOptions
    known: dict[Any, ArraySpec]
    """Arrays of other images, by shape and type: most are alike."""

    def group(self, number: int) -> tuple[ImageGroup, ImageExport]:
        """Return its group and what is written into it."""
        axes = axes_of(self.image)
        name = self.place.name
        group = ImageGroup(
            path=self.place.path,
            number=number,
            multiscales=multiscales_of(axes, self.sizes, name, "mean"),
            display=ChannelDisplay.of(self.image),
        )
        export = ImageExport.of(
            self.pixels,
            self._levels(axes, self.image, self.place.path),
            "mean",
            number=number,
            wants_range=self.image.dtype.kind == "f",
        )
        return group, export

    def label(
        self, layer: xr.DataArray, node: str, title: str, number: int
    ) -> tuple[LabelGroup, ImageExport]:
        """Return the same of one of its label images."""
        above = f"{self.place.path}/labels" if self.place.path else "labels"
        axes = tuple(axis for axis in axes_of(self.image) if axis.dim in layer.dims)
        name = str(layer.attrs.get("long_name") or title)
        group = LabelGroup(
            name=node,
            number=number,
            multiscales=multiscales_of(axes, self.sizes, name, "nearest"),
            color=str(layer.attrs.get("color", "")),
        )
        export = ImageExport.of(
            layer.variable,
            self._levels(axes, layer, f"{above}/{node}"),
            "nearest",
            number=number,
            wants_range=True,
        )
        return group, export

    def _levels(
        self, axes: Sequence[Axis], array: xr.DataArray, path: str
    ) -> tuple[ArraySpec, ...]:
        """Return the arrays of all levels."""
        made = []
        names = tuple(axis.name for axis in axes_of(self.image))
        for level, (height, width) in enumerate(self.sizes):
            lengths = {axis.name: array.sizes.get(axis.dim, 1) for axis in axes}
            if "c" in lengths:
                lengths["c"] *= array.sizes.get("S", 1)
            lengths |= {"y": height, "x": width}
            key = (*lengths.items(), array.dtype)
            if key not in self.known:
                self.known[key] = self._spec(lengths, names, array.dtype)
            spec = self.known[key]
            made.append(spec.at(f"{path}/{level}" if path else str(level)))
        return tuple(made)

    def _spec(
        self, lengths: Mapping[str, int], names: tuple[str, ...], dtype: np.dtype[Any]
    ) -> ArraySpec:
        chunks, shards = _pieces(lengths, names, self.options)
        spec = ArraySpec(
            path="",
            axes=tuple(lengths),
            shape=tuple(lengths.values()),
            dtype=dtype,
            chunks=chunks,
            shards=shards,
            compressor=self.options.compressor,
            zarr_format=3 if self.options.version == "0.5" else 2,
        )
        spec.check()
        return spec


def _pieces(
    lengths: Mapping[str, int], names: tuple[str, ...], options: OmeZarrOptions
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Return the shapes of chunks and of shards of an array.

    Parameters
    ----------
    lengths
        Of the array, by axis.
    names
        Axes of the image, of which a label image has no channels.
    options
        What was asked for.

    Raises
    ------
    ValueError
        If shards do not consist of whole chunks.
    """
    axes, shape = tuple(lengths), tuple(lengths.values())
    whole = sizes_by_axis(options.shards, names, "shards")
    usual = {n: min(TILE, whole.get(n, TILE)) if n in "yx" else 1 for n in axes}
    chosen = usual | sizes_by_axis(options.chunks, names, "chunks")
    chunks = {name: min(chosen[name], lengths[name]) for name in axes}
    if options.shards is None:
        return tuple(chunks.values()), None
    # Along an axis that is not named a shard is as long as a chunk.
    wanted = chosen | whole
    for name in axes:
        if wanted[name] % chosen[name]:
            raise ValueError(
                f"shards of {wanted[name]} along {name} do not hold whole chunks of "
                f"{chosen[name]}: give a multiple"
            )
    shards = []
    for name, length in zip(axes, shape, strict=True):
        count = -(-min(wanted[name], length) // chunks[name])
        shards.append(count * chunks[name])
    return tuple(chunks.values()), tuple(shards)


def _stem(name: str) -> str:
    """Return the last part of a path or URL without its suffixes."""
    stem = PurePosixPath(name.replace("\\", "/")).name
    for suffix in (".zarr", ".ome"):
        stem = stem.removesuffix(suffix)
    return stem or "image"


def _ome_files(dataset: xr.Dataset) -> dict[str, bytes]:
    from limnd2_xr.export.ome_xml import to_ome_xml

    return {OME_XML: to_ome_xml(dataset).encode()}


def _digest(
    hierarchy: Hierarchy, exports: Sequence[ImageExport], arrays: Sequence[xr.DataArray]
) -> str | None:
    """Return what tells this export from others: of what pixels it is, and how.

    None where nothing tells the pixels from others: in memory, anything may have been
    done to them.
    """
    tokens = [identity_of(array) for array in arrays]
    if None in tokens:
        return None
    known = {
        "tokens": tokens,
        "groups": hierarchy.groups({}),
        "arrays": [
            {key: data.decode() for key, data in level.files.items()}
            for export in exports
            for level in export.levels
        ],
        "blocks": [export.block_size for export in exports],
    }
    text = json.dumps(known, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


# ---- the image and its labels ---------------------------------------------------------


def _image(dataset: xr.Dataset) -> xr.DataArray:
    """Return the image of a dataset.

    Raises
    ------
    ValueError
        If it is empty, or lacks Y or X.
    TypeError
        If it holds no integers or floats.
    """
    image = image_of(dataset)
    missing = [dim for dim in ("Y", "X") if dim not in image.dims]
    if missing:
        raise ValueError(
            f"the image has no dim {' and '.join(missing)}, only "
            f"{', '.join(map(str, image.dims))}: select a range of length 1 instead"
        )
    if not image.size:
        raise ValueError(f"the image is empty: {dict(image.sizes)}")
    if image.dtype.kind not in "iuf" or image.dtype.itemsize > 8:
        raise TypeError(
            f"pixels of type {image.dtype} are none of OME-Zarr: convert them, e.g. with "
            'ds.astype("uint8")'
        )
    return image


def _pixels(image: xr.DataArray) -> xr.Variable:
    """Return the pixels, those of a file without the blocks that somebody gave them.

    Blocks of dask are larger than those of an export have to be, and are read whole.
    """
    opened = opened_pixels(image)
    if image.chunks is None or opened is None or not opened.is_whole:
        return image.variable
    if opened.state.dims != image.dims:
        return image.variable
    lazy = indexing.LazilyIndexedArray(FrameArray(opened.manager, opened.state))
    return xr.Variable(image.dims, lazy)


def _labels(
    dataset: xr.Dataset,
    image: xr.DataArray,
    labels: xr.Dataset | bool,
    positions: Any,
) -> xr.Dataset:
    """Return the label images that belong to an image.

    Raises
    ------
    ValueError
        If given ones do not fit it.
    """
    if isinstance(labels, bool):
        return _stored_labels(dataset) if labels else xr.Dataset()
    if "P" in labels.dims:
        labels = select_positions(labels, positions)
    for name, layer in labels.items():
        fits = {"Y", "X"} <= set(layer.dims) and all(
            dim not in ("C", "S") and image.sizes.get(dim) == length
            for dim, length in layer.sizes.items()
        )
        if not fits:
            raise ValueError(
                f"labels {name!r} of {dict(layer.sizes)} do not fit the image of "
                f"{dict(image.sizes)}"
            )
        if layer.dtype.kind not in "iu":
            raise TypeError(f"labels {name!r} are {layer.dtype}, not whole numbers")
    return labels


def _stored_labels(dataset: xr.Dataset) -> xr.Dataset:
    """Return the binary layers of the file, if the dataset has one still.

    Warns
    -----
    Nd2Warning
        If the file has layers that do not fit what became of the image.
    """
    from limnd2_xr.arrays.chunk_access import source_of
    from limnd2_xr.arrays.labels import labels_like

    try:
        spec = source_of(dataset)
    except Nd2Error:
        return xr.Dataset()
    try:
        return labels_like(dataset, spec)
    except ValueError as error:
        warn_user(f"label layers are left out: {error}")
        return xr.Dataset()
