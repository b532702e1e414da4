"""`verify`: whether a file is sound, and if not, what is wrong with it and where."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from limnd2_xr.container.chunk_format import JP2_MAGIC
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.errors import Nd2Error, NotAnNd2File, UnsupportedFeature
from limnd2_xr.frames.chunk_survey import survey_chunks
from limnd2_xr.frames.content_survey import read_contents
from limnd2_xr.frames.findings import Findings, number_ranges
from limnd2_xr.frames.frame_survey import FrameSurvey, survey_frames
from limnd2_xr.frames.opening import layout_of
from limnd2_xr.frames.partial_frames import PROVISIONAL
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.frames.table import FRAME_FAMILY, frame_name
from limnd2_xr.frames.verify_counts import check_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias as _Alias

    from limnd2_xr.container.source import ByteSource, SourceLike
    from limnd2_xr.frames.chunk_survey import ChunkSurvey
    from limnd2_xr.frames.content_survey import Contents
    from limnd2_xr.frames.findings import Finding

    Progress: _Alias = Callable[[int, int], object]

__all__ = ["Report", "Status", "tell_structure", "verify"]

Status: TypeAlias = Literal["sound", "damaged", "not nd2", "unsupported"]
"""What a file is: ``unsupported`` is an .nd2 file of a kind that cannot be read."""

_SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What `verify` found out about a file."""

    path: str
    """The file, as it was named."""
    status: Status
    """``damaged`` if any finding is an error."""
    findings: tuple[Finding, ...] = ()
    """What is wrong or odd, in no more than `MAX_FINDINGS` entries and one."""
    format_version: str = ""
    """Such as ``3.0``."""
    nbytes: int = 0
    """Size of the file."""
    frames: int = 0
    """Frames that the file should have, as its loops and attributes say."""
    damaged_frames: tuple[int, ...] = field(default=(), repr=False)
    """Numbers of frames that are in the file and do not decode."""
    missing_frames: tuple[int, ...] = field(default=(), repr=False)
    """Numbers of frames that are not in the file."""
    chunks: int = 0
    """Chunks that are no frames; in format 1.0 boxes that are no images."""
    stale_chunks: int = 0
    """Chunks that saving again left behind (FORMAT 1.6): they do no harm."""

    @property
    def is_sound(self) -> bool:
        """Whether nothing is damaged."""
        return self.status == "sound"

    def to_plain(self) -> dict[str, Any]:
        """Return everything as dicts, lists and plain values, for JSON."""
        return {
            "path": self.path,
            "status": self.status,
            "format_version": self.format_version,
            "nbytes": self.nbytes,
            "frames": self.frames,
            "damaged_frames": list(self.damaged_frames),
            "missing_frames": list(self.missing_frames),
            "chunks": self.chunks,
            "stale_chunks": self.stale_chunks,
            "findings": [finding.to_plain() for finding in self.findings],
        }


