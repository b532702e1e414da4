"""Raw images of a CrestOptics DeepSIM: ``AUXIMAGE_21_<component>`` (FORMAT 6.7 [1S]).

A component of a frame that was computed from several raw images has them in a chunk of
its own, with what they were computed with. What is stored and not understood is kept, so
that a chunk is written as it was read.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.errors import CorruptChunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "DEEPSIM_FAMILY",
    "DEEPSIM_HEAD_NBYTES",
    "DeepSimHead",
    "DeepSimImages",
    "decode_deepsim",
    "decode_deepsim_head",
    "deepsim_chunk_name",
    "encode_deepsim",
    "parse_deepsim_name",
]

DEEPSIM_FAMILY: Final = "CustomDataSeq|AUXIMAGE_21_"
"""What the names of all chunks with raw images begin with."""

_NAME: Final = re.compile(
    re.escape(DEEPSIM_FAMILY) + r"([0-9]{1,10})\|([0-9]{1,10})!", re.ASCII
)
_HEAD: Final = struct.Struct("<QhhhQddHHhh")
_SIZES: Final = struct.Struct("<QI")
_SIZES_OFFSET: Final = 166
DEEPSIM_HEAD_NBYTES: Final = _SIZES_OFFSET + _SIZES.size
"""Bytes before the texts and images."""
_RESERVED_NBYTES: Final = _SIZES_OFFSET - _HEAD.size
_PIXEL: Final = np.dtype("<u2")
_INT16: Final = range(-(2**15), 2**15)
_UINT16: Final = range(2**16)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DeepSimImages:
    """Raw images of one component of one frame, and what became of them."""

    images: NDArray[np.uint16]
    """Raw images, of shape (number, height, width)."""
    calibration_key: str = ""
    """Key of the calibration, as stored, which may end in NUL."""
    calibration_xml: str = ""
    """Calibration."""
    psf: float = 0.0
    """Correction of the point spread function."""
    psf_default: float = 0.0
    """Its default."""
    iterations: int = 0
    """Iterations of the reconstruction."""
    iterations_default: int = 0
    """Their default."""
    roi_x: int = 0
    """First column of the region of the camera."""
    roi_y: int = 0
    """Its first row."""
    size: int | None = None
    """First field of the header, whose meaning is not known; None stores the bytes of
    the chunk [G]."""
    reserved: bytes = bytes(_RESERVED_NBYTES)
    """What lies between the fields of the header."""
    trailing: bytes = b""
    """What follows the images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeepSimHead:
    """What stands before the texts and images of a chunk, see `DeepSimImages`."""

    size: int
    count: int
    height: int
    width: int
    psf: float
    psf_default: float
    iterations: int
    iterations_default: int
    roi_x: int
    roi_y: int
    key_nbytes: int
    """Bytes of the key, which comes first."""
    xml_nbytes: int
    """Bytes of the calibration, which comes next."""

    @property
    def image_nbytes(self) -> int:
        """Bytes of one raw image."""
        return self.height * self.width * _PIXEL.itemsize

    @property
    def images_offset(self) -> int:
        """Where the first raw image begins in the payload."""
        return DEEPSIM_HEAD_NBYTES + self.key_nbytes + self.xml_nbytes


def deepsim_chunk_name(component: int, frame: int) -> str:
    """Return the name of the chunk with the raw images of a component.

    Examples
    --------
    >>> deepsim_chunk_name(1, 7)
    'CustomDataSeq|AUXIMAGE_21_1|7!'
    """
    return f"{DEEPSIM_FAMILY}{component}|{frame}!"


def parse_deepsim_name(name: str) -> tuple[int, int] | None:
    """Return component and frame number of such a name; None for other chunks.

    Examples
    --------
    >>> parse_deepsim_name("CustomDataSeq|AUXIMAGE_21_1|7!")
    (1, 7)
    """
    match = _NAME.fullmatch(name)
    return None if match is None else (int(match[1]), int(match[2]))


