"""Raw chunks by name, as ``ND2File._rdr`` has them: private in nd2, and used by others."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from limnd2_xr.compat.nd2.plain import plain_chunk

if TYPE_CHECKING:
    from limnd2_xr.compat.nd2.session import Session

__all__ = ["ChunkLookup"]


class ChunkLookup:
    """Finds and decodes chunks that are no frames.

    Parameters
    ----------
    session
        The file.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    @cached_property
    def chunkmap(self) -> dict[bytes, tuple[int, int]]:
        """Offset and size of every chunk, frames too, by name."""
        state = self._session.state
        table = state.table
        found = {
            name.encode(): (entry.offset, -1 if entry.nbytes is None else entry.nbytes)
            for name, entry in state.chunks.items()
        }
        for row, (offset, nbytes) in enumerate(
            zip(table.chunk_offsets.tolist(), table.nbytes.tolist(), strict=True)
        ):
            found[table.chunk_name(row).encode()] = (offset, nbytes)
        return found

    def _load_chunk(self, name: bytes) -> bytes:
        """Return the payload of a chunk that is no frame.

        Raises
        ------
        KeyError
            If there is none of that name.
        OSError
            If the file is closed.
        """
        return self._session.store.read_chunk(name.decode())

    def _decode_chunk(self, name: bytes, strip_prefix: bool = True) -> Any:
        """Return the tree in a chunk as nested dicts."""
        return plain_chunk(self._load_chunk(name), strip_prefix=strip_prefix)
