"""Values of coordinates in the units that a file holds: converted or refused.

A coordinate without the attribute ``units`` is taken to be in the unit that the
dataset documents for it; one whose unit is unknown is refused, never guessed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

__all__ = [
    "Unit",
    "has_unit",
    "in_unit",
    "milliseconds",
    "moment_of",
    "stated_step",
]

Unit: TypeAlias = Literal["um", "nm", "s"]
"""Units of the dataset."""

_METRES: Final = {
    "m": Fraction(1),
    "cm": Fraction(1, 100),
    "mm": Fraction(1, 1000),
    "um": Fraction(1, 10**6),
    "nm": Fraction(1, 10**9),
    "pm": Fraction(1, 10**12),
    "angstrom": Fraction(1, 10**10),
}
_LENGTH_NAMES: Final = {
    "meter": "m",
    "metre": "m",
    "centimeter": "cm",
    "centimetre": "cm",
    "millimeter": "mm",
    "millimetre": "mm",
    "micrometer": "um",
    "micrometre": "um",
    "micron": "um",
    "\u00b5m": "um",
    "\u03bcm": "um",
    "nanometer": "nm",
    "nanometre": "nm",
    "\u00e5": "angstrom",
}
_COUNTS: Final = frozenset({"", "px", "pixel", "pixels"})
_SECONDS: Final = {
    "s": Fraction(1),
    "ms": Fraction(1, 1000),
    "us": Fraction(1, 10**6),
    "ns": Fraction(1, 10**9),
    "min": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86_400),
}
_TIME_NAMES: Final = {
    "sec": "s",
    "second": "s",
    "msec": "ms",
    "millisecond": "ms",
    "microsecond": "us",
    "\u00b5s": "us",
    "\u03bcs": "us",
    "nanosecond": "ns",
    "minute": "min",
    "hr": "h",
    "hour": "h",
    "day": "d",
}


def has_unit(coordinate: xr.DataArray) -> bool:
    """Say whether a coordinate states its unit, or carries it in its type.

    Labels in pixels number them, as those without a unit do.
    """
    stated = coordinate.attrs.get("units")
    counts = not stated or str(stated).strip().lower() in _COUNTS
    return not counts or coordinate.dtype.kind in "mM"


def in_unit(coordinate: xr.DataArray, unit: Unit) -> NDArray[np.float64]:
    """Values of a coordinate as float64 in one of the units of the dataset.

    Parameters
    ----------
    coordinate
        Numbers, with or without the attribute ``units``, or timedeltas.
    unit
        Wanted; also what is taken where no unit is stated.

    Raises
    ------
    ValueError
        If its unit is unknown or of another kind, or it does not hold numbers.

    Examples
    --------
    >>> import xarray as xr
    >>> in_unit(xr.DataArray([0.5, 1.0], dims="X", attrs={"units": "mm"}), "um")
    array([ 500., 1000.])
    """
    values: NDArray[Any] = np.asarray(coordinate.values)
    if values.dtype.kind == "m" and unit == "s":
        since = values / np.timedelta64(1, "ns")
        return np.asarray(since / 1e9, np.float64)
    if values.dtype.kind not in "iuf":
        raise ValueError(
            f"coordinate {coordinate.name} must hold numbers in {unit}, not "
            f"{values.dtype} values"
        )
    numbers = values.astype(np.float64)
    stated = coordinate.attrs.get("units")
    if not stated:
        return numbers
    factor = _factor(str(stated), unit)
    if factor is None:
        raise ValueError(
            f"coordinate {coordinate.name} has the unit {stated!r}, which cannot be "
            f"converted to {unit}: convert the values and set its attribute units to "
            f"{unit!r}"
        )
    # 0.61 um are 610 nm, which 0.61 times the float 1e-6 / 1e-9 is not.
    return numbers * float(factor.numerator) / float(factor.denominator)


def stated_step(image: xr.DataArray, name: str) -> float | None:
    """Return a step in um that an attribute states, None if there is none.

    Parameters
    ----------
    image
        With attributes.
    name
        Of the attribute, ``pixel_size_um`` or ``z_step_um``.

    Raises
    ------
    ValueError
        If it is no number above 0.
    """
    value = image.attrs.get(name)
    if value is None:
        return None
    try:
        step = float(value)
    except (TypeError, ValueError):
        step = np.nan
    if not (np.isfinite(step) and step > 0):
        raise ValueError(f"attribute {name} must be a number above 0, not {value!r}")
    return step


def moment_of(text: str) -> np.datetime64:
    """Return the moment in UTC that a text in ISO 8601 stands for.

    One without a time zone is in UTC already.

    Raises
    ------
    ValueError
        If it is something else.

    Examples
    --------
    >>> print(moment_of("2024-05-17T09:30Z"))
    2024-05-17T09:30:00.000000
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(moment, "us")


def _factor(stated: str, unit: Unit) -> Fraction | None:
    scale, names = (_SECONDS, _TIME_NAMES) if unit == "s" else (_METRES, _LENGTH_NAMES)
    name = stated.strip()
    for candidate in (name, name.lower(), name.lower().removesuffix("s")):
        known = names.get(candidate, candidate)
        if known in scale:
            return scale[known] / scale[unit]
    return None


def milliseconds(seconds_: NDArray[np.float64]) -> NDArray[np.float64]:
    """Milliseconds that, divided by 1000, give exactly the seconds.

    Multiplying by 1000 alone is off by one bit for some numbers, so that times would
    change a little each time a file is written.

    Examples
    --------
    >>> s = np.array([0.001007, 12.3456])
    >>> bool((milliseconds(s) / 1000.0 == s).all())
    True
    """
    found = np.asarray(seconds_, np.float64) * 1000.0
    for direction in (-np.inf, np.inf):
        beside = np.nextafter(found, direction)
        found = np.where(
            (found / 1000.0 != seconds_) & (beside / 1000.0 == seconds_), beside, found
        )
    return found
