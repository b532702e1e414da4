"""The language of ``--select``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.cli.selection import parse_selection

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    shape = (5, 4, 3, 3, 6, 8)
    image = xr.DataArray(
        np.arange(np.prod(shape), dtype="u2").reshape(shape),
        dims=("T", "P", "Z", "C", "Y", "X"),
        coords={
            "T": ("T", np.arange(5) * 30.0, {"units": "s"}),
            "P": ["left", "right", "2", "left, again"],
            "well": ("P", ["A01", "A01", "B02", "B02"]),
            "Z": ("Z", [0.4, 0.1, -0.2], {"units": "um"}),
            "C": ["DAPI", "dapi", "488"],
            "X": ("X", np.arange(8) * 0.325, {"units": "um"}),
        },
    )
    return xr.Dataset({"image": image})


@pytest.mark.parametrize(
    ("text", "dim", "expected"),
    [
        ("T=3", "T", [3]),
        ("t=-1", "T", [4]),
        ("T=1:3", "T", [1, 2]),
        ("T=::2", "T", [0, 2, 4]),
        ("T=-2:", "T", [3, 4]),
        ("T=3:100", "T", [3, 4]),
        ("T=::-1", "T", [4, 3, 2, 1, 0]),
        ("T=4,0,1:3", "T", [4, 0, 1, 2]),
        ("T=30s:1.5min", "T", [1, 2, 3]),
        ("T=:60s", "T", [0, 1, 2]),
        ("T=80s", "T", [3]),
        ("Z=-200nm:0.1um", "Z", [1, 2]),
        ("Z=0.12um", "Z", [1]),
        ("X=0.65um:", "X", [2, 3, 4, 5, 6, 7]),
        ("C=DAPI", "C", [0]),
        ("C=dapi", "C", [1]),
        ("C=488,DAPI", "C", [2, 0]),
        ("C=0", "C", [0]),
        ("C=1:", "C", [1, 2]),
        ("P=RIGHT", "P", [1]),
        ("P=2", "P", [2]),
        ("P=3", "P", [3]),
        ("P='left, again',left", "P", [3, 0]),
        ("P=a1", "P", [0, 1]),
        ("P=B02", "P", [2, 3]),
        ("U=0", "U", [0]),
    ],
)
def test_places(
    text: str, dim: str, expected: Sequence[int], dataset: xr.Dataset
) -> None:
    found = parse_selection(text).apply(dataset)
    wanted = dataset.isel({dim: list(expected)}) if dim in dataset.dims else dataset
    xr.testing.assert_identical(found, wanted)


def test_several_dims_keep_their_names(dataset: xr.Dataset) -> None:
    found = parse_selection(' T = 0:2 , C = "488", DAPI, Z=1 ').apply(dataset)
    wanted = dataset.isel(T=slice(2), C=[2, 0], Z=[1])
    xr.testing.assert_identical(found, wanted)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("3", "begin with a dim"),
        ("Q=1", "Q is no dim"),
        ("T=1,T=2", "T is there twice"),
        ("T=one", "'one' is no place along T; examples are"),
        ("T=1um", "no place along T"),
        ("T=1.5", "no place along T"),
        ("U=a", "no place along U"),
        ("T=0:5:0", "step of 0:5:0 is 0"),
        ("C=a,,b", "nothing stands at"),
        ("T=", "nothing stands at"),
    ],
)
def test_what_is_no_selection(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="--select") as error:
        parse_selection(text)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("T=5", "there are 5 along T, from 0"),
        ("T=7:", "nothing is left along T"),
        ("T=1h:2h", "nothing is left along T"),
        ("T=1,0:2", "comes twice"),
        ("C=Cy5", "C=Cy5: there is none of that name among 3: DAPI, dapi, 488"),
        ("C=Dapi", "none of that name"),
        ("C='0'", "none of that name"),
        ("Y=1um:2um", "Y has no unit in this file"),
        ("U=1", "there are 1 along U"),
    ],
)
def test_what_a_file_does_not_have(text: str, reason: str, dataset: xr.Dataset) -> None:
    with pytest.raises(ValueError, match=r"T|C|Y|U") as error:
        parse_selection(text).apply(dataset)
    assert reason in str(error.value)


@given(st.text(alphabet="TPCZ=:,'\"-+0123456789umsa. ", max_size=20))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        found = parse_selection(text)
    except ValueError:
        return
    assert found.terms
