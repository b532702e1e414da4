"""Payloads of chunks that hold a tree: edited, and as they were where nothing changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.variants import lite
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from limnd2_xr.variants.tree import Level

__all__ = ["edited_payload", "is_xml", "readable_tree"]


def readable_tree(payload: bytes | None) -> Level | None:
    """Return the tree of a payload, None if there is none or it cannot be read."""
    if payload is None:
        return None
    try:
        return decode(payload)
    except CorruptChunk:
        return None


def is_xml(tree: Level) -> bool:
    """Say whether a tree was stored as XML."""
    return any(isinstance(kind, str) for kind in tree.kinds)


def edited_payload(
    stored: bytes | None,
    make: Callable[[Level | None], Level],
    *,
    compressed: bool = False,
) -> bytes:
    """Return the payload of a tree in the place of a stored one.

    Parameters
    ----------
    stored
        Payload that the file has. If the new tree is its tree it is returned; else the
        new one is compressed if this is. A tree in XML, or one that cannot be read,
        is made anew, as a lite variant.
    make
        Makes the tree on the base of the stored one, or of none.
    compressed
        Whether a tree that has no stored one is compressed.
    """
    base = readable_tree(stored)
    if stored is None or base is None:
        return lite.encode(make(None), compressed=compressed)
    compressed = stored.startswith(lite.COMPRESSED_MAGIC)
    try:
        tree = make(base)
    except CorruptChunk:
        return lite.encode(make(None), compressed=compressed)
    if tree is base:
        return stored
    if is_xml(base):
        tree = make(None)
    return lite.encode(tree, compressed=compressed)
