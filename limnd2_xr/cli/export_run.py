"""Doing what was planned: here or in other processes, telling of it by events.

A file that fails does not stop the others. An interruption stops all of them, and each
tidies up after itself before the process ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from limnd2_xr.cli.export_formats import BLOCKED, output_nbytes, write_export
from limnd2_xr.cli.export_plan import exists
from limnd2_xr.cli.messages import one_line, reason_of
from limnd2_xr.container.redaction import Secrets
from limnd2_xr.errors import Nd2Warning
from limnd2_xr.options import get_threads, set_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from limnd2_xr.cli.export_plan import Job

__all__ = [
    "Began",
    "Ended",
    "Event",
    "Progressed",
    "Status",
    "Warned",
    "export_file",
    "run_jobs",
]

Status: TypeAlias = Literal["done", "kept", "failed", "interrupted"]
"""How an export ended; ``kept``: it was complete already."""

_PAUSE_S: Final = 0.1
"""Progress is told no more often."""
_PATIENCE_S: Final = 60.0
"""So long processes may take to tidy up."""


@dataclass(frozen=True, slots=True)
class Began:
    """An export was begun."""

    number: int
    frames: int
    nbytes: int
    """Of the pixels that are exported, as an array."""


@dataclass(frozen=True, slots=True)
class Progressed:
    """Part of an export was done, in steps: frames, or blocks of them."""

    number: int
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Warned:
    """An export goes on, but something is to be known about it."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """An export is over."""

    number: int
    status: Status
    seconds: float
    nbytes: int | None = None
    """Size of what was written."""
    error: str = ""


Event: TypeAlias = Began | Progressed | Warned | Ended


def export_file(job: Job, emit: Callable[[Event], None]) -> None:
    """Export one file; what goes wrong is told, not raised.

    Parameters
    ----------
    job
        What to do.
    emit
        Told of all that happens, from any thread, one at a time.

    Raises
    ------
    KeyboardInterrupt
        If it was interrupted, after it was told and nothing is left but what can be
        continued.
    """
    begun = time.monotonic()

    def end(status: Status, nbytes: int | None = None, error: str = "") -> None:
        seconds = round(time.monotonic() - begun, 3)
        emit(Ended(job.number, status, seconds, nbytes, error))

    try:
        status = _export(job, emit)
        nbytes = output_nbytes(job)
    except KeyboardInterrupt:
        end("interrupted")
        raise
    except Exception as error:  # noqa: BLE001 - the other files are to be exported
        end("failed", error=_reason(job, error))
    else:
        end(status, nbytes)


def _export(job: Job, emit: Callable[[Event], None]) -> Status:
    import xarray as xr

    options = job.options
    if options.resume and options.to != "ome-zarr" and exists(job):
        return "kept"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", Nd2Warning)
        try:
            with xr.open_dataset(
                job.source.name,
                engine="nd2",
                chunks={} if options.to in BLOCKED else None,
                storage_options=job.reading_options,
            ) as opened:
                selected = (
                    opened if options.select is None else options.select.apply(opened)
                )
                emit(_began(job, selected))
                tell = _Telling(job, emit)
                write_export(selected, job, tell)
        finally:
            texts = dict.fromkeys(
                str(one.message)
                for one in caught
                if issubclass(one.category, Nd2Warning)
            )
            for text in texts:
                emit(Warned(job.number, _scrubbed(job, text)))
    # Of an export that is continued nothing may be left to do.
    return "done" if tell.has_told or not options.resume else "kept"


def _began(job: Job, dataset: Any) -> Began:
    image = dataset["image"]
    frames = 1
    for dim, length in image.sizes.items():
        frames *= 1 if dim in ("C", "Y", "X", "S") else length
    return Began(job.number, frames, int(image.nbytes))


class _Telling:
    """Tells of progress, now and then."""

    def __init__(self, job: Job, emit: Callable[[Event], None]) -> None:
        self._job = job
        self._emit = emit
        self._last = -_PAUSE_S
        self.has_told = False

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - self._last >= _PAUSE_S:
            self._last = now
            self.has_told = True
            self._emit(Progressed(self._job.number, done, total))


def _reason(job: Job, error: Exception) -> str:
    if isinstance(error, FileExistsError) and not error.errno:
        text = str(error).replace("resume=True", "--resume")
        text = text.replace("pass overwrite=True", "--overwrite is needed")
        text = text.replace("overwrite=True", "--overwrite")
    elif isinstance(error, OSError) and not _is_about_source(job, error):
        text = f"{error.filename}: {error.strerror or error}"
    else:
        text = reason_of(job.source.name, error)
        if not isinstance(error, OSError | ValueError | ImportError | TypeError):
            kind = type(error).__name__
            text = text if not text or kind in text else f"{kind}: {text}"
    return one_line(_scrubbed(job, text)).removeprefix(f"{job.source_name}: ")


def _is_about_source(job: Job, error: OSError) -> bool:
    if not isinstance(error.filename, str) or job.source.is_remote:
        return True
    return os.path.abspath(error.filename) == os.path.abspath(job.source.name)  # noqa: PTH100


def _scrubbed(job: Job, text: str) -> str:
    for url in (job.source.name, job.output):
        if "://" in url:
            text = Secrets.of(url, job.storage_options).scrub(text)
    return text


# ---- several at a time ----------------------------------------------------------------


def run_jobs(
    jobs: Sequence[Job], emit: Callable[[Event], None], *, processes: int = 1
) -> None:
    """Export files, in the order of their numbers.

    Parameters
    ----------
    jobs
        What to do.
    emit
        Told of all that happens, one at a time.
    processes
        How many files at a time, each in a process of its own; together they use as many
        threads as one would.

    Raises
    ------
    KeyboardInterrupt
        If it was interrupted, once every export has tidied up.
    """
    processes = min(processes, len(jobs))
    if processes > 1:
        _Pool(jobs, emit, processes).run()
        return
    lock = threading.Lock()

    def emit_one(event: Event) -> None:
        with lock:
            emit(event)

    for job in jobs:
        export_file(job, emit_one)


@dataclass(slots=True)
class _Worker:
    """A process, and what it is at."""

    process: Any
    connection: Connection[Any, Any]
    job: Job | None = None


class _Pool:
    """Processes that export files, one each at a time."""

    def __init__(
        self, jobs: Sequence[Job], emit: Callable[[Event], None], processes: int
    ) -> None:
        # New ones, not copies: threads and locks of this one would be in them.
        self._context = multiprocessing.get_context("spawn")
        self._todo = list(reversed(jobs))
        self._emit = emit
        self._threads = max(1, get_threads() // processes)
        self._workers = [self._start() for _ in range(processes)]

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._threads), daemon=True
        )
        with _deaf():  # as its child is, from its first moment
            process.start()
        theirs.close()
        return _Worker(process, ours)

    def run(self) -> None:
        try:
            for worker in self._workers:
                self._next(worker)
            while self._workers:
                self._hear(wait([worker.connection for worker in self._workers]))
        except BaseException:
            self._interrupt()
            raise

    def _next(self, worker: _Worker) -> None:
        """Give a process its next file, or end it."""
        worker.job = self._todo.pop() if self._todo else None
        with suppress(OSError):  # if it has died, listening to it tells
            worker.connection.send(worker.job)
        if worker.job is None:
            worker.process.join()
            worker.connection.close()
            self._workers.remove(worker)

    def _hear(self, ready: Sequence[Any]) -> None:
        for worker in [one for one in self._workers if one.connection in ready]:
            try:
                event: Event = worker.connection.recv()
            except (EOFError, OSError):
                self._bury(worker)
                continue
            self._emit(event)
            if isinstance(event, Ended):
                self._next(worker)

    def _bury(self, worker: _Worker) -> None:
        """Tell that a process died in the middle of a file; another takes its place."""
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        if worker.job is not None:
            code = worker.process.exitcode
            died = f"signal {-code}" if code and code < 0 else f"status {code}"
            reason = f"the process that exported it ended with {died}"
            self._emit(Ended(worker.job.number, "failed", 0.0, None, reason))
        if self._todo:
            self._workers.append(self._start())
            self._next(self._workers[-1])

    def _interrupt(self) -> None:
        """Have all processes tidy up and end."""
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + _PATIENCE_S
        try:
            for worker in self._workers:
                self._drain(worker, deadline)
        finally:
            for worker in self._workers:
                worker.process.kill()
                worker.process.join()
                worker.connection.close()

    def _drain(self, worker: _Worker, deadline: float) -> None:
        """Hear the last of a process, until it has ended."""
        with suppress(EOFError, OSError):
            while worker.connection.poll(max(0.0, deadline - time.monotonic())):
                event = worker.connection.recv()
                if isinstance(event, Ended | Warned):
                    self._emit(event)
        worker.process.join(max(0.0, deadline - time.monotonic()))


@contextmanager
def _deaf() -> Iterator[None]:
    """Ignore Ctrl-C for a moment, where that can be said."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(connection: Connection[Any, Any], threads: int) -> None:
    """Export what comes, in a process of its own, until None comes.

    Ctrl-C reaches every process of a terminal. These wait for the first one to say so
    (SIGTERM): then each is interrupted once, and can tidy up in peace.
    """
    lock = threading.Lock()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt_once)
    set_threads(threads)

    def emit(event: Event) -> None:
        with lock:
            connection.send(event)

    with suppress(KeyboardInterrupt, EOFError, OSError):
        while (job := connection.recv()) is not None:
            export_file(job, emit)


def _interrupt_once(number: int, _frame: Any) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
