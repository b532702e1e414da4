"""``limnd2.nd2``: reader and writer."""

from __future__ import annotations

from limnd2_xr.compat.limnd2.reader import Nd2Reader
from limnd2_xr.compat.limnd2.writer import Nd2Writer

__all__ = ["Nd2Reader", "Nd2Writer"]
