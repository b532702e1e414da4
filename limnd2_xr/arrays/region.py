"""One file, written by several processes: begun, filled part by part, completed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.arrays.described import UNKNOWN_MS, per_frame_times
from limnd2_xr.arrays.image_dims import with_image_dims
from limnd2_xr.arrays.stored_pixels import WriteOptions
from limnd2_xr.arrays.write import (
    converted,
    create_writer,
    report_unwritten,
    run,
    write_blocks,
)
from limnd2_xr.arrays.write_plan import plan_write
from limnd2_xr.frames.writer import FrameTarget, FrameWriter

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import xarray as xr
    from dask.delayed import Delayed
    from numpy.typing import DTypeLike, NDArray

    from limnd2_xr.arrays.stored_pixels import Compression, OnLoss
    from limnd2_xr.model.axes import Axes

__all__ = ["create_nd2", "finalize_nd2", "write_region"]


def create_nd2(
    template: xr.DataArray,
    path: str | os.PathLike[str],
    *,
    compression: Compression = "keep",
    level: int | None = None,
    significant_bits: int | None = None,
    pyramid: bool = False,
    overwrite: bool = False,
    on_loss: OnLoss = "warn",
) -> None:
    """Begin a .nd2 file that several processes will fill.

    Metadata are written now. Frames follow with ``da.nd2.write_nd2(path, region=...)``,
    from any process that sees the file, in any order; `finalize_nd2` completes it. Until
    then it is called ``<path>.partial``.

    Parameters
    ----------
    template
        Shape, type, coordinates and attributes of the whole image; its pixels are not
        looked at, so it may be lazy, e.g. ``xr.zeros_like(da.chunk())``.
    path
        Name of the file to be.
    compression, level, significant_bits, on_loss
        As for ``da.nd2.write_nd2``.
    pyramid
        Store smaller copies of the frames, as for ``da.nd2.write_nd2``: whoever writes a
        frame makes its copies.
    overwrite
        Allow that a file of this name exists; `finalize_nd2` then has to be told, too.

    Raises
    ------
    FileExistsError
        If the file exists, or somebody has begun it already.
    ValueError
        If the template does not fit a file.

    Examples
    --------
    >>> import numpy as np, tempfile, xarray as xr
    >>> image = xr.DataArray(np.ones((2, 8, 8), "u2"), dims=("T", "Y", "X"))
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = folder.name + "/joint.nd2"
    >>> create_nd2(xr.zeros_like(image), path)
    >>> image[:1].nd2.write_nd2(path, region={"T": slice(0, 1)})
    >>> image[1:].nd2.write_nd2(path, region={"T": slice(1, 2)})
    >>> finalize_nd2(path)
    >>> int(xr.load_dataset(path, engine="nd2")["image"].sum())
    128
    >>> folder.cleanup()
    """
    options = WriteOptions(
        compression=compression,
        level=level,
        significant_bits=significant_bits,
        pyramid=pyramid,
        on_loss=on_loss,
    )
    plan = plan_write(template, options)
    create_writer(plan, path, overwrite=overwrite, shared=True).close()


def finalize_nd2(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Complete a file that `create_nd2` began, and give it its name.

    Parameters
    ----------
    path
        Name of the file to be.
    overwrite
        Replace an existing file.

    Raises
    ------
    FileNotFoundError
        If nobody began it.

    Warns
    -----
    Nd2Warning
        Which frames nobody wrote; they are stored as zeros.
    """
    with FrameWriter.open(path, overwrite=overwrite) as writer:
        writer.finalize(lambda unwritten: report_unwritten(unwritten, writer.frames))


