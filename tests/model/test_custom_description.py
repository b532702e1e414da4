from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.comparison import same
from limnd2_xr.model.custom_description import (
    ITEM_KINDS,
    CustomDescription,
    DescriptionItem,
    custom_description_tree,
    parse_custom_description,
)
from limnd2_xr.model.serialise import from_json, to_json
from limnd2_xr.model.tree_building import f64, listed, nested, string, struct, u32
from limnd2_xr.testing.strategies import damaged
from limnd2_xr.variants import lite

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject, DrawFn

    from limnd2_xr.variants.tree import Level

TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8
)
WHOLE = st.integers(-(2**31), 2**31 - 1)
TEXTS = ("text", "long text")
ANSWERS: dict[Any, Any] = {
    "check": WHOLE,
    "number": st.floats(),
    "text": TEXT,
    "selection": WHOLE,
    "long text": TEXT,
    "date": st.integers(-(2**53), 2**53),
}


@st.composite
def items(draw: DrawFn) -> DescriptionItem:
    kind = draw(st.sampled_from(ITEM_KINDS) | st.integers(7, 2**32 - 1))
    number, text = (
        st.none() | ANSWERS[kind]
        if (kind in ANSWERS) and is_text == (kind in TEXTS)
        else st.none()
        for is_text in (False, True)
    )
    return DescriptionItem(
        kind=kind,
        id=draw(WHOLE),
        name=draw(TEXT),
        description=draw(TEXT),
        value=draw(number),
        default=draw(number),
        text=draw(text),
        default_text=draw(text),
        is_empty=draw(st.booleans()),
        is_empty_default=draw(st.booleans()),
        is_mandatory=draw(st.booleans()),
        is_enabled=draw(st.booleans()),
        unit=draw(TEXT),
        number_format=draw(WHOLE),
        places=draw(st.integers(0, 2**32 - 1)),
        labels=tuple(draw(st.lists(TEXT, max_size=3))),
        date_format=draw(WHOLE),
    )


FORMS = st.builds(
    CustomDescription, name=TEXT, items=st.lists(items(), max_size=4).map(tuple)
)


def stored(tree: Level) -> Level:
    return lite.decode(lite.encode(tree, compressed=True))


@given(FORMS)
def test_what_is_written_is_read(form: CustomDescription) -> None:
    assert same(parse_custom_description(stored(custom_description_tree(form))), form)
    assert same(from_json(CustomDescription, to_json(form)), form)


@given(FORMS, FORMS, st.data())
def test_editing_a_source(
    before: CustomDescription, new: CustomDescription, data: DataObject
) -> None:
    base = stored(custom_description_tree(before))
    kept = (
        data.draw(st.lists(st.sampled_from(before.items), unique_by=id))
        if before.items
        else []
    )
    changed = [replace(item, description="x", unit="") for item in kept[:1]]
    edited = replace(new, items=(*changed, *kept[1:], *new.items))
    tree = custom_description_tree(edited, base)
    assert same(parse_custom_description(stored(tree)), edited)
    assert custom_description_tree(parse_custom_description(base), base) is base


def test_an_empty_form_is_what_nis_elements_writes() -> None:
    data = lite.encode(custom_description_tree(CustomDescription()))
    # 114 bytes as in fluo_c4 and others, where they are compressed to 97
    assert len(data) == 114


def test_unknown_fields_and_nesting_stay() -> None:
    head = struct(u32("eType", 3), string("sName", "Who"), u32("uiMystery", 1))
    text = struct(nested("CLxItem", head), string("sText", "me"), f64("dOther", 2.0))
    item = struct(nested("CLxText", text), u32("uiOuter", 5))
    content = struct(
        string("sName", "Form"), nested("vData", listed([item])), u32("uiMore", 3)
    )
    base = struct(nested("CLxCustomDescription", content))
    form = parse_custom_description(base)
    (found,) = form.items
    assert (found.kind, found.name, found.text) == ("text", "Who", "me")
    edited = replace(form, items=(replace(found, text="you", places=5),))
    assert custom_description_tree(edited, base).to_plain() == {
        "CLxCustomDescription": {
            "sName": "Form",
            "vData": [
                {
                    "CLxText": {
                        "CLxItem": {"eType": 3, "sName": "Who", "uiMystery": 1},
                        "sText": "you",
                        "dOther": 2.0,
                        "uiPlaces": 5,
                    },
                    "uiOuter": 5,
                }
            ],
            "uiMore": 3,
        }
    }


def test_a_long_text_stands_in_a_text() -> None:
    form = CustomDescription(items=(DescriptionItem(kind="long text", text="a\nb"),))
    tree = custom_description_tree(form).to_plain()
    assert isinstance(tree, dict)
    (item,) = tree["CLxCustomDescription"]["vData"]
    assert item["CLxText"]["sText"] == "a\nb"
    assert item["CLxText"]["CLxItem"]["eType"] == 5


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        (DescriptionItem(kind="check", value=1), "yes"),
        (DescriptionItem(kind="check", default=0), "no"),
        (DescriptionItem(kind="number", value=1234.5, places=2), "1234.50"),
        (
            DescriptionItem(kind="number", value=1234.5, places=1, number_format=1),
            "1.2e+03",
        ),
        (DescriptionItem(kind="text", text="", default_text="d"), ""),
        (DescriptionItem(kind="text", text="x", is_empty=True), ""),
        (DescriptionItem(kind="selection", value=2, labels=("a",)), ""),
        (DescriptionItem(kind="date", value=86_400_000), "1970-01-02T00:00:00"),
        (
            DescriptionItem(kind="date", value=60_000, date_format=1),
            "1970-01-01T00:01",
        ),
        (DescriptionItem(kind=9), ""),
        (DescriptionItem(kind="date", value=2**63), str(2**63)),
        (DescriptionItem(kind="number", value=1.0, places=2**31), "1." + "0" * 17),
    ],
)
def test_shown(item: DescriptionItem, shown: str) -> None:
    assert item.shown == shown


@pytest.mark.parametrize(
    "item",
    [
        DescriptionItem(kind="check", text="yes"),
        DescriptionItem(kind="text", value=1.0),
        DescriptionItem(kind="check", value=0.5),
        DescriptionItem(kind=8, value=1),
        DescriptionItem(kind="unknown", default_text=""),
        DescriptionItem(kind="colour"),  # type: ignore[arg-type]
        DescriptionItem(id=2**40),
        DescriptionItem(kind="date", value=float("inf")),
    ],
)
def test_what_cannot_be_stored_is_refused(item: DescriptionItem) -> None:
    with pytest.raises(ValueError, match=r"item|field"):
        custom_description_tree(CustomDescription(items=(item,)))


def of_item(item: Level) -> Level:
    return struct(nested("vData", listed([item])))


@pytest.mark.parametrize(
    "tree",
    [
        struct(u32("vData", 1)),
        struct(nested("vData", struct(u32("", 1)))),
        of_item(struct(nested("CLxItem", struct(string("eType", "x"))))),
        of_item(struct(nested("CLxItem", struct(u32("eType", 3))), u32("sText", 3))),
        of_item(struct(nested("vLabels", struct(u32("", 3))))),
    ],
)
def test_damage_is_named(tree: Level) -> None:
    with pytest.raises(CorruptChunk, match=r"vData|field|label"):
        parse_custom_description(tree)


@given(FORMS.flatmap(lambda form: damaged(lite.encode(custom_description_tree(form)))))
def test_damaged_bytes(data: bytes) -> None:
    with contextlib.suppress(CorruptChunk):
        for item in parse_custom_description(lite.decode(data)).items:
            assert isinstance(item.shown, str)
