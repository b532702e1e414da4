"""Chunks, names and maps of an .nd2 file, written byte by byte (FORMAT 1, 2).

A small writer for test files only: it can do what a proper writer never should (odd
name fields, lying maps, damaged footers). It shares no code with the reader.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

    from limnd2_xr.testing.specs import MapStyle

__all__ = ["FRAME_PREFIX", "ChunkWriter"]

FRAME_PREFIX = "ImageDataSeq|"

_MAGIC = 0x0ABECEDA
_SIGNATURE = b"ND2 FILE SIGNATURE CHUNK NAME01!"
_FILEMAP = b"ND2 FILEMAP SIGNATURE NAME 0001!"
_MAP_END = b"ND2 CHUNK MAP SIGNATURE 0000001!"
_PAGE = 4096
_NAME_RESERVE = 20  # zero bytes that follow a chunk's name at least (FORMAT 1.3)
_HEADER = struct.Struct("<IIQ")
_ENTRY = struct.Struct("<QQ")
_BATCH_NBYTES = 16 << 20

_FRAME_HEADER = np.dtype([("magic", "<u4"), ("name", "<u4"), ("data", "<u8")])


def _round_up(n: int, step: int) -> int:
    return n + -n % step


class ChunkWriter:
    """Writes a file from front to back and remembers what its map has to say.

    Parameters
    ----------
    file
        Where to write; its position must be 0. Only `write` is called.
    version
        Of the signature, such as ``"3.0"``.
    alignment
        Chunks start at multiples of it.

    Examples
    --------
    >>> file = io.BytesIO()
    >>> writer = ChunkWriter(file)
    >>> writer.put("CustomData|X!", bytes(8))
    4096
    >>> writer.finish()
    >>> len(file.getvalue()) % 4096, file.getvalue()[-40:-8]
    (0, b'ND2 CHUNK MAP SIGNATURE 0000001!')
    """

    def __init__(
        self, file: BinaryIO, *, version: str = "3.0", alignment: int = _PAGE
    ) -> None:
        self._file = file
        self._alignment = alignment
        self.offset = 0
        self.chunks: dict[str, tuple[int, int]] = {}
        self._frames: list[tuple[NDArray[np.int64], NDArray[np.int64], int]] = []
        head = _HEADER.pack(_MAGIC, len(_SIGNATURE), 64) + _SIGNATURE
        self._write((head + f"Ver{version}".encode()).ljust(_PAGE, b"\0"))

    def _write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self.offset += len(data)

    def _pad(self) -> None:
        self._write(bytes(-self.offset % self._alignment))

    def put(
        self,
        name: str,
        payload: bytes,
        *,
        first_nbytes: int | None = None,
        name_nbytes: int | None = None,
        listed: bool = True,
    ) -> int:
        """Write one chunk; return the offset of its header.

        Parameters
        ----------
        name
            With its closing ``!``.
        payload
            The chunk's data.
        first_nbytes
            How many bytes of it end on a page boundary: 8 for frames, else all.
        name_nbytes
            Size of the name field, instead of the one that this demands.
        listed
            Whether the map shall know the chunk.
        """
        self._pad()
        offset = self.offset
        raw = name.encode("latin-1")
        if name_nbytes is None:
            first = len(payload) if first_nbytes is None else first_nbytes
            name_nbytes = _name_nbytes(len(raw), first)
        if name_nbytes < len(raw):
            raise ValueError(f"{name} does not fit into {name_nbytes} bytes")
        self._write(
            _HEADER.pack(_MAGIC, name_nbytes, len(payload))
            + raw.ljust(name_nbytes, b"\0")
        )
        self._write(payload)
        if listed:
            self.chunks[name] = (offset, len(payload))
        return offset

    def put_frames(
        self,
        numbers: NDArray[np.int64],
        times: NDArray[np.float64],
        rows: Callable[[int, int], NDArray[np.uint8]],
        *,
        frame_nbytes: int,
        name_nbytes: int | None = None,
    ) -> None:
        """Write uncompressed frames of equal layout, many at a time.

        Parameters
        ----------
        numbers, times
            Numbers of the frame chunks and their acquisition times, in file order.
        rows
            Function of start and stop (indices into `numbers`) that returns the pixels
            of these frames, shape (stop - start, frame_nbytes).
        frame_nbytes
            Bytes of a frame's padded rows.
        name_nbytes
            Size of the name fields, as in `put`.
        """
        if name_nbytes is None:
            name_nbytes = _name_nbytes(len(FRAME_PREFIX) + 2, 8)
        self._pad()
        stride = _round_up(16 + name_nbytes + 8 + frame_nbytes, self._alignment)
        count = max(1, _BATCH_NBYTES // stride)
        for start in range(0, len(numbers), count):
            stop = min(start + count, len(numbers))
            block = np.zeros((stop - start, stride), np.uint8)
            header = np.zeros(stop - start, _FRAME_HEADER)
            header["magic"] = _MAGIC
            header["name"] = name_nbytes
            header["data"] = 8 + frame_nbytes
            block[:, :16] = header.view(np.uint8).reshape(-1, 16)
            names = np.array(
                [f"{FRAME_PREFIX}{n}!".encode() for n in numbers[start:stop].tolist()]
            )
            if names.itemsize > name_nbytes:
                raise ValueError(f"frame names do not fit into {name_nbytes} bytes")
            block[:, 16 : 16 + names.itemsize] = names.view(np.uint8).reshape(
                stop - start, -1
            )
            at = 16 + name_nbytes
            block[:, at : at + 8] = (
                times[start:stop].astype("<f8").view(np.uint8).reshape(-1, 8)
            )
            block[:, at + 8 : at + 8 + frame_nbytes] = rows(start, stop)
            offsets = self.offset + stride * np.arange(stop - start)
            self._frames.append((numbers[start:stop], offsets, 8 + frame_nbytes))
            self._write(block.reshape(-1).data)

    def finish(self, style: MapStyle = "nis", *, shift: int = _PAGE) -> None:
        """Write the chunk map and its footer (FORMAT 2.2), or a damaged one.

        Parameters
        ----------
        style
            See `MapStyle`.
        shift
            By how many bytes the wrong offsets are wrong.
        """
        self._pad()
        if style == "missing":
            return
        here = self.offset
        entries = io.BytesIO()
        lie = {"wrong_frame_offsets": shift, "outside": here << 8}.get(style, 0)
        for name, offset, nbytes in self._entries(style):
            raw = name.encode("latin-1")
            if not name.startswith(FRAME_PREFIX):
                entries.write(raw + _ENTRY.pack(offset, nbytes))
                continue
            if style == "duplicates":
                entries.write(raw + _ENTRY.pack(offset + shift, nbytes))
            size = offset if style == "size_equals_offset" else nbytes
            entries.write(raw + _ENTRY.pack(offset + lie, size))
        end = _MAP_END + struct.pack("<Q", here)
        body = entries.getvalue() + end
        if style == "garbage":
            body = bytes(0xA5 ^ (i % 251) for i in range(len(body)))
        # As long as fills the last page behind an unpadded name (FORMAT 2.2).
        total = _round_up(16 + 32 + len(body) + 40, _PAGE) - 48
        if style == "zero_footer":
            end = bytes(40)
        elif style == "zero_offset":
            end = _MAP_END + bytes(8)
        elif style == "wrong_offset":
            end = _MAP_END + struct.pack("<Q", here - shift)
        payload = body.ljust(total - 40, b"\0") + end
        self.put(
            _FILEMAP.decode(),
            payload,
            name_nbytes=32 if style == "nis4" else None,
            listed=False,
        )

    def _entries(self, style: MapStyle) -> Iterator[tuple[str, int, int]]:
        """Names, offsets and sizes in the order of the map: descending by name."""
        everything = list(
            zip(self.chunks, *zip(*self.chunks.values(), strict=True), strict=True)
            if self.chunks
            else ()
        )
        for numbers, offsets, nbytes in self._frames:
            everything += [
                (f"{FRAME_PREFIX}{n}!", offset, nbytes)
                for n, offset in zip(numbers.tolist(), offsets.tolist(), strict=True)
            ]
        everything.sort(reverse=style != "ascending")
        return iter(everything)

    def located(self) -> dict[str, tuple[int, int]]:
        """Offset and size of the payload of every listed chunk, by name."""
        return {name: (at, nbytes) for name, at, nbytes in self._entries("nis")}


def _name_nbytes(name_length: int, first_nbytes: int) -> int:
    """Size of the name field that ends `first_nbytes` of data on a page (FORMAT 1.3)."""
    end = _round_up(16 + name_length + _NAME_RESERVE + first_nbytes, _PAGE)
    return end - 16 - first_nbytes
