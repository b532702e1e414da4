"""Masks: any labels come back; overlaps, versions, damage, and what nd2 reads."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from limnd2_xr.errors import CorruptChunk, UnsupportedFeature
from limnd2_xr.frames import runs
from limnd2_xr.frames.masks import (
    assemble,
    cut_tiles,
    decode_rle,
    decode_tile,
    encode_rle,
    encode_tile,
    halve_labels,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Row = tuple[int, list[tuple[int, int]]]
"""y, and x and length of each run."""
Object = tuple[int, list[Row]]
"""Id and rows."""

FEW = hnp.arrays(
    np.uint32,
    st.tuples(st.integers(0, 12), st.integers(0, 12)),
    elements=st.sampled_from([0, 0, 0, 1, 2, 7, 2**32 - 1]),
)
ANY = hnp.arrays(
    st.sampled_from(["?", "u1", "u2", "<u4", ">u4", "u8", "i8"]),
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=20),
    elements={"min_value": 0, "max_value": 255},
)


def numbers(picture: bytes) -> list[int]:
    """Numbers of a payload's picture."""
    data = zlib.decompress(picture[4:])
    assert len(data) == struct.unpack_from("<I", picture)[0]
    return [int(number) for number in np.frombuffer(data, "<u4")]


def payload(words: Sequence[int]) -> bytes:
    """Payload of the picture that these numbers are."""
    data = struct.pack(f"<{len(words)}I", *words)
    return struct.pack("<I", len(data)) + zlib.compress(data)


def picture(
    objects: Sequence[Object], shape: tuple[int, int], *, version: int = 3
) -> bytes:
    """Picture written number by number, as FORMAT 10.2 says."""
    body: list[int] = []
    last = 0
    for number, rows in objects:
        last = 4 * (7 + len(body))
        size = {2: 11, 3: 9}[version]
        words: list[int] = []
        row_at = 0
        for y, pieces in rows:
            row_at = 4 * (size + len(words))
            words += [y, len(pieces)]
            for x, length in pieces:
                words += [x, length]
        nbytes = 4 * (size + len(words))
        body += [number, 0, 0, 0, 0, nbytes, len(rows), row_at, 0]
        body += [0] * (size - 9) + words
    height, width = shape
    head = [version, width, height, len(objects), 4 * len(body), last, 2]
    return payload(head + body)


def painted(objects: Sequence[Object], shape: tuple[int, int]) -> NDArray[np.uint32]:
    """What the objects look like, painted one run after the other."""
    image = np.zeros(shape, np.uint32)
    for number, rows in objects:
        for y, pieces in rows:
            for x, length in pieces:
                image[y, x : x + length] = number
    return image


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[Object], tuple[int, int]]:
    """Objects that lie over each other and over themselves, in any order."""
    height, width = draw(st.integers(1, 8)), draw(st.integers(1, 12))
    run = st.integers(0, width).flatmap(
        lambda x: st.tuples(st.just(x), st.integers(0, width - x))
    )
    row = st.tuples(st.integers(0, height - 1), st.lists(run, max_size=4))
    ids = st.sampled_from([0, 1, 2, 3, 2**31, 2**32 - 1])
    objects = draw(
        st.lists(st.tuples(ids, st.lists(row, max_size=min(height, 6))), max_size=8),
    )
    return objects, (height, width)


@given(ANY)
def test_labels_of_any_type_come_back(labels: NDArray[Any]) -> None:
    found = decode_rle(encode_rle(labels), labels.shape)
    assert found.dtype == np.uint32
    np.testing.assert_array_equal(found, labels)


@given(FEW)
def test_few_labels_come_back(labels: NDArray[np.uint32]) -> None:
    np.testing.assert_array_equal(decode_rle(encode_rle(labels)), labels)


@given(scenes(), st.sampled_from([2, 3]), st.sampled_from([1, 2, 128]))
def test_later_objects_are_seen(
    scene: tuple[list[Object], tuple[int, int]], version: int, many: int
) -> None:
    objects, shape = scene
    with mock.patch.object(runs, "_MANY", many):
        found = decode_rle(picture(objects, shape, version=version), shape)
    np.testing.assert_array_equal(found, painted(objects, shape))


