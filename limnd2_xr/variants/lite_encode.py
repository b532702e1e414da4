"""Encoder of the CLX lite variant; `limnd2_xr.variants.lite` is its way in."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

from limnd2_xr.variants.lite_layout import (
    COMPRESSED_MAGIC,
    F64,
    I32,
    I64,
    LEVEL_SIZES,
    MAX_DEPTH,
    MAX_NAME_UNITS,
    U32,
    U64,
)
from limnd2_xr.variants.offset_table import table_order
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from limnd2_xr.variants.tree import Kind, Value

__all__ = ["encode"]


def encode(level: Level, *, compressed: bool = False) -> bytes:
    r"""Bytes of an LV document whose top-level records are the children of `level`.

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
    >>> encode(tree, compressed=True)[:5]
    b'LV0Z\x16'
    """
    plain = _encode_plain(level)
    if not compressed:
        return plain
    # The stock zlib at its default level gives the bytes that NIS-Elements writes.
    return COMPRESSED_MAGIC + U64.pack(len(plain)) + zlib.compress(plain)


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
        LEVEL_SIZES.pack_into(out, self.head_end, len(self.offsets), len(out) - base)
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
    return F64.pack(value)


def _pack_string(value: Value) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a str")
    if "\0" in value:
        raise ValueError("a stored string cannot contain NUL")
    return (value + "\0").encode("utf-16-le", "surrogatepass")


def _pack_bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"{value!r} is not bytes")
    return U64.pack(len(value)) + value


_PACK: dict[Any, Callable[[Value], bytes]] = {
    LvType.BOOL: _pack_bool,
    LvType.INT32: _pack_int(I32),
    LvType.UINT32: _pack_int(U32),
    LvType.INT64: _pack_int(I64),
    LvType.UINT64: _pack_int(U64),
    LvType.POINTER: _pack_int(U64),
    LvType.DOUBLE: _pack_double,
    LvType.STRING: _pack_string,
    LvType.BYTES: _pack_bytes,
}
