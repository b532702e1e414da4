"""`FileVariable`: a variable whose dask keys change with its file.

xarray makes the keys of ``chunks=`` from the path and its time of modification, but of a
URL it knows no time: after the object was replaced, keys of old pixels and of new ones
would be equal, and dask would take the ones for the others. And `Dataset.chunk` with
``"auto"`` knows nothing of frames, and would cut them all into small squares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from limnd2_xr.arrays.lazy import FileArray

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FileVariable", "with_file_keys"]

_WRAPPERS = (
    indexing.MemoryCachedArray,
    indexing.CopyOnWriteArray,
    indexing.LazilyIndexedArray,
    indexing.LazilyVectorizedIndexedArray,
)


class FileVariable(xr.Variable):
    """A variable that is read from an .nd2 file, until it is in memory.

    `chunk` differs from that of `xarray.Variable`: the names of dask arrays hold a
    digest of what the file was like when it was opened, and with ``"auto"`` blocks are
    made of the blocks that suit the file. It returns a plain `xarray.Variable`.

    And what opening found out already, such as most coordinates, counts as being in
    memory, although xarray wraps it: ``open_dataset(chunks=...)`` leaves it there.
    """

    __slots__ = ()

    def chunk(  # type: ignore[override]  # noqa: D102 - as that of xarray
        self,
        chunks: Any = {},  # noqa: B006
        name: str | None = None,
        lock: bool | None = None,
        inline_array: bool | None = None,
        chunked_array_type: Any = None,
        from_array_kwargs: Mapping[str, Any] | None = None,
        **chunks_kwargs: Any,
    ) -> xr.Variable:
        array = _file_array(self._data)
        if array is not None:
            from_array_kwargs = dict(from_array_kwargs or {})
            given = from_array_kwargs.get("name")
            if isinstance(given, str):
                from_array_kwargs["name"] = _with_token(given, array)
            if chunks_kwargs and not chunks:
                chunks, chunks_kwargs = chunks_kwargs, {}
            chunks = self._suited(chunks)
        chunked = super().chunk(
            chunks,
            name,
            lock,
            inline_array,
            chunked_array_type,
            from_array_kwargs,
            **chunks_kwargs,
        )
        # What dask has is no file's any more: a variable as any other.
        return chunked.to_base_variable()

    def _suited(self, chunks: Any) -> Any:
        """Turn ``"auto"`` into multiples of the blocks that suit the file."""
        preferred = self.encoding.get("preferred_chunks", {})
        if isinstance(chunks, str):
            chunks = dict.fromkeys(self.dims, chunks)
        if not isinstance(chunks, dict) or "auto" not in chunks.values():
            return chunks
        if any(preferred.get(dim, 0) > n for dim, n in self.sizes.items()):
            return chunks  # a part of what the blocks suit
        from dask.array.core import normalize_chunks

        sizes = tuple(self.sizes.items())
        found = normalize_chunks(
            tuple(chunks.get(dim, length) for dim, length in sizes),
            shape=self.shape,
            dtype=self.dtype,
            previous_chunks=tuple(preferred.get(dim, n) for dim, n in sizes),
        )
        return dict(zip(self.dims, found, strict=True))

    @property
    def _in_memory(self) -> bool:
        data = _innermost(self._data)
        return isinstance(data, np.ndarray | indexing.NumpyIndexingAdapter)

    def __reduce__(self) -> tuple[Any, ...]:
        # What is in memory can be read where this package is not installed.
        kind = xr.Variable if _file_array(self._data) is None else FileVariable
        return kind, (self.dims, self._data, self._attrs, self._encoding, True)


def with_file_keys(variable: xr.Variable) -> xr.Variable:
    """Return the same variable as one of a file, whose keys change with it.

    Parameters
    ----------
    variable
        Of any data.
    """
    encoding = variable.encoding
    return FileVariable(variable.dims, variable._data, variable.attrs, encoding, True)


def _file_array(data: Any) -> FileArray | None:
    """Return the array of a file that lazy data index; None if they are another's."""
    found = _innermost(data)
    return found if isinstance(found, FileArray) else None


def _innermost(data: Any) -> Any:
    """Return what xarray has wrapped."""
    while isinstance(data, _WRAPPERS):
        data = data.array
    return data


def _with_token(name: str, array: FileArray) -> str:
    """Replace the token at the end of a name by one that depends on the file, too."""
    from dask.base import tokenize

    prefix, _, token = name.rpartition("-")
    return f"{prefix}-{tokenize(token, array.manager.token)}"
