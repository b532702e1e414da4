"""Time the same work done with nd2 (PyPI) and with this package, side by side.

usage: python compare.py [--cases A,B] [--quick] [--rounds N] [--dir DIR] [--keep]
                         [--json] [--check]

Each measurement is a process of its own that does the work once to warm up (imports, page
cache), then repeats it and reports its best time. Processes of the two packages take turns,
so that a busy moment of the machine hits both; medians over the rounds are compared. Beside
them stands the raw time: `os.preadv` of the same bytes into fresh memory, one thread.

The target column is what this package promises; with --check a missed one is exit status 1.
"""

# ruff: noqa: S101

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from benchmarks import _files as files

REAL = files.SAMPLES / "real"
LIBRARIES = ("nd2", "ours", "raw")
SETTLED_SECONDS = 1.5
"""A process stops repeating its work after this time."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a case promises: a speed-up over nd2, a limit relative to raw reads, or nothing."""

    over_nd2: float | None = None
    """nd2's time divided by ours is at least this."""
    over_raw: float | None = None
    """Our time divided by the raw one is at most this."""

    def __str__(self) -> str:
        if self.over_nd2 is None:
            return "-"
        text = "no slower" if self.over_nd2 == 1 else f">= {self.over_nd2:g}x"
        return text if self.over_raw is None else f"{text}, <= {self.over_raw:g} raw"

    def met_by(self, over_nd2: float, over_raw: float) -> bool:
        """Whether measured factors keep the promise."""
        return (self.over_nd2 is None or over_nd2 >= self.over_nd2) and (
            self.over_raw is None or over_raw <= self.over_raw
        )


@dataclass(frozen=True, kw_only=True)
class Case:
    """One piece of work, as each library does it.

    The functions get the file and return (work, close): the work is timed, and returns
    something that shows that all libraries did the same.
    """

    title: str
    file: str
    nd2: Callable[[Path], Work]
    ours: Callable[[Path], Work]
    raw: Callable[[Path], Work]
    target: Target
    repeats: int = 5
    extras: dict[str, Callable[[Path], Work]] = field(default_factory=dict)
    """Measured and shown besides, without a promise."""


@dataclass(frozen=True)
class Work:
    """The work to time, and how to clean up after it."""

    run: Callable[[], Any]
    close: Callable[[], None] = lambda: None


# ---- raw reads ------------------------------------------------------------------------


def raw_frames(path: Path, rows: slice | None = None) -> Work:
    """Read the stored bytes of all frames, or of some rows of each, into fresh memory."""
    import numpy as np

    spans = files.frame_spans(path, rows)
    fd = os.open(path, os.O_RDONLY)

    def run() -> Any:
        out = np.empty(sum(nbytes for _, nbytes in spans), dtype=np.uint8)
        view = memoryview(out)
        at = 0
        for offset, nbytes in spans:
            at += os.preadv(fd, [view[at : at + nbytes]], offset)
        assert at == out.nbytes
        return out

    return Work(run, lambda: os.close(fd))


def raw_whole(path: Path) -> Work:
    """Read the whole (small) file."""

    def run() -> int:
        with path.open("rb", buffering=0) as file:
            return len(file.read())

    return Work(run)


def raw_map(path: Path) -> Work:
    """Read the chunk map."""

    def run() -> int:
        with path.open("rb", buffering=0) as file:
            file.seek(-8, os.SEEK_END)
            file.seek(int.from_bytes(file.read(8), "little"))
            return len(file.read())

    return Work(run)


# ---- metadata -------------------------------------------------------------------------


def nd2_core_metadata(path: Path) -> Work:
    """Get what comes without recorded columns, the software's name and labels."""
    import nd2

    def run() -> int:
        with nd2.ND2File(path) as file:
            return read_nd2(file)

    return Work(run)


def nd2_metadata(path: Path) -> Work:
    """Get what our document and records hold."""
    import nd2

    def run() -> int:
        with nd2.ND2File(path) as file:
            count = read_nd2(file)
            file.events(orient="list")
            assert file.custom_data is not None
            return count

    return Work(run)


