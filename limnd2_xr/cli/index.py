"""`limnd2-xr index`: a table of many files, a row each."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections import deque
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from limnd2_xr.arrays.expressions import compile_filter
from limnd2_xr.arrays.file_index import COLUMNS, index_file
from limnd2_xr.cli.export import interruptible, refusing
from limnd2_xr.cli.inputs import find_inputs, storage_options_of
from limnd2_xr.cli.messages import say
from limnd2_xr.cli.progress import progress_bar
from limnd2_xr.export.new_file import new_file

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Generator,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )
    from concurrent.futures import Future
    from typing import BinaryIO

    from limnd2_xr.arrays.file_index import FileRow
    from limnd2_xr.cli.inputs import InputFile

__all__ = ["index"]

_TABLE: Final = (
    *("path", "size", "dims", "T", "P", "Z", "C", "Y", "X"),
    *("dtype", "channels", "pixel_size", "objective", "error"),
)
"""Columns of a table, if none are named: as many as a screen is wide."""
_THREADS: Final = 8
_REQUESTS: Final = 32
_AHEAD: Final = 4
"""Files for each worker that are read before a row is taken."""
_BATCH: Final = 32
"""Files that a process takes at a time."""


def index(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER...", help="Folders, files, globs or URLs of .nd2 files."
        ),
    ],
    *,
    recurse: Annotated[
        bool, typer.Option("--recurse", "-r", help="Look into folders of folders.")
    ] = False,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="table|csv|json|parquet",
            help="Usually a table, or what the suffix of --output says.",
        ),
    ] = None,
    expressions: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-F",
            metavar="EXPR",
            help="Rows to keep: T > 10 and 'DAPI' in channels. Several must all hold.",
        ),
    ] = None,
    sort_by: Annotated[
        str | None,
        typer.Option("--sort-by", "-s", metavar="COL[-]", help="With - from the end."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns", "-c", metavar="A,B,...", help="Which, in order, or all."
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Else stdout."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing --output.")
    ] = False,
    storage_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="For URLs, as often as needed."),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            min=1, max=256, help="Processes; more than 1 pays for thousands of files."
        ),
    ] = 1,
) -> None:
    """List .nd2 files, one row each: sizes, channels, calibration, optics, when taken.

    Only metadata are read. A file that cannot be read is a row with its error, and a line
    on stderr; the command then exits with 1.
    """
    from limnd2_xr.cli.index_output import row_writer

    with refusing(), interruptible():
        options = storage_options_of(storage_option or ())
        form = _format(form, output)
        chosen = _columns(columns, form)
        keep = _filter(expressions or ())
        order = _order(sort_by)
        files = find_inputs(inputs, recurse=recurse, storage_options=options)
        told = _Told()
        with (
            _sink(output, overwrite=overwrite) as sink,
            row_writer(form, chosen, sink) as write,
            closing(told.all(files, options, jobs)) as found,
        ):
            rows = (row.to_plain() for row in found)
            for row in order(filter(keep, rows)):
                write({name: row[name] for name in chosen})
    if told.failed:
        raise typer.Exit(1)


# ---- what was asked for ---------------------------------------------------------------


def _format(form: str | None, output: str | None) -> str:
    from limnd2_xr.cli.index_output import FORMATS

    if form is None:
        suffix = Path(output).suffix.lower().lstrip(".") if output else ""
        form = suffix if suffix in FORMATS else "table"
    if form not in FORMATS:
        raise ValueError(f"--format {form}: formats are {', '.join(FORMATS)}")
    return form


def _columns(text: str | None, form: str) -> tuple[str, ...]:
    if text is None:
        return _TABLE if form == "table" else COLUMNS
    if text.strip() == "all":
        return COLUMNS
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        _check_column("--columns", name)
    return names


def _check_column(option: str, name: str) -> None:
    if name not in COLUMNS:
        raise ValueError(f"{option} {name}: columns are {', '.join(COLUMNS)}")


def _filter(expressions: Sequence[str]) -> Callable[[dict[str, Any]], bool]:
    """Return what says whether a row is wanted."""
    tests = []
    for text in expressions:
        try:
            tests.append((text, compile_filter(text, COLUMNS)))
        except ValueError as error:
            raise ValueError(f"--filter {text!r}: {error}") from None

    def keep(row: dict[str, Any]) -> bool:
        for text, test in tests:
            try:
                if not test(row):
                    return False
            except (TypeError, ValueError, LookupError, ArithmeticError) as error:
                raise ValueError(
                    f"--filter {text!r} does not fit {row['path']}: {error}"
                ) from None
        return True

    return keep


def _order(
    sort_by: str | None,
) -> Callable[[Iterable[dict[str, Any]]], Iterable[dict[str, Any]]]:
    """Return what brings rows into order; those that lack the value come last."""
    if sort_by is None:
        return iter
    column = sort_by.removesuffix("-")
    _check_column("--sort-by", column)

    def ordered(rows: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
        found = list(rows)
        known = [row for row in found if row[column] is not None]
        known.sort(key=lambda row: row[column], reverse=sort_by.endswith("-"))
        return known + [row for row in found if row[column] is None]

    return ordered


@contextmanager
def _sink(output: str | None, *, overwrite: bool) -> Iterator[BinaryIO]:
    """Give what is written to: stdout, or a file that has its name once it is complete."""
    if output is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        with (
            new_file(output, overwrite=overwrite) as partial_file,
            partial_file.open("wb") as file,
        ):
            yield file
    except FileExistsError:
        reason = f"{output}: exists already; --overwrite replaces a file"
        raise ValueError(reason) from None


# ---- the files ------------------------------------------------------------------------


class _Told:
    """Reads files, and tells of those that cannot be read."""

    def __init__(self) -> None:
        self.failed = 0

    def all(
        self, files: Sequence[InputFile], options: Mapping[str, Any], jobs: int
    ) -> Generator[FileRow, None, None]:
        """Yield the row of each file, in order."""
        with (
            progress_bar("files") as advance,
            closing(_rows(files, options, jobs)) as rows,
        ):
            for done, row in enumerate(rows, start=1):
                if row.error is not None:
                    self.failed += 1
                    say(row.path, "", row.error)
                if advance is not None:
                    advance(done, len(files))
                yield row


def _rows(
    files: Sequence[InputFile], options: Mapping[str, Any], jobs: int
) -> Generator[FileRow, None, None]:
    """Yield rows in order, while the next files are being read."""
    names = [file.name for file in files]
    batches = iter(
        [names[at : at + _BATCH] for at in range(0, len(names), _BATCH)]
        if jobs > 1
        else [[name] for name in names]
    )
    read = partial(_read, options=dict(options))
    waits = any(file.is_remote for file in files)
    with _executor(jobs, _REQUESTS if waits else _THREADS) as (pool, workers):
        running = deque(
            pool.submit(read, batch) for batch in islice(batches, _AHEAD * workers)
        )
        try:
            while running:
                future: Future[list[FileRow]] = running.popleft()
                yield from future.result()
                running.extend(pool.submit(read, one) for one in islice(batches, 1))
        finally:
            for future in running:
                future.cancel()


@contextmanager
def _executor(jobs: int, threads: int) -> Iterator[tuple[Executor, int]]:
    if jobs == 1:
        with ThreadPoolExecutor(threads) as pool:
            yield pool, threads
        return
    # New ones, not copies: threads and locks of this one would be in them.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        jobs, context, signal.signal, (signal.SIGINT, signal.SIG_IGN)
    ) as processes:
        yield processes, jobs


def _read(names: Sequence[str], options: Mapping[str, Any]) -> list[FileRow]:
    return [index_file(name, options) for name in names]
