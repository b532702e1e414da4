"""Changing stored trees without losing what the model does not know.

Levels are never changed in place: an edited tree is a new one that shares the parts
which stayed the same with the old.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeGuard

from limnd2_xr.model.tree_building import struct
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limnd2_xr.model.tree_building import Field
    from limnd2_xr.variants.tree import Kind, Value

__all__ = ["merged", "replaced_struct", "with_fields", "without_fields"]

_RANGES: Final[Mapping[Kind, tuple[int, int]]] = {
    LvType.INT32: (-(2**31), 2**31 - 1),
    LvType.UINT32: (0, 2**32 - 1),
    LvType.INT64: (-(2**63), 2**63 - 1),
    LvType.UINT64: (0, 2**64 - 1),
    "lx_int32": (-(2**31), 2**31 - 1),
    "lx_uint32": (0, 2**32 - 1),
    "lx_int64": (-(2**63), 2**63 - 1),
    "lx_uint64": (0, 2**64 - 1),
}


def with_fields(level: Level, *fields: Field) -> Level:
    """Return a level with other values for some fields.

    A field that is there keeps its place, in every repetition (``dZLow`` stands twice,
    FORMAT 4.2.2), and a whole number its stored type if that can hold it. One that is
    not there is added at the end.

    Examples
    --------
    >>> from limnd2_xr.model.tree_building import i32, u32
    >>> level = with_fields(struct(u32("a", 1), u32("b", 2)), i32("a", 5), i32("c", 6))
    >>> level, [int(kind) for kind in level.kinds]
    (Level({'a': 5, 'b': 2, 'c': 6}), [3, 3, 2])
    """
    changed = {name: (kind, value) for name, kind, value in fields}
    out = Level()
    for name, kind, value in zip(level.names, level.kinds, level.values, strict=True):
        if name in changed:
            new_kind, new = changed[name]
            out.add(name, _kept_kind(kind, new_kind, new), new)
        else:
            out.add(name, kind, value)
    for name, (kind, value) in changed.items():
        if name not in level:
            out.add(name, kind, value)
    return out


def without_fields(level: Level, *names: str) -> Level:
    """Return a level without the fields of these names.

    Examples
    --------
    >>> from limnd2_xr.model.tree_building import u32
    >>> without_fields(struct(u32("a", 1), u32("b", 2)), "a", "z")
    Level({'b': 2})
    """
    out = Level()
    for name, kind, value in zip(level.names, level.kinds, level.values, strict=True):
        if name not in names:
            out.add(name, kind, value)
    return out


def merged(stored: Level, old: Level, new: Level) -> Level:
    """Return a stored level, changed where `new` differs from `old`.

    Fields that are the same in `old` and `new` stay as stored, whatever that is; so do
    all that are in neither. Levels that all three have are merged in turn; a list, whose
    items have no names, is replaced as a whole.

    Parameters
    ----------
    stored
        What the file holds.
    old
        What would be written for the old state of the model.
    new
        What would be written for its new state.

    Returns
    -------
    Level
        `stored` itself if `old` and `new` are the same.

    Examples
    --------
    >>> from limnd2_xr.model.tree_building import u32
    >>> stored = struct(u32("uiWidth", 9), u32("uiUnknown", 7), u32("uiComp", 3))
    >>> old = struct(u32("uiWidth", 9), u32("uiComp", 1))
    >>> merged(stored, old, struct(u32("uiWidth", 8), u32("uiComp", 1)))
    Level({'uiWidth': 8, 'uiUnknown': 7, 'uiComp': 3})
    """
    if old == new:
        return stored
    changes: list[Field] = []
    for name, kind, value in zip(new.names, new.kinds, new.values, strict=True):
        before = old.get(name)
        if name in old and _equal(before, value):
            continue
        there = stored.get(name)
        if _is_struct(value) and _is_struct(before) and _is_struct(there):
            changes.append((name, kind, merged(there, before, value)))
        else:
            changes.append((name, kind, value))
    gone = [name for name in old.names if name not in new and name in stored]
    if gone:
        stored = without_fields(stored, *gone)
    return with_fields(stored, *changes) if changes else stored


def replaced_struct(root: Level, content: Level) -> Level:
    """Return the root of a chunk with another struct in it (FORMAT 4.2.2).

    Parameters
    ----------
    root
        Decoded chunk.
    content
        What the one record of the root shall hold.
    """
    if len(root) == 1 and isinstance(root.values[0], Level):
        return struct((root.names[0], root.kinds[0], content))
    return content


def _is_struct(value: Value) -> TypeGuard[Level]:
    return isinstance(value, Level) and not value.is_list


def _equal(a: Value, b: Value) -> bool:
    return a == b or (a != a and b != b)  # noqa: PLR0124  # NaN


def _kept_kind(stored: Kind, kind: Kind, value: Value) -> Kind:
    if type(value) is int and stored in _RANGES and kind in _RANGES:
        low, high = _RANGES[stored]
        return stored if low <= value <= high else kind
    return kind
