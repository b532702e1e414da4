"""Blosc chunks of 16-bit pixels, compressed with zstd byte plane by byte plane.

c-blosc gives the low and the high bytes of a block to zstd in one piece, with one level.
But low bytes of camera images are noise, of which no level makes less than the first, and
high bytes are nearly constant. Its format allows for streams of their own for each plane
("split" blocks, which all its versions read), and these compress better and in half the
time: so effort goes where it pays.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["PlaneBlosc"]

_BLOCK_NBYTES: Final = 2**20
_LEAST_NBYTES: Final = 2**12
"""Smaller chunks are left to c-blosc."""
_TYPESIZE: Final = 2
_HEADER: Final = struct.Struct("<BBBBIII")
_MOST_LEVEL: Final = 22
"""Of zstd."""
_VERSIONS: Final = (2, 1)
"""Of the format of blosc, and of its zstd streams."""
_ZSTD_SHUFFLED_SPLIT: Final = 4 << 5 | 1
"""Flags: zstd, bytes shuffled, and each block split into planes."""
_PAYS: Final = (0.125, 0.7)
"""Level 1 leaves this much of a plane where a higher level is worth its time."""


@dataclass(frozen=True, slots=True)
class PlaneBlosc:
    """Encodes as ``Blosc("zstd", clevel, shuffle=1)`` does, for types of two bytes.

    Parameters
    ----------
    clevel
        From 1 to 9. As in c-blosc, zstd has level 2 * clevel - 1 where that pays, and
        its highest for 9.
    fallback
        Codec for chunks that do not consist of like blocks.
    """

    clevel: int
    fallback: Any

    @staticmethod
    def encodes(config: Mapping[str, Any]) -> bool:
        """Say whether a configuration of `numcodecs.Blosc` leaves the choice to us."""
        return (
            (config["cname"], config["shuffle"]) == ("zstd", 1)
            and config["clevel"] > 0
            and not config.get("blocksize")
        )

    def __call__(self, data: NDArray[Any] | bytes) -> bytes:
        """Return the chunk of C-contiguous, little-endian pixels, or of any bytes."""
        # What a codec before has made of the pixels has no planes.
        pixels = np.empty(0) if isinstance(data, bytes) else data
        nbytes = pixels.nbytes
        block_nbytes = _block_nbytes(nbytes)
        if block_nbytes is None:
            return bytes(self.fallback.encode(data))
        # Numbers are shifted eight times as fast as every other byte is gathered.
        blocks = pixels.reshape(-1).view("<u2").reshape(-1, block_nbytes // _TYPESIZE)
        at = _HEADER.size + 4 * len(blocks)
        starts, parts = [], []
        for block in blocks:
            starts.append(at)
            for plane in (block.astype(np.uint8), (block >> 8).astype(np.uint8)):
                stream = self._stream(plane)
                parts += [struct.pack("<i", len(stream)), stream]
                at += 4 + len(stream)
        if at >= nbytes:
            return bytes(self.fallback.encode(data))
        header = _HEADER.pack(
            *_VERSIONS, _ZSTD_SHUFFLED_SPLIT, _TYPESIZE, nbytes, block_nbytes, at
        )
        return b"".join([header, struct.pack(f"<{len(starts)}i", *starts), *parts])

    def _stream(self, plane: NDArray[np.uint8]) -> bytes:
        """Compress one plane of a block; as it is if that is no longer."""
        from numcodecs.zstd import compress  # type: ignore[import-untyped]

        found: bytes = compress(plane, 1)
        least, most = _PAYS
        if self.clevel > 3:  # who asks for that much wants what is small smaller
            least = 0
        if self.clevel > 1 and least < len(found) / len(plane) < most:
            found = min(found, compress(plane, self._level), key=len)
        return found if len(found) < len(plane) else plane.tobytes()

    @property
    def _level(self) -> int:
        """Level of zstd, as c-blosc takes it."""
        return 2 * self.clevel - 1 if self.clevel < 9 else _MOST_LEVEL


def _block_nbytes(nbytes: int) -> int | None:
    """Return a size of blocks that the chunk consists of, None if there is none."""
    if not _LEAST_NBYTES <= nbytes <= 2**30:
        return None
    count = -(-nbytes // _BLOCK_NBYTES)
    # Some more blocks, if that makes them alike: a last one that is shorter has its
    # planes in one piece.
    for more in range(count, count + 16):
        if nbytes % (more * _TYPESIZE) == 0:
            return nbytes // more
    return None
