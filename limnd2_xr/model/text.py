"""Texts: what the user and NIS-Elements wrote about a file (FORMAT 9.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limnd2_xr.model.fields import text

if TYPE_CHECKING:
    from limnd2_xr.variants.tree import Level

__all__ = ["TEXT_ITEMS", "Software", "TextInfo"]

TEXT_ITEMS: Final = (
    "image_id",
    "type",
    "group",
    "sample_id",
    "author",
    "description",
    "capturing",
    "sampling",
    "location",
    "date",
    "conclusion",
    "info1",
    "info2",
    "optics",
    "app_version",
)
"""Fields of `TextInfo` by the number of their stored item."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextInfo:
    """Text items of a file, ``""`` where empty.

    They are for people: `description` sums up the acquisition and `date` is local time
    in whatever format the PC used. Nothing here is ever read as data.
    """

    image_id: str = ""
    """Item 0."""
    type: str = ""
    """Item 1."""
    group: str = ""
    """Item 2."""
    sample_id: str = ""
    """Item 3."""
    author: str = ""
    """Item 4."""
    description: str = ""
    """Item 5: dimensions, camera, planes, as lines."""
    capturing: str = ""
    """Item 6: camera settings, as lines."""
    sampling: str = ""
    """Item 7."""
    location: str = ""
    """Item 8."""
    date: str = ""
    """Item 9: local date and time, format unknown."""
    conclusion: str = ""
    """Item 10."""
    info1: str = ""
    """Item 11."""
    info2: str = ""
    """Item 12."""
    optics: str = ""
    """Item 13: name of the objective."""
    app_version: str = ""
    """Item 14, seldom there."""

    @classmethod
    def from_raw(cls, level: Level) -> TextInfo:
        """Convert a decoded ``SLxImageTextInfo``.

        Examples
        --------
        >>> from limnd2_xr.variants.tree import Level, LvType
        >>> level = Level()
        >>> level.add("TextInfoItem_4", LvType.STRING, "A. Author")
        >>> TextInfo.from_raw(level).author
        'A. Author'
        """
        return cls(
            **{
                name: text(level, f"TextInfoItem_{i}")
                for i, name in enumerate(TEXT_ITEMS)
            }
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Software:
    """Program that wrote the file."""

    name: str = ""
    """Name, e.g. ``NIS-Elements AR``."""
    version: str = ""
    """Version and build."""
    grabber: str = ""
    """Camera driver."""
    company: str = ""
    """Whom the program is licensed to."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()

    @classmethod
    def from_raw(cls, level: Level) -> Software:
        """Convert a decoded ``AppInfo_V1_0``."""
        return cls(
            name=text(level, "m_SWNameString"),
            version=text(level, "m_VersionString"),
            grabber=text(level, "m_GrabberString"),
            company=text(level, "m_CompanyString"),
        )
