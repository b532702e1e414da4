"""Write the files in corpus/ anew: small ones, each with other things to read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from limnd2_xr.testing.contents import contents
from limnd2_xr.testing.legacy import LegacySpec, build_legacy
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    NETimeLoop,
    Period,
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

HERE = Path(__file__).parent
RGB = (ChannelSpec("RGB", components=3),)
PLAIN = SyntheticSpec(width=9, height=5, loops=(TimeLoop(2),))

SPECS = {
    "plain": PLAIN,
    "bare": SyntheticSpec(width=9, height=5, metadata="none"),
    "loops": SyntheticSpec(
        width=9, height=5, loops=(PositionLoop((Point(0, 0), Point(1, 1))), ZLoop(2))
    ),
    "ne_time": SyntheticSpec(
        width=9, height=5, loops=(NETimeLoop((Period(1), Period(2))),)
    ),
    "xml": SyntheticSpec(width=9, height=5, loops=(TimeLoop(2),), metadata="xml"),
    "zlib": replace(PLAIN, compression="zlib"),
    "rgb": SyntheticSpec(width=9, height=5, channels=RGB, dtype="uint8"),
    "float": SyntheticSpec(width=9, height=5, dtype="float32"),
    "no_map": replace(PLAIN, map_style="missing"),
    "lossy_map": replace(PLAIN, map_style="wrong_frame_offsets"),
    "contents": replace(PLAIN, extra_chunks=contents(PLAIN)),
}


def main() -> None:
    """Write all of them."""
    for name, spec in SPECS.items():
        build(spec).save(HERE / "corpus" / f"{name}.nd2")
    legacy = build_legacy(LegacySpec(width=9, height=5))
    (HERE / "corpus" / "legacy.nd2").write_bytes(legacy.data)


if __name__ == "__main__":
    main()
