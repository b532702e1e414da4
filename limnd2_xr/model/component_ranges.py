"""Smallest and largest value of a component in each frame (FORMAT 3 [1S])."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from limnd2_xr.errors import CorruptChunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["component_ranges_chunk", "decode_component_ranges"]

_PAIR_NBYTES = 8


def component_ranges_chunk(component: int) -> str:
    """Return the name of the chunk with the ranges of a component.

    Examples
    --------
    >>> component_ranges_chunk(1)
    'CustomData|FloatCompRangeCache1!'
    """
    return f"CustomData|FloatCompRangeCache{component}!"


def decode_component_ranges(data: bytes, frames: int) -> NDArray[np.float64]:
    """Return the ranges of a component.

    Parameters
    ----------
    data
        Payload of its chunk: float32 pairs.
    frames
        Number of frames; NaN where there is no pair.

    Returns
    -------
    ndarray of float64
        Of shape (2, frames): smallest and largest values.

    Raises
    ------
    CorruptChunk
        If the bytes are no whole number of pairs.

    Examples
    --------
    >>> decode_component_ranges(np.array([0, 0.5, 1, 2], "<f4").tobytes(), 3)
    array([[0. , 1. , nan],
           [0.5, 2. , nan]])
    """
    if len(data) % _PAIR_NBYTES:
        raise CorruptChunk(f"{len(data)} bytes are no whole number of ranges")
    found = np.full((2, frames), np.nan)
    pairs = np.frombuffer(data, "<f4").reshape(-1, 2)[:frames]
    found[:, : len(pairs)] = pairs.T
    return found
