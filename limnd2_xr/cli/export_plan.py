"""What an export is to do: which file becomes what, found out before anything is written."""

from __future__ import annotations

import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from limnd2_xr.cli.inputs import local_path
from limnd2_xr.cli.messages import is_remote
from limnd2_xr.container.redaction import Secrets, redacted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from limnd2_xr.cli.inputs import InputFile
    from limnd2_xr.cli.selection import Selection
    from limnd2_xr.export.pyramid_levels import Pyramid

__all__ = [
    "FORMATS",
    "ExportOptions",
    "Format",
    "Job",
    "check_outputs",
    "exists",
    "plan_jobs",
]

_SHOWN: Final = 5
_REQUESTS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """What files can become."""

    name: str
    suffix: str
    """What follows the name of the file."""
    is_folder: bool = False
    compressions: tuple[str, ...] = ()
    """Names that ``--compression`` may have, the usual one first."""
    takes: frozenset[str] = frozenset()
    """Options that only some formats have."""


FORMATS: Final[Mapping[str, Format]] = {
    made.name: made
    for made in (
        Format(
            name="ome-zarr",
            suffix=".ome.zarr",
            is_folder=True,
            compressions=("blosc-zstd", "blosc-lz4", "zstd", "gzip", "none"),
            takes=frozenset({"pyramid", "version", "compression"}),
        ),
        Format(
            name="ome-tiff",
            suffix=".ome.tif",
            compressions=("none", "zlib", "lzw", "zstd", "jpeg2000"),
            takes=frozenset({"pyramid", "compression"}),
        ),
        Format(name="ome-xml", suffix=".ome.xml"),
        Format(
            name="tiff",
            suffix="_tiff",
            is_folder=True,
            compressions=("none", "zlib"),
            takes=frozenset({"scale", "dtype", "template", "compression"}),
        ),
        Format(
            name="png",
            suffix="_png",
            is_folder=True,
            takes=frozenset({"scale", "dtype", "template"}),
        ),
        Format(
            name="netcdf",
            suffix=".nc",
            compressions=("none", "zlib"),
            takes=frozenset({"compression"}),
        ),
        Format(
            name="zarr",
            suffix=".zarr",
            is_folder=True,
            compressions=("zstd", "blosc-zstd", "blosc-lz4", "gzip", "none"),
            takes=frozenset({"compression"}),
        ),
    )
}
"""Formats by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """How files are written; None where the format decides.

    Raises
    ------
    ValueError
        If the format has no such option.
    """

    to: str
    select: Selection | None = None
    pyramid: Pyramid | None = None
    version: Literal["0.4", "0.5"] | None = None
    compression: str | None = None
    scale: float | None = None
    dtype: str | None = None
    template: str | None = None
    overwrite: bool = False
    resume: bool = False

    def __post_init__(self) -> None:
        if self.to not in FORMATS:
            raise ValueError(f"--to {self.to}: formats are {', '.join(FORMATS)}")
        if self.overwrite and self.resume:
            raise ValueError("--overwrite and --resume exclude each other")
        for name in ("pyramid", "version", "compression", "scale", "dtype", "template"):
            if getattr(self, name) is not None and name not in self.format.takes:
                having = [one.name for one in FORMATS.values() if name in one.takes]
                raise ValueError(f"--{name} is for {', '.join(having)}, not {self.to}")
        known = self.format.compressions
        if self.compression is not None and self.compression not in known:
            raise ValueError(f"--compression of {self.to} is one of {', '.join(known)}")
        if self.version not in {None, "0.4", "0.5"}:
            raise ValueError(f"--version is 0.4 or 0.5, not {self.version}")
        if self.dtype is not None:
            _check_dtype(self.dtype)

    @property
    def format(self) -> Format:
        """What files become."""
        return FORMATS[self.to]

    @property
    def compressor(self) -> str | None:
        """What pixels are compressed by, None for nothing."""
        usual = self.format.compressions[:1] or ("none",)
        name = self.compression or usual[0]
        return None if name == "none" else name


def _check_dtype(name: str) -> None:
    import numpy as np

    try:
        np.dtype(name)
    except TypeError:
        raise ValueError(f"--dtype {name}: there is no such type") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One file to export."""

    number: int
    source: InputFile
    output: str
    """Path or URL that the export will have."""
    options: ExportOptions
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def source_name(self) -> str:
        """The file, as it may be shown."""
        return redacted(self.source.name)

    @property
    def output_name(self) -> str:
        """What it becomes, as it may be shown."""
        return redacted(self.output)

    @property
    def writes_url(self) -> bool:
        """Whether the export goes to a server."""
        return is_remote(self.output)

    @property
    def reading_options(self) -> dict[str, Any] | None:
        """Arguments for the filesystem of the file."""
        return dict(self.storage_options) if self.source.is_remote else None

    @property
    def writing_options(self) -> dict[str, Any]:
        """Arguments for the filesystem of the export."""
        return dict(self.storage_options) if self.writes_url else {}


