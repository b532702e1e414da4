"""Pixels to chunks: block after block is read, halved, compressed and stored.

A block holds whole frames, and all frames that share a chunk or shard with one of them:
so blocks are independent of each other, each frame is read once, and all smaller copies
are made while it is in memory.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.export.export_journal import Found
from limnd2_xr.export.pyramid_levels import halved
from limnd2_xr.frames.threads import run_all

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from limnd2_xr.export.export_journal import Journal
    from limnd2_xr.export.pyramid_levels import Method
    from limnd2_xr.export.zarr_arrays import ArraySpec

__all__ = ["BLOCK_NBYTES", "Block", "ImageExport", "blocked", "write_block"]

BLOCK_NBYTES: Final = 16 * 2**20
"""About this much of an image is in memory for each thread, if its chunks allow it."""
_MOST_FRAMES: Final = 512
"""A block with more frames would be redone whole after a kill, however small they are."""


@dataclass(frozen=True, slots=True)
class Block:
    """A part of an image: some frames along T and Z."""

    number: int
    """In the image; stands in the journal."""
    t: slice
    z: slice


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageExport:
    """One image of the export, or one of its label images: from where, and where to.

    Made by `of`.
    """

    number: int
    """In the export; stands in the journal."""
    dims: tuple[str, ...]
    """Any of T and Z, C (images), Y, X and, for RGB, S."""
    pixels: xr.Variable | None
    """Over these dims; None where they come from elsewhere."""
    levels: tuple[ArraySpec, ...]
    """Arrays from the largest to the smallest."""
    method: Method
    """How smaller copies are made."""
    wants_range: bool
    """Whether the smallest and largest value are to be found."""
    frames: tuple[int, int]
    """How many there are along T and Z."""
    unit: tuple[int, int]
    """How many of them share a chunk or shard."""
    block_size: tuple[int, int]
    """How many are in a block, a multiple of `unit`."""

    @classmethod
    def of(
        cls,
        pixels: xr.Variable,
        levels: tuple[ArraySpec, ...],
        method: Method,
        *,
        number: int,
        wants_range: bool,
    ) -> ImageExport:
        """Cut an image into blocks; parameters as the attributes of the same name."""
        sizes = pixels.sizes
        frames = sizes.get("T", 1), sizes.get("Z", 1)
        piece = dict(zip(levels[0].axes, levels[0].pieces, strict=True))
        unit = piece.get("t", 1), piece.get("z", 1)
        return cls(
            number=number,
            dims=tuple(map(str, pixels.dims)),
            pixels=pixels,
            levels=levels,
            method=method,
            wants_range=wants_range,
            frames=frames,
            unit=unit,
            block_size=_block_size(pixels, frames, unit),
        )

    def without_pixels(self) -> ImageExport:
        """Return the same for pixels that come from elsewhere."""
        return replace(self, pixels=None)

    @property
    def block_counts(self) -> tuple[int, int]:
        """How many blocks there are along T and Z."""
        t, z = (
            math.ceil(n / size)
            for n, size in zip(self.frames, self.block_size, strict=True)
        )
        return t, z

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks, in the order of T and Z."""
        return tuple(map(self.block, range(math.prod(self.block_counts))))

    def block(self, number: int) -> Block:
        """Return one block."""
        t, z = (
            slice(at * size, min((at + 1) * size, n))
            for at, size, n in zip(
                divmod(number, self.block_counts[1]),
                self.block_size,
                self.frames,
                strict=True,
            )
        )
        return Block(number, t, z)

    def read(self, block: Block) -> NDArray[Any]:
        """Return the pixels of a block."""
        assert self.pixels is not None  # noqa: S101 - only called where they are
        spans = {"T": block.t, "Z": block.z}
        key = {dim: span for dim, span in spans.items() if dim in self.dims}
        return np.asarray(self.pixels.isel(key).data)


