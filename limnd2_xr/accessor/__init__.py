"""``.nd2`` on datasets, arrays and trees: the file behind them, and writing one.

Importing this package registers it.
"""

from __future__ import annotations

from limnd2_xr.accessor.array import Nd2DataArrayAccessor
from limnd2_xr.accessor.dataset import Nd2DatasetAccessor
from limnd2_xr.accessor.tree import Nd2DataTreeAccessor

__all__ = ["Nd2DataArrayAccessor", "Nd2DataTreeAccessor", "Nd2DatasetAccessor"]
