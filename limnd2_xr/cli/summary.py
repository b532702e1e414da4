"""`FileSummary`: what `limnd2-xr info` says about a file, as plain values."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.arrays.file_index import first_moment
from limnd2_xr.model.channels import channel_names
from limnd2_xr.model.experiment import (
    NETimeLoop,
    TimeLoop,
    XYPositionLoop,
    ZStackLoop,
)
from limnd2_xr.model.times import frame_times, time_coordinate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.frames.store import FrameStore
    from limnd2_xr.model.channels import Channel
    from limnd2_xr.model.experiment import Loop

__all__ = [
    "ChannelSummary",
    "FileSummary",
    "LoopSummary",
    "PeriodSummary",
    "PositionSummary",
    "summarize",
]


@dataclass(frozen=True, kw_only=True)
class ChannelSummary:
    """One channel; what the file does not say is None or empty."""

    name: str
    color: str
    """``#rrggbb``."""
    excitation_nm: float | None
    emission_nm: float | None
    exposure_s: float | None
    """As set, not as recorded."""
    modality: str
    binning: str | None
    camera: str


@dataclass(frozen=True, kw_only=True)
class PeriodSummary:
    """One period of a non-equidistant time loop."""

    count: int
    valid: bool
    period_s: float | None


@dataclass(frozen=True, kw_only=True)
class PositionSummary:
    """One stage position of a multipoint loop."""

    name: str
    x_um: float | None
    y_um: float | None
    z_um: float | None


