"""`FrameStore`: an open .nd2 file as metadata, loops and lazily read frames.

What opening finds out is kept in a `StoreState`, which can be pickled; the store itself
adds the handle. With a state the file is opened again, after a check that it is still the
same, and nothing is parsed. Where a state would be too large to travel, the file is opened
as before and has to turn out the same (`FrameStore.open_as_before`).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from limnd2_xr.container.chunk_format import LegacyFormat
from limnd2_xr.container.chunk_index import ChunkIndex
from limnd2_xr.container.legacy_index import CODESTREAM_FAMILY, read_boxes
from limnd2_xr.container.prefetch import RegionCache
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.damage import DamageReport, check_on_damage, report_damage
from limnd2_xr.errors import CorruptChunk, Nd2Error, StaleFile, UnsupportedFeature
from limnd2_xr.frames.display import read_ranges
from limnd2_xr.frames.legacy_opening import open_legacy
from limnd2_xr.frames.legacy_reader import CodestreamTable, LegacyReader
from limnd2_xr.frames.opening import find_frames, open_index, read_metadata
from limnd2_xr.frames.planner import normalize, outer_shape, pick_array
from limnd2_xr.frames.points import PointKey, read_points
from limnd2_xr.frames.read_groups import FrameSelection
from limnd2_xr.frames.reader import FrameReader
from limnd2_xr.frames.single_frames import SingleFrames
from limnd2_xr.frames.stored_frames import StoredFrames
from limnd2_xr.frames.table import FRAME_FAMILY
from limnd2_xr.frames.wells import read_wells
from limnd2_xr.model.display import DISPLAY

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from limnd2_xr.container.source import ByteSource, FileStamp
    from limnd2_xr.damage import OnDamage
    from limnd2_xr.frames.opening import SoundIndex
    from limnd2_xr.frames.planner import AxisKey
    from limnd2_xr.frames.table import FrameTable
    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.records import FrameRecords
    from limnd2_xr.model.wells import PositionWells

__all__ = ["FrameStore", "MissingFrames", "StoreState", "found_state"]

_ALL: Final = slice(None)
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


class FrameStore:
    """An open .nd2 file: its metadata, and its frames as arrays.

    Made by `open` or, from what an earlier store found out, by `reopen`. Reading is safe
    from several threads at once.

    Examples
    --------
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
    >>> data = build(SyntheticSpec(loops=(TimeLoop(count=3),), width=8, height=6)).data
    >>> with FrameStore.open(data) as store:
    ...     print(store.dims, store.shape, store.read((0, 0, slice(2), -1)).shape)
    ('T', 'C', 'Y', 'X') (3, 1, 6, 8) (2,)
    """

    def __init__(self, state: StoreState, source: ByteSource) -> None:
        self.state = state
        self.maps_single_frames = True
        """Whether a frame that is read alone is looked up in memory; to be unset for a
        store that is open for a moment only."""
        self._source = source
        self._reader = _reader_of(source, state)

    @classmethod
    def open(
        cls,
        file: Any,
        *,
        storage_options: dict[str, Any] | None = None,
        missing: MissingFrames = "fill",
        on_damage: OnDamage = "warn",
    ) -> FrameStore:
        """Open a file and read its metadata, but no pixels.

        Parameters
        ----------
        file
            Path, URL, bytes, binary file object or `SourceSpec`.
        storage_options
            For a URL: arguments of the fsspec filesystem.
        missing
            Read frames that the file lacks as zeros, which counts as damage, or raise.
        on_damage
            Warn once of everything that is damaged, make that an error, or say nothing.

        Raises
        ------
        NotAnNd2File
            If it is something else.
        Nd2Error
            If it is damaged beyond what can be mended, if it is damaged and
            `on_damage` is ``"raise"``, or if it lacks frames and `missing` is
            ``"raise"``.

        Warns
        -----
        Nd2Warning
            Once, if the chunk map had to be rebuilt, metadata are damaged or frames
            missing.
        """
        if missing not in {"fill", "raise"}:
            raise ValueError(f'missing must be "fill" or "raise", not {missing!r}')
        check_on_damage(on_damage)
        spec = (
            file
            if isinstance(file, SourceSpec)
            else SourceSpec.of(file, storage_options)
        )
        return cls._find_out(spec, spec.open(), missing, on_damage)

    @classmethod
    def open_as_before(
        cls, spec: SourceSpec, stamp: FileStamp, *, on_damage: OnDamage
    ) -> FrameStore:
        """Open and parse a file that another process opened before; nothing is reported.

        Parameters
        ----------
        spec
            The file.
        stamp
            What it was like.
        on_damage
            What to do about damage that reading finds.

        Raises
        ------
        StaleFile
            If the file is no longer what it was.
        """
        store = cls._find_out(spec, _open_unchanged(spec, stamp), "fill", "ignore")
        store.state = replace(store.state, on_damage=on_damage)
        return store

    @classmethod
    def _find_out(
        cls,
        spec: SourceSpec,
        source: ByteSource,
        missing: MissingFrames,
        on_damage: OnDamage,
    ) -> FrameStore:
        try:
            with DamageReport(spec.name, on_damage) as report:
                state = _find_out(spec, source)
                _report_missing(state, missing)
            if (report.texts, on_damage) != (state.damage, state.on_damage):
                state = replace(state, damage=report.texts, on_damage=on_damage)
        except Nd2Error as error:
            source.close()
            if error.path is None:
                raise error.located(path=spec.name) from error
            raise
        except BaseException:
            source.close()
            raise
        return cls(state, source)

    @classmethod
    def reopen(cls, state: StoreState) -> FrameStore:
        """Open a file that was opened before, without parsing it again.

        Raises
        ------
        StaleFile
            If the file is no longer what it was.
        """
        may_grow = state.is_unfinished
        return cls(state, _open_unchanged(state.spec, state.stamp, may_grow=may_grow))

    def close(self) -> None:
        """Close the file; reading ends, metadata stay."""
        self._source.close()
        if isinstance(self._reader, FrameReader):
            self._reader.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __getstate__(self) -> StoreState:
        return self.state

    def __setstate__(self, state: StoreState) -> None:
        again = FrameStore.reopen(state)
        self.__init__(again.state, again._source)  # type: ignore[misc]

    @property
    def document(self) -> Nd2Document:
        """All metadata of the file."""
        return self.state.document

    @property
    def records(self) -> FrameRecords:
        """Values recorded for every frame."""
        return self.state.records

    @property
    def axes(self) -> Axes:
        """Loops as dimensions."""
        return self.state.axes

    @property
    def table(self) -> FrameTable:
        """Where the frames are."""
        return self.state.table

    @property
    def source_name(self) -> str:
        """Path, URL or name of the file, for messages."""
        return self._source.name

    @property
    def requests(self) -> int:
        """Reads at the same time that make sense: 1 for disks, several for servers."""
        return self._source.requests

    @property
    def file_nbytes(self) -> int:
        """Size of the file in bytes."""
        return self._source.size

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimensions of the image: the loops, then C, Y, X and, for RGB, S."""
        return self.state.dims

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return self.state.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of one component."""
        return self.table.layout.dtype

    def read(
        self, key: tuple[AxisKey, ...], room: NDArray[np.uint8] | None = None
    ) -> NDArray[Any]:
        """Pixels that an outer index selects: each dimension is indexed on its own.

        Parameters
        ----------
        key
            One integer, slice or one-dimensional integer array a dimension of `dims`.
        room
            Memory to put them in, if it is large enough: new memory costs time.

        Returns
        -------
        ndarray
            A new C-contiguous array, or one in `room`; dimensions indexed by an integer
            are dropped.

        Raises
        ------
        CorruptChunk
            If a frame that is read is damaged.
        IndexError
            If an index is out of bounds or the key has another length than `dims`.
        """
        dims, shape, layout = self.dims, self.shape, self.table.layout
        if len(key) != len(dims):
            raise IndexError(f"{len(key)} indices for dimensions {dims}")
        picks = [normalize(k, n, d) for k, n, d in zip(key, shape, dims, strict=True)]
        loops = len(self.axes.dims)
        sequence = _sequence(self.axes, [pick_array(pick) for pick in picks[:loops]])
        selected = outer_shape(picks)
        out = _array_in(room, (sequence.size, *selected[loops:]), layout.dtype)
        selection = FrameSelection(
            sequence=sequence,
            channels=picks[loops],
            rows=picks[loops + 1],
            columns=picks[loops + 2],
            samples=picks[loops + 3] if layout.samples > 1 else None,
        )
        self._reader.read_into(out, selection)
        kept = [n for n, k in zip(selected, key, strict=True) if not _is_scalar(k)]
        return out.reshape(kept)

    def read_frame(self, number: int) -> NDArray[Any]:
        """Pixels of one frame by its sequence number, zeros where it is missing.

        Returns
        -------
        ndarray
            Of shape (C, Y, X) and, for RGB, S; a new array.

        Raises
        ------
        CorruptChunk
            If the frame is damaged.
        """
        pixels: NDArray[Any] = self.read_frames(np.array([number]))[0]
        return pixels

    def read_frames(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        """Pixels of several frames by their sequence numbers, zeros where missing.

        Parameters
        ----------
        numbers
            One-dimensional, in the order of the output.

        Returns
        -------
        ndarray
            Of shape (frames, C, Y, X) and, for RGB, S; new and C-contiguous.

        Raises
        ------
        CorruptChunk
            If a frame is damaged.
        """
        return self._read_whole(self._reader, self._single_frames, numbers)

    def read_stored(
        self,
        numbers: NDArray[np.int64],
        *,
        rows: slice = _ALL,
        columns: slice = _ALL,
    ) -> NDArray[Any]:
        """Pixels of several frames as they lie in the file, zeros where missing.

        Faster than `read_frames` where there are several components: nothing is put in
        another order, RGB neither (FORMAT 6.1, 6.3).

        Parameters
        ----------
        numbers
            Sequence numbers, one-dimensional, in the order of the output.
        rows, columns
            Part of each frame, without steps; nothing else of it is read.

        Returns
        -------
        ndarray
            Of shape (frames, Y, X, components); new and C-contiguous.

        Raises
        ------
        CorruptChunk
            If a frame is damaged.
        UnsupportedFeature
            If the file is of format 1.0, whose components lie apart.
        """
        layout = self.table.layout
        reader, single_frames = self._as_stored
        shape = (len(numbers), layout.height, layout.width, layout.components)
        if rows == _ALL and columns == _ALL:
            return self._read_whole(reader, single_frames, numbers).reshape(shape)
        top, bottom, _ = rows.indices(layout.height)
        left, right, _ = columns.indices(layout.width)
        height, width = max(bottom - top, 0), max(right - left, 0)
        out = np.empty((len(numbers), height, width, layout.components), layout.dtype)
        if out.size:
            selection = FrameSelection(
                sequence=np.asarray(numbers, dtype=np.int64),
                channels=slice(0, 1, 1),
                rows=slice(top, bottom, 1),
                columns=slice(left * layout.components, right * layout.components, 1),
                samples=None,
            )
            reader.read_into(out.reshape(len(numbers), 1, height, -1), selection)
        return out

    def _read_whole(
        self,
        reader: FrameReader | LegacyReader,
        single_frames: SingleFrames,
        numbers: NDArray[np.int64],
    ) -> NDArray[Any]:
        layout = reader.table.layout
        if len(numbers) == 1:
            alone = single_frames.read(int(numbers[0]), mapped=self.maps_single_frames)
            if alone is not None:
                return alone[None]
        out = np.empty((len(numbers), *layout.frame_shape), dtype=layout.dtype)
        picks = [slice(0, length, 1) for length in layout.frame_shape]
        selection = FrameSelection(
            sequence=np.asarray(numbers, dtype=np.int64),
            channels=picks[0],
            rows=picks[1],
            columns=picks[2],
            samples=picks[3] if layout.samples > 1 else None,
        )
        reader.read_into(out, selection)
        return out

    @cached_property
    def _as_stored(self) -> tuple[FrameReader, SingleFrames]:
        """Readers to which the components of a pixel are pixels of their own."""
        if isinstance(self.table, CodestreamTable):
            raise UnsupportedFeature(
                "components of format 1.0 are images of their own",
                path=self.source_name,
            )
        layout = self.table.layout
        flat = replace(
            layout, width=layout.width * layout.components, channels=1, samples=1
        )
        table = replace(self.table, layout=flat)
        times = self.records.times_ms
        return (
            FrameReader(self._source, table, times_ms=times),
            SingleFrames(self._source, table),
        )

    @cached_property
    def _single_frames(self) -> SingleFrames:
        return SingleFrames(self._source, self.table)

    @cached_property
    def stored(self) -> StoredFrames:
        """Bytes of the frames as they lie in the file.

        Raises
        ------
        UnsupportedFeature
            If frames are stored neither plain nor as zlib streams.
        """
        return StoredFrames(self._source, self.table, self.records.times_ms)

    def read_points(
        self, key: tuple[slice | NDArray[np.integer[Any]], ...]
    ) -> NDArray[Any]:
        """Pixels at points: of each frame only the rows that its points need are read.

        Parameters
        ----------
        key
            For each dimension of `dims` a slice, or an array of integers; arrays
            broadcast to the shape of the points.

        Returns
        -------
        ndarray
            A new array: the dimensions of the points first, then those with slices.

        Raises
        ------
        CorruptChunk
            If a frame that is read is damaged.
        IndexError
            If an index is out of bounds or the key has another length than `dims`.

        Examples
        --------
        >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
        >>> spec = SyntheticSpec(loops=(TimeLoop(count=3),), width=8, height=6)
        >>> at = np.array([0, 2, 1])
        >>> with FrameStore.open(build(spec).data) as store:
        ...     store.read_points((at, slice(None), at, at)).shape
        (3, 1)
        """
        if len(key) != len(self.dims):
            raise IndexError(f"{len(key)} indices for dimensions {self.dims}")
        points = PointKey.of(key, self.shape, self.dims)
        return read_points(self._reader, self.axes, points)

    def read_chunk(self, name: str) -> bytes:
        """Payload of one chunk that is no frame, as stored.

        Parameters
        ----------
        name
            With its closing ``!``.

        Raises
        ------
        KeyError
            If the file has no such chunk.
        CorruptChunk
            If it is not where the chunk map says.
        """
        return self.read_chunks([name])[name]

    def read_chunks(self, names: Iterable[str]) -> dict[str, bytes]:
        """Payloads of several chunks that are no frames, by name, in few reads.

        Parameters
        ----------
        names
            With their closing ``!``.

        Raises
        ------
        KeyError
            If the file lacks one of them.
        CorruptChunk
            If one is not where the chunk map says.
        """
        entries = {}
        for name in names:
            entry = self.state.chunks.find(name)
            if entry is None:
                raise KeyError(name)
            entries[name] = entry
        if isinstance(self.table, CodestreamTable):
            return read_boxes(self._source, entries)
        return RegionCache(self._source).chunks(entries)

    def read_chunk_part(self, name: str, start: int, nbytes: int) -> bytes:
        """Part of the payload of one chunk that is no frame; nothing else is read.

        Parameters
        ----------
        name
            With its closing ``!``.
        start, nbytes
            Which bytes.

        Raises
        ------
        KeyError
            If the file has no such chunk.
        CorruptChunk
            If it is not where the chunk map says, or shorter.
        """
        entry = self.state.chunks.find(name)
        if entry is None:
            raise KeyError(name)
        return RegionCache(self._source).part(name, entry, start, nbytes)

    def read_times(self) -> NDArray[np.float64]:
        """Milliseconds since the start as stored with each frame (FORMAT 1.4).

        Returns
        -------
        ndarray of float64
            One a frame, by sequence number; NaN for missing frames. Read once.
        """
        return self._stored_times

    def read_ranges(self) -> NDArray[np.float64]:
        """Display range of each channel: minimum, maximum and gamma.

        Returns
        -------
        ndarray of float64, shape (3, channels)
            NaN where the file has none. Read once.
        """
        return self._display_ranges

    @cached_property
    def _display_ranges(self) -> NDArray[np.float64]:
        attributes, layout = self.document.attributes, self.table.layout
        with DamageReport(self.source_name, self.state.on_damage):
            return read_ranges(self._source, self.state.chunks, attributes, layout)

    @cached_property
    def _stored_times(self) -> NDArray[np.float64]:
        return self._reader.read_times(np.arange(self.table.n_frames, dtype=np.int64))


def _sequence(axes: Axes, indices: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Sequence numbers that an outer index selects, row by row."""
    numbers = np.zeros(1, dtype=np.int64)
    for steps, index in zip(axes.contributions, indices, strict=True):
        numbers = (numbers[:, None] + steps[index]).ravel()
    return numbers


