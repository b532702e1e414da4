"""Changing an existing file without rewriting what is in it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from limnd2_xr.container.chunk_format import FOOTER, align
from limnd2_xr.container.chunk_index import ChunkIndex, read_index
from limnd2_xr.container.chunk_map import FRAME_PREFIX
from limnd2_xr.container.chunk_writer import (
    check_ordinary,
    chunk_extent,
    encode_header,
    encode_map,
)
from limnd2_xr.container.disk import (
    locked,
    naming,
    nbytes_of,
    read_all,
    sync,
    write_all,
)
from limnd2_xr.container.local_source import FileSource
from limnd2_xr.errors import CorruptChunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import numpy.typing as npt

    from limnd2_xr.container.disk import ReadableBuffer

__all__ = ["update_chunks"]

_TIME_NBYTES = 8
"""Bytes before the pixels of a frame (FORMAT 1.4)."""


def update_chunks(
    path: str | os.PathLike[str],
    put: Mapping[str, ReadableBuffer | None],
    remove: Iterable[str] = (),
    frames: Mapping[int, ReadableBuffer] | None = None,
) -> None:
    r"""Add, replace and remove chunks of a file, add and replace frames.

    New chunks and a new map are appended, nothing that the file holds is overwritten:
    whoever has it open keeps reading what was there. What is replaced or removed stays
    in the file as bytes that no map lists (FORMAT 1.6), as does the old map.

    At each moment the file ends with a footer, which leads to the old map until the
    new one is on the disk. A process killed on the way leaves the old content and some
    unused bytes. After an error the file has its old size again.

    Updates of one file take turns, across threads and processes.

    Parameters
    ----------
    path
        An .nd2 file of format 2.x or 3.0 with a sound chunk map.
    put
        Chunk name, with its closing ``!``, to payload; None leaves what the file has.
        Each is asked for twice: large ones may be made when they are.
    remove
        Names of chunks to remove.
    frames
        Frame number to payload: eight bytes of its time, then its pixels as stored.
        Each is asked for twice, too.

    Raises
    ------
    ValueError
        A name is not one of an ordinary chunk (frames, the map and the signature are
        not), is both put and removed, or is to be removed and not there.
    CorruptChunk
        The file's chunk map cannot be used as it is.
    NotAnNd2File, UnsupportedFeature
        It is not an .nd2 file, or one of format 1.0.
    OSError
        As the system says: no such file, a read-only file, a full disk.

    Examples
    --------
    >>> import tempfile
    >>> from limnd2_xr.container.chunk_index import ChunkIndex
    >>> from limnd2_xr.container.chunk_writer import encode_signature
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "a.nd2")
    >>> _ = path.write_bytes(encode_signature() + encode_map([], 4096))
    >>> update_chunks(path, {"CustomData|X!": b"\x00\x01"})
    >>> with FileSource(path) as source:
    ...     dict(read_index(source).index.items())
    {'CustomData|X!': Entry(offset=12288, nbytes=2)}
    >>> folder.cleanup()
    """
    removed = _checked_names(put, remove)
    frames = frames or {}
    if not put and not removed and not frames:
        return
    file = Path(os.path.realpath(path))
    with locked(file) as fd, naming(path):
        with FileSource(file, name=os.fspath(path)) as source:
            loaded = read_index(source)
            size = source.size
        if loaded.rebuilt is not None:
            raise CorruptChunk(
                f"the chunk map cannot be used as it is ({loaded.rebuilt}), so chunks"
                " cannot be changed; write the data to a new file",
                path=os.fspath(path),
            )
        absent = [name for name in removed if name not in loaded.index]
        if absent:
            raise ValueError(f"{os.fspath(path)} has no chunk {', '.join(absent)}")
        old_footer = read_all(fd, size - FOOTER.size, FOOTER.size)
        growth = _Growth.of(loaded.index, put, removed, size, frames)
        try:
            _append(fd, growth, put, old_footer, frames)
        except BaseException:
            # The old footer is at the end again.
            with suppress(OSError):
                os.ftruncate(fd, size)
                sync(fd)
            raise


def _checked_names(
    put: Mapping[str, ReadableBuffer | None], remove: Iterable[str]
) -> list[str]:
    if isinstance(remove, str):
        raise TypeError("remove takes several names, not a string")
    removed = list(dict.fromkeys(remove))
    for name in (*put, *removed):
        check_ordinary(name)
    both = [name for name in removed if name in put]
    if both:
        raise ValueError(f"chunk {both[0]} is to be both put and removed")
    return removed


class _Growth(NamedTuple):
    """What is appended to a file: chunks at their offsets, then the map."""

    chunks: list[tuple[str, int]]
    frames: list[tuple[int, int]]
    map_offset: int
    map_chunk: bytes

    @property
    def end(self) -> int:
        return self.map_offset + len(self.map_chunk)

    @classmethod
    def of(
        cls,
        index: ChunkIndex,
        put: Mapping[str, ReadableBuffer | None],
        removed: Iterable[str],
        size: int,
        new_frames: Mapping[int, ReadableBuffer],
    ) -> _Growth:
        """Lay out what is to be appended to a file of `size` bytes."""
        chunks = []
        entries: list[tuple[str, int, int | None]] = []
        offset = align(size)
        # What was recorded of frames has to stand behind them for Bio-Formats 7.3.1.
        frames = []
        rows = []
        for number in sorted(new_frames):
            nbytes = nbytes_of(new_frames[number])
            frames.append((number, offset))
            rows.append((number, offset, nbytes))
            offset += chunk_extent(
                _frame_name(number), nbytes, first_nbytes=_TIME_NBYTES
            )
        for name, payload in put.items():
            if payload is None:
                continue
            nbytes = nbytes_of(payload)
            chunks.append((name, offset))
            entries.append((name, offset, nbytes))
            offset += chunk_extent(name, nbytes)
        left_out = {*(name for name, _ in chunks), *removed}
        entries += (entry for entry in _ordinary(index) if entry[0] not in left_out)
        columns = _frame_columns(index, rows)
        return cls(chunks, frames, offset, encode_map(entries, offset, columns))


def _ordinary(index: ChunkIndex) -> Iterator[tuple[str, int, int | None]]:
    """Iterate over (name, offset, nbytes) of all chunks but frames."""
    for name in index.names():
        if (entry := index.find(name)) is not None:
            yield name, *entry
    for prefix, family in index.families().items():
        if prefix != FRAME_PREFIX:
            for number, entry in family.items():
                yield family.name(number), *entry


def _frame_name(number: int) -> str:
    return f"{FRAME_PREFIX}|{number}!"


def _frame_columns(
    index: ChunkIndex, rows: list[tuple[int, int, int]]
) -> tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike] | None:
    """Return number, offset and size of all frames: those of a file, and new ones."""
    family = index.family(FRAME_PREFIX)
    if not rows:
        return (family.numbers, family.offsets, family.nbytes) if family else None
    new = np.array(rows, np.uint64).T
    if family is None:
        return new[0], new[1], new[2]
    stays = ~np.isin(family.numbers.astype(np.uint64), new[0])
    old = (family.numbers, family.offsets, family.nbytes)
    columns = [
        np.concatenate([had[stays].astype(np.uint64), added])
        for had, added in zip(old, new, strict=True)
    ]
    return columns[0], columns[1], columns[2]


def _append(
    fd: int,
    growth: _Growth,
    put: Mapping[str, ReadableBuffer | None],
    old_footer: bytes,
    frames: Mapping[int, ReadableBuffer],
) -> None:
    """Write in an order in which the footer leads to a whole map at each moment."""
    footer_offset = growth.end - FOOTER.size
    # The file grows by a hole, at whose end is the footer that is valid till now. The
    # footer is within one sector, as the end is a multiple of 4096.
    write_all(fd, footer_offset, [old_footer])
    sync(fd)
    for name, offset in growth.chunks:
        payload = put[name]
        if payload is None:
            raise ValueError(f"chunk {name} was there when it was asked for first")
        header = encode_header(name, nbytes_of(payload))
        write_all(fd, offset, [header, payload])
    for number, offset in growth.frames:
        payload = frames[number]
        header = encode_header(
            _frame_name(number), nbytes_of(payload), first_nbytes=_TIME_NBYTES
        )
        write_all(fd, offset, [header, payload])
    new_map = memoryview(growth.map_chunk)
    write_all(fd, growth.map_offset, [new_map[: -FOOTER.size]])
    sync(fd)
    write_all(fd, footer_offset, [new_map[-FOOTER.size :]])
    sync(fd)
