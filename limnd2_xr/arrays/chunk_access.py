"""Every chunk of a file, listed and decoded: for what nothing else here knows of."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.arrays.dataset import SIZES_KEY, SOURCE_KEY
from limnd2_xr.damage import DamageReport
from limnd2_xr.errors import CorruptChunk, Nd2Error
from limnd2_xr.frames.chunk_reading import ChunkReader
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.legacy_xml import decode_legacy, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from limnd2_xr.container.source import ByteSource, SourceSpec

__all__ = ["ChunkInfo", "list_chunks", "read_chunk", "source_of"]

_MANY: Final = 16
"""Of longer families of chunks only the first is looked at."""
_MAX_INFLATED_NBYTES: Final = 1 << 28


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkInfo:
    """Where one chunk lies, and what its first bytes tell of its encoding."""

    name: str
    """With its closing ``!``."""
    offset: int
    """File offset of its header."""
    nbytes: int | None
    """Bytes of its payload; None where only its header knows."""
    encoding: str
    """``"pixels"``, ``"lite"``, ``"xml"``, ``"json"``, ``"zlib"`` or ``"raw"``."""


def source_of(
    obj: xr.Dataset | xr.DataArray, *, one_of_several: bool = False
) -> SourceSpec:
    """Return the file behind an object.

    Parameters
    ----------
    obj
        Opened from a file, or selected from what was.
    one_of_several
        Take the first of the files that it was put together from, where that is known.

    Raises
    ------
    Nd2Error
        If it remembers none: arithmetic drops that. Or if it is larger than its file:
        what xarray puts together from several remembers the first.
    """
    parts = (obj, *getattr(obj, "data_vars", {}).values())
    image = next((part for part in parts if SOURCE_KEY in part.encoding), None)
    if image is None:
        raise Nd2Error(
            "the object does not remember its file: it was not opened from one, or was "
            "computed from what was"
        )
    spec: SourceSpec = image.encoding[SOURCE_KEY]
    if not one_of_several and _exceeds(image, image.encoding.get(SIZES_KEY, {})):
        raise Nd2Error(
            "the object has more frames or pixels than its file, as if it was put "
            "together from several; ask each of them",
            path=spec.name,
        )
    return spec


def _exceeds(image: xr.Dataset | xr.DataArray, stored: Mapping[str, int]) -> bool:
    """Say whether an image is larger than that of its file, along a dim or in all."""
    if not stored:
        return False
    longer = any(image.sizes[dim] > n for dim, n in stored.items() if dim in image.dims)
    return longer or math.prod(image.sizes.values()) > math.prod(stored.values())


def list_chunks(spec: SourceSpec) -> list[ChunkInfo]:
    """List all chunks of a file in the order in which they lie in it.

    Parameters
    ----------
    spec
        The file.
    """
    with spec.open() as source:
        found = [
            ChunkInfo(
                name=name, offset=entry.offset, nbytes=entry.nbytes, encoding=kind
            )
            for name, entry, kind in _with_kinds(_reader(source))
        ]
    return sorted(found, key=lambda chunk: chunk.offset)


def _reader(source: ByteSource) -> ChunkReader:
    """Chunks of a file; what is damaged was told when it was opened."""
    with DamageReport(source.name, "ignore"):
        return ChunkReader(source)


def _with_kinds(reader: ChunkReader) -> Any:
    index = reader.index
    for name in index.names():
        entry = index.find(name)
        if entry is not None:
            yield name, entry, _kind_at(reader, name, entry)
    for prefix, family in index.families().items():
        kind = "pixels" if prefix == reader.frame_family else ""
        for i, (number, entry) in enumerate(family.items()):
            name = family.name(number)
            if prefix != reader.frame_family and (i == 0 or len(family) <= _MANY):
                kind = _kind_at(reader, name, entry)
            yield name, entry, kind


def _kind_at(reader: ChunkReader, name: str, entry: Any) -> str:
    try:
        payload = reader.payloads({name: entry})[name]
    except CorruptChunk:
        return "raw"
    return _kind(payload)


def _kind(payload: bytes) -> str:
    if payload[:1] == b"<":
        return "xml"
    if payload[:1] in {b"[", b"{"} and _json(payload) is not None:
        return "json"
    if payload[:2] in {b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"}:
        return "zlib"
    try:
        decode(payload, lazy=True)
    except CorruptChunk:
        return "raw"
    return "lite"


def read_chunk(spec: SourceSpec, name: str, *, raw: bool = False) -> Any:
    """Return what a chunk holds.

    Parameters
    ----------
    spec
        The file.
    name
        Of the chunk; the closing ``!`` may be left out.
    raw
        Return the payload as bytes, whatever it is.

    Returns
    -------
    dict, list, str, number or bytes
        Variants and JSON as plain objects, also where they are compressed; everything
        else as bytes.

    Raises
    ------
    KeyError
        If the file has no such chunk.
    CorruptChunk
        If the chunk is not where the map says, or does not decode.
    """
    full = name if name.endswith("!") else f"{name}!"
    with spec.open() as source:
        reader = _reader(source)
        entry = reader.index.find(full)
        if entry is None:
            raise KeyError(f"{spec.name} has no chunk {full}")
        payload = reader.payloads({full: entry})[full]
    if raw or full.startswith(f"{reader.frame_family}|"):
        return payload
    if reader.is_legacy and _kind(payload) == "xml":
        return plain(decode_legacy(payload))
    return _decoded(payload)


def _decoded(payload: bytes) -> Any:
    kind = _kind(payload)
    if kind in {"lite", "xml"}:
        return decode(payload).to_plain()
    if kind == "json":
        return _json(payload)
    if kind == "zlib":
        inflated = _inflated(payload)
        if inflated is not None:
            inner = _json(inflated)
            return inflated if inner is None else inner
    return payload


def _json(payload: bytes) -> Any:
    try:
        return json.loads(payload.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def _inflated(payload: bytes) -> bytes | None:
    """Inflate a whole zlib stream; None if it is damaged or absurdly large."""
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(payload, _MAX_INFLATED_NBYTES)
    except zlib.error:
        return None
    return found if stream.eof else None
