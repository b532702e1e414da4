"""`repair`: a sound file of everything that can be had from a damaged one."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.container.chunk_format import ALIGNMENT, align, parse_header
from limnd2_xr.container.chunk_writer import ChunkWriter, encode_map, encode_signature
from limnd2_xr.container.sink import PartialFile
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.errors import CorruptChunk, Nd2Error
from limnd2_xr.frames.content_survey import read_payload
from limnd2_xr.frames.frame_survey import PIECE_NBYTES
from limnd2_xr.frames.headers import HEADER_PROBE_NBYTES
from limnd2_xr.frames.partial_frames import RECORD_PREFIX, UNKNOWN_MS, frame_head
from limnd2_xr.frames.repair_plan import plan_repair
from limnd2_xr.frames.table import TIME_NBYTES, frame_name
from limnd2_xr.model.raw import ATTRIBUTES, FRAME_TIMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from limnd2_xr.container.source import ByteSource, SourceLike
    from limnd2_xr.frames.findings import Finding
    from limnd2_xr.frames.repair_plan import RepairPlan

__all__ = ["RepairReport", "repair"]

_ZEROS: Final = bytes(2**20)


@dataclass(frozen=True, kw_only=True, slots=True)
class RepairReport:
    """What `repair` wrote, and what it could not."""

    source: str
    """The damaged file, as it was named."""
    target: str
    """The repaired file."""
    frames: int
    """Frames of the repaired file."""
    lost_frames: tuple[int, ...] = field(default=(), repr=False)
    """Numbers of frames that are zeros now."""
    partial_frames: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    """Number, and rows that were kept, of frames whose other rows are zeros now."""
    found: tuple[Finding, ...] = ()
    """What was wrong with the damaged file."""
    lost: tuple[Finding, ...] = ()
    """What could not be had: frames and other chunks."""
    changed: tuple[str, ...] = ()
    """What the repaired file has otherwise: counts, caches, copies of chunks."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing was lost."""
        return not self.lost

    def to_plain(self) -> dict[str, Any]:
        """Return everything as dicts, lists and plain values, for JSON."""
        return {
            "source": self.source,
            "target": self.target,
            "frames": self.frames,
            "lost_frames": list(self.lost_frames),
            "partial_frames": [list(pair) for pair in self.partial_frames],
            "found": [finding.to_plain() for finding in self.found],
            "lost": [finding.to_plain() for finding in self.lost],
            "changed": list(self.changed),
        }


