"""The chunk that the end of a file cuts short, if its header is still there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from limnd2_xr.container.chunk_format import (
    ALIGNMENT,
    HEADER_NBYTES,
    ChunkHeader,
    align,
    parse_header,
)
from limnd2_xr.errors import CorruptChunk

if TYPE_CHECKING:
    from limnd2_xr.container.byte_source import ByteSource
    from limnd2_xr.container.chunk_table import ChunkIndex, Entry

__all__ = ["find_cut_chunk"]

_ANY_SIZE: Final = 1 << 66


def find_cut_chunk(source: ByteSource, index: ChunkIndex) -> ChunkHeader | None:
    """Return the header of the chunk that runs past the end of the file.

    Parameters
    ----------
    source
        The open file.
    index
        What `scan_chunks` found in it.

    Returns
    -------
    ChunkHeader or None
        None if what follows the last chunk is no other one.

    Examples
    --------
    >>> from limnd2_xr.container.chunk_format import FILE_MAGIC
    >>> from limnd2_xr.container.scan import scan_chunks
    >>> from limnd2_xr.container.source import MemorySource
    >>> head = (
    ...     FILE_MAGIC
    ...     + bytes([24, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0])
    ...     + b"A!"
    ...     + bytes(22)
    ... )
    >>> source = MemorySource(head + b"cut")
    >>> find_cut_chunk(source, scan_chunks(source)).name
    'A!'
    """
    end = _end_of_last(source, index)
    for offset in dict.fromkeys((align(end), end)):
        header = _header_at(source, offset)
        if header is not None and header.end > source.size:
            return header
    return None


def _end_of_last(source: ByteSource, index: ChunkIndex) -> int:
    """File offset after the last chunk that is whole."""
    last: list[Entry] = [
        entry for name in index.names() if (entry := index.find(name)) is not None
    ]
    for family in index.families().values():
        entry = family.find(int(family.numbers[family.offsets.argmax()]))
        if entry is not None:
            last.append(entry)
    if not last:
        # The signature is in no index.
        signature = _header_at(source, 0)
        return signature.end if signature and signature.end <= source.size else 0
    header = _header_at(source, max(last).offset)
    return header.end if header else source.size


def _header_at(source: ByteSource, offset: int) -> ChunkHeader | None:
    nbytes = min(ALIGNMENT, source.size - offset)
    if nbytes < HEADER_NBYTES:
        return None
    try:
        return parse_header(source.read_at(offset, nbytes), offset, _ANY_SIZE)
    except CorruptChunk:
        return None
