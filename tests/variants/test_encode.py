from __future__ import annotations

import pytest
from hypothesis import given

from limnd2_xr.testing.strategies import levels, xml_levels
from limnd2_xr.variants import lite, xml
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.encode import encode
from limnd2_xr.variants.tree import Level, LvType


@given(levels())
def test_stored_types_of_lite_variants(level: Level) -> None:
    assert encode(level) == lite.encode(level)


@given(xml_levels())
def test_runtypes_of_xml(level: Level) -> None:
    if len(level):
        assert encode(level) == xml.encode(level)
        assert decode(encode(level)) == level


def test_both_kinds_are_one_too_many() -> None:
    level = Level()
    level.add("a", LvType.BOOL, True)
    level.add("b", "bool", True)
    with pytest.raises(TypeError, match="no runtype text"):
        encode(level)
