"""Whether a chunk that is no frame holds what its name promises."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.damage import DamageReport
from limnd2_xr.errors import CorruptChunk, Nd2Error, UnsupportedFeature
from limnd2_xr.frames.deepsim import decode_deepsim, parse_deepsim_name
from limnd2_xr.frames.display import integer_bits
from limnd2_xr.frames.masks import decode_rle, decode_tile
from limnd2_xr.frames.pyramid import decode_level, parse_level_name, stored_levels
from limnd2_xr.model.custom_description import (
    DESCRIPTION_CHUNK,
    parse_custom_description,
)
from limnd2_xr.model.display import DISPLAY, parse_display
from limnd2_xr.model.document import parse_document
from limnd2_xr.model.events import EVENT_CHUNKS, parse_events
from limnd2_xr.model.frame_wells import FRAME_WELLS, decode_frame_wells
from limnd2_xr.model.guids import GUID_STORE, parse_guids
from limnd2_xr.model.jobs import (
    JOB_DEFINITION,
    JOB_KIND,
    JOB_RUN_ID,
    decode_run_id,
    parse_job,
    parse_job_kind,
)
from limnd2_xr.model.layers import (
    RASTER_LAYERS,
    RLE_LAYERS,
    decode_raster_layers,
    parse_rle_layers,
)
from limnd2_xr.model.plates import PLATE_CHUNK, parse_plate
from limnd2_xr.model.raw import (
    ATTRIBUTES,
    DATA_CHUNKS,
    METADATA_CHUNKS,
    RECORDED_COLUMNS,
    RawMetadata,
)
from limnd2_xr.model.rois import ROI_CHUNK, parse_rois
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from limnd2_xr.frames.layout import PixelLayout
    from limnd2_xr.frames.pyramid import PyramidLevel
    from limnd2_xr.model.attributes import Attributes
    from limnd2_xr.model.document import Nd2Document

__all__ = ["ChunkContents", "read_attributes"]

_TREES: Final[Mapping[str, Callable[[Level], object]]] = {
    **dict.fromkeys(EVENT_CHUNKS, parse_events),
    ROI_CHUNK: parse_rois,
    RLE_LAYERS: parse_rle_layers,
    DESCRIPTION_CHUNK: parse_custom_description,
    GUID_STORE: parse_guids,
    JOB_KIND: parse_job_kind,
    JOB_DEFINITION: parse_job,
    PLATE_CHUNK: parse_plate,
}
"""What reads a decoded tree, by the name of its chunk."""
_PLAIN: Final[Mapping[str, Callable[[bytes], object]]] = {
    RASTER_LAYERS: decode_raster_layers,
    FRAME_WELLS: decode_frame_wells,
    JOB_RUN_ID: decode_run_id,
}
"""What reads a payload, by the name of its chunk."""
_IS_TREE: Final = re.compile(r"CustomDataVar\|.*!|Image[A-Za-z]*(LV)?(\|\d+)?!")
"""Names of trees, known or not (FORMAT 3)."""
_TILE: Final = re.compile(
    r"CustomDataSeq\|(?:Downsampled)?TiledRasterBinaryData_(\d+)_[\d_]+\|\d+!"
)
_PICTURE: Final = re.compile(r"CustomDataSeq\|(.+)\|\d+!")
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")
_WRONG: Final = (Nd2Error, ValueError, TypeError, RecursionError, OverflowError)


class ChunkContents:
    """Reads chunks as whoever asks for their content would, and says what is wrong.

    Parameters
    ----------
    raw
        Decoded image attributes.
    document
        What they say.
    layout
        How frames are stored.
    sizes
        Bytes of the smaller copies of frames, by the name of the chunk.
    """

    def __init__(
        self,
        raw: RawMetadata,
        document: Nd2Document,
        layout: PixelLayout,
        sizes: Mapping[str, int | None],
    ) -> None:
        self._raw = raw
        self._attributes: Attributes = document.attributes
        self._layout = layout
        self._pictures: set[str] = set()
        self._tiles: dict[int, tuple[int, int]] = {}
        self._levels: dict[int, PyramidLevel] = {}
        try:
            self._levels = {level.size: level for level in stored_levels(sizes, layout)}
        except CorruptChunk:
            # Each copy is looked at by itself then, and found to be of no known size.
            self._levels = {}

    def learn_layers(self, name: str, payload: bytes) -> None:
        """Remember the binary layers that a chunk describes, to know their masks."""
        try:
            if name == RLE_LAYERS:
                layers = parse_rle_layers(decode(payload))
                self._pictures |= {layer.file_tag for layer in layers}
            elif name == RASTER_LAYERS:
                self._tiles |= {
                    layer.id: (layer.tile_height, layer.tile_width)
                    for layer in decode_raster_layers(payload)
                    if not layer.emulated
                }
        except _WRONG:
            return

    def learn_columns(self, name: str, table: Level) -> None:
        """Remember the description of the recorded columns, to read them by it."""
        levels = {**self._raw.levels, name: table}
        self._raw = RawMetadata(version=self._raw.version, levels=levels)

    def fault(self, name: str, payload: bytes) -> str | None:
        """Return what is wrong with a chunk's content, None if nothing is.

        Of chunks whose content is not known nothing is said, nor of content that is
        sound and cannot be read yet.

        Parameters
        ----------
        name, payload
            Of the chunk.
        """
        try:
            with DamageReport(name, "ignore") as report:
                self._read(name, payload)
        except UnsupportedFeature:
            return None
        except Nd2Error as error:
            return error.reason
        except _WRONG as error:
            return f"does not decode: {error}"
        return report.texts[0] if report.texts else None

    def _read(self, name: str, payload: bytes) -> None:
        if name in METADATA_CHUNKS:
            self._read_metadata(name, payload)
        elif name in _TREES:
            _TREES[name](decode_texts(payload))
        elif name in _PLAIN:
            _PLAIN[name](payload)
        elif name == DISPLAY:
            attributes = self._attributes
            bits = integer_bits(attributes)
            parse_display(decode_texts(payload), attributes.components, bits)
        elif (level := parse_level_name(name)) is not None:
            if level[0] not in self._levels:
                raise CorruptChunk("is no smaller copy of an image of this size")
            decode_level(payload, self._levels[level[0]].layout)
        elif parse_deepsim_name(name) is not None:
            decode_deepsim(payload)
        elif _IS_TREE.fullmatch(name):
            decode_texts(payload)
        else:
            self._read_mask(name, payload)

    def _read_metadata(self, name: str, payload: bytes) -> None:
        if name in DATA_CHUNKS:
            raw = RawMetadata(
                version=self._raw.version, levels=self._raw.levels, data={name: payload}
            )
        else:
            kept = self._raw.levels
            if name in ATTRIBUTES:
                kept = {n: level for n, level in kept.items() if n not in ATTRIBUTES}
            elif name in RECORDED_COLUMNS:
                kept = {n: level for n, level in kept.items() if n in ATTRIBUTES}
            levels = {**kept, name: decode_texts(payload)}
            raw = RawMetadata(version=self._raw.version, levels=levels)
        parse_document(raw, _raise)

    def _read_mask(self, name: str, payload: bytes) -> None:
        tile = _TILE.fullmatch(name)
        if tile is not None and int(tile[1]) in self._tiles:
            decode_tile(payload, self._tiles[int(tile[1])])
        picture = _PICTURE.fullmatch(name)
        if picture is not None and picture[1] in self._pictures:
            decode_rle(payload, (self._layout.height, self._layout.width))


def decode_texts(payload: bytes) -> Level:
    """Decode a tree, and refuse names and texts that are none.

    Half of a pair of UTF-16 units stands alone where bytes are damaged; other readers
    fail at it. Names of fields hold no control characters either.
    """
    root = decode(payload)
    levels = [root]
    while levels:
        level = levels.pop()
        for name, value in level:
            if _HALF_PAIR.search(name) or not name.isprintable():
                raise CorruptChunk(f"{name!r} is no name of a field")
            if isinstance(value, str) and _HALF_PAIR.search(value):
                raise CorruptChunk(f"field {name} holds bytes that are no text")
            if isinstance(value, Level):
                levels.append(value)
    return root


def read_attributes(
    payload: bytes, name: str, version: tuple[int, int]
) -> tuple[RawMetadata | None, str]:
    """Decode image attributes.

    Returns
    -------
    tuple of RawMetadata or None and str
        They alone as metadata, None if no image size can be had from them; and what is
        wrong with them, ``""`` if nothing is.
    """
    try:
        raw = RawMetadata(version=version, levels={name: decode(payload)})
        with DamageReport(name, "ignore") as report:
            parse_document(raw, _raise)
    except Nd2Error as error:
        return None, error.reason
    except _WRONG as error:
        return None, f"does not decode: {error}"
    return raw, "; ".join(report.texts)


def _raise(error: CorruptChunk, _chunk: str | None, what: Any) -> None:
    raise CorruptChunk(f"{error.reason}; {what} lost") from error
