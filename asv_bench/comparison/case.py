"""A piece of work, as different libraries do it, and what this package promises of it."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

SECTIONS = {
    "reading": ("raw", "nd2", "ours"),
    "writing": ("raw", "zlib 1", "limnd2", "ours"),
    "exporting": ("nd2", "ours"),
    "facades": ("nd2", "ours"),
    "scale": ("without", "direct", "nd2", "1 process", "ours"),
}
"""The sides that are compared; not every case has all of them."""

_HOLDS = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Work:
    """The work to time, and what is done around it."""

    run: Callable[[], Any]
    """Returns what shows that all sides did the same."""
    close: Callable[[], None] = lambda: None
    """Called once, at the end."""
    clean: Callable[[], None] = lambda: None
    """Called after each run."""
    figures: Callable[[], Mapping[str, float]] = dict
    """Called after the last run: what was counted of one, such as ``bytes``."""


@dataclass(frozen=True)
class Promise:
    """A limit for one of the figures of a case."""

    figure: str
    """``nd2/ours`` (times), ``ours-without ms`` (their difference), ``ours MB`` (memory at
    its peak), ``ours requests`` or ``nd2/ours requests`` (what `Work.figures` counts)."""
    comparison: Literal["<=", ">="]
    limit: float

    def __str__(self) -> str:
        return f"{self.figure} {self.comparison} {self.limit:.4g}"

    def is_kept(self, figures: dict[str, float]) -> bool:
        """Whether measured figures keep the promise."""
        return bool(_HOLDS[self.comparison](figures[self.figure], self.limit))


@dataclass(frozen=True, kw_only=True)
class Case:
    """One piece of work."""

    section: Literal["reading", "writing", "scale", "exporting", "facades"]
    title: str
    file: str
    """What is read: a path, or what `_files.make` knows; or what is written; or nothing."""
    sides: dict[str, Callable[[Path], Work]]
    """Gets the file, or the folder to write to; ``ours`` is among them."""
    promises: tuple[Promise, ...] = ()
    repeats: int = 5
    """How often the work is timed at most, after once that is not; 0: only once."""
    extras: dict[str, Callable[[Path], Work]] = field(default_factory=dict)
    """Measured and shown besides."""
