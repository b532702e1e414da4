"""``limnd2.lite_variant``: metadata chunks in the binary encoding of version 3."""

from __future__ import annotations

from limnd2_xr.variants.encode import encode as encode_lv
from limnd2_xr.variants.lite import decode as decode_lv
from limnd2_xr.variants.tree import Level, LvType

__all__ = ["Level", "LvType", "decode_lv", "encode_lv"]
