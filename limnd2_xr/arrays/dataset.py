"""From an opened file to the labelled, lazy dataset that the user sees."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import xarray as xr
from xarray.core import indexing

from limnd2_xr.arrays.attrs import document_of, flat_attributes, image_attributes
from limnd2_xr.arrays.coords import coordinates
from limnd2_xr.arrays.file_manager import FileManager
from limnd2_xr.arrays.file_variable import with_file_keys
from limnd2_xr.arrays.lazy import FrameArray
from limnd2_xr.frames.store import FrameStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from limnd2_xr.damage import OnDamage
    from limnd2_xr.frames.store import MissingFrames, StoreState

__all__ = [
    "BLOCK_NBYTES",
    "DAMAGE_KEY",
    "IMAGE",
    "OPTIONS_KEY",
    "SIZES_KEY",
    "SOURCE_KEY",
    "image_encoding",
    "image_of",
    "open_dataset",
    "open_state",
    "preferred_chunks",
]

IMAGE = "image"
"""Name of the variable that holds the pixels."""

SOURCE_KEY = "nd2_source"
"""In the encoding of the image: the `SourceSpec` of its file, for writing it again."""

SIZES_KEY = "nd2_sizes"
"""In the encoding of the image: the sizes of that of its file."""

OPTIONS_KEY = "nd2_options"
"""In the encoding of the image: with which options its file was opened."""

DAMAGE_KEY = "nd2_damage"
"""In the encoding of the image: what of its file was found damaged, as texts."""

_ENCODING = {"compression", "level", "significant_bits", "dtype", "scale"}
"""What can be chosen of the image when it is written."""

BLOCK_NBYTES = 96 * 2**20
"""About this much makes a good dask block: between 64 and 128 MiB."""


def open_dataset(
    file: Any,
    *,
    drop_variables: str | Iterable[str] | None = None,
    storage_options: dict[str, Any] | None = None,
    full_dims: bool = False,
    missing: MissingFrames = "fill",
    on_damage: OnDamage = "warn",
) -> xr.Dataset:
    """Open a file as a lazy dataset; only metadata are read.

    Parameters
    ----------
    file
        Path, URL, bytes or binary file object.
    drop_variables
        Names of variables and coordinates that are not built.
    storage_options
        For a URL: arguments of its fsspec filesystem.
    full_dims
        Give the image all of T, P, Z, C, Y and X.
    missing
        Read frames that the file lacks as 0, which counts as damage, or raise.
    on_damage
        Warn once of everything that is damaged, make that an error, or say nothing.

    Returns
    -------
    xarray.Dataset
        With the variable ``image`` of dims T, P, Z (those that the file has), C, Y, X
        and, for RGB, S.
    """
    state = open_state(
        file,
        storage_options=storage_options,
        full_dims=full_dims,
        missing=missing,
        on_damage=on_damage,
    )
    names = (
        [drop_variables] if isinstance(drop_variables, str) else drop_variables or ()
    )
    dataset = dataset_of(state, frozenset(names))
    remember_opening(
        dataset,
        state.damage,
        drop_variables=tuple(names),
        full_dims=full_dims,
        missing=missing,
        on_damage=on_damage,
    )
    return dataset


def remember_opening(
    dataset: xr.Dataset, damage: tuple[str, ...], **options: Any
) -> None:
    """Note in the encoding how a file was opened, and what was damaged.

    Parameters
    ----------
    dataset
        Of the image.
    damage
        What was damaged.
    **options
        Arguments of `open_dataset` but for the file.
    """
    for encoding in (dataset.encoding, *(v.encoding for v in dataset.values())):
        encoding[OPTIONS_KEY] = options
        encoding[DAMAGE_KEY] = damage


def open_state(
    file: Any,
    *,
    storage_options: dict[str, Any] | None = None,
    full_dims: bool = False,
    missing: MissingFrames = "fill",
    on_damage: OnDamage = "warn",
) -> StoreState:
    """Return what opening a file finds out; arguments as for `open_dataset`."""
    with FrameStore.open(
        file, storage_options=storage_options, missing=missing, on_damage=on_damage
    ) as store:
        state = store.state
    if full_dims:
        state = replace(state, axes=state.axes.with_dims(("T", "P", "Z")))
    return state


def dataset_of(state: StoreState, skip: frozenset[str] = frozenset()) -> xr.Dataset:
    """Lazy dataset of a file that was opened before.

    Parameters
    ----------
    state
        What opening the file found out.
    skip
        Names of variables and coordinates to leave out.
    """
    manager = FileManager(state)
    attrs, source = image_attributes(state), state.spec.name
    chunks = preferred_chunks(state)
    variables = {}
    if IMAGE not in skip:
        pixels = indexing.LazilyIndexedArray(FrameArray(manager, state))
        # No dtype: it would round what is computed from the pixels when that is saved.
        encoding = {
            "preferred_chunks": chunks,
            "source": source,
            "original_shape": state.shape,
            SOURCE_KEY: state.spec,
            SIZES_KEY: dict(zip(state.dims, state.shape, strict=True)),
        }
        variable = xr.Variable(state.dims, pixels, attrs, encoding)
        variables[IMAGE] = with_file_keys(variable)
    made = coordinates(state, manager, skip)
    for variable in made.values():
        # Blocks of the same size along the same dim, or dask finds them inconsistent.
        variable.encoding["preferred_chunks"] = {
            str(dim): chunks[str(dim)] for dim in variable.dims
        }
    labels = {name: v for name, v in made.items() if v.dims == (name,)}
    others = {n: with_file_keys(v) for n, v in made.items() if n not in labels}
    # Through `Coordinates` the others would become variables as any others. Indexes are
    # made here: xarray would make them of a copy of the dataset, which takes longer.
    dataset = xr.Dataset(
        {**variables, **others}, xr.Coordinates(labels), attrs
    ).set_coords(list(others))
    dataset.encoding["source"] = source
    dataset.set_close(manager.close)
    return dataset


def image_of(dataset: xr.Dataset) -> xr.DataArray:
    """Return the image of a dataset: its variable ``image``, or the only one.

    With the attributes of both. Where they differ, those of the image count, unless it
    has them from its file still while those of the dataset were changed.

    Raises
    ------
    ValueError
        If there is none, or there are others, which a file has no place for.
    """
    names = list(dataset.data_vars)
    if len(names) != 1:
        raise ValueError(
            f"the dataset has the variables {', '.join(map(str, names)) or 'none'}, but a "
            "file holds one image: write one of them, e.g. "
            f"ds[[{str((*names, IMAGE)[0])!r}]].nd2.to_nd2(...)"
        )
    image = dataset[names[0]]
    attrs = {**dataset.attrs, **image.attrs}
    document = document_of(attrs)
    for name, value in flat_attributes(document).items() if document else ():
        if image.attrs.get(name) == value and name in dataset.attrs:
            attrs[name] = dataset.attrs[name]
    return image.assign_attrs(attrs)


def image_encoding(
    image: xr.DataArray, encoding: Mapping[str, Mapping[str, Any]] | None
) -> dict[str, Any]:
    """Return how the image is to be stored, from the `encoding` of `to_nd2`.

    Raises
    ------
    ValueError
        If it names another variable, or says what there is no choice of.
    """
    given = {str(name): dict(value) for name, value in (encoding or {}).items()}
    options = given.pop(str(image.name), {})
    if given:
        raise ValueError(
            f"encoding names {', '.join(given)}, but the image is {image.name!r}"
        )
    unknown = sorted(options.keys() - _ENCODING)
    if unknown:
        raise ValueError(
            f"encoding has {', '.join(unknown)}; possible are "
            f"{', '.join(sorted(_ENCODING))}"
        )
    return options


def preferred_chunks(state: StoreState) -> dict[str, int]:
    """Length of a good dask block along each dimension.

    Whole frames, neighbours in the file first, up to about `BLOCK_NBYTES`: many small
    frames share a block, a large frame has its own. One that is over twice that size is
    cut into rows if it is stored uncompressed, as rows are read on their own then.
    """
    layout = state.table.layout
    chunks = dict(zip(state.dims, state.shape, strict=True))
    frame_nbytes = math.prod(layout.frame_shape) * layout.dtype.itemsize
    room = max(1, BLOCK_NBYTES // frame_nbytes)
    if frame_nbytes > 2 * BLOCK_NBYTES and layout.compression == "none":
        parts = math.ceil(frame_nbytes / BLOCK_NBYTES)
        chunks["Y"] = math.ceil(layout.height / parts)
    for dim in reversed(state.axes.file_order):
        length = chunks[dim]
        parts = math.ceil(length / room)
        chunks[dim] = math.ceil(length / parts)
        room = max(1, room // length) if parts == 1 else 1
    return chunks
