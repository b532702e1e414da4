"""`Level`: the tree that both variant encodings decode to.

A level keeps everything an encoder needs to write the same bytes again: the order of
its children, repeated names, empty names and the stored type of each value. It reads
like a mapping whose last child of a name wins (FORMAT 4.2.2: duplicates are real).
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Kind", "Level", "LvType", "Value"]


class LvType(IntEnum):
    """Stored types of the lite variant (FORMAT 4.2.1)."""

    BOOL = 1
    INT32 = 2
    UINT32 = 3
    INT64 = 4
    UINT64 = 5
    DOUBLE = 6
    POINTER = 7
    STRING = 8
    BYTES = 9
    OLD_LEVEL = 10
    LEVEL = 11
    COMPRESSED = 76


Value: TypeAlias = "bool | int | float | str | bytes | Level | None"
Kind: TypeAlias = "int | str"
"""Stored type: an `LvType` value in lite variants, the ``runtype`` text in XML."""


class Level:
    """Named, typed children in stored order.

    Three lists of equal length, one entry a child; an empty name marks a list item.

    Examples
    --------
    >>> level = Level()
    >>> level.add("uiWidth", LvType.UINT32, 512)
    >>> level.add("dZLow", LvType.DOUBLE, 1.0)
    >>> level.add("dZLow", LvType.DOUBLE, 2.0)
    >>> level["uiWidth"], level["dZLow"], level.get("missing", 0)
    (512, 2.0, 0)
    >>> level.names
    ['uiWidth', 'dZLow', 'dZLow']
    """

    __slots__ = ("kinds", "names", "values")

    def __init__(self) -> None:
        self.names: list[str] = []
        self.kinds: list[Kind] = []
        self.values: list[Value] = []

    def add(self, name: str, kind: Kind, value: Value) -> None:
        """Append one child."""
        self.names.append(name)
        self.kinds.append(kind)
        self.values.append(value)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        """Yield name and value of each child, in stored order."""
        return iter(zip(self.names, self.values, strict=True))

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> Value:
        names = self.names
        count = names.count(name)
        if count == 1:
            return self.values[names.index(name)]
        if not count:
            raise KeyError(name)
        return self.values[len(names) - 1 - names[::-1].index(name)]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Level):
            return NotImplemented
        # A value that is not equal to itself is NaN; here it equals another NaN.
        return (
            self.names == other.names
            and self.kinds == other.kinds
            and all(
                a == b or (a != a and b != b)  # noqa: PLR0124
                for a, b in zip(self.values, other.values, strict=True)
            )
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Level({self.to_plain()!r})"

    def get(self, name: str, default: Any = None) -> Any:
        """Value of the last child called `name`, or `default`."""
        names = self.names
        count = names.count(name)
        if not count:
            return default
        return self.values[names.index(name)] if count == 1 else self[name]

    @overload
    def level(self, name: str, *, create: Literal[True]) -> Level: ...
    @overload
    def level(self, name: str) -> Level | None: ...
    def level(self, name: str, *, create: bool = False) -> Level | None:
        """Return the child level called `name`; if absent None, or an empty level.

        Parameters
        ----------
        name
            Name of the child.
        create
            Return an empty, detached level rather than None.
        """
        found = self.get(name)
        if isinstance(found, Level):
            return found
        return Level() if create else None

    @property
    def is_list(self) -> bool:
        """True if there are children and none has a name (FORMAT 4.2.2, oddity 37)."""
        return bool(self.names) and not any(self.names)

    def levels(self) -> list[Level]:
        """Return the children that are levels themselves, in stored order."""
        return [v for v in self.values if isinstance(v, Level)]

    def to_plain(self) -> dict[str, Any] | list[Any]:
        """Nested dicts and lists, for showing; repeated names keep the last value."""
        plain = [v.to_plain() if isinstance(v, Level) else v for v in self.values]
        if self.is_list or (self.names and set(self.names) == {"no_name"}):
            return plain
        return dict(zip(self.names, plain, strict=True))
