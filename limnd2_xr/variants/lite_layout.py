"""Layout of the lite variant's parts, shared by its decoder and its encoder."""

from __future__ import annotations

import struct

__all__ = [
    "COMPRESSED_MAGIC",
    "F64",
    "I32",
    "I64",
    "LEVEL_SIZES",
    "MAX_DEPTH",
    "MAX_NAME_UNITS",
    "U32",
    "U64",
]

COMPRESSED_MAGIC = b"LV0Z"
"""First bytes of a compressed document (FORMAT 4.2.3)."""

MAX_DEPTH = 128
"""Levels within levels that are followed; real documents nest about 15 deep."""

MAX_NAME_UNITS = 254
"""UTF-16 units of the longest name, its terminator not counted (FORMAT 4.2.1)."""

I32 = struct.Struct("<i")
U32 = struct.Struct("<I")
I64 = struct.Struct("<q")
U64 = struct.Struct("<Q")
F64 = struct.Struct("<d")

LEVEL_SIZES = struct.Struct("<IQ")
"""Number of children and bytes up to the offset table (FORMAT 4.2.2)."""
