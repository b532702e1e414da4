"""Time the same work done with other libraries and with this package, side by side.

usage: python compare.py [--cases A,B] [--quick] [--rounds N] [--dir DIR] [--keep]
                         [--list] [--json] [--check]

Names of cases may end in *. Each measurement is a process of its own that does the work
once to warm up (imports, page cache), then repeats it and reports its best time. Processes
of the libraries take turns, so that a busy moment of the machine hits all; medians over the
rounds are compared.

Reading is compared with nd2 (PyPI) and with the raw time: `os.preadv` of the same bytes into
fresh memory, one thread. Writing is compared with `os.pwrite` of the same bytes in pieces of
16 MiB, with `zlib` level 1 on one thread and, where it is installed, with limnd2. What is
shown as scale has peers of its own: nd2 through its own best call, one process, no package.

The last columns say what this package promises, and whether it kept that; with --check a
broken promise is exit status 1.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from benchmarks import _files as files
from comparison import (
    exporting,
    exporting_zarr,
    facades,
    many,
    reading,
    remote,
    scale,
    virtual,
    writing,
)
from comparison.case import SECTIONS

if TYPE_CHECKING:
    from comparison.case import Case, Work

SETTLED_SECONDS = 1.5
"""A process stops repeating its work after this time."""


def cases() -> dict[str, Case]:
    """All cases by name."""
    return dict(
        [
            *reading.cases(),
            *writing.cases(),
            *exporting.cases(),
            *exporting_zarr.cases(),
            *facades.cases(),
            *scale.cases(),
            *many.cases(),
            *remote.cases(),
            *virtual.cases(),
        ]
    )


# ---- measuring ------------------------------------------------------------------------


def measure_here(case: Case, side: str, path: Path) -> dict[str, Any]:
    """Do the work of one side in this process; return its best time and result."""
    work: Work = (case.sides | case.extras)[side](path)
    best = float("inf")
    begin = time.perf_counter()
    try:
        for turn in range(case.repeats + 1):
            start = time.perf_counter()
            result = work.run()
            now = time.perf_counter()
            if turn == 0:  # to warm up, unless it is the only one
                shown = files.fingerprint(result)
                begin = now
            if turn or not case.repeats:
                best = min(best, now - start)
            del result  # giving memory back is not part of the work
            work.clean()
            if turn and now - begin > SETTLED_SECONDS:
                break
        counted = dict(work.figures())
    finally:
        work.close()
    return {
        "seconds": best,
        "result": shown,
        "peak_mb": peak_nbytes() / 1e6,
        "counted": counted,
    }


def peak_nbytes() -> int:
    """Most memory that this process ever had."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts what the parent had, too
        words = status.read_text().split()
        return int(words[words.index("VmHWM:") + 1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(name: str, side: str, path: Path) -> dict[str, Any]:
    """Do the same in a process of its own."""
    options = ["--one", name, "--side", side, "--file", str(path)]
    command = [sys.executable, __file__, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"{name} with {side} failed:\n{done.stderr[-2000:]}"
        raise SystemExit(message)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one case."""

    case: str
    section: str
    title: str
    seconds: dict[str, float]
    """Median of each side."""
    figures: dict[str, float]
    """What promises are about."""
    promised: list[str]
    """Names of the figures that promises are about."""
    promises: dict[str, bool]
    """Each promise, and whether it was kept."""
    extras: dict[str, float]
    """Seconds of what was measured besides."""


def run_case(name: str, case: Case, path: Path, rounds: int) -> Row:
    """Measure one case in `rounds` rounds, the sides taking turns."""
    sides = [*case.sides, *case.extras]
    measured: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for turn in range(rounds):
        for side in sides if turn % 2 == 0 else reversed(sides):
            measured[side].append(measure(name, side, path))
    compared = {"reading": {"nd2"}, "scale": set(case.sides)}.get(case.section, set())
    for side in sorted(compared):
        theirs, ours = (measured[one][-1]["result"] for one in (side, "ours"))
        if theirs != ours:
            raise SystemExit(f"{name}: {side} got {theirs}, this package {ours}")
    middle = {
        side: statistics.median(one["seconds"] for one in all_)
        for side, all_ in measured.items()
    }
    figures = {"ours MB": max(one["peak_mb"] for one in measured["ours"])}
    counted = {side: measured[side][-1]["counted"] for side in case.sides}
    figures |= {f"ours {what}": count for what, count in counted["ours"].items()}
    for other in case.sides:
        figures[f"ours-{other} ms"] = 1e3 * (middle["ours"] - middle[other])
        for what in counted["ours"].keys() & counted[other].keys():
            ratio = counted[other][what] / max(counted["ours"][what], 1)
            figures[f"{other}/ours {what}"] = ratio
        figures[f"{other}/ours"] = middle[other] / middle["ours"]
        figures[f"ours/{other}"] = middle["ours"] / middle[other]
        if case.section == "writing":
            nbytes = [measured[side][-1]["result"] for side in ("ours", other)]
            figures[f"ours/{other} bytes"] = nbytes[0] / nbytes[1]
    return Row(
        case=name,
        section=case.section,
        title=case.title,
        seconds={side: middle[side] for side in case.sides},
        figures=figures,
        promised=[promise.figure for promise in case.promises],
        promises={str(promise): promise.is_kept(figures) for promise in case.promises},
        extras={side: middle[side] for side in case.extras},
    )


# ---- showing --------------------------------------------------------------------------


def tables(rows: list[Row]) -> str:
    """Return the rows as text, a table for each section, times in milliseconds."""
    texts = []
    for section, all_sides in SECTIONS.items():
        within = [row for row in rows if row.section == section]
        sides = [side for side in all_sides if any(side in r.seconds for r in within)]
        if within:
            texts.append(f"{section}\n{table(within, sides)}")
    texts += [
        f"{row.title}: {name} {seconds * 1e3:.2f} ms"
        for row in rows
        for name, seconds in row.extras.items()
    ]
    return "\n\n".join(texts)


def table(rows: list[Row], sides: list[str]) -> str:
    """Return one table."""
    figures = [
        f"ours/{side}" if side == "raw" else f"{side}/ours"
        for side in sides
        if side != "ours"
    ]
    if rows[0].section == "writing":
        figures += ["ours/zlib 1 bytes", "ours MB"]
    if rows[0].section in {"exporting", "scale"}:  # each has figures of its own
        named = [name for row in rows for name in row.promised if name not in figures]
        figures += dict.fromkeys(named)
    head = ["case", *(f"{side} ms" for side in sides), *figures, "promised", "kept?"]
    body = []
    for row in rows:
        times = [
            f"{row.seconds[s] * 1e3:.2f}" if s in row.seconds else "" for s in sides
        ]
        shown = [
            f"{row.figures[f]:.{decimals(f)}f}" if f in row.figures else ""
            for f in figures
        ]
        promised = ", ".join(row.promises) or "-"
        kept = "yes" if all(row.promises.values()) else "NO"
        body.append([row.title, *times, *shown, promised, kept if row.promises else ""])
    widths = [max(len(line[i]) for line in (head, *body)) for i in range(len(head))]
    numbers = range(1, len(head) - 2)
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (head, *body)
    )


def decimals(figure: str) -> int:
    """Return how many decimals of a figure say something."""
    if "/" not in figure:
        return 0
    return 3 if "bytes" in figure else 2


# ---- the command ----------------------------------------------------------------------


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
        "--check", action="store_true", help="exit 1 on a broken promise"
    )
    for internal in ("--one", "--side", "--file"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    return parser.parse_args()


def chosen(known: dict[str, Case], wanted: str | None) -> list[str]:
    """Return the names of the cases asked for."""
    if not wanted:
        return list(known)
    names = []
    for pattern in wanted.split(","):
        found = fnmatch.filter(known, pattern)
        if not found:
            message = f"no such case: {pattern}; --list shows them"
            raise SystemExit(message)
        names += found
    return names


def place_of(case: Case, folder: Path, *, quick: bool) -> Path:
    """Return the file to be read, or in the folder to write to, what is to be written."""
    if not case.file:
        return folder
    if case.section == "writing":
        return folder / f"{case.file}.{'quick' if quick else 'full'}"
    path = Path(case.file)
    return path if path.is_absolute() else files.make(case.file, folder, quick=quick)


def compare(args: argparse.Namespace, folder: Path) -> int:
    """Run the cases asked for; return the exit status."""
    known = cases()
    rows = []
    for name in chosen(known, args.cases):
        case = known[name]
        path = place_of(case, folder, quick=args.quick)
        rows.append(run_case(name, case, path, args.rounds))
        print(f"{name} done", file=sys.stderr, flush=True)
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        print(tables(rows))
    return int(args.check and not all(all(row.promises.values()) for row in rows))


def main() -> int:
    """Run as a script."""
    args = parse()
    if args.list:
        print("\n".join(cases()))
        return 0
    if args.one:
        measured = measure_here(cases()[args.one], args.side, Path(args.file))
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
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if args.keep:
        folder = Path(tempfile.mkdtemp(prefix="limnd2-xr-"))
        print(f"files are kept in {folder}", file=sys.stderr)
        return compare(args, folder)
    with tempfile.TemporaryDirectory() as temporary:
        return compare(args, Path(temporary))


if __name__ == "__main__":
    sys.exit(main())
