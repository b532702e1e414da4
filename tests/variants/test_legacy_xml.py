"""XML of format 1.0: roots of any name, values in attributes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.variants.legacy_xml import decode_legacy, find_numbers, plain


def test_values_are_typed_by_runtype() -> None:
    data = (
        b'<?xml version="1.0" encoding="UTF-8"?><Calibration a="1" version="1.0">'
        b'<dX runtype="double" value="0.5"/><n runtype="lx_uint32" value="3"/>'
        b'<b runtype="bool" value="true"/><s value="text"/><l runtype="CLxListVariant"/>'
        b"</Calibration>"
    )
    found = plain(decode_legacy(data))
    expected = {"a": "1", "dX": 0.5, "n": 3, "b": True, "s": "text", "l": {}}
    assert found == {"Calibration": expected}


def test_repeated_elements_are_all_kept() -> None:
    tree = decode_legacy(b'<T><I Text="a"/><I Text="b"/><I Text="c"/></T>')
    assert plain(tree) == {"T": {"I": [{"Text": "a"}, {"Text": "b"}, {"Text": "c"}]}}


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])))
def test_texts_in_either_encoding(text: str) -> None:
    quoted = text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    document = f'<A Text="{quoted}"/>'
    readable = text.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")
    for data in (document.encode(), document.encode("utf-16")):
        assert plain(decode_legacy(data)) == {"A": {"Text": readable}}


def test_numbers_without_a_tree() -> None:
    data = (
        b'<M><dX runtype="double" value="1.5"/><dY runtype="double" value="junk"/>'
        b'<a><dX value="7"/><dY value="2"/></a><dZ/></M>'
    )
    assert find_numbers(data, ["dX", "dY", "dZ", "dW"]) == {"dX": 1.5, "dY": 2.0}
    assert find_numbers(b'<M><d value="nan"/></M>', ["d"]) == {}
    assert not math.isnan(find_numbers(b'<M><d value="-1e3"/></M>', ["d"])["d"])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not well-formed"),
        (b"<A><B></A>", "not well-formed"),
        (b"<!DOCTYPE A [<!ENTITY e 'x'>]><A>&e;</A>", "document type or entity"),
        (b"<A>" * 2000 + b"</A>" * 2000, "nest deeper"),
        (b'<A><n runtype="lx_uint32" value="x"/></A>', "no integer"),
    ],
)
def test_what_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(CorruptChunk, match=reason):
        decode_legacy(data)


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_nothing_else(data: bytes) -> None:
    for read in (decode_legacy, lambda d: find_numbers(d, ["a"])):
        try:
            read(b"<A>" + data + b"</A>")
        except CorruptChunk as error:
            assert error.reason  # noqa: PT017
