"""What the system does by itself with bytes of files: sets room aside, and copies.

Both are quicker than writing, and may be refused by a file system at any time.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Final

from limnd2_xr.container.disk import MAX_CALL_NBYTES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["copy_range", "reserve"]

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def reserve(fd: int, offset: int, nbytes: int) -> None:
    """Have the system set space aside, so that writing there is quicker.

    Where it cannot, nothing happens.

    Raises
    ------
    OSError
        The disk is full.
    """
    fallocate = _fallocate()
    if fallocate is None or not nbytes:
        return
    if fallocate(fd, 0, offset, nbytes) and ctypes.get_errno() in _FULL:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@cache
def _fallocate() -> Callable[[int, int, int, int], int] | None:
    """Return the system's call; Python's would write where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL(None, use_errno=True)
        found = getattr(library, "fallocate64", None) or library.fallocate
    except (OSError, AttributeError):  # pragma: no cover - a libc without it
        return None
    found.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    found.restype = ctypes.c_int
    called: Callable[[int, int, int, int], int] = found
    return called


def copy_range(source: int, offset: int, fd: int, at: int, nbytes: int) -> bool:
    """Have the system copy bytes from one open file to another; say whether it did.

    Where it did not, some of them may have been written: write all of them.

    Parameters
    ----------
    source, offset
        Descriptor to read, and where.
    fd, at
        Descriptor to write, and where.
    nbytes
        How many.
    """
    if not hasattr(os, "copy_file_range"):
        return False
    done = 0
    while done < nbytes:
        left = min(nbytes - done, MAX_CALL_NBYTES)
        try:
            count = os.copy_file_range(source, fd, left, offset + done, at + done)
        except OSError:
            # What is wrong, if it is more than that it cannot, writing will tell.
            return False
        if not count:
            return False
        done += count
    return True
