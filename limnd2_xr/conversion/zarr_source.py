"""OME-Zarr (0.4 and 0.5), arrays of zarr, and datasets that xarray saved as zarr."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from limnd2_xr.conversion.array_source import image_of_dataset
from limnd2_xr.conversion.lazy_images import OuterArray, lazy
from limnd2_xr.conversion.ngff_described import (
    axis_name,
    described_by_own,
    is_colour_image,
    omero_coords,
    placed_coords,
    placement,
)
from limnd2_xr.conversion.ome_described import ome_images
from limnd2_xr.conversion.ome_image import described_by_ome
from limnd2_xr.conversion.source_image import (
    Reading,
    SourceImage,
    check_size,
    checked_dims,
    plain_dims,
)
from limnd2_xr.errors import Nd2Error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import ExitStack

    from numpy.typing import NDArray


__all__ = ["is_zarr", "open_zarr"]

_MARKS: Final = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
_METADATA: Final = "OME/METADATA.ome.xml"
_LARGEST_XML: Final = 2**28


def is_zarr(path: str) -> bool:
    """Say whether a folder or a URL holds a store of zarr."""
    if "://" in path:
        return path.rstrip("/").endswith(".zarr")
    return any((Path(path) / name).is_file() for name in _MARKS)


def open_zarr(path: str, reading: Reading, stack: ExitStack) -> list[SourceImage]:
    """Open the images of a store: one, a series, or those of a plate.

    Parameters
    ----------
    path
        Folder or URL.
    reading
        How to understand it.
    stack
        What closes the store.

    Raises
    ------
    Nd2Error
        If it is no zarr, or its metadata contradict the arrays.
    """
    import zarr

    try:
        node = zarr.open(path, mode="r")
        if not isinstance(node, zarr.Group):
            return [_plain(node, path, reading)]
        attrs = _ome_attributes(node)
        reading = replace(reading, colours=is_colour_image(dict(node.attrs)))
        if "plate" in attrs:
            images = _plate(node, attrs["plate"], path, reading)
            return _chosen(_with_root(images, node), path, reading)
        if "bioformats2raw.layout" in attrs:
            images = _series(node, path, reading)
            return _chosen(_with_root(images, node), path, reading)
        if "multiscales" in attrs:
            return [_multiscale(node, path, "", reading)]
        if reading.variable is not None and isinstance(
            node.get(reading.variable), zarr.Array
        ):
            return [_plain(node[reading.variable], path, reading)]
        dataset = xr.open_zarr(path, consolidated=False, chunks=None)
        stack.enter_context(dataset)
        return [image_of_dataset(dataset, path, "zarr", reading)]
    except Nd2Error as error:
        raise error.located(path=path) from None
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        # zarr and the file systems below it raise anything.
        raise Nd2Error(f"not readable as zarr: {error}", path=path) from error


class _ZarrPixels(OuterArray):
    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape = tuple(array.shape)
        self.dtype = np.dtype(array.dtype).newbyteorder("=")

    def read(self, indices: Sequence[NDArray[np.int64]]) -> NDArray[Any]:
        key = []
        for index in indices:
            is_run = len(index) and (np.diff(index) == 1).all()
            key.append(slice(int(index[0]), int(index[-1]) + 1) if is_run else index)
        return np.asarray(self._array.oindex[tuple(key)])


def _ome_attributes(group: Any) -> dict[str, Any]:
    """Metadata of OME-Zarr: below a name since version 0.5."""
    attrs = dict(group.attrs)
    inner = attrs.get("ome")
    return dict(inner) if isinstance(inner, dict) else attrs


def _chosen(
    images: list[SourceImage], path: str, reading: Reading
) -> list[SourceImage]:
    if reading.series is None:
        return images
    if not 0 <= reading.series < len(images):
        raise Nd2Error(
            f"the store has {len(images)} images: no {reading.series}", path=path
        )
    return [images[reading.series]]


def _with_root(images: list[SourceImage], root: Any) -> list[SourceImage]:
    """Return images with what our exports keep of all of them at the root."""
    attrs = dict(root.attrs)
    return [described_by_own(image, attrs) for image in images]


def _plain(array: Any, path: str, reading: Reading) -> SourceImage:
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get(
        "_ARRAY_DIMENSIONS"
    )
    stored = "".join(str(n)[:1] for n in names) if names and all(names) else None
    dims = plain_dims(tuple(array.shape), path, named=reading.dims, stored=stored)
    return SourceImage(
        pixels=lazy(dims, _ZarrPixels(array)),
        path=path,
        format="zarr",
        part=str(array.path),
    )


def _plate(
    group: Any, plate: Mapping[str, Any], path: str, reading: Reading
) -> list[SourceImage]:
    found = []
    rows = [str(row["name"]) for row in plate.get("rows", ())]
    columns = [str(column["name"]) for column in plate.get("columns", ())]
    for well in plate["wells"]:
        place = str(well["path"])
        row, _, column = place.partition("/")
        cell = (
            int(well.get("rowIndex", rows.index(row) if row in rows else -1)),
            int(
                well.get(
                    "columnIndex", columns.index(column) if column in columns else -1
                )
            ),
        )
        fields = _ome_attributes(group[place])["well"]["images"]
        for field in fields:
            part = f"{place}/{field['path']}"
            image = _multiscale(group[part], path, part, reading)
            name = f"{row}{column}" + (f" {field['path']}" if len(fields) > 1 else "")
            found.append(replace(image, name=name, well=cell))
    return found


def _series(group: Any, path: str, reading: Reading) -> list[SourceImage]:
    listed = _ome_attributes(group["OME"]).get("series") if "OME" in group else None
    if listed is None:
        listed, number = [], 0
        while str(number) in group:
            listed.append(str(number))
            number += 1
    images = [
        _multiscale(group[str(part)], path, str(part), reading) for part in listed
    ]
    text = _companion(path)
    if not text:
        return images
    described = ome_images(text)
    if len(described) != len(images):
        note = f"{_METADATA} (it describes another number of images)"
        return [replace(image, notes=(*image.notes, note)) for image in images]
    return [
        described_by_ome(image, ome)
        for image, ome in zip(images, described, strict=True)
    ]


def _companion(path: str) -> str:
    """Text of the OME-XML in a store, "" without one."""
    import fsspec

    try:
        with fsspec.open(f"{path.rstrip('/')}/{_METADATA}", "rb") as file:
            data: bytes = file.read(_LARGEST_XML)
    except OSError:
        return ""
    return data.decode("utf-8", "replace")


def _multiscale(group: Any, path: str, part: str, reading: Reading) -> SourceImage:
    attrs = _ome_attributes(group)
    scales = attrs["multiscales"][0]
    axes = scales.get("axes", list("tczyx"))
    level = scales["datasets"][0]
    array = group[str(level["path"])]
    names = "".join(axis_name(axis)[:1] for axis in axes)
    dims = checked_dims(reading.dims or names, array.ndim, path)
    scale, shift = placement(
        [*level.get("coordinateTransformations", ())],
        [*scales.get("coordinateTransformations", ())],
        array.ndim,
    )
    if reading.colours and "S" not in dims and array.shape[dims.index("C")] == 3:
        dims = tuple("S" if dim == "C" else dim for dim in dims)
    check_size(dims, array.shape, np.dtype(array.dtype), path)
    pixels = lazy(dims, _ZarrPixels(array))
    sizes = {str(dim): size for dim, size in pixels.sizes.items()}
    # A dim of length 1 that every image of OME-Zarr 0.4 used to have is no loop.
    single = [dim for dim in "TZ" if sizes.get(dim) == 1]
    pixels = pixels.isel(dict.fromkeys(single, 0))
    axes_told = zip(dims, axes, scale, shift, strict=True)
    coords, notes = placed_coords(
        [told for told in axes_told if told[0] not in {"C", "P", "S", *single}], sizes
    )
    coords |= omero_coords(attrs.get("omero"), sizes.get("C", 1))
    labels, more = _labels(group, pixels)
    notes += more
    image = SourceImage(
        pixels=pixels,
        path=path,
        format=f"OME-Zarr {_version(attrs, scales)}".strip(),
        part=part,
        name=str(scales.get("name") or ""),
        coords=coords,
        labels=labels,
        notes=tuple(notes),
    )
    return described_by_own(image, dict(group.attrs))


def _labels(
    group: Any, pixels: xr.Variable
) -> tuple[dict[str, xr.Variable], list[str]]:
    """Return the label images of an image, and those that do not fit it."""
    found: dict[str, xr.Variable] = {}
    notes = []
    names = (
        _ome_attributes(group["labels"]).get("labels", ()) if "labels" in group else ()
    )
    for name in map(str, names):
        own = group[f"labels/{name}"]
        scales = _ome_attributes(own)["multiscales"][0]
        array = own[str(scales["datasets"][0]["path"])]
        dims = [axis_name(axis)[:1].upper() for axis in scales["axes"]]
        label = lazy(dims, _ZarrPixels(array))
        single = {
            dim: 0
            for dim in dims
            if label.sizes[dim] == 1 and (dim == "C" or dim not in pixels.dims)
        }
        label = label.isel(single)
        fits = all(pixels.sizes.get(dim) == n for dim, n in label.sizes.items())
        if fits and "C" not in label.dims and label.dtype.kind in "iu":
            found[name] = label
        else:
            words = " ".join(f"{dim}{n}" for dim, n in label.sizes.items())
            notes.append(f"labels {name!r} (of {words} {label.dtype})")
    return found, notes


def _version(attrs: Mapping[str, Any], scales: Mapping[str, Any]) -> str:
    return str(attrs.get("version") or scales.get("version") or "")
