"""Where the bytes of a file are: `FileStore` and `MemoryStore`."""

from __future__ import annotations

import io
import mmap
import os
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from limnd2_xr.container.source import SourceSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FileStore", "MemoryStore", "OtherStore", "Store", "store_of"]

_MODES: Final = {"rb": "rb", "wb": "wb", "rb+": "rb+", "w+b": "w+b"}


class Store(ABC):
    """Where the bytes of a file are."""

    @property
    @abstractmethod
    def spec(self) -> SourceSpec:
        """How this package opens it."""

    @property
    def isFile(self) -> bool:
        """Whether it is a file on a disk."""
        return False

    @property
    def uri(self) -> str | None:
        """Address; None if it has none."""
        return None

    @property
    def filename(self) -> str | None:
        """Path; None if it is no file on a disk."""
        return None

    @property
    def sizeOnDisk(self) -> int:
        """Bytes."""
        with self.spec.open() as source:
            return source.size

    @property
    def lastModified(self) -> datetime | None:
        """When it was changed last; None if that is not known."""
        return None

    @property
    def io(self) -> IO[bytes] | None:
        """The open file; None if `open` was not called."""
        return None

    @property
    def isOpen(self) -> bool:
        """Whether `open` was called, and `close` not since."""
        return self.io is not None

    @property
    def mem(self) -> memoryview:
        """The bytes; they stay valid after `close`."""
        with self.spec.open() as source:
            return memoryview(source.read_at(0, source.size))


class FileStore(Store):
    """A file on a disk.

    Parameters
    ----------
    path
        Of the file; it need not exist yet.

    Examples
    --------
    >>> FileStore("cells.nd2").isOpen
    False
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path).expanduser()
        self._io: IO[bytes] | None = None

    @property
    def spec(self) -> SourceSpec:
        """How this package opens it."""
        return SourceSpec.of(self._path)

    @property
    def path(self) -> Path:
        """Path as it was given."""
        return self._path

    @property
    def isFile(self) -> bool:
        """Whether it is a file on a disk: it is."""
        return True

    @property
    def uri(self) -> str:
        """``file://`` address, also of relative paths."""
        return self._path.absolute().as_uri()

    @property
    def filename(self) -> str:
        """Path as it was given."""
        return str(self._path)

    @property
    def sizeOnDisk(self) -> int:
        """Bytes; 0 if there is no file."""
        return self._path.stat().st_size if self._path.exists() else 0

    @property
    def lastModified(self) -> datetime:
        """When it was changed last, in local time."""
        stamp = self._path.stat().st_mtime
        return datetime.fromtimestamp(stamp, UTC).astimezone()

    @property
    def io(self) -> IO[bytes] | None:
        """The open file; None if `open` was not called."""
        return self._io

    @property
    def mem(self) -> memoryview:
        """The bytes, mapped; they stay valid after `close`."""
        with self._path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Open the file.

        Parameters
        ----------
        mode
            ``"rb"``, ``"rb+"``, ``"wb"`` or ``"w+b"``.
        """
        if mode not in _MODES:
            raise ValueError(f"mode must be one of {', '.join(_MODES)}, not {mode!r}")
        self.close()
        self._io = self._path.open(_MODES[mode])
        return self._io

    def close(self) -> None:
        """Close the file that `open` opened."""
        if self._io is not None:
            self._io.close()
            self._io = None

    def remove(self, missing_ok: bool = True) -> None:
        """Delete the file.

        Parameters
        ----------
        missing_ok
            Say nothing if there is none.
        """
        self.close()
        self._path.unlink(missing_ok=missing_ok)


class MemoryStore(Store):
    """A file in memory.

    Parameters
    ----------
    buffer
        Its bytes.
    uri
        Address that it is from.
    lastModified
        When it was changed last.

    Examples
    --------
    >>> MemoryStore(b"abc").sizeOnDisk
    3
    """

    def __init__(
        self,
        buffer: bytes | bytearray | memoryview,
        *,
        uri: str | None = None,
        lastModified: datetime | None = None,
    ) -> None:
        self._data = bytes(buffer)
        self._uri = uri
        self._modified = lastModified
        self._io: io.BytesIO | None = None

    @property
    def spec(self) -> SourceSpec:
        """How this package opens it."""
        return SourceSpec.of(self._data)

    @property
    def uri(self) -> str | None:
        """Address that it is from; None if it was not given."""
        return self._uri

    @property
    def sizeOnDisk(self) -> int:
        """Bytes."""
        return len(self._data)

    @property
    def lastModified(self) -> datetime | None:
        """When it was changed last; None if that was not given."""
        return self._modified

    @property
    def io(self) -> IO[bytes] | None:
        """The bytes as an open file; None if `open` was not called."""
        return self._io

    @property
    def mem(self) -> memoryview:
        """The bytes."""
        return memoryview(self._data)

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Open the bytes as a file, to read only.

        Parameters
        ----------
        mode
            ``"rb"``.
        """
        if mode != "rb":
            raise ValueError(f"bytes are read only: mode must be 'rb', not {mode!r}")
        self._io = io.BytesIO(self._data)
        return self._io

    def close(self) -> None:
        """Close what `open` opened."""
        self._io = None

    def remove(self, missing_ok: bool = True) -> None:
        """Forget the bytes."""
        del missing_ok
        self.close()
        self._data = b""


class OtherStore(Store):
    """A URL, or an open file, which its owner closes.

    Parameters
    ----------
    file
        URL or binary file.
    storage_options
        For a URL: arguments of its filesystem.
    """

    def __init__(
        self, file: Any, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        self._spec = SourceSpec.of(file, storage_options)

    @property
    def spec(self) -> SourceSpec:
        """How this package opens it."""
        return self._spec

    @property
    def uri(self) -> str | None:
        """Address without credentials; None of open files."""
        return self._spec.name if self._spec.kind == "url" else None


def store_of(file: Any, storage_options: Mapping[str, Any] | None = None) -> Store:
    """Return the store of whatever a file can be given as.

    Parameters
    ----------
    file
        Path, URL, bytes, memoryview, open binary file, or a store.
    storage_options
        For a URL: arguments of its filesystem.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(file, Store):
        return file
    if isinstance(file, (bytes, bytearray, memoryview)):
        return MemoryStore(file)
    try:
        spec = SourceSpec.of(file, storage_options)
    except TypeError as error:
        raise ValueError(
            "argument 'file' expected to be a path, URL, bytes, memoryview, open binary "
            f"file or Store, not {type(file).__name__}"
        ) from error
    if spec.kind == "path" and isinstance(file, (str, os.PathLike)):
        is_url = isinstance(file, str) and "://" in file
        return FileStore(spec.location if is_url else file)
    return OtherStore(file, storage_options)
