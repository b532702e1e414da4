"""New arrays whose memory begins where the system copies into it fastest.

Pixels of frames begin at multiples of 4096 (FORMAT 1.3), and memory that numpy allocates
for large arrays begins 16 bytes behind one. Over such distances the system takes twice as
long to copy what it reads (docs/decisions/0001).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["new_array"]

_ALIGNMENT: Final = 64
_ALIGNED_NBYTES: Final = 32 * 2**10
"""Smaller arrays are copied in no time wherever they lie."""


def new_array(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array of any content whose memory begins at a multiple of 64.

    Parameters
    ----------
    shape, dtype
        Of the array; small ones may begin anywhere.

    Returns
    -------
    ndarray
        C-contiguous and writeable.

    Examples
    --------
    >>> new_array((256, 256), "u2").ctypes.data % 64
    0
    """
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < _ALIGNED_NBYTES:
        return np.empty(shape, dtype)
    memory = np.empty(nbytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    found: NDArray[Any] = memory[start : start + nbytes].view(dtype).reshape(shape)
    return found
