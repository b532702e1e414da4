"""Metadata of an open file of any version as the trees of version 3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model import raw as chunks
from limnd2_xr.model.legacy_document import is_legacy
from limnd2_xr.model.modern_trees import (
    lite_tree,
    modern_attributes,
    modern_experiment,
    modern_picture,
)
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from limnd2_xr.frames.store import FrameStore
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.variants.tree import Level

__all__ = ["stored_tree"]


def stored_tree(store: FrameStore, names: tuple[str, ...]) -> Level | None:
    """Return the content of a metadata chunk; None if the file has none.

    What lies in a file of version 3 is given as it is stored. Version 2 is translated,
    and of version 1 what it says is told in the terms of version 3.

    Parameters
    ----------
    store
        The open file.
    names
        Names that the chunk has in different versions, see `limnd2_xr.model.raw`.

    Raises
    ------
    CorruptChunk
        If the chunk does not decode, naming file and chunk.
    """
    if is_legacy(store.document):
        raw = store.document.to_raw(store.records)
        return raw.struct(names)
    name = next((name for name in names if name in store.state.chunks), None)
    if name is None:
        return None
    try:
        root = decode(store.read_chunk(name))
        level = chunks.RawMetadata(version=(3, 0), levels={name: root}).struct(names)
        if level is None or not _is_xml(root):
            return level
        return _modern(names, store.document)(level)
    except CorruptChunk as error:
        raise error.located(path=store.source_name, chunk=name) from error


def _modern(names: tuple[str, ...], document: Nd2Document) -> Callable[[Level], Level]:
    if names == chunks.ATTRIBUTES:
        return lambda level: modern_attributes(level, document)
    if names == chunks.EXPERIMENT:
        return modern_experiment
    if names == chunks.PICTURE:
        return lambda level: modern_picture(level, document)
    return lite_tree


def _is_xml(tree: Level) -> bool:
    return any(isinstance(kind, str) for kind in tree.kinds)
