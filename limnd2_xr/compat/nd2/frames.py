"""Metadata of single frames: `ND2File.frame_metadata`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from limnd2_xr.compat.nd2 import structures as nd2
from limnd2_xr.damage import report_damage
from limnd2_xr.errors import Nd2Error
from limnd2_xr.model.experiment import XYPositionLoop
from limnd2_xr.model.positions import stage_positions
from limnd2_xr.model.recorded import by_sequence, column_chunk, decode_recorded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.frames.store import FrameStore

__all__ = ["FrameTable"]

_PFS_STATUS = "PFS_STATUS"
_DAY_MS = 86_400_000.0
_UNKNOWN_MS = -1.0

_T = TypeVar("_T")


@dataclass(frozen=True)
class FrameTable:
    """What differs from frame to frame, in lists by frame number."""

    x: list[float]
    y: list[float]
    z: list[float]
    names: list[str | None]
    """Names of the positions."""
    times_ms: list[float]
    """Since the start; NaN where not known."""
    days: list[float]
    """Julian days; NaN where not known."""
    pfs: list[int] | None
    """Codes of the focus system, None if the file has none."""

    @classmethod
    def of(cls, store: FrameStore) -> FrameTable:
        """Collect it from an open file."""
        document, axes = store.document, store.axes
        stage = stage_positions(document, axes, store.records)
        times = _times_ms(store)
        x, y, z = (
            by_sequence(values, axes).tolist() for values in (stage.x, stage.y, stage.z)
        )
        return cls(
            x=x,
            y=y,
            z=z,
            names=_names(store),
            times_ms=times.tolist(),
            days=_days(store, times).tolist(),
            pfs=_pfs(store),
        )

    def metadata(self, index: int, common: nd2.Metadata) -> nd2.FrameMetadata:
        """Return the metadata of one frame.

        Parameters
        ----------
        index
            Its number; negative ones count from the end.
        common
            What all frames have in common.

        Raises
        ------
        IndexError
            If there is no such frame.
        """
        place = nd2.StagePosition(self.x[index], self.y[index], self.z[index])
        name, ms, day = self.names[index], self.times_ms[index], self.days[index]
        pfs = None if self.pfs is None else self.pfs[index]
        channels = [
            nd2.FrameChannel(
                _copied(channel.channel),
                _copied(channel.loops),
                _microscope(channel.microscope),
                _copied(channel.volume),
                nd2.Position(place, None, name),
                nd2.TimeStamp(day, ms),
                pfs,
            )
            for channel in common.channels or ()
        ]
        assert common.contents is not None  # noqa: S101 - ours always has it
        return nd2.FrameMetadata(common.contents, channels)


def _copied(value: _T) -> _T:
    """Return a structure that may be changed without changing others."""
    if value is None:
        return value
    new = object.__new__(type(value))
    new.__dict__.update(vars(value))
    return new


def _microscope(value: nd2.Microscope) -> nd2.Microscope:
    new = _copied(value)
    new.modalityFlags = value.modalityFlags.copy()
    return new


def _times_ms(store: FrameStore) -> NDArray[np.float64]:
    """Return times as recorded, together or with each frame; else that of frame 0."""
    n = store.axes.n_frames
    records = store.records
    found = records.times_ms if records.has_times else store.read_times()
    times = np.full(n, math.nan)
    if found is not None:
        times[: len(found)] = found[:n]
        times[~np.isfinite(times) | (times == _UNKNOWN_MS)] = math.nan
    first = store.document.acquisition.frame0_ms
    if n and first is not None and first >= 0 and not np.isfinite(times).any():
        times[0] = first
    return times


def _days(store: FrameStore, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Julian days: the stored one is that of frame 0, not of the start (FORMAT 8.7)."""
    acquisition = store.document.acquisition
    if acquisition.frame0_jd is not None and len(times):
        days = acquisition.frame0_jd + (times - times[0]) / _DAY_MS
        days[0] = acquisition.frame0_jd
        return np.asarray(days)
    if acquisition.start_jd is not None:
        return np.asarray(acquisition.start_jd + times / _DAY_MS)
    return np.full(len(times), math.nan)


def _names(store: FrameStore) -> list[str | None]:
    axes = store.axes
    names: NDArray[Any] = np.full(axes.shape, None, dtype=object)
    for place in axes.loops_along("P"):
        loop = axes.loop(place, store.document.experiment.loops)
        if isinstance(loop, XYPositionLoop):
            known = np.array([*(p.name or None for p in loop.points), None], object)
            chosen = known[np.minimum(axes.loop_index(place), len(known) - 1)]
            names[...] = axes.along("P", chosen)
    found: list[str | None] = by_sequence(names, axes).tolist()
    return found


def _pfs(store: FrameStore) -> list[int] | None:
    name = column_chunk(_PFS_STATUS)
    if name not in store.state.chunks:
        return None
    n = store.axes.n_frames
    columns = store.document.recorded_columns
    column = next((c for c in columns if c.id == _PFS_STATUS), None)
    try:
        values = decode_recorded(store.read_chunk(name), column, n)
    except Nd2Error as error:
        located = error.located(path=store.source_name, chunk=name)
        report_damage(located, "this column is left out")
        return None
    if values.dtype.kind != "i":
        values = np.frombuffer(store.read_chunk(name)[: 4 * n], "<i4")
    return values.tolist() if len(values) >= n else None
