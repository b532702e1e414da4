"""Files of any format for which a reader of bioio is installed."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.conversion.ome_described import axis, ome_images, z_axis
from limnd2_xr.conversion.ome_image import described_by_ome
from limnd2_xr.conversion.source_image import Reading, SourceImage
from limnd2_xr.errors import Nd2Error, UnsupportedFeature

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray as xr

__all__ = ["open_bioio"]


def open_bioio(path: str, reading: Reading) -> list[SourceImage]:
    """Open a file by the first reader of bioio that takes files of its name.

    Parameters
    ----------
    path
        Of the file.
    reading
        How to understand it: scenes are images, tiles of a mosaic positions.

    Raises
    ------
    UnsupportedFeature
        If no installed reader takes it.
    Nd2Error
        If the reader fails.
    """
    failures = []
    for name, reader_of in _readers(path):
        try:
            reader = reader_of(path)
            scenes = list(reader.scenes)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - readers raise anything
            failures.append(f"{name}: {error}")
            continue
        chosen = [
            number for number in range(len(scenes)) if reading.series in {None, number}
        ]
        if not chosen:
            raise Nd2Error(
                f"the file has {len(scenes)} images: no {reading.series}", path=path
            )
        try:
            return [_scene(reader_of, path, number, name) for number in chosen]
        except (MemoryError, Nd2Error):
            raise
        except Exception as error:
            raise Nd2Error(f"{name} cannot read it: {error}", path=path) from error
    if failures:
        raise Nd2Error("; ".join(failures), path=path)
    suffix = PurePath(path).suffix or "this name"
    raise UnsupportedFeature(
        f"nothing installed reads files of {suffix}; if bioio has a reader for them "
        "(bioio-devs.github.io lists them, bioio-czi for .czi), pip install it",
        path=path,
    )


def _readers(path: str) -> Iterator[tuple[str, Any]]:
    """Yield name and class of the readers that take files of a name."""
    lower = path.lower()
    for entry in sorted(entry_points(group="bioio.readers"), key=lambda e: e.name):
        try:
            metadata = import_module(entry.value).ReaderMetadata
            suffixes = metadata.get_supported_extensions()
            reader = metadata.get_reader()
        except Exception:  # noqa: BLE001, S112 - one broken plug-in is not our concern
            continue
        if any(lower.endswith(f".{str(s).lower().lstrip('.')}") for s in suffixes):
            yield entry.name, reader


def _scene(reader_of: Any, path: str, number: int, name: str) -> SourceImage:
    # A reader shows one scene at a time, so that each gets one of its own.
    reader = reader_of(path)
    scenes = list(reader.scenes)
    reader.set_scene(number)
    array: xr.DataArray = reader.xarray_dask_data
    if "M" in array.dims:
        array = array.isel(M=0) if array.sizes["M"] == 1 else array.rename(M="P")
    drop = [dim for dim in "TZ" if dim in array.dims and array.sizes[dim] == 1]
    pixels = array.variable.isel(dict.fromkeys(drop, 0))
    sizes = {str(dim): size for dim, size in pixels.sizes.items()}
    image = SourceImage(
        pixels=pixels,
        path=path,
        format=name,
        part=f"scene {number}" if len(scenes) > 1 else "",
        name=str(scenes[number]),
        coords=_calibration(reader, array, sizes),
    )
    try:
        ome = ome_images(reader.ome_metadata.to_xml())
    except Exception:  # noqa: BLE001 - many readers have none, each says so otherwise
        return image
    return described_by_ome(image, ome[number]) if len(ome) == len(scenes) else image


def _calibration(
    reader: Any, array: xr.DataArray, sizes: dict[str, int]
) -> dict[str, xr.Variable]:
    coords: dict[str, xr.Variable] = {}
    if "C" in array.coords and "C" in sizes:
        names = np.asarray(array.coords["C"].values).astype(str)
        coords["C"] = array.coords["C"].variable.to_base_variable().copy(data=names)
    size = reader.physical_pixel_sizes
    for dim in "YX":
        edge = getattr(size, dim)
        if edge:
            coords[dim] = axis(dim, np.arange(sizes[dim]) * float(edge), "um")
    if size.Z and "Z" in sizes:
        coords["Z"] = z_axis(sizes["Z"], float(size.Z))
    step = getattr(reader, "time_interval", None)
    if step is not None and "T" in sizes:
        seconds = step.total_seconds() if hasattr(step, "total_seconds") else None
        if seconds:
            coords["T"] = axis("T", np.arange(sizes["T"]) * seconds, "s")
    return coords
