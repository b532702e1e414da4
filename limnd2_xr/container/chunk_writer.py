"""Chunks and the chunk map as bytes, laid out as NIS-Elements does (FORMAT 1, 2)."""

from __future__ import annotations

import struct
from bisect import bisect_left
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from limnd2_xr.container.chunk_format import (
    ALIGNMENT,
    FILE_MAGIC,
    FILEMAP_NAME,
    FOOTER,
    HEADER_NBYTES,
    MAP_SIGNATURE,
    MAX_NAME_NBYTES,
    SIGNATURE_NAME,
    align,
    is_chunk_name,
)
from limnd2_xr.container.chunk_map import FRAME_PREFIX
from limnd2_xr.container.chunk_table import UNKNOWN_NBYTES, split_name
from limnd2_xr.container.disk import nbytes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from limnd2_xr.container.chunk_map import I64, U64
    from limnd2_xr.container.disk import ReadableBuffer
    from limnd2_xr.container.sink import PartialFile

__all__ = [
    "ChunkPlace",
    "ChunkWriter",
    "check_ordinary",
    "chunk_extent",
    "encode_header",
    "encode_map",
    "encode_signature",
]

_HEADER: Final = struct.Struct("<4sIQ")
_PLACE: Final = struct.Struct("<QQ")
_NAME_RESERVE = 20  # zero bytes that follow a name at least (FORMAT 1.3)
_VERSION_NBYTES = 64
_FRAME_NAME: Final = f"{FRAME_PREFIX}|".encode()
_BLOCK_FRAMES = 1 << 16
_MAX_DIGITS = 18  # what fits in an i64
_OWN_NAMES: Final = frozenset({SIGNATURE_NAME, FILEMAP_NAME})


def encode_signature(version: tuple[int, int] = (3, 0)) -> bytes:
    r"""Return the first 4096 bytes of a file (FORMAT 1.1).

    Parameters
    ----------
    version
        Of the format, (major, minor).

    Examples
    --------
    >>> encode_signature()[:4] == FILE_MAGIC, encode_signature()[48:55]
    (True, b'Ver3.0\x00')
    """
    major, minor = version
    if not (0 <= major < 10_000 and 0 <= minor < 10_000):
        raise ValueError(f"{major}.{minor} is no format version")
    name = SIGNATURE_NAME.encode("latin-1")
    header = _HEADER.pack(FILE_MAGIC, len(name), _VERSION_NBYTES)
    return (header + name + f"Ver{major}.{minor}".encode()).ljust(ALIGNMENT, b"\0")


def encode_header(name: str, nbytes: int, *, first_nbytes: int | None = None) -> bytes:
    r"""Return a chunk's header: all bytes before its payload (FORMAT 1.2, 1.3).

    The name field is as long as makes the first bytes of the payload end on a multiple
    of 4096, where the header begins at one.

    Parameters
    ----------
    name
        Chunk name with its closing ``!``.
    nbytes
        Bytes of the payload.
    first_nbytes
        How many bytes of the payload end on that multiple: all by default, 8 for
        frames, whose pixels follow a time.

    Raises
    ------
    ValueError
        It is not a chunk name, or a number is out of range.

    Examples
    --------
    >>> header = encode_header("CustomData|X!", 80)
    >>> len(header), header[16:30]
    (4016, b'CustomData|X!\x00')
    >>> len(encode_header("ImageDataSeq|0!", 8 + 512, first_nbytes=8))
    4088
    """
    raw = _raw_name(name)
    field_nbytes = _name_nbytes(raw, nbytes, first_nbytes)
    return _HEADER.pack(FILE_MAGIC, field_nbytes, nbytes) + raw.ljust(
        field_nbytes, b"\0"
    )


