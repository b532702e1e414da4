"""The records of a chunk map, decoded in blocks with numpy (FORMAT 2.2).

A record is a name that ends at its first ``!``, a u64 offset and a u64 size, without
separators. The numbers may hold the byte ``!`` too, so names can only be told apart
in sequence. What makes it quick: a ``!`` that has no other one in the 16 bytes before
it always ends a name, whatever precedes; only closer ones need following one by one.
Short maps are followed one by one altogether: that is quicker than calling numpy.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from limnd2_xr.container.chunk_format import (
    FILEMAP_NAME,
    MAP_SIGNATURE,
    MAX_NAME_NBYTES,
    is_chunk_name,
)
from limnd2_xr.errors import CorruptChunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["FRAME_PREFIX", "MapBlock", "iter_map"]

FRAME_PREFIX = "ImageDataSeq"

_BLOCK_NBYTES = 1 << 20
_BANG = ord("!")
_TAIL_NBYTES = 17  # the "!" and two u64
_FRAME_NAME = b"ImageDataSeq|"
_FRAME_FIRST = np.uint64(int.from_bytes(_FRAME_NAME[:8], "little"))
_FRAME_LAST = np.uint64(int.from_bytes(_FRAME_NAME[5:], "little"))
_FRAME_NBYTES = len(_FRAME_NAME)
_FRAME = re.compile(rb"ImageDataSeq\|(0|[1-9][0-9]{0,7})!")
_PLACE = struct.Struct("<QQ")
_FEW_NBYTES = 1 << 13  # some hundred records
_MAX_DIGITS = 8  # what fits in one u64 of text; longer numbers go the slow way

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


class MapBlock(NamedTuple):
    """Some consecutive records of a map, those of frames apart from the others.

    Attributes
    ----------
    numbers, offsets, nbytes
        Of the chunks ``ImageDataSeq|<number>!``, in stored order.
    others
        (name, offset, nbytes) of all other chunks, in stored order.
    """

    numbers: I64
    offsets: U64
    nbytes: U64
    others: list[tuple[str, int, int]]


def iter_map(pieces: Iterable[bytes], base: int) -> Iterator[MapBlock]:
    """Decode the payload of a chunk map, block by block.

    Memory beyond what is given and yielded is a few MiB.

    Parameters
    ----------
    pieces
        The payload, in pieces of any size.
    base
        File offset of the payload, for messages.

    Raises
    ------
    CorruptChunk
        A name is not one, or the payload ends before the map does.
    """
    pending = b""
    for piece in pieces:
        data = pending + piece if pending else piece
        start = 0
        while start < len(data):
            block, nbytes, at_end = _parse_block(data, start, base)
            if block is not None:
                yield block
            if at_end:
                return
            if not nbytes:
                break
            start += nbytes
            base += nbytes
        pending = bytes(data[start:])
        if len(pending) > MAX_NAME_NBYTES + _TAIL_NBYTES:
            raise _corrupt("a name does not end", base)
    if pending:
        # The terminator has one number only, so it may be the last thing there is.
        block, _, at_end = _parse_block(pending + bytes(8), 0, base)
        if at_end:
            if block is not None:
                yield block
            return
    raise _corrupt("the map ends without its terminator", base)


def _parse_block(
    data: bytes, start: int, base: int
) -> tuple[MapBlock | None, int, bool]:
    """Return whole records at `start`, their bytes, whether the terminator came."""
    if len(data) - start <= _FEW_NBYTES:
        return _parse_few(data, start, base)
    count = min(len(data) - start, _BLOCK_NBYTES)
    block = np.frombuffer(data, np.uint8, count, start)
    bangs = _name_ends(np.flatnonzero(block == _BANG))
    bangs = bangs[: np.searchsorted(bangs, count - _TAIL_NBYTES, side="right")]
    if not bangs.size:
        return None, 0, False
    starts = np.empty_like(bangs)
    starts[0] = 0
    starts[1:] = bangs[:-1] + _TAIL_NBYTES
    consumed = int(bangs[-1]) + _TAIL_NBYTES

    at_end = False
    for i in np.flatnonzero(bangs - starts == len(MAP_SIGNATURE) - 1).tolist():
        if block[starts[i] : bangs[i] + 1].tobytes() == MAP_SIGNATURE:
            starts, bangs = starts[:i], bangs[:i]
            at_end = True
            break
    if not bangs.size:
        return None, consumed, at_end

    # A u64 at every byte offset, so that taking items takes unaligned numbers.
    words = np.ndarray((count - 7,), "<u8", data, start, (1,))
    offsets = words[bangs + 1]
    nbytes = words[bangs + 9]
    is_frame, numbers = _frame_numbers(block, words, starts, bangs)
    others = []
    if not is_frame.all():
        which = np.flatnonzero(~is_frame)
        rows = zip(
            starts[which].tolist(),
            bangs[which].tolist(),
            offsets[which].tolist(),
            nbytes[which].tolist(),
            strict=True,
        )
        for first, bang, offset, size in rows:
            name = data[start + first : start + bang + 1]
            if not is_chunk_name(name):
                raise _corrupt(f"{name[:64]!r} is not a chunk name", base + first)
            others.append((name.decode("latin-1"), offset, size))
        offsets, nbytes = offsets[is_frame], nbytes[is_frame]
    return MapBlock(numbers, offsets, nbytes, others), consumed, at_end


def _parse_few(data: bytes, start: int, base: int) -> tuple[MapBlock | None, int, bool]:
    """Return the same, record by record."""
    numbers, offsets, sizes = [], [], []
    others: list[tuple[str, int, int]] = []
    at, last, at_end = start, len(data) - _TAIL_NBYTES, False
    while not at_end and 0 <= (bang := data.find(b"!", at)) <= last:
        name = data[at : bang + 1]
        offset, nbytes = _PLACE.unpack_from(data, bang + 1)
        if frame := _FRAME.fullmatch(name):
            numbers.append(int(frame[1]))
            offsets.append(offset)
            sizes.append(nbytes)
        elif name == MAP_SIGNATURE:
            at_end = True
        elif is_chunk_name(name):
            others.append((name.decode("latin-1"), offset, nbytes))
        else:
            where = base + at - start
            raise _corrupt(f"{name[:64]!r} is not a chunk name", where)
        at = bang + _TAIL_NBYTES
    if not numbers and not others:
        return None, at - start, at_end
    block = MapBlock(
        np.array(numbers, np.int64),
        np.array(offsets, np.uint64),
        np.array(sizes, np.uint64),
        others,
    )
    return block, at - start, at_end


def _name_ends(bangs: I64) -> I64:
    """Return those of the positions of ``!`` that end a name.

    The first one does; then each that is the first at least 17 bytes after one that
    does. A position 17 or more bytes after the one before it always is such a first.
    """
    if bangs.size < 2:
        return bangs
    is_end = np.empty(bangs.shape, np.bool_)
    is_end[0] = True
    np.greater_equal(bangs[1:] - bangs[:-1], _TAIL_NBYTES, out=is_end[1:])
    heads = np.flatnonzero(is_end)
    lasts = np.append(heads[1:], bangs.size) - 1
    # Runs of close ones: within 16 bytes of its first, all others are in numbers.
    long = np.flatnonzero(bangs[lasts] - bangs[heads] >= _TAIL_NBYTES)
    for head, last in zip(heads[long].tolist(), lasts[long].tolist(), strict=True):
        positions = bangs[head : last + 1].tolist()
        end = positions[0]
        for i, position in enumerate(positions):
            if position - end >= _TAIL_NBYTES:
                is_end[head + i] = True
                end = position
    return bangs[is_end]


def _frame_numbers(
    block: npt.NDArray[np.uint8], words: U64, starts: I64, bangs: I64
) -> tuple[npt.NDArray[np.bool_], I64]:
    """Return which names are ``ImageDataSeq|<number>!``, and the numbers of those.

    Eight digits at a time, as one u64 of text: bytes are checked and then added up
    in pairs, fours and eights.
    """
    digits = bangs - starts - _FRAME_NBYTES
    is_frame = (digits >= 1) & (digits <= _MAX_DIGITS)
    is_frame &= words[starts] == _FRAME_FIRST
    is_frame &= words[starts + (_FRAME_NBYTES - 8)] == _FRAME_LAST
    which = np.flatnonzero(is_frame)
    digits = digits[which]
    text = words[bangs[which] - 8]
    unused = (np.uint64(8) * (8 - digits).astype(np.uint64)).astype(np.uint64)
    mask = np.uint64(0xFFFFFFFFFFFFFFFF) << unused
    zeros = np.uint64(0x3030303030303030)
    text = (text & mask) | (zeros & ~mask)
    high = np.uint64(0xF0F0F0F0F0F0F0F0)
    sound = (text & high) == zeros
    sound &= ((text + np.uint64(0x0606060606060606)) & high) == zeros
    # "007" is not how frame 7 is called: such a name stays a name of its own.
    first = block[starts[which] + _FRAME_NBYTES]
    sound &= (digits == 1) | (first != ord("0"))
    if not sound.all():
        is_frame[which[~sound]] = False
        text = text[sound]
    low = text & np.uint64(0x0F0F0F0F0F0F0F0F)
    pairs = (low * np.uint64(10 * 256 + 1)) >> np.uint64(8)
    pairs &= np.uint64(0x00FF00FF00FF00FF)
    fours = (pairs * np.uint64(100 * 65536 + 1)) >> np.uint64(16)
    fours &= np.uint64(0x0000FFFF0000FFFF)
    eights = (fours * np.uint64(10000 * (1 << 32) + 1)) >> np.uint64(32)
    return is_frame, eights.astype(np.int64)


def _corrupt(reason: str, offset: int) -> CorruptChunk:
    return CorruptChunk(f"chunk map: {reason}", chunk=FILEMAP_NAME, offset=offset)
