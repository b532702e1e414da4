"""How much of mapped files stays in the process."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from limnd2_xr.container import mapping, residency
from limnd2_xr.container.residency import PIECE_NBYTES, Resident

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

N = PIECE_NBYTES
SIZE = 20 * N + 5


class Watched(mapping.FileMapping):
    """A mapping that writes down what is let go."""

    gone: list[tuple[int, int]]

    def let_go(self, offset: int, nbytes: int) -> None:
        self.gone.append((offset // N, nbytes // N))
        super().let_go(offset, nbytes)


@pytest.fixture
def mapped(tmp_path: Path) -> Callable[[], Watched]:
    """Map a file anew."""
    path = tmp_path / "some.bin"
    path.write_bytes(bytes(SIZE))

    def opened() -> Watched:
        with path.open("rb") as file:
            found = Watched(file.fileno(), SIZE)
        found.gone = []
        return found

    return opened


def test_what_was_touched_first_is_let_go_beyond_the_limit(
    mapped: Callable[[], Watched],
) -> None:
    one, other = mapped(), mapped()
    resident = Resident(limit=4 * N, most=4 * N)
    assert resident.add(one, 0, 10)
    for at in (0, 2, 8):
        assert resident.add(other, at * N, 2 * N)
    assert one.gone == [(0, 1)]
    assert other.gone == [(0, 2)]
    assert resident.add(one, SIZE - 1, 1)
    assert other.gone == [(0, 2), (2, 1)]
    assert bytes(other.content[:SIZE]) == bytes(SIZE)


def test_what_is_used_again_is_kept_and_counts_once(
    mapped: Callable[[], Watched],
) -> None:
    one = mapped()
    resident = Resident(limit=2 * N, most=2 * N)
    assert resident.add(one, 0, N)
    assert resident.add(one, N, N)
    assert not resident.add(one, 5, 7)
    assert resident.add(one, 2 * N, N)
    assert one.gone == [(1, 1)]
    assert not resident.add(one, 0, N)


def test_one_large_use_stays_whole(mapped: Callable[[], Watched]) -> None:
    one = mapped()
    resident = Resident(limit=2 * N, most=2 * N)
    resident.add(one, 0, N)
    assert resident.add(one, N, 9 * N)
    assert one.gone == [(0, 1)]
    assert resident.add(one, 15 * N, N)
    assert one.gone == [(0, 1), (1, 8)]


def test_as_much_stays_as_is_expected_to_be_used_at_once(
    mapped: Callable[[], Watched],
) -> None:
    one = mapped()
    resident = Resident(limit=2 * N, most=6 * N)
    assert resident.may_stay(one, [(0, 2 * N)])
    assert not resident.may_stay(one, [(0, 3 * N)])
    resident.expect(4 * N)
    assert resident.may_stay(one, [(0, N), (4 * N, 2 * N)])
    resident.expect(1000 * N)  # heeds what the process may use
    assert not resident.may_stay(one, [(0, 7 * N)])
    resident.add(one, 0, 6 * N)
    assert resident.may_stay(one, [(N, 3 * N)])  # it is there
    assert not resident.may_stay(one, [(N, 6 * N)])
    resident.expect(N)  # never less than usual
    assert resident.may_stay(one, [(0, 6 * N)])
    resident.add(one, 10 * N, N)
    assert one.gone == [(0, 5)]


def test_what_a_larger_use_left_behind_makes_room(
    mapped: Callable[[], Watched],
) -> None:
    one, other = mapped(), mapped()
    resident = Resident(limit=2 * N, most=20 * N)
    resident.expect(10 * N)
    resident.add(one, 0, 10 * N)
    resident.expect(N)
    assert not resident.may_stay(other, [(0, N)])
    assert one.gone == [(0, 8)]
    assert resident.may_stay(one, [(8 * N, 2 * N)])


def test_all_of_a_file_may_stay_until_it_is_closed(
    mapped: Callable[[], Watched],
) -> None:
    one, other = mapped(), mapped()
    resident = Resident(limit=2 * N, most=25 * N)
    resident.keep(one)
    resident.keep(one)  # once is enough
    resident.expect(N)
    resident.add(one, 0, SIZE)
    assert one.gone == []
    assert resident.may_stay(one, [(0, SIZE)])
    resident.keep(other)  # for two the process has no room
    for at in range(0, 20 * N, N):
        resident.add(other, at, N)
    assert (one.gone, len(other.gone)) == ([], 18)
    other.gone.clear()
    assert not resident.add(one, 0, SIZE)
    assert not resident.may_stay(other, [(0, 3 * N)])
    del one
    gc.collect()
    resident.keep(other)
    assert resident.may_stay(other, [(0, SIZE)])
    assert not resident.add(other, 18 * N, 2 * N)
    assert resident.add(other, 0, SIZE)
    assert resident.may_stay(mapped(), [(0, 2 * N)])
    assert other.gone == []


def test_a_fork_has_no_pages(mapped: Callable[[], Watched]) -> None:
    one = mapped()
    resident = Resident(limit=2 * N, most=2 * N)
    resident.add(one, 0, 2 * N)
    resident.renew()
    assert resident.may_stay(one, [(4 * N, 2 * N)])
    assert resident.add(one, 0, N)
    del one
    gc.collect()
    assert resident.may_stay(mapped(), [(0, 2 * N)])


def test_closed_files_make_room(mapped: Callable[[], Watched]) -> None:
    one, other = mapped(), mapped()
    resident = Resident(limit=2 * N, most=2 * N)
    resident.add(one, 0, 2 * N)
    assert not resident.may_stay(other, [(0, N)])
    del one
    gc.collect()
    assert resident.may_stay(other, [(0, 2 * N)])
    assert resident.add(other, 0, 2 * N)
    assert other.gone == []


def test_the_share_of_memory_heeds_a_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(residency, "_CONTAINER_LIMIT", limit)
    free = residency.memory_share()
    limit.write_text("max\n")
    assert residency.memory_share() == free
    limit.write_text("1000\n")
    assert residency.memory_share() == 64 << 20