def verify(
    file: SourceLike,
    *,
    storage_options: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Check a file: its structure, its metadata, and that every frame decodes.

    Reads the whole file, frames on threads, in bounded memory; never writes. Compared
    are the chunk map and the header of every chunk, overlaps, frames that are missing,
    numbers of frames in attributes, loops and recorded columns. Every compressed frame
    is inflated, and every chunk whose content is known is decoded: metadata, events,
    ROIs, masks and smaller copies among them.

    A file is damaged where anything is lost, or opening it warns. What is odd and
    harmless is a warning: chunks that the map leaves out, loops that were set to more
    than was taken.

    Parameters
    ----------
    file
        Path, URL, bytes or an open binary file.
    storage_options
        For a URL: arguments of the fsspec filesystem.
    progress
        Called now and then, possibly in other threads but never twice at once, with the
        number of chunks that are done and that there are.

    Returns
    -------
    Report
        Also of files that are no .nd2 files at all.

    Raises
    ------
    OSError
        If the file is not there or cannot be read.

    Examples
    --------
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
    >>> file = build(SyntheticSpec(loops=(TimeLoop(count=3),)))
    >>> verify(file.data).status
    'sound'
    >>> report = verify(file.data[:-8192])
    >>> report.status
    'damaged'
    >>> print(report.findings[0])
    error: the file does not end with a chunk map footer; the file was scanned
    """
    spec = SourceSpec.of(file, storage_options)
    with spec.open() as source:
        if source.read_at(0, min(len(JP2_MAGIC), source.size)) == JP2_MAGIC:
            return _verify_legacy(spec, source)
        try:
            survey = survey_chunks(source)
        except NotAnNd2File as error:
            return _refused(source, "not nd2", error)
        return _verify(spec, source, survey, progress or _no_progress)


def _no_progress(_done: int, _total: int) -> None:
    pass


def _refused(source: ByteSource, status: Status, error: Nd2Error) -> Report:
    found = Findings()
    found.raised(error)
    return Report(
        path=source.name, status=status, nbytes=source.size, findings=found.result()
    )


def _verify(
    spec: SourceSpec, source: ByteSource, survey: ChunkSurvey, progress: Progress
) -> Report:
    found = Findings()
    family = survey.index.family(FRAME_FAMILY)
    others = survey.index.except_family(FRAME_FAMILY)
    tell_structure(survey, found)
    total, done = len(survey.index), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    contents = read_contents(source, survey, found, advance, guess=True)
    frames = FrameSurvey(ends=np.empty(0, np.int64))
    missing: tuple[int, ...] = ()
    n_frames = len(family) if family else 0
    if contents.document is not None:
        layout = layout_of(contents.document)
        if layout.compression == "unsupported":
            found.warning("frames are compressed in a lossy way: they were not decoded")
        if family is not None:
            frames = survey_frames(source, family, layout, advance)
        _tell_frames(survey, frames, found)
        n_frames, missing = check_counts(survey, contents, found)
    _tell_overlaps(survey, frames, contents, found)
    if not found.errors:
        _open_as_others_do(spec, found)
    return Report(
        path=source.name,
        status="damaged" if found.errors else "sound",
        findings=found.result(),
        format_version=".".join(map(str, survey.version)),
        nbytes=source.size,
        frames=n_frames,
        damaged_frames=tuple(sorted(frames.faults)),
        missing_frames=missing,
        chunks=len(others),
        stale_chunks=survey.stale,
    )


def tell_structure(survey: ChunkSurvey, found: Findings) -> None:
    """Add what is wrong with the chunk map, and a frame that was cut."""
    if survey.map_fault is not None:
        found.error(survey.map_fault)
    if survey.misplaced:
        found.error(
            f"{len(survey.misplaced)} chunks are not where the chunk map says: "
            f"{_some(survey.misplaced)}"
        )
    if survey.unlisted_frames:
        found.error(
            f"the chunk map does not list {len(survey.unlisted_frames)} frames that the "
            f"file holds: {_some(survey.unlisted_frames)}"
        )
    # Copies that this package writes ahead of the frames stay out of the map.
    unlisted = [name for name in survey.unlisted if not name.startswith(PROVISIONAL)]
    if unlisted:
        found.warning(
            f"the chunk map does not list {len(unlisted)} chunks that the file "
            f"holds: {_some(unlisted)}"
        )
    cut = survey.cut_frame
    if cut is not None:
        found.error(
            "the end of the file cuts this frame", chunk=cut.name, offset=cut.offset
        )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(listed[:_SHOWN])
    return f"{shown}, ..." if len(listed) > _SHOWN else shown


def _tell_frames(survey: ChunkSurvey, frames: FrameSurvey, found: Findings) -> None:
    for number in sorted(frames.faults):
        fault = frames.faults[number]
        found.error(fault.reason, chunk=fault.name, offset=fault.offset)
    if frames.longer:
        found.warning(f"{frames.longer} frames hold more bytes than their pixels need")
    family = survey.index.family(FRAME_FAMILY)
    if family is not None and len(family) and family.numbers[0] == 1:
        found.warning("frames are numbered from 1 on", chunk=frame_name(1))


def _tell_overlaps(
    survey: ChunkSurvey, frames: FrameSurvey, contents: Contents, found: Findings
) -> None:
    """Name pairs of chunks that share bytes."""
    offsets = [np.array([o for o, _ in contents.extents.values()], np.int64)]
    ends = [np.array([e for _, e in contents.extents.values()], np.int64)]
    names = list(contents.extents)
    family = survey.index.family(FRAME_FAMILY)
    if family is not None and len(frames.ends):
        offsets.append(family.offsets.astype(np.int64))
        ends.append(frames.ends)
    starts, stops = np.concatenate(offsets), np.concatenate(ends)
    order = np.lexsort((stops, starts))
    reach = np.maximum.accumulate(stops[order]) if len(order) else stops

    def name(at: int) -> str:
        if at < len(names) or family is None:
            return names[at]
        return frame_name(int(family.numbers[at - len(names)]))

    for place in np.flatnonzero(starts[order][1:] < reach[:-1]).tolist():
        before, after = int(order[place]), int(order[place + 1])
        found.error(
            f"shares bytes with chunk {name(before)} or others before it",
            chunk=name(after),
            offset=int(starts[after]),
        )


def _open_as_others_do(spec: SourceSpec, found: Findings) -> None:
    """Have opening the file say whatever else is wrong with it."""
    try:
        with FrameStore.open(spec, on_damage="ignore") as store:
            told = store.state.damage
    except Nd2Error as error:
        found.raised(error)
        return
    for text in told:
        found.error(text)


def _verify_legacy(spec: SourceSpec, source: ByteSource) -> Report:
    """Open a file of format 1.0 and read all of it, as far as that is supported."""
    found = Findings()
    damaged: list[int] = []
    missing: list[int] = []
    n_frames = n_others = 0
    try:
        with FrameStore.open(spec, on_damage="ignore") as store:
            n_frames = store.table.n_frames
            n_others = len(store.state.chunks)
            missing = store.table.missing.tolist()
            for text in store.state.damage:
                found.error(text)
            damaged = _unreadable(store, found)
    except UnsupportedFeature as error:
        return _refused(source, "unsupported", error)
    except NotAnNd2File as error:
        return _refused(source, "not nd2", error)
    except Nd2Error as error:
        found.raised(error)
    if damaged:
        found.error(f"{len(damaged)} frames do not decode: {number_ranges(damaged)}")
    return Report(
        path=source.name,
        status="damaged" if found.errors else "sound",
        findings=found.result(),
        format_version="1.0",
        nbytes=source.size,
        frames=n_frames,
        damaged_frames=tuple(damaged),
        missing_frames=tuple(missing),
        chunks=n_others,
    )


def _unreadable(store: FrameStore, found: Findings) -> list[int]:
    """Read all frames one by one; numbers of those that cannot be."""
    damaged = []
    numbers = store.axes.sequence()
    for place, number in np.ndenumerate(numbers):
        key = (*place, *(slice(None),) * (len(store.shape) - len(place)))
        try:
            store.read(key)
        except UnsupportedFeature:
            raise
        except Nd2Error as error:
            found.raised(error)
            damaged.append(int(number))
    return sorted(damaged)
