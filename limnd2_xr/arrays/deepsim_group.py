"""Raw images of a CrestOptics DeepSIM: the group ``deepsim`` (FORMAT 6.7 [1S])."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr
from xarray.core import indexing

from limnd2_xr.arrays.coords import coordinates
from limnd2_xr.arrays.lazy import ChunkFrameArray, PerFrameArray
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.deepsim import (
    DEEPSIM_HEAD_NBYTES,
    decode_deepsim_head,
    deepsim_chunk_name,
    parse_deepsim_name,
)
from limnd2_xr.model.channels import channel_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.arrays.lazy import Indices, StoreManager
    from limnd2_xr.frames.deepsim import DeepSimHead
    from limnd2_xr.frames.store import FrameStore, StoreState

__all__ = ["DEEPSIM", "RawImages", "deepsim_group"]

DEEPSIM: Final = "/deepsim"
"""Path of the group."""
_SETTINGS: Final = {
    "psf": "correction of the point spread function",
    "psf_default": "its default",
    "iterations": "iterations of the reconstruction",
    "iterations_default": "their default",
    "roi_x": "first column of the region of the camera",
    "roi_y": "first row of the region of the camera",
}


class RawImages(ChunkFrameArray):
    """Raw images of one component; of a frame only those rows are read that are asked for.

    Parameters
    ----------
    manager
        Owner of the open `FrameStore`.
    state
        What opening the file found out.
    component
        Which component of the frames.
    shape
        Raw images of a frame, their rows and columns.
    """

    def __init__(
        self,
        manager: StoreManager,
        state: StoreState,
        component: int,
        shape: tuple[int, int, int],
    ) -> None:
        super().__init__(manager, state, shape, np.dtype(np.uint16))
        self._component = component

    def __dask_tokenize__(self) -> tuple[str, int]:
        return self.manager.token, self._component

    def read_frame(
        self, store: FrameStore, number: int, indices: tuple[Indices, ...]
    ) -> NDArray[np.uint16]:
        """Return a part of the raw images of a frame, zeros where there are none."""
        images, rows, columns = indices
        found = np.zeros(tuple(map(len, indices)), np.uint16)
        name = deepsim_chunk_name(self._component, number)
        if name not in store.state.chunks:
            return found
        head = _head(store, name)
        _check_shape(head, self.shape[-3:], store, name)
        first, stop = int(rows.min()), int(rows.max()) + 1
        row_nbytes = head.width * found.itemsize
        for target, image in zip(found, images.tolist(), strict=True):
            start = head.images_offset + image * head.image_nbytes + first * row_nbytes
            data = store.read_chunk_part(name, start, (stop - first) * row_nbytes)
            pixels = np.frombuffer(data, "<u2").reshape(stop - first, head.width)
            target[...] = pixels[np.ix_(rows - first, columns)]
        return found


def deepsim_group(state: StoreState, manager: StoreManager) -> dict[str, xr.Dataset]:
    """Return the group ``deepsim``: one variable a component that has raw images.

    Frames without raw images read as zeros; what they were computed with, one variable
    a setting, is NaN for these. Nothing if the file has no raw images.

    Parameters
    ----------
    state
        What opening the file found out.
    manager
        Owner of the open file.

    Raises
    ------
    CorruptChunk
        If components have raw images of different numbers or sizes, naming the chunk.
        Those of frames are compared when they are read.
    """
    first = _first_frames(state)
    if not first:
        return {}
    variables: dict[str, xr.Variable] = {}
    shape: tuple[int, int, int] | None = None
    names = channel_names(state.document.channels)
    dims = (*state.axes.dims, "raw", "Y_raw", "X_raw")
    for component, number in first.items():
        name = deepsim_chunk_name(component, number)
        with manager.acquire_context() as store:
            head = _head(store, name)
            shape = shape or (head.count, head.height, head.width)
            _check_shape(head, shape, store, name)
            attrs = _calibration(store, name, head)
        attrs |= {"component": component}
        if component < len(names) and state.table.layout.samples == 1:
            attrs["channel"] = names[component]
        pixels = indexing.LazilyIndexedArray(
            RawImages(manager, state, component, shape)
        )
        variables[f"component_{component}"] = xr.Variable(dims, pixels, attrs)
    components = tuple(first)
    of_frames = ("component", *state.axes.dims)
    for setting, long_name in _SETTINGS.items():
        values = PerFrameArray(
            manager,
            partial(_settings, setting=setting, components=components),
            (len(components), *state.axes.shape),
            np.dtype(np.float64),
        )
        lazy = indexing.LazilyIndexedArray(values)
        variables[setting] = xr.Variable(of_frames, lazy, {"long_name": long_name})
    made = coordinates(state, manager)
    coords = {str(dim): made[dim] for dim in state.axes.dims if dim in made}
    coords["component"] = xr.Variable(("component",), np.array(components))
    return {DEEPSIM: xr.Dataset(variables, xr.Coordinates(coords, indexes={}))}


def _first_frames(state: StoreState) -> dict[int, int]:
    """First frame with raw images of each component, by component."""
    found: dict[int, int] = {}
    for family in state.chunks.families().values():
        if not len(family):
            continue
        place = parse_deepsim_name(family.name(int(family.numbers[0])))
        if place is not None and place[1] < state.axes.n_frames:
            found[place[0]] = place[1]
    return dict(sorted(found.items()))


def _head(store: FrameStore, name: str) -> DeepSimHead:
    """Return what stands before the raw images, which must all be in the chunk."""
    data = store.read_chunk_part(name, 0, DEEPSIM_HEAD_NBYTES)
    try:
        head = decode_deepsim_head(data)
    except CorruptChunk as error:
        raise error.located(path=store.source_name, chunk=name) from error
    end = head.images_offset + head.count * head.image_nbytes
    entry = store.state.chunks.find(name)
    if entry is not None and end > (entry.nbytes or store.file_nbytes):
        reason = f"DeepSIM data are {end} bytes, the chunk {entry.nbytes}"
        raise CorruptChunk(reason, path=store.source_name, chunk=name)
    return head


def _check_shape(
    head: DeepSimHead, shape: tuple[int, ...], store: FrameStore, name: str
) -> None:
    if (head.count, head.height, head.width) != shape:
        raise CorruptChunk(
            f"holds {head.count} DeepSIM images of {head.height} x {head.width} pixels, "
            f"where others hold {shape[0]} of {shape[1]} x {shape[2]}",
            path=store.source_name,
            chunk=name,
        )


def _calibration(store: FrameStore, name: str, head: DeepSimHead) -> dict[str, Any]:
    """Calibration that the first raw images of a component came with."""
    nbytes = head.key_nbytes + head.xml_nbytes
    texts = store.read_chunk_part(name, DEEPSIM_HEAD_NBYTES, nbytes)
    key = texts[: head.key_nbytes].decode("utf-16-le", "replace")
    xml = texts[head.key_nbytes :].decode("utf-8", "replace")
    return {
        "calibration_key": key.rstrip("\0"),
        "calibration_xml": xml.rstrip("\0"),
    }


def _settings(
    store: FrameStore, *, setting: str, components: tuple[int, ...]
) -> NDArray[np.float64]:
    """One setting of each component and frame, NaN where there are no raw images."""
    sequence = store.axes.sequence()
    found = np.full((len(components), *sequence.shape), np.nan)
    for at, number in np.ndenumerate(sequence):
        for i, component in enumerate(components):
            name = deepsim_chunk_name(component, int(number))
            if name in store.state.chunks:
                found[(i, *at)] = getattr(_head(store, name), setting)
    return found
