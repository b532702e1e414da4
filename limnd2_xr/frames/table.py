"""`FrameTable`: where every frame of a file lies. The one offset table for all readers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.frames.layout import PixelLayout

__all__ = ["FRAME_FAMILY", "UNKNOWN_NBYTES", "FrameTable", "frame_name"]

FRAME_FAMILY = "ImageDataSeq"
"""What the names of frame chunks begin with (FORMAT 1.4)."""

TIME_NBYTES = 8
"""Each frame's payload begins with its time, an f64 (FORMAT 1.4)."""

UNKNOWN_NBYTES = -1
"""In `FrameTable.nbytes`: only the chunk's own header knows (FORMAT 2.3)."""


def frame_name(number: int) -> str:
    """Return the name of the chunk that holds frame `number`.

    Examples
    --------
    >>> frame_name(12)
    'ImageDataSeq|12!'
    """
    return f"{FRAME_FAMILY}|{number}!"


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameTable:
    """Chunk offsets and sizes of all frames, as arrays, sorted by sequence number.

    Small, picklable and comparable by its `token`: 24 bytes a frame.
    """

    layout: PixelLayout
    """How the pixels of each frame are arranged."""
    numbers: NDArray[np.int64] = field(repr=False)
    """Sequence numbers that the file holds, ascending."""
    chunk_offsets: NDArray[np.int64] = field(repr=False)
    """File offset of each frame's chunk header."""
    nbytes: NDArray[np.int64] = field(repr=False)
    """Stored bytes of each frame's pixels, `UNKNOWN_NBYTES` where the map lacks them."""
    header_nbytes: int
    """Bytes from the chunk's start to its pixels, as a sample of the headers has it."""
    n_frames: int
    """Frames that the loops ask for; sequence numbers run from 0 to one less."""
    first_number: int = 0
    """Number in the chunk name of sequence 0: some files count from 1 (FORMAT 2.3)."""
    _dense: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        count = len(self.numbers)
        dense = count > 0 and self.numbers[0] == 0 and self.numbers[-1] == count - 1
        object.__setattr__(self, "_dense", bool(dense))

    def rows(self, sequence: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row of each sequence number in the arrays of the table, -1 where it is missing.

        Parameters
        ----------
        sequence
            Sequence numbers, any shape.
        """
        count = len(self.numbers)
        if self._dense:
            return np.where(sequence < count, sequence, -1)
        if count == 0:
            return np.full(sequence.shape, -1, dtype=np.int64)
        at = np.searchsorted(self.numbers, sequence)
        found = self.numbers[np.minimum(at, count - 1)] == sequence
        return np.where(found, at, -1)

    def row(self, number: int) -> int:
        """Row of one sequence number; faster than `rows`.

        Parameters
        ----------
        number
            Sequence number, not negative.
        """
        if self._dense:
            return number if number < len(self.numbers) else -1
        return int(self.rows(np.array([number]))[0])

    @cached_property
    def missing(self) -> NDArray[np.int64]:
        """Sequence numbers that the loops ask for and the file lacks, ascending."""
        if self._dense and len(self.numbers) >= self.n_frames:
            return np.empty(0, dtype=np.int64)
        wanted = np.arange(self.n_frames, dtype=np.int64)
        return wanted[self.rows(wanted) < 0]

    def chunk_name(self, row: int) -> str:
        """Name of the chunk in a row of the table, for messages and checks."""
        return frame_name(int(self.numbers[row]) + self.first_number)

    @cached_property
    def token(self) -> str:
        """Digest of everything in the table: equal tables have equal tokens."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(
            repr(
                (self.layout, self.header_nbytes, self.n_frames, self.first_number)
            ).encode()
        )
        for array in (self.numbers, self.chunk_offsets, self.nbytes):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def __dask_tokenize__(self) -> str:
        return self.token

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FrameTable):
            return NotImplemented
        return self is other or self.token == other.token

    def __hash__(self) -> int:
        return hash(self.token)
