"""Arrays to .nd2 files, block by block, in parallel and in bounded memory.

Every array goes the same way: it is cut into blocks of whole frames, each block writes
itself into the partial file and returns a receipt, and when all receipts are there the
file is completed and gets its name. Workers of a cluster get no file handle, only where
the frames go.
"""

from __future__ import annotations

import math
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.arrays.display_writing import scaled_ranges
from limnd2_xr.arrays.write_plan import plan_write
from limnd2_xr.errors import warn_user
from limnd2_xr.frames.writer import FrameTarget, FrameWriter

if TYPE_CHECKING:
    import xarray as xr
    from dask.delayed import Delayed
    from numpy.typing import DTypeLike, NDArray

    from limnd2_xr.arrays.beside import Beside
    from limnd2_xr.arrays.stored_pixels import WriteOptions
    from limnd2_xr.arrays.write_plan import WritePlan

__all__ = ["BLOCK_NBYTES", "create_writer", "frame_blocks", "write_blocks", "write_nd2"]

BLOCK_NBYTES: Final = 64 * 2**20
"""About this much of an array is in memory for each thread that writes."""

FRAME_DIMS: Final = ("C", "Y", "X", "S")


def write_nd2(
    image: xr.DataArray,
    path: str | os.PathLike[str],
    *,
    options: WriteOptions,
    beside: Beside | None = None,
    dtype: DTypeLike | None = None,
    scale: float | None = None,
    overwrite: bool = False,
    compute: bool = True,
    progress: bool = False,
) -> Delayed | None:
    """Write an array to a new file.

    Parameters
    ----------
    image
        The pixels, with coordinates.
    path
        Where to.
    options
        How.
    beside
        What to write with it.
    dtype, scale
        Convert the pixels, see `converted`.
    overwrite
        Replace an existing file, once the new one is complete.
    compute
        Write now; else return what does it.
    progress
        Show a bar.

    Returns
    -------
    None or dask.delayed.Delayed
    """
    image = converted(image, dtype, scale)
    plan = plan_write(image, options, beside)
    in_memory = image.chunks is None
    writer = create_writer(plan, path, overwrite=overwrite)
    try:
        times_ms = plan.times_ms[plan.numbers]
        receipts = write_blocks(plan.image, plan.numbers, times_ms, writer.frames)
        if not compute:
            from dask.delayed import delayed

            writer.leave()
            later: Delayed = delayed(_finish)(receipts, writer.frames, overwrite)
            return later
        run(receipts, progress=progress, in_memory=in_memory)
        writer.finalize()
    except BaseException:
        writer.rollback()
        raise
    return None


def create_writer(
    plan: WritePlan,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    shared: bool = False,
) -> FrameWriter:
    """Begin the file that a plan describes: all but the frames and the map.

    Parameters
    ----------
    plan
        From `plan_write`.
    path
        Name of the file to be.
    overwrite
        Whether it may replace an existing one.
    shared
        Whether other processes shall find the partial file by `path`.
    """
    if "://" in os.fspath(path):
        raise ValueError(
            f"{path} is not on this machine: write a local file, and copy it there"
        )
    return FrameWriter.create(
        Path(path).expanduser(),
        layout=plan.layout,
        n_frames=plan.n_frames,
        chunks=plan.chunks,
        times_ms=plan.times_ms,
        level=plan.level,
        significant_bits=plan.document.attributes.bits_significant,
        overwrite=overwrite,
        shared=shared,
        version=plan.version,
        pyramid=plan.pyramid,
    )


def write_blocks(
    image: xr.DataArray,
    numbers: NDArray[np.int64],
    times_ms: NDArray[np.float64],
    target: FrameTarget,
) -> Any:
    """Return a dask array that writes the blocks of an array when it is computed.

    Parameters
    ----------
    image
        Loop dims first, then C, Y, X and, for RGB, S.
    numbers
        Frame number for each index of the loop dims.
    times_ms
        Time to store with each of these frames, NaN where unknown.
    target
        Where the frames go.

    Returns
    -------
    dask.array.Array
        One receipt a frame, over the loop dims and dims of length 1.
    """
    import dask.array

    data = frame_blocks(image)
    loops = numbers.ndim
    inner = data.ndim - loops
    chunks = (*data.chunks[:loops], *(((1,),) * inner))

    def per_frame(values: NDArray[Any]) -> Any:
        # Each block gets its part only: what all blocks get is sent with each of them.
        return dask.array.from_array(
            values.reshape(values.shape + (1,) * inner),
            chunks=chunks,
            name=f"nd2-frames-{uuid.uuid4().hex}",
        )

    return dask.array.map_blocks(
        _write_block,
        data,
        per_frame(numbers),
        per_frame(times_ms),
        target=target.without_times(),
        dtype=np.int64,
        chunks=chunks,
        meta=np.empty((0,) * data.ndim, dtype=np.int64),
        name=f"nd2-write-{uuid.uuid4().hex}",
    )


