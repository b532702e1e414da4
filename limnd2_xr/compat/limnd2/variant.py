"""``limnd2.variant``: metadata chunks in the XML encoding of version 2."""

from __future__ import annotations

from limnd2_xr.variants.tree import Level
from limnd2_xr.variants.xml import decode as decode_var

__all__ = ["Level", "decode_var"]
