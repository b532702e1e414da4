"""Writing an opened file in one of the formats, under its name once it is complete."""

from __future__ import annotations

import os
import tempfile
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from limnd2_xr.export.new_file import new_file
from limnd2_xr.export.new_folder import new_folder
from limnd2_xr.export.parallel import started_pool
from limnd2_xr.export.zarr_target import ROOT_FILES, is_store
from limnd2_xr.options import get_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import xarray as xr

    from limnd2_xr.cli.export_plan import ExportOptions, Job

    Writer: TypeAlias = Callable[[xr.Dataset, Path, ExportOptions, "Tell"], None]

__all__ = ["BLOCKED", "Tell", "output_nbytes", "write_export"]

Tell: TypeAlias = "Callable[[int, int], None]"
"""Called with steps done and steps there are; what it raises ends the export."""

BLOCKED: Final = frozenset({"netcdf", "zarr"})
"""Formats that xarray writes, from blocks of dask."""
_BLOCKS: Final = 4
"""Blocks in memory at a time: each has up to 96 MiB."""
_SUFFIXES: Final = {"tiff": (".tif", ".tiff"), "png": (".png",)}
_PLANE_NBYTES: Final = 2**26
"""A larger plane is no single chunk."""


def write_export(dataset: xr.Dataset, job: Job, tell: Tell) -> None:
    """Write a dataset as a job says.

    Parameters
    ----------
    dataset
        What was selected of the file; of `BLOCKED` formats in blocks of dask.
    job
        What it becomes, and where.
    tell
        How far it is.

    Raises
    ------
    FileExistsError
        If something has the name and may not be replaced.
    """
    options = job.options
    if options.to == "ome-zarr":
        _ome_zarr(dataset, job, tell)
        return
    write = _WRITERS[options.to]
    if job.writes_url:
        with tempfile.TemporaryDirectory(prefix="limnd2-xr-") as folder:
            local = Path(folder) / "export"
            if options.format.is_folder:
                local.mkdir()
            write(dataset, local, options, tell)
            _upload(local, job)
        return
    target = Path(job.output)
    target.parent.mkdir(parents=True, exist_ok=True)
    place: AbstractContextManager[Path]
    if options.format.is_folder:
        suffixes = _SUFFIXES.get(options.to, ())
        place = new_folder(target, overwrite=options.overwrite, suffixes=suffixes)
    else:
        place = new_file(target, overwrite=options.overwrite)
    with place as partial:
        write(dataset, partial, options, tell)


def _ome_zarr(dataset: xr.Dataset, job: Job, tell: Tell) -> None:
    options = job.options
    dataset.nd2.to_ome_zarr(
        job.output,
        version=options.version or "0.5",
        pyramid="auto" if options.pyramid is None else options.pyramid,
        compressor=options.compressor,
        overwrite=options.overwrite,
        resume=options.resume,
        storage_options=job.writing_options,
        progress=tell,
    )


def _ome_tiff(
    dataset: xr.Dataset, path: Path, options: ExportOptions, tell: Tell
) -> None:
    dataset.nd2.to_ome_tiff(
        path,
        pyramid=False if options.pyramid is None else options.pyramid,
        compression=options.compressor,
        progress=tell,
    )


def _ome_xml(
    dataset: xr.Dataset, path: Path, options: ExportOptions, tell: Tell
) -> None:
    del options
    dataset.nd2.to_ome_xml(path)
    tell(1, 1)


def _tiff(dataset: xr.Dataset, path: Path, options: ExportOptions, tell: Tell) -> None:
    dataset.nd2.to_tiff_sequence(
        path,
        template=options.template,
        scale=options.scale,
        dtype=options.dtype,
        compression=options.compressor is not None,
        progress=tell,
    )


def _png(dataset: xr.Dataset, path: Path, options: ExportOptions, tell: Tell) -> None:
    dataset.nd2.to_png_sequence(
        path,
        template=options.template,
        scale=options.scale,
        dtype=options.dtype,
        progress=tell,
    )


def _netcdf(
    dataset: xr.Dataset, path: Path, options: ExportOptions, tell: Tell
) -> None:
    try:
        import h5netcdf  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'netCDF needs h5netcdf: pip install "limnd2-xr[netcdf]"', name=error.name
        ) from error
    encoding: dict[str, Any] = {}
    if options.compressor is not None:
        encoding = {"zlib": True, "complevel": 1, "chunksizes": _plane(dataset)}
    with _computing(tell):
        dataset.to_netcdf(path, engine="h5netcdf", encoding={"image": encoding})


