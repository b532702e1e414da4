"""Open Nikon .nd2 files as labelled, lazy arrays, and write them.

Installing the package is enough: ``xr.open_dataset("cells.nd2")`` finds it. Importing it
registers the ``.nd2`` accessor on datasets and arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limnd2_xr import accessor as _accessor  # noqa: F401 - registers .nd2
from limnd2_xr.errors import (
    CorruptChunk,
    Nd2Error,
    Nd2Warning,
    NotAnNd2File,
    RemoteError,
    StaleFile,
    UnsupportedDtype,
    UnsupportedFeature,
)
from limnd2_xr.options import get_mapping, get_threads, set_mapping, set_threads

if TYPE_CHECKING:
    __version__: str
    from limnd2_xr.arrays.image_roi import ImageRoi
    from limnd2_xr.arrays.region import create_nd2, finalize_nd2
    from limnd2_xr.arrays.update import update_nd2
    from limnd2_xr.arrays.virtual import Nd2Parser, to_kerchunk
    from limnd2_xr.arrays.zarr_store import zarr_store
    from limnd2_xr.conversion.converting import convert_to_nd2, plan_conversion
    from limnd2_xr.frames.repair import repair
    from limnd2_xr.frames.verify import verify
    from limnd2_xr.model.events import Event
    from limnd2_xr.model.rois import Roi

__all__ = [
    "CorruptChunk",
    "Event",
    "ImageRoi",
    "Nd2Error",
    "Nd2Parser",
    "Nd2Warning",
    "NotAnNd2File",
    "RemoteError",
    "Roi",
    "StaleFile",
    "UnsupportedDtype",
    "UnsupportedFeature",
    "convert_to_nd2",
    "create_nd2",
    "finalize_nd2",
    "get_mapping",
    "get_threads",
    "plan_conversion",
    "repair",
    "set_mapping",
    "set_threads",
    "to_kerchunk",
    "update_nd2",
    "verify",
    "zarr_store",
]

_LATER = {
    "Event": "limnd2_xr.model.events",
    "ImageRoi": "limnd2_xr.arrays.image_roi",
    "Nd2Parser": "limnd2_xr.arrays.virtual",
    "Roi": "limnd2_xr.model.rois",
    "convert_to_nd2": "limnd2_xr.conversion.converting",
    "create_nd2": "limnd2_xr.arrays.region",
    "finalize_nd2": "limnd2_xr.arrays.region",
    "plan_conversion": "limnd2_xr.conversion.converting",
    "repair": "limnd2_xr.frames.repair",
    "to_kerchunk": "limnd2_xr.arrays.virtual",
    "update_nd2": "limnd2_xr.arrays.update",
    "verify": "limnd2_xr.frames.verify",
    "zarr_store": "limnd2_xr.arrays.zarr_store",
}


def __getattr__(name: str) -> Any:
    """Import what few need when it is asked for: xarray imports us to list engines."""
    if name == "__version__":
        from importlib.metadata import version

        return version("limnd2-xr")
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
