"""The files that the benchmarks read: written on demand, the same every time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = Path(
    os.environ.get("LIMND2_XR_DATA", Path(__file__).resolve().parents[3] / "shared" / "samples")
)
WINDOW = (slice(1000, 1064), slice(500, 564))
"""Rows and columns of the small window read of each large frame."""


def fingerprint(result: Any) -> list[int] | int:
    """Return a few numbers by which results of different libraries can be compared."""
    if isinstance(result, np.ndarray):
        sample = result[..., ::97, ::89] if result.ndim > 1 else result[::9973]
        return [result.size, int(sample.sum(dtype=np.int64))]
    return int(result)