def chunk_extent(name: str, nbytes: int, *, first_nbytes: int | None = None) -> int:
    """Return the bytes from a chunk's header to the next place for one.

    Parameters and errors are those of `encode_header`.

    Examples
    --------
    >>> chunk_extent("CustomData|X!", 80), chunk_extent("CustomData|X!", 4050)
    (4096, 8192)
    """
    field_nbytes = _name_nbytes(_raw_name(name), nbytes, first_nbytes)
    return align(HEADER_NBYTES + field_nbytes + nbytes)


def check_ordinary(name: str) -> None:
    """Refuse names that are not those of ordinary chunks.

    Raises
    ------
    ValueError
        It is not a chunk name; or a frame's, the map's or the file signature's.
    """
    raw = _raw_name(name)
    if raw.startswith(_FRAME_NAME) or name in _OWN_NAMES:
        raise ValueError(
            f"{name} is not an ordinary chunk: it cannot be put or removed"
        )


def encode_map(
    entries: Iterable[tuple[str, int, int | None]],
    offset: int,
    frames: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike] | None = None,
) -> bytes:
    """Return the whole chunk map: header, records, footer (FORMAT 2.2).

    Records are in descending order of their names, as NIS-Elements has them. The map
    is the last chunk of a file and its last 40 bytes are the file's footer.

    Parameters
    ----------
    entries
        (name, offset of the header, bytes of the payload) of each chunk, in any order;
        None for bytes that only the chunk's header tells (FORMAT 2.3).
    offset
        Where the map itself will be: a multiple of 4096.
    frames
        (numbers, offsets, payload bytes) of the chunks ``ImageDataSeq|<number>!``, as
        three integer arrays of one length in any order. A million take about half a
        second.

    Raises
    ------
    ValueError
        A name occurs twice or is none, a number is out of range, `offset` is not
        aligned, the arrays differ in length.

    Examples
    --------
    >>> data = encode_map([("CustomData|X!", 4096, 80)], 8192, ([0], [12288], [520]))
    >>> len(data), data[-40:-8]
    (8192, b'ND2 CHUNK MAP SIGNATURE 0000001!')
    """
    if offset < 0 or offset % ALIGNMENT:
        raise ValueError(f"a chunk map cannot be at {offset}: no multiple of 4096")
    footer = FOOTER.pack(MAP_SIGNATURE, offset)
    records = _encode_records(entries, frames)
    records_nbytes = sum(map(len, records))
    payload_nbytes = (
        HEADER_NBYTES + len(FILEMAP_NAME) + records_nbytes + 2 * len(footer)
    )
    payload_nbytes = align(payload_nbytes) - HEADER_NBYTES - len(FILEMAP_NAME)
    filler = bytes(payload_nbytes - records_nbytes - 2 * len(footer))
    header = encode_header(FILEMAP_NAME, payload_nbytes)
    return b"".join([header, *records, footer, filler, footer])


class ChunkPlace(NamedTuple):
    """Where a chunk was put.

    Attributes
    ----------
    name
        Chunk name with its closing ``!``.
    offset
        File offset of the header.
    data_offset
        File offset of the payload.
    nbytes
        Bytes of the payload.
    """

    name: str
    offset: int
    data_offset: int
    nbytes: int


