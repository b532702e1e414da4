"""Decoded trees have the keys that nd2 gives them."""

from __future__ import annotations

from typing import Any

import pytest
from nd2._parse._clx_lite import json_from_clx_lite_variant
from nd2._parse._clx_xml import json_from_clx_variant

from limnd2_xr.compat.nd2.plain import plain_chunk
from limnd2_xr.model.tree_building import (
    blob,
    boolean,
    f64,
    listed,
    nested,
    string,
    struct,
    u32,
)
from limnd2_xr.variants import lite

LITE = {
    "numbers": struct(nested("SLxA", struct(u32("uiN", 7), f64("dX", 0.5)))),
    "lists": struct(
        nested("SLxA", struct(nested("pL", listed([struct(u32("uiN", 1))] * 2))))
    ),
    "lower case": struct(nested("SLxA", struct(u32("cx", 1), u32("cy", 2)))),
    "lower and upper": struct(nested("SLxA", struct(u32("cx", 1), u32("uiN", 2)))),
    "two lower, one upper": struct(
        nested("SLxA", struct(u32("a", 1), u32("b", 2), u32("uiN", 3)))
    ),
    "bytes": struct(
        nested("SLxA", struct(blob("baB", bytes([1, 0, 1])), string("wsT", "é")))
    ),
    "tree in bytes": struct(
        nested("SLxA", struct(blob("baB", lite.encode(struct(u32("uiN", 9))))))
    ),
    "empty": struct(nested("SLxA", struct())),
    "flags": struct(nested("SLxA", struct(boolean("bA", value=True)))),
}
XML = {
    "struct": b'<variant version="1.0"><no_name runtype="CLxListVariant"><uiN'
    b' runtype="lx_uint32" value="7"/><wsT runtype="CLxStringW" value="a"/></no_name></variant>',
    "value": b'<variant version="1.0"><no_name runtype="double" value="2.5"/></variant>',
    "items": b"<variant><A><BinaryItem><uiN runtype='lx_uint32' value='1'/></BinaryItem>"
    b"<BinaryItem><uiN runtype='lx_uint32' value='2'/></BinaryItem><no_name/></A></variant>",
    "bytes": b"<variant><baB runtype='CLxByteArray' value='AQID'/>"
    b"<u runtype='unknown' value=''/><bT runtype='bool' value='true'/></variant>",
}


@pytest.mark.parametrize("strip", [True, False], ids=["stripped", "whole"])
@pytest.mark.parametrize("name", LITE)
def test_lite_variants(name: str, strip: bool) -> None:
    payload = lite.encode(LITE[name])
    expected: Any = json_from_clx_lite_variant(payload, strip_prefix=strip)
    assert plain_chunk(payload, strip_prefix=strip) == expected


@pytest.mark.parametrize("strip", [True, False], ids=["stripped", "whole"])
@pytest.mark.parametrize("name", XML)
def test_xml(name: str, strip: bool) -> None:
    expected = json_from_clx_variant(XML[name], strip_prefix=strip)
    assert plain_chunk(XML[name], strip_prefix=strip) == expected


def test_nothing_and_other_documents() -> None:
    assert plain_chunk(b"", strip_prefix=True) == {}
    report = b'<ReportObjects unit="cm"><Page size="2"/></ReportObjects>'
    found = plain_chunk(report, strip_prefix=True)
    assert found == {"ReportObjects": {"unit": "cm", "Page": {"size": "2"}}}
