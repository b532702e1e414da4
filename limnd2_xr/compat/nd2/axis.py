"""Names of axes, and of columns of the table of events: ``nd2._util`` in part."""

from __future__ import annotations

import re
from typing import ClassVar, Final, NamedTuple

__all__ = [
    "AXIS",
    "NEW_HEADER_MAGIC",
    "OLD_HEADER_MAGIC",
    "POSITION_NAME",
    "TIME_KEY",
    "VERSION",
    "Z_SERIES_KEY",
    "VoxelSize",
    "is_fsspec_url",
]

VERSION: Final = "0.12.0"
"""Version of nd2 whose names these are."""
NEW_HEADER_MAGIC: Final = b"\xda\xce\xbe\n"
"""First bytes of a file of format 2.0 and later."""
OLD_HEADER_MAGIC: Final = b"\x00\x00\x00\x0c"
"""First bytes of a file of format 1.0."""
TIME_KEY: Final = "Time [s]"
"""Column of times."""
Z_SERIES_KEY: Final = "Z-Series"
"""Column of Z relative to the home position."""
POSITION_NAME: Final = "Position Name"
"""Column of names of positions."""

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")


class AXIS:
    """Letters of the axes."""

    X: Final = "X"
    Y: Final = "Y"
    Z: Final = "Z"
    CHANNEL: Final = "C"
    RGB: Final = "S"
    TIME: Final = "T"
    POSITION: Final = "P"
    UNKNOWN: Final = "U"

    _MAP: ClassVar[dict[str, str]] = {
        "Unknown": UNKNOWN,
        "TimeLoop": TIME,
        "NETimeLoop": TIME,
        "XYPosLoop": POSITION,
        "ZStackLoop": Z,
        "CustomLoop": UNKNOWN,
    }

    @classmethod
    def frame_coords(cls) -> set[str]:
        """Return the axes that lie within a frame."""
        return {cls.X, cls.Y, cls.CHANNEL, cls.RGB}


class VoxelSize(NamedTuple):
    """Size of a voxel, um."""

    x: float
    y: float
    z: float


def is_fsspec_url(path: object) -> bool:
    """Say whether something is a URL; a drive of Windows (``C://``) is none."""
    return isinstance(path, str) and _URL.match(path) is not None
