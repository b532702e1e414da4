"""Reading every chunk that is no frame, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from limnd2_xr.container.chunk_format import HEADER_NBYTES, parse_header
from limnd2_xr.damage import DamageReport
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.chunk_content import ChunkContents, read_attributes
from limnd2_xr.frames.guessed_attributes import guess_attributes
from limnd2_xr.frames.opening import layout_of
from limnd2_xr.frames.table import FRAME_FAMILY
from limnd2_xr.model.document import parse_document
from limnd2_xr.model.layers import RASTER_LAYERS, RLE_LAYERS
from limnd2_xr.model.raw import (
    ATTRIBUTES,
    PICTURE,
    RECORDED_COLUMNS,
    TREE_CHUNKS,
    RawMetadata,
)
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from limnd2_xr.container.chunk_table import Entry
    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.frames.chunk_survey import ChunkSurvey
    from limnd2_xr.frames.findings import Findings
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.variants.tree import Level

__all__ = ["Contents", "read_contents", "read_payload"]

MAX_CHUNK_NBYTES: Final = 1 << 30
"""Larger chunks that are no frames are not read."""
_FIRST: Final = (*ATTRIBUTES, *RECORDED_COLUMNS, RLE_LAYERS, RASTER_LAYERS)
"""What tells how to read other chunks."""
_TREES: Final = frozenset(name for names in TREE_CHUNKS for name in names)


@dataclass(slots=True, kw_only=True)
class Contents:
    """What the chunks of a file that are no frames hold."""

    document: Nd2Document | None = None
    """All metadata that can be had; None where there is no image size among them."""
    raw: RawMetadata | None = field(default=None, repr=False)
    """The decoded chunks that it was made from."""
    source_of: dict[str, Entry] = field(default_factory=dict, repr=False)
    """Where each sound chunk is: an older copy of it where the current one is not."""
    nbytes: dict[str, int] = field(default_factory=dict, repr=False)
    """Bytes of the payload of each sound chunk."""
    extents: dict[str, tuple[int, int]] = field(default_factory=dict, repr=False)
    """First and last file offset of each chunk, sound or not, that has a header."""
    partly: set[str] = field(default_factory=set, repr=False)
    """Metadata trees that are there, but for a part that is damaged."""
    guess: str = ""
    """Where there are no attributes: what the pixels suggest, or why they do not."""
    attributes_fault: str = ""
    """What is odd about the attributes that were used."""


def read_payload(source: ByteSource, name: str, entry: Entry) -> tuple[bytes, int]:
    """Return the payload of a chunk and the file offset behind it.

    Raises
    ------
    CorruptChunk
        There is no such chunk here, or it is larger than any that is read.
    """
    nbytes = max(min(HEADER_NBYTES + len(name), source.size - entry.offset), 0)
    header = parse_header(
        source.read_at(entry.offset, nbytes), entry.offset, source.size
    )
    if header.name != name:
        raise CorruptChunk(f"chunk {header.name} is there instead")
    if header.data_nbytes > MAX_CHUNK_NBYTES:
        raise CorruptChunk(f"claims {header.data_nbytes} bytes")
    return source.read_at(header.data_offset, header.data_nbytes), header.end


def read_contents(
    source: ByteSource,
    survey: ChunkSurvey,
    found: Findings,
    advance: Callable[[int], object],
    *,
    older: bool = False,
    guess: bool = False,
) -> Contents:
    """Decode every chunk that is no frame; one is held at a time.

    Parameters
    ----------
    source
        The open file.
    survey
        Where the chunks are.
    found
        Told of every chunk that is damaged.
    advance
        Called with the number of chunks that are done.
    older
        Take copies that were replaced by later ones in place of damaged chunks.
    guess
        Where there are no image attributes, guess them from the pixels.
    """
    contents = Contents()
    reader = _Reader(source, survey, found, older=older)
    checks = reader.attributes(contents, guess=guess)
    levels: dict[str, Level] = dict(contents.raw.levels) if contents.raw else {}
    for name in _names(survey):
        advance(1)
        if name in ATTRIBUTES:
            continue
        payload = reader.sound(name, checks, contents)
        if name in reader.trees:
            levels[name] = reader.trees.pop(name)
        if payload is None:
            continue
        if name in _TREES and checks is not None:
            levels[name] = decode(payload)
        if checks is not None:
            checks.learn_layers(name, payload)
        if name in RECORDED_COLUMNS and checks is not None:
            checks.learn_columns(name, levels[name])
    if contents.raw is not None:
        contents.raw = RawMetadata(version=survey.version, levels=levels)
        # What is damaged was told of above, chunk by chunk.
        contents.document, _ = parse_document(contents.raw, lambda *_: None)
    return contents


class _Reader:
    """Finds the copy of each chunk that is sound."""

    def __init__(
        self, source: ByteSource, survey: ChunkSurvey, found: Findings, *, older: bool
    ) -> None:
        self._source, self._survey, self._found = source, survey, found
        self._older = older
        self.trees: dict[str, Level] = {}
        """Trees of which a part is damaged."""

    def attributes(self, contents: Contents, *, guess: bool) -> ChunkContents | None:
        """Read the image attributes, on which all else depends."""
        for name in ATTRIBUTES:
            for payload, entry, end in self._copies(name):
                raw, fault = read_attributes(payload, name, self._survey.version)
                contents.extents.setdefault(name, (entry.offset, end))
                if fault:
                    self._found.error(fault, chunk=name, offset=entry.offset)
                if raw is None:
                    continue
                contents.raw, contents.attributes_fault = raw, fault
                self._take(contents, name, payload, entry)
                return self._checks(raw)
        guessed, text = self._guessed()
        contents.guess = text
        self._found.error(f"there are no sound image attributes; {text}")
        if guess and guessed is not None:
            contents.raw = guessed
            return self._checks(guessed)
        return None

    def _checks(self, raw: RawMetadata) -> ChunkContents:
        document, _ = parse_document(raw, lambda *_: None)
        sizes = {
            family.name(number): entry.nbytes
            for family in self._survey.index.families().values()
            if family.prefix != FRAME_FAMILY
            for number, entry in family.items()
        }
        return ChunkContents(raw, document, layout_of(document), sizes)

    def _guessed(self) -> tuple[RawMetadata | None, str]:
        """Attributes as the pixels of the frames suggest them, and what they are."""
        levels: dict[str, Level] = {}
        index = self._survey.index
        for name in PICTURE:
            entry = index.find(name)
            try:
                if entry is not None:
                    levels[name] = decode(read_payload(self._source, name, entry)[0])
            except CorruptChunk:
                continue
        try:
            with DamageReport(self._source.name, "ignore") as report:
                level = guess_attributes(self._source, index, levels)
                raw = RawMetadata(
                    version=self._survey.version, levels={ATTRIBUTES[0]: level}
                )
                parse_document(raw, lambda *_: None)
        except CorruptChunk as error:
            return None, error.reason
        return raw, report.texts[0].rpartition("; ")[2]

    def sound(
        self, name: str, checks: ChunkContents | None, contents: Contents
    ) -> bytes | None:
        """Return a sound payload of a chunk, None if no copy is; tell of others."""
        for payload, entry, end in self._copies(name):
            contents.extents.setdefault(name, (entry.offset, end))
            fault = checks.fault(name, payload) if checks is not None else None
            if fault is None:
                self._take(contents, name, payload, entry)
                self.trees.pop(name, None)
                return payload
            self._found.error(fault, chunk=name, offset=entry.offset)
            self._keep_part(name, payload)
        if name in self.trees:
            contents.partly.add(name)
        return None

    def _keep_part(self, name: str, payload: bytes) -> None:
        if name in _TREES and name not in ATTRIBUTES and name not in self.trees:
            try:
                self.trees[name] = decode(payload)
            except CorruptChunk:
                return

    def _copies(self, name: str) -> Iterator[tuple[bytes, Entry, int]]:
        current = self._survey.index.find(name)
        entries = [current] if current is not None else []
        if self._older:
            entries += self._survey.older.get(name, [])
        for entry in entries:
            try:
                payload, end = read_payload(self._source, name, entry)
            except CorruptChunk as error:
                self._found.error(error.reason, chunk=name, offset=entry.offset)
            except OSError as error:
                reason = f"cannot be read: {error.strerror or error}"
                self._found.error(reason, chunk=name, offset=entry.offset)
            else:
                yield payload, entry, end

    def _take(
        self, contents: Contents, name: str, payload: bytes, entry: Entry
    ) -> None:
        contents.source_of[name] = entry
        contents.nbytes[name] = len(payload)


def _names(survey: ChunkSurvey) -> Iterator[str]:
    """All names but those of frames, first what tells how to read others."""
    index = survey.index.except_family(FRAME_FAMILY)
    yield from (name for name in _FIRST if name in index)
    yield from (name for name, _ in index.items() if name not in _FIRST)
