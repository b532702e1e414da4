"""Names of files, and the frames that they tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.conversion.filename_pattern import FilenamePattern
from limnd2_xr.conversion.wells import wells_in_names
from limnd2_xr.model.plates import well_name

PATTERN = FilenamePattern.parse("run{_}_{W}_f{F}_{C}_t{T}_z{Z}.tif")


@given(
    numbers=st.tuples(*[st.integers(0, 10**6)] * 3),
    widths=st.tuples(*[st.integers(1, 8)] * 3),
    channel=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 _.+-]{0,10}", fullmatch=True),
    cell=st.tuples(st.integers(0, 31), st.integers(0, 47)),
    anything=st.from_regex(r"[a-z0-9 -]{0,8}", fullmatch=True),
)
def test_a_formatted_name_is_parsed_back(
    numbers: tuple[int, ...],
    widths: tuple[int, ...],
    channel: str,
    cell: tuple[int, int],
    anything: str,
) -> None:
    texts = [str(n).zfill(w) for n, w in zip(numbers, widths, strict=True)]
    values = dict(zip("TZF", texts, strict=True))
    values |= {"C": channel, "W": well_name(*cell)}
    name = PATTERN.fill({**values, "_": anything})
    assert PATTERN.match(f"/some/folder/{name}") == values


@given(
    t=st.from_regex(r"\d{3}", fullmatch=True), z=st.from_regex(r"\d{2}", fullmatch=True)
)
def test_groups_of_known_length_need_nothing_between(t: str, z: str) -> None:
    pattern = FilenamePattern.parse("{T:3}{Z:2}.png")
    assert pattern.match(pattern.fill({"T": t, "Z": z})) == {"T": t, "Z": z}


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("img_{C}_t{T}.tif", "img_a_test_t02.tif", {"T": "02", "C": "a_test"}),
        ("{W}/{W}_s{P}.tif", "x/A01/A01_s3.tif", {"P": "3", "W": "A01"}),
        ("{W}/{W}_s{P}.tif", "x/A01/A02_s3.tif", None),
        ("t{T}.tif", "t1.tiff", None),
        ("t{T}.tif", "xt1.tif", None),
        ("t{T:name}.tif", "tfirst.tif", {"T": "first"}),
        ("{C:number}.tif", "DAPI.tif", None),
        ("a+b(t{T}).tif", "a+b(t7).tif", {"T": "7"}),
        ("day\\t{T}.tif", "c/day/t7.tif", {"T": "7"}),
    ],
)
def test_what_a_pattern_finds(
    pattern: str, path: str, found: dict[str, str] | None
) -> None:
    assert FilenamePattern.parse(pattern).match(path) == found


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("img.tif", "has no group"),
        ("img_{Q}.tif", "{Q} is none of"),
        ("{T}{Z}.tif", "nothing is between"),
        ("{T:long}.tif", "neither"),
        ("{_}.tif", "no named group"),
        ("{T}_}.tif", "a brace"),
    ],
)
def test_a_wrong_pattern_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        FilenamePattern.parse(pattern)


def test_regular_expressions_name_their_groups() -> None:
    pattern = FilenamePattern.of_regex(r"day(?P<T>\d+)/(?P<C>\w+)\.png")
    assert pattern.groups == ("T", "C")
    assert pattern.match("x/day12/GFP.png") == {"T": "12", "C": "GFP"}
    assert pattern.match("GFP.png") is None
    for text, reason in (("(", "regular expression"), (r"\d+", "no named group")):
        with pytest.raises(ValueError, match=reason):
            FilenamePattern.of_regex(text)
    with pytest.raises(ValueError, match="the groups q"):
        FilenamePattern.of_regex(r"(?P<q>\d+)(?P<T>a)")


@given(st.integers(0, 31), st.integers(0, 47))
def test_wells_are_found_in_names(row: int, column: int) -> None:
    well = well_name(row, column)
    assert wells_in_names([f"plate_{well}_s2 t10", well]) == [well, well]


@pytest.mark.parametrize("name", ["field 3", "A01_B02", "AZ01", "A00", "XA01"])
def test_names_without_one_well_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"tells (no well|2 wells)"):
        wells_in_names([name])
