"""Whether the numbers of frames that a file states agree with each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.findings import number_ranges
from limnd2_xr.frames.table import FRAME_FAMILY
from limnd2_xr.model.raw import ATTRIBUTES, FRAME_TIMES, FRAMES_CACHE, SECOND_CLOCK
from limnd2_xr.model.recorded import column_chunk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from limnd2_xr.frames.chunk_survey import ChunkSurvey
    from limnd2_xr.frames.content_survey import Contents
    from limnd2_xr.frames.findings import Findings

__all__ = ["CACHES", "check_counts", "first_number"]

CACHES: Final = {
    FRAME_TIMES: 8,
    SECOND_CLOCK: 8,
    FRAMES_CACHE: 4,
    "CustomData|TimeSourceCache!": 4,
}
"""Bytes that each frame has in these chunks (FORMAT 3)."""


def first_number(numbers: NDArray[np.int64], declared: int) -> int:
    """Return 1 where frames are numbered from 1 on, else 0 (FORMAT 2.3)."""
    if not len(numbers) or numbers[0] < 1:
        return 0
    return 1 if numbers[-1] == (declared or len(numbers)) else 0


def check_counts(
    survey: ChunkSurvey, contents: Contents, found: Findings
) -> tuple[int, tuple[int, ...]]:
    """Compare what attributes, loops, columns and frames say (FORMAT 7.6, 13.3).

    Returns
    -------
    tuple of int and tuple of int
        How many frames the file should have, and which of these it lacks.
    """
    document = contents.document
    if document is None:
        return 0, ()
    family = survey.index.family(FRAME_FAMILY)
    stored = family.numbers.tolist() if family is not None else []
    declared = document.attributes.sequence_count
    first = first_number(family.numbers, declared) if family is not None else 0
    numbers = {number - first for number in stored}
    top = max(numbers, default=-1) + 1
    try:
        axes = document.axes(len(numbers), top)
    except CorruptChunk as error:
        found.error(error.reason, chunk=error.chunk)
        return declared, ()
    _tell_declared(contents, declared, len(numbers), top, found)
    promised = math.prod(n for _, n in axes.declared or axes.nesting)
    if axes.declared:
        found.warning(
            f"the loops are set to {promised} frames, and the file was cut to "
            f"{axes.n_frames}"
        )
    beyond = sum(number >= axes.n_frames for number in numbers)
    if beyond:
        found.error(
            f"{beyond} frames are more than the loops have places for ({axes.n_frames})"
        )
    missing = tuple(n for n in range(axes.n_frames) if n not in numbers)
    if missing:
        found.error(
            f"{len(missing)} of {axes.n_frames} frames are not in the file: "
            f"{number_ranges(missing)}"
        )
    _tell_columns(contents, declared or axes.n_frames, found)
    return axes.n_frames, missing


def _tell_declared(
    contents: Contents, declared: int, present: int, top: int, found: Findings
) -> None:
    chunk = next((name for name in ATTRIBUTES if name in contents.source_of), None)
    if chunk is None:
        return
    place = contents.source_of[chunk].offset
    if not declared and present:
        found.error(
            f"the attributes say 0 frames, as those of an unfinished file do; it has "
            f"{present}",
            chunk=chunk,
            offset=place,
        )
    elif not present:
        found.error(f"there is no frame; the attributes say {declared}")
    elif top > declared:
        found.error(
            f"the attributes say {declared} frames, but there is one of number {top - 1}",
            chunk=chunk,
            offset=place,
        )


def _tell_columns(contents: Contents, frames: int, found: Findings) -> None:
    """Say which columns do not have a value for each frame."""
    document = contents.document
    sizes: dict[str, int] = {}
    for name, item in CACHES.items():
        if name in contents.nbytes:
            sizes[name] = contents.nbytes[name] // item
    for column in document.recorded_columns if document is not None else ():
        name = column_chunk(column.id)
        if name in contents.source_of and column.size:
            sizes[name] = column.size
    for name, size in sizes.items():
        text = f"has {size} values for {frames} frames"
        place = contents.source_of[name].offset
        if size < frames:
            found.error(text, chunk=name, offset=place)
        elif size > frames:
            found.warning(text, chunk=name, offset=place)
