"""OME-XML as a tree of elements: read with care, whatever version wrote it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn
from xml.parsers import expat

from limnd2_xr.errors import Nd2Error

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Element", "parse_ome"]


@dataclass(slots=True)
class Element:
    """An element of a document, without namespaces."""

    name: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def get(self, name: str) -> str:
        """Return an attribute, "" without it."""
        return self.attributes.get(name, "").strip()

    def all(self, name: str) -> Iterator[Element]:
        """Children of a name."""
        return (child for child in self.children if child.name == name)

    def first(self, name: str) -> Element:
        """First child of a name; an empty one if there is none."""
        return next(self.all(name), Element(name, {}))


def parse_ome(text: str) -> Element:
    """Read OME-XML.

    Documents that declare entities are refused, so that nothing expands and nothing is
    fetched.

    Parameters
    ----------
    text
        With or without a declaration.

    Raises
    ------
    Nd2Error
        If it is not well-formed, or no OME-XML.

    Examples
    --------
    >>> ome = parse_ome('<OME xmlns="x"><Image ID="Image:0" Name="a"/></OME>')
    >>> ome.first("Image").get("Name")
    'a'
    """
    root = Element("", {})
    stack = [root]

    def start(name: str, attributes: dict[str, str]) -> None:
        plain = {key.rpartition("|")[2]: value for key, value in attributes.items()}
        element = Element(name.rpartition("|")[2], plain)
        stack[-1].children.append(element)
        stack.append(element)

    def end(_name: str) -> None:
        stack.pop()

    def words(data: str) -> None:
        stack[-1].text += data

    parser = expat.ParserCreate("utf-8", "|")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = words
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except expat.ExpatError as error:
        raise Nd2Error(f"the OME metadata are not well-formed XML: {error}") from None
    found = root.first("OME")
    if not found.children:
        raise Nd2Error("the OME metadata have no element OME")
    return found


def _refuse(*_declaration: object) -> NoReturn:
    raise Nd2Error("the OME metadata declare a document type or an entity")
