"""How the pixels of an array are to be stored: what was asked for, and what fits them."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from limnd2_xr.arrays.described_loops import loop_order
from limnd2_xr.frames.layout import PixelLayout
from limnd2_xr.frames.packing import check_dtype, check_level, row_nbytes
from limnd2_xr.model.attributes import Attributes

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

    from limnd2_xr.model.document import Nd2Document

__all__ = [
    "Compression",
    "OnLoss",
    "WriteOptions",
    "pixel_attributes",
    "pixel_layout",
]

Compression: TypeAlias = Literal["keep", "zlib"] | None
"""How frames are compressed; ``"keep"`` as in the file that the array came from."""

OnLoss: TypeAlias = Literal["warn", "raise", "ignore"]
"""What to do about coordinates and attributes that a file cannot hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How an array is written."""

    compression: Compression = "keep"
    level: int | None = None
    """Of zlib; None takes the usual one."""
    significant_bits: int | None = None
    """Bits of a component that carry data; None: as the array's attributes say, else all."""
    pyramid: bool = False
    """Whether smaller copies of the frames are made and stored."""
    on_loss: OnLoss = "warn"


def pixel_attributes(
    image: xr.DataArray, base: Nd2Document | None, options: WriteOptions
) -> Attributes:
    """Return how the frames of an array are to be stored.

    Parameters
    ----------
    image
        With the dims C, Y, X and those of its loops.
    base
        Document of the file that it came from, None without one.
    options
        What was asked for.

    Raises
    ------
    ValueError
        If options contradict each other or the type of the pixels.
    """
    dtype = check_dtype(image.dtype)
    components = image.sizes["C"] * image.sizes.get("S", 1)
    bits = 8 * dtype.itemsize
    significant = _significant_bits(image, dtype, options.significant_bits)
    old = base.attributes if base else None
    compression = options.compression
    if compression not in {"keep", "zlib", None}:
        raise ValueError(f'compression must be "zlib" or None, not {compression!r}')
    if compression == "keep":
        compression = "zlib" if old and old.compression == "lossless" else None
    if options.level is not None:
        if compression is None:
            raise ValueError(
                f'level {options.level} is of compression="zlib", but frames are written '
                "as they are: give both"
            )
        check_level(options.level)
    kept = "lossless" if compression else "none"
    unchanged = old is not None and old.compression == kept and options.level is None
    param = old.compression_param if old and unchanged else float(options.level or 0)
    order = loop_order(image, base.experiment if base else None)
    width, height = image.sizes["X"], image.sizes["Y"]
    tiled = old if old and (old.width, old.height) == (width, height) else None
    return Attributes(
        width=width,
        height=height,
        tile_width=tiled.tile_width if tiled else None,
        tile_height=tiled.tile_height if tiled else None,
        components=components,
        bits_in_memory=bits,
        bits_significant=significant,
        row_nbytes=row_nbytes(width, components, dtype),
        sequence_count=math.prod(image.sizes[dim] for dim in order),
        compression="lossless" if compression else "none",
        compression_param=param,
        pixel_type="float" if dtype.kind == "f" else "unsigned",
        virtual_components=components
        if old is None or old.virtual_components
        else None,
    )


def _significant_bits(
    image: xr.DataArray, dtype: np.dtype[Any], chosen: int | None
) -> int:
    """As chosen, else as an attribute says of integers, else all."""
    bits = 8 * dtype.itemsize
    told = image.attrs.get("significant_bits") if chosen is None else chosen
    if told is None or (chosen is None and dtype.kind == "f"):
        return bits
    try:
        found = operator.index(told)
    except TypeError:
        raise ValueError(
            f"significant_bits must be a whole number, not {told!r}"
        ) from None
    if chosen is None and found > bits:
        return bits
    if not 1 <= found <= bits or (dtype.kind == "f" and found != bits):
        raise ValueError(
            f"{found} significant bits do not fit into {dtype} pixels of {bits} bits"
        )
    return found


def pixel_layout(attributes: Attributes, image: xr.DataArray) -> PixelLayout:
    """Return how frames with these attributes lie in a file."""
    return PixelLayout(
        height=attributes.height,
        width=attributes.width,
        channels=image.sizes["C"],
        samples=image.sizes.get("S", 1),
        dtype=attributes.dtype,
        row_nbytes=attributes.row_nbytes,
        compression="zlib" if attributes.compression == "lossless" else "none",
    )
