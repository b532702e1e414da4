"""The image that is exported: its frames, channels and sizes, and the file behind it.

Everything is taken from the array as it is now, selected and edited; the document that
it remembers fills in what coordinates and attributes do not tell, as for writing .nd2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

import numpy as np
import xarray as xr

from limnd2_xr.arrays.attrs import document_of
from limnd2_xr.arrays.dataset import image_of
from limnd2_xr.arrays.described import with_attributes
from limnd2_xr.arrays.described_channels import described_channels
from limnd2_xr.arrays.described_loops import loop_order
from limnd2_xr.arrays.image_dims import with_image_dims
from limnd2_xr.arrays.origin import find_origin
from limnd2_xr.arrays.readback import Known
from limnd2_xr.errors import warn_user
from limnd2_xr.export.frame_groups import PixelSource
from limnd2_xr.export.image_steps import pixel_size, time_step, z_step
from limnd2_xr.export.image_times import started
from limnd2_xr.export.pixel_types import ome_pixel_type
from limnd2_xr.export.plane_values import plane_dims_of
from limnd2_xr.model.attributes import Attributes
from limnd2_xr.model.channels import channel_names
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.legacy_document import is_legacy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from limnd2_xr.arrays.origin import Origin
    from limnd2_xr.model.channels import Channel

__all__ = ["ExportImage", "SinglePosition"]

EDITABLE: Final = (
    "objective",
    "magnification",
    "numerical_aperture",
    "refractive_index",
    "zoom",
    "camera",
    "microscope",
    "description",
    "author",
    "sample",
    "software",
    "software_version",
)
"""Attributes that say the same as the document, unless they were edited."""
POSITION_DIMS: Final = ("U", "P")
"""Dims that an OME image has not: each index along them is an image of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinglePosition:
    """One position of an image: what becomes one image of the export."""

    number: int
    """Counted from 0 over all positions."""
    index: dict[str, int]
    """Index along those of U and P that there are."""
    name: str
    """Unique among the positions if the labels are."""
    image: xr.DataArray = field(repr=False)
    """Over those of T and Z that there are, in storage order, then C, Y, X and S; its
    values are all 0."""


