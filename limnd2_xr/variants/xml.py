"""CLX variant XML: the text encoding of metadata, everywhere in version 2 files.

FORMAT 4.1. An element is a named value, its ``runtype`` attribute the stored type;
scalars carry their text in ``value``, everything else has child elements. `decode` and
`encode` are inverse to each other on what NIS-Elements writes, byte for byte. Other
spellings of the same tree (white space between elements, other attributes, comments,
UTF-16, other number formats) decode as well and are written in NIS-Elements' spelling.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import math
import re
from typing import TYPE_CHECKING, Any, NoReturn, Protocol
from xml.parsers import expat

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.variants.lite_layout import MAX_DEPTH
from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limnd2_xr.variants.tree import Kind, Value

__all__ = [
    "Target",
    "decode",
    "encode",
    "looks_like_xml",
    "parse_text",
    "to_text",
    "typed_value",
]

_INTEGERS = frozenset({"lx_int32", "lx_uint32", "lx_int64", "lx_uint64"})
_DOUBLES = frozenset({"double", "float"})
_STRING = "CLxStringW"
_BYTES = "CLxByteArray"
_NOTHING = "unknown"
_SCALARS = _INTEGERS | _DOUBLES | {"bool", _STRING, _BYTES, _NOTHING}

_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
_DECLARED = re.compile(r"\s*<\?xml\b[^>]*?\?>", re.ASCII)
_ENCODING = re.compile(rb"""^\s*<\?xml\b[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)""")
_SINGLE_BYTE = frozenset({"windows-1252", "cp1252", "iso-8859-1", "latin1", "us-ascii"})
_NAME = re.compile(r"[^\W\d][\w.\-]*\Z")
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}\Z")
# A quoted attribute value; possessive, so that no text takes quadratic time.
_QUOTED = re.compile(r"""=\s*+(?:"[^"<]*+"|'[^'<]*+')""")
# One that holds a zero byte, which no text of one-byte characters has.
_WIDE_VALUE = re.compile(rb'''="([^"<\0]*+\0[^"<]*+)"''')
_LINES = re.compile("[\t\n\r]")
# Characters that XML 1.0 does not allow, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPED = {ord(c): f"&#x{ord(c):04X};" for c in '&<"\t\n\r'}


def decode(data: bytes | bytearray | memoryview) -> Level:
    """Tree of one variant XML document: children of the root element ``<variant>``.

    Values are typed by ``runtype``: `bool`, `int` (the four ``lx_`` integers, whose
    range is not checked), `float` (``double`` and ``float``; NaN where the text is no
    number), `str`, `bytes` (base64), None (``unknown`` without a value). An element
    with children is a `Level`, whatever its type; a type that is not known is a `Level`
    without a ``value`` and a `str` with one.

    The text may be UTF-8 or UTF-16 with or without a byte order mark, or a one-byte
    encoding that the declaration names. Bytes that are no valid UTF-8 are read as
    cp1252, one by one (old files hold such strings, FORMAT 4.1), and single values that
    are UTF-16 in another document as such; characters that XML forbids are read as
    U+FFFD.

    Parameters
    ----------
    data
        The chunk's payload.

    Returns
    -------
    Level
        Kinds are the ``runtype`` texts, empty where an element has none. List items
        keep their element name ``no_name``.

    Raises
    ------
    CorruptChunk
        If the document is not well-formed, its root is no ``variant``, it declares a
        document type or entities, nests deeper than `lite.MAX_DEPTH`, or an integer,
        boolean or base64 text does not parse.

    Examples
    --------
    >>> tree = decode(
    ...     b'<variant version="1.0"><no_name runtype="CLxListVariant">'
    ...     b'<uiWidth runtype="lx_uint32" value="512"/></no_name></variant>'
    ... )
    >>> tree.level("no_name", create=True)["uiWidth"]
    512
    """
    target = _Target()
    parse_text(to_text(bytes(data)), target)
    return target.root


