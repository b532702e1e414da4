"""Which images an OME-Zarr has, and where: one, a series of positions, or a plate."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from limnd2_xr.arrays.ngff import well_cell
from limnd2_xr.arrays.plate import PlateWells, wells_of
from limnd2_xr.errors import warn_user

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

__all__ = ["AXES", "ImagePlace", "Layout", "layout_of", "select_positions"]

AXES: Final = ("T", "C", "Z", "Y", "X")
"""Dims that are axes of an image, in the order of OME-Zarr."""
_IN_IMAGE: Final = frozenset({*AXES, "S"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlace:
    """One image of the hierarchy."""

    path: str
    """Of its group; ``""`` is the root."""
    name: str
    """Of the position, or of the file."""
    index: dict[str, int]
    """Index along the dims that are no axes, such as P."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All images, and how they belong together."""

    kind: Literal["image", "series", "plate"]
    images: tuple[ImagePlace, ...]
    wells: PlateWells | None = None
    """Of a plate."""


def layout_of(dataset: xr.Dataset, image: xr.DataArray, name: str) -> Layout:
    """Return where the images of a dataset go.

    Parameters
    ----------
    dataset
        That the image is of; tells the wells.
    image
        With any of the dims T, P, Z, C, Y, X, S and of custom loops.
    name
        For a single image.

    Warns
    -----
    Nd2Warning
        If some positions are in wells and others are not: then they become a series.
    """
    outer = [str(dim) for dim in image.dims if str(dim) not in _IN_IMAGE]
    wells = _wells(dataset, image) if outer == ["P"] else None
    if wells is not None:
        return _plate(wells)
    indices: list[dict[str, int]] = [
        dict(zip(outer, at, strict=True))
        for at in itertools.product(*(range(image.sizes[dim]) for dim in outer))
    ]
    if len(indices) == 1:
        place = ImagePlace(path="", name=name, index=indices[0])
        return Layout(kind="image", images=(place,))
    return Layout(
        kind="series",
        images=tuple(
            ImagePlace(path=str(i), name=_label(image, index) or str(i), index=index)
            for i, index in enumerate(indices)
        ),
    )


def _wells(dataset: xr.Dataset, image: xr.DataArray) -> PlateWells | None:
    """Return the wells, if all positions are in one that has a row and a column."""
    if "well" not in image.coords:
        return None
    wells = wells_of(dataset)
    placed = [
        at for well in wells for at in well.positions if min(well.row, well.column) >= 0
    ]
    if len(placed) == image.sizes["P"]:
        return wells
    if placed:
        warn_user(
            f"{image.sizes['P'] - len(placed)} of {image.sizes['P']} positions are in no "
            "well: all are exported as a series, not as a plate"
        )
    return None


def _plate(wells: PlateWells) -> Layout:
    images = [
        ImagePlace(
            path="/".join((*well_cell(well.row, well.column), str(field))),
            name=f"{well.name} {field}",
            index={"P": position},
        )
        for well in wells
        for field, position in enumerate(well.positions)
    ]
    return Layout(kind="plate", images=tuple(images), wells=wells)


def _label(image: xr.DataArray, index: dict[str, int]) -> str:
    """Labels of a position and of custom loops."""
    texts = []
    for dim, at in index.items():
        label = image.coords[dim].values[at] if dim in image.coords else at
        texts.append(str(label) if dim == "P" else f"{dim} {label}")
    return ", ".join(texts)


def select_positions(dataset: xr.Dataset, positions: Any) -> xr.Dataset:
    """Return a dataset of some positions.

    Parameters
    ----------
    dataset
        With the dim P, or without it: then there is position 0.
    positions
        None for all, an index, a label of P, a slice, or a sequence of indices or
        labels. One index or label drops P.

    Raises
    ------
    ValueError
        If there is no such position, or none is left.
    """
    if positions is None:
        return dataset
    if "P" not in dataset.dims:
        if positions in (0, [0], (0,), slice(None)):
            return dataset
        raise ValueError(f"there is one position, so positions={positions!r} is none")
    labels = (
        list(dataset["P"].values.tolist())
        if "P" in dataset.coords
        else list(range(dataset.sizes["P"]))
    )
    if isinstance(positions, slice):
        found: Any = np.arange(len(labels))[positions]
    elif isinstance(positions, (str, float, int, np.number)):
        return dataset.isel(P=_position(positions, labels))
    else:
        found = [_position(one, labels) for one in positions]
    if len(found) == 0:
        raise ValueError(f"positions={positions!r} leaves no position")
    if len(set(map(int, found))) != len(found):
        raise ValueError(f"positions={positions!r} names a position twice")
    return dataset.isel(P=found)


def _position(wanted: Any, labels: Sequence[Any]) -> int:
    if isinstance(wanted, str):
        if wanted in labels:
            return labels.index(wanted)
    elif isinstance(wanted, bool):
        pass
    elif isinstance(wanted, (int, np.integer)) and -len(labels) <= wanted < len(labels):
        return int(wanted) % len(labels)
    shown = ", ".join(map(str, labels[:8])) + (", ..." if len(labels) > 8 else "")
    raise ValueError(
        f"there is no position {wanted!r} among {len(labels)} (labels {shown})"
    )