def repair(
    source: SourceLike,
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    guess_size: bool = False,
    storage_options: dict[str, Any] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> RepairReport:
    """Write a sound file with everything that can be had from a damaged one.

    The source is never changed. The bytes of sound frames are copied as they are stored,
    compressed ones too; chunks that decode are copied byte for byte. What a file needs
    besides is made to agree with the frames that there are:

    * Frames that cannot be had become zeros, since the vendor's library ends the process
      at a missing one (FORMAT 13.6). Of an uncompressed frame that is cut short the whole
      rows are kept.
    * Attributes say how many frames there are, the outermost loop gets as many steps.
    * Caches and recorded columns are cut or filled up to that number; the chunk of all
      times is made anew from the frames where it is missing.
    * In place of a damaged chunk an older copy is taken, where saving again left one
      behind (FORMAT 1.6). Authentication chunks go, as they are wrong from now on.

    The target has its name only once it is complete. Memory is bounded.

    Parameters
    ----------
    source
        Path, URL, bytes or an open binary file.
    target
        Name of the repaired file.
    overwrite
        Whether a file of that name may be replaced.
    guess_size
        Where a file lost its image attributes, as one does that was cut short: take the
        size and type of images that the pixels suggest, and say so among what was lost.
        Look at the pictures then; without this such a file is refused.
    storage_options
        For a URL: arguments of the fsspec filesystem.
    progress
        Called now and then, never twice at once, with the number of steps that are done
        and that there are.

    Returns
    -------
    RepairReport
        What was wrong, what was lost, what was changed.

    Raises
    ------
    NotAnNd2File
        It is something else.
    CorruptChunk
        Nothing can be had: no image size or no frame. Nothing is written.
    UnsupportedFeature
        It is of format 1.0, or lacks frames that are compressed in a lossy way.
    ValueError
        `target` is the damaged file itself.
    FileExistsError
        There is a file of that name, and `overwrite` is not set.
    OSError
        As the system says.

    Examples
    --------
    >>> import tempfile
    >>> from limnd2_xr.frames.verify import verify
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
    >>> damaged = build(SyntheticSpec(loops=(TimeLoop(count=3),))).data[:-4096]
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "repaired.nd2")
    >>> report = repair(damaged, path)
    >>> report.frames, report.lost, verify(path).status
    (3, (), 'sound')
    >>> folder.cleanup()
    """
    spec = SourceSpec.of(source, storage_options)
    _refuse_itself(spec, target)
    # Also what cannot be written is found out before everything is read.
    with (
        spec.open() as opened,
        PartialFile.create(target, overwrite=overwrite) as partial,
    ):
        steps = _Steps(progress)
        try:
            plan = plan_repair(opened, steps.look, guess_size=guess_size)
        except Nd2Error as error:
            raise error.located(path=spec.name) from error
        _Writer(opened, partial, plan, steps).write()
        partial.commit()
    absent = np.flatnonzero(plan.frames < 0).tolist()
    lost = [number for number in absent if number not in plan.bare]
    return RepairReport(
        source=spec.name,
        target=os.fspath(target),
        frames=plan.n_frames,
        lost_frames=tuple(number for number in lost if number not in plan.rows),
        partial_frames=tuple((n, plan.rows[n].count) for n in lost if n in plan.rows),
        found=plan.found.result(),
        lost=plan.lost.result(),
        changed=tuple(plan.changed),
    )


def _refuse_itself(spec: SourceSpec, target: str | os.PathLike[str]) -> None:
    """Refuse to write over the file that is read, by whatever name."""
    name = spec.location if spec.kind == "path" else getattr(spec.content, "name", None)
    if not isinstance(name, str) or not Path(name).exists():
        return
    if Path(target).exists() and Path(name).samefile(target):
        raise ValueError(
            f"{os.fspath(target)} is the damaged file itself: give the repaired one "
            "another name"
        )


class _Steps:
    """Counts chunks that were looked at, then frames that were copied."""

    def __init__(self, progress: Callable[[int, int], object] | None) -> None:
        self._progress = progress
        self._done = 0
        self._total = 0

    def look(self, count: int) -> None:
        self._done += count
        self._tell()

    def expect(self, count: int) -> None:
        self._total = self._done + count

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._done, max(self._total, self._done))


