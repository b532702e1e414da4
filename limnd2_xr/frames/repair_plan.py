"""What a repaired file will hold: which chunks as they are, which corrected, which lost."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.container.chunk_format import ALIGNMENT, HEADER_NBYTES
from limnd2_xr.container.chunk_table import split_name
from limnd2_xr.errors import CorruptChunk, Nd2Error, UnsupportedFeature
from limnd2_xr.frames.chunk_survey import survey_chunks
from limnd2_xr.frames.content_survey import read_contents, read_payload
from limnd2_xr.frames.findings import Findings
from limnd2_xr.frames.frame_survey import check_frame, pixel_fault, survey_frames
from limnd2_xr.frames.opening import layout_of
from limnd2_xr.frames.partial_frames import frame_head
from limnd2_xr.frames.repair_columns import fitted_columns
from limnd2_xr.frames.repair_loops import fit_loops, most_frames, with_frame_count
from limnd2_xr.frames.table import FRAME_FAMILY, TIME_NBYTES, frame_name
from limnd2_xr.frames.verify import tell_structure
from limnd2_xr.frames.verify_counts import check_counts, first_number
from limnd2_xr.model.experiment import Experiment
from limnd2_xr.model.flat_trees import attributes_tree
from limnd2_xr.model.raw import (
    ATTRIBUTES,
    AUTHENTICATION,
    EXPERIMENT,
    FRAME_TIMES,
    PICTURE,
    RawMetadata,
)
from limnd2_xr.model.records import FrameRecords
from limnd2_xr.model.tree_building import nested, struct
from limnd2_xr.variants.encode import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from limnd2_xr.container.chunk_table import Entry
    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.frames.chunk_survey import ChunkSurvey
    from limnd2_xr.frames.content_survey import Contents
    from limnd2_xr.frames.layout import PixelLayout
    from limnd2_xr.model.document import Nd2Document

__all__ = ["BareFrame", "RepairPlan", "Rows", "plan_repair"]

_VIEWER_STATE: Final = "CustomDataVar|NDControlV1_0!"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows, from the top, that can be had of a plain frame."""

    pixel_offset: int
    """File offset of the first one."""
    count: int
    """How many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BareFrame:
    """A frame whose chunk header is damaged, and whose pixels are not."""

    pixel_offset: int
    """File offset of its pixels; its time is before them."""
    nbytes: int
    """Bytes of its pixels as stored."""


@dataclass(slots=True, kw_only=True)
class RepairPlan:
    """What to write."""

    version: tuple[int, int]
    """Format version."""
    layout: PixelLayout
    """How frames are stored."""
    n_frames: int = 0
    """Frames of the repaired file."""
    frames: NDArray[np.int64] = field(
        default_factory=lambda: np.empty(0, np.int64), repr=False
    )
    """File offset of each frame's chunk in the source; -1 where it cannot be had."""
    first_number: int = 0
    """Number of the first frame in the names of the source."""
    rows: dict[int, Rows] = field(default_factory=dict)
    """Frames of which a part can be had, by number."""
    bare: dict[int, BareFrame] = field(default_factory=dict)
    """Frames that only the chunk map leads to, by number."""
    chunks: dict[str, Entry | bytes] = field(default_factory=dict, repr=False)
    """Other chunks: where they are in the source, or what they become."""
    makes_times: bool = False
    """Whether the chunk of all frame times is made anew from the frames' own."""
    known_times: NDArray[np.float64] | None = field(default=None, repr=False)
    """Times from the source's chunk of all times, for frames that cannot be had."""
    found: Findings = field(default_factory=Findings)
    """What is wrong with the source."""
    lost: Findings = field(default_factory=Findings)
    """What the repaired file lacks."""
    changed: list[str] = field(default_factory=list)
    """What it has otherwise."""


