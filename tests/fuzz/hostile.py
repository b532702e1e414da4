"""Files made to do harm: each tempts a reader to allocate, to recurse, to loop or to leave.

Each builder returns the bytes of a file well below 2 MB.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from limnd2_xr.container.scan import walk_chunks
from limnd2_xr.container.source import MemorySource
from limnd2_xr.model.layers import new_rle_layer, rle_layers_tree
from limnd2_xr.testing.chunk_writer import ChunkWriter
from limnd2_xr.testing.contents import contents
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    Column,
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    build,
)
from limnd2_xr.variants import lite, xml
from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from collections.abc import Callable

PLAIN = SyntheticSpec(width=9, height=5, loops=(TimeLoop(2),))
BILLION = 10**9
UPWARD = "../../../../tmp/x"
DEPTH = 10_000


def with_chunks(spec: SyntheticSpec, **payloads: bytes) -> bytes:
    """Build a file with other payloads in some of its chunks, or with more chunks."""
    return with_payloads(build(spec).data, payloads)


def with_payloads(data: bytes, payloads: dict[str, bytes]) -> bytes:
    """Return a file with other payloads, by chunk name."""
    return put_together(list((dict(take_apart(data)) | payloads).items()))


def take_apart(data: bytes) -> list[tuple[str, bytes]]:
    """Names and payloads of the chunks of a file, but for signature and map."""
    return [
        (header.name, data[header.data_offset : header.end])
        for header in walk_chunks(MemorySource(data))
        if not header.name.startswith("ND2 ")
    ]


def put_together(chunks: list[tuple[str, bytes]]) -> bytes:
    """Return a file of these chunks, with sound headers and map."""
    file = io.BytesIO()
    is_old = any(name == "ImageAttributes!" for name, _ in chunks)
    writer = ChunkWriter(file, version="2.1" if is_old else "3.0")
    for name, payload in chunks:
        is_frame = name.startswith("ImageDataSeq|")
        writer.put(name, payload, first_nbytes=8 if is_frame else None)
    writer.finish()
    return file.getvalue()


def _changed(tree: Level, changes: dict[str, Any]) -> Level:
    """Put other values into all fields of some names."""
    for i, (name, value) in enumerate(zip(tree.names, tree.values, strict=True)):
        if isinstance(value, Level):
            _changed(value, changes)
        elif name in changes:
            tree.values[i] = changes[name]
    return tree


def _loops_of(count: int) -> bytes:
    data = build(PLAIN).data
    tree = lite.decode(dict(take_apart(data))["ImageMetadataLV!"])
    payload = lite.encode(_changed(tree, {"uiCount": count}))
    return with_payloads(data, {"ImageMetadataLV!": payload})


def _attributes(compression: Any = None, **fields: int) -> bytes:
    spec = replace(PLAIN, compression=compression, attributes=fields)
    return build(spec).data


@cache
def _bomb(nbytes: int = 2**30) -> bytes:
    """Return a zlib stream of zeros, put together of equal parts so that it is made at once."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    part = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    end = b"\x03\x00" + struct.pack(">HH", nbytes % 65521, 1)
    return b"\x78\xda" + part * (nbytes >> 20) + end


def _bomb_frame() -> bytes:
    return with_payloads(
        build(replace(PLAIN, compression="zlib")).data,
        {"ImageDataSeq|0!": bytes(8) + _bomb()},
    )


def _packed_document(claim: int, stream: bytes) -> bytes:
    return b"LV0Z" + struct.pack("<Q", claim) + stream


def _nested_lite(depth: int = DEPTH) -> bytes:
    """Levels in levels; lengths are right."""
    head, heads, tables = 14, [], []
    nbytes = 0
    for i in range(depth):
        count = min(i, 1)
        heads.append(b"\x0b\x00" + struct.pack("<IQ", count, head + nbytes))
        tables.append(struct.pack("<Q", head) * count)
        nbytes += head + 8 * count
    return b"".join([*reversed(heads), *tables])


