"""Metadata chunks of the sample files, read without this package's container layer."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REAL = (
    "confocal_t3_z10_c2",
    "fluo_c4",
    "netime_t2_u8",
    "rgb8",
    "timelapse_t53",
    "zstack_z11",
)


def chunks(path: Path) -> dict[str, bytes]:
    data = path.read_bytes()
    (at,) = struct.unpack_from("<Q", data, len(data) - 8)
    _, name_nbytes, _ = struct.unpack_from("<IIQ", data, at)
    at += 16 + name_nbytes
    out: dict[str, bytes] = {}
    while True:
        end = data.index(b"!", at) + 1
        name = data[at:end].decode("latin-1")
        if name.startswith("ND2 CHUNK MAP"):
            return out
        offset, nbytes = struct.unpack_from("<QQ", data, end)
        at = end + 16
        start = offset + 16 + struct.unpack_from("<I", data, offset + 4)[0]
        if not name.startswith("ImageDataSeq|"):
            out[name] = data[start : start + nbytes]


@pytest.fixture(scope="session")
def real_chunks(real_file: Callable[[str], Path]) -> dict[tuple[str, str], bytes]:
    """Every chunk but the frames of the real files, by file and chunk name."""
    return {
        (name, chunk): payload
        for name in REAL
        for chunk, payload in chunks(real_file(name)).items()
    }


@pytest.fixture(scope="session")
def made_chunks(
    made_file: Callable[[str], Path],
) -> Callable[[str], dict[str, bytes]]:
    """Every chunk but the frames of one of the made files, by name."""
    return lambda name: chunks(made_file(name))
