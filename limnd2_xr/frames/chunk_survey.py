"""Where the chunks of a file are, whatever its map says: for verifying and repairing.

Opening looks at a sample of the chunks; this looks at the header of every one, and also
finds what the map does not list: copies that were replaced, chunks that are lost to it,
a frame that the end of the file cuts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from limnd2_xr.container.chunk_format import FILEMAP_NAME, SIGNATURE_NAME
from limnd2_xr.container.chunk_index import check_entries, read_index
from limnd2_xr.container.chunk_table import ChunkIndex, Entry, split_name
from limnd2_xr.container.cut_short import find_cut_chunk
from limnd2_xr.container.scan import rebuild_index, walk_chunks
from limnd2_xr.frames.table import FRAME_FAMILY

if TYPE_CHECKING:
    from limnd2_xr.container.chunk_format import ChunkHeader
    from limnd2_xr.container.source import ByteSource

__all__ = ["ChunkSurvey", "survey_chunks"]

_BATCH: Final = 10_000
_UNLISTED: Final = frozenset({SIGNATURE_NAME, FILEMAP_NAME})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSurvey:
    """What is where in a file."""

    version: tuple[int, int]
    """Format version."""
    index: ChunkIndex = field(repr=False)
    """Chunks that are where this says: checked by their headers."""
    map_fault: str | None
    """Why the map could not be used as it is; None where it could."""
    misplaced: dict[str, Entry]
    """What the map lists at a place where no such chunk is."""
    unlisted_frames: tuple[str, ...]
    """Frames that the file holds and the map, right otherwise, does not list."""
    older: dict[str, list[Entry]] = field(repr=False)
    """Copies that the map does not list of chunks that it does, the latest first."""
    unlisted: tuple[str, ...]
    """Other chunks that the map does not list."""
    cut_frame: ChunkHeader | None
    """Header of a frame that the end of the file cuts."""

    @property
    def stale(self) -> int:
        """How many chunks were replaced by later ones (FORMAT 1.6)."""
        return sum(map(len, self.older.values()))


def survey_chunks(source: ByteSource) -> ChunkSurvey:
    """Find the chunks of a file and compare its map with them (FORMAT 2.3, 2.4).

    Reads all headers, and more where chunks are small or of varying size. Memory depends
    on the number of chunks only.

    Raises
    ------
    NotAnNd2File
        The file does not begin as an .nd2 file.
    UnsupportedFeature
        It is of format 1.0.
    """
    loaded = read_index(source)
    index = loaded.index
    wrong: dict[str, Entry] = {}
    if loaded.rebuilt is None:
        wrong = _wrong_entries(source, index)
        if wrong:
            index = rebuild_index(source, index)
    older: dict[str, list[Entry]] = {}
    beyond: dict[str, Entry] = {}
    for header in walk_chunks(source):
        if header.name in _UNLISTED:
            continue
        entry = index.find(header.name)
        found = Entry(header.offset, header.data_nbytes)
        if entry is None:
            beyond[header.name] = found
        elif entry.offset != header.offset:
            older.setdefault(header.name, []).insert(0, found)
    frames = sorted(name for name in beyond if _is_frame(name))
    if frames:
        added = ((name, *beyond[name]) for name in frames)
        index = index.updated(ChunkIndex.from_entries(added))
    return ChunkSurvey(
        version=loaded.version,
        index=index,
        map_fault=loaded.rebuilt,
        misplaced=wrong,
        unlisted_frames=tuple(frames),
        older=older,
        unlisted=tuple(sorted(beyond.keys() - set(frames))),
        cut_frame=_cut_frame(source, index),
    )


def _wrong_entries(source: ByteSource, index: ChunkIndex) -> dict[str, Entry]:
    """Return what is not where an index says, looking at a batch at a time."""
    wrong: dict[str, Entry] = {}
    batch: dict[str, Entry] = {}

    def look() -> None:
        wrong.update((name, batch[name]) for name in check_entries(source, batch))
        batch.clear()

    for name, entry in index.items():
        batch[name] = entry
        if len(batch) == _BATCH:
            look()
    look()
    return wrong


def _is_frame(name: str) -> bool:
    split = split_name(name)
    return split is not None and split[0] == FRAME_FAMILY


def _cut_frame(source: ByteSource, index: ChunkIndex) -> ChunkHeader | None:
    """Header of a frame, behind all chunks that are whole, that runs past the end."""
    header = find_cut_chunk(source, index)
    return header if header is not None and _is_frame(header.name) else None
