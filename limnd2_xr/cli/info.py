"""`limnd2-xr info`: what is in a file, for people and, as JSON, for programs."""

from __future__ import annotations

import json
import sys
import warnings
from typing import Annotated, Any

import typer

from limnd2_xr.cli.render import render
from limnd2_xr.cli.summary import FileSummary, summarize
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.errors import Nd2Error, Nd2Warning
from limnd2_xr.frames.store import FrameStore

__all__ = ["info"]

_EXPECTED = (ImportError, Nd2Error, OSError, ValueError)
"""What opening a local file may raise; libraries for URLs raise anything."""


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
        except _EXPECTED as error:
            _complain(name, error)
            continue
        except Exception as error:
            if not _is_remote(name):
                raise
            _complain(name, error)
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
        _say(name, "warning: ", str(warning.message))
    return summary


def _print_json(document: Any) -> None:
    if document is not None:
        text = json.dumps(document, allow_nan=False, indent=2)
        typer.echo(text)


def _is_remote(name: str) -> bool:
    return SourceSpec.of(name).kind == "url"


def _complain(name: str, error: Exception) -> None:
    _say(name, "", _reason(name, error))


def _reason(name: str, error: BaseException) -> str:
    if isinstance(error, Nd2Error):
        return str(error)
    if isinstance(error, FileNotFoundError):
        if not _is_remote(name):
            return "no such file"
        # fsspec says this of whatever went wrong, and has the real error as its cause.
        if error.__cause__ is not None:
            return _reason(name, error.__cause__)
        return error.strerror or "not found"
    if isinstance(error, OSError) and error.strerror and not _is_remote(name):
        return error.strerror
    status, message = getattr(error, "status", None), getattr(error, "message", None)
    if isinstance(status, int) and status >= 300:
        return f"HTTP status {status} {message or ''}"
    return str(error) or type(error).__name__


def _say(name: str, kind: str, text: str) -> None:
    """Write one line to stderr, with the file named once."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    text = text.removeprefix(f"{name}: ")
    sys.stderr.write(f"limnd2-xr: {name}: {kind}{text}\n")
