"""`limnd2-xr verify`: whether files are sound, and what is wrong with those that are not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from limnd2_xr.cli.messages import EXPECTED, complain, counted, is_remote, one_line
from limnd2_xr.cli.progress import progress_bar
from limnd2_xr.frames import verify as checking

if TYPE_CHECKING:
    from limnd2_xr.frames.verify import Report

__all__ = ["verify"]

_STATUS = {"sound": 0, "damaged": 1, "not nd2": 2, "unsupported": 2}


def verify(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Paths or URLs of .nd2 files."),
    ],
    *,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON document: an object, or a list for several files.",
        ),
    ] = False,
) -> None:
    """Check whether .nd2 files are sound; never writes.

    The chunk map is compared with all chunks, every frame and every other chunk is
    decoded, and numbers of frames are compared. The command exits with 0 if all files
    are sound, 1 if one is damaged, 2 if one is no .nd2 file or cannot be read.
    """
    worst = 0
    reports = []
    for name in files:
        report = _checked(name)
        if report is None:
            worst = 2
            continue
        worst = max(worst, _STATUS[report.status])
        reports.append(report)
        if not as_json:
            _show(report)
    if as_json:
        documents = [report.to_plain() for report in reports]
        if len(files) > 1:
            typer.echo(json.dumps(documents, indent=2))
        elif documents:
            typer.echo(json.dumps(documents[0], indent=2))
    raise typer.Exit(worst)


def _checked(name: str) -> Report | None:
    try:
        with progress_bar(name) as progress:
            return checking.verify(name, progress=progress)
    except EXPECTED as error:
        complain(name, error)
    except Exception as error:
        if not is_remote(name):
            raise
        complain(name, error)
    return None


def _show(report: Report) -> None:
    """Print one line for the file, and one for each finding."""
    facts = [f"{report.path}: {report.status}"]
    if report.format_version:
        facts.append(counted(report.frames, "frame"))
        facts.append(counted(report.chunks, "other chunk"))
    for numbers, state in (
        (report.damaged_frames, "damaged"),
        (report.missing_frames, "missing"),
    ):
        if numbers:
            facts.append(f"{len(numbers)} {state}")
    typer.echo(one_line(", ".join(facts)))
    for finding in report.findings:
        typer.echo(f"  {one_line(str(finding))}")
