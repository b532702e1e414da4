"""An nd2 file that is open or closed, and what it is: the base of `ND2File`."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limnd2_xr.compat.nd2.pixels import Layout
from limnd2_xr.compat.nd2.recognise import is_supported_file
from limnd2_xr.compat.nd2.session import Session
from limnd2_xr.container.redaction import redacted
from limnd2_xr.model.legacy_document import is_legacy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from limnd2_xr.frames.store import FrameStore
    from limnd2_xr.model.document import Nd2Document

__all__ = ["FileState"]


class FileState:
    """Opens, closes, pickles and names a file.

    Parameters
    ----------
    path, validate_frames, search_window, storage_options
        As for `ND2File`.
    """

    def __init__(
        self,
        path: Any,
        *,
        validate_frames: bool = False,
        search_window: int = 100,
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        del validate_frames, search_window
        if storage_options is None:
            fs = getattr(path, "fs", None)
            storage_options = getattr(fs, "storage_options", None)
        self._storage_options = storage_options
        self._session = Session(path, storage_options)
        self._layout = Layout(self._session.state)

    @staticmethod
    def is_supported_file(
        path: Any, *, storage_options: dict[str, Any] | None = None
    ) -> bool:
        """Say whether something begins as an nd2 file does."""
        return is_supported_file(path, storage_options=storage_options)

    @cached_property
    def version(self) -> tuple[int, ...]:
        """Version of the format: (1, 0), (2, 0), (2, 1) or (3, 0)."""
        return tuple(map(int, self._document.format_version.split(".")))

    @property
    def path(self) -> str:
        """Absolute path, or URL; ``""`` for an open file without a name."""
        return self._session.path or ""

    @property
    def is_legacy(self) -> bool:
        """Whether the file is of format 1.0 (JPEG 2000)."""
        return is_legacy(self._document)

    def open(self) -> None:
        """Open the file again after `close`."""
        self._session.open()

    def close(self) -> None:
        """Close the file; metadata and delayed arrays can still be used."""
        self._session.close()

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._session.closed

    def __enter__(self) -> Self:
        """Open the file if it is closed."""
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def __del__(self) -> None:
        """Close the file, with a warning if nobody did."""
        session = self.__dict__.get("_session")
        if session is None or session.was_open or session.closed:
            return
        warnings.warn(
            "ND2File file not closed before garbage collection. "
            "Please use `with ND2File(...):` context or call `.close()`.",
            stacklevel=2,
        )
        session.close()

    def __getstate__(self) -> dict[str, Any]:
        """Return what opens the file again: no cached arrays, no open file."""
        return {
            "session": self._session.__getstate__(),
            "storage_options": self._storage_options,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._storage_options = state["storage_options"]
        self._session = Session.__new__(Session)
        self._session.__setstate__(state["session"])
        self._layout = Layout(self._session.state)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return type(self).__name__, self._session.token

    def __repr__(self) -> str:
        path = self._session.path
        if path is not None:
            path = redacted(path) if "://" in path else Path(path).name
        dtype, sizes = self._session.state.table.layout.dtype, self._layout.sizes
        details = " (closed)" if self.closed else f" {dtype}: {sizes!r}"
        return f"<ND2File at {hex(id(self))}: {path!r}{details}>"

    @contextmanager
    def _lent(self) -> Iterator[FrameStore]:
        """Lend the file for what is no pixels; one that is closed is opened for it.

        Raises
        ------
        OSError
            If it is closed, and nothing tells how to open it again.
        """
        if self.closed and not self._session.can_reopen:
            raise OSError("File not open")
        with self._session.acquire_context() as store:
            yield store

    @property
    def _document(self) -> Nd2Document:
        return self._session.state.document
