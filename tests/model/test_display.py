from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.display import (
    DISPLAY,
    Display,
    DisplayRange,
    channel_ranges,
    component_ranges,
    display_tree,
    parse_display,
)
from limnd2_xr.model.tree_building import struct, xml_f64, xml_i32, xml_struct
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.encode import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from limnd2_xr.variants.tree import Level


def rounded(value: float) -> float:
    return float(f"{value:.12g}")


def ranges(limit: float) -> st.SearchStrategy[DisplayRange]:
    tiny = 1e-9  # below are numbers without twelve digits
    values = (
        st.just(0.0)
        | st.floats(tiny, limit).map(rounded)
        | st.integers(0, int(limit)).map(float)
    )
    return st.builds(
        DisplayRange,
        minimum=values,
        maximum=values,
        gamma=st.floats(0.01, 10).map(rounded),
    )


CASES = st.sampled_from([1, 8, 10, 12, 14, 16]).flatmap(
    lambda bits: st.tuples(
        st.just(bits),
        st.builds(
            Display,
            ranges=st.lists(ranges(2**bits - 1), max_size=5).map(tuple),
            auto_contrast=st.booleans(),
        ),
    )
)


@given(CASES, st.booleans())
def test_a_display_is_read_back(case: tuple[int, Display], rgb: bool) -> None:
    bits, display = case
    tree = decode(encode(display_tree(display, bits, rgb=rgb)))
    assert parse_display(tree, len(display.ranges), bits) == display


@given(st.lists(ranges(1e6), max_size=3), st.booleans())
def test_ranges_of_floats(found: list[DisplayRange], auto: bool) -> None:
    display = Display(
        ranges=tuple(replace(r, minimum=-r.minimum) for r in found), auto_contrast=auto
    )
    tree = decode(encode(display_tree(display, None)))
    assert parse_display(tree, len(found), None) == display


@given(CASES, CASES, st.booleans())
def test_a_source_is_edited(
    old: tuple[int, Display],
    new: tuple[int, Display],
    view: bool,
) -> None:
    base = display_tree(old[1], old[0])
    content = base.level("no_name", create=True)
    content.add("m_bUnknown", "bool", view)
    assert display_tree(old[1], old[0], base=base) is base
    edited = decode(encode(display_tree(new[1], new[0], base=base)))
    if new[1].ranges:
        assert parse_display(edited, len(new[1].ranges), new[0]) == new[1]
    assert edited.level("no_name", create=True)["m_bUnknown"] is view


REAL = {
    "fluo_c4": (
        16,
        ((8949, 16588), (1172, 7090), (276, 2432), (113, 567)),
    ),
    "netime_t2_u8": (8, ((0, 254),)),
    "rgb8": (8, ((0, 254), (0, 254), (0, 254))),
    "timelapse_t53": (16, ((521, 56606),)),
    "zstack_z11": (16, ((307, 4851),)),
}


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL)
def test_real_files(real_chunk: Callable[[str, str], bytes], name: str) -> None:
    bits, expected = REAL[name]
    payload = real_chunk(name, DISPLAY)
    tree = decode(payload)
    n = len(expected)
    display = parse_display(tree, n, bits)
    assert display.ranges == tuple(
        DisplayRange(minimum=low, maximum=high) for low, high in expected
    )
    assert encode(display_tree(display, bits, base=tree)) == payload
    # Names, order and types are those of the real file, as far as we write them.
    fresh = display_tree(display, bits, rgb=name == "rgb8").levels()[0]
    fresh_lut, lut = (
        t.level("m_sLutParam", create=True) for t in (fresh, tree.levels()[0])
    )
    assert fresh_lut.names == lut.names
    assert fresh_lut.kinds == lut.kinds
    for field in ("uiColorSpace", "uiLutComponentCount", "uiGroupCount"):
        assert fresh_lut[field] == lut[field]
    parts = [t.level("sCompLutParam", create=True) for t in (fresh_lut, lut)]
    assert parts[0].names == parts[1].names
    assert parts[0].levels()[0].names == parts[1].levels()[0].names
    assert fresh_lut.level("sLutDataSpectral") == lut.level("sLutDataSpectral")
    # One end of one component is changed: the others keep their bytes.
    changed = replace(display.ranges[-1], maximum=display.ranges[-1].maximum - 1)
    wanted = replace(display, ranges=(*display.ranges[:-1], changed))
    edited = display_tree(wanted, bits, base=tree)
    assert parse_display(edited, n, bits) == wanted
    others = edited.levels()[0].level("m_sLutParam", create=True)
    for i in range(n - 1):
        own = others.level("sCompLutParam", create=True)[f"a{i:02d}"]
        assert own == parts[1][f"a{i:02d}"]