def decode_deepsim(data: bytes) -> DeepSimImages:
    """Return the raw images that a chunk holds.

    Parameters
    ----------
    data
        Its payload.

    Raises
    ------
    CorruptChunk
        If sizes contradict each other or the payload, or texts are none.

    Examples
    --------
    >>> raw = DeepSimImages(images=np.ones((2, 3, 4), "u2"), calibration_key="k")
    >>> found = decode_deepsim(encode_deepsim(raw))
    >>> found.images.shape, found.calibration_key
    ((2, 3, 4), 'k')
    """
    head = decode_deepsim_head(data)
    texts = DEEPSIM_HEAD_NBYTES + head.key_nbytes
    end = head.images_offset + head.count * head.image_nbytes
    if end > len(data):
        raise CorruptChunk(
            f"DeepSIM data end after {len(data)} of {end} bytes", offset=len(data)
        )
    try:
        key = data[DEEPSIM_HEAD_NBYTES:texts].decode("utf-16-le", "surrogatepass")
        xml = data[texts : head.images_offset].decode("utf-8", "surrogateescape")
    except UnicodeDecodeError as error:
        raise CorruptChunk(
            f"the key of the calibration is no text: {error.reason}",
            offset=DEEPSIM_HEAD_NBYTES,
        ) from None
    shape = head.count, head.height, head.width
    pixels = np.frombuffer(data, _PIXEL, math.prod(shape), head.images_offset)
    return DeepSimImages(
        images=pixels.reshape(shape).astype(np.uint16),
        calibration_key=key,
        calibration_xml=xml,
        psf=head.psf,
        psf_default=head.psf_default,
        iterations=head.iterations,
        iterations_default=head.iterations_default,
        roi_x=head.roi_x,
        roi_y=head.roi_y,
        size=None if head.size == len(data) else head.size,
        reserved=data[_HEAD.size : _SIZES_OFFSET],
        trailing=data[end:],
    )


def decode_deepsim_head(data: bytes) -> DeepSimHead:
    """Return what stands before the texts and images of a chunk.

    Parameters
    ----------
    data
        The first `DEEPSIM_HEAD_NBYTES` bytes of its payload, or more.

    Raises
    ------
    CorruptChunk
        If there are fewer, or sizes contradict each other.
    """
    if len(data) < DEEPSIM_HEAD_NBYTES:
        raise CorruptChunk(f"{len(data)} bytes are no DeepSIM data")
    size, width, height, count, nbytes, *rest = _HEAD.unpack_from(data)
    if width < 1 or height < 1 or count < 0 or nbytes != 2 * width * height:
        raise CorruptChunk(
            f"announces {count} DeepSIM images of {height} x {width} pixels and "
            f"{nbytes} bytes"
        )
    psf, psf_default, iterations, iterations_default, roi_x, roi_y = rest
    xml_nbytes, key_nbytes = _SIZES.unpack_from(data, _SIZES_OFFSET)
    return DeepSimHead(
        size=size,
        count=count,
        height=height,
        width=width,
        psf=psf,
        psf_default=psf_default,
        iterations=iterations,
        iterations_default=iterations_default,
        roi_x=roi_x,
        roi_y=roi_y,
        key_nbytes=key_nbytes,
        xml_nbytes=xml_nbytes,
    )


def encode_deepsim(raw: DeepSimImages) -> bytes:
    """Return the payload of a chunk with raw images, the inverse of `decode_deepsim`.

    Raises
    ------
    TypeError, ValueError
        If the images are not uint16 of three dimensions, or a number does not fit.
    """
    images: NDArray[Any] = raw.images
    if not np.can_cast(images.dtype, _PIXEL, "equiv"):
        raise TypeError(f"DeepSIM images are uint16, not {images.dtype}")
    if images.ndim != 3 or 0 in images.shape[1:]:
        raise ValueError(
            f"DeepSIM images are of shape (number, Y, X), not {images.shape}"
        )
    count, height, width = images.shape
    if len(raw.reserved) != _RESERVED_NBYTES:
        raise ValueError(
            f"{len(raw.reserved)} bytes are reserved, where there must be "
            f"{_RESERVED_NBYTES}"
        )
    _check(_INT16, width=width, height=height, number=count)
    _check(_INT16, roi_x=raw.roi_x, roi_y=raw.roi_y)
    _check(
        _UINT16,
        iterations=raw.iterations,
        iterations_default=raw.iterations_default,
    )
    key = raw.calibration_key.encode("utf-16-le", "surrogatepass")
    xml = raw.calibration_xml.encode("utf-8", "surrogateescape")
    pixels = images.astype(_PIXEL, copy=False).tobytes()
    total = DEEPSIM_HEAD_NBYTES + len(key) + len(xml) + len(pixels) + len(raw.trailing)
    head = _HEAD.pack(
        total if raw.size is None else raw.size,
        width,
        height,
        count,
        height * width * _PIXEL.itemsize,
        raw.psf,
        raw.psf_default,
        raw.iterations,
        raw.iterations_default,
        raw.roi_x,
        raw.roi_y,
    )
    sizes = _SIZES.pack(len(xml), len(key))
    return b"".join([head, raw.reserved, sizes, key, xml, pixels, raw.trailing])


def _check(allowed: range, **numbers: int) -> None:
    for name, value in numbers.items():
        if value not in allowed:
            raise ValueError(
                f"{name} {value} of DeepSIM images is not within {allowed[0]} and "
                f"{allowed[-1]}"
            )
