"""What `nd2.ND2File` shows of a file, value for value, and how two of them differ."""

from __future__ import annotations

import dataclasses
import math
import warnings
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


def frames(file: Any) -> range:
    return range(len(file.loop_indices))


def frame_indices(file: Any) -> list[tuple[int, ...]]:
    return list(np.ndindex(*file._coord_shape)) if file._coord_shape else []


def labelled(file: Any, **options: Any) -> dict[str, Any]:
    """Return a labelled array but for the order of axes of length 1."""
    array = file.to_xarray(**options)
    metadata = array.attrs.pop("metadata")
    assert not array.attrs
    long = [dim for dim in array.dims if array.sizes[dim] > 1]
    short = sorted(set(array.dims) - set(long))
    return {
        "dims": [*short, *long],
        "values": array.transpose(*short, *long).values,
        "coords": {name: coord.values for name, coord in array.coords.items()},
        "text_info": metadata["text_info"],
        "attributes": metadata["attributes"],
        "metadata": sorted(metadata),
    }


def ome(file: Any) -> list[dict[str, Any]]:
    """Return what of an OME document does not depend on how much it tells."""
    return [
        {
            "sizes": [getattr(image.pixels, f"size_{dim}") for dim in "xyzt"],
            "name": image.name,
            "type": image.pixels.type.value,
            "pixel": [
                image.pixels.physical_size_x,
                image.pixels.physical_size_y,
            ],
            "channels": [channel.name for channel in image.pixels.channels],
        }
        for image in file.ome_metadata().images
    ]


def reopened(file: Any) -> list[Any]:
    """Say what closing and opening does; the file stays open."""
    states = [file.closed]
    file.close()
    file.close()
    states += [file.closed, file.path, file.version]
    with file:
        states.append(file.closed)
    states.append(file.closed)
    with file as same:
        states += [same is file, file.read_frame(0).shape]
    return states


def _then_open(probe: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def run(file: Any) -> Any:
        try:
            return probe(file)
        finally:
            file.open()

    return run


def _get(name: str) -> Callable[[Any], Any]:
    return lambda file: getattr(file, name)


PROPERTIES = [
    "attributes",
    "binary_data",
    "closed",
    "components_per_channel",
    "custom_data",
    "dtype",
    "experiment",
    "is_legacy",
    "is_rgb",
    "loop_indices",
    "metadata",
    "nbytes",
    "ndim",
    "path",
    "rois",
    "shape",
    "size",
    "sizes",
    "text_info",
    "version",
]
PROBES: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    **{name: {name: _get(name)} for name in PROPERTIES},
    "asarray": {
        "asarray()": lambda f: f.asarray(),
        "asarray(0)": lambda f: f.asarray(0),
        "asarray(1)": lambda f: f.asarray(1),
        "asarray('')": lambda f: f.asarray("no such position"),
        "asarray(name)": lambda f: f.asarray(f._position_names()[-1]),
        "np.asarray": np.asarray,
    },
    "events": {
        "events()": lambda f: f.events(),
        "events('list')": lambda f: f.events(orient="list"),
        "events('dict')": lambda f: f.events(orient="dict"),
        "events(null_value)": lambda f: f.events(orient="dict", null_value=None),
        "events('?')": lambda f: f.events(orient="?"),
    },
    "frame_metadata": {
        "frame_metadata": lambda f: [f.frame_metadata(i) for i in frames(f)],
        "frame_metadata(-1)": lambda f: (
            repr(f.frame_metadata(-1)) == repr(f.frame_metadata(len(frames(f)) - 1))
        ),
        "frame_metadata(tuple)": lambda f: [
            repr(f.frame_metadata(at)) == repr(f.frame_metadata(i))
            for i, at in enumerate(frame_indices(f))
        ],
        "frame_metadata(beyond)": lambda f: f.frame_metadata(1000),
        "frame_metadata(wrong)": lambda f: f.frame_metadata((0,) * 7),
    },
    "is_supported_file": {"is_supported_file": lambda f: f.is_supported_file(f.path)},
    "jobs": {"jobs": lambda f: f.jobs()},
    "ome_metadata": {"ome_metadata": ome},
    "open": {"open": _then_open(reopened)},
    "close": {"close": _then_open(lambda f: (f.close(), f.closed))},
    "read_frame": {
        "read_frame": lambda f: [f.read_frame(i) for i in frames(f)],
        "read_frame('0')": lambda f: f.read_frame("0"),
        "read_frame(1000)": lambda f: f.read_frame(1000),
    },
    "to_dask": {
        "to_dask": lambda f: f.to_dask().compute(),
        "to_dask(plain)": lambda f: f.to_dask(wrapper=False, copy=False).compute(),
        "to_dask.dtype": lambda f: (f.to_dask().dtype, f.to_dask().shape),
    },
    "to_xarray": {
        "to_xarray": labelled,
        "to_xarray(delayed)": lambda f: labelled(f, delayed=False),
        "to_xarray(squeeze)": lambda f: labelled(f, squeeze=False),
        "to_xarray(position)": lambda f: labelled(f, position=0, squeeze=False),
        "to_xarray(position, delayed)": lambda f: labelled(
            f, position=0, squeeze=False, delayed=False
        ),
    },
    "unstructured_metadata": {
        "unstructured_metadata": lambda f: f.unstructured_metadata(),
        "unstructured_metadata(strip_prefix)": lambda f: f.unstructured_metadata(
            strip_prefix=False
        ),
        "unstructured_metadata(include)": lambda f: list(
            f.unstructured_metadata(include={"ImageAttributesLV", "nothing"})
        ),
        "unstructured_metadata(exclude)": lambda f: list(
            f.unstructured_metadata(exclude={"ImageAttributesLV"})
        ),
    },
    "voxel_size": {"voxel_size": lambda f: [f.voxel_size(), f.voxel_size(99)]},
}
"""Calls by the public name that they are about, and what to call them."""


