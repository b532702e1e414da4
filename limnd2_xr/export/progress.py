"""Telling how far an export is."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Advance", "Progress", "progress_of"]

Progress: TypeAlias = "bool | Callable[[int, int], None]"
"""Whether to show a bar, or what to call with what is done and what there is to do."""


class Advance:
    """Counts what is done, from any thread, and tells it.

    Parameters
    ----------
    tell
        Called with what is done and what there is to do; None for nobody.
    total
        What there is to do.
    """

    def __init__(self, tell: Callable[[int, int], None] | None, total: int) -> None:
        self._tell = tell
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def __call__(self, count: int = 1) -> None:
        """Tell that so many more are done."""
        with self._lock:
            self._done += count
            if self._tell is not None:
                self._tell(self._done, self._total)


@contextmanager
def progress_of(progress: Progress, total: int, label: str) -> Iterator[Advance]:
    """Give what counts the steps of an export.

    Parameters
    ----------
    progress
        True shows a bar on stderr; a function is called with what is done and what there
        is to do.
    total
        Steps there are.
    label
        What the bar is called.
    """
    if callable(progress):
        yield Advance(progress, total)
        return
    if not progress:
        yield Advance(None, total)
        return
    with _bar(total, label) as tell:
        yield Advance(tell, total)


@contextmanager
def _bar(total: int, label: str) -> Iterator[Callable[[int, int], None]]:
    try:
        from tqdm import tqdm
    except ImportError:
        yield _plain(label)
        return
    with tqdm(total=total, desc=label, unit="frame") as bar:

        def tell(done: int, _total: int) -> None:
            bar.update(done - bar.n)

        yield tell


def _plain(label: str) -> Callable[[int, int], None]:
    """Tell by lines, where no bar is installed."""

    def tell(done: int, total: int) -> None:
        if done == total or done % max(1, total // 10) == 0:
            sys.stderr.write(f"{label}: {done} of {total}\n")

    return tell
