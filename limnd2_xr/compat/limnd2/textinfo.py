"""``limnd2.textinfo``: what people wrote about a file, and the program that wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from limnd2_xr.compat.limnd2.stored_struct import StoredStruct, record
from limnd2_xr.variants.tree import LvType

__all__ = ["AppInfo", "ImageTextInfo"]

_TEXT = LvType.STRING
_FIELDS: Final = (
    "imageId",
    "type",
    "group",
    "sampleId",
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
)
"""Names of the items, in their stored order."""


@dataclass(frozen=True, kw_only=True)
class ImageTextInfo(StoredStruct):
    """Texts about an image; ``""`` where there is none."""

    wrapper: ClassVar[str] = "SLxImageTextInfo"

    TextInfoItem_0: str = record(_TEXT, "")
    TextInfoItem_1: str = record(_TEXT, "")
    TextInfoItem_2: str = record(_TEXT, "")
    TextInfoItem_3: str = record(_TEXT, "")
    TextInfoItem_4: str = record(_TEXT, "")
    TextInfoItem_5: str = record(_TEXT, "")
    TextInfoItem_6: str = record(_TEXT, "")
    TextInfoItem_7: str = record(_TEXT, "")
    TextInfoItem_8: str = record(_TEXT, "")
    TextInfoItem_9: str = record(_TEXT, "")
    TextInfoItem_10: str = record(_TEXT, "")
    TextInfoItem_11: str = record(_TEXT, "")
    TextInfoItem_12: str = record(_TEXT, "")
    TextInfoItem_13: str = record(_TEXT, "")

    @property
    def sImageID(self) -> str:
        """Name of the image."""
        return self.TextInfoItem_0

    @property
    def sType(self) -> str:
        """Type."""
        return self.TextInfoItem_1

    @property
    def sGroup(self) -> str:
        """Group."""
        return self.TextInfoItem_2

    @property
    def sSampleID(self) -> str:
        """Name of the sample."""
        return self.TextInfoItem_3

    @property
    def sAuthor(self) -> str:
        """Who took it."""
        return self.TextInfoItem_4

    @property
    def sDescription(self) -> str:
        """Summary of dimensions, planes and devices."""
        return self.TextInfoItem_5

    @property
    def sCapturing(self) -> str:
        """Settings of the camera."""
        return self.TextInfoItem_6

    @property
    def sSampling(self) -> str:
        """Sampling."""
        return self.TextInfoItem_7

    @property
    def sLocation(self) -> str:
        """Where it was taken."""
        return self.TextInfoItem_8

    @property
    def sDate(self) -> str:
        """When it was taken, as a text."""
        return self.TextInfoItem_9

    @property
    def sConclusion(self) -> str:
        """Conclusion."""
        return self.TextInfoItem_10

    @property
    def sInfo1(self) -> str:
        """More."""
        return self.TextInfoItem_11

    @property
    def sInfo2(self) -> str:
        """More yet."""
        return self.TextInfoItem_12

    @property
    def sOptics(self) -> str:
        """Name of the objective."""
        return self.TextInfoItem_13

    def to_dict(self) -> dict[str, str]:
        """Return all texts by what they are, empty ones too."""
        return {
            name: getattr(self, f"TextInfoItem_{number}")
            for number, name in enumerate(_FIELDS)
        }


@dataclass(frozen=True, kw_only=True)
class AppInfo(StoredStruct):
    """The program that wrote a file."""

    m_SWNameString: str = record(_TEXT, "")
    m_GrabberString: str = record(_TEXT, "")
    m_VersionString: str = record(_TEXT, "")
    m_CopyrightString: str = record(_TEXT, "")
    m_CompanyString: str = record(_TEXT, "")
    m_NFRString: str = record(_TEXT, "")

    @property
    def software(self) -> str:
        """Name and version; ``""`` if they are not known."""
        return f"{self.m_SWNameString} {self.m_VersionString}".strip()
