"""``python -m limnd2_xr``: the same as the command `limnd2-xr`."""

from __future__ import annotations

from limnd2_xr.cli import main

if __name__ == "__main__":
    main()