def _lying_level(count: int, nbytes: int) -> bytes:
    return b"\x0b\x02A\0\0\0" + struct.pack("<IQ", count, nbytes) + bytes(64)


def _xml(body: str, doctype: str = "") -> bytes:
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    return f'{head}{doctype}<variant version="1.0">{body}</variant>'.encode()


def _laughs() -> bytes:
    entities = '<!ENTITY a0 "ha">' + "".join(
        f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12)
    )
    body = '<no_name runtype="CLxStringW" value="&a11;"/>'
    return _xml(body, f"<!DOCTYPE variant [{entities}]>")


def _outside_entity() -> bytes:
    doctype = '<!DOCTYPE variant [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    return _xml('<no_name runtype="CLxStringW" value="x">&a;</no_name>', doctype)


def _nested_xml(depth: int = DEPTH) -> bytes:
    opening = '<a runtype="CLxListVariant">'
    return _xml(opening * depth + "</a>" * depth)


def _numbers_xml() -> bytes:
    digits = "9" * 6000
    kinds = ("lx_int32", "lx_uint64", "double", "bool", "CLxByteArray")
    fields = "".join(f'<ui{k} runtype="{k}" value="{digits}"/>' for k in kinds)
    return _xml(f'<no_name runtype="CLxListVariant">{fields}</no_name>')


def _map_of(entries: list[tuple[str, int, int]]) -> bytes:
    """Return a sound file with another map."""
    data = build(replace(PLAIN, map_style="missing")).data
    data += bytes(-len(data) % 4096)
    body = b"".join(
        name.encode() + struct.pack("<QQ", offset, nbytes)
        for name, offset, nbytes in entries
    )
    end = b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", len(data))
    payload = body + end
    payload += bytes(-(len(payload) + 48 + 40) % 4096) + end
    head = struct.pack("<IIQ", 0x0ABECEDA, 32, len(payload))
    return data + head + b"ND2 FILEMAP SIGNATURE NAME 0001!" + payload


def _entries() -> list[tuple[str, int, int]]:
    return [(n, at, size) for n, (at, size) in build(PLAIN).chunks.items()]


def _all_at_one_place() -> bytes:
    return _map_of([(name, 4096, size) for name, _, size in _entries()])


def _map_within_itself() -> bytes:
    where = len(build(replace(PLAIN, map_style="missing")).data)
    return _map_of([(name, where, size) for name, _, size in _entries()])


def _many_frames_at_one_place() -> bytes:
    at, size = build(PLAIN).chunks["ImageDataSeq|0!"]
    listed = [(f"ImageDataSeq|{i}!", at, size) for i in range(2_000)]
    return _map_of(_entries() + listed)


def _far_frame_numbers() -> bytes:
    at, size = build(PLAIN).chunks["ImageDataSeq|0!"]
    listed = [(f"ImageDataSeq|{10**k}!", at, size) for k in range(1, 18)]
    return _map_of(_entries() + listed)


def _paths() -> bytes:
    layer = new_rle_layer(UPWARD, color="#ff0000", channel="a/b")
    spec = SyntheticSpec(
        width=9,
        height=5,
        loops=(PositionLoop((Point(0, 0, name=UPWARD), Point(1, 1, name="/"))),),
        channels=(ChannelSpec("/etc/passwd"), ChannelSpec("..")),
        columns={UPWARD: Column([1.0, 2.0], description=UPWARD), "..": Column([1, 2])},
        text={0: UPWARD},
        extra_chunks={
            f"CustomData|{UPWARD}!": b"x",
            f"{UPWARD}!": b"x",
            "CustomDataVar|..!": b"x",
            "CustomDataVar|BinaryMetadata_v1!": xml.encode(rle_layers_tree([layer])),
        },
    )
    return build(spec).data


def _overwritten(name: str, payload: bytes) -> Callable[[], bytes]:
    spec = replace(PLAIN, extra_chunks=contents(PLAIN))
    return lambda: with_payloads(build(spec).data, {name: payload})


