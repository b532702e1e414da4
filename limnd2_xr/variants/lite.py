"""CLX lite variant ("LV"): the binary encoding of metadata in version 3 files.

FORMAT 4.2. A document is a row of records; a record is a stored type, a UTF-16 name
and a value; a level is a record that holds records, followed by a table of offsets
sorted by name. `decode` and `encode` are inverse to each other, byte for byte, except
where the format leaves a choice:

- an empty name is written without its terminator (NIS-Elements' way; the vendor's
  Python package writes one NUL),
- the offset table is ordered as NIS-Elements does (`offset_table`; the vendor's Python
  package orders list items by decimal text),
- a boolean is written as 0 or 1,
- a compressed document is deflated again.
"""

from __future__ import annotations

import struct
from codecs import utf_16_le_decode
from typing import TYPE_CHECKING, Any

from isal import isal_zlib
from isal.igzip_lib import IsalError

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.variants.lite_encode import encode
from limnd2_xr.variants.lite_layout import (
    COMPRESSED_MAGIC,
    F64,
    I32,
    I64,
    LEVEL_SIZES,
    MAX_DEPTH,
    U32,
    U64,
)
from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from limnd2_xr.variants.tree import Kind, Value

__all__ = [
    "COMPRESSED_MAGIC",
    "MAX_DEPTH",
    "decode",
    "decode_nested",
    "encode",
    "looks_like_lite",
]

PENDING_NBYTES = 512
"""Levels larger than this wait to be decoded, where the caller allows that."""

_NAMES: dict[bytes, str] = {}
"""Names as stored and as text: files have the same few hundred in common."""
_MAX_NAMES = 4096  # of 508 bytes each at most

_MAX_DEFLATE_RATIO = 64  # more than that no tree of names and values is compressed
_FREE_NBYTES = 2**26  # unless it is small

_U32, _I32, _F64, _U64 = (s.unpack_from for s in (U32, I32, F64, U64))


def decode(data: bytes | bytearray | memoryview, *, lazy: bool = False) -> Level:
    """Tree of one LV document; its top-level records are the children of the result.

    A compressed document (FORMAT 4.2.3) is inflated first. Nothing is allocated that
    the bytes at hand do not pay for, and nesting is followed without recursion.

    Parameters
    ----------
    data
        The chunk's payload.
    lazy
        Decode large levels when they are first looked into: most of a file's metadata
        are device settings that nobody asks for. Damage in them is then found as late.

    Returns
    -------
    Level
        Kinds are `LvType` values; type 7 is an unsigned number, type 10 a `Level`.
        Strings keep unpaired surrogates, so that nothing is lost.

    Raises
    ------
    CorruptChunk
        If a record, string, level or the document is cut short, a level's count,
        length or offset table contradicts its content, a type is unknown, or nesting
        exceeds `MAX_DEPTH`. Its offset counts from the start of the (inflated) bytes.

    Examples
    --------
    >>> tree = decode(bytes.fromhex("03 03 75 00 69 00 00 00 00 02 00 00"))
    >>> tree.names, tree.kinds, tree.values
    (['ui'], [3], [512])
    """
    if not isinstance(data, bytes):
        data = bytes(data)
    if data[:4] == COMPRESSED_MAGIC:
        data = _inflate(data)
        if data[:4] == COMPRESSED_MAGIC:
            raise CorruptChunk("a compressed document within a compressed one")
    root = Level()
    _decode_records(data, root, (0, len(data), -1), 0, lazy=lazy)
    return root


class _PendingLevel(Level):
    """A level that is decoded when it is first looked into."""

    __slots__ = ("_data", "_depth", "_span")

    def __init__(self, data: bytes, span: tuple[int, int, int], depth: int) -> None:
        # Without names, kinds and values: asking for one of them ends in __getattr__.
        self._data = data
        self._span = span
        self._depth = depth

    def __getattr__(self, name: str) -> Any:
        if name not in {"names", "kinds", "values"}:
            raise AttributeError(name)
        Level.__init__(self)
        try:
            _decode_records(self._data, self, self._span, self._depth, lazy=True)
        except CorruptChunk as error:
            del self.names, self.kinds, self.values  # so that the next one fails too
            # Whoever looks in later knows the chunk, but not where its payload began.
            raise CorruptChunk(
                f"at byte {error.offset} of its payload: {error.reason}"
            ) from error
        return getattr(self, name)


def _inflate(data: bytes) -> bytes:
    if len(data) < 12:
        raise CorruptChunk("a compressed document without its size", offset=len(data))
    (size,) = U64.unpack_from(data, 4)
    packed = memoryview(data)[12:]
    if size > len(packed) * _MAX_DEFLATE_RATIO + _FREE_NBYTES:
        raise CorruptChunk(
            f"{len(packed)} compressed bytes do not hold the {size} announced", offset=4
        )
    stream = isal_zlib.decompressobj()
    try:
        # One byte more than announced, so that a longer stream is noticed.
        plain: bytes = stream.decompress(packed, size + 1)
    except IsalError as error:  # type: ignore[misc]  # isal types it as an instance
        raise CorruptChunk(
            f"zlib stream does not inflate: {error}", offset=12
        ) from None
    if len(plain) != size or not stream.eof or stream.unused_data:
        raise CorruptChunk(
            f"zlib stream does not end with the {size} bytes announced", offset=12
        )
    return plain


