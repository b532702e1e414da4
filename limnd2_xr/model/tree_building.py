"""Fields and structs of variant trees, to write metadata chunks with.

A field is a name, a stored type and a value. Each constructor here refuses a value that
its stored type cannot hold, naming the field: nothing is cut or rounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limnd2_xr.variants.tree import Kind, Value

__all__ = [
    "Field",
    "blob",
    "boolean",
    "f64",
    "i32",
    "i64",
    "listed",
    "nested",
    "numbered",
    "string",
    "struct",
    "u32",
    "u64",
    "whole",
    "xml_f64",
    "xml_i32",
    "xml_string",
    "xml_struct",
    "xml_u32",
]

Field: TypeAlias = "tuple[str, Kind, Value]"
"""Name, stored type and value of a child."""

XML_STRUCT: Final = "CLxListVariant"
"""``runtype`` of lists and structs (FORMAT 4.1)."""

_I32_MIN, _I32_MAX = -(2**31), 2**31 - 1


def struct(*fields: Field) -> Level:
    """Level with the given fields, in this order.

    Examples
    --------
    >>> struct(u32("uiWidth", 512), f64("dZStep", 0.5))
    Level({'uiWidth': 512, 'dZStep': 0.5})
    """
    level = Level()
    for name, kind, value in fields:
        level.add(name, kind, value)
    return level


def listed(items: Iterable[Level]) -> Level:
    """Level of structs without names: a list (FORMAT 4.2.2).

    Examples
    --------
    >>> listed([struct(u32("uiCount", 3))]).names
    ['']
    """
    return struct(*(nested("", item) for item in items))


def numbered(prefix: str, items: Iterable[Level]) -> Level:
    """Level of structs named by their number: ``a0``, ``a1`` ...

    Examples
    --------
    >>> numbered("a", [struct(), struct()]).names
    ['a0', 'a1']
    """
    return struct(*(nested(f"{prefix}{i}", item) for i, item in enumerate(items)))


def nested(name: str, level: Level) -> Field:
    """Return a field that holds a level."""
    return name, LvType.LEVEL, level


def boolean(name: str, value: bool) -> Field:
    """Return a field that holds a truth value."""
    return name, LvType.BOOL, bool(value)


def i32(name: str, value: int) -> Field:
    """Return a field that holds a signed number of 32 bits."""
    return name, LvType.INT32, _within(name, value, _I32_MIN, _I32_MAX)


def i64(name: str, value: int) -> Field:
    """Return a field that holds a signed number of 64 bits."""
    return name, LvType.INT64, _within(name, value, -(2**63), 2**63 - 1)


def u32(name: str, value: int) -> Field:
    """Return a field that holds an unsigned number of 32 bits.

    Raises
    ------
    ValueError
        If the value is out of range, naming the field.

    Examples
    --------
    >>> u32("uiWidth", -1)
    Traceback (most recent call last):
    ...
    ValueError: field uiWidth holds whole numbers 0 to 4294967295, not -1
    """
    return name, LvType.UINT32, _within(name, value, 0, 2**32 - 1)


def u64(name: str, value: int) -> Field:
    """Return a field that holds an unsigned number of 64 bits."""
    return name, LvType.UINT64, _within(name, value, 0, 2**64 - 1)


def whole(name: str, value: int) -> Field:
    """Return a field that holds a whole number, of 32 bits if these can hold it.

    Unsigned unless the number is negative, which is what codes and counts are stored as.

    Examples
    --------
    >>> [int(whole("uiId", value)[1]) for value in (7, -7, 2**40)]
    [3, 2, 5]
    """
    if value < 0:
        return i32(name, value)
    return u32(name, value) if value < 2**32 else u64(name, value)


def f64(name: str, value: float) -> Field:
    """Return a field that holds a number."""
    return name, LvType.DOUBLE, float(value)


def string(name: str, value: str) -> Field:
    """Return a field that holds a text.

    Raises
    ------
    ValueError
        If the text contains NUL, which ends a stored text.
    """
    if "\0" in value:
        raise ValueError(f"field {name} cannot hold a text with NUL: {value!r}")
    return name, LvType.STRING, value


def blob(name: str, value: bytes) -> Field:
    """Return a field that holds bytes."""
    return name, LvType.BYTES, value


def xml_struct(name: str, level: Level) -> Field:
    """Return a field of the XML encoding that holds a level."""
    return name, XML_STRUCT, level


def xml_string(name: str, value: str) -> Field:
    """Return a field of the XML encoding that holds a text."""
    return name, "CLxStringW", value


def xml_i32(name: str, value: int) -> Field:
    """Return a field of the XML encoding that holds a signed number of 32 bits."""
    return name, "lx_int32", _within(name, value, _I32_MIN, _I32_MAX)


def xml_u32(name: str, value: int) -> Field:
    """Return a field of the XML encoding that holds an unsigned number of 32 bits."""
    return name, "lx_uint32", _within(name, value, 0, 2**32 - 1)


def xml_f64(name: str, value: float) -> Field:
    """Return a field of the XML encoding that holds a number."""
    return name, "double", float(value)


def _within(name: str, value: int, low: int, high: int) -> int:
    number = int(value)
    if number != value or not low <= number <= high:
        raise ValueError(
            f"field {name} holds whole numbers {low} to {high}, not {value!r}"
        )
    return number
