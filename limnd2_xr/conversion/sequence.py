"""One image from many files, each of which is a part of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from limnd2_xr.conversion.lazy_images import stacked
from limnd2_xr.conversion.opening import open_images
from limnd2_xr.errors import Nd2Error
from limnd2_xr.model.channels import unique_names
from limnd2_xr.model.plates import parse_well

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from numpy.typing import NDArray

    from limnd2_xr.conversion.file_grid import FileGrid
    from limnd2_xr.conversion.source_image import Reading, SourceImage

__all__ = ["image_of_files", "image_of_positions"]

_PER_FRAME: Final = ("time", "acquired", "stage_x", "stage_y", "stage_z")
_PER_CHANNEL: Final = (
    "C",
    "emission_wavelength",
    "excitation_wavelength",
    "exposure_time",
    "pinhole_diameter",
    "color",
    "modality",
    "binning",
    "camera",
    "display_min",
    "display_max",
    "gamma",
)
_SOME: Final = 3
_THREADS: Final = 4


def image_of_files(grid: FileGrid, reading: Reading, stack: ExitStack) -> SourceImage:
    """Put the files of a sequence together.

    Parameters
    ----------
    grid
        Where each goes.
    reading
        How to understand them.
    stack
        What closes those that have to stay open.

    Raises
    ------
    Nd2Error
        If a file holds several images, or others have another shape or type.
    """
    images = np.empty(grid.files.shape, object)
    present = [(place, path) for place, path in grid.places() if path is not None]

    def opened(path: str) -> SourceImage:
        found = open_images(path, reading, stack, one_of_many=True)
        if len(found) > 1:
            raise Nd2Error(
                f"the file has {len(found)} images: choose with series= (--series)",
                path=path,
            )
        return found[0]

    with ThreadPoolExecutor(_THREADS) as threads:
        opening = threads.map(opened, [path for _, path in present])
        for (place, _), image in zip(present, opening, strict=True):
            images[place] = _without_single(image, grid.dims)
    first = images[present[0][0]]
    inner = set(map(str, first.pixels.dims)) & set(grid.dims)
    if inner:
        raise Nd2Error(
            f"each file has a dim {', '.join(sorted(inner))} of its own, which the names "
            "tell, too"
            + "; an OME-TIFF of many files is converted by naming one of them"
            * (first.format == "OME-TIFF"),
            path=first.path,
        )
    _check_alike([images[place] for place, _ in present])
    whole = _joined(images, grid.dims, first)
    coords = whole.coords
    if "C" in grid.dims:
        coords["C"] = xr.Variable("C", unique_names(grid.labels["C"]))
    if "P" in grid.dims:
        coords["P"] = xr.Variable("P", unique_names(grid.labels["P"]))
    if grid.wells is not None:
        coords |= _well_coords([parse_well(well) for well in grid.wells])
    return replace(whole, coords=coords, well=None)


def image_of_positions(images: Sequence[SourceImage]) -> SourceImage:
    """Put the images of a file together, as positions.

    Parameters
    ----------
    images
        At least one, all alike; a single one has no positions.

    Raises
    ------
    Nd2Error
        If they are not alike.
    """
    if len(images) == 1:
        image = images[0]
        coords = dict(image.coords)
        if image.well is not None and "P" not in image.pixels.dims:
            coords |= {
                name: variable.isel(P=0)
                for name, variable in _well_coords([image.well]).items()
            }
        return replace(image, coords=coords)
    if "P" in images[0].pixels.dims:
        raise Nd2Error(
            f"the file has {len(images)} images of several positions each: choose with "
            "series= (--series)",
            path=images[0].path,
        )
    _check_alike(images, " Choose one with series= (--series).")
    members = np.empty(len(images), object)
    members[:] = list(images)
    whole = _joined(members, ("P",), images[0])
    names = [image.name for image in images]
    if all(names) and not _counts(names):
        whole.coords["P"] = xr.Variable("P", unique_names(names))
    wells = [image.well for image in images]
    if any(well is not None for well in wells):
        whole.coords.update(_well_coords([well or (-1, -1) for well in wells]))
    return replace(whole, part="", name="", well=None)


def _without_single(image: SourceImage, dims: Sequence[str]) -> SourceImage:
    """Drop dims of length 1 that the names of files tell."""
    pixels = image.pixels.isel({d: 0 for d in dims if image.pixels.sizes.get(d) == 1})
    coords = {
        name: variable.isel({d: 0 for d in dims if variable.sizes.get(d) == 1})
        for name, variable in image.coords.items()
        if name not in dims or name == "C"
    }
    labels = {
        name: variable.isel({d: 0 for d in dims if variable.sizes.get(d) == 1})
        for name, variable in image.labels.items()
    }
    return replace(image, pixels=pixels, coords=coords, labels=labels)


def _check_alike(images: Sequence[SourceImage], advice: str = "") -> None:
    first = images[0]
    wanted = _signature(first)
    others = [image for image in images if _signature(image) != wanted]
    if not others:
        return
    told = "; ".join(f"{o.place}: {_words(_signature(o))}" for o in others[:_SOME])
    more = f"; and {len(others) - _SOME} more" if len(others) > _SOME else ""
    raise Nd2Error(
        f"{first.place} is {_words(wanted)}, but {told}{more}: all must be alike.{advice}"
    )


def _signature(image: SourceImage) -> tuple[Any, ...]:
    pixels = image.pixels
    return tuple(map(str, pixels.dims)), pixels.shape, pixels.dtype


def _words(signature: tuple[Any, ...]) -> str:
    dims, shape, dtype = signature
    sizes = " ".join(f"{dim}{n}" for dim, n in zip(dims, shape, strict=True))
    return f"{sizes} {dtype}"


def _joined(
    images: NDArray[np.object_], dims: tuple[str, ...], first: SourceImage
) -> SourceImage:
    """Return an image of all, with what their metadata say together."""
    members = np.frompyfunc(lambda image: image and image.pixels, 1, 1)(images)
    pixels = stacked(np.asarray(members, object), dims, first.pixels)
    present = [image for image in images.ravel() if image is not None]
    coords = {}
    notes = list(dict.fromkeys(note for image in present for note in image.notes))
    starts = {image.attrs.get("acquisition_start") for image in present}
    for name, variable in first.coords.items():
        if name in _PER_FRAME:
            extra = tuple(dim for dim in dims if dim != "C")
        elif name in _PER_CHANNEL:
            extra = ("C",) if "C" in dims else ()
        else:
            extra = ()
        if name == "time" and len(starts) > 1:
            notes.append("times (each file counts them from a start of its own)")
            continue
        gathered = _gathered(images, dims, name, extra)
        if gathered is None:
            notes.append(f"{name} (some files lack it)")
        else:
            coords[name] = gathered if extra else variable
    attrs = {
        name: value
        for name, value in first.attrs.items()
        if name == "acquisition_start"
        or all(image.attrs.get(name) == value for image in present)
    }
    if len(starts) > 1:
        attrs["acquisition_start"] = min(filter(None, starts))
    notes += [
        f"{name} (it differs between files)"
        for name in first.attrs
        if name not in attrs and name != "nd2_metadata"
    ]
    labels, unlike = _joined_labels(images, dims)
    return replace(
        first,
        pixels=pixels,
        coords=coords,
        attrs=attrs,
        labels=labels,
        notes=(*notes, *unlike),
    )


def _joined_labels(
    images: NDArray[np.object_], dims: tuple[str, ...]
) -> tuple[dict[str, xr.Variable], list[str]]:
    """Return label images of all; 0 where an image has none of a name."""
    present = [image for image in images.ravel() if image is not None]
    found: dict[str, xr.Variable] = {}
    notes = []
    for name in dict.fromkeys(name for image in present for name in image.labels):
        own = [image.labels[name] for image in present if name in image.labels]
        like = own[0]
        if "C" in dims or any(
            (v.dims, v.shape, v.dtype) != (like.dims, like.shape, like.dtype)
            for v in own
        ):
            notes.append(f"labels {name!r} (they differ between images)")
            continue
        members = np.frompyfunc(lambda i, n=name: i and i.labels.get(n), 1, 1)(images)
        found[name] = stacked(np.asarray(members, object), dims, like)
    return found, notes


def _gathered(
    images: NDArray[np.object_],
    dims: tuple[str, ...],
    name: str,
    extra: tuple[str, ...],
) -> xr.Variable | None:
    """Return a coordinate with the dims `extra`, from the first file along others."""
    order = [dims.index(dim) for dim in extra]
    rest = [i for i in range(len(dims)) if i not in order]
    spread = images.transpose([*order, *rest]).reshape(
        *(images.shape[i] for i in order), -1
    )
    found = np.empty(spread.shape[:-1], object)
    for place in np.ndindex(found.shape):
        members = [image for image in spread[place] if image is not None]
        own = next((m.coords[name] for m in members if name in m.coords), None)
        if own is None and (members or not _is_number(images, name)):
            return None
        found[place] = own
    known = next(v for v in found.ravel() if v is not None)
    if any(v is not None and v.dims != known.dims for v in found.ravel()):
        return None
    values = [
        np.full(known.shape, np.nan) if v is None else np.asarray(v.values)
        for v in found.ravel()
    ]
    whole = np.stack(values).reshape(*found.shape, *known.shape)
    return xr.Variable((*extra, *known.dims), whole, known.attrs)


def _is_number(images: NDArray[np.object_], name: str) -> bool:
    present = next(image for image in images.ravel() if image is not None)
    return bool(present.coords[name].dtype.kind == "f")


def _counts(names: Sequence[str]) -> bool:
    """Whether names are that of the file and the number of the image alone."""
    return all(
        name.endswith(f" P={number}") or name == f"Image{number}"
        for number, name in enumerate(names)
    )


def _well_coords(cells: Sequence[tuple[int, int]]) -> dict[str, xr.Variable]:
    rows, columns = zip(*cells, strict=True)
    return {
        "well_row": xr.Variable("P", np.array(rows, np.int64)),
        "well_column": xr.Variable("P", np.array(columns, np.int64)),
    }
