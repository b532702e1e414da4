"""All that reading a file does, for bytes that may be anything: what the fuzzer runs.

Whatever is wrong with a file must end in an `Nd2Error`, or in nothing at all.
"""

from __future__ import annotations

import math
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import xarray as xr

from limnd2_xr.errors import Nd2Error, Nd2Warning

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_FRAMES = 3
"""So many frames of each image are read."""
MAX_ITEMS = 2**22
"""Only a corner is read of a frame with more pixels, and what is larger is not loaded.

A file of 1 MB that is sound may well hold 1 GB of pixels: that is not what is looked for.
"""


def exercise(data: bytes) -> str:
    """Read all kinds of content from a file; say how far it came.

    Parameters
    ----------
    data
        The file.

    Raises
    ------
    Exception
        Anything but `Nd2Error`: a defect.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Nd2Warning)
        warnings.simplefilter("ignore", xr.SerializationWarning)
        try:
            tree = xr.open_datatree(data, engine="nd2")
        except Nd2Error:
            return "refused"
        with tree:
            for node in tree.subtree:
                read_dataset(node.to_dataset(inherit=False))
            image = tree.to_dataset()
            for read in ACCESSOR:
                attempt(read, image)
    return "read"


def read_dataset(dataset: xr.Dataset) -> None:
    """Load every coordinate and some frames of every variable."""
    for coordinate in dataset.coords.values():
        if coordinate.size <= MAX_ITEMS:
            attempt(lambda c: c.values, coordinate)
    for variable in dataset.data_vars.values():
        inner = [d for d in variable.dims if str(d)[0] in "CYXS"]
        outer = [d for d in variable.dims if d not in inner]
        if math.prod(variable.sizes[d] for d in inner) > MAX_ITEMS:
            variable = variable.isel({d: slice(0, 2) for d in inner})  # noqa: PLW2901
        for at in range(MAX_FRAMES):
            part = {d: variable.sizes[d] * at // MAX_FRAMES for d in outer}
            if all(variable.sizes.values()):
                attempt(lambda v: v.values, variable.isel(part))


def attempt(read: Callable[[Any], Any], obj: Any) -> None:
    """Read something of a file that was opened; it may be refused."""
    with suppress(Nd2Error):
        read(obj)


def _polygons(dataset: xr.Dataset) -> None:
    image = dataset["image"]
    if image.sizes["Y"] * image.sizes["X"] > MAX_ITEMS:
        return
    for roi in dataset.nd2.rois[:4]:
        attempt(lambda r: r.to_polygon(), roi)
        attempt(lambda r: r.to_mask(), roi)


def _settings(dataset: xr.Dataset) -> None:
    settings = dataset.nd2.custom_data
    for name in list(settings)[:2]:
        settings[name]


def _chunks(dataset: xr.Dataset) -> None:
    infos = dataset.nd2.chunks()
    for info in infos[:: len(infos) // 4 + 1]:
        attempt(dataset.nd2.chunk, info.name)


ACCESSOR: tuple[Callable[[xr.Dataset], Any], ...] = (
    lambda ds: ds.nd2.metadata.to_json(),
    lambda ds: ds.nd2.missing_frames,
    lambda ds: ds.nd2.damage,
    lambda ds: ds.nd2.frame_metadata(
        **{str(d): 0 for d in ds.sizes if str(d) in "TPZU"}
    ),
    lambda ds: ds.nd2.events(),
    lambda ds: ds.nd2.custom_description,
    lambda ds: ds.nd2.guids,
    lambda ds: ds.nd2.job,
    _polygons,
    _settings,
    _chunks,
)