def _decode_records(
    data: bytes, root: Level, span: tuple[int, int, int], depth: int, *, lazy: bool
) -> None:
    """Decode records into `root`: one pass, an explicit stack of open levels.

    `span` has where they begin and end, and how many they are (-1 if not announced).
    """
    names, kinds, values = root.names, root.kinds, root.values
    stack: list[tuple[list[str], list[Kind], list[Value], int, int, int]] = []
    known = _NAMES.get
    u32, i32, f64, u64 = _U32, _I32, _F64, _U64
    find = data.find
    pending_nbytes = PENDING_NBYTES if lazy else len(data) + 1
    # Where the children of the open level begin and must stop, how many it announced.
    offset, end, count = span
    start = offset
    try:
        while True:
            while offset < end:
                kind = data[offset]
                units = data[offset + 1]
                at = offset + 2
                if units:
                    raw = data[at : at + 2 * units]
                    at += 2 * units
                    found = known(raw)
                    name = _name(raw, units, offset) if found is None else found
                else:
                    name = ""
                value: Value
                if kind == 2:
                    value = i32(data, at)[0]
                    at += 4
                elif kind == 8:
                    stop = find(b"\0\0", at, end)
                    while (stop - at) & 1 and stop > 0:
                        # Zeros astride two units: the high byte of a Latin character
                        # and, mostly, the first half of the terminator.
                        stop += 1
                        if data[stop + 1]:
                            stop = find(b"\0\0", stop, end)
                    if stop < 0:
                        raise CorruptChunk(
                            f"string {name!r} is not terminated", offset=offset
                        )
                    value = utf_16_le_decode(data[at:stop], "surrogatepass", True)[0]
                    at = stop + 2
                elif kind == 6:
                    value = f64(data, at)[0]
                    at += 8
                elif kind == 3:
                    value = u32(data, at)[0]
                    at += 4
                elif kind in {11, 10}:
                    n, length = LEVEL_SIZES.unpack_from(data, at)
                    at += 12
                    if kind == 10:  # its end is absolute (FORMAT 4.2.1)
                        length -= offset
                    stop = offset + length
                    if stop < at or n * 8 > end - stop or n * 2 > stop - at:
                        raise CorruptChunk(
                            f"level {name!r} of {n} children and {length} bytes"
                            f" does not fit into its {end - offset} bytes",
                            offset=offset,
                        )
                    if depth + len(stack) >= MAX_DEPTH:
                        raise CorruptChunk(
                            f"levels nest deeper than {MAX_DEPTH}", offset=offset
                        )
                    names.append(name)
                    kinds.append(kind)
                    if length > pending_nbytes:
                        below = depth + len(stack) + 1
                        values.append(_PendingLevel(data, (at, stop, n), below))
                        offset = stop + 8 * n
                        continue
                    child = Level()
                    values.append(child)
                    stack.append((names, kinds, values, start, end, count))
                    names, kinds, values = child.names, child.kinds, child.values
                    start, end, count = offset, stop, n
                    offset = at
                    continue
                elif kind == 1:
                    value = data[at] != 0
                    at += 1
                elif kind == 9:
                    (n,) = u64(data, at)
                    at += 8
                    value = data[at : at + n]
                    at += n
                elif kind in {5, 7}:
                    value = u64(data, at)[0]
                    at += 8
                elif kind == 4:
                    value = I64.unpack_from(data, at)[0]
                    at += 8
                else:
                    raise CorruptChunk(f"unknown record type {kind}", offset=offset)
                names.append(name)
                kinds.append(kind)
                values.append(value)
                offset = at
            if offset != end:
                raise CorruptChunk(
                    f"the records of a level end {offset - end} bytes too late",
                    offset=start,
                )
            if len(names) != count and count >= 0:
                raise CorruptChunk(
                    f"a level holds {len(names)} records and announces {count}",
                    offset=start,
                )
            if not stack:
                return
            offset += 8 * count
            names, kinds, values, start, end, count = stack.pop()
    except (struct.error, IndexError):
        raise CorruptChunk("the last record is cut short", offset=offset) from None


def _name(raw: bytes, units: int, offset: int) -> str:
    """Decode a name that is not known yet, and remember it."""
    if len(raw) != 2 * units or raw[-2:] != b"\0\0":
        raise CorruptChunk("record name is not terminated", offset=offset)
    if len(_NAMES) >= _MAX_NAMES:  # of files with names of their own
        _NAMES.clear()
    name = utf_16_le_decode(raw[:-2], "surrogatepass", True)[0]
    _NAMES[raw] = name
    return name


def looks_like_lite(data: bytes | bytearray | memoryview) -> bool:
    """Whether bytes begin as an LV document with a named first record does.

    A cheap look at a compressed document's magic or at the first record's type and
    terminated name (FORMAT 4.2.4); no promise that the rest decodes.

    Examples
    --------
    >>> looks_like_lite(b"LV0Z"), looks_like_lite(b"<variant>"), looks_like_lite(b"")
    (True, False, False)
    """
    head = bytes(data[: 2 + 2 * 255])
    if head[:4] == COMPRESSED_MAGIC:
        return True
    if len(head) < 2 or not 1 <= head[0] <= 11 or head[1] < 2:
        return False
    stop = 2 + 2 * head[1]
    return len(head) >= stop and head[stop - 2 : stop] == b"\0\0"


def decode_nested(data: bytes | bytearray | memoryview) -> Level | None:
    """Tree of an LV document inside a byte array, None if the bytes are none.

    FORMAT 4.2.4: ``baScanArea`` and some others hold records, ``pItemValid`` plain
    flags. Bytes count as a document if the first record has a terminated name of at
    least one character and decoding consumes all of them.

    Examples
    --------
    >>> decode_nested(bytes([1, 1, 0, 0])) is None  # four flags
    True
    """
    if not looks_like_lite(data):
        return None
    try:
        return decode(data)
    except CorruptChunk:
        return None
