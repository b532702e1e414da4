"""Images as OME-TIFF files: plain or compressed, tiled, with smaller copies.

Frames are read in groups on several threads, each once, and every group is written as it
comes, so memory is bounded however large the image is. A file has its name only once it
is complete.
"""

from __future__ import annotations

import functools
import math
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from limnd2_xr.export.export_image import ExportImage
from limnd2_xr.export.file_names import check_distinct, safe_part
from limnd2_xr.export.frame_groups import frame_groups
from limnd2_xr.export.new_file import check_target, new_file
from limnd2_xr.export.ome_model import ome_of
from limnd2_xr.export.ome_xml import xml_of
from limnd2_xr.export.parallel import run_pieces, workers_for
from limnd2_xr.export.progress import progress_of
from limnd2_xr.export.pyramid_levels import halved, level_sizes
from limnd2_xr.export.requirements import require
from limnd2_xr.export.stored_planes import StoredPlanes
from limnd2_xr.export.tiff_file import TiffFile, TiffSpec
from limnd2_xr.export.tiff_segments import Segments, check_compression, check_tile

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    import xarray as xr
    from numpy.typing import NDArray
    from ome_types import OME

    from limnd2_xr.export.frame_groups import FrameGroup
    from limnd2_xr.export.progress import Advance, Progress
    from limnd2_xr.export.pyramid_levels import Pyramid
    from limnd2_xr.export.tiff_segments import TiffCompression, Tile
    from limnd2_xr.frames.stored_frames import StoredFrames

__all__ = ["OnFrame", "Split", "to_ome_tiff"]

Split: TypeAlias = Literal["position"] | None
"""Whether each position has a file of its own."""

OnFrame: TypeAlias = "Callable[[int, int, dict[str, int]], None]"
"""Called with the number of a frame, how many there are, and its index along the loops."""

_SUFFIXES: Final = (".ome.tiff", ".ome.tif", ".tiff", ".tif")


