from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from limnd2_xr.errors import CorruptChunk, Nd2Warning
from limnd2_xr.model.attributes import Attributes
from limnd2_xr.variants.tree import Level

NIS: dict[str, Any] = {
    "uiWidth": 101,
    "uiWidthBytes": 608,
    "uiHeight": 77,
    "uiComp": 3,
    "uiBpcInMemory": 16,
    "uiBpcSignificant": 12,
    "uiSequenceCount": 5,
    "uiTileWidth": 101,
    "uiTileHeight": 77,
    "eCompression": 2,
    "dCompressionParam": -1.0,
    "ePixelType": 1,
    "uiVirtualComponents": 3,
}


def stored(**changes: Any) -> Level:
    made = Level()
    for name, value in {**NIS, **changes}.items():
        if value is not ...:
            made.add(name, 0, value)
    return made


def test_all_fields() -> None:
    found = Attributes.from_raw(stored())
    assert found == Attributes(
        width=101,
        height=77,
        components=3,
        bits_in_memory=16,
        bits_significant=12,
        row_nbytes=608,
        sequence_count=5,
        compression="none",
        compression_param=-1.0,
        pixel_type="unsigned",
        virtual_components=3,
    )
    assert found.dtype == np.dtype("<u2")
    assert found.pixel_nbytes == 6
    assert found.frame_nbytes == 608 * 77


@pytest.mark.parametrize(
    ("bits", "kind", "dtype"),
    [
        (8, 1, "|u1"),
        (16, 1, "<u2"),
        (8, 0, "|i1"),
        (16, 0, "<i2"),
        (16, 2, "<f2"),
        (32, 2, "<f4"),
        (32, 1, "<f4"),
        (32, 0, "<f4"),
        (32, ..., "<f4"),
        (16, ..., "<u2"),
        (8, ..., "|u1"),
    ],
)
def test_dtype(bits: int, kind: object, dtype: str) -> None:
    level = stored(
        uiBpcInMemory=bits, uiBpcSignificant=bits, ePixelType=kind, uiWidthBytes=0
    )
    assert Attributes.from_raw(level).dtype == np.dtype(dtype)


@pytest.mark.parametrize("given", [0, ...])
@pytest.mark.parametrize(
    ("width", "components", "bits", "nbytes"),
    [(574, 3, 8, 1724), (235, 1, 16, 472), (1019, 5, 16, 10192), (247, 1, 16, 496)],
)
def test_row_is_padded_to_four_bytes_where_not_given(
    given: object, width: int, components: int, bits: int, nbytes: int
) -> None:
    level = stored(
        uiWidth=width,
        uiComp=components,
        uiBpcInMemory=bits,
        uiBpcSignificant=bits,
        uiWidthBytes=given,
    )
    assert Attributes.from_raw(level).row_nbytes == nbytes


def test_old_files_lack_the_later_fields() -> None:
    late = ("uiTileWidth", "uiTileHeight", "eCompression", "dCompressionParam")
    later = ("ePixelType", "uiVirtualComponents", "uiBpcSignificant")
    found = Attributes.from_raw(stored(**dict.fromkeys((*late, *later), ...)))
    assert found.compression == "none"
    assert found.compression_param is None
    assert found.virtual_components is None
    assert found.bits_significant == 16
    assert found.pixel_type == "unsigned"


@pytest.mark.parametrize(("code", "kind"), [(0, "lossless"), (1, "lossy"), (2, "none")])
def test_compression(code: int, kind: str) -> None:
    assert Attributes.from_raw(stored(eCompression=code)).compression == kind


def test_tiles_count_only_where_they_differ() -> None:
    found = Attributes.from_raw(stored(uiTileWidth=64, uiTileHeight=0))
    assert (found.tile_width, found.tile_height) == (64, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("uiWidth", 0),
        ("uiWidth", ...),
        ("uiWidth", "512"),
        ("uiWidth", -3),
        ("uiWidth", 2**40),
        ("uiHeight", 0),
        ("uiHeight", 1.5),
        ("uiComp", 0),
        ("uiComp", 2**32),
        ("uiBpcInMemory", 12),
        ("uiBpcInMemory", 64),
        ("uiBpcInMemory", ...),
        ("uiWidthBytes", 605),
        ("uiWidthBytes", -4),
        ("uiWidthBytes", 2**33),
        ("uiSequenceCount", -1),
        ("uiSequenceCount", 2**32),
        ("uiSequenceCount", "many"),
        ("eCompression", 3),
        ("ePixelType", 7),
        ("dCompressionParam", "x"),
    ],
)
def test_impossible_values_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(CorruptChunk, match=field):
        Attributes.from_raw(stored(**{field: value}))


def test_eight_bit_floats_are_refused() -> None:
    with pytest.raises(CorruptChunk, match="ePixelType is 2, with samples of 8 bits"):
        Attributes.from_raw(stored(uiBpcInMemory=8, uiBpcSignificant=8, ePixelType=2))


@pytest.mark.parametrize("significant", [0, 17, -1])
def test_impossible_significant_bits_mean_all_with_a_warning(significant: int) -> None:
    with pytest.warns(Nd2Warning, match="uiBpcSignificant"):
        found = Attributes.from_raw(stored(uiBpcSignificant=significant))
    assert found.bits_significant == 16
