"""TIFF: OME-TIFF, ImageJ hyperstacks, BigTIFF, tiles, pyramids; plane by plane."""

from __future__ import annotations

import itertools
import logging
import math
import os
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.conversion.imagej_described import describe_imagej, plain_pixel_size
from limnd2_xr.conversion.lazy_images import OuterArray, lazy
from limnd2_xr.conversion.ome_described import axis, ome_images
from limnd2_xr.conversion.ome_image import described_by_ome
from limnd2_xr.conversion.source_image import (
    Reading,
    SourceImage,
    check_size,
    checked_dims,
    without_alpha,
)
from limnd2_xr.errors import Nd2Error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from numpy.typing import NDArray

    from limnd2_xr.conversion.ome_described import OmeImage

__all__ = ["is_tiff", "open_tiff"]

_KNOWN: Final = frozenset("TPZCYXS")
_COLOURED: Final = {"RGB", "YCBCR", "CIELAB", "ICCLAB", "ITULAB"}
_FORMATS: Final = {"ome": "OME-TIFF", "imagej": "ImageJ TIFF"}


def open_tiff(
    path: str, reading: Reading, stack: ExitStack | None
) -> list[SourceImage]:
    """Open the images of a TIFF file, those of full resolution.

    Parameters
    ----------
    path
        Of a local file.
    reading
        How to understand it.
    stack
        What closes the file; None opens it anew for each read, for one of many files.

    Raises
    ------
    Nd2Error
        If it is damaged, or its images cannot be told apart.
    """
    file = _File(path)
    with ExitStack() as own:
        said = own.enter_context(_Complaints())
        tiff = (own if stack is None else stack).enter_context(file.used())
        try:
            return said.checked(_images(file, tiff, reading))
        except Nd2Error as error:
            raise error.located(path=path) from None
        except (MemoryError, OSError):
            raise
        except Exception as error:
            # tifffile raises anything of a file that is damaged.
            raise Nd2Error(f"not readable as TIFF: {error}", path=path) from error


def _images(file: _File, tiff: Any, reading: Reading) -> list[SourceImage]:
    described: tuple[OmeImage, ...] = ()
    if tiff.is_ome and tiff.ome_metadata:
        # Before tifffile believes what it says of sizes.
        described = ome_images(tiff.ome_metadata)
        for image in described:
            image.check_size(file.path)
    found = [
        _image(file, tiff, number, reading)
        for number in range(len(tiff.series))
        if reading.series in {None, number}
    ]
    if not found:
        number = f", and no {reading.series}" if reading.series is not None else ""
        raise Nd2Error(f"the file has {len(tiff.series)} images{number}")
    return _with_ome(found, described, reading) if described else found


class _Complaints(logging.Handler):
    """What tifffile finds wrong while a file is opened: it says so, and goes on."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._thread = threading.get_ident()
        self._found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self._found.append(record.getMessage())

    def checked(self, images: list[SourceImage]) -> list[SourceImage]:
        """Return images, or raise of the first thing that is wrong."""
        if self._found:
            raise Nd2Error(f"damaged: {self._found[0]}")
        return images

    def __enter__(self) -> Self:
        logging.getLogger("tifffile").addHandler(self)
        return self

    def __exit__(self, *_exception: object) -> None:
        logging.getLogger("tifffile").removeHandler(self)


class _File:
    """A TIFF file that is open as long as somebody uses it; many threads may."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._users = 0
        self._tiff: Any = None

    def __getstate__(self) -> str:
        return self.path

    def __setstate__(self, path: str) -> None:
        self.__init__(path)  # type: ignore[misc]

    @contextmanager
    def used(self) -> Iterator[Any]:
        """Lend the open `tifffile.TiffFile` for the time of a `with` block."""
        import tifffile

        with self.lock:
            if self._tiff is None:
                try:
                    self._tiff = tifffile.TiffFile(self.path)
                except (MemoryError, OSError):
                    raise
                except Exception as error:
                    # Whatever comes of parsing bytes that are none of TIFF.
                    raise Nd2Error(
                        f"not readable as TIFF: {error}", path=self.path
                    ) from error
                self._tiff.filehandle.set_lock(True)
            self._users += 1
        try:
            yield self._tiff
        finally:
            with self.lock:
                self._users -= 1
                if not self._users:
                    self._tiff.close()
                    self._tiff = None


