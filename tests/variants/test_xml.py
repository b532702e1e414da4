from __future__ import annotations

import math
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.testing.strategies import damaged, xml_levels
from limnd2_xr.testing.trees import tree
from limnd2_xr.variants import xml
from limnd2_xr.variants.tree import Level

HEAD = '<?xml version="1.0" encoding="UTF-8"?>'


def document(content: str) -> bytes:
    return f'{HEAD}<variant version="1.0">{content}</variant>'.encode()


def scalar(kind: str, text: str) -> Any:
    return xml.decode(document(f'<x runtype="{kind}" value="{text}"/>'))["x"]


# ------------------------------------------------------------------ both ways


@given(xml_levels())
def test_encode_decode(level: Level) -> None:
    data = xml.encode(level)
    assert xml.decode(data) == level
    assert xml.encode(xml.decode(data)) == data


@given(st.floats(allow_nan=False))
def test_doubles_are_exact(value: float) -> None:
    back = xml.decode(xml.encode(tree(("d", "double", value))))["d"]
    assert isinstance(back, float)
    assert (back, math.copysign(1, back)) == (value, math.copysign(1, value))


@given(st.floats(1e-8, 1e12).map(lambda v: f"{v:.15g}"))
def test_text_of_fifteen_digits_is_kept(text: str) -> None:
    data = document(f'<d runtype="double" value="{text}"/>')
    assert xml.encode(xml.decode(data)) == data


@pytest.mark.realdata
def test_real_chunks_are_written_back_byte_for_byte(
    real_chunks: dict[tuple[str, str], bytes],
) -> None:
    seen = 0
    for place, data in real_chunks.items():
        if b"<variant" in data[:80]:
            assert xml.encode(xml.decode(data)) == data, place
            seen += 1
    assert seen == 26


@pytest.mark.realdata
def test_other_xml_is_refused(real_chunks: dict[tuple[str, str], bytes]) -> None:
    seen = set()
    for data in real_chunks.values():
        if xml.looks_like_xml(data) and b"<variant" not in data[:80]:
            with pytest.raises(CorruptChunk, match="not <variant>") as caught:
                xml.decode(data)
            seen.add(caught.value.reason)
    assert len(seen) == 2  # annotations, and the UTF-16 authentication record


# ------------------------------------------------------------------ values


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("bool", "true", True),
        ("bool", "false", False),
        ("bool", "1", True),
        ("bool", "0", False),
        ("bool", "True", True),
        ("bool", " FALSE ", False),
        ("lx_int32", "-5", -5),
        ("lx_uint32", "4294967295", 4294967295),
        ("lx_int64", "-9223372036854775808", -(2**63)),
        ("lx_uint64", "18446744073709551615", 2**64 - 1),
        ("lx_int32", " +7 ", 7),
        ("double", "20", 20.0),
        ("double", "0.12892347574234", 0.12892347574234),
        ("double", "1e-05", 1e-05),
        ("double", "1E+020", 1e20),
        ("double", "1.#INF", math.inf),
        ("double", "-1.#INF", -math.inf),
        ("double", "inf", math.inf),
        ("float", "0.1", 0.1),
        ("CLxStringW", "", ""),
        ("CLxStringW", "a &lt; b &#x0022;c&#x22; &amp; &#955;", 'a < b "c" & λ'),
        ("CLxStringW", "two\r\nlines\tand tab", "two\r\nlines\tand tab"),
        ("CLxStringW", "two&#xD;&#xA;lines", "two\r\nlines"),
        ("CLxByteArray", "", b""),
        ("CLxByteArray", "AQEB", b"\1\1\1"),
        ("CLxByteArray", "AQ==", b"\1"),
        ("CLxByteArray", "AQ\nEB", b"\1\1\1"),
        ("unknown", "", None),
        ("unknown", "kept", "kept"),
        ("SomethingNew", "kept", "kept"),
    ],
)
def test_values_are_typed(kind: str, text: str, value: object) -> None:
    found = scalar(kind, text)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("text", ["", "nan", "1.#QNAN", "-1.#IND", "0,5", "1_0", "abc"])
