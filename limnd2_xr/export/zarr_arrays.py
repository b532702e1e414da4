"""Arrays of a zarr hierarchy: their shapes, metadata files and the bytes of chunks."""

from __future__ import annotations

import itertools
import json
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from limnd2_xr.export.zarr_codecs import chunk_encoder, zarr_compressor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from limnd2_xr.export.zarr_codecs import ZarrFormat

__all__ = ["ArraySpec", "Sizes", "group_files", "sizes_by_axis"]

_AXES: Final = "tczyx"
_MOST_NBYTES: Final = 2**31 - 17
"""Blosc takes no more at once."""

Sizes: TypeAlias = "int | tuple[int, ...] | Mapping[str, int] | None"
"""Lengths of chunks or shards: of the last axes, or by name of the axis."""


@dataclass(frozen=True, kw_only=True)
class ArraySpec:
    """One array: everything that has to be known to write any of its chunks.

    Picklable; encoders are made where they are used.
    """

    path: str
    """In the hierarchy, e.g. ``"labels/cells/0"``."""
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None
    """None where each chunk is an object of its own."""
    compressor: Any = field(default=None, hash=False)
    """As the user said it."""
    zarr_format: ZarrFormat = 3

    @property
    def pieces(self) -> tuple[int, ...]:
        """Shape of what one object holds: a shard, or a chunk."""
        return self.chunks if self.shards is None else self.shards

    @cached_property
    def _made(self) -> tuple[Any, dict[str, bytes]]:
        """Metadata as zarr makes them, and the files that hold them, by name."""
        import zarr
        from zarr.storage import MemoryStore

        store = MemoryStore()
        compressor = zarr_compressor(self.compressor, self.zarr_format, self.dtype)
        options: dict[str, Any] = (
            {
                "dimension_names": self.axes,
                "chunk_key_encoding": {"name": "default", "separator": "/"},
                "fill_value": 0,
            }
            if self.zarr_format == 3
            else {
                # xarray finds the names of the dims of zarr 2 there.
                "attributes": {"_ARRAY_DIMENSIONS": list(self.axes)},
                "chunk_key_encoding": {"name": "v2", "separator": "/"},
                # xarray takes one of zarr 2 for missing values: 0 would become NaN.
                "fill_value": None,
            }
        )
        array = zarr.create_array(
            store,
            shape=self.shape,
            chunks=self.chunks,
            shards=self.shards,
            dtype=self.dtype.newbyteorder("="),
            compressors=compressor,
            zarr_format=self.zarr_format,
            **options,
        )
        files = {name: value.to_bytes() for name, value in store._store_dict.items()}
        return array.metadata, files

    def at(self, path: str) -> ArraySpec:
        """Return the same array in another place; what was made of it is not made again."""
        made = replace(self, path=path)
        names = {"_made", "encode"}
        made.__dict__.update({k: v for k, v in self.__dict__.items() if k in names})
        return made

    def check(self) -> None:
        """Find out now whether zarr and the encoders know what was asked for.

        Raises
        ------
        ValueError, TypeError
            If not.
        """
        self.encode  # noqa: B018 - made, and kept
        nbytes = math.prod(self.chunks) * self.dtype.itemsize
        if nbytes > _MOST_NBYTES and self.compressor is not None:
            raise ValueError(
                f"chunks of {' x '.join(map(str, self.chunks))} are {nbytes} bytes, and "
                f"compressors take {_MOST_NBYTES}: give smaller chunks"
            )

    @property
    def files(self) -> dict[str, bytes]:
        """Files with its metadata, by key."""
        return {_joined(self.path, name): data for name, data in self._made[1].items()}

    def __getstate__(self) -> dict[str, Any]:
        names = {"_made", "encode"}  # neither is pickled
        return {k: v for k, v in self.__dict__.items() if k not in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @cached_property
    def encode(self) -> Callable[[NDArray[Any]], bytes]:
        """What makes the bytes of an object out of pixels of the shape `pieces`."""
        return chunk_encoder(self._made[0])

    def key(self, place: tuple[int, ...]) -> str:
        """Return where in the hierarchy an object lies, from its place in the grid."""
        inside: str = self._made[0].encode_chunk_key(place)
        return _joined(self.path, inside)

    def objects(
        self, pixels: NDArray[Any], origin: tuple[int, ...]
    ) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
        """Cut pixels into what is stored as one object each.

        Parameters
        ----------
        pixels
            A part of the array that holds whole objects.
        origin
            Index of its first pixel.

        Yields
        ------
        place : tuple of int
            In the grid of objects.
        pixels : ndarray
            A view; smaller than `pieces` at the edges of the array.
        """
        first = [at // n for at, n in zip(origin, self.pieces, strict=True)]
        counts = [
            math.ceil(n / piece)
            for n, piece in zip(pixels.shape, self.pieces, strict=True)
        ]
        for index in itertools.product(*map(range, counts)):
            key = tuple(
                slice(i * n, (i + 1) * n)
                for i, n in zip(index, self.pieces, strict=True)
            )
            place = tuple(a + i for a, i in zip(first, index, strict=True))
            yield place, pixels[key]

    def encoded(self, pixels: NDArray[Any]) -> bytes | None:
        """Return the bytes of one object; None if it reads as zeros without them.

        Parameters
        ----------
        pixels
            As `objects` cuts them.
        """
        has_fill = self.zarr_format == 3
        if has_fill and not pixels.flat[0] and not pixels.any():
            return None
        if pixels.shape != self.pieces:
            whole = np.zeros(self.pieces, pixels.dtype)
            whole[tuple(map(slice, pixels.shape))] = pixels
            pixels = whole
        return self.encode(pixels)


def sizes_by_axis(given: Any, axes: tuple[str, ...], what: str) -> dict[str, int]:
    """Return lengths of chunks or shards by axis, as far as they were chosen.

    Parameters
    ----------
    given
        A length for Y and X, lengths of the last axes, or lengths by name of the axis.
    axes
        Of the image.
    what
        Name of the argument.

    Raises
    ------
    ValueError
        If lengths are no positive integers, or of axes that the image does not have.

    Examples
    --------
    >>> sizes_by_axis((4, 512, 512), ("t", "c", "z", "y", "x"), "chunks")
    {'z': 4, 'y': 512, 'x': 512}
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        found = {str(name).lower(): size for name, size in given.items()}
        unknown = sorted(found.keys() - set(_AXES))
        if unknown:
            raise ValueError(
                f"{what} names the axes {', '.join(unknown)}; those of an image are "
                f"{', '.join(axes)}"
            )
    else:
        try:
            lengths = [given] * 2 if np.ndim(given) == 0 else list(given)
        except TypeError:
            lengths = [given]
        # Five lengths are of all axes, whatever the image has of them.
        names = tuple(_AXES) if len(lengths) == len(_AXES) else axes
        if not 1 <= len(lengths) <= len(names):
            raise ValueError(
                f"{what} has {len(lengths)} lengths for the axes {', '.join(axes)}"
            )
        found = dict(zip(names[-len(lengths) :], lengths, strict=True))
    found = {name: size for name, size in found.items() if name in axes}
    for name, size in found.items():
        try:
            length = operator.index(size)
        except TypeError:
            length = 0
        if length < 1 or isinstance(size, bool):
            raise ValueError(
                f"{what} must be whole numbers above 0, not {size!r} along {name}"
            )
        found[name] = length
    return found


def group_files(
    path: str, attributes: Mapping[str, Any], zarr_format: ZarrFormat
) -> dict[str, bytes]:
    """Return the files that make a group, by key.

    Parameters
    ----------
    path
        Of the group; ``""`` is the root.
    attributes
        That JSON can hold.
    zarr_format
        2 or 3.
    """
    if zarr_format == 2:
        files = {".zgroup": {"zarr_format": 2}, ".zattrs": attributes}
    else:
        about = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        files = {"zarr.json": about}
    # By zarr it takes milliseconds, and plates have thousands.
    return {
        _joined(path, name): json.dumps(content, indent=2, allow_nan=False).encode()
        for name, content in files.items()
    }


def _joined(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
