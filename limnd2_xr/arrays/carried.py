"""Which chunks of the file behind an array are written again with it.

An array that is its file still, frame by frame, takes along every chunk. One that was
selected from it takes what does not depend on which frames, channels and pixels there
are, and its part of the recorded columns; what depends on them in a way that is not
known is left out, and told.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.table import FRAME_FAMILY
from limnd2_xr.model.plates import PLATE_CHUNK
from limnd2_xr.model.raw import AUTHENTICATION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from limnd2_xr.arrays.beside import Overlay
    from limnd2_xr.arrays.origin import Origin
    from limnd2_xr.container.chunk_index import ChunkIndex

__all__ = ["Carried", "ChunkPayloads", "carried_chunks", "selected_columns"]

_PER_FRAME: Final = (
    "CustomData|AcqTimes2Cache!",
    "CustomData|AcqFramesCache!",
    "CustomData|TimeSourceCache!",
)
"""Caches that hold one value a frame, as recorded columns do."""

_TIED_TO_FRAMES: Final = (
    "CustomData|AcqTimesCache!",
    *_PER_FRAME,
    "CustomData|FloatCompRangeCache",
    "CustomData|FloatRangeCache",
    "CustomData|GUIDStore!",
    "CustomDataVar|NDControlV1_0!",
    "CustomDataVar|StreamDataV1_0!",
)
"""Caches and the state of a viewer: made anew, or worthless with other frames."""

_ANYWHERE: Final = (
    "CustomDataVar|AppInfo_V1_0!",
    "CustomDataVar|AcqTimeV1_0!",
    "CustomDataVar|GrabberCameraSettingsV1_0!",
    "CustomData|CustomDescriptionV1_0!",
    "CustomData|MoleculeAnalysisV1_0!",
    "CustomData|JobRunGUIDV1_0!",
    "CustomData|JobDefinitionDescV1_0!",
    "CustomData|JobDefinitionV1_0!",
    PLATE_CHUNK,
)
"""Chunks that are true whatever was selected (FORMAT 3)."""

_SAME_CHANNELS: Final = ("CustomDataVar|LUTDataV1_0!",)
_SAME_PIXELS: Final = ("CustomData|RoiMetadata_v1!", "ReportObjects!")
_EMPTY_ROIS: Final = 44
"""Bytes of a ROI chunk without ROIs (FORMAT 4.2.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """Chunks of the file behind an array: which are written again, which are not."""

    names: tuple[str, ...]
    """Written again byte for byte."""
    lost: tuple[str, ...]
    """Left out although they may mean something."""


def carried_chunks(origin: Origin, generated: frozenset[str]) -> Carried:
    """Choose the chunks that are written again.

    Parameters
    ----------
    origin
        The file behind the array.
    generated
        Names of the chunks that are made from the metadata, all encodings of them; none
        of these is carried.
    """
    names, lost = [], []
    for name in ordinary_chunks(origin.index):
        if name in generated or name.startswith(AUTHENTICATION):
            continue
        if origin.is_whole or _is_true(name, origin):
            names.append(name)
        elif not name.startswith(_TIED_TO_FRAMES) and not _is_empty(name, origin):
            lost.append(name)
    return Carried(names=tuple(names), lost=tuple(lost))


def ordinary_chunks(index: ChunkIndex) -> Iterator[str]:
    """Iterate over the names of all chunks but those of frames."""
    yield from index.names()
    for prefix, family in index.families().items():
        if prefix != FRAME_FAMILY:
            for number in family.numbers.tolist():
                yield family.name(number)


def _is_true(name: str, origin: Origin) -> bool:
    if name in _ANYWHERE:
        return True
    if name in _SAME_CHANNELS:
        return origin.has_all_channels
    return name in _SAME_PIXELS and origin.has_all_pixels and origin.has_all_frames


def _is_empty(name: str, origin: Origin) -> bool:
    entry = origin.index.find(name)
    return name == _SAME_PIXELS[0] and entry is not None and entry.nbytes == _EMPTY_ROIS


def selected_columns(
    origin: Origin, frames: NDArray[np.int64], described: Iterable[str]
) -> dict[str, bytes]:
    """Return the recorded columns of an array's frames, as stored, by chunk name.

    Parameters
    ----------
    origin
        The file behind the array.
    frames
        Frame numbers of the file, in the order in which they are written.
    described
        Names of the columns; the caches of clocks are taken along with them.

    Returns
    -------
    dict
        Only columns that have one value a frame.
    """
    count = origin.state.document.attributes.sequence_count
    found = {}
    for name, payload in origin.payloads([*described, *_PER_FRAME]):
        if not count or len(payload) % count or not payload:
            continue
        slots = np.frombuffer(payload, np.uint8).reshape(count, -1)
        if frames.size and int(frames.max()) < count:
            found[name] = slots[frames.ravel()].tobytes()
    return found


def _place(name: str) -> tuple[int, str]:
    """Sort key: what is of no frame first, then frame by frame."""
    family, _, number = name.removesuffix("!").rpartition("|")
    is_number = number.isascii() and number.isdigit()
    return (int(number), family) if is_number else (-1, name)


class ChunkPayloads(Mapping[str, "bytes | None"]):
    """Payloads of chunks by name: those made now, and those read when they are written.

    A file may hold thousands of masks: they pass through memory one by one. None stands
    for a chunk that turns out not to be needed.

    Parameters
    ----------
    made
        Payloads that were made.
    origin
        File that the others come from.
    carried
        Names of these.
    """

    def __init__(
        self,
        made: Mapping[str, bytes | None],
        origin: Origin | None,
        carried: tuple[str, ...],
    ) -> None:
        self._made = made
        self._origin = origin
        self._carried = frozenset(carried)
        # Sorted, so that a copy of a copy is the same file; frames by their numbers.
        self._names = tuple(sorted((*self._made, *carried), key=_place))

    def overlaid(self, overlay: Overlay) -> ChunkPayloads:
        """Return the same with other chunks in the place of some."""
        made: ChainMap[str, bytes | None] = ChainMap(
            *(cast("dict[str, bytes | None]", part) for part in overlay.made),
            cast("dict[str, bytes | None]", self._made),
        )
        carried = tuple(
            name
            for name in self._carried
            if name not in made and not overlay.replaces(name)
        )
        return ChunkPayloads(made, self._origin, carried)

    def carries(self, prefix: str) -> bool:
        """Say whether chunks are taken from the origin whose names begin so."""
        return any(name.startswith(prefix) for name in self._carried)

    def without(self, prefix: str) -> ChunkPayloads:
        """Return the same without those chunks of the origin."""
        carried = (name for name in self._carried if not name.startswith(prefix))
        return ChunkPayloads(self._made, self._origin, tuple(carried))

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._made or name in self._carried

    def __getitem__(self, name: str) -> bytes | None:
        if name in self._made:
            return self._made[name]
        if self._origin is None or name not in self._carried:
            raise KeyError(name)
        for _, payload in self._origin.payloads([name]):
            return payload
        raise CorruptChunk(
            "the chunk vanished from the file", path=self._origin.spec.name, chunk=name
        )
