"""``limnd2.base``: errors, stores, and what readers and writers of chunks share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from limnd2_xr.compat.limnd2.stores import FileStore, MemoryStore, Store

if TYPE_CHECKING:
    from os import PathLike
    from typing import BinaryIO

    from numpy.typing import NDArray

    from limnd2_xr.compat.limnd2.attributes import ImageAttributes

    FileLikeObject: TypeAlias = "str | PathLike[str] | Store | memoryview | BinaryIO"
else:
    FileLikeObject: TypeAlias = object

__all__ = [
    "BaseChunker",
    "BinaryIdNotFountError",
    "FileLikeObject",
    "FileStore",
    "MemoryStore",
    "NameNotInChunkmapError",
    "Nd2LoggerEnabled",
    "NotNd2Format",
    "NumpyArrayLike",
    "Store",
    "UnexpectedCallError",
    "UnsupportedChunkmapError",
]

Nd2LoggerEnabled: Final = False
"""Whether there is a log: there is none."""
NumpyArrayLike: Final = np.ndarray
"""What images are."""

KNOWN_ARGUMENTS: Final = (
    "with_image_attributes",
    "with_experiment",
    "with_picture_metadata",
    "with_binary_rle_metadata",
    "with_binary_raster_metadata",
    "with_image_text_info",
)
"""What ``chunker_kwargs`` may contain."""


class _Error(RuntimeError):
    """An error with its text as ``message``."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotNd2Format(_Error):
    """The file is no nd2 file."""

    def __init__(self, message: str = "Not a valid ND2 file format") -> None:
        super().__init__(message)


class NameNotInChunkmapError(_Error):
    """The file has no such chunk."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no chunk {name!r}")
        self.chunk_name = name


class UnsupportedChunkmapError(_Error):
    """The chunks of the file cannot be found, or are damaged."""

    def __init__(self, version: Any, name: str) -> None:
        super().__init__(f"file of version {version}: {name}")
        self.file_version = version
        self.chunk_name = name


class UnexpectedCallError(_Error):
    """The chunk has to be asked for by another method."""

    def __init__(self, func: str, name: str) -> None:
        super().__init__(f"chunk {name!r} is not for {func}")
        self.function_name = func
        self.chunk_name = name


class BinaryIdNotFountError(_Error):
    """The file has no such binary layer (the name is spelt as in limnd2)."""

    def __init__(self, binid: int) -> None:
        super().__init__(f"there is no binary layer {binid}")
        self.binid = binid


class BaseChunker(ABC):
    """Reads or writes chunks of an open file.

    Parameters
    ----------
    given
        Metadata to use instead of those of the file: ``with_image_attributes``,
        ``with_experiment``, ``with_picture_metadata``, ``with_image_text_info``,
        ``with_binary_rle_metadata``, ``with_binary_raster_metadata``.

    Raises
    ------
    TypeError
        If something else is given.
    """

    def __init__(self, **given: Any) -> None:
        unknown = sorted(set(given) - set(KNOWN_ARGUMENTS))
        if unknown:
            raise TypeError(
                f"unknown chunker_kwargs {', '.join(unknown)}: there are "
                f"{', '.join(KNOWN_ARGUMENTS)}"
            )
        self.given = {name: value for name, value in given.items() if value is not None}

    @property
    @abstractmethod
    def store(self) -> Store:
        """Where the bytes are."""

    @property
    @abstractmethod
    def imageAttributes(self) -> ImageAttributes:
        """Size, type and number of the frames."""

    @abstractmethod
    def chunk(self, name: bytes | str) -> bytes | None:
        """Return the payload of a chunk; None if there is none."""

    @abstractmethod
    def image(
        self,
        seqindex: int,
        *,
        rect: tuple[int, int, int, int] | None = None,
        downsample_level: int = 0,
    ) -> NDArray[Any]:
        """Return a frame, of shape (rows, columns, components)."""

    @abstractmethod
    def finalize(self) -> None:
        """Close the file."""
