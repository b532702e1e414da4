"""Drop-in for the package nd2 0.12: the same names, on this package's reader.

``from limnd2_xr.compat import nd2`` in place of ``import nd2``; or
`limnd2_xr.compat.install`, which lets other packages import it as ``nd2``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limnd2_xr.compat.nd2 import structures
from limnd2_xr.compat.nd2.axis import AXIS, VERSION
from limnd2_xr.compat.nd2.binary import BinaryLayer, BinaryLayers
from limnd2_xr.compat.nd2.file import ND2File
from limnd2_xr.compat.nd2.reading import imread
from limnd2_xr.compat.nd2.recognise import is_legacy, is_supported_file
from limnd2_xr.compat.nd2.rescue import rescue_nd2

if TYPE_CHECKING:
    from limnd2_xr.compat.nd2.tiff import nd2_to_tiff

__all__ = [
    "AXIS",
    "BinaryLayer",
    "BinaryLayers",
    "ND2File",
    "__version__",
    "imread",
    "is_legacy",
    "is_supported_file",
    "nd2_to_tiff",
    "rescue_nd2",
    "structures",
]

__version__ = VERSION


def __getattr__(name: str) -> Any:
    """Import what needs tifffile when it is asked for."""
    if name == "nd2_to_tiff":
        from limnd2_xr.compat.nd2.tiff import nd2_to_tiff

        return nd2_to_tiff
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
