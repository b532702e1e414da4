"""Typed access to the fields of a decoded level.

The stored type of a field decides, not its name (FORMAT 4.0), and old XML files store
some numbers under another type than new ones. So the readers here accept any number
for a number and any non-zero value for true, and refuse everything else with a
`CorruptChunk` that names the field.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from limnd2_xr.variants.tree import Value

__all__ = [
    "as_real",
    "finite",
    "flag",
    "flags",
    "integer",
    "items_by_number",
    "levels_by_number",
    "positive",
    "real",
    "text",
    "unwrap",
]

_MAX_NESTED_WRAPPERS = 8
_NUMBER = re.compile(r"(\d{1,9})\Z")
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_TRANSPARENT = ("no_name", "")


def integer(level: Level, name: str, default: int | None = None) -> int:
    """Whole number of a field; `default` where the field is absent.

    Parameters
    ----------
    level
        The struct to look in.
    name
        Name of the field, as stored.
    default
        Value of an absent or empty field; without one, absence is an error.

    Raises
    ------
    CorruptChunk
        If the field is absent and has no default, or is no whole number.

    Examples
    --------
    >>> from limnd2_xr.variants.tree import Level, LvType
    >>> level = Level()
    >>> level.add("uiComp", LvType.UINT32, 3)
    >>> integer(level, "uiComp"), integer(level, "uiCount", 1)
    (3, 1)
    """
    value = level.get(name)
    if value is None:
        if default is None:
            raise CorruptChunk(f"field {name} is missing")
        return default
    if isinstance(value, int):  # bool too
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise CorruptChunk(f"field {name} is {_shown(value)}, not a whole number")


def real(level: Level, name: str, default: float | None = None) -> float:
    """Return the number of a field, NaN and infinity included.

    Parameters
    ----------
    level
        The struct to look in.
    name
        Name of the field, as stored.
    default
        Value of an absent or empty field; without one, absence is an error.

    Raises
    ------
    CorruptChunk
        If the field is absent and has no default, or is no number.
    """
    value = level.get(name)
    if value is None and default is not None:
        return default
    return as_real(value, name)


def as_real(value: Value, name: str) -> float:
    """Return a stored value as the number that it should be, see `real`."""
    if value is None:
        raise CorruptChunk(f"field {name} is missing")
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError:
            raise CorruptChunk(f"field {name} is out of range") from None
    raise CorruptChunk(f"field {name} is {_shown(value)}, not a number")


def finite(level: Level, name: str) -> float | None:
    """Return the number of a field, None where it is absent, NaN or infinite."""
    value = level.get(name)
    if value is None:
        return None
    number = value if type(value) is float else as_real(value, name)
    return number if math.isfinite(number) else None


def positive(level: Level, name: str) -> float | None:
    """Return the number of a field, None where it is absent or not above zero.

    The format writes -1 or 0 for an unknown quantity (FORMAT 8.1).
    """
    value = finite(level, name)
    return value if value is not None and value > 0 else None


def text(level: Level, *names: str) -> str:
    """Return the first text among the fields `names` that is not empty, else ``""``.

    ``N/A`` is what the vendor's writer puts for an unknown name and counts as empty.
    Descriptions are not worth refusing a file, so a field of another type counts as
    empty too: ``sZDevice`` is a struct in some files (FORMAT 7.3). Halves of UTF-16
    pairs, which garbage in old files contains (oddity 32) and no other format can
    store, become U+FFFD.
    """
    for name in names:
        value = level.get(name)
        if isinstance(value, str) and value not in ("", "N/A"):
            return value if value.isascii() else _HALF_PAIR.sub("\ufffd", value)
    return ""


def flag(level: Level, name: str, *, default: bool = False) -> bool:
    """Return the truth of a field; any non-zero number is true (FORMAT oddity 15).

    Raises
    ------
    CorruptChunk
        If the field is present and no number.
    """
    value = level.get(name)
    if value is None:
        return default
    if isinstance(value, (int, float)):
        return bool(value)
    raise CorruptChunk(f"field {name} is {_shown(value)}, not a truth value")


def flags(level: Level, name: str) -> tuple[bool, ...]:
    """Return validity flags of the items of a list; empty where the field is absent.

    Lite variants store one byte an item, XML one child an item (FORMAT 7.1).

    Raises
    ------
    CorruptChunk
        If the field is present and neither bytes nor a level of truth values.
    """
    value = level.get(name)
    if value is None or value == "":
        return ()
    if isinstance(value, bytes):
        return tuple(byte != 0 for byte in value)
    if isinstance(value, Level) and all(isinstance(v, int) for v in value.values):
        items = items_by_number(value)
        return tuple(bool(items[i]) for i in sorted(items))
    raise CorruptChunk(f"field {name} is {_shown(value)}, not a list of flags")


def levels_by_number(level: Level) -> list[Level]:
    """Child levels ordered by the number that ends their names.

    ``a10`` comes after ``a9`` (FORMAT 8.2); children without a number keep their
    stored order, before the numbered ones.

    Examples
    --------
    >>> from limnd2_xr.variants.tree import Level, LvType
    >>> planes = Level()
    >>> for name in ("a0", "a10", "a9"):
    ...     plane = Level()
    ...     plane.add("name", LvType.STRING, name)
    ...     planes.add(name, LvType.LEVEL, plane)
    >>> [plane["name"] for plane in levels_by_number(planes)]
    ['a0', 'a9', 'a10']
    """
    found: list[tuple[int, Level]] = []
    for name, value in level:
        if isinstance(value, Level):
            match = _NUMBER.search(name)
            found.append((int(match[1]) if match else -1, value))
    found.sort(key=lambda item: item[0])
    return [value for _, value in found]


def items_by_number(level: Level) -> dict[int, Value]:
    """Items of a list of values by the number that ends their names.

    Format 2.x has lists that belong together, such as the X and the Y of all points
    (``item_00000`` ...); what is left out of one of them must not shift the others. If
    any name has no number, or one occurs twice, the stored order counts.

    Examples
    --------
    >>> from limnd2_xr.variants.tree import Level
    >>> level = Level()
    >>> level.add("item_00002", "double", 5.0)
    >>> level.add("item_00000", "double", 3.0)
    >>> items_by_number(level)
    {2: 5.0, 0: 3.0}
    """
    matches = [_NUMBER.search(name) for name in level.names]
    numbers = [int(match[1]) for match in matches if match]
    if len(set(numbers)) != len(level):
        numbers = list(range(len(level)))
    return dict(zip(numbers, level.values, strict=True))


def unwrap(level: Level) -> Level:
    """Return the struct inside wrappers that have no name of their own.

    XML puts ``no_name`` around whole documents and around loop parameters (FORMAT
    4.1); a level whose only child is such a level stands for that child.
    """
    for _ in range(_MAX_NESTED_WRAPPERS):
        if len(level) != 1 or level.names[0] not in _TRANSPARENT:
            break
        inner = level.values[0]
        if not isinstance(inner, Level):
            break
        level = inner
    return level


def _shown(value: Value) -> str:
    if isinstance(value, Level):
        return "a level"
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
