"""A reader's file as a dataset, and what is exported of that."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from limnd2_xr.arrays.dataset import dataset_of, remember_opening

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    import xarray as xr

    from limnd2_xr.compat.limnd2.reader import Nd2Reader

__all__ = ["dataset_of_reader", "to_ome_zarr"]


@contextmanager
def dataset_of_reader(reader: Nd2Reader) -> Iterator[xr.Dataset]:
    """Lend the file of a reader as a dataset."""
    state = reader.chunker.state
    dataset = dataset_of(state)
    remember_opening(dataset, state.damage, on_damage="ignore")  # told when opened
    with dataset:
        yield dataset


def to_ome_zarr(
    reader: Nd2Reader,
    path: str | os.PathLike[str],
    *,
    include_binaries: bool,
    overwrite: bool,
) -> Path:
    """Write a file as `Nd2Reader.to_ome_zarr` promises."""
    from limnd2_xr.export.ome_zarr import to_ome_zarr as export

    with dataset_of_reader(reader) as dataset:
        export(dataset, path, labels=include_binaries, overwrite=overwrite)
    return Path(path)
