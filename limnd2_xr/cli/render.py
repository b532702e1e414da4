"""A `FileSummary` as text for people."""

# ruff: noqa: TID253  (the command alone needs rich, and imports this when it runs)

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from limnd2_xr.cli.summary import ChannelSummary, FileSummary, LoopSummary

__all__ = ["render"]

PIPE_WIDTH = 160
"""Columns where the output is not a terminal: lines of a file should not be folded."""
UNBOUND = 2**16
"""Columns for tables where the output is not a terminal: no path is broken, each row is
a line. A table takes only what it needs."""
SHOWN_POSITIONS = 8
SHOWN_MISSING = 10


def render(summary: FileSummary, *, spaced: bool) -> None:
    """Print one file to stdout.

    Parameters
    ----------
    summary
        What to print.
    spaced
        Leave a line empty before it.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    with console.capture() as capture:
        # Not even a long path is broken, where it is not for a terminal.
        title = _text(summary.path)
        title.stylize("bold")
        console.print(title, soft_wrap=not console.is_terminal)
        console.print(_page(summary))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    print("\n".join([""] * spaced + lines))


def _page(summary: FileSummary) -> RenderableType:
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(summary):
        facts.add_row(name, _text(value))
    tables = [facts, _channels(summary.channels)]
    if summary.loops:
        tables.insert(1, _loops(summary.loops))
    return Group(*(Padding(table, (0, 0, 0, 2), expand=False) for table in tables))


def _facts(summary: FileSummary) -> list[tuple[str, str]]:
    lines = [
        ("file", f"{nbytes_text(summary.nbytes)}, format {summary.format_version}"),
        ("sizes", ", ".join(f"{dim} {n}" for dim, n in summary.sizes.items())),
        ("pixels", _pixels(summary)),
        ("calibration", _calibration(summary)),
        ("taken", _moment(summary.acquired)),
        ("software", f"{summary.software} {summary.software_version}".strip()),
        ("objective", _objective(summary)),
        ("microscope", summary.microscope),
        ("camera", summary.camera),
        ("author", summary.author),
        ("frames", _frames(summary)),
        ("description", _own_words(summary.description)),
    ]
    return [(name, value) for name, value in lines if value]


def _moment(iso: str) -> str:
    """Return an ISO 8601 time in the way people write it, without fractions."""
    return iso.replace("T", " ").partition(".")[0].removesuffix("Z") + (
        " UTC" if iso.endswith("Z") else ""
    )


def _pixels(summary: FileSummary) -> str:
    parts = [summary.dtype]
    if summary.significant_bits != summary.bits:
        parts.append(f"{summary.significant_bits} significant bits")
    compressed = summary.compression != "none"
    parts.append(
        f"{summary.compression} compression" if compressed else "not compressed"
    )
    return ", ".join(parts)


def _calibration(summary: FileSummary) -> str:
    pixel_um = summary.pixel_size_um
    parts = ["not calibrated" if pixel_um is None else f"{pixel_um:.6g} µm a pixel"]
    if summary.z_step_um is not None:
        parts.append(f"{summary.z_step_um:.6g} µm between slices")
    return ", ".join(parts)


def _objective(summary: FileSummary) -> str:
    numbers = (
        ("{:g}x", summary.magnification),
        ("NA {:g}", summary.numerical_aperture),
        ("immersion index {:g}", summary.refractive_index),
        ("zoom {:g}", summary.zoom),
    )
    known = [text.format(value) for text, value in numbers if value is not None]
    return ", ".join([summary.objective, *known] if summary.objective else known)


def _frames(summary: FileSummary) -> str:
    missing = summary.missing_frames
    if not missing:
        return f"{summary.n_frames}, none missing"
    shown = ", ".join(map(str, missing[:SHOWN_MISSING]))
    more = ", ..." if len(missing) > SHOWN_MISSING else ""
    return f"{summary.n_frames}, {len(missing)} missing: {shown}{more}"


def _loops(loops: tuple[LoopSummary, ...]) -> Table:
    table = _table("loop", "count", "")
    for loop in loops:
        table.add_row(loop.dim, str(loop.count), _text(loop_text(loop)))
    return table


def loop_text(loop: LoopSummary) -> str:
    """Return what there is to say about a loop besides its dim and count."""
    parts = []
    if loop.count != loop.declared_count:
        parts.append(f"set to {loop.declared_count}")
    if loop.period_s is not None:
        parts.append(f"every {loop.period_s:.6g} s")
    elif loop.dim == "T" and not loop.periods:
        parts.append("no interval known")
    if loop.periods:
        counts = [str(period.count) for period in loop.periods if period.valid]
        parts.append(f"periods of {', '.join(counts)} steps")
    if loop.step_um is not None:
        parts.append(f"{loop.step_um:.6g} µm apart")
    if loop.home_index is not None:
        parts.append(f"home index {loop.home_index}")
    if loop.bottom_to_top is not None:
        parts.append("bottom to top" if loop.bottom_to_top else "top to bottom")
    if loop.device:
        parts.append(loop.device)
    if loop.positions:
        names = [
            position.name or f"({position.x_um:.1f}, {position.y_um:.1f})"
            for position in loop.positions[:SHOWN_POSITIONS]
        ]
        more = ["..."] if len(loop.positions) > SHOWN_POSITIONS else []
        parts.append("; ".join(names + more))
    return ", ".join(parts)


def _channels(channels: tuple[ChannelSummary, ...]) -> Table:
    table = _table(
        "channel", "colour", "excitation", "emission", "exposure", "modality"
    )
    for channel in channels:
        swatch = Text("■ ", style=channel.color) if channel.color else Text()
        table.add_row(
            _text(channel.name),
            swatch + Text(channel.color),
            _quantity(channel.excitation_nm, "nm"),
            _quantity(channel.emission_nm, "nm"),
            _exposure(channel.exposure_s),
            _text(channel.modality),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _quantity(value: float | None, unit: str) -> Text:
    return Text("-" if value is None else f"{value:.6g} {unit}")


def _exposure(seconds: float | None) -> Text:
    return _quantity(None if seconds is None else seconds * 1e3, "ms")


def _text(text: str) -> Text:
    """Text of a file as it is, but for control characters: they could steer a terminal."""
    return Text("".join(c if c.isprintable() or c == "\n" else " " for c in text))


def _own_words(description: str) -> str:
    """Return what the user wrote: NIS-Elements appends a summary of the metadata."""
    lines = description.splitlines()
    heads = ("Metadata:", "Dimensions:")
    end = next(
        (i for i, line in enumerate(lines) if line.startswith(heads)), len(lines)
    )
    return "\n".join(lines[:end]).strip()


def nbytes_text(nbytes: int) -> str:
    """Return a size for people: binary units, four digits."""
    size = float(nbytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"