def plan_repair(
    source: ByteSource, advance: Callable[[int], object], *, guess_size: bool = False
) -> RepairPlan:
    """Look at everything in a file and decide what of it a sound file will hold.

    Parameters
    ----------
    source
        The open file.
    advance
        Called with numbers of chunks that were looked at.
    guess_size
        Where there are no image attributes, guess them from the pixels.

    Raises
    ------
    CorruptChunk
        There is no image size or no frame to be had.
    NotAnNd2File, UnsupportedFeature
        It is something else, or something that cannot be written again.
    """
    survey = survey_chunks(source)
    found = Findings()
    tell_structure(survey, found)
    contents = read_contents(
        source, survey, found, advance, older=True, guess=guess_size
    )
    if contents.document is None or contents.raw is None:
        raise CorruptChunk(
            "no image attributes can be had, and nothing else tells for certain the size "
            f"and type of images ({contents.guess}); guess_size=True takes what the "
            "pixels suggest",
            path=source.name,
            chunk=ATTRIBUTES[0],
        )
    layout = layout_of(contents.document)
    plan = RepairPlan(version=survey.version, layout=layout, found=found)
    _plan_frames(plan, source, survey, contents.document, advance)
    check_counts(survey, contents, found)
    _plan_chunks(plan, source, survey, contents)
    return plan


def _plan_frames(
    plan: RepairPlan,
    source: ByteSource,
    survey: ChunkSurvey,
    document: Nd2Document,
    advance: Callable[[int], object],
) -> None:
    """Find out which frames can be had, and where."""
    family, layout = survey.index.family(FRAME_FAMILY), plan.layout
    places: dict[int, int] = {}
    if family is not None:
        places = dict(
            zip(family.numbers.tolist(), family.offsets.tolist(), strict=True)
        )
        faults = survey_frames(source, family, layout, advance).faults
        declared = document.attributes.sequence_count
        plan.first_number = first_number(family.numbers, declared)
        for number, fault in sorted(faults.items()):
            plan.found.error(fault.reason, chunk=fault.name, offset=fault.offset)
            again = _older(source, survey, layout, frame_name(number))
            if again is not None:
                places[number] = again
                plan.changed.append(
                    f"{frame_name(number)} was taken from an older copy of it"
                )
                continue
            places[number] = -1
            if fault.rows:
                part = Rows(pixel_offset=fault.pixel_offset, count=fault.rows)
                plan.rows[number - plan.first_number] = part
    _plan_cut_frame(plan, source, survey, places)
    for number, bare in _bare_frames(source, survey, layout).items():
        if places.get(number, -1) < 0 and number >= plan.first_number:
            places[number] = -1
            plan.bare[number - plan.first_number] = bare
            plan.changed.append(
                f"{frame_name(number)} has a damaged header; its pixels were taken from "
                "where the chunk map says"
            )
    for number in _strays(places, plan.first_number, document):
        del places[number]
        plan.rows.pop(number - plan.first_number, None)
        plan.bare.pop(number - plan.first_number, None)
        plan.lost.error(
            "its number is beyond those of all other frames", chunk=frame_name(number)
        )
    if not any(place >= 0 for place in places.values()) and not (
        plan.rows or plan.bare
    ):
        raise CorruptChunk("no frame can be had", path=source.name)
    plan.frames = np.full(max(places) + 1 - plan.first_number, -1, np.int64)
    for number, place in places.items():
        plan.frames[number - plan.first_number] = place


def _strays(places: dict[int, int], first: int, document: Nd2Document) -> list[int]:
    """Numbers that neither loops nor attributes promise, nor the frame before leads to."""
    loops = document.experiment.loops
    promised = math.prod(loop.count for loop in loops) if loops else 0
    promised = max(promised, document.attributes.sequence_count)
    most = most_frames(len(places))
    promised = min(promised or most, most)
    strays = []
    expected = promised + first
    for number in sorted(number for number in places if number >= expected):
        if number == expected:
            expected += 1
        else:
            strays.append(number)
    return strays


def _older(
    source: ByteSource, survey: ChunkSurvey, layout: PixelLayout, name: str
) -> int | None:
    """Offset of a sound copy of a frame that a later one replaced."""
    for entry in survey.older.get(name, []):
        header, fault = check_frame(source, layout, name, entry.offset)
        if header is not None and fault is None:
            return entry.offset
    return None


