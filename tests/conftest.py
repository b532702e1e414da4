"""Shared fixtures: hypothesis profiles, sample files, the open-file check."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import xarray as xr
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

settings.register_profile(
    "dev",
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "ci",
    max_examples=200,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
xr.set_options(warn_for_unclosed_files=True)

REPO = Path(__file__).resolve().parents[1]
SAMPLES = Path(os.environ.get("LIMND2_XR_DATA", REPO.parent / "shared" / "samples"))


def _sample(folder: str, name: str) -> Path:
    path = SAMPLES / folder / f"{name}.nd2"
    if not path.exists():
        pytest.skip(f"sample file {path} is not here (set LIMND2_XR_DATA)")
    return path


@pytest.fixture(scope="session")
def real_file() -> Callable[[str], Path]:
    """Path of a file of samples/real by its stem; skips where it is absent."""
    return lambda name: _sample("real", name)


@pytest.fixture(scope="session")
def made_file() -> Callable[[str], Path]:
    """Path of a file of samples/made by its stem; skips where it is absent."""
    return lambda name: _sample("made", name)


@pytest.fixture(autouse=True)
def _no_nd2_left_open() -> Iterator[None]:
    yield
    left = [f.path for f in psutil.Process().open_files() if f.path.endswith(".nd2")]
    assert not left
