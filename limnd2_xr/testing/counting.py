"""How many reads something costs, for tests that hold the package to a budget."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from limnd2_xr.container.source import observe_reads

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ReadCounter", "count_reads"]


@dataclass
class ReadCounter:
    """The reads that were made while it counted.

    Attributes
    ----------
    ranges
        (offset, nbytes) of each read, in the order in which they began.
    """

    ranges: list[tuple[int, int]] = field(default_factory=list)

    @property
    def reads(self) -> int:
        """Number of reads: one a request, whatever the buffers it fills."""
        return len(self.ranges)

    @property
    def nbytes(self) -> int:
        """Bytes read in all."""
        return sum(nbytes for _, nbytes in self.ranges)

    def record(self, offset: int, nbytes: int) -> None:
        """Count one read; any thread may call it."""
        self.ranges.append((offset, nbytes))


@contextmanager
def count_reads() -> Iterator[ReadCounter]:
    """Count every read of every source in any thread while the block runs.

    Examples
    --------
    >>> from limnd2_xr.container.source import SourceSpec
    >>> with count_reads() as counter, SourceSpec.of(b"abcdef").open() as source:
    ...     _ = source.read_at(1, 3)
    ...     source.read_into(0, [bytearray(2), bytearray(2)])
    >>> counter.reads, counter.nbytes, counter.ranges
    (2, 7, [(1, 3), (0, 4)])
    """
    counter = ReadCounter()
    stop = observe_reads(counter.record)
    try:
        yield counter
    finally:
        stop()
