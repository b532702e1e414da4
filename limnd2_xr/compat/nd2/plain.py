"""Decoded trees as nested dicts with the keys that nd2 gives them.

Type prefixes may be cut off (``uiWidth`` becomes ``Width``), items of lists have the keys
``i0000000000``, ``i0000000001`` ..., and byte arrays are lists of numbers, or dicts where
they hold a tree themselves.
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.variants import lite, xml
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.legacy_xml import decode_legacy, plain
from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from limnd2_xr.variants.tree import Kind, Value

__all__ = ["plain_chunk"]

_PREFIX: Final = re.compile("[_a-z]*")
_XML_ITEMS: Final = frozenset(
    {"no_name", "", "BinaryItem", "TextInfoItem", "Wavelength", "MinSrc", "MaxSrc"}
)
"""Elements of variant XML that are items of a list."""
_SHORTEST_TREE: Final = 4


def plain_chunk(payload: bytes, *, strip_prefix: bool) -> Any:
    """Decode a chunk and return it as nested dicts.

    Parameters
    ----------
    payload
        Of the chunk, in either encoding.
    strip_prefix
        Cut type prefixes off names.

    Raises
    ------
    CorruptChunk
        If it does not decode.

    Examples
    --------
    >>> xml = b'<variant><uiN runtype="lx_uint32" value="2"/></variant>'
    >>> plain_chunk(xml, strip_prefix=True), plain_chunk(xml, strip_prefix=False)
    ({'N': 2}, {'uiN': 2})
    """
    if not payload:
        return {}
    if not xml.looks_like_xml(payload):
        return _lite(decode(payload), strip_prefix)
    try:
        root = decode(payload)
    except CorruptChunk:
        return plain(decode_legacy(payload))  # XML of another kind
    found = _xml(root, strip_prefix)
    return found[_item(0)] if list(found) == [_item(0)] else found


def _item(number: int) -> str:
    return f"i{number:010}"


@lru_cache(4096)  # the names of a file are few, and repeat
def _stripped(name: str) -> str:
    return _PREFIX.sub("", name, count=1)


def _lite(level: Level, strip: bool) -> dict[str, Any]:
    """Children by name; those without a name make a list, here or in a dict of its own.

    A name that is nothing but a prefix counts as none once prefixes are cut off.
    """
    found: dict[str, Any] = {}
    for stored, given in level:
        name = _stripped(stored) if strip else stored
        value = _lite_value(given, strip)
        if name or name not in found:
            found[name] = value
            continue
        if not isinstance(found[name], list):
            found[name] = [found[name]]
        found[name].append(value)
    if list(found) != [""]:
        return found
    items = found[""] if isinstance(found[""], list) else [found[""]]
    return {_item(i): value for i, value in enumerate(items)}


def _lite_value(value: Value, strip: bool) -> Any:
    if isinstance(value, Level):
        return _lite(value, strip)
    if isinstance(value, bytes):
        return _tree_in(value, strip) or list(value)
    return value


def _tree_in(data: bytes, strip: bool) -> dict[str, Any] | None:
    """Return a tree that a byte array holds, as definitions of jobs do."""
    if len(data) < _SHORTEST_TREE or not lite.looks_like_lite(data) or data[1] < 2:
        return None
    try:
        return _lite(decode(data), strip)
    except CorruptChunk:
        return None


def _xml(level: Level, strip: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    children = zip(level.names, level.kinds, level.values, strict=True)
    for i, (stored, kind, given) in enumerate(children):
        value = _xml_value(given, kind, strip)
        name = (
            (_stripped(stored) or stored) if strip and stored != "no_name" else stored
        )
        if name in _XML_ITEMS:
            if not value:
                continue
            name = _item(i)
        found[name] = value
    return found


def _xml_value(value: Value, kind: Kind, strip: bool) -> Any:
    if isinstance(value, Level):
        return _xml(value, strip)
    if isinstance(value, bytes):
        return bytearray(base64.b64encode(value))
    if value is None:
        return "" if kind == "unknown" else {}
    return value
