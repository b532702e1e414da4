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
import zlib
from typing import TYPE_CHECKING, Any

from isal import isal_zlib
from isal.igzip_lib import IsalError

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.variants.offset_table import table_order
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from limnd2_xr.variants.tree import Kind, Value

__all__ = [
    "COMPRESSED_MAGIC",
    "MAX_DEPTH",
    "decode",
    "decode_nested",
    "encode",
    "looks_like_lite",
]

COMPRESSED_MAGIC = b"LV0Z"
MAX_DEPTH = 128
"""Levels within levels that are followed; real documents nest about 15 deep."""

MAX_NAME_UNITS = 254
_MAX_DEFLATE_RATIO = 1032  # no deflate stream grows more than that

_I32 = struct.Struct("<i")
_U32 = struct.Struct("<I")
_I64 = struct.Struct("<q")
_U64 = struct.Struct("<Q")
_F64 = struct.Struct("<d")
_LEVEL = struct.Struct("<IQ")


def decode(data: bytes | bytearray | memoryview) -> Level:
    """Tree of one LV document; its top-level records are the children of the result.

    A compressed document (FORMAT 4.2.3) is inflated first. Nothing is allocated that
    the bytes at hand do not pay for, and nesting is followed without recursion.

    Parameters
    ----------
    data
        The chunk's payload.

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
    return _decode_plain(data)


def _inflate(data: bytes) -> bytes:
    if len(data) < 12:
        raise CorruptChunk("a compressed document without its size", offset=len(data))
    (size,) = _U64.unpack_from(data, 4)
    packed = memoryview(data)[12:]
    if size > len(packed) * _MAX_DEFLATE_RATIO:
        raise CorruptChunk(
            f"{len(packed)} compressed bytes cannot hold the {size} announced", offset=4
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


def _decode_plain(data: bytes) -> Level:
    """Decode an uncompressed document: one pass, an explicit stack of open levels."""
    root = Level()
    names, kinds, values = root.names, root.kinds, root.values
    stack: list[tuple[list[str], list[Kind], list[Value], int, int, int]] = []
    known: dict[bytes, str] = {}  # names repeat hundreds of times
    u32, i32, f64, u64 = (s.unpack_from for s in (_U32, _I32, _F64, _U64))
    find = data.find
    offset = start = 0
    end = len(data)  # where the children of the open level must stop
    count = -1  # how many the open level announced
    try:
        while True:
            while offset < end:
                kind = data[offset]
                units = data[offset + 1]
                at = offset + 2
                if units:
                    raw = data[at : at + 2 * units]
                    at += 2 * units
                    found = known.get(raw)
                    if found is None:
                        known[raw] = found = _name(raw, units, offset)
                    name = found
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
                    value = data[at:stop].decode("utf-16-le", "surrogatepass")
                    at = stop + 2
                elif kind == 6:
                    value = f64(data, at)[0]
                    at += 8
                elif kind == 3:
                    value = u32(data, at)[0]
                    at += 4
                elif kind in {11, 10}:
                    n, length = _LEVEL.unpack_from(data, at)
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
                    if len(stack) >= MAX_DEPTH:
                        raise CorruptChunk(
                            f"levels nest deeper than {MAX_DEPTH}", offset=offset
                        )
                    child = Level()
                    names.append(name)
                    kinds.append(kind)
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
                    value = _I64.unpack_from(data, at)[0]
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
            if not stack:
                return root
            if len(names) != count:
                raise CorruptChunk(
                    f"a level holds {len(names)} records and announces {count}",
                    offset=start,
                )
            offset += 8 * count
            names, kinds, values, start, end, count = stack.pop()
    except (struct.error, IndexError):
        raise CorruptChunk("the last record is cut short", offset=offset) from None


def _name(raw: bytes, units: int, offset: int) -> str:
    if len(raw) != 2 * units or raw[-2:] != b"\0\0":
        raise CorruptChunk("record name is not terminated", offset=offset)
    return raw[:-2].decode("utf-16-le", "surrogatepass")


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


def encode(level: Level, *, compressed: bool = False) -> bytes:
    """Bytes of an LV document whose top-level records are the children of `level`.

    Parameters
    ----------
    level
        Tree with `LvType` kinds. Values must have the Python type that `decode` gives
        for their kind: no number is converted, cut or rounded on the way.
    compressed
        Wrap the document as ``LV0Z`` (FORMAT 4.2.3).

    Raises
    ------
    TypeError
        If a kind is no stored type of LV or a value does not have its kind's type.
    ValueError
        If a number is out of range, a string contains NUL, a name is longer than 254
        UTF-16 units, or levels nest deeper than `MAX_DEPTH`. The message names the
        path to the record.

    Examples
    --------
    >>> tree = Level()
    >>> tree.add("uiWidth", LvType.UINT32, 512)
    >>> encode(tree).hex(" ")
    '03 08 75 00 69 00 57 00 69 00 64 00 74 00 68 00 00 00 00 02 00 00'
    >>> decode(encode(tree, compressed=True)) == tree
    True
    """
    plain = _encode_plain(level)
    if not compressed:
        return plain
    # The stock zlib at its default level gives the bytes that NIS-Elements writes.
    return COMPRESSED_MAGIC + _U64.pack(len(plain)) + zlib.compress(plain)


def _encode_plain(root: Level) -> bytes:
    out = bytearray()
    stack: list[_Open] = []
    here = _Open(root, "", 0, 0)
    while True:
        for name, kind, value in here.rest:
            here.offsets.append(len(out))
            if kind in {LvType.LEVEL, LvType.OLD_LEVEL}:
                if not isinstance(value, Level):
                    raise TypeError(f"{_path(stack, here, name)} is not a Level")
                if len(stack) >= MAX_DEPTH:
                    raise ValueError(
                        f"{_path(stack, here, name)} nests deeper than {MAX_DEPTH}"
                    )
                stack.append(here)
                start = len(out)
                out += _head(kind, name, stack, here)
                here = _Open(value, name, start, len(out), kind)
                out += bytes(12)  # count and length, known at the end
                break
            pack = _PACK.get(kind)
            if pack is None:
                raise TypeError(
                    f"{_path(stack, here, name)} has kind {kind!r}: no stored type of LV"
                )
            try:
                packed = pack(value)
            except (struct.error, OverflowError, ValueError) as error:
                raise ValueError(f"{_path(stack, here, name)}: {error}") from None
            except TypeError as error:
                raise TypeError(f"{_path(stack, here, name)}: {error}") from None
            out += _head(kind, name, stack, here)
            out += packed
        else:
            if not stack:
                return bytes(out)
            here.close(out)
            here = stack.pop()


class _Open:
    """A level that is being written: what is left of it and where its parts began."""

    __slots__ = ("head_end", "kind", "level", "name", "offsets", "rest", "start")

    def __init__(
        self,
        level: Level,
        name: str,
        start: int,
        head_end: int,
        kind: Kind = LvType.LEVEL,
    ) -> None:
        self.level = level
        self.name = name
        self.start = start
        self.head_end = head_end
        self.kind = kind
        self.offsets: list[int] = []
        self.rest: Iterator[tuple[str, Kind, Value]] = iter(
            zip(level.names, level.kinds, level.values, strict=True)
        )

    def close(self, out: bytearray) -> None:
        """Fill in count and length and append the offset table (FORMAT 4.2.2)."""
        # A type 10 level counts from the document's start (FORMAT 4.2.1).
        base = 0 if self.kind == LvType.OLD_LEVEL else self.start
        _LEVEL.pack_into(out, self.head_end, len(self.offsets), len(out) - base)
        table = [self.offsets[i] - base for i in table_order(self.level.names)]
        out += struct.pack(f"<{len(table)}Q", *table)


def _path(stack: list[_Open], here: _Open, name: str) -> str:
    return "/".join([*(o.name for o in stack[1:]), here.name, name]).lstrip("/") or name


def _head(kind: Kind, name: str, stack: list[_Open], here: _Open) -> bytes:
    if not name:
        return bytes((int(kind), 0))
    raw = (name + "\0").encode("utf-16-le", "surrogatepass")
    if len(raw) > 2 * (MAX_NAME_UNITS + 1):
        raise ValueError(
            f"{_path(stack, here, name)}: the name has {len(raw) // 2 - 1} UTF-16 units,"
            f" at most {MAX_NAME_UNITS} fit"
        )
    return bytes((int(kind), len(raw) // 2)) + raw


def _pack_bool(value: Value) -> bytes:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is not a bool")
    return b"\1" if value else b"\0"


def _pack_int(layout: struct.Struct) -> Callable[[Value], bytes]:
    def pack(value: Value) -> bytes:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{value!r} is not an int")
        return layout.pack(value)

    return pack


def _pack_double(value: Value) -> bytes:
    if not isinstance(value, float):
        raise TypeError(f"{value!r} is not a float")
    return _F64.pack(value)


def _pack_string(value: Value) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a str")
    if "\0" in value:
        raise ValueError("a stored string cannot contain NUL")
    return (value + "\0").encode("utf-16-le", "surrogatepass")


def _pack_bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"{value!r} is not bytes")
    return _U64.pack(len(value)) + value


_PACK: dict[Any, Callable[[Value], bytes]] = {
    LvType.BOOL: _pack_bool,
    LvType.INT32: _pack_int(_I32),
    LvType.UINT32: _pack_int(_U32),
    LvType.INT64: _pack_int(_I64),
    LvType.UINT64: _pack_int(_U64),
    LvType.POINTER: _pack_int(_U64),
    LvType.DOUBLE: _pack_double,
    LvType.STRING: _pack_string,
    LvType.BYTES: _pack_bytes,
}