class Target(Protocol):
    """What is told of the elements of a document as they begin and end."""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take note of an element that begins."""

    def end(self, tag: str) -> None:
        """Take note of its end."""


def parse_text(text: str, target: Target) -> None:
    """Drive `target` over a document that declares nothing.

    Entities can only be declared in a document type, and external ones only be reached
    through it; the first sign of one ends the parsing, so that nothing expands and
    nothing is fetched.
    """
    parser = expat.ParserCreate(encoding="utf-8")
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    parser.StartElementHandler = target.start
    parser.EndElementHandler = target.end
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise CorruptChunk(f"not well-formed XML: {error}") from None


def _refuse(*_declaration: object) -> NoReturn:
    raise CorruptChunk("a document type or entity declaration, which is never needed")


def looks_like_xml(data: bytes | bytearray | memoryview) -> bool:
    """Whether bytes begin as an XML document does, in UTF-8 or UTF-16.

    Examples
    --------
    >>> looks_like_xml(b"<variant/>"), looks_like_xml("<a/>".encode("utf-16"))
    (True, True)
    >>> looks_like_xml(b"LV0Z")
    False
    """
    head = bytes(data[:64])
    for mark in (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        head = head.removeprefix(mark)
    return head.replace(b"\0", b"").lstrip()[:1] == b"<"


def to_text(data: bytes) -> str:
    """Return a document as text without its declaration, whatever its encoding."""
    if data.startswith(codecs.BOM_UTF8):
        text = _utf8(data[3:])
    elif data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", "replace")
    elif data[:2] == b"<\0":
        text = data.decode("utf-16-le", "replace")
    elif data[:2] == b"\0<":
        text = data.decode("utf-16-be", "replace")
    else:
        data = _WIDE_VALUE.sub(_narrowed, data) if b"\0" in data[:-1] else data
        declared = _ENCODING.match(data[:256])
        name = declared[1].decode().lower() if declared else "utf-8"
        text = data.decode(name, "replace") if name in _SINGLE_BYTE else _utf8(data)
    # The declaration may name another encoding than the one found; a terminating NUL
    # is no part of the document.
    text = text.rstrip("\0")
    declaration = _DECLARED.match(text)
    if declaration:
        text = text[declaration.end() :]
    text = _FORBIDDEN.sub("\ufffd", text)
    # Parsers turn line breaks inside values into spaces, unless they are escaped.
    return _QUOTED.sub(_keep_lines, text) if _LINES.search(text) else text


def _narrowed(value: re.Match[bytes]) -> bytes:
    """Return a value of UTF-16 in terms of ASCII; as it is if it is none."""
    try:
        text = value[1].decode("utf-16-le").rstrip("\0")
    except UnicodeDecodeError:
        return value[0]
    if not _LINES.sub("", text).isprintable():
        return value[0]
    return b'="%b"' % text.encode("ascii", "xmlcharrefreplace")


def _utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", "limnd2_xr.cp1252")


def _as_cp1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    return bad.decode("cp1252", "replace"), error.end


codecs.register_error("limnd2_xr.cp1252", _as_cp1252)


def _keep_lines(value: re.Match[str]) -> str:
    return _LINES.sub(lambda char: _ESCAPED[ord(char[0])], value[0])


class _Target:
    """What the parser drives: builds the tree as elements begin and end."""

    def __init__(self) -> None:
        self.root = Level()
        self._began = False
        # Open elements: parent, name, kind, text of ``value``, children (if any yet).
        self._open: list[tuple[str, str, str | None, Level | None]] = []
        self._children: Level | None = self.root

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._began:
            if tag != "variant":
                raise CorruptChunk(f"root element is <{tag[:40]}>, not <variant>")
            self._began = True
            return
        if len(self._open) >= MAX_DEPTH:
            raise CorruptChunk(f"elements nest deeper than {MAX_DEPTH}")
        if self._children is None:
            self._children = Level()
        self._open.append(
            (
                tag,
                attributes.get("runtype", ""),
                attributes.get("value"),
                self._children,
            )
        )
        self._children = None

    def end(self, tag: str) -> None:
        del tag
        if not self._open:
            return
        name, kind, text, parent = self._open.pop()
        value: Value = self._children
        if value is None:
            value = typed_value(name, kind, text)
        assert parent is not None  # noqa: S101  # start() made it
        parent.add(name, kind, value)
        self._children = parent


def typed_value(name: str, kind: str, text: str | None) -> Value:
    """Return the value of an element without children by its ``runtype``."""
    if kind not in _SCALARS:
        return Level() if text is None else text
    text = text or ""
    if kind == _STRING:
        return text
    if kind in _INTEGERS:
        stripped = text.strip()
        if not _INTEGER.match(stripped):
            raise CorruptChunk(f"{name}: {text[:40]!r} is no integer")
        return int(stripped)
    if kind in _DOUBLES:
        return _double(text)
    if kind == "bool":
        known = _BOOLEANS.get(text.strip().lower())
        if known is None:
            raise CorruptChunk(f"{name}: {text[:40]!r} is no boolean")
        return known
    if kind == _BYTES:
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise CorruptChunk(f"{name}: no base64 text: {error}") from None
    return text or None


_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
# The Microsoft runtime's texts.
_SPECIAL_DOUBLES = {"1.#inf": math.inf, "+1.#inf": math.inf, "-1.#inf": -math.inf}


def _double(text: str) -> float:
    stripped = text.strip().lower()
    if "_" in stripped:
        return math.nan
    try:
        return float(stripped)
    except ValueError:
        return _SPECIAL_DOUBLES.get(stripped, math.nan)


def encode(level: Level) -> bytes:
    """Bytes of a variant XML document whose root holds the children of `level`.

    Written as NIS-Elements does: UTF-8, ``runtype`` before ``value``, nothing between
    elements, hexadecimal character references. A double is written with 15 significant
    digits if these give its exact value back, else with as many as are needed.

    Parameters
    ----------
    level
        Tree with ``runtype`` kinds, with the value types that `decode` gives.

    Raises
    ------
    TypeError
        If a kind is no text or a value does not have its kind's type.
    ValueError
        If a name is no XML name, a text contains a character that XML does not allow,
        an integer has more than 20 digits, or levels nest deeper than `lite.MAX_DEPTH`.

    Examples
    --------
    >>> tree = Level()
    >>> tree.add("dZStep", "double", 0.5)
    >>> encode(tree).removeprefix(b'<?xml version="1.0" encoding="UTF-8"?>')
    b'<variant version="1.0"><dZStep runtype="double" value="0.5"/></variant>'
    """
    out = [_DECLARATION, '<variant version="1.0">']
    stack: list[tuple[str, Iterator[tuple[str, Kind, Value]]]] = []
    here = "variant"
    rest = _children(level)
    while True:
        for name, kind, value in rest:
            if not isinstance(kind, str):
                raise TypeError(f"{name!r} has kind {kind!r}: no runtype text")
            if not _NAME.match(name):
                raise ValueError(f"{name!r} is no XML name")
            runtype = f' runtype="{_escape(name, kind)}"' if kind else ""
            if isinstance(value, Level):
                if len(stack) >= MAX_DEPTH:
                    raise ValueError(f"{name!r} nests deeper than {MAX_DEPTH}")
                out.append(f"<{name}{runtype}>")
                stack.append((here, rest))
                here, rest = name, _children(value)
                break
            text = _escape(name, _text(name, kind, value))
            out.append(f'<{name}{runtype} value="{text}"/>')
        else:
            out.append(f"</{here}>")
            if not stack:
                return "".join(out).encode("utf-8")
            here, rest = stack.pop()


def _children(level: Level) -> Iterator[tuple[str, Kind, Value]]:
    return zip(level.names, level.kinds, level.values, strict=True)


def _escape(name: str, text: str) -> str:
    bad = _FORBIDDEN.search(text)
    if bad:
        raise ValueError(f"{name!r} contains {bad[0]!r}, which XML does not allow")
    return text.translate(_ESCAPED)


def _text(name: str, kind: str, value: Any) -> str:
    if kind == _STRING and isinstance(value, str):
        return value
    if kind in _INTEGERS and isinstance(value, int) and not isinstance(value, bool):
        text = str(value)
        if not _INTEGER.match(text):
            raise ValueError(f"{name!r}: {text[:40]} has more than 20 digits")
        return text
    if kind in _DOUBLES and isinstance(value, float):
        text = f"{value:.15g}"
        return text if float(text) == value or math.isnan(value) else repr(float(value))
    if kind == "bool" and isinstance(value, bool):
        return "true" if value else "false"
    if kind == _BYTES and isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if kind == _NOTHING and value is None:
        return ""
    if (kind not in _SCALARS or kind == _NOTHING) and isinstance(value, str):
        return value
    raise TypeError(f"{name!r} of runtype {kind!r} cannot hold {value!r}")
