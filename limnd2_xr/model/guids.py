"""Identifiers of a file and of those it was made from: ``GUIDStore`` (FORMAT 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limnd2_xr.model.fields import text, unwrap
from limnd2_xr.model.tree_building import nested, string, struct, u32
from limnd2_xr.model.tree_editing import merged, replaced_struct

if TYPE_CHECKING:
    from limnd2_xr.variants.tree import Level

__all__ = ["GUID_STORE", "Guids", "guids_tree", "parse_guids"]

GUID_STORE: Final = "CustomData|GUIDStore!"
"""Chunk that holds the identifiers."""

_GUID: Final = "GUID"
_ANCESTOR: Final = "GUIDAncestor"
_CHILDREN: Final = "GUIDChildren"
_AMOUNT: Final = "GUIDChildrenAmount"
_CHILD: Final = "GUIDChild"


@dataclass(frozen=True, kw_only=True, slots=True)
class Guids:
    """Identifiers of a file; all are empty in the files seen."""

    guid: str = ""
    """Of the file itself."""
    ancestor: str = ""
    """Of the file that it was made from."""
    children: tuple[str, ...] = ()
    """Of files that were made from it."""


def parse_guids(level: Level) -> Guids:
    """Return the identifiers that a decoded ``GUIDStore`` holds.

    How children are named is not known; each text beside their number is taken for
    one [G].

    Parameters
    ----------
    level
        Root of the chunk, or the struct in it.
    """
    level = _content(level)
    children = level.level(_CHILDREN, create=True)
    return Guids(
        guid=text(level, _GUID),
        ancestor=text(level, _ANCESTOR),
        children=tuple(
            value for name in children.names if (value := text(children, name))
        ),
    )


def guids_tree(guids: Guids, base: Level | None = None) -> Level:
    """Return the root of ``GUIDStore`` to be written: the inverse of `parse_guids`.

    Parameters
    ----------
    guids
        What to store.
    base
        Root of the source: what it says besides, and what is the same, stays as it is.

    Raises
    ------
    ValueError
        If a text contains NUL.

    Examples
    --------
    >>> guids_tree(Guids())
    Level({'GUID': {'GUID': '', 'GUIDAncestor': '', 'GUIDChildren': {...}}})
    """
    new = _struct(guids)
    if base is None:
        return struct(nested(_GUID, new))
    content = _content(base)
    return replaced_struct(base, merged(content, _struct(parse_guids(base)), new))


def _content(level: Level) -> Level:
    return unwrap(level.level(_GUID) or level)


def _struct(guids: Guids) -> Level:
    children = struct(
        u32(_AMOUNT, len(guids.children)),
        *(string(f"{_CHILD}{i}", guid) for i, guid in enumerate(guids.children)),
    )
    return struct(
        string(_GUID, guids.guid),
        string(_ANCESTOR, guids.ancestor),
        nested(_CHILDREN, children),
    )
