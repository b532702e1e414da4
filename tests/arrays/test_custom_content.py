"""The form, the identifiers, the job and the settings in a file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import xarray as xr

import limnd2_xr
from limnd2_xr.model.jobs import JOB_RUN_ID, Job
from limnd2_xr.testing.contents import contents
from limnd2_xr.testing.synthetic import SyntheticSpec, build

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = SyntheticSpec(width=30, height=20)


@pytest.fixture
def whole(tmp_path: Path) -> xr.Dataset:
    spec = replace(PLAIN, extra_chunks=contents(PLAIN))
    return xr.open_dataset(build(spec).save(tmp_path / "a.nd2"))


def test_what_users_and_programs_keep(whole: xr.Dataset) -> None:
    form = whole.nd2.custom_description
    assert form is not None
    assert [(item.name, item.answer) for item in form.items] == [
        ("Dye", "Hoechst"),
        ("Passage", 7.0),
    ]
    assert whole.nd2.guids is not None
    assert whole.nd2.guids.children == ("{2}",)
    run = whole["image"].nd2.job
    assert run is not None
    assert run.run_id.endswith("7}")
    assert isinstance(run.job, Job)
    assert (run.job.name, run.job.description) == ("Plate scan", "every hour")


def test_settings_are_a_mapping(whole: xr.Dataset) -> None:
    settings = whole.nd2.custom_data
    assert "BinaryMetadata_v1" in settings
    assert "nothing" not in settings
    assert list(settings)
    assert len(settings) == len(list(settings))
    layers = settings["BinaryMetadata_v1"]["BinaryMetadata_v1"]
    assert "nuclei" in str(layers)
    with pytest.raises(KeyError):
        settings["nothing"]


def test_files_without_them(tmp_path: Path) -> None:
    spec = replace(PLAIN, omit_chunks=frozenset({"CustomDataVar|AppInfo_V1_0!"}))
    with xr.open_dataset(build(spec).save(tmp_path / "a.nd2")) as ds:
        assert ds.nd2.custom_description is None
        assert ds.nd2.guids is None
        assert ds.nd2.job is None
        assert "AppInfo_V1_0" not in ds.nd2.custom_data


def test_damage_names_the_chunk(tmp_path: Path) -> None:
    spec = replace(PLAIN, extra_chunks={JOB_RUN_ID: b"abc"})
    with (
        xr.open_dataset(build(spec).save(tmp_path / "a.nd2")) as ds,
        pytest.raises(limnd2_xr.CorruptChunk, match="JobRunGUIDV1_0!"),
    ):
        _ = ds.nd2.job


def test_an_array_without_a_file_says_so() -> None:
    array = xr.DataArray([[1]], dims=("Y", "X"))
    for name in ("custom_description", "guids", "job", "custom_data"):
        with pytest.raises(limnd2_xr.Nd2Error, match="does not remember its file"):
            getattr(array.nd2, name)
