"""`limnd2-xr repair`: a sound file with everything that can be had from a damaged one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limnd2_xr.cli.messages import EXPECTED, complain, counted, is_remote, one_line, say
from limnd2_xr.cli.progress import progress_bar
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames import repair as repairing

if TYPE_CHECKING:
    from limnd2_xr.frames.repair import RepairReport

__all__ = ["repair"]


def repair(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Path or URL of the damaged file.")
    ],
    target: Annotated[
        str, typer.Argument(metavar="OUT", help="Name of the repaired file.")
    ],
    *,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing OUT.")
    ] = False,
    guess_size: Annotated[
        bool,
        typer.Option(
            "--guess-size",
            help="Take the image size that the pixels suggest where IN lost it.",
        ),
    ] = False,
) -> None:
    """Write a sound .nd2 file with everything that can be had; IN is never changed.

    Tells what was wrong, what could not be had and what was changed. The command exits
    with 0 if OUT was written, 1 if nothing could be had, 2 if IN is no .nd2 file or one
    of the files cannot be used.
    """
    try:
        with progress_bar(source) as progress:
            report = repairing.repair(
                source,
                target,
                overwrite=overwrite,
                guess_size=guess_size,
                progress=progress,
            )
    except FileExistsError as error:
        # It names the target, or what is in its way.
        sys.stderr.write(
            f"limnd2-xr: {os.fspath(error.filename or target)}: exists already; "
            "--overwrite replaces a file\n"
        )
        raise typer.Exit(2) from None
    except CorruptChunk as error:
        complain(source, _in_options(error))
        raise typer.Exit(1) from None
    except OSError as error:
        name = _file_of(error, source)
        if name == source:
            complain(source, error)
        else:
            say(name, "", error.strerror or str(error))
        raise typer.Exit(2) from None
    except EXPECTED as error:
        complain(source, error)
        raise typer.Exit(2) from None
    except Exception as error:
        if not is_remote(source):
            raise
        complain(source, error)
        raise typer.Exit(2) from None
    _show(report)


def _in_options(error: CorruptChunk) -> CorruptChunk:
    """Return the error in terms of the command."""
    reason = error.reason.replace("guess_size=True", "--guess-size")
    return CorruptChunk(reason, path=error.path, chunk=error.chunk, offset=error.offset)


def _file_of(error: OSError, source: str) -> str:
    """Name the file that an error is about: IN as it was given, or OUT."""
    name = error.filename
    if not isinstance(name, str) or is_remote(source):
        return source
    return source if Path(name).absolute() == Path(source).absolute() else name


def _show(report: RepairReport) -> None:
    state = "nothing was lost" if report.is_complete else "something was lost"
    typer.echo(one_line(f"{report.target}: {counted(report.frames, 'frame')}, {state}"))
    for title, lines in (
        ("found", report.found),
        ("lost", report.lost),
        ("changed", report.changed),
    ):
        if lines:
            typer.echo(f"  {title}:")
        for line in lines:
            typer.echo(f"    {one_line(str(line).removeprefix('error: '))}")