def _array_in(
    room: NDArray[np.uint8] | None, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return an array of any content, in memory that is there if it has room."""
    nbytes = math.prod(shape) * dtype.itemsize
    if room is None or room.nbytes < nbytes:
        return np.empty(shape, dtype)
    found: NDArray[Any] = room[:nbytes].view(dtype).reshape(shape)
    return found


def _is_scalar(key: AxisKey) -> bool:
    return not isinstance(key, slice) and np.ndim(key) == 0


def _open_unchanged(
    spec: SourceSpec, stamp: FileStamp, *, may_grow: bool = False
) -> ByteSource:
    """Open a file that was opened before, if it is what it was."""
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


def _reader_of(source: ByteSource, state: StoreState) -> FrameReader | LegacyReader:
    if isinstance(state.table, CodestreamTable):
        return LegacyReader(source, state.table)
    return FrameReader(source, state.table, times_ms=state.records.times_ms)


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


def _find_out(spec: SourceSpec, source: ByteSource) -> StoreState:
    try:
        opened = open_index(source)
    except LegacyFormat:
        return _find_out_legacy(spec, source)
    document, records = read_metadata(opened)
    axes, table = find_frames(source, opened, document)
    return found_state(spec, opened, document, records, axes, table)


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
        document=document,
        records=records,
        axes=axes,
        table=table,
        chunks=opened.index.except_family(FRAME_FAMILY),
        wells=read_wells(opened.source, opened.index, axes),
        display=opened.held(DISPLAY),
        is_unfinished=opened.is_unfinished,
    )


def _report_missing(state: StoreState, missing: MissingFrames) -> None:
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
