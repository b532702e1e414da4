"""Whether two states of the model say the same, and where they differ.

Numbers that are not a number equal each other here, which ``==`` of dataclasses denies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from limnd2_xr.model.records import FrameRecords

__all__ = ["Difference", "difference", "same", "same_array", "same_records"]

_REL, _ABS = 1e-12, 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One place where two objects of the model differ."""

    path: str
    """Where, e.g. ``channels[1].name``."""
    expected: Any
    """Value of the first."""
    found: Any
    """Value of the second."""


def same(a: object, b: object) -> bool:
    """Whether two objects of the model are equal, NaN equal to NaN.

    Examples
    --------
    >>> from limnd2_xr.model.loop_parameters import XYPoint
    >>> nan = float("nan")
    >>> point = XYPoint(index=0, x_um=nan, y_um=1.0)
    >>> same(point, XYPoint(index=0, x_um=-nan, y_um=1.0))
    True
    """
    return _first(a, b, "", lenient=False) is None


def difference(expected: object, found: object) -> Difference | None:
    """Return the first value that was given and did not come back.

    What `expected` leaves open (None, ``""``, an empty tuple) may come back as
    anything. Numbers may differ by what converting units costs: a part in 10**12.

    Parameters
    ----------
    expected
        What was to be stored.
    found
        What reading gives.

    Examples
    --------
    >>> from limnd2_xr.model.optics import Optics
    >>> difference(Optics(aspect=1.0), Optics(aspect=2.0, objective="20x"))
    Difference(path='aspect', expected=1.0, found=2.0)
    """
    return _first(expected, found, "", lenient=True)


def same_array(
    a: npt.NDArray[np.float64] | None, b: npt.NDArray[np.float64] | None
) -> bool:
    """Whether two arrays of the records are equal, NaN equal to NaN."""
    if a is None or b is None:
        return a is b
    return a is b or np.array_equal(a, b, equal_nan=True)


def same_records(a: FrameRecords, b: FrameRecords) -> bool:
    """Whether two sets of records hold the same values."""
    return all(
        same_array(getattr(a, item.name), getattr(b, item.name)) for item in fields(a)
    )


def _first(a: Any, b: Any, path: str, *, lenient: bool) -> Difference | None:
    if a is b or (lenient and (a is None or a in ("", ()))):
        return None
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        pairs = [
            (f"{path}[{i}]", *pair) for i, pair in enumerate(zip(a, b, strict=True))
        ]
    elif is_dataclass(a) and type(a) is type(b):
        stem = f"{path}." if path else ""
        names = [item.name for item in fields(a)]
        pairs = [(stem + name, getattr(a, name), getattr(b, name)) for name in names]
    else:
        equal = _close(a, b) if lenient else _equal(a, b)
        return None if equal else Difference(path=path, expected=a, found=b)
    for place, left, right in pairs:
        found = _first(left, right, place, lenient=lenient)
        if found is not None:
            return found
    return None


def _equal(a: Any, b: Any) -> bool:
    return bool(a == b) or (_is_nan(a) and _is_nan(b))


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return _equal(a, b) or math.isclose(a, b, rel_tol=_REL, abs_tol=_ABS)
    return _equal(a, b)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
