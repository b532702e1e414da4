"""How a synthetic file of version 2 spells its XML (FORMAT 4.1, 7.3, appendix A)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from limnd2_xr.testing.trees import to_xml
from limnd2_xr.variants import xml

if TYPE_CHECKING:
    from limnd2_xr.variants.tree import Level

__all__ = ["XmlStyle"]

_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>'


@dataclass(frozen=True, slots=True, kw_only=True)
class XmlStyle:
    r"""Spelling of the XML chunks of a file of version 2.

    No public file of version 2 is known, and sources tell of more than one spelling;
    `docs/explanation/format-notes.md` says which foreign reader takes which.

    Parameters
    ----------
    encoding
        Of the bytes. ``"utf-16"`` begins with a byte order mark, ``"utf-16-le"`` does
        not. Characters that cp1252 lacks become character references.
    declared
        Encoding that the declaration names, whatever the bytes are; None leaves the
        declaration out.
    indented
        Put white space between elements, as exported experiment files have it.
    sample_settings
        Store ``sSampleSetting`` as later files do. Without, what a channel was taken
        with is told by the plane's ``sCameraSetting`` alone.
    direct_parameters
        Store the parameters of a loop in ``uLoopPars`` itself, not in a ``no_name``
        inside it. Only then nd2 finds sub-loops.
    point_structs
        Store positions as a list of structs, as version 3 does, not as parallel lists.
        The vendor's SDK refuses them.
    modality_masks
        Store ``uiModalityMask`` in place of ``eModality``.
    integer_wavelengths
        Store ``uiWavelength``, an integer, in place of ``dWavelength`` (FORMAT 8.3).

    Examples
    --------
    >>> from limnd2_xr.testing.trees import tree
    >>> from limnd2_xr.variants.tree import LvType
    >>> style = XmlStyle(encoding="cp1252", declared=None)
    >>> style.encode(tree(("s", LvType.STRING, "µ λ")))
    b'<variant version="1.0"><s runtype="CLxStringW" value="\xb5 &#955;"/></variant>'
    """

    encoding: Literal["utf-8", "utf-16", "utf-16-le", "cp1252"] = "utf-8"
    declared: str | None = "UTF-8"
    indented: bool = False
    sample_settings: bool = True
    direct_parameters: bool = False
    point_structs: bool = False
    modality_masks: bool = False
    integer_wavelengths: bool = False

    def encode(self, level: Level) -> bytes:
        """Document of a tree in terms of the lite variant or of XML."""
        text = xml.encode(to_xml(level)).decode().removeprefix(_DECLARATION)
        if self.indented:
            text = text.replace("><", ">\r\n  <")
        if self.declared is not None:
            text = _DECLARATION.replace("UTF-8", self.declared) + text
        return text.encode(self.encoding, "xmlcharrefreplace")
