"""One image of a file of another format, in our terms."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.errors import Nd2Error

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import xarray as xr

__all__ = [
    "Reading",
    "SourceImage",
    "check_size",
    "checked_dims",
    "natural_key",
    "plain_dims",
    "without_alpha",
]

_DIMS: Final = frozenset("TPZCYXS")
_FRAME_DIMS: Final = frozenset("CYXS")
_MAX_SIDE: Final = 2**24
_MAX_FRAME_NBYTES: Final = 2**34
_MAX_FRAMES: Final = 10_000_000
_SMALL: Final = 2**26
_PART: Final = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How files are to be understood."""

    dims: str | None = None
    """Dims of a plain array, e.g. ``"TZCYX"``; None: as the file says."""
    series: int | None = None
    """Which of the images of a file; None: all of them, as positions."""
    variable: str | None = None
    """Which array of a file of several."""
    colours: bool = False
    """Take three channels for the colours of one image."""
    drop_alpha: bool = False
    """Leave out the transparency of colour images."""
    fill_missing: bool = False
    """Accept planes that a file should have and has not: they are 0."""
    reader: str = "auto"
    """By which source a file is read; ``"auto"``: by its name and its first bytes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceImage:
    """One image of a file, in our terms."""

    pixels: xr.Variable
    """Lazy, with dims among T, P, Z, C, Y, X and S."""
    path: str
    """File that it comes from, as given."""
    format: str
    """What that file is: ``OME-TIFF``, ``PNG``, ..."""
    part: str = ""
    """Which part of the file: ``series 1``, a path within a store."""
    name: str = ""
    """What it is called."""
    well: tuple[int, int] | None = None
    """Row and column of its well, counted from 0; None where not known."""
    coords: dict[str, xr.Variable] = field(default_factory=dict)
    """Coordinates as the dataset has them."""
    attrs: dict[str, Any] = field(default_factory=dict)
    """Attributes as the dataset has them."""
    labels: dict[str, xr.Variable] = field(default_factory=dict)
    """Label images by name, lazy, with dims among T, P, Z, Y and X."""
    notes: tuple[str, ...] = ()
    """What was assumed, and what of the metadata an .nd2 file has no place for."""

    @property
    def place(self) -> str:
        """File and part, to be named in messages."""
        return f"{self.path} ({self.part})" if self.part else self.path


def plain_dims(
    shape: tuple[int, ...], path: str, *, named: str | None, stored: str | None = None
) -> tuple[str, ...]:
    """Return the dims of an array that has no metadata; of two dims it is an image.

    Parameters
    ----------
    shape
        Of the array.
    path
        File that it is in.
    named
        Letters that a user names; they come before what is stored.
    stored
        Letters that the file has.

    Raises
    ------
    Nd2Error
        If nothing says what they are, or they do not fit.

    Examples
    --------
    >>> plain_dims((6, 8), "a.npy", named=None)
    ('Y', 'X')
    """
    letters = named if named is not None else stored
    if letters is not None:
        return checked_dims(letters, len(shape), path)
    if len(shape) == 2:
        return "Y", "X"
    raise Nd2Error(
        f"an array of {shape}: nothing says what its dims are; name them, e.g. "
        'dims="TCYX" (--dims TCYX)',
        path=path,
    )


def checked_dims(dims: str, ndim: int, path: str) -> tuple[str, ...]:
    """Return the dims that a user names for an array.

    Parameters
    ----------
    dims
        Letters among T, P, Z, C, Y, X and S, each once, Y and X among them.
    ndim
        Of the array.
    path
        File that it is in.

    Raises
    ------
    Nd2Error
        If they are others, or not as many as the array has.

    Examples
    --------
    >>> checked_dims("tyx", 3, "a.npy")
    ('T', 'Y', 'X')
    """
    letters = tuple(dims.upper())
    unknown = sorted(set(letters) - _DIMS)
    if unknown:
        raise Nd2Error(
            f"dims {dims!r}: {', '.join(unknown)} is not among T, P, Z, C, Y, X and S",
            path=path,
        )
    if len(set(letters)) < len(letters) or not {"Y", "X"} <= set(letters):
        raise Nd2Error(
            f"dims {dims!r}: Y and X are needed, each letter once", path=path
        )
    if len(letters) != ndim:
        raise Nd2Error(
            f"dims {dims!r} are {len(letters)}, but the array has {ndim}", path=path
        )
    return letters


def check_size(
    dims: Sequence[str],
    shape: Sequence[int],
    dtype: np.dtype[Any],
    path: str,
    *,
    file_nbytes: int | None = None,
    ratio: int = 100_000,
) -> None:
    """Refuse sizes that nobody means, before memory is taken for them.

    Parameters
    ----------
    dims, shape, dtype
        Of an image.
    path
        File that says so.
    file_nbytes
        Size of that file, if all pixels are in it.
    ratio
        How many bytes a byte of the file can stand for.

    Raises
    ------
    Nd2Error
        If it is larger than any image, or than what such a file can hold.
    """
    sizes = dict(zip(dims, shape, strict=True))
    inner = math.prod(n for dim, n in sizes.items() if dim in _FRAME_DIMS)
    frame = inner * dtype.itemsize
    frames = math.prod(n for dim, n in sizes.items() if dim not in _FRAME_DIMS)
    words = " ".join(f"{dim}{n}" for dim, n in sizes.items())
    if (
        max(sizes.get("Y", 0), sizes.get("X", 0)) > _MAX_SIDE
        or frame > _MAX_FRAME_NBYTES
        or frames > _MAX_FRAMES
    ):
        raise Nd2Error(
            f"an image of {words} {dtype} is too large: frames may have "
            f"{_MAX_FRAME_NBYTES >> 30} GiB, a file {_MAX_FRAMES} of them",
            path=path,
        )
    if file_nbytes is not None and frame > _SMALL + ratio * file_nbytes:
        raise Nd2Error(
            f"damaged: a file of {file_nbytes} bytes says that it holds {words} {dtype}",
            path=path,
        )


def without_alpha(
    pixels: xr.Variable, path: str, *, drop_alpha: bool
) -> tuple[xr.Variable, tuple[str, ...]]:
    """Return an image of 1 or 3 samples, and what was done to make it so.

    Parameters
    ----------
    pixels
        With or without the dim S, whose last sample is transparency if there are 2 or 4.
    path
        File that it is in.
    drop_alpha
        Whether transparency may be left out.
    """
    samples = pixels.sizes.get("S", 1)
    if samples in {2, 4}:
        if not drop_alpha:
            raise Nd2Error(
                "the image has transparency (alpha), which .nd2 files do not hold: "
                "drop_alpha=True (--drop-alpha) leaves it out",
                path=path,
            )
        pixels = pixels.isel(S=slice(samples - 1))
    if pixels.sizes.get("S") == 1:
        pixels = pixels.isel(S=0)
    if pixels.sizes.get("S", 3) != 3:
        raise Nd2Error(
            f"the image has {samples} samples a pixel; a colour image has 3: name dims "
            "with C instead of S (--dims) to take them for channels",
            path=path,
        )
    return pixels, ("transparency (alpha)",) if samples in {2, 4} else ()


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Key by which names sort as people count: ``t2`` before ``t10``.

    Examples
    --------
    >>> sorted(["t10", "t2", "T1"], key=natural_key)
    ['T1', 't2', 't10']
    """
    return tuple(
        (0, int(part), part) if part.isdecimal() else (1, 0, part.lower())
        for part in _PART.split(text)
        if part
    )
