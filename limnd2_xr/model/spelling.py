"""Field names without their type prefix, for structs whose prefixes are not known.

Names carry a prefix that tells the type (``m_dCenterX``, FORMAT 4.0). For ROIs only
some of the prefixes are known (FORMAT 10.4), so fields are found by what is left without
them, and fields that are changed keep the spelling that the file has.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limnd2_xr.variants.tree import Value

__all__ = ["bare_level", "bare_name", "exact_text", "numbered_levels", "respelled"]

_PREFIX: Final = re.compile("[_a-z]*")
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")
_ITEM: Final = re.compile(r"_\d+\Z")
_NUMBER: Final = re.compile(r"\d{1,9}\Z", re.ASCII)


def bare_name(name: str) -> str:
    """Return a name without the lower-case letters and underscores it begins with.

    A name that is nothing else stays as it is.

    Examples
    --------
    >>> [bare_name(name) for name in ("m_dCenterX", "m_vect2PerMPoint_0", "_0", "x")]
    ['CenterX', '2PerMPoint_0', '0', 'x']
    """
    found = _PREFIX.match(name)
    return name[found.end() :] or name if found else name


def bare_level(level: Level) -> Level:
    """Return a level with the same children under their bare names.

    Examples
    --------
    >>> from limnd2_xr.model.tree_building import f64, struct
    >>> bare_level(struct(f64("m_dTimeMs", 1.0)))
    Level({'TimeMs': 1.0})
    """
    out = Level()
    for name, kind, value in zip(level.names, level.kinds, level.values, strict=True):
        out.add(bare_name(name), kind, value)
    return out


def exact_text(level: Level, name: str) -> str:
    """Return a text that a user typed, ``""`` where there is none.

    Unlike `fields.text`, ``N/A`` is a text here. Halves of UTF-16 pairs become U+FFFD.
    """
    value = level.get(name)
    return _HALF_PAIR.sub("\ufffd", value) if isinstance(value, str) else ""


def numbered_levels(level: Level, stem: str) -> Iterator[tuple[int, Level]]:
    """Yield number and level of each child called `stem` and a number, in stored order.

    Parameters
    ----------
    level
        Level of bare names.
    stem
        What stands before the number.

    Examples
    --------
    >>> from limnd2_xr.model.tree_building import nested, struct, u32
    >>> level = struct(u32("Global_Size", 1), nested("Global_0", struct()))
    >>> list(numbered_levels(level, "Global_"))
    [(0, Level({}))]
    """
    for name, value in level:
        if isinstance(value, Level) and name.startswith(stem):
            number = name[len(stem) :]
            if _NUMBER.match(number):
                yield int(number), value


def respelled(level: Level, stored: Level) -> Level:
    """Return a level whose fields are spelled as the stored ones of the same meaning.

    Parameters
    ----------
    level
        What is to be written.
    stored
        What the file holds. Fields that it does not have keep their names; items of a
        vector that it does not have are spelled like those it has.

    Examples
    --------
    >>> from limnd2_xr.model.tree_building import f64, struct
    >>> respelled(struct(f64("m_dTimeMs", 2.0)), struct(f64("dTimeMs", 1.0)))
    Level({'dTimeMs': 2.0})
    """
    spelled: dict[str, tuple[str, Value]] = {}
    for stored_name, value in stored:
        bare = bare_name(stored_name)
        prefix = stored_name[: len(stored_name) - len(bare)]
        spelled[_ITEM.sub("_#", bare)] = spelled[bare] = prefix, value
    out = Level()
    for name, kind, value in zip(level.names, level.kinds, level.values, strict=True):
        bare = bare_name(name)
        known = spelled.get(bare) or spelled.get(_ITEM.sub("_#", bare))
        if known is None:
            out.add(name, kind, value)
            continue
        prefix, there = known
        if isinstance(value, Level) and isinstance(there, Level):
            value = respelled(value, there)  # noqa: PLW2901
        out.add(prefix + bare, kind, value)
    return out
