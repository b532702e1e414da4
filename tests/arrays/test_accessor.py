"""The ``.nd2`` accessor, read side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import limnd2_xr
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPEC = SyntheticSpec(
    loops=(
        TimeLoop(3),
        PositionLoop((Point(1, 2, name="a"), Point(3, 4, name="b"))),
        ZLoop(2),
    ),
    channels=(
        ChannelSpec("DAPI", emission_nm=450.0),
        ChannelSpec("GFP", emission_nm=510.0),
    ),
    times_ms=np.arange(12) * 100.0,
    julian_day=2460742.25,
    position_um=(0.0, 0.0, 50.0),
)


@pytest.fixture(scope="module")
def ds() -> Iterator[xr.Dataset]:
    with xr.open_dataset(build(SPEC).data, engine="nd2") as opened:
        yield opened


def test_metadata_is_the_whole_document(ds: xr.Dataset) -> None:
    document = ds.nd2.metadata
    assert [channel.name for channel in document.channels] == ["DAPI", "GFP"]
    assert [loop.dim for loop in document.experiment.loops] == ["T", "P", "Z"]
    assert ds["image"].nd2.metadata == document
    assert ds["image"].isel(T=0).nd2.metadata == document


def test_metadata_of_something_else_is_an_error() -> None:
    for other in (xr.Dataset(), xr.DataArray(1)):
        with pytest.raises(limnd2_xr.Nd2Error, match=r"not opened from an \.nd2 file"):
            _ = other.nd2.metadata


def test_frame_metadata_is_that_of_the_frame(ds: xr.Dataset) -> None:
    frame = ds.nd2.frame_metadata(T=1, P=1, Z=0)
    assert frame.labels == {"T": 1.0, "P": "b", "Z": ds["Z"].values[0]}
    assert frame.time_s == pytest.approx(0.6)
    assert frame.acquired == np.datetime64("2025-03-07T18:00:00.600000")
    assert frame.stage_um == (3.0, 4.0, 50.0)
    assert not frame.missing
    assert [channel.emission_nm for channel in frame.channels] == [450.0, 510.0]


def test_frame_metadata_follows_selections(ds: xr.Dataset) -> None:
    part = ds["image"].isel(T=slice(1, 3), Z=[1]).sel(P="b", C=["GFP"])
    frame = part.nd2.frame_metadata(T=1)
    assert frame.labels == {"T": 2.0, "P": "b", "Z": ds["Z"].values[1]}
    assert frame.time_s == pytest.approx(1.1)
    assert [channel.name for channel in frame.channels] == ["GFP"]


@pytest.mark.parametrize(
    ("indices", "error", "text"),
    [
        ({"T": 0}, ValueError, "P=0..1, Z=0..1"),
        ({"T": 0, "P": 0, "Z": 0, "Q": 1}, ValueError, "Q is not among"),
        ({"T": 0, "P": 0, "Z": 0, "C": 1}, ValueError, "C is not among"),
        ({"T": 3, "P": 0, "Z": 0}, IndexError, "out of bounds"),
    ],
)
def test_wrong_indices_are_an_error(
    ds: xr.Dataset, indices: dict[str, int], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        ds.nd2.frame_metadata(**indices)


def test_unknown_values_are_none() -> None:
    file = build(
        SyntheticSpec(
            metadata="none", omit_chunks=frozenset({"CustomData|AcqTimesCache!"})
        )
    )
    with xr.open_dataset(file.data, engine="nd2") as ds:
        frame = ds.nd2.frame_metadata()
    assert frame.labels == {}
    assert frame.acquired is None
    assert frame.stage_um == (None, None, None)


def test_source_is_the_path_until_arithmetic(tmp_path: Path) -> None:
    path = build(SPEC).save(tmp_path / "cells.nd2")
    with xr.open_dataset(path) as ds:
        assert ds.nd2.source == str(path)
        assert ds["image"].nd2.source == str(path)
        assert ds["image"].isel(T=0).nd2.source == str(path)
        assert (ds["image"] + 1).nd2.source is None


@pytest.mark.filterwarnings("ignore::limnd2_xr.errors.Nd2Warning")
def test_missing_frames_are_labelled_and_follow_selections(tmp_path: Path) -> None:
    spec = SyntheticSpec(
        loops=(TimeLoop(3), ZLoop(2, step_um=2.0)), missing=frozenset({1, 4})
    )
    with xr.open_dataset(build(spec).data, engine="nd2") as ds:
        low, high = ds["Z"].values.tolist()
        assert ds.nd2.missing_frames == [{"T": 0.0, "Z": high}, {"T": 2.0, "Z": low}]
        for labels in ds.nd2.missing_frames:
            assert not ds["image"].sel(labels).any()
        assert ds["image"].isel(T=slice(1, None)).nd2.missing_frames == [
            {"T": 2.0, "Z": low}
        ]
        assert ds.isel(T=2).nd2.missing_frames == [{"Z": low}]
        assert ds.isel(T=2, Z=0).nd2.missing_frames == [{}]
        assert ds.isel(T=1).nd2.missing_frames == []
        assert ds.nd2.frame_metadata(T=0, Z=1).missing


def test_sound_files_have_no_missing_frames(ds: xr.Dataset) -> None:
    assert ds.nd2.missing_frames == []
    assert ds["image"].nd2.missing_frames == []


@pytest.mark.parametrize("given", [xr.Dataset, xr.DataArray])
def test_accessor_exists_on_anything(given: Any) -> None:
    assert given().nd2.source is None