def nd2_labelled(path: Path) -> Work:
    """Get what our dataset holds."""
    import nd2

    def run() -> int:
        with nd2.ND2File(path) as file:
            count = read_nd2(file)
            file.events(orient="list")
            assert file.custom_data is not None
            assert file.to_xarray(delayed=True) is not None
            return count

    return Work(run)


def read_nd2(file: Any) -> int:
    parts = (file.attributes, file.experiment, file.metadata, file.text_info)
    assert all(part is not None for part in parts)
    file.voxel_size()
    return len([file.frame_metadata(i) for i in range(file.attributes.sequenceCount)])


def our_metadata(path: Path) -> Work:
    from limnd2_xr.frames.store import FrameStore
    from limnd2_xr.model.positions import stage_positions
    from limnd2_xr.model.times import acquired, frame_times

    def run() -> int:
        with FrameStore.open(path) as store:
            document, axes, records = store.document, store.axes, store.records
            times = frame_times(document, axes, records)
            acquired(document, axes, times)
            return int(stage_positions(document, axes, records).z.size)

    return Work(run)


def our_labelled(path: Path) -> Work:
    import xarray as xr

    def run() -> int:
        with xr.open_dataset(path, engine="nd2") as dataset:
            assert dataset.nd2.metadata is not None
            loaded = {name: dataset[name].values for name in dataset.coords}
            return int(loaded["time"].size)

    return Work(run)


# ---- pixels ---------------------------------------------------------------------------


def nd2_asarray(path: Path) -> Work:
    import nd2

    file = nd2.ND2File(path)
    return Work(file.asarray, file.close)


def our_values(path: Path) -> Work:
    import xarray as xr

    dataset = xr.open_dataset(path, engine="nd2", cache=False)

    def run() -> Any:
        values = dataset["image"].values
        assert values.flags.c_contiguous
        return values

    return Work(run, dataset.close)


def nd2_sum(path: Path) -> Work:
    import nd2

    file = nd2.ND2File(path)
    return Work(lambda: int(file.to_dask().sum().compute()), file.close)


def our_sum(path: Path) -> Work:
    import xarray as xr

    def run() -> int:
        with xr.open_dataset(path, engine="nd2", chunks={}) as dataset:
            return int(dataset["image"].data.sum().compute())

    return Work(run)


def nd2_window(path: Path) -> Work:
    import nd2

    file = nd2.ND2File(path)

    def run() -> Any:
        return file.to_dask()[(..., *files.WINDOW)].compute()

    return Work(run, file.close)


def our_window(path: Path) -> Work:
    import xarray as xr

    dataset = xr.open_dataset(path, engine="nd2", cache=False)
    rows, columns = files.WINDOW

    def run() -> Any:
        return dataset["image"].isel(Y=rows, X=columns).values

    return Work(run, dataset.close)


def our_window_dask(path: Path) -> Work:
    import xarray as xr

    dataset = xr.open_dataset(path, engine="nd2", chunks={})
    rows, columns = files.WINDOW

    def run() -> Any:
        return dataset["image"].isel(Y=rows, X=columns).data.compute()

    return Work(run, dataset.close)


# ---- the chunk map --------------------------------------------------------------------


def nd2_open(path: Path) -> Work:
    import nd2

    def run() -> int:
        with nd2.ND2File(path) as file:
            return int(file.attributes.sequenceCount)

    return Work(run)


def our_open(path: Path) -> Work:
    import xarray as xr

    def run() -> int:
        with xr.open_dataset(path, engine="nd2") as dataset:
            return int(dataset.sizes["T"])

    return Work(run)


