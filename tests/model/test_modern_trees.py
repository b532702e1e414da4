"""Files of version 2 that are edited: translated, with what the model does not know."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from limnd2_xr.model import raw as chunks
from limnd2_xr.model.comparison import difference
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.raw import RawMetadata, chunks_to_read, encode_raw
from limnd2_xr.model.to_raw import Base
from limnd2_xr.testing.metadata_trees import (
    attributes_chunk,
    leading_chunks,
    trailing_chunks,
)
from limnd2_xr.testing.specs import (
    ChannelSpec,
    NETimeLoop,
    Period,
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    XmlStyle,
)
from limnd2_xr.testing.strategies import specs
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def base_of(found: Mapping[str, bytes]) -> Base:
    trees, data = chunks_to_read(found)
    raw = RawMetadata(
        version=(2, 1),
        levels={name: decode(found[name]) for name in trees},
        data={name: found[name] for name in data},
    )
    document, records = Nd2Document.from_raw(raw)
    return Base(raw=raw, document=document, records=records)


def built(spec: SyntheticSpec) -> Base:
    name, attributes = attributes_chunk(spec)
    return base_of({name: attributes, **leading_chunks(spec), **trailing_chunks(spec)})


def edited(base: Base, **parts: Any) -> RawMetadata:
    """Change the author (and more), and check that nothing else reads otherwise."""
    text = replace(base.document.text, author="someone else")
    document = replace(base.document, text=text, **parts)
    raw = document.to_raw(base.records, base=base)
    assert raw.version == (3, 0)
    found, _ = Nd2Document.from_raw(
        RawMetadata(
            version=raw.version,
            levels={
                name: decode(payload)
                for name, payload in encode_raw(raw).items()
                if name in raw.levels
            },
            data=raw.data,
        )
    )
    assert difference(replace(document, format_version="3.0"), found) is None
    return raw


def fields_of(level: Level) -> Iterator[tuple[str, Any]]:
    for name, value in level:
        yield name, value
        if isinstance(value, Level):
            yield from fields_of(value)


@pytest.fixture
def literal(version2_texts: dict[str, str]) -> Base:
    return base_of({name: text.encode() for name, text in version2_texts.items()})


def test_what_the_model_does_not_know_is_kept(literal: Base) -> None:
    raw = edited(literal)
    loops = dict(fields_of(raw.levels["ImageMetadataLV!"]))
    root = raw.struct(chunks.EXPERIMENT)
    assert root is not None
    assert root["wsCommandAfterCapture"] == "Stg_SetShutter(0);"
    assert root["aMeasProbesBase64"] == "AAA="
    assert root["bControlShutter"] is True
    assert loops["uiRelativeIdx"] == 0
    assert loops["dTIRFPosition"] == 0.000333
    assert loops["dZLowPFSOffset"] == 0.0
    picture = dict(fields_of(raw.levels["ImageMetadataSeqLV|0!"]))
    assert picture["sOpticalConfigFull"] == "DAPI 60x (full)"
    assert picture["uiCamPxlCountX"] == 1392
    assert picture["m_sDescr"] == ""
    assert picture["dTimeAxisCalibration"] == -1.0


def test_what_version_3_stores_otherwise_is_stored_so(literal: Base) -> None:
    raw = edited(literal)
    names = [name for name in raw.levels if name.startswith("Image")]
    assert all("LV" in name for name in names)
    assert [raw.levels[name].names[0] for name in sorted(names)] == [
        "SLxImageAttributes",
        "SLxCalibration",
        "SLxExperiment",
        "SLxPictureMetadata",
        "SLxImageTextInfo",
    ]
    for name in names:
        stored = [field for field, _ in fields_of(raw.levels[name])]
        assert not {"no_name", "sPlane", "eModality", "pPlaneDesc"} & set(stored)
        assert not {"pPosName", "sZDevice", "dPinholeRadius"} & set(stored)
    node = raw.struct(chunks.EXPERIMENT)
    assert node is not None
    (positions,) = node.level("ppNextLevelEx", create=True).levels()
    assert positions["pItemValid"] == b"\1\0\1"
    parameters = positions.level("uLoopPars", create=True)
    points = parameters.level("Points", create=True).levels()
    assert points[1].to_plain() == {
        "dPosX": 200.0,
        "dPosY": -20.0,
        "dPosZ": 5001.0,
        "dPFSOffset": -1.0,
        "dPosName": "B3",
    }
    attributes = raw.levels["ImageAttributesLV!"].level(
        "SLxImageAttributes", create=True
    )
    kinds = dict(zip(attributes.names, attributes.kinds, strict=True))
    assert kinds["uiBpcInMemory"] == LvType.INT32
    assert kinds["uiWidth"] == LvType.UINT32
    assert attributes["ePixelType"] == 1


@given(spec=specs(metadata=("xml",)))
def test_any_file_of_version_2_reads_the_same(spec: SyntheticSpec) -> None:
    raw = edited(built(spec))
    if spec.loops:
        # not written anew: a field that the model does not have is there
        assert "bUseTiRecipe" in dict(fields_of(raw.levels["ImageMetadataLV!"]))
    assert "dTemperK" in dict(fields_of(raw.levels["ImageMetadataSeqLV|0!"]))


@pytest.mark.parametrize("direct", [False, True])
def test_sub_loops(direct: bool) -> None:
    spec = SyntheticSpec(
        loops=(
            NETimeLoop((Period(2), Period(1)), sub_loops=True),
            PositionLoop((Point(1.0, 2.0), Point(3.0, 4.0, valid=False))),
        ),
        metadata="xml",
        xml=XmlStyle(direct_parameters=direct),
    )
    raw = edited(built(spec))
    fields = list(fields_of(raw.levels["ImageMetadataLV!"]))
    assert [name for name, _ in fields].count("Points") == 2
    assert dict(fields)["pItemValid"] == b"\1\0"


def test_whole_wavelengths() -> None:
    spec = SyntheticSpec(
        channels=(ChannelSpec("DAPI", emission_nm=461.0),),
        metadata="xml",
        xml=XmlStyle(integer_wavelengths=True),
    )
    base = built(spec)
    assert base.document.channels[0].emission_nm == 461.0
    fields = dict(fields_of(edited(base).levels["ImageMetadataSeqLV|0!"]))
    assert fields["dWavelength"] == 461.0
    assert "uiWavelength" not in fields


def test_what_is_not_known_any_more_does_not_come_back(literal: Base) -> None:
    first, second = literal.document.channels
    path = replace(first.light_path, camera="")
    bare = replace(
        first, exposure_s=None, binning=None, pinhole_um=None, light_path=path
    )
    optics = replace(literal.document.optics, camera="")
    edited(literal, channels=(bare, second), optics=optics)


def test_a_tree_that_cannot_be_translated_is_written_anew(
    version2_texts: dict[str, str],
) -> None:
    name = "ImageMetadata!"
    text = version2_texts[name].replace(
        'uiRepeatCount runtype="lx_uint32" value="1"',
        'uiRepeatCount runtype="lx_uint32" value="12345678901"',
    )
    base = base_of({k: v.encode() for k, v in {**version2_texts, name: text}.items()})
    raw = edited(base)
    assert "uiRelativeIdx" not in dict(fields_of(raw.levels["ImageMetadataLV!"]))


def test_nothing_is_translated_where_nothing_changes() -> None:
    base = built(SyntheticSpec(loops=(TimeLoop(2),), metadata="xml"))
    assert base.document.to_raw(base.records, base=base) is base.raw
