"""Keeps frame 0 before frame 1 in a file of compressed frames, where that costs nothing.

Bio-Formats 7.3.1 fails where the first frame in the file is number 1. `FrameWriter` mends
that by a copy of frame 1 further behind, which leaves a gap of its size. Threads of one
process, which mostly begin with these two, can agree beforehand.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FrameOrder"]

_PATIENCE = 10.0
"""Seconds; a process forked in the wrong moment would wait for ever else."""


class FrameOrder:
    """Which files get their frame 0 by a thread of this process at the moment.

    Examples
    --------
    >>> order = FrameOrder()
    >>> with order.putting("a.partial", 1):
    ...     order.wait("a.partial", 1)  # nobody is at frame 0, so there is no waiting
    """

    def __init__(self) -> None:
        self._at_zero: Counter[str] = Counter()
        self._changed = threading.Condition()

    @contextmanager
    def putting(self, file: str, number: int) -> Iterator[None]:
        """Tell that a frame is being compressed and written while this lasts."""
        if number:
            yield
            return
        with self._changed:
            self._at_zero[file] += 1
        try:
            yield
        finally:
            with self._changed:
                self._at_zero -= Counter({file: 1})
                self._changed.notify_all()

    def wait(self, file: str, number: int) -> None:
        """Return at once unless the frame is number 1, and 0 is being put."""
        if number == 1:
            with self._changed:
                self._changed.wait_for(lambda: not self._at_zero[file], _PATIENCE)
