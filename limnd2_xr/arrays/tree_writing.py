"""A whole tree to a file: the image at its root and what its groups hold."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import xarray as xr

from limnd2_xr.arrays.beside import Beside
from limnd2_xr.arrays.chunk_access import source_of
from limnd2_xr.arrays.dataset import IMAGE, image_encoding, image_of, open_state
from limnd2_xr.arrays.deepsim_group import DEEPSIM, RawImages, deepsim_group
from limnd2_xr.arrays.lazy import OpenWhileRead, PerFrameArray
from limnd2_xr.arrays.levels import LevelArray
from limnd2_xr.arrays.opened_pixels import is_of_file, opened_pixels
from limnd2_xr.arrays.results import RESULTS, companion_of
from limnd2_xr.arrays.stored_pixels import WriteOptions
from limnd2_xr.arrays.write import write_nd2
from limnd2_xr.arrays.write_plan import report_losses
from limnd2_xr.container.sink import PartialFile
from limnd2_xr.errors import Nd2Error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dask.delayed import Delayed

    from limnd2_xr.arrays.stored_pixels import OnLoss
    from limnd2_xr.container.source import SourceSpec

__all__ = ["write_tree"]

_LEVEL: Final = re.compile("levels/([1-9][0-9]?)", re.ASCII)
_TABLES: Final = ("labels", "rois", "events", "recorded", "deepsim")


def write_tree(
    tree: xr.DataTree,
    path: str | os.PathLike[str],
    *,
    encoding: Mapping[str, Mapping[str, Any]] | None = None,
    pyramid: bool = False,
    overwrite: bool = False,
    compute: bool = True,
    progress: bool = False,
    on_loss: OnLoss = "warn",
) -> Delayed | None:
    """Write a tree to a file that holds just its groups.

    Parameters
    ----------
    tree
        With the image at its root.
    path, encoding, pyramid, overwrite, compute, progress, on_loss
        As for `Nd2DataTreeAccessor.to_nd2`.
    """
    root = tree.to_dataset()
    image = image_of(root)
    groups = _Groups.of(tree)
    groups.check_raw_images(image)
    # Copies of what the pixels were are no copies of what they are now.
    pyramid = pyramid or (
        opened_pixels(image) is None
        and bool(groups.levels)
        and all(is_of_file(level, LevelArray) for level in groups.levels.values())
    )
    options = image_encoding(image, encoding)
    converted = {name: options.pop(name, None) for name in ("dtype", "scale")}
    report_losses(groups.strange, on_loss)
    results = _results_to_copy(groups.results, root, path, overwrite=overwrite)
    written = write_nd2(
        image,
        path,
        options=WriteOptions(**options, pyramid=pyramid, on_loss=on_loss),
        beside=groups.beside(pyramid=pyramid),
        overwrite=overwrite,
        compute=compute,
        progress=progress,
        **converted,
    )
    if results is None:
        return written
    if compute:
        _copy(written, *results, overwrite)
        return None
    from dask.delayed import delayed

    later: Delayed = delayed(_copy)(written, *results, overwrite)
    return later


@dataclass(frozen=True, slots=True, kw_only=True)
class _Groups:
    """Groups of a tree, by what a file does with them."""

    tables: dict[str, xr.Dataset] = field(default_factory=dict)
    levels: dict[int, xr.DataArray] = field(default_factory=dict)
    results: dict[str, xr.Dataset] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)
    """What is said of groups that a file has no place for."""

    @classmethod
    def of(cls, tree: xr.DataTree) -> _Groups:
        """Sort the groups below the root; those without anything in them are none."""
        found = cls()
        for node in tree.descendants:
            path = node.relative_to(tree)
            level = _LEVEL.fullmatch(path)
            if not node.has_data and not node.attrs:
                continue
            if path in _TABLES:
                found.tables[path] = node.to_dataset(inherit=False)
            elif level is not None:
                found.levels[int(level[1])] = _level_image(
                    node.to_dataset(inherit=False), path
                )
            elif path.split("/", 1)[0] == RESULTS:
                found.results[path] = node.to_dataset(inherit=False)
            else:
                found.strange.append(f"group {path} (a file has no place for it)")
        return found

    def check_raw_images(self, image: xr.DataArray) -> None:
        """Note raw images of a DeepSIM that are not those of the file behind the image.

        They are taken along as chunks, and not made from arrays.
        """
        raw = self.tables.get("deepsim")
        if raw is None:
            return
        try:
            edited = _unlike_stored(raw, source_of(image))
        except Nd2Error:
            self.strange.append(
                "group deepsim (raw images are copied from the .nd2 file that the image "
                "was opened from)"
            )
            return
        if edited:
            self.strange.append(
                f"{', '.join(edited)} of group deepsim (raw images are copied as they are)"
            )

    def beside(self, *, pyramid: bool) -> Beside:
        """Return what is to be written beside the image: nothing but this."""
        from limnd2_xr.arrays.column_writing import columns_from_dataset

        recorded = self.tables.get("recorded")
        return Beside(
            labels=self.tables.get("labels"),
            rois=self.tables.get("rois"),
            events=self.tables.get("events"),
            columns={} if recorded is None else columns_from_dataset(recorded),
            levels=self.levels if self.levels and not pyramid else None,
            deepsim="deepsim" in self.tables,
            exact=True,
        )


def _unlike_stored(raw: xr.Dataset, spec: SourceSpec) -> list[str]:
    """Names of raw images and settings that a file has not, or others of."""
    kinds = (RawImages, PerFrameArray)
    suspects = [n for n, array in raw.data_vars.items() if not is_of_file(array, kinds)]
    if not suspects:
        return []
    state = open_state(spec, on_damage="ignore")  # told when it was opened
    stored = deepsim_group(state, OpenWhileRead(state)).get(DEEPSIM, xr.Dataset())
    return [
        str(name)
        for name in suspects
        if name not in stored
        or (
            # What becomes of a selection is told elsewhere.
            stored[name].sizes == raw[name].sizes
            and not stored[name].variable.equals(raw[name].variable)
        )
    ]


def _level_image(dataset: xr.Dataset, path: str) -> xr.DataArray:
    if IMAGE not in dataset:
        raise ValueError(
            f"group {path} has no variable {IMAGE!r}, but "
            f"{', '.join(map(str, dataset.data_vars)) or 'none'}"
        )
    return dataset[IMAGE]


def _results_to_copy(
    results: Mapping[str, xr.Dataset],
    root: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    overwrite: bool,
) -> tuple[Path, Path] | None:
    """Return the file of results beside the source and its copy to be; None without."""
    if not results:
        return None
    try:
        spec = source_of(root)
    except Nd2Error:
        spec = None
    found = (
        companion_of(spec.location)
        if spec is not None and spec.kind == "path"
        else None
    )
    if found is None:
        raise ValueError(
            "the tree has results of an analysis, but the .h5 file that holds them is not "
            f'beside its source: drop them with tree.drop_nodes("{RESULTS}")'
        )
    _check_unedited(results, found)
    copy = Path(os.fspath(path)).expanduser().with_suffix(".h5")
    if copy.exists() and not overwrite and not copy.samefile(found):
        raise FileExistsError(f"{copy} is there already: pass overwrite=True")
    return found, copy


def _check_unedited(results: Mapping[str, xr.Dataset], file: Path) -> None:
    """Refuse tables that are not those of the file, which is copied as it is."""
    from limnd2_xr.arrays.results import open_results

    stored = open_results(file)
    unlike = sorted(
        path
        for path in {*stored, *results}
        if path not in stored
        or path not in results
        or not stored[path].identical(results[path])
    )
    if unlike:
        raise ValueError(
            f"{', '.join(unlike[:3])} {'are' if len(unlike) > 1 else 'is'} not as in "
            f"{file}: results are copied with that file, whole or not at all; "
            f'tree.drop_nodes("{RESULTS}") leaves them out'
        )


def _copy(_written: Any, source: Path, target: Path, overwrite: bool) -> None:
    """Copy a file so that its name never stands for half of it."""
    if target.exists() and target.samefile(source):
        return
    with PartialFile.create(target, overwrite=overwrite) as partial:
        shutil.copyfile(source, partial.path)
        partial.commit()