def cases() -> dict[str, Case]:
    """All cases by name."""
    found = {
        f"open-{path.stem}": Case(
            title=f"open + all metadata, {path.stem}",
            file=str(path),
            nd2=nd2_metadata,
            ours=our_metadata,
            raw=raw_whole,
            target=Target(over_nd2=1),
            repeats=30,
            extras={"nd2 without recorded columns and software": nd2_core_metadata},
        )
        for path in sorted(REAL.glob("*.nd2"))
    }
    found |= {
        f"label-{path.stem}": Case(
            title=f"the same as a labelled array, {path.stem}",
            file=str(path),
            nd2=nd2_labelled,
            ours=our_labelled,
            raw=raw_whole,
            target=Target(over_nd2=1),
            repeats=30,
        )
        for path in sorted(REAL.glob("*.nd2"))
    }
    found["read-stack"] = Case(
        title="full read, 2048² uint16 frames",
        file="stack",
        nd2=nd2_asarray,
        ours=our_values,
        raw=raw_frames,
        target=Target(over_nd2=1, over_raw=1.25),
        repeats=3,
    )
    found["read-two-channels"] = Case(
        title="full read, two channels, C-contiguous",
        file="two_channels",
        nd2=nd2_asarray,
        ours=our_values,
        raw=raw_frames,
        target=Target(over_nd2=1, over_raw=2),
        repeats=3,
    )
    found["read-zlib"] = Case(
        title="full read, zlib frames with photon noise",
        file="zlib",
        nd2=nd2_asarray,
        ours=our_values,
        raw=raw_frames,
        target=Target(over_nd2=3),
        repeats=3,
    )
    found["sum-tiny-dask"] = Case(
        title="sum of 16² frames through dask",
        file="tiny",
        nd2=nd2_sum,
        ours=our_sum,
        raw=raw_frames,
        target=Target(over_nd2=50),
    )
    found["window"] = Case(
        title="64² window of each frame, lazy array",
        file="stack",
        nd2=nd2_window,
        ours=our_window,
        raw=lambda path: raw_frames(path, files.WINDOW[0]),
        target=Target(over_nd2=20),
    )
    found["window-dask"] = Case(
        title="64² window of each frame, dask array",
        file="stack",
        nd2=nd2_window,
        ours=our_window_dask,
        raw=lambda path: raw_frames(path, files.WINDOW[0]),
        target=Target(),
    )
    found["open-map"] = Case(
        title="open a long chunk map",
        file="long_map",
        nd2=nd2_open,
        ours=our_open,
        raw=raw_map,
        target=Target(over_nd2=3),
        repeats=3,
    )
    return found


# ---- measuring ------------------------------------------------------------------------


def measure_here(case: Case, library: str, path: Path) -> dict[str, Any]:
    """Do the work of one library in this process; return its best time and result."""
    prepare = case.extras.get(library) or getattr(case, library)
    work: Work = prepare(path)
    try:
        shown = files.fingerprint(work.run())
        best = float("inf")
        begin = time.perf_counter()
        for _ in range(case.repeats):
            start = time.perf_counter()
            result = work.run()
            now = time.perf_counter()
            best = min(best, now - start)
            del result  # giving memory back is not part of the work
            if now - begin > SETTLED_SECONDS:
                break
    finally:
        work.close()
    return {"seconds": best, "result": shown}


