"""OME metadata, OME-TIFF and OME-Zarr of a file, by this package's exports."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from limnd2_xr.arrays.dataset import dataset_of, remember_opening
from limnd2_xr.compat.nd2.loops import experiment_of
from limnd2_xr.compat.nd2.structures import XYPosLoop

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    import xarray as xr
    from ome_types import OME

    from limnd2_xr.compat.nd2.session import Session
    from limnd2_xr.frames.store import StoreState

__all__ = ["ome_metadata", "write_ome_zarr", "write_tiff"]

_BACKENDS: Final = ("zarr", "tensorstore", "auto")
_WELL: Final = re.compile(r"[A-Z]+0*[1-9][0-9]*")


@contextmanager
def _dataset(session: Session) -> Iterator[xr.Dataset]:
    """Lend the file as a dataset."""
    state = session.state
    dataset = dataset_of(state)
    remember_opening(dataset, state.damage, on_damage="ignore")  # told when opened
    with dataset:
        yield dataset


def ome_metadata(
    session: Session, *, include_unstructured: bool, tiff_file_name: str | None
) -> OME:
    """Describe a file as `ND2File.ome_metadata` promises."""
    from limnd2_xr.export.ome_model import to_ome

    with _dataset(session) as dataset:
        ome = to_ome(dataset, annotations=include_unstructured)
    _name_as_nd2(ome, session)
    if tiff_file_name is not None:
        _refer_to_pages(ome, tiff_file_name)
    return ome


def _name_as_nd2(ome: OME, session: Session) -> None:
    """Call images and give times of planes as nd2 does: by their position, and in ms."""
    from ome_types.model import UnitsTime

    names = _position_names(session.state)
    if len(names) != len(ome.images):
        names = [""] * len(ome.images)
    stem = Path(session.path or "").stem
    for number, (image, name) in enumerate(zip(ome.images, names, strict=True)):
        series = f" (Series {number})" if len(ome.images) > 1 else ""
        image.name = name or stem + series or image.name
        for plane in image.pixels.planes:
            if plane.delta_t is not None:
                plane.delta_t = round(plane.delta_t * 1000, 6)
            if plane.exposure_time is not None:
                plane.exposure_time = round(plane.exposure_time * 1000, 9)
            plane.delta_t_unit = plane.exposure_time_unit = UnitsTime.MILLISECOND


def _position_names(state: StoreState) -> list[str]:
    """Names of all stage positions, ``""`` for those without."""
    points = [
        point
        for loop in experiment_of(state)
        if isinstance(loop, XYPosLoop)
        for point in loop.parameters.points
    ]
    return [point.name or "" for point in points][: state.axes.size("P")]


def _refer_to_pages(ome: OME, name: str) -> None:
    """Say of each plane which page of a file it is: one after the other."""
    from ome_types import model

    uuid = model.TiffData.UUID(value=f"urn:uuid:{uuid4()}", file_name=name)
    page = 0
    for image in ome.images:
        blocks = []
        for plane in image.pixels.planes:
            blocks.append(
                model.TiffData(
                    uuid=uuid,
                    ifd=page,
                    first_c=plane.the_c,
                    first_t=plane.the_t,
                    first_z=plane.the_z,
                    plane_count=1,
                )
            )
            page += 1
        image.pixels.metadata_only = None
        image.pixels.tiff_data_blocks = blocks


def write_tiff(
    session: Session,
    dest: str | os.PathLike[str],
    *,
    include_unstructured_metadata: bool,
    progress: bool,
    on_frame: Callable[[int, int, dict[str, int]], None] | None,
    modify_ome: Callable[[OME], None] | None,
) -> None:
    """Write a file as `ND2File.write_tiff` promises."""
    from limnd2_xr.export.ome_tiff import to_ome_tiff

    path = Path(dest)
    is_ome = ".ome." in path.name

    def modify(ome: OME) -> None:
        _name_as_nd2(ome, session)
        if is_ome and modify_ome is not None:
            modify_ome(ome)

    with _dataset(session) as dataset:
        to_ome_tiff(
            dataset,
            path,
            bigtiff=True,
            annotations=include_unstructured_metadata and is_ome,
            modify_ome=modify,
            on_frame=on_frame,
            overwrite=True,
            progress=progress,
        )


def write_ome_zarr(
    session: Session,
    dest: str | os.PathLike[str],
    *,
    chunk_shape: Any,
    shard_shape: Any,
    backend: str,
    position: int | None,
    include_labels: bool,
    version: str,
    overwrite: bool,
    progress: bool,
) -> Path:
    """Write a file as `ND2File.write_ome_zarr` promises."""
    from limnd2_xr.export.ome_zarr import to_ome_zarr
    from limnd2_xr.export.ome_zarr_plan import OmeZarrOptions

    if version != "0.5":
        raise ValueError(f"Only version '0.5' is supported, not {version!r}")
    if backend not in _BACKENDS:
        raise ValueError(f"backend must be one of {_BACKENDS}, not {backend!r}")
    with _dataset(session) as dataset:
        count = dataset.sizes.get("P", 1)
        if position is not None and not -count <= position < count:
            raise IndexError(
                f"Position {position} out of range. File has {count} positions."
            )
        sizes = dataset["image"].sizes
        dims = [d for d in ("T", "C", "Z", "Y", "X") if d in sizes]
        if chunk_shape is None:  # one chunk
            chunk_shape = [sizes[d] for d in dims]
        options = OmeZarrOptions(
            pyramid=False,
            chunks=_by_dim(chunk_shape, dims),
            shards=_by_dim(shard_shape, dims),
        )
        to_ome_zarr(
            _with_wells(dataset, session.state) if position is None else dataset,
            dest,
            labels=include_labels,
            options=options,
            positions=None if position is None else position % count,
            overwrite=overwrite,
            progress=progress,
        )
    return Path(dest)


def _with_wells(dataset: xr.Dataset, state: StoreState) -> xr.Dataset:
    """Add the wells that positions are in by their names: if all are of the form A1."""
    if dataset.sizes.get("P", 1) == 1 or "well" in dataset.coords:
        return dataset
    names = _position_names(state)
    if len(names) < dataset.sizes["P"] or not all(map(_WELL.fullmatch, names)):
        return dataset
    return dataset.assign_coords(well=("P", names))


def _by_dim(shape: Any, dims: Sequence[str]) -> dict[str, int] | None:
    """Sizes of chunks by dim: they are given for the last axes of an image."""
    if shape is None or shape == "auto":
        return None
    if len(shape) > len(dims):
        raise ValueError(f"{shape} has more axes than the image: {', '.join(dims)}")
    return dict(zip(dims[-len(shape) :], shape, strict=True))
