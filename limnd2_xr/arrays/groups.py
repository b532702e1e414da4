"""Everything in a file as datasets by group: the image at the root, the rest below.

A part of a file that is damaged costs a warning and its group, never the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limnd2_xr.arrays.dataset import (
    dataset_of,
    open_state,
    remember_opening,
)
from limnd2_xr.arrays.deepsim_group import deepsim_group
from limnd2_xr.arrays.file_manager import FileManager
from limnd2_xr.arrays.file_variable import with_file_keys
from limnd2_xr.arrays.labels import labels_group
from limnd2_xr.arrays.levels import levels_group
from limnd2_xr.arrays.regions_of_interest import rois_group
from limnd2_xr.arrays.results import companion_of, open_results
from limnd2_xr.arrays.tables import events_group, recorded_group
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.damage import DamageReport, report_damage
from limnd2_xr.errors import Nd2Error, warn_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import xarray as xr

    from limnd2_xr.damage import OnDamage
    from limnd2_xr.frames.store import MissingFrames, StoreState

__all__ = ["groups_of", "open_groups"]


def open_groups(
    file: Any,
    *,
    drop_variables: str | Iterable[str] | None = None,
    storage_options: dict[str, Any] | None = None,
    full_dims: bool = False,
    missing: MissingFrames = "fill",
    on_damage: OnDamage = "warn",
) -> dict[str, xr.Dataset]:
    """Open a file as datasets by group path, e.g. ``"/"`` and ``"/labels"``.

    Parameters
    ----------
    file, drop_variables, storage_options, full_dims, missing, on_damage
        As for `limnd2_xr.arrays.dataset.open_dataset`; variables are dropped from the
        image.
    """
    spec = SourceSpec.of(file, storage_options)
    names = (
        [drop_variables] if isinstance(drop_variables, str) else drop_variables or ()
    )
    with DamageReport(spec.name, on_damage) as report:
        state = open_state(
            spec, full_dims=full_dims, missing=missing, on_damage=on_damage
        )
        groups = {"/": dataset_of(state, frozenset(names)), **groups_of(state)}
    remember_opening(
        groups["/"],
        report.texts,
        drop_variables=tuple(names),
        full_dims=full_dims,
        missing=missing,
        on_damage=on_damage,
    )
    return groups


def groups_of(state: StoreState) -> dict[str, xr.Dataset]:
    """All groups of a file but the image, by path; those that it has something for.

    Parameters
    ----------
    state
        What opening the file found out.

    Warns
    -----
    Nd2Warning
        For each part that is damaged, naming its chunk.
    """
    manager = FileManager(state)
    groups: dict[str, xr.Dataset] = {}
    for build in _BUILDERS:
        try:
            made = build(state, manager)
        except Nd2Error as error:
            located = error.located(path=state.spec.name)
            report_damage(located, "this part of the file is left out")
            continue
        for path, given in made.items():
            dataset = given.assign(
                {name: with_file_keys(array.variable) for name, array in given.items()}
            )
            dataset.encoding["source"] = state.spec.name
            dataset.set_close(manager.close)
            groups[path] = dataset
    # Descriptions were read; the file is opened again when data are asked for.
    manager.close()
    return groups


def results_group(state: StoreState, manager: FileManager) -> dict[str, xr.Dataset]:
    """Return the tables of analyses from the ``.h5`` beside the file, if there is one.

    Parameters
    ----------
    state
        What opening the file found out.
    manager
        Owner of the open file, which this does not need.
    """
    del manager
    companion = companion_of(state.spec.location) if state.spec.kind == "path" else None
    if companion is None:
        return {}
    try:
        found = open_results(companion)
    except ImportError as error:
        warn_user(f"{error}; the results are left out")
        return {}
    return {f"/{path}": dataset for path, dataset in found.items()}


_BUILDERS: tuple[
    Callable[[StoreState, FileManager], dict[str, xr.Dataset]],
    ...,
] = (
    labels_group,
    rois_group,
    recorded_group,
    events_group,
    levels_group,
    deepsim_group,
    results_group,
)
"""Each makes the groups of one kind of content."""
