"""A document back to the chunks of a file: the way in to all that is written.

Without a source every chunk that readers ask for is made anew (FORMAT 13). With one,
each stored field stays as it is unless the document says something else about it than
the source did; what the model does not know of stays too, and an unchanged chunk is the
very same object. In either case the result is read again before it is returned, so that
nothing that was given is lost in silence.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model import raw as chunks
from limnd2_xr.model.channel_editing import edited_picture, fresh_picture
from limnd2_xr.model.column_tree import column_table, encode_times, encode_values
from limnd2_xr.model.comparison import difference, same, same_array, same_records
from limnd2_xr.model.completion import completed
from limnd2_xr.model.document import RECORD_CHUNKS, parse_document
from limnd2_xr.model.experiment_tree import experiment_tree
from limnd2_xr.model.flat_trees import (
    attributes_tree,
    calibration_tree,
    software_tree,
    start_tree,
    text_tree,
)
from limnd2_xr.model.modern_trees import (
    lite_tree,
    modern_attributes,
    modern_experiment,
    modern_picture,
)
from limnd2_xr.model.picture_tree import FirstFrame
from limnd2_xr.model.raw import RawMetadata
from limnd2_xr.model.tree_building import nested, struct, xml_struct
from limnd2_xr.model.tree_editing import merged, replaced_struct
from limnd2_xr.variants.encode import encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.records import FrameRecords
    from limnd2_xr.variants.tree import Level

    _Tree: TypeAlias = Callable[[Nd2Document], Level]

__all__ = ["Base", "following_trees", "to_raw"]

_VERSION = (3, 0)
_CORE = (
    chunks.ATTRIBUTES,
    chunks.EXPERIMENT,
    chunks.PICTURE,
    chunks.CALIBRATION,
    chunks.TEXT_INFO,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """A source: its decoded chunks and what they say."""

    raw: RawMetadata
    """Decoded chunks."""
    document: Nd2Document
    """First of what `Nd2Document.from_raw` made of them."""
    records: FrameRecords
    """Second of what it made of them."""


def to_raw(
    document: Nd2Document, records: FrameRecords, base: Base | None = None
) -> RawMetadata:
    """Chunks that hold a document, see `Nd2Document.to_raw`.

    Parameters
    ----------
    document
        What to store. Its format version is not asked: what is written anew is of
        version 3.0. Where values that follow from others are missing they are filled
        in, see `completion.completed`.
    records
        What was recorded for each frame; NaN is a time that is not known.
    base
        Source that document and records were made from, None without one. One in the
        XML encoding (version 2) is translated to version 3 once anything changes in it,
        or written anew if it would not read the same then.

    Returns
    -------
    RawMetadata
        Reading it gives the document back. With a base: its chunks, where they are the
        same as objects too, and the base itself if nothing changes.

    Raises
    ------
    ValueError
        If a value cannot be stored, or would not be read back; named by its place.
    """
    if base is None:
        document = completed(document, records)
        _check_lengths(document, records, None)
        levels, version = _fresh_levels(document, records), _VERSION
    else:
        as_old = replace(document, format_version=base.document.format_version)
        if same(as_old, base.document) and same_records(records, base.records):
            return base.raw
        document = completed(document, records, base.document, base.records)
        _check_lengths(document, records, base)
        levels, version = _edited_levels(document, records, base)
        modern = _modern_base(base) if version != base.raw.version else None
        if modern is not None:
            # A value that a translated tree cannot hold may fit into a new one.
            with suppress(ValueError):
                return to_raw(document, records, modern)
    data = _data(document, records, base)
    raw = RawMetadata(version=version, levels=levels, data=data)
    _check(document, records, raw, base)
    return raw


def _fresh_levels(document: Nd2Document, records: FrameRecords) -> dict[str, Level]:
    """Trees of all chunks that readers ask for (FORMAT 13.2)."""
    return {**_fresh_core(document, records), **_fresh_rest(document)}


def _fresh_core(document: Nd2Document, records: FrameRecords) -> dict[str, Level]:
    loops = experiment_tree(document.experiment)
    content = {
        chunks.ATTRIBUTES: attributes_tree(document.attributes),
        chunks.EXPERIMENT: loops,
        chunks.PICTURE: fresh_picture(document, FirstFrame.of(document, records)),
        chunks.CALIBRATION: calibration_tree(document.optics),
        chunks.TEXT_INFO: text_tree(document.text),
    }
    return {
        names[0]: _root(names, level)
        for names, level in content.items()
        if level is not None
    }


def following_trees(document: Nd2Document, records: FrameRecords) -> dict[str, Level]:
    """Trees of the chunks that repeat what attributes, loops and picture say.

    For those who store these three as they are given: readers ask for the others, too
    (FORMAT 13.2).

    Parameters
    ----------
    document
        What attributes, loops and picture say.
    records
        What was recorded for each frame.

    Returns
    -------
    dict
        Root of each by the name of its chunk: calibration, texts, program, start.
    """
    document = completed(document, records)
    levels = {
        chunks.CALIBRATION[0]: calibration_tree(document.optics),
        chunks.TEXT_INFO[0]: text_tree(document.text),
    }
    roots = {name: _root((name,), level) for name, level in levels.items()}
    return {**roots, **_fresh_rest(document)}


def _fresh_rest(document: Nd2Document) -> dict[str, Level]:
    levels = {
        chunks.APP_INFO[0]: _root(chunks.APP_INFO, software_tree(document.software))
    }
    table = column_table(document.recorded_columns)
    if table is not None:
        levels[chunks.RECORDED_COLUMNS[0]] = table
    if document.acquisition.start_jd is not None:
        levels[chunks.ACQUISITION_START[0]] = start_tree(document.acquisition.start_jd)
    return levels


def _modern_base(base: Base) -> Base | None:
    """Return a source of version 2 as version 3; None if it would not read the same."""
    document = replace(base.document, format_version=".".join(map(str, _VERSION)))
    convert: dict[tuple[str, ...], Callable[[Level], Level]] = {
        chunks.ATTRIBUTES: lambda level: modern_attributes(level, document),
        chunks.EXPERIMENT: modern_experiment,
        chunks.PICTURE: lambda level: modern_picture(level, document),
        chunks.CALIBRATION: lite_tree,
        chunks.TEXT_INFO: lite_tree,
    }
    levels = dict(base.raw.levels)

    def report(error: CorruptChunk, _chunk: str | None, _part: str) -> None:
        raise error

    try:
        for names, tree in convert.items():
            stored = base.raw.struct(names)
            if stored is not None:
                del levels[base.raw.name(names) or ""]
                levels[names[0]] = _root(names, tree(stored))
                encode(levels[names[0]])
        raw = RawMetadata(version=_VERSION, levels=levels, data=base.raw.data)
        found, _ = parse_document(raw, report)
    except (CorruptChunk, TypeError, ValueError):
        return None
    if not same(found, document):
        return None
    return Base(raw=raw, document=found, records=base.records)


def _edited_levels(
    document: Nd2Document, records: FrameRecords, base: Base
) -> tuple[dict[str, Level], tuple[int, int]]:
    """Trees of a source, changed to what a document says, and their version."""
    edit = _Edit(base, document)
    edit.struct(chunks.ATTRIBUTES, lambda d: attributes_tree(d.attributes))
    edit.experiment()
    edit.picture(records)
    edit.struct(chunks.CALIBRATION, lambda d: calibration_tree(d.optics))
    edit.struct(chunks.TEXT_INFO, lambda d: text_tree(d.text))
    stored = base.raw.levels
    names = [base.raw.name(alternatives) for alternatives in _CORE]
    is_xml = any(name is not None and not _is_lite(name) for name in names)
    version = base.raw.version
    changed = any(
        edit.levels.get(n) is not stored.get(n) for pair in _CORE for n in pair
    )
    if is_xml and changed:
        for pair in _CORE:
            for name in pair:
                edit.levels.pop(name, None)
        edit.levels.update(_fresh_core(document, records))
        version = _VERSION
    edit.struct(chunks.APP_INFO, lambda d: software_tree(d.software))
    edit.columns()
    edit.start()
    return edit.levels, version


class _Edit:
    """The trees of a source on their way to what a document says."""

    def __init__(self, base: Base, document: Nd2Document) -> None:
        self.raw = base.raw
        self.old, self.new = base.document, document
        self.old_records = base.records
        self.levels = dict(base.raw.levels)

    def put(self, names: tuple[str, ...], content: Level | None) -> None:
        """Put the content of a chunk in the place of the source's; None removes it."""
        name = self.raw.name(names)
        if content is None:
            if name is not None:
                del self.levels[name]
        elif name is None:
            self.levels[names[0]] = _root(names, content)
        else:
            self.levels[name] = replaced_struct(self.raw.levels[name], content)

    def stored(self, names: tuple[str, ...]) -> Level | None:
        """Content of a chunk of the source; None if it is absent or no struct."""
        try:
            return self.raw.struct(names)
        except CorruptChunk:
            return None

    def struct(self, names: tuple[str, ...], tree: _Tree) -> None:
        """Change a chunk that is one struct."""
        before, after = tree(self.old), tree(self.new)
        if before == after:
            return
        stored = self.stored(names)
        self.put(names, after if stored is None else merged(stored, before, after))

    def experiment(self) -> None:
        if same(self.old.experiment, self.new.experiment):
            return
        stored = self.stored(chunks.EXPERIMENT)
        try:
            content = experiment_tree(self.new.experiment, stored)
        except CorruptChunk:
            content = experiment_tree(self.new.experiment)
        self.put(chunks.EXPERIMENT, content)

    def picture(self, records: FrameRecords) -> None:
        parts = [
            (d.channels, d.picture, d.optics, replace(d.acquisition, start_jd=None))
            for d in (self.old, self.new)
        ]
        first = (
            FirstFrame.of(self.old, self.old_records),
            FirstFrame.of(self.new, records),
        )
        optics_text = self.old.text.optics, self.new.text.optics
        if same(*parts) and same(*first) and same(*optics_text):
            return
        stored = self.stored(chunks.PICTURE)
        content = None
        if stored is not None:
            try:
                content = edited_picture(stored, self.old, self.new, first)
            except CorruptChunk:
                content = None
        if content is None:
            content = fresh_picture(self.new, first[1])
        if content is not stored:
            self.put(chunks.PICTURE, content)

    def columns(self) -> None:
        if same(self.old.recorded_columns, self.new.recorded_columns):
            return
        name = chunks.RECORDED_COLUMNS[0]
        try:
            root = column_table(self.new.recorded_columns, self.raw.levels.get(name))
        except CorruptChunk:
            root = column_table(self.new.recorded_columns)
        self.levels.pop(name, None)
        if root is not None:
            self.levels[name] = root

    def start(self) -> None:
        start = self.new.acquisition.start_jd
        if start == self.old.acquisition.start_jd:
            return
        self.levels.pop(chunks.ACQUISITION_START[0], None)
        if start is not None:
            self.levels[chunks.ACQUISITION_START[0]] = start_tree(start)


