"""`StoreState`: everything that opening a file finds out, and how it is found.

A state can be pickled. With it the file is opened again, after a check that it is still
the same, and nothing is parsed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from limnd2_xr.container.chunk_format import LegacyFormat
from limnd2_xr.container.chunk_index import ChunkIndex
from limnd2_xr.container.legacy_index import CODESTREAM_FAMILY
from limnd2_xr.damage import report_damage
from limnd2_xr.errors import CorruptChunk, StaleFile
from limnd2_xr.frames.legacy_opening import open_legacy
from limnd2_xr.frames.opening import find_frames, open_index, read_metadata
from limnd2_xr.frames.table import FRAME_FAMILY
from limnd2_xr.frames.wells import read_wells
from limnd2_xr.model.display import DISPLAY

if TYPE_CHECKING:
    from limnd2_xr.container.source import ByteSource, FileStamp, SourceSpec
    from limnd2_xr.damage import OnDamage
    from limnd2_xr.frames.opening import SoundIndex
    from limnd2_xr.frames.table import FrameTable
    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.records import FrameRecords
    from limnd2_xr.model.wells import PositionWells

__all__ = [
    "MissingFrames",
    "StoreState",
    "find_state",
    "found_state",
    "open_unchanged",
    "report_missing",
]

MissingFrames = Literal["fill", "raise"]
"""What to do about frames that the loops ask for and the file lacks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoreState:
    """Everything that opening a file finds out; picklable, hashable, without a handle."""

    spec: SourceSpec
    """How to open the file again."""
    stamp: FileStamp
    """Size and time of the file when it was opened."""
    document: Nd2Document
    """All metadata."""
    records: FrameRecords = field(repr=False)
    """Values recorded for every frame."""
    axes: Axes
    """Loops as dimensions."""
    table: FrameTable
    """Where the frames are."""
    chunks: ChunkIndex = field(default_factory=ChunkIndex, repr=False)
    """Where all other chunks are."""
    wells: PositionWells | None = field(default=None, repr=False)
    """Well of each position; None if the file does not say."""
    display: bytes | None = field(default=None, repr=False)
    """Chunk of display ranges, if it was read along with others."""
    is_unfinished: bool = False
    """Whether the file ended without a chunk map, and may have become longer since."""
    damage: tuple[str, ...] = ()
    """What was found damaged."""
    on_damage: OnDamage = "warn"
    """What to do about damage that reading finds later."""

    @cached_property
    def token(self) -> str:
        """Digest that is equal for equal files opened from the same place."""
        parts = (self.spec.identity, self.stamp, self.table.token, self.axes)
        digest = hashlib.blake2b(repr(parts).encode(), digest_size=16)
        if isinstance(self.spec.content, bytes):
            digest.update(self.spec.content)
        return digest.hexdigest()

    def __hash__(self) -> int:
        return hash(self.token)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StoreState):
            return NotImplemented
        return self is other or (self.spec == other.spec and self.token == other.token)

    def __dask_tokenize__(self) -> str:
        return self.token

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimensions of the image: the loops, then C, Y, X and, for RGB, S."""
        frame_dims = (
            ("C", "Y", "X") if self.table.layout.samples == 1 else ("C", "Y", "X", "S")
        )
        return (*self.axes.dims, *frame_dims)

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return (*self.axes.shape, *self.table.layout.frame_shape)


def find_state(spec: SourceSpec, source: ByteSource) -> StoreState:
    """Read the metadata of an open file, and where its frames are.

    Parameters
    ----------
    spec
        The file.
    source
        The same, open.

    Raises
    ------
    NotAnNd2File
        If it is something else.
    Nd2Error
        If it is damaged beyond what can be mended.
    """
    try:
        opened = open_index(source)
    except LegacyFormat:
        return _find_out_legacy(spec, source)
    document, records = read_metadata(opened)
    axes, table = find_frames(source, opened, document)
    return found_state(spec, opened, document, records, axes, table)


def _find_out_legacy(spec: SourceSpec, source: ByteSource) -> StoreState:
    opened = open_legacy(source)
    return StoreState(
        spec=spec,
        stamp=source.stamp,
        document=opened.document,
        records=opened.records,
        axes=opened.axes,
        table=opened.table,
        chunks=opened.index.except_family(CODESTREAM_FAMILY),
    )


def found_state(
    spec: SourceSpec,
    opened: SoundIndex,
    document: Nd2Document,
    records: FrameRecords,
    axes: Axes,
    table: FrameTable,
) -> StoreState:
    """Return what opening a file found out, with the wells of its positions.

    Parameters
    ----------
    spec
        The file.
    opened, document, records, axes, table
        What was read of it.

    Warns
    -----
    Nd2Warning
        If the chunk of wells is damaged.
    """
    return StoreState(
        spec=spec,
        stamp=opened.source.stamp,
        document=_counted(document, axes.n_frames),
        records=records,
        axes=axes,
        table=table,
        chunks=opened.index.except_family(FRAME_FAMILY),
        wells=read_wells(opened.source, opened.index, axes),
        display=opened.held(DISPLAY),
        is_unfinished=opened.is_unfinished,
    )


def report_missing(state: StoreState, missing: MissingFrames) -> None:
    """Report frames that the loops ask for and the file lacks.

    Parameters
    ----------
    state
        What opening the file found out.
    missing
        Count them as damage, or raise.

    Raises
    ------
    CorruptChunk
        If there are any and `missing` is ``"raise"``.
    """
    lacking = state.table.missing
    if not len(lacking):
        return
    some = ", ".join(map(str, lacking[:5])) + (", ..." if len(lacking) > 5 else "")
    text = (
        f"{len(lacking)} of {state.table.n_frames} frames are not in the file ({some})"
    )
    if missing == "raise":
        raise CorruptChunk(text, path=state.spec.name)
    report_damage(text, "they read as 0", path=state.spec.name)


def open_unchanged(
    spec: SourceSpec, stamp: FileStamp, *, may_grow: bool = False
) -> ByteSource:
    """Open a file that was opened before, if it is what it was.

    Parameters
    ----------
    spec
        The file.
    stamp
        What it was like.
    may_grow
        Whether it may have become longer since.

    Raises
    ------
    StaleFile
        If it is no longer what it was.
    """
    source = spec.open()
    # What was found in a file that is still being written stays where it is.
    has_grown = may_grow and source.stamp.size >= stamp.size
    if source.stamp != stamp and not has_grown:
        source.close()
        raise StaleFile(
            "the file changed since it was opened "
            f"({_differences(stamp, source.stamp)}); open it again",
            path=spec.name,
        )
    return source


def _differences(before: FileStamp, now: FileStamp) -> str:
    """Say what of a file changed: its size, else its time or version."""
    if before.size != now.size:
        return f"it had {before.size} bytes, now {now.size}"
    return "same size, but written again"


def _counted(document: Nd2Document, n_frames: int) -> Nd2Document:
    """Count frames where the file does not: attributes were lost, or not finished."""
    attributes = document.attributes
    if attributes.sequence_count:
        return document
    return replace(document, attributes=replace(attributes, sequence_count=n_frames))
