"""Damaged samples that this package repaired: each reader has to read every frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import limnd2_xr
from limnd2_xr.container.scan import walk_chunks
from limnd2_xr.container.source import MemorySource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from limnd2_xr.container.chunk_format import ChunkHeader


def write_all(folder: Path, samples: Path) -> list[Path]:
    """Damage samples, repair them, and return the repaired files."""
    made = []
    for (kind, name), damage in DAMAGE.items():
        data = (samples / kind / f"{name}.nd2").read_bytes()
        path = folder / f"repaired_{name}_{damage.__name__.strip('_')}.nd2"
        limnd2_xr.repair(damage(data), path, guess_size=damage is _cut)
        report = limnd2_xr.verify(path)
        if not report.is_sound:
            raise AssertionError(f"{path}: {report.findings}")
        made.append(path)
    return made


def _no_map(data: bytes) -> bytes:
    return data[: data.rindex(b"ND2 FILEMAP SIGNATURE") - 16]


def _cut(data: bytes) -> bytes:
    """In the middle of a frame, so that all that follows the frames is lost as well."""
    frames = _frames(data)
    frame = frames[2 * len(frames) // 3]
    return data[: frame.end - frame.data_nbytes // 2]


def _lost_frame(data: bytes) -> bytes:
    frames = _frames(data)
    return _blanked(data, frames[len(frames) // 2].offset, 64)


def _damaged_pixels(data: bytes) -> bytes:
    frames = _frames(data)
    return _blanked(data, frames[len(frames) // 2].data_offset + 40, 40)


def _damaged_loops(data: bytes) -> bytes:
    [header] = [h for h in _headers(data) if h.name == "ImageMetadataLV!"]
    return _blanked(data, header.data_offset + 60, 40)


def _headers(data: bytes) -> list[ChunkHeader]:
    return list(walk_chunks(MemorySource(data)))


def _frames(data: bytes) -> list[ChunkHeader]:
    return [h for h in _headers(data) if h.name.startswith("ImageDataSeq|")]


def _blanked(data: bytes, at: int, nbytes: int) -> bytes:
    return data[:at] + b"\xff" * nbytes + data[at + nbytes :]


DAMAGE: dict[tuple[str, str], Callable[[bytes], bytes]] = {
    ("real", "confocal_t3_z10_c2"): _lost_frame,
    ("real", "netime_t2_u8"): _no_map,
    ("real", "rgb8"): _no_map,
    ("real", "timelapse_t53"): _cut,
    ("real", "zstack_z11"): _damaged_loops,
    ("made", "r9_t_u16_w101_zlib"): _damaged_pixels,
}
"""One kind of damage for each of some samples."""