class ChunkWriter:
    r"""Puts ordinary chunks one after the other at the end of a partial file.

    For one thread, while nothing else makes the file longer: neither other threads or
    processes that reserve room in it, nor writes behind its end.

    Parameters
    ----------
    partial
        The open file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from limnd2_xr.container.sink import PartialFile
    >>> with (
    ...     tempfile.TemporaryDirectory() as folder,
    ...     PartialFile.create(Path(folder, "a.nd2")) as partial,
    ... ):
    ...     partial.write_at(0, encode_signature())
    ...     ChunkWriter(partial).put("CustomData|X!", b"\x01\x02")
    ChunkPlace(name='CustomData|X!', offset=4096, data_offset=8190, nbytes=2)
    """

    __slots__ = ("_partial", "places")

    def __init__(self, partial: PartialFile) -> None:
        self._partial = partial
        self.places: dict[str, ChunkPlace] = {}
        """What was put, by name."""

    def put(self, name: str, payload: ReadableBuffer) -> ChunkPlace:
        """Write one chunk, return its place.

        Raises
        ------
        ValueError
            The name is not one of an ordinary chunk, or was put before.
        OSError
            As `PartialFile.write_at` raises it.
        """
        check_ordinary(name)
        if name in self.places:
            raise ValueError(f"chunk {name} was put before")
        nbytes = nbytes_of(payload)
        header = encode_header(name, nbytes)
        offset = align(self._partial.size)
        self._partial.write_at(offset, header, payload)
        place = ChunkPlace(name, offset, offset + len(header), nbytes)
        self.places[name] = place
        return place

    def entries(self) -> Iterator[tuple[str, int, int]]:
        """Iterate over (name, offset, nbytes) of what was put, for `encode_map`."""
        for place in self.places.values():
            yield place.name, place.offset, place.nbytes


def _raw_name(name: str) -> bytes:
    try:
        raw = name.encode("latin-1")
    except UnicodeEncodeError:
        raw = b""
    if not is_chunk_name(raw):
        raise ValueError(
            f"{name!r} is not a chunk name: characters up to U+00FF, none of them for"
            ' control, and one "!", at the end'
        )
    return raw


def _name_nbytes(raw: bytes, nbytes: int, first_nbytes: int | None) -> int:
    first = nbytes if first_nbytes is None else first_nbytes
    if not 0 <= first <= nbytes < 1 << 63:
        raise ValueError(
            f"a payload of {nbytes} bytes, the first {first} of them aligned"
        )
    field_nbytes = (
        align(HEADER_NBYTES + len(raw) + _NAME_RESERVE + first) - HEADER_NBYTES - first
    )
    if field_nbytes > MAX_NAME_NBYTES:
        raise ValueError(f"a chunk name of {len(raw)} bytes is too long")
    return field_nbytes


def _encode_records(
    entries: Iterable[tuple[str, int, int | None]],
    frames: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike] | None,
) -> list[bytes]:
    """Return the records of a map in stored order, in pieces."""
    others: list[tuple[bytes, bytes]] = []
    listed: list[tuple[int, int, int]] = []
    for name, offset, nbytes in entries:
        if not (0 <= offset < 1 << 63 and 0 <= (nbytes or 0) < 1 << 63):
            raise ValueError(f"chunk {name} of {nbytes} bytes at {offset}")
        split = split_name(name)
        if split is not None and split[0] == FRAME_PREFIX:
            listed.append(
                (split[1], offset, UNKNOWN_NBYTES if nbytes is None else nbytes)
            )
            continue
        raw = _raw_name(name)
        others.append((raw, _PLACE.pack(offset, offset if nbytes is None else nbytes)))
    others.sort(reverse=True)
    for (raw, _), (following, _) in pairwise(others):
        if raw == following:
            raise ValueError(f"chunk {raw.decode('latin-1')} is listed twice")

    numbers, offsets, sizes = _frame_table(listed, frames)
    pieces: list[bytes] = []
    done = 0
    for raw, place in others:
        before = _frames_before(numbers, raw, done)
        pieces += _encode_frames(
            numbers[done:before], offsets[done:before], sizes[done:before]
        )
        pieces.append(raw + place)
        done = before
    pieces += _encode_frames(numbers[done:], offsets[done:], sizes[done:])
    return pieces


def _frames_before(numbers: I64, raw: bytes, done: int) -> int:
    """Return how many frames, `done` or more, a map lists before another name."""
    if raw < _FRAME_NAME:
        return len(numbers)
    if not raw.startswith(_FRAME_NAME):
        return done
    # Such as "ImageDataSeq|007!", which is not how frame 7 is called.
    return bisect_left(
        range(len(numbers)),
        True,
        done,
        key=lambda i: b"%s%d!" % (_FRAME_NAME, numbers[i]) < raw,
    )


