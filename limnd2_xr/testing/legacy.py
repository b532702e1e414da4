"""Synthetic files of format 1.0: JPEG 2000 boxes (FORMAT 11), built byte by byte.

Describe a file with a `LegacySpec`, get bytes and the truth. The images are encoded by
imagecodecs, of the extra ``legacy``; the files open in the public readers too.

Examples
--------
>>> file = build_legacy(LegacySpec(loops=(TimeLoop(3),), width=8, height=6))
>>> file.dims, file.array().shape
(('T', 'C', 'Y', 'X'), (3, 1, 6, 8))
>>> list(file.boxes)[2:6]
['jp2h', 'LUNK|0', 'LUNK|1', 'LUNK|2']
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from limnd2_xr.testing.legacy_xml import metadata_boxes
from limnd2_xr.testing.loop_specs import NETimeLoop, PositionLoop, TimeLoop, ZLoop
from limnd2_xr.testing.specs import ChannelSpec

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["LegacyLoop", "LegacySpec", "SyntheticLegacyFile", "build_legacy"]

LegacyLoop: TypeAlias = TimeLoop | NETimeLoop | PositionLoop | ZLoop
"""A loop that format 1.0 knows."""

_DIM_ORDER: Final = "TPZ"
_FREE_NBYTES: Final = 8192
"""Bio-Formats finds the metadata only if so much follows the last image."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LegacySpec:
    """A file of format 1.0: what it shows, and how its bytes are laid out.

    Parameters
    ----------
    loops
        Outermost first. A time loop is stored with its one period, as are the points of
        a position loop last first.
    width, height
        Pixels.
    channels
        One codestream each; those of three components are RGB.
    bits
        Significant bits of a component: 8 or less are stored in 8 bits, more in 16.
    codestream_bits
        Depth that the codestreams declare; None for 8 or 16.
    calibration_um
        Pixel size; None for an uncalibrated file.
    position_um
        Stage position of the first frame, where no loop moves the stage.
    times_ms
        Time of each frame; None for a second each.
    box_map
        Whether the file ends with a map of its boxes.
    loop_style
        Loops inside each other in ``AIM1``, or one after the other in ``AIMD``.
    wrapped
        Put the trees into ``variant`` and ``no_name``.
    prolog
        Begin the metadata with an XML declaration.
    said
        Lengths that the line ``Dimensions:`` of the text has, e.g. ``T(3) x XY(2)``;
        None for those of the loops, empty for no text at all.
    omit
        Tags and types of boxes to leave out.
    extra
        More metadata boxes: tag to XML.
    last_frames
        Left out: the images of so many frames at the end.
    seed
        Of the pixels.
    """

    loops: tuple[LegacyLoop, ...] = ()
    width: int = 40
    height: int = 32
    channels: tuple[ChannelSpec, ...] = (ChannelSpec("GFP"),)
    bits: int = 16
    codestream_bits: int | None = None
    calibration_um: float | None = 0.5
    position_um: tuple[float, float, float] = (1000.0, -2000.0, 300.0)
    times_ms: tuple[float, ...] | None = None
    box_map: bool = True
    loop_style: Literal["AIM1", "AIMD"] = "AIM1"
    wrapped: bool = False
    prolog: bool = False
    said: str | None = None
    omit: frozenset[str] = frozenset()
    extra: Mapping[str, bytes] = field(default_factory=dict)
    last_frames: int = 0
    seed: int = 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a component."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16)

    @property
    def n_frames(self) -> int:
        """Frames that the loops ask for."""
        return math.prod(loop.length for loop in self.loops)


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticLegacyFile:
    """A file in memory, with what a reader should find in it.

    Attributes
    ----------
    data
        The bytes of the file.
    spec
        What it was built from.
    frames
        Image of each frame and channel, RGB as R, G, B: (height, width, components).
    boxes
        Offset of each box and bytes of its payload, by tag and number.
    """

    data: bytes = field(repr=False)
    spec: LegacySpec
    frames: list[list[NDArray[Any]]] = field(repr=False)
    boxes: dict[str, tuple[int, int]] = field(repr=False)

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dims of `array`: a part of T P Z, then C Y X, S for RGB."""
        axes = {loop.axis for loop in self.spec.loops}
        rgb = all(channel.components == 3 for channel in self.spec.channels)
        return (*(a for a in _DIM_ORDER if a in axes), "C", "Y", "X", *("S" * rgb))

    def array(self) -> NDArray[Any]:
        """Pixels in the order of `dims`; an RGB channel among others is B, G, R."""
        spec = self.spec
        rgb = "S" in self.dims
        made = []
        for images in self.frames:
            planes: list[NDArray[Any]] = []
            for image in images:
                if rgb:
                    planes.append(image)
                else:
                    planes += list(np.moveaxis(image[..., ::-1], -1, 0))
            made.append(np.stack(planes))
        lengths = [loop.length for loop in spec.loops]
        stacked = np.stack(made).reshape(*lengths, *made[0].shape)
        axes = [loop.axis for loop in spec.loops]
        order = [axes.index(a) for a in _DIM_ORDER if a in axes]
        return stacked.transpose(*order, *range(len(order), stacked.ndim))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the bytes to `path` and return it."""
        target = Path(path)
        target.write_bytes(self.data)
        return target


