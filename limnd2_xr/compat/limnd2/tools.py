"""``limnd2.tools``: files of other formats, and sequences of them, as one .nd2 file."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from limnd2_xr.compat.limnd2.attributes import ImageAttributes
from limnd2_xr.compat.limnd2.commands import (
    convert_file as convert_file_to_nd2_cli,
)
from limnd2_xr.compat.limnd2.commands import (
    convert_sequence as convert_sequence_to_nd2_cli,
)
from limnd2_xr.compat.limnd2.commands import frame_export as frame_export_cli
from limnd2_xr.compat.limnd2.commands import plan_sequence_as_json
from limnd2_xr.compat.limnd2.commands import sequence_export as sequence_export_cli
from limnd2_xr.compat.limnd2.experiment import ExperimentLevel
from limnd2_xr.compat.limnd2.experiment_factory import ExperimentFactory
from limnd2_xr.compat.limnd2.metadata_factory import MetadataFactory
from limnd2_xr.compat.limnd2.writer import Nd2Writer
from limnd2_xr.conversion.converting import convert_to_nd2
from limnd2_xr.conversion.opening import open_images
from limnd2_xr.conversion.source_image import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from limnd2_xr.compat.limnd2.metadata import PictureMetadata
    from limnd2_xr.conversion.source_image import SourceImage

    Source: TypeAlias = "str | os.PathLike[str] | LimImageSource"

__all__ = [
    "LimImageSource",
    "convert_file_to_nd2",
    "convert_file_to_nd2_cli",
    "convert_sequence_to_nd2",
    "convert_sequence_to_nd2_cli",
    "frame_export_cli",
    "get_file_dimensions_as_json",
    "plan_sequence_as_json",
    "sequence_export_cli",
]

_LOOPS: Final = {
    **dict.fromkeys(("multipoint", "m"), "m"),
    **dict.fromkeys(("timeloop", "t"), "t"),
    **dict.fromkeys(("zstack", "z"), "z"),
}
_NAMES: Final = {"T": "timeloop", "P": "multipoint", "Z": "zstack", "C": "channel"}
_DIM_OF: Final = {"m": "P", "t": "T", "z": "Z"}
_ASSUMED: Final = "are taken for time points"


class LimImageSource:
    """An image file of any format that is converted; made by `open`.

    Parameters
    ----------
    filename
        Of the file.
    """

    def __init__(self, filename: str | os.PathLike[str]) -> None:
        self._filename = Path(filename)
        with ExitStack() as stack:
            image = self._opened(stack)
            self._sizes = {str(d): int(n) for d, n in image.pixels.sizes.items()}
            self._dtype = np.dtype(image.pixels.dtype)
            self._notes = image.notes

    @staticmethod
    def open(filename: str | os.PathLike[str]) -> LimImageSource:
        """Return the image of a file; no pixels are read.

        Parameters
        ----------
        filename
            Of a TIFF, PNG, JPEG or .nd2 file, or another that is converted.

        Raises
        ------
        Nd2Error
            If it cannot be read, or holds several images.
        """
        return LimImageSource(filename)

    def _opened(self, stack: ExitStack) -> SourceImage:
        images = open_images(str(self._filename), Reading(), stack)
        if len(images) > 1:
            raise ValueError(
                f"{self._filename}: the file has {len(images)} images; convert it with "
                "convert_file_to_nd2"
            )
        return images[0]

    @property
    def filename(self) -> Path:
        """Name of the file."""
        return self._filename

    @property
    def is_rgb(self) -> bool:
        """Whether it is a colour image."""
        return "S" in self._sizes

    def get_file_dimensions(self) -> dict[str, int]:
        """Return the lengths of the loops and the number of channels, by name."""
        return {
            name: self._sizes[dim]
            for dim, name in _NAMES.items()
            if self._sizes.get(dim, 1) > 1
        }

    def nd2_attributes(self, *, sequence_count: int = 1) -> ImageAttributes:
        """Return the attributes of a file with such frames.

        Parameters
        ----------
        sequence_count
            Number of frames.

        Raises
        ------
        ValueError
            If no file holds such pixels.
        """
        if self._dtype.name not in {"uint8", "uint16", "float32"}:
            raise ValueError(
                f"{self._filename}: .nd2 files hold uint8, uint16 and float32, not "
                f"{self._dtype}: convert it with limnd2_xr.convert_to_nd2(dtype=)"
            )
        return ImageAttributes.create(
            height=self._sizes["Y"],
            width=self._sizes["X"],
            component_count=self._sizes.get("C", 1) * self._sizes.get("S", 1),
            bits=8 * self._dtype.itemsize,
            sequence_count=sequence_count,
        )

    def read(self) -> NDArray[Any]:
        """Return the pixels of a file of one frame.

        Returns
        -------
        ndarray
            Of shape (rows, columns, components), RGB as blue, green, red.

        Raises
        ------
        ValueError
            If there are several frames.
        """
        several = [dim for dim in "TPZ" if self._sizes.get(dim, 1) > 1]
        if several:
            raise ValueError(
                f"{self._filename}: the file has several frames, along "
                f"{', '.join(several)}; convert it with convert_file_to_nd2"
            )
        with ExitStack() as stack:
            pixels = self._opened(stack).pixels
            single = [dim for dim in ("T", "P", "Z") if dim in pixels.dims]
            pixels = pixels.isel(dict.fromkeys(single, 0))
            inner = [dim for dim in ("C", "S") if dim in pixels.dims]
            values = np.asarray(pixels.transpose("Y", "X", *inner).values)
        if "S" in inner:
            values = values[..., ::-1]
        return values.reshape(*values.shape[:2], -1)


def convert_file_to_nd2(
    input_path: str | os.PathLike[str],
    output_path: str | os.PathLike[str],
    extra_dim_type: str = "multipoint",
) -> Path:
    """Write a file of another format as .nd2; an existing one is replaced.

    Parameters
    ----------
    input_path
        Of the file.
    output_path
        Of the .nd2 file, which has its name only once it is complete.
    extra_dim_type
        What pages are of which nothing says what they are: ``"multipoint"``,
        ``"timeloop"`` or ``"zstack"``.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ValueError, Nd2Error
        If the file cannot be read, or `extra_dim_type` is none.
    """
    dim = _DIM_OF[_loop(extra_dim_type)]
    with ExitStack() as stack:
        images = open_images(os.fspath(input_path), Reading(), stack)
        dims = "".join(str(d) for d in images[0].pixels.dims)
        assumed = any(_ASSUMED in note for note in images[0].notes)
    settings: dict[str, Any] = {}
    if assumed and dim != "T":
        settings["dims"] = dims.replace("T", dim)
    convert_to_nd2(input_path, output_path, overwrite=True, **settings)
    return Path(output_path)


def convert_sequence_to_nd2(
    input_data: Sequence[Source | Sequence[Source]],
    output_path: str | os.PathLike[str],
    attributes: ImageAttributes | None = None,
    experiment: ExperimentLevel | str | None = None,
    metadata: PictureMetadata | None = None,
) -> Path:
    """Write files of one frame each as one .nd2 file; an existing one is replaced.

    Parameters
    ----------
    input_data
        Files in the order of the frames; or for each frame a list of files, one a
        channel.
    output_path
        Of the .nd2 file, which has its name only once it is complete.
    attributes
        Of the frames; by default those of the first.
    experiment
        The loops, or the name of a single one: ``"multipoint"`` (the default),
        ``"timeloop"``, ``"zstack"``. Such a loop has no steps or places: nothing is made
        up.
    metadata
        Of the planes; by default they are numbered.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ValueError, Nd2Error
        If files cannot be read, or do not fit together.
    """
    groups = [_group(item) for item in input_data]
    if not groups:
        raise ValueError("there are no files to convert")
    first = [LimImageSource.open(_name(source)) for source in groups[0]]
    made = attributes if attributes is not None else _attributes(first)
    made = replace(made, uiSequenceCount=len(groups))
    with Nd2Writer(output_path, append=False) as writer:
        writer.imageAttributes = made
        writer.experiment = _experiment(experiment, len(groups))
        writer.pictureMetadata = _metadata(metadata, first, made)
        for number, group in enumerate(groups):
            writer.setImage(number, _frame(group))
    return Path(output_path)


def get_file_dimensions_as_json(path: str | os.PathLike[str]) -> str:
    """Return the lengths of the loops and the number of channels of a file as JSON.

    Parameters
    ----------
    path
        Of the file.
    """
    source = LimImageSource.open(path)
    told = {**source.get_file_dimensions(), "is_rgb": source.is_rgb}
    return json.dumps(told)


def _loop(name: str) -> str:
    if name not in _LOOPS:
        raise ValueError(f"{name!r} is no loop: there are {', '.join(_LOOPS)}")
    return _LOOPS[name]


def _name(source: Source) -> str | os.PathLike[str]:
    return source.filename if isinstance(source, LimImageSource) else source


def _group(item: Source | Sequence[Source]) -> list[Source]:
    if isinstance(item, (str, os.PathLike, LimImageSource)):
        return [item]
    if not item:
        raise ValueError("a frame has no files")
    return list(item)


def _attributes(first: list[LimImageSource]) -> ImageAttributes:
    """Return the attributes of frames whose channels are in several files."""
    found = [source.nd2_attributes() for source in first]
    components = sum(one.componentCount for one in found)
    one = found[0]
    return ImageAttributes.create(
        one.height, one.width, components, one.uiBpcSignificant, 1
    )


def _frame(group: list[Source]) -> NDArray[Any]:
    images = [LimImageSource.open(_name(source)).read() for source in group]
    kinds = {(image.shape[:2], image.dtype) for image in images}
    if len(kinds) > 1:
        told = "; ".join(
            f"{_name(source)}: {image.shape} {image.dtype}"
            for source, image in zip(group, images, strict=True)
        )
        raise ValueError(f"channels of a frame differ: {told}")
    return np.concatenate(images, axis=2) if len(images) > 1 else images[0]


def _experiment(
    experiment: ExperimentLevel | str | None, count: int
) -> ExperimentLevel | None:
    if isinstance(experiment, ExperimentLevel):
        return experiment
    letter = _loop("multipoint" if experiment is None else experiment)
    return ExperimentFactory(**{letter: count})() if count > 1 else None


def _metadata(
    metadata: PictureMetadata | None,
    first: list[LimImageSource],
    attributes: ImageAttributes,
) -> PictureMetadata:
    if metadata is not None:
        return metadata
    return MetadataFactory().createMetadata(
        number_of_channels_fallback=attributes.componentCount,
        is_rgb_fallback=len(first) == 1 and first[0].is_rgb,
    )
