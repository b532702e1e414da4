"""`Nd2Document`: everything that is known about a file, without its pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from limnd2_xr.damage import report_damage
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model import raw as chunks
from limnd2_xr.model.attributes import Attributes
from limnd2_xr.model.axes import Axes
from limnd2_xr.model.channels import Channel, default_channels, parse_channels
from limnd2_xr.model.experiment import Experiment, parse_experiment
from limnd2_xr.model.optics import LightPath, Optics, magnification_of_name
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
    import numpy as np
    import numpy.typing as npt

    from limnd2_xr.model.raw import RawMetadata
    from limnd2_xr.model.to_raw import Base

__all__ = ["RECORD_CHUNKS", "FrameRecords", "Nd2Document", "Report", "parse_document"]

RECORD_CHUNKS: Final[Mapping[str, str]] = {
    "x": chunks.COLUMN_X,
    "y": chunks.COLUMN_Y,
    "z": chunks.COLUMN_Z,
    "z1": chunks.COLUMN_Z1,
    "z2": chunks.COLUMN_Z2,
}
"""Chunk of each column of `FrameRecords`."""

Report: TypeAlias = Callable[[CorruptChunk, "str | None", str], None]
"""Told of a damaged chunk: the error, the chunk's name, what of it is left out."""

_ONLY_CALIBRATED: Final = ("dCalibration", "dAspect", "sObjective")

_T = TypeVar("_T")


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
        return parse_document(raw, _warn)

    def to_raw(self, records: FrameRecords, *, base: Base | None = None) -> RawMetadata:
        """Return the chunks to store, decoded: the inverse of `from_raw`.

        See `limnd2_xr.model.to_raw` for what is filled in, what follows other values,
        and what of a source is kept.

        Parameters
        ----------
        records
            What was recorded for each frame.
        base
            Source that the document was opened from. What it says stays as stored
            wherever the document says the same.

        Raises
        ------
        ValueError
            If a value cannot be stored so that reading gives it back, naming it.

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
        >>> document = Nd2Document(
        ...     attributes=attributes, channels=(Channel(name="GFP", exposure_s=0.1),)
        ... )
        >>> found, _ = Nd2Document.from_raw(document.to_raw(FrameRecords()))
        >>> found.channels[0].exposure_s
        0.1
        """
        from limnd2_xr.model.to_raw import to_raw

        return to_raw(self, records, base)

    @property
    def z_step_um(self) -> float | None:
        """Distance of two slices of the Z stack; None without one."""
        loop = self.experiment.z_loop
        return loop.step_um or None if loop is not None else None

    @property
    def acquisition_start(self) -> str:
        """Start of the acquisition, ISO 8601 in UTC; ``""`` if not known."""
        return acquisition_start(self.acquisition)

    def axes(self, present: int, numbered: int = 0) -> Axes:
        """Return the loop dims, fitted to the frames that the file holds.

        Parameters
        ----------
        present
            Frames that the chunk map holds.
        numbered
            One more than the highest frame number; counts where the attributes of an
            unfinished file promise nothing.

        Raises
        ------
        CorruptChunk
            If the loops promise absurdly more frames than there are.
        """
        return Axes.from_loops(
            self.experiment.loops, self.attributes.sequence_count or numbered, present
        )

    def to_json(self) -> str:
        """Return the document as one JSON text with a schema version."""
        return to_json(self)

    @classmethod
    def from_json(cls, source: str) -> Nd2Document:
        """Read what `to_json` wrote.

        Raises
        ------
        CorruptChunk
            If the text is damaged or of a later schema.
        """
        return from_json(cls, source)


