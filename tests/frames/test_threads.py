"""The shared thread pool."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from limnd2_xr import get_threads, set_threads
from limnd2_xr.frames.threads import run_all

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def three_threads() -> Iterator[None]:
    set_threads(3)
    yield
    set_threads(None)


@pytest.mark.usefixtures("three_threads")
def test_every_item_is_worked_on_once_by_several_threads() -> None:
    barrier = threading.Barrier(3)
    seen: list[int] = []

    def work(item: int) -> None:
        if item < 3:
            barrier.wait(10)  # passes only if three threads are at work
        seen.append(item)

    run_all(work, range(100))
    assert sorted(seen) == list(range(100))


@pytest.mark.usefixtures("three_threads")
def test_the_first_error_is_raised_and_stops_the_rest() -> None:
    seen: list[int] = []

    def work(item: int) -> None:
        seen.append(item)
        if item == 5:
            raise ValueError("five")

    with pytest.raises(ValueError, match="five"):
        run_all(work, range(10_000))
    assert len(seen) < 10_000


@pytest.mark.usefixtures("three_threads")
def test_work_that_starts_work_does_not_wait_for_itself() -> None:
    seen: list[int] = []
    run_all(lambda i: run_all(seen.append, range(i, i + 3)), range(0, 30, 3))
    assert sorted(seen) == list(range(30))


def test_threads_can_be_set_and_reset() -> None:
    set_threads(1)
    assert get_threads() == 1
    set_threads(None)
    assert get_threads() >= 1
    with pytest.raises(ValueError, match="at least 1"):
        set_threads(0)
