"""Texts as XML 1.0 can hold them."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["xml_text"]

_ILLEGAL: Final = re.compile(
    "[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"  # XML 1.0, Char
)
_LINE_END: Final = re.compile("\r\n?")


def xml_text(text: str) -> str:
    r"""Return a text that survives XML: a character it cannot hold becomes U+FFFD.

    These are control characters and halves of surrogate pairs. Lines end with a line
    feed, as every XML parser makes them end.

    Parameters
    ----------
    text
        Any text.

    Examples
    --------
    >>> print(ascii(xml_text("bell\x07 and\r\nline")))
    'bell\ufffd and\nline'
    """
    return _ILLEGAL.sub("\ufffd", _LINE_END.sub("\n", text))
