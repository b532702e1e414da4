from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.comparison import same
from limnd2_xr.model.roi_tree import rois_tree
from limnd2_xr.model.rois import (
    INTERPRETATIONS,
    SCOPES,
    SHAPES,
    Roi,
    RoiKeyFrame,
    parse_rois,
)
from limnd2_xr.model.serialise import from_plain, to_plain
from limnd2_xr.model.tree_building import boolean, f64, nested, string, struct, u32
from limnd2_xr.testing.strategies import damaged
from limnd2_xr.variants import lite

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject, SearchStrategy

    from limnd2_xr.variants.tree import Level, LvType

TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8
)
NUMBER = st.floats(allow_nan=True)
WHOLE = st.integers(0, 2**32 - 1)


def coded(names: tuple[str, ...]) -> SearchStrategy[str | int]:
    return st.sampled_from(names) | st.integers(len(names), 2**32 - 1)


KEY_FRAMES = st.builds(
    RoiKeyFrame,
    time_ms=NUMBER,
    enabled=st.booleans(),
    center_x=NUMBER,
    center_y=NUMBER,
    center_z=NUMBER,
    rotation=NUMBER,
    size_x=NUMBER,
    size_y=NUMBER,
    size_z=NUMBER,
    inner_size=st.none() | st.tuples(NUMBER, NUMBER),
    extruded_z=NUMBER,
    points=st.lists(st.tuples(NUMBER, NUMBER), max_size=3).map(tuple),
)
ROIS = st.builds(
    Roi,
    id=st.integers(-(2**31), 2**64 - 1),
    guid=TEXT,
    label=TEXT,
    shape=coded(SHAPES),
    interpretation=coded(INTERPRETATIONS),
    color=st.integers(0, 0xFFFFFF).map("#{:06x}".format),
    scope=coded(SCOPES),
    position=st.none() | st.integers(0, 4),
    stimulation_group=WHOLE,
    locked=st.booleans(),
    key_frames=st.lists(KEY_FRAMES, max_size=3).map(tuple),
    cookie=WHOLE,
    app_data=WHOLE,
    multi_frame=st.booleans(),
    component_count=WHOLE,
    bits_per_component=WHOLE,
    autodetected=st.booleans(),
    gradient_stimulation=st.booleans(),
    gradient_bits=WHOLE,
    gradient_low=NUMBER,
    gradient_high=NUMBER,
)
LISTS = st.lists(ROIS, max_size=4)


def in_order(rois: list[Roi]) -> tuple[Roi, ...]:
    return tuple(sorted(rois, key=lambda r: -1 if r.position is None else r.position))


def stored(tree: Level) -> Level:
    return lite.decode(lite.encode(tree))


@given(LISTS)
def test_what_is_written_is_read(rois: list[Roi]) -> None:
    assert same(parse_rois(stored(rois_tree(rois))), in_order(rois))
    assert same(from_plain(tuple[Roi, ...], to_plain(tuple(rois))), tuple(rois))


@given(LISTS, LISTS, st.data())
def test_editing_a_source(before: list[Roi], new: list[Roi], data: DataObject) -> None:
    base = stored(rois_tree(before))
    kept = data.draw(st.lists(st.sampled_from(before), unique_by=id)) if before else []
    edited = [replace(roi, label="edited") for roi in kept[:1]] + kept[1:] + new
    tree = rois_tree(edited, base)
    assert same(parse_rois(stored(tree)), in_order(edited))
    assert rois_tree(parse_rois(base), base) is base


def test_none_at_all_is_what_nis_elements_writes() -> None:
    assert lite.encode(rois_tree([])).hex() == (
        "0b0f52006f0069004d0065007400610064006100740061005f0076003100000000000000"
        "2c00000000000000"
    )


