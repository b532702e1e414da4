"""Order of the offset table behind a level: sorted by name, ties as NIS leaves them.

FORMAT 4.2.2 says that entries with equal names come in any order. On all real levels
with repeated names it is the order in which the unstable quicksort of the Microsoft C
runtime leaves them; following its steps makes encoding the exact inverse of decoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["table_order"]

_SELECTION_SORT_MAX = 8
# Beyond, ties keep their order: quicksort is quadratic at worst.
_QUICKSORT_MAX = 4096


def table_order(names: Sequence[str]) -> list[int]:
    """Positions of the children of a level in the order of its offset table.

    Parameters
    ----------
    names
        Names of the children, in stored order. They are compared by UTF-16 code unit.

    Examples
    --------
    >>> table_order(["uiCount", "RecordAllData", "aMeas"])
    [1, 2, 0]
    >>> table_order(["", "", ""])
    [1, 2, 0]
    """
    n = len(names)
    if n < 2:
        return list(range(n))
    first = names[0]
    if names.count(first) == n:  # a list
        return [*range(1, n), 0] if n <= _SELECTION_SORT_MAX else list(range(n))
    keys = [name.encode("utf-16-be", "surrogatepass") for name in names]
    if len(set(keys)) == n or n > _QUICKSORT_MAX:
        return sorted(range(n), key=keys.__getitem__)
    return _quicksort(keys)


def _quicksort(keys: list[bytes]) -> list[int]:
    order = list(range(len(keys)))
    spans = [(0, len(keys) - 1)]
    while spans:
        low, high = spans.pop()
        if high - low < _SELECTION_SORT_MAX:
            _selection_sort(order, keys, low, high)
            continue
        left, right = _partition(order, keys, low, high)
        # The two spans do not touch each other, so which comes first does not matter.
        spans += [(a, b) for a, b in ((low, right), (left, high)) if a < b]
    return order


def _selection_sort(order: list[int], keys: list[bytes], low: int, high: int) -> None:
    """Move the first of the greatest to the end, again and again."""
    for last in range(high, low, -1):
        greatest = low
        for i in range(low + 1, last + 1):
            if keys[order[i]] > keys[order[greatest]]:
                greatest = i
        order[greatest], order[last] = order[last], order[greatest]


def _partition(
    order: list[int], keys: list[bytes], low: int, high: int
) -> tuple[int, int]:
    """Split around a median of three; return upper part's start, lower part's end."""

    def swap(i: int, j: int) -> None:
        order[i], order[j] = order[j], order[i]

    def key(i: int) -> bytes:
        return keys[order[i]]

    middle = low + (high - low + 1) // 2
    for i, j in ((low, middle), (low, high), (middle, high)):
        if key(i) > key(j):
            swap(i, j)
    left, right = low, high
    while True:
        # The pivot itself is never compared to a copy: it moves with `middle`.
        left += 1
        while left < middle and key(left) <= key(middle):
            left += 1
        if middle <= left:
            left += left == middle
            while left <= high and key(left) <= key(middle):
                left += 1
        right -= 1
        while right > middle and key(right) > key(middle):
            right -= 1
        if right < left:
            break
        swap(left, right)
        if middle == right:
            middle = left
    # What equals the pivot is in place already.
    right += 1
    if middle < right:
        right -= 1
        while right > middle and key(right) == key(middle):
            right -= 1
    if middle >= right:
        right -= 1
        while right > low and key(right) == key(middle):
            right -= 1
    return left, right