class _Series(OuterArray):
    """Pixels of one series: loops over its pages, then the dims of a page."""

    def __init__(self, file: _File, number: int, series: Any) -> None:
        self._file = file
        self._number = number
        page = series.keyframe
        self.shape = tuple(series.shape)
        self.dtype = np.dtype(series.dtype).newbyteorder("=")
        # A series may leave out dims of length 1 that its pages have.
        self._plane = tuple(page.shape)
        count = math.prod(self.shape) // max(1, math.prod(self._plane))
        self._loops = _loops(self.shape, count)
        self._offset = series.dataoffset
        self._stored = np.dtype(page.parent.byteorder + np.dtype(page.dtype).char)

    def read(self, indices: Sequence[NDArray[np.int64]]) -> NDArray[Any]:
        loops = len(self._loops)
        outer, inner = indices[:loops], indices[loops:]
        shape = self.shape[loops:]
        found = np.empty([len(index) for index in indices], self.dtype)
        with self._file.used() as tiff:
            for place in itertools.product(*(range(len(index)) for index in outer)):
                at = [int(index[i]) for index, i in zip(outer, place, strict=True)]
                number = int(np.ravel_multi_index(at, self._loops)) if at else 0
                plane = self._page(tiff, number).reshape(shape)
                found[place] = plane[np.ix_(*inner)]
        return found

    def _page(self, tiff: Any, number: int) -> NDArray[Any]:
        try:
            if self._offset is not None:
                return self._contiguous(tiff, number)
            return self._decoded(tiff, number)
        except (MemoryError, Nd2Error):
            raise
        except Exception as error:
            raise Nd2Error(
                f"page {number} is not readable: {error}", path=self._file.path
            ) from error

    def _contiguous(self, tiff: Any, number: int) -> NDArray[Any]:
        """Read a page of a series that lies in the file in one piece."""
        count = math.prod(self._plane)
        begin = self._offset + number * count * self._stored.itemsize
        with self._file.lock:
            handle = tiff.series[self._number].keyframe.parent.filehandle
            handle.seek(begin)
            data = handle.read(count * self._stored.itemsize)
        if len(data) < count * self._stored.itemsize:
            raise Nd2Error("the file ends before", path=self._file.path, offset=begin)
        return np.frombuffer(data, self._stored)

    def _decoded(self, tiff: Any, number: int) -> NDArray[Any]:
        with self._file.lock:
            page = tiff.series[self._number][number]
            if page is None:
                return np.zeros(self._plane, self.dtype)
            other = page.parent.filehandle
            if page.parent is not tiff:
                # Another file of the same OME-TIFF: there may be thousands.
                if other.closed:
                    other.open()
                try:
                    return np.asarray(page.asarray(maxworkers=1))
                finally:
                    other.close()
        return np.asarray(page.asarray(maxworkers=1))


def _loops(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Return the leading lengths whose product is the number of pages."""
    for end in range(len(shape) + 1):
        if math.prod(shape[:end]) == count:
            return shape[:end]
    raise Nd2Error(f"an image of {shape} is not made of {count} pages")


def _image(file: _File, tiff: Any, number: int, reading: Reading) -> SourceImage:
    series = tiff.series[number]
    page = series.keyframe
    photometric = getattr(page.photometric, "name", str(page.photometric))
    dims, notes = _dims(series, photometric, reading, file.path)
    notes = (*notes, *_absent(series, reading, file.path))
    nbytes = tiff.filehandle.size if series.kind != "ome" else None
    check_size(
        dims, series.shape, np.dtype(series.dtype), file.path, file_nbytes=nbytes
    )
    pixels = lazy(dims, _Series(file, number, series))
    pixels, dropped = without_alpha(pixels, file.path, drop_alpha=reading.drop_alpha)
    notes = (*notes, *dropped)
    if photometric == "MINISWHITE":
        notes = (*notes, "that 0 is white (values are as stored)")
    if photometric == "PALETTE" and not tiff.is_imagej:
        notes = (*notes, "the palette (values are as stored)")
    image = SourceImage(
        pixels=pixels,
        path=file.path,
        format=_FORMATS.get(series.kind, "TIFF"),
        part=f"series {number}" if len(tiff.series) > 1 else "",
        name=str(series.name or ""),
        notes=notes,
    )
    sizes = {str(dim): size for dim, size in pixels.sizes.items()}
    if tiff.is_imagej and not tiff.is_ome:
        coords, attrs, more = describe_imagej(
            tiff.imagej_metadata or {}, page.resolution, sizes
        )
        return replace(image, coords=coords, attrs=attrs, notes=(*notes, *more))
    size = plain_pixel_size(page.resolution, int(page.resolutionunit))
    if size is None or tiff.is_ome:
        return image
    places = {dim: axis(dim, np.arange(sizes[dim]) * size, "um") for dim in "YX"}
    return replace(image, coords=places)


def _dims(
    series: Any, photometric: str, reading: Reading, path: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return dims of a series, and what was assumed to find them."""
    axes = series.axes
    if reading.dims is not None:
        return checked_dims(reading.dims, len(axes), path), ()
    if "S" in axes and photometric not in _COLOURED and "C" not in axes:
        # Several samples that are no colours: channels that lie side by side.
        axes = axes.replace("S", "C")
    unknown = [letter for letter in axes if letter not in _KNOWN]
    if not unknown:
        return tuple(axes), ()
    if len(unknown) > 1 or "T" in axes:
        raise Nd2Error(
            f"axes {axes} of {series.shape}: nothing says what {', '.join(unknown)} "
            'means; name the dims, e.g. dims="TZYX" (--dims TZYX)',
            path=path,
        )
    count = series.shape[axes.index(unknown[0])]
    note = f"{count} pages are taken for time points, as nothing says what they are"
    return tuple(axes.replace(unknown[0], "T")), (note,)


def _absent(series: Any, reading: Reading, path: str) -> tuple[str, ...]:
    """Refuse an image of which planes are in no file; say so where that is accepted."""
    absent = sum(page is None for page in getattr(series, "_pages", ()))
    if not absent:
        return ()
    if not reading.fill_missing:
        raise Nd2Error(
            f"{absent} of {len(series)} planes are in none of its files: "
            "fill_missing=True (--fill-missing) stores zeros in their place",
            path=path,
        )
    return (f"{absent} of {len(series)} planes, which are in no file (0 is stored)",)


def _with_ome(
    found: list[SourceImage], described: tuple[OmeImage, ...], reading: Reading
) -> list[SourceImage]:
    if reading.series is not None:
        described = described[reading.series : reading.series + 1]
    if len(described) != len(found):
        note = "OME metadata (they describe another number of images)"
        return [replace(image, notes=(*image.notes, note)) for image in found]
    return [
        described_by_ome(image, ome)
        for image, ome in zip(found, described, strict=True)
    ]


def is_tiff(path: str) -> bool:
    """Say whether a file begins as TIFF does."""
    if not os.path.isfile(path):  # noqa: PTH113 - no Path for each of many files
        return False
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read(4) in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}
