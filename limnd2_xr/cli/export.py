"""`limnd2-xr export`: .nd2 files in other formats."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limnd2_xr.cli.export_plan import (
    FORMATS,
    ExportOptions,
    check_outputs,
    plan_jobs,
)
from limnd2_xr.cli.inputs import find_inputs, storage_options_of
from limnd2_xr.cli.messages import one_line
from limnd2_xr.cli.selection import parse_selection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from limnd2_xr.cli.export_plan import Job

__all__ = ["export", "export_files", "interruptible", "output_root", "refusing"]

_WHAT = "What is exported"
_WHERE = "Where to"
_HOW = "How it is written"
_TELLING = "How it runs"
_INTERRUPTED = 130
_TERMINATED = 143


def export(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="IN...", help="Files, folders, globs or URLs of .nd2 files."
        ),
    ],
    *,
    to: Annotated[
        str,
        typer.Option("--to", metavar="FORMAT", help=f"{', '.join(FORMATS)}."),
    ],
    recurse: Annotated[
        bool,
        typer.Option(
            "--recurse",
            "-r",
            help="Look into folders of folders.",
            rich_help_panel=_WHAT,
        ),
    ] = False,
    select: Annotated[
        str | None,
        typer.Option(
            help="A part: T=0:10,C=DAPI or Z=-2um:2um,P=A01.", rich_help_panel=_WHAT
        ),
    ] = None,
    output_folder: Annotated[
        str | None,
        typer.Option(
            metavar="D",
            help="Folder or URL; else exports are beside their files.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    s3_prefix: Annotated[
        str | None,
        typer.Option(metavar="s3://BUCKET/PREFIX", rich_help_panel=_WHERE),
    ] = None,
    storage_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="For the filesystems of URLs, as often as needed.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace what exists, each once the new one is complete.",
            rich_help_panel=_WHERE,
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Keep what is complete, and continue OME-Zarr that was interrupted.",
            rich_help_panel=_WHERE,
        ),
    ] = False,
    pyramid: Annotated[
        str | None,
        typer.Option(
            metavar="auto|N|none",
            help="Smaller copies, of ome-zarr (auto) and ome-tiff (none).",
            rich_help_panel=_HOW,
        ),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(metavar="0.5|0.4", help="Of OME-Zarr; 0.5.", rich_help_panel=_HOW),
    ] = None,
    compression: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="none, zlib, zstd, blosc-zstd, ...: which, depends on the format.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="Multiply pixels, for tiff and png.", rich_help_panel=_HOW),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Convert pixels to uint8, uint16, ..., for tiff and png.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            help="Names of tiff and png files: {name}_t{T:03}_{C}.tif",
            rich_help_panel=_HOW,
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1,
            max=256,
            help="Files at a time, for many cores or slow servers: each uses all cores as it is.",
            rich_help_panel=_TELLING,
        ),
    ] = 1,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print what would be done; write nothing.",
            rich_help_panel=_TELLING,
        ),
    ] = False,
    json_progress: Annotated[
        bool,
        typer.Option(
            "--json-progress",
            help="Print a JSON line for each event.",
            rich_help_panel=_TELLING,
        ),
    ] = False,
) -> None:
    """Export .nd2 files as OME-Zarr, OME-TIFF, OME-XML, TIFF, PNG, netCDF or zarr.

    Nothing is written if names collide or something exists. A file that fails does not
    stop the others; the command then exits with 1. Ctrl-C leaves nothing unfinished
    under a final name, and exits with 130.
    """
    with refusing():
        options = ExportOptions(
            to=to,
            select=None if select is None else parse_selection(select),
            pyramid=_pyramid(pyramid),
            version=version,  # type: ignore[arg-type]  # it is checked there
            compression=compression,
            scale=scale,
            dtype=dtype,
            template=template,
            overwrite=overwrite,
            resume=resume,
        )
        planned = plan(
            inputs,
            options,
            recurse=recurse,
            output_folder=output_root(output_folder, s3_prefix),
            storage_options=storage_options_of(storage_option or ()),
        )
    if dry_run:
        from limnd2_xr.cli.export_report import show_plan

        show_plan(planned, as_json=json_progress)
        return
    export_files(planned, processes=jobs, json_progress=json_progress)


def plan(
    inputs: Sequence[str],
    options: ExportOptions,
    *,
    recurse: bool,
    output_folder: str | None,
    storage_options: dict[str, Any],
) -> tuple[Job, ...]:
    """Find out what is to be done, and refuse what cannot be.

    Parameters
    ----------
    inputs
        Files, folders, globs and URLs.
    options
        How they are written.
    recurse
        Look into folders of folders.
    output_folder
        Path or URL, None for beside the files.
    storage_options
        For URLs.

    Raises
    ------
    ValueError, OSError
        What is wrong.
    """
    sources = find_inputs(inputs, recurse=recurse, storage_options=storage_options)
    planned = plan_jobs(
        sources, options, output_folder=output_folder, storage_options=storage_options
    )
    check_outputs(planned)
    return planned


def output_root(output_folder: str | None, s3_prefix: str | None) -> str | None:
    """Return where exports go, as two options say it.

    Raises
    ------
    ValueError
        If both do, or the second is no URL of S3.
    """
    if s3_prefix is None:
        return output_folder
    if output_folder is not None:
        raise ValueError("--output-folder and --s3-prefix exclude each other")
    if not s3_prefix.startswith(("s3://", "s3a://")) or len(s3_prefix) < 6:
        raise ValueError(f"--s3-prefix is s3://BUCKET/PREFIX, not {s3_prefix}")
    return s3_prefix


def _pyramid(text: str | None) -> Any:
    if text is None or text == "auto":
        return text
    if text in {"none", "no", "false"}:
        return False
    if text.isdecimal() and text.isascii() and len(text) < 4:
        return int(text)
    raise ValueError(f"--pyramid is auto, none or a number, not {text}")


@contextmanager
def refusing() -> Iterator[None]:
    """End the command with status 2 where something is wrong with what was asked for."""
    try:
        yield
    except BrokenPipeError:  # nobody listens any more
        raise
    except (ValueError, OSError, ImportError) as error:
        text = str(error)
        if isinstance(error, OSError) and error.filename:
            text = f"{error.filename}: {error.strerror}"
        sys.stderr.write(f"limnd2-xr: {one_line(text)}\n")
        raise typer.Exit(2) from None


def export_files(
    planned: Sequence[Job], *, processes: int = 1, json_progress: bool = False
) -> None:
    """Do what was planned, tell how it goes, and end the command.

    Parameters
    ----------
    planned
        What to do.
    processes
        Files at a time.
    json_progress
        Print JSON lines.

    Raises
    ------
    typer.Exit
        With 1 if a file failed, with 130 or 143 after an interruption.
    """
    from limnd2_xr.cli.export_report import ExportReport
    from limnd2_xr.cli.export_run import run_jobs

    report = ExportReport(planned, as_json=json_progress)
    with interruptible(), report.following():
        run_jobs(planned, report, processes=processes)
    if report.failed:
        raise typer.Exit(1)


@contextmanager
def interruptible() -> Iterator[None]:
    """End the command with 130 after Ctrl-C, with 143 after SIGTERM.

    Both are raised as KeyboardInterrupt before, so that everything tidies up.
    """
    came: list[int] = []

    def interrupt(number: int, _frame: Any) -> None:
        came.append(number)
        raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, interrupt) if is_main else None
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(_TERMINATED if came else _INTERRUPTED) from None
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)