def measure(name: str, library: str, path: Path) -> dict[str, Any]:
    """Do the same in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--one",
        name,
        "--lib",
        library,
        "--file",
        str(path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"{name} with {library} failed:\n{done.stderr[-2000:]}"
        raise SystemExit(message)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


@dataclass(frozen=True, kw_only=True)
class Row:
    """Medians of one case, in seconds."""

    case: str
    title: str
    raw: float
    nd2: float
    ours: float
    ratio: float
    over_raw: float
    target: str
    ok: bool
    extras: dict[str, float]


def run_case(name: str, case: Case, path: Path, rounds: int) -> Row:
    """Measure one case in `rounds` rounds, the libraries taking turns."""
    libraries = [*LIBRARIES, *case.extras]
    seconds: dict[str, list[float]] = {library: [] for library in libraries}
    for turn in range(rounds):
        results = {}
        for library in libraries if turn % 2 == 0 else reversed(libraries):
            measured = measure(name, library, path)
            seconds[library].append(measured["seconds"])
            results[library] = measured["result"]
        if results["nd2"] != results["ours"]:
            message = (
                f"{name}: nd2 got {results['nd2']}, this package {results['ours']}"
            )
            raise SystemExit(message)
    middle = {library: statistics.median(times) for library, times in seconds.items()}
    ratio = middle["nd2"] / middle["ours"]
    over_raw = middle["ours"] / middle["raw"]
    target = case.target
    return Row(
        case=name,
        title=case.title,
        raw=middle["raw"],
        nd2=middle["nd2"],
        ours=middle["ours"],
        ratio=ratio,
        over_raw=over_raw,
        target=str(target),
        ok=target.met_by(ratio, over_raw),
        extras={library: middle[library] for library in case.extras},
    )


def table(rows: list[Row]) -> str:
    """Return the rows as text, times in milliseconds."""
    head = (
        "case",
        "raw ms",
        "nd2 ms",
        "ours ms",
        "nd2/ours",
        "ours/raw",
        "target",
        "ok?",
    )
    body = [
        (
            row.title,
            f"{row.raw * 1e3:.2f}",
            f"{row.nd2 * 1e3:.2f}",
            f"{row.ours * 1e3:.2f}",
            f"{row.ratio:.2f}",
            f"{row.over_raw:.2f}",
            row.target,
            "yes" if row.ok else "NO",
        )
        for row in rows
    ]
    widths = [max(len(line[i]) for line in (head, *body)) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.rjust(width) if 0 < i < 6 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (head, *body)
    ]
    lines += [
        f"{row.title}: {name} {seconds * 1e3:.2f} ms"
        for row in rows
        for name, seconds in row.extras.items()
    ]
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", help="names separated by commas; default: all")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--quick", action="store_true", help="smaller files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", type=Path, help="where the files are, or are written")
    parser.add_argument("--keep", action="store_true", help="do not delete the files")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--check", action="store_true", help="exit 1 on a missed target"
    )
    for internal in ("--one", "--lib", "--file"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    return parser.parse_args()


def compare(args: argparse.Namespace, folder: Path) -> int:
    """Run the cases asked for; return the exit status."""
    known = cases()
    names = args.cases.split(",") if args.cases else list(known)
    if unknown := set(names) - set(known):
        message = f"no such case: {', '.join(sorted(unknown))}; --list shows them"
        raise SystemExit(message)
    rows = []
    for name in names:
        case = known[name]
        path = Path(case.file)
        if not path.is_absolute():
            path = files.make(case.file, folder, quick=args.quick)
        row = run_case(name, case, path, args.rounds)
        rows.append(row)
        if not args.json:
            print(f"{row.title}: {row.ratio:.2f}x", file=sys.stderr, flush=True)
    print(
        json.dumps([asdict(row) for row in rows], indent=1)
        if args.json
        else table(rows)
    )
    return int(args.check and not all(row.ok for row in rows))


def main() -> int:
    """Run as a script."""
    args = parse()
    if args.list:
        print("\n".join(cases()))
        return 0
    if args.one:
        measured = measure_here(cases()[args.one], args.lib, Path(args.file))
        print(json.dumps(measured))
        return 0
    if args.dir is not None:
        args.dir.mkdir(parents=True, exist_ok=True)
        before = set(args.dir.iterdir())
        try:
            return compare(args, args.dir)
        finally:
            if not args.keep:
                for path in set(args.dir.iterdir()) - before:
                    path.unlink()
    if args.keep:
        folder = Path(tempfile.mkdtemp(prefix="limnd2-xr-"))
        print(f"files are kept in {folder}", file=sys.stderr)
        return compare(args, folder)
    with tempfile.TemporaryDirectory() as temporary:
        return compare(args, Path(temporary))


if __name__ == "__main__":
    sys.exit(main())
