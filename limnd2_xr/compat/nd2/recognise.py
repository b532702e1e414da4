"""Whether something is an nd2 file, by its first bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from limnd2_xr.compat.nd2.axis import (
    NEW_HEADER_MAGIC,
    OLD_HEADER_MAGIC,
    is_fsspec_url,
)
from limnd2_xr.compat.nd2.session import is_handle

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["is_legacy", "is_supported_file"]


def _open_binary(path: Any) -> BinaryIO:
    return Path(path).open("rb")


def is_supported_file(
    path: Any,
    open_: Callable[[Any], BinaryIO] = _open_binary,
    *,
    storage_options: dict[str, Any] | None = None,
) -> bool:
    """Say whether something begins as an nd2 file does.

    Parameters
    ----------
    path
        Path, URL, or open binary file, which is left behind those bytes.
    open_
        Opens a path.
    storage_options
        For URLs: arguments of the fsspec filesystem.

    Examples
    --------
    >>> import io
    >>> is_supported_file(io.BytesIO(b"GIF89a"))
    False
    """
    if is_handle(path):
        path.seek(0)
        magic = path.read(4)
    elif open_ is _open_binary and is_fsspec_url(path):
        import fsspec

        with fsspec.open(path, "rb", **(storage_options or {})) as file:
            magic = file.read(4)
    else:
        with open_(path) as file:
            magic = file.read(4)
    return magic in (NEW_HEADER_MAGIC, OLD_HEADER_MAGIC)


def is_legacy(path: Any) -> bool:
    """Say whether a file on disk is of format 1.0."""
    with _open_binary(path) as file:
        return file.read(4) == OLD_HEADER_MAGIC
