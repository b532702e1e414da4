"""Where the chunks of each array of a virtual zarr store come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from limnd2_xr.frames.pixels import inflate_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from limnd2_xr.arrays.lazy import ChunkFrameArray
    from limnd2_xr.arrays.zarr_layout import ChunkLayout
    from limnd2_xr.frames.pyramid import PyramidLevel
    from limnd2_xr.frames.store import FrameStore

__all__ = [
    "ArrayChunks",
    "Bytes",
    "ChunkSource",
    "DecodedChunks",
    "FrameChunks",
    "LevelChunks",
    "chunk_indices",
    "in_stored_order",
]

Bytes: TypeAlias = "bytes | memoryview"
Index: TypeAlias = tuple[int, ...]


class ChunkSource(Protocol):
    """The chunks of one array."""

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Number of the frame in each chunk of the grid; -1 where there is no chunk."""
        ...

    def read(self, store: FrameStore, number: int) -> Bytes | None:
        """Return the bytes of one chunk, None if there is none."""
        ...

    def nbytes(self, store: FrameStore, number: int) -> int | None:
        """Return how many bytes that are."""
        ...


@dataclass(frozen=True, slots=True)
class FrameChunks:
    """Chunks that are the frames of the file."""

    numbers: NDArray[np.int64]
    """Sequence numbers; -1 where the file lacks a frame."""
    chunk: ChunkLayout

    def read(self, store: FrameStore, number: int) -> Bytes | None:
        """Return stored bytes where they will do, else pixels."""
        if self.chunk.is_stored:
            return store.stored.read(number)
        if self.chunk.is_inflated:
            packed = store.stored.read(number)
            layout = store.table.layout
            return packed and inflate_rows(packed, layout, layout.height)
        return in_stored_order(store.read_frame(number), store.table.layout.samples)

    def nbytes(self, store: FrameStore, number: int) -> int | None:
        """Return how many bytes that are."""
        if self.chunk.is_stored:
            return store.stored.nbytes(number)
        layout = store.table.layout
        if self.chunk.is_inflated:
            return layout.frame_nbytes
        return layout.height * layout.width * layout.pixel_nbytes


@dataclass(frozen=True, slots=True)
class LevelChunks:
    """Chunks that are stored smaller copies of frames."""

    numbers: NDArray[np.int64]
    """Numbers of the frames; -1 where there is no copy."""
    chunk: ChunkLayout
    level: PyramidLevel
    pixels: ChunkFrameArray
    """To read copies whose bytes cannot be those of a chunk."""

    def read(self, store: FrameStore, number: int) -> Bytes | None:
        """Return stored bytes where they will do, else pixels."""
        layout = self.level.layout
        if self.chunk.is_stored:
            name = self.level.chunk_name(number)
            return store.read_chunk_part(name, 0, layout.frame_nbytes)
        everything = tuple(np.arange(length) for length in layout.frame_shape)
        found = self.pixels.read_frame(store, number, everything)
        return in_stored_order(found, layout.samples)

    def nbytes(self, store: FrameStore, number: int) -> int | None:
        """Return how many bytes that are."""
        del store, number
        layout = self.level.layout
        if self.chunk.is_stored:
            return layout.frame_nbytes
        return layout.height * layout.width * layout.pixel_nbytes


@dataclass(frozen=True, slots=True)
class DecodedChunks:
    """Chunks that are decoded masks."""

    numbers: NDArray[np.int64]
    pixels: ChunkFrameArray
    step: int = 1
    """Every so many pixels are taken along Y and X: labels have no mean."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self.pixels.shape[-2:]
        return height // self.step, width // self.step

    def read(self, store: FrameStore, number: int) -> Bytes | None:
        """Return values in the order of the array."""
        wanted = tuple(np.arange(length) * self.step for length in self.shape)
        found = self.pixels.read_frame(store, number, wanted)
        return found.astype(found.dtype.newbyteorder("<"), copy=False).tobytes()

    def nbytes(self, store: FrameStore, number: int) -> int | None:
        """Return how many bytes that are."""
        del store, number
        return int(np.prod(self.shape)) * self.pixels.dtype.itemsize


@dataclass(frozen=True, slots=True)
class ArrayChunks:
    """The only chunk of a small array in memory."""

    content: bytes = field(repr=False)
    numbers: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(1, dtype=np.int64), repr=False
    )

    def read(self, store: FrameStore, number: int) -> Bytes | None:
        """Return the bytes of the array."""
        del store, number
        return self.content

    def nbytes(self, store: FrameStore, number: int) -> int | None:
        """Return how many bytes that are."""
        del store, number
        return len(self.content)


def in_stored_order(pixels: NDArray[Any], samples: int) -> bytes:
    """Bytes of a frame over component, Y and X, components in the order of the file.

    Parameters
    ----------
    pixels
        Of shape (C, Y, X) and, for RGB, S in the order R, G, B.
    samples
        Length of S, 1 where there is none.
    """
    if samples > 1:
        # As blue, green, red (FORMAT 6.3): a channel is the same however it is read.
        pixels = np.moveaxis(pixels[..., ::-1], -1, 1)
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()


def chunk_indices(source: ChunkSource, begin: Index = ()) -> Iterator[Index]:
    """Yield the index of every chunk that is there and begins with `begin`."""
    grid = source.numbers.shape
    if any(at >= n for at, n in zip(begin, grid, strict=False)):
        return
    within = source.numbers[begin]
    for rest in np.argwhere(np.atleast_1d(within) >= 0).tolist():
        yield (*begin, *(rest if np.ndim(within) else ()))