class _Writer:
    """Writes a planned file in the order that other readers take best.

    Metadata first, attributes last among them; then the frames; then what was recorded
    of them, which Bio-Formats finds only there.
    """

    def __init__(
        self, source: ByteSource, partial: PartialFile, plan: RepairPlan, steps: _Steps
    ) -> None:
        self._source, self._partial, self._plan = source, partial, plan
        self._steps = steps
        self._chunks = ChunkWriter(partial)
        self._times = np.full(plan.n_frames, UNKNOWN_MS)
        self._offsets = np.empty(plan.n_frames, np.int64)
        self._nbytes = np.empty(plan.n_frames, np.int64)
        self._blank: bytes | None = None

    def write(self) -> None:
        """Write everything but the name."""
        plan, partial = self._plan, self._partial
        partial.write_at(0, encode_signature(plan.version))
        names = sorted(plan.chunks, key=lambda name: (name in ATTRIBUTES, name))
        behind = [name for name in names if name.startswith(RECORD_PREFIX)]
        for name in names:
            if not name.startswith(RECORD_PREFIX):
                self._put(name)
        self._steps.expect(plan.n_frames)
        for number in range(plan.n_frames):
            self._put_frame(number)
            self._steps.look(1)
        if plan.makes_times and (self._times != UNKNOWN_MS).any():
            self._chunks.put(FRAME_TIMES, self._times.astype("<f8").tobytes())
            plan.changed.append(
                f"{FRAME_TIMES} was made anew from the frames' own times"
            )
        for name in behind:
            self._put(name)
        offset = align(partial.size)
        frames = (np.arange(plan.n_frames), self._offsets, self._nbytes)
        partial.write_at(offset, encode_map(self._chunks.entries(), offset, frames))

    def _put(self, name: str) -> None:
        planned = self._plan.chunks[name]
        if not isinstance(planned, bytes):
            planned, _ = read_payload(self._source, name, planned)
        self._chunks.put(name, planned)

    def _put_frame(self, number: int) -> None:
        place = int(self._plan.frames[number])
        if place >= 0:
            self._copy(number, place)
        elif number in self._plan.bare:
            bare = self._plan.bare[number]
            self._copy_pixels(number, bare.pixel_offset, bare.nbytes)
        elif number in self._plan.rows:
            self._copy_rows(number)
        else:
            self._put_zeros(number)

    def _begin(self, number: int, nbytes: int, time_ms: float) -> int:
        """Write the head of a frame; return where its pixels go."""
        offset = align(self._partial.size)
        self._partial.write_at(offset, frame_head(number, nbytes, time_ms))
        self._offsets[number] = offset
        self._nbytes[number] = TIME_NBYTES + nbytes
        self._times[number] = UNKNOWN_MS if np.isnan(time_ms) else time_ms
        return offset + ALIGNMENT

    def _copy(self, number: int, place: int) -> None:
        source, plan = self._source, self._plan
        probe = source.read_at(place, min(HEADER_PROBE_NBYTES, source.size - place))
        header = parse_header(probe, place, source.size)
        if header.name != frame_name(number + plan.first_number):
            raise CorruptChunk(
                "the file changed while it was read", path=source.name, offset=place
            )
        stored = header.data_nbytes - TIME_NBYTES
        if plan.layout.compression == "none":
            stored = min(stored, plan.layout.frame_nbytes)
        self._copy_pixels(number, header.data_offset + TIME_NBYTES, stored)

    def _copy_pixels(self, number: int, pixels: int, nbytes: int) -> None:
        target = self._begin(number, nbytes, self._time_before(pixels))
        self._copy_bytes(pixels, target, nbytes)

    def _time_before(self, pixels: int) -> float:
        stored = self._source.read_at(pixels - TIME_NBYTES, TIME_NBYTES)
        (time_ms,) = struct.unpack("<d", stored)
        return float(time_ms)

    def _copy_bytes(self, source_offset: int, target_offset: int, nbytes: int) -> None:
        for at in range(0, nbytes, PIECE_NBYTES):
            piece = self._source.read_at(
                source_offset + at, min(PIECE_NBYTES, nbytes - at)
            )
            self._partial.write_at(target_offset + at, piece)

    def _copy_rows(self, number: int) -> None:
        layout, rows = self._plan.layout, self._plan.rows[number]
        time_ms = self._time_before(rows.pixel_offset)
        target = self._begin(number, layout.frame_nbytes, time_ms)
        kept = rows.count * layout.row_nbytes
        self._copy_bytes(rows.pixel_offset, target, kept)
        self._partial.extend_to(target + layout.frame_nbytes)

    def _put_zeros(self, number: int) -> None:
        layout, known = self._plan.layout, self._plan.known_times
        time_ms = np.nan
        if known is not None and number < len(known):
            time_ms = float(known[number])
        if layout.compression == "none":
            target = self._begin(number, layout.frame_nbytes, time_ms)
            self._partial.extend_to(target + layout.frame_nbytes)
            return
        if self._blank is None:
            self._blank = _deflated_zeros(layout.frame_nbytes)
        target = self._begin(number, len(self._blank), time_ms)
        self._partial.write_at(target, self._blank)


def _deflated_zeros(nbytes: int) -> bytes:
    """Return a zlib stream of so many zeros."""
    stream = zlib.compressobj()
    pieces = [
        stream.compress(_ZEROS[: min(len(_ZEROS), nbytes - at)])
        for at in range(0, nbytes, len(_ZEROS))
    ]
    return b"".join([*pieces, stream.flush()])