def plan_jobs(
    sources: Sequence[InputFile],
    options: ExportOptions,
    *,
    output_folder: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> tuple[Job, ...]:
    """Return what is to be done, a job for each file.

    An export is beside its file (of a URL: in the current folder), or in the output
    folder: there below the same folders as the file below the folder that was named.

    Parameters
    ----------
    sources
        Files.
    options
        How they are written.
    output_folder
        Path or URL.
    storage_options
        For URLs of files and of the output folder.

    Raises
    ------
    ValueError
        If two files would become one, or an export would replace a file that is read.
    """
    jobs = tuple(
        Job(
            number=number,
            source=source,
            output=_output(source, options.format, output_folder),
            options=options,
            storage_options=storage_options or {},
        )
        for number, source in enumerate(sources)
    )
    _check_distinct(jobs)
    return jobs


def _output(source: InputFile, made: Format, folder: str | None) -> str:
    name = source.stem + made.suffix
    if folder is not None and is_remote(folder):
        return "/".join((folder.rstrip("/"), *source.below, name))
    if folder is None:
        place = Path() if source.is_remote else Path(source.name).parent
    else:
        place = Path(local_path(folder)).joinpath(*source.below)
    return str(place / name)


def _check_distinct(jobs: Sequence[Job]) -> None:
    by_output: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        by_output[_place(job.output)].append(job)
    for same in by_output.values():
        if len(same) > 1:
            names = " and ".join(job.source_name for job in same[:2])
            raise ValueError(
                f"{names} would both become {same[0].output_name}; export them apart, or "
                "without --output-folder"
            )
    for job in jobs:
        if _place(job.source.name) in by_output:
            raise ValueError(f"{job.source_name} would be replaced by an export")


def _place(name: str) -> str:
    return name if is_remote(name) else os.path.normcase(os.path.abspath(name))  # noqa: PTH100


def check_outputs(jobs: Sequence[Job]) -> None:
    """Refuse exports that exist, before anything is written.

    With ``--overwrite`` and ``--resume`` everything may exist.

    Parameters
    ----------
    jobs
        All of them.

    Raises
    ------
    ValueError
        Naming what exists, and what to do.
    """
    if not jobs or jobs[0].options.overwrite or jobs[0].options.resume:
        return
    with ThreadPoolExecutor(_REQUESTS if jobs[0].writes_url else 1) as pool:
        states = list(pool.map(_state, jobs))
    for state, text in (
        ("there", "exists already; --overwrite replaces it, --resume keeps it"),
        ("unfinished", "is an unfinished export; --resume continues it"),
    ):
        names = [j.output_name for j, s in zip(jobs, states, strict=True) if s == state]
        if names:
            more = f" (and {len(names) - _SHOWN} more)" if len(names) > _SHOWN else ""
            raise ValueError(f"{', '.join(names[:_SHOWN])}{more} {text}")


def _state(job: Job) -> Literal["", "there", "unfinished"]:
    try:
        return _found(job)
    except Exception as error:
        if not job.writes_url:
            raise
        # Libraries for URLs raise anything.
        secrets = Secrets.of(job.output, job.storage_options)
        reason = secrets.scrub(str(error) or type(error).__name__)
        raise ValueError(f"{job.output_name}: {reason}") from error


def _found(job: Job) -> Literal["", "there", "unfinished"]:
    if job.options.to == "ome-zarr":
        from limnd2_xr.export.zarr_target import open_target

        target = open_target(job.output, job.writing_options)
        if target.exists():
            return "there"
        return "unfinished" if target.has_partial() else ""
    return "there" if exists(job) else ""


def exists(job: Job) -> bool:
    """Say whether something has the name of an export."""
    if not job.writes_url:
        return os.path.lexists(job.output)
    import fsspec

    fs, path = fsspec.core.url_to_fs(job.output, **job.writing_options)
    return bool(fs.exists(path))