def _frame_table(
    listed: list[tuple[int, int, int]],
    frames: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike] | None,
) -> tuple[I64, U64, U64]:
    """Return numbers, offsets and sizes of all frames, in the order of the map."""
    columns = [] if frames is None else [[_integers(column) for column in frames]]
    if listed or not columns:
        columns.append(
            [np.array(column, np.uint64) for column in zip(*listed, strict=True)]
            or [np.empty(0, np.uint64)] * 3
        )
    if len({column.shape for column in columns[0]}) != 1:
        raise ValueError("numbers, offsets and sizes of frames differ in length")
    numbers, offsets, sizes = (
        np.concatenate(parts) for parts in zip(*columns, strict=True)
    )
    if numbers.size and int(numbers.max()) >= 10**_MAX_DIGITS:
        raise ValueError(f"{numbers.max()} is no frame number")
    unknown = sizes == np.uint64(UNKNOWN_NBYTES)
    sizes = np.where(unknown, offsets, sizes)
    order = _descending(numbers)
    numbers = numbers[order].astype(np.int64)
    twice = np.flatnonzero(numbers[1:] == numbers[:-1])
    if twice.size:
        raise ValueError(f"frame {numbers[twice[0]]} is listed twice")
    return numbers, offsets[order], sizes[order]


def _integers(values: npt.ArrayLike) -> U64:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            "numbers, offsets and sizes of frames must be integer arrays of one dimension"
        )
    if array.size and array.dtype.kind == "i" and array.min() < 0:
        raise ValueError(
            f"number, offset or size of a frame is negative: {array.min()}"
        )
    return array.astype(np.uint64)


def _digits(numbers: npt.NDArray[np.unsignedinteger]) -> I64:
    """Return how many decimal digits each number has."""
    powers = np.array([10**i for i in range(1, _MAX_DIGITS)], np.uint64)
    return np.searchsorted(powers, numbers, side="right") + 1


def _descending(numbers: U64) -> I64:
    """Return what sorts numbers as text, in descending order ("9!", "89!", "8!")."""
    if not numbers.size:
        return np.empty(0, np.int64)
    digits = _digits(numbers)
    # As text "8!" is before "80!": of numbers that only differ in zeros at the end,
    # the shorter is the lower one.
    shift = (digits.max() - digits).astype(np.uint64)
    return np.lexsort((digits, numbers * np.uint64(10) ** shift))[::-1]


def _encode_frames(numbers: I64, offsets: U64, sizes: U64) -> Iterator[bytes]:
    """Yield the records of frames, in the order given."""
    for start in range(0, numbers.size, _BLOCK_FRAMES):
        block = slice(start, start + _BLOCK_FRAMES)
        yield _encode_block(numbers[block], offsets[block], sizes[block])


def _encode_block(numbers: I64, offsets: U64, sizes: U64) -> bytes:
    """Return records of frames: a table with the longest, less the leading zeros."""
    digits = _digits(numbers.astype(np.uint64))
    most = int(digits.max())
    record = np.dtype(
        [
            ("name", f"S{len(_FRAME_NAME)}"),
            ("digits", "u1", (most,)),
            ("end", "S1"),
            ("offset", "<u8"),
            ("nbytes", "<u8"),
        ]
    )
    table = np.empty(numbers.size, record)
    table["name"] = _FRAME_NAME
    table["end"] = b"!"
    table["offset"] = offsets
    table["nbytes"] = sizes
    rest = numbers
    for i in range(most - 1, -1, -1):
        rest, digit = np.divmod(rest, 10)
        table["digits"][:, i] = digit + ord("0")
    if digits.min() == most:
        return table.tobytes()
    used = np.ones((numbers.size, record.itemsize), np.bool_)
    places = slice(len(_FRAME_NAME), len(_FRAME_NAME) + most)
    used[:, places] = np.arange(most) >= most - digits[:, np.newaxis]
    return table.view(np.uint8).reshape(used.shape)[used].tobytes()
