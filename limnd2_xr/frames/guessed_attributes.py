"""Image attributes of a file that lost them: from its frames and what else is left.

NIS-Elements writes the attributes behind the frames (FORMAT 1.5), so a file that was cut
short, or whose acquisition was interrupted, may have none. What a frame's bytes are is
not in doubt: how many there are, the chunk tells, and how many components a pixel has,
the picture metadata. Which numbers they are and how long a row is, the picture itself
tells: neighbours are alike.
"""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from math import log
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.container.prefetch import RegionCache
from limnd2_xr.damage import report_damage
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.table import FRAME_FAMILY, TIME_NBYTES
from limnd2_xr.model.fields import integer
from limnd2_xr.model.raw import ATTRIBUTES, PICTURE, RawMetadata
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from limnd2_xr.container.byte_source import ByteSource
    from limnd2_xr.container.chunk_index import ChunkIndex, Family

__all__ = ["guess_attributes"]

_MAX_FRAME_NBYTES: Final = 2**28
"""Larger frames are not looked into."""
_READ_NBYTES: Final = 2**25
_MAX_FRAMES: Final = 32
"""So much is read; one frame at least. The mean of several has less noise."""
_MAX_SAMPLES: Final = 2**22
"""Of a frame no more than these are compared."""
_MOST_FRAMES: Final = 8
"""So many tell of what type components are."""
_MAX_ASPECT: Final = 16
"""No picture is thought to be this many times as wide as high, or the reverse."""
_CLEAR: Final = 0.9
"""What is right makes neighbours more alike than this part of what is next best."""
_ZLIB: Final = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_MAX_COMPONENTS: Final = 1024
_MOST: Final = 0.99
_USUAL_FLOATS: Final = (1e-6, 1e9)


@dataclass(frozen=True, slots=True)
class _Rows:
    """How a frame's bytes may be arranged, and how unlike its rows then are."""

    row_nbytes: int
    width: int
    height: int
    unlike: float


def guess_attributes(
    source: ByteSource, index: ChunkIndex, levels: Mapping[str, Level]
) -> Level:
    """Return attributes that fit the frames of a file without them.

    Some frames are read. The number of frames is left open, and all bits are taken as
    significant. Where several sizes fit equally well, the picture is as square as can be.

    Parameters
    ----------
    source
        The open file.
    index
        Its chunks.
    levels
        Its other metadata, decoded.

    Returns
    -------
    Level
        A chunk ``ImageAttributesLV!`` as it may have been.

    Raises
    ------
    CorruptChunk
        If there are no frames, or their pixels fit no picture.

    Warns
    -----
    Nd2Warning
        Always: what it is must be checked by whoever knows the experiment.
    """
    family = index.family(FRAME_FAMILY)
    lost = (
        f"the file has no sound chunk {ATTRIBUTES[0]}, hence no image size; "
        f"{len(family) if family else 0} frames are there"
    )
    frames = _frames(source, family) if family else []
    pixels = _pixels(frames)
    if not pixels:
        raise CorruptChunk(lost, path=source.name, chunk=ATTRIBUTES[0])
    components = _components(levels)
    itemsize = _itemsize(pixels, components)
    fitting = _rows(pixels, components, itemsize)
    if not fitting:
        lost += f" of {pixels[0].size} bytes"
        raise CorruptChunk(lost, path=source.name, chunk=ATTRIBUTES[0])
    found = _without_padding(fitting[0], pixels, components * itemsize)
    report_damage(
        "the image attributes are lost",
        f"from the pixels the frames seem to be {found.width} x {found.height} pixels "
        f"with {components} component{'' if components == 1 else 's'} of {8 * itemsize} "
        "bits: check whether that is right"
        + (", other sizes fit as well" if len(fitting) > 1 else ""),
        path=source.name,
        chunk=ATTRIBUTES[0],
    )
    is_packed = all(len(frame) != pixels[0].size for frame in frames)
    return _tree(found, components, itemsize, is_packed=is_packed)


def _frames(source: ByteSource, family: Family) -> list[bytes]:
    """Read the stored pixels of the first frames."""
    cache, total = RegionCache(source), 0
    found: list[bytes] = []
    for number, entry in islice(family.items(), _MAX_FRAMES):
        name = family.name(number)
        try:
            chunk = cache.chunks({name: entry}, max_nbytes=_MAX_FRAME_NBYTES)[name]
        except CorruptChunk:
            continue
        total += len(chunk)
        if found and total > _READ_NBYTES:
            break
        found.append(chunk[TIME_NBYTES:])
    return found


def _pixels(frames: list[bytes]) -> list[NDArray[np.uint8]]:
    """Pixels of frames of the same size; no more than are worth reading once inflated."""
    found: list[NDArray[np.uint8]] = []
    for stored in frames:
        pixels = _unpacked(stored)
        if pixels.size:
            found.append(pixels)
        if sum(frame.size for frame in found) > _READ_NBYTES:
            break
    sizes = Counter(frame.size for frame in found).most_common(1)
    return [frame for frame in found if frame.size == sizes[0][0]]


