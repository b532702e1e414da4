"""`limnd2-xr info`: what is in a file, for people and, as JSON, for programs."""

from __future__ import annotations

import json
import warnings
from typing import Annotated, Any

import typer

from limnd2_xr.cli.messages import EXPECTED, complain, is_remote, say
from limnd2_xr.cli.render import render
from limnd2_xr.cli.summary import FileSummary, summarize
from limnd2_xr.errors import Nd2Warning
from limnd2_xr.frames.store import FrameStore

__all__ = ["info"]


def info(
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
    """Show what is in .nd2 files.

    Sizes, calibration, channels, loops, optics, when and with what they were taken.
    The command exits with 2 if a file could not be read; the others are shown all
    the same.
    """
    found = []
    for name in files:
        try:
            summary = _look_at(name)
        except EXPECTED as error:
            complain(name, error)
            continue
        except Exception as error:
            if not is_remote(name):
                raise
            complain(name, error)
            continue
        found.append(summary)
        if not as_json:
            render(summary, spaced=len(found) > 1)
    if as_json:
        documents = [summary.to_plain() for summary in found]
        _print_json(documents if len(files) > 1 else documents[0] if found else None)
    if len(found) < len(files):
        raise typer.Exit(2)


def _look_at(name: str) -> FileSummary:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", Nd2Warning)
        with FrameStore.open(name) as store:
            summary = summarize(store)
    for warning in caught:
        say(name, "warning: ", str(warning.message))
    return summary


def _print_json(document: Any) -> None:
    if document is not None:
        text = json.dumps(document, allow_nan=False, indent=2)
        typer.echo(text)
