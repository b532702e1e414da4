from __future__ import annotations

import pytest
from hypothesis import given

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.testing.strategies import levels, xml_levels
from limnd2_xr.testing.trees import tree
from limnd2_xr.variants import lite, xml
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.tree import Level, LvType


@given(xml_levels())
def test_xml(level: Level) -> None:
    assert decode(xml.encode(level)) == level
    assert decode(xml.encode(level).decode().encode("utf-16")) == level


@given(levels())
def test_lite(level: Level) -> None:
    document = tree(("Root", LvType.LEVEL, level))
    assert decode(lite.encode(document)) == document
    assert decode(lite.encode(document, compressed=True)) == document


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"{}", b"PK\3\4", b"\x0b\0", b"\xff\xfe", bytes(100)]
)
def test_neither(data: bytes) -> None:
    with pytest.raises(CorruptChunk, match="neither a lite variant nor XML"):
        decode(data)
