"""Any chunk of an open file by its name, boxes of format 1.0 among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limnd2_xr.container.chunk_format import LegacyFormat
from limnd2_xr.container.legacy_index import (
    CODESTREAM_FAMILY,
    read_boxes,
    read_legacy_index,
)
from limnd2_xr.container.prefetch import RegionCache
from limnd2_xr.frames.opening import open_index
from limnd2_xr.frames.table import FRAME_FAMILY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limnd2_xr.container.chunk_index import ChunkIndex, Entry
    from limnd2_xr.container.source import ByteSource

__all__ = ["ChunkReader"]


class ChunkReader:
    """Finds and reads chunks, whatever the format of the file.

    Parameters
    ----------
    source
        Open for as long as the reader is used.

    Attributes
    ----------
    index
        All chunks, or the boxes of a file of format 1.0 by names such as ``VIMD|0!``.
    is_legacy
        Whether the file is of format 1.0.
    frame_family
        What the names of those begin with that hold pixels.
    """

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.index: ChunkIndex
        try:
            self.index = open_index(source).index
            self.is_legacy, self.frame_family = False, FRAME_FAMILY
        except LegacyFormat:
            self.index = read_legacy_index(source).index
            self.is_legacy, self.frame_family = True, CODESTREAM_FAMILY

    def payloads(self, entries: Mapping[str, Entry]) -> dict[str, bytes]:
        """Return the payloads of chunks by name, in few reads.

        Parameters
        ----------
        entries
            Name -> place, from the index.

        Raises
        ------
        CorruptChunk
            If one is not where the index says.
        """
        if self.is_legacy:
            return read_boxes(self._source, entries)
        return RegionCache(self._source).chunks(entries)
