"""A TIFF file whose pages are there first and are filled in any order, from any thread.

tifffile writes the structure: directories, tags, the description, with room for plain
pages or with empty strips and tiles. Pixels then go where they belong, or are appended;
where each strip and tile lies is entered into the directories at the end.
"""

from __future__ import annotations

import itertools
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.container.disk import naming, write_all
from limnd2_xr.container.kernel_copies import reserve
from limnd2_xr.export.tiff_directories import segment_tables

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from limnd2_xr.export.tiff_directories import SegmentTables
    from limnd2_xr.export.tiff_segments import Segments

__all__ = ["TiffFile", "TiffSpec"]

_ALIGN: Final = 16
_DIRECTORY_NBYTES: Final = 512
_CLASSIC_NBYTES: Final = 2**32 - 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffSpec:
    """What a TIFF file shall be."""

    pages: int
    """Number of pages, at least 1."""
    levels: tuple[Segments, ...]
    """Pages of full size, then their smaller copies."""
    description: bytes
    """Of the first page."""
    pixel_um: tuple[float | None, float | None] = (None, None)
    """Width and height of a pixel."""

    @property
    def nbytes(self) -> int:
        """How large the file may become: compression may make noise a little larger."""
        pixels = sum(level.page_nbytes for level in self.levels)
        if self.levels[0].compression is not None:
            pixels += pixels // 64
        segments = sum(level.count for level in self.levels)
        directories = len(self.levels) * _DIRECTORY_NBYTES + (16 + _ALIGN) * segments
        return len(self.description) + self.pages * (pixels + directories)

    def is_big(self, wanted: str | bool) -> bool:
        """Say whether the file needs 64-bit offsets.

        Parameters
        ----------
        wanted
            ``"auto"``, or whether it shall have them.

        Raises
        ------
        ValueError
            If it must have none but is too large, or `wanted` is something else.
        """
        needed = self.nbytes > _CLASSIC_NBYTES
        if isinstance(wanted, str):
            if wanted != "auto":
                raise ValueError(
                    f'bigtiff must be "auto", True or False, not {wanted!r}'
                )
            return needed
        if needed and not wanted:
            raise ValueError(
                f"up to {self.nbytes} bytes do not fit into a classic TIFF file of 4 GiB: "
                'leave bigtiff="auto", or split by position'
            )
        return bool(wanted)


