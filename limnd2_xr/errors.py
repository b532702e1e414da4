"""What can go wrong with an .nd2 file, as exceptions that say where.

Every error of this package derives from `Nd2Error` and names, as far as they are
known, the file, the chunk and the byte offset. Layers that see only bytes raise
without a file; the layer that knows it adds it with `Nd2Error.located`.
"""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

__all__ = [
    "CorruptChunk",
    "Nd2Error",
    "Nd2Warning",
    "NotAnNd2File",
    "RemoteError",
    "StaleFile",
    "UnsupportedDtype",
    "UnsupportedFeature",
    "warn_user",
]


class Nd2Error(Exception):
    """Something is wrong with an .nd2 file or with what was asked of it.

    Parameters
    ----------
    reason
        What is wrong, without the place.
    path
        The file, as the user named it.
    chunk
        Name of the ND2 chunk, with its closing ``!``.
    offset
        Byte offset: in the file once the error left the reading layer; in the
        decoded bytes before that.

    Examples
    --------
    >>> str(Nd2Error("the row is cut short", path="a.nd2", chunk="X!", offset=4096))
    'a.nd2: chunk X! at offset 4096: the row is cut short'
    """

    def __init__(
        self,
        reason: str,
        *,
        path: str | None = None,
        chunk: str | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.chunk = chunk
        self.offset = offset

    def __str__(self) -> str:
        parts = [self.path] if self.path else []
        place = [f"chunk {self.chunk}"] if self.chunk else []
        if self.offset is not None:
            place.append(f"at offset {self.offset}")
        if place:
            parts.append(" ".join(place))
        return ": ".join([*parts, self.reason])

    def __reduce__(
        self,
    ) -> tuple[
        Callable[..., Nd2Error], tuple[type[Nd2Error], str, dict[str, str | int | None]]
    ]:
        where = {"path": self.path, "chunk": self.chunk, "offset": self.offset}
        return _rebuild, (type(self), self.reason, where)

    def located(
        self,
        *,
        path: str | None = None,
        chunk: str | None = None,
        base: int | None = None,
    ) -> Self:
        """Return the same error with what the caller knows about its place.

        Parameters
        ----------
        path, chunk
            Used where the error has none yet.
        base
            File offset of the bytes that `offset` counts from; added to it, or
            taken for it where there is none.
        """
        offset = self.offset
        if base is not None:
            offset = base if offset is None else base + offset
        return type(self)(
            self.reason,
            path=self.path or path,
            chunk=self.chunk or chunk,
            offset=offset,
        )


def _rebuild(
    kind: type[Nd2Error], reason: str, where: dict[str, str | int | None]
) -> Nd2Error:
    return kind(reason, **where)  # type: ignore[arg-type]


class NotAnNd2File(Nd2Error, ValueError):
    """The bytes do not begin as an .nd2 file does (FORMAT 0.2)."""


class CorruptChunk(Nd2Error, ValueError):
    """Bytes contradict the format: a damaged, truncated or hostile file."""


class UnsupportedFeature(Nd2Error, NotImplementedError):
    """A sound file uses something that this package cannot read yet."""


class UnsupportedDtype(Nd2Error, TypeError):
    """Values are of a type that .nd2 files do not hold."""


class StaleFile(Nd2Error, OSError):
    """The file changed since it was opened."""


class RemoteError(Nd2Error, OSError):
    """A server did not send what was asked for, however often it was asked.

    `__cause__` is the error of the library that made the requests.
    """


class Nd2Warning(UserWarning):
    """Something was repaired, filled in or ignored while reading a file."""


def warn_user(message: str) -> None:
    """Emit an `Nd2Warning` that points at the line which opened or read the file.

    That is the first caller outside this package and xarray, so that Python shows the
    warning once for each place in the user's own code.
    """
    level, frame = 1, sys._getframe(0)
    while _is_inside(frame.f_globals.get("__name__", "")) and frame.f_back:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, Nd2Warning, stacklevel=level)


def _is_inside(module: str) -> bool:
    return module.partition(".")[0] in {"limnd2_xr", "xarray"}
