"""What a file says about its frame 0 besides optics and channels (FORMAT 8.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.model.fields import finite, flag, integer, positive, real, text

if TYPE_CHECKING:
    from limnd2_xr.variants.tree import Level

__all__ = [
    "Acquisition",
    "Picture",
    "acquisition_start",
    "datetime_of",
    "julian_day_of",
    "plausible_julian_day",
]

_JD_1900: Final = 2415020.5
_JD_2100: Final = 2488069.5
_JD_1970: Final = 2440587.5
_DAY_US: Final = 86_400_000_000
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """Stage position and oddments of frame 0; None where not stored."""

    x_um: float | None = None
    """Stage X."""
    y_um: float | None = None
    """Stage Y."""
    z_um: float | None = None
    """Stage Z, all drives together: of the first slice, not of the home plane."""
    z_absolute: bool = False
    """Whether Z is absolute, as stored."""
    temperature_k: float | None = None
    """Temperature."""
    x_axis: int = 0
    """What X is: 0 X, 1 Y, 2 time, 3 Z, 4 point scan."""
    y_axis: int = 1
    """What Y is, in the same numbers."""
    custom: str = ""
    """Custom data, as stored."""
    description: str = ""
    """Description of the picture planes."""

    @classmethod
    def from_raw(cls, level: Level) -> Picture:
        """Convert decoded picture metadata."""
        planes = level.level("sPicturePlanes", create=True)
        return cls(
            x_um=finite(level, "dXPos"),
            y_um=finite(level, "dYPos"),
            z_um=finite(level, "dZPos"),
            z_absolute=flag(level, "bZPosAbsolute"),
            temperature_k=positive(level, "dTemperK"),
            x_axis=integer(level, "ePictureXAxis", 0),
            y_axis=integer(level, "ePictureYAxis", 1),
            custom=text(level, "wsCustomData"),
            description=text(planes, "sDescription"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Acquisition:
    """When a file was taken (FORMAT 8.7)."""

    start_jd: float | None = None
    """Julian day, UTC, of the start of the acquisition; None if not plausible."""
    frame0_jd: float | None = None
    """Julian day, UTC, of frame 0; None if not plausible."""
    frame0_ms: float | None = None
    """Time of frame 0 since the start."""
    time_source: int = 0
    """0 software, 1 hardware."""

    @classmethod
    def from_raw(cls, level: Level) -> Acquisition:
        """Convert decoded picture metadata."""
        return cls(
            frame0_jd=plausible_julian_day(real(level, "dTimeAbsolute", math.nan)),
            frame0_ms=finite(level, "dTimeMSec"),
            time_source=integer(level, "eTimeSource", 0),
        )

    def with_start(self, julian_day: float) -> Acquisition:
        """Return the same with the start that the file states, if plausible."""
        return replace(self, start_jd=plausible_julian_day(julian_day))


def plausible_julian_day(julian_day: float) -> float | None:
    """Return the day if it lies in the years 1900 to 2100, else None.

    Clocks that were never set give 0, -1, 397.7 or 1721424.5 (FORMAT 8.7).

    Examples
    --------
    >>> plausible_julian_day(2456827.08), plausible_julian_day(397.7)
    (2456827.08, None)
    """
    return julian_day if _JD_1900 <= julian_day < _JD_2100 else None


def datetime_of(julian_day: float) -> np.datetime64:
    """Return the moment of a Julian day, rounded to microseconds.

    Examples
    --------
    >>> datetime_of(2440587.5)
    np.datetime64('1970-01-01T00:00:00.000000')
    """
    return np.datetime64(round((julian_day - _JD_1970) * _DAY_US), "us")


def julian_day_of(moment: np.datetime64) -> float:
    """Return the Julian day of a moment: the inverse of `datetime_of`.

    Examples
    --------
    >>> julian_day_of(np.datetime64("1970-01-01T12:00"))
    2440588.0
    """
    micros = int(moment.astype("datetime64[us]").astype(np.int64))
    return _JD_1970 + micros / _DAY_US


def acquisition_start(acquisition: Acquisition) -> str:
    """Start of an acquisition, ISO 8601 in UTC; ``""`` if not known.

    As the file states it, else the moment of frame 0 less its time since the start:
    the two agree where both are stored (FORMAT 8.7).

    Examples
    --------
    >>> acquisition_start(Acquisition(start_jd=2456827.08))
    '2014-06-18T13:55:12.000Z'
    """
    start = acquisition.start_jd
    if start is None and acquisition.frame0_jd is not None:
        before = (acquisition.frame0_ms or 0.0) / _DAY_MS
        start = plausible_julian_day(acquisition.frame0_jd - before)
    if start is None:
        return ""
    # a Julian day is good for 40 us
    micros = datetime_of(start).astype(np.int64)
    return f"{np.datetime64(round(int(micros) / 1000), 'ms')}Z"