def _bare_frames(
    source: ByteSource, survey: ChunkSurvey, layout: PixelLayout
) -> dict[int, BareFrame]:
    """Frames where the map leads to a header that is nearly one, as one field is wrong.

    Either its numbers are those that they have to be, or its name is; the padding of
    the name is zeros, and the pixels decode.
    """
    found: dict[int, BareFrame] = {}
    for name, entry in survey.misplaced.items():
        family, number = split_name(name) or ("", 0)
        if family != FRAME_FAMILY or name in survey.index or entry.nbytes is None:
            continue
        nbytes = entry.nbytes - TIME_NBYTES
        pixels = entry.offset + ALIGNMENT
        if nbytes < 0 or pixels + nbytes > source.size:
            continue
        head = source.read_at(entry.offset, ALIGNMENT)
        expected = frame_head(number, nbytes, 0.0)
        named = HEADER_NBYTES + len(name)
        agrees = (
            head[:HEADER_NBYTES] == expected[:HEADER_NBYTES]
            or head[HEADER_NBYTES:named] == expected[HEADER_NBYTES:named]
        )
        if not agrees or any(head[named:-TIME_NBYTES]):
            continue
        if not pixel_fault(source, layout, pixels, nbytes)[0]:
            found[number] = BareFrame(pixel_offset=pixels, nbytes=nbytes)
    return found


