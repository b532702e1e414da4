"""`Unfinished`: what has to go where somebody forgets to finalize a writer."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from limnd2_xr.frames.frame_stream import FrameStream

__all__ = ["Unfinished"]


class Unfinished:
    """What a writer has on the disk; it does not know the writer, which may vanish.

    Parameters
    ----------
    path
        Name of the file to be, or of the one to be added to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pid = os.getpid()
        self.stream: FrameStream | None = None
        """The file that has the frames and chunks that were written."""
        self.is_changed = False
        """Whether anything was given to be written."""

    def discard(self) -> None:
        """Remove what there is of it, with a warning if anything is lost.

        To be called by `weakref.finalize` when the writer is collected, or the process
        ends. Does nothing in a process that was forked.

        Warns
        -----
        UserWarning
            If anything was given to be written: a ResourceWarning would not be seen.
        """
        if os.getpid() != self._pid:
            return
        count = 0
        if self.stream is not None:
            count = len(self.stream.numbers)
            self.stream.rollback()
        if not self.is_changed:
            return
        lost = "1 frame was" if count == 1 else f"{count} frames were"
        left = "the file is as it was" if self._path.exists() else "there is no file"
        warnings.warn(
            f"{self._path}: a writer was neither finalized nor rolled back: {lost} "
            f"discarded, and {left}. Call finalize(), or write in a with block.",
            stacklevel=3,  # the call by weakref.finalize, and who let go of the writer
        )