def foreign() -> Level:
    """One ROI spelled in another way, with fields that nobody knows."""
    frame = struct(
        f64("dTimeMs", 5.0),
        u32("uiEnabled", 1),
        f64("dCenterX", 0.25),
        nested("pBoxShape", struct(f64("dSizeX", 0.5), f64("dMystery", 9.0))),
        nested(
            "pExtrudedShape",
            struct(
                u32("vectBasePoints_Size", 1),
                nested("vectBasePoints_0", struct(f64("x", 1.0), f64("y", 2.0))),
            ),
        ),
    )
    roi = struct(
        u32("Id", 3),
        string("strGUID", "{A}"),
        nested("Info", struct(u32("uiShapeType", 77), string("wsLabel", "N/A"))),
        u32("vectAnimParams_Size", 1),
        nested("vectAnimParams_0", frame),
        boolean("bMystery", value=True),
    )
    content = struct(
        string("sMystery", "?"),
        u32("vectGlobal_Size", 1),
        nested("vectGlobal_0", roi),
        u32("vect2PerMPoint_Size", 2),
        nested("vect2PerMPoint_1", struct(u32("Size", 1), nested("0", roi))),
    )
    return struct(nested("RoiMetadata_v1", content))


def test_prefixes_do_not_count() -> None:
    rois = parse_rois(foreign())
    expected = Roi(
        id=3,
        guid="{A}",
        label="N/A",
        shape=77,
        key_frames=(
            RoiKeyFrame(time_ms=5.0, center_x=0.25, size_x=0.5, points=((1.0, 2.0),)),
        ),
    )
    assert rois == (expected, replace(expected, position=1, scope="position"))


def test_unknown_fields_and_spelling_stay() -> None:
    first, second = parse_rois(foreign())
    frame = first.key_frames[0]
    moved = replace(first, key_frames=(frame, replace(frame, time_ms=9.0)))
    tree = rois_tree([moved, second, Roi(id=4)], foreign())
    content = tree.level("RoiMetadata_v1", create=True)
    assert content.names == [
        "sMystery",
        "vectGlobal_Size",
        "vectGlobal_0",
        "vectGlobal_1",
        "vect2PerMPoint_Size",
        "vect2PerMPoint_0",
        "vect2PerMPoint_1",
    ]
    roi = content.level("vectGlobal_0", create=True)
    assert roi.names == [
        "Id",
        "strGUID",
        "Info",
        "vectAnimParams_Size",
        "vectAnimParams_0",
        "bMystery",
        "vectAnimParams_1",
    ]
    before = stored(foreign()).level("RoiMetadata_v1", create=True)
    before = before.level("vectGlobal_0", create=True)
    assert roi.level("vectAnimParams_0") == before.level("vectAnimParams_0")
    added = roi.level("vectAnimParams_1", create=True)
    assert added["dTimeMs"] == 9.0
    assert added.level("pBoxShape", create=True)["dSizeX"] == 0.5
    assert parse_rois(tree) == (moved, Roi(id=4), second)


def test_the_struct_alone_is_read_too() -> None:
    content = foreign().level("RoiMetadata_v1", create=True)
    assert parse_rois(content) == parse_rois(foreign())


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (u32("m_vectGlobal_Size", 4_000_000_000), "counts 4000000000 items"),
        (string("m_vectGlobal_Size", "1"), "Global_Size is '1'"),
        (nested("m_vectGlobal_0", struct()), "field Id is missing"),
        (nested("m_vect2PerMPoint_987654321", struct()), "position 987654321"),
    ],
)
def test_damage_is_named(field: tuple[str, LvType, object], reason: str) -> None:
    with pytest.raises(CorruptChunk, match=reason):
        parse_rois(struct(nested("RoiMetadata_v1", struct(field))))  # type: ignore[arg-type]


def test_a_point_without_coordinates() -> None:
    outline = struct(nested("BasePoints_0", struct(f64("x", 1.0))))
    roi = struct(
        u32("Id", 1), nested("AnimParams_0", struct(nested("ExtrudedShape", outline)))
    )
    with pytest.raises(CorruptChunk, match="no X and Y"):
        parse_rois(struct(nested("Global_0", roi), u32("Global_Size", 1)))


@given(LISTS.flatmap(lambda rois: damaged(lite.encode(rois_tree(rois)))))
def test_damaged_bytes(data: bytes) -> None:
    with contextlib.suppress(CorruptChunk):
        parse_rois(lite.decode(data))


@pytest.mark.parametrize(
    "roi",
    [
        Roi(id=1, color="red"),
        Roi(id=1, position=-1),
        Roi(id=1, position=2**30),
        Roi(id=1, label="a\0b"),
        Roi(id=2**64),
        Roi(id=1, shape="heart"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_stored_is_refused(roi: Roi) -> None:
    with pytest.raises(ValueError, match=r"color|position|NUL|holds whole|none of"):
        rois_tree([roi])
