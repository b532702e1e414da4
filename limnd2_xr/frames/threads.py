"""One pool of decoding threads a process."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from limnd2_xr.options import get_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["run_all"]

T = TypeVar("T")

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_inside = threading.local()


def run_all(
    work: Callable[[T], object], items: Sequence[T], threads: int | None = None
) -> None:
    """Call `work` on each item, on threads where there is more than one.

    The calling thread takes part, so a pool that is busy with other calls slows this
    one down but cannot block it. The first error stops what has not begun and is raised.

    Parameters
    ----------
    work
        Called once an item; what it returns is dropped.
    items
        In the order in which they should start.
    threads
        How many at most; `get_threads` if not said. More than cores help where they
        wait for a server.
    """
    size = threads or get_threads()
    threads = min(size, len(items))
    if threads <= 1 or getattr(_inside, "busy", False):
        for item in items:
            work(item)
        return
    todo = iter(items)
    guard = threading.Lock()
    errors: list[BaseException] = []

    def drain() -> None:
        _inside.busy = True
        try:
            while not errors:
                with guard:
                    item = next(todo, _END)
                if item is _END:
                    return
                work(item)  # type: ignore[arg-type]
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)
        finally:
            _inside.busy = False

    pool = _shared_pool(size)
    futures = []
    with suppress(RuntimeError):  # the interpreter is ending: no new threads
        futures += [pool.submit(drain) for _ in range(threads - 1)]
    drain()
    for future in futures:
        if not future.cancel():
            future.result()
    if errors:
        raise errors[0]


_END = object()


def _shared_pool(threads: int) -> ThreadPoolExecutor:
    global _pool, _pool_size  # noqa: PLW0603 - one pool a process
    with _lock:
        if _pool is None or _pool_size != threads:
            # An old pool ends by itself once nobody holds it.
            _pool = ThreadPoolExecutor(threads, thread_name_prefix="limnd2-xr")
            _pool_size = threads
        return _pool


def _forget_pool() -> None:
    """In a forked child the threads are gone, and the lock may be held for ever."""
    global _lock, _pool  # noqa: PLW0603
    _lock = threading.Lock()
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
