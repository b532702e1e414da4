"""PNG and JPEG: one image a file, decoded when it is asked for."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.conversion.lazy_images import OuterArray, lazy
from limnd2_xr.conversion.source_image import (
    Reading,
    SourceImage,
    check_size,
    checked_dims,
    without_alpha,
)
from limnd2_xr.errors import Nd2Error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["IMAGE_SUFFIXES", "open_picture"]

IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg")

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_SAMPLES: Final = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
"""Of a pixel, by the colour type of a PNG."""
_MAX_RATIO: Final = 2000
"""Deflate makes a thousand bytes of one at most."""
_HEAD: Final = 2**20
"""A JPEG says within so many bytes how large it is."""


def open_picture(path: Path, reading: Reading) -> list[SourceImage]:
    """Open a PNG or JPEG file; its header alone is read.

    Parameters
    ----------
    path
        Of a local file.
    reading
        How to understand it.

    Raises
    ------
    Nd2Error
        If it is none of the two, or damaged.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    name = str(path)
    if head.startswith(_PNG):
        shape, dtype, kind = *_png(head, name), "PNG"
    elif head.startswith(b"\xff\xd8"):
        shape, dtype, kind = *_jpeg(head, name), "JPEG"
    else:
        raise Nd2Error("neither PNG nor JPEG", path=name)
    dims: tuple[str, ...] = ("Y", "X", "S")[: len(shape)]
    if reading.dims is not None:
        dims = checked_dims(reading.dims, len(shape), name)
    nbytes = path.stat().st_size if kind == "PNG" else None
    check_size(dims, shape, dtype, name, file_nbytes=nbytes, ratio=_MAX_RATIO)
    pixels = lazy(dims, _Picture(name, shape, dtype, kind))
    pixels, notes = without_alpha(pixels, name, drop_alpha=reading.drop_alpha)
    return [SourceImage(pixels=pixels, path=name, format=kind, notes=notes)]


class _Picture(OuterArray):
    def __init__(
        self, path: str, shape: tuple[int, ...], dtype: np.dtype[Any], kind: str
    ) -> None:
        self._path = path
        self._kind = kind
        self.shape = shape
        self.dtype = dtype

    def read(self, indices: Sequence[NDArray[np.int64]]) -> NDArray[Any]:
        import imagecodecs

        is_png = self._kind == "PNG"
        decode = imagecodecs.png_decode if is_png else imagecodecs.jpeg_decode
        try:
            decoded = np.asarray(decode(Path(self._path).read_bytes()))
        except (MemoryError, OSError):
            raise
        except Exception as error:
            # Each codec has an exception of its own, and they share no base.
            raise Nd2Error(f"not readable: {error}", path=self._path) from error
        if decoded.shape != self.shape or decoded.dtype != self.dtype:
            raise Nd2Error(
                f"{decoded.shape} {decoded.dtype} instead of {self.shape} {self.dtype}, "
                "as its header says",
                path=self._path,
            )
        return decoded[np.ix_(*indices)]


def _png(head: bytes, path: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if len(head) < 33 or head[12:16] != b"IHDR":
        raise Nd2Error("the header of the PNG file is cut short", path=path)
    width, height, bits, color = struct.unpack(">IIBB", head[16:26])
    if color not in _SAMPLES:
        raise Nd2Error(
            f"a PNG file of colour type {color}, which there is not", path=path
        )
    samples = _SAMPLES[color]
    if b"tRNS" in head[33 : head.find(b"IDAT")]:
        # Decoders turn a transparent colour into one more sample.
        samples = {1: 2, 3: 4}.get(samples, samples)
    shape = (height, width) if samples == 1 else (height, width, samples)
    return shape, np.dtype("uint16" if bits == 16 else "uint8")


def _jpeg(head: bytes, path: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    at = 2
    while at + 9 < len(head):
        if head[at] != 0xFF:
            break
        marker = head[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        # The markers of frames, but for tables and arithmetic conditioning.
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            bits, height, width, samples = struct.unpack_from(">BHHB", head, at + 4)
            if samples not in {1, 3}:
                raise Nd2Error(
                    f"a JPEG of {samples} samples a pixel, as CMYK has: convert it to RGB",
                    path=path,
                )
            shape = (height, width) if samples == 1 else (height, width, samples)
            return shape, np.dtype("uint16" if bits > 8 else "uint8")
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    raise Nd2Error("the JPEG file does not say how large it is", path=path)