@dataclass(frozen=True, kw_only=True)
class ExportImage:
    """An image to be exported, checked."""

    image: xr.DataArray = field(repr=False)
    """Dims, coordinates and attributes: loop dims in the order in which frames are stored,
    then C, Y, X and, for RGB, S. Its values are all 0."""
    pixels: PixelSource = field(repr=False)
    """What reads its values."""
    document: Nd2Document = field(repr=False)
    """Of the file that it came from, as its attributes changed it; else what these say."""
    origin: Origin | None = field(repr=False)
    """That file, if it can be read and is what the array was opened from."""
    channels: tuple[Channel, ...]
    """As the coordinates along C tell."""
    name: str
    """Of the file without its suffix, else of the array, else ``image``."""

    @classmethod
    def of(
        cls,
        obj: xr.Dataset | xr.DataArray,
        *,
        name: str | None = None,
        with_file: bool = True,
    ) -> ExportImage:
        """Check an object and find out what it is.

        Parameters
        ----------
        obj
            Dataset with one variable, or an array, over any of T, P, Z, C, Y, X, S, U.
        name
            What to call the image.
        with_file
            Whether to look into the file behind it.

        Raises
        ------
        ValueError
            If dims, labels, axes or units do not make an image; what to do is said.
        UnsupportedDtype
            If OME has no such pixels.

        Warns
        -----
        Nd2Warning
            If the file behind the object cannot be read any more.
        """
        given = image_of(obj) if isinstance(obj, xr.Dataset) else obj
        ome_pixel_type(given.dtype)
        # Rearranging what is lazy would read it, or make it slow to read.
        nothing = np.broadcast_to(np.zeros((), given.dtype), given.shape)
        image = with_image_dims(given.copy(data=nothing), stored_dtype=False)
        origin, unused = None, ""
        if with_file:
            origin, unused = find_origin(image)
        stored = document_of(image.attrs)
        if unused and not (stored and is_legacy(stored)):
            warn_user(f"exported without ROIs and {unused}")
        attributes = _attributes(image)
        document = with_attributes(
            stored or Nd2Document(attributes=attributes),
            {name: image.attrs[name] for name in EDITABLE if name in image.attrs},
        )
        order = loop_order(image, document.experiment)
        samples = ("S",) if "S" in image.dims else ()
        image = image.transpose(*order, "C", "Y", "X", *samples)
        labels = given.coords["S"].values.tolist() if "S" in given.coords else ()
        plain = image.drop_vars(
            [n for n in ("exposure_time",) if _varies(image, n, "C")]
        )
        channels = described_channels(plain, attributes, document, Known())
        return cls(
            image=image,
            pixels=PixelSource(
                variable=given.variable,
                loops=tuple(map(str, order)),
                samples=tuple(labels.index(letter) for letter in "RGB")
                if samples and labels
                else (),
            ),
            document=document,
            origin=origin,
            channels=channels,
            name=name or _name_of(given),
        )

    @property
    def samples(self) -> int:
        """Components of a pixel: 3 where the image is RGB, else 1."""
        return int(self.image.sizes.get("S", 1))

    @property
    def loops(self) -> tuple[str, ...]:
        """Loop dims, the slowest first."""
        others = {"C", "Y", "X", "S"}
        return tuple(str(dim) for dim in self.image.dims if dim not in others)

    @property
    def plane_dims(self) -> tuple[str, ...]:
        """Those of T and Z that there are, the slower first."""
        return plane_dims_of(self.image)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels, each there once."""
        return tuple(channel_names(self.channels))

    @property
    def significant_bits(self) -> int:
        """Bits of a component that carry data, as an attribute says, else all."""
        bits = 8 * int(self.image.dtype.itemsize)
        told = self.image.attrs.get("significant_bits")
        if self.image.dtype.kind not in "iu" or not isinstance(told, int | np.integer):
            return bits
        return int(told) if 1 <= told <= bits else bits

    @property
    def n_frames(self) -> int:
        """How many frames there are, over all positions."""
        return math.prod(self.image.sizes[dim] for dim in self.loops)

    def page_numbers(self) -> NDArray[np.int64]:
        """Return the place of each frame if they stand position by position.

        Returns
        -------
        ndarray
            By frame number: counted along `loops`.
        """
        first = [dim for dim in POSITION_DIMS if dim in self.loops]
        order = [*first, *self.plane_dims]
        sizes = [self.image.sizes[dim] for dim in order]
        places = np.arange(self.n_frames, dtype=np.int64).reshape(sizes)
        return places.transpose([order.index(dim) for dim in self.loops]).ravel()

    def with_pixels(self, variable: xr.Variable) -> ExportImage:
        """Return the same with other pixels.

        Parameters
        ----------
        variable
            Of the same dims and sizes as the one that `pixels` reads.
        """
        image = self.image
        nothing = np.broadcast_to(np.zeros((), variable.dtype), image.shape)
        return replace(
            self,
            image=image.copy(data=nothing),
            pixels=replace(self.pixels, variable=variable),
        )

    def at(self, position: SinglePosition) -> ExportImage:
        """Return one position as an image of its own.

        Parameters
        ----------
        position
            Of this image.
        """
        index = {dim: slice(at, at + 1) for dim, at in position.index.items()}
        origin = self.origin
        if origin is not None:
            picked = {
                dim: found[index[dim]] if dim in index else found
                for dim, found in origin.known.picked.items()
            }
            coords = origin.known.coords
            coords = coords.isel({d: at for d, at in index.items() if d in coords.dims})
            known = replace(origin.known, picked=picked, coords=coords)
            origin = replace(origin, known=known)
        return replace(
            self,
            image=self.image.isel(index),
            pixels=replace(self.pixels, variable=self.pixels.variable.isel(index)),
            origin=origin,
        )

    def positions(self) -> Iterator[SinglePosition]:
        """Yield the positions: for U and P in this order, the last fastest."""
        dims = [dim for dim in POSITION_DIMS if dim in self.image.dims]
        sizes = [self.image.sizes[dim] for dim in dims]
        rest = [dim for dim in self.image.dims if dim not in dims]
        for number, at in enumerate(np.ndindex(*sizes)):
            index = dict(zip(dims, at, strict=True))
            yield SinglePosition(
                number=number,
                index=index,
                name=self._position_name(index),
                image=self.image.isel(index).transpose(*rest),
            )

    def _position_name(self, index: dict[str, int]) -> str:
        label = self.position_label(index)
        counted = [
            f"{dim}={at}" for dim, at in index.items() if dim != "P" or not label
        ]
        return " ".join([self.name, *([label] if label else []), *counted])

    def position_label(self, index: dict[str, int]) -> str:
        """Name that a position was given; empty if they are numbered.

        Parameters
        ----------
        index
            Of the position, see `SinglePosition.index`.
        """
        if "P" not in self.image.coords:
            return ""
        labels = np.atleast_1d(self.image.coords["P"].values)
        return str(labels[index.get("P", 0)]) if labels.dtype.kind in "OSU" else ""

    @property
    def pixel_size_um(self) -> tuple[float | None, float | None]:
        """Width and height of a pixel; None where not known.

        Raises
        ------
        ValueError
            If X or Y is not equidistant.
        """
        known = self.document.optics.pixel_size_um
        return pixel_size(self.image, "X", known), pixel_size(self.image, "Y", known)

    @property
    def z_step_um(self) -> float | None:
        """Distance of two slices; None where there is no Z, or none is known.

        Warns
        -----
        Nd2Warning
            If Z is not equidistant.
        """
        return z_step(self.image, self.document.z_step_um)

    @property
    def time_step_s(self) -> float | None:
        """Time from one time point to the next; None where uneven or not known."""
        return time_step(self.image)

    @cached_property
    def acquisition_start(self) -> np.datetime64 | None:
        """Start of the acquisition, UTC; None if not known.

        Raises
        ------
        ValueError
            If an attribute states it in another way than ISO 8601.
        """
        return started(self.image, self.document.acquisition_start)

    def is_edited(self, name: str) -> bool:
        """Say whether a coordinate is not what the file behind the image gives.

        Parameters
        ----------
        name
            Of the coordinate.
        """
        known = self.origin.known if self.origin else Known()
        return not known.same(self.image, name)


def _attributes(image: xr.DataArray) -> Attributes:
    """Attributes of frames of an array, as far as naming channels needs them."""
    components = image.sizes["C"] * image.sizes.get("S", 1)
    bits = 8 * image.dtype.itemsize
    return Attributes(
        width=image.sizes["X"],
        height=image.sizes["Y"],
        components=components,
        bits_in_memory=bits,
        bits_significant=bits,
        row_nbytes=image.sizes["X"] * components * image.dtype.itemsize,
        sequence_count=1,
    )


def _varies(image: xr.DataArray, name: str, along: str) -> bool:
    """Say whether a coordinate varies along other dims than one."""
    return name in image.coords and bool(set(image.coords[name].dims) - {along})


def _name_of(image: xr.DataArray) -> str:
    source = image.encoding.get("source")
    if isinstance(source, str) and source.endswith(".nd2"):
        stem = PurePosixPath(source.replace("\\", "/")).stem
        if stem:
            return stem
    return str(image.name) if image.name is not None else "image"
