"""`FileSummary`: what `limnd2-xr info` says about a file, as plain values."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from limnd2_xr.model.channels import channel_names
from limnd2_xr.model.experiment import (
    NETimeLoop,
    TimeLoop,
    XYPositionLoop,
    ZStackLoop,
)

if TYPE_CHECKING:
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
    exposure_ms: float | None
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
    """Steps in the file."""
    declared_count: int
    """Steps that were set."""
    period_s: float | None = None
    """Measured mean interval, else the one that was set."""
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
    """Start of the acquisition, ISO 8601."""
    software: str
    author: str
    description: str
    n_frames: int
    missing_frames: tuple[int, ...]
    """Sequence numbers that the loops ask for and the file lacks."""
    channels: tuple[ChannelSummary, ...] = field(default=())
    loops: tuple[LoopSummary, ...] = field(default=())
    """Outermost first, as in the file."""

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
    software = f"{document.software.name} {document.software.version}"
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
        acquired=document.acquisition_start,
        software=software.strip(),
        author=document.text.author,
        description=document.text.description,
        n_frames=store.table.n_frames,
        missing_frames=tuple(store.table.missing.tolist()),
        channels=tuple(map(_channel, names, document.channels)),
        loops=tuple(map(_loop, document.experiment.loops)),
    )


def _channel(name: str, channel: Channel) -> ChannelSummary:
    exposure_s = channel.exposure_s
    return ChannelSummary(
        name=name,
        color=channel.color,
        excitation_nm=channel.excitation_nm,
        emission_nm=channel.emission_nm,
        exposure_ms=None if exposure_s is None else exposure_s * 1e3,
        modality=channel.modality,
        binning=channel.binning,
        camera=channel.camera,
    )


def _loop(loop: Loop) -> LoopSummary:
    common = LoopSummary(
        dim=loop.dim, count=loop.count, declared_count=loop.declared_count
    )
    match loop:
        case TimeLoop():
            period_s = _seconds(loop.avg_period_diff_ms or loop.period_ms)
            return dataclasses.replace(common, period_s=period_s)
        case NETimeLoop():
            periods = [
                PeriodSummary(
                    count=period.count,
                    valid=period.valid,
                    period_s=_seconds(period.avg_period_diff_ms or period.period_ms),
                )
                for period in loop.periods
            ]
            return dataclasses.replace(common, periods=tuple(periods))
        case XYPositionLoop():
            positions = [
                PositionSummary(
                    name=point.name,
                    x_um=_known(point.x_um),
                    y_um=_known(point.y_um),
                    z_um=point.z_um,
                )
                for point in loop.points
            ]
            return dataclasses.replace(common, positions=tuple(positions))
        case ZStackLoop():
            return dataclasses.replace(
                common,
                step_um=loop.step_um or None,
                home_index=loop.home_index,
                bottom_to_top=loop.bottom_to_top,
                device=loop.device,
            )
    return common


def _seconds(milliseconds: float) -> float | None:
    return milliseconds / 1e3 if milliseconds > 0 else None


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
