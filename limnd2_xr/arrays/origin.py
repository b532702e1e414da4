"""The file that an array was opened from, to write again what the array does not hold.

An array holds pixels, coordinates and the document; its file holds more: settings of
devices, display ranges, recorded columns, chunks of unknown meaning. As long as the
array remembers its file (selecting keeps that, arithmetic drops it) they can be taken
along.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.arrays.attrs import METADATA_ATTR
from limnd2_xr.arrays.dataset import SOURCE_KEY, dataset_of
from limnd2_xr.arrays.readback import find_labels
from limnd2_xr.errors import Nd2Error, warn_user
from limnd2_xr.frames.opening import find_frames, open_index, read_raw
from limnd2_xr.frames.store import StoreState
from limnd2_xr.model.document import Nd2Document

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray as xr
    from numpy.typing import NDArray

    from limnd2_xr.container.chunk_index import ChunkIndex
    from limnd2_xr.container.source import ByteSource, SourceSpec
    from limnd2_xr.model.raw import RawMetadata

__all__ = ["Origin", "find_origin"]

FRAME_DIMS: Final = ("U", "T", "P", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """An open file behind an array, as far as writing needs it."""

    state: StoreState
    raw: RawMetadata
    index: ChunkIndex


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The file behind an array: its chunks, and which of its frames the array has."""

    spec: SourceSpec
    """How to open it."""
    state: StoreState
    """What opening it found out."""
    raw: RawMetadata = field(repr=False)
    """Its metadata as stored."""
    index: ChunkIndex = field(repr=False)
    """All its chunks."""
    picked: dict[str, NDArray[np.int64]]
    """For each dimension of the file, which of its indices the array has, in order."""

    @cached_property
    def dataset(self) -> xr.Dataset:
        """What opening the file gives, with the array's selection."""
        return dataset_of(self.state, frozenset({"image"})).isel(dict(self.picked))

    @property
    def is_whole(self) -> bool:
        """Whether the array has all frames, channels and pixels, in the file's order."""
        return self.has_all_frames and self.has_all_channels and self.has_all_pixels

    @property
    def has_all_frames(self) -> bool:
        """Whether the array has all frames, in the file's order."""
        return all(map(self._has_all, FRAME_DIMS))

    @property
    def has_all_pixels(self) -> bool:
        """Whether the array has all rows and columns, in the file's order."""
        return self._has_all("Y") and self._has_all("X")

    @property
    def has_all_channels(self) -> bool:
        """Whether the array has all channels, in the file's order."""
        return self._has_all("C") and self._has_all("S")

    def _has_all(self, dim: str) -> bool:
        if dim not in self.picked:
            return True
        length = self.state.shape[self.state.dims.index(dim)]
        return np.array_equal(self.picked[dim], np.arange(length))

    def frames(self, dims: tuple[str, ...]) -> NDArray[np.int64]:
        """Frame numbers of the file, of the shape of the array's loops in this order.

        Parameters
        ----------
        dims
            Loop dims of what is written; those that the file lacks have length 1.
        """
        numbers = self.state.axes.sequence()
        own = self.state.axes.dims
        for axis, dim in enumerate(own):
            numbers = numbers.take(self.picked[dim], axis=axis)
        kept = [own.index(dim) for dim in dims if dim in own]
        rest = [axis for axis in range(len(own)) if axis not in kept]
        numbers = numbers.transpose(*rest, *kept)[(0,) * len(rest)]
        missing = tuple(i for i, dim in enumerate(dims) if dim not in own)
        return np.expand_dims(numbers, missing)

    def payloads(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        """Yield name and payload of chunks, read one by one."""
        source: ByteSource
        with self.spec.open() as source:
            for name in names:
                entry = self.index.find(name)
                if entry is not None:
                    yield name, read_payload(source, name, entry)


def read_payload(source: ByteSource, name: str, entry: Any) -> bytes:
    """Payload of one chunk, checked against its own header."""
    from limnd2_xr.container.prefetch import RegionCache

    return RegionCache(source).chunks({name: entry})[name]


def find_origin(image: xr.DataArray) -> Origin | None:
    """Return the file behind an array, None if it remembers none.

    Parameters
    ----------
    image
        With the dims of an opened image, or fewer of its loops.

    Warns
    -----
    Nd2Warning
        If the array remembers a file that cannot be read any more, or that is not the
        one it was opened from.
    """
    spec = image.encoding.get(SOURCE_KEY)
    text = image.attrs.get(METADATA_ATTR)
    if spec is None or text is None:
        return None
    try:
        found = _open(spec)
    except (Nd2Error, OSError, ValueError) as error:
        warn_user(f"chunks of the original file are not taken along: {error}")
        return None
    if found.state.document != Nd2Document.from_json(text):
        warn_user(
            f"chunks of {spec.name} are not taken along: its metadata are not those "
            "that the array was opened with"
        )
        return None
    picked = _picked(image, found.state)
    if picked is None:
        return None
    return Origin(
        spec=spec, state=found.state, raw=found.raw, index=found.index, picked=picked
    )


def _open(spec: SourceSpec) -> _File:
    with spec.open() as source:
        opened = open_index(source)
        raw = read_raw(opened)
        document, records = Nd2Document.from_raw(raw)
        axes, table = find_frames(source, opened, document)
        state = StoreState(
            spec=spec,
            stamp=source.stamp,
            document=document,
            records=records,
            axes=axes,
            table=table,
        )
    return _File(state=state, raw=raw, index=opened.index)


def _picked(
    image: xr.DataArray, state: StoreState
) -> dict[str, NDArray[np.int64]] | None:
    """Find the array's labels among those of the file; None if one is not there."""
    whole = dataset_of(state, frozenset({"image"}))
    picked = {dim: find_labels(image, whole, dim) for dim in state.dims}
    return None if any(found is None for found in picked.values()) else picked
