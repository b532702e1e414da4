"""Decoding a metadata chunk whose encoding only its bytes tell (FORMAT 3, last rule)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.variants import lite, xml

if TYPE_CHECKING:
    from limnd2_xr.variants.tree import Level

__all__ = ["decode"]


def decode(data: bytes | bytearray | memoryview, *, lazy: bool = False) -> Level:
    """Tree of a metadata document in either variant encoding, compressed or not.

    Parameters
    ----------
    data
        The chunk's payload: XML if it begins with ``<``, lite variant if it begins
        with ``LV0Z`` or a record type.
    lazy
        Leave large levels of a lite variant to be decoded when they are looked into.

    Returns
    -------
    Level
        Its children are the top-level records or the children of ``<variant>``; kinds
        tell the encoding (numbers in lite variants, ``runtype`` texts in XML).

    Raises
    ------
    CorruptChunk
        If the bytes are neither, or do not decode.

    Examples
    --------
    >>> decode(b'<variant><no_name runtype="double" value="1"/></variant>')["no_name"]
    1.0
    >>> decode(bytes.fromhex("01 02 62 00 00 00 01"))["b"]
    True
    """
    if xml.looks_like_xml(data):
        return xml.decode(data)
    if lite.looks_like_lite(data):
        return lite.decode(data, lazy=lazy)
    start = bytes(data[:8]).hex(" ")
    raise CorruptChunk(
        f"neither a lite variant nor XML: begins with {start or 'nothing'}"
    )
