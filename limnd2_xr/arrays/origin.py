"""The file that an array was opened from, to write again what the array does not hold.

An array holds pixels, coordinates and the document; its file holds more: settings of
devices, display ranges, recorded columns, chunks of unknown meaning. As long as the
array remembers its file (selecting keeps that, arithmetic drops it) they can be taken
along.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.arrays.attrs import document_of
from limnd2_xr.arrays.dataset import SOURCE_KEY, dataset_of
from limnd2_xr.arrays.readback import Known
from limnd2_xr.container.prefetch import read_payload
from limnd2_xr.damage import DamageReport
from limnd2_xr.errors import Nd2Error
from limnd2_xr.frames.chunk_reading import ChunkReader
from limnd2_xr.frames.opening import find_frames, open_index, read_raw
from limnd2_xr.frames.store_state import found_state
from limnd2_xr.model.comparison import same
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.legacy_document import (
    LEGACY_EVENTS,
    boxes_left_out,
    is_legacy,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray as xr
    from numpy.typing import NDArray

    from limnd2_xr.container.chunk_index import ChunkIndex
    from limnd2_xr.container.source import ByteSource, SourceSpec
    from limnd2_xr.frames.store import StoreState
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
    known: Known = field(repr=False)
    """Coordinates of the file for the array's labels, and which of its indices these
    are: known of every loop, not of C, Y, X or S with labels that the file has not."""
    knows_frames: bool
    """Whether each frame of the array is one of the file's, and not something else under
    the same labels, nor one of them twice along a new dim."""

    @property
    def is_whole(self) -> bool:
        """Whether the array has all frames, channels and pixels, in the file's order."""
        return self.has_all_frames and self.has_all_channels and self.has_all_pixels

    @property
    def has_all_frames(self) -> bool:
        """Whether the array has all frames, in the file's order."""
        return self.knows_frames and all(map(self._has_all, FRAME_DIMS))

    @property
    def has_all_pixels(self) -> bool:
        """Whether the array has all rows and columns, in the file's order."""
        return self._has_all("Y") and self._has_all("X")

    @property
    def has_all_channels(self) -> bool:
        """Whether the array has all channels, in the file's order."""
        return self._has_all("C") and self._has_all("S")

    def _has_all(self, dim: str) -> bool:
        sizes = dict(zip(self.state.dims, self.state.shape, strict=True))
        return dim not in sizes or self.known.is_whole(dim, sizes[dim])

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
            numbers = numbers.take(self.known.picked[dim], axis=axis)
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


def find_origin(
    image: xr.DataArray, *, has_events: bool = False
) -> tuple[Origin | None, str]:
    """Return the file behind an array, and why not if it remembers one in vain.

    Parameters
    ----------
    image
        With the dims of an opened image, or fewer of its loops.
    has_events
        Whether events are written with it: those of its file are not lost then.

    Returns
    -------
    Origin or None
        None if the array remembers no file, or one that cannot be read any more, is
        not what the array was opened from, or has other labels along the loops.
    str
        What is lost with a file that is not used and why; else empty.
    """
    spec = image.encoding.get(SOURCE_KEY)
    document = document_of(image.attrs)
    if spec is None or document is None:
        return None, ""
    if is_legacy(document):
        # Its boxes are no chunks: there is nothing to take along as it is.
        return None, _lost_boxes(spec, has_events=has_events)
    lost = f"other chunks of {spec.name}"
    try:
        found = _open(spec)
    except (Nd2Error, OSError, ValueError) as error:
        return None, f"{lost} ({error})"
    if not same(found.state.document, document):
        why = "its metadata are not those that the array was opened with"
        return None, f"{lost} ({why})"
    with dataset_of(found.state, frozenset({"image"})) as whole:
        known = Known.of(whole.load(), image)
    loops = found.state.axes.dims
    strange = [dim for dim in loops if dim not in known.picked]
    if strange:
        return None, f"{lost} (it has other labels along {', '.join(strange)})"
    origin = Origin(
        spec=spec,
        state=found.state,
        raw=found.raw,
        index=found.index,
        known=known,
        knows_frames=_knows_frames(image, found.state, known),
    )
    return origin, ""


def _lost_boxes(spec: SourceSpec, *, has_events: bool) -> str:
    """Say which boxes of a file of format 1.0 no array has the content of."""
    lost = f"boxes of {spec.name}"
    try:
        with spec.open() as source, DamageReport(spec.name, "ignore"):
            names = boxes_left_out(
                name
                for name in ChunkReader(source).index.names()
                if not (has_events and name == LEGACY_EVENTS)
            )
    except (Nd2Error, OSError, ValueError) as error:
        return f"{lost} ({error})"
    return f"{lost}: {', '.join(names)}" if names else ""


def _knows_frames(image: xr.DataArray, state: StoreState, known: Known) -> bool:
    """Say whether frames are those of the file: when they were taken tells them apart."""
    new = [dim for dim in FRAME_DIMS if dim in image.dims and dim not in state.dims]
    if any(image.sizes[dim] > 1 for dim in new):
        return False
    return known.same(image, "acquired") or known.same(image, "time")


def _open(spec: SourceSpec) -> _File:
    with spec.open() as source:
        with DamageReport(spec.name, "ignore"):  # told when it was opened
            opened = open_index(source)
            raw = read_raw(opened)
            document, records = Nd2Document.from_raw(raw)
            axes, table = find_frames(source, opened, document)
        state = found_state(spec, opened, document, records, axes, table)
    return _File(state=state, raw=raw, index=opened.index)