def _data(
    document: Nd2Document, records: FrameRecords, base: Base | None
) -> dict[str, bytes]:
    """Plain arrays: those of the source where they hold the same."""
    frames = document.attributes.sequence_count
    data = {} if base is None else dict(base.raw.data)
    old = None if base is None else base.records
    if old is None or not same_array(records.times_ms, old.times_ms):
        data[chunks.FRAME_TIMES] = encode_times(records.times_ms, frames)
    for name, chunk in RECORD_CHUNKS.items():
        values = getattr(records, name)
        if old is not None and same_array(values, getattr(old, name)):
            continue
        data.pop(chunk, None)
        if values is not None:
            data[chunk] = encode_values(values)
    if base is None or frames != base.document.attributes.sequence_count:
        data[chunks.SECOND_CLOCK] = bytes(8 * frames)
        data[chunks.FRAMES_CACHE] = bytes(4 * frames)
    return data


def _check_lengths(
    document: Nd2Document, records: FrameRecords, base: Base | None
) -> None:
    """Refuse recorded values of another number than frames (FORMAT 13.3)."""
    frames = document.attributes.sequence_count
    for name in ("times_ms", *RECORD_CHUNKS):
        values = getattr(records, name)
        if values is None or len(values) == frames:
            continue
        if (
            base is None
            or frames != base.document.attributes.sequence_count
            or not same_array(values, getattr(base.records, name))
        ):
            raise ValueError(
                f"records.{name} has {len(values)} values for {frames} frames"
            )