def show(probe: Callable[[Any], Any], file: Any) -> Any:
    """Return what a call gives as plain values, or the kind of its error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return plain(probe(file))
        except Exception as error:  # noqa: BLE001 - whatever nd2 raises
            return {"raises": _kind(error)}


def _kind(error: Exception) -> str:
    kinds = (IndexError, KeyError, ValueError, TypeError, OSError, NotImplementedError)
    return next((k.__name__ for k in kinds if isinstance(error, k)), "Exception")


def plain(value: Any) -> Any:
    """Nested dicts and lists of what two libraries have in types of their own."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {name: plain(item) for name, item in found.items()}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, np.ndarray):
        return value if value.dtype.kind not in "OU" else plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "items"):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if type(value).__name__ == "BinaryLayers":
        return [plain(layer) for layer in value]
    return value


def differences(theirs: Any, ours: Any, where: str) -> Iterator[str]:
    """Yield the place of each leaf that differs."""
    raised = [isinstance(v, dict) and list(v) == ["raises"] for v in (theirs, ours)]
    if raised[0] != raised[1]:
        yield f"{where}.{'only nd2 raises' if raised[0] else 'only ours raises'}"
        return
    if isinstance(theirs, np.ndarray) or isinstance(ours, np.ndarray):
        if not _equal_arrays(theirs, ours):
            yield where
    elif isinstance(theirs, dict) and isinstance(ours, dict):
        for name in {**theirs, **ours}:
            if name in theirs and name in ours:
                yield from differences(theirs[name], ours[name], f"{where}.{name}")
            else:
                yield f"{where}.{name}"
    elif isinstance(theirs, list) and isinstance(ours, list):
        if len(theirs) != len(ours):
            yield f"{where}.len"
        else:
            for i, pair in enumerate(zip(theirs, ours, strict=True)):
                yield from differences(*pair, f"{where}.{i}")
    elif not _equal(theirs, ours):
        yield where


def _equal_arrays(theirs: Any, ours: Any) -> bool:
    if isinstance(theirs, list) or isinstance(ours, list):  # a column of a table
        return list(differences(list(theirs), list(ours), "")) == []
    if not (isinstance(theirs, np.ndarray) and isinstance(ours, np.ndarray)):
        return False
    is_real = theirs.dtype.kind == "f"
    return theirs.dtype == ours.dtype and np.array_equal(
        theirs, ours, equal_nan=is_real
    )


def _equal(theirs: Any, ours: Any) -> bool:
    if isinstance(theirs, float) and isinstance(ours, float) and math.isnan(theirs):
        return math.isnan(ours)
    return bool(theirs == ours)


def all_differences(theirs: Any, ours: Any) -> Iterator[str]:
    """Yield every place where two opened files differ."""
    for calls in PROBES.values():
        for name, probe in calls.items():
            yield from differences(show(probe, theirs), show(probe, ours), name)


def opened(module: Any, path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return module.ND2File(path)
