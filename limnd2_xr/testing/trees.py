"""Short-hand for variant trees, and the same tree in the XML encoding's terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limnd2_xr.variants.tree import Kind, Value

__all__ = ["Field", "listed", "named", "to_xml", "tree"]

Field: TypeAlias = "tuple[str, Kind, Value]"
"""Name, stored type and value of a child."""

_RUNTYPES = {
    LvType.BOOL: "bool",
    LvType.INT32: "lx_int32",
    LvType.UINT32: "lx_uint32",
    LvType.INT64: "lx_int64",
    LvType.UINT64: "lx_uint64",
    LvType.DOUBLE: "double",
    LvType.STRING: "CLxStringW",
    LvType.BYTES: "CLxByteArray",
    LvType.LEVEL: "CLxListVariant",
}


def tree(*fields: Field) -> Level:
    """Level with the given children.

    Examples
    --------
    >>> tree(("uiWidth", LvType.UINT32, 512), ("dZStep", LvType.DOUBLE, 0.5))
    Level({'uiWidth': 512, 'dZStep': 0.5})
    """
    level = Level()
    for name, kind, value in fields:
        level.add(name, kind, value)
    return level


def listed(
    items: Iterable[Level],
    names: Iterable[str] | None = None,
    kind: Kind = LvType.LEVEL,
) -> Level:
    """Level that holds levels, as a list of nameless items or under `names`.

    Examples
    --------
    >>> listed([tree(), tree()]).names, listed([tree()], ["a0"]).names
    (['', ''], ['a0'])
    """
    out = Level()
    for i, item in enumerate(items):
        out.add("" if names is None else list(names)[i], kind, item)
    return out


def named(values: Iterable[Value], pattern: str, kind: Kind) -> Level:
    """Level of scalars, named by their number.

    Examples
    --------
    >>> named([True, False], "_{:02d}", LvType.BOOL)
    Level({'_00': True, '_01': False})
    """
    return tree(*((pattern.format(i), kind, v) for i, v in enumerate(values)))


def to_xml(level: Level) -> Level:
    """Copy of a lite variant tree in the terms of the XML encoding.

    Nameless items become ``no_name``, stored types ``runtype`` texts; kinds that are
    texts already stay.

    Examples
    --------
    >>> from limnd2_xr.variants import xml
    >>> xml.encode(to_xml(tree(("", LvType.BOOL, True))))[61:]
    b'<no_name runtype="bool" value="true"/></variant>'
    """
    out = Level()
    for name, kind, value in zip(level.names, level.kinds, level.values, strict=True):
        runtype = kind if isinstance(kind, str) else _RUNTYPES[LvType(kind)]
        out.add(
            name or "no_name",
            runtype,
            to_xml(value) if isinstance(value, Level) else value,
        )
    return out