def _check(
    document: Nd2Document, records: FrameRecords, raw: RawMetadata, base: Base | None
) -> None:
    """Read what is about to be written, and refuse what would not come back."""

    def report(error: CorruptChunk, chunk: str | None, _part: str) -> None:
        if not _is_kept(chunk or "", raw, base):
            raise ValueError(f"chunk {chunk} would not be read back: {error.reason}")

    try:
        found, found_records = parse_document(raw, report)
    except CorruptChunk as error:
        raise ValueError(
            f"{error.chunk} would not be read back: {error.reason}"
        ) from None
    expected = replace(document, format_version=found.format_version)
    lost = difference(expected, found)
    if lost is not None:
        raise ValueError(
            f"{lost.path} cannot be {lost.expected!r} in an .nd2 file with the other "
            f"values given: it would be read back as {lost.found!r}"
        )
    for name in RECORD_CHUNKS:
        values = getattr(records, name)
        if values is not None and not same_array(values, getattr(found_records, name)):
            raise ValueError(f"records.{name} would not be read back as given")


def _is_kept(chunk: str, raw: RawMetadata, base: Base | None) -> bool:
    """Whether a chunk is as in the source: then it may be as damaged as there."""
    if base is None:
        return False
    if chunk in raw.levels:
        return raw.levels[chunk] is base.raw.levels.get(chunk)
    return raw.data.get(chunk) == base.raw.data.get(chunk)


def _root(names: tuple[str, ...], content: Level) -> Level:
    """Root of a chunk that is made anew: one record, named after its type."""
    record = _RECORDS.get(names[0])
    if record is None:
        return struct(xml_struct("no_name", content))
    return struct(nested(record, content))


def _is_lite(name: str) -> bool:
    return "LV" in name


_RECORDS = {
    chunks.ATTRIBUTES[0]: "SLxImageAttributes",
    chunks.EXPERIMENT[0]: "SLxExperiment",
    chunks.PICTURE[0]: "SLxPictureMetadata",
    chunks.CALIBRATION[0]: "SLxCalibration",
    chunks.TEXT_INFO[0]: "SLxImageTextInfo",
}