def _block_size(
    pixels: xr.Variable, frames: tuple[int, int], unit: tuple[int, int]
) -> tuple[int, int]:
    """Return how many frames along T and Z make a block."""
    t, z = unit
    if pixels.chunks is not None:
        # Blocks of a dask array are as large as somebody found right.
        given = dict(zip(pixels.dims, pixels.chunks, strict=True))
        t_room, z_room = max(given.get("T", (1,))), max(given.get("Z", (1,)))
    else:
        sizes = [n for dim, n in pixels.sizes.items() if dim not in {"T", "Z"}]
        nbytes = max(1, pixels.dtype.itemsize * math.prod(sizes))
        z_room = max(1, min(_MOST_FRAMES, BLOCK_NBYTES // nbytes)) // t
        t_room = z_room * t // _rounded(min(z_room, frames[1]), z)
    return min(_rounded(t_room, t), frames[0]), min(_rounded(z_room, z), frames[1])


def _rounded(length: int, unit: int) -> int:
    """Return the largest multiple of a unit that is not longer; one unit at least."""
    return max(1, length // unit) * unit


def write_block(
    image: ImageExport,
    block: Block,
    pixels: NDArray[Any],
    journal: Journal,
    threads: int = 1,
) -> None:
    """Store a block of an image and of all its smaller copies, and note that.

    Parameters
    ----------
    image
        Which the block is of.
    block
        Which.
    pixels
        Its pixels, of the dims that the image has.
    journal
        Of the export.
    threads
        That compress chunks of this block.
    """
    low, high = np.inf, -np.inf
    t_unit, z_unit = image.unit
    ordered = _in_order(image, pixels)
    for t, z in itertools.product(
        range(0, ordered.shape[0], t_unit), range(0, ordered.shape[2], z_unit)
    ):
        unit = ordered[t : t + t_unit, :, z : z + z_unit]
        if image.wants_range:
            with np.errstate(invalid="ignore"):
                finite = unit if unit.dtype.kind != "f" else unit[np.isfinite(unit)]
            if finite.size:
                low = min(low, float(finite.min()))
                high = max(high, float(finite.max()))
        unit = np.ascontiguousarray(unit)  # cheaper to halve and to cut
        _write_unit(image, unit, block.t.start + t, block.z.start + z, journal, threads)
    found = Found(low, high) if low <= high else Found()
    journal.note(image.number, block.number, found)


def _write_unit(
    image: ImageExport,
    unit: NDArray[Any],
    t: int,
    z: int,
    journal: Journal,
    threads: int,
) -> None:
    """Store frames that share chunks, and their smaller copies."""
    for number, level in enumerate(image.levels):
        if number:
            unit = halved(unit, image.method)
        origin = {"t": t, "c": 0, "z": z, "y": 0, "x": 0}
        absent = tuple(i for i, name in enumerate(origin) if name not in level.axes)
        pixels = unit.squeeze(absent)
        start = tuple(origin[name] for name in level.axes)
        objects: dict[str, bytes] = {}

        def encode(
            item: tuple[tuple[int, ...], NDArray[Any]],
            level: ArraySpec = level,
            objects: dict[str, bytes] = objects,
        ) -> None:
            data = level.encoded(item[1])
            if data is not None:
                objects[level.key(item[0])] = data

        run_all(encode, list(level.objects(pixels, start)), threads)
        journal.target.put(objects)


def _in_order(image: ImageExport, pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels as T, C, Z, Y, X: components of colours as channels."""
    dims = list(image.dims)
    for dim in "TZCS":
        if dim not in dims:
            dims.insert(0, dim)
            pixels = pixels[np.newaxis]
    pixels = pixels.transpose([dims.index(dim) for dim in "TCSZYX"])
    times, channels, samples = pixels.shape[:3]
    return pixels.reshape(times, channels * samples, *pixels.shape[3:])


def blocked(image: ImageExport) -> Any:
    """Return the pixels of an image that are a dask array, cut into its blocks."""
    assert image.pixels is not None  # noqa: S101 - as above
    sizes = dict(zip("TZ", image.block_size, strict=True))
    cuts = {i: sizes.get(dim, -1) for i, dim in enumerate(image.dims)}
    return image.pixels.data.rechunk(cuts)