def build_legacy(spec: LegacySpec) -> SyntheticLegacyFile:
    """Build a file of format 1.0 in memory.

    Parameters
    ----------
    spec
        What it shows, and how.
    """
    frames = _frames(spec)
    kept = frames[: spec.n_frames - spec.last_frames]
    boxes: list[tuple[str, str, bytes]] = [
        ("jP  ", "", b"\r\n\x87\n"),
        ("ftyp", "", b"jp2 \0\0\0\0jp2 "),
        ("jp2h", "", _header(spec)),
    ]
    boxes += [
        ("jp2c", "LUNK", _codestream(image, spec))
        for images in kept
        for image in images
    ]
    boxes += [("xml ", tag, xml) for tag, xml in metadata_boxes(spec)]
    boxes += [("xml ", tag, xml) for tag, xml in spec.extra.items()]
    boxes.append(("uuid", "FREE", bytes(16) + bytes(_FREE_NBYTES)))
    return _written(spec, frames, [b for b in boxes if not spec.omit & {b[0], b[1]}])


def _written(
    spec: LegacySpec,
    frames: list[list[NDArray[Any]]],
    boxes: list[tuple[str, str, bytes]],
) -> SyntheticLegacyFile:
    data = bytearray()
    listed = bytearray()
    places: dict[str, tuple[int, int]] = {}
    counts: dict[str, int] = {}
    for kind, tag, payload in boxes:
        label = tag or kind.strip()
        number = counts.get(label, 0)
        counts[label] = number + 1
        numbered = label in {"LUNK", "VCAL", "VIMD"}
        places[f"{label}|{number}" if numbered else label] = len(data), len(payload)
        listed += struct.pack(
            "<4s4sQ", kind.encode(), tag.encode().ljust(4, b"\0"), len(data)
        )
        data += struct.pack(">I4s", len(payload) + 8, kind.encode()) + payload
    if spec.box_map:
        stored = struct.pack(">I", len(boxes)) + listed
        # The map is the payload of a last box, which runs to the end of the file.
        data += struct.pack(">I4s", len(stored) + 48, b"uuid") + stored
        data += b"LABORATORY IMAGING ND BOX MAP 00"
        data += struct.pack("<Q", len(stored) + 40)
    return SyntheticLegacyFile(bytes(data), spec, frames, places)


def _frames(spec: LegacySpec) -> list[list[NDArray[Any]]]:
    """Images that differ from frame to frame and channel to channel: noise on a slope."""
    rng = np.random.default_rng(spec.seed)
    top = (1 << spec.bits) - 1
    y, x = np.ogrid[: spec.height, : spec.width]
    frames = []
    for frame in range(spec.n_frames):
        images = []
        for number, channel in enumerate(spec.channels):
            slope = (x * 5 + y * 3 + 37 * frame + 101 * number)[..., None]
            shape = (spec.height, spec.width, channel.components)
            noise = rng.integers(0, max(top // 4, 2), shape)
            tint = 11 * np.arange(channel.components)
            images.append(((slope + noise + tint) % (top + 1)).astype(spec.dtype))
        frames.append(images)
    return frames


def _codestream(image: NDArray[Any], spec: LegacySpec) -> bytes:
    import imagecodecs

    pixels = image if image.shape[-1] > 1 else image[..., 0]
    encoded = imagecodecs.jpeg2k_encode(
        pixels,
        level=0,
        codecformat="j2k",
        reversible=True,
        mct=False,  # Bio-Formats undoes the colour transformation inexactly
        bitspersample=spec.codestream_bits,
        resolutions=2,
    )
    return bytes(encoded)


def _header(spec: LegacySpec) -> bytes:
    components = spec.channels[0].components
    bits = 8 * spec.dtype.itemsize
    ihdr = struct.pack(
        ">IIHBBBB", spec.height, spec.width, components, bits - 1, 7, 0, 0
    )
    colour = struct.pack(">BBBI", 1, 0, 0, 16 if components == 3 else 17)
    return b"".join(
        struct.pack(">I4s", len(payload) + 8, kind) + payload
        for kind, payload in ((b"ihdr", ihdr), (b"colr", colour))
    )
