"""Open Nikon .nd2 files as labelled, lazy arrays.

Installing the package is enough: ``xr.open_dataset("cells.nd2")`` finds it. Importing it
registers the ``.nd2`` accessor on datasets and arrays.
"""

from __future__ import annotations

from importlib.metadata import version as _version

from limnd2_xr import accessor as _accessor  # noqa: F401 - registers .nd2
from limnd2_xr.errors import (
    CorruptChunk,
    Nd2Error,
    Nd2Warning,
    NotAnNd2File,
    StaleFile,
    UnsupportedFeature,
)
from limnd2_xr.options import get_mapping, get_threads, set_mapping, set_threads

__all__ = [
    "CorruptChunk",
    "Nd2Error",
    "Nd2Warning",
    "NotAnNd2File",
    "StaleFile",
    "UnsupportedFeature",
    "get_mapping",
    "get_threads",
    "set_mapping",
    "set_threads",
]

__version__ = _version("limnd2-xr")
