"""Display ranges of the channels of a file, read when they are asked for."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from limnd2_xr.container.prefetch import read_payload
from limnd2_xr.damage import report_damage
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.display import DISPLAY, channel_ranges, parse_display
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from limnd2_xr.container.chunk_index import ChunkIndex
    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.frames.layout import PixelLayout
    from limnd2_xr.model.attributes import Attributes
    from limnd2_xr.model.display import DisplayRange

__all__ = ["integer_bits", "range_table", "ranges_in", "read_ranges"]


def read_ranges(
    source: ByteSource, index: ChunkIndex, attributes: Attributes, layout: PixelLayout
) -> NDArray[np.float64]:
    """Return the display range of each channel as the file has it.

    Parameters
    ----------
    source
        The open file.
    index
        Its chunks.
    attributes, layout
        Of its frames.

    Returns
    -------
    ndarray of float64, shape (3, channels)
        Minimum, maximum and gamma; NaN where the file has no ranges.

    Warns
    -----
    Nd2Warning
        If the chunk that has them is damaged: then all are NaN.
    """
    entry = index.find(DISPLAY)
    if entry is None:
        return range_table((), [layout.samples] * layout.channels)
    try:
        payload = read_payload(source, DISPLAY, entry)
    except CorruptChunk as error:
        return _unknown(error, source.name, layout)
    return ranges_in(payload, attributes, layout, source.name)


def ranges_in(
    payload: bytes, attributes: Attributes, layout: PixelLayout, path: str
) -> NDArray[np.float64]:
    """Return the same from the payload of the chunk.

    Parameters
    ----------
    payload
        As stored.
    attributes, layout
        Of the frames.
    path
        Of the file, for messages.
    """
    counts = (layout.samples,) * layout.channels
    try:
        return _decoded(payload, counts, integer_bits(attributes))
    except CorruptChunk as error:
        return _unknown(error, path, layout)


@lru_cache(maxsize=16)
def _decoded(
    payload: bytes, counts: tuple[int, ...], bits: int | None
) -> NDArray[np.float64]:
    """Decode once what three coordinates ask for."""
    return range_table(parse_display(decode(payload), sum(counts), bits).ranges, counts)


def _unknown(
    error: CorruptChunk, path: str, layout: PixelLayout
) -> NDArray[np.float64]:
    located = error.located(path=path, chunk=DISPLAY)
    report_damage(located, "display ranges are not known")
    return range_table((), [layout.samples] * layout.channels)


def range_table(
    ranges: Sequence[DisplayRange], counts: Sequence[int]
) -> NDArray[np.float64]:
    """Return minimum, maximum and gamma of each channel; NaN without ranges.

    Parameters
    ----------
    ranges
        Of the components, or none.
    counts
        Components of each channel.
    """
    if not ranges:
        return np.full((3, len(counts)), np.nan)
    found = channel_ranges(ranges, counts)
    rows = [(own.minimum, own.maximum, own.gamma) for own in found]
    return np.array(rows, np.float64).T


def integer_bits(attributes: Attributes) -> int | None:
    """Return how many bits of a whole number carry data; None of floats."""
    return None if attributes.pixel_type == "float" else attributes.bits_significant
