"""Compare what this package reads and writes with independent readers.

usage: python run.py --oracles DIR --samples DIR --work DIR

Runs DIR/check.py, with this package as one more reader in its table, over

- synthetic files and the real samples: pixels have to agree, and metadata with those
  readers that have an opinion;
- files that this package wrote from arrays, or converted from other formats: each reader has to report what the array
  says, as far as that reader can be trusted;
- files that the drop-in for limnd2 wrote: pixels, and metadata as of synthetic files;
- the real samples, opened and written again: each reader has to report the same of both;
- samples exported as OME-TIFF: Bio-Formats has to read their pixels and metadata;
- files of format 1.0 (which the vendor's SDK does not open), and damaged samples that this
  package repaired.
"""

# ruff: noqa: S603, T201

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import converted
import exported
import facade
import legacy
import repaired
import shapes
import written
from expected import expected

OURS = "limnd2_xr"
COMPARED = (
    "dims",
    "dtype",
    "shape",
    "bits",
    "pixel",
    "zstep",
    "channels",
    "times",
    "points",
)
INDEPENDENT = ("sdk", "nd2", "bf")
INCIDENTAL = {"secs", "version", "ome"}
"""What depends on the reader and the name of the file: `ome` is the length of a text."""
STALE = {("rewritten_netime_t2_u8", "bf", "pixel")}
"""Of the original Bio-Formats reads a chunk that the map does not list any more."""
AT_ONCE = 2
"""Runs of check.py side by side: most of the time one reader is running in each."""
TOLERANCE = 1e-6
UNKNOWN_MS = -1.0


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Files that one run of check.py looks at."""

    paths: list[Path]
    ignored: str = ""
    """Reader that is known not to read these, or otherwise."""


def main() -> int:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("oracles", "samples", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    readers = args.work / "readers"
    add_ourselves(readers)
    made = args.work / "made"
    made.mkdir()

    arrays = {**written.write_all(made), **converted.write_all(made)}
    real = sorted((args.samples / "real").glob("*.nd2"))
    copies = {rewrite(path, made): path for path in real}
    old = legacy.write_all(made)
    mended = repaired.write_all(made, args.samples)
    drop_in = facade.write_all(made)
    paths = [*shapes.write_all(made), *arrays, *real, *copies, *old, *mended, *drop_in]
    results, failed = check_all(args.oracles, readers, args.work, paths)
    found = [*compare(results, arrays, copies)]
    for path, difference in found:
        print(f"METADATA DISAGREE {path}: {difference}")
    failed |= bool(found) or len(results) != len(paths)
    failed |= exported.check(args.samples, args.work / "exported")
    print(
        f"{len(paths)} files compared: {'NOT all is well' if failed else 'all agree'}"
    )
    return int(failed)


def add_ourselves(readers: Path) -> None:
    """Make a folder of readers with this package among them."""
    installed = Path(
        os.environ.get("ND2_ORACLES") or Path.home() / ".cache" / "nd2-oracles"
    )
    readers.mkdir()
    for reader in installed.iterdir():
        (readers / reader.name).symlink_to(reader)
    (readers / OURS).symlink_to(sys.prefix)


def rewrite(path: Path, folder: Path) -> Path:
    """Open a file and write it again."""
    copy = folder / f"rewritten_{path.name}"
    with xr.open_dataset(path, engine="nd2") as dataset:
        dataset.nd2.to_nd2(copy, on_loss="raise")
    return copy


def check_all(
    oracles: Path, readers: Path, work: Path, paths: list[Path]
) -> tuple[dict[Path, dict[str, Any]], bool]:
    """Run check.py over files; return its results and whether any run failed."""
    environment = {
        **os.environ,
        "ND2_ORACLES": str(readers),
        "ND2_ORACLE_EXTRA": str(HERE / "drivers"),
    }
    swapped = shapes.SWAPPED_BY_BIO_FORMATS | written.SWAPPED_BY_BIO_FORMATS
    ignored = {
        path.stem: "bf" if path.stem in swapped else "sdk"
        for path in paths
        if path.stem in {*swapped, *legacy.SPECS}
    }
    plain = [path for path in paths if path.stem not in ignored]
    # The large ones first: nothing is left to do beside them at the end.
    plain.sort(key=lambda path: path.stat().st_size, reverse=True)
    batches = [Batch(paths=plain[i : i + 4]) for i in range(0, len(plain), 4)]
    for reader in ("bf", "sdk"):
        rest = [path for path in paths if ignored.get(path.stem) == reader]
        batches.append(Batch(paths=rest, ignored=reader))

    def check(numbered: tuple[int, Batch]) -> tuple[dict[str, Any], bool]:
        number, batch = numbered
        report = work / f"oracles-{number}.json"
        options = ["--ignore", batch.ignored] if batch.ignored else []
        done = subprocess.run(
            [
                sys.executable,
                oracles / "check.py",
                "--json",
                report,
                *batch.paths,
                *options,
            ],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        print(done.stdout, done.stderr, sep="", end="", flush=True)
        return json.loads(report.read_text()), done.returncode != 0

    results: dict[Path, dict[str, Any]] = {}
    failed = False
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for found, is_failure in pool.map(check, enumerate(batches)):
            results |= {Path(path): readers for path, readers in found.items()}
            failed |= is_failure
    return results, failed


def compare(
    results: dict[Path, dict[str, Any]],
    arrays: dict[Path, xr.DataArray],
    copies: dict[Path, Path],
) -> list[tuple[Path, str]]:
    """Say of each file what the readers' reports of it should not be."""
    found: list[tuple[Path, str]] = []
    for path, readers in results.items():
        if path in arrays:
            told = unexpected(readers, arrays[path])
        elif path in copies:
            told = changed(path.stem, readers, results[copies[path]])
        else:
            told = differences(readers)
        found += [(path, text) for text in told]
    return found