def to_ome_tiff(
    obj: xr.Dataset | xr.DataArray,
    dest: str | os.PathLike[str],
    *,
    pyramid: Pyramid = False,
    compression: TiffCompression = None,
    tile: Tile = "auto",
    bigtiff: bool | Literal["auto"] = "auto",
    split: Split = None,
    annotations: bool = True,
    modify_ome: Callable[[OME], None] | None = None,
    on_frame: OnFrame | None = None,
    overwrite: bool = False,
    progress: Progress = False,
) -> tuple[Path, ...]:
    """Write an image as OME-TIFF, see `limnd2_xr.accessor.exporting`.

    Parameters
    ----------
    obj
        Dataset with one variable, or an array, over any of T, P, Z, C, Y, X, S, U.
    dest, pyramid, compression, tile, bigtiff, split, annotations
        As for `ExportAccessor.to_ome_tiff`.
    modify_ome, on_frame, overwrite, progress
        Likewise.

    Returns
    -------
    tuple of Path
        Files that were written.

    Raises
    ------
    FileExistsError, ValueError, UnsupportedDtype
        As for `ExportAccessor.to_ome_tiff`.
    ModuleNotFoundError
        If tifffile is not installed.
    """
    require("OME-TIFF", "tifffile", *(["imagecodecs"] if compression else []))
    source = ExportImage.of(obj)
    options = _Options.checked(source, pyramid, compression, tile, bigtiff)
    if split not in {None, "position"}:
        raise ValueError(f'split must be "position" or None, not {split!r}')
    parts = [(source, Path(dest))]
    if split:
        parts = list(_split(source, Path(dest)))
    targets = [check_target(path, overwrite=overwrite) for _, path in parts]
    frames = sum(int(part.n_frames) for part, _ in parts)
    with ExitStack() as stack:
        advance = stack.enter_context(progress_of(progress, frames, targets[0].name))
        told = _Told(advance=advance, on_frame=on_frame, total=frames)
        for (part, _), target in zip(parts, targets, strict=True):
            # All files get their names together, at the end.
            partial = stack.enter_context(new_file(target, overwrite=overwrite))
            ome = ome_of(part, annotations=annotations)
            _write(part, partial, ome, options, modify_ome, told)
    return tuple(targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """How files are written."""

    levels: tuple[Segments, ...]
    bigtiff: bool | Literal["auto"]

    @classmethod
    def checked(
        cls,
        source: ExportImage,
        pyramid: Pyramid,
        compression: TiffCompression,
        tile: Tile,
        bigtiff: bool | Literal["auto"],
    ) -> _Options:
        compression = check_compression(compression)
        dtype = source.image.dtype.newbyteorder("<")
        if compression == "jpeg2000" and (dtype.kind != "u" or dtype.itemsize > 2):
            raise ValueError(
                f'compression="jpeg2000" is for uint8 and uint16, not {dtype.name}: take '
                '"zlib" or "zstd"'
            )
        sizes = source.image.sizes
        height, width = sizes["Y"], sizes["X"]
        cut = check_tile(
            tile,
            (height, width),
            pixel_nbytes=source.samples * dtype.itemsize,
            compressed=compression is not None,
            pyramid=bool(pyramid),
        )
        levels = tuple(
            Segments(
                height=h,
                width=w,
                samples=source.samples,
                dtype=dtype,
                tile=cut,
                compression=compression,
            )
            for h, w in level_sizes(height, width, pyramid)
        )
        return cls(levels=levels, bigtiff=bigtiff)

    @property
    def row_unit(self) -> int:
        """Rows that a group of rows must be a multiple of, to be whole at each level."""
        units = (
            (1 if level.is_contiguous else level.rows) << number
            for number, level in enumerate(self.levels)
        )
        return min(math.lcm(*units), self.levels[0].height)


class _Told:
    """Tells of frames that are written: how many, and which."""

    def __init__(
        self, *, advance: Advance, on_frame: OnFrame | None, total: int
    ) -> None:
        self._advance = advance
        self._on_frame = on_frame
        self._total = total
        self._first = 0
        self._lock = threading.Lock()

    def frame(self, number: int, index: dict[str, int]) -> None:
        """Tell of one frame of the current file."""
        with self._lock:
            if self._on_frame is not None:
                self._on_frame(self._first + number, self._total, index)
        self._advance()

    def next_file(self, frames: int) -> None:
        """Count on from the frames of a file."""
        self._first += frames


def _split(source: ExportImage, dest: Path) -> Iterator[tuple[ExportImage, Path]]:
    """Yield each position as an image of its own, and the name of its file."""
    stem, suffix = _stem(dest.name)
    positions = list(source.positions())
    texts = [_position_text(source, position.index) for position in positions]
    names = [dest.with_name(f"{stem}_{text}{suffix}") for text in texts]
    check_distinct(names)
    for position, name in zip(positions, names, strict=True):
        yield source.at(position), name


def _position_text(source: ExportImage, index: dict[str, int]) -> str:
    label = safe_part(source.position_label(index))
    numbers = [f"{dim}{at:03}" for dim, at in index.items() if dim != "P" or not label]
    return "_".join([*([label] if label else []), *numbers]) or "P000"


def _stem(name: str) -> tuple[str, str]:
    """Cut a name before its suffix, which may be ``.ome.tif``."""
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)], name[-len(suffix) :]
    return name, ""


def _write(
    source: ExportImage,
    path: Path,
    ome: OME,
    options: _Options,
    modify_ome: Callable[[OME], None] | None,
    told: _Told,
) -> None:
    """Write one file."""
    channels = source.image.sizes["C"]
    pages = source.n_frames * channels
    _refer_to_pages(ome)
    if modify_ome is not None:
        modify_ome(ome)
    spec = TiffSpec(
        pages=pages,
        levels=options.levels,
        description=xml_of(ome).encode("utf-8"),
        pixel_um=source.pixel_size_um,
    )
    with TiffFile(path, spec, bigtiff=spec.is_big(options.bigtiff)) as tiff:
        writer = _PageWriter.of(source, tiff, options.levels, told)
        with writer.opened():
            groups = frame_groups(
                source.pixels,
                row_unit=options.row_unit,
                whole_frames=writer.stored is not None,
            )
            run_pieces(writer.write, groups, writer.workers(groups))
        tiff.finish()
    told.next_file(source.n_frames)


