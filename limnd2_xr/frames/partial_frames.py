"""What an unfinished file holds: the metadata at its beginning, frames that are whole.

A partial file is the signature, all metadata chunks, room for smaller copies if there
shall be any, then frames: uncompressed ones at places known beforehand, compressed ones
in any order. A frame's head is written after
its pixels, so a frame that has one is whole. Nothing beside the file is needed to go on
with it or to finish it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.container.chunk_format import (
    ALIGNMENT,
    MAX_NAME_NBYTES,
    align,
    parse_header,
    parse_signature,
)
from limnd2_xr.container.chunk_table import split_name
from limnd2_xr.container.chunk_writer import ChunkPlace, encode_header
from limnd2_xr.container.scan import walk_chunks
from limnd2_xr.container.source import FileSource
from limnd2_xr.errors import CorruptChunk, Nd2Error
from limnd2_xr.frames.pyramid import LEVEL_FAMILY
from limnd2_xr.frames.table import FRAME_FAMILY, TIME_NBYTES, frame_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.container.sink import PartialFile
    from limnd2_xr.frames.layout import PixelLayout

__all__ = [
    "COPIES_FOLLOW",
    "PROVISIONAL",
    "UNKNOWN_MS",
    "PartialHead",
    "WrittenFrames",
    "blank",
    "frame_head",
    "frame_stride",
    "name_in_head",
    "read_head",
    "written_packed",
    "written_plain",
]

UNKNOWN_MS: Final = -1.0
"""Stored where the time of a frame is not known (FORMAT 1.4)."""

RECORD_PREFIX: Final = "CustomData|"
"""Begins the names of recorded columns and caches (FORMAT 3)."""
PROVISIONAL: Final = "Provisional|"
"""Put before such names until the chunks are written behind the frames."""
COPIES_FOLLOW: Final = f"{PROVISIONAL}DownsampledColorData!"
"""Chunk of a partial file that says that room for smaller copies is behind its head."""

_BLANK_NBYTES = 2**20
_SIGNATURE_NBYTES = 112
_PROBE_NBYTES = 256
"""Enough of a chunk for its header and nearly any name."""


def name_in_head(name: str) -> str:
    """Return the name under which a chunk stands before the frames.

    What was recorded of the frames has to stand behind them: Bio-Formats 7.3.1 takes
    stage positions and times only from there, and reads nonsense where a chunk of that
    name comes before. So until the file is complete it has another name.

    Examples
    --------
    >>> name_in_head("CustomData|X!"), name_in_head("ImageTextInfoLV!")
    ('Provisional|CustomData|X!', 'ImageTextInfoLV!')
    """
    return PROVISIONAL + name if name.startswith(RECORD_PREFIX) else name


def frame_head(number: int, nbytes: int, time_ms: float) -> bytes:
    r"""Return the 4096 bytes before a frame's pixels (FORMAT 1.3, 1.4).

    Parameters
    ----------
    number
        Of the frame.
    nbytes
        Of its pixels as stored.
    time_ms
        Milliseconds since the start of the acquisition; NaN where unknown.

    Examples
    --------
    >>> head = frame_head(3, 512, float("nan"))
    >>> len(head), head[16:32], struct.unpack("<d", head[-8:])
    (4096, b'ImageDataSeq|3!\x00', (-1.0,))
    """
    header = encode_header(
        frame_name(number), TIME_NBYTES + nbytes, first_nbytes=TIME_NBYTES
    )
    return header + struct.pack("<d", UNKNOWN_MS if np.isnan(time_ms) else time_ms)


def frame_stride(layout: PixelLayout) -> int:
    """Bytes from one uncompressed frame of a file being written to the next."""
    return align(ALIGNMENT + layout.frame_nbytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialHead:
    """The metadata chunks at the beginning of a partial file."""

    version: tuple[int, int]
    """Format version."""
    places: dict[str, ChunkPlace]
    """Of the chunks, by the name that they will have in the file."""
    end: int
    """Where they end, and room for smaller copies or the frames begin."""
    has_copies: bool
    """Whether there is room for smaller copies of the frames."""


def read_head(partial: PartialFile) -> PartialHead:
    """Walk over the metadata chunks of a partial file.

    Raises
    ------
    Nd2Error
        The file does not begin as an .nd2 file does.
    """
    size = partial.size
    signature = partial.read_at(0, min(_SIGNATURE_NBYTES, size))
    try:
        version = parse_signature(signature)
    except Nd2Error as error:
        raise error.located(path=str(partial.path)) from error
    places: dict[str, ChunkPlace] = {}
    has_copies = False
    beyond: tuple[str, ...] = (f"{FRAME_FAMILY}|",)
    offset = ALIGNMENT
    while offset < size:
        try:
            header = parse_header(_probe(partial, offset, size), offset, size)
        except CorruptChunk:
            break  # room for copies and frames
        if header.name.startswith(beyond):
            break
        offset = align(header.end)
        if header.name == COPIES_FOLLOW:
            has_copies, beyond = True, (*beyond, LEVEL_FAMILY)
            continue
        places[header.name.removeprefix(PROVISIONAL)] = ChunkPlace(
            header.name, header.offset, header.data_offset, header.data_nbytes
        )
    return PartialHead(
        version=version, places=places, end=offset, has_copies=has_copies
    )


def _probe(partial: PartialFile, offset: int, size: int) -> bytes:
    data = partial.read_at(offset, min(_PROBE_NBYTES, size - offset))
    if b"!" in data:
        return data
    return partial.read_at(offset, min(MAX_NAME_NBYTES, size - offset))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WrittenFrames:
    """Where the whole frames of a partial file are, by number."""

    offsets: NDArray[np.int64]
    """File offset of each frame's head, -1 where it was not written."""
    nbytes: NDArray[np.int64]
    """Payload bytes of each frame: its time and its pixels as stored."""
    replaced: tuple[int, ...] = ()
    """Offsets of copies that a later one replaces."""

    @property
    def missing(self) -> NDArray[np.int64]:
        """Numbers of the frames that were not written."""
        return np.flatnonzero(self.offsets < 0)

    def times_ms(self, partial: PartialFile) -> NDArray[np.float64]:
        """Read the times in the frames' heads, -1 where unknown; all must be there."""
        at = ALIGNMENT - TIME_NBYTES
        stored = [partial.read_at(o + at, TIME_NBYTES) for o in self.offsets.tolist()]
        return np.frombuffer(b"".join(stored), "<f8")