def test_doubles_that_are_none(text: str) -> None:
    assert math.isnan(scalar("double", text))


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("lx_int32", "", "x: '' is no integer"),
        ("lx_uint32", "1.0", "no integer"),
        ("lx_uint32", "1_0", "no integer"),
        ("lx_int32", "٣", "no integer"),
        ("lx_uint64", "9" * 21, "no integer"),
        ("bool", "", "no boolean"),
        ("bool", "yes", "no boolean"),
        ("CLxByteArray", "AQE", "no base64"),
        ("CLxByteArray", "A*==", "no base64"),
    ],
)
def test_values_that_do_not_parse(kind: str, text: str, message: str) -> None:
    with pytest.raises(CorruptChunk, match=message):
        scalar(kind, text)


def test_structure() -> None:
    level = xml.decode(
        document(
            '<no_name runtype="RLxExperiment"><eType runtype="lx_uint32" value="1"/>'
            '<uLoopPars runtype="CLxListVariant"><no_name runtype='
            '"RLxExperiment.RLxExpTimeLoop"/></uLoopPars><empty/>'
            '<list runtype="CLxListVariant"><no_name runtype="bool" value="true"/>'
            '<no_name runtype="bool" value="false"/></list></no_name>'
        )
    )
    assert level.names == ["no_name"]
    assert level.kinds == ["RLxExperiment"]
    root = level.level("no_name", create=True)
    assert root.names == ["eType", "uLoopPars", "empty", "list"]
    parameters = root.level("uLoopPars", create=True)
    assert parameters.kinds == ["RLxExperiment.RLxExpTimeLoop"]
    assert parameters["no_name"] == Level()
    assert root["empty"] == Level()
    assert root.kinds[2] == ""
    assert root.level("list", create=True).to_plain() == [True, False]


def test_missing_value_is_empty() -> None:
    level = xml.decode(document('<s runtype="CLxStringW"/><b runtype="CLxByteArray"/>'))
    assert level.values == ["", b""]


def test_a_scalar_with_children_is_a_level() -> None:
    # How version 2 writes pItemValid is known by its children only (FORMAT 7.1).
    level = xml.decode(
        document(
            '<pItemValid runtype="CLxByteArray"><_00 runtype="bool" value="true"/>'
            "</pItemValid>"
        )
    )
    assert level["pItemValid"] == tree(("_00", "bool", True))


# ------------------------------------------------------------------ other spellings

PLAIN = '<variant version="1.0"><s runtype="CLxStringW" value="µm λ"/></variant>'


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.encode(),
        (HEAD + PLAIN).encode(),
        b"\xef\xbb\xbf" + (HEAD + PLAIN).encode(),
        b"\n " + PLAIN.encode() + b"\n",
        (HEAD + PLAIN).encode() + b"\0\0",
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("utf-16-be"),
        (HEAD.replace("UTF-8", "UTF-16") + PLAIN).encode("utf-16"),
        (HEAD.replace("UTF-8", "UTF-16") + PLAIN).encode("utf-16-le"),
        (HEAD.replace("UTF-8", "UTF-16") + PLAIN).encode(),
        ("<?xml version='1.0' standalone='yes' ?>\n<!-- c -->" + PLAIN).encode(),
        PLAIN.replace("><", ">\r\n\t<").replace('"', "'").encode(),
        PLAIN.replace("/>", "> </s >").encode(),
        PLAIN.replace("<s ", '<s other="1" ').encode(),
    ],
)
def test_other_spellings(data: bytes) -> None:
    assert xml.looks_like_xml(data)
    assert xml.decode(data) == tree(("s", "CLxStringW", "µm λ"))


def test_bytes_that_are_no_utf8_are_read_as_cp1252() -> None:
    text = PLAIN.replace("µm λ", "µm °C")
    assert xml.decode(text.encode("cp1252"))["s"] == "µm °C"
    mixed = text.encode("cp1252").replace(b"m ", "λ ".encode())
    assert xml.decode(mixed)["s"] == "µλ °C"
    assert (
        xml.decode(text.encode("cp1252").replace(b"m ", b"\x81 "))["s"] == "µ\ufffd °C"
    )


