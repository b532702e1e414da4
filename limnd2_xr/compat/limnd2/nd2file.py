"""``limnd2.nd2file``: the class `ND2File` of the package nd2.

It is that of `limnd2_xr.compat.nd2`, whose differences from nd2 are the documented ones;
those that limnd2 has of its own (reopening in silence, empty ROIs, stage positions of
frame 0 for every frame) are not repeated.
"""

from __future__ import annotations

from limnd2_xr.compat.nd2 import AXIS, BinaryLayer, BinaryLayers, ND2File, imread

__all__ = ["AXIS", "BinaryLayer", "BinaryLayers", "ND2File", "imread"]
