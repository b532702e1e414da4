from __future__ import annotations

import pytest

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.raw import (
    ACQUISITION_START,
    ATTRIBUTES,
    METADATA_CHUNKS,
    PICTURE,
    RECORDED_COLUMNS,
    RawMetadata,
    chunks_to_read,
    encode_raw,
)
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.tree import Level, LvType


def wrapped(name: str, value: object) -> Level:
    level = Level()
    level.add(name, LvType.LEVEL, value)  # type: ignore[arg-type]
    return level


def struct() -> Level:
    level = Level()
    level.add("uiWidth", LvType.UINT32, 512)
    level.add("uiHeight", LvType.UINT32, 256)
    return level


def raw(name: str, level: Level) -> RawMetadata:
    return RawMetadata(version=(3, 0), levels={name: level})


def test_every_chunk_is_named_once_lite_names_first() -> None:
    assert len(set(METADATA_CHUNKS)) == len(METADATA_CHUNKS)
    at = METADATA_CHUNKS.index
    assert at("ImageAttributesLV!") < at("ImageAttributes!")
    assert "CustomData|AcqTimesCache!" in METADATA_CHUNKS
    assert all(name.endswith("!") for name in METADATA_CHUNKS)


def test_only_the_preferred_of_present_alternatives_is_read() -> None:
    present = ["ImageAttributes!", "ImageMetadata!", "ImageMetadataLV!", "Other!"]
    trees, data = chunks_to_read(present)
    assert trees == ["ImageAttributes!", "ImageMetadataLV!"]
    assert data == []


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("ImageAttributesLV!", wrapped("SLxImageAttributes", struct())),
        ("ImageAttributes!", wrapped("no_name", struct())),
        ("ImageAttributes!", wrapped("no_name", wrapped("no_name", struct()))),
        ("ImageAttributes!", struct()),
    ],
)
def test_struct_whatever_the_encoding(name: str, level: Level) -> None:
    assert raw(name, level).struct(ATTRIBUTES) == struct()


def test_struct_of_a_real_document() -> None:
    source = (
        b'<?xml version="1.0" encoding="UTF-8"?><variant version="1.0">'
        b'<CustomTagDescription_v1.0 runtype="CLxListVariant">'
        b'<Tag0 runtype="CLxListVariant"><ID runtype="CLxStringW" value="X"/></Tag0>'
        b"</CustomTagDescription_v1.0></variant>"
    )
    found = raw(RECORDED_COLUMNS[0], decode(source)).struct(RECORDED_COLUMNS)
    assert found is not None
    assert found.names == ["Tag0"]


def test_value_of_a_document_with_a_single_number() -> None:
    source = (
        b'<?xml version="1.0" encoding="UTF-8"?><variant version="1.0">'
        b'<no_name runtype="double" value="2456827.08"/></variant>'
    )
    metadata = raw(ACQUISITION_START[0], decode(source))
    assert metadata.value(ACQUISITION_START) == 2456827.08
    with pytest.raises(CorruptChunk, match="not a struct"):
        metadata.struct(ACQUISITION_START)


def test_absent_chunks_are_none() -> None:
    empty = RawMetadata(version=(3, 0), levels={})
    assert empty.struct(PICTURE) is None
    assert empty.value(ACQUISITION_START) is None
    assert empty.name(PICTURE) is None
    assert raw(ACQUISITION_START[0], struct()).value(ACQUISITION_START) is None


def test_payloads_come_in_the_order_to_write_them_in() -> None:
    names = ["ImageTextInfoLV!", "ImageAttributesLV!", "ImageAttributes!"]
    levels = {name: wrapped("SLxThing", struct()) for name in names[:2]}
    xml = Level()
    xml.add("no_name", "double", 1.0)
    found = encode_raw(
        RawMetadata(
            version=(3, 0),
            levels={**levels, names[2]: xml},
            data={"CustomData|Own!": b"1", "CustomData|X!": b"2"},
        )
    )
    assert list(found) == [
        "ImageAttributesLV!",
        "ImageAttributes!",
        "ImageTextInfoLV!",
        "CustomData|X!",
        "CustomData|Own!",
    ]
    assert decode(found["ImageAttributesLV!"]) == levels["ImageAttributesLV!"]
    assert found["ImageAttributes!"].startswith(b"<?xml")


def test_what_cannot_be_encoded_names_its_chunk() -> None:
    bad = Level()
    bad.add("uiWidth", LvType.UINT32, -1)
    with pytest.raises(ValueError, match=r"chunk ImageAttributesLV!: uiWidth"):
        encode_raw(raw("ImageAttributesLV!", bad))
    bad.values[0] = "wide"
    with pytest.raises(TypeError, match=r"chunk ImageAttributesLV!: uiWidth"):
        encode_raw(raw("ImageAttributesLV!", bad))
