"""Telling how exports go: bars on a terminal, JSON lines for programs, a table at the end."""

# ruff: noqa: TID253  (the command alone needs rich, and imports this when it runs)

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from limnd2_xr.cli.export_run import Began, Ended, Progressed, Warned
from limnd2_xr.cli.messages import human_nbytes, one_line, say
from limnd2_xr.cli.render import UNBOUND

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from rich.progress import TaskID

    from limnd2_xr.cli.export_plan import Job
    from limnd2_xr.cli.export_run import Event

__all__ = ["ExportReport", "show_plan", "table_console"]

_STYLES: Final = {"done": "green", "kept": "green", "failed": "red"}
_WORDS: Final = {"kept": "already there", "": "not begun"}


def table_console() -> Console:
    """Return a console for tables on stdout, without end where it is no terminal."""
    console = Console(highlight=False)
    if console.is_terminal:
        return console
    return Console(highlight=False, width=UNBOUND)


@dataclass(slots=True)
class _Row:
    """What is known of one export."""

    job: Job
    frames: int = 0
    nbytes: int = 0
    fraction: float = 0.0
    ended: Ended | None = None
    task: TaskID | None = None


@dataclass(slots=True)
class ExportReport:
    """Follows exports by their events.

    Parameters
    ----------
    jobs
        All that is to be done.
    as_json
        Print a JSON line for each event instead of bars and a table.
    """

    jobs: Sequence[Job]
    as_json: bool = False
    _rows: dict[int, _Row] = field(default_factory=dict)
    _bars: _Bars | None = None
    _begun: float = 0.0

    def __post_init__(self) -> None:
        self._rows = {job.number: _Row(job) for job in self.jobs}

    @property
    def failed(self) -> int:
        """How many failed."""
        return self._count("failed")

    def _count(self, *states: str) -> int:
        ended = [row.ended for row in self._rows.values()]
        return sum(one is not None and one.status in states for one in ended)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Show bars while exports run, if stderr is a terminal; the table at the end."""
        self._begun = time.monotonic()
        if self.as_json:
            _line({"event": "start", "files": len(self.jobs)})
        console = Console(stderr=True)
        try:
            if self.as_json or not console.is_terminal:
                yield
            else:
                with _Bars(console, list(self._rows.values())) as self._bars:
                    yield
        finally:
            self._summary()

    def __call__(self, event: Event) -> None:
        """Take note of an event, and tell it."""
        row = self._rows[event.number]
        match event:
            case Began():
                row.frames, row.nbytes = event.frames, event.nbytes
            case Progressed():
                row.fraction = event.done / max(1, event.total)
            case Ended():
                row.ended = event
                if event.status in {"done", "kept"}:
                    row.fraction = 1.0
        if self.as_json:
            _line(_described(row, event))
        if isinstance(event, Warned):
            say(row.job.source_name, "warning: ", event.text)
        if isinstance(event, Ended) and event.status == "failed":
            say(row.job.source_name, "", event.error)
        if self._bars is not None:
            self._bars.show(row, event)

    def _summary(self) -> None:
        seconds = round(time.monotonic() - self._begun, 3)
        if self.as_json:
            counts = {
                "done": self._count("done", "kept"),
                "failed": self.failed,
                "interrupted": self._count("interrupted"),
            }
            rest = len(self.jobs) - sum(counts.values())
            counts["not_begun"] = rest
            _line({"event": "summary", **counts, "seconds": seconds})
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("file", overflow="fold")
        table.add_column("output", overflow="fold")
        for name in ("size", "time"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("status", no_wrap=True)
        for row in self._rows.values():
            status = row.ended.status if row.ended else ""
            table.add_row(
                _text(row.job.source_name),
                _text(row.job.output_name),
                human_nbytes(row.ended.nbytes if row.ended else None),
                f"{row.ended.seconds:.1f} s" if row.ended else "",
                Text(_WORDS.get(status, status), _STYLES.get(status, "yellow")),
            )
        table_console().print(table)


def _described(row: _Row, event: Event) -> dict[str, Any]:
    """Return the JSON of an event."""
    job = row.job
    named = {
        "number": job.number,
        "input": job.source_name,
        "output": job.output_name,
    }
    match event:
        case Began():
            return {
                "event": "begin",
                **named,
                "frames": event.frames,
                "bytes": event.nbytes,
            }
        case Progressed():
            done = {"done": event.done, "total": event.total}
            return {"event": "progress", "number": job.number, **done}
        case Warned():
            return {"event": "warning", **named, "text": one_line(event.text)}
        case Ended():
            return {
                "event": "end",
                **named,
                "status": event.status,
                "seconds": event.seconds,
                "bytes": event.nbytes,
                "error": event.error or None,
            }


def _line(document: dict[str, Any]) -> None:
    typer.echo(json.dumps(document))


def _text(text: str) -> Text:
    return Text(one_line(text))


def show_plan(jobs: Sequence[Job], *, as_json: bool) -> None:
    """Print what would be done.

    Parameters
    ----------
    jobs
        All of it.
    as_json
        As a JSON line for each file.
    """
    if as_json:
        for job in jobs:
            select = job.options.select
            plan = {
                "event": "plan",
                "number": job.number,
                "input": job.source_name,
                "output": job.output_name,
                "to": job.options.to,
                "select": select.text if select else None,
            }
            _line(plan)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", overflow="fold")
    table.add_column("output", overflow="fold")
    for job in jobs:
        table.add_row(_text(job.source_name), _text(job.output_name))
    table_console().print(table)


class _Bars:
    """A bar for each file that is being exported, and one for all."""

    def __init__(self, console: Console, rows: Sequence[_Row]) -> None:
        self._rows = rows
        self._weights = {row.job.number: _weight(row.job) for row in rows}
        self._begun = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
        )
        self._all = self._add("all files") if len(rows) > 1 else None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _add(self, label: str) -> TaskID:
        shown = Text(one_line(label)).markup
        return self._progress.add_task(shown, total=1.0, rate="")

    def show(self, row: _Row, event: Event) -> None:
        """Bring the bars up to date."""
        match event:
            case Began():
                row.task = self._add(os.path.basename(row.job.source_name))  # noqa: PTH119
            case Progressed() if row.task is not None:
                task = self._progress.tasks[self._progress.task_ids.index(row.task)]
                self._progress.update(
                    row.task,
                    completed=row.fraction,
                    rate=_rate([row], task.elapsed or 0.0),
                )
            case Ended() if row.task is not None:
                self._progress.remove_task(row.task)
                row.task = None
        if self._all is not None:
            total = sum(self._weights.values())
            done = sum(
                self._weights[row.job.number] * (1.0 if row.ended else row.fraction)
                for row in self._rows
            )
            self._progress.update(
                self._all,
                completed=done / total,
                rate=_rate(self._rows, time.monotonic() - self._begun),
            )


def _weight(job: Job) -> int:
    """Return how much of all a file is: its size, as far as that is known at once."""
    if job.source.is_remote:
        return 1
    try:
        return max(1, os.path.getsize(job.source.name))  # noqa: PTH202
    except OSError:
        return 1


def _rate(rows: Sequence[_Row], seconds: float) -> str:
    if seconds < 0.2:
        return ""
    nbytes = sum(row.nbytes * row.fraction for row in rows) / seconds
    frames = sum(row.frames * row.fraction for row in rows) / seconds
    return f"{human_nbytes(nbytes)}/s {frames:.1f} frames/s"
