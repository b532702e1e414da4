"""File signature and chunk headers of formats 2.x and 3.0 (FORMAT 1.1, 1.2).

Chunk names are `str` with their closing ``!``, one character a byte (latin-1), so
that any name found in a file can be written back.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from limnd2_xr.errors import CorruptChunk, NotAnNd2File, UnsupportedFeature

__all__ = [
    "ALIGNMENT",
    "FILEMAP_NAME",
    "FILE_MAGIC",
    "HEADER_NBYTES",
    "JP2_MAGIC",
    "MAP_SIGNATURE",
    "MAX_NAME_NBYTES",
    "SIGNATURE_NAME",
    "ChunkHeader",
    "LegacyFormat",
    "parse_header",
    "parse_signature",
]

FILE_MAGIC = b"\xda\xce\xbe\x0a"
"""First bytes of every chunk, hence of every chunked file (FORMAT 0.2)."""

JP2_MAGIC = b"\x00\x00\x00\x0cjP  "
"""First bytes of a file of format 1.0, which is JPEG 2000 (FORMAT 11)."""

SIGNATURE_NAME = "ND2 FILE SIGNATURE CHUNK NAME01!"
FILEMAP_NAME = "ND2 FILEMAP SIGNATURE NAME 0001!"
MAP_SIGNATURE = b"ND2 CHUNK MAP SIGNATURE 0000001!"
"""Ends the list of chunks, and begins the last 40 bytes of a file (FORMAT 2.2)."""

ALIGNMENT = 4096
HEADER_NBYTES = 16
MAX_NAME_NBYTES = 65536
"""Longest name field, padding included, that is believed (FORMAT 2.4)."""

FOOTER = struct.Struct("<32sQ")
_HEADER = struct.Struct("<4sIQ")
_VERSION = re.compile(rb"Ver(\d{1,4})\.(\d{1,4})")
_NAME = re.compile(rb"[^\x00-\x1f\x7f!]++!")


class LegacyFormat(UnsupportedFeature):
    """The file is of format 1.0: it has boxes instead of chunks."""


class ChunkHeader(NamedTuple):
    """Where a chunk and its parts are in the file.

    Attributes
    ----------
    name
        Chunk name with its closing ``!``.
    offset
        File offset of the chunk, that is of its magic.
    name_nbytes
        Bytes of the name field, padding included.
    data_nbytes
        Bytes of the payload.
    """

    name: str
    offset: int
    name_nbytes: int
    data_nbytes: int

    @property
    def data_offset(self) -> int:
        """File offset of the payload."""
        return self.offset + HEADER_NBYTES + self.name_nbytes

    @property
    def end(self) -> int:
        """File offset after the payload; padding may follow."""
        return self.data_offset + self.data_nbytes


def align(offset: int) -> int:
    """Return the first multiple of 4096 that is not below `offset`."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def is_chunk_name(name: bytes) -> bool:
    """Tell whether `name` can be a chunk's: no control bytes, one ``!``, at its end."""
    return len(name) <= MAX_NAME_NBYTES and _NAME.fullmatch(name) is not None


def parse_header(data: bytes | memoryview, offset: int, limit: int) -> ChunkHeader:
    """Return the header of the chunk that `data` begins with.

    Parameters
    ----------
    data
        The file's bytes from `offset` on: 16 bytes and the chunk's name at least,
        more does no harm.
    offset
        File offset of the chunk.
    limit
        Size of the file: the chunk must end there or before.

    Raises
    ------
    CorruptChunk
        There is no chunk here, or it does not fit in the file (FORMAT 1.2).

    Examples
    --------
    >>> data = FILE_MAGIC + bytes([24, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0])
    >>> parse_header(data + b"Abc!" + bytes(20) + b"xyz", 0, 43)
    ChunkHeader(name='Abc!', offset=0, name_nbytes=24, data_nbytes=3)
    """
    if len(data) < HEADER_NBYTES:
        raise CorruptChunk("the file ends within a chunk header", offset=offset)
    magic, name_nbytes, data_nbytes = _HEADER.unpack_from(data)
    if magic != FILE_MAGIC:
        raise CorruptChunk("there is no chunk here", offset=offset)
    if not 2 <= name_nbytes <= MAX_NAME_NBYTES:
        raise CorruptChunk(
            f"chunk header claims a name of {name_nbytes} bytes", offset=offset
        )
    field = bytes(data[HEADER_NBYTES : HEADER_NBYTES + name_nbytes])
    name = field[: field.find(b"!") + 1]
    if not is_chunk_name(name):
        raise CorruptChunk("chunk header without a valid name", offset=offset)
    header = ChunkHeader(name.decode("latin-1"), offset, name_nbytes, data_nbytes)
    if header.end > limit:
        raise CorruptChunk(
            f"chunk of {data_nbytes} bytes runs past the end of the file ({limit})",
            chunk=header.name,
            offset=offset,
        )
    return header


def parse_signature(data: bytes) -> tuple[int, int]:
    """Return the format version (major, minor) of the file that begins with `data`.

    Parameters
    ----------
    data
        The first 112 bytes of the file or more (FORMAT 1.1).

    Raises
    ------
    NotAnNd2File
        The file begins differently.
    LegacyFormat
        The file is of format 1.0 (JPEG 2000).

    Examples
    --------
    >>> name = b"ND2 FILE SIGNATURE CHUNK NAME01!"
    >>> header = FILE_MAGIC + bytes([32, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0])
    >>> parse_signature(header + name + b"Ver3.0".ljust(64, bytes(1)))
    (3, 0)
    """
    if data.startswith(JP2_MAGIC):
        raise LegacyFormat(
            "a file of format 1.0 (JPEG 2000) can be neither changed nor repaired: open"
            " it, and ds.nd2.to_nd2 writes what can be had as a new file of format 3.0",
            offset=0,
        )
    if not data:
        raise NotAnNd2File("the file is empty", offset=0)
    if not data.startswith(FILE_MAGIC):
        raise NotAnNd2File(
            f"not an .nd2 file: it begins with {bytes(data[:8])!r}", offset=0
        )
    try:
        header = parse_header(data, 0, len(data))
    except CorruptChunk as error:
        raise NotAnNd2File(f"the file signature is damaged: {error.reason}") from error
    version = _VERSION.match(data, header.data_offset, header.end)
    if header.name != SIGNATURE_NAME or version is None:
        raise NotAnNd2File("the file signature is damaged", offset=0)
    return int(version[1]), int(version[2])
