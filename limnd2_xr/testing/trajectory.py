"""When and where the frames of a synthetic file were taken."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from limnd2_xr.testing.loop_specs import PositionLoop, TimeLoop, ZLoop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.testing.specs import SyntheticSpec

__all__ = ["frame_times", "stage"]


def frame_times(spec: SyntheticSpec) -> NDArray[np.float64]:
    """Acquisition time of each frame in ms, strictly increasing unless given.

    Raises
    ------
    ValueError
        If `spec.times_ms` has not one value a frame.
    """
    n = spec.n_frames
    if spec.times_ms is not None:
        given = np.asarray(spec.times_ms, np.float64)
        if given.shape != (n,):
            raise ValueError(f"times_ms has shape {given.shape}, there are {n} frames")
        return given
    period = 100.0
    outer = spec.loops[0] if spec.loops else None
    if isinstance(outer, TimeLoop) and outer.period_ms > 0 and outer.length:
        period = outer.period_ms * outer.length / max(n, 1)
    return np.asarray(5.0 + period * np.arange(n), np.float64)


def stage(spec: SyntheticSpec) -> dict[str, NDArray[np.float64]]:
    """Stage position of each frame in micrometres, by axis: ``X``, ``Y``, ``Z``."""
    shape = spec.loop_shape
    n = spec.n_frames
    index = np.stack(
        np.unravel_index(np.arange(n) % max(math.prod(shape), 1), shape or (1,))
    )
    out = {k: np.full(n, p) for k, p in zip("XYZ", spec.position_um, strict=True)}
    counted = [loop for loop in spec.loops if loop.axis]
    for loop, along in zip(counted, index, strict=False):
        if isinstance(loop, PositionLoop) and loop.length:
            valid = [p for p in loop.points if p.valid]
            out["X"] = np.array([p.x for p in valid])[along]
            out["Y"] = np.array([p.y for p in valid])[along]
            if loop.use_z:
                out["Z"] = np.array([p.z for p in valid])[along]
    for loop, along in zip(counted, index, strict=False):
        if isinstance(loop, ZLoop):
            out["Z"] = out["Z"] + along * loop.rise_um
    return {k: np.asarray(v, np.float64) for k, v in out.items()}