def frame_blocks(image: xr.DataArray) -> Any:
    """Return the pixels as a dask array whose blocks are whole frames, not too many.

    Parameters
    ----------
    image
        With any dims, not empty.
    """
    import dask.array

    dims = [str(dim) for dim in image.dims]
    inside = {dim: -1 for dim in dims if dim in FRAME_DIMS}
    frame_nbytes = image.dtype.itemsize * math.prod(image.sizes[dim] for dim in inside)
    room = max(1, BLOCK_NBYTES // frame_nbytes)
    chunks: dict[str, Any] = {}
    for axis, dim in reversed(list(enumerate(dims))):
        if dim in inside:
            continue
        length = image.sizes[dim]
        given = max(image.chunks[axis]) if image.chunks is not None else length
        size = max(1, min(given, room, length))
        chunks[dim] = size
        room = max(1, room // size)
        if image.chunks is not None and given == size:
            # Blocks that are small enough stay as they are.
            chunks[dim] = image.chunks[axis]
    name = f"nd2-image-{uuid.uuid4().hex}"
    if isinstance(pixels := image.variable._data, np.ndarray):
        sizes = tuple({**inside, **chunks}[dim] for dim in dims)
        return dask.array.from_array(_Pixels(pixels), chunks=sizes, name=name)
    if image.chunks is None:
        return image.variable.chunk({**inside, **chunks}, name=name).data
    data = image.data
    wanted = {dims.index(dim): size for dim, size in {**chunks, **inside}.items()}
    return data.rechunk(wanted)


@dataclass(frozen=True, slots=True)
class _Pixels:
    """A numpy array of which dask takes views; given as it is, dask copies all of it."""

    array: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        return np.asarray(self.array[key])


def run(receipts: Any, *, progress: bool, in_memory: bool) -> None:
    """Compute receipts; pixels in the memory of this process stay in it."""
    from contextlib import nullcontext

    from dask.base import compute
    from dask.diagnostics.progress import ProgressBar
    from dask.threaded import get as threaded_get

    # By its name dask would look for a cluster first, and import what that takes.
    options: dict[str, Any] = {"scheduler": threaded_get} if in_memory else {}
    with ProgressBar() if progress else nullcontext():
        compute(receipts, **options)


def _write_block(
    block: NDArray[Any],
    numbers: NDArray[np.int64],
    times_ms: NDArray[np.float64],
    target: FrameTarget,
) -> NDArray[np.int64]:
    frame_shape = block.shape[-len(target.layout.frame_shape) :]
    target.put(numbers.ravel(), block.reshape(-1, *frame_shape), times_ms.ravel())
    return numbers


def _finish(_receipts: Any, target: FrameTarget, overwrite: bool) -> None:
    with FrameWriter.resume(target, overwrite=overwrite) as writer:
        writer.finalize()


def report_unwritten(unwritten: NDArray[np.int64], target: FrameTarget) -> None:
    """Warn which frames nobody wrote."""
    some = ", ".join(map(str, unwritten[:10].tolist()))
    warn_user(
        f"{target.target}: {len(unwritten)} of {target.n_frames} frames were not "
        f"written ({some}{', ...' if len(unwritten) > 10 else ''}); they are "
        "stored as zeros"
    )


def converted(
    image: xr.DataArray, dtype: DTypeLike | None, scale: float | None
) -> xr.DataArray:
    """Return the pixels times `scale` as `dtype`, converted block by block.

    Whole numbers are rounded to the nearest; what does not fit raises when it is met.

    Parameters
    ----------
    image
        Of any numbers.
    dtype
        Wanted; None leaves the type, or takes uint16 if there is a scale.
    scale
        Factor; None leaves the values.
    """
    if dtype is None and scale is None:
        return image
    wanted = np.dtype(dtype if dtype is not None else "uint16")
    if image.dtype.kind not in "biuf":
        raise TypeError(f"pixels of type {image.dtype} cannot be converted to {wanted}")
    try:
        is_number = scale is None or math.isfinite(scale)
    except TypeError:
        is_number = False
    if not is_number:
        raise ValueError(f"scale must be a number, not {scale!r}")
    if not image.size:
        raise ValueError(f"the array is empty: {dict(image.sizes)}")
    source = image if image.chunks is not None else image.copy(data=frame_blocks(image))
    data = source.data.map_blocks(
        _convert, dtype=wanted, to=wanted, scale=scale, meta=np.empty(0, wanted)
    )
    found = image.copy(data=data)
    return found if scale is None else scaled_ranges(found, float(scale))


def _convert(
    block: NDArray[Any], to: np.dtype[Any], scale: float | None
) -> NDArray[Any]:
    values = block if scale is None else block * np.float64(scale)
    if to.kind in "iu":
        if values.dtype.kind == "f":
            values = np.rint(values)
        limits = np.iinfo(to)
        low, high = values.min(), values.max()
        if not (low >= limits.min and high <= limits.max):
            raise ValueError(
                f"values from {low:g} to {high:g} do not fit into {to} (0 to {limits.max}): "
                "choose another scale or dtype"
            )
    return values.astype(to)