@pytest.mark.realdata
def test_a_real_file_without_ranges(real_chunk: Callable[[str, str], bytes]) -> None:
    tree = decode(real_chunk("confocal_t3_z10_c2", DISPLAY))
    display = parse_display(tree, 2, 12)
    assert display == Display()
    wanted = Display(ranges=(DisplayRange(minimum=0, maximum=4095),) * 2)
    edited = display_tree(wanted, 12, base=tree)
    assert parse_display(edited, 2, 12) == wanted
    assert edited.levels()[0]["m_bViewLut"] is True


def test_fractions_count_where_they_agree() -> None:
    def stored(fraction: float) -> Level:
        item = struct(xml_i32("uiMaxSrc", 4096), xml_f64("fMaxSrc", fraction))
        lut = struct(xml_struct("sCompLutParam", struct(xml_struct("a00", item))))
        return struct(xml_struct("m_sLutParam", lut))

    assert parse_display(stored(4096.25 / 65535), 1, 16).ranges[0].maximum == 4096.25
    assert parse_display(stored(0.5), 1, 16).ranges[0].maximum == 4096
    assert parse_display(stored(float("nan")), 1, 16).ranges[0].maximum == 4096


def test_damage_is_refused() -> None:
    tree = display_tree(Display(ranges=(DisplayRange(minimum=0, maximum=9),)), 8)
    with pytest.raises(CorruptChunk, match="of 3 components, the image has 4"):
        parse_display(tree, 4, 8)
    lut = struct(xml_struct("sCompLutParam", struct(xml_struct("a00", struct()))))
    with pytest.raises(CorruptChunk, match="fMinSrc"):
        parse_display(struct(xml_struct("m_sLutParam", lut)), 1, None)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (DisplayRange(minimum=-1, maximum=5), "-1 cannot be the end"),
        (DisplayRange(minimum=float("nan"), maximum=5), "nan cannot"),
        (DisplayRange(minimum=0, maximum=1e30), "cannot"),
        (DisplayRange(minimum=0, maximum=1, gamma=0), "gamma"),
        (DisplayRange(minimum=0, maximum=1, gamma=float("inf")), "gamma"),
    ],
)
def test_ranges_that_cannot_be_stored(wanted: DisplayRange, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        display_tree(Display(ranges=(wanted,)), 8)
    if "gamma" not in reason and wanted.minimum != -1 and wanted.maximum < 9:
        with pytest.raises(ValueError, match="finite"):
            display_tree(Display(ranges=(wanted,)), None)


def test_ranges_of_channels() -> None:
    a, b, c, d = (DisplayRange(minimum=i, maximum=9 - i) for i in range(4))
    whole = DisplayRange(minimum=1, maximum=8)
    assert channel_ranges([a, b, c, d], [1, 3]) == (a, whole)
    assert component_ranges([a, whole], [1, 3], [a, b, c, d]) == (a, b, c, d)
    assert component_ranges([b, a], [1, 3], [a, b, c, d]) == (b, a, a, a)
    with pytest.raises(ValueError, match="3 ranges are given for 4"):
        channel_ranges([a, b, c], [1, 3])
