"""Trying again, later and later, what failed for a moment."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from limnd2_xr.container.remote_failure import asked_delay

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RETRIES", "Retries"]

T = TypeVar("T")


@dataclass(frozen=True)
class Retries:
    """How often, and when, a request is tried again.

    Before attempt n + 1 comes a pause of ``first_pause * 2**(n - 1)`` seconds, at most
    `longest_pause`, of which a random half is left out so that many workers do not come
    back at once. A server that says when to come back (``Retry-After``) is obeyed, up to
    `longest_pause`.

    Examples
    --------
    >>> pauses = []
    >>> policy = Retries(attempts=3, sleep=pauses.append, jitter=lambda: 1.0)
    >>> failures = iter([ConnectionError(), ConnectionError()])
    >>> def work():
    ...     for failure in failures:
    ...         raise failure
    ...     return "done"
    >>> policy.call(work, lambda error: True), pauses
    ('done', [0.1, 0.2])
    """

    attempts: int = 6
    """Requests in all, at most."""
    first_pause: float = 0.1
    """Seconds before the second one."""
    longest_pause: float = 10.0
    """Seconds between two, at most."""
    total: float = 60.0
    """Seconds since the first request after which none is made."""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random

    def call(
        self, work: Callable[[], T], may_help: Callable[[BaseException], bool]
    ) -> T:
        """Return what `work` returns, calling it again after errors that pass.

        Parameters
        ----------
        work
            Makes one request.
        may_help
            Says of an error whether trying again may help.

        Raises
        ------
        Exception
            The last error of `work`.
        """
        begin = self.clock()
        for attempt in range(1, self.attempts):
            try:
                return work()
            except Exception as error:
                if not may_help(error):
                    raise
                pause = self.pause(attempt, asked_delay(error))
                if self.clock() + pause - begin > self.total:
                    raise
            self.sleep(pause)
        return work()

    def pause(self, attempt: int, asked: float | None = None) -> float:
        """Return how long to wait after an attempt (from 1 on), in seconds."""
        doubled = self.first_pause * 2.0 ** min(attempt - 1, 32)
        pause = min(doubled, self.longest_pause) * (0.5 + 0.5 * self.jitter())
        if asked is not None:
            pause = max(pause, min(asked, self.longest_pause))
        return pause


RETRIES = Retries()
"""What remote files are read with."""
