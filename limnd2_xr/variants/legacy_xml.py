"""XML metadata of format 1.0: variant XML under a root of its own (FORMAT 11).

Where variant XML has the root ``variant`` and keeps values in ``value``, these
documents have a root that says what they are and may keep values in attributes of any
name; the wrappers ``variant`` and ``no_name`` come and go.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.variants.lite_layout import MAX_DEPTH
from limnd2_xr.variants.tree import Level
from limnd2_xr.variants.xml import parse_text, to_text, typed_value

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["decode_legacy", "find_numbers", "plain"]

_OWN: Final = frozenset({"runtype", "value", "version"})
"""Attributes that are no values of their own."""


def decode_legacy(data: bytes) -> Level:
    """Tree of one metadata box: a level whose one child is the root element.

    Elements with a ``value`` have the type that ``runtype`` says, a text without one.
    Other elements are levels: their attributes come first, as texts.

    Parameters
    ----------
    data
        Payload of the box.

    Raises
    ------
    CorruptChunk
        The document is not well-formed, declares a document type or entities, nests
        too deep, or a value does not parse.

    Examples
    --------
    >>> decode_legacy(b'<Item Index="5"><uiN runtype="lx_uint32" value="2"/></Item>')
    Level({'Item': {'Index': '5', 'uiN': 2}})
    """
    target = _Tree()
    parse_text(to_text(data), target)
    return target.root


def plain(level: Level) -> dict[str, Any]:
    """Nested dicts, for showing; what has the same name more than once is a list.

    Examples
    --------
    >>> plain(decode_legacy(b'<A><B x="1"/><B x="2"/></A>'))
    {'A': {'B': [{'x': '1'}, {'x': '2'}]}}
    """
    found: dict[str, list[Any]] = {}
    for name, value in level:
        shown = plain(value) if isinstance(value, Level) else value
        found.setdefault(name, []).append(shown)
    return {k: v[0] if len(v) == 1 else v for k, v in found.items()}


def find_numbers(data: bytes, names: Iterable[str]) -> dict[str, float]:
    """Return the first ``value`` of elements by their names, as far as they are numbers.

    For documents of which there are many and little is wanted: no tree is made.

    Parameters
    ----------
    data
        Payload of the box.
    names
        Of the elements, wherever they are.

    Raises
    ------
    CorruptChunk
        The document is not well-formed.

    Examples
    --------
    >>> find_numbers(b'<A><dX runtype="double" value="1.5"/></A>', ["dX", "dY"])
    {'dX': 1.5}
    """
    target = _Finder(names)
    parse_text(to_text(data), target)
    return target.found


class _Tree:
    """Builds the tree as elements begin and end."""

    def __init__(self) -> None:
        self.root = Level()
        self._open: list[tuple[str, dict[str, str], Level]] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise CorruptChunk(f"elements nest deeper than {MAX_DEPTH}")
        children = Level()
        for name, text in attributes.items():
            if name not in _OWN:
                children.add(name, "", text)
        self._open.append((tag.rpartition(":")[2], attributes, children))

    def end(self, tag: str) -> None:
        del tag
        name, attributes, children = self._open.pop()
        parent = self._open[-1][2] if self._open else self.root
        kind = attributes.get("runtype", "")
        if "value" in attributes:
            parent.add(name, kind, typed_value(name, kind, attributes["value"]))
        else:
            parent.add(name, kind, children)


class _Finder:
    """Keeps the values of a few elements."""

    def __init__(self, names: Iterable[str]) -> None:
        self.found: dict[str, float] = {}
        self._left = set(names)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag not in self._left or "value" not in attributes:
            return
        value = typed_value(tag, "double", attributes["value"])
        if isinstance(value, float) and math.isfinite(value):
            self._left.discard(tag)
            self.found[tag] = value

    def end(self, tag: str) -> None:
        pass
