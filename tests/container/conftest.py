"""A byte-level builder of chunked files (FORMAT 1, 2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from limnd2_xr.container import remote_source
from limnd2_xr.container.retrying import Retries
from limnd2_xr.testing.http_server import HttpServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DATA = np.random.default_rng(1).integers(0, 256, 300_011, np.uint8).tobytes()

MAGIC = b"\xda\xce\xbe\x0a"
MAP_SIGNATURE = b"ND2 CHUNK MAP SIGNATURE 0000001!"


def chunk_bytes(name: str, payload: bytes, *, first: int | None = None) -> bytes:
    """A chunk padded as FORMAT 1.3 says."""
    first = len(payload) if first is None else first
    raw = name.encode("latin-1")
    end = -(-(16 + len(raw) + 20 + first) // 4096) * 4096
    field = raw.ljust(end - 16 - first, b"\0")
    data = MAGIC + struct.pack("<IQ", len(field), len(payload)) + field + payload
    return data + bytes(-len(data) % 4096)


def map_payload(
    entries: Sequence[tuple[str, int, int]], map_offset: int, filler: int = 100
) -> bytes:
    """The payload of a chunk map (FORMAT 2.2)."""
    footer = MAP_SIGNATURE + struct.pack("<Q", map_offset)
    rows = [
        name.encode("latin-1") + struct.pack("<QQ", offset, nbytes)
        for name, offset, nbytes in entries
    ]
    return b"".join(rows) + footer + bytes(filler) + footer


@dataclass(repr=False)
class Built:
    """A file and where its chunks are."""

    data: bytes
    places: dict[str, tuple[int, int]]
    map_offset: int
    payloads: dict[str, bytes]

    def __repr__(self) -> str:
        return f"<Built {self.places}>"  # hypothesis shows it with each failure


def build_nd2(
    chunks: Sequence[tuple[str, bytes]],
    *,
    unknown_sizes: bool = False,
    version: bytes = b"Ver3.0",
    listed: Sequence[tuple[str, int, int]] | None = None,
) -> Built:
    """A whole file; of a name given twice the last chunk is listed."""
    data = bytearray(MAGIC + struct.pack("<IQ", 32, 64))
    data += b"ND2 FILE SIGNATURE CHUNK NAME01!" + version.ljust(64, b"\0")
    data += bytes(4096 - len(data))
    places = {}
    for name, payload in chunks:
        places[name] = (len(data), len(payload))
        first = 8 if name.startswith("ImageDataSeq|") else None
        data += chunk_bytes(name, payload, first=first)
    entries = [
        (name, offset, offset if unknown_sizes else nbytes)
        for name, (offset, nbytes) in sorted(places.items(), reverse=True)
    ]
    if listed is not None:
        entries = list(listed)
    map_offset = len(data)
    rows_nbytes = sum(len(name) + 16 for name, _, _ in entries)
    total = -(-(16 + 32 + rows_nbytes + 80) // 4096) * 4096
    filler = total - 48 - rows_nbytes - 80
    payload = map_payload(entries, map_offset, filler)
    data += chunk_bytes("ND2 FILEMAP SIGNATURE NAME 0001!", payload)
    return Built(bytes(data), places, map_offset, dict(chunks))


@pytest.fixture(scope="session")
def build() -> Callable[..., Built]:
    """`build_nd2`."""
    return build_nd2


@pytest.fixture(scope="session")
def make_map() -> Callable[..., bytes]:
    """`map_payload`."""
    return map_payload


@pytest.fixture(scope="session")
def make_chunk() -> Callable[..., bytes]:
    """`chunk_bytes`."""
    return chunk_bytes


@pytest.fixture(scope="session")
def content() -> bytes:
    """What the server has at ``/a.nd2``."""
    return DATA


@pytest.fixture(scope="module")
def served() -> Iterator[HttpServer]:
    """A server for the tests of a module."""
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    with HttpServer() as server:
        yield server


@pytest.fixture
def site(served: HttpServer) -> HttpServer:
    """The server as new, with `DATA` at ``/a.nd2``."""
    served.start_afresh({"/a.nd2": DATA})
    return served


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between requests that are tried again, which take no time."""
    found: list[float] = []
    quick = Retries(sleep=found.append, jitter=lambda: 1.0)
    monkeypatch.setattr(remote_source, "RETRIES", quick)
    return found


@pytest.fixture(params=["fsspec", "direct"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the requests are made with."""
    name: str = request.param
    monkeypatch.setenv("LIMND2_XR_TRANSPORT", name)
    return name
