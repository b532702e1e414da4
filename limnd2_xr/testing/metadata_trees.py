"""Metadata chunks of a synthetic file: attributes, picture metadata, text, columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from limnd2_xr.testing.experiment_tree import experiment
from limnd2_xr.testing.loop_specs import NETimeLoop
from limnd2_xr.testing.picture_tree import calibration, picture_metadata
from limnd2_xr.testing.specs import Column
from limnd2_xr.testing.trajectory import frame_times, stage
from limnd2_xr.testing.trees import listed, tree
from limnd2_xr.testing.xml_style import XmlStyle
from limnd2_xr.variants import lite
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.testing.specs import SyntheticSpec
    from limnd2_xr.testing.trees import Field

__all__ = [
    "attributes_chunk",
    "frame_times",
    "leading_chunks",
    "stage",
    "trailing_chunks",
]

_B, _I, _U, _Q = LvType.BOOL, LvType.INT32, LvType.UINT32, LvType.UINT64
_D, _S, _L, _A = LvType.DOUBLE, LvType.STRING, LvType.LEVEL, LvType.BYTES

_STRING_SLOT = 512  # bytes of a string in a recorded column (FORMAT 9.3)


def attributes_chunk(
    spec: SyntheticSpec, sequence_count: int | None = None
) -> tuple[str, bytes]:
    """Name and payload of the attributes chunk (FORMAT 5).

    `sequence_count` stands in for the real one, as in unfinished files.
    """
    if sequence_count is None:
        sequence_count = spec.sequence_count
    if sequence_count is None:
        sequence_count = spec.n_frames
    dtype = spec.stored_dtype
    bits_type = _U if spec.metadata == "xml" else _I
    fields: list[Field] = [
        ("uiWidth", _U, spec.width),
        ("uiWidthBytes", _U, spec.row_nbytes),
        ("uiHeight", _U, spec.height),
        ("uiComp", _U, spec.n_components),
        ("uiBpcInMemory", bits_type, 8 * dtype.itemsize),
        ("uiBpcSignificant", bits_type, spec.n_significant_bits),
        ("uiSequenceCount", _U, sequence_count),
        ("uiTileWidth", _U, spec.width),
        ("uiTileHeight", _U, spec.height),
        ("eCompression", _I, {"zlib": 0, "lossy": 1, None: 2}[spec.compression]),
        ("dCompressionParam", _D, float(spec.compression_level)),
    ]
    if spec.metadata != "xml":  # version 2 does not have it (FORMAT 5)
        fields.append(("ePixelType", _I, {"i": 0, "u": 1, "f": 2}[dtype.kind]))
    fields.append(("uiVirtualComponents", _U, spec.n_components))
    unknown = spec.attributes.keys() - {name for name, _, _ in fields}
    if unknown:
        raise ValueError(f"no attributes: {', '.join(sorted(unknown))}")
    fields = [(name, kind, spec.attributes.get(name, v)) for name, kind, v in fields]
    if spec.metadata == "xml":
        return "ImageAttributes!", _xml_document(spec, tree(*fields))
    return "ImageAttributesLV!", _lite_document("SLxImageAttributes", tree(*fields))


def leading_chunks(spec: SyntheticSpec) -> dict[str, bytes]:
    """Chunks that stand before the frames: experiment, calibration, picture metadata."""
    if spec.metadata == "none":
        return {}
    is_xml = spec.metadata == "xml"
    chunks: dict[str, bytes] = {}
    loops = experiment(spec, xml=is_xml)
    if loops is not None:
        if is_xml:
            chunks["ImageMetadata!"] = spec.xml.encode(loops)
        else:
            chunks["ImageMetadataLV!"] = lite.encode(loops)
    optics = tree(
        ("dCalibration", _D, calibration(spec)),
        ("dAspect", _D, 1.0),
        ("bValid", _B, spec.calibration_um is not None),
        ("sObjective", _S, spec.objective),
    )
    picture = picture_metadata(spec)
    if is_xml:
        chunks["ImageCalibration|0!"] = _xml_document(spec, optics)
        chunks["ImageMetadataSeq|0!"] = _xml_document(spec, picture)
    else:
        chunks["ImageCalibrationLV|0!"] = _lite_document("SLxCalibration", optics)
        chunks["ImageMetadataSeqLV|0!"] = _lite_document("SLxPictureMetadata", picture)
    return chunks


def trailing_chunks(spec: SyntheticSpec) -> dict[str, bytes]:
    """Chunks that stand behind the frames: text, clocks, recorded columns, software."""
    if spec.metadata == "none":
        return {}
    n = spec.n_frames
    chunks: dict[str, bytes] = {}
    text = tree(
        *((f"TextInfoItem_{i}", _S, t) for i, t in enumerate(_text_items(spec)))
    )
    if spec.metadata == "xml":
        chunks["ImageTextInfo!"] = _xml_document(spec, text)
    else:
        chunks["ImageTextInfoLV!"] = _lite_document("SLxImageTextInfo", text)
    chunks.update(_columns(spec))
    chunks["CustomDataVar|AppInfo_V1_0!"] = _xml_document(
        spec,
        tree(
            ("m_SWNameString", _S, "limnd2_xr.testing"),
            ("m_GrabberString", _S, spec.channels[0].camera),
            ("m_VersionString", _S, "0.0"),
            ("m_CopyrightString", _S, ""),
            ("m_CompanyString", _S, ""),
            ("m_NFRString", _S, ""),
        ),
    )
    chunks["CustomData|AcqTimesCache!"] = frame_times(spec).astype("<f8").tobytes()
    chunks["CustomData|AcqTimes2Cache!"] = bytes(8 * n)
    chunks["CustomData|AcqFramesCache!"] = bytes(4 * n)
    return chunks


def _lite_document(name: str, content: Level) -> bytes:
    return lite.encode(tree((name, _L, content)))


def _xml_document(spec: SyntheticSpec, content: Level, name: str = "") -> bytes:
    """XML of one struct; spelled otherwise only where all metadata are XML."""
    style = spec.xml if spec.metadata == "xml" else XmlStyle()
    return style.encode(tree((name, _L, content)))


def _text_items(spec: SyntheticSpec) -> list[str]:
    """Make the fourteen texts (FORMAT 9.1), dimensions line in agreement with loops."""
    letters = {"T": "T", "P": "XY", "Z": "Z", "U": "U"}
    parts = []
    for loop in spec.loops:
        if loop.axis:
            name = "T'" if isinstance(loop, NETimeLoop) else letters[loop.axis]
            parts.append(f"{name}({loop.length})")
    if any(c.components == 1 for c in spec.channels):
        parts.append(f"λ({len(spec.channels)})")
    lines = [
        "Metadata:",
        f"Dimensions: {' x '.join(parts)}" if parts else "",
        f"Camera Name: {spec.channels[0].camera}",
        f"Numerical Aperture: {spec.aperture:g}",
        f"Refractive Index: {spec.refractive_index:g}",
    ]
    if len(spec.channels) > 1:
        lines.append(f"Number of Picture Planes: {len(spec.channels)}")
    items = [""] * 14
    items[5] = "\r\n".join(line for line in lines if line)
    items[9] = "3/7/2025  6:00:00 PM"
    items[13] = spec.objective
    for i, text in spec.text.items():
        items += [""] * (i + 1 - len(items))
        items[i] = text
    return items


def _columns(spec: SyntheticSpec) -> dict[str, bytes]:
    columns = spec.columns
    if columns is None:
        columns = {
            axis: Column(values, description=f"{axis} Coord", unit="µm")
            for axis, values in stage(spec).items()
        }
    if not columns:
        return {}
    tags: list[Level] = []
    chunks: dict[str, bytes] = {}
    for key, given in columns.items():
        column = given if isinstance(given, Column) else Column(given)
        values = np.asarray(column.values)
        if values.dtype.kind == "f":
            code, data = 3, values.astype("<f8").tobytes()
        elif values.dtype.kind in "iu":
            code, data = 2, _as_int32(key, values).tobytes()
        else:
            code = 1
            texts = [f"{v}\0".encode("utf-16-le") for v in values.tolist()]
            data = b"".join(t.ljust(_STRING_SLOT, b"\0") for t in texts)
        chunks[f"CustomData|{key}!"] = data
        tags.append(
            tree(
                ("ID", _S, key),
                ("Type", _I, code),
                ("Group", _I, 1),
                ("Size", _I, len(values)),
                ("Desc", _S, column.description or key),
                ("Unit", _S, column.unit),
            )
        )
    description = listed(tags, [f"Tag{i}" for i in range(len(tags))])
    document = _xml_document(spec, description, "CustomTagDescription_v1.0")
    return {"CustomDataVar|CustomDataV2_0!": document, **chunks}


def _as_int32(key: str, values: NDArray[np.generic]) -> NDArray[np.int32]:
    out = values.astype("<i4")
    if not np.array_equal(out, values):
        raise ValueError(f"column {key!r} has values that do not fit into 32 bits")
    return out
