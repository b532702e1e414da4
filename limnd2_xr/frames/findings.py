"""`Finding`: one thing that was noticed about a file, with its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limnd2_xr.errors import Nd2Error

__all__ = ["MAX_FINDINGS", "Finding", "Findings", "Severity", "number_ranges"]

Severity: TypeAlias = Literal["error", "warning"]
"""``error``: something is damaged or lost. ``warning``: odd, but nothing is lost."""

MAX_FINDINGS: Final = 1000
"""Findings that are kept of one file; of the others only their number."""
_SHOWN_RANGES: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was noticed about a file.

    Examples
    --------
    >>> print(Finding(severity="error", text="cut short", chunk="X!", offset=4096))
    error: chunk X! at offset 4096: cut short
    """

    severity: Severity
    """``error`` or ``warning``."""
    text: str
    """What it is, without the place."""
    chunk: str | None = None
    """Name of the chunk, with its closing ``!``; None where it is about the file."""
    offset: int | None = None
    """File offset in bytes; None where it has no place."""

    def __str__(self) -> str:
        place = [f"chunk {self.chunk}"] if self.chunk else []
        if self.offset is not None:
            place.append(f"at offset {self.offset}")
        return ": ".join(
            [self.severity, *([" ".join(place)] if place else []), self.text]
        )

    def to_plain(self) -> dict[str, Any]:
        """Return the fields as a dict of plain values."""
        return {
            "severity": self.severity,
            "chunk": self.chunk,
            "offset": self.offset,
            "text": self.text,
        }


@dataclass(slots=True)
class Findings:
    """Collects findings, of which there may be more than anybody reads."""

    items: list[Finding] = field(default_factory=list)
    errors: int = 0
    """How many errors there were."""
    left_out: int = 0
    """Findings that were not kept."""

    def error(
        self, text: str, *, chunk: str | None = None, offset: int | None = None
    ) -> None:
        """Add something that is damaged or lost."""
        self.errors += 1
        self._add(Finding(severity="error", text=text, chunk=chunk, offset=offset))

    def warning(
        self, text: str, *, chunk: str | None = None, offset: int | None = None
    ) -> None:
        """Add something odd."""
        self._add(Finding(severity="warning", text=text, chunk=chunk, offset=offset))

    def raised(self, error: Nd2Error) -> None:
        """Add what an exception says."""
        self.error(error.reason, chunk=error.chunk, offset=error.offset)

    def _add(self, finding: Finding) -> None:
        if len(self.items) < MAX_FINDINGS:
            self.items.append(finding)
        else:
            self.left_out += 1

    def result(self) -> tuple[Finding, ...]:
        """Return what was found, with a last one that counts those left out."""
        if not self.left_out:
            return tuple(self.items)
        more = Finding(
            severity="error" if self.errors else "warning",
            text=f"{self.left_out} more findings are not listed",
        )
        return (*self.items, more)


def number_ranges(numbers: Iterable[int]) -> str:
    """Return ascending numbers as text, runs of them as ranges.

    Examples
    --------
    >>> number_ranges([1, 2, 3, 7, 9, 10])
    '1-3, 7, 9-10'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = [
        str(first) if first == last else f"{first}-{last}"
        for first, last in runs[:_SHOWN_RANGES]
    ]
    return ", ".join([*shown, "..."] if len(runs) > _SHOWN_RANGES else shown)