def _unpacked(stored: bytes) -> NDArray[np.uint8]:
    """Pixels of a frame, whether it was compressed or not."""
    if stored.startswith(_ZLIB):
        stream = zlib.decompressobj()
        try:
            data = stream.decompress(stored, _MAX_FRAME_NBYTES)
        except zlib.error:
            return np.frombuffer(stored, np.uint8)
        if stream.eof:
            return np.frombuffer(data, np.uint8)
    return np.frombuffer(stored, np.uint8)


def _components(levels: Mapping[str, Level]) -> int:
    """Components of a pixel as the picture metadata count them, else 1."""
    try:
        picture = RawMetadata(version=(3, 0), levels=levels, data={}).struct(PICTURE)
        planes = picture.get("sPicturePlanes") if picture else None
        count = integer(planes, "uiCompCount", 1) if isinstance(planes, Level) else 1
    except CorruptChunk:
        return 1
    return count if 1 <= count <= _MAX_COMPONENTS else 1


def _itemsize(pixels: list[NDArray[np.uint8]], components: int) -> int:
    """Bytes of a component, from what sets the bytes of one apart."""
    part = np.concatenate([frame[:_MAX_SAMPLES] for frame in pixels[:_MOST_FRAMES]])
    nbytes = pixels[0].size
    if nbytes % (4 * components) == 0 and _are_floats(part.view("<u2")):
        return 4
    if nbytes % (2 * components) or nbytes <= 2 * components:
        return 1
    low, high = part[::2], part[1::2]
    if int(high.max()) <= int(low.max()) // 4:  # no more than 14 bits of 16 are used
        return 2
    signed = part.astype(np.int16)
    one, two = (
        float(np.abs(signed[step:] - signed[:-step]).mean())
        for step in (components, 2 * components)
    )
    # Pixels two steps apart are less alike than neighbours, unless these are no pixels.
    return 2 if two < _CLEAR * one else 1


def _are_floats(words: NDArray[np.uint16]) -> bool:
    """Tell floats from pairs of neighbours: of usual size, with halves that differ."""
    values = np.abs(words.view("<f4"))
    values = values[values != 0]
    least, most = _USUAL_FLOATS
    usual = (values >= least) & (values <= most)
    unsigned = words & 0x7FFF  # one half has the sign
    spreads = unsigned[::2].std(), unsigned[1::2].std()
    if not values.size or usual.mean() < _MOST:
        return False
    return bool(max(spreads) > 2 * min(spreads))


def _rows(
    pixels: list[NDArray[np.uint8]], components: int, itemsize: int
) -> list[_Rows]:
    """Arrangements whose rows are about as like their neighbours as can be, squares first."""
    pixel_nbytes, nbytes = components * itemsize, pixels[0].size
    dtype = {1: "u1", 2: "<u2", 4: "<f4"}[itemsize]
    values = np.zeros(min(nbytes // itemsize, _MAX_SAMPLES), np.float32)
    for frame in pixels:
        values += frame.view(dtype)[: len(values)]
    fitting = []
    for row_nbytes in range(4, nbytes + 1, 4):
        height, rest = divmod(nbytes, row_nbytes)
        width = row_nbytes // pixel_nbytes
        if width > height * _MAX_ASPECT:
            break
        step = row_nbytes // itemsize
        if (
            rest
            or width * _MAX_ASPECT < height
            or -(-width * pixel_nbytes // 4) * 4 != row_nbytes
            or len(values) <= step
        ):
            continue
        unlike = float(np.abs(values[step:] - values[:-step]).mean())
        fitting.append(_Rows(row_nbytes, width, height, unlike))
    if not fitting:
        return []
    least = min(rows.unlike for rows in fitting)
    alike = [rows for rows in fitting if _CLEAR * rows.unlike <= least]
    return sorted(alike, key=lambda rows: abs(log(rows.width / rows.height)))


def _without_padding(
    rows: _Rows, pixels: list[NDArray[np.uint8]], pixel_nbytes: int
) -> _Rows:
    """Take pixels that are 0 at the end of every row for padding, as far as they can be."""
    shape = (rows.height, rows.row_nbytes)
    tables = [frame.reshape(shape) for frame in pixels]
    width = rows.width
    while width > 1 and -(-(width - 1) * pixel_nbytes // 4) * 4 == rows.row_nbytes:
        if any(table[:, (width - 1) * pixel_nbytes :].any() for table in tables):
            break
        width -= 1
    return _Rows(rows.row_nbytes, width, rows.height, rows.unlike)


def _tree(rows: _Rows, components: int, itemsize: int, *, is_packed: bool) -> Level:
    level = Level()
    for name, value in {
        "uiWidth": rows.width,
        "uiWidthBytes": rows.row_nbytes,
        "uiHeight": rows.height,
        "uiComp": components,
        "uiBpcInMemory": 8 * itemsize,
        "uiBpcSignificant": 8 * itemsize,
        "uiSequenceCount": 0,
        "eCompression": 0 if is_packed else 2,
        "ePixelType": 2 if itemsize == 4 else 1,
    }.items():
        level.add(name, LvType.UINT32, value)
    root = Level()
    root.add("SLxImageAttributes", LvType.LEVEL, level)
    return root