_TREES = (
    "ImageMetadataLV!",
    "ImageMetadataSeqLV|0!",
    "ImageTextInfoLV!",
    "ImageAttributesLV!",
    "CustomData|RoiMetadata_v1!",
    "CustomData|CustomDescriptionV1_0!",
    "CustomDataVar|AppInfo_V1_0!",
    "CustomDataVar|BinaryMetadata_v1!",
    "CustomData|ExperimentEventsV1_0!",
)
_JSON = ("CustomData|WellPlateDesc_0!", "CustomData|WellPlateFrameInfoZJSON!")
_NESTED_JSON = b"[" * 100_000 + b"]" * 100_000
_WIDE_JSON = json.dumps([{"wellRow": BILLION, "plateIndex": 10**40}]).encode()

_TREE_PAYLOADS = {
    "nesting": _nested_lite(),
    "nested_xml": _nested_xml(),
    "numbers": _numbers_xml(),
    "bomb": _packed_document(2**30, _bomb()),
    "lying_bomb": _packed_document(64, _bomb(2**26)),
    "bomb_claim": _packed_document(2**63, zlib.compress(b"x")),
    "count": _lying_level(2**32 - 1, 2**63),
    "length": _lying_level(2, 2**64 - 1),
}
_JSON_PAYLOADS = {
    "nesting": _NESTED_JSON,
    "numbers": _WIDE_JSON,
    "zipped_nesting": zlib.compress(_NESTED_JSON),
    "bomb": _bomb(2**28),
}

FILES: dict[str, Callable[[], bytes]] = {
    "billion_by_billion": lambda: _attributes(uiWidth=BILLION, uiHeight=BILLION),
    "billion_by_billion_zlib": lambda: _attributes(
        "zlib", uiWidth=BILLION, uiHeight=BILLION
    ),
    "billion_wide": lambda: _attributes(uiWidth=BILLION, uiHeight=1),
    "wide_zlib": lambda: _attributes("zlib", uiWidth=10**8, uiHeight=1, uiWidthBytes=0),
    "wide_zlib_bomb": lambda: with_payloads(
        _attributes("zlib", uiWidth=4 * 10**8, uiHeight=1, uiWidthBytes=0),
        {"ImageDataSeq|0!": bytes(8) + _bomb()},
    ),
    "high_zlib_bomb": lambda: with_payloads(
        _attributes("zlib", uiHeight=4 * 10**7),
        {"ImageDataSeq|0!": bytes(8) + _bomb()},
    ),
    "billion_components": lambda: _attributes(uiComp=BILLION),
    "components_zlib_bomb": lambda: with_payloads(
        _attributes("zlib", uiWidth=1, uiHeight=1, uiComp=10**8, uiWidthBytes=0),
        {"ImageDataSeq|0!": bytes(8) + _bomb()},
    ),
    "billion_counted": lambda: _attributes(uiSequenceCount=BILLION),
    "billion_looped": lambda: _loops_of(BILLION),
    "most_looped": lambda: _loops_of(2**32 - 1),
    "bomb_frame": _bomb_frame,
    "laughs": lambda: with_chunks(PLAIN, **{_TREES[6]: _laughs()}),
    "laughing_attributes": lambda: with_chunks(
        replace(PLAIN, metadata="xml"), **{"ImageAttributes!": _laughs()}
    ),
    "outside_entity": lambda: with_chunks(PLAIN, **{_TREES[6]: _outside_entity()}),
    "all_at_one_place": _all_at_one_place,
    "map_within_itself": _map_within_itself,
    "many_frames_at_one_place": _many_frames_at_one_place,
    "far_frame_numbers": _far_frame_numbers,
    "paths": _paths,
    **{
        f"{what}_in_{name}": _overwritten(name, payload)
        for name in _TREES
        for what, payload in _TREE_PAYLOADS.items()
    },
    **{
        f"{what}_in_{name}": _overwritten(name, payload)
        for name in _JSON
        for what, payload in _JSON_PAYLOADS.items()
    },
}
"""Builders by name."""
