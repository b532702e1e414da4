"""How the frames of a file are chunks of zarr arrays: one chunk is one frame.

Zarr's codecs can describe most frames as they lie in the file: rows of interleaved
components are an array with its axes transposed, and padding of rows is a chunk that
reaches over the edge of the array. So the bytes of a frame are those of a chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limnd2_xr.frames.layout import PixelLayout

__all__ = ["ChunkLayout", "array_document", "padded_width", "plain_codecs", "why_not"]

ZLIB: Final = "numcodecs.zlib"
"""What zarr calls zlib streams; tensorstore and browsers know no such codec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkLayout:
    """How a frame is a chunk of an array.

    Examples
    --------
    Two channels of 16 bits, 3 pixels wide: rows of 12 bytes, no padding.

    >>> import numpy as np
    >>> from limnd2_xr.frames.layout import PixelLayout
    >>> layout = PixelLayout(
    ...     height=2,
    ...     width=3,
    ...     channels=2,
    ...     samples=1,
    ...     dtype=np.dtype("u2"),
    ...     row_nbytes=12,
    ... )
    >>> chunk = ChunkLayout.of(layout, ("t", "c", "y", "x"))
    >>> chunk.is_stored, chunk.shape
    (True, (1, 2, 2, 3))
    >>> [codec["name"] for codec in chunk.codecs]
    ['transpose', 'bytes']
    """

    shape: tuple[int, ...]
    """Of a chunk; its X may reach over the edge of the array."""
    codecs: tuple[dict[str, Any], ...]
    """As zarr's metadata have them."""
    is_stored: bool
    """Whether chunks are the bytes of the file; else frames are decoded for them."""
    is_inflated: bool = False
    """Whether chunks are the bytes of the file after inflating its zlib streams."""

    @classmethod
    def of(
        cls, layout: PixelLayout, axes: Sequence[str], *, inflate: bool = False
    ) -> ChunkLayout:
        """Find out how frames are chunks.

        Parameters
        ----------
        layout
            Of the frames.
        axes
            Names of the axes of the array; those but ``c``, ``y``, ``x`` and ``s``, in
            capitals or not, have chunks of length 1.
        inflate
            Do without a codec for zlib.
        """
        names = [axis.lower() for axis in axes]
        width = padded_width(layout)
        stored = why_not(layout) is None
        lengths = {
            "c": layout.channels if "s" in names else layout.components,
            "s": layout.samples,
            "y": layout.height,
            "x": width if stored and width is not None else layout.width,
        }
        shape = tuple(lengths.get(name, 1) for name in names)
        if not stored:
            return cls(shape=shape, codecs=plain_codecs(layout.dtype), is_stored=False)
        packed = layout.compression == "zlib"
        codecs = _transposed(names, lengths) + plain_codecs(layout.dtype)
        if packed and not inflate:
            codecs += ({"name": ZLIB, "configuration": {"level": 1}},)
        return cls(
            shape=shape,
            codecs=codecs,
            is_stored=not (packed and inflate),
            is_inflated=packed and inflate,
        )


def padded_width(layout: PixelLayout) -> int | None:
    """Width of a row with its padding in pixels, None if that is no whole number."""
    width, rest = divmod(layout.row_nbytes, layout.pixel_nbytes)
    return None if rest or width < layout.width else width


def why_not(layout: PixelLayout) -> str | None:
    """Say why the bytes of frames cannot be those of chunks; None if they can.

    Frames of format 1.0 have a layout of compression ``"jpeg2000"``, or none here.
    """
    if layout.compression not in {"none", "zlib"}:
        return f"frames are compressed in a way that zarr has no codec for ({layout.compression})"
    if padded_width(layout) is None:
        padding = layout.row_nbytes - layout.width * layout.pixel_nbytes
        return (
            f"rows are padded by {padding} bytes, which is no whole number of pixels of "
            f"{layout.pixel_nbytes} bytes"
        )
    return None


def plain_codecs(dtype: Any) -> tuple[dict[str, Any], ...]:
    """Codecs of values in the order of the array."""
    if dtype.itemsize == 1:
        return ({"name": "bytes"},)
    return ({"name": "bytes", "configuration": {"endian": "little"}},)


def _transposed(
    names: Sequence[str], lengths: dict[str, int]
) -> tuple[dict[str, Any], ...]:
    """Codec that brings y, x and then components last, as frames are stored."""
    last = [name for name in ("y", "x", "c", "s") if name in names]
    order = [at for at, name in enumerate(names) if name not in last]
    order += [names.index(name) for name in last]
    # Axes of length 1 may stand anywhere.
    moved = [at for at in order if lengths.get(names[at], 1) > 1]
    if moved == sorted(moved):
        return ()
    return ({"name": "transpose", "configuration": {"order": order}},)


def array_document(
    shape: Sequence[int],
    dtype: Any,
    chunks: Sequence[int],
    codecs: Sequence[dict[str, Any]],
    axes: Sequence[str],
    attributes: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the ``zarr.json`` of an array whose missing chunks are zeros.

    Parameters
    ----------
    shape, dtype
        Of the array.
    chunks
        Shape of a chunk.
    codecs
        As zarr's metadata have them.
    axes
        Names of the axes.
    attributes
        Of the array.
    """
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [int(length) for length in shape],
        "data_type": dtype.name,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [int(length) for length in chunks]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0.0 if dtype.kind == "f" else 0,
        "codecs": list(codecs),
        "dimension_names": list(axes),
        "attributes": dict(attributes or {}),
        "storage_transformers": [],
    }
