"""Deprecated place of `ND2File` and `imread`."""

from __future__ import annotations

import warnings
from typing import Any

from limnd2_xr.compat.nd2.file import ND2File
from limnd2_xr.compat.nd2.reading import imread

__all__: list[str] = []

_MOVED = {"ND2File": ND2File, "imread": imread}
del ND2File, imread


def __getattr__(name: str) -> Any:
    """Return what the package itself has, with a warning."""
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        "Importing directly from nd2.nd2file is deprecated: import from nd2",
        DeprecationWarning,
        stacklevel=2,
    )
    return _MOVED[name]
