"""Structs are made from stored trees and give them back, with all that they do not know."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, example, given

from limnd2_xr.compat import limnd2
from limnd2_xr.compat.limnd2.attributes import (
    ImageAttributes,
    ImageAttributesCompression,
    ImageAttributesPixelType,
)
from limnd2_xr.compat.limnd2.custom_data import RecordedDataItem, RecordedDataType
from limnd2_xr.compat.limnd2.experiment import ExperimentLevel
from limnd2_xr.compat.limnd2.metadata import PictureMetadata, PicturePlaneDesc
from limnd2_xr.compat.limnd2.picture_enums import AxisDescription, TimeSourceType
from limnd2_xr.compat.limnd2.stored_struct import StoredStruct, record, struct, structs
from limnd2_xr.compat.limnd2.textinfo import AppInfo, ImageTextInfo
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.model.fields import unwrap
from limnd2_xr.testing.strategies import levels
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.encode import encode
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CLASSES: dict[str, type[StoredStruct]] = {
    "ImageAttributesLV!": ImageAttributes,
    "ImageMetadataLV!": ExperimentLevel,
    "ImageMetadataSeqLV|0!": PictureMetadata,
    "ImageTextInfoLV!": ImageTextInfo,
}


@dataclass(frozen=True, kw_only=True)
class Leaf(StoredStruct):
    """A struct within another."""

    b: int = record(LvType.UINT32, 3)


@dataclass(frozen=True, kw_only=True)
class Tree(StoredStruct):
    """A struct of short names, which random trees have."""

    a: float = record(LvType.DOUBLE, 1.5)
    b: str = record(LvType.STRING, "")
    c: Leaf | None = struct(Leaf)  # noqa: RUF009 - makes a field
    d: list[Leaf] = structs(Leaf, "d{}")  # noqa: RUF009


def chunks_of(path: Path) -> dict[str, bytes]:
    with FrameStore.open(path, on_damage="ignore") as store:
        return store.read_chunks(n for n in CLASSES if n in store.state.chunks)


@pytest.mark.realdata
def test_chunks_of_samples_are_given_back(each_sample: Path) -> None:
    for name, payload in chunks_of(each_sample).items():
        again = CLASSES[name].from_lv(payload).to_lv()
        assert decode(again) == decode(payload)


@pytest.mark.realdata
def test_chunks_of_real_files_are_given_back_byte_for_byte(each_real: Path) -> None:
    found = chunks_of(each_real)
    assert "ImageMetadataSeqLV|0!" in found
    for name, payload in found.items():
        assert CLASSES[name].from_lv(payload).to_lv() == payload


def tree_of(name: str, kind: LvType, value: Any) -> Level:
    out = Level()
    out.add(name, kind, value)
    return out


def is_wrapped(tree: Level) -> bool:
    """Say whether a struct in a tree has a wrapper without a name, which is dropped."""
    inner = unwrap(tree)
    named = [
        v for n, v in zip(inner.names, inner.values, strict=True) if n in {"c", "d"}
    ]
    within = [value for value in named if isinstance(value, Level)]
    within += [child for value in within for child in value.levels()]
    return any(unwrap(value) is not value for value in within)


@given(tree=levels())
@example(tree=tree_of("", LvType.LEVEL, Level()))
@example(tree=tree_of("d", LvType.BOOL, False))
@example(tree=tree_of("d", LvType.OLD_LEVEL, tree_of("x", LvType.INT32, 5)))
@example(tree=tree_of("c", LvType.OLD_LEVEL, Level()))
def test_any_tree_is_given_back_without_its_wrapper(tree: Level) -> None:
    assume(not is_wrapped(tree))
    assert Tree.from_var(tree).to_tree() == unwrap(tree)


@pytest.mark.realdata
def test_an_edit_changes_nothing_else(each_real: Path) -> None:
    with limnd2.Nd2Reader(each_real) as reader:
        picture = reader.pictureMetadata
    edited = replace(picture, dCalibration=0.5, wsObjectiveName="other")
    before, after = picture.to_tree(), edited.to_tree()
    assert before.names == after.names
    different = {
        name
        for name, old, new in zip(
            before.names, before.values, after.values, strict=True
        )
        if old != new
    }
    assert different == {"dCalibration", "wsObjectiveName"}


def test_unknown_tags_are_read_like_a_mapping() -> None:
    tree, inner = Level(), Level()
    inner.add("dNew", LvType.DOUBLE, 2.5)
    tree.add("uiWidth", LvType.UINT32, 7)
    tree.add("sNew", LvType.LEVEL, inner)
    found = ImageAttributes.from_var(tree)
    assert found["uiWidth"] == found.uiWidth == 7
    assert found["sNew"] == {"dNew": 2.5}
    assert "sNew" in found
    assert len(found) == len(dict(found)) == len(ImageAttributes()) + 1
    with pytest.raises(KeyError):
        found["nothing"]
    with pytest.raises(FrozenInstanceError):
        found.uiWidth = 8  # type: ignore[misc]


@pytest.mark.realdata
def test_tags_without_a_field_are_attributes_too(
    real_file: Callable[[str], Path],
) -> None:
    with limnd2.Nd2Reader(real_file("confocal_t3_z10_c2")) as reader:
        picture, experiment = reader.pictureMetadata, reader.experiment
    tag: Any = "dZPosOther"
    assert experiment is not None
    extra = set(experiment.keys()) - set(ExperimentLevel().keys())
    assert dict(experiment) == dict(experiment.items())
    assert extra
    for name in extra:
        assert getattr(experiment, name) == experiment[name]
    assert getattr(ExperimentLevel(), "pLargeImage") is None  # noqa: B009
    with pytest.raises(AttributeError, match="has no attribute 'dZPosOther'"):
        getattr(picture, tag)


@pytest.mark.realdata
def test_structs_travel_between_processes(each_real: Path) -> None:
    with limnd2.Nd2Reader(each_real) as reader:
        structs_ = reader.imageAttributes, reader.pictureMetadata, reader.experiment
    for found in structs_:
        again = pickle.loads(pickle.dumps(found))
        assert again == found
        assert found is None or again.to_lv() == found.to_lv()


@pytest.mark.realdata
def test_structs_are_plain_dataclasses(each_real: Path) -> None:
    with limnd2.Nd2Reader(each_real) as reader:
        parts: list[Any] = [
            *(reader.imageAttributes, reader.pictureMetadata, reader.experiment),
            *(reader.imageTextInfo, reader.appInfo),
        ]
    for part in parts:
        if part is None:
            continue
        names = [entry.name for entry in fields(part)]
        assert not [name for name in names if name.startswith("_")]
        plain = asdict(part)
        assert list(plain) == names
        assert not levels_in(plain)
        json.dumps(plain, default=bytes.hex)


def levels_in(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(levels_in, value.values()))
    if isinstance(value, list):
        return any(map(levels_in, value))
    return isinstance(value, Level)


@pytest.mark.realdata
def test_copies_keep_the_tags_that_nobody_knows(each_real: Path) -> None:
    with limnd2.Nd2Reader(each_real) as reader:
        picture = reader.pictureMetadata
    for again in (copy.copy(picture), copy.deepcopy(picture), replace(picture)):
        assert again == picture
        assert again.to_lv() == picture.to_lv()
    json.dumps(asdict(ImageAttributes.create(4, 5, 1, 8, 1)))
    assert "_stored" not in repr(picture)
    with pytest.raises(FrozenInstanceError):
        picture.dZoom = 2.0  # type: ignore[misc]


@pytest.mark.realdata
def test_numbers_with_a_name_are_told_by_it(each_real: Path) -> None:
    with limnd2.Nd2Reader(each_real) as reader:
        attributes, picture = reader.imageAttributes, reader.pictureMetadata
        columns = reader.recordedData
    assert isinstance(attributes.eCompression, ImageAttributesCompression)
    assert isinstance(attributes.ePixelType, ImageAttributesPixelType)
    assert isinstance(picture.eTimeSource, TimeSourceType)
    assert isinstance(picture.ePictureXAxis, AxisDescription)
    assert all(isinstance(column.Type, RecordedDataType) for column in columns)


def test_a_number_without_a_name_stays_one() -> None:
    tree = Level()
    tree.add("eCompression", LvType.INT32, 2)
    tree.add("ePixelType", LvType.INT32, 7)
    found = ImageAttributes.from_var(tree)
    assert found.eCompression is ImageAttributesCompression.ictNone
    assert (found.ePixelType, type(found.ePixelType)) == (7, int)
    assert "eCompression=ictNone(2)" in repr(found)
    assert found.to_tree() == tree
    edited = replace(found, eCompression=0)
    assert edited.eCompression is ImageAttributesCompression.ictLossLess
    (value,) = (edited.to_tree()["eCompression"],)
    assert (value, type(value)) == (0, int)
    made = ImageAttributes.create(4, 5, 1, 8, 1)
    assert ImageAttributes.from_lv(made.to_lv()) == made
    assert json.loads(json.dumps(asdict(made)))["eCompression"] == 2
    assert pickle.loads(pickle.dumps(made)).ePixelType is made.ePixelType
    assert RecordedDataItem(ID="X", Type=3).Type is RecordedDataType.eDouble
    assert RecordedDataItem(ID="X", Type=9).Type == 9


def test_a_value_keeps_the_type_that_is_stored() -> None:
    tree = Level()
    tree.add("uiWidth", LvType.UINT64, 7)
    edited = replace(ImageAttributes.from_var(tree), uiWidth=9)
    assert edited.to_tree().kinds == [LvType.UINT64]


def test_items_of_a_list_change_and_what_is_between_them_stays() -> None:
    items = Level()
    items.add("first", LvType.LEVEL, tree_of("b", LvType.UINT32, 1))
    items.add("uiMore", LvType.UINT32, 7)
    items.add("second", LvType.LEVEL, tree_of("b", LvType.UINT32, 2))
    found = Tree.from_var(tree_of("d", LvType.LEVEL, items))
    longer = replace(found, d=[*found.d, Leaf(b=9)]).to_tree()
    assert longer.level("d", create=True).names == ["first", "uiMore", "second", "d2"]
    shorter = replace(found, d=found.d[1:]).to_tree()
    assert shorter.level("d", create=True).names == ["first", "uiMore"]
    assert Tree.from_var(shorter).d == found.d[1:]
    assert replace(found, d=[]).to_tree().level("d", create=True).names == ["uiMore"]
    struct_ = Tree.from_var(tree_of("c", LvType.LEVEL, Level()))
    assert "c" not in replace(struct_, c=None).to_tree()


def test_a_field_of_another_kind_is_its_default() -> None:
    tree = Level()
    tree.add("uiWidth", LvType.LEVEL, Level())
    tree.add("sPicturePlanes", LvType.STRING, "no struct")
    tree.add("dCalibration", LvType.STRING, "no number")
    tree.add("uiCol", LvType.DOUBLE, 3.0)
    tree.add("uiRow", LvType.DOUBLE, 3.5)
    tree.add("dZoom", LvType.INT32, 2)
    assert ImageAttributes.from_var(tree).uiWidth == 0
    picture = PictureMetadata.from_var(tree)
    assert picture.sPicturePlanes is None
    assert (picture.dCalibration, picture.uiCol, picture.uiRow) == (-1.0, 3, 0)
    assert isinstance(picture.dZoom, float)
    assert picture.to_tree() == tree


def test_what_was_made_here_can_be_read() -> None:
    plane = PicturePlaneDesc(sDescription="GFP", uiColor=0x00FF00)
    made = PictureMetadata(dCalibration=0.3).makeValid(2)
    assert [p.sDescription for p in made.channels] == ["Channel_0", "Channel_1"]
    again = PictureMetadata.from_lv(made.to_lv())
    assert again == made
    assert PicturePlaneDesc.from_lv(encode(plane.to_tree())) == plane


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 0}, "height is 0"),
        ({"width": -3}, "width is -3"),
        ({"component_count": 0}, "component_count"),
        ({"bits": 24}, "bits is 24"),
        ({"bits": 64}, "bits is 64"),
        ({"sequence_count": -1}, "sequence_count"),
    ],
)
def test_attributes_that_no_frame_has_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    fine = {
        "height": 4,
        "width": 5,
        "component_count": 1,
        "bits": 8,
        "sequence_count": 1,
    }
    assert ImageAttributes.create(**fine).shape == (4, 5, 1)
    with pytest.raises(ValueError, match=message):
        ImageAttributes.create(**{**fine, **changes})


def test_attributes_of_a_pyramid_are_those_of_the_inventory() -> None:
    found = ImageAttributes.create(
        width=3000, height=2000, component_count=2, bits=16, sequence_count=...
    )
    assert found.frameCount == 0
    assert (found.powSize, found.downsampleLevels) == (4096, [1, 2])
    assert (found.shape, found.pixelBytes) == ((2000, 3000, 2), 4)
    assert found.findDownsampledLevelFor(800) == 1
    small = found.makeDownsampled(2)
    assert small.shape == (500, 750, 2)
    assert small.strides == (3000, 4, 2)


def test_the_program_is_named_without_gaps() -> None:
    assert AppInfo().software == ""
    assert AppInfo(m_SWNameString="NIS", m_VersionString="6").software == "NIS 6"
