"""Compare what this package reads with independent readers.

usage: python run.py --oracles DIR --samples DIR --work DIR

Runs DIR/check.py over synthetic files and the real samples with this package as one more
reader in its table. check.py counts pixels; here the metadata that all readers should
agree on count too. What another reader is known to get wrong is listed in FORMAT 13.6 and
not compared.
"""

# ruff: noqa: S603, T201

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from shapes import SWAPPED_BY_BIO_FORMATS, write_all

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


def equal(ours: Any, theirs: Any, tolerance: float = 1e-6) -> bool:
    """Whether two values agree, numbers within a relative tolerance."""
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    if isinstance(ours, int | float) and isinstance(theirs, int | float):
        return math.isclose(ours, theirs, rel_tol=tolerance, abs_tol=tolerance)
    return bool(ours == theirs)


def differences(results: dict[str, Any]) -> list[str]:
    """Say where this package stands against all others that have an opinion."""
    ours = results[OURS]
    found = []
    for key in COMPARED:
        opinions = {
            name: results[name][key]
            for name in INDEPENDENT
            if results.get(name, {}).get("opens") and key in results[name]
        }
        if not any(opinions.values()):
            continue
        if not any(equal(ours.get(key), value) for value in opinions.values()):
            found.append(f"{key}: {ours.get(key)!r:.200}, but {opinions!r:.400}")
    return found


def main() -> int:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("oracles", "samples", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()

    installed = Path(
        os.environ.get("ND2_ORACLES") or Path.home() / ".cache" / "nd2-oracles"
    )
    readers = args.work / "readers"
    readers.mkdir()
    for reader in installed.iterdir():
        (readers / reader.name).symlink_to(reader)
    (readers / OURS).symlink_to(sys.prefix)

    made = args.work / "made"
    made.mkdir()
    paths = [*write_all(made), *sorted((args.samples / "real").glob("*.nd2"))]
    environment = {
        **os.environ,
        "ND2_ORACLES": str(readers),
        "ND2_ORACLE_EXTRA": str(HERE / "drivers"),
    }
    report = args.work / "oracles.json"
    failed = False
    for swapped in (False, True):
        batch = [
            path for path in paths if (path.stem in SWAPPED_BY_BIO_FORMATS) == swapped
        ]
        command = [sys.executable, args.oracles / "check.py", "--json", report, *batch]
        ignored = ["--ignore", "bf"] if swapped else []
        done = subprocess.run([*command, *ignored], env=environment, check=False)
        failed |= done.returncode != 0
        for path, results in json.loads(report.read_text()).items():
            for difference in differences(results):
                print(f"METADATA DISAGREE {path}: {difference}")
                failed = True
    print(
        f"{len(paths)} files compared: {'NOT all is well' if failed else 'all agree'}"
    )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
