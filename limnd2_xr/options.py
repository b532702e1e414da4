"""Settings of the package for this process."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["get_mapping", "get_threads", "set_mapping", "set_threads", "single_thread"]

_threads: int | None = None
_mapping = True
_here = threading.local()


def get_threads() -> int:
    """Return how many threads decode frames: what was set, else one a usable core.

    Examples
    --------
    >>> get_threads() >= 1
    True
    """
    if _threads is not None:
        return _threads
    if getattr(_here, "is_single", False):
        return 1
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def set_threads(threads: int | None) -> None:
    """Set how many threads decode frames in this process.

    Parameters
    ----------
    threads
        1 decodes in the calling thread; None goes back to one a usable core.

    Raises
    ------
    ValueError
        If `threads` is less than 1.
    """
    global _threads  # noqa: PLW0603 - one setting a process
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
    _threads = threads


@contextmanager
def single_thread() -> Iterator[None]:
    """Have `get_threads` say 1 to the calling thread, unless another number was set.

    Examples
    --------
    >>> with single_thread():
    ...     get_threads()
    1
    """
    before = getattr(_here, "is_single", False)
    _here.is_single = True
    try:
        yield
    finally:
        _here.is_single = before


def get_mapping() -> bool:
    """Say whether files on local disks are mapped into memory to read pixels.

    Examples
    --------
    >>> get_mapping()
    True
    """
    return _mapping


def set_mapping(enabled: bool) -> None:
    """Set whether files opened from now on may be mapped into memory.

    Reading through a mapping takes half the time. But while a file is being read it
    must not become shorter: that ends the process. Files on network shares are never
    mapped.

    Parameters
    ----------
    enabled
        False where other programs may overwrite files that are being read.
    """
    global _mapping  # noqa: PLW0603 - one setting a process
    _mapping = enabled
