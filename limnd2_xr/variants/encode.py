"""Encoding a metadata tree in the encoding that its stored types belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limnd2_xr.variants import lite, xml

if TYPE_CHECKING:
    from limnd2_xr.variants.tree import Level

__all__ = ["encode"]


def encode(level: Level) -> bytes:
    """Bytes of a metadata document, the inverse of `decode.decode`.

    Parameters
    ----------
    level
        Tree whose kinds are all `LvType` values (then a lite variant) or all
        ``runtype`` texts (then XML). A tree without children is an empty lite variant.

    Raises
    ------
    TypeError, ValueError
        If a value does not fit its stored type, or kinds of both sorts are mixed.

    Examples
    --------
    >>> from limnd2_xr.variants.decode import decode
    >>> from limnd2_xr.variants.tree import Level, LvType
    >>> tree = Level()
    >>> tree.add("uiWidth", LvType.UINT32, 512)
    >>> decode(encode(tree)) == tree
    True
    """
    is_xml = any(isinstance(kind, str) for kind in level.kinds)
    return xml.encode(level) if is_xml else lite.encode(level)
