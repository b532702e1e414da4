"""Whether every frame of a file decodes, and how much of each that does not."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.container.chunk_format import parse_header
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.headers import HEADER_PROBE_NBYTES
from limnd2_xr.frames.pixels import inflate_rows
from limnd2_xr.frames.table import TIME_NBYTES, frame_name
from limnd2_xr.frames.threads import run_all
from limnd2_xr.options import get_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from limnd2_xr.container.chunk_format import ChunkHeader
    from limnd2_xr.container.chunk_table import Family
    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.frames.layout import PixelLayout

__all__ = [
    "FrameFault",
    "FrameSurvey",
    "check_frame",
    "pixel_fault",
    "survey_frames",
]

PIECE_NBYTES: Final = 4 * 2**20
"""Pixels are read in pieces of this size."""
_GROUP: Final = 32
_MARGIN_NBYTES: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFault:
    """Why a frame does not decode."""

    name: str
    """Name of its chunk."""
    offset: int
    """File offset of the chunk."""
    reason: str
    """What is wrong with it."""
    rows: int = 0
    """Whole rows, from the top, that can be had of its pixels; only of plain ones."""
    pixel_offset: int = 0
    """File offset of these rows."""


@dataclass(slots=True, kw_only=True)
class FrameSurvey:
    """What looking at every frame found out."""

    faults: dict[int, FrameFault] = field(default_factory=dict)
    """By the number in the name of the chunk."""
    longer: int = 0
    """Uncompressed frames that hold more bytes than they need."""
    ends: NDArray[np.int64] = field(repr=False)
    """File offset after each chunk, in the order of the family; -1 where not known."""


def survey_frames(
    source: ByteSource,
    family: Family,
    layout: PixelLayout,
    advance: Callable[[int], object],
) -> FrameSurvey:
    """Read every frame and inflate compressed ones, on threads.

    Memory is bounded: a piece of an uncompressed frame, or one compressed one, a thread.

    Parameters
    ----------
    source
        The open file.
    family
        Where the frames are.
    layout
        How each is stored.
    advance
        Called, in any thread but never twice at once, with a number of frames that are
        done.
    """
    found = FrameSurvey(ends=np.full(len(family), -1, np.int64))
    order = np.argsort(family.offsets, kind="stable")
    guard = threading.Lock()

    def check(first: int) -> None:
        rows = order[first : first + _GROUP].tolist()
        for row in rows:
            number, offset = int(family.numbers[row]), int(family.offsets[row])
            header, fault = check_frame(source, layout, frame_name(number), offset)
            if header is not None:
                found.ends[row] = header.end
            with guard:
                if fault is not None:
                    found.faults[number] = fault
                elif header is not None and layout.compression == "none":
                    needed = TIME_NBYTES + layout.frame_nbytes
                    found.longer += header.data_nbytes > needed
        with guard:
            advance(len(rows))

    starts = range(0, len(order), _GROUP)
    run_all(check, starts, max(get_threads(), source.requests))
    return found


def check_frame(
    source: ByteSource, layout: PixelLayout, name: str, offset: int
) -> tuple[ChunkHeader | None, FrameFault | None]:
    """Read the frame at a place: its header, and why it does not decode, if so.

    Parameters
    ----------
    source
        The open file.
    layout
        How the frame is stored.
    name, offset
        Of its chunk.

    Returns
    -------
    tuple of ChunkHeader or None and FrameFault or None
        No header where there is no such chunk; no fault where the frame decodes.
    """
    probe = source.read_at(offset, min(HEADER_PROBE_NBYTES, source.size - offset))
    try:
        header = parse_header(probe, offset, source.size)
    except CorruptChunk as error:
        return None, FrameFault(name=name, offset=offset, reason=error.reason)
    if header.name != name:
        reason = f"chunk {header.name} is there instead"
        return None, FrameFault(name=name, offset=offset, reason=reason)
    pixels, stored = header.data_offset + TIME_NBYTES, header.data_nbytes - TIME_NBYTES
    reason, rows = pixel_fault(source, layout, pixels, stored)
    if not reason:
        return header, None
    return header, FrameFault(
        name=name,
        offset=offset,
        reason=reason,
        rows=rows,
        pixel_offset=pixels,
    )


def pixel_fault(
    source: ByteSource, layout: PixelLayout, pixels: int, stored: int
) -> tuple[str, int]:
    """Read the pixels of a frame.

    Parameters
    ----------
    source
        The open file.
    layout
        How the frame is stored.
    pixels, stored
        File offset of its pixels, and how many bytes there are.

    Returns
    -------
    tuple of str and int
        What is wrong with them, ``""`` if nothing is; and then how many rows, from the
        top, can be had.
    """
    if stored < 0:
        return f"the chunk has {stored + TIME_NBYTES} bytes, not even a time", 0
    try:
        if layout.compression == "zlib":
            # What is longer than any stream of a frame is not read to its end.
            most = layout.frame_nbytes + layout.frame_nbytes // 64 + _MARGIN_NBYTES
            packed = source.read_at(pixels, min(stored, most))
            inflate_rows(packed, layout, layout.height)
            return "", 0
        wanted = min(stored, layout.frame_nbytes)
        buffer = memoryview(bytearray(min(PIECE_NBYTES, wanted)))
        for at in range(0, wanted, PIECE_NBYTES):
            source.read_into(pixels + at, [buffer[: wanted - at]])
    except CorruptChunk as error:
        return error.reason, 0
    except OSError as error:
        return f"cannot be read: {error.strerror or error}", 0
    if layout.compression == "none" and stored < layout.frame_nbytes:
        reason = f"{stored} bytes of pixels are stored, not {layout.frame_nbytes}"
        return reason, stored // layout.row_nbytes
    return "", 0
