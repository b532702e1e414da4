"""How much of mapped files stays in the process.

Pages of a mapping count as memory of the process from when they are touched until they
are let go, although the system can take them back at any time: dask pauses workers that
seem to hold much. Copying out of pages that are there is the fastest way to read. But
to map pages, to copy them and to let them go again takes longer than a read into a
buffer, so what would not stay is better read.
"""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from limnd2_xr.container.mapping import FileMapping

__all__ = ["PIECE_NBYTES", "RESIDENT", "Resident", "memory_share"]

PIECE_NBYTES = 64 * mmap.PAGESIZE
"""Files are counted in pieces of this size."""

_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")
_USUAL_NBYTES = 96 << 20
"""So much may stay whatever is read."""


@dataclass(slots=True)
class _Kept:
    """A mapping of which all stays."""

    reference: weakref.ref[FileMapping]
    pieces: int
    touched: set[int]

    def touch(self, used: range) -> bool:
        """Note pieces; say whether any of them is new."""
        before = len(self.touched)
        self.touched.update(used)
        return len(self.touched) > before


class Resident:
    """The pieces of all mappings that were touched and not let go.

    Parameters
    ----------
    limit
        Bytes; what was used longest ago is let go beyond that.
    most
        What `expect` may raise the limit to.
    """

    def __init__(self, limit: int, most: int) -> None:
        self._usual = limit // PIECE_NBYTES
        self._most = max(limit, most) // PIECE_NBYTES
        self._limit = self._usual
        # Of each mapping its pieces; both in the order in which they were used.
        self._held: dict[int, dict[int, None]] = {}
        self._mappings: dict[int, weakref.ref[FileMapping]] = {}
        # Mappings of which all stays: they count by themselves.
        self._kept: dict[int, _Kept] = {}
        self._has_closed = False
        self.renew()

    def renew(self) -> None:
        """Begin anew after a fork: threads that held the lock are not there, nor pages."""
        self._lock = threading.Lock()
        self._count = 0
        self._held.clear()
        self._mappings.clear()
        for kept in self._kept.values():
            kept.touched.clear()

    def expect(self, nbytes: int) -> None:
        """Let so much stay as will be used at once, until less is expected again.

        Whoever asks for that much has room for it, and has a copy of it soon.
        """
        # What is used ends within pieces, and there are headers in between.
        pieces = nbytes * 9 // (8 * PIECE_NBYTES)
        self._limit = min(max(self._usual, pieces), self._most)

    def keep(self, mapping: FileMapping) -> None:
        """Let all of a file stay until it is closed, if the process has room for it.

        That is, if with all others that are kept, and what else may stay, it is no more
        than `expect` may ask for.

        Parameters
        ----------
        mapping
            The file.
        """
        pieces = len(_pieces(0, len(mapping.content)))
        with self._lock:
            self._forget_closed()
            others = sum(kept.pieces for kept in self._kept.values())
            if id(mapping) in self._kept or self._usual + others + pieces > self._most:
                return
            reference = weakref.ref(mapping, self._closing)
            touched = set(self._held.pop(id(mapping), ()))
            self._mappings.pop(id(mapping), None)
            self._count -= len(touched)
            self._kept[id(mapping)] = _Kept(reference, pieces, touched)

    def may_stay(self, mapping: FileMapping, ranges: Iterable[tuple[int, int]]) -> bool:
        """Say whether ranges are there already, or can be without others being let go.

        Parameters
        ----------
        mapping
            The file.
        ranges
            First byte, and how many.
        """
        with self._lock:
            self._forget_closed()
            if id(mapping) in self._kept:
                return True
            held = self._held.get(id(mapping), {})
            free = max(0, self._limit - self._count)
            pieces = set[int]()
            for offset, nbytes in ranges:
                pieces.update(_pieces(offset, nbytes))
                if len(pieces) > free + len(held):
                    break
            # Faster than a difference of sets, which goes through all that is held.
            stays = sum(piece not in held for piece in pieces) <= free
            # What an earlier, larger use left behind would stay for ever otherwise.
            gone = [] if stays else list(self._over_the_limit(keep=0))
        _let_go(gone)
        return stays

    def add(self, mapping: FileMapping, offset: int, nbytes: int) -> bool:
        """Note a range that is about to be used; let go of those used longest ago.

        Returns
        -------
        bool
            False if all of the range was there already.
        """
        used = _pieces(offset, nbytes)
        with self._lock:
            self._forget_closed()
            if kept := self._kept.get(id(mapping)):
                return kept.touch(used)
            held = self._held.pop(id(mapping), None)
            if held is None:
                held = {}
                self._mappings[id(mapping)] = weakref.ref(mapping, self._closing)
            self._held[id(mapping)] = held
            before = len(held)
            for piece in used:
                held.pop(piece, None)
            known = before - len(held)
            held.update(dict.fromkeys(used))
            self._count += len(used) - known
            gone = list(self._over_the_limit(keep=len(used)))
        _let_go(gone)
        return known < len(used)

    def _over_the_limit(self, keep: int) -> Iterator[tuple[FileMapping, int, int]]:
        """Forget pieces beyond the limit, but none of those noted last; yield runs."""
        excess = min(self._count - self._limit, self._count - keep)
        while excess > 0:
            key, held = next(iter(self._held.items()))
            oldest = [piece for piece, _ in zip(held, range(excess), strict=False)]
            for piece in oldest:
                del held[piece]
            excess -= len(oldest)
            self._count -= len(oldest)
            mapping = self._mappings[key]()
            if not held:
                del self._held[key], self._mappings[key]
            if mapping is not None:
                for first, count in _runs(oldest):
                    yield mapping, first, count

    def _closing(self, _: weakref.ref[FileMapping]) -> None:
        # May be called anywhere, also while this thread holds the lock.
        self._has_closed = True

    def _forget_closed(self) -> None:
        """Forget mappings that are no more."""
        if not self._has_closed:
            return
        self._has_closed = False
        for key in [k for k, reference in self._mappings.items() if not reference()]:
            del self._mappings[key]
            self._count -= len(self._held.pop(key, ()))
        for key in [k for k, kept in self._kept.items() if not kept.reference()]:
            del self._kept[key]


def _let_go(runs: list[tuple[FileMapping, int, int]]) -> None:
    for mapping, first, count in runs:
        mapping.let_go(first * PIECE_NBYTES, count * PIECE_NBYTES)


def _pieces(offset: int, nbytes: int) -> range:
    return range(offset // PIECE_NBYTES, -(-(offset + nbytes) // PIECE_NBYTES))


def _runs(pieces: list[int]) -> Iterator[tuple[int, int]]:
    """First and count of pieces that follow each other."""
    for _, run in groupby(enumerate(sorted(pieces)), lambda item: item[1] - item[0]):
        found = [piece for _, piece in run]
        yield found[0], len(found)


def memory_share() -> int:
    """Return a quarter of the memory that the process may use, at least 64 MiB."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        memory = 4 << 30
    with suppress(OSError, ValueError):  # "max" where a container sets no limit
        memory = min(memory, int(_CONTAINER_LIMIT.read_text("ascii")))
    return max(memory // 4, 64 << 20)


_SHARE = memory_share()
RESIDENT = Resident(min(_USUAL_NBYTES, _SHARE), _SHARE)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RESIDENT.renew)
