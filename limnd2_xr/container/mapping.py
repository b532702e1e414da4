"""Files mapped into memory, where that is safe.

Copying pixels out of a mapping takes half the time of reading them into a buffer. But an
input/output error behind a mapping ends the process with SIGBUS instead of raising, so
only files on disks of this machine are mapped, never those on network shares, and the
size of the file is looked at before each use: one that was cut short is noticed, unless
that happens in the middle of a read. `limnd2_xr.set_mapping` switches mappings off.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

__all__ = ["FileMapping", "is_on_local_disk"]

_LOCAL_TYPES = frozenset(
    {
        "bcachefs",
        "btrfs",
        "ext2",
        "ext3",
        "ext4",
        "f2fs",
        "jfs",
        "overlay",
        "ramfs",
        "reiserfs",
        "tmpfs",
        "xfs",
        "zfs",
    }
)
_MOUNTS = Path("/proc/self/mountinfo")


class FileMapping:
    """All bytes of an open file as memory.

    Views stay valid as long as they are held, also when the file is closed.

    Parameters
    ----------
    fd
        Descriptor of the file; not used any more once the mapping exists.
    size
        Bytes to map, more than 0.
    """

    __slots__ = ("__weakref__", "_map", "content")

    def __init__(self, fd: int, size: int) -> None:
        self._map = mmap.mmap(fd, size, access=mmap.ACCESS_READ)
        self.content = memoryview(self._map)
        """All bytes, read-only."""

    def let_go(self, offset: int, nbytes: int) -> None:
        """Drop pages from the process; they stay in the system's cache."""
        if hasattr(mmap, "MADV_DONTNEED"):
            start = offset - offset % mmap.PAGESIZE
            self._map.madvise(mmap.MADV_DONTNEED, start, offset + nbytes - start)

    def will_need(self, offset: int, nbytes: int) -> None:
        """Have the system read a range, not just a page and what follows it."""
        if hasattr(mmap, "MADV_WILLNEED"):
            start = offset - offset % mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, start, offset + nbytes - start)


def is_on_local_disk(path: str) -> bool:
    """Say whether a file lies on a file system of this machine; False if in doubt.

    Only Linux tells; elsewhere the answer is False.
    """
    try:
        mounts = _MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
        real = os.path.realpath(path)
    except OSError:
        return False
    found, longest = "", -1
    for mount in mounts:
        left, _, right = mount.partition(" - ")
        fields = left.split(" ")
        if len(fields) < 5 or not right:
            continue
        point = fields[4].replace("\\040", " ").rstrip("/")
        # Of mounts on one point the last one is seen.
        if len(point) >= longest and (real == point or real.startswith(point + "/")):
            found, longest = right.split(" ", 1)[0], len(point)
    return found in _LOCAL_TYPES
