"""The map parsers against a plain one, on any map and any bytes."""

from __future__ import annotations

import struct
import time
import tracemalloc
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.container import chunk_map
from limnd2_xr.container.chunk_format import is_chunk_name
from limnd2_xr.container.chunk_index import ChunkIndex, Entry
from limnd2_xr.errors import CorruptChunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAP_SIGNATURE = b"ND2 CHUNK MAP SIGNATURE 0000001!"
TERMINATOR = MAP_SIGNATURE + struct.pack("<Q", 12345)

MakeMap: TypeAlias = "Callable[..., bytes]"


@pytest.fixture(autouse=True, scope="module", params=[0, 1 << 13])
def few_nbytes(request: pytest.FixtureRequest) -> Iterator[None]:
    """All of it with numpy, and short maps record by record."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunk_map, "_FEW_NBYTES", request.param)
        yield


def plain_parse(payload: bytes) -> dict[str, Entry]:
    """What FORMAT 2.2 says, one record after the other."""
    entries: dict[str, Entry] = {}
    at = 0
    while True:
        end = payload.index(b"!", at) + 1
        name = payload[at:end]
        if name == MAP_SIGNATURE:
            struct.unpack_from("<Q", payload, end)
            return entries
        if not is_chunk_name(name):
            raise ValueError(name)
        offset, nbytes = struct.unpack_from("<QQ", payload, end)
        entries[name.decode("latin-1")] = Entry(
            offset, None if nbytes == offset else nbytes
        )
        at = end + 16


def as_dict(index: ChunkIndex) -> dict[str, Entry]:
    found = dict(index.items())
    assert len(found) == len(index)
    return found


# Numbers with many bytes 0x21, which is "!".
banged = st.lists(
    st.sampled_from([0x21, 0x00, 0x21, 0x41, 0xFF]), min_size=8, max_size=8
)
numbers64 = st.one_of(
    st.integers(0, 2**64 - 2),
    st.integers(0, 2**33),
    banged.map(lambda values: int.from_bytes(values, "little")),
)
legal = [value for value in range(32, 256) if value not in {0x7F, 0x21}]
names = st.one_of(
    st.integers(0, 10**9).map(lambda n: f"ImageDataSeq|{n}!"),
    st.integers(0, 30).map(lambda n: f"ImageDataSeq|{n}!"),
    st.from_regex(r"\AImageDataSeq\|[0-9a|]{0,20}!\Z"),
    st.from_regex(r"\A(A|Custom\|B|ImageDataSeq\|1)\|[0-9]{1,20}!\Z"),
    st.sampled_from(
        ["|1!", "||1!", "ImageDataSeq|!", "ImageDataSep|1!", "1mageDataSeq|1!"]
    ),
    st.lists(st.sampled_from(legal), min_size=1, max_size=40).map(
        lambda values: bytes(values).decode("latin-1") + "!"
    ),
)
records = st.lists(st.tuples(names, numbers64, numbers64), max_size=40)
same = st.lists(
    st.tuples(names, numbers64).map(lambda pair: (*pair, pair[1])), max_size=10
)


@given(entries=st.one_of(records, same), filler=st.integers(0, 50))
def test_from_map_equals_a_plain_parser(
    make_map: MakeMap, entries: list[tuple[str, int, int]], filler: int
) -> None:
    payload = make_map(entries, 2**40, filler)
    assert as_dict(ChunkIndex.from_map(payload, base=0)) == plain_parse(payload)


@given(entries=records, data=st.data())
def test_blocks_and_pieces_make_no_difference(
    make_map: MakeMap, entries: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    payload = make_map(entries, 2**40)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(payload)), max_size=6)))
    block_nbytes = data.draw(st.integers(64, 400))
    bounds = zip([0, *cuts], [*cuts, len(payload)], strict=True)
    pieces = [payload[a:b] for a, b in bounds]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunk_map, "_BLOCK_NBYTES", block_nbytes)
        whole = ChunkIndex.from_map(payload, base=0)
        parts = ChunkIndex.from_map_pieces(pieces, base=0)
    assert as_dict(whole) == as_dict(parts) == plain_parse(payload)


@given(
    payload=st.one_of(
        st.binary(max_size=300),
        st.lists(
            st.sampled_from(
                [b"!", b"A", b"ImageDataSeq|", b"1", b"\0", bytes(16), MAP_SIGNATURE]
            ),
            max_size=60,
        ).map(b"".join),
    ),
    end=st.booleans(),
)
def test_any_bytes_parse_or_are_corrupt(payload: bytes, *, end: bool) -> None:
    payload += TERMINATOR * end
    try:
        expected = plain_parse(payload)
    except (ValueError, struct.error):
        with pytest.raises(CorruptChunk, match="chunk map:"):
            ChunkIndex.from_map(payload, base=0)
    else:
        assert as_dict(ChunkIndex.from_map(payload, base=0)) == expected


@given(entries=records.filter(bool), data=st.data())
def test_a_cut_map_is_corrupt(
    make_map: MakeMap, entries: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    payload = make_map(entries, 2**40, 0)
    whole = len(payload) - 40
    cut = data.draw(st.integers(0, whole))
    try:
        expected = plain_parse(payload[:cut])
    except (ValueError, struct.error):
        with pytest.raises(CorruptChunk):
            ChunkIndex.from_map(payload[:cut], base=0)
    else:  # not before its terminator is whole, unless the bytes hold another one
        assert as_dict(ChunkIndex.from_map(payload[:cut], base=0)) == expected


def test_errors_say_where(make_map: MakeMap) -> None:
    good = make_map([("A!", 1, 2), ("B!", 3, 4)], 0)
    bad = good.replace(b"B!", b"\n!")
    with pytest.raises(CorruptChunk, match="is not a chunk name") as caught:
        ChunkIndex.from_map(bad, base=1000)
    assert caught.value.offset == 1018
    assert caught.value.chunk == "ND2 FILEMAP SIGNATURE NAME 0001!"
    with pytest.raises(CorruptChunk, match="without its terminator"):
        ChunkIndex.from_map(good[:40], base=1000)
    with pytest.raises(CorruptChunk, match="does not end") as caught:
        ChunkIndex.from_map(good[:36] + b"A" * (3 << 20), base=1000)
    assert caught.value.offset == 1036


def test_nothing_after_the_first_terminator(make_map: MakeMap) -> None:
    """Filler and footer may be cut off: the list of chunks is whole."""
    payload = make_map([("ImageDataSeq|1!", 1, 2), ("B!", 3, 4)], 0, 0)[:-40]
    expected = {"ImageDataSeq|1!": Entry(1, 2), "B!": Entry(3, 4)}
    assert as_dict(ChunkIndex.from_map(payload, base=0)) == expected
    for cut in (len(payload) - 9, 40, 10):
        with pytest.raises(CorruptChunk, match="without its terminator"):
            ChunkIndex.from_map(payload[:cut], base=0)


def test_last_duplicate_wins(make_map: MakeMap) -> None:
    names = ["ImageDataSeq|4!", "A!", "B|1!", "ImageDataSeq|5!"]
    first = [(name, 10, 1) for name in names]
    second = [(name, 20, 2) for name in names[:3]]
    index = ChunkIndex.from_map(make_map([*first, *second], 0), base=0)
    assert as_dict(index) == {
        **dict.fromkeys(names[:3], Entry(20, 2)),
        names[3]: Entry(10, 1),
    }


def million_entries(count: int = 1_000_000) -> tuple[bytes, np.ndarray]:
    rng = np.random.default_rng(3)
    offsets = 4096 * np.cumsum(rng.integers(2, 12, count)).astype(np.uint64)
    rows = [
        f"ImageDataSeq|{i}!".encode() + struct.pack("<QQ", offset, 32776)
        for i, offset in enumerate(offsets.tolist())
    ]
    rows += [
        f"CustomData|Column{i}!".encode() + struct.pack("<QQ", 2**40 + i, 800)
        for i in range(30)
    ]
    rows.sort(reverse=True)
    return b"".join(rows) + TERMINATOR + bytes(4000) + TERMINATOR, offsets


@pytest.mark.slow
def test_a_million_frames() -> None:
    """Time and memory of what a long acquisition has."""
    count = 1_000_000
    payload, offsets = million_entries(count)
    took = []
    for _ in range(3):
        start = time.perf_counter()
        index = ChunkIndex.from_map(payload, base=0)
        took.append(time.perf_counter() - start)
    assert min(took) < 1.0  # 0.07 s on the machine this was written on
    family = index.family("ImageDataSeq")
    assert family is not None
    assert len(index) == count + 30
    np.testing.assert_array_equal(family.numbers, np.arange(count))
    np.testing.assert_array_equal(family.offsets, offsets)
    assert (family.nbytes == 32776).all()
    assert len(index.names()) == 30
    del index, family

    tracemalloc.start()
    index = ChunkIndex.from_map(payload, base=0)
    resident, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(index) == count + 30
    assert resident < 25 * count
    assert peak < 64 * count


@pytest.mark.parametrize(
    "payload",
    [
        b"!" * (1 << 19),
        b"A!" * (1 << 18),
        b"ABCDEFGHIJKLMNO!" * (1 << 15),
        b"A" * (1 << 19),
        bytes(1 << 19),
        (b"A!" + b"!" * 16) * (1 << 15),
    ],
    ids=["bangs", "pairs", "close bangs", "no bang", "zeros", "banged numbers"],
)
def test_hostile_maps_cost_little(payload: bytes) -> None:
    start = time.perf_counter()
    with pytest.raises(CorruptChunk):
        ChunkIndex.from_map(payload, base=0)
    assert time.perf_counter() - start < 5
    tracemalloc.start()
    with pytest.raises(CorruptChunk):
        ChunkIndex.from_map(payload, base=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * len(payload)
