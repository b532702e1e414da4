"""What commands say on stderr about a file."""

from __future__ import annotations

import sys

from limnd2_xr.container.redaction import redacted
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.errors import Nd2Error

__all__ = [
    "EXPECTED",
    "complain",
    "counted",
    "human_nbytes",
    "is_remote",
    "one_line",
    "reason_of",
    "say",
]

EXPECTED = (ImportError, Nd2Error, OSError, ValueError)
"""What opening a local file may raise; libraries for URLs raise anything."""


def is_remote(name: str) -> bool:
    """Tell whether a file named on the command line is a URL."""
    return SourceSpec.of(name).kind == "url"


def complain(name: str, error: Exception) -> None:
    """Say why a file could not be read."""
    say(name, "", reason_of(name, error))


def reason_of(name: str, error: BaseException) -> str:
    """Return why a file could not be read, in words.

    Parameters
    ----------
    name
        As it was given.
    error
        What was raised.
    """
    if isinstance(error, Nd2Error):
        return str(error)
    if isinstance(error, FileNotFoundError):
        if not is_remote(name):
            return "no such file"
        # fsspec says this of whatever went wrong, and has the real error as its cause.
        if error.__cause__ is not None:
            return reason_of(name, error.__cause__)
        return error.strerror or "not found"
    if isinstance(error, OSError) and error.strerror and not is_remote(name):
        return error.strerror
    status, message = getattr(error, "status", None), getattr(error, "message", None)
    if isinstance(status, int) and status >= 300:
        return f"HTTP status {status} {message or ''}"
    return str(error) or type(error).__name__


def say(name: str, kind: str, text: str) -> None:
    """Write one line to stderr, with the file named once and without credentials."""
    name = redacted(name)
    text = one_line(text).removeprefix(f"{name}: ")
    sys.stderr.write(f"limnd2-xr: {name}: {kind}{text}\n")


def counted(count: int, noun: str) -> str:
    """Return a number of things in words: ``1 frame``, ``2 frames``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def one_line(text: str) -> str:
    """Text on one line, without control characters: they could steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def human_nbytes(nbytes: float | None) -> str:
    """Return a size in words: ``1.5 GB``; ``""`` if it is not known.

    Examples
    --------
    >>> human_nbytes(999), human_nbytes(1.25e9)
    ('999 B', '1.2 GB')
    """
    if nbytes is None:
        return ""
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} B" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.1f} TB"
