"""A file that has its name only once it is complete."""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from limnd2_xr.container.disk import rename_over, rename_to_new

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_target", "new_file"]


def check_target(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return where a file will be, before anything is written.

    Parameters
    ----------
    path
        Of a local file.
    overwrite
        Whether it may exist.

    Raises
    ------
    ValueError
        If it is a URL.
    FileExistsError
        If it exists and must not, or is a folder.
    FileNotFoundError
        If its folder does not exist.
    """
    if "://" in os.fspath(path):
        raise ValueError(
            f"{path} is not on this machine: write a local file, and copy it there"
        )
    target = Path(path).expanduser()
    if target.is_dir():
        raise FileExistsError(f"{target} is a folder")
    if not overwrite and (target.exists() or target.is_symlink()):
        raise FileExistsError(f"{target} exists; pass overwrite=True to replace it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent}")
    return target


@contextmanager
def new_file(
    path: str | os.PathLike[str], *, overwrite: bool = False
) -> Iterator[Path]:
    """Give a path to write to; afterwards the file is renamed, after an error removed.

    Parameters
    ----------
    path
        Name of the file to be; an existing one stays as it is until then.
    overwrite
        Whether it may exist.

    Yields
    ------
    Path
        In the same folder.
    """
    target = check_target(path, overwrite=overwrite)
    # Short enough for any file system, however long the name is.
    partial = target.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        yield partial
        # Somebody else may have made a file of that name meanwhile.
        (rename_over if overwrite else rename_to_new)(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
