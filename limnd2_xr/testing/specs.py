"""What a synthetic .nd2 file shall contain: plain descriptions, no bytes.

`limnd2_xr.testing.synthetic` writes the files that these classes describe.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from limnd2_xr.testing.loop_specs import (
    CustomLoop,
    Loop,
    NETimeLoop,
    Period,
    Point,
    PositionLoop,
    SpectralLoop,
    TimeLoop,
    ZLoop,
)
from limnd2_xr.testing.xml_style import XmlStyle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ChannelSpec",
    "Column",
    "CustomLoop",
    "Loop",
    "MapStyle",
    "NETimeLoop",
    "Period",
    "Point",
    "PositionLoop",
    "SpectralLoop",
    "SyntheticSpec",
    "TimeLoop",
    "XmlStyle",
    "ZLoop",
]

MapStyle: TypeAlias = Literal[
    "nis",
    "nis4",
    "ascending",
    "size_equals_offset",
    "duplicates",
    "missing",
    "zero_footer",
    "zero_offset",
    "wrong_offset",
    "wrong_frame_offsets",
    "outside",
    "garbage",
]
"""How the chunk map is written (FORMAT 2.2, 2.3).

``nis``: as NIS-Elements 5 does. ``nis4``: with an unpadded chunk name, as 4.x did.
``ascending``: entries in the opposite order. ``size_equals_offset``: frames of unknown
size. ``duplicates``: each frame listed twice, wrongly first. The rest is damage, to be
repaired by a scan: ``missing`` (file ends with the last chunk), ``zero_footer`` (last 40
bytes zero), ``zero_offset`` (footer without an offset), ``wrong_offset`` (the footer
points 4096 bytes early), ``wrong_frame_offsets`` (frames listed 4096 bytes late),
``outside`` (frames listed beyond the end), ``garbage`` (an unreadable map).
"""


_PALETTE = (0xFF0000, 0x00FF00, 0x0000FF, 0x00FFFF, 0xFF00FF, 0xFFFF00)


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """One picture plane: a mono channel, or an RGB image stored as B, G, R.

    Parameters
    ----------
    name
        ``sDescription``.
    components
        1, or 3 for RGB.
    color
        0x00BBGGRR; None takes one from a palette, white for RGB.
    emission_nm, excitation_nm
        Stored in one filter placed as user override (FORMAT 8.4); None stores none.
    modality_mask
        Bits of FORMAT 8.5; None means camera fluorescence, brightfield for RGB.
    modality_code
        What version 2 stores in place of the mask (FORMAT 8.6); None means brightfield
        or fluorescence, as the mask says.
    exposure_ms, pinhole_um, camera, optical_config, binning
        Settings of the channel; `pinhole_um` of -1 means none. Version 2 stores one
        pinhole for all channels, that of the first.
    sample_index
        Index of the channel's sample setting; None gives each its own.
    """

    name: str
    _: KW_ONLY
    components: int = 1
    color: int | None = None
    emission_nm: float | None = None
    excitation_nm: float | None = None
    modality_mask: int | None = None
    modality_code: int | None = None
    exposure_ms: float = 100.0
    pinhole_um: float = -1.0
    camera: str = "Synthetic Camera"
    optical_config: str = ""
    binning: tuple[float, float] = (1.0, 1.0)
    sample_index: int | None = None

    def stored_color(self, index: int) -> int:
        """Colour to store for the channel at `index`."""
        if self.color is not None:
            return self.color
        return 0xFFFFFF if self.components == 3 else _PALETTE[index % len(_PALETTE)]

    @property
    def stored_mask(self) -> int:
        """Modality bits to store."""
        if self.modality_mask is not None:
            return self.modality_mask
        return 0x102 if self.components == 3 else 0x101

    @property
    def stored_code(self) -> int:
        """Modality code that version 2 stores."""
        if self.modality_code is not None:
            return self.modality_code
        return 1 if self.stored_mask & 2 else 0


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A recorded column (FORMAT 9.3): one value a frame.

    `values` of floats are stored as f64, of integers as i32, of strings in slots of 512
    bytes. Without a description the column's ID stands in.
    """

    values: ArrayLike
    _: KW_ONLY
    description: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SyntheticSpec:
    """A synthetic file: what it shows, and how its bytes are laid out.

    Parameters
    ----------
    loops
        Outermost first. The sequence index runs over them row-major.
    width, height
        Pixels.
    channels
        Picture planes; their components follow each other within a pixel.
    dtype
        Of a component: ``uint8``, ``uint16``, ``float32``; others are written too,
        though few readers know them.
    significant_bits
        None means all.
    compression
        None, ``"zlib"`` (lossless), or ``"lossy"`` (announced only; the pixels are
        stored as they are).
    compression_level
        0-9.
    metadata
        ``"lv"``, ``"xml"`` (version 2 chunks) or ``"none"`` (attributes and frames).
    xml
        How XML is spelled, in a file whose metadata are XML.
    version
        Of the signature; None means 3.0, 2.1 for XML.
    calibration_um
        Size of a pixel; None stores an uncalibrated file.
    objective, magnification, aperture, refractive_index, zoom, angle
        Of the microscope; `angle` in radians.
    position_um
        Stage position of frame 0 where no position loop gives it.
    times_ms
        One a frame, since the start; None spaces them evenly.
    julian_day
        Of frame 0 (UTC), 0.0 for unknown.
    columns
        Recorded columns by ID. None writes ``X``, ``Y``, ``Z`` in agreement with the
        loops, an empty mapping none.
    text
        Text info items by number, added to (or instead of) the standard ones.
    missing
        Sequence indices without a chunk.
    first_frame
        Number of the first frame chunk.
    frame_count
        Frames stored; None means what the loops promise.
    sequence_count
        ``uiSequenceCount``; None means `frame_count`.
    frame_order
        Sequence indices in the order in which their chunks lie in the file.
    frame_name_nbytes
        Size of a frame's name field, or a function of the sequence index; None follows
        FORMAT 1.3 (4072).
    alignment
        Chunks start at multiples of it (4096 in all real files).
    interleave_metadata
        Put the metadata and some foreign chunks between the frames.
    stale_chunks
        Leave outdated copies of metadata in the file, as saving again does.
    extra_chunks
        Chunk payloads by name; they replace standard ones of the same name.
    omit_chunks
        Names of standard chunks that are not written.
    attributes
        Fields of the attributes chunk that shall lie, such as ``{"uiWidthBytes": 3}``.
    wrap_loops
        Wrap each inner experiment node in a level ``SLxExperiment`` (FORMAT 7.1; the
        vendor's SDK and nd2 do not look inside).
    repeat_branches
        Write each inner experiment node twice below its parent; the repeated branch
        adds no frames (FORMAT 7.5).
    map_style
        See `MapStyle`.
    pixels
        Function of the sequence index that returns one frame as stored, shape (height,
        width, components); None makes a pattern that differs in each frame.
    seed
        Of the pattern.

    Examples
    --------
    >>> spec = SyntheticSpec(loops=(TimeLoop(3), ZLoop(5)), width=32, height=16)
    >>> spec.loop_shape, spec.n_frames, spec.row_nbytes
    ((3, 5), 15, 64)
    """

    loops: tuple[Loop, ...] = ()
    width: int = 64
    height: int = 48
    channels: tuple[ChannelSpec, ...] = (ChannelSpec("GFP"),)
    dtype: str = "uint16"
    significant_bits: int | None = None
    compression: Literal["zlib", "lossy"] | None = None
    compression_level: int = 6
    metadata: Literal["lv", "xml", "none"] = "lv"
    xml: XmlStyle = field(default_factory=XmlStyle)
    version: str | None = None
    calibration_um: float | None = 0.5
    objective: str = "Plan Apo 20x"
    magnification: float = 20.0
    aperture: float = 0.75
    refractive_index: float = 1.0
    zoom: float = 1.0
    angle: float = 0.0
    position_um: tuple[float, float, float] = (1000.0, -2000.0, 300.0)
    times_ms: ArrayLike | None = None
    julian_day: float = 2460742.25
    columns: Mapping[str, Column | ArrayLike] | None = None
    text: Mapping[int, str] = field(default_factory=dict)
    missing: frozenset[int] = frozenset()
    first_frame: int = 0
    frame_count: int | None = None
    sequence_count: int | None = None
    frame_order: Sequence[int] | None = None
    frame_name_nbytes: int | Callable[[int], int] | None = None
    alignment: int = 4096
    interleave_metadata: bool = False
    stale_chunks: bool = False
    extra_chunks: Mapping[str, bytes] = field(default_factory=dict)
    omit_chunks: frozenset[str] = frozenset()
    attributes: Mapping[str, int | float] = field(default_factory=dict)
    wrap_loops: bool = False
    repeat_branches: bool = False
    map_style: MapStyle = "nis"
    pixels: Callable[[int], NDArray[np.generic]] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.frame_order is not None and sorted(self.frame_order) != list(
            range(self.n_frames)
        ):
            raise ValueError(
                f"frame_order is no permutation of the {self.n_frames} frames"
            )
        if self.metadata == "none" and self.loops:
            raise ValueError("loops need metadata; give frame_count instead")
        if not self.channels or self.width < 1 or self.height < 1:
            raise ValueError("a file needs a channel and at least one pixel")
        bits = 8 * self.stored_dtype.itemsize
        if not 1 <= self.n_significant_bits <= bits:
            raise ValueError(f"{self.significant_bits} significant bits of {bits}")

    @property
    def stored_dtype(self) -> np.dtype[np.generic]:
        """Little-endian dtype of a component."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def n_significant_bits(self) -> int:
        """Used bits of a component."""
        return self.significant_bits or 8 * self.stored_dtype.itemsize

    @property
    def n_components(self) -> int:
        """Components of a pixel, over all channels."""
        return sum(c.components for c in self.channels)

    @property
    def row_nbytes(self) -> int:
        """Bytes of a stored row, padded to a multiple of 4 (FORMAT 5)."""
        packed = self.width * self.n_components * self.stored_dtype.itemsize
        return packed + -packed % 4

    @property
    def loop_shape(self) -> tuple[int, ...]:
        """Lengths of the loops that multiply frames, outermost first."""
        return tuple(loop.length for loop in self.loops if loop.axis)

    @property
    def n_frames(self) -> int:
        """Frames stored, or to be stored were it not for `missing`."""
        return (
            math.prod(self.loop_shape) if self.frame_count is None else self.frame_count
        )

    @property
    def stored_version(self) -> str:
        """Version in the signature."""
        return self.version or ("2.1" if self.metadata == "xml" else "3.0")