def write_region(
    image: xr.DataArray,
    path: str | os.PathLike[str],
    *,
    region: Mapping[str, slice | int],
    dtype: DTypeLike | None = None,
    scale: float | None = None,
    compute: bool = True,
    progress: bool = False,
) -> Delayed | None:
    """Write a part of a file that `create_nd2` began: whole frames.

    Parameters
    ----------
    image
        The pixels of the part; where it has times (``time``), they replace those of the
        template in the frames.
    path
        Name of the file to be.
    region
        For each loop dim a slice or an index into the whole; dims that are not named are
        whole.
    dtype, scale
        Convert the pixels.
    compute
        Write now; else return what does it.
    progress
        Show a bar.

    Raises
    ------
    FileNotFoundError
        If nobody began the file.
    ValueError
        If the part does not fit its place.
    """
    target = FrameTarget.find(path)
    axes = target.axes
    in_memory = image.chunks is None
    image = with_image_dims(converted(image, dtype, scale))
    numbers = _numbers(image, axes, region)
    order = tuple(dim for dim in axes.file_order if dim in image.dims)
    image = image.transpose(*order, "C", "Y", "X", *("S" if "S" in image.dims else ""))
    _check_frames(image, target)
    times_ms = _times(target, image, order, numbers)
    receipts = write_blocks(image, numbers, times_ms, target)
    if not compute:
        from dask.delayed import delayed

        later: Delayed = delayed(_done)(receipts)
        return later
    run(receipts, progress=progress, in_memory=in_memory)
    return None


def _done(_receipts: Any) -> None:
    """Wait for a region's blocks."""


def _numbers(
    image: xr.DataArray, axes: Axes, region: Mapping[str, slice | int]
) -> NDArray[np.int64]:
    """Frame number for each index of the part's loops, in the order of the file."""
    unknown = [dim for dim in region if dim not in axes.dims]
    if unknown:
        within = [dim for dim in unknown if dim in {"C", "Y", "X", "S"}]
        hint = ": a region is made of whole frames, all of C, Y and X" if within else ""
        raise ValueError(
            f"region names {', '.join(unknown)}, but the loops of the file are "
            f"{', '.join(axes.dims) or 'none'}{hint}"
        )
    strange = [str(d) for d in image.dims if d in {"U", "T", "P", "Z"} - set(axes.dims)]
    if strange:
        raise ValueError(f"the file has no dim {', '.join(strange)}")
    numbers = axes.sequence()
    for axis, (dim, length) in enumerate(zip(axes.dims, axes.shape, strict=True)):
        index = _index(region.get(dim, slice(None)), dim, length)
        have = image.sizes.get(dim, 1)
        if len(index) != have:
            raise ValueError(
                f"the region has {len(index)} indices along {dim}, the array {have}"
            )
        numbers = numbers.take(index, axis=axis)
    order = [axes.dims.index(dim) for dim in axes.file_order]
    kept = [dim in image.dims for dim in axes.file_order]
    picks = tuple(slice(None) if keep else 0 for keep in kept)
    found: NDArray[np.int64] = numbers.transpose(order)[picks]
    return found


def _index(given: slice | int, dim: str, length: int) -> NDArray[np.int64]:
    try:
        found: NDArray[np.int64] = np.arange(length)[given].reshape(-1)
    except (IndexError, TypeError):
        raise ValueError(
            f"region {dim}={given!r} is no slice or index into {length} along {dim}"
        ) from None
    return found


def _check_frames(image: xr.DataArray, target: FrameTarget) -> None:
    shape = tuple(image.sizes[dim] for dim in image.dims if dim in {"C", "Y", "X", "S"})
    if shape != target.layout.frame_shape:
        raise ValueError(
            f"frames of the array have the shape {shape}, those of the file "
            f"{target.layout.frame_shape}"
        )
    if image.dtype.newbyteorder("<") != target.layout.dtype:
        raise TypeError(
            f"pixels are {image.dtype}, those of the file {target.layout.dtype}"
        )


def _times(
    target: FrameTarget,
    image: xr.DataArray,
    order: tuple[str, ...],
    numbers: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the times of the part's frames: its own, else the template's."""
    found = np.full(numbers.shape, np.nan)
    if target.times_ms is not None:
        found = target.times_ms[numbers]
    if "time" not in image.coords:
        return found
    own = per_frame_times(image, order).reshape(numbers.shape)
    return np.where(own != UNKNOWN_MS, own, found)
