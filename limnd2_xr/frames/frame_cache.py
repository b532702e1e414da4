"""Compressed frames that are read part by part: each byte is inflated once.

Dask blocks that divide frames ask for a few rows, or one channel, of the same frames one
after the other, or at the same time from several threads. A zlib stream has no middle to
begin at. So it is kept where it stopped, along with the rows before that, and goes on from
there for the next block. A process keeps a limited number of bytes, those used last.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.pixels import RowStream

if TYPE_CHECKING:
    from limnd2_xr.frames.layout import PixelLayout
    from limnd2_xr.frames.pixels import Bytes

__all__ = ["CACHE", "FrameCache", "SharedFrame"]

KEPT_NBYTES: Final = 256 * 2**20
"""Two blocks of `limnd2_xr.arrays.dataset.BLOCK_NBYTES`, and some more."""


class SharedFrame:
    """One compressed frame, inflated as far as anybody asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stream: RowStream | None = None
        self._error: CorruptChunk | None = None

    @property
    def is_begun(self) -> bool:
        """Whether the packed bytes are known, so that they need not be read."""
        return self._stream is not None or self._error is not None

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return 0 if self._stream is None else self._stream.nbytes

    def rows(self, stop: int, layout: PixelLayout, packed: Bytes | None) -> Bytes:
        """Return the frame's bytes up to a row; others wait while they are inflated.

        Parameters
        ----------
        stop
            One past the last row wanted.
        layout
            Of the frame.
        packed
            Its zlib stream; None if it `is_begun`.

        Raises
        ------
        CorruptChunk
            If the stream is damaged, now or when it was tried before.
        """
        with self._lock:
            if self._error is not None:
                raise CorruptChunk(self._error.reason)
            if self._stream is None:
                if packed is None:
                    raise ValueError("the packed bytes of this frame are not known")
                self._stream = RowStream(layout, packed)
            try:
                return self._stream.rows(stop)
            except CorruptChunk as error:
                self._stream, self._error = None, error
                raise


class FrameCache:
    """The shared frames of all open files of a process; safe to use from threads.

    Parameters
    ----------
    limit_nbytes
        Frames used longest ago are forgotten when all take more than this.
    """

    def __init__(self, limit_nbytes: int = KEPT_NBYTES) -> None:
        self.limit_nbytes = limit_nbytes
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all frames, and whoever used them: threads are not there after a fork."""
        self._lock = threading.Lock()
        self._frames: OrderedDict[tuple[object, int], SharedFrame] = OrderedDict()
        self._gone: deque[object] = deque()

    def frames(self, owner: object, rows: list[int]) -> dict[int, SharedFrame]:
        """Return frames by their number, begun or not.

        Parameters
        ----------
        owner
            Whose frames these are.
        rows
            Numbers of frames.
        """
        found = {}
        with self._lock:
            for row in rows:
                key = owner, row
                found[row] = self._frames.setdefault(key, SharedFrame())
                self._frames.move_to_end(key)
        self._forget_gone()
        return found

    def forget_old(self) -> None:
        """Forget what is more than the limit."""
        with self._lock:
            kept = sum(frame.nbytes for frame in self._frames.values())
            while self._frames and kept > self.limit_nbytes:
                _, frame = self._frames.popitem(last=False)
                kept -= frame.nbytes
        self._forget_gone()

    def forget(self, owner: object) -> None:
        """Forget all frames of one owner, at once or when another thread is done here.

        The garbage collector may call this at any moment, also while this very thread
        holds the lock: nobody waits for it.
        """
        self._gone.append(owner)
        self._forget_gone()

    def _forget_gone(self) -> None:
        while self._gone and self._lock.acquire(blocking=False):
            try:
                gone = self._gone.popleft()
                for key in [key for key in self._frames if key[0] is gone]:
                    del self._frames[key]
            finally:
                self._lock.release()

    @property
    def nbytes(self) -> int:
        """Memory that all frames take."""
        with self._lock:
            found = sum(frame.nbytes for frame in self._frames.values())
        self._forget_gone()
        return found


CACHE: Final = FrameCache()
"""Of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=CACHE.begin_anew)
