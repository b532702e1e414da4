"""Images as OME-Zarr: what is asked for, and writing it block by block."""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.export.export_journal import Found, Journal
from limnd2_xr.export.ngff_layout import select_positions
from limnd2_xr.export.ome_zarr_plan import OmeZarrOptions, plan_export
from limnd2_xr.export.parallel import started_pool
from limnd2_xr.export.requirements import require
from limnd2_xr.export.zarr_blocks import blocked, write_block
from limnd2_xr.export.zarr_target import RemoteTarget, open_target
from limnd2_xr.options import get_threads

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    import xarray as xr
    from dask.delayed import Delayed
    from numpy.typing import NDArray

    from limnd2_xr.export.ome_zarr_plan import ExportPlan
    from limnd2_xr.export.progress import Progress
    from limnd2_xr.export.zarr_blocks import Block, ImageExport

__all__ = ["to_ome_zarr"]

_REMOTE_THREADS: Final = 8
"""At least so many blocks are on their way to a server at a time, each in many objects."""


def to_ome_zarr(
    dataset: xr.Dataset,
    dest: str | os.PathLike[str],
    *,
    labels: xr.Dataset | bool = True,
    options: OmeZarrOptions | None = None,
    positions: Any = None,
    overwrite: bool = False,
    compute: bool = True,
    progress: Progress = False,
    storage_options: dict[str, Any] | None = None,
    resume: bool = False,
) -> Delayed | None:
    """Write the image of a dataset as OME-Zarr.

    Parameters
    ----------
    dataset
        With one image, of any of the dims T, P, Z, C, Y, X and, for RGB, S.
    dest
        Path, or any URL that fsspec knows.
    labels
        Label images along the loops, Y and X of the image; True for those of the file
        behind the dataset, False for none.
    options
        How.
    positions
        Which of P, see `limnd2_xr.export.ngff_layout.select_positions`.
    overwrite
        Replace what is there, once the new export is complete.
    compute
        Write now; else return what does it.
    progress
        Show a bar, or a function to call with steps done and steps there are; what it
        raises ends the export.
    storage_options
        For a URL: arguments of its filesystem.
    resume
        Go on with a killed export, if there is one; nothing is done if it is complete.

    Returns
    -------
    None or dask.delayed.Delayed

    Raises
    ------
    FileExistsError
        If something is there and `overwrite` is False, or an unfinished export and
        `resume` is False, too.
    ValueError
        If dims, chunks, positions or compressor do not fit, or an unfinished export is
        of something else.
    """
    require("OME-Zarr", "zarr", "yaozarrs", "dask")
    target = open_target(dest, storage_options)
    dataset = select_positions(dataset, positions)
    plan = plan_export(
        dataset, labels, options or OmeZarrOptions(), positions, target.name
    )
    journal = Journal.begin(target, plan.digest, overwrite=overwrite, resume=resume)
    if journal is None:
        return None if compute else _nothing_to_do()
    done = frozenset(journal.finished()) if resume else frozenset()
    receipts = _receipts(plan, done, journal)
    finish = partial(_finish, plan.without_pixels(), journal, overwrite)
    if not compute:
        from dask.delayed import delayed

        later: Delayed = delayed(finish, pure=False)(receipts)
        return later
    _run(
        receipts,
        plan,
        is_remote=isinstance(target, RemoteTarget),
        progress=progress,
        before=len(done),
    )
    finish([])
    return None


def _nothing_to_do() -> Delayed:
    from dask.delayed import delayed

    later: Delayed = delayed(None)
    return later


def _receipts(
    plan: ExportPlan, done: frozenset[tuple[int, int]], journal: Journal
) -> list[Any]:
    """Return tasks that write the blocks which are not done yet.

    Pixels of dask arrays come with the graph; others are read by the task, so that
    those of finished blocks are not read again.
    """
    tasks: list[Any] = []
    count = sum(math.prod(image.block_counts) for image in plan.exports)
    # Where there are fewer blocks than cores, chunks are compressed side by side.
    threads = 1 if count >= 2 * get_threads() else get_threads()
    for image in plan.exports:
        todo = [
            block for block in image.blocks if (image.number, block.number) not in done
        ]
        if image.pixels is None or image.pixels.chunks is None:
            tasks += _read_by_tasks(image, todo, journal, threads)
        elif todo:
            tasks += _read_by_graph(image, todo, journal, threads)
    return tasks


