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
import threading
import weakref
from contextlib import suppress
from pathlib import Path

__all__ = ["RESIDENT", "FileMapping", "Resident", "is_on_local_disk", "memory_share"]

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
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


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


class Resident:
    """What of all mappings was touched: bounds what stays in the process.

    Pages of a mapping count as memory of the process until they are let go, although the
    system can take them back at any time; dask pauses workers that seem to hold much.

    Parameters
    ----------
    limit
        Bytes; what was used longest ago is let go beyond that.
    most
        What `expect` may raise the limit to.
    """

    def __init__(self, limit: int, most: int) -> None:
        self._usual = self._limit = limit
        self._most = max(limit, most)
        self._nbytes = 0
        self._ranges: dict[tuple[weakref.ref[FileMapping], int, int], None] = {}
        self.renew_lock()

    def renew_lock(self) -> None:
        """Take a new lock: threads that held the old one are not there after a fork."""
        self._lock = threading.Lock()

    def expect(self, nbytes: int) -> None:
        """Let so much stay as will be used at once, until less is expected again.

        Whoever asks for that much has room for it, and has a copy of it soon: to let
        go in between, and to map again for the next time, would take half the time.
        """
        self._limit = min(max(self._usual, nbytes), self._most)

    def add(self, mapping: FileMapping, offset: int, nbytes: int) -> bool:
        """Note a range that is about to be used; let go of those used longest ago.

        Returns
        -------
        bool
            False if the very same range was noted and is still kept.
        """
        key, gone = (weakref.ref(mapping), offset, nbytes), []
        with self._lock:
            known = key in self._ranges
            if known:
                del self._ranges[key]
            else:
                self._nbytes += max(nbytes, mmap.PAGESIZE)
            self._ranges[key] = None
            while self._nbytes > self._limit and len(self._ranges) > 1:
                oldest = next(iter(self._ranges))
                del self._ranges[oldest]
                gone.append(oldest)
                self._nbytes -= max(oldest[2], mmap.PAGESIZE)
        for reference, start, length in gone:
            old = reference()
            if old is not None:
                old.let_go(start, length)
        return not known


def memory_share() -> int:
    """Return a quarter of the memory that the process may use, at least 64 MiB."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        memory = 4 << 30
    with suppress(OSError, ValueError):  # "max" where a container sets no limit
        memory = min(memory, int(_CONTAINER_LIMIT.read_text("ascii")))
    return max(memory // 4, 64 << 20)


_USUAL_NBYTES = 96 << 20
"""All that is kept looks like memory in use, and is soon mapped again."""

RESIDENT = Resident(min(_USUAL_NBYTES, memory_share()), memory_share())

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RESIDENT.renew_lock)


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
