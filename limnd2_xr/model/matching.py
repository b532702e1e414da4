"""Which part of a source each part of an edited document comes from."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from limnd2_xr.model.channels import Channel
    from limnd2_xr.model.experiment import Loop

__all__ = ["matched_channels", "matched_loops", "matched_parts"]

_T = TypeVar("_T")


def matched_parts(
    new: Sequence[_T], old: Sequence[_T], *keys: Callable[[_T], Hashable]
) -> list[int | None]:
    """Return for each new part the place of the old one that it is; None without one.

    Each old part is taken once. The first key is tried on all parts before the second.

    Parameters
    ----------
    new, old
        The parts.
    *keys
        What two parts must have in common, the surest first.

    Examples
    --------
    >>> matched_parts(["b", "C", "x"], ["a", "b", "c"], str, str.lower)
    [1, 2, None]
    """
    found: list[int | None] = [None] * len(new)
    taken: set[int] = set()
    for key in keys:
        free: dict[Hashable, deque[int]] = defaultdict(deque)
        for j, part in enumerate(old):
            if j not in taken:
                free[key(part)].append(j)
        for i, part in enumerate(new):
            places = free.get(key(part)) if found[i] is None else None
            if places:
                found[i] = places.popleft()
                taken.add(found[i] or 0)
    return found


def matched_channels(
    new: Sequence[Channel], old: Sequence[Channel]
) -> list[int | None]:
    """Return for each new channel the place of the old one that it was.

    Equal channels first, then those of one name; of what is left, if there are as many
    new as old ones, those at the same place.

    Examples
    --------
    >>> from limnd2_xr.model.channels import Channel
    >>> dapi, gfp = Channel(name="DAPI"), Channel(name="GFP")
    >>> matched_channels([gfp, dapi], [dapi, gfp])
    [1, 0]
    >>> matched_channels([Channel(name="Hoechst"), gfp], [dapi, gfp])
    [0, 1]
    """
    found = matched_parts(
        new, old, lambda channel: channel, lambda c: (c.name, c.component_count)
    )
    if len(new) == len(old):
        taken = set(found)
        for i, place in enumerate(found):
            fits = new[i].component_count == old[i].component_count
            if place is None and i not in taken and fits:
                found[i] = i
    return found


def matched_loops(new: Sequence[Loop], old: Sequence[Loop]) -> list[int | None]:
    """Return for each new loop the place of the old one: equal, or of the same type.

    Examples
    --------
    >>> from limnd2_xr.model.experiment import TimeLoop, ZStackLoop
    >>> time, z = (
    ...     TimeLoop(count=3, declared_count=3),
    ...     ZStackLoop(count=2, declared_count=2),
    ... )
    >>> matched_loops([z, TimeLoop(count=1, declared_count=1)], [time, z])
    [1, 0]
    """
    return matched_parts(new, old, lambda loop: loop, type)
