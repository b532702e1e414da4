"""In which well each frame was taken: ``WellPlateFrameInfoZJSON`` (FORMAT 12.3).

The chunk is a zlib stream of a JSON array with one object a frame [1S]. Keys that are
not known here are kept when a file is written again.
"""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.errors import CorruptChunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = [
    "FRAME_WELLS",
    "FrameWell",
    "FrameWellTable",
    "decode_frame_wells",
    "decode_well_table",
    "encode_frame_wells",
]

FRAME_WELLS: Final = "CustomData|WellPlateFrameInfoZJSON!"
"""Chunk that says in which well each frame was taken."""

_MAX_RATIO: Final = 128
"""Objects that differ only in their numbers shrink by 56; what shrinks more is hostile."""
_FREE_NBYTES: Final = 1 << 24
_MAX_DENSITY: Final = 5
"""So many values may a byte of the stream stand for; in those objects it is under 4."""
_FREE_VALUES: Final = 1 << 19
_OBJECT_VALUES: Final = 3
"""An object or a list takes as much memory as so many values in it."""
_MIN_INT, _MAX_INT = -(2**31), 2**32 - 1
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameWell:
    """Well of one frame."""

    frame: int
    """Number of the frame."""
    name: str = ""
    """Name of the well as NIS-Elements shows it, e.g. ``B3``; ``""`` if not said."""
    row: int = 0
    """Row, counted from 0."""
    column: int = 0
    """Column, counted from 0."""
    well_index: int = 0
    """Number of the well, in the order of the acquisition."""
    compact_name: str = ""
    """Short name; the same as `name` in what the vendor's package writes."""
    plate_index: int = 0
    """Number of the plate."""
    plate_uuid: str = ""
    """Identifier of the plate."""


_KEYS: Final = {
    "plateIndex": "plate_index",
    "plateUuid": "plate_uuid",
    "seqIndex": "frame",
    "wellIndex": "well_index",
    "wellName": "name",
    "wellCompactName": "compact_name",
    "wellColIndex": "column",
    "wellRowIndex": "row",
}
"""Field of `FrameWell` by the key that stores it, in the order of the vendor's."""
_SHARED: Final = tuple(key for key in _KEYS if key != "seqIndex")
_TEXTS: Final = frozenset({"plateUuid", "wellName", "wellCompactName"})


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FrameWellTable:
    """Wells of frames, each well once: there may be a million frames."""

    wells: tuple[FrameWell, ...]
    """Different wells; `FrameWell.frame` is the first frame that is in it."""
    frames: NDArray[np.int64]
    """Numbers of frames, in stored order."""
    which: NDArray[np.int64]
    """Index among `wells` of the well of each."""

    @classmethod
    def of(cls, wells: Sequence[FrameWell]) -> FrameWellTable:
        """Return a table of wells of frames, as they are."""
        frames = np.array([well.frame for well in wells], np.int64)
        return cls(wells=tuple(wells), frames=frames, which=np.arange(len(frames)))


def decode_well_table(data: bytes) -> FrameWellTable:
    """Return the wells of frames as a table; see `decode_frame_wells`."""
    return _table(_objects(data))


def decode_frame_wells(data: bytes) -> tuple[FrameWell, ...]:
    """Return the wells of frames, in stored order.

    Parameters
    ----------
    data
        Payload of the chunk; JSON that is not compressed is read, too.

    Raises
    ------
    CorruptChunk
        If it is no such array, saying what is wrong.

    Examples
    --------
    >>> wells = (FrameWell(frame=0, name="B3", row=1, column=2),)
    >>> decode_frame_wells(encode_frame_wells(wells)) == wells
    True
    """
    return _wells(_objects(data))


def encode_frame_wells(
    wells: Iterable[FrameWell],
    base: bytes | None = None,
    frames: Mapping[int, int] | None = None,
) -> bytes:
    """Return the payload that says in which wells frames are.

    Parameters
    ----------
    wells
        Wells of frames, in the order to store.
    base
        Payload of the source. It is returned itself if it says the same; else the
        objects of frames that it has, too, keep the keys that are not known here.
    frames
        Number in the source of a frame, by the number that it gets, where the frames
        were selected from it; None if they are numbered as they were.

    Raises
    ------
    ValueError
        If a number is out of range.
    CorruptChunk
        If the source is damaged.
    """
    new = tuple(wells)
    stored: dict[int, tuple[dict[str, Any], FrameWell]] = {}
    if base is not None:
        objects = _objects(base)
        before = _wells(objects)
        same = frames is None or all(frames.get(w.frame) == w.frame for w in new)
        if same and before == new:
            return base
        for item, well in zip(objects, before, strict=True):
            stored.setdefault(well.frame, (item, well))
    items = []
    for well in new:
        number = well.frame if frames is None else frames.get(well.frame, -1)
        items.append(_object(well, stored.get(number)))
    plain = json.dumps(items, ensure_ascii=False, separators=(",", ":"))
    # A lone half of a pair can only come from keys that are not known here.
    return zlib.compress(plain.encode("utf-8", "surrogatepass"))


