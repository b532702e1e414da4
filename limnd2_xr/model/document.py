"""`Nd2Document`: everything that is known about a file, without its pixels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from limnd2_xr.errors import CorruptChunk, Nd2Warning
from limnd2_xr.model import raw as chunks
from limnd2_xr.model.attributes import Attributes
from limnd2_xr.model.axes import Axes
from limnd2_xr.model.channels import Channel, default_channels, parse_channels
from limnd2_xr.model.experiment import Experiment, parse_experiment
from limnd2_xr.model.optics import Optics
from limnd2_xr.model.picture import Acquisition, Picture, acquisition_start
from limnd2_xr.model.records import (
    FrameRecords,
    RecordedColumn,
    decode_column,
    decode_times,
    parse_columns,
)
from limnd2_xr.model.serialise import from_json, to_json
from limnd2_xr.model.text import Software, TextInfo
from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from limnd2_xr.model.raw import RawMetadata

__all__ = ["FrameRecords", "Nd2Document"]

_T = TypeVar("_T")
_COLUMNS = {
    "x": chunks.COLUMN_X,
    "y": chunks.COLUMN_Y,
    "z": chunks.COLUMN_Z,
    "z1": chunks.COLUMN_Z1,
    "z2": chunks.COLUMN_Z2,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Nd2Document:
    """Metadata of one file; everything but the attributes may be unknown.

    Examples
    --------
    >>> attributes = Attributes(
    ...     width=4,
    ...     height=3,
    ...     components=1,
    ...     bits_in_memory=16,
    ...     bits_significant=12,
    ...     row_nbytes=8,
    ...     sequence_count=1,
    ... )
    >>> document = Nd2Document(attributes=attributes, channels=(Channel(name="GFP"),))
    >>> Nd2Document.from_json(document.to_json()) == document
    True
    """

    attributes: Attributes
    """Size and type of the frames."""
    format_version: str = "3.0"
    """Format version of the file."""
    channels: tuple[Channel, ...] = ()
    """Channels of a frame, in component order."""
    experiment: Experiment = field(default_factory=Experiment)
    """Acquisition loops."""
    picture: Picture = field(default_factory=Picture)
    """What the file says about frame 0."""
    optics: Optics = field(default_factory=Optics)
    """Pixel size, and light path of the first channel."""
    acquisition: Acquisition = field(default_factory=Acquisition)
    """When it was taken."""
    text: TextInfo = field(default_factory=TextInfo)
    """What people wrote about it."""
    software: Software = field(default_factory=Software)
    """Program that wrote the file."""
    recorded_columns: tuple[RecordedColumn, ...] = ()
    """Columns recorded during acquisition, described only."""

    @classmethod
    def from_raw(cls, raw: RawMetadata) -> tuple[Nd2Document, FrameRecords]:
        """Build the model of a file from its decoded chunks.

        Parameters
        ----------
        raw
            Decoded chunks.

        Returns
        -------
        tuple of Nd2Document and FrameRecords
            The metadata, and apart from it what was recorded for each frame.

        Raises
        ------
        CorruptChunk
            If the attributes are missing or impossible.

        Warns
        -----
        Nd2Warning
            For each other chunk that is damaged; it is left out.
        """
        attributes = _attributes(raw)
        text = _part(raw, chunks.TEXT_INFO, TextInfo.from_raw) or TextInfo()
        columns = _part(raw, chunks.RECORDED_COLUMNS, parse_columns) or ()
        channels = _part(
            raw,
            chunks.PICTURE,
            lambda level: parse_channels(level, attributes, text.optics),
        )
        document = cls(
            format_version=".".join(map(str, raw.version)),
            attributes=attributes,
            experiment=_part(raw, chunks.EXPERIMENT, parse_experiment) or Experiment(),
            channels=channels or default_channels(attributes),
            picture=_part(raw, chunks.PICTURE, Picture.from_raw) or Picture(),
            optics=_optics(raw, text.optics),
            acquisition=_acquisition(raw),
            text=text,
            software=_part(raw, chunks.APP_INFO, Software.from_raw) or Software(),
            recorded_columns=columns,
        )
        return document, _records(raw, columns, attributes.sequence_count)

    @property
    def z_step_um(self) -> float | None:
        """Distance of two slices of the Z stack; None without one."""
        loop = self.experiment.z_loop
        return loop.step_um or None if loop is not None else None

    @property
    def acquisition_start(self) -> str:
        """Start of the acquisition, ISO 8601 in UTC; ``""`` if not known."""
        return acquisition_start(self.acquisition)

    def axes(self, present: int) -> Axes:
        """Return the loop dims, fitted to the frames that the file holds.

        Parameters
        ----------
        present
            Frames that the chunk map holds.

        Raises
        ------
        CorruptChunk
            If the loops promise absurdly more frames than there are.
        """
        return Axes.from_loops(
            self.experiment.loops, self.attributes.sequence_count, present
        )

    def to_json(self) -> str:
        """Return the document as one JSON text with a schema version."""
        return to_json(self)

    @classmethod
    def from_json(cls, source: str) -> Nd2Document:
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError
            If it is not that.
        """
        return from_json(cls, source)


def _attributes(raw: RawMetadata) -> Attributes:
    name = raw.name(chunks.ATTRIBUTES)
    if name is None:
        raise CorruptChunk(f"the file has no chunk {chunks.ATTRIBUTES[0]}")
    try:
        return Attributes.from_raw(raw.struct(chunks.ATTRIBUTES) or Level())
    except CorruptChunk as error:
        raise _in_chunk(error, name) from None


def _part(
    raw: RawMetadata, names: tuple[str, ...], parse: Callable[[Level], _T]
) -> _T | None:
    """Parse an optional chunk; None with a warning if it is damaged."""
    try:
        level = raw.struct(names)
        return parse(level) if level is not None else None
    except CorruptChunk as error:
        _warn(_in_chunk(error, raw.name(names)))
        return None


def _optics(raw: RawMetadata, optics_text: str) -> Optics:
    if raw.name(chunks.PICTURE) is not None:
        found = _part(
            raw, chunks.PICTURE, lambda level: Optics.from_raw(level, None, optics_text)
        )
    else:
        found = _part(
            raw,
            chunks.CALIBRATION,
            lambda level: Optics.from_raw(None, level, optics_text),
        )
    return found or Optics()


def _acquisition(raw: RawMetadata) -> Acquisition:
    start = raw.value(chunks.ACQUISITION_START)
    picture = _part(raw, chunks.PICTURE, Acquisition.from_raw) or Acquisition()
    if isinstance(start, float):
        return picture.with_start(start)
    return picture


def _records(
    raw: RawMetadata, columns: tuple[RecordedColumn, ...], frames: int
) -> FrameRecords:
    described = {f"CustomData|{column.id}!": column for column in columns}
    found: dict[str, npt.NDArray[np.float64] | None] = {}
    for name, chunk in {"times_ms": chunks.FRAME_TIMES, **_COLUMNS}.items():
        data = raw.data.get(chunk)
        if not data:
            continue
        try:
            if name == "times_ms":
                found[name] = decode_times(data)
            else:
                found[name] = decode_column(data, described.get(chunk), frames)
        except CorruptChunk as error:
            _warn(_in_chunk(error, chunk))
    return FrameRecords(**found)


def _in_chunk(error: CorruptChunk, chunk: str | None) -> CorruptChunk:
    return CorruptChunk(
        error.reason, path=error.path, chunk=error.chunk or chunk, offset=error.offset
    )


def _warn(error: CorruptChunk) -> None:
    warnings.warn(f"{error}; it is left out", Nd2Warning, stacklevel=2)