@dataclass(frozen=True, kw_only=True)
class LoopSummary:
    """One acquisition loop; only what its kind has is not None or empty."""

    dim: str
    count: int
    """Steps that the image has; fewer than were set where the acquisition stopped."""
    declared_count: int
    """Steps that were set."""
    period_s: float | None = None
    """Mean step of the coordinate ``T``; None where it differs or is unknown."""
    step_um: float | None = None
    home_index: int | None = None
    bottom_to_top: bool | None = None
    device: str = ""
    periods: tuple[PeriodSummary, ...] = ()
    positions: tuple[PositionSummary, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FileSummary:
    """One file; what it does not say is None or empty."""

    path: str
    nbytes: int
    format_version: str
    sizes: dict[str, int]
    """Length of each dim of the image, in array order."""
    dtype: str
    significant_bits: int
    bits: int
    """Stored bits of one component."""
    compression: str
    pixel_size_um: float | None
    z_step_um: float | None
    objective: str
    magnification: float | None
    numerical_aperture: float | None
    refractive_index: float | None
    zoom: float | None
    microscope: str
    camera: str
    acquired: str
    """Moment of capture of frame 0, UTC, ISO 8601."""
    acquisition_start: str
    """Start of the acquisition, UTC, ISO 8601; frame 0 may be minutes later."""
    software: str
    software_version: str
    author: str
    description: str
    n_frames: int
    missing_frames: tuple[int, ...]
    """Sequence numbers that the loops ask for and the file lacks."""
    channels: tuple[ChannelSummary, ...] = field(default=())
    loops: tuple[LoopSummary, ...] = field(default=())
    """Outermost first, as in the file. Frames that no loop counts run along T."""

    def to_plain(self) -> dict[str, Any]:
        """Return nested dicts and lists that JSON can hold."""
        return dataclasses.asdict(self)


def summarize(store: FrameStore) -> FileSummary:
    """Collect what there is to say about an open file.

    Parameters
    ----------
    store
        The file; no pixels are read.

    Examples
    --------
    >>> from limnd2_xr.frames.store import FrameStore
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
    >>> data = build(SyntheticSpec(loops=(TimeLoop(3),), width=8, height=6)).data
    >>> with FrameStore.open(data) as store:
    ...     summary = summarize(store)
    >>> summary.sizes, [channel.name for channel in summary.channels]
    ({'T': 3, 'C': 1, 'Y': 6, 'X': 8}, ['GFP'])
    """
    document = store.document
    attributes, optics = document.attributes, document.optics
    times = frame_times(document, store.axes, store.records)
    names = channel_names(document.channels)
    return FileSummary(
        path=store.source_name,
        nbytes=store.file_nbytes,
        format_version=document.format_version,
        sizes=dict(zip(store.dims, store.shape, strict=True)),
        dtype=str(store.dtype),
        significant_bits=attributes.bits_significant,
        bits=attributes.bits_in_memory,
        compression=attributes.compression,
        pixel_size_um=optics.pixel_size_um,
        z_step_um=document.z_step_um,
        objective=optics.objective,
        magnification=optics.magnification,
        numerical_aperture=optics.numerical_aperture,
        refractive_index=optics.refractive_index,
        zoom=optics.zoom,
        microscope=optics.microscope,
        camera=optics.camera,
        acquired=first_moment(store, times),
        acquisition_start=document.acquisition_start,
        software=document.software.name,
        software_version=document.software.version,
        author=document.text.author,
        description=document.text.description,
        n_frames=store.table.n_frames,
        missing_frames=tuple(store.table.missing.tolist()),
        channels=tuple(map(_channel, names, document.channels)),
        loops=_loops(store, times),
    )


def _channel(name: str, channel: Channel) -> ChannelSummary:
    return ChannelSummary(
        name=name,
        color=channel.color,
        excitation_nm=channel.excitation_nm,
        emission_nm=channel.emission_nm,
        exposure_s=channel.exposure_s,
        modality=channel.modality,
        binning=channel.binning,
        camera=channel.camera,
    )


def _loops(store: FrameStore, times_s: NDArray[np.float64]) -> tuple[LoopSummary, ...]:
    document, axes = store.document, store.axes
    along_t = axes.loops_along("T")
    found = []
    for place, (dim, count) in enumerate(axes.nesting):
        loop = axes.loop(place, document.experiment.loops)
        summary = LoopSummary(dim=dim, count=count, declared_count=count)
        if loop is not None:
            summary = _described(summary, loop)
        if along_t == (place,):
            nominal, unit = time_coordinate(document, axes, times_s)
            period_s = _step(nominal) if unit else None
            summary = dataclasses.replace(
                summary, period_s=period_s or summary.period_s
            )
        found.append(summary)
    return tuple(found)


def _step(nominal: NDArray[np.float64]) -> float | None:
    """Step of T; None without one, or where periods with other steps follow."""
    if len(nominal) < 2:
        return None
    step = float(nominal[-1] - nominal[0]) / (len(nominal) - 1)
    return step if np.allclose(np.diff(nominal), step) else None


def _described(summary: LoopSummary, loop: Loop) -> LoopSummary:
    summary = dataclasses.replace(summary, declared_count=loop.declared_count)
    match loop:
        case TimeLoop():
            period_s = _seconds(loop.avg_period_diff_ms or loop.period_ms)
            return dataclasses.replace(summary, period_s=period_s)
        case NETimeLoop():
            periods = [
                PeriodSummary(
                    count=period.count,
                    valid=period.valid,
                    period_s=_seconds(period.avg_period_diff_ms or period.period_ms),
                )
                for period in loop.periods
            ]
            return dataclasses.replace(summary, periods=tuple(periods))
        case XYPositionLoop():
            positions = [
                PositionSummary(
                    name=point.name,
                    x_um=_known(point.x_um),
                    y_um=_known(point.y_um),
                    z_um=point.z_um,
                )
                for point in loop.points[: summary.count]
            ]
            return dataclasses.replace(summary, positions=tuple(positions))
        case ZStackLoop():
            return dataclasses.replace(
                summary,
                step_um=loop.step_um or None,
                home_index=loop.home_index,
                bottom_to_top=loop.bottom_to_top,
                device=loop.device,
            )
    return summary


def _seconds(milliseconds: float) -> float | None:
    return milliseconds / 1e3 if milliseconds > 0 else None


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