def _plan_cut_frame(
    plan: RepairPlan, source: ByteSource, survey: ChunkSurvey, places: dict[int, int]
) -> None:
    cut = survey.cut_frame
    if cut is None or plan.layout.compression != "none":
        return
    number = int(cut.name[:-1].rpartition("|")[2])
    pixels = cut.data_offset + TIME_NBYTES
    stored = min(source.size - pixels, cut.data_nbytes - TIME_NBYTES)
    count = min(max(stored, 0) // plan.layout.row_nbytes, plan.layout.height)
    # A number far beyond the others is damage, too.
    if count < 1 or number in places or not 0 <= number <= max(places, default=-1) + 1:
        return
    places[number] = -1
    plan.rows[number - plan.first_number] = Rows(pixel_offset=pixels, count=count)


def _plan_chunks(
    plan: RepairPlan, source: ByteSource, survey: ChunkSurvey, contents: Contents
) -> None:
    """Decide about everything but frames, and about how many of these there will be."""
    raw, document = contents.raw, contents.document
    if raw is None or document is None:  # pragma: no cover - was refused before
        raise AssertionError
    for name, entry in contents.source_of.items():
        if name.startswith(AUTHENTICATION):
            continue
        plan.chunks[name] = entry
        current = survey.index.find(name)
        if current is not None and current.offset != entry.offset:
            plan.changed.append(f"{name} was taken from an older copy of it")
    _replace_damaged(plan, survey, contents, document)
    loops = raw.name(EXPERIMENT)
    if loops is not None and loops not in plan.chunks:
        document = replace(document, experiment=Experiment())
        levels = {name: level for name, level in raw.levels.items() if name != loops}
        raw = replace(raw, levels=levels)
    _fit(plan, document, raw, contents)
    _tell_lost_frames(plan)
    fitted = fitted_columns(source, contents, plan.n_frames, document)
    for name, payload in fitted.payloads.items():
        if payload is None:
            del plan.chunks[name]
            plan.lost.error("did not have a value for each frame", chunk=name)
        else:
            plan.chunks[name] = payload
    plan.changed += fitted.changed
    _plan_times(plan, source, contents)


def _replace_damaged(
    plan: RepairPlan, survey: ChunkSurvey, contents: Contents, document: Nd2Document
) -> None:
    """Write metadata anew of which a part can be had; tell of what cannot."""
    fresh = _fresh(document)
    names = [name for name, _ in survey.index.except_family(FRAME_FAMILY).items()]
    for name in names:
        # Of attributes that were guessed is told where they are made.
        if name in plan.chunks or name.startswith((*AUTHENTICATION, *ATTRIBUTES)):
            continue
        if name in contents.partly and name in fresh:
            plan.chunks[name] = fresh[name]
            plan.lost.error("a part of it was damaged; the rest was kept", chunk=name)
        else:
            plan.lost.error("damaged", chunk=name)
    lacks_picture = not any(name in plan.chunks for name in PICTURE)
    is_lite = document.format_version.startswith("3")
    if lacks_picture and is_lite and PICTURE[0] in fresh:
        plan.chunks[PICTURE[0]] = fresh[PICTURE[0]]
        plan.changed.append(
            f"{PICTURE[0]} is not in the file; it was made from the attributes alone, as "
            "some readers need one"
        )


def _fresh(document: Nd2Document) -> dict[str, bytes]:
    """Payloads of trees as this package writes them, none if that cannot be."""
    try:
        raw = document.to_raw(FrameRecords())
        return {name: encode(level) for name, level in raw.levels.items()}
    except (Nd2Error, ValueError, TypeError):
        return {}


def _fit(
    plan: RepairPlan, document: Nd2Document, raw: RawMetadata, contents: Contents
) -> None:
    """Have loops and attributes say how many frames there are."""
    present = int((plan.frames >= 0).sum()) + len(plan.rows) + len(plan.bare)
    fitted = fit_loops(document, raw, top=len(plan.frames), present=present)
    plan.n_frames = fitted.n_frames
    added = fitted.n_frames - len(plan.frames)
    plan.frames = np.append(plan.frames, np.full(added, -1, np.int64))
    is_lite = raw.name(ATTRIBUTES) == ATTRIBUTES[0]
    loops = raw.name(EXPERIMENT) or EXPERIMENT[0 if is_lite else 1]
    if fitted.changed:
        plan.changed.append(fitted.changed)
        plan.chunks.pop(_VIEWER_STATE, None)
    if fitted.tree is not None:
        plan.chunks[loops] = encode(fitted.tree)
    said = document.attributes.sequence_count
    bits = document.attributes.bits_in_memory if contents.attributes_fault else None
    name = raw.name(ATTRIBUTES)
    if name is None or (name in plan.chunks and said == plan.n_frames and bits is None):
        return
    is_guess = name not in plan.chunks
    if is_guess:
        # With every field that NIS-Elements writes: the vendor's library needs them.
        made = attributes_tree(
            replace(document.attributes, sequence_count=plan.n_frames)
        )
        plan.chunks[name] = encode(struct(nested("SLxImageAttributes", made)))
        plan.lost.error(f"was made anew: {contents.guess}", chunk=name)
        return
    plan.chunks[name] = encode(with_frame_count(raw, plan.n_frames, bits))
    if said != plan.n_frames:
        plan.changed.append(
            f"{name} says {plan.n_frames} frames now, and said {said} before"
        )


def _tell_lost_frames(plan: RepairPlan) -> None:
    lossy = plan.layout.compression == "unsupported"
    for number in np.flatnonzero(plan.frames < 0).tolist():
        if number in plan.bare:
            continue
        if lossy:
            raise UnsupportedFeature(
                f"frame {number} cannot be had, and an empty one cannot be written: frames "
                "are compressed in a lossy way"
            )
        rows = plan.rows.get(number)
        kept = f"{rows.count} of {plan.layout.height} rows were kept, " if rows else ""
        plan.lost.error(
            f"cannot be had: {kept}{'the others' if rows else 'all of it'} became zeros",
            chunk=frame_name(number),
        )


def _plan_times(plan: RepairPlan, source: ByteSource, contents: Contents) -> None:
    """Make the chunk of all times anew where it is missing or of other frames."""
    entry = contents.source_of.get(FRAME_TIMES)
    if entry is not None:
        payload, _ = read_payload(source, FRAME_TIMES, entry)
        plan.known_times = np.frombuffer(payload[: len(payload) // 8 * 8], "<f8")
        plan.makes_times = len(payload) != 8 * plan.n_frames
    else:
        plan.makes_times = bool(plan.found.errors)
    if plan.makes_times:
        plan.chunks.pop(FRAME_TIMES, None)
