"""Decoding and encoding run-length masks: 2048 x 2048 pixels with 5,000 objects.

Run as a script, from the folder above, it prints the times and how nd2's decoder compares
on the same chunk: ``python -m benchmarks.masks``.
"""

from __future__ import annotations

import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.frames.masks import decode_rle, encode_rle

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 2048
CELLS = 5000


def cells(
    count: int = CELLS, size: int = SIZE, radius: float = 14.0
) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Label image of tilted, bitten ellipses that nearly fill the image.

    Parameters
    ----------
    count
        Of objects; all of them are there.
    size
        Pixels along each side.
    radius
        Longest half axis of the largest; cells that touch are cut by later ones.
    """
    rng = np.random.default_rng(4)
    labels = np.zeros((size, size), np.uint32)
    side = int(np.ceil(np.sqrt(count)))
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    for number in range(1, count + 1):
        place = np.array(divmod(number - 1, side)) + 0.5
        centre = (place * size / side + rng.uniform(-2, 2, 2)).astype(int)
        long, short = rng.uniform(0.7, 1.0, 2) * radius
        tilt = rng.uniform(0, np.pi)
        u = x * np.cos(tilt) + y * np.sin(tilt)
        v = y * np.cos(tilt) - x * np.sin(tilt)
        inside = (u / long) ** 2 + (v / short) ** 2 <= 1
        inside &= ((u - 0.8 * long) / (0.5 * long)) ** 2 + (v / (0.3 * short)) ** 2 > 1
        points = np.argwhere(inside) - reach + centre
        points = points[((points >= 0) & (points < size)).all(axis=1)]
        labels[points[:, 0], points[:, 1]] = number
    return labels


class Masks:
    """One chunk, decoded and encoded."""

    timeout = 120

    def setup_cache(self):
        labels = cells()
        return labels, encode_rle(labels)

    def time_decode(self, masks):
        decode_rle(masks[1], (SIZE, SIZE))

    def peakmem_decode(self, masks):
        decode_rle(masks[1], (SIZE, SIZE))

    def time_encode(self, masks):
        encode_rle(masks[0])

    def time_decode_by_nd2(self, masks):
        _by_nd2(masks[1])

    def track_stored_bytes(self, masks):
        return len(masks[1])


def _by_nd2(payload: bytes) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Decode as nd2 does, which drops the four bytes before the zlib stream first."""
    from nd2._binary import decode_binary_mask

    return decode_binary_mask(payload[4:])


def _best_ms(*works: Callable[[], object], rounds: int = 12) -> list[float]:
    """Shortest time of each piece of work; they take turns, as others may be at work."""
    best = [float("inf")] * len(works)
    for _ in range(rounds):
        for i, work in enumerate(works):
            start = time.perf_counter()
            work()
            best[i] = min(best[i], 1000 * (time.perf_counter() - start))
    return best


def main() -> None:
    """Print the comparison."""
    labels = cells()
    payload = encode_rle(labels)
    np.testing.assert_array_equal(decode_rle(payload), labels)
    np.testing.assert_array_equal(_by_nd2(payload), labels)
    ours, theirs, encoded = _best_ms(
        lambda: decode_rle(payload, (SIZE, SIZE)),
        lambda: _by_nd2(payload),
        lambda: encode_rle(labels),
    )
    tracemalloc.start()
    decode_rle(payload, (SIZE, SIZE))
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    print(f"{len(np.unique(labels)) - 1} objects, {len(payload)} bytes stored")
    print(
        f"decode {ours:.1f} ms, nd2 {theirs:.1f} ms: {theirs / ours:.1f} times as fast"
    )
    print(f"encode {encoded:.1f} ms; decoding takes {peak:.0f} MiB at its peak")


if __name__ == "__main__":
    main()
