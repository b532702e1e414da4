"""What a file's metadata chunks decoded to, and which chunks those are.

The model itself reads nothing: the layer above reads the chunks named here, decodes
the trees and hands both over as one `RawMetadata`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.fields import unwrap
from limnd2_xr.variants.encode import encode
from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from limnd2_xr.variants.tree import Value

__all__ = [
    "ACQUISITION_START",
    "APP_INFO",
    "ATTRIBUTES",
    "AUTHENTICATION",
    "CALIBRATION",
    "COLUMN_X",
    "COLUMN_Y",
    "COLUMN_Z",
    "COLUMN_Z1",
    "COLUMN_Z2",
    "DATA_CHUNKS",
    "EXPERIMENT",
    "FRAMES_CACHE",
    "FRAME_TIMES",
    "METADATA_CHUNKS",
    "PICTURE",
    "RECORDED_COLUMNS",
    "SECOND_CLOCK",
    "TEXT_INFO",
    "TREE_CHUNKS",
    "RawMetadata",
    "chunks_to_read",
    "encode_raw",
]

ATTRIBUTES: Final = ("ImageAttributesLV!", "ImageAttributes!")
"""Image attributes (FORMAT 5)."""
EXPERIMENT: Final = ("ImageMetadataLV!", "ImageMetadata!")
"""Acquisition loops (FORMAT 7)."""
PICTURE: Final = ("ImageMetadataSeqLV|0!", "ImageMetadataSeq|0!")
"""Picture metadata of frame 0 (FORMAT 8)."""
CALIBRATION: Final = ("ImageCalibrationLV|0!", "ImageCalibration|0!")
"""Pixel size, a second time (FORMAT 3)."""
TEXT_INFO: Final = ("ImageTextInfoLV!", "ImageTextInfo!")
"""What the user wrote and what NIS-Elements summed up (FORMAT 9.1)."""
RECORDED_COLUMNS: Final = ("CustomDataVar|CustomDataV2_0!",)
"""Descriptions of the recorded columns (FORMAT 9.3)."""
APP_INFO: Final = ("CustomDataVar|AppInfo_V1_0!",)
"""The program that wrote the file."""
ACQUISITION_START: Final = ("CustomDataVar|AcqTimeV1_0!",)
"""Julian day of the start of the acquisition (FORMAT 8.7)."""

FRAME_TIMES: Final = "CustomData|AcqTimesCache!"
"""float64 ms since the start, one a frame (FORMAT 1.4)."""
SECOND_CLOCK: Final = "CustomData|AcqTimes2Cache!"
"""float64 of a second clock, one a frame; all zero in every file seen (FORMAT 3)."""
FRAMES_CACHE: Final = "CustomData|AcqFramesCache!"
"""uint32, one a frame; all zero in every file seen (FORMAT 3)."""
COLUMN_X: Final = "CustomData|X!"
"""Recorded stage X, one a frame, um (FORMAT 9.3)."""
COLUMN_Y: Final = "CustomData|Y!"
"""Recorded stage Y."""
COLUMN_Z: Final = "CustomData|Z!"
"""Recorded composite Z: all drives together."""
COLUMN_Z1: Final = "CustomData|Z1!"
"""Recorded position of the first Z drive alone."""
COLUMN_Z2: Final = "CustomData|Z2!"
"""Recorded position of the second Z drive, usually a piezo."""

AUTHENTICATION: Final = (
    "CustomData|AuthenticationV",
    "CustomDataSeq|AuthenticationPerFrame",
)
"""What names of checksums of other chunks begin with: they are wrong as soon as anything
is written anew (FORMAT 3)."""

TREE_CHUNKS: Final[tuple[tuple[str, ...], ...]] = (
    ATTRIBUTES,
    EXPERIMENT,
    PICTURE,
    CALIBRATION,
    TEXT_INFO,
    RECORDED_COLUMNS,
    APP_INFO,
    ACQUISITION_START,
)
"""Chunks that hold trees: alternatives of one content, the one to prefer first."""

DATA_CHUNKS: Final[tuple[str, ...]] = (
    FRAME_TIMES,
    COLUMN_X,
    COLUMN_Y,
    COLUMN_Z,
    COLUMN_Z1,
    COLUMN_Z2,
)
"""Chunks that hold plain little-endian arrays."""

METADATA_CHUNKS: Final[tuple[str, ...]] = (
    *(name for names in TREE_CHUNKS for name in names),
    *DATA_CHUNKS,
)
"""Every chunk that the model can use, lite-variant names before XML names."""


def chunks_to_read(present: Container[str]) -> tuple[list[str], list[str]]:
    """Names of the chunks to decode and of those to read raw, of the ones present.

    Of alternatives only the preferred one is named (FORMAT 1.1: what the chunk map
    holds decides, the lite variant first).

    Parameters
    ----------
    present
        Chunk names of the file, e.g. its chunk index.

    Examples
    --------
    >>> chunks_to_read({"ImageAttributes!", "ImageAttributesLV!", "CustomData|X!"})
    (['ImageAttributesLV!'], ['CustomData|X!'])
    """
    trees = [
        next(name for name in names if name in present)
        for names in TREE_CHUNKS
        if any(name in present for name in names)
    ]
    return trees, [name for name in DATA_CHUNKS if name in present]


@dataclass(frozen=True, kw_only=True, slots=True)
class RawMetadata:
    """Decoded metadata chunks of one file.

    Examples
    --------
    >>> from limnd2_xr.variants.tree import Level, LvType
    >>> root, inner = Level(), Level()
    >>> inner.add("uiWidth", LvType.UINT32, 512)
    >>> root.add("SLxImageAttributes", LvType.LEVEL, inner)
    >>> raw = RawMetadata(version=(3, 0), levels={"ImageAttributesLV!": root})
    >>> raw.struct(ATTRIBUTES)
    Level({'uiWidth': 512})
    """

    version: tuple[int, int]
    """Format version of the file, e.g. ``(3, 0)``."""
    levels: Mapping[str, Level]
    """Root of each decoded chunk by chunk name; its children are the records."""
    data: Mapping[str, bytes] = field(default_factory=dict)
    """Payload of each plain array chunk by chunk name."""

    def name(self, names: tuple[str, ...]) -> str | None:
        """Return the first of the alternative chunk names that was decoded."""
        return next((name for name in names if name in self.levels), None)

    def struct(self, names: tuple[str, ...]) -> Level | None:
        """Return the struct that a chunk holds, whichever way it is encoded.

        In a lite variant that is the one record of the root, named after its type
        (``SLxImageAttributes``); in XML the one child ``no_name`` (FORMAT 4.1). A
        root with several children is the struct itself.

        Parameters
        ----------
        names
            Alternative chunk names, the preferred one first.

        Returns
        -------
        Level or None
            None if the file has none of the chunks.

        Raises
        ------
        CorruptChunk
            If the chunk holds a single value rather than a struct.
        """
        name = self.name(names)
        if name is None:
            return None
        level = self.levels[name]
        if len(level) == 1:
            inner = level.values[0]
            if not isinstance(inner, Level):
                raise CorruptChunk("holds a value, not a struct", chunk=name)
            level = inner
        return unwrap(level)

    def value(self, names: tuple[str, ...]) -> Value:
        """Return the single value that a chunk holds, e.g. the Julian day; or None."""
        name = self.name(names)
        if name is None or len(self.levels[name]) != 1:
            return None
        return self.levels[name].values[0]


def encode_raw(raw: RawMetadata) -> dict[str, bytes]:
    """Payload of each chunk by its name, the inverse of decoding.

    In an order to write them in: attributes first. Bio-Formats 7.3.1 loses a loop of
    some files that begin with the text info; and it finds the per-frame values, names
    that begin with ``CustomData|``, only behind the frames.

    Parameters
    ----------
    raw
        Decoded chunks, e.g. from `Nd2Document.to_raw`.

    Raises
    ------
    TypeError, ValueError
        If a value does not fit its stored type, naming the chunk.

    Examples
    --------
    >>> encode_raw(RawMetadata(version=(3, 0), levels={}, data={"CustomData|X!": b"1"}))
    {'CustomData|X!': b'1'}
    """
    payloads: dict[str, bytes] = {}
    for name, level in raw.levels.items():
        try:
            payloads[name] = encode(level)
        except ValueError as error:
            raise ValueError(f"chunk {name}: {error}") from None
        except TypeError as error:
            raise TypeError(f"chunk {name}: {error}") from None
    payloads.update(raw.data)
    order = {name: i for i, name in enumerate(METADATA_CHUNKS)}
    names = sorted(payloads, key=lambda name: order.get(name, len(order)))
    return {name: payloads[name] for name in names}