@pytest.mark.parametrize("head", ["", HEAD, HEAD.replace("UTF-8", "windows-1252")])
@pytest.mark.parametrize("text", ["µm λ", "a", "Jörg &lt;x&gt;\r\n&amp;", "字 A"])
def test_values_of_utf16_in_other_documents(head: str, text: str) -> None:
    expected = xml.decode(PLAIN.replace("µm λ", text).encode())["s"]
    for end in (b"", b"\0\0"):
        value = text.encode("utf-16-le") + end
        data = (head + PLAIN).encode().replace("µm λ".encode(), value)
        assert xml.decode(data) == tree(("s", "CLxStringW", expected))


@pytest.mark.parametrize("value", [b"a\0b", b"\0\xd8", b"\1\0", b"a\0\0\0b\0"])
def test_values_with_zero_bytes_that_are_no_utf16(value: bytes) -> None:
    found = xml.decode(PLAIN.encode().replace("µm λ".encode(), value))["s"]
    assert isinstance(found, str)
    assert "\ufffd" in found


def test_declared_one_byte_encodings() -> None:
    head = HEAD.replace("UTF-8", "windows-1252")
    assert xml.decode((head + PLAIN.replace("λ", "é")).encode("cp1252"))["s"] == "µm é"


def test_control_characters_are_replaced() -> None:
    assert xml.decode(PLAIN.replace("m", "\1").encode())["s"] == "µ\ufffd λ"


# ------------------------------------------------------------------ refused

LAUGHS = (
    '<!DOCTYPE variant [<!ENTITY a "ha">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">'
        for a, b in zip("abcdefghi", "bcdefghij", strict=True)
    )
    + "]>"
)


@pytest.mark.parametrize(
    "data",
    [
        LAUGHS + '<variant><s runtype="CLxStringW" value="&j;"/></variant>',
        '<!DOCTYPE variant SYSTEM "http://example.org/x.dtd"><variant/>',
        "<!DOCTYPE variant><variant/>",
        '<!DOCTYPE v [<!ENTITY % p SYSTEM "file:///etc/passwd">%p;]><variant/>',
        '<!DOCTYPE v [<!ENTITY x SYSTEM "file:///etc/passwd">]><variant>&x;</variant>',
    ],
)
def test_declarations_are_refused(data: str) -> None:
    for raw in (data.encode(), data.encode("utf-16")):
        with pytest.raises(CorruptChunk, match="document type or entity"):
            xml.decode(raw)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not well-formed"),
        (b"\0\0", "not well-formed"),
        (b"<", "not well-formed"),
        (b"<variant>", "not well-formed"),
        (b"<variant></variant><variant/>", "not well-formed"),
        (b"<variant><a></variant></a>", "not well-formed"),
        (b'<variant><uiCon20(L runtype="bool"/></variant>', "not well-formed"),
        (b'<variant><a v="&undefined;"/></variant>', "not well-formed"),
        (b"<variant>" + b"&#xD800;" + b"</variant>", "not well-formed"),
        (b"<ReportObjects/>", "root element is <ReportObjects>, not <variant>"),
    ],
)
def test_what_is_no_variant(data: bytes, message: str) -> None:
    with pytest.raises(CorruptChunk, match=message):
        xml.decode(data)


def test_nesting_is_limited() -> None:
    def nested(depth: int) -> bytes:
        return document("<a>" * depth + "</a>" * depth)

    level = xml.decode(nested(128))
    depth = 0
    while level.values:
        level, depth = level.values[0], depth + 1  # type: ignore[assignment]
    assert depth == 128
    for deep in (129, 100_000):
        with pytest.raises(CorruptChunk, match="nest deeper than 128"):
            xml.decode(nested(deep))
    with pytest.raises(CorruptChunk, match="nest deeper than 128"):
        xml.decode(b"<variant>" + b"<a>" * 1_000_000)


def test_every_truncation_is_noticed() -> None:
    data = document('<a runtype="CLxListVariant"><b runtype="bool" value="1"/></a>')
    for n in range(len(data)):
        with pytest.raises(CorruptChunk):
            xml.decode(data[:n])


@given(st.data())
def test_damage_is_noticed_or_decodes(data: st.DataObject) -> None:
    good = xml.encode(data.draw(xml_levels()))
    try:
        level = xml.decode(data.draw(damaged(good)))
    except CorruptChunk:
        return
    assert isinstance(level, Level)