class TiffFile:
    """An open file that is being written.

    Parameters
    ----------
    path
        Of a file that does not exist.
    spec
        What it shall be.
    bigtiff
        Whether offsets have 64 bits.
    """

    def __init__(self, path: Path, spec: TiffSpec, *, bigtiff: bool) -> None:
        self._spec = spec
        self._contiguous = _write_structure(path, spec, bigtiff=bigtiff)
        plain = len(self._contiguous) == len(spec.levels)
        self._tables = {} if plain else _find_tables(path, spec)
        shapes = [(spec.pages, level.count) for level in spec.levels]
        self._offsets = [np.zeros(shape, np.uint64) for shape in shapes]
        self._sizes = [np.zeros(shape, np.uint64) for shape in shapes]
        self._lock = threading.Lock()
        # Systems write to a file for one thread at a time, and others wait busily.
        self._writing = threading.Lock()
        self._fd = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        self._end = os.fstat(self._fd).st_size
        try:
            with naming(path):
                for level, at in self._contiguous.items():
                    reserve(self._fd, at, spec.pages * spec.levels[level].page_nbytes)
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    def put(self, level: int, page: int, row: int, pixels: NDArray[Any]) -> None:
        """Write a part of a page; several threads may do so at a time.

        Parameters
        ----------
        level
            Number of the size, 0 for the full one.
        page
            Number of the page.
        row
            First row of the part, the first one of a strip or tile.
        pixels
            Of shape (rows, width) or (rows, width, samples).
        """
        segments = self._spec.levels[level]
        if level in self._contiguous:
            row_nbytes = segments.page_nbytes // segments.height
            at = self._contiguous[level] + page * segments.page_nbytes
            plain = np.ascontiguousarray(pixels, segments.dtype)
            with self._writing:
                write_all(self._fd, at + row * row_nbytes, [plain.data.cast("B")])
            return
        parts = list(segments.cut(row, pixels))
        padded = [len(data) + -len(data) % _ALIGN for _, data in parts]
        with self._lock:
            at = self._end + -self._end % _ALIGN
            self._end = at + sum(padded)
        for (number, data), size in zip(parts, padded, strict=True):
            self._offsets[level][page, number] = at
            self._sizes[level][page, number] = len(data)
            with self._writing:
                write_all(self._fd, at, [data])
            at += size

    def take(self, page: int, copy: Callable[[int, int], bool]) -> bool:
        """Have a plain page copied from elsewhere; say whether that was done.

        Parameters
        ----------
        page
            Number of the page.
        copy
            Called with the file and where the page is to be; says whether it copied it.
        """
        if not self.is_plain:
            return False
        nbytes = self._spec.levels[0].page_nbytes
        with self._writing:
            return copy(self._fd, self._contiguous[0] + page * nbytes)

    @property
    def is_plain(self) -> bool:
        """Whether there are plain pages and nothing else."""
        return len(self._spec.levels) == 1 and bool(self._contiguous)

    def finish(self) -> None:
        """Enter where the segments lie; to be called when all are there."""
        for level, tables in self._tables.items():
            for page, directory in enumerate(tables):
                for table, values in (
                    (directory.offsets, self._offsets[level][page]),
                    (directory.sizes, self._sizes[level][page]),
                ):
                    if not values.all() or values.max() > np.iinfo(table.dtype).max:
                        raise AssertionError(  # pragma: no cover - a defect here
                            f"page {page} of level {level} was not written as planned"
                        )
                    write_all(
                        self._fd, table.offset, [values.astype(table.dtype).tobytes()]
                    )


def _write_structure(path: Path, spec: TiffSpec, *, bigtiff: bool) -> dict[int, int]:
    """Write everything but pixels; return where those of each plain level begin."""
    from tifffile import TiffWriter

    found = {}
    with TiffWriter(
        path, bigtiff=bigtiff, byteorder="<", ome=False, shaped=False
    ) as tif:
        for number, level in enumerate(spec.levels):
            shape = (spec.pages, level.height, level.width)
            told: dict[str, Any] = {}
            if number == 0:
                told = {
                    "description": spec.description,
                    "subifds": len(spec.levels) - 1 or None,
                }
            else:
                told = {"subfiletype": 1}
            place = tif.write(
                None
                if level.is_contiguous
                else itertools.repeat(b"", spec.pages * level.count),
                shape=shape if level.samples == 1 else (*shape, level.samples),
                dtype=level.dtype,
                photometric="minisblack" if level.samples == 1 else "rgb",
                tile=level.tile,
                rowsperstrip=None if level.is_contiguous or level.tile else level.rows,
                compression=_TAGS[level.compression],
                predictor=level.predictor if level.predictor > 1 else None,
                resolution=_resolution(spec, number),
                resolutionunit="centimeter" if all(spec.pixel_um) else None,
                software="limnd2-xr",
                metadata=None,
                returnoffset=level.is_contiguous,
                **told,
            )
            if place is not None:
                found[number] = place[0]
    return found


_TAGS: Final = {None: None, "zlib": 8, "lzw": 5, "zstd": 50000, "jpeg2000": 34712}


def _resolution(spec: TiffSpec, level: int) -> tuple[float, float] | None:
    x_um, y_um = spec.pixel_um
    if not (x_um and y_um):
        return None
    return 1e4 / (x_um * 2**level), 1e4 / (y_um * 2**level)


def _find_tables(path: Path, spec: TiffSpec) -> dict[int, list[SegmentTables]]:
    """Find where the directories of each level that is cut list offsets and sizes."""
    found: dict[int, list[SegmentTables]] = {
        number: []
        for number, level in enumerate(spec.levels)
        if not level.is_contiguous
    }
    for levels in segment_tables(path):
        for number, tables in enumerate(levels):
            if number in found:
                found[number].append(tables)
    return found
