"""Chunks that are one struct of plain values, as trees to be written.

Attributes, calibration, texts, the program and the start of the acquisition. Names,
order and stored types are those of NIS-Elements 5 (FORMAT 5, 3, 9.1, 8.7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from limnd2_xr.model.attributes import COMPRESSION_CODES, PIXEL_TYPE_CODES
from limnd2_xr.model.text import TEXT_ITEMS
from limnd2_xr.model.tree_building import (
    boolean,
    f64,
    i32,
    string,
    struct,
    u32,
    xml_f64,
    xml_string,
)

if TYPE_CHECKING:
    from limnd2_xr.model.attributes import Attributes
    from limnd2_xr.model.optics import Optics
    from limnd2_xr.model.text import Software, TextInfo
    from limnd2_xr.variants.tree import Level

__all__ = [
    "attributes_tree",
    "calibration_tree",
    "software_tree",
    "start_tree",
    "text_tree",
]

UNKNOWN: Final = -1.0
"""What the format writes for a quantity that is not known (FORMAT 8.1)."""

_OPTIONAL_TEXT: Final = "app_version"


def attributes_tree(attributes: Attributes) -> Level:
    """Content of ``SLxImageAttributes`` (FORMAT 5).

    Raises
    ------
    ValueError
        If a size does not fit into its field.

    Examples
    --------
    >>> from limnd2_xr.model.attributes import Attributes
    >>> attributes = Attributes(
    ...     width=4,
    ...     height=3,
    ...     components=1,
    ...     bits_in_memory=16,
    ...     bits_significant=12,
    ...     row_nbytes=8,
    ...     sequence_count=1,
    ... )
    >>> Attributes.from_raw(attributes_tree(attributes)).bits_significant
    12
    """
    virtual = attributes.virtual_components
    return struct(
        u32("uiWidth", attributes.width),
        u32("uiWidthBytes", attributes.row_nbytes),
        u32("uiHeight", attributes.height),
        u32("uiComp", attributes.components),
        i32("uiBpcInMemory", attributes.bits_in_memory),
        i32("uiBpcSignificant", attributes.bits_significant),
        u32("uiSequenceCount", attributes.sequence_count),
        u32("uiTileWidth", attributes.tile_width or attributes.width),
        u32("uiTileHeight", attributes.tile_height or attributes.height),
        i32("eCompression", COMPRESSION_CODES[attributes.compression]),
        f64("dCompressionParam", attributes.compression_param or 0.0),
        i32("ePixelType", PIXEL_TYPE_CODES[attributes.pixel_type]),
        u32("uiVirtualComponents", virtual or attributes.components),
    )


def calibration_tree(optics: Optics) -> Level:
    """Content of ``SLxCalibration``: Bio-Formats knows the pixel size only from here."""
    size = optics.pixel_size_um
    return struct(
        f64("dCalibration", UNKNOWN if size is None else size),
        f64("dAspect", optics.aspect or 1.0),
        boolean("bValid", size is not None),
        string("sObjective", optics.objective),
    )


def text_tree(text: TextInfo) -> Level:
    """Content of ``SLxImageTextInfo``: fourteen texts, the last only if there is one."""
    return struct(
        *(
            string(f"TextInfoItem_{i}", value)
            for i, name in enumerate(TEXT_ITEMS)
            if (value := getattr(text, name)) or name != _OPTIONAL_TEXT
        )
    )


def software_tree(software: Software) -> Level:
    """Content of ``AppInfo_V1_0``, in terms of the XML encoding."""
    return struct(
        xml_string("m_SWNameString", software.name),
        xml_string("m_GrabberString", software.grabber),
        xml_string("m_VersionString", software.version),
        xml_string("m_CopyrightString", ""),
        xml_string("m_CompanyString", software.company),
        xml_string("m_NFRString", ""),
    )


def start_tree(julian_day: float) -> Level:
    """Root of ``AcqTimeV1_0``: one number, in terms of the XML encoding."""
    return struct(xml_f64("no_name", julian_day))
