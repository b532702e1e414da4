"""Boxes of a JPEG 2000 file, which is what a file of format 1.0 is (FORMAT 11).

A box is a big-endian length, a type of four characters, and a payload. Files that
NIS-Elements wrote end with a map of their boxes; `walk_boxes` does without it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from limnd2_xr.errors import CorruptChunk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limnd2_xr.container.byte_source import ByteSource

__all__ = [
    "BOX_MAP_SIGNATURE",
    "CODESTREAM",
    "MAX_HEADER_NBYTES",
    "XML",
    "Box",
    "ImageHeader",
    "MapEntry",
    "iter_boxes",
    "parse_box",
    "parse_image_header",
    "read_box_map",
    "walk_boxes",
]

BOX_MAP_SIGNATURE = b"LABORATORY IMAGING ND BOX MAP 00"
"""Begins the last 40 bytes of a file; where the map is follows."""

CODESTREAM = "jp2c"
"""Type of the boxes that hold an image."""
XML = "xml "
"""Type of the boxes that hold metadata."""
MAX_HEADER_NBYTES = 16
"""Bytes of the longest header of a box."""

FOOTER = struct.Struct("<32sQ")
MAP_COUNT = struct.Struct(">I")
MAP_ENTRY = struct.Struct("<4s4sQ")
_BOX = struct.Struct(">I4s")
_LONG = struct.Struct(">Q")
_IMAGE_HEADER = struct.Struct(">IIHBBBB")
_MAX_DEPTH_BITS = 0x7F
_WINDOW_NBYTES = 4096
_MAX_BOXES = 50_000_000


class Box(NamedTuple):
    """Where a box and its payload are in the file.

    Attributes
    ----------
    type
        Four characters.
    offset
        File offset of the box, that is of its length.
    header_nbytes
        Bytes before the payload: 8, or 16 where the length has 64 bits.
    nbytes
        Bytes of the payload.
    """

    type: str
    offset: int
    header_nbytes: int
    nbytes: int

    @property
    def data_offset(self) -> int:
        """File offset of the payload."""
        return self.offset + self.header_nbytes

    @property
    def end(self) -> int:
        """File offset after the payload: of the next box."""
        return self.data_offset + self.nbytes


class MapEntry(NamedTuple):
    """What the map of a file says about one box."""

    type: str
    tag: str
    offset: int


class ImageHeader(NamedTuple):
    """Size and depth of the images of a file, from its box ``ihdr``."""

    height: int
    width: int
    components: int
    bits: int


def parse_box(data: bytes | memoryview, offset: int, limit: int) -> Box:
    r"""Return the box that `data` begins with.

    Parameters
    ----------
    data
        The bytes from `offset` on: 16, or as many as there are.
    offset
        File offset of the box.
    limit
        Where the file, or the box around this one, ends.

    Raises
    ------
    CorruptChunk
        There is no box here, or it runs past `limit`.

    Examples
    --------
    >>> parse_box(b"\0\0\0\x0cxml <a/>", 100, 112)
    Box(type='xml ', offset=100, header_nbytes=8, nbytes=4)
    """
    if len(data) < _BOX.size:
        raise CorruptChunk("the file ends within the header of a box", offset=offset)
    length, kind = _BOX.unpack_from(data)
    if not all(0x20 <= byte < 0x7F for byte in kind):
        raise CorruptChunk(f"no box has the type {kind!r}", offset=offset)
    name = kind.decode("ascii")
    header_nbytes = _BOX.size
    if length == 1:
        if len(data) < MAX_HEADER_NBYTES:
            raise CorruptChunk(
                "the file ends within the header of a box", offset=offset
            )
        (length,) = _LONG.unpack_from(data, _BOX.size)
        header_nbytes = MAX_HEADER_NBYTES
    elif length == 0:
        length = limit - offset
    if length < header_nbytes:
        raise CorruptChunk(
            f"box {name!r} claims {length} bytes, less than its header", offset=offset
        )
    if length > limit - offset:
        raise CorruptChunk(
            f"box {name!r} of {length} bytes runs past the end of the file ({limit})",
            offset=offset,
        )
    return Box(name, offset, header_nbytes, length - header_nbytes)


def walk_boxes(
    source: ByteSource, *, head_nbytes: int = 0
) -> Iterator[tuple[Box, bytes]]:
    """Walk over the boxes of a file from its start, one small read each at most.

    Parameters
    ----------
    source
        The open file.
    head_nbytes
        How much of each payload to give, as far as there is so much.

    Yields
    ------
    Box, bytes
        Each box, and the first bytes of its payload.

    Raises
    ------
    CorruptChunk
        At the first place that is no box, or where one does not fit in the file: what
        comes after it cannot be found. Boxes before were given.
    """
    size = source.size
    offset = start = 0
    window = b""
    for _ in range(_MAX_BOXES):
        if offset >= size:
            return
        wanted = min(MAX_HEADER_NBYTES + head_nbytes, size - offset)
        if offset + wanted > start + len(window) or offset < start:
            start = offset
            window = source.read_at(start, min(_WINDOW_NBYTES, size - start))
        at = offset - start
        box = parse_box(window[at : at + wanted], offset, size)
        data_at = at + box.header_nbytes
        yield box, window[data_at : data_at + min(head_nbytes, box.nbytes)]
        offset = box.end
    raise CorruptChunk("more boxes than any file has", offset=offset)


def iter_boxes(data: bytes, offset: int) -> Iterator[Box]:
    """Yield the boxes inside the payload of another.

    Parameters
    ----------
    data
        The payload.
    offset
        Its file offset.

    Raises
    ------
    CorruptChunk
        At the first place that is no box.
    """
    at = 0
    while at < len(data):
        header = data[at : at + MAX_HEADER_NBYTES]
        box = parse_box(header, offset + at, offset + len(data))
        yield box
        at = box.end - offset


def parse_image_header(data: bytes, offset: int) -> ImageHeader:
    """Return what the box ``jp2h`` says about the images (FORMAT 11).

    Parameters
    ----------
    data
        Its payload.
    offset
        File offset of the payload.

    Raises
    ------
    CorruptChunk
        It holds no ``ihdr``, or one without a size.
    """
    for box in iter_boxes(data, offset):
        if box.type != "ihdr":
            continue
        at = box.data_offset - offset
        if box.nbytes < _IMAGE_HEADER.size:
            raise CorruptChunk("the image header is cut short", offset=box.offset)
        height, width, components, depth, *_ = _IMAGE_HEADER.unpack_from(data, at)
        if not (0 < height <= 0x7FFFFFFF and 0 < width <= 0x7FFFFFFF and components):
            raise CorruptChunk(
                f"an image header of {width} x {height} pixels", offset=box.offset
            )
        # 255 says that depths differ and are told elsewhere.
        bits = 0 if depth == 0xFF else (depth & _MAX_DEPTH_BITS) + 1
        return ImageHeader(height, width, components, bits)
    raise CorruptChunk("there is no image header", offset=offset)


def read_box_map(source: ByteSource) -> tuple[list[MapEntry], int]:
    """Return the entries of the box map at the end of a file, and its file offset.

    The map is a big-endian count and entries of 16 bytes; its footer counts from the
    end of the file (FORMAT 11). Places are as listed: they may be outside the file.

    Raises
    ------
    CorruptChunk
        There is no map, or it does not fit in the file.
    """
    size = source.size
    if size < FOOTER.size:
        raise CorruptChunk("the file does not end with a box map", offset=size)
    signature, distance = FOOTER.unpack(source.read_at(size - FOOTER.size, FOOTER.size))
    if signature != BOX_MAP_SIGNATURE:
        raise CorruptChunk("the file does not end with a box map", offset=size)
    start, last = size - distance, size - FOOTER.size
    if not 0 <= start <= last - MAP_COUNT.size:
        raise CorruptChunk(
            "the footer's distance leads to no box map", offset=max(start, 0)
        )
    (count,) = MAP_COUNT.unpack(source.read_at(start, MAP_COUNT.size))
    room = (last - start - MAP_COUNT.size) // MAP_ENTRY.size
    if not 0 < count <= room:
        raise CorruptChunk(
            f"the box map claims {count} entries and has room for {room}", offset=start
        )
    data = source.read_at(start + MAP_COUNT.size, count * MAP_ENTRY.size)
    entries = [
        MapEntry(kind.decode("latin-1"), tag.decode("latin-1"), offset)
        for kind, tag, offset in MAP_ENTRY.iter_unpack(data)
    ]
    return entries, start