def _read_by_tasks(
    image: ImageExport, todo: list[Block], journal: Journal, threads: int
) -> list[Any]:
    from dask.delayed import delayed

    write = delayed(partial(_read_and_write, image, journal, threads), pure=False)
    return [write(block.number) for block in todo]


def _read_and_write(
    image: ImageExport, journal: Journal, threads: int, number: int
) -> int:
    block = image.block(number)
    write_block(image, block, image.read(block), journal, threads)
    return 1


def _read_by_graph(
    image: ImageExport, todo: list[Block], journal: Journal, threads: int
) -> list[Any]:
    import dask.array

    data = blocked(image)
    receipts = dask.array.map_blocks(
        partial(_write_given, image.without_pixels(), journal, threads),
        data,
        dtype=np.uint8,
        chunks=tuple((1,) * len(sizes) for sizes in data.chunks),
        meta=np.empty((0,) * data.ndim, np.uint8),
    )
    if len(todo) == math.prod(image.block_counts):
        return [receipts]
    return [receipts[_key(image, block.number)] for block in todo]  # no others


def _key(image: ImageExport, number: int) -> tuple[slice, ...]:
    """Return the receipt of a block in the array of receipts."""
    places = dict(zip("TZ", divmod(number, image.block_counts[1]), strict=True))
    starts = [places.get(dim, 0) for dim in image.dims]
    return tuple(slice(start, start + 1) for start in starts)


def _write_given(
    image: ImageExport,
    journal: Journal,
    threads: int,
    pixels: NDArray[Any],
    block_id: tuple[int, ...] = (),
) -> NDArray[np.uint8]:
    place = dict(zip(image.dims, block_id, strict=True))
    number = place.get("T", 0) * image.block_counts[1] + place.get("Z", 0)
    write_block(image, image.block(number), pixels, journal, threads)
    return np.ones((1,) * pixels.ndim, np.uint8)


def _run(
    receipts: list[Any],
    plan: ExportPlan,
    *,
    is_remote: bool,
    progress: Progress,
    before: int,
) -> None:
    """Write the blocks: by the threads of this process, or as dask would compute."""
    from dask.base import compute
    from dask.callbacks import Callback
    from dask.diagnostics.progress import ProgressBar
    from dask.threaded import get as threaded_get

    shown: Any = ProgressBar() if progress is True else nullcontext()
    told = _telling(progress, before) if callable(progress) else None
    if plan.is_dask:
        if told is not None:
            shown = Callback(posttask=told)
        with shown:
            compute(*receipts)
        return
    threads = max(get_threads(), _REMOTE_THREADS) if is_remote else get_threads()
    # By the name of its scheduler dask would look for a cluster first, and import what
    # that takes.
    options: dict[str, Any] = {"scheduler": threaded_get}
    if told is not None:  # of this export only, also if others run in other threads
        options["callbacks"] = [(None, None, None, told, None)]
    # Once this is left, by Ctrl-C too, nothing is written any more.
    with shown, started_pool(threads) as pool:
        compute(*receipts, pool=pool, **options)


def _telling(
    progress: Callable[[int, int], None], before: int
) -> Callable[[Any, Any, Any, Any, Any], None]:
    """Return what dask is to call after each task.

    Parameters
    ----------
    progress
        To be told.
    before
        Blocks that had been written already.
    """

    def after(_key: Any, _result: Any, _graph: Any, state: Any, _id: Any) -> None:
        done = len(state["finished"])
        rest = sum(len(state[name]) for name in ("ready", "waiting", "running"))
        progress(before + done, before + done + rest)

    return after


def _finish(
    plan: ExportPlan, journal: Journal, overwrite: bool, _receipts: Any
) -> None:
    """Write the metadata, and give the export its name."""
    found: dict[int, Found] = {}
    for (image, _), one in sorted(journal.finished().items()):
        found[image] = found.get(image, Found()).with_other(one)
    files, root = plan.hierarchy.files(found)
    for array in plan.arrays:
        files |= array.files
    files |= plan.files
    journal.target.put(files)
    journal.target.commit(root, overwrite=overwrite)
