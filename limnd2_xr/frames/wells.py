"""In which wells the positions of a file are, read when it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limnd2_xr.container.prefetch import read_payload
from limnd2_xr.damage import report_damage
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.frame_wells import FRAME_WELLS, decode_well_table
from limnd2_xr.model.wells import wells_of_positions

if TYPE_CHECKING:
    from limnd2_xr.container.chunk_index import ChunkIndex
    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.wells import PositionWells

__all__ = ["read_wells"]


def read_wells(
    source: ByteSource, index: ChunkIndex, axes: Axes
) -> PositionWells | None:
    """Return the well of each position; None, without a read, if nothing tells it.

    Parameters
    ----------
    source
        The open file.
    index
        Its chunks.
    axes
        Its loops.

    Warns
    -----
    Nd2Warning
        If the chunk that tells it is damaged: then nothing does.
    """
    entry = index.find(FRAME_WELLS)
    if entry is None:
        return None
    try:
        payload = read_payload(source, FRAME_WELLS, entry)
        return wells_of_positions(decode_well_table(payload), axes)
    except CorruptChunk as error:
        located = error.located(path=source.name, chunk=FRAME_WELLS)
        report_damage(located, "in which wells positions are is not known")
        return None
