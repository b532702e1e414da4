"""A progress bar on stderr, where that is a terminal."""

# ruff: noqa: TID253  (the command alone needs rich, and imports this when it runs)

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from limnd2_xr.cli.messages import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar while a block runs.

    Parameters
    ----------
    label
        What is going on.

    Yields
    ------
    callable or None
        To be called with what is done and what there is to do; None where stderr is no
        terminal.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(Text(one_line(label)).markup, total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield advance