@dataclass(slots=True, kw_only=True)
class _PageWriter:
    """Writes pages of groups of frames."""

    tiff: TiffFile
    levels: tuple[Segments, ...]
    told: _Told
    source: ExportImage
    page_of: NDArray[np.int64]
    """First page of each frame."""
    stored: StoredPlanes | None
    """Frames that need but be copied."""
    frames: StoredFrames | None = None
    """Those of the file, while it is open for that."""

    @classmethod
    def of(
        cls,
        source: ExportImage,
        tiff: TiffFile,
        levels: tuple[Segments, ...],
        told: _Told,
    ) -> _PageWriter:
        pixels = source.pixels
        return cls(
            tiff=tiff,
            levels=levels,
            told=told,
            source=source,
            page_of=source.page_numbers() * source.image.sizes["C"],
            stored=StoredPlanes.of(pixels.variable, pixels.loops)
            if tiff.is_plain
            else None,
        )

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Keep the file open that frames are copied from."""
        if self.stored is None:
            yield
            return
        with self.stored.store() as store:
            self.frames = store.stored
            yield

    def workers(self, groups: Sequence[FrameGroup]) -> int:
        """On how many threads to write groups."""
        pixels, height = self.source.pixels, self.source.image.sizes["Y"]
        largest = max(
            g.numbers.size * pixels.frame_nbytes * _rows(g, height) // height
            for g in groups
        )
        inner = pixels.variable.chunks is not None
        return workers_for(2 * largest, inner_threads=inner)

    def write(self, group: FrameGroup) -> None:
        """Write the pages of a group."""
        numbers = group.numbers.ravel().tolist()
        if all(map(self._copied, numbers)):
            for number in numbers:
                self._tell(number)
            return
        block = group.read(self.source.pixels)
        for number, frame in zip(numbers, block, strict=True):
            for channel, plane in enumerate(frame):
                page = int(self.page_of[number]) + channel
                _put_levels(self.tiff, self.levels, page, group.row, plane)
            if group.row + block.shape[2] == self.source.image.sizes["Y"]:
                self._tell(number)

    def _copied(self, number: int) -> bool:
        """Copy a frame from file to file, and say whether that was possible."""
        if self.stored is None or self.frames is None:
            return False
        wanted = int(self.stored.numbers[number])
        copy = functools.partial(self.frames.copy_to, wanted)
        return self.tiff.take(int(self.page_of[number]), copy)

    def _tell(self, number: int) -> None:
        loops = self.source.loops
        shape = [self.source.image.sizes[dim] for dim in loops]
        at = np.unravel_index(number, shape) if shape else ()
        self.told.frame(number, dict(zip(loops, map(int, at), strict=True)))


def _rows(group: FrameGroup, height: int) -> int:
    rows = group.index["Y"]
    return int(min(rows.stop, height) - rows.start)


def _put_levels(
    tiff: TiffFile,
    levels: tuple[Segments, ...],
    page: int,
    row: int,
    plane: NDArray[Any],
) -> None:
    """Write rows of a page and of its smaller copies."""
    for number, level in enumerate(levels):
        if number:
            plane, row = _halved(plane), row // 2
            # What is left of a single last row belongs to no row of the copy.
            plane = plane[: max(0, level.height - row)]
        if not len(plane):
            return
        tiff.put(number, page, row, plane)


def _halved(plane: NDArray[Any]) -> NDArray[Any]:
    """Halve an image over Y, X and, for RGB, S."""
    if plane.ndim == 2:
        return halved(plane, "mean")
    return np.stack([halved(plane[..., s], "mean") for s in range(plane.shape[2])], 2)


def _refer_to_pages(ome: OME) -> None:
    """Say in which pages the planes of each image are: one after the other."""
    from ome_types import model as m

    first = 0
    for image in ome.images:
        pixels = image.pixels
        samples = (pixels.channels[0].samples_per_pixel or 1) if pixels.channels else 1
        count = pixels.size_t * pixels.size_z * pixels.size_c // samples
        pixels.metadata_only = None
        pixels.tiff_data_blocks = [
            m.TiffData(ifd=first, first_z=0, first_c=0, first_t=0, plane_count=count)
        ]
        pixels.big_endian = False
        first += count