def parse_document(
    raw: RawMetadata, report: Report
) -> tuple[Nd2Document, FrameRecords]:
    """Build the model of a file, see `Nd2Document.from_raw`.

    Parameters
    ----------
    raw
        Decoded chunks.
    report
        Called for each damaged chunk, but for the attributes, with the error, the name
        of the chunk and what of it is left out.
    """
    chunk = partial(_Chunk.of, raw, report=report)
    attributes = _attributes(raw)
    calibration = chunk(chunks.CALIBRATION)
    picture = chunk(chunks.PICTURE).completed(calibration.level)
    text = chunk(chunks.TEXT_INFO).parse("text info", TextInfo.from_raw) or TextInfo()
    table = chunk(chunks.RECORDED_COLUMNS)
    columns = table.parse("recorded columns", parse_columns) or ()
    loops = chunk(chunks.EXPERIMENT)
    software = chunk(chunks.APP_INFO).parse("software", Software.from_raw)
    channels = picture.parse(
        "channels", lambda level: parse_channels(level, attributes, text.optics)
    )
    document = Nd2Document(
        format_version=".".join(map(str, raw.version)),
        attributes=attributes,
        experiment=loops.parse("loops", parse_experiment) or Experiment(),
        channels=channels or default_channels(attributes),
        picture=picture.parse("stage position", Picture.from_raw) or Picture(),
        optics=_optics(picture, calibration, text.optics, channels),
        acquisition=_acquisition(raw, picture),
        text=text,
        software=software or Software(),
        recorded_columns=columns,
    )
    return document, _records(raw, columns, attributes.sequence_count, report)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """One optional chunk: its name and struct, None where absent or damaged."""

    name: str | None
    level: Level | None
    report: Report

    @classmethod
    def of(cls, raw: RawMetadata, names: tuple[str, ...], *, report: Report) -> _Chunk:
        name = raw.name(names)
        try:
            return cls(name, raw.struct(names), report)
        except CorruptChunk as error:
            report(error, name, "all of it is")
            return cls(name, None, report)

    def completed(self, calibration: Level | None) -> _Chunk:
        """Picture metadata with what only the calibration chunk of the file tells.

        Old files may name the objective, or tell the pixel size, nowhere else (FORMAT
        appendix A). "Not calibrated" counts where picture metadata say so.
        """
        if self.level is None or calibration is None:
            return self
        more = [n for n in _ONLY_CALIBRATED if n in calibration and n not in self.level]
        if "wsObjectiveName" in self.level:
            more = [name for name in more if name != "sObjective"]
        if calibration.get("bValid") is False:
            more = [name for name in more if name != "dCalibration"]
        if not more:
            return self
        level = Level()
        for name, kind, value in (
            *zip(self.level.names, self.level.kinds, self.level.values, strict=True),
            *((name, "", calibration[name]) for name in more),
        ):
            level.add(name, kind, value)
        return replace(self, level=level)

    def parse(self, what: str, convert: Callable[[Level], _T]) -> _T | None:
        """Convert the chunk or a part of it; None with a report if damaged."""
        if self.level is None:
            return None
        try:
            return convert(self.level)
        except CorruptChunk as error:
            self.report(error, self.name, f"its {what} are")
            return None


def _attributes(raw: RawMetadata) -> Attributes:
    name = raw.name(chunks.ATTRIBUTES)
    if name is None:
        raise CorruptChunk(f"the file has no chunk {chunks.ATTRIBUTES[0]}")
    try:
        return Attributes.from_raw(raw.struct(chunks.ATTRIBUTES) or Level())
    except CorruptChunk as error:
        raise _in_chunk(error, name) from None


def _optics(
    picture: _Chunk,
    calibration: _Chunk,
    optics_text: str,
    channels: tuple[Channel, ...] | None,
) -> Optics:
    path = channels[0].light_path if channels else LightPath()
    known = path if path != LightPath() else None  # none if they stand in for planes
    if picture.name is not None:
        found = picture.parse(
            "optics", lambda level: Optics.from_raw(level, None, optics_text, known)
        )
        return found or Optics()
    found = calibration.parse(
        "optics", lambda level: Optics.from_raw(None, level, optics_text)
    )
    return found or Optics(magnification=magnification_of_name(optics_text))


def _acquisition(raw: RawMetadata, picture: _Chunk) -> Acquisition:
    start = raw.value(chunks.ACQUISITION_START)
    found = picture.parse("times", Acquisition.from_raw) or Acquisition()
    return found.with_start(start) if isinstance(start, float) else found


def _records(
    raw: RawMetadata,
    columns: tuple[RecordedColumn, ...],
    frames: int,
    report: Report,
) -> FrameRecords:
    described = {f"CustomData|{column.id}!": column for column in columns}
    found: dict[str, npt.NDArray[np.float64] | None] = {}
    for name, chunk in {"times_ms": chunks.FRAME_TIMES, **RECORD_CHUNKS}.items():
        data = raw.data.get(chunk)
        if not data:
            continue
        try:
            if name == "times_ms":
                found[name] = decode_times(data)
            else:
                found[name] = decode_column(data, described.get(chunk), frames)
        except CorruptChunk as error:
            report(error, chunk, "it is")
    return FrameRecords(**found)


def _in_chunk(error: CorruptChunk, chunk: str | None) -> CorruptChunk:
    return CorruptChunk(
        error.reason, path=error.path, chunk=error.chunk or chunk, offset=error.offset
    )


def _warn(error: CorruptChunk, chunk: str | None, what: str) -> None:
    report_damage(_in_chunk(error, chunk), f"{what} left out")
