"""Pixel types that OME knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.errors import UnsupportedDtype

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ome_pixel_type"]

_PIXEL_TYPES: Final = {
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "uint8": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "float32": "float",
    "float64": "double",
}


def ome_pixel_type(dtype: np.dtype[Any]) -> str:
    """Return what OME calls a dtype.

    Raises
    ------
    UnsupportedDtype
        If there is none: what to convert to is said.

    Examples
    --------
    >>> import numpy as np
    >>> ome_pixel_type(np.dtype("float32"))
    'float'
    """
    found = _PIXEL_TYPES.get(dtype.newbyteorder("=").name)
    if found is None:
        wanted = {"b": "uint8", "f": "float32", "u": "uint32", "i": "int32"}
        raise UnsupportedDtype(
            f"OME has no pixels of type {dtype}: convert them, e.g. "
            f"da.astype({wanted.get(dtype.kind, 'float32')!r})"
        )
    return found
