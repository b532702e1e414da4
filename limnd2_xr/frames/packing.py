"""Pixels to one frame's bytes: checks, padding, interleaved components, zlib (FORMAT 6).

The inverse of `pixels`.
"""

from __future__ import annotations

import operator
import zlib
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from isal import isal_zlib

from limnd2_xr.errors import UnsupportedDtype
from limnd2_xr.frames.pixels import rows_view

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt
    from numpy.typing import NDArray

    from limnd2_xr.frames.layout import PixelLayout

__all__ = [
    "DEFAULT_LEVEL",
    "check_dtype",
    "check_frames",
    "check_level",
    "check_values",
    "deflate",
    "lies_as_stored",
    "pack_frames",
    "packed_blocks",
    "row_nbytes",
]

DEFAULT_LEVEL: Final = 2
"""Level of zlib frames where none is given: nearly the smallest, at the highest speed."""

Stored: TypeAlias = "NDArray[np.uint8]"

_HELD: Final = tuple(np.dtype(name) for name in ("u1", "<u2", "<f4"))
_CACHED_NBYTES = 2 * 2**20
"""Bytes that stay in a core's own cache while they are packed and then written."""
_LAST_FAST_LEVEL: Final = 3
_PAIRS: Final[dict[int, np.dtype[Any]]] = {1: np.dtype("<u2"), 2: np.dtype("<u4")}
"""What holds two components, by the size of one, where that beats copying with gaps."""