def _zarr(dataset: xr.Dataset, path: Path, options: ExportOptions, tell: Tell) -> None:
    from limnd2_xr.export.zarr_codecs import zarr_compressor

    codec = zarr_compressor(options.compressor, 3, dataset["image"].dtype)
    encoding = {
        "chunks": _plane(dataset),
        "compressors": None if codec is None else (codec,),
    }
    with _computing(tell), warnings.catch_warnings():
        # zarr 3.1 says of its own type for text that it has no specification yet.
        warnings.filterwarnings("ignore", "The data type", FutureWarning)
        dataset.to_zarr(
            path,
            mode="w",
            zarr_format=3,
            consolidated=False,
            encoding={"image": encoding},
        )


_WRITERS: Final[dict[str, Writer]] = {
    "ome-tiff": _ome_tiff,
    "ome-xml": _ome_xml,
    "tiff": _tiff,
    "png": _png,
    "netcdf": _netcdf,
    "zarr": _zarr,
}


def _plane(dataset: xr.Dataset) -> tuple[int, ...]:
    """Return the shape of chunks: a plane of a channel, or as many rows as are small."""
    image = dataset["image"]
    row_nbytes = image.sizes["X"] * image.sizes.get("S", 1) * image.dtype.itemsize
    rows = max(1, _PLANE_NBYTES // max(1, row_nbytes))
    lengths = {**image.sizes, "Y": min(image.sizes["Y"], rows)}
    return tuple(lengths[d] if d in ("Y", "X", "S") else 1 for d in image.dims)


def _computing(tell: Tell) -> AbstractContextManager[Any]:
    """Have dask compute few blocks at a time, and tell how many are done."""
    import dask
    from dask.callbacks import Callback
    from dask.threaded import get

    def after(_key: Any, _result: Any, _graph: Any, state: Any, _id: Any) -> None:
        done = len(state["finished"])
        rest = sum(len(state[name]) for name in ("ready", "waiting", "running"))
        tell(done, done + rest)

    workers = min(_BLOCKS, get_threads())

    def get_and_wait(graph: Any, keys: Any, **options: Any) -> Any:
        # After an interruption the threads are waited for here, before xarray closes
        # what they write to: they would open it again, and nobody closed it.
        with started_pool(workers) as pool:
            return get(graph, keys, **{**options, "pool": pool})

    stack = ExitStack()
    stack.enter_context(dask.config.set(scheduler=get_and_wait))
    stack.enter_context(Callback(posttask=after))
    return stack


# ---- servers --------------------------------------------------------------------------


def _upload(local: Path, job: Job) -> None:
    """Bring a finished export to its URL; what makes a folder a zarr comes last."""
    import fsspec

    fs, path = fsspec.core.url_to_fs(job.output, **job.writing_options)
    if fs.exists(path):
        if not job.options.overwrite:
            raise FileExistsError(f"{job.output_name} exists")
        if local.is_dir():
            fs.rm(path, recursive=True)
    try:
        for source, key in _files(local):
            target = f"{path}/{key}" if key else path
            if is_store(fs):
                fs.put_file(str(source), target)
            else:
                fs.makedirs(target.rpartition("/")[0], exist_ok=True)
                fs.put_file(str(source), f"{target}.partial")
                fs.mv(f"{target}.partial", target)
    except BaseException:
        if local.is_dir() and fs.exists(path):
            fs.rm(path, recursive=True)
        raise


def _files(local: Path) -> Iterator[tuple[Path, str]]:
    """Yield files of a folder and their keys, those of its root last; or the file."""
    if local.is_file():
        yield local, ""
        return
    found = [path for path in sorted(local.rglob("*")) if path.is_file()]
    for path in sorted(found, key=lambda path: path.name in ROOT_FILES):
        yield path, path.relative_to(local).as_posix()


def output_nbytes(job: Job) -> int | None:
    """Return how large an export is; None if its server does not say."""
    if not job.writes_url:
        if not os.path.isdir(job.output):  # noqa: PTH112 - a text
            return os.path.getsize(job.output)  # noqa: PTH202
        return sum(
            os.path.getsize(os.path.join(place, name))  # noqa: PTH118, PTH202
            for place, _, names in os.walk(job.output)
            for name in names
        )
    import fsspec

    fs, path = fsspec.core.url_to_fs(job.output, **job.writing_options)
    try:
        fs.invalidate_cache()
        return int(fs.du(path))
    except Exception:  # noqa: BLE001 - it is for the table alone
        return None
