"""A folder that has its name only once it is complete."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from limnd2_xr.export.zarr_target import ROOT_FILES

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["new_folder"]

_PAUSES_S: Final = (0.02, 0.05, 0.1, 0.2, 0.5)


@contextmanager
def new_folder(
    path: str | os.PathLike[str], *, overwrite: bool, suffixes: tuple[str, ...] = ()
) -> Iterator[Path]:
    """Give a folder to fill; afterwards it is renamed, after an error removed.

    Parameters
    ----------
    path
        Name of the folder to be; an existing one stays as it is until then.
    overwrite
        Whether it may exist.
    suffixes
        It is replaced only if it holds nothing but files that end so; without any, if it
        is a zarr hierarchy or empty.

    Yields
    ------
    Path
        In the same folder.

    Raises
    ------
    FileExistsError
        If it exists and must not, or holds something else.

    Examples
    --------
    >>> import tempfile
    >>> above = tempfile.TemporaryDirectory()
    >>> with new_folder(Path(above.name, "a"), overwrite=False) as folder:
    ...     _ = (folder / "1.tif").write_bytes(b"II")
    >>> sorted(path.name for path in Path(above.name).rglob("*"))
    ['1.tif', 'a']
    >>> above.cleanup()
    """
    target = Path(path)
    _check(target, overwrite, suffixes)
    partial = target.with_name(f".{uuid.uuid4().hex}.partial")
    partial.mkdir()
    try:
        yield partial
        _check(target, overwrite, suffixes)  # somebody else may have made one meanwhile
        _rename(partial, target)
    except BaseException:
        _remove(partial)
        raise


def _remove(folder: Path) -> None:
    """Remove a folder that a thread may still be putting a last file into."""
    for pause_s in _PAUSES_S:
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(pause_s)
    shutil.rmtree(folder, ignore_errors=True)


def _check(target: Path, overwrite: bool, suffixes: tuple[str, ...]) -> None:
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise FileExistsError(f"{target} exists; pass overwrite=True to replace it")
    if target.is_symlink() or not target.is_dir():
        raise FileExistsError(f"{target} is no folder: it is not replaced")
    names = [entry.name for entry in target.iterdir() if not _is_ours(entry, suffixes)]
    if names and (suffixes or not set(names) & set(ROOT_FILES)):
        raise FileExistsError(
            f"{target} holds other things, such as {names[0]}: it is not replaced"
        )


def _is_ours(entry: Path, suffixes: tuple[str, ...]) -> bool:
    return entry.is_file() and entry.name.lower().endswith(suffixes)


def _rename(partial: Path, target: Path) -> None:
    old = target.with_name(f".{uuid.uuid4().hex}.replaced")
    had_one = os.path.lexists(target)
    if had_one:
        target.rename(old)
    try:
        partial.rename(target)
    except BaseException:
        if had_one:
            old.rename(target)
        raise
    if had_one:
        shutil.rmtree(old, ignore_errors=True)
