"""One emission and one excitation wavelength for a channel (FORMAT 8.4).

Files store spectra of the fluorescent probe and of each filter. The vendor's rule,
which takes the centre of a band, is physically better than the greatest stored value;
for the single peaks that real files hold, both give the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limnd2_xr.model.fields import finite, integer, levels_by_number, positive, unwrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limnd2_xr.variants.tree import Level

__all__ = ["SpectrumPoint", "parse_spectrum", "spectrum_nm", "wavelengths"]

_RAISING: Final = 2
_FALLING: Final = 3
_PEAK: Final = 4

_EXCITATION_FILTER: Final = 1
_EMISSION_FILTER: Final = 2
_TURRET: Final = 3
_LAMP: Final = 4
_USER: Final = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class SpectrumPoint:
    """One point of a stored spectrum."""

    kind: int
    """1 point, 2 raising edge, 3 falling edge, 4 peak, 5 range."""
    nm: float
    """Wavelength."""
    value: float = 0.0
    """Transmission, or whatever the file has there."""


def parse_spectrum(level: Level) -> tuple[SpectrumPoint, ...]:
    """Return the points of a decoded spectrum; those of no wavelength are left out.

    Old files store an integer ``uiWavelength`` (FORMAT oddity 35).
    """
    points = []
    for raw in levels_by_number(level.level("pPoint", create=True)):
        point = unwrap(raw)
        nm = positive(point, "dWavelength") or positive(point, "uiWavelength")
        kind = integer(point, "eType", 0)
        if nm is not None and kind > 0:
            value = finite(point, "dTValue") or 0.0
            points.append(SpectrumPoint(kind=kind, nm=nm, value=value))
    return tuple(points)


def spectrum_nm(points: Sequence[SpectrumPoint]) -> float | None:
    """Return the one wavelength that stands for a spectrum, None if it is empty.

    The single point; the highest peak; the centre of an edge pair; the centre of the
    plateau of a sampled curve.

    Examples
    --------
    >>> band = [SpectrumPoint(kind=2, nm=500.0), SpectrumPoint(kind=3, nm=550.0)]
    >>> spectrum_nm(band)
    525.0
    """
    if not points:
        return None
    peaks = [point for point in points if point.kind == _PEAK]
    if len(points) > 1 and peaks:
        return max(peaks, key=lambda point: point.value).nm
    rising = [point for point in points if point.kind == _RAISING]
    falling = [point for point in points if point.kind == _FALLING]
    if rising and falling:
        up = max(rising, key=lambda point: point.value)
        down = next((p for p in falling if p.nm >= up.nm), falling[-1])
        return (up.nm + down.nm) / 2
    top = max(point.value for point in points)
    plateau = [point.nm for point in points if point.value == top]
    return (plateau[0] + plateau[-1]) / 2


def wavelengths(plane: Level, index: int) -> tuple[float | None, float | None]:
    """Emission and excitation wavelength of a plane in nm, None where unknown.

    Parameters
    ----------
    plane
        Decoded picture plane.
    index
        Number of the plane: where one filter lists several excitation lines, each
        plane has its own.

    Notes
    -----
    Stored values can be wrong: NIS-Elements 5.42 writes 405 nm for the excitation of
    every channel (FORMAT 8.4). They are passed on as they are.
    """
    probe = plane.level("pFluorescentProbe", create=True)
    path = plane.level("pFilterPath", create=True)
    stored = path.level("m_pFilter", create=True)
    filters = [_Filter(unwrap(raw)) for raw in levels_by_number(stored)]
    emission = spectrum_nm(_spectrum(probe, "m_EmissionSpectrum"))
    if emission is None:
        emission = _emission(filters)
    excitation = spectrum_nm(_spectrum(probe, "m_ExcitationSpectrum"))
    if excitation is None:
        excitation = _excitation(filters, emission, index)
    return emission, excitation


class _Filter:
    __slots__ = ("emission", "excitation", "placement")

    def __init__(self, level: Level) -> None:
        self.placement = integer(level, "m_ePlacement", 0)
        self.excitation = _spectrum(level, "m_ExcitationSpectrum")
        self.emission = _spectrum(level, "m_EmissionSpectrum")


def _spectrum(level: Level, name: str) -> tuple[SpectrumPoint, ...]:
    return parse_spectrum(unwrap(level.level(name, create=True)))


def _emission(filters: list[_Filter]) -> float | None:
    order = (
        (_USER, 1),
        (_EMISSION_FILTER, 1),
        (_EMISSION_FILTER, 2),
        (_TURRET, 1),
        (_TURRET, 2),
    )
    for placement, n_points in order:
        for item in filters:
            if item.placement == placement and len(item.emission) == n_points:
                return spectrum_nm(item.emission)
    lit = [item for item in filters if item.emission]
    rank = {_USER: 0, _EMISSION_FILTER: 1, _TURRET: 2}
    lit.sort(key=lambda item: rank.get(item.placement, len(rank)))
    return spectrum_nm(lit[0].emission) if lit else None


def _excitation(
    filters: list[_Filter], emission: float | None, index: int
) -> float | None:
    for item in filters:
        if item.placement == _USER and len(item.excitation) == 1:
            return item.excitation[0].nm
    placed = (_EXCITATION_FILTER, _TURRET, _LAMP)
    lit = [item for item in filters if item.excitation]
    used = [item for item in lit if item.placement in placed] or lit
    found = [line for item in used for line in _lines(item.excitation, index)]
    if emission is None or not found:
        return found[0] if found else None
    return min(found, key=lambda nm: (nm > emission, abs(emission - nm)))


def _lines(points: tuple[SpectrumPoint, ...], index: int) -> list[float]:
    """Wavelengths of one filter that may be those of a plane."""
    if len(points) > 1 and all(point.kind == _PEAK for point in points):
        if index < len(points):
            return [points[index].nm]
        return [point.nm for point in points]
    nm = spectrum_nm(points)
    return [nm] if nm is not None else []
