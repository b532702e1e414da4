r"""Names of files that tell which frame each is: ``img_t{T}_z{Z}_{C}.tif``.

A pattern is a name with groups in braces; a regular expression has named groups,
``(?P<T>\d+)``. Both are matched against the end of a path, whole parts of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

__all__ = ["GROUPS", "FilenamePattern"]

GROUPS: Final = ("T", "P", "W", "F", "Z", "C")
"""Time, position, well, field of a well, slice, channel."""

_GROUP: Final = re.compile(r"\{([^{}]*)\}")
_NUMBER: Final = r"\d+"
_NAME: Final = r"[^/]+?"
_WELL: Final = r"[A-Za-z]{1,2}\d{1,4}"
_USUAL: Final = {"T": _NUMBER, "Z": _NUMBER, "F": _NUMBER, "W": _WELL}
_KINDS: Final = {"name": _NAME, "number": _NUMBER}


@dataclass(frozen=True, slots=True)
class FilenamePattern:
    r"""Where in a name each index is.

    Examples
    --------
    >>> pattern = FilenamePattern.parse("img_t{T}_z{Z}_{C}.tif")
    >>> pattern.match("day1/img_t003_z12_GFP.tif")
    {'T': '003', 'Z': '12', 'C': 'GFP'}
    >>> pattern.match("notes.txt") is None
    True
    >>> FilenamePattern.of_regex(r"s(?P<P>\d+)_.*\.png").match("s7_a.png")
    {'P': '7'}
    """

    text: str
    """As it was given."""
    expression: re.Pattern[str]
    """With a named group for each index."""
    depth: int
    """How many parts of a path it is matched against: folders, and the name."""

    @classmethod
    def parse(cls, text: str) -> FilenamePattern:
        """Read a pattern with groups in braces.

        Parameters
        ----------
        text
            ``{T}``, ``{Z}`` and ``{F}`` stand for numbers, ``{W}`` for a well (``A01``),
            ``{C}`` and ``{P}`` for numbers or names, ``{_}`` for anything. ``{T:name}``,
            ``{C:number}`` and ``{T:3}`` (three characters) say otherwise. A group that
            comes again stands for the same text. ``/`` parts folders.

        Raises
        ------
        ValueError
            If a group is not known, or two follow each other and nothing tells where
            the one ends.
        """
        text = text.replace("\\", "/")
        parts = _GROUP.split(text)
        if len(parts) == 1:
            raise ValueError(
                f"pattern {text!r} has no group: write e.g. img_t{{T}}_z{{Z}}_{{C}}.tif"
            )
        seen: set[str] = set()
        made, fixed = re.escape(parts[0]), True
        for group, literal in zip(parts[1::2], parts[2::2], strict=True):
            name, _, kind = group.partition(":")
            part, sized = _group(text, name, kind, seen)
            if not (fixed or sized):
                raise ValueError(
                    f"pattern {text!r}: nothing is between {{{group}}} and the group "
                    f"before it; say how long they are, e.g. {{{name}:3}}"
                )
            seen.add(name)
            made += part + re.escape(literal)
            fixed = sized or bool(literal)
        if "{" in "".join(parts[::2]) or "}" in "".join(parts[::2]):
            raise ValueError(f"pattern {text!r}: a brace without its other one")
        _check(text, seen - {"_"})
        return cls(text, re.compile(made), text.count("/") + 1)

    @classmethod
    def of_regex(cls, text: str) -> FilenamePattern:
        r"""Read a regular expression with a named group for each index.

        Parameters
        ----------
        text
            E.g. ``t(?P<T>\d+)_(?P<C>\w+)\.tif``, for the whole name of a file; one with
            slashes is matched against as many folders, too.

        Raises
        ------
        ValueError
            If it is no regular expression, or its groups are others.
        """
        try:
            expression = re.compile(text)
        except re.error as error:
            raise ValueError(f"regular expression {text!r}: {error}") from None
        _check(text, set(expression.groupindex))
        return cls(text, expression, text.count("/") + 1)

    @property
    def groups(self) -> tuple[str, ...]:
        """Indices that it finds."""
        return tuple(name for name in GROUPS if name in self.expression.groupindex)

    def match(self, path: str) -> dict[str, str] | None:
        """Return the text of each index in the name of a file; None if it is another.

        Parameters
        ----------
        path
            Of the file; what comes before the parts of the pattern does not count.
        """
        parts = PurePath(path.replace("\\", "/")).parts
        found = self.expression.fullmatch("/".join(parts[-self.depth :]))
        if found is None:
            return None
        return {name: found[name] for name in self.groups if found[name] is not None}

    def fill(self, values: dict[str, str]) -> str:
        """Return the name that a pattern gives a file.

        Parameters
        ----------
        values
            Text of each group; also of ``_``, which stands for nothing else.
        """
        return _GROUP.sub(
            lambda group: values.get(group[1].partition(":")[0], ""), self.text
        )


def _group(text: str, name: str, kind: str, seen: set[str]) -> tuple[str, bool]:
    """Return the expression of one group, and whether its length is known."""
    if name == "_":
        return (rf"[^/]{{{kind}}}", True) if kind.isdecimal() else (r"[^/]*?", False)
    if name not in GROUPS:
        raise ValueError(
            f"pattern {text!r}: {{{name}}} is none of {', '.join(GROUPS)} and _"
        )
    if name in seen:
        return f"(?P={name})", True
    if kind.isdecimal() and int(kind):
        return f"(?P<{name}>[^/]{{{int(kind)}}})", True
    if kind and kind not in _KINDS:
        raise ValueError(
            f"pattern {text!r}: {{{name}:{kind}}} is neither {{{name}:name}}, "
            f"{{{name}:number}} nor a number of characters"
        )
    return f"(?P<{name}>{_KINDS.get(kind) or _USUAL.get(name, _NAME)})", False


def _check(text: str, groups: set[str]) -> None:
    unknown = sorted(groups - set(GROUPS))
    if unknown or not groups:
        raise ValueError(
            f"{text!r} has "
            + (f"the groups {', '.join(unknown)}" if unknown else "no named group")
            + f"; there are {', '.join(GROUPS)}: time, position, well, field, slice, "
            "channel"
        )