def check_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return the type in which components are stored: `dtype`, little-endian.

    Parameters
    ----------
    dtype
        uint8, uint16 or float32, of any byte order.

    Raises
    ------
    UnsupportedDtype
        .nd2 files cannot hold it, or not so that every reader reads it (FORMAT 5).

    Examples
    --------
    >>> check_dtype(">u2")
    dtype('uint16')
    >>> check_dtype("int64")
    Traceback (most recent call last):
        ...
    limnd2_xr.errors.UnsupportedDtype: .nd2 files hold uint8, uint16 and float32, not
    int64: convert with .astype("uint16") if all values are within 0 and 65535, else with
    .astype("float32") or scale=
    """
    given = np.dtype(dtype)
    for held in _HELD:
        if np.can_cast(given, held, "equiv"):
            return held
    raise UnsupportedDtype(
        f".nd2 files hold uint8, uint16 and float32, not {given}: {_advice(given)}"
    )


def _advice(dtype: np.dtype[Any]) -> str:
    match dtype.kind:
        case "b":
            return 'convert with .astype("uint8")'
        case "i" | "u":
            return (
                'convert with .astype("uint16") if all values are within 0 and 65535, '
                'else with .astype("float32") or scale='
            )
        case "f":
            return 'convert with .astype("float32") or scale='
        case "c":
            return "write .real, .imag or abs() as float32"
        case _:
            return "these are no pixels"


def row_nbytes(width: int, components: int, dtype: npt.DTypeLike) -> int:
    """Return the bytes of a stored row: padded to a multiple of four (FORMAT 5).

    Examples
    --------
    >>> row_nbytes(574, 3, "uint8"), row_nbytes(235, 1, "uint16")
    (1724, 472)
    """
    return -(-width * components * np.dtype(dtype).itemsize // 4) * 4


def check_frames(frames: NDArray[Any], layout: PixelLayout) -> None:
    """Refuse frames that are not of a layout's type and shape.

    Parameters
    ----------
    frames
        Of shape (frames, C, Y, X) and, for RGB, S; of any byte order.
    layout
        Of the file.

    Raises
    ------
    TypeError
        The type is another one.
    ValueError
        The shape is another one.
    """
    if not np.can_cast(frames.dtype, layout.dtype, "equiv"):
        raise TypeError(
            f"the file holds {layout.dtype}, the frames are {frames.dtype}: convert "
            f'them with .astype("{layout.dtype}")'
        )
    if frames.shape[1:] != layout.frame_shape or frames.ndim < 1:
        dims = ", ".join(["frames", "C", "Y", "X", "S"][: len(layout.frame_shape) + 1])
        raise ValueError(
            f"the frames are of shape {frames.shape}, where the file needs ({dims}) = "
            f"({', '.join(map(str, ('any', *layout.frame_shape)))})"
        )


def check_values(
    frames: NDArray[Any],
    significant_bits: int,
    sequence: Sequence[int] | NDArray[np.int64] | None = None,
) -> None:
    """Refuse values that cannot be stored as they are.

    Costs nothing where every value fits, as in uint16 with 16 significant bits; else
    each value is looked at once, in the processor's cache.

    Parameters
    ----------
    frames
        Of shape (frames, C, Y, X) and, for RGB, S.
    significant_bits
        How many bits of an integer carry data, from the lowest on (FORMAT 5).
    sequence
        Number of each frame, for messages; counted from 0 where not given.

    Raises
    ------
    ValueError
        An integer needs more bits, or a float is not finite. Names the first such
        value and its place.

    Examples
    --------
    >>> check_values(np.full((2, 1, 3, 4), 4096, "uint16"), 12, sequence=[7, 8])
    Traceback (most recent call last):
        ...
    ValueError: frame 7: 4096 at channel 0, Y 0, X 0 is more than 4095, the most that 12
    significant bits hold: give more bits, or limit the values with .clip(max=4095)
    """
    is_float = frames.dtype.kind == "f"
    if not is_float and significant_bits >= 8 * frames.dtype.itemsize:
        return
    limit = 2**significant_bits - 1
    for at, frame in enumerate(frames):
        for first, block in _row_blocks(frame):
            if _all_finite(block) if is_float else int(block.max()) <= limit:
                continue
            bad = ~np.isfinite(block) if is_float else block > limit
            place = np.unravel_index(int(bad.argmax()), bad.shape)
            value = block[place]
            channel, y, *rest = (int(i) for i in place)
            number = at if sequence is None else int(sequence[at])
            at_dims = zip("XS", rest, strict=False)
            where = ", ".join(
                [
                    f"channel {channel}",
                    f"Y {first + y}",
                    *(f"{d} {i}" for d, i in at_dims),
                ]
            )
            raise ValueError(
                f"frame {number}: {value} at {where} {_complaint(value, significant_bits)}"
            )


def _row_blocks(frame: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Cut (C, Y, X, ...) into rows that stay in the cache; with each the first Y."""
    if not frame.size:
        return
    rows = frame.shape[1]
    step = max(1, _CACHED_NBYTES * rows // frame.nbytes)
    for first in range(0, rows, step):
        yield first, frame[:, first : first + step]


def _all_finite(block: NDArray[Any]) -> bool:
    """Say whether no value is infinite or NaN; a sum tells in most cases."""
    with np.errstate(all="ignore"):
        total = block.sum()
    return bool(np.isfinite(total)) or bool(np.isfinite(block).all())


def _complaint(value: Any, significant_bits: int) -> str:
    if value.dtype.kind == "f":
        return (
            "is not finite, which readers cannot show: replace such values, as with "
            ".fillna(0) or numpy.nan_to_num"
        )
    limit = 2**significant_bits - 1
    return (
        f"is more than {limit}, the most that {significant_bits} significant bits hold: "
        f"give more bits, or limit the values with .clip(max={limit})"
    )


def pack_frames(frames: NDArray[Any], layout: PixelLayout) -> Stored:
    """Return the bytes of frames as stored, uncompressed (FORMAT 6.1, 6.3).

    Parameters
    ----------
    frames
        Of shape (frames, C, Y, X) and, for RGB, S, in the order R, G, B.
    layout
        How they are stored.

    Returns
    -------
    ndarray of uint8
        Of shape (frames, ``layout.frame_nbytes``), padded with zeros. A view of `frames`
        where these lie in memory as they are stored, as one channel without padding
        does.

    Raises
    ------
    TypeError, ValueError
        As `check_frames`.

    Examples
    --------
    >>> from limnd2_xr.frames.layout import PixelLayout
    >>> layout = PixelLayout(
    ...     height=1, width=3, channels=2, samples=1, dtype=np.dtype("u1"), row_nbytes=8
    ... )
    >>> pack_frames(np.array([[[[1, 2, 3]], [[4, 5, 6]]]], "u1"), layout)
    array([[1, 4, 2, 5, 3, 6, 0, 0]], dtype=uint8)
    """
    check_frames(frames, layout)
    stored = _in_stored_order(frames, layout)
    if _is_as_stored(stored, layout):
        return _as_bytes(stored).reshape(len(frames), layout.frame_nbytes)
    packed = np.empty((len(frames), layout.frame_nbytes), np.uint8)
    for row, frame in zip(packed, frames, strict=True):
        for offset, block in packed_blocks(frame, layout):
            row[offset : offset + len(block)] = block
    return packed


def packed_blocks(
    frame: NDArray[Any], layout: PixelLayout, rows: slice | None = None
) -> Iterator[tuple[int, Stored]]:
    """Pack one frame piece by piece, so that what uses a piece finds it in the cache.

    Parameters
    ----------
    frame
        Of shape (C, Y, X) and, for RGB, S; as `check_frames` demands.
    layout
        How it is stored.
    rows
        Which rows are wanted, by start and stop; all by default.

    Yields
    ------
    offset : int
        Of the piece within the frame.
    block : ndarray of uint8
        One-dimensional, valid until the next one is asked for. A frame that lies in
        memory as it is stored is one block, and not copied.
    """
    first, stop = (0, layout.height) if rows is None else (rows.start, rows.stop)
    stored = _in_stored_order(frame[np.newaxis, :, first:stop], layout)[0]
    if _is_as_stored(stored, layout):
        yield first * layout.row_nbytes, _as_bytes(stored)
        return
    step = max(1, min(len(stored), _CACHED_NBYTES // layout.row_nbytes))
    buffer = np.empty((step, layout.row_nbytes), np.uint8)
    buffer[:, layout.width * layout.pixel_nbytes :] = 0
    for at in range(0, len(stored), step):
        some = stored[at : at + step]
        block = buffer[: len(some)]
        _interleave(block, some, layout)
        yield (first + at) * layout.row_nbytes, block.reshape(-1)


def lies_as_stored(frames: NDArray[Any], layout: PixelLayout) -> bool:
    """Say whether frames lie in memory as they are stored, so that none is copied."""
    return _is_as_stored(_in_stored_order(frames, layout), layout)


def _in_stored_order(frames: NDArray[Any], layout: PixelLayout) -> NDArray[Any]:
    """View delivered frames as (frame, Y, X, C, S), RGB as B, G, R."""
    if layout.samples == 1:
        return frames.transpose(0, 2, 3, 1)[..., np.newaxis]
    return frames.transpose(0, 2, 3, 1, 4)[..., ::-1]


def _is_as_stored(stored: NDArray[Any], layout: PixelLayout) -> bool:
    return (
        stored.dtype == layout.dtype
        and layout.row_nbytes == layout.width * layout.pixel_nbytes
        and stored.flags.c_contiguous
    )


def _as_bytes(stored: NDArray[Any]) -> Stored:
    return stored.reshape(-1).view(np.uint8)


def _interleave(block: Stored, rows: NDArray[Any], layout: PixelLayout) -> None:
    """Copy (Y, X, C, S) into rows of bytes, component by component."""
    pair = _PAIRS.get(layout.dtype.itemsize)
    if layout.components == 2 and pair is not None and rows.dtype == layout.dtype:
        # As one number of twice the size: two thirds of the time of two strided copies.
        pairs = block[:, : layout.width * layout.pixel_nbytes].view(pair)
        pairs[...] = rows[:, :, 1, 0]
        np.left_shift(pairs, 8 * layout.dtype.itemsize, out=pairs)
        np.bitwise_or(pairs, rows[:, :, 0, 0], out=pairs)
        return
    pixels = rows_view(
        block.reshape(-1), layout, offset=0, shape=(1, len(rows), layout.width)
    )[0]
    if layout.components == 3 and layout.samples == 3:
        # A plain copy, then what it has in the wrong place: two strided copies, not 3.
        np.copyto(pixels[:, :, 0], rows[:, :, 0, ::-1])
        pixels[..., 0] = rows[..., 0]
        pixels[..., 2] = rows[..., 2]
        return
    for channel in range(layout.channels):
        for sample in range(layout.samples):
            pixels[:, :, channel, sample] = rows[:, :, channel, sample]


def check_level(level: int | None) -> int:
    """Return the level of compression to use, 1 (fast) to 9 (small).

    Levels 1 to 3 are those of ISA-L, 4 to 9 those of zlib, which are smaller by some
    per cent and take three to twenty times as long. The default is 2.

    Raises
    ------
    ValueError
        The level is another one.

    Examples
    --------
    >>> check_level(None), check_level(9)
    (2, 9)
    """
    if level is None:
        return DEFAULT_LEVEL
    if isinstance(level, bool) or not 1 <= operator.index(level) <= 9:
        raise ValueError(
            f"the level must be 1 (fast) to 9 (small), not {level}; compression=None "
            "stores frames as they are"
        )
    return operator.index(level)


def deflate(blocks: Iterable[Stored], level: int | None = None) -> list[bytes]:
    r"""Compress blocks of bytes to one zlib stream (FORMAT 6.4).

    Parameters
    ----------
    blocks
        One-dimensional, one after the other; `packed_blocks` without the offsets.
    level
        See `check_level`.

    Returns
    -------
    list of bytes
        The stream, in pieces.

    Raises
    ------
    ValueError
        The level is none.

    Examples
    --------
    >>> stream = b"".join(deflate([np.zeros(1000, "u1"), np.ones(1000, "u1")]))
    >>> len(stream) < 50, zlib.decompress(stream) == bytes(1000) + b"\1" * 1000
    (True, True)
    """
    level = check_level(level)
    library = isal_zlib if level <= _LAST_FAST_LEVEL else zlib
    stream = library.compressobj(level)
    pieces = [stream.compress(block.data) for block in blocks]
    pieces.append(stream.flush())
    return [piece for piece in pieces if piece]