@given(st.binary(max_size=100))
def test_arbitrary_bytes(data: bytes) -> None:
    with pytest.raises(CorruptChunk):
        xml.decode(data)


@given(st.binary(max_size=60))
def test_arbitrary_values(data: bytes) -> None:
    whole = b'<variant><s runtype="CLxStringW" value="' + data + b'"/></variant>'
    try:
        level = xml.decode(whole)
    except CorruptChunk:
        return
    assert level.names[0] == "s"


def test_memory_is_paid_for_by_bytes() -> None:
    data = document('<a runtype="CLxListVariant"/>' * 20_000)
    tracemalloc.start()
    assert len(xml.decode(data)) == 20_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 * len(data)


@pytest.mark.parametrize(
    "text",
    [
        "<variant a=" + '="' * 200_000,
        '<variant a="' + "\n" * 200_000,
        "<variant a='" + '="\n' * 100_000,
        "<variant " + "= " * 200_000,
        " " * 200_000,
        "<?xml " * 100_000,
        "<variant " + "a='\n' " * 50_000,
        "<variant" + " a" * 200_000,
    ],
)
def test_time_is_linear(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(CorruptChunk):
        xml.decode(text.encode())
    assert time.perf_counter() - start < 10


# ------------------------------------------------------------------ encode


def test_spelling() -> None:
    level = tree(
        (
            "no_name",
            "CLxListVariant",
            tree(
                ("b", "bool", True),
                ("i", "lx_int32", -1),
                ("d", "double", 2.0),
                ("s", "CLxStringW", "<a>&\"'\n"),
                ("a", "CLxByteArray", b"\1"),
                ("u", "unknown", None),
                ("e", "CLxListVariant", Level()),
                ("n", "", "text"),
            ),
        )
    )
    assert xml.encode(level).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?><variant version="1.0">'
        '<no_name runtype="CLxListVariant"><b runtype="bool" value="true"/>'
        '<i runtype="lx_int32" value="-1"/><d runtype="double" value="2"/>'
        '<s runtype="CLxStringW" value="&#x003C;a>&#x0026;&#x0022;\'&#x000A;"/>'
        '<a runtype="CLxByteArray" value="AQ=="/><u runtype="unknown" value=""/>'
        '<e runtype="CLxListVariant"></e><n value="text"/></no_name></variant>'
    )


@pytest.mark.parametrize(
    ("name", "kind", "value", "error", "message"),
    [
        ("", "bool", True, ValueError, "no XML name"),
        ("uiCon20(L", "lx_uint32", 1, ValueError, "no XML name"),
        ("1a", "bool", True, ValueError, "no XML name"),
        ("a:b", "bool", True, ValueError, "no XML name"),
        ("a", 3, 1, TypeError, "no runtype"),
        ("a", "bool", 1, TypeError, "cannot hold"),
        ("a", "lx_int32", True, TypeError, "cannot hold"),
        ("a", "lx_int32", 1.0, TypeError, "cannot hold"),
        ("a", "lx_uint64", 10**20, ValueError, "more than 20 digits"),
        ("a", "double", 1, TypeError, "cannot hold"),
        ("a", "CLxStringW", b"", TypeError, "cannot hold"),
        ("a", "CLxStringW", None, TypeError, "cannot hold"),
        ("a", "CLxStringW", "\1", ValueError, "XML does not allow"),
        ("a", "CLxStringW", "\ud800", ValueError, "XML does not allow"),
        ("a", "CLxByteArray", "AQ==", TypeError, "cannot hold"),
        ("a", "unknown", 1, TypeError, "cannot hold"),
        ("a", "CLxListVariant", 1, TypeError, "cannot hold"),
    ],
)
def test_encode_refuses(
    name: str, kind: Any, value: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        xml.encode(tree((name, kind, value)))


def test_encode_limits_nesting() -> None:
    level = Level()
    for _ in range(128):
        level = tree(("a", "CLxListVariant", level))
    assert xml.decode(xml.encode(level)) == level
    with pytest.raises(ValueError, match="nests deeper"):
        xml.encode(tree(("a", "CLxListVariant", level)))