def unexpected(readers: dict[str, Any], array: xr.DataArray) -> list[str]:
    """Say what readers report otherwise than the array that was written has it."""
    return [
        f"{reader} says {key} {readers[reader].get(key)!r:.200}, but it is {value!r:.200}"
        for reader, values in expected(array).items()
        for key, value in values.items()
        if readers[reader].get("opens") is not True
        or not equal(readers[reader].get(key), value)
    ]


def changed(name: str, copy: dict[str, Any], original: dict[str, Any]) -> list[str]:
    """Say what readers report otherwise of a file that was opened and written again."""
    return [
        f"{reader} says {key} {copy[reader].get(key)!r:.200}, of the original "
        f"{original[reader].get(key)!r:.200}"
        for reader in (*INDEPENDENT, OURS)
        for key in sorted((copy[reader].keys() | original[reader].keys()) - INCIDENTAL)
        if (name, reader, key) not in STALE
        and not equal(copy[reader].get(key), original[reader].get(key))
    ]


def differences(results: dict[str, Any]) -> list[str]:
    """Say where this package stands against all others that have an opinion."""
    ours = results[OURS]
    found = []
    for key in COMPARED:
        opinions = {
            name: results[name][key]
            for name in INDEPENDENT
            if results.get(name, {}).get("opens") and key in results[name]
            if key != "times"
            or any(is_known(time) for time in results[name][key] or ())
        }
        if not any(opinions.values()):
            continue
        if not any(equal(ours.get(key), value) for value in opinions.values()):
            found.append(f"{key}: {ours.get(key)!r:.200}, but {opinions!r:.400}")
    return found


def is_known(time: float | None) -> bool:
    """Whether a time is one: foreign readers give what is stored for an unknown one."""
    return time is not None and time != UNKNOWN_MS


def equal(ours: Any, theirs: Any) -> bool:
    """Whether two values agree, numbers within a relative tolerance."""
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    if isinstance(ours, int | float) and isinstance(theirs, int | float):
        return math.isclose(ours, theirs, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(ours == theirs)


if __name__ == "__main__":
    sys.exit(main())
