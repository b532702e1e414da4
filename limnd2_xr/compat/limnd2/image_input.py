"""What is given as an image, as samples that a file stores: nothing is changed on the way.

limnd2 casts and broadcasts: 70000 became 4464, -1 became 65535, and a row was repeated.
Here values are converted only where each stays what it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.compat.limnd2.attributes import ImageAttributesCompression
from limnd2_xr.errors import UnsupportedDtype
from limnd2_xr.frames.layout import PixelLayout
from limnd2_xr.frames.packing import check_dtype, check_values
from limnd2_xr.model.attributes import Attributes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from limnd2_xr.compat.limnd2.attributes import ImageAttributes

__all__ = ["described", "level_of", "stored_image", "stored_layout", "unmasked"]

_COMPRESSION: Final = {"none": "none", "lossless": "zlib"}


def stored_layout(attributes: ImageAttributes) -> PixelLayout:
    """Return how frames of these attributes are stored.

    Each component is a channel of its own: images come in the order in which they are
    stored.

    Parameters
    ----------
    attributes
        To be written.

    Raises
    ------
    ValueError
        If this package writes no such frames.
    """
    if not 1 <= attributes.uiBpcSignificant <= attributes.uiBpcInMemory:
        raise ValueError(
            f"imageAttributes: {attributes.uiBpcSignificant} significant of "
            f"{attributes.uiBpcInMemory} bits"
        )
    try:
        dtype = check_dtype(attributes.dtype)
        parsed = Attributes.from_raw(attributes.to_tree())
    except (ValueError, UnsupportedDtype) as error:
        raise ValueError(f"imageAttributes: {error}") from error
    compression = _COMPRESSION.get(parsed.compression)
    if compression is None:
        raise ValueError(
            "imageAttributes: lossy compression is not written: choose ictLossLess or "
            "ictNone"
        )
    return PixelLayout(
        height=parsed.height,
        width=parsed.width,
        channels=parsed.components,
        samples=1,
        dtype=dtype,
        row_nbytes=parsed.row_nbytes,
        compression="zlib" if compression == "zlib" else "none",
    )


def level_of(attributes: ImageAttributes) -> int | None:
    """Return the level of zlib that attributes ask for; None for the default.

    Parameters
    ----------
    attributes
        To be written.

    Raises
    ------
    ValueError
        If there is no such level; of frames that are not compressed it says nothing.
    """
    level = attributes.dCompressionParam
    if attributes.eCompression != ImageAttributesCompression.ictLossLess or level == 0:
        return None
    if level not in range(1, 10):
        raise ValueError(
            f"imageAttributes: dCompressionParam is {level:g}: a level is 1 to 9, or 0 "
            "for the usual one"
        )
    return int(level)


def described(layout: PixelLayout, bits: int) -> str:
    """Return how frames are stored, for messages."""
    packed = "not compressed" if layout.compression == "none" else "compressed"
    return (
        f"{layout.height} x {layout.width} pixels of {layout.channels} components, "
        f"{layout.dtype} with {bits} bits, {packed}, {layout.row_nbytes} bytes a row"
    )


def stored_image(
    data: ArrayLike,
    attributes: ImageAttributes,
    shape: tuple[int, int] | None = None,
    *,
    number: int = 0,
) -> NDArray[Any]:
    """Return an image as samples of a file.

    Parameters
    ----------
    data
        Of shape (rows, columns, components); without the last if there is one.
    attributes
        Of the file.
    shape
        Rows and columns; by default those of the file.
    number
        Of the frame, for messages.

    Returns
    -------
    ndarray
        Of shape (components, rows, columns), a view where the type is right already.

    Raises
    ------
    ValueError
        If the shape is another one, or a value cannot be stored as it is: so are those
        that are not finite, which `write_nd2` of this package refuses, too.
    """
    array = unmasked(data)
    components = attributes.componentCount
    wanted = (*(shape or (attributes.height, attributes.width)), components)
    if array.ndim == 2 and components == 1:
        array = array[:, :, np.newaxis]
    if array.shape != wanted:
        raise ValueError(
            f"an image of shape {array.shape} for frames of shape {wanted}: it is not "
            "repeated, and no component is left out"
        )
    dtype, bits = np.dtype(attributes.dtype), attributes.uiBpcSignificant
    if dtype.kind == array.dtype.kind == "f":
        check_values(array.transpose(2, 0, 1)[np.newaxis], bits, [number])
    return _converted(array, dtype, bits).transpose(2, 0, 1)


def unmasked(data: ArrayLike) -> NDArray[Any]:
    """Return an array, of which no element is masked: files have no mark for that.

    Raises
    ------
    ValueError
        If one is.
    """
    masked = isinstance(data, np.ma.MaskedArray)
    count = int(np.count_nonzero(np.ma.getmask(data))) if masked else 0
    if count:
        raise ValueError(
            f"{count} values of the array are masked, which a file has no mark for: "
            "fill them before, as with .filled(0)"
        )
    return np.asarray(data)


def _converted(array: NDArray[Any], dtype: np.dtype[Any], bits: int) -> NDArray[Any]:
    kind = array.dtype.kind
    if kind not in "biuf" or (kind == "b" and dtype.itemsize > 1):
        raise ValueError(
            f"{array.dtype} values are no {dtype} samples: convert them before"
        )
    if dtype.kind == "f":
        return _as_float(array, dtype)
    if kind == "f" and not bool((array == np.rint(array)).all()):  # nor is NaN
        raise ValueError(
            f"{array.dtype} values that are not whole numbers cannot be stored as "
            f"{dtype}: round them before"
        )
    limit = 2**bits - 1
    if kind == "u" and array.dtype.itemsize * 8 <= bits:
        return array.astype(dtype, copy=False)
    if kind != "b" and array.size:
        low, high = array.min(), array.max()
        if low < 0 or high > limit:
            raise ValueError(
                f"Pixel values out of range for {bits}-bit data: min={low}, max={high}, "
                f"expected [0, {limit}]"
            )
    return array.astype(dtype, copy=False)


def _as_float(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore", invalid="ignore"):
        made = array.astype(dtype, copy=False)
        same = made is array or bool((made == array).all())
    if same:
        return made
    if not np.isfinite(made).all():
        raise ValueError(
            f"{array.dtype} values beyond {np.finfo(dtype).max:.3g} cannot be stored as "
            f"{dtype}: scale them before"
        )
    raise ValueError(
        f"{array.dtype} values cannot be stored as {dtype} without a change: convert "
        f'them with .astype("{dtype}") if that may be'
    )