def written_plain(
    partial: PartialFile, layout: PixelLayout, n_frames: int, frames_offset: int
) -> WrittenFrames:
    """Look at the head of each uncompressed frame."""
    stride, payload = frame_stride(layout), TIME_NBYTES + layout.frame_nbytes
    offsets = frames_offset + stride * np.arange(n_frames, dtype=np.int64)
    fixed = frame_head(0, layout.frame_nbytes, 0.0)[: 2 * TIME_NBYTES]
    for number, offset in enumerate(offsets.tolist()):
        expected = fixed + frame_name(number).encode()
        if partial.read_at(offset, len(expected)) != expected:
            offsets[number] = -1
    return WrittenFrames(
        offsets=offsets, nbytes=np.full(n_frames, payload, dtype=np.int64)
    )


def written_packed(
    partial: PartialFile, n_frames: int, frames_offset: int
) -> WrittenFrames:
    """Walk over the compressed frames; of several copies of one the last counts."""
    offsets = np.full(n_frames, -1, dtype=np.int64)
    nbytes = np.zeros(n_frames, dtype=np.int64)
    replaced = []
    with FileSource(partial.path) as source:
        for header in walk_chunks(source, frames_offset):
            family, number = split_name(header.name) or ("", 0)
            if family != FRAME_FAMILY or number >= n_frames:
                continue
            if offsets[number] >= 0:
                replaced.append(int(offsets[number]))
            offsets[number], nbytes[number] = header.offset, header.data_nbytes
    return WrittenFrames(offsets=offsets, nbytes=nbytes, replaced=tuple(replaced))


def blank(partial: PartialFile, offset: int, nbytes: int) -> None:
    """Make a range of the file zeros; what is zeros, as holes are, is left alone."""
    zeros = bytes(min(nbytes, _BLANK_NBYTES))
    for at in range(offset, offset + nbytes, _BLANK_NBYTES):
        wanted = zeros[: offset + nbytes - at]
        if partial.read_at(at, len(wanted)) != wanted:
            partial.write_at(at, wanted)