def _object(
    well: FrameWell, stored: tuple[dict[str, Any], FrameWell] | None
) -> dict[str, Any]:
    item, before = stored or ({}, None)
    item = dict(item)
    for key, field in _KEYS.items():
        value = getattr(well, field)
        # An object may leave out its frame, but only in its old place.
        if before is not None and value == getattr(before, field) and field != "frame":
            continue
        if key not in _TEXTS and not _MIN_INT <= value <= _MAX_INT:
            raise ValueError(f"frame {well.frame}: {key} {value} is out of range")
        item[key] = value
    return item


def _objects(data: bytes) -> list[dict[str, Any]]:
    try:
        found = json.loads(_inflated(data))
    except (ValueError, RecursionError) as error:
        if isinstance(error, CorruptChunk):
            raise
        raise CorruptChunk(f"no JSON: {_short(error)}") from None
    if not isinstance(found, list):
        raise CorruptChunk("the JSON is no array of frames")
    for place, item in enumerate(found):
        if not isinstance(item, dict):
            raise CorruptChunk(f"item {place} of the JSON array is no object")
    return found


def _inflated(data: bytes) -> bytes:
    if data[:1] in {b"[", b"\xef", b" ", b"\n"}:  # as are the other JSON chunks
        return data
    limit = _MAX_RATIO * len(data) + _FREE_NBYTES
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(data, limit)
    except zlib.error as error:
        raise CorruptChunk(f"neither a zlib stream nor JSON: {error}") from None
    if stream.unconsumed_tail:
        raise CorruptChunk(f"{len(data)} bytes inflate to more than {limit}")
    if not stream.eof:
        raise CorruptChunk("the zlib stream is cut short")
    _check_density(plain, len(data))
    return plain


def _check_density(plain: bytes, nbytes: int) -> None:
    """Refuse JSON whose values would take many times the memory of its text."""
    opened = plain.count(b"{") + plain.count(b"[")
    values = plain.count(b",") + _OBJECT_VALUES * opened
    if values > _MAX_DENSITY * nbytes + _FREE_VALUES:
        raise CorruptChunk(f"{nbytes} bytes inflate to too many values ({values})")


def _wells(items: list[dict[str, Any]]) -> tuple[FrameWell, ...]:
    table = _table(items)
    numbers = zip(table.frames.tolist(), table.which.tolist(), strict=True)
    return tuple(replace(table.wells[which], frame=frame) for frame, which in numbers)


def _table(items: list[dict[str, Any]]) -> FrameWellTable:
    """Return the wells that objects tell; objects of one well are looked at once."""
    seen: dict[tuple[Any, ...], int] = {}
    wells: list[FrameWell] = []
    frames, which = [], []
    for place, item in enumerate(items):
        frame = item.get("seqIndex")
        if type(frame) is not int or not 0 <= frame <= _MAX_INT:
            frame = place if frame is None else _number("seqIndex", frame, place)
        said = tuple([item.get(key) for key in _SHARED])
        try:
            number = seen.get(said, -1)
        except TypeError:  # a list or an object, which is refused with its place
            number = -1
        if number < 0:
            wells.append(FrameWell(frame=frame, **_fields(item, place)))
            number = seen[said] = len(wells) - 1
        frames.append(frame)
        which.append(number)
    return FrameWellTable(
        wells=tuple(wells),
        frames=np.array(frames, np.int64),
        which=np.array(which, np.int64),
    )


def _fields(item: dict[str, Any], place: int) -> dict[str, Any]:
    """Return the fields of a well but its frame."""
    fields: dict[str, Any] = {}
    for key in _SHARED:
        value = item.get(key)
        if value is None:
            continue
        if key not in _TEXTS:
            fields[_KEYS[key]] = _number(key, value, place)
        elif isinstance(value, str):
            fields[_KEYS[key]] = _HALF_PAIR.sub("\ufffd", value)
        else:
            raise CorruptChunk(f"{key} of item {place} is {_short(value)}, not a text")
    return fields


def _number(key: str, value: object, place: int) -> int:
    whole = _whole(value)
    if whole is None:
        raise CorruptChunk(
            f"{key} of item {place} is {_short(value)}, not a whole number"
        )
    return whole


def _whole(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not _MIN_INT <= value <= _MAX_INT:
        return None
    return value


def _short(value: object) -> str:
    shown = str(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
