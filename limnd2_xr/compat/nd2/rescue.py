"""`rescue_nd2`: frames of a file whose metadata are lost."""

from __future__ import annotations

import math
import os
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.compat.nd2.axis import NEW_HEADER_MAGIC
from limnd2_xr.container.scan import walk_chunks
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.frames.table import FRAME_FAMILY, TIME_NBYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import DTypeLike, NDArray

__all__ = ["rescue_nd2"]

_ZLIB: Final = 0x78
_MOST_INFLATED: Final = 1032
"""Bytes that one byte of a zlib stream can stand for."""


def rescue_nd2(
    handle: Any,
    frame_shape: tuple[int, ...] = (),
    dtype: DTypeLike = "uint16",
    max_iters: int | None = None,
    verbose: bool = True,
    chunk_start: bytes = NEW_HEADER_MAGIC,
) -> Iterator[NDArray[Any]]:
    """Yield every frame that a walk through a file finds, whatever its chunk map says.

    Where image attributes are left, `ND2File` finds lost frames itself.

    Parameters
    ----------
    handle
        Path, or open binary file.
    frame_shape
        Of a frame as stored: rows, columns, components. Without it frames are
        one-dimensional.
    dtype
        Of a component.
    max_iters
        Most frames to yield; None for all.
    verbose
        Print the place of each frame.
    chunk_start
        The four bytes that chunks begin with; there is no other choice.

    Raises
    ------
    ValueError
        If `chunk_start` is something else.

    Examples
    --------
    >>> import io
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
    >>> data = build(SyntheticSpec(loops=(TimeLoop(3),), width=8, height=6)).data
    >>> [a.shape for a in rescue_nd2(io.BytesIO(data), (6, 8, 1), verbose=False)]
    [(6, 8, 1), (6, 8, 1), (6, 8, 1)]
    """
    if chunk_start != NEW_HEADER_MAGIC:
        raise ValueError(f"chunks begin with {NEW_HEADER_MAGIC!r}, not {chunk_start!r}")
    if isinstance(handle, bytes):
        handle = os.fsdecode(handle)
    kind = np.dtype(dtype)
    wanted = math.prod(frame_shape) * kind.itemsize if frame_shape else None
    found = 0
    with SourceSpec.of(handle).open() as source:
        for header in walk_chunks(source):
            if max_iters is not None and found >= max_iters:
                return
            if not header.name.startswith(f"{FRAME_FAMILY}|"):
                continue
            nbytes = header.data_nbytes - TIME_NBYTES
            start = header.data_offset + TIME_NBYTES
            pixels = _inflated(source.read_at(start, max(nbytes, 0)), wanted)
            if wanted is not None and len(pixels) < wanted:
                _say(verbose, f"{header.name} at {header.offset}: too short, left out")
                continue
            _say(verbose, f"{header.name} at {header.offset}")
            count = len(pixels) // kind.itemsize if wanted is None else -1
            values = np.frombuffer(pixels[:wanted], kind, count).copy()
            found += 1
            yield values.reshape(frame_shape) if frame_shape else values


def _inflated(stored: bytes, wanted: int | None) -> bytes:
    """Pixels of a frame that may be compressed."""
    if not stored or stored[0] != _ZLIB or len(stored) == wanted:
        return stored
    limit = _MOST_INFLATED * len(stored) if wanted is None else wanted
    stream = zlib.decompressobj()
    try:
        pixels = stream.decompress(stored, limit)
    except zlib.error:
        return stored
    return pixels if stream.eof or len(pixels) == wanted else stored


def _say(verbose: bool, text: str) -> None:
    if verbose:
        print(text)  # noqa: T201 - as asked for