@pytest.mark.parametrize("count", [1, 3, 60, 400])
def test_few_and_many_runs_that_overlap_or_not(count: int) -> None:
    rng = np.random.default_rng(count)
    shape = (64, 64)
    apart = [
        (int(i) + 1, [(int(i) // 8, [(8 * (int(i) % 8), int(rng.integers(0, 9)))])])
        for i in rng.permutation(512)[:count]
    ]
    assert (decode_rle(picture(apart, shape)) == painted(apart, shape)).all()
    over = [*apart, (9, [(0, [(0, 64)]), (1, [(3, 2), (4, 4)])]), (0, [(0, [(5, 1)])])]
    assert (decode_rle(picture(over, shape)) == painted(over, shape)).all()


def test_numbers_as_stored() -> None:
    labels = np.array([[0, 5, 0, 5], [0, 0, 0, 0], [2, 5, 5, 0]], np.uint8)
    assert numbers(encode_rle(labels)) == [
        *(3, 4, 3, 2, 52 + 76, 28 + 52, 0),
        *(2, 0, 2, 0, 2, 52, 1, 36, 0),
        *(2, 1, 0, 1),
        *(5, 1, 0, 3, 2, 76, 2, 60, 0),
        *(0, 2, 1, 1, 3, 1),
        *(2, 1, 1, 2),
    ]


def test_a_picture_without_objects() -> None:
    assert numbers(encode_rle(np.zeros((2, 3), int))) == [3, 3, 2, 0, 0, 0, 0]
    assert not decode_rle(payload([3, 4, 2, 0, 0, 0, 2]), (2, 4)).any()
    # What follows the objects is not known, and is nothing to be painted.
    assert not decode_rle(payload([3, 4, 2, 0, 0, 0, 8, 1, 1]), (2, 4)).any()
    assert decode_rle(payload([*SOUND, 77]), (3, 4)).sum() == 2
    for empty in (b"", b"\0", b"\0\0\0"):
        assert decode_rle(empty, (2, 4)).tolist() == [[0] * 4] * 2
    with pytest.raises(ValueError, match="give one"):
        decode_rle(b"")
    assert decode_rle(encode_rle(np.zeros((0, 3), int))).shape == (0, 3)
    assert decode_rle(encode_rle(np.zeros((3, 0), int))).shape == (3, 0)


@pytest.mark.parametrize(
    ("labels", "error", "match"),
    [
        (np.zeros((2, 2), float), TypeError, "float64"),
        (np.zeros(3, int), ValueError, r"\(3,\)"),
        (np.array([[0, -1]]), ValueError, "not -1"),
        (np.array([[0, 2**32]]), ValueError, "not 4294967296"),
    ],
)
def test_labels_that_do_not_fit(
    labels: NDArray[Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        encode_rle(labels)
    with pytest.raises(error, match=match):
        encode_tile(labels, (4, 4))


SOUND = [3, 4, 3, 1, 52, 28, 0, 2, 0, 2, 0, 2, 52, 1, 36, 0, 2, 1, 0, 1]


@pytest.mark.parametrize(
    ("place", "value", "match"),
    [
        (1, 3, "3 x 3 pixels, where the image has 3 x 4"),
        (3, 0, "0 of 0 objects take 0 of 52"),
        (3, 2, "2 objects are promised in 52"),
        (4, 56, "56 bytes of objects are promised and 52"),
        (4, 48, "52 of 48|take|is of"),
        (4, 51, "whole numbers"),
        (7 + 5, 32, "object number 0 is of an impossible size"),
        (7 + 5, 48, "object number 0 is of an impossible size"),
        (7 + 5, 44, "1 of 1 objects take 44 of 52"),
        (7 + 6, 0, "not filled"),
        (7 + 6, 2, "not filled|no room"),
        (7 + 6, 2**32 - 1, "no room"),
        (16, 3, "outside"),
        (17, 0, "not filled"),
        (17, 2**32 - 1, "not filled"),
        (18, 4, "outside"),
        (19, 5, "outside"),
        (19, 2**32 - 1, "outside"),
    ],
)
def test_damage_is_refused(place: int, value: int, match: str) -> None:
    assert decode_rle(payload(SOUND), (3, 4)).sum() == 2
    words = [*SOUND]
    words[place] = value
    with pytest.raises(CorruptChunk, match=match):
        decode_rle(payload(words), (3, 4))


def test_unknown_versions() -> None:
    with pytest.raises(UnsupportedFeature, match="version 1"):
        decode_rle(payload([1, *SOUND[1:]]), (3, 4))


def test_streams_that_are_damaged() -> None:
    sound = payload(SOUND)
    for bad, match in [
        (sound[:-3], "does not hold"),
        (sound[:10], "does not hold|cannot hold"),
        (sound[:4] + b"garbage", "zlib"),
        (struct.pack("<I", 79) + sound[4:], "does not hold the 79"),
        (struct.pack("<I", 81) + sound[4:], "does not hold the 81"),
        (struct.pack("<I", 2**32 - 1) + sound[4:], "4294967295 bytes, for 3 x 4"),
        (struct.pack("<I", 2**20) + sound[4:], "cannot hold 1048576"),
        (b"\0\0\0\0", "does not hold|zlib|only 0"),
        (payload([3, 4, 3]), "only 12 bytes"),
    ]:
        with pytest.raises(CorruptChunk, match=match):
            decode_rle(bad, (3, 4))
    with pytest.raises(CorruptChunk, match="for 3 x 4 pixels"):
        decode_rle(payload([0] * 2**19), (3, 4))
    with pytest.raises(CorruptChunk, match="more rows than the image, 2"):
        decode_rle(picture([(1, [(0, [])] * 3)], (2, 2)), (2, 2))
    with pytest.raises(CorruptChunk, match="pixels"):
        decode_rle(payload([3, 2**31, 2**31, 0, 0, 0, 0]))


def test_runs_in_an_image_without_pixels() -> None:
    for shape in ((0, 4), (3, 0), (0, 0)):
        words = [*SOUND]
        words[1], words[2] = shape[::-1]
        with pytest.raises(CorruptChunk, match=r"outside|more rows than the image, 0"):
            decode_rle(payload(words), shape)


def test_many_objects_of_any_height() -> None:
    rng = np.random.default_rng(7)
    objects: list[Object] = []
    for number in range(1, 301):
        x = int(rng.integers(0, 50))
        rows = int(min(rng.geometric(0.05), 5000 if number % 100 else 9000))
        shapes = rng.integers(0, 3, rows)
        objects.append(
            (number, [(int(y), [(x, 3), (x + 5, 4)][:n]) for y, n in enumerate(shapes)])
        )
    objects[77] = (78, [(y, [(2, 1), (4, 2)][: y % 3]) for y in range(9000)])
    shape = (9000, 60)
    for some in (objects, objects[70:80], objects[77:78]):
        expected = painted(some, shape)
        assert (decode_rle(picture(some, shape), shape) == expected).all()


@given(st.data(), st.sampled_from([1, 2, 128]))
def test_no_damage_crashes(data: st.DataObject, many: int) -> None:
    words = numbers(encode_rle(data.draw(FEW)))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(words) - 1))
        words[place] = data.draw(st.sampled_from([0, 1, 4, 36, 2**31, 2**32 - 1]))
    try:
        with mock.patch.object(runs, "_MANY", many):
            found = decode_rle(payload(words), (5, 6))
    except (CorruptChunk, UnsupportedFeature):
        return
    assert found.shape == (5, 6)


@given(FEW, st.integers(1, 5), st.integers(1, 5))
def test_tiles_come_back(labels: NDArray[np.uint32], height: int, width: int) -> None:
    stored = {
        place: encode_tile(tile, (height, width))
        for place, tile in cut_tiles(labels, (height, width)).items()
    }
    tiles = {
        place: decode_tile(data, (height, width)) for place, data in stored.items()
    }
    assert {tile.shape for tile in tiles.values()} <= {(height, width)}
    found = assemble(tiles, labels.shape, (height, width))
    np.testing.assert_array_equal(found, labels)


def test_tiles_that_are_damaged() -> None:
    with pytest.raises(CorruptChunk, match="cannot hold"):
        decode_tile(zlib.compress(bytes(24)), (4000, 4000))
    for nbytes in (23, 25):
        with pytest.raises(CorruptChunk, match="24 bytes"):
            decode_tile(zlib.compress(bytes(nbytes)), (2, 3))
    with pytest.raises(CorruptChunk, match="zlib"):
        decode_tile(b"no stream", (2, 3))
    with pytest.raises(ValueError, match="in a tile of"):
        encode_tile(np.zeros((3, 3), int), (2, 3))


def test_halves_take_the_first_of_four() -> None:
    assert halve_labels(np.arange(12).reshape(3, 4)).tolist() == [[0, 2]]
    assert halve_labels(np.zeros((1, 5))).shape == (0, 2)


def test_nd2_decodes_the_same() -> None:
    binary = pytest.importorskip("nd2._binary")
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, (37, 53)) * rng.integers(0, 20000, (37, 1))
    stored = encode_rle(labels)
    np.testing.assert_array_equal(binary.decode_binary_mask(stored[4:], "u4"), labels)
    np.testing.assert_array_equal(decode_rle(stored), labels)
