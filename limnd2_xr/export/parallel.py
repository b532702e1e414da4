"""Work on threads, with few pieces in memory at a time."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from limnd2_xr.options import get_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["run_pieces", "started_pool", "workers_for"]

_MEMORY_NBYTES = 2**27
_MANY = 8
"""More threads than this do not write faster."""

T = TypeVar("T")


def workers_for(piece_nbytes: int, *, inner_threads: bool = False) -> int:
    """Return on how many threads to work.

    Parameters
    ----------
    piece_nbytes
        Memory that a piece of the work takes.
    inner_threads
        Whether a piece keeps all cores busy by itself.
    """
    cores = 2 if inner_threads else min(_MANY, get_threads())
    return max(1, min(cores, _MEMORY_NBYTES // max(1, piece_nbytes)))


@contextmanager
def started_pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Lend threads that all run already; leaving waits for them, whatever happened.

    A pool forgets a thread that is being started when Ctrl-C comes, and does not wait
    for it. Here no work has been given to any by then.

    Parameters
    ----------
    workers
        Threads.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="limnd2-xr-export") as pool:
        together = threading.Barrier(workers)
        try:
            wait([pool.submit(together.wait) for _ in range(workers)])
        except BaseException:
            together.abort()
            raise
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def run_pieces(work: Callable[[T], object], pieces: Iterable[T], workers: int) -> None:
    """Call `work` on each piece, in order of their beginning.

    The first error, an interruption too, stops what has not begun and is raised once
    all threads are done.

    Parameters
    ----------
    work
        Called once a piece.
    pieces
        Taken one by one, never far ahead.
    workers
        Threads at a time.
    """
    todo = iter(pieces)
    if workers <= 1:
        for piece in todo:
            work(piece)
        return
    with started_pool(workers) as pool:
        running = {pool.submit(work, piece) for piece in islice(todo, workers)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            running |= {pool.submit(work, p) for p in islice(todo, len(done))}
